package main

import (
	"path/filepath"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// A second server that starts on the database of a running one leaves its requests alone: each ends
// once, as it really ended. What a server has left that is gone ends as unknown.
func TestTwoServersEndTheirOwnRequests(t *testing.T) {
	r := newInDatabase(t, sharedCluster(t))
	people := filepath.Join(t.TempDir(), "people.ndjson")
	generate(t, people, 200)
	must(t, r.serving("import", "--mapping", syntheticMapping, "--json", people)...)
	node := func() *folder {
		f, err := r.flag().open(t.Context())
		check(t, err)
		return f
	}
	first, second := node(), node()
	defer second.Close()
	clients, err := first.store.Clients(t.Context())
	check(t, err)
	caller := annona.Caller{Client: clients[0].ID, Agreement: clients[0].Agreement, Strength: annona.StrengthAPIKey}
	search := func() *exchange.Answer {
		answer, err := first.gate.Search(t.Context(), caller, exchange.Question{Dataset: "individuals", Purpose: eligibility}, 5, "", exchange.Form{})
		check(t, err)
		return answer
	}
	running, left := search(), search()
	closes := func(want int) {
		t.Helper()
		if n, err := second.gate.CloseOpenRequests(t.Context(), operator(), second.store); err != nil || n != want {
			t.Fatalf("%d requests were closed, want %d; %v", n, want, err)
		}
	}
	closes(0)
	running.Sent(5, nil)
	check(t, first.Close())
	closes(1)
	closes(0)
	_, _, err = second.store.LedgerTree(t.Context()) // every entry has its leaf
	check(t, err)
	outcomes, err := second.store.Outcomes(t.Context(), []annona.UID{running.Request, left.Request})
	check(t, err)
	if len(outcomes) != 2 || outcomes[0].Request == outcomes[1].Request {
		t.Fatalf("two requests have %d outcomes", len(outcomes))
	}
}
