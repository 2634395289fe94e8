package exchange

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// Each membership and each relationship belongs to the source that reports it. One that its source
// reports no more ends on the day of the report and stays as history; a new one starts on that day,
// unless the source says when.

// mergeMemberships returns the memberships of an individual after a report.
func mergeMemberships(had []annona.Membership, r said) []annona.Membership {
	if !r.covers(unitMemberships) {
		return had
	}
	day := annona.DateOf(r.asOf.UTC())
	taken := make([]bool, len(had))
	var now []annona.Membership
	for _, m := range r.memberships {
		if at := continued(had, taken, m, r.source, day); at >= 0 {
			taken[at] = true
			now = append(now, goesOn(had[at], m))
			continue
		}
		if m.StartDate == "" {
			m.StartDate = day
		}
		m.Source = r.source
		now = append(now, m)
	}
	next := make([]annona.Membership, 0, len(had)+len(now))
	for i, m := range had {
		if m.Source == r.source && !taken[i] {
			m.EndDate = earlier(m.EndDate, day)
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
	return next
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

// goesOn is a membership on file after a further word of its source.
func goesOn(old, m annona.Membership) annona.Membership {
	m.Household, m.Source = old.Household, old.Source
	if m.StartDate == "" {
		m.StartDate = old.StartDate
	}
	return m
}

func earlier(a, b annona.Date) annona.Date {
	if a != "" && a < b {
		return a
	}
	return b
}

// lasts reports whether a membership held for a day at least.
func lasts(m annona.Membership) bool { return m.EndDate == "" || m.StartDate < m.EndDate }

// overlap reports whether somebody would be in one household twice at a time.
func overlap(a, b annona.Membership) bool {
	return sameHousehold(a, b) && (a.EndDate == "" || b.StartDate < a.EndDate) && (b.EndDate == "" || a.StartDate < b.EndDate)
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
