package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

// testExportSpecs keeps specifications in versions that never change, by agreement, and drops them.
func testExportSpecs(t *testing.T, r *registry) {
	spec := func(name string, version int, agreement string) annona.ExportSpec {
		return annona.ExportSpec{
			Name: name, Version: version, Title: "Title", Agreement: agreement, Purpose: "assessment", Dataset: "individuals",
			Fields: []annona.SpecField{
				{Field: "individual_id", As: "id"},
				{Field: "sex", Codes: map[string]string{"female": "F", "male": "M"}},
				{Field: "income_amount", Treatment: annona.TreatBand, Band: 100},
			},
			Filter: "individual.in_school", AsOf: "2026-01-31", Format: "csv", Layout: "plain", Profile: "machine",
			PutAt: Clock().UTC().Truncate(time.Millisecond),
		}
	}
	put := func(s annona.ExportSpec) error {
		return r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutExportSpec(r.ctx, s) })
	}
	for _, s := range []annona.ExportSpec{spec("monthly", 1, "cash"), spec("monthly", 2, "cash"), spec("census", 1, "research")} {
		if err := put(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []int{0, 1, 2, 4} {
		if err := put(spec("monthly", version, "cash")); annona.CodeOf(err) != "spec_version" {
			t.Errorf("version %d after 2: %v", version, err)
		}
	}
	for version, want := range map[int]int{0: 2, 1: 1, 2: 2} {
		got, err := r.ExportSpec(r.ctx, "monthly", version)
		if err != nil || got == nil {
			t.Fatalf("version %d: %v, %v", version, got, err)
		}
		if diff := cmp.Diff(spec("monthly", want, "cash"), *got); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", version, diff)
		}
	}
	for _, c := range []struct {
		name    string
		version int
	}{{"monthly", 3}, {"weekly", 0}} {
		if got, err := r.ExportSpec(r.ctx, c.name, c.version); got != nil || err != nil {
			t.Errorf("%s %d: %v, %v", c.name, c.version, got, err)
		}
	}
	r.update(func(tx annona.Tx) error { return tx.DropExportSpec(r.ctx, "monthly") })
	for agreement, want := range map[string]string{"": "census monthly dropped ", "cash": "monthly dropped ", "research": "census ", "other": ""} {
		all, err := r.ExportSpecs(r.ctx, agreement)
		got := ""
		for _, s := range all {
			got += s.Name + " "
			if s.Dropped {
				got += "dropped "
			}
		}
		if err != nil || got != want {
			t.Errorf("of %q: %q instead of %q, %v", agreement, got, want, err)
		}
	}
	if err := put(spec("monthly", 3, "cash")); err != nil {
		t.Errorf("the next version of a dropped one: %v", err)
	}
}
