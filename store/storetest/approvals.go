package storetest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

func approvalOf(kind annona.ApprovalKind, after time.Duration) annona.Approval {
	return annona.Approval{
		ID: annona.NewUID(), Kind: kind, Object: "cash", Body: []byte(`{"name":"cash"}`), Shows: []string{"more"}, Reason: "asked for",
		Policy: 3, Agreement: "cash", AgreementVersion: 2, Base: 2, Hash: [32]byte{1, 2}, By: "operator:kofi",
		AskedAt: Clock().Add(after).UTC(), Until: Clock().Add(after + time.Hour).UTC(), State: annona.ApprovalWaiting,
	}
}

// testApprovals keeps what waits for a second person, and lists it by kind and state, the newest first.
func testApprovals(t *testing.T, r *registry) {
	first, second, third := approvalOf(annona.ApproveAgreement, 0), approvalOf(annona.ApprovePolicy, time.Minute), approvalOf(annona.ApproveAgreement, 2*time.Minute)
	for _, a := range []annona.Approval{second, third, first} {
		r.update(func(tx annona.Tx) error { return tx.PutApproval(r.ctx, a) })
	}
	check := func(name string, want []annona.Approval, kind annona.ApprovalKind, state annona.ApprovalState, limit int) {
		t.Helper()
		got, err := r.Approvals(r.ctx, kind, state, limit)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	check("all", []annona.Approval{third, second, first}, "", "", 10)
	check("of a kind", []annona.Approval{third, first}, annona.ApproveAgreement, "", 10)
	check("at most one", []annona.Approval{third}, "", annona.ApprovalWaiting, 1)

	decided := first
	decided.State, decided.DecidedBy, decided.DecidedAt = annona.ApprovalRejected, "person:9", Clock().Add(time.Hour).UTC()
	r.update(func(tx annona.Tx) error {
		held, err := tx.HoldApproval(r.ctx, first.ID)
		if diff := cmp.Diff(&first, held); diff != "" {
			t.Errorf("held (-want +got):\n%s", diff)
		}
		none, missing := tx.HoldApproval(r.ctx, annona.NewUID())
		if none != nil {
			t.Errorf("one that is not there: %+v", none)
		}
		return errors.Join(err, missing, tx.PutApproval(r.ctx, decided))
	})
	check("waiting", []annona.Approval{third, second}, "", annona.ApprovalWaiting, 10)
	check("rejected", []annona.Approval{decided}, annona.ApproveAgreement, annona.ApprovalRejected, 10)
	if got, err := r.ApprovalByID(r.ctx, first.ID); err != nil || cmp.Diff(&decided, got) != "" {
		t.Errorf("by its id: %+v, %v", got, err)
	}
	if got, err := r.ApprovalByID(r.ctx, annona.NewUID()); got != nil || err != nil {
		t.Errorf("by no id: %+v, %v", got, err)
	}
}

// testApprovalsHeld tells the versions in force, and lets one after the other look and decide.
func testApprovalsHeld(t *testing.T, r *registry) {
	versions := func(agreement string) (policy, version int) {
		r.update(func(tx annona.Tx) (err error) {
			policy, version, err = tx.HoldApprovals(r.ctx, agreement)
			return err
		})
		return policy, version
	}
	if p, v := versions("cash"); p != 0 || v != 0 {
		t.Errorf("of nothing: %d, %d", p, v)
	}
	r.update(func(tx annona.Tx) error {
		_, err := tx.PutAgreement(r.ctx, annona.Agreement{Name: "cash"})
		return errors.Join(err, tx.PutPolicy(r.ctx, annona.Policy{Version: 1}))
	})
	if p, v := versions("cash"); p != 1 || v != 1 {
		t.Errorf("in force: %d, %d", p, v)
	}
	if p, v := versions("school"); p != 1 || v != 0 {
		t.Errorf("of another agreement: %d, %d", p, v)
	}

	a := approvalOf(annona.ApprovePolicy, 0)
	r.update(func(tx annona.Tx) error { return tx.PutApproval(r.ctx, a) })
	taken := errors.New("taken")
	approved := make(chan error, 8)
	var all sync.WaitGroup
	for range cap(approved) {
		all.Go(func() {
			approved <- r.Update(r.ctx, func(tx annona.Tx) error {
				if _, _, err := tx.HoldApprovals(r.ctx, ""); err != nil {
					return err
				}
				held, err := tx.HoldApproval(r.ctx, a.ID)
				if err != nil {
					return err
				}
				if held.State != annona.ApprovalWaiting {
					return taken
				}
				held.State = annona.ApprovalApproved
				return tx.PutApproval(r.ctx, *held)
			})
		})
	}
	all.Wait()
	close(approved)
	won := 0
	for err := range approved {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, taken):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d have approved it, of those who did so at once", won)
	}
}
