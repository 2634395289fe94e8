package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Areas returns all areas, by level and code, and their version.
func (s *Store) Areas(ctx context.Context) (areas []annona.Area, version int64, err error) {
	err = s.readers.read(ctx, "read the areas", func(c *conn) error {
		if version, err = c.counter("areas"); err != nil {
			return err
		}
		return c.each("SELECT code, parent, level, names, valid_from, valid_to, replaced_by FROM areas ORDER BY level, code", func(s *sqlite.Stmt) error {
			a := annona.Area{
				Code: s.ColumnText(0), Parent: s.ColumnText(1), Level: s.ColumnInt(2),
				ValidFrom: columnDate(s, 4), ValidTo: columnDate(s, 5), ReplacedBy: splitList(s.ColumnText(6)),
			}
			if err := json.Unmarshal([]byte(s.ColumnText(3)), &a.Names); err != nil {
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
	err := s.readers.read(ctx, "find areas", func(c *conn) error {
		for _, code := range codes {
			n, err := c.integer("SELECT 1 FROM areas WHERE code = ?", code)
			if err != nil {
				return err
			}
			exists[code] = n == 1
		}
		return nil
	})
	return exists, err
}

// PutAreas writes areas, by code.
func (t *tx) PutAreas(ctx context.Context, areas []annona.Area) error {
	changed := false
	for _, a := range areas {
		if err := ctx.Err(); err != nil {
			return err
		}
		moved, err := t.putArea(a)
		if err != nil {
			return fault("write an area", err)
		}
		changed = changed || moved
	}
	if !changed {
		return nil
	}
	_, err := t.next("areas")
	return fault("write an area", err)
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
	err = t.conn.exec(`INSERT INTO areas (code, parent, level, names, valid_from, valid_to, replaced_by) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (code) DO UPDATE SET parent = excluded.parent, level = excluded.level, names = excluded.names,
			valid_from = excluded.valid_from, valid_to = excluded.valid_to, replaced_by = excluded.replaced_by
		WHERE (areas.parent, areas.level, areas.names, areas.valid_from, areas.valid_to, areas.replaced_by)
			IS NOT (excluded.parent, excluded.level, excluded.names, excluded.valid_from, excluded.valid_to, excluded.replaced_by)`,
		a.Code, a.Parent, a.Level, string(names), a.ValidFrom, a.ValidTo, joinList(a.ReplacedBy))
	if err != nil || t.conn.Changes() == 0 {
		return false, err
	}
	if err := t.conn.exec("DELETE FROM area_links WHERE code = ?1 AND inside OR origin = ?1 AND NOT inside", a.Code); err != nil {
		return false, err
	}
	for _, l := range a.Links() {
		if err := t.conn.exec("INSERT OR IGNORE INTO area_links (origin, code, inside) VALUES (?, ?, ?)", l.Origin, l.Code, l.Inside); err != nil {
			return false, err
		}
	}
	return true, nil
}

// ExpectAreas refuses areas of another version. Nobody else writes while the transaction lasts.
func (t *tx) ExpectAreas(ctx context.Context, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now, err := t.conn.counter("areas")
	if err == nil && now != version {
		return annona.ErrAreasMoved
	}
	return fault("read the areas", err)
}

// insideArea selects an area and all that lies inside it. Its parameter is the code.
const insideArea = "WITH RECURSIVE inside (code) AS (SELECT ? UNION SELECT l.code FROM inside i JOIN area_links l ON l.origin = i.code AND l.inside) SELECT code FROM inside"

// KeepFormer remembers which households stand in an area. See annona.AreaTx.
func (t *tx) KeepFormer(ctx context.Context, code string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err := t.conn.exec("INSERT OR IGNORE INTO former_areas (area, household) SELECT ?, number FROM households WHERE f_area_code IN ("+insideArea+")", code, code)
	households := int64(t.conn.Changes())
	if err == nil {
		err = t.conn.exec("INSERT OR IGNORE INTO former_areas (area, household) SELECT ?, number FROM deleted_records WHERE dataset = 'households' AND area_code IN ("+insideArea+")", code, code)
	}
	return households, fault("remember where households stood", err)
}

// HouseholdsIn returns households by their own code. See annona.AreaTx.
func (t *tx) HouseholdsIn(ctx context.Context, households *annona.Dataset, code, flag string, limit int) (keys []annona.RecordKey, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = t.conn.each(`SELECT source, source_key FROM households WHERE f_area_code = ?
		AND (? OR instr(coalesce(f_quality_flags, ''), ?) = 0) ORDER BY number LIMIT ?`, func(s *sqlite.Stmt) error {
		keys = append(keys, annona.RecordKey{Dataset: households, Source: s.ColumnText(0), Key: s.ColumnText(1)})
		return nil
	}, code, flag == "", listSeparator+flag+listSeparator, limit)
	return keys, fault("find the households of an area", err)
}

// MoveHouseholds writes households in their new areas. See annona.AreaTx.
func (t *tx) MoveHouseholds(ctx context.Context, actor string, moved []annona.StoredRecord) error {
	by, touched := annona.Author{Operator: actor, Reason: "area"}, touches{}
	for i := range moved {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.moveHousehold(by, &moved[i], touched); err != nil {
			return fault("move a household to another area", err)
		}
	}
	clear(t.known)
	return fault("write an event", t.touchAll(touched, by))
}

func (t *tx) moveHousehold(by annona.Author, r *annona.StoredRecord, touched touches) error {
	tb, err := t.table(r.Dataset)
	if err != nil {
		return err
	}
	if _, err := t.taken(tb, r); err != nil {
		return err
	}
	plain, groups, err := r.Dataset.SplitGroups(r.Clear)
	if err != nil {
		return annona.Internal("move a household to another area", err)
	}
	sealed, sealedGroups, err := annona.CutSealed(r.Sealed)
	if err != nil {
		return annona.Internal("move a household to another area", err)
	}
	area, flags, err := placeOf(r)
	if err != nil {
		return err
	}
	err = t.conn.exec(`UPDATE households SET updated_at = ?, clear = ?, clear_groups = ?, sealed = ?, sealed_groups = ?, version = ?,
		f_area_code = ?, f_quality_flags = ? WHERE number = ?`,
		annona.Instant(t.now), plain, groups, sealed, sealedGroups, r.Version, area, flags, r.Number)
	if err != nil {
		return err
	}
	if err := t.conn.exec("UPDATE individuals SET area_code = ? WHERE number IN (SELECT individual FROM memberships WHERE household = ?2) AND household_number = ?2", area, r.Number); err != nil {
		return err
	}
	members, err := t.members(r.Number)
	if err != nil {
		return err
	}
	for _, m := range members {
		t.dueName(m)
		touched[subject{"individuals", m}] = "area"
	}
	return t.event(eventOf(by, tb.dataset, r.Number, r.Version, annona.EventChanged, r.Before))
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
	err = t.conn.exec("INSERT OR REPLACE INTO reorganizations (id, effective, body, recorded_at, applied_at) VALUES (?, ?, ?, ?, ?)",
		r.ID, r.Effective, string(body), r.RecordedAt, r.AppliedAt)
	return fault("write a reorganization", err)
}

// Reorganizations returns all that were recorded, in order of their effective day.
func (s *Store) Reorganizations(ctx context.Context) (all []annona.Reorganization, err error) {
	err = s.readers.read(ctx, "read the reorganizations of areas", func(c *conn) error {
		return c.each("SELECT body FROM reorganizations ORDER BY effective, recorded_at", func(s *sqlite.Stmt) error {
			var r annona.Reorganization
			if err := json.Unmarshal([]byte(s.ColumnText(0)), &r); err != nil {
				return annona.Internal("read the reorganizations of areas", err)
			}
			all = append(all, r)
			return nil
		})
	})
	return all, err
}
