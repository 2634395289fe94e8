package postgres

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// householdKey is how a source names a household.
type householdKey struct{ source, key string }

// household is what a member's line repeats of it.
type household struct {
	number annona.Number
	uid    annona.UID
	area   string
}

// holdHouseholds looks up households and locks them against change: the line of a member repeats
// their area, and must not repeat a former one.
func (t *tx) holdHouseholds(joined []householdKey) error {
	var sources, keys []string
	asked := map[householdKey]bool{}
	for _, k := range joined {
		if _, known := t.known[k]; known || asked[k] {
			continue
		}
		asked[k] = true
		sources, keys = append(sources, k.source), append(keys, k.key)
	}
	if len(keys) == 0 {
		return nil
	}
	const named = "SELECT k.source, k.key, h.number, h.uid, h.f_area_code FROM unnest($1::text[], $2::text[]) k (source, key) "
	err := t.keepHouseholds(named+`JOIN households h ON h.source = k.source COLLATE "C" AND h.source_key = k.key COLLATE "C" ORDER BY h.number FOR SHARE OF h`, sources, keys)
	if err != nil || !t.beside {
		return err
	}
	return t.keepHouseholds(named+`JOIN other_keys o ON o.source = k.source COLLATE "C" AND o.source_key = k.key COLLATE "C" AND o.dataset = 'households'
		JOIN households h ON h.number = o.number ORDER BY h.number FOR SHARE OF h`, sources, keys)
}

func (t *tx) keepHouseholds(sql string, sources, keys []string) error {
	return t.conn.each(sql, func(r row) error {
		h := household{r.number(2), r.uid(3), r.text(4)}
		t.known[householdKey{r.text(0), r.text(1)}], t.homes[h.number] = h, h
		return nil
	}, sources, keys)
}

// holdHomes does so with households by their numbers.
func (t *tx) holdHomes(numbers []int64) error {
	numbers = slices.DeleteFunc(numbers, func(n int64) bool {
		_, held := t.homes[annona.Number(n)]
		return held
	})
	if len(numbers) == 0 {
		return nil
	}
	return t.conn.each("SELECT number, uid, f_area_code FROM households WHERE number = ANY ($1) ORDER BY number FOR SHARE", func(r row) error {
		t.homes[r.number(0)] = household{r.number(0), r.uid(1), r.text(2)}
		return nil
	}, numbers)
}

// erasedHouseholds returns those of the joined households that are not on file because they were
// erased.
func (t *tx) erasedHouseholds(joined []householdKey) (map[householdKey]bool, error) {
	var sources, keys []string
	for _, k := range joined {
		if _, known := t.known[k]; !known {
			sources, keys = append(sources, k.source), append(keys, k.key)
		}
	}
	erased := map[householdKey]bool{}
	if len(keys) == 0 {
		return erased, nil
	}
	return erased, t.conn.each(erasedKeys, func(r row) error {
		erased[householdKey{r.text(0), r.text(1)}] = true
		return nil
	}, sources, keys, "households", t.now)
}

// householdsChanged follows changes of households to their members: their line repeats the
// area, and whoever selects people by their household has to look again.
func (t *tx) householdsChanged(tb *table, changes []*written, touched touches) error {
	var changed, moved []int64
	var areas []string
	for _, w := range changes {
		h := household{w.number, w.uid, areaOf(w.record)}
		t.known[householdKey{w.record.Source, w.record.Key}], t.homes[w.number] = h, h
		if w.isNew() {
			continue
		}
		differs, area, err := tb.indexDiffers(w)
		if err != nil {
			return err
		}
		if differs {
			changed = append(changed, int64(w.number))
		}
		if area {
			moved, areas = append(moved, int64(w.number)), append(areas, areaOf(w.record))
		}
	}
	for k, h := range t.known { // under whichever key
		t.known[k] = t.homes[h.number]
	}
	if len(changed) == 0 {
		return nil
	}
	err := t.conn.each("SELECT individual FROM memberships WHERE household = ANY ($1)", func(r row) error {
		if len(moved) > 0 {
			t.dueNames(r.number(0))
		}
		touched[subject{"individuals", r.number(0)}] = "household"
		return nil
	}, changed)
	if err != nil || len(moved) == 0 {
		return err
	}
	return t.conn.exec(`UPDATE individuals i SET area_code = nullif(h.area, '') FROM unnest($1::bigint[], $2::text[]) h (number, area)
		JOIN memberships m ON m.household = h.number WHERE i.number = m.individual AND i.household_number = h.number`, moved, areas)
}

// indexDiffers compares the filters' columns of a record with what it brings.
func (tb *table) indexDiffers(w *written) (differs, area bool, err error) {
	brings := map[string]string{}
	for _, v := range w.record.Index {
		value, err := indexValue(v)
		if err != nil {
			return false, false, err
		}
		if isIndexed(v.Field) {
			brings[v.Field.Code] = columnText(value)
		}
	}
	for i, code := range tb.indexed {
		if w.index[i] != brings[code] {
			differs, area = true, area || code == areaCode
		}
	}
	return differs, area, nil
}

// areaCode is the field of a household that its members' lines repeat.
const areaCode = "area_code"

func areaOf(r *annona.StoredRecord) string {
	for _, v := range r.Index {
		if v.Field.Code == areaCode {
			return v.Text
		}
	}
	return ""
}
