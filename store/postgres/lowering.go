package postgres

import "github.com/annona-exchange/annona"

// lowering writes one query. Conditions become SQL with parameters only, in the order in which
// they are written.
//
// Truth has two values although SQL has three: an absent value makes a comparison NULL, which
// no And, Or or WHERE takes for true; the only place where NULL and false differ is a
// negation, and that is written IS NOT TRUE.
type lowering struct {
	sql   []byte
	args  []any
	terms annona.ScopeTerms
	past  *past // nil: of now

	people     annona.Condition // of individuals inside households
	homes      annona.Condition // of households in which people are seen
	restricted bool             // somebody has a restriction that matters to this scope
	depth      int              // of conditions about people inside conditions about people
	day        annona.Date      // on which ages and memberships are read in this part
	choosing   bool             // this part is the caller's: it finds only what is shown
	aliases    int
	err        error
}

// view is what the roots of a path mean at one place of the query.
type view struct {
	individual string // alias of the individual that the condition is about
	membership string // alias of the membership through which it is seen; empty outside households
	household  string // expression for the number of the household
	self       string // alias of the household that the condition is about; empty for individuals
	home       string // alias of the individual's household where that may be seen; empty: it may always
	member     *view  // the member that the enclosing Exists or Count speaks of
}

func (l *lowering) write(parts ...string) {
	if l.sql == nil {
		l.sql = texts.blank()
	}
	for _, p := range parts {
		l.sql = append(l.sql, p...)
	}
}

// text ends the query and returns what was written.
func (l *lowering) text() string {
	written := l.sql
	l.sql = nil
	return texts.of(written)
}

// bind writes a parameter.
func (l *lowering) bind(value any) {
	l.args = append(l.args, value)
	l.write("$", itoa(len(l.args)))
}

// alias returns a name that the query has not used yet.
func (l *lowering) alias(prefix string) string {
	l.aliases++
	return prefix + itoa(l.aliases)
}

func (l *lowering) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// condition writes c as seen from v.
func (l *lowering) condition(c annona.Condition, v view) {
	switch c := c.(type) {
	case nil:
		l.write("TRUE")
	case annona.And:
		l.join(c, " AND ", "TRUE", v)
	case annona.Or:
		l.join(c, " OR ", "FALSE", v)
	case annona.Not:
		l.write("((")
		l.condition(c.Of, v)
		l.write(") IS NOT TRUE)")
	case annona.Compare:
		l.column(c.Path, v)
		l.write(operator(c.Op))
		l.constant(c.Path.Field, c.Value)
	case annona.Age:
		l.condition(c.Bind(l.day), v)
	case annona.In:
		l.in(c, v)
	case annona.Has:
		l.write("(")
		l.column(c.Path, v)
		l.write(" IS NOT NULL)")
	case annona.Within:
		l.within(c, v)
	case annona.Exists:
		l.write("EXISTS (SELECT 1 ")
		l.members(v, c.Of)
		l.write(")")
	case annona.Count:
		l.write("((SELECT count(*) ")
		l.members(v, c.Of)
		l.write(")", operator(c.Op))
		l.bind(c.N)
		l.write(")")
	default:
		l.fail(annona.Invalid("filter_unsupported", "the store cannot select by this condition"))
	}
}

// rules adds the expressions of the columns of a shape that a specification derives: as seen from v,
// of what the scope shows. Their parameters are numbered, so that it does not matter where in the
// query they stand.
func (l *lowering) rules(shape *annona.Shape, v view, expressions map[string]string) {
	for _, f := range shape.Columns {
		if f.Rule != nil {
			expressions[f.Code] = l.aside(func() { l.rule(f.Rule, v) })
		}
	}
}

func (l *lowering) rule(rule *annona.Derivation, v view) {
	l.choosing = true
	if rule.Count {
		l.write("CAST((SELECT count(*) ")
		l.members(v, rule.Of)
		l.write(") AS text)")
	} else {
		l.write("CASE WHEN ")
		l.condition(rule.Of, v)
		l.write(" THEN 'true' ELSE 'false' END")
	}
	l.choosing = false
}

// aside returns what part writes, and takes it out of the query again.
func (l *lowering) aside(part func()) string {
	begun := len(l.sql)
	part()
	all := string(l.sql[begun:])
	l.sql = l.sql[:begun]
	return all
}

// join writes conditions in halves, so that a thousand of them stay shallow: the engine
// bounds the depth of an expression.
func (l *lowering) join(parts []annona.Condition, between, empty string, v view) {
	switch len(parts) {
	case 0:
		l.write(empty)
	case 1:
		l.condition(parts[0], v)
	default:
		half := len(parts) / 2
		l.write("(")
		l.join(parts[:half], between, empty, v)
		l.write(between)
		l.join(parts[half:], between, empty, v)
		l.write(")")
	}
}

func (l *lowering) in(c annona.In, v view) {
	if isList(c.Path.Field) {
		l.anyOf(c, v)
		return
	}
	if len(c.Values) == 0 {
		l.write("FALSE")
		return
	}
	l.write("(")
	l.column(c.Path, v)
	l.write(" IN (")
	for i, value := range c.Values {
		if i > 0 {
			l.write(", ")
		}
		l.constant(c.Path.Field, value)
	}
	l.write("))")
}

// anyOf writes an In over a field with many values: its column holds them between separators.
func (l *lowering) anyOf(c annona.In, v view) {
	l.write("EXISTS (SELECT 1 FROM (SELECT ")
	l.column(c.Path, v)
	l.write(" AS list) many WHERE FALSE")
	for _, value := range c.Values {
		l.write(" OR strpos(list, ")
		l.bind(listSeparator + value.Text + listSeparator)
		l.write(") > 0")
	}
	l.write(")")
}

// within writes the area and all that lies inside it, and for the area of a household those that
// stood there when it was closed and have not left its territory. What it selects from depends on
// nothing outside, so it is computed once. IS TRUE keeps the engine from joining by it: a page is
// read along the order of numbers.
func (l *lowering) within(c annona.Within, v view) {
	l.write("((")
	l.column(c.Path, v)
	l.write(" IN (WITH RECURSIVE inside (code) AS (SELECT ")
	l.bind(c.Area)
	l.write("::text COLLATE \"C\" UNION SELECT l.code FROM inside i JOIN area_links l ON l.origin = i.code AND l.inside) SELECT code FROM inside)")
	if c.Path.Field.Code == areaCode {
		l.write(" OR ")
		l.column(c.Path, v)
		l.write(" IN (WITH RECURSIVE reached (code) AS (SELECT ")
		l.bind(c.Area)
		l.write("::text COLLATE \"C\" UNION SELECT l.code FROM reached r JOIN area_links l ON l.origin = r.code) SELECT code FROM reached) AND ")
		l.householdNumber(c.Path, v)
		l.write(" IN (SELECT household FROM former_areas WHERE area = ")
		l.bind(c.Area)
		l.write(")")
	}
	l.write(") IS TRUE)")
}

// members writes FROM and WHERE of the visible active members of a household that satisfy of.
func (l *lowering) members(v view, of annona.Condition) {
	member := l.fromMembers(v, of != nil)
	if of == nil {
		return
	}
	l.write(" AND (")
	outer := v
	outer.member = &member
	l.condition(of, outer)
	l.write(")")
}

// fromMembers writes FROM and WHERE of the visible active members of a household, without
// more; asked when a condition on them follows.
func (l *lowering) fromMembers(v view, asked bool) view {
	m, i := l.alias("m"), l.alias("i")
	member := memberView(i, m)
	l.write("FROM memberships ", m, " JOIN individuals ", i, " ON ", i, ".number = ", m, ".individual")
	if asked && l.choosing {
		member.home = l.homeOf(l.alias("h"))
		l.joinHome(member)
	}
	l.write(" WHERE ", m, ".household = ", v.household)
	l.active(m)
	l.visible(member)
	return member
}

func individualView(alias string) view {
	return view{individual: alias, household: alias + ".household_number"}
}

func memberView(individual, membership string) view {
	return view{individual: individual, membership: membership, household: individual + ".household_number"}
}

func householdView(alias string) view {
	return view{self: alias, household: alias + ".number"}
}

func operator(op annona.Op) string {
	return [...]string{" = ", " <> ", " < ", " <= ", " > ", " >= "}[op]
}

// constant writes what a field's column is compared with. The empty text is a constant here,
// not an absent value.
func (l *lowering) constant(f *annona.Field, c annona.Constant) {
	switch {
	case f.Type.IsNumeric() && !isList(f):
		l.bind(c.Int)
	case c.Text == "":
		l.write("''")
	default:
		l.bind(c.Text)
	}
}
