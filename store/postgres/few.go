package postgres

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/annona-exchange/annona"
)

// fewRows is up to how many rows a page is read by one statement. Its plan is made once and kept:
// for a page of many rows it would be the wrong one sooner or later.
const fewRows = 100

// rows reads rows of a scope that choose selects.
type rows func(ctx context.Context, scope annona.Scope, page *annona.Page, limit int, choose func(l *lowering, alias string)) error

// rowsOf returns how a page is read. What the caller picks by a filter of its own deserves a plan of
// its own.
func (s *Store) rowsOf(scope annona.Scope, page *annona.Page, limit int) rows {
	if limit <= fewRows && s.replica == nil && scope.Valid() && scope.Chosen() == nil {
		return s.readFew
	}
	return func(ctx context.Context, scope annona.Scope, page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
		return s.readRows(ctx, s.pages(page), scope, page, limit, choose)
	}
}

// readFew appends rows of the scope that choose selects, with their groups. They come in one round
// trip, the groups of each as arrays within its row, and with the policy epoch beside them: one
// statement is one moment.
func (s *Store) readFew(ctx context.Context, scope annona.Scope, page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	if err := s.checkScope(scope); err != nil {
		return err
	}
	if page.Count > 0 {
		return s.readRows(ctx, s.lookups.read, scope, page, limit, choose)
	}
	return s.lookups.ask(ctx, "read a page of "+scope.Dataset().Name, func(c *conn) error {
		page.Reset() // of what a connection that died has left
		r := &fewReading{pageReading: pageReading{conn: c, scope: scope, low: lower(scope)}, page: page}
		if scope.Dataset().Name == "households" {
			return r.households(limit, choose)
		}
		return r.individuals(limit, choose)
	})
}

// fewReading is the reading of a page of few rows, by one statement.
type fewReading struct {
	pageReading
	page    *annona.Page
	plan    *rowPlan
	groups  fewGroups
	members *memberReading // nil: none are read
}

func (r *fewReading) individuals(limit int, choose func(l *lowering, alias string)) error {
	v := individualView("s")
	v.home = r.low.homeOf(homeAlias)
	expressions := individualColumns(v.individual, v.home)
	r.low.rules(r.page.Shape, v, expressions)
	r.begin(newRecordPlan(r.page.Shape, v.individual, expressions))
	r.groups = r.low.selectGroups(r.page.Shape, v.individual, len(r.plan.selected))
	r.fromIndividuals(v, choose)
	return r.ask(limit)
}

func (r *fewReading) households(limit int, choose func(l *lowering, alias string)) error {
	v := householdView("s")
	r.begin(r.low.householdPlan(r.page.Shape, v))
	if r.members = newMemberReading(r.page, 0); r.members != nil {
		r.selectMembers(v.household)
	}
	r.fromHouseholds(v, choose)
	return r.ask(limit)
}

func (r *fewReading) begin(plan *rowPlan) {
	r.plan = plan
	r.low.write("SELECT e.value, f.* FROM counters e LEFT JOIN LATERAL (SELECT ", plan.list())
}

func (r *fewReading) ask(limit int) error {
	l := r.low
	l.write(" ORDER BY s.number LIMIT ")
	l.bind(limit)
	l.write(") f ON TRUE WHERE e.name = 'policy_epoch'")
	if l.err != nil {
		return l.err
	}
	return r.conn.each(l.text(), r.read, l.args...)
}

// selectMembers selects the members of a household as an array.
func (r *fewReading) selectMembers(household string) {
	const member = "member"
	l, m := r.low, r.members
	m.plan = m.recordPlan(member, l.homeOf(homeAlias))
	l.write(", ARRAY (SELECT ROW (m.rank, ", m.plan.list())
	if m.group != nil {
		r.groups = l.selectGroups(m.plan.shape, member, 1+len(m.plan.selected))
	}
	l.write(")")
	l.shownMembers(m.plan.shape, member, household)
	l.write(")")
}

// read takes the epoch and, where there is one, a row with its groups.
func (r *fewReading) read(values row) error {
	r.page.Epoch = values.integer(0)
	values = values[1:]
	if values.absent(0) {
		return nil // nobody: the epoch alone
	}
	if err := r.plan.read(values, r.page); err != nil {
		return err
	}
	if r.members == nil {
		return r.groups.read(values, r.page)
	}
	err := eachRecord(values[len(r.plan.selected)], func(member row) error {
		err := r.members.read(member.integer(0), member[1:])
		if err != nil || r.members.group == nil {
			return err
		}
		return r.groups.read(member, r.members.group.Page)
	})
	r.members.endTo(r.page.Count)
	return err
}

// fewGroups are the derived groups of individuals, whose rows come as arrays in columns of a statement.
type fewGroups []fewGroup

type fewGroup struct {
	at     int // of the page's groups
	plan   *rowPlan
	owner  int // column of the group that repeats the outer row's id; -1: none
	column int // of the statement
}

// selectGroups selects the rows of groups as arrays, from that column on.
func (l *lowering) selectGroups(shape *annona.Shape, individual string, column int) (groups fewGroups) {
	for i, g := range shape.Groups {
		few := fewGroup{at: i, column: column + len(groups)}
		var from func(individual string)
		switch {
		case !g.Field.Derived:
			continue
		case g.Field.Code == "memberships":
			few.plan, few.owner, from = membershipPlan(g.Shape), g.Shape.Column("individual_id"), l.fromMemberships
		case g.Field.Code == "relationships":
			few.plan, few.owner, from = relationshipPlan(g.Shape), g.Shape.Column("from_individual_id"), l.fromRelationships
		default:
			continue
		}
		l.write(", ARRAY (SELECT ROW (", few.plan.some(), ")")
		from(individual + ".number")
		l.write(")")
		groups = append(groups, few)
	}
	return groups
}

// read appends what the arrays of a row hold to the groups of the page's last one, and ends it in every
// derived group, also in those that nobody fills.
func (groups fewGroups) read(values row, page *annona.Page) error {
	uid := page.UIDs[page.Count-1]
	for _, g := range groups {
		group := &page.Groups[g.at]
		err := eachRecord(values[g.column], func(inner row) error {
			if g.owner >= 0 {
				group.Page.Columns[g.owner].Append(uid[:])
			}
			return g.plan.read(inner, group.Page)
		})
		if err != nil {
			return err
		}
	}
	for i, g := range page.Shape.Groups {
		if g.Field.Derived {
			page.Groups[i].EndRow()
		}
	}
	return nil
}

var errArray = errors.New("an array of rows is not written as one")

// eachRecord calls take for each element of a one-dimensional array of rows, as the server sends it:
// dimensions, flags and type, then size and lower bound; each element behind its length holds the
// number of its columns, and each column its type, its length (-1: absent) and its bytes.
func eachRecord(array []byte, take func(row) error) error {
	b := cursor{rest: array}
	if b.integer() == 0 { // dimensions
		return b.err
	}
	b.take(8) // flags and type
	n := b.integer()
	b.take(4) // lower bound
	var values row
	for ; n > 0 && b.err == nil; n-- {
		b.integer() // length of the element
		columns := b.integer()
		values = values[:0]
		for ; columns > 0 && b.err == nil; columns-- {
			b.take(4) // type
			values = append(values, b.take(b.integer()))
		}
		if b.err != nil {
			break
		}
		if err := take(values); err != nil {
			return err
		}
	}
	return b.err
}

// cursor reads what the server sends in binary.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) integer() int {
	b := c.take(4)
	if len(b) < 4 {
		return 0
	}
	return int(int32(binary.BigEndian.Uint32(b)))
}

// take returns the next n bytes; nil for a negative length.
func (c *cursor) take(n int) []byte {
	if n < 0 {
		return nil
	}
	if n > len(c.rest) {
		c.err, c.rest = errArray, nil
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}
