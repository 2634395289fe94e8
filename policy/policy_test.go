package policy_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// agreement returns terms that are in order; each test changes one thing.
func agreement() annona.Agreement {
	return annona.Agreement{
		Name: "eligibility", Version: 1, Realm: "eligibility", Floor: "api_key", Status: "active",
		Partner:   annona.Partner{Name: "Cash program", Country: "GH"},
		ValidFrom: "2026-01-01", ValidUntil: "2026-12-31",
		Purposes: []annona.PurposeTerms{{Code: "eligibility-assessment", Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{
			"individuals": {
				Sensitivities: []annona.Sensitivity{annona.Personal},
				Fields:        []string{"is_disabled"},
				Except:        []string{"emails", "occupation_source_code"},
			},
			"households": {Fields: []string{"household_id", "area_code"}},
		},
	}
}

var request = policy.Request{
	Caller: annona.Caller{Strength: annona.StrengthAPIKey}, Verb: annona.VerbExport,
	Dataset: "individuals", Purpose: "eligibility-assessment", Today: "2026-06-01",
}

func decide(t *testing.T, a annona.Agreement, r policy.Request) (*annona.Grant, error) {
	t.Helper()
	terms, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatalf("the agreement does not compile: %v", err)
	}
	return policy.Decide(terms, roles(t, policy.Shipped()), r)
}

// roles compiles a policy that is in order.
func roles(t *testing.T, p annona.Policy) *policy.Roles {
	t.Helper()
	compiled, err := policy.CompilePolicy(&p, annona.Standard())
	if err != nil {
		t.Fatalf("the policy does not compile: %v", err)
	}
	return compiled
}

func TestOneFactorFlipsTheDecision(t *testing.T) {
	if _, err := decide(t, agreement(), request); err != nil {
		t.Fatalf("the request that all others differ from is refused: %v", err)
	}
	for code, change := range map[string]func(*annona.Agreement, *policy.Request){
		"purpose_missing":     func(_ *annona.Agreement, r *policy.Request) { r.Purpose = "" },
		"purpose_unknown":     func(_ *annona.Agreement, r *policy.Request) { r.Purpose = "' or 1" },
		"purpose_not_granted": func(_ *annona.Agreement, r *policy.Request) { r.Purpose = "marketing" },
		"dataset_not_granted": func(a *annona.Agreement, _ *policy.Request) { delete(a.Datasets, "individuals") },
		"dataset_ended": func(a *annona.Agreement, r *policy.Request) {
			people := a.Datasets["individuals"]
			people.ValidUntil = "2026-05-31"
			a.Datasets["individuals"] = people
		},
		"credential_too_weak":  func(a *annona.Agreement, _ *policy.Request) { a.Floor = "oauth" },
		"basis_lapsed":         func(a *annona.Agreement, _ *policy.Request) { a.Purposes[0].ValidUntil = "2026-05-31" },
		"agreement_not_active": func(a *annona.Agreement, _ *policy.Request) { a.Status = "suspended" },
	} {
		a, r := agreement(), request
		change(&a, &r)
		if _, err := decide(t, a, r); annona.CodeOf(err) != code {
			t.Errorf("%s: got %v", code, err)
		}
	}
	for _, day := range []annona.Date{"2025-12-31", "2027-01-01"} {
		r := request
		r.Today = day
		if _, err := decide(t, agreement(), r); annona.CodeOf(err) != "agreement_not_active" {
			t.Errorf("on %s: got %v", day, err)
		}
	}
	for _, day := range []annona.Date{"2026-01-01", "2026-12-31"} {
		a, r := agreement(), request
		r.Today, a.Purposes[0].ValidUntil = day, day
		if _, err := decide(t, a, r); err != nil {
			t.Errorf("on %s, the last day of the basis: %v", day, err)
		}
		if _, err := decide(t, agreement(), r); err != nil {
			t.Errorf("on %s: %v", day, err)
		}
	}
}

// Each verb beyond reading needs words of its own in the agreement.
func TestVerbsThatAnAgreementGrantsByName(t *testing.T) {
	purpose := request.Purpose
	for verb, c := range map[annona.Verb]struct {
		code  string
		grant func(*annona.Agreement)
	}{
		annona.VerbDisclosures:       {"disclosures_not_granted", func(a *annona.Agreement) { a.Disclosures = true }},
		annona.VerbNameSearch:        {"name_search_not_granted", func(a *annona.Agreement) { a.NameSearch = true }},
		annona.VerbDecideEligibility: {"decisions_not_granted", func(a *annona.Agreement) { a.Decisions = []string{"cash"} }},
		annona.VerbUpdate: {"updates_not_granted", func(a *annona.Agreement) {
			a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"preferred_name"}}}
		}},
		annona.VerbReportLifeEvent:   {"life_events_not_granted", func(a *annona.Agreement) { a.LifeEvents = &annona.LifeEventTerms{Types: []string{"birth"}} }},
		annona.VerbReadUpdates:       {"update_log_not_granted", func(a *annona.Agreement) { a.UpdateLog = true }},
		annona.VerbReview:            {"reviews_not_granted", func(a *annona.Agreement) { a.Reviews = true }},
		annona.VerbReportEnrollments: {"reports_not_granted", func(a *annona.Agreement) { a.Programs = []annona.ProgramTerms{{Program: "cash", Report: true}} }},
		annona.VerbReadCases:         {"cases_not_granted", func(a *annona.Agreement) { a.Cases = &annona.CaseTerms{} }},
		annona.VerbWriteCases:        {"cases_not_granted", func(a *annona.Agreement) { a.Cases = &annona.CaseTerms{} }},
		annona.VerbTransferCases:     {"cases_not_granted", func(a *annona.Agreement) { a.Cases = &annona.CaseTerms{} }},
		annona.VerbCheckEnrolled:     {"checks_not_granted", func(a *annona.Agreement) { a.Checks = &annona.CheckTerms{Purpose: purpose, Programs: []string{"cash"}} }},
	} {
		r := request
		r.Verb = verb
		a := agreement()
		a.Programs = []annona.ProgramTerms{{Program: "school", See: true}}
		if _, err := decide(t, a, r); annona.CodeOf(err) != c.code || annona.KindOf(err) != annona.KindForbidden {
			t.Errorf("%s without a word of it: %v", verb, err)
		}
		c.grant(&a)
		if _, err := decide(t, a, r); err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestChecksAreForOnePurpose(t *testing.T) {
	a := agreement()
	a.Purposes = append(a.Purposes, annona.PurposeTerms{Code: "monitoring", Basis: annona.BasisPublicInterest})
	a.Checks = &annona.CheckTerms{Purpose: "monitoring", Programs: []string{"cash"}}
	for purpose, code := range map[string]string{"monitoring": "", "eligibility-assessment": "purpose_not_granted", "": "purpose_missing", "' or 1": "purpose_unknown"} {
		r := request
		r.Verb, r.Purpose = annona.VerbCheckEnrolled, purpose
		if _, err := decide(t, a, r); codeOf(err) != code {
			t.Errorf("a check for %q: %v", purpose, err)
		}
	}
}

func TestTheOperatorReadsNothing(t *testing.T) {
	r := request
	r.Caller.Strength = annona.StrengthOperator
	if _, err := decide(t, agreement(), r); annona.KindOf(err) != annona.KindForbidden {
		t.Errorf("got %v", err)
	}
}

func granted(g *annona.Grant, dataset string) []string {
	var codes []string
	for _, f := range g.Fields[dataset] {
		codes = append(codes, f.Field.Code)
	}
	return codes
}

func TestWhatAnAgreementGrants(t *testing.T) {
	a := agreement()
	a.APIKey = &annona.CredentialTerms{SpecialFields: true, Reason: "a disability program"}
	g, err := decide(t, a, request)
	if err != nil {
		t.Fatal(err)
	}
	have := granted(g, "individuals")
	for _, want := range []string{"full_name", "sex", "sex_source_code", "occupation", "occupation_nil_reason", "is_disabled", "is_disabled_nil_reason"} {
		if !slices.Contains(have, want) {
			t.Errorf("%s is not granted", want)
		}
	}
	for _, not := range []string{"emails", "emails_nil_reason", "occupation_source_code", "payment_account", "identifiers", "ethnic_group", "ethnic_group_source_code", "religion", "source_system"} {
		if slices.Contains(have, not) {
			t.Errorf("%s is granted", not)
		}
	}
	if g.RowCeiling != 0 || g.Raised == "" {
		t.Errorf("the raised cap is not applied: ceiling %d, reason %q", g.RowCeiling, g.Raised)
	}
}

// Who is seen under a condition on a special field tells the field: the condition needs what
// the field needs.
func TestAConditionOnASpecialField(t *testing.T) {
	a := agreement()
	terms := a.Datasets["individuals"]
	terms.Condition = "individual.is_disabled == true"
	a.Datasets["individuals"] = terms
	for _, dataset := range []string{"individuals", "households"} {
		r := request
		r.Dataset = dataset
		if _, err := decide(t, a, r); annona.CodeOf(err) != "credential_too_weak" {
			t.Errorf("%s: a plain key gets those of whom the condition holds: %v", dataset, err)
		}
		r.Caller.Strength = annona.StrengthOAuth
		if _, err := decide(t, a, r); err != nil {
			t.Errorf("%s: %v", dataset, err)
		}
	}
	a.APIKey = &annona.CredentialTerms{SpecialFields: true, Reason: "a disability program"}
	if _, err := decide(t, a, request); err != nil {
		t.Errorf("raised: %v", err)
	}
	terms.Fields = nil
	a.Datasets["individuals"] = terms
	if _, err := policy.Compile(&a, annona.Standard()); annona.CodeOf(err) != "condition_special" {
		t.Errorf("the field is not granted: %v", err)
	}
}

// last_updated tells that something changed which is not granted.
func TestLastUpdatedIsGrantedByNameOnly(t *testing.T) {
	a := agreement()
	g, err := decide(t, a, request)
	if err != nil {
		t.Fatal(err)
	}
	if have := granted(g, "individuals"); slices.Contains(have, "last_updated") || !slices.Contains(have, "received_at") {
		t.Errorf("granted with the class of personal fields: %v", have)
	}
	terms := a.Datasets["individuals"]
	terms.Fields = append(terms.Fields, "last_updated")
	a.Datasets["individuals"] = terms
	if g, err = decide(t, a, request); err != nil || !slices.Contains(granted(g, "individuals"), "last_updated") {
		t.Errorf("not granted by name: %v", err)
	}
}

func TestAPlainKeyIsCapped(t *testing.T) {
	g, err := decide(t, agreement(), request)
	if err != nil {
		t.Fatal(err)
	}
	if g.RowCeiling != annona.DefaultAPIKeyRows {
		t.Errorf("the ceiling is %d", g.RowCeiling)
	}
	if slices.Contains(granted(g, "individuals"), "is_disabled") {
		t.Error("a plain key is granted a special field without a raised cap")
	}
	r := request
	r.Caller.Strength = annona.StrengthOAuth
	if g, err = decide(t, agreement(), r); err != nil || g.RowCeiling != 0 || !slices.Contains(granted(g, "individuals"), "is_disabled") {
		t.Errorf("a stronger credential is capped like a plain key: %v", err)
	}
}

func TestTheTighterCeilingHolds(t *testing.T) {
	for _, c := range []struct{ agreement, key, want int64 }{{0, 0, 0}, {5, 0, 5}, {0, 7, 7}, {5, 7, 5}, {9, 7, 7}} {
		a := agreement()
		a.RowCeiling, a.APIKey = c.agreement, &annona.CredentialTerms{RowCeiling: c.key, Reason: "why"}
		if g, err := decide(t, a, request); err != nil || g.RowCeiling != c.want {
			t.Errorf("%+v: got %v, %v", c, g, err)
		}
	}
}

func TestAlteredFieldsLoseTheirCompanions(t *testing.T) {
	a := agreement()
	terms := a.Datasets["individuals"]
	terms.Treatments = map[string]annona.Treatment{"date_of_birth": annona.TreatYear}
	a.Datasets["individuals"] = terms
	g, err := decide(t, a, request)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"date_of_birth_nil_reason", "date_of_birth_as_recorded", "date_of_birth_precision"} {
		if slices.Contains(granted(g, "individuals"), more) {
			t.Errorf("%s is granted beside an altered date of birth", more)
		}
	}
	birth, _ := annona.Standard().Dataset("individuals")
	f, _ := birth.Field("date_of_birth")
	if got, ok := g.Field(f); !ok || got.Treatment != annona.TreatYear {
		t.Errorf("got %+v", got)
	}
}

func TestAgreementsThatAreRefused(t *testing.T) {
	change := func(terms func(*annona.DatasetTerms)) func(*annona.Agreement) {
		return func(a *annona.Agreement) {
			d := a.Datasets["individuals"]
			terms(&d)
			a.Datasets["individuals"] = d
		}
	}
	for name, c := range map[string]struct {
		code   string
		change func(*annona.Agreement)
	}{
		"no name":               {"agreement_malformed", func(a *annona.Agreement) { a.Name = "" }},
		"a name with a space":   {"agreement_malformed", func(a *annona.Agreement) { a.Name = "a b" }},
		"no realm":              {"agreement_malformed", func(a *annona.Agreement) { a.Realm = "" }},
		"no partner":            {"agreement_malformed", func(a *annona.Agreement) { a.Partner.Name = "" }},
		"no purpose":            {"agreement_malformed", func(a *annona.Agreement) { a.Purposes = nil }},
		"one purpose twice":     {"agreement_malformed", func(a *annona.Agreement) { a.Purposes = append(a.Purposes, a.Purposes[0]) }},
		"no basis":              {"agreement_malformed", func(a *annona.Agreement) { a.Purposes[0].Basis = "because" }},
		"days reversed":         {"agreement_malformed", func(a *annona.Agreement) { a.ValidUntil = "2025-01-01" }},
		"a day that is none":    {"agreement_malformed", func(a *annona.Agreement) { a.ValidUntil = "2026-13-41" }},
		"no floor":              {"agreement_malformed", func(a *annona.Agreement) { a.Floor = "" }},
		"raised without reason": {"agreement_malformed", func(a *annona.Agreement) { a.APIKey = &annona.CredentialTerms{} }},
		"negative ceiling":      {"agreement_malformed", func(a *annona.Agreement) { a.RowCeiling = -1 }},
		"unknown dataset":       {"unknown_dataset", func(a *annona.Agreement) { a.Datasets["people"] = annona.DatasetTerms{} }},
		"unknown field":         {"unknown_field", change(func(d *annona.DatasetTerms) { d.Fields = []string{"shoe_size"} })},
		"unknown exception":     {"unknown_field", change(func(d *annona.DatasetTerms) { d.Except = []string{"shoe_size"} })},
		"special as a class":    {"special_by_class", change(func(d *annona.DatasetTerms) { d.Sensitivities = []annona.Sensitivity{annona.Special} })},
		"unknown class":         {"unknown_sensitivity", change(func(d *annona.DatasetTerms) { d.Sensitivities = []annona.Sensitivity{"secret"} })},
		"year of a name": {"treatment_misplaced", change(func(d *annona.DatasetTerms) {
			d.Treatments = map[string]annona.Treatment{"full_name": annona.TreatYear}
		})},
		"unknown treatment": {"treatment_misplaced", change(func(d *annona.DatasetTerms) { d.Treatments = map[string]annona.Treatment{"full_name": "blur"} })},
		"derived from a name": {"treatment_misplaced", change(func(d *annona.DatasetTerms) {
			d.Treatments = map[string]annona.Treatment{"full_name": annona.TreatDerive}
		})},
		"band without width": {"treatment_misplaced", change(func(d *annona.DatasetTerms) {
			d.Treatments = map[string]annona.Treatment{"income_amount": annona.TreatBand}
		})},
		"a width without band": {"treatment_misplaced", change(func(d *annona.DatasetTerms) { d.Bands = map[string]int64{"income_amount": 10} })},
		"a width beside a year": {"treatment_misplaced", change(func(d *annona.DatasetTerms) {
			d.Treatments, d.Bands = map[string]annona.Treatment{"date_of_birth": annona.TreatYear}, map[string]int64{"date_of_birth": 10}
		})},
		"mask of many values": {"treatment_misplaced", change(func(d *annona.DatasetTerms) {
			d.Treatments = map[string]annona.Treatment{"phone_numbers": annona.TreatMask}
		})},
		"malformed condition": {"filter_malformed", change(func(d *annona.DatasetTerms) { d.Condition = "individual.sex ==" })},
	} {
		a := agreement()
		c.change(&a)
		if _, err := policy.Compile(&a, annona.Standard()); annona.CodeOf(err) != c.code {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// manyRoles is a policy of 100 roles with 50 rules each, all of which are about the same request; half
// of them hold.
func manyRoles() *annona.Policy {
	p := policy.Shipped()
	for i := range 100 {
		role := annona.Role{Name: fmt.Sprintf("role-%d", i)}
		for j := range 50 {
			role.Rules = append(role.Rules, annona.RoleRule{
				Name: fmt.Sprintf("rule-%d", j), Verbs: []annona.Verb{annona.VerbExport, annona.VerbGet}, Purposes: []string{"eligibility-assessment"},
				Datasets: map[string]annona.DatasetTerms{"individuals": {Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}}},
				When:     fmt.Sprintf(`request.hour >= %d && request.strength in ["api_key", "oauth"]`, j%2),
			})
		}
		p.Roles = append(p.Roles, role)
	}
	return &p
}

func BenchmarkDecide(b *testing.B) {
	a := agreement()
	terms, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		b.Fatal(err)
	}
	roles, err := policy.CompilePolicy(manyRoles(), annona.Standard())
	if err != nil {
		b.Fatal(err)
	}
	r := request
	r.Role = "role-50"
	for b.Loop() {
		if _, err := policy.Decide(terms, roles, r); err != nil {
			b.Fatal(err)
		}
	}
}
