package postgres

import "github.com/annona-exchange/annona"

// newLowering starts a query of the scope. What does not matter to anybody on file is asked
// once, here, and then left out of the query.
func newLowering(c *conn, scope annona.Scope) (*lowering, error) {
	l := &lowering{terms: scope.Terms(), people: scope.People()}
	if scope.Dataset().Name == "individuals" && l.people == nil {
		l.people = scope.Rows()
	}
	if l.terms.Unbounded {
		return l, nil
	}
	probe := &lowering{terms: l.terms}
	probe.write("SELECT EXISTS (SELECT 1 FROM restrictions r WHERE TRUE")
	probe.inForce("r")
	probe.write(")")
	_, err := c.one(probe.sql.String(), func(r row) { l.restricted = r.truth(0) }, probe.args...)
	return l, err
}

// active writes that a membership holds on the scope's as-of date.
func (l *lowering) active(membership string) {
	l.write(" AND (", membership, ".start_date IS NULL OR ", membership, ".start_date <= ")
	l.bind(l.terms.AsOf)
	l.write(") AND (", membership, ".end_date IS NULL OR ", membership, ".end_date > ")
	l.bind(l.terms.AsOf)
	l.write(")")
}

// visible writes that an individual may be shown or counted inside a household. Within the
// condition about people itself, households are looked at without that condition.
func (l *lowering) visible(v view) {
	if l.depth == 0 && l.people != nil {
		l.depth++
		l.write(" AND (")
		l.condition(l.people, view{individual: v.individual, household: v.household})
		l.write(")")
		l.depth--
	}
	l.allowed(v.individual)
}

// allowed writes what the individual has said: no restriction or objection in force, and
// consent where the basis is consent.
func (l *lowering) allowed(individual string) {
	if l.terms.Unbounded {
		return
	}
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
	l.write(" AND ", c, ".status = 'given' AND ", c, ".withdrawn_at IS NULL AND strpos(", c, ".purposes, ")
	l.bind(joinList([]string{l.terms.Purpose}))
	l.write(") > 0 AND strpos(", c, ".recipients, ")
	l.bind(joinList([]string{l.terms.Recipient}))
	l.write(") > 0 AND ", c, ".effective_date <= ")
	l.bind(l.terms.Today)
	l.write(" AND (", c, ".expiry_date IS NULL OR ", c, ".expiry_date >= ")
	l.bind(l.terms.Today)
	l.write(")")
}

// householdVisible writes that a household has somebody who is visible, or nobody at all who
// could have consented.
func (l *lowering) householdVisible(v view) {
	consent := l.terms.Basis == annona.BasisConsent && !l.terms.Unbounded
	if l.people == nil && !l.restricted && !consent {
		return
	}
	l.write(" AND (EXISTS (SELECT 1 ")
	l.members(v, nil)
	l.write(")")
	if !consent {
		m := l.alias("m")
		l.write(" OR NOT EXISTS (SELECT 1 FROM memberships ", m, " WHERE ", m, ".household = ", v.household)
		l.active(m)
		l.write(")")
	}
	l.write(")")
}
