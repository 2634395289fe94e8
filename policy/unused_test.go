package policy

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

func TestNothingIsNarrowerThanNoRole(t *testing.T) {
	p := Shipped()
	in, err := CompilePolicy(&p, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := in.Narrowest("nobody", "less", Needed{}, annona.Standard()); annona.CodeOf(err) != "role_unknown" {
		t.Errorf("got %v", err)
	}
}

// Whatever was used: the role that is proposed compiles, and allows nothing that the role before does not.
func TestNarrowestNeverWidens(t *testing.T) {
	rows := "within(individual.area_code, 'AN-01')"
	detailed := annona.Role{Name: "detailed", Rules: []annona.RoleRule{
		{Name: "reads", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch}, Purposes: []string{"care", "check"}, Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"sex", "date_of_birth"}, Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear}, Condition: rows}}, RowCeiling: 5, When: "request.hour > 6"},
		{Name: "exports", Verbs: []annona.Verb{annona.VerbExport}, Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"sex", "marital_status"}, Condition: rows}, "households": {}}},
		{Name: "waits", Verbs: []annona.Verb{annona.VerbExport, annona.VerbFollow}, SecondPerson: true, Datasets: map[string]annona.DatasetTerms{"households": {}}},
		{Name: "no-nights", Deny: true, When: "request.hour > 22"},
		{Name: "no-names", Deny: true, Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"full_name"}}}},
	}}
	before := Shipped()
	before.Roles = append(before.Roles, detailed)
	d := annona.Standard()
	was, err := CompilePolicy(&before, d)
	if err != nil {
		t.Fatal(err)
	}
	agreement := annona.Agreement{
		Name: "all", Realm: "all", Floor: "api_key", Status: "active", Partner: annona.Partner{Name: "P", Country: "XA"}, ValidFrom: "2020-01-01", ValidUntil: "2099-12-31", NameSearch: true, Disclosures: true, Reviews: true, UpdateLog: true,
		Datasets: map[string]annona.DatasetTerms{"individuals": {Sensitivities: []annona.Sensitivity{annona.Personal, annona.Public}}, "households": {Sensitivities: []annona.Sensitivity{annona.Personal, annona.Public}}},
	}
	for _, code := range []string{"care", "check", "other"} {
		agreement.Purposes = append(agreement.Purposes, annona.PurposeTerms{Code: code, Basis: annona.BasisPublicInterest})
	}
	terms, err := Compile(&agreement, d)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(before.Roles)-1).Draw(t, "role")
		needed := Needed{
			Verbs: rapid.SliceOfDistinct(rapid.SampledFrom(verbs), func(v annona.Verb) annona.Verb { return v }).Draw(t, "verbs"), Purposes: rapid.SliceOf(rapid.SampledFrom([]string{"", "care", "check", "other"})).Draw(t, "purposes"),
			Unused: map[string][]string{},
		}
		for _, dataset := range []string{"individuals", "households"} {
			if some := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"sex", "date_of_birth", "full_name", "marital_status"}), func(f string) string { return f }).Draw(t, dataset); dataset == "individuals" && len(some) > 0 {
				needed.Unused[dataset] = some
			}
		}
		if len(needed.Unused) > 0 && rapid.Bool().Draw(t, "ids") {
			needed.Unused["households"] = []string{"household_id"}
		}
		name := before.Roles[at].Name
		narrow, removes, err := was.Narrowest(name, name, needed, d)
		if err != nil {
			t.Fatal(err)
		}
		after := Shipped()
		after.Roles = append(after.Roles, detailed)
		after.Roles[at] = narrow
		is, err := CompilePolicy(&after, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range verbs {
			for _, purpose := range []string{"care", "check", "other"} {
				for _, dataset := range []string{"individuals", "households"} {
					for _, hour := range []int{5, 12, 23} {
						r := Request{Caller: annona.Caller{Strength: annona.StrengthSenderConstrained}, Role: name, Verb: verb, Purpose: purpose, Dataset: dataset, Today: "2026-05-05", At: time.Date(2026, 5, 5, hour, 0, 0, 0, time.UTC)}
						mayNotWiden(t, terms, was, is, r)
						used := slices.Contains(needed.Verbs, verb) && slices.Contains(needed.Purposes, purpose)
						_, before := Decide(terms, was, r)
						_, after := Decide(terms, is, r)
						switch {
						case after == nil && !used && !slices.Contains(needed.Purposes, ""):
							t.Fatalf("%s for %s was not used and is still allowed", verb, purpose)
						case before == nil && used && len(needed.Unused) == 0 && after != nil:
							t.Fatalf("%s for %s was used and is refused: %v", verb, purpose, after)
						}
					}
				}
			}
		}
		if len(removes) == 0 && len(narrow.Rules) != len(before.Roles[at].Rules) {
			t.Fatal("something is taken away and not told")
		}
	})
}

// mayNotWiden fails when one policy grants more of a request than another one.
func mayNotWiden(t *rapid.T, terms *Terms, before, after *Roles, r Request) {
	more, err := Decide(terms, after, r)
	if err != nil {
		return
	}
	less, err := Decide(terms, before, r)
	if err != nil {
		t.Fatalf("%s for %s is newly allowed", r.Verb, r.Purpose)
	}
	for dataset, fields := range more.Fields {
		for _, g := range fields {
			if !slices.Contains(less.Fields[dataset], g) {
				t.Fatalf("%s for %s newly shows %s", r.Verb, r.Purpose, g.Field.Code)
			}
		}
	}
	if more.RowCeiling != less.RowCeiling || more.StepUp != less.StepUp || more.SecondPerson != less.SecondPerson || len(more.Conditions) != len(less.Conditions) {
		t.Fatalf("%s for %s is no more limited: %d rows, were %d", r.Verb, r.Purpose, more.RowCeiling, less.RowCeiling)
	}
}
