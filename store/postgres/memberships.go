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

// rank puts the head of a household before the other members.
func (m membership) rank() int64 {
	if m.Role == roleHead {
		return 0
	}
	return 1
}

// ownSource is the source of a membership where it is not that of the individual's first key.
func (m membership) ownSource() any {
	if m.Source == m.first {
		return nil
	}
	return m.Source
}

// wantedMemberships resolves the households of the records' memberships. Of two that overlap
// in one household the first counts: nobody is in it twice. A household that was erased is left
// out, and one named by a number that is not on file any more.
func (t *tx) wantedMemberships(changes []*written) error {
	joined, numbers := joinedBy(changes)
	if err := t.holdHouseholds(joined); err != nil {
		return err
	}
	if err := t.holdHomes(numbers); err != nil {
		return err
	}
	erased, err := t.erasedHouseholds(joined)
	if err != nil {
		return err
	}
	today := annona.DateOf(t.now)
	for _, w := range changes {
		for _, reported := range w.record.Memberships {
			reported.Source = w.sourceOf(reported.Source)
			k := householdKey{reported.Source, reported.HouseholdKey}
			h, ok := t.known[k]
			if reported.Household > 0 {
				h, ok = t.homes[reported.Household]
			}
			if ok {
				reported.Household, reported.HouseholdKey = h.number, ""
				w.join(membership{household: h, first: w.key.Source, Membership: reported})
			} else if reported.Household == 0 && !erased[k] {
				return annona.Invalid("unknown_household", "a record joins a household that is not on file; load households before their members")
			}
		}
		w.line = lineOf(w.joins, today)
	}
	return nil
}

// joinedBy returns the households that records join, by key or by number.
func joinedBy(changes []*written) (joined []householdKey, numbers []int64) {
	for _, w := range changes {
		for _, m := range w.record.Memberships {
			if m.Household > 0 {
				numbers = append(numbers, int64(m.Household))
			} else {
				joined = append(joined, householdKey{w.sourceOf(m.Source), m.HouseholdKey})
			}
		}
	}
	return joined, numbers
}

// sourceOf is the source of what hangs on a record: that of its first key when none is named.
func (w *written) sourceOf(named string) string {
	if named == "" {
		return w.key.Source
	}
	return named
}

func (w *written) join(m membership) {
	for _, o := range w.joins {
		if m.overlaps(o) {
			return
		}
	}
	w.joins = append(w.joins, m)
}

// writeMemberships replaces the memberships of individuals by those of their records, and
// touches the households that this concerns. A membership that goes on keeps its number and id.
func (t *tx) writeMemberships(changes []*written, touched touches) error {
	var d difference
	for _, w := range changes {
		for i := range w.joins {
			w.joins[i].individual = w.number
		}
		d.compare(w.memberships, w.joins)
	}
	for _, some := range [][]*membership{d.gone, d.added} {
		for _, m := range some {
			touched[subject{"households", m.household.number}] = "membership"
		}
	}
	return t.writeDifference(&d)
}

// readMemberships returns all memberships of the individuals, in order of number.
func readMemberships(c *conn, individuals []int64) (map[annona.Number][]membership, error) {
	had := map[annona.Number][]membership{}
	if len(individuals) == 0 {
		return had, nil
	}
	return had, c.askAll(membershipsInto(had, individuals))
}

// selectMemberships finds memberships person by person, and what belongs to each: a server without statistics of the
// table believes that it is worth to read all of it.
const selectMemberships = `SELECT m.individual, m.number, m.uid, m.household, h.uid, h.f_area_code, m.role, m.role_source_code, m.relationship_to_head,
	m.recipient_type, m.is_primary, m.start_date, m.end_date, i.source, coalesce(m.source, i.source), m.decided
	FROM unnest($1::bigint[]) p (number)
	CROSS JOIN LATERAL (SELECT * FROM memberships WHERE individual = p.number ORDER BY number) m
	CROSS JOIN LATERAL (SELECT uid, f_area_code FROM households WHERE number = m.household OFFSET 0) h
	CROSS JOIN LATERAL (SELECT source FROM individuals WHERE number = p.number OFFSET 0) i
	ORDER BY m.individual, m.number`

// membershipsInto asks for them, to be put into had.
func membershipsInto(had map[annona.Number][]membership, individuals []int64) question {
	return question{selectMemberships, []any{individuals}, func(r row) error {
		m := membership{
			individual: r.number(0), number: r.integer(1), uid: r.uid(2), household: household{r.number(3), r.uid(4), r.text(5)}, first: r.text(13),
			Membership: annona.Membership{
				Household: r.number(3), Source: r.text(14),
				Role: r.text(6), RoleSourceCode: r.text(7), RelationshipToHead: r.text(8), RecipientType: r.text(9),
				NotPrimary: !r.truth(10), StartDate: r.date(11), EndDate: r.date(12), Decided: r.truth(15),
			},
		}
		had[m.individual] = append(had[m.individual], m)
		return nil
	}}
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
	"relationship_to_head", "recipient_type", "start_date", "end_date", "source", "decided", "ahead"}

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
		fresh[i].number, fresh[i].uid = n, annona.NewUIDAt(t.now)
	}
	rows, today := rowsFor("memberships", membershipColumns), annona.DateOf(t.now)
	for _, m := range d.added {
		rows.add(int64(m.household.number), m.rank(), m.number, int64(m.individual), m.uid[:], !m.NotPrimary, orNull(m.Role), orNull(m.RoleSourceCode),
			orNull(m.RelationshipToHead), orNull(m.RecipientType), orNull(string(m.StartDate)), orNull(string(m.EndDate)), m.ownSource(), m.Decided, m.isAhead(today))
	}
	return t.conn.copyIn(rows)
}

// isAhead reports whether a membership that is written on a day begins or ends on it, or later.
func (m *membership) isAhead(day annona.Date) bool { return m.StartDate >= day || m.EndDate >= day }

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
