package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// state reads the state of the log when all that was written stands in it.
func (r *registry) state() annona.LogState {
	r.t.Helper()
	if _, err := r.Events(r.ctx); err != nil { // which waits
		r.t.Fatal(err)
	}
	state, err := r.LogState(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return state
}

// concerned names the records of a dataset that are concerned since a moment, by number.
func (r *registry) concerned(d *annona.Dataset, since annona.Moment, day annona.Date) []annona.Number {
	r.t.Helper()
	numbers, all, err := r.Concerned(r.ctx, d, since, annona.Moment{Seq: r.state().Head, Day: day})
	if err != nil || all {
		r.t.Fatalf("all: %v, %v", all, err)
	}
	return numbers
}

func sameNumbers(t *testing.T, what string, got []annona.Number, want ...annona.Number) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// testConcerned changes one thing at a time and asks whom it concerns: those who live with
// somebody, and whoever names him as a relative.
func testConcerned(t *testing.T, r *registry) {
	related := r.person("relative", nil, member("h3", "head"))
	related.Relationships = []annona.Relationship{{ToKey: "a", Type: "parent"}}
	r.load(r.household("h1", nil), r.household("h2", nil), r.household("h3", nil), r.household("h4", nil),
		r.person("a", nil, member("h1", "head"), annona.Membership{HouseholdKey: "h2", NotPrimary: true}),
		r.person("with a", nil, member("h2", "head")), related, r.person("alone", nil, member("h4", "head")))
	since := annona.Moment{Seq: r.state().Head, Day: Today}
	sameNumbers(t, "nothing has happened", r.concerned(r.individuals, since, Today))
	r.load(r.person("a", values{"sex": "female"}, member("h1", "head"), annona.Membership{HouseholdKey: "h2", NotPrimary: true}))
	sameNumbers(t, "people concerned by a", r.concerned(r.individuals, since, Today), r.number("a"), r.number("with a"), r.number("relative"))
	sameNumbers(t, "households concerned by a", r.concerned(r.households, since, Today), 1, 2, 3)
	since.Seq = r.state().Head
	r.load(r.person("alone", nil))
	sameNumbers(t, "the household that somebody left", r.concerned(r.households, since, Today), 4)
	since.Seq = r.state().Head
	r.load(r.household("h3", values{"area_code": "XA-1"}))
	sameNumbers(t, "the members of a household", r.concerned(r.individuals, since, Today), r.number("relative"))
}

// testCrossings lets rights and memberships begin and end by date alone.
func testCrossings(t *testing.T, r *registry) {
	tomorrow := Today.AddDays(1)
	r.load(r.household("h", nil), r.person("member", nil, annona.Membership{HouseholdKey: "h", StartDate: tomorrow}),
		r.person("leaver", nil, annona.Membership{HouseholdKey: "h", EndDate: tomorrow.AddDays(1)}), r.person("restricted", nil), r.person("consents", nil), r.person("other", nil))
	r.update(func(tx annona.Tx) error {
		return errors.Join(
			tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: r.number("restricted"), Kind: annona.KindRestriction, EffectiveDate: "2020-01-01", ExpiryDate: tomorrow}),
			tx.PutConsent(r.ctx, annona.Consent{ID: annona.NewUID(), Subject: r.number("consents"), Status: "given", EffectiveDate: tomorrow.AddDays(2)}))
	})
	since := annona.Moment{Seq: r.state().Head, Day: Today}
	all := []annona.Number{r.number("member"), r.number("leaver")}
	sameNumbers(t, "today", r.concerned(r.individuals, since, Today))
	sameNumbers(t, "a membership begins", r.concerned(r.individuals, since, tomorrow), all...)
	sameNumbers(t, "its household", r.concerned(r.households, since, tomorrow), 1)
	since.Day = tomorrow
	sameNumbers(t, "a membership ends and a restriction has ended", r.concerned(r.individuals, since, tomorrow.AddDays(1)), append(all, r.number("restricted"))...)
	since.Day = tomorrow.AddDays(1)
	sameNumbers(t, "a consent begins", r.concerned(r.individuals, since, tomorrow.AddDays(2)), r.number("consents"))
}

// testAwait waits for a change, and for nothing.
func testAwait(t *testing.T, r *registry) {
	r.load(r.person("a", nil))
	head := r.state().Head
	if err := r.AwaitLog(r.ctx, head-1); err != nil {
		t.Errorf("waiting for what is there: %v", err)
	}
	short, cancel := context.WithTimeout(r.ctx, 50*time.Millisecond)
	defer cancel()
	if err := r.AwaitLog(short, head); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for nothing: %v", err)
	}
	woken := make(chan error, 1)
	go func() { woken <- r.AwaitLog(r.ctx, head) }()
	time.Sleep(20 * time.Millisecond)
	began := time.Now()
	r.load(r.person("b", nil))
	if err := <-woken; err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("waiting for a change: %v after %v", err, time.Since(began))
	}
}

// testReadNumbers reads records by their numbers, within a scope only.
func testReadNumbers(t *testing.T, r *registry) {
	r.load(r.person("a", values{"sex": "female"}), r.person("b", values{"sex": "male"}), r.person("c", values{"sex": "female"}), r.person("d", values{"sex": "female"}))
	female := r.is(r.individuals, annona.RootSelf, "sex", "female")
	scope := annona.NewScope(r.shape(r.individuals, "sex"), female, female, terms())
	for _, c := range []struct{ of, want []annona.Number }{
		{nil, nil}, {[]annona.Number{2}, nil}, {[]annona.Number{1, 2, 3}, []annona.Number{1, 3}}, {[]annona.Number{1, 4, 99}, []annona.Number{1, 4}},
	} {
		page := annona.NewPage(scope.Shape())
		if err := r.ReadNumbers(r.ctx, scope, c.of, page); err != nil {
			t.Fatal(err)
		}
		sameNumbers(t, fmt.Sprint("of ", c.of), page.Numbers, c.want...)
	}
	if err := r.ReadNumbers(r.ctx, annona.Scope{}, nil, annona.NewPage(scope.Shape())); err == nil {
		t.Error("records were read without a scope")
	}
}

// testViews remembers views packed and by themselves, and finds them again.
func testViews(t *testing.T, r *registry) {
	f := r.follower(1)
	if again := r.follower(1); again != f {
		t.Errorf("the memory changes by itself: %+v, then %+v", f, again)
	}
	if other := r.follower(2); other.Key == f.Key {
		t.Error("two followers share a memory")
	}
	const high annona.ViewTag = 1 << 63
	view := func(n annona.Number, generation int64, tag annona.ViewTag) annona.View {
		return annona.View{Number: n, Generation: generation, Tag: tag}
	}
	var first []annona.View
	for n := range annona.Number(200) {
		first = append(first, annona.View{Number: 2*n + 10, Tag: high + annona.ViewTag(n)})
	}
	one := r.observe(f, 5, first...)
	two := r.observe(one, 6, annona.View{Number: 10, Tag: 7}, annona.View{Number: 11, Tag: 8}, annona.View{Number: 5000, Tag: 9})
	var same []annona.View
	for _, v := range first { // packed once more: what lies there stays
		same = append(same, annona.View{Number: v.Number, Tag: 3})
	}
	three := r.observe(two, 7, same...)
	want := []annona.View{view(10, 1, high), view(10, 2, 7), view(10, 3, 3), view(11, 2, 8), view(12, 1, high+1), view(12, 3, 3)}
	in, err := r.ViewsIn(r.ctx, f.Key, 9, 13)
	if err != nil || !slices.Equal(in, want) {
		t.Errorf("views in a range: %v, %v, want %v", in, err, want)
	}
	of, err := r.ViewsOf(r.ctx, f.Key, []annona.Number{10, 11, 12, 13, 99})
	if err != nil || !slices.Equal(of, want) {
		t.Errorf("views of numbers: %v, %v, want %v", of, err, want)
	}
	for _, c := range []struct {
		generation   int64
		after, until annona.Number
		want         []annona.Number
	}{{0, 9, 12, []annona.Number{10, 11, 12}}, {1, 10, 12, []annona.Number{11, 12}}, {2, 10, 12, []annona.Number{12}}, {3, 0, 9999, nil}, {1, 4999, 9999, []annona.Number{5000}}} {
		got, err := r.ViewedSince(r.ctx, f.Key, c.generation, c.after, c.until)
		if err != nil {
			t.Fatal(err)
		}
		sameNumbers(t, fmt.Sprint("viewed since ", c.generation), got, c.want...)
	}
	if _, err := r.Observe(r.ctx, two, annona.Observation{Seq: 8, Views: []annona.View{{Number: 1, Tag: 1}}}); !errors.Is(err, annona.ErrViewsMoved) {
		t.Errorf("two observations of one generation: %v", err)
	}
	if three.Generation != 3 || r.follower(1) != three {
		t.Errorf("the third generation is %+v, on file is %+v", three, r.follower(1))
	}
}

func (r *registry) follower(id byte) annona.Follower {
	r.t.Helper()
	f, err := r.Follower(r.ctx, [16]byte{id})
	if err != nil || f.Key == 0 {
		r.t.Fatalf("%+v, %v", f, err)
	}
	return f
}

func (r *registry) observe(f annona.Follower, seq int64, views ...annona.View) annona.Follower {
	r.t.Helper()
	generation, err := r.Observe(r.ctx, f, annona.Observation{Seq: seq, Views: views})
	if err != nil || generation != f.Generation+1 {
		r.t.Fatalf("generation %d, %v", generation, err)
	}
	f.Generation = generation
	return f
}

// testPrune removes the beginning of the log, and what was remembered for it.
func testPrune(t *testing.T, r *registry) {
	empty := r.state()
	if empty.Head != 0 || empty.Oldest != 0 || empty.Epoch == (annona.UID{}) {
		t.Errorf("an empty log: %+v", empty)
	}
	r.load(r.person("a", nil), r.person("b", nil), r.person("c", nil))
	f := r.follower(1)
	f = r.observe(f, 1, annona.View{Number: 1, Tag: 1}, annona.View{Number: 2, Tag: 1})
	f = r.observe(f, 1, annona.View{Number: 1, Tag: 2})
	f = r.observe(f, 3, annona.View{Number: 1, Tag: 3})
	r.state() // from here on each event has its place
	if n, err := r.PruneLog(r.ctx, Clock()); err != nil || n != 0 {
		t.Fatalf("%d events went that were not older, %v", n, err)
	}
	n, err := r.PruneLog(r.ctx, Clock().Add(time.Nanosecond))
	if state := r.state(); err != nil || n != 2 || state.Head != 3 || state.Oldest != 2 || state.Epoch != empty.Epoch {
		t.Fatalf("%d events went, %v: %+v", n, err, state)
	}
	if f, err := r.Follower(r.ctx, [16]byte{1}); err != nil || f.Generation != 0 {
		t.Errorf("a follower who has not come since: %+v, %v", f, err)
	}
	if views, err := r.ViewsIn(r.ctx, f.Key, 0, 9); err != nil || len(views) > 0 {
		t.Errorf("it is remembered: %v, %v", views, err)
	}
	r.load(r.person("d", nil))
	if state := r.state(); state.Head != 4 {
		t.Errorf("the event after a pruned one has the number %d", state.Head)
	}
}

// testPruneViews keeps of each record the latest view from before the log begins.
func testPruneViews(t *testing.T, r *registry) {
	r.load(r.person("a", nil), r.person("b", nil), r.person("c", nil))
	f := r.follower(1)
	f = r.observe(f, 1, annona.View{Number: 1, Tag: 1}, annona.View{Number: 2, Tag: 1})
	f = r.observe(f, 1, annona.View{Number: 1, Tag: 2})
	f = r.observe(f, 3, annona.View{Number: 1, Tag: 3})
	r.load(r.person("d", nil))
	r.state()
	if _, err := r.PruneLog(r.ctx, Clock().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	views, err := r.ViewsIn(r.ctx, f.Key, 0, 9)
	if err != nil || len(views) != 4 {
		t.Errorf("the log is whole, and of 4 views there are %v, %v", views, err)
	}
}

// testRenew gives the log another epoch, as a restore does.
func testRenew(t *testing.T, r *registry) {
	before, f := r.state(), r.follower(1)
	r.observe(f, 0, annona.View{Number: 1, Tag: 1})
	if err := r.RenewLog(r.ctx); err != nil {
		t.Fatal(err)
	}
	if after := r.state(); after.Epoch == before.Epoch {
		t.Error("the epoch is the same")
	}
	if again := r.follower(1); again.Key == f.Key || again.Generation != 0 {
		t.Errorf("the memory is there still: %+v", again)
	}
}

// testAreasMove counts changes of areas, and only changes.
func testAreasMove(t *testing.T, r *registry) {
	put := func(areas ...annona.Area) int64 {
		r.update(func(tx annona.Tx) error { return tx.PutAreas(r.ctx, areas) })
		return r.state().Areas
	}
	first := put(annona.Area{Code: "XA"}, annona.Area{Code: "XA-1", Parent: "XA", Level: 1})
	if again := put(annona.Area{Code: "XA-1", Parent: "XA", Level: 1}); again != first {
		t.Error("the same areas count as a change")
	}
	if moved := put(annona.Area{Code: "XA-1", Parent: "", Level: 1}); moved == first {
		t.Error("an area that moves does not count")
	}
}
