package storetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annona-exchange/annona"
)

// testPolicies keeps the policy in versions that never change, and moves the epoch with each. A client
// keeps its role.
func testPolicies(t *testing.T, r *registry) {
	if p, err := r.Policy(r.ctx); p != nil || err != nil {
		t.Fatalf("before there is one: %v, %v", p, err)
	}
	policy := func(version int) annona.Policy {
		return annona.Policy{
			Version: version, PutAt: Clock().UTC().Truncate(time.Millisecond), Hash: "00",
			Networks: map[string][]netip.Prefix{"office": {netip.MustParsePrefix("192.0.2.0/24")}},
			Roles: []annona.Role{{Name: "partner", Rules: []annona.RoleRule{{
				Name: "all", Verbs: []annona.Verb{annona.VerbGet}, Purposes: []string{"p"}, When: "request.hour > 1", ValidFrom: "2026-01-01", RowCeiling: int64(version),
				Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"sex"}}},
			}}}},
		}
	}
	epoch := func() int64 {
		n, err := r.Epoch(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put := func(version int) error {
		return r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutPolicy(r.ctx, policy(version)) })
	}
	for version := 1; version <= 2; version++ {
		before := epoch()
		if err := put(version); err != nil {
			t.Fatal(err)
		}
		if epoch() <= before {
			t.Errorf("version %d did not move the epoch", version)
		}
		got, err := r.Policy(r.ctx)
		if diff := cmp.Diff(policy(version), *got, cmpopts.EquateComparable(netip.Prefix{})); err != nil || diff != "" {
			t.Errorf("version %d: %v (-want +got):\n%s", version, err, diff)
		}
	}
	for _, version := range []int{0, 1, 2, 4} {
		if err := put(version); annona.CodeOf(err) != "policy_version" {
			t.Errorf("version %d after 2: %v", version, err)
		}
	}
	if all, err := r.Policies(r.ctx); err != nil || len(all) != 2 || all[0].Version != 2 || all[1].Version != 1 {
		t.Errorf("the versions: %+v, %v", all, err)
	}
	client := annona.Client{ID: annona.NewUID(), KeyID: "role", Hash: []byte("hash"), Agreement: "a", Role: "auditor", CreatedAt: Clock()}
	r.update(func(tx annona.Tx) error { return tx.PutClient(r.ctx, client) })
	if got, err := r.ClientByID(r.ctx, client.ID); err != nil || got.Role != "auditor" {
		t.Errorf("a client in a role: %+v, %v", got, err)
	}
}
