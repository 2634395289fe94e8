package sqlite

import (
	"zombiezen.com/go/sqlite"

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

// joined finds the household of a membership. One that was erased, or named by a number that is not
// on file any more, is not there.
func (t *tx) joined(m *annona.Membership) (h household, there bool, err error) {
	if m.Household > 0 {
		there, err = t.conn.one("SELECT number, uid, f_area_code FROM households WHERE number = ?", h.read, m.Household)
		return h, there, err
	}
	k := householdKey{m.Source, m.HouseholdKey}
	if h, ok := t.known[k]; ok {
		return h, true, nil
	}
	number, err := t.numberOf(recordKey{"households", k.source, k.key})
	if err == nil && number > 0 {
		there, err = t.conn.one("SELECT number, uid, f_area_code FROM households WHERE number = ?", h.read, number)
	}
	if err == nil && !there && t.elsewhere.keys {
		there, err = t.conn.one(`SELECT h.number, h.uid, h.f_area_code FROM other_keys o CROSS JOIN households h ON h.number = o.number
			WHERE o.source = ? AND o.source_key = ? AND o.dataset = 'households'`, h.read, k.source, k.key)
	}
	if err != nil {
		return h, false, err
	}
	if there {
		t.known[k] = h
		return h, true, nil
	}
	if erased, err := t.buried(recordKey{"households", k.source, k.key}); err != nil || erased {
		return h, false, err
	}
	return h, false, annona.Invalid("unknown_household", "a record joins a household that is not on file; load households before their members")
}

func (h *household) read(s *sqlite.Stmt) {
	*h = household{annona.Number(s.ColumnInt64(0)), columnUID(s, 1), s.ColumnText(2)}
}

// householdChanges follows a change of a household to its members: their line repeats its
// area, and whoever selects people by their household has to look again.
func (t *tx) householdChanges(tb *table, r *annona.StoredRecord, touched touches) error {
	changed, areaChanged, err := t.indexChanges(tb, r)
	if err != nil || !changed {
		return err
	}
	clear(t.known) // under whichever key
	members, err := t.members(r.Number)
	if err != nil {
		return err
	}
	for _, m := range members {
		touched[subject{"individuals", m}] = "household"
		if !areaChanged {
			continue
		}
		t.dueName(m)
		err := t.conn.exec("UPDATE individuals SET area_code = ? WHERE number = ? AND household_number = ?", areaOf(r), m, r.Number)
		if err != nil {
			return err
		}
	}
	return nil
}

// indexChanges compares the filters' columns of a record with what it brings.
func (t *tx) indexChanges(tb *table, r *annona.StoredRecord) (changed, area bool, err error) {
	brings := map[string]string{}
	for _, v := range r.Index {
		value, err := indexValue(v)
		if err != nil {
			return false, false, err
		}
		if isIndexed(v.Field) {
			brings[v.Field.Code] = columnText(value)
		}
	}
	_, err = t.conn.one(tb.index, func(s *sqlite.Stmt) {
		for i, code := range tb.indexed {
			differs := s.ColumnText(i) != brings[code]
			changed, area = changed || differs, area || differs && code == areaCode
		}
	}, r.Number)
	return changed, area, err
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

// members returns everybody who has a membership of the household.
func (t *tx) members(household annona.Number) (members []annona.Number, err error) {
	err = t.conn.each("SELECT individual FROM memberships WHERE household = ? ORDER BY rank, number", func(s *sqlite.Stmt) error {
		members = append(members, annona.Number(s.ColumnInt64(0)))
		return nil
	}, household)
	return members, err
}
