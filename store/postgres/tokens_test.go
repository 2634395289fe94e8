package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// TestProofsAfterACrash kills the server: what was unlogged is empty, and proofs of the epoch before
// are refused, by a node that knows that epoch still, and by one that comes later.
func TestProofsAfterACrash(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	before, err := s.ProofEpoch(t.Context())
	if err != nil {
		t.Fatal(causes(err))
	}
	claim := annona.Claim{Client: annona.NewUID(), Hash: [32]byte{1}, Until: time.Now().Add(time.Minute)}
	assertion := annona.Claim{Client: claim.Client, Hash: [32]byte{2}, Until: time.Now().Add(time.Minute)}
	if err := s.ClaimProof(t.Context(), claim, before); err != nil {
		t.Fatal(causes(err))
	}
	if err := s.ClaimAssertion(t.Context(), assertion); err != nil {
		t.Fatal(causes(err))
	}
	if err := c.Down("immediate"); err != nil {
		t.Fatal(err)
	}
	if err := c.Up(); err != nil {
		t.Fatal(err)
	}
	if n := ask(t, c.session(t, "postgres", database), "SELECT count(*) FROM annona.proof_claims"); n != 0 {
		t.Fatalf("the crash has left %d claims: this test shows nothing", n)
	}
	if err := s.ClaimProof(t.Context(), claim, before); !errors.Is(err, annona.ErrProofEpoch) {
		t.Errorf("a proof from before the crash: %v", causes(err))
	}
	if err := s.PutToken(t.Context(), annona.Token{Client: claim.Client, IssuedAt: time.Now(), ExpiresAt: time.Now()}, nil, &claim, before); !errors.Is(err, annona.ErrProofEpoch) {
		t.Errorf("a token for a proof from before the crash: %v", causes(err))
	}
	if err := s.ClaimAssertion(t.Context(), assertion); !errors.Is(err, annona.ErrClaimed) {
		t.Errorf("an assertion from before the crash: %v", causes(err))
	}
	other := c.open(t, "app", database)
	after, err := other.ProofEpoch(t.Context())
	if err != nil || after == before {
		t.Fatalf("the epoch outlives the crash: %v", causes(err))
	}
	if shared, err := s.ProofEpoch(t.Context()); err != nil || shared != after {
		t.Errorf("two nodes, two epochs: %v", causes(err))
	}
	if err := s.ClaimProof(t.Context(), claim, after); err != nil {
		t.Errorf("a proof of the new epoch: %v", causes(err))
	}
}
