package sqlite

import (
	"context"
	"math"

	"github.com/annona-exchange/annona"
)

// reading is the reading of one page, in one read transaction.
type reading struct {
	conn  *conn
	scope annona.Scope
	low   *lowering
}

// ReadPage appends rows of the scope to page. See annona.Records.
func (s *Store) ReadPage(ctx context.Context, scope annona.Scope, after, until annona.Number, limit int, page *annona.Page) (more bool, err error) {
	if until == 0 {
		until = math.MaxInt64
	}
	if limit <= 0 || after >= until {
		return after < until, s.checkScope(scope)
	}
	from := page.Count
	err = s.readRows(ctx, scope, page, limit, func(l *lowering, alias string) {
		l.write(" AND ", alias, ".number > ")
		l.bind(after)
		l.write(" AND ", alias, ".number <= ")
		l.bind(until)
	})
	full := page.Count-from == limit
	return full && page.Numbers[len(page.Numbers)-1] < until, err
}

// ReadOne appends the row with that UID, or nothing when it is not in the scope.
func (s *Store) ReadOne(ctx context.Context, scope annona.Scope, uid annona.UID, page *annona.Page) error {
	return s.readRows(ctx, scope, page, 1, func(l *lowering, alias string) {
		l.write(" AND ", alias, ".uid = ")
		l.bind(uid)
	})
}

// Lookup appends the rows of the scope that hold the identifier: at most two.
func (s *Store) Lookup(ctx context.Context, scope annona.Scope, id annona.IdentifierIndex, page *annona.Page) error {
	if err := id.Check(); err != nil {
		return err
	}
	return s.readRows(ctx, scope, page, 2, func(l *lowering, alias string) {
		l.write(" AND ", alias, ".number IN (SELECT value FROM json_each(")
		l.bind(l.holdersOf(scope.Dataset(), id))
		l.write("))")
	})
}

// LastNumber returns the highest number given out in a root dataset; 0 when it is empty.
func (s *Store) LastNumber(ctx context.Context, dataset *annona.Dataset) (annona.Number, error) {
	var last int64
	err := s.readers.read(ctx, "read the last number", func(c *conn) (err error) {
		last, err = c.counter(dataset.Name)
		return err
	})
	return annona.Number(last), err
}

func (s *Store) checkScope(scope annona.Scope) error {
	if !scope.Valid() {
		return errScope()
	}
	if name := scope.Dataset().Name; name != "individuals" && name != "households" {
		return annona.Invalid("unknown_dataset", "only households and individuals are records of their own").On(name)
	}
	return nil
}

// readRows reads the rows of the scope that also satisfy choose, with their groups.
func (s *Store) readRows(ctx context.Context, scope annona.Scope, page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	if err := s.checkScope(scope); err != nil {
		return err
	}
	return s.readers.read(ctx, "read a page of "+scope.Dataset().Name, func(c *conn) error {
		low, err := newLowering(c, scope)
		if err != nil {
			return err
		}
		if page.Epoch, err = c.counter("policy_epoch"); err != nil {
			return err
		}
		return (&reading{conn: c, scope: scope, low: low}).rows(page, limit, choose)
	})
}

func (r *reading) rows(page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	if r.scope.Dataset().Name == "households" {
		return r.households(page, limit, choose)
	}
	return r.individuals(page, limit, choose)
}

func (r *reading) individuals(page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	const alias = "s"
	l := r.low
	v := individualView(alias)
	v.home = l.homeOf(homeAlias)
	expressions := individualColumns(alias, v.home)
	l.rules(page.Shape, v, expressions)
	plan := newRecordPlan(page.Shape, alias, expressions)
	l.write("SELECT ", plan.list(), " FROM individuals s")
	l.joinHome(v)
	l.write(" WHERE TRUE")
	choose(l, alias)
	l.meetsAlone(r.scope.Rows(), individualView(alias))
	l.allowed(alias)
	l.choose(r.scope.Chosen(), v)
	l.takePart(v, r.scope.Taking())
	from := page.Count
	if err := r.fill(plan, limit, page); err != nil {
		return err
	}
	return r.groups(page, from)
}

func (r *reading) households(page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	const alias = "s"
	l, expressions := r.low, householdColumns(alias)
	l.rules(page.Shape, householdView(alias), expressions)
	plan := newRecordPlan(page.Shape, alias, expressions, "head_individual_id", "member_count")
	l.write("SELECT ", plan.list(), " FROM households s WHERE TRUE")
	choose(l, alias)
	l.meets(r.scope.Rows(), householdView(alias))
	l.householdVisible(householdView(alias))
	l.choose(r.scope.Chosen(), householdView(alias))
	l.takePart(householdView(alias), r.scope.Taking())
	from := page.Count
	if err := r.fill(plan, limit, page); err != nil {
		return err
	}
	return r.members(page, from)
}

// fill runs the query that was lowered and appends its rows.
func (r *reading) fill(plan *rowPlan, limit int, page *annona.Page) error {
	l := r.low
	l.write(" ORDER BY s.number LIMIT 0 + ") // behind a bare parameter, the engine plans anew with each value
	l.bind(limit)
	if l.err != nil {
		return l.err
	}
	stmt, err := r.conn.prepare(l.sql.String(), l.args...)
	if err != nil {
		return err
	}
	defer stmt.Reset()
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := plan.read(stmt, 0, page); err != nil {
			return err
		}
	}
}

// next starts another query of the same scope.
func (r *reading) next() *lowering {
	l := &lowering{terms: r.low.terms, day: r.low.day, people: r.low.people, homes: r.low.homes, restricted: r.low.restricted, past: r.low.past}
	l.beginPast()
	return l
}

func qualify(alias string, columns map[string]string) map[string]string {
	for code, name := range columns {
		columns[code] = alias + "." + name
	}
	return columns
}
