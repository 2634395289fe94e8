package postgres

import "github.com/annona-exchange/annona"

// roleHead is the code of group_role for the head of a household.
const roleHead = "head"

// membership is a membership as it lies in the store.
type membership struct {
	number     int64
	uid        annona.UID
	individual annona.Number
	household  household
	annona.Membership
}

// same reports whether two memberships say the same.
func (m membership) same(o membership) bool {
	a, b := m.Membership, o.Membership
	a.HouseholdKey, b.HouseholdKey = "", ""
	return m.household.number == o.household.number && a == b
}

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

// rank puts the head of a household before the other members.
func (m membership) rank() int64 {
	if m.Role == roleHead {
		return 0
	}
	return 1
}

// wantedMemberships resolves the households of the records' memberships. Of two that overlap
// in one household the first counts: nobody is in it twice. A household that was erased is left out.
func (t *tx) wantedMemberships(changes []*written) error {
	var joined []householdKey
	for _, w := range changes {
		for _, m := range w.record.Memberships {
			joined = append(joined, householdKey{w.record.Source, m.HouseholdKey})
		}
	}
	if err := t.holdHouseholds(joined); err != nil {
		return err
	}
	erased, err := t.erasedHouseholds(joined)
	if err != nil {
		return err
	}
	today := annona.DateOf(t.now)
	for _, w := range changes {
		for _, reported := range w.record.Memberships {
			k := householdKey{w.record.Source, reported.HouseholdKey}
			h, ok := t.known[k]
			switch {
			case ok:
				w.join(membership{household: h, Membership: reported})
			case !erased[k]:
				return annona.Invalid("unknown_household", "a record joins a household that is not on file; load households before their members")
			}
		}
		w.line = lineOf(w.memberships, today)
	}
	return nil
}

func (w *written) join(m membership) {
	for _, o := range w.memberships {
		if m.overlaps(o) {
			return
		}
	}
	w.memberships = append(w.memberships, m)
}

// writeMemberships replaces the memberships of individuals by those of their records, and
// touches the households that this concerns. A membership that goes on keeps its number and id.
func (t *tx) writeMemberships(changes []*written, touched touches) error {
	had, err := t.formerMemberships(changes)
	if err != nil {
		return err
	}
	var d difference
	for _, w := range changes {
		for i := range w.memberships {
			w.memberships[i].individual = w.number
		}
		d.compare(had[w.number], w.memberships)
	}
	for _, some := range [][]*membership{d.gone, d.added} {
		for _, m := range some {
			touched[subject{"households", m.household.number}] = "membership"
		}
	}
	return t.writeDifference(&d)
}

func (t *tx) formerMemberships(changes []*written) (map[annona.Number][]membership, error) {
	var known []int64
	for _, w := range changes {
		if !w.created {
			known = append(known, int64(w.number))
		}
	}
	return readMemberships(t.conn, known)
}

// readMemberships returns all memberships of the individuals, in order of number.
func readMemberships(c *conn, individuals []int64) (map[annona.Number][]membership, error) {
	had := map[annona.Number][]membership{}
	if len(individuals) == 0 {
		return had, nil
	}
	err := c.each(`SELECT m.individual, m.number, m.uid, m.household, h.uid, h.f_area_code, m.role, m.role_source_code, m.relationship_to_head,
		m.recipient_type, m.is_primary, m.start_date, m.end_date
		FROM memberships m JOIN households h ON h.number = m.household WHERE m.individual = ANY ($1) ORDER BY m.individual, m.number`, func(r row) error {
		m := membership{
			individual: r.number(0), number: r.integer(1), uid: r.uid(2), household: household{r.number(3), r.uid(4), r.text(5)},
			Membership: annona.Membership{
				Role: r.text(6), RoleSourceCode: r.text(7), RelationshipToHead: r.text(8), RecipientType: r.text(9),
				NotPrimary: !r.truth(10), StartDate: r.date(11), EndDate: r.date(12),
			},
		}
		had[m.individual] = append(had[m.individual], m)
		return nil
	}, individuals)
	return had, err
}

// difference is what has to be written so that memberships are as reported.
type difference struct{ gone, added []*membership }

func (d *difference) compare(had, wanted []membership) {
	kept := make([]bool, len(had))
	for i := range wanted {
		m := &wanted[i]
		at := continued(m, had, kept)
		if at >= 0 {
			kept[at], m.number, m.uid = true, had[at].number, had[at].uid
			if m.same(had[at]) {
				continue
			}
			d.gone = append(d.gone, &had[at])
		}
		d.added = append(d.added, m)
	}
	for i := range had {
		if !kept[i] {
			d.gone = append(d.gone, &had[i])
		}
	}
}

// continued returns the position of the membership that m continues, -1 when it is a new one.
func continued(m *membership, had []membership, kept []bool) int {
	for i, o := range had {
		if !kept[i] && m.continues(o) {
			return i
		}
	}
	return -1
}

var membershipColumns = []string{"household", "rank", "number", "individual", "uid", "is_primary", "role", "role_source_code",
	"relationship_to_head", "recipient_type", "start_date", "end_date"}

func (t *tx) writeDifference(d *difference) error {
	if err := t.deleteMemberships(d.gone); err != nil {
		return err
	}
	var fresh []*membership
	for _, m := range d.added {
		if m.number == 0 {
			fresh = append(fresh, m)
		}
	}
	numbers, err := t.next("memberships_number", len(fresh))
	if err != nil {
		return err
	}
	for i, n := range numbers {
		fresh[i].number, fresh[i].uid = n, annona.NewUID()
	}
	rows := make([][]any, len(d.added))
	for i, m := range d.added {
		rows[i] = []any{int64(m.household.number), m.rank(), m.number, int64(m.individual), m.uid[:], !m.NotPrimary, orNull(m.Role), orNull(m.RoleSourceCode),
			orNull(m.RelationshipToHead), orNull(m.RecipientType), orNull(string(m.StartDate)), orNull(string(m.EndDate))}
	}
	return t.conn.copyIn("memberships", membershipColumns, rows)
}

func (t *tx) deleteMemberships(gone []*membership) error {
	if len(gone) == 0 {
		return nil
	}
	var households, ranks, numbers []int64
	for _, m := range gone {
		households, ranks, numbers = append(households, int64(m.household.number)), append(ranks, m.rank()), append(numbers, m.number)
	}
	return t.conn.exec(`DELETE FROM memberships m USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) g (household, rank, number)
		WHERE m.household = g.household AND m.rank = g.rank AND m.number = g.number`, households, ranks, numbers)
}
