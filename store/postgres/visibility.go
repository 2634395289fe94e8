package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

// newLowering starts a query of the scope, and returns the policy epoch that it is read under. What
// does not matter to anybody on file is asked once, here, and then left out of the query.
func newLowering(c *conn, scope annona.Scope) (l *lowering, epoch int64, err error) {
	l = lower(scope)
	probe := &lowering{terms: l.terms}
	probe.write("SELECT EXISTS (SELECT 1 FROM restrictions r WHERE TRUE")
	probe.inForce("r")
	probe.write("), (SELECT value FROM counters WHERE name = 'policy_epoch')")
	_, err = c.one(probe.text(), func(r row) { l.restricted, epoch = r.truth(0), r.integer(1) }, probe.args...)
	return l, epoch, err
}

// lower starts a query of the scope in which every restriction may matter.
func lower(scope annona.Scope) *lowering {
	l := &lowering{terms: scope.Terms(), day: scope.Terms().AsOf, people: scope.People(), homes: scope.Households(), restricted: true}
	if scope.Dataset().Name == "individuals" && l.people == nil {
		l.people = scope.Rows()
	}
	return l
}

// active writes that a membership holds on the day of this part of the query.
func (l *lowering) active(membership string) {
	l.write(" AND (", membership, ".start_date IS NULL OR ", membership, ".start_date <= ")
	l.bind(l.day)
	l.write(") AND (", membership, ".end_date IS NULL OR ", membership, ".end_date > ")
	l.bind(l.day)
	l.write(")")
}

// agreed lowers a part of the query that decides what may be seen: today, whatever day the
// caller asks about, and of values as they are.
func (l *lowering) agreed(part func()) {
	day, choosing := l.day, l.choosing
	l.day, l.choosing = l.terms.Today, false
	part()
	l.day, l.choosing = day, choosing
}

// meets writes that a condition which decides what may be seen holds.
func (l *lowering) meets(c annona.Condition, v view) {
	if c == nil {
		return
	}
	l.write(" AND (")
	l.agreed(func() { l.condition(c, v) })
	l.write(")")
}

// meetsAlone is meets for a condition about people: whoever decides about somebody in it is
// looked at without that condition.
func (l *lowering) meetsAlone(c annona.Condition, v view) {
	l.depth++
	l.meets(c, v)
	l.depth--
}

// visible writes that an individual may be shown or counted inside a household.
func (l *lowering) visible(v view) {
	if l.depth == 0 {
		l.meetsAlone(l.people, view{individual: v.individual, household: v.household})
	}
	l.allowed(v.individual)
}

// homeAlias is the household in which an individual of the main query is seen.
const homeAlias = "home"

// homeOf returns the alias of the household in which people are seen; empty when every
// household may be.
func (l *lowering) homeOf(alias string) string {
	if l.homes == nil {
		return ""
	}
	return alias
}

// joinHome joins the primary household of an individual, as v.home, when it may be seen.
func (l *lowering) joinHome(v view) {
	if v.home == "" {
		return
	}
	l.write(" LEFT JOIN households ", v.home, " ON ", v.home, ".number = ", v.individual, ".household_number")
	l.meets(l.homes, householdView(v.home))
}

// choose writes what the caller picks.
func (l *lowering) choose(c annona.Condition, v view) {
	if c == nil {
		return
	}
	l.write(" AND (")
	l.choosing = true
	l.condition(c, v)
	l.choosing = false
	l.write(")")
}

// allowed writes what the individual has said: no restriction or objection in force, and
// consent where the basis is consent.
func (l *lowering) allowed(individual string) {
	if l.restricted {
		r := l.alias("r")
		l.write(" AND NOT EXISTS (SELECT 1 FROM restrictions ", r, " WHERE ", r, ".subject = ", individual, ".number")
		l.inForce(r)
		l.write(")")
	}
	if l.terms.Basis == annona.BasisConsent {
		c := l.alias("c")
		l.write(" AND EXISTS (SELECT 1 FROM consents ", c, " WHERE ", c, ".subject = ", individual, ".number")
		l.given(c)
		l.write(")")
	}
}

// inForce writes that a restriction stops this purpose and recipient today. One without an
// effective date is in force; an objection stops nothing where the basis is consent.
func (l *lowering) inForce(r string) {
	l.write(" AND ", r, ".lifted_at IS NULL AND (", r, ".purposes IS NULL OR strpos(", r, ".purposes, ")
	l.bind(joinList([]string{l.terms.Purpose}))
	l.write(") > 0) AND (", r, ".recipients IS NULL OR strpos(", r, ".recipients, ")
	l.bind(joinList([]string{l.terms.Recipient}))
	l.write(") > 0) AND (", r, ".effective_date IS NULL OR ", r, ".effective_date <= ")
	l.bind(l.terms.Today)
	l.write(") AND (", r, ".expiry_date IS NULL OR ", r, ".expiry_date >= ")
	l.bind(l.terms.Today)
	l.write(")")
	if l.terms.Basis == annona.BasisConsent {
		l.write(" AND ", r, ".kind = 'restriction'")
	}
}

// given writes that a consent covers this purpose and recipient today. What a consent does
// not list it does not allow.
func (l *lowering) given(c string) {
	l.givenFor(c, func() { l.bind(joinList([]string{l.terms.Purpose})) }, l.terms.Recipient)
}

// givenFor writes that a consent covers a purpose, which is written as an item of a list, and a recipient today.
func (l *lowering) givenFor(c string, purpose func(), recipient string) {
	l.write(" AND ", c, ".status = 'given' AND ", c, ".withdrawn_at IS NULL AND strpos(", c, ".purposes, ")
	purpose()
	l.write(") > 0 AND strpos(", c, ".recipients, ")
	l.bind(joinList([]string{recipient}))
	l.write(") > 0 AND ", c, ".effective_date <= ")
	l.bind(l.terms.Today)
	l.write(" AND (", c, ".expiry_date IS NULL OR ", c, ".expiry_date >= ")
	l.bind(l.terms.Today)
	l.write(")")
}

// householdVisible writes that somebody is visible who is a member today. A household of nobody
// is not seen: otherwise one whose last visible member has gone would tell that somebody is
// left in it.
func (l *lowering) householdVisible(v view) {
	everybody := l.people == nil && !l.restricted
	l.write(" AND EXISTS (SELECT 1 ")
	l.agreed(func() {
		if everybody && l.terms.Basis != annona.BasisConsent {
			m := l.alias("m")
			l.write("FROM memberships ", m, " WHERE ", m, ".household = ", v.household)
			l.active(m)
			return
		}
		l.members(v, nil)
	})
	l.write(")")
}

// CountLeftOut counts those whom the conditions of a scope take in and who are not shown. See annona.Records.
func (s *Store) CountLeftOut(ctx context.Context, scope annona.Scope) (map[annona.LeftOut]int64, error) {
	if err := s.checkScope(scope); err != nil {
		return nil, err
	}
	count := map[annona.LeftOut]int64{}
	reasons := []annona.LeftOut{annona.LeftByRestriction, annona.LeftByObjection}
	if scope.Terms().Basis == annona.BasisConsent {
		reasons = []annona.LeftOut{annona.LeftByRestriction, annona.LeftWithoutConsent}
	}
	err := s.readers.ask(ctx, "count who is left out", func(c *conn) error {
		for _, reason := range reasons {
			l, _, err := newLowering(c, scope)
			if err != nil {
				return err
			}
			l.takenIn(scope)
			l.leftOut("p", reason)
			if l.err != nil {
				return l.err
			}
			if count[reason], err = c.integer(l.text(), l.args...); err != nil {
				return err
			}
		}
		return nil
	})
	return count, err
}

// takenIn writes a query over the individuals p whom the conditions of a scope take in.
func (l *lowering) takenIn(scope annona.Scope) {
	if scope.Dataset().Name == "individuals" {
		v := individualView("p")
		v.home = l.homeOf(homeAlias)
		l.write("SELECT count(*) FROM individuals p")
		l.joinHome(v)
		l.write(" WHERE TRUE")
		l.meetsAlone(scope.Rows(), individualView("p"))
		l.choose(scope.Chosen(), v)
		return
	}
	l.write("SELECT count(DISTINCT p.number) FROM households s JOIN memberships m ON m.household = s.number JOIN individuals p ON p.number = m.individual WHERE TRUE")
	l.agreed(func() { l.active("m") })
	l.meets(scope.Rows(), householdView("s"))
	l.meetsAlone(l.people, view{individual: "p", household: "s.number"})
	l.choose(scope.Chosen(), householdView("s"))
}

// leftOut writes that an individual is not shown for a reason.
func (l *lowering) leftOut(individual string, reason annona.LeftOut) {
	if reason == annona.LeftWithoutConsent {
		c := l.alias("c")
		l.write(" AND NOT EXISTS (SELECT 1 FROM consents ", c, " WHERE ", c, ".subject = ", individual, ".number")
		l.given(c)
		l.write(")")
		return
	}
	r := l.alias("r")
	l.write(" AND EXISTS (SELECT 1 FROM restrictions ", r, " WHERE ", r, ".subject = ", individual, ".number")
	l.inForce(r)
	l.write(" AND ", r, ".kind = ")
	l.bind(string(reason))
	l.write(")")
}
