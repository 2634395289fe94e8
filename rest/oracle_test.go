package rest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The oracle law: in two worlds that differ only in what a caller may not see, every answer is
// equal: status, headers, body, order, counts, cursors, and whether it was complete.
func TestTheOracleLaw(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	t.Cleanup(k.report)
	rapid.Check(t, func(rt *rapid.T) {
		terms := drawTerms(rt)
		w := drawWorld(rt)
		other, changes := drawOther(rt, w, terms)
		k.tally["pairs of worlds"]++
		if len(sightOf(w, terms).seen()) > 0 {
			k.tally["pairs of worlds in which somebody is seen"]++
		}
		for _, name := range changes {
			k.tally["change: "+name]++
		}
		calls := drawCalls(rt, terms)

		k.compare(rt, terms, w, other, calls, changes)
	})
}

// failer is a test, whole or one of its rounds.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// compare makes the same calls in two worlds, and then in one that becomes the other.
func (k *keep) compare(t failer, terms lawTerms, w, other *world, calls []call, changes []string) {
	t.Helper()
	here, there := k.open(terms), k.open(terms)
	defer here.close()
	defer there.close()
	here.load(w)
	there.load(other)
	var before []answer
	for _, c := range calls {
		a, b := here.ask(c), there.ask(c)
		before = append(before, a...)
		same(t, here.plain(a), there.plain(b), c, terms, changes)
	}

	// The world changes while the caller looks at it: ids and tags must stand still too.
	here.now = here.now.Add(time.Minute)
	here.load(other)
	here.now = here.now.Add(-time.Minute)
	for _, tail := range here.tails {
		here.expectNothing(t, tail, terms, changes)
	}
	if then := w.withRightsOf(other); slices.Equal(sightOf(then, terms).seen(), sightOf(w, terms).seen()) {
		for _, s := range here.stands {
			here.expectTheSame(t, s, terms, changes)
		}
	}
	for _, c := range calls {
		after := here.ask(c)
		n := min(len(after), len(before))
		same(t, here.exact(before[:n]), here.exact(after), c, terms, changes)
		before = before[n:]
	}
}

// expectNothing goes on from where a follower stands: what it may not see is no change for it.
func (in *installation) expectNothing(t failer, c call, terms lawTerms, changes []string) {
	t.Helper()
	a := in.serve(c.method, in.target(c, c.query), "", c.headers)
	text := in.text(a)
	if a.status != 200 || strings.Contains(text, `"kind"`) || !strings.Contains(text, `"more":false`) {
		t.Fatalf("%v\nunder %+v\nafter %q: a follower was told: %d %s", c, terms, changes, a.status, text)
	}
	in.tally["followers who were told nothing"]++
}

// expectTheSame exports at the position of an earlier export: it is that export.
func (in *installation) expectTheSame(t failer, s stand, terms lawTerms, changes []string) {
	t.Helper()
	a := in.serve(s.call.method, in.target(s.call, s.call.query), "", s.call.headers)
	if was, is := in.text(s.answer), in.text(a); a.status != 200 || was != is {
		t.Fatalf("%v\nunder %+v\nafter %q: an export was\n%s\nand is %d\n%s", s.call, terms, changes, was, a.status, is)
	}
	in.tally["exports as they were"]++
}

// report says how much was tried: go test -v shows it.
func (k *keep) report() {
	for _, what := range slices.Sorted(maps.Keys(k.tally)) {
		k.Logf("%6d %s", k.tally[what], what)
	}
}

// drawCalls draws calls through every door about people, and through one of the others.
func drawCalls(rt *rapid.T, terms lawTerms) (calls []call) {
	table := doors(terms)
	var public []string
	for _, route := range slices.Sorted(maps.Keys(table)) {
		if !aboutPeople(route) {
			public = append(public, route)
			continue
		}
		for range callsPerDoor {
			calls = append(calls, table[route](rt))
		}
	}
	return append(calls, table[rapid.SampledFrom(public).Draw(rt, "public")](rt))
}

const callsPerDoor = 2

func aboutPeople(route string) bool {
	return strings.Contains(route, "/v1/households") || strings.Contains(route, "/v1/individuals") || strings.Contains(route, "/v1/lookup") || strings.Contains(route, beneficiariesPath) || strings.Contains(route, checksPath) || strings.Contains(route, nameSearchPath) || strings.Contains(route, "/v1/changes")
}

// TestEveryRouteIsADoor: whoever adds a route has to say how the law calls it.
func TestEveryRouteIsADoor(t *testing.T) {
	in := newKeep(t).open(rapid.Custom(drawTerms).Example(1))
	defer in.close()
	table := doors(lawTerms{})
	for _, route := range in.server.mux.patterns {
		if table[route] == nil {
			t.Errorf("the oracle law knows no call of %s", route)
		}
		delete(table, route)
	}
	for route := range table {
		t.Errorf("the oracle law calls %s, which is no route", route)
	}
}

func same(t failer, a, b string, c call, terms lawTerms, changes []string) {
	t.Helper()
	if a != b {
		t.Fatalf("%v\nunder %+v\nafter %q: the worlds' answers differ:\n%s", c, terms, changes, cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")))
	}
}
