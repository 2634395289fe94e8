package privacy_test

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// shown returns what a change makes of a value, behind what the grant does.
func shown(t testing.TB, code, in string, granted annona.FieldGrant, change privacy.Change) string {
	d, _ := annona.Standard().Dataset("individuals")
	f, ok := d.Field(code)
	if !ok {
		t.Fatalf("no field %s", code)
	}
	granted.Field = f
	page := annona.NewPage(&annona.Shape{Dataset: d, Columns: []*annona.Field{f}})
	page.Columns[0].Append([]byte(in))
	page.Count = 1
	column := *f
	column.Origin = f
	plan := privacy.Compile(page.Shape, &annona.Grant{Fields: map[string][]annona.FieldGrant{"individuals": {granted}}}, hexRealm{})
	plan.Show(&annona.Shape{Dataset: d, Columns: []*annona.Field{&column}}, map[*annona.Field]privacy.Change{&column: change})
	return string(plan.Redact(page).Page().Cell(0, 0))
}

func TestTreatmentsOfSpecifications(t *testing.T) {
	pass := annona.FieldGrant{Treatment: annona.TreatPass}
	above := func(code string) string { return strings.TrimRight(code, "-12") }
	for _, c := range []struct {
		code, in, out string
		granted       annona.FieldGrant
		change        privacy.Change
	}{
		{"income_amount", "576.72", "600", pass, privacy.Change{Treatment: annona.TreatRound, Band: 100}},
		{"income_amount", "549.99", "500", pass, privacy.Change{Treatment: annona.TreatRound, Band: 100}},
		{"income_amount", "550", "600", pass, privacy.Change{Treatment: annona.TreatRound, Band: 100}},
		{"income_amount", "2.5", "5", pass, privacy.Change{Treatment: annona.TreatRound, Band: 5}},
		{"income_amount", "-2.5", "0", pass, privacy.Change{Treatment: annona.TreatRound, Band: 5}},
		{"income_amount", "-2.51", "-5", pass, privacy.Change{Treatment: annona.TreatRound, Band: 5}},
		{"income_amount", "", "", pass, privacy.Change{Treatment: annona.TreatRound, Band: 5}},
		{"income_amount", "99", "0", annona.FieldGrant{Treatment: annona.TreatBand, Band: 100}, privacy.Change{Treatment: annona.TreatRound, Band: 50}},
		{"date_of_birth", "1990-05-17", "35", pass, privacy.Change{Treatment: annona.TreatAge, Band: 5, AsOf: "2026-05-18"}},
		{"date_of_birth", "1990-05-17", "35", pass, privacy.Change{Treatment: annona.TreatAge, Band: 1, AsOf: "2026-05-16"}},
		{"date_of_birth", "2026-05-19", "", pass, privacy.Change{Treatment: annona.TreatAge, Band: 5, AsOf: "2026-05-18"}},
		{"date_of_birth", "", "", pass, privacy.Change{Treatment: annona.TreatAge, Band: 5, AsOf: "2026-05-18"}},
		{"date_of_birth", "1990-05-17", "36", annona.FieldGrant{Treatment: annona.TreatYear}, privacy.Change{Treatment: annona.TreatAge, Band: 1, AsOf: "2026-02-01"}},
		{"area_code", "GH-12", "GH", pass, privacy.Change{Treatment: annona.TreatArea, Area: above}},
	} {
		if got := shown(t, c.code, c.in, c.granted, c.change); got != c.out {
			t.Errorf("%s of %s %s: got %q, want %q", c.change.Treatment, c.code, c.in, got, c.out)
		}
	}
}

// A rounded number is the nearest multiple: the difference is at most half a width.
func TestTheLawOfRounding(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		hundredths, width := rapid.Int64Range(-1_000_000, 1_000_000).Draw(rt, "hundredths"), rapid.Int64Range(1, 1000).Draw(rt, "width")
		text := fmt.Sprintf("%d.%02d", abs(hundredths)/100, abs(hundredths)%100)
		if hundredths < 0 {
			text = "-" + text
		}
		got, ok := new(big.Int).SetString(shown(t, "income_amount", text, annona.FieldGrant{Treatment: annona.TreatPass}, privacy.Change{Treatment: annona.TreatRound, Band: width}), 10)
		if !ok || got.Int64()%width != 0 || abs(2*(100*got.Int64()-hundredths)) > 100*width {
			rt.Fatalf("%s in steps of %d becomes %v", text, width, got)
		}
	})
}

func abs(n int64) int64 { return max(n, -n) }
