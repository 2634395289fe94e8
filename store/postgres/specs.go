package postgres

import (
	"context"
	"encoding/json"

	"github.com/annona-exchange/annona"
)

const selectSpecs = "SELECT name, version, body, put_at, dropped FROM export_specs"

// ExportSpec returns a version of a specification; the latest when it is 0. See annona.ExportSpecs.
func (s *Store) ExportSpec(ctx context.Context, name string, version int) (*annona.ExportSpec, error) {
	all, err := s.exportSpecs(ctx, selectSpecs+" WHERE name = $1 AND (version = $2 OR $2 = 0) ORDER BY version DESC LIMIT 1", name, version)
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
	return s.exportSpecs(ctx, latest+" AND agreement = $1 ORDER BY name", agreement)
}

func (s *Store) exportSpecs(ctx context.Context, sql string, args ...any) (all []annona.ExportSpec, err error) {
	err = s.readers.ask(ctx, "read export specifications", func(c *conn) error {
		all = nil
		return c.each(sql, func(r row) error {
			var spec annona.ExportSpec
			if err := json.Unmarshal([]byte(r.text(2)), &spec); err != nil {
				return err
			}
			spec.Name, spec.Version, spec.PutAt, spec.Dropped = r.text(0), int(r.integer(1)), r.time(3), r.truth(4)
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
	n, err := t.conn.changes(`INSERT INTO export_specs (name, version, agreement, body, put_at, dropped)
		SELECT $1, $2, $3, $4, $5, $6 WHERE $2 = (SELECT coalesce(max(version), 0) + 1 FROM export_specs WHERE name = $1) ON CONFLICT DO NOTHING`,
		spec.Name, spec.Version, spec.Agreement, string(body), spec.PutAt, spec.Dropped)
	if err != nil {
		return t.fault("write an export specification", err)
	}
	if n == 0 {
		return annona.ErrSpecVersion
	}
	return nil
}

// DropExportSpec marks all versions of a specification as dropped.
func (t *tx) DropExportSpec(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.fault("drop an export specification", t.conn.exec("UPDATE export_specs SET dropped = true WHERE name = $1", name))
}
