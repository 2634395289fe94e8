package sqlite

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Disputes returns identifiers that several records hold. See annona.Subjects.
func (s *Store) Disputes(ctx context.Context, dataset *annona.Dataset, after []byte, limit int) (all []annona.Dispute, err error) {
	if err := s.checkDataset(dataset); err != nil {
		return nil, err
	}
	err = s.readers.read(ctx, "find disputed identifiers", func(c *conn) error {
		all = nil
		return c.each(`WITH disputed AS (SELECT hash, scheme FROM identifier_index
				WHERE noun = ?1 AND shareable = 0 AND hash > coalesce(?2, x'')
				GROUP BY hash, scheme HAVING count(*) > 1 ORDER BY hash LIMIT ?3)
			SELECT d.hash, d.scheme, i.number, r.uid FROM disputed d
			JOIN identifier_index i ON i.hash = d.hash AND i.scheme = d.scheme AND i.noun = ?1 AND i.shareable = 0
			JOIN `+dataset.Name+` r ON r.number = i.number ORDER BY d.hash, i.number`, func(r *sqlite.Stmt) error {
			hash := columnBytes(r, 0)
			if len(all) == 0 || !slices.Equal(all[len(all)-1].Hash, hash) {
				all = append(all, annona.Dispute{IdentifierIndex: annona.IdentifierIndex{Scheme: r.ColumnText(1), Hash: hash}})
			}
			last := &all[len(all)-1]
			last.Holders, last.UIDs = append(last.Holders, annona.Number(r.ColumnInt64(2))), append(last.UIDs, columnUID(r, 3))
			return nil
		}, dataset.Noun, after, limit)
	})
	return all, err
}
