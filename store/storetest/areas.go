package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// testAreasLaw holds the store to package filter about areas: while a country draws them anew again
// and again and households move, within finds the same households and people in both.
func testAreasLaw(t *testing.T, r *registry) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		c := newCountry(rt, r, round)
		for range rapid.IntRange(0, 8).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"open", "close", "close", "move", "move"}).Draw(rt, "step") {
			case "open":
				c.open(rt)
			case "close":
				c.close(rt)
			case "move":
				c.move(rt)
			}
		}
		for _, a := range c.areas {
			c.compare(rt, a.Code)
		}
	})
}

// country is a world whose areas change.
type country struct {
	*world
	name  string
	areas []annona.Area
}

func newCountry(rt *rapid.T, r *registry, round int) *country {
	c := &country{name: fmt.Sprintf("C%d", round), world: &world{r: r}}
	c.areas = []annona.Area{{Code: c.name}}
	for range rapid.IntRange(1, 5).Draw(rt, "areas") {
		c.open(rt)
	}
	for d, dataset := range []*annona.Dataset{r.households, r.individuals} {
		last, err := r.LastNumber(r.ctx, dataset)
		if err != nil {
			rt.Fatal(err)
		}
		c.first[d] = last
	}
	var records []annona.StoredRecord
	for i := range rapid.IntRange(1, 4).Draw(rt, "households") {
		h := &thing{number: c.first[0] + annona.Number(i+1), values: values{"area_code": c.draw(rt)}}
		c.households = append(c.households, h)
		records = append(records, c.record(i))
	}
	for i := range rapid.IntRange(1, 5).Draw(rt, "people") {
		p := &thing{number: c.first[1] + annona.Number(i+1), values: values{}}
		var memberships []annona.Membership
		for _, at := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(c.households)-1), 0, 2, rapid.ID).Draw(rt, "homes") {
			m := annona.Membership{HouseholdKey: c.key(at), Role: rapid.SampledFrom([]string{"head", "child"}).Draw(rt, "role")}
			memberships = append(memberships, m)
			p.memberships = append(p.memberships, belonging{c.households[at], m})
		}
		c.people = append(c.people, p)
		records = append(records, r.person(fmt.Sprintf("%s person %d", c.name, i), p.values, memberships...))
	}
	c.store(rt, records)
	return c
}

func (c *country) key(i int) string { return fmt.Sprintf("%s household %d", c.name, i) }

func (c *country) record(i int) annona.StoredRecord {
	return c.r.household(c.key(i), c.households[i].values)
}

// draw draws the code of an area, open or closed, or none, or one that is not on file.
func (c *country) draw(rt *rapid.T) string {
	codes := []string{"", "elsewhere"}
	for _, a := range c.areas {
		codes = append(codes, a.Code)
	}
	return rapid.SampledFrom(codes).Draw(rt, "area")
}

// put changes the tree, unless it would be none then.
func (c *country) put(rt *rapid.T, areas []annona.Area, close string) {
	tree, err := filter.NewAreaTree(areas)
	if err != nil {
		return
	}
	if close != "" {
		for _, h := range c.households {
			if c.tree.Inside(h.values["area_code"], close) {
				h.former = append(h.former, close)
			}
		}
	}
	c.areas, c.tree = areas, tree
	err = c.r.Update(c.r.ctx, func(tx annona.Tx) error {
		if close != "" {
			if _, err := tx.KeepFormer(c.r.ctx, close); err != nil {
				return err
			}
		}
		return tx.PutAreas(c.r.ctx, areas)
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func (c *country) open(rt *rapid.T) {
	parent := rapid.SampledFrom(c.areas).Draw(rt, "parent")
	if parent.IsClosed() {
		return
	}
	c.put(rt, append(slices.Clone(c.areas), annona.Area{
		Code: fmt.Sprintf("%s-%d", c.name, len(c.areas)), Parent: parent.Code, Level: parent.Level + 1,
	}), "")
}

// close closes an area. What lay in it goes over to its successor, or to its parent.
func (c *country) close(rt *rapid.T) {
	at := rapid.IntRange(0, len(c.areas)-1).Draw(rt, "closed")
	areas := slices.Clone(c.areas)
	a := &areas[at]
	if a.IsClosed() || a.Parent == "" {
		return
	}
	a.ValidTo = Today
	for _, o := range rapid.SliceOfNDistinct(rapid.SampledFrom(c.areas), 0, 3, func(o annona.Area) string { return o.Code }).Draw(rt, "successors") {
		if !o.IsClosed() && o.Code != a.Code {
			a.ReplacedBy = append(a.ReplacedBy, o.Code)
		}
	}
	for i := range areas {
		if areas[i].Parent == a.Code && len(a.ReplacedBy) == 1 {
			areas[i].Parent = a.ReplacedBy[0]
		}
	}
	c.put(rt, areas, a.Code)
}

// move has the source report a household elsewhere.
func (c *country) move(rt *rapid.T) {
	i := rapid.IntRange(0, len(c.households)-1).Draw(rt, "household")
	c.households[i].values = values{"area_code": c.draw(rt)}
	c.store(rt, []annona.StoredRecord{c.record(i)})
}

// compare asks in all ways who is within an area.
func (c *country) compare(rt *rapid.T, code string) {
	r := c.r
	home, _ := r.households.Field("area_code")
	line, _ := r.individuals.Field("area_code")
	within := func(root annona.Root, f *annona.Field) annona.Condition {
		return annona.Within{Path: annona.Path{Root: root, Field: f}, Area: code}
	}
	for _, rows := range []annona.Condition{
		within(annona.RootSelf, home), annona.Not{Of: within(annona.RootSelf, home)}, within(annona.RootHead, line),
		annona.Exists{Of: within(annona.RootMember, line)}, annona.Exists{Of: annona.Not{Of: within(annona.RootMember, line)}},
	} {
		s := sight{w: c.world, rows: rows, terms: terms()}
		c.world.compare(rt, annona.NewScope(r.shape(r.households, "member_count"), rows, nil, terms()), s.households(nil))
	}
	for _, people := range []annona.Condition{
		within(annona.RootSelf, line), annona.Not{Of: within(annona.RootSelf, line)}, within(annona.RootHousehold, home),
	} {
		s := sight{w: c.world, people: people, terms: terms()}
		c.world.compare(rt, annona.NewScope(r.shape(r.individuals, "sex"), people, people, terms()), s.individuals(nil))
		s = sight{w: c.world, narrow: true, rows: within(annona.RootSelf, home), terms: terms()}
		scope := annona.NewScope(r.shape(r.individuals, "sex"), nil, nil, terms()).WithHouseholds(s.rows)
		c.world.compare(rt, scope.Choosing(people), s.individuals(people))
	}
}

// testMoveHouseholds moves a household: its own row, the lines of those who live in it, events.
func testMoveHouseholds(t *testing.T, r *registry) {
	r.load(r.household("h", values{"area_code": "A", "quality_flags": "no_head", "settlement_type": "urban"}), r.household("o", values{"area_code": "A"}),
		r.person("p", nil, member("h", "head")), r.person("q", nil, annona.Membership{HouseholdKey: "h", NotPrimary: true}, member("o", "head")))
	state := r.state()
	area, _ := r.households.Field("area_code")
	group, _ := r.households.Field("quality_flags")
	asked := func(flag string) (keys []annona.RecordKey) {
		r.update(func(tx annona.Tx) (err error) {
			keys, err = tx.HouseholdsIn(r.ctx, r.households, "A", flag, 10)
			return err
		})
		return keys
	}
	if keys := asked("no_head"); len(keys) != 1 || keys[0].Key != "o" || keys[0].Dataset != r.households {
		t.Fatalf("households without the flag: %+v", keys)
	}
	r.update(func(tx annona.Tx) error {
		keys, err := tx.HouseholdsIn(r.ctx, r.households, "A", "", 1)
		if err != nil {
			return err
		}
		known, err := tx.Find(r.ctx, keys)
		if err != nil {
			return err
		}
		k := known[0]
		return tx.MoveHouseholds(r.ctx, "tester", []annona.StoredRecord{{
			RecordKey: keys[0], Number: k.Number, Version: k.Version + 1, Clear: record(r.households, "h", values{"area_code": "B"}).Clear,
			Sealed: k.Sealed, Before: annona.Former{Version: k.Version, Clear: k.Clear, Sealed: k.Sealed}.Append(nil),
			Index: []annona.Value{{Field: area, Text: "B"}, {Field: group, Text: "area_closed"}},
		}})
	})
	r.same("areas of households", cells(r.all(annona.NewScope(r.shape(r.households, "area_code"), nil, nil, terms())), 0), []string{"B", "A"})
	r.same("areas of people", cells(r.all(annona.NewScope(r.shape(r.individuals, "area_code"), nil, nil, terms())), 0), []string{"B", "A"})
	r.same("what was not moved is still found by its columns",
		cells(r.all(annona.NewScope(r.shape(r.households, "area_code"), r.is(r.households, annona.RootSelf, "settlement_type", "urban"), nil, terms())), 0), []string{"B"})
	flag := annona.In{Path: annona.Path{Field: group}, Values: []annona.Constant{{Text: "area_closed"}}}
	r.same("flags", cells(r.all(annona.NewScope(r.shape(r.households, "area_code"), flag, nil, terms())), 0), []string{"B"})
	events, err := r.Events(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range events[state.Head:] {
		told = append(told, fmt.Sprintf("%s %s %d %s", e.Kind, e.Dataset, e.Version, e.Reason))
	}
	r.same("events", told, []string{"changed households 2 area", "touched individuals 1 area", "touched individuals 1 area"})
	if again := r.load(r.household("h", values{"area_code": "A", "quality_flags": "no_head", "settlement_type": "urban"})); again.Unchanged != 1 {
		t.Errorf("the source says the same as before: %+v", again)
	}
}

// testExpectAreas holds a transaction to the areas that it has read.
func testExpectAreas(t *testing.T, r *registry) {
	put := func(codes ...string) {
		for _, code := range codes {
			r.update(func(tx annona.Tx) error { return tx.PutAreas(r.ctx, []annona.Area{{Code: code}}) })
		}
	}
	put("A")
	areas, version, err := r.Areas(r.ctx)
	if err != nil || len(areas) != 1 || areas[0].Code != "A" {
		t.Fatalf("areas: %+v, %v", areas, err)
	}
	r.update(func(tx annona.Tx) error { return tx.ExpectAreas(r.ctx, version) })
	put("B")
	runs := 0
	err = r.Update(r.ctx, func(tx annona.Tx) error {
		if runs++; runs > 1 {
			return nil // it runs again: with the areas that are there now it would succeed
		}
		return tx.ExpectAreas(r.ctx, version)
	})
	if runs < 2 && annona.CodeOf(err) != "areas_moved" {
		t.Errorf("a transaction relied on areas that had moved: %d runs, %v", runs, err)
	}
}

func testReorganizations(t *testing.T, r *registry) {
	first := annona.Reorganization{
		ID: annona.NewUID(), Effective: "2024-05-01", Reference: "decree 7", RecordedAt: Clock().UTC(),
		Changes: []annona.AreaChange{{Kind: annona.AreaSplit, From: []string{"A"}, Into: []annona.Area{{Code: "B", Names: map[string]string{"en": "Bee"}}, {Code: "C"}},
			Children: map[string]string{"A1": "B"}}},
	}
	second := annona.Reorganization{ID: annona.NewUID(), Effective: "2024-04-01", RecordedAt: Clock().UTC(),
		Changes: []annona.AreaChange{{Kind: annona.AreaMove, From: []string{"D"}, Parent: "C"}}}
	for _, one := range []annona.Reorganization{first, second} {
		r.update(func(tx annona.Tx) error { return tx.PutReorganization(r.ctx, one) })
	}
	first.AppliedAt = Clock().UTC().Add(time.Hour)
	r.update(func(tx annona.Tx) error { return tx.PutReorganization(r.ctx, first) })
	all, err := r.Reorganizations(r.ctx)
	if err != nil || len(all) != 2 || all[0].ID != second.ID || !all[0].AppliedAt.IsZero() {
		t.Fatalf("reorganizations: %+v, %v", all, err)
	}
	got := all[1]
	if !got.AppliedAt.Equal(first.AppliedAt) || got.Reference != "decree 7" || got.Changes[0].Children["A1"] != "B" || got.Changes[0].Into[0].Names["en"] != "Bee" {
		t.Errorf("a reorganization comes back as %+v", got)
	}
}

// testFormerOfDeleted closes an area while a household that stood in it is deleted. When it comes back
// the area still holds it, as it holds one that was deleted afterwards.
func testFormerOfDeleted(t *testing.T, r *registry) {
	before, after, other := r.household("before", values{"area_code": "A1"}), r.household("after", values{"area_code": "A"}), r.household("other", values{"area_code": "B"})
	areas := []annona.Area{{Code: "A"}, {Code: "A1", Parent: "A", Level: 1}, {Code: "B"}}
	r.update(func(tx annona.Tx) error { return tx.PutAreas(r.ctx, areas) })
	r.load(before, after, other)
	r.delete(r.households, 1)
	areas[0].ValidTo, areas[0].ReplacedBy = Today, []string{"B"}
	areas[1].Parent = "B"
	r.update(func(tx annona.Tx) error {
		if n, err := tx.KeepFormer(r.ctx, "A"); err != nil || n != 1 {
			t.Errorf("households on file that stood there: %d, %v", n, err)
		}
		return tx.PutAreas(r.ctx, areas)
	})
	r.delete(r.households, 2)
	r.load(r.household("before", values{"area_code": "B"}), r.household("after", values{"area_code": "B"}),
		r.person("p", nil, member("before", "head")), r.person("q", nil, member("after", "head")), r.person("o", nil, member("other", "head")))

	home, _ := r.households.Field("area_code")
	within := annona.Within{Path: annona.Path{Root: annona.RootSelf, Field: home}, Area: "A"}
	page := r.all(annona.NewScope(r.shape(r.households, "area_code"), within, nil, terms()))
	if !slices.Equal(page.Numbers, []annona.Number{1, 2}) {
		t.Errorf("the closed area holds the households %v", page.Numbers)
	}
}
