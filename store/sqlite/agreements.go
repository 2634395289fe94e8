package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Agreements returns the latest version of every agreement, by name.
func (s *Store) Agreements(ctx context.Context) (all []annona.Agreement, err error) {
	err = s.readers.read(ctx, "read the agreements", func(c *conn) error {
		return c.each(`SELECT body FROM agreements a WHERE version = (SELECT max(version) FROM agreements WHERE name = a.name) ORDER BY name`, func(s *sqlite.Stmt) error {
			var a annona.Agreement
			if err := json.Unmarshal([]byte(s.ColumnText(0)), &a); err != nil {
				return annona.Internal("read the agreements", err)
			}
			all = append(all, a)
			return nil
		})
	})
	return all, err
}
