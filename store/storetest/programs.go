package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

// testPrograms keeps programs in versions that never change, of which the latest one holds.
func testPrograms(t *testing.T, r *registry) {
	if p, err := r.Program(r.ctx, "cash"); p != nil || err != nil {
		t.Fatalf("before there is one: %v, %v", p, err)
	}
	program := func(code string, version int) annona.Program {
		return annona.Program{
			Code: code, Version: version, Names: map[string]string{"en": "Cash"}, AssistanceUnit: "household", BenefitTypes: []string{"cash"}, Ceiling: int64(version),
			Codes: map[string]map[string]string{"exit_reason": {"D": "death"}}, PutAt: Clock().UTC().Truncate(time.Millisecond),
			Cycles: []annona.ProgramCycle{{Code: "2024", Start: "2024-01-01", End: "2024-12-31", Status: "open", Ceilings: map[string]int64{"XA": 7}}},
		}
	}
	put := func(p annona.Program) error {
		return r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutProgram(r.ctx, p) })
	}
	for _, p := range []annona.Program{program("school", 1), program("cash", 1), program("cash", 2)} {
		if err := put(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []int{0, 1, 2, 4} {
		if err := put(program("cash", version)); annona.CodeOf(err) != "program_version" {
			t.Errorf("version %d after 2: %v", version, err)
		}
	}
	got, err := r.Program(r.ctx, "cash")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(program("cash", 2), *got); diff != "" {
		t.Errorf("the one that holds (-want +got):\n%s", diff)
	}
	all, err := r.Programs(r.ctx)
	if diff := cmp.Diff([]annona.Program{program("cash", 2), program("school", 1)}, all); err != nil || diff != "" {
		t.Errorf("all: %v (-want +got):\n%s", err, diff)
	}
}
