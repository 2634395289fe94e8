package postgres

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/annona-exchange/annona"
)

// restOfCodes stands for all values that did not look like codes; a code has an equals sign before it.
const restOfCodes = "*"

// Crosswalks returns the latest version of each crosswalk, by source and list.
func (s *Store) Crosswalks(ctx context.Context) (all []annona.Crosswalk, err error) {
	err = s.readers.ask(ctx, "read the crosswalks", func(c *conn) error {
		all = nil
		return c.each("SELECT body FROM crosswalks c WHERE version = (SELECT max(version) FROM crosswalks WHERE source = c.source AND list = c.list) ORDER BY source, list", func(r row) error {
			var one annona.Crosswalk
			if err := json.Unmarshal(r[0], &one); err != nil {
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
	n, err := t.conn.changes(`INSERT INTO crosswalks (source, list, version, body, applied_at)
		SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM crosswalks WHERE source = $1 AND list = $2 AND version >= $3) ON CONFLICT DO NOTHING`,
		c.Source, c.List, c.Version, string(body), c.AppliedAt)
	if err != nil {
		return t.fault("write a crosswalk", err)
	}
	if n == 0 {
		return annona.ErrCrosswalkVersion
	}
	return nil
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
		err := t.conn.exec(`INSERT INTO unmapped_codes (source, field, code, times, loads, first_at, last_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (source, field, code) DO UPDATE SET times = unmapped_codes.times + excluded.times,
				loads = unmapped_codes.loads + 1, last_at = excluded.last_at`,
			u.Source, u.Field, code, u.Times, int64(1), u.FirstAt, u.FirstAt)
		if err != nil {
			return t.fault("count codes without a meaning", err)
		}
	}
	return nil
}

// Unmapped returns what loads have met that no crosswalk has.
func (s *Store) Unmapped(ctx context.Context, source string) (all []annona.Unmapped, err error) {
	err = s.readers.ask(ctx, "read codes without a meaning", func(c *conn) error {
		all = nil
		return c.each(`SELECT source, field, code, times, loads, first_at, last_at FROM unmapped_codes
			WHERE source = $1 OR $2::boolean ORDER BY source, field, times DESC, code`, func(r row) error {
			u := annona.Unmapped{Source: r.text(0), Field: r.text(1), Times: r.integer(3), Loads: r.integer(4), FirstAt: r.time(5), LastAt: r.time(6)}
			if code, ok := strings.CutPrefix(r.text(2), "="); ok {
				u.Code = code
			}
			all = append(all, u)
			return nil
		}, source, source == "")
	})
	return all, err
}
