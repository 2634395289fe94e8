package postgres

import (
	"context"
	"encoding/json"

	"github.com/annona-exchange/annona"
)

// Areas returns all areas, by level and code, and their version.
func (s *Store) Areas(ctx context.Context) (areas []annona.Area, version int64, err error) {
	err = s.readers.ask(ctx, "read the areas", func(c *conn) error {
		if version, err = c.counter("areas"); err != nil { // first: a version that is too old makes somebody look again
			return err
		}
		areas = nil
		return c.each("SELECT code, parent, level, names, valid_from, valid_to, replaced_by FROM areas ORDER BY level, code", func(r row) error {
			a := annona.Area{
				Code: r.text(0), Parent: r.text(1), Level: int(r.integer(2)),
				ValidFrom: r.date(4), ValidTo: r.date(5), ReplacedBy: splitList(r.text(6)),
			}
			if err := json.Unmarshal(r[3], &a.Names); err != nil {
				return annona.Internal("read the areas", err)
			}
			areas = append(areas, a)
			return nil
		})
	})
	return areas, version, err
}

// AreaExists reports which of the codes are areas on file.
func (s *Store) AreaExists(ctx context.Context, codes []string) (map[string]bool, error) {
	exists := make(map[string]bool, len(codes))
	err := s.readers.ask(ctx, "find areas", func(c *conn) error {
		return c.each("SELECT code FROM areas WHERE code = ANY ($1)", func(r row) error {
			exists[r.text(0)] = true
			return nil
		}, codes)
	})
	return exists, err
}

// PutAreas writes areas, by code. Those who write households meanwhile are waited for, see
// ExpectAreas.
func (t *tx) PutAreas(ctx context.Context, areas []annona.Area) error {
	if err := ctx.Err(); err != nil || len(areas) == 0 {
		return err
	}
	if err := t.holdAreas(); err != nil {
		return t.fault("write an area", err)
	}
	changed := false
	for _, a := range areas {
		moved, err := t.putArea(a)
		if err != nil {
			return t.fault("write an area", err)
		}
		changed = changed || moved
	}
	if !changed {
		return nil
	}
	if err := t.conn.exec("UPDATE counters SET value = value + 1 WHERE name = 'areas'"); err != nil {
		return t.fault("write an area", err)
	}
	return nil
}

// putArea writes an area with its links and reports whether it was another one before.
func (t *tx) putArea(a annona.Area) (changed bool, err error) {
	if a.Code == "" || a.Code == a.Parent {
		return false, annona.Invalid("area_malformed", "an area has a code, and lies in another area than itself")
	}
	names, err := json.Marshal(a.Names)
	if err != nil {
		return false, annona.Internal("write an area", err)
	}
	n, err := t.conn.changes(`INSERT INTO areas (code, parent, level, names, valid_from, valid_to, replaced_by) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (code) DO UPDATE SET parent = excluded.parent, level = excluded.level, names = excluded.names,
			valid_from = excluded.valid_from, valid_to = excluded.valid_to, replaced_by = excluded.replaced_by
		WHERE (areas.parent, areas.level, areas.names, areas.valid_from, areas.valid_to, areas.replaced_by)
			IS DISTINCT FROM (excluded.parent, excluded.level, excluded.names, excluded.valid_from, excluded.valid_to, excluded.replaced_by)`,
		a.Code, a.Parent, a.Level, string(names), a.ValidFrom, a.ValidTo, joinList(a.ReplacedBy))
	if err != nil || n == 0 {
		return false, err
	}
	if err := t.conn.exec("DELETE FROM area_links WHERE code = $1 AND inside OR origin = $1 AND NOT inside", a.Code); err != nil {
		return false, err
	}
	for _, l := range a.Links() {
		if err := t.conn.exec("INSERT INTO area_links (origin, code, inside) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", l.Origin, l.Code, l.Inside); err != nil {
			return false, err
		}
	}
	return true, nil
}

// ExpectAreas has the version compared at the end of the transaction, under a lock that whoever
// writes areas waits for. So it costs no round trip, and no household lands in an area that is
// closed in that moment.
func (t *tx) ExpectAreas(ctx context.Context, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.expected == 0 || version+1 < t.expected {
		t.expected = version + 1
	}
	return nil
}

// queueExpectation has the version of the areas compared that the transaction relies on.
func (t *tx) queueExpectation() {
	if t.expected > 0 {
		t.later.Queue("SELECT expect_areas($1, $2)", int64(areasLock), t.expected-1)
	}
}

// holdAreas waits for those who rely on the areas, and holds off whoever wants to; a version that
// this transaction itself relies on is compared now.
func (t *tx) holdAreas() error {
	if err := t.conn.exec("SELECT pg_advisory_xact_lock($1)", int64(areasLock)); err != nil {
		return err
	}
	if t.expected == 0 {
		return nil
	}
	now, err := t.conn.counter("areas")
	if err != nil {
		return err
	}
	if now != t.expected-1 {
		t.again = true
		return annona.ErrAreasMoved
	}
	t.expected = 0
	return nil
}

// insideArea selects an area, a parameter, and all that lies inside it.
const insideArea = `WITH RECURSIVE inside (code) AS (SELECT $1::text COLLATE "C"
	UNION SELECT l.code FROM inside i JOIN area_links l ON l.origin = i.code AND l.inside) SELECT code FROM inside`

// KeepFormer remembers which households stand in an area. See annona.AreaTx.
func (t *tx) KeepFormer(ctx context.Context, code string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := t.holdAreas(); err != nil {
		return 0, t.fault("remember where households stood", err)
	}
	n, err := t.conn.changes(`INSERT INTO former_areas (area, household)
		SELECT $1, number FROM households WHERE f_area_code IN (`+insideArea+`) ON CONFLICT DO NOTHING`, code)
	if err == nil {
		err = t.conn.exec(`INSERT INTO former_areas (area, household)
			SELECT $1, number FROM deleted_records WHERE dataset = 'households' AND area_code IN (`+insideArea+`) ON CONFLICT DO NOTHING`, code)
	}
	if err != nil {
		return 0, t.fault("remember where households stood", err)
	}
	return n, nil
}

// HouseholdsIn returns households by their own code. See annona.AreaTx.
func (t *tx) HouseholdsIn(ctx context.Context, households *annona.Dataset, code, flag string, limit int) (keys []annona.RecordKey, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = t.conn.each(`SELECT source, source_key FROM households WHERE f_area_code = $1
		AND ($2::boolean OR strpos(coalesce(f_quality_flags, ''), $3) = 0) ORDER BY number LIMIT $4`, func(r row) error {
		keys = append(keys, annona.RecordKey{Dataset: households, Source: r.text(0), Key: r.text(1)})
		return nil
	}, code, flag == "", listSeparator+flag+listSeparator, int64(limit))
	if err != nil {
		return nil, t.fault("find the households of an area", err)
	}
	return keys, nil
}

// MoveHouseholds writes households in their new areas. See annona.AreaTx.
func (t *tx) MoveHouseholds(ctx context.Context, actor string, moved []annona.StoredRecord) error {
	if err := ctx.Err(); err != nil || len(moved) == 0 {
		return err
	}
	by := annona.Author{Operator: actor, Reason: "area"}
	var numbers []int64
	var areas []string
	for i := range moved {
		r := &moved[i]
		if _, err := t.taken(r); err != nil {
			return err
		}
		area, err := t.moveHousehold(r)
		if err != nil {
			return t.fault("move a household to another area", err)
		}
		numbers, areas = append(numbers, int64(r.Number)), append(areas, area)
		event := eventOf(by, r.Dataset.Name, r.Number, r.Version, annona.EventChanged, r.Before)
		if err := t.event(event); err != nil {
			return t.fault("write an event", err)
		}
	}
	clear(t.known)
	clear(t.homes)
	touched := touches{}
	err := t.conn.each("SELECT individual FROM memberships WHERE household = ANY ($1)", func(r row) error {
		t.dueNames(r.number(0))
		touched[subject{"individuals", r.number(0)}] = "area"
		return nil
	}, numbers)
	if err == nil {
		err = t.conn.exec(`UPDATE individuals i SET area_code = nullif(h.area, '') FROM unnest($1::bigint[], $2::text[]) h (number, area)
			JOIN memberships m ON m.household = h.number WHERE i.number = m.individual AND i.household_number = h.number`, numbers, areas)
	}
	if err != nil {
		return t.fault("move a household to another area", err)
	}
	if err := t.touchAll(touched, by); err != nil {
		return t.fault("write an event", err)
	}
	return nil
}

// moveHousehold writes the row of a household, which Find has locked, at the end of the transaction.
func (t *tx) moveHousehold(r *annona.StoredRecord) (area string, err error) {
	plain, groups, err := r.Dataset.SplitGroups(r.Clear)
	if err != nil {
		return "", annona.Internal("move a household to another area", err)
	}
	sealed, sealedGroups, err := annona.CutSealed(r.Sealed)
	if err != nil {
		return "", annona.Internal("move a household to another area", err)
	}
	area, flags, err := placeOf(r)
	if err != nil {
		return "", err
	}
	t.later.Queue(`UPDATE households SET updated_at = $2, clear = $3, clear_groups = $4, sealed = $5, sealed_groups = $6, version = $7,
		f_area_code = $8, f_quality_flags = $9 WHERE number = $1`,
		values([]any{r.Number, annona.Instant(t.now), plain, groups, sealed, sealedGroups, r.Version, area, flags})...)
	return area, nil
}

// placeOf returns what the columns of a household's area and quality flags hold.
func placeOf(r *annona.StoredRecord) (area, flags string, err error) {
	for _, v := range r.Index {
		value, err := indexValue(v)
		if err != nil {
			return "", "", err
		}
		switch {
		case v.Field.Code == areaCode:
			area = columnText(value)
		case isFlags(v.Field):
			flags = columnText(value)
		}
	}
	return area, flags, nil
}

// PutReorganization writes a reorganization by its ID.
func (t *tx) PutReorganization(ctx context.Context, r annona.Reorganization) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return annona.Internal("write a reorganization", err)
	}
	err = t.conn.exec(`INSERT INTO reorganizations (id, effective, body, recorded_at, applied_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET body = excluded.body, applied_at = excluded.applied_at`,
		r.ID, r.Effective, string(body), r.RecordedAt, r.AppliedAt)
	if err != nil {
		return t.fault("write a reorganization", err)
	}
	return nil
}

// Reorganizations returns all that were recorded, in order of their effective day.
func (s *Store) Reorganizations(ctx context.Context) (all []annona.Reorganization, err error) {
	err = s.readers.ask(ctx, "read the reorganizations of areas", func(c *conn) error {
		all = nil
		return c.each("SELECT body FROM reorganizations ORDER BY effective, recorded_at", func(r row) error {
			var one annona.Reorganization
			if err := json.Unmarshal(r[0], &one); err != nil {
				return annona.Internal("read the reorganizations of areas", err)
			}
			all = append(all, one)
			return nil
		})
	})
	return all, err
}
