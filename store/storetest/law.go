package storetest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/filter/filtertest"
)

// testLaw holds the store to package filter: over random registries, for random conditions
// and terms, it gives exactly the rows for which filter.Eval holds and who are visible.
func testLaw(t *testing.T, r *registry) {
	r.update(func(tx annona.Tx) error { return tx.PutAreas(r.ctx, filtertest.Areas()) })
	individuals, households := filtertest.Condition(r.dictionary, r.individuals), filtertest.Condition(r.dictionary, r.households)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		w := drawWorld(rt, r, round)
		for range 4 {
			ts := drawTerms(rt)
			people := individuals.Draw(rt, "people")
			rows := households.Draw(rt, "rows")
			s := sight{w: w, people: people, rows: rows, terms: ts}
			w.compare(rt, annona.NewScope(r.shape(r.individuals, "sex"), people, people, ts), s.individuals(nil))
			w.compare(rt, annona.NewScope(r.shape(r.households, "member_count"), rows, people, ts), s.households(nil))
			w.compare(rt, annona.NewScope(r.shape(r.households, "member_count"), rows, nil, ts), sight{w: w, rows: rows, terms: ts}.households(nil))

			s.narrow = true
			chosen := individuals.Draw(rt, "chosen people")
			scope := annona.NewScope(r.shape(r.individuals, "sex"), people, people, ts).WithHouseholds(rows)
			w.compare(rt, scope.Choosing(chosen), s.individuals(chosen))
			w.derive(rt, scope, s, chosen)
			chosen = households.Draw(rt, "chosen households")
			scope = annona.NewScope(r.shape(r.households, "member_count"), rows, people, ts).WithHouseholds(rows)
			w.compare(rt, scope.Choosing(chosen), s.households(chosen))
			w.derive(rt, scope, s, chosen)
		}
	})
}

// derive reads columns that are derived by a condition, and compares them with what package filter
// derives.
func (w *world) derive(rt *rapid.T, scope annona.Scope, s sight, c annona.Condition) {
	rules := []*annona.Derivation{{Of: c}, {Of: annona.Not{Of: c}}}
	rows, first := s.shownPeople(), w.first[1]
	if scope.Dataset().Name == "households" {
		rules = append(rules, &annona.Derivation{Of: ofMembers(c), Count: true})
		rows, first = s.shownHouseholds(), w.first[0]
	}
	page := annona.NewPage(Deriving(scope.Shape(), rules...))
	ts := scope.Terms()
	derived := annona.NewScope(page.Shape, scope.Rows(), scope.People(), ts).WithHouseholds(scope.Households())
	if _, err := w.r.ReadPage(w.r.ctx, derived, first, 0, 1000, page); err != nil {
		rt.Fatalf("derive %+v: %v", c, err)
	}
	if page.Count != len(rows) {
		rt.Fatalf("%d rows, expected %d", page.Count, len(rows))
	}
	columns := len(page.Columns) - len(rules)
	for i, row := range rows {
		for n, rule := range rules {
			got, want := string(page.Cell(columns+n, i)), filter.Derive(rule, row, Today)
			if got != want {
				rt.Fatalf("%+v of %s %d: the store says %q, package filter %q", rule, scope.Dataset().Noun, page.Numbers[i], got, want)
			}
		}
	}
}

// ofMembers returns a condition on members that c has in it; all of them when it has none.
func ofMembers(c annona.Condition) (found annona.Condition) {
	switch c := c.(type) {
	case annona.Exists:
		return c.Of
	case annona.Count:
		return c.Of
	case annona.Not:
		return ofMembers(c.Of)
	case annona.And:
		for _, part := range c {
			found = ofMembers(part)
		}
	case annona.Or:
		for _, part := range c {
			found = ofMembers(part)
		}
	}
	if found == nil {
		return annona.And{}
	}
	return found
}

// world is a registry in memory, the same that the store has been given.
type world struct {
	r          *registry
	households []*thing
	people     []*thing
	first      [2]annona.Number // numbers before the world's own: households, individuals
	tree       *filter.AreaTree
}

// thing is a household or an individual of a world.
type thing struct {
	number      annona.Number
	values      values
	memberships []belonging // of an individual
	restricted  annona.RestrictionKind
	consented   bool
	former      []string // of a household: areas that were closed while it stood there
}

type belonging struct {
	household *thing
	annona.Membership
}

func drawWorld(rt *rapid.T, r *registry, round int) *world {
	w := &world{r: r}
	w.grow(rt, filtertest.Areas())
	var former, records []annona.StoredRecord
	for d, dataset := range []*annona.Dataset{r.households, r.individuals} {
		last, err := r.LastNumber(r.ctx, dataset)
		if err != nil {
			rt.Fatal(err)
		}
		w.first[d] = last
	}
	key := func(noun string, i int) string { return fmt.Sprintf("%s %d of %d", noun, i, round) }
	for i := range rapid.IntRange(1, 4).Draw(rt, "households") {
		h := &thing{number: w.first[0] + annona.Number(i+1), values: drawValues(rt, r, r.households)}
		w.households = append(w.households, h)
		records = append(records, r.household(key("household", i), h.values))
		former = append(former, r.household(key("household", i), drawValues(rt, r, r.households)))
	}
	for i := range rapid.IntRange(0, 6).Draw(rt, "people") {
		p := &thing{number: w.first[1] + annona.Number(i+1), values: drawValues(rt, r, r.individuals)}
		p.restricted = rapid.SampledFrom([]annona.RestrictionKind{"", "", "", annona.KindRestriction, annona.KindObjection}).Draw(rt, "restricted")
		p.consented = rapid.Bool().Draw(rt, "consented")
		var memberships []annona.Membership
		for range rapid.IntRange(0, 2).Draw(rt, "memberships") {
			at := rapid.IntRange(0, len(w.households)-1).Draw(rt, "of")
			if slices.ContainsFunc(p.memberships, func(b belonging) bool { return b.household == w.households[at] }) {
				continue
			}
			m := drawMembership(rt)
			m.HouseholdKey = key("household", at)
			memberships = append(memberships, m)
			p.memberships = append(p.memberships, belonging{w.households[at], m})
		}
		w.people = append(w.people, p)
		records = append(records, r.person(key("person", i), p.values, memberships...))
		m := drawMembership(rt)
		m.HouseholdKey = key("household", 0)
		former = append(former, r.person(key("person", i), values{}, m))
	}
	if rapid.Bool().Draw(rt, "changed since") {
		w.store(rt, former)
	}
	w.store(rt, records)
	w.comeAndGo(rt, records, r.person(key("ghost", 0), values{"sex": "female"}, annona.Membership{HouseholdKey: key("household", 0), Role: "head"}))
	return w
}

// comeAndGo deletes some people, who come back under another word of their sources, and somebody who
// does not: what is seen depends on neither.
func (w *world) comeAndGo(rt *rapid.T, records []annona.StoredRecord, ghost annona.StoredRecord) {
	r := w.r
	gone := []annona.Number{w.first[1] + annona.Number(len(w.people)) + 1}
	w.store(rt, []annona.StoredRecord{ghost})
	for _, p := range w.people {
		if rapid.Bool().Draw(rt, "deleted meanwhile") {
			gone = append(gone, p.number)
		}
	}
	for _, number := range gone {
		if err := r.Update(r.ctx, r.deleting(r.individuals, number)); err != nil {
			rt.Fatal(err)
		}
	}
	w.store(rt, records)
}

// grow gives the world a tree of areas.
func (w *world) grow(rt *rapid.T, areas []annona.Area) {
	tree, err := filter.NewAreaTree(areas)
	if err != nil {
		rt.Fatal(err)
	}
	w.tree = tree
}

// store gives the world to the store.
func (w *world) store(rt *rapid.T, records []annona.StoredRecord) {
	r := w.r
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		if _, err := Load(r.ctx, tx, "tester", records); err != nil {
			return err
		}
		for _, p := range w.people { // saying the same twice changes nothing
			if err := w.storeRights(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func (w *world) storeRights(tx annona.Tx, p *thing) error {
	if p.restricted != "" {
		x := annona.Restriction{ID: annona.NewUID(), Subject: p.number, Kind: p.restricted}
		if err := tx.PutRestriction(w.r.ctx, x); err != nil {
			return err
		}
	}
	if !p.consented {
		return nil
	}
	return tx.PutConsent(w.r.ctx, annona.Consent{ID: annona.NewUID(), Subject: p.number, Status: "given", EffectiveDate: "2000-01-01",
		Purposes: []string{terms().Purpose}, Recipients: []string{terms().Recipient}})
}

// drawValues draws values of all fields that a condition can name and a source reports.
func drawValues(rt *rapid.T, r *registry, d *annona.Dataset) values {
	v := values{}
	for _, f := range d.Fields {
		pool := filtertest.Values(r.dictionary, f)
		if f.Derived || len(pool) == 0 || f.Filter != annona.FilterRange && f.Type != annona.TypeGroup {
			continue
		}
		text := rapid.SampledFrom(append([]string{""}, pool...)).Draw(rt, f.Code)
		if text != "" && (f.Many || f.Type == annona.TypeGroup) && rapid.Bool().Draw(rt, "two") {
			text += string(rune(annona.ListSeparator)) + pool[0]
		}
		v[f.Code] = text
	}
	return v
}

func drawMembership(rt *rapid.T) annona.Membership {
	date := rapid.SampledFrom([]annona.Date{"", "", "", Today, Today.AddDays(1)})
	return annona.Membership{
		Role:               rapid.SampledFrom([]string{"", "head", "spouse", "child"}).Draw(rt, "role"),
		RelationshipToHead: rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(rt, "relationship"),
		NotPrimary:         rapid.Bool().Draw(rt, "not primary"),
		StartDate:          date.Draw(rt, "start"),
		EndDate:            date.Draw(rt, "end"),
	}
}

func drawTerms(rt *rapid.T) annona.ScopeTerms {
	ts := terms()
	ts.Basis = rapid.SampledFrom([]annona.Basis{annona.BasisPublicInterest, annona.BasisConsent}).Draw(rt, "basis")
	return ts
}

// compare reads the scope from the store, in the range of this world.
func (w *world) compare(rt *rapid.T, scope annona.Scope, want []annona.Number) {
	first := w.first[0]
	if scope.Dataset().Name == "individuals" {
		first = w.first[1]
	}
	page := annona.NewPage(scope.Shape())
	if _, err := w.r.ReadPage(w.r.ctx, scope, first, 0, 1000, page); err != nil {
		rt.Fatalf("%s: %v", scope.Dataset().Name, err)
	}
	if !slices.Equal(page.Numbers, want) {
		rt.Fatalf("%s %+v (people: %+v; households: %+v; chosen: %+v; %+v): the store says %v, package filter %v",
			scope.Dataset().Name, scope.Rows(), scope.People(), scope.Households(), scope.Chosen(), scope.Terms(), page.Numbers, want)
	}
}
