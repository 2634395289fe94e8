package privacy_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// TestFlagsGoWhereTheirFieldGoes: whatever flags the records of a page have, those leave that are
// about the record or about a field that passes unaltered, in their order, and no other.
func TestFlagsGoWhereTheirFieldGoes(t *testing.T) {
	individuals, _ := annona.Standard().Dataset("individuals")
	flags, _ := annona.Standard().Dataset("quality_flags")
	grant := &annona.Grant{Fields: map[string][]annona.FieldGrant{
		"individuals": {
			{Field: field(t, "individuals", "quality_flags"), Treatment: annona.TreatPass},
			{Field: field(t, "individuals", "nationality"), Treatment: annona.TreatPass},
			{Field: field(t, "individuals", "date_of_birth"), Treatment: annona.TreatYear},
			{Field: field(t, "individuals", "identifiers"), Treatment: annona.TreatPass},
		},
		"identifiers": {{Field: field(t, "identifiers", "value"), Treatment: annona.TreatPass}},
		"quality_flags": {
			{Field: field(t, "quality_flags", "code"), Treatment: annona.TreatPass},
			{Field: field(t, "quality_flags", "field"), Treatment: annona.TreatPass},
		},
	}}
	shown := map[string]bool{"": true, "nationality": true, "identifiers.value": true,
		"ethnic_group": false, "date_of_birth": false, "identifiers.issuer": false, "no_field": false, "no_group.value": false}
	shape := &annona.Shape{Dataset: individuals, Groups: []annona.GroupShape{{
		Field: field(t, "individuals", "quality_flags"),
		Shape: &annona.Shape{Dataset: flags, Columns: []*annona.Field{field(t, "quality_flags", "code"), field(t, "quality_flags", "field")}},
	}}}
	plan := privacy.Compile(shape, grant, hexRealm{})
	rapid.Check(t, func(t *rapid.T) {
		page := annona.NewPage(shape)
		var want [][]string
		records := rapid.SliceOf(rapid.SliceOf(rapid.SampledFrom(keysOf(shown)))).Draw(t, "fields")
		for n, abouts := range records {
			var left []string
			for i, about := range abouts {
				code := fmt.Sprintf("flag_%d_%d", n, i)
				page.Groups[0].Page.Columns[0].Append([]byte(code))
				page.Groups[0].Page.Columns[1].Append([]byte(about))
				page.Groups[0].Page.Count++
				if shown[about] {
					left = append(left, code+" "+about)
				}
			}
			page.Groups[0].EndRow()
			page.Count++
			want = append(want, left)
		}
		group := plan.Redact(page).Page().Groups[0]
		for n := range records {
			var got []string
			from, to := group.Rows(n)
			for row := from; row < to; row++ {
				got = append(got, fmt.Sprintf("%s %s", group.Page.Cell(0, row), group.Page.Cell(1, row)))
			}
			if !slices.Equal(got, want[n]) {
				t.Fatalf("record %d shows %v, want %v", n, got, want[n])
			}
		}
	})
}

func TestFlagsAboutNobodyKnowsWhat(t *testing.T) {
	individuals, _ := annona.Standard().Dataset("individuals")
	flags, _ := annona.Standard().Dataset("quality_flags")
	shape := &annona.Shape{Dataset: individuals, Groups: []annona.GroupShape{{
		Field: field(t, "individuals", "quality_flags"),
		Shape: &annona.Shape{Dataset: flags, Columns: []*annona.Field{field(t, "quality_flags", "code")}},
	}}}
	page := annona.NewPage(shape)
	page.Groups[0].Page.Columns[0].Append([]byte("code_unmapped"))
	page.Groups[0].Page.Count++
	page.Groups[0].EndRow()
	page.Count++
	grant := &annona.Grant{Fields: map[string][]annona.FieldGrant{"quality_flags": {{Field: field(t, "quality_flags", "code"), Treatment: annona.TreatPass}}}}
	if got := privacy.Compile(shape, grant, hexRealm{}).Redact(page).Page().Groups[0]; got.Page.Count != 0 || got.Ends[0] != 0 {
		t.Error("a flag left without what it is about")
	}
}

func keysOf(m map[string]bool) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
