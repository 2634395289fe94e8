package storetest

import (
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// firstBehind returns the first event behind a position that changed a record.
func (r *registry) firstBehind(seq int64, d *annona.Dataset, number annona.Number) annona.Event {
	r.t.Helper()
	r.state()
	events, err := r.EventsBehind(r.ctx, seq, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range events {
		if e.Dataset == d.Name && e.Record == number && e.Kind != annona.EventTouched {
			return e
		}
	}
	return annona.Event{}
}

// testFormers asks what records were at a position.
func testFormers(t *testing.T, r *registry) {
	r.load(r.person("same", nil), r.person("changed", values{"sex": "female"}), r.person("erased", nil))
	at := r.state().Head
	r.load(r.person("changed", values{"sex": "male"}))
	r.load(r.person("changed", values{"sex": "female", "occupation": "x"}), r.person("new", nil))
	r.update(func(tx annona.Tx) error { return tx.Erase(r.ctx, "tester", r.individuals, r.number("erased")) })
	r.consent("same", "given")
	head := r.state().Head
	if settled, err := r.SettledLog(r.ctx); err != nil || settled != head {
		t.Errorf("the log ends at %d, %v; want %d", settled, err, head)
	}
	if e := r.firstBehind(at, r.individuals, 1); e.Kind != "" {
		t.Errorf("nobody has changed it: %+v", e)
	}
	first := r.firstBehind(at, r.individuals, 2)
	if was, err := annona.ParseFormer(first.Before); err != nil || was.Version != 1 || first.Version != 2 || first.Kind != annona.EventChanged {
		t.Errorf("the record was of version %d, %v, in %+v", was.Version, err, first)
	}
	if e := r.firstBehind(at, r.individuals, 3); e.Kind != annona.EventErased || len(e.Before) > 0 {
		t.Errorf("of somebody who was erased: %+v", e)
	}
	if e := r.firstBehind(at, r.individuals, 4); e.Kind != annona.EventCreated {
		t.Errorf("of somebody who came later: %+v", e)
	}
	events, err := r.EventsBehind(r.ctx, at, 2)
	if err != nil || len(events) != 2 || events[0].Seq != at+1 || events[1].Seq != at+2 {
		t.Errorf("the next two: %+v, %v", events, err)
	}
	some, err := r.EventsAt(r.ctx, []int64{1, first.Seq, head + 9})
	if err != nil || len(some) != 2 || some[1].Seq != first.Seq || string(some[1].Before) != string(first.Before) {
		t.Errorf("by their numbers: %+v, %v", some, err)
	}
	if none, err := r.EventsAt(r.ctx, nil); err != nil || len(none) > 0 {
		t.Errorf("none: %+v, %v", none, err)
	}
}

// formerOf is a record on file as a reading of the past gets it.
func formerOf(r annona.StoredRecord, k annona.Known) annona.FormerRecord {
	f := annona.FormerRecord{StoredRecord: r, Marks: k.Marks}
	f.Number, f.Version, f.Memberships, f.Relationships = k.Number, k.Version, k.Memberships, k.Relationships
	return f
}

// testPast reads a home from which somebody has moved, and in which somebody was deleted.
func testPast(t *testing.T, r *registry) {
	home := values{"area_code": "XA-1", "status": "active"}
	r.load(r.household("old", home), r.household("new", values{"area_code": "XA-2", "status": "active"}))
	stays := r.person("stays", values{"sex": "female"}, member("old", "head"))
	moves := r.person("moves", values{"sex": "male", "occupation": "smith"}, member("old", "child"))
	gone := r.person("gone", values{"sex": "male"}, member("old", "child"))
	r.load(stays, moves, gone)
	individuals := annona.NewScope(r.withGroup(r.shape(r.individuals, "individual_id", "sex", "occupation", "household_id", "role", "area_code", "last_updated", "received_at"),
		"memberships", "membership_id", "household_id", "role"), nil, nil, terms())
	households := annona.NewScope(r.withGroup(r.shape(r.households, "household_id", "member_count", "head_individual_id", "area_code"), "members", "individual_id", "role", "occupation"), nil, nil, terms())
	peopleThen, homesThen := r.all(individuals), r.all(households)

	wasMoving, wasGone, wasHome := formerOf(moves, r.held(r.individuals, 2)), formerOf(gone, r.held(r.individuals, 3)), formerOf(r.household("old", home), r.held(r.households, 1))
	if len(wasMoving.Marks.Memberships) != 1 || wasMoving.Marks.Home != 1 || wasMoving.Marks.UpdatedAt == "" {
		t.Fatalf("marks of somebody on file: %+v", wasMoving.Marks)
	}
	r.load(r.household("old", values{"area_code": "XA-2", "status": "active"}))
	r.load(r.person("moves", values{"sex": "male", "occupation": "baker"}, member("new", "head")), r.person("later", nil, member("old", "child")))
	r.delete(r.individuals, 3)

	w := &annona.World{Day: Today, Individuals: []annona.Number{1}, Households: []annona.Number{2}, Former: []annona.FormerRecord{wasMoving, wasGone, wasHome}}
	for _, c := range []struct {
		what    string
		scope   annona.Scope
		numbers []annona.Number
		then    *annona.Page
	}{
		{"individuals", individuals, []annona.Number{1, 2, 3, 4}, peopleThen},
		{"households", households, []annona.Number{1, 2}, homesThen},
	} {
		page := annona.NewPage(c.scope.Shape())
		if err := r.ReadPast(r.ctx, c.scope, w, c.numbers, page); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		r.same(c.what+" as they were", texts(page), texts(c.then))
		if page.Epoch == 0 {
			t.Errorf("%s came without a policy epoch", c.what)
		}
	}
	t.Run("what was decides", func(t *testing.T) {
		in := func(code string) annona.Scope {
			return annona.NewScope(r.shape(r.individuals, "individual_id"), annona.And{r.is(r.individuals, annona.RootSelf, "area_code", code)}, nil, terms())
		}
		for code, want := range map[string][]annona.Number{"XA-1": {1, 2, 3}, "XA-2": nil} {
			page := annona.NewPage(r.shape(r.individuals, "individual_id"))
			if err := r.ReadPast(r.ctx, in(code), w, []annona.Number{1, 2, 3, 4}, page); err != nil || !slices.Equal(page.Numbers, want) {
				t.Errorf("in %s: %v, %v", code, page.Numbers, err)
			}
		}
	})
	t.Run("permission is of now", func(t *testing.T) {
		r.update(func(tx annona.Tx) error {
			return tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: 2, Kind: annona.KindRestriction})
		})
		page := annona.NewPage(individuals.Shape())
		if err := r.ReadPast(r.ctx, individuals, w, []annona.Number{1, 2, 3}, page); err != nil || !slices.Equal(page.Numbers, []annona.Number{1, 3}) {
			t.Errorf("with a restriction: %v, %v", page.Numbers, err)
		}
	})
	t.Run("no scope, no record", func(t *testing.T) {
		if err := r.ReadPast(r.ctx, annona.Scope{}, w, []annona.Number{1}, annona.NewPage(individuals.Shape())); err == nil {
			t.Error("read without a scope")
		}
	})
	ties, err := r.Ties(r.ctx, []annona.Number{2}, []annona.Number{1})
	slices.SortFunc(ties, func(a, b annona.Tie) int { return int(a.Individual - b.Individual) })
	if want := []annona.Tie{{Individual: 1, Household: 1}, {Individual: 2, Household: 2}, {Individual: 4, Household: 1}}; err != nil || !slices.Equal(ties, want) {
		t.Errorf("ties %+v, %v; want %+v", ties, err, want)
	}
}

// testPastRelationships reads a relationship to somebody who was deleted since, and not one to somebody
// who came later.
func testPastRelationships(t *testing.T, r *registry) {
	parent := r.person("parent", nil)
	parent.Relationships = []annona.Relationship{{ToKey: "child", Type: "parent"}, {ToKey: "later", Type: "guardian"}}
	child := r.person("child", nil)
	r.load(parent, child)
	was := formerOf(child, r.held(r.individuals, 2))
	r.load(r.person("later", nil))
	r.delete(r.individuals, 2)
	scope := annona.NewScope(r.withGroup(r.shape(r.individuals, "individual_id"), "relationships", "relationship_id", "to_individual_id", "type"), nil, nil, terms())
	page := annona.NewPage(scope.Shape())
	w := &annona.World{Day: Today, Individuals: []annona.Number{1}, Former: []annona.FormerRecord{was}}
	if err := r.ReadPast(r.ctx, scope, w, []annona.Number{1}, page); err != nil || page.Count != 1 {
		t.Fatalf("%d rows, %v", page.Count, err)
	}
	kin := page.Groups[0].Page
	if kin.Count != 1 || string(kin.Cell(kin.Shape.Column("type"), 0)) != "parent" || kin.Numbers[0] != 2 {
		t.Errorf("%d relationships, to %v", kin.Count, kin.Numbers)
	}
	ties, err := r.Ties(r.ctx, []annona.Number{1}, nil)
	if err != nil || !slices.Contains(ties, annona.Tie{Individual: 1, To: 2}) || !slices.Contains(ties, annona.Tie{Individual: 1, To: 3}) {
		t.Errorf("ties %+v, %v", ties, err)
	}
}
