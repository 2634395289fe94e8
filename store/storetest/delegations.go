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

// delegationOf is a request that a client has pushed.
func delegationOf(client annona.UID, name byte) annona.Delegation {
	return annona.Delegation{
		ID: annona.NewUID(), Client: client, Stage: annona.DelegationPushed, Hash: annona.TokenHash{1, name}, Request: []byte(`{"state":"é"}`),
		Within: annona.Authorization{Purpose: "eligibility", Datasets: []string{"households", "individuals"}}, BeganAt: Clock(), Until: Clock().Add(time.Minute),
	}
}

// allowed and taken are the stages that follow.
func allowed(d annona.Delegation, person annona.UID) annona.Delegation {
	d.Stage, d.Hash = annona.DelegationAllowed, annona.TokenHash{2, d.Hash[1]}
	d.Acting = annona.SignedIn{Person: person, Assurance: annona.AssurancePasskey, At: Clock()}
	return d
}

func taken(d annona.Delegation) annona.Delegation {
	d.Stage, d.Code, d.Hash, d.Request, d.Until = annona.DelegationTaken, d.Hash, annona.TokenHash{3, d.Hash[1]}, nil, Clock().Add(time.Hour)
	return d
}

func (r *registry) delegation(hash annona.TokenHash) *annona.Delegation {
	r.t.Helper()
	d, err := r.DelegationByHash(r.ctx, hash)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func testDelegations(t *testing.T, r *registry) {
	client, person := annona.NewUID(), annona.NewUID()
	pushed := delegationOf(client, 1)
	if err := r.PutDelegation(r.ctx, pushed); err != nil {
		t.Fatal(err)
	}
	if got := r.delegation(pushed.Hash); got == nil || !reflect.DeepEqual(*got, pushed) {
		t.Fatalf("got %+v, want %+v", got, pushed)
	}
	yes := allowed(pushed, person)
	if err := r.MoveDelegation(r.ctx, pushed.Hash, yes, nil); err != nil {
		t.Fatal(err)
	}
	if r.delegation(pushed.Hash) != nil {
		t.Error("a request that was allowed is found by its request_uri")
	}
	if all, err := r.DelegationsOf(r.ctx, person); err != nil || len(all) != 0 {
		t.Errorf("one that nobody has taken up is listed: %v, %v", all, err)
	}

	token := tokenOf(client, 1)
	token.Acting, token.Delegation = yes.Acting, yes.ID
	in := taken(yes)
	if err := r.MoveDelegation(r.ctx, yes.Hash, in, &token); err != nil {
		t.Fatal(err)
	}
	for _, hash := range []annona.TokenHash{in.Hash, in.Code} {
		if got := r.delegation(hash); got == nil || !reflect.DeepEqual(*got, in) {
			t.Errorf("got %+v, want %+v", got, in)
		}
	}
	if got := r.token(token.Hash); got == nil || got.Acting != token.Acting || got.Delegation != in.ID || !got.RevokedAt.IsZero() {
		t.Errorf("the token is %+v", got)
	}
	if all, err := r.DelegationsOf(r.ctx, person); err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], in) {
		t.Errorf("the person has %+v, %v", all, err)
	}
	r.checkEnding(t, in, token)
}

// checkEnding ends a delegation: its tokens end with it, also those that are kept after it.
func (r *registry) checkEnding(t *testing.T, d annona.Delegation, token annona.Token) {
	before := r.epoch()
	for range 2 {
		if err := r.EndDelegation(r.ctx, d.ID, Clock()); err != nil {
			t.Fatal(err)
		}
	}
	if r.epoch() != before+1 {
		t.Error("the policy epoch does not move once")
	}
	if got := r.token(token.Hash); !got.RevokedAt.Equal(Clock()) {
		t.Error("a token outlives its delegation")
	}
	token.Hash = annona.TokenHash{99}
	if err := r.PutToken(r.ctx, token, nil, nil, annona.UID{}); err != nil || r.token(token.Hash).RevokedAt.IsZero() {
		t.Errorf("a token of a delegation that has ended is good: %v", err)
	}
	if err := r.MoveDelegation(r.ctx, d.Hash, d, nil); !errors.Is(err, annona.ErrClaimed) {
		t.Errorf("a delegation that has ended moves: %v", err)
	}
	if all, err := r.DelegationsOf(r.ctx, d.Acting.Person); err != nil || len(all) != 0 {
		t.Errorf("one that has ended is listed: %v, %v", all, err)
	}
	if err := r.DropDelegations(r.ctx, d.Until); err != nil || r.delegation(d.Hash) == nil {
		t.Errorf("one that is not over is gone: %v", err)
	}
	if err := r.DropDelegations(r.ctx, d.Until.Add(1)); err != nil || r.delegation(d.Hash) != nil {
		t.Errorf("one that is over stays: %v", err)
	}
}

func testDelegationsMoveOnce(t *testing.T, r *registry) {
	pushed := delegationOf(annona.NewUID(), 1)
	yes := allowed(pushed, annona.NewUID())
	if err := errors.Join(r.PutDelegation(r.ctx, pushed), r.MoveDelegation(r.ctx, pushed.Hash, yes, nil)); err != nil {
		t.Fatal(err)
	}
	var succeeded atomic.Int64
	var many sync.WaitGroup
	for i := range 50 {
		many.Go(func() {
			in, token := taken(yes), tokenOf(yes.Client, byte(100+i))
			in.Hash = annona.TokenHash{3, byte(i)}
			switch err := r.MoveDelegation(r.ctx, yes.Hash, in, &token); {
			case err == nil:
				succeeded.Add(1)
			case !errors.Is(err, annona.ErrClaimed):
				t.Error(err)
			case r.token(token.Hash) != nil:
				t.Error("whoever comes late gets a token")
			}
		})
	}
	many.Wait()
	if succeeded.Load() != 1 {
		t.Errorf("of 50 parallel uses of one code %d succeed", succeeded.Load())
	}
}
