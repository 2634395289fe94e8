package exchange_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// Denials stand in the ledger, each group once and then as a number: a flood fills nothing, and nothing of
// what was asked for is told. What is malformed was not denied.
func TestDenialsAreEntered(t *testing.T) {
	r := newRegistry(t, 10)
	r.partner(t, func(a *annona.Agreement) {
		a.Name, a.Realm = "narrow", "narrow"
		a.Datasets = map[string]annona.DatasetTerms{"individuals": {Fields: []string{"individual_id", "sex"}}}
	})
	now := time.Now()
	r.Clock = func() time.Time { return now }
	ask := func(q exchange.Question) {
		t.Helper()
		if _, err := r.Search(t.Context(), r.caller, q, 1, "", exchange.Form{}); err == nil {
			t.Fatalf("%+v was granted", q)
		}
	}
	q := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name"}}
	filtered := exchange.Question{Dataset: "individuals", Purpose: purpose, Filter: `individual.date_of_birth < '1999-09-09'`}
	for range 500 {
		ask(q)
	}
	ask(filtered)
	ask(exchange.Question{Dataset: "households", Purpose: purpose})
	ask(exchange.Question{Dataset: "individuals", Purpose: purpose, Filter: "nonsense ("})
	entered := func() (found []string) {
		r.Settle()
		for _, e := range r.entries(t) {
			if e.Facts == nil || e.Facts.Outcome != audit.Refused {
				continue
			}
			if e.Filter != "" || e.Caller == nil || e.Caller.Client != r.caller.Client || e.Facts.Verb != annona.VerbSearch || e.Facts.Agreement != "narrow" {
				t.Errorf("an entry: %+v of %+v", e.Facts, e.Caller)
			}
			found = append(found, fmt.Sprint(e.Facts.Dataset, " ", e.Facts.Reason, " ", e.Facts.Details["times"]))
		}
		return found
	}
	r.EnterRefusals(false)
	now = now.Add(2 * time.Minute)
	r.EnterRefusals(false)
	want := map[string]bool{"individuals field_not_granted 1": true, "individuals field_not_granted 499": true, "individuals filter_not_granted 1": true, "households dataset_not_granted 1": true}
	found := entered()
	for _, line := range found {
		if !want[line] {
			t.Errorf("entered: %s", line)
		}
	}
	if len(found) != len(want) {
		t.Errorf("%d entries: %q", len(found), found)
	}
	ask(q)
	ask(q)
	if n := len(entered()); n != len(want)+2 {
		t.Errorf("the end of a server: %d entries", n)
	}
}
