package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// roleHead is the code of group_role for the head of a household.
const roleHead = "head"

// membership is a membership as it lies in the store.
type membership struct {
	number     int64
	uid        annona.UID
	individual annona.Number
	household  household
	first      string // source of the individual's first key: memberships that it reports do not repeat it
	annona.Membership
}

// same reports whether two memberships say the same.
func (m membership) same(o membership) bool { return m.Membership == o.Membership }

// continues reports whether m is a later word on the same membership as o.
func (m membership) continues(o membership) bool {
	return m.household.number == o.household.number && m.StartDate == o.StartDate
}

// overlaps reports whether somebody would be in one household twice at the same time.
func (m membership) overlaps(o membership) bool {
	return m.household.number == o.household.number &&
		(m.EndDate == "" || o.StartDate < m.EndDate) && (o.EndDate == "" || m.StartDate < o.EndDate)
}

func (m membership) activeOn(day annona.Date) bool {
	return m.StartDate <= day && (m.EndDate == "" || m.EndDate > day)
}

// wantedMemberships resolves the households of a record's memberships. Of two that overlap in
// one household the first counts: nobody is in it twice.
func (t *tx) wantedMemberships(w written) ([]membership, error) {
	wanted := make([]membership, 0, len(w.record.Memberships))
next:
	for _, reported := range w.record.Memberships {
		if reported.Source == "" {
			reported.Source = w.key.Source
		}
		h, there, err := t.joined(&reported)
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		reported.Household, reported.HouseholdKey = h.number, ""
		m := membership{individual: w.number, household: h, first: w.key.Source, Membership: reported}
		for _, o := range wanted {
			if m.overlaps(o) {
				continue next
			}
		}
		wanted = append(wanted, m)
	}
	return wanted, nil
}

const selectMemberships = `SELECT m.number, m.uid, m.household, h.uid, h.f_area_code, m.role, m.role_source_code, m.relationship_to_head,
	m.recipient_type, m.is_primary, m.start_date, m.end_date, coalesce(m.source, ?), m.decided
	FROM memberships m JOIN households h ON h.number = m.household WHERE m.individual = ? ORDER BY m.number`

// readMemberships returns the memberships of an individual. first is the source of its first key.
func readMemberships(c *conn, individual annona.Number, first string) (had []membership, err error) {
	err = c.each(selectMemberships, func(s *sqlite.Stmt) error {
		had = append(had, membership{
			number: s.ColumnInt64(0), uid: columnUID(s, 1), individual: individual, first: first,
			household: household{annona.Number(s.ColumnInt64(2)), columnUID(s, 3), s.ColumnText(4)},
			Membership: annona.Membership{
				Household: annona.Number(s.ColumnInt64(2)), Source: s.ColumnText(12),
				Role: s.ColumnText(5), RoleSourceCode: s.ColumnText(6), RelationshipToHead: s.ColumnText(7), RecipientType: s.ColumnText(8),
				NotPrimary: !s.ColumnBool(9), StartDate: columnDate(s, 10), EndDate: columnDate(s, 11), Decided: s.ColumnBool(13),
			},
		})
		return nil
	}, first, individual)
	return had, err
}

// replaceMemberships replaces the memberships of an individual by those of its record: it writes the
// difference and touches the households it concerns. One that goes on keeps its number and id.
func (t *tx) replaceMemberships(had, wanted []membership, touched touches) error {
	kept := make([]bool, len(had))
	for i := range wanted {
		m := &wanted[i]
		same, err := t.continueMembership(m, had, kept)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		touched[subject{"households", m.household.number}] = "membership"
		if err := t.insertMembership(m); err != nil {
			return err
		}
	}
	for i, o := range had {
		if kept[i] {
			continue
		}
		touched[subject{"households", o.household.number}] = "membership"
		if err := t.deleteMembership(o); err != nil {
			return err
		}
	}
	return nil
}

// continueMembership finds the membership that m continues, takes over its number and id, and
// reports whether it says the same. A former word is deleted.
func (t *tx) continueMembership(m *membership, had []membership, kept []bool) (same bool, err error) {
	for i, o := range had {
		if kept[i] || !m.continues(o) {
			continue
		}
		kept[i], m.number, m.uid = true, o.number, o.uid
		if m.same(o) {
			return true, nil
		}
		return false, t.deleteMembership(o)
	}
	return false, nil
}

func (t *tx) insertMembership(m *membership) (err error) {
	if m.number == 0 {
		m.uid = annona.NewUIDAt(t.now)
		if m.number, err = t.next("memberships"); err != nil {
			return err
		}
	}
	return t.conn.exec(`INSERT INTO memberships (household, rank, number, individual, uid, role, role_source_code, relationship_to_head,
		recipient_type, is_primary, start_date, end_date, source, decided, ahead) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		m.household.number, m.rank(), m.number, m.individual, m.uid, m.Role, m.RoleSourceCode, m.RelationshipToHead,
		m.RecipientType, !m.NotPrimary, m.StartDate, m.EndDate, m.ownSource(), m.Decided, m.isAhead(annona.DateOf(t.now)))
}

func (t *tx) deleteMembership(m membership) error {
	return t.conn.exec("DELETE FROM memberships WHERE household = ? AND rank = ? AND number = ?", m.household.number, m.rank(), m.number)
}

// isAhead reports whether a membership that is written on a day begins or ends on it, or later.
func (m membership) isAhead(day annona.Date) bool { return m.StartDate >= day || m.EndDate >= day }

// ownSource is the source of a membership where it is not that of the individual's first key.
func (m membership) ownSource() string {
	if m.Source == m.first {
		return ""
	}
	return m.Source
}

// rank puts the head of a household before the other members.
func (m membership) rank() int {
	if m.Role == roleHead {
		return 0
	}
	return 1
}
