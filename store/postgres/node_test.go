package postgres

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// releaseOf makes an entry of a request that nothing else is known of.
func releaseOf(request annona.UID) annona.LedgerRow {
	id := annona.NewUID()
	return annona.LedgerRow{
		ID: id, At: time.Now(), Kind: annona.EntryRelease, Leaf: id[:], Hash: sha256.Sum256(append([]byte{0}, id[:]...)), Request: request,
		Parts: []annona.LedgerPart{{Name: "facts", Sealed: []byte("facts")}},
	}
}

// wantAbandoned compares the requests that a store takes for abandoned.
func wantAbandoned(t *testing.T, s tested, want ...annona.UID) {
	t.Helper()
	if got, err := s.AbandonedRequests(t.Context()); err != nil || !slices.Equal(got, want) {
		t.Fatalf("abandoned: %v, want %v; %v", got, want, causes(err))
	}
}

// Requests of a node are abandoned when it has gone, not before: also not while it connects anew.
func TestRequestsOfANodeThatRunsAreNotAbandoned(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	first, err := Open(t.Context(), Options{URL: c.URL("app", database)})
	if err != nil {
		t.Fatal(causes(err))
	}
	request := annona.NewUID()
	if err := first.Append(t.Context(), releaseOf(request)); err != nil {
		t.Fatal(causes(err))
	}
	second := c.open(t, "app", database)
	wantAbandoned(t, second)
	cut := c.session(t, "postgres", database)
	mustExec(t, cut, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	wantAbandoned(t, second)
	if open, err := second.OpenRequests(t.Context()); err != nil || !slices.Equal(open, []annona.UID{request}) {
		t.Fatalf("open: %v, %v", open, causes(err))
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	wantAbandoned(t, second, request)
}
