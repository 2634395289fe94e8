package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const selectMappings = "SELECT name, version, source, body, put_at, dropped FROM mappings"

// Mapping returns a version of a mapping; the latest when it is 0. See annona.Mappings.
func (s *Store) Mapping(ctx context.Context, name string, version int) (*annona.StoredMapping, error) {
	all, err := s.mappings(ctx, selectMappings+" WHERE name = ?1 AND (version = ?2 OR ?2 = 0) ORDER BY version DESC LIMIT 1", name, version)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Mappings returns the latest version of each mapping, by name.
func (s *Store) Mappings(ctx context.Context) ([]annona.StoredMapping, error) {
	return s.mappings(ctx, selectMappings+" m WHERE version = (SELECT max(version) FROM mappings WHERE name = m.name) ORDER BY name")
}

func (s *Store) mappings(ctx context.Context, sql string, args ...any) (all []annona.StoredMapping, err error) {
	err = s.readers.read(ctx, "read mappings", func(c *conn) error {
		all = nil
		return c.each(sql, func(r *sqlite.Stmt) error {
			all = append(all, annona.StoredMapping{
				Name: r.ColumnText(0), Version: r.ColumnInt(1), Source: r.ColumnText(2), Body: r.ColumnText(3), PutAt: columnTime(r, 4), Dropped: r.ColumnBool(5),
			})
			return nil
		}, args...)
	})
	return all, err
}

// PutMapping writes the next version of a mapping. See annona.CodesTx.
func (t *tx) PutMapping(ctx context.Context, m annona.StoredMapping) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	last, err := t.conn.integer("SELECT coalesce(max(version), 0) FROM mappings WHERE name = ?", m.Name)
	if err != nil {
		return fault("write a mapping", err)
	}
	if int64(m.Version) != last+1 {
		return annona.ErrMappingVersion
	}
	err = t.conn.exec("INSERT INTO mappings (name, version, source, body, put_at, dropped) VALUES (?, ?, ?, ?, ?, ?)", m.Name, m.Version, m.Source, m.Body, m.PutAt, m.Dropped)
	return fault("write a mapping", err)
}

// DropMapping marks all versions of a mapping as dropped.
func (t *tx) DropMapping(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fault("drop a mapping", t.conn.exec("UPDATE mappings SET dropped = 1 WHERE name = ?", name))
}
