package storetest

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

func (r *registry) putProvider(p annona.IdentityProvider) error {
	return r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutIdentityProvider(r.ctx, p) })
}

func testIdentityProviders(t *testing.T, r *registry) {
	whole := annona.IdentityProvider{
		Name: "ministry", Issuer: "https://login.example", Audience: "https://exchange.example", Scope: "annona", Networks: []string{"10.0.0.0/8"}, LongestToken: 15,
		Machines: &annona.ClaimValue{Claim: "gty", Is: "client-credentials"}, Assurance: map[string]string{"gold": "phr"},
		People:     []annona.PeopleRule{{When: &annona.ClaimValue{Claim: "groups", Is: "officers"}, Partner: "health", Roles: []string{"case-worker"}}},
		Privileged: []string{"administrator"}, PutAt: Clock(),
	}
	before := r.epoch()
	for _, p := range []annona.IdentityProvider{whole, {Name: "agency", Issuer: "https://agency.example", Audience: "a", PutAt: Clock()}} {
		if err := r.putProvider(p); err != nil {
			t.Fatal(err)
		}
	}
	whole.Version = 1
	all, err := r.IdentityProviders(r.ctx)
	if err != nil || len(all) != 2 || all[0].Name != "agency" || !reflect.DeepEqual(all[1], whole) || r.epoch() == before {
		t.Fatalf("got %+v, %v", all, err)
	}
	if err := r.putProvider(annona.IdentityProvider{Name: "other", Issuer: whole.Issuer, PutAt: Clock()}); !errors.Is(err, annona.ErrProviderKnown) {
		t.Errorf("two providers have one issuer: %v", err)
	}
	if err := r.putProvider(whole); err != nil {
		t.Fatal(err)
	}
	removed := whole
	removed.RemovedAt = Clock()
	if all, _ := r.IdentityProviders(r.ctx); len(all) != 2 || all[1].Version != 2 {
		t.Errorf("got %+v", all)
	}
	if err := r.putProvider(removed); err != nil {
		t.Fatal(err)
	}
	if err := r.putProvider(annona.IdentityProvider{Name: "other", Issuer: whole.Issuer, PutAt: Clock()}); err != nil {
		t.Errorf("the issuer of one that was removed: %v", err)
	}
	if all, _ := r.IdentityProviders(r.ctx); len(all) != 2 || all[1].Name != "other" {
		t.Errorf("got %+v", all)
	}
}

// outsideToken is one of a person within a sign-in.
func outsideToken(name byte, person, signIn annona.UID, issued time.Time) annona.Token {
	t := tokenOf(annona.NewUID(), name)
	t.Acting = annona.SignedIn{Person: person, Assurance: annona.AssuranceOutside, At: Clock()}
	t.Delegation, t.IssuedAt = signIn, issued
	return t
}

func (r *registry) putOutside(t annona.Token) (holds bool) {
	r.t.Helper()
	err := r.Update(r.ctx, func(tx annona.Tx) (err error) {
		holds, err = tx.PutOutsideToken(r.ctx, t)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return holds
}

func (r *registry) endOutside(id annona.UID, until time.Time) {
	r.t.Helper()
	e := annona.OutsideEnd{ID: id, Until: until, Kept: Clock().Add(time.Hour), At: Clock()}
	if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.EndOutside(r.ctx, e) }); err != nil {
		r.t.Fatal(err)
	}
}

func testOutsideTokens(t *testing.T, r *registry) {
	person, signIn, now := annona.NewUID(), annona.NewUID(), Clock()
	whole := outsideToken(1, person, signIn, now)
	whole.Key, whole.Within = []byte{3}, annona.Authorization{Purpose: "eligibility", Datasets: []string{"individuals"}}
	machine := tokenOf(annona.NewUID(), 2)
	for _, token := range []annona.Token{whole, machine} {
		for range 2 { // shown on two nodes at once
			if !r.putOutside(token) {
				t.Errorf("token %v does not hold", token.Hash[0])
			}
		}
		if got := r.token(token.Hash); got == nil || !reflect.DeepEqual(*got, token) {
			t.Errorf("got %+v, want %+v", got, token)
		}
	}
	r.putOutside(outsideToken(3, person, annona.NewUID(), now)) // another sign-in of the same person
	before := r.epoch()
	r.endOutside(annona.NewUID(), now)
	if r.epoch() != before {
		t.Error("what ends nothing moves the policy epoch")
	}
	r.endOutside(signIn, now.Add(time.Hour))
	if r.epoch() == before || r.token(whole.Hash).RevokedAt.IsZero() || !r.token(annona.TokenHash{3}).RevokedAt.IsZero() || !r.token(machine.Hash).RevokedAt.IsZero() {
		t.Error("a sign-in that ends ends other tokens than its own")
	}
	if r.putOutside(whole) || r.putOutside(outsideToken(4, person, signIn, now.Add(time.Minute))) {
		t.Error("a token of a sign-in that is over holds")
	}
	if got := r.token(annona.TokenHash{4}); got == nil || got.RevokedAt.IsZero() {
		t.Errorf("a token that never held is on file as %+v", got)
	}

	r.endOutside(person, now)
	r.endOutside(person, now.Add(-time.Hour)) // an earlier end that comes later takes nothing back
	if r.token(annona.TokenHash{3}).RevokedAt.IsZero() || r.putOutside(outsideToken(5, person, annona.NewUID(), now)) {
		t.Error("a token of somebody whose tokens are over holds")
	}
	if !r.putOutside(outsideToken(6, person, annona.NewUID(), now.Add(time.Second))) || !r.putOutside(outsideToken(7, annona.NewUID(), annona.NewUID(), now)) {
		t.Error("a token that was issued later, or another's, does not hold")
	}

	if err := r.DropTokens(r.ctx, now.Add(-time.Hour), now.Add(time.Hour)); err != nil || r.putOutside(outsideToken(8, person, annona.NewUID(), now)) {
		t.Errorf("an end is forgotten too early: %v", err)
	}
	if err := r.DropTokens(r.ctx, now.Add(-time.Hour), now.Add(time.Hour+1)); err != nil || !r.putOutside(outsideToken(9, person, annona.NewUID(), now)) {
		t.Errorf("an end is never forgotten: %v", err)
	}
}

// testOutsideRace ends a sign-in while its tokens come: whatever the order, none of them holds afterwards.
func testOutsideRace(t *testing.T, r *registry) {
	for round := range 10 {
		person, signIn := annona.NewUID(), annona.NewUID()
		var many sync.WaitGroup
		var failed atomic.Value
		for i := range 8 {
			many.Go(func() {
				err := r.Update(r.ctx, func(tx annona.Tx) error {
					if i == 3 {
						return tx.EndOutside(r.ctx, annona.OutsideEnd{ID: signIn, Until: Clock(), Kept: Clock().Add(time.Hour), At: Clock()})
					}
					_, err := tx.PutOutsideToken(r.ctx, outsideToken(byte(10*round+i), person, signIn, Clock()))
					return err
				})
				if err != nil {
					failed.Store(err)
				}
			})
		}
		many.Wait()
		if err := failed.Load(); err != nil {
			t.Fatal(err)
		}
		for i := range 8 {
			if got := r.token(annona.TokenHash{byte(10*round + i)}); i != 3 && (got == nil || got.RevokedAt.IsZero()) {
				t.Fatalf("a token holds although its sign-in is over: %+v", got)
			}
		}
	}
}
