package storetest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func tokenOf(client annona.UID, name byte) annona.Token {
	return annona.Token{Hash: annona.TokenHash{name}, Client: client, IssuedAt: Clock(), ExpiresAt: Clock().Add(5 * time.Minute)}
}

func claimOf(client annona.UID, name byte) *annona.Claim {
	return &annona.Claim{Client: client, Hash: [32]byte{name}, Until: Clock().Add(time.Minute)}
}

func testTokens(t *testing.T, r *registry) {
	client, other := annona.NewUID(), annona.NewUID()
	whole := tokenOf(client, 1)
	whole.Key, whole.Certificate = bytes.Repeat([]byte{3}, 32), bytes.Repeat([]byte{4}, 32)
	whole.Within = annona.Authorization{Purpose: "eligibility", Datasets: []string{"households", "individuals"}}
	for _, token := range []annona.Token{whole, tokenOf(client, 2)} {
		if err := r.PutToken(r.ctx, token, nil, nil, annona.UID{}); err != nil {
			t.Fatal(err)
		}
	}
	got := r.token(whole.Hash)
	if got == nil || got.Client != client || !bytes.Equal(got.Key, whole.Key) || !bytes.Equal(got.Certificate, whole.Certificate) ||
		got.Within.Purpose != "eligibility" || !slices.Equal(got.Within.Datasets, whole.Within.Datasets) ||
		!got.IssuedAt.Equal(whole.IssuedAt) || !got.ExpiresAt.Equal(whole.ExpiresAt) || !got.RevokedAt.IsZero() {
		t.Errorf("got %+v", got)
	}
	if plain := r.token(annona.TokenHash{2}); plain == nil || plain.Key != nil || plain.Certificate != nil || plain.Within.Datasets != nil {
		t.Errorf("got %+v", plain)
	}
	if none := r.token(annona.TokenHash{9}); none != nil {
		t.Errorf("a token that nobody has: %+v", none)
	}

	before := r.epoch()
	r.revoke(whole.Hash, other)
	r.revoke(annona.TokenHash{9}, client)
	if !r.token(whole.Hash).RevokedAt.IsZero() || r.epoch() != before {
		t.Error("another client has revoked the token, or nothing has moved the policy epoch")
	}
	r.revoke(whole.Hash, client)
	if !r.token(whole.Hash).RevokedAt.Equal(Clock()) || r.epoch() == before {
		t.Error("the token is not revoked, or the policy epoch stands still")
	}
	before = r.epoch()
	r.revoke(whole.Hash, client)
	if r.epoch() != before {
		t.Error("revoking twice moves the policy epoch")
	}

	if err := r.DropTokens(r.ctx, Clock().Add(5*time.Minute), Clock()); err != nil || r.token(whole.Hash) == nil {
		t.Errorf("a token that has not expired is gone: %v", err)
	}
	if err := r.DropTokens(r.ctx, Clock().Add(5*time.Minute+1), Clock()); err != nil || r.token(whole.Hash) != nil {
		t.Errorf("an expired token stays: %v", err)
	}
}

func (r *registry) token(hash annona.TokenHash) *annona.Token {
	r.t.Helper()
	token, err := r.TokenByHash(r.ctx, hash)
	if err != nil {
		r.t.Fatal(err)
	}
	return token
}

func (r *registry) revoke(hash annona.TokenHash, client annona.UID) {
	r.t.Helper()
	if err := r.RevokeToken(r.ctx, hash, client, Clock()); err != nil {
		r.t.Fatal(err)
	}
}

func testClaims(t *testing.T, r *registry) {
	client, other := annona.NewUID(), annona.NewUID()
	epoch, err := r.ProofEpoch(r.ctx)
	if err != nil || epoch == (annona.UID{}) {
		t.Fatalf("the epoch of proofs: %v, %v", epoch, err)
	}
	if again, err := r.ProofEpoch(r.ctx); err != nil || again != epoch {
		t.Errorf("the epoch moves by itself: %v", err)
	}
	claim := map[string]func(c *annona.Claim) error{
		"assertion": func(c *annona.Claim) error { return r.ClaimAssertion(r.ctx, *c) },
		"proof":     func(c *annona.Claim) error { return r.ClaimProof(r.ctx, *c, epoch) },
	}
	for name, claim := range claim {
		var succeeded, refused atomic.Int64
		var many sync.WaitGroup
		for range 100 {
			many.Go(func() {
				switch err := claim(claimOf(client, 1)); {
				case err == nil:
					succeeded.Add(1)
				case errors.Is(err, annona.ErrClaimed):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		many.Wait()
		if succeeded.Load() != 1 || refused.Load() != 99 {
			t.Errorf("of 100 parallel uses of one %s %d succeed", name, succeeded.Load())
		}
		if err := claim(claimOf(other, 1)); err != nil {
			t.Errorf("one client burns another's %s: %v", name, err)
		}
	}
	if err := r.ClaimProof(r.ctx, *claimOf(client, 2), annona.NewUID()); !errors.Is(err, annona.ErrProofEpoch) {
		t.Errorf("a proof of another epoch: %v", err)
	}
	if err := r.ClaimProof(r.ctx, *claimOf(client, 2), epoch); err != nil {
		t.Errorf("the proof that was refused for its epoch was claimed: %v", err)
	}
	r.checkTokenClaims(t, client, epoch)
	if err := r.DropTokens(r.ctx, Clock(), Clock().Add(time.Minute+1)); err != nil {
		t.Fatal(err)
	}
	if err := r.ClaimAssertion(r.ctx, *claimOf(client, 1)); err != nil {
		t.Errorf("a claim outlives its time: %v", err)
	}
}

// checkTokenClaims keeps tokens with what they were asked with.
func (r *registry) checkTokenClaims(t *testing.T, client, epoch annona.UID) {
	for _, c := range []struct {
		name             string
		token            byte
		assertion, proof *annona.Claim
		epoch            annona.UID
		want             error
	}{
		{"both fresh", 11, claimOf(client, 21), claimOf(client, 31), epoch, nil},
		{"the assertion again", 12, claimOf(client, 21), claimOf(client, 32), epoch, annona.ErrClaimed},
		{"the proof again", 13, claimOf(client, 23), claimOf(client, 31), epoch, annona.ErrClaimed},
		{"another epoch", 14, claimOf(client, 24), claimOf(client, 34), annona.NewUID(), annona.ErrProofEpoch},
		{"an assertion alone", 15, claimOf(client, 25), nil, epoch, nil},
		{"a proof alone", 16, nil, claimOf(client, 36), epoch, nil},
	} {
		token := tokenOf(client, c.token)
		if err := r.PutToken(r.ctx, token, c.assertion, c.proof, c.epoch); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if kept := r.token(token.Hash) != nil; kept != (c.want == nil) {
			t.Errorf("%s: the token is kept: %t", c.name, kept)
		}
	}
	var succeeded atomic.Int64
	var many sync.WaitGroup
	for i := range 100 {
		many.Go(func() {
			if err := r.PutToken(r.ctx, tokenOf(client, byte(100+i)), claimOf(client, 40), claimOf(client, byte(100+i)), epoch); err == nil {
				succeeded.Add(1)
			} else if !errors.Is(err, annona.ErrClaimed) {
				t.Error(err)
			}
		})
	}
	many.Wait()
	if succeeded.Load() != 1 {
		t.Errorf("one assertion gives %d tokens to 100 parallel requests", succeeded.Load())
	}
}
