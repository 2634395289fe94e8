package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annona-exchange/annona"
)

// testChangeRequests keeps change requests and conflicts, decides one, and erases them with their subject.
func testChangeRequests(t *testing.T, r *registry) {
	a, b := r.person("a", values{"nationality": "a"}), r.person("b", values{"nationality": "b"})
	r.load(a, b)
	request := func(agreement, kind, state string, subject annona.Number) annona.ChangeRequest {
		return annona.ChangeRequest{
			ID: annona.NewUID(), Type: kind, Dataset: "individuals", Subject: subject, State: state, Agreement: agreement, Client: annona.NewUID(),
			Purpose: "case-management", Version: 1, Sealed: []byte("sealed"), At: Clock().UTC(),
		}
	}
	put := func(c annona.ChangeRequest) {
		t.Helper()
		r.update(func(tx annona.Tx) error { return tx.PutChangeRequest(r.ctx, c) })
	}
	all := []annona.ChangeRequest{
		request("clinic", "update", "pending", 1), request("clinic", "conflict", "open", 1), request("school", "birth", "pending", 2), request("school", "update", "pending_at_source", 1),
	}
	all[3].Source, all[3].Person, all[3].Until = "civil", annona.NewUID(), Clock().UTC().Add(time.Hour)
	n := len(r.log())
	for _, c := range all {
		put(c)
	}
	r.same("the log", r.since(n), []string{"individuals 1 touched", "individuals 1 touched", "individuals 1 touched", "individuals 2 touched"})

	same := func(what string, of annona.WhichRequests, want ...annona.ChangeRequest) {
		t.Helper()
		got, err := r.ChangeRequests(r.ctx, of, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(annona.ChangeRequest{}, "Key"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("no conflicts", annona.WhichRequests{}, all[0], all[2], all[3])
	same("conflicts", annona.WhichRequests{Conflicts: true}, all[1])
	same("of an agreement", annona.WhichRequests{Agreement: "school"}, all[2], all[3])
	same("of a state", annona.WhichRequests{State: "pending"}, all[0], all[2])
	same("of a subject", annona.WhichRequests{Dataset: "individuals", Subject: 2}, all[2])
	same("of another dataset", annona.WhichRequests{Dataset: "households", Subject: 2})
	same("of all of a dataset", annona.WhichRequests{Dataset: "individuals"}, all[0], all[2], all[3])
	testConflictsOfCases(t, r, same)
	first, err := r.ChangeRequests(r.ctx, annona.WhichRequests{}, 0, 1)
	if err != nil || len(first) != 1 {
		t.Fatal(first, err)
	}
	if next, _ := r.ChangeRequests(r.ctx, annona.WhichRequests{}, first[0].Key, 1); len(next) != 1 || next[0].ID != all[2].ID {
		t.Errorf("the next page: %+v", next)
	}

	decided := all[0]
	decided.State, decided.DecidedAt, decided.Load = "applied", Clock().UTC(), annona.NewUID()
	decided.DecidedBy = annona.Author{Operator: "tester", Client: annona.NewUID(), Reason: "seen"}
	put(decided)
	r.update(func(tx annona.Tx) error {
		held, err := tx.HoldChangeRequest(r.ctx, decided.ID)
		if diff := cmp.Diff(&decided, held, cmpopts.IgnoreFields(annona.ChangeRequest{}, "Key")); diff != "" {
			t.Errorf("decided (-want +got):\n%s", diff)
		}
		if none, _ := tx.HoldChangeRequest(r.ctx, annona.NewUID()); none != nil {
			t.Errorf("a request that nobody has made: %+v", none)
		}
		return err
	})
	if found, err := r.ChangeRequestByID(r.ctx, decided.ID); err != nil || found == nil || found.State != "applied" {
		t.Errorf("by its id: %+v, %v", found, err)
	}

	r.erase(a, 1)
	same("behind an erasure", annona.WhichRequests{}, all[2])
	same("a conflict behind it", annona.WhichRequests{Conflicts: true})
}

// testFormersOf returns what events keep of one record, the last one first.
func testFormersOf(t *testing.T, r *registry) {
	r.load(r.person("other", values{"nationality": "z"}))
	for _, nationality := range []string{"a", "b", "c", "d"} {
		r.load(r.person("a", values{"nationality": nationality}))
	}
	versions := func(below, limit int) (all []int) {
		t.Helper()
		events, err := r.FormersOf(r.ctx, r.individuals, 2, below, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Record != 2 || e.Dataset != "individuals" || len(e.Before) == 0 || e.At.IsZero() {
				t.Errorf("an event of something else: %+v", e)
			}
			all = append(all, e.Version)
		}
		return all
	}
	for _, c := range []struct {
		below, limit int
		want         []int
	}{{0, 10, []int{4, 3, 2}}, {0, 1, []int{4}}, {4, 10, []int{3, 2}}, {2, 10, nil}} {
		if got := versions(c.below, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("below %d, at most %d: %v, want %v", c.below, c.limit, got, c.want)
		}
	}
}

// testConflictsOfCases keeps a conflict of a case: it touches nobody, and goes with its case.
func testConflictsOfCases(t *testing.T, r *registry, same func(string, annona.WhichRequests, ...annona.ChangeRequest)) {
	cases, _ := r.dictionary.Dataset("cases")
	var of []annona.Matter
	r.update(func(tx annona.Tx) (err error) {
		if of, err = tx.NewMatters(r.ctx, cases, 2); err != nil {
			return err
		}
		for n := range of {
			of[n].Version, of[n].Owner, of[n].Sealed = 1, "clinic", annona.AppendItem(nil, annona.Image("sealed"))
		}
		return tx.PutMatters(r.ctx, tester, of)
	})
	n := len(r.log())
	kept := make([]annona.ChangeRequest, len(of))
	for i := range of {
		kept[i] = annona.ChangeRequest{ID: annona.NewUID(), Type: "conflict", Dataset: "cases", Subject: of[i].Number, State: "open", Agreement: "clinic", Client: annona.NewUID(), Version: 1, Sealed: []byte("sealed"), At: Clock().UTC()}
		r.update(func(tx annona.Tx) error { return tx.PutChangeRequest(r.ctx, kept[i]) })
	}
	r.same("the log behind a conflict of a case", r.since(n), nil)
	same("of cases", annona.WhichRequests{Conflicts: true, Dataset: "cases"}, kept...)
	for i := range of {
		r.update(func(tx annona.Tx) error {
			_, err := tx.EraseMatter(r.ctx, tester, annona.MatterRef{Dataset: "cases", Number: of[i].Number})
			return err
		})
		same("behind the erasure of a case", annona.WhichRequests{Conflicts: true, Dataset: "cases"}, kept[i+1:]...)
	}
}
