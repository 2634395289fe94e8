package exchange

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// Each membership and each relationship belongs to the source that reports it. One that its source
// reports no more ends on the day of the report and stays as history; a new one starts on that day,
// unless the source says when.

// mergeMemberships returns the memberships of an individual after a report. differs: the registry
// itself has decided otherwise, and that holds.
func mergeMemberships(had []annona.Membership, r said) (next []annona.Membership, differs bool) {
	if !r.covers(unitMemberships) {
		return had, false
	}
	day := annona.DateOf(r.asOf.UTC())
	taken := make([]bool, len(had))
	var now []annona.Membership
	for _, m := range r.memberships {
		at, known := standsFor(had, taken, m, r.source, day)
		switch {
		case !known:
			if m.StartDate == "" {
				m.StartDate = day
			}
			m.Source = r.source
			if !m.NotPrimary && livesElsewhere(had, m, day) {
				m.NotPrimary, differs = true, true
			}
		case had[at].Source != r.source && had[at].Source != annona.OwnSource: // another source's, and it is not so
			differs = true
			continue
		default:
			taken[at] = true
			var other bool
			m, other = goesOn(had[at], m, r.source)
			differs = differs || other
		}
		now = append(now, m)
	}
	next = make([]annona.Membership, 0, len(had)+len(now))
	for i, m := range had {
		if m.Source == r.source && !taken[i] { // its source has heard of it, or it ends now
			m.EndDate, m.Decided = earlier(m.EndDate, day), false
		}
		if !taken[i] && lasts(m) {
			next = append(next, m)
		}
	}
	for _, m := range now {
		if lasts(m) && !slices.ContainsFunc(next, func(o annona.Membership) bool { return overlap(o, m) }) {
			next = append(next, m)
		}
	}
	return onePrimary(next, had, day), differs
}

// standsFor returns the membership on file that a reported one is about: the one that it continues, one
// that the registry itself has made, or one that the registry has ended and the source still reports.
func standsFor(had []annona.Membership, taken []bool, m annona.Membership, source string, day annona.Date) (at int, known bool) {
	if at := continued(had, taken, m, source, day); at >= 0 {
		return at, true
	}
	free := func(i int) bool { return !taken[i] && sameHousehold(had[i], m) }
	for i, o := range had {
		if free(i) && o.Source == annona.OwnSource && (o.EndDate == "" || o.EndDate > day) {
			return i, true
		}
	}
	for i, o := range had {
		if free(i) && o.Decided && o.EndDate != "" && (m.StartDate == "" || m.StartDate < o.EndDate) {
			return i, true
		}
	}
	return 0, false
}

// livesElsewhere reports whether the registry itself has decided that somebody lives in another household
// first of all.
func livesElsewhere(had []annona.Membership, m annona.Membership, day annona.Date) bool {
	return slices.ContainsFunc(had, func(o annona.Membership) bool {
		return (o.Source == annona.OwnSource || o.Decided) && !o.NotPrimary && o.EndDate == "" && !sameHousehold(o, m)
	})
}

// continued returns the membership on file of which m is a later word: of the same source and
// household, with the same start; without a start, or with a corrected one, the one that has not
// ended. -1: there is none.
func continued(had []annona.Membership, taken []bool, m annona.Membership, source string, day annona.Date) int {
	may := func(i int) bool { return !taken[i] && had[i].Source == source && sameHousehold(had[i], m) }
	for i, o := range had {
		if may(i) && m.StartDate != "" && o.StartDate == m.StartDate {
			return i
		}
	}
	for i, o := range had {
		if may(i) && (o.EndDate == "" || o.EndDate > day) {
			return i
		}
	}
	return -1
}

func sameHousehold(a, b annona.Membership) bool {
	if a.Household != 0 || b.Household != 0 {
		return a.Household == b.Household
	}
	return a.HouseholdKey == b.HouseholdKey
}

// goesOn is a membership on file after a further word of a source. What the registry has decided about it
// holds until the source says the same; differs: it does not. That somebody has left is news all the same.
func goesOn(old, m annona.Membership, source string) (next annona.Membership, differs bool) {
	own := old.Source == annona.OwnSource
	m.Household, m.Source = old.Household, source
	if m.StartDate == "" || old.Decided || own {
		m.StartDate = old.StartDate
	}
	agrees := m.NotPrimary == old.NotPrimary && m.EndDate == old.EndDate && (m.Role == "" || m.Role == old.Role) &&
		(own || m.RelationshipToHead == "" || m.RelationshipToHead == old.RelationshipToHead)
	if agrees || !old.Decided && !own {
		return m, false
	}
	old.Source, old.Decided = source, true
	if old.EndDate == "" {
		old.EndDate = m.EndDate
	}
	return old, true
}

func earlier(a, b annona.Date) annona.Date {
	if a != "" && a < b {
		return a
	}
	return b
}

// lasts reports whether a membership held for a day at least, or is kept because the registry has ended
// it before.
func lasts(m annona.Membership) bool {
	return m.EndDate == "" || m.StartDate < m.EndDate || m.Decided
}

// lasting returns those memberships that lasted.
func lasting(all []annona.Membership) []annona.Membership {
	return slices.DeleteFunc(slices.Clone(all), func(m annona.Membership) bool { return !lasts(m) })
}

// overlap reports whether somebody would be in one household twice at a time.
func overlap(a, b annona.Membership) bool { return sameHousehold(a, b) && atOneTime(a, b) }

func atOneTime(a, b annona.Membership) bool {
	return (a.EndDate == "" || b.StartDate < a.EndDate) && (b.EndDate == "" || a.StartDate < b.EndDate)
}

// onePrimary leaves one of those memberships primary that hold at a time: one about which the registry
// has decided, otherwise the one that stands first. When the primary one has ended by that day, the oldest
// of those that hold takes its place; whether it ended with this report or in one before makes no difference.
func onePrimary(all, had []annona.Membership, day annona.Date) []annona.Membership {
	settled := func(m *annona.Membership) bool { return m.Decided || m.Source == annona.OwnSource }
	for i := range all {
		for j := range all[:i] {
			a, b := &all[j], &all[i]
			switch {
			case a.NotPrimary || b.NotPrimary || !atOneTime(*a, *b):
			case settled(b) && !settled(a):
				a.NotPrimary = true
			default:
				b.NotPrimary = true
			}
		}
	}
	was := func(m annona.Membership) bool { return !m.NotPrimary && lasts(m) }
	if slices.ContainsFunc(had, was) || slices.ContainsFunc(all, was) {
		promote(all, day)
	}
	return all
}

// promote makes the oldest of the memberships that hold on a day primary when none of them is. It returns
// which one; -1: there was no need.
func promote(all []annona.Membership, day annona.Date) int {
	oldest := -1
	for i, m := range all {
		switch {
		case m.EndDate != "" && m.EndDate <= day || m.StartDate > day:
		case !m.NotPrimary:
			return -1
		case oldest < 0 || m.StartDate < all[oldest].StartDate:
			oldest = i
		}
	}
	if oldest >= 0 {
		all[oldest].NotPrimary = false
	}
	return oldest
}

// mergeRelationships returns the relationships of an individual after a report.
func mergeRelationships(had []annona.Relationship, r said) []annona.Relationship {
	if !r.covers(unitRelationships) {
		return had
	}
	day := annona.DateOf(r.asOf.UTC())
	taken := make([]bool, len(had))
	var now []annona.Relationship
	for _, t := range r.relationships {
		at := related(had, taken, t, r.source, day)
		switch {
		case at >= 0:
			taken[at] = true
			t.To, t.Source = had[at].To, r.source
			if t.StartDate == "" {
				t.StartDate = had[at].StartDate
			}
		case t.StartDate == "":
			t.StartDate = day
			fallthrough
		default:
			t.Source = r.source
		}
		now = append(now, t)
	}
	next := make([]annona.Relationship, 0, len(had)+len(now))
	for i, t := range had {
		if t.Source == r.source && !taken[i] {
			t.EndDate = earlier(t.EndDate, day)
		}
		if !taken[i] && (t.EndDate == "" || t.StartDate < t.EndDate) {
			next = append(next, t)
		}
	}
	return append(next, now...)
}

// related returns the relationship on file of which t is a later word; -1: there is none.
func related(had []annona.Relationship, taken []bool, t annona.Relationship, source string, day annona.Date) int {
	return slices.IndexFunc(indexes(len(had)), func(i int) bool {
		o := had[i]
		return !taken[i] && o.Source == source && o.ToKey == t.ToKey && o.Type == t.Type && (o.EndDate == "" || o.EndDate > day)
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// death is what a record says of the death of its individual.
type death struct {
	status string
	date   annona.Date
}

func (d *death) read(values []annona.Value) {
	for _, v := range values {
		switch v.Field.Code {
		case "vital_status":
			d.status = v.Text
		case "date_of_death":
			d.date = annona.Date(v.Text)
		}
	}
}

// end ends the memberships of somebody who has died: on the day of death, or on that of the report
// when the day of death is not known.
func (d death) end(memberships []annona.Membership, reported annona.Date) []annona.Membership {
	last := d.date
	if last == "" && d.status == "deceased" {
		last = reported
	}
	if last == "" {
		return memberships
	}
	lived := make([]annona.Membership, 0, len(memberships))
	for _, m := range memberships {
		if m.EndDate = earlier(m.EndDate, last); lasts(m) {
			lived = append(lived, m)
		}
	}
	return lived
}

func deathIn(words []word) (d death) {
	for _, w := range words {
		d.read(w.values)
	}
	return d
}
