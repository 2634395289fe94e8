package postgres

import (
	"context"
	"errors"
	"math"

	"github.com/annona-exchange/annona"
)

// pageReading is the reading of one page, in one read transaction.
type pageReading struct {
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
	err = s.rowsOf(scope, page, limit)(ctx, scope, page, limit, func(l *lowering, alias string) {
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
	return s.readFew(ctx, scope, page, 1, func(l *lowering, alias string) {
		l.write(" AND ", alias, ".uid = ")
		l.bind(uid)
	})
}

// Lookup appends the rows of the scope that hold the identifier: at most two.
func (s *Store) Lookup(ctx context.Context, scope annona.Scope, id annona.IdentifierIndex, page *annona.Page) error {
	if err := id.Check(); err != nil {
		return err
	}
	return s.readFew(ctx, scope, page, 2, func(l *lowering, alias string) {
		l.write(" AND ", alias, ".number IN (SELECT number FROM identifier_index WHERE place = ")
		l.bind(identifierPlace(scope.Dataset().Noun, id))
		l.write(") AND position(")
		l.bind(id.Packed())
		l.write("::bytea IN ", alias, ".identifiers) > 0")
	})
}

// LastNumber returns the highest number given out in a root dataset; 0 when it is empty.
func (s *Store) LastNumber(ctx context.Context, dataset *annona.Dataset) (annona.Number, error) {
	var last int64
	sequence, ok := sequences[dataset.Name]
	if !ok {
		return 0, errDataset(dataset.Name)
	}
	err := s.readers.ask(ctx, "read the last number", func(c *conn) (err error) {
		last, err = c.integer("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM " + sequence)
		return err
	})
	return annona.Number(last), err
}

func (s *Store) checkScope(scope annona.Scope) error {
	if !scope.Valid() {
		return errScope()
	}
	if name := scope.Dataset().Name; name != "individuals" && name != "households" {
		return errDataset(name)
	}
	return nil
}

// errScope refuses the zero Scope: there is no way in without one.
func errScope() error {
	return annona.Internal("read records", errors.New("no scope was given"))
}

func errDataset(name string) error {
	return annona.Invalid("unknown_dataset", "only households and individuals are records of their own").On(name)
}

// readRows reads the rows of the scope that also satisfy choose, with their groups.
func (s *Store) readRows(ctx context.Context, read read, scope annona.Scope, page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	if err := s.checkScope(scope); err != nil {
		return err
	}
	return read(ctx, "read a page of "+scope.Dataset().Name, func(c *conn) error {
		low, epoch, err := newLowering(c, scope)
		if err != nil {
			return err
		}
		page.Epoch = epoch
		return (&pageReading{conn: c, scope: scope, low: low}).rows(page, limit, choose)
	})
}

func (r *pageReading) rows(page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	if r.scope.Dataset().Name == "households" {
		return r.households(page, limit, choose)
	}
	return r.individuals(page, limit, choose)
}

func (r *pageReading) individuals(page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	v := individualView("s")
	v.home = r.low.homeOf(homeAlias)
	expressions := individualColumns(v.individual, v.home)
	r.low.rules(page.Shape, v, expressions)
	plan := newRecordPlan(page.Shape, v.individual, expressions)
	r.low.write("SELECT ", plan.list())
	r.fromIndividuals(v, choose)
	from := page.Count
	if err := r.fill(plan, limit, page); err != nil {
		return err
	}
	return r.groups(page, from)
}

// fromIndividuals writes which individuals are read.
func (r *pageReading) fromIndividuals(v view, choose func(l *lowering, alias string)) {
	l := r.low
	l.write(" FROM individuals ", v.individual)
	l.joinHome(v)
	l.write(" WHERE TRUE")
	choose(l, v.individual)
	l.meetsAlone(r.scope.Rows(), individualView(v.individual))
	l.allowed(v.individual)
	l.choose(r.scope.Chosen(), v)
	l.takePart(v, r.scope.Taking())
}

func (r *pageReading) households(page *annona.Page, limit int, choose func(l *lowering, alias string)) error {
	v := householdView("s")
	plan := r.low.householdPlan(page.Shape, v)
	r.low.write("SELECT ", plan.list())
	r.fromHouseholds(v, choose)
	from := page.Count
	if err := r.fill(plan, limit, page); err != nil {
		return err
	}
	return r.members(page, from)
}

// householdPlan plans rows of households s; what they show of their members comes later.
func (l *lowering) householdPlan(shape *annona.Shape, v view) *rowPlan {
	const alias = "s"
	expressions := householdColumns(alias)
	l.rules(shape, v, expressions)
	return newRecordPlan(shape, alias, expressions, "head_individual_id", "member_count")
}

// fromHouseholds writes which households are read.
func (r *pageReading) fromHouseholds(v view, choose func(l *lowering, alias string)) {
	l := r.low
	l.write(" FROM households s WHERE TRUE")
	choose(l, "s")
	l.meets(r.scope.Rows(), v)
	l.householdVisible(v)
	l.choose(r.scope.Chosen(), v)
	l.takePart(v, r.scope.Taking())
}

// fill runs the query that was lowered and appends its rows.
func (r *pageReading) fill(plan *rowPlan, limit int, page *annona.Page) error {
	l := r.low
	l.write(" ORDER BY s.number LIMIT ")
	l.bind(limit)
	if l.err != nil {
		return l.err
	}
	return r.conn.each(l.text(), func(values row) error { return plan.read(values, page) }, l.args...)
}

// next starts another query of the same scope.
func (r *pageReading) next() *lowering {
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
