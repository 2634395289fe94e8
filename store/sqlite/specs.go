package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const selectSpecs = "SELECT name, version, body, put_at, dropped FROM export_specs"

// ExportSpec returns a version of a specification; the latest when it is 0. See annona.ExportSpecs.
func (s *Store) ExportSpec(ctx context.Context, name string, version int) (*annona.ExportSpec, error) {
	all, err := s.exportSpecs(ctx, selectSpecs+" WHERE name = ?1 AND (version = ?2 OR ?2 = 0) ORDER BY version DESC LIMIT 1", name, version)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// ExportSpecs returns the latest version of each specification of an agreement, by name.
func (s *Store) ExportSpecs(ctx context.Context, agreement string) ([]annona.ExportSpec, error) {
	latest := selectSpecs + " s WHERE version = (SELECT max(version) FROM export_specs WHERE name = s.name)"
	if agreement == "" {
		return s.exportSpecs(ctx, latest+" ORDER BY name")
	}
	return s.exportSpecs(ctx, latest+" AND agreement = ? ORDER BY name", agreement)
}

func (s *Store) exportSpecs(ctx context.Context, sql string, args ...any) (all []annona.ExportSpec, err error) {
	err = s.readers.read(ctx, "read export specifications", func(c *conn) error {
		all = nil
		return c.each(sql, func(r *sqlite.Stmt) error {
			var spec annona.ExportSpec
			if err := json.Unmarshal([]byte(r.ColumnText(2)), &spec); err != nil {
				return err
			}
			spec.Name, spec.Version, spec.PutAt, spec.Dropped = r.ColumnText(0), r.ColumnInt(1), columnTime(r, 3), r.ColumnBool(4)
			all = append(all, spec)
			return nil
		}, args...)
	})
	return all, err
}

// PutExportSpec writes the next version of a specification. See annona.SpecTx.
func (t *tx) PutExportSpec(ctx context.Context, spec annona.ExportSpec) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(spec)
	if err != nil {
		return annona.Internal("write an export specification", err)
	}
	last, err := t.conn.integer("SELECT coalesce(max(version), 0) FROM export_specs WHERE name = ?", spec.Name)
	if err != nil {
		return fault("write an export specification", err)
	}
	if int64(spec.Version) != last+1 {
		return annona.ErrSpecVersion
	}
	err = t.conn.exec("INSERT INTO export_specs (name, version, agreement, body, put_at, dropped) VALUES (?, ?, ?, ?, ?, ?)",
		spec.Name, spec.Version, spec.Agreement, string(body), spec.PutAt, spec.Dropped)
	return fault("write an export specification", err)
}

// DropExportSpec marks all versions of a specification as dropped.
func (t *tx) DropExportSpec(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fault("drop an export specification", t.conn.exec("UPDATE export_specs SET dropped = 1 WHERE name = ?", name))
}
