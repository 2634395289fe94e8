package policy_test

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// FA-13, FA-23: an access token is good for what it was asked for, and for nothing that the agreement
// does not grant.
func TestTokensNarrow(t *testing.T) {
	a := annona.Agreement{
		Name: "both", Partner: annona.Partner{Name: "program", OrganizationType: "government_agency", Country: "GH"},
		Recipient: "independent_controller", Realm: "both", Floor: "oauth", Status: "active",
		Purposes: []annona.PurposeTerms{{Code: "eligibility", Basis: annona.BasisPublicInterest}, {Code: "monitoring", Basis: annona.BasisPublicInterest}, {Code: "old", Basis: annona.BasisPublicInterest, ValidUntil: "2020-01-01"}},
		Datasets: map[string]annona.DatasetTerms{
			"households": {Fields: []string{"household_id", "area_code", "members"}}, "individuals": {Fields: []string{"individual_id", "sex"}},
			"memberships": {Fields: []string{"relationship_to_head"}},
		},
		ValidFrom: "2020-01-01", ValidUntil: "2090-12-31",
	}
	terms, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	const today = annona.Date("2026-03-01")
	machine := annona.Caller{Strength: annona.StrengthSenderConstrained}
	for name, c := range map[string]struct {
		within           annona.Authorization
		dataset, purpose string
		code             string
	}{
		"everything":      {annona.Authorization{}, "individuals", "monitoring", ""},
		"as asked":        {annona.Authorization{Purpose: "eligibility", Datasets: []string{"households"}}, "households", "eligibility", ""},
		"another purpose": {annona.Authorization{Purpose: "eligibility"}, "households", "monitoring", "purpose_not_authorized"},
		"another dataset": {annona.Authorization{Datasets: []string{"households"}}, "individuals", "eligibility", "dataset_not_authorized"},
		"beyond both":     {annona.Authorization{Purpose: "research"}, "individuals", "research", "purpose_not_granted"},
	} {
		grant, err := policy.Decide(terms, roles(t, policy.Shipped()), policy.Request{Caller: machine, Verb: annona.VerbSearch, Dataset: c.dataset, Purpose: c.purpose, Today: today, Within: c.within})
		if got := codeOf(err); got != c.code {
			t.Errorf("%s: %q, want %q", name, got, c.code)
		}
		if err == nil && len(c.within.Datasets) > 0 && (len(grant.Fields["individuals"]) > 0 || len(grant.Fields["households"]) == 0) {
			t.Errorf("%s: a token for households shows %v", name, grant.Fields)
		}
		if err == nil && len(grant.Fields["memberships"]) == 0 {
			t.Errorf("%s: it does not show what stands inside of records", name)
		}
	}
	for name, c := range map[string]struct {
		caller annona.Caller
		within annona.Authorization
		today  annona.Date
		code   string
	}{
		"a part":            {machine, annona.Authorization{Purpose: "monitoring", Datasets: []string{"individuals"}}, today, ""},
		"all":               {machine, annona.Authorization{}, today, ""},
		"unknown purpose":   {machine, annona.Authorization{Purpose: "research"}, today, "purpose_not_granted"},
		"malformed purpose": {machine, annona.Authorization{Purpose: "' OR 1"}, today, "purpose_unknown"},
		"lapsed purpose":    {machine, annona.Authorization{Purpose: "old"}, today, "basis_lapsed"},
		"no dataset":        {machine, annona.Authorization{Datasets: []string{"cases"}}, today, "dataset_not_granted"},
		"a group":           {machine, annona.Authorization{Datasets: []string{"identifiers"}}, today, "dataset_not_granted"},
		"a granted group":   {machine, annona.Authorization{Datasets: []string{"memberships"}}, today, "dataset_not_granted"},
		"too weak":          {annona.Caller{Strength: annona.StrengthAPIKey}, annona.Authorization{}, today, "credential_too_weak"},
		"ended":             {machine, annona.Authorization{}, "2091-01-01", "agreement_not_active"},
	} {
		if got := codeOf(policy.Admit(terms, c.caller, c.within, c.today)); got != c.code {
			t.Errorf("%s: %q, want %q", name, got, c.code)
		}
	}
}

func TestATokenForADatasetThatIsNotGranted(t *testing.T) {
	for name, change := range map[string]func(*annona.Agreement){
		"not named":       func(a *annona.Agreement) { delete(a.Datasets, "households") },
		"without a field": func(a *annona.Agreement) { a.Datasets["households"] = annona.DatasetTerms{} },
	} {
		a := agreement()
		change(&a)
		terms, err := policy.Compile(&a, annona.Standard())
		if err != nil {
			t.Fatal(err)
		}
		within := annona.Authorization{Datasets: []string{"individuals", "households"}}
		if err := policy.Admit(terms, request.Caller, within, request.Today); codeOf(err) != "dataset_not_granted" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return annona.CodeOf(err)
}
