package exchange

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

// TestPartsAreUnited puts two records together, field by field.
func TestPartsAreUnited(t *testing.T) {
	x := &Exchange{}
	x.dictionary.Store(annona.Standard())
	people, _ := annona.Standard().Dataset("individuals")
	record := func(source string, at time.Time, fields map[string]string) standing {
		s := standing{source: source, asOf: at}
		if fields != nil {
			s.words = says(t, fields)
		}
		return s
	}
	job := func(text string) map[string]string { return map[string]string{"occupation": text} }
	reason := map[string]string{"occupation_nil_reason": "unknown"}
	for _, c := range []struct {
		name          string
		first, second standing
		authority     string
		want          map[string]string
		differs       bool
	}{
		{"one says nothing", record("survey", on(1), nil), record("clinic", on(0), job("baker")), "", map[string]string{"occupation": "baker by clinic@0"}, false},
		{"both say the same", record("survey", on(1), job("baker")), record("clinic", on(0), job("baker")), "", map[string]string{"occupation": "baker by survey@1 clinic@0"}, false},
		{"the younger one counts", record("survey", on(1), job("baker")), record("clinic", on(2), job("smith")), "", map[string]string{"occupation": "smith by clinic@2"}, true},
		{"equally old: the survivor's", record("survey", on(1), job("baker")), record("clinic", on(1), job("smith")), "", map[string]string{"occupation": "baker by survey@1"}, true},
		{"two keys of one source", record("survey", on(1), job("baker")), record("survey", on(2), job("smith")), "", map[string]string{"occupation": "smith by survey@2"}, true},
		{"an authority counts, however old", record("survey", on(2), job("baker")), record("clinic", on(1), job("smith")), "clinic", map[string]string{"occupation": "smith by clinic@1"}, true},
		{"a value counts more than a reason for absence", record("survey", on(2), reason), record("clinic", on(1), job("smith")), "", map[string]string{"occupation": "smith by clinic@1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := unity{authority: func(string) string { return c.authority }, flag: x.differFlag(people), inside: func(annona.Relationship) bool { return false }}
			whole := u.unite([]standing{c.first, c.second})
			got, flagged := map[string]string{}, false
			for i := range whole.words {
				w := whole.traced(i)
				if w.unit == "quality_flags" {
					flagged = valueOf(w.items[0], "code") == flagDiffer && valueOf(w.items[0], "field") == "occupation"
					continue
				}
				text := w.values[len(w.values)-1].Text + " by"
				for _, o := range w.origins {
					text += " " + o.source + "@" + string('0'+rune(o.asOf.Sub(theDay).Hours()/24))
				}
				got[w.unit] = text
			}
			if diff := cmp.Diff(c.want, got); diff != "" || flagged != c.differs {
				t.Errorf("flagged: %v\n%s", flagged, diff)
			}
		})
	}
}

// TestTiesAreUnited: nobody is twice in one household, nor has two primary ones, nor is their own parent.
func TestTiesAreUnited(t *testing.T) {
	parts := []standing{
		{memberships: []annona.Membership{{Household: 1, Role: "head"}}, relationships: []annona.Relationship{{To: 2, Type: "spouse"}, {To: 9, Type: "parent", ToKey: "k", Source: "survey"}}},
		{memberships: []annona.Membership{{Household: 1, Role: "child"}, {Household: 2, Role: "head"}, {Household: 3, EndDate: "2020-01-01"}},
			relationships: []annona.Relationship{{To: 9, Type: "parent", ToKey: "l", Source: "clinic"}, {To: 9, Type: "guardian"}}},
	}
	u := unity{authority: func(string) string { return "" }, inside: func(r annona.Relationship) bool { return r.To <= 2 }}
	whole := u.unite(parts)
	wantHomes := []annona.Membership{{Household: 1, Role: "head"}, {Household: 2, Role: "head", NotPrimary: true}, {Household: 3, EndDate: "2020-01-01", NotPrimary: true}}
	wantKin := []annona.Relationship{{To: 9, Type: "parent", ToKey: "k", Source: "survey"}, {To: 9, Type: "guardian"}}
	if diff := cmp.Diff(wantHomes, whole.memberships) + cmp.Diff(wantKin, whole.relationships); diff != "" {
		t.Error(diff)
	}
}
