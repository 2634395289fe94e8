package storetest

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annona-exchange/annona"
)

// testDecisions appends decisions, each under a reference that its agreement uses once, and erases them
// with their subjects.
func testDecisions(t *testing.T, r *registry) {
	a, b := r.person("a", values{"nationality": "a"}, member("h", "head")), r.person("b", values{"nationality": "b"}, member("h", "child"))
	r.load(r.household("h", nil), a, b)
	decision := func(agreement, reference, dataset string, subject annona.Number) annona.EligibilityDecision {
		return annona.EligibilityDecision{
			ID: annona.NewUID(), Agreement: agreement, Client: annona.NewUID(), Reference: reference, Dataset: dataset, Subject: subject,
			Digest: [16]byte{1, 2}, At: Clock().UTC(), Body: []byte(`{"status":"eligible"}`),
		}
	}
	put := func(d annona.EligibilityDecision) error {
		return r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutDecision(r.ctx, d) })
	}
	n := len(r.log())
	all := []annona.EligibilityDecision{
		decision("cash", "one", "individuals", 1), decision("cash", "two", "households", 1), decision("cash", "three", "individuals", 1),
		decision("cash", "four", "individuals", 2), decision("school", "one", "individuals", 1),
	}
	for _, d := range all {
		if err := put(d); err != nil {
			t.Fatal(err)
		}
	}
	r.same("the log", r.since(n), []string{"households 1 touched", "individuals 1 touched", "individuals 1 touched", "individuals 1 touched", "individuals 2 touched"})
	if err := put(decision("cash", "one", "individuals", 2)); annona.CodeOf(err) != "decision_taken" {
		t.Errorf("a reference that is taken: %v", err)
	}

	list := func(agreement, dataset string, after int64, limit int) []annona.EligibilityDecision {
		t.Helper()
		got, err := r.Decisions(r.ctx, agreement, dataset, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	cash := list("cash", "individuals", 0, 10)
	if diff := cmp.Diff([]annona.EligibilityDecision{all[0], all[2], all[3]}, cash, cmpopts.IgnoreFields(annona.EligibilityDecision{}, "Key")); diff != "" {
		t.Errorf("of an agreement (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(cash[1:2], list("cash", "individuals", cash[0].Key, 1)); diff != "" {
		t.Errorf("a page (-want +got):\n%s", diff)
	}
	about, err := r.DecisionsAbout(r.ctx, "cash", annona.SubjectRef{Dataset: "individuals", Number: 1}, 10)
	if diff := cmp.Diff([]annona.EligibilityDecision{cash[1], cash[0]}, about); diff != "" || err != nil {
		t.Errorf("about somebody (-want +got):\n%s%v", diff, err)
	}
	if newest, err := r.DecisionsAbout(r.ctx, "cash", annona.SubjectRef{Dataset: "individuals", Number: 1}, 1); err != nil || len(newest) != 1 || newest[0].Key != cash[1].Key {
		t.Errorf("the newest about somebody: %+v, %v", newest, err)
	}
	r.update(func(tx annona.Tx) error {
		known, err := tx.DecisionsUnder(r.ctx, "cash", []string{"three", "one", "none"})
		if diff := cmp.Diff(cash[:2], known); diff != "" {
			t.Errorf("under references (-want +got):\n%s", diff)
		}
		return err
	})

	r.erase(a, 1)
	left := slices.Concat(list("cash", "individuals", 0, 10), list("school", "individuals", 0, 10))
	if diff := cmp.Diff(cash[2:], left); diff != "" {
		t.Errorf("behind an erasure (-want +got):\n%s", diff)
	}
	if of := list("cash", "households", 0, 10); len(of) != 1 {
		t.Errorf("the household has %d decisions", len(of))
	}
}
