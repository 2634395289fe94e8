package sqlite

import (
	"context"
	"encoding/json"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// restOfCodes stands for all values that did not look like codes; a code has an equals sign before it.
const restOfCodes = "*"

// Crosswalks returns the latest version of each crosswalk, by source and list.
func (s *Store) Crosswalks(ctx context.Context) (all []annona.Crosswalk, err error) {
	err = s.readers.read(ctx, "read the crosswalks", func(c *conn) error {
		all = nil
		return c.each("SELECT body FROM crosswalks c WHERE version = (SELECT max(version) FROM crosswalks WHERE source = c.source AND list = c.list) ORDER BY source, list", func(s *sqlite.Stmt) error {
			var one annona.Crosswalk
			if err := json.Unmarshal([]byte(s.ColumnText(0)), &one); err != nil {
				return annona.Internal("read the crosswalks", err)
			}
			all = append(all, one)
			return nil
		})
	})
	return all, err
}

// PutCrosswalk writes a version of a crosswalk. See annona.CodesTx.
func (t *tx) PutCrosswalk(ctx context.Context, c annona.Crosswalk) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return annona.Internal("write a crosswalk", err)
	}
	taken, err := t.conn.integer("SELECT count(*) FROM crosswalks WHERE source = ? AND list = ? AND version >= ?", c.Source, c.List, c.Version)
	if err != nil {
		return fault("write a crosswalk", err)
	}
	if taken > 0 {
		return annona.ErrCrosswalkVersion
	}
	err = t.conn.exec("INSERT INTO crosswalks (source, list, version, body, applied_at) VALUES (?, ?, ?, ?, ?)", c.Source, c.List, c.Version, string(body), c.AppliedAt)
	return fault("write a crosswalk", err)
}

// CountUnmapped adds to what earlier loads have met. See annona.CodesTx.
func (t *tx) CountUnmapped(ctx context.Context, met []annona.Unmapped) error {
	for _, u := range met {
		if err := ctx.Err(); err != nil {
			return err
		}
		code := restOfCodes
		if u.Code != "" {
			code = "=" + u.Code
		}
		err := t.conn.exec(`INSERT INTO unmapped_codes (source, field, code, times, loads, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (source, field, code) DO UPDATE SET times = unmapped_codes.times + excluded.times,
				loads = unmapped_codes.loads + 1, last_at = excluded.last_at`,
			u.Source, u.Field, code, u.Times, int64(1), u.FirstAt, u.FirstAt)
		if err != nil {
			return fault("count codes without a meaning", err)
		}
	}
	return nil
}

// Unmapped returns what loads have met that no crosswalk has.
func (s *Store) Unmapped(ctx context.Context, source string) (all []annona.Unmapped, err error) {
	err = s.readers.read(ctx, "read codes without a meaning", func(c *conn) error {
		all = nil
		return c.each(`SELECT source, field, code, times, loads, first_at, last_at FROM unmapped_codes
			WHERE source = ?1 OR ?2 ORDER BY source, field, times DESC, code`, func(s *sqlite.Stmt) error {
			u := annona.Unmapped{Source: s.ColumnText(0), Field: s.ColumnText(1), Times: s.ColumnInt64(3), Loads: s.ColumnInt64(4), FirstAt: columnTime(s, 5), LastAt: columnTime(s, 6)}
			if code, ok := strings.CutPrefix(s.ColumnText(2), "="); ok {
				u.Code = code
			}
			all = append(all, u)
			return nil
		}, source, source == "")
	})
	return all, err
}
