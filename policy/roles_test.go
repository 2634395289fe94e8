package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/policy"
)

// office is a policy with one role of its own, for the rules of a test.
func office(rules ...annona.RoleRule) annona.Policy {
	p := policy.Shipped()
	p.Networks = map[string][]netip.Prefix{"office": {netip.MustParsePrefix("192.0.2.0/24")}, "desk": {netip.MustParsePrefix("192.0.2.7/32")}}
	p.Roles = append(p.Roles, annona.Role{Name: "office", Rules: rules})
	return p
}

func inOffice() policy.Request {
	r := request
	r.Role, r.At, r.Binding = "office", time.Date(2026, 6, 1, 9, 30, 0, 0, time.UTC), policy.BoundToNothing // a Monday
	r.Caller.Network = netip.MustParseAddr("192.0.2.9")
	return r
}

func decideIn(t *testing.T, r policy.Request, rules ...annona.RoleRule) (*annona.Grant, error) {
	t.Helper()
	a := agreement()
	terms, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	return policy.Decide(terms, roles(t, office(rules...)), r)
}

// Every input alone turns the permit into a denial.
func TestOneFactorOfARoleFlipsTheDecision(t *testing.T) {
	rule := annona.RoleRule{
		Name: "all", Verbs: []annona.Verb{annona.VerbExport}, Purposes: []string{"eligibility-assessment"}, ValidFrom: "2026-06-01", ValidUntil: "2026-06-30",
		Datasets: map[string]annona.DatasetTerms{"individuals": {}},
		When:     `request.hour >= 7 && request.hour < 18 && request.weekday <= 5 && request.network == "office" && request.strength == "api_key" && request.binding == "none"`,
	}
	if _, err := decideIn(t, inOffice(), rule); err != nil {
		t.Fatalf("the request that all others differ from: %v", err)
	}
	fresh, person := inOffice(), rule
	fresh.Caller.Acting = annona.SignedIn{Person: annona.NewUID(), Assurance: annona.AssurancePasskey, At: fresh.At.Add(-15 * time.Minute)}
	person.When = `request.assurance == "phr" && request.auth_age <= 15`
	if _, err := decideIn(t, fresh, person); err != nil {
		t.Errorf("a person who has just signed in: %v", err)
	}
	for name, change := range map[string]func(*policy.Request, *annona.RoleRule){
		"verb":              func(r *policy.Request, _ *annona.RoleRule) { r.Verb = annona.VerbSearch },
		"dataset":           func(r *policy.Request, _ *annona.RoleRule) { r.Dataset = "households" },
		"purpose":           func(_ *policy.Request, a *annona.RoleRule) { a.Purposes = []string{"monitoring"} },
		"role":              func(r *policy.Request, _ *annona.RoleRule) { r.Role = "auditor" },
		"a role of nobody":  func(r *policy.Request, _ *annona.RoleRule) { r.Role = "nobody" },
		"too early a day":   func(r *policy.Request, _ *annona.RoleRule) { r.Today = "2026-05-31" },
		"too late a day":    func(r *policy.Request, _ *annona.RoleRule) { r.Today = "2026-07-01" },
		"too early an hour": func(r *policy.Request, _ *annona.RoleRule) { r.At = r.At.Add(-3 * time.Hour) },
		"too late an hour":  func(r *policy.Request, _ *annona.RoleRule) { r.At = r.At.Add(9 * time.Hour) },
		"a Saturday":        func(r *policy.Request, _ *annona.RoleRule) { r.At = r.At.AddDate(0, 0, 5) },
		"another network":   func(r *policy.Request, _ *annona.RoleRule) { r.Caller.Network = netip.MustParseAddr("192.0.3.9") },
		"a narrower one":    func(r *policy.Request, _ *annona.RoleRule) { r.Caller.Network = netip.MustParseAddr("192.0.2.7") },
		"no network":        func(r *policy.Request, _ *annona.RoleRule) { r.Caller.Network = netip.Addr{} },
		"strength":          func(r *policy.Request, _ *annona.RoleRule) { r.Caller.Strength = annona.StrengthOAuth },
		"binding":           func(r *policy.Request, _ *annona.RoleRule) { r.Binding = policy.BoundToKey },
		"nobody signed in":  func(r *policy.Request, a *annona.RoleRule) { a.When = `request.assurance == "phr"` },
		"a weaker sign-in": func(r *policy.Request, a *annona.RoleRule) {
			r.Caller.Acting = annona.SignedIn{Person: annona.NewUID(), Assurance: annona.AssuranceTwoFactors, At: r.At}
			a.When = `request.assurance == "phr"`
		},
		"a sign-in of long ago": func(r *policy.Request, a *annona.RoleRule) {
			r.Caller.Acting = annona.SignedIn{Person: annona.NewUID(), Assurance: annona.AssurancePasskey, At: r.At.Add(-16 * time.Minute)}
			a.When = `request.auth_age <= 15`
		},
		"the rule denies": func(_ *policy.Request, a *annona.RoleRule) { a.Deny = true },
		"no field is left": func(_ *policy.Request, a *annona.RoleRule) {
			a.Datasets = map[string]annona.DatasetTerms{"individuals": {Fields: []string{"religion"}}}
		},
	} {
		r, rule := inOffice(), rule
		change(&r, &rule)
		if _, err := decideIn(t, r, rule); annona.KindOf(err) != annona.KindForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func terms(fields ...string) map[string]annona.DatasetTerms {
	return map[string]annona.DatasetTerms{"individuals": {Fields: fields}}
}

func where(condition string, fields ...string) map[string]annona.DatasetTerms {
	return map[string]annona.DatasetTerms{"individuals": {Fields: fields, Condition: condition}}
}

// What a role leaves of an agreement: fields, treatments, rows and ceiling.
func TestWhatARoleLeaves(t *testing.T) {
	const women, young = `individual.sex == "female"`, `individual.in_school`
	for name, c := range map[string]struct {
		rules   []annona.RoleRule
		fields  string
		rows    string
		ceiling int64
	}{
		"columns of two rules": {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex")}, {Name: "b", Datasets: terms("full_name")}}, fields: "full_name sex", ceiling: 10_000},
		"rows of two rules": {rules: []annona.RoleRule{{Name: "a", Datasets: where(women, "sex")}, {Name: "b", Datasets: where(young, "sex")}},
			fields: "sex", rows: women + " || " + young, ceiling: 10_000},
		"rows that two rules name": {rules: []annona.RoleRule{{Name: "a", Datasets: where(women, "sex")}, {Name: "b", Datasets: where(women, "sex")}}, fields: "sex", rows: women, ceiling: 10_000},
		"some rows behind all":     {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex")}, {Name: "b", Datasets: where(women, "sex")}}, fields: "sex", ceiling: 10_000},
		"all columns but one": {rules: []annona.RoleRule{{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": {}}}, {Name: "b", Datasets: terms("sex")},
			{Name: "c", Deny: true, Datasets: terms(allBut(t, "sex", "in_school")...)}}, fields: "in_school sex", ceiling: 10_000},
		"all rows and some": {rules: []annona.RoleRule{{Name: "a", Datasets: where(women, "sex")}, {Name: "b", Datasets: terms("sex")}}, fields: "sex", ceiling: 10_000},
		"denied columns":    {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex", "full_name")}, {Name: "b", Deny: true, Datasets: terms("full_name")}}, fields: "sex", ceiling: 10_000},
		"denied rows": {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex")}, {Name: "b", Deny: true, Datasets: where(women)}},
			fields: "sex", rows: "!(" + women + ")", ceiling: 10_000},
		"the lower ceiling": {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex"), RowCeiling: 10}, {Name: "b", Datasets: terms("sex"), RowCeiling: 20}}, fields: "sex", ceiling: 10},
		"a rule that does not hold": {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex")}, {Name: "b", Datasets: terms("full_name"), When: "request.hour == 3"}},
			fields: "sex", ceiling: 10_000},
		"nothing that the agreement does not grant": {rules: []annona.RoleRule{{Name: "a", Datasets: terms("sex", "religion")}}, fields: "sex", ceiling: 10_000},
		"a treatment": {rules: []annona.RoleRule{{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": {
			Fields: []string{"date_of_birth"}, Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear}}}}}, fields: "date_of_birth:year", ceiling: 10_000},
		"for derived columns only": {rules: []annona.RoleRule{{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": {
			Fields: []string{"sex", "in_school"}, Treatments: map[string]annona.Treatment{"in_school": annona.TreatDerive}}}}}, fields: "sex derives in_school", ceiling: 10_000},
	} {
		g, err := decideIn(t, inOffice(), c.rules...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var fields []string
		for _, f := range g.Fields["individuals"] {
			if f.Field.Aspect == annona.AspectValue {
				text := f.Field.Code
				if f.Treatment != annona.TreatPass {
					text += ":" + string(f.Treatment)
				}
				fields = append(fields, text)
			}
		}
		slices.Sort(fields)
		for _, f := range g.Derivable["individuals"] {
			fields = append(fields, "derives "+f.Field.Code)
		}
		rows := ""
		if cond := g.Conditions["individuals"]; cond != nil {
			rows = filter.Format(cond)
		}
		if homes := g.Conditions["households"]; homes != nil {
			t.Errorf("%s: it has rows of households, %s", name, filter.Format(homes))
		}
		if got := strings.Join(fields, " "); got != c.fields || rows != c.rows || g.RowCeiling != c.ceiling {
			t.Errorf("%s: fields %q, rows %q, ceiling %d", name, got, rows, g.RowCeiling)
		}
	}
}

// allBut lists the columns of individuals, without some.
func allBut(t *testing.T, some ...string) (codes []string) {
	t.Helper()
	individuals, _ := annona.Standard().Dataset("individuals")
	for f := range individuals.Columns() {
		if !slices.Contains(some, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// The rows of the agreement hold in every role, and together with those of the role.
func TestTheRowsOfAnAgreementHoldInARole(t *testing.T) {
	a := agreement()
	of := a.Datasets["individuals"]
	of.Condition = `individual.sex == "female"`
	a.Datasets["individuals"] = of
	under, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]string{`individual.in_school`: `individual.in_school && individual.sex == "female"`, "": `individual.sex == "female"`} {
		g, err := policy.Decide(under, roles(t, office(annona.RoleRule{Name: "a", Datasets: where(role, "sex")})), inOffice())
		if err != nil || filter.Format(g.Conditions["individuals"]) != want {
			t.Errorf("%q: %v, %v", role, g, err)
		}
	}
}

// Of two treatments of a field the stricter one holds; where neither hides all that the other does, the
// field does not leave.
func TestTheStricterOfTwoTreatments(t *testing.T) {
	const born, income, name, pass, derive = "date_of_birth", "income_amount", "full_name", annona.TreatPass, annona.TreatDerive
	for _, c := range []struct {
		field        string
		agreed, role annona.Treatment
		widths       [2]int64
		want         annona.Treatment
		width        int64
	}{
		{born, pass, annona.TreatYear, [2]int64{}, annona.TreatYear, 0}, {born, annona.TreatYear, pass, [2]int64{}, annona.TreatYear, 0},
		{born, annona.TreatYear, annona.TreatMonth, [2]int64{}, annona.TreatYear, 0}, {born, annona.TreatMonth, annona.TreatYear, [2]int64{}, annona.TreatYear, 0},
		{born, annona.TreatMonth, annona.TreatMonth, [2]int64{}, annona.TreatMonth, 0}, {born, derive, pass, [2]int64{}, derive, 0}, {born, pass, derive, [2]int64{}, derive, 0},
		{born, annona.TreatYear, derive, [2]int64{}, "", 0}, {born, annona.TreatMonth, derive, [2]int64{}, "", 0}, {born, derive, annona.TreatYear, [2]int64{}, "", 0}, {born, derive, annona.TreatMonth, [2]int64{}, "", 0},
		{name, pass, annona.TreatPseudonym, [2]int64{}, annona.TreatPseudonym, 0}, {name, annona.TreatPseudonym, pass, [2]int64{}, annona.TreatPseudonym, 0},
		{name, annona.TreatPseudonym, annona.TreatPseudonym, [2]int64{}, annona.TreatPseudonym, 0}, {name, annona.TreatPseudonym, annona.TreatMask, [2]int64{}, "", 0},
		{name, annona.TreatMask, annona.TreatPseudonym, [2]int64{}, "", 0},
		{income, annona.TreatBand, pass, [2]int64{10, 0}, annona.TreatBand, 10}, {income, annona.TreatBand, annona.TreatBand, [2]int64{10, 10}, annona.TreatBand, 10},
		{income, annona.TreatBand, annona.TreatBand, [2]int64{10, 20}, annona.TreatBand, 20}, {income, annona.TreatBand, annona.TreatBand, [2]int64{20, 10}, annona.TreatBand, 20},
		{income, annona.TreatBand, annona.TreatBand, [2]int64{10, 15}, "", 0}, {income, annona.TreatBand, annona.TreatBand, [2]int64{15, 10}, "", 0}, {income, derive, annona.TreatBand, [2]int64{0, 10}, "", 0},
	} {
		a := agreement()
		a.Datasets["individuals"] = treated(c.field, c.agreed, c.widths[0])
		under, err := policy.Compile(&a, annona.Standard())
		if err != nil {
			t.Fatal(err)
		}
		in := roles(t, office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": treated(c.field, c.role, c.widths[1])}}))
		g, err := policy.Decide(under, in, inOffice())
		if err != nil {
			t.Fatal(err)
		}
		var got annona.FieldGrant
		for _, f := range slices.Concat(g.Fields["individuals"], g.Derivable["individuals"]) {
			if f.Field.Code == c.field {
				got = f
			}
		}
		if got.Treatment != c.want || got.Band != c.width {
			t.Errorf("%s: %s %d and %s %d make %q %d", c.field, c.agreed, c.widths[0], c.role, c.widths[1], got.Treatment, got.Band)
		}
	}
}

func treated(field string, treatment annona.Treatment, width int64) annona.DatasetTerms {
	d := annona.DatasetTerms{Fields: []string{"sex", field}, Treatments: map[string]annona.Treatment{field: treatment}}
	if width > 0 {
		d.Bands = map[string]int64{field: width}
	}
	return d
}

// A role for emergencies is none as long as no glass is broken.
func TestAnEmergencyRoleWaitsForAnEmergency(t *testing.T) {
	p := policy.Shipped()
	p.Roles = append(p.Roles, annona.Role{Name: "ambulance", Emergency: true, Rules: []annona.RoleRule{{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}}})
	a := agreement()
	under, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	for emergency, code := range map[bool]string{false: "role_not_granted", true: ""} {
		r := request
		r.Role, r.Verb, r.Emergency = "ambulance", annona.VerbGet, emergency
		if _, err := policy.Decide(under, roles(t, p), r); codeOf(err) != code {
			t.Errorf("emergency %v: %v", emergency, err)
		}
	}
}

// What a rule denies whole is denied by its name, whatever another rule allows.
func TestADenialIsNamed(t *testing.T) {
	_, err := decideIn(t, inOffice(), annona.RoleRule{Name: "all"}, annona.RoleRule{Name: "none", Deny: true, When: "request.hour > 1"})
	if codeOf(err) != "role_denies" {
		t.Errorf("got %v", err)
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	const women = `individual.sex == "female"`
	for name, c := range map[string]struct {
		code   string
		policy annona.Policy
	}{
		"no role for partners":    {"policy_malformed", annona.Policy{}},
		"two of one name":         {"policy_malformed", annona.Policy{Roles: []annona.Role{{Name: "partner"}, {Name: "partner"}}}},
		"a role in capitals":      {"policy_malformed", annona.Policy{Roles: []annona.Role{{Name: "Partner"}}}},
		"two rules of one name":   {"policy_malformed", office(annona.RoleRule{Name: "a"}, annona.RoleRule{Name: "a"})},
		"an unknown verb":         {"policy_malformed", office(annona.RoleRule{Name: "a", Verbs: []annona.Verb{"erase"}})},
		"a purpose":               {"policy_malformed", office(annona.RoleRule{Name: "a", Purposes: []string{"*"}})},
		"days":                    {"policy_malformed", office(annona.RoleRule{Name: "a", ValidFrom: "2026-02-02", ValidUntil: "2026-02-01"})},
		"a ceiling that denies":   {"policy_malformed", office(annona.RoleRule{Name: "a", Deny: true, RowCeiling: 1})},
		"a network":               {"policy_malformed", annona.Policy{Networks: map[string][]netip.Prefix{"x": nil}, Roles: policy.Shipped().Roles}},
		"exceptions from nothing": {"policy_malformed", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": {Except: []string{"sex"}}}})},
		"treatments of nothing":   {"policy_malformed", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": {Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear}}}})},
		"bands of nothing":        {"policy_malformed", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{"individuals": {Bands: map[string]int64{"age": 5}}}})},
		"a pseudonym of a day": {"treatment_misplaced", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{
			"individuals": {Fields: []string{"date_of_birth"}, Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatPseudonym}}}})},
		"a pseudonym of many values": {"treatment_misplaced", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{
			"individuals": {Fields: []string{"phone_numbers"}, Treatments: map[string]annona.Treatment{"phone_numbers": annona.TreatPseudonym}}}})},
		"a pseudonym and the value": {"role_contradicts", office(annona.RoleRule{Name: "a", Datasets: terms("full_name")}, annona.RoleRule{Name: "b", Datasets: map[string]annona.DatasetTerms{
			"individuals": {Fields: []string{"full_name"}, Treatments: map[string]annona.Treatment{"full_name": annona.TreatPseudonym}}}})},
		"an unknown dataset":                  {"unknown_dataset", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{"animals": {}}})},
		"an unknown field":                    {"unknown_field", office(annona.RoleRule{Name: "a", Datasets: terms("wealth")})},
		"an unknown fact":                     {"unknown_field", office(annona.RoleRule{Name: "a", When: "request.mood == 1"})},
		"a fact of a record":                  {"unknown_field", office(annona.RoleRule{Name: "a", When: women})},
		"a condition on a field that none is": {"unknown_field", office(annona.RoleRule{Name: "a", Datasets: where("individual.wealth == 1")})},
		"a condition inside a group":          {"condition_misplaced", office(annona.RoleRule{Name: "a", Datasets: map[string]annona.DatasetTerms{"memberships": {Condition: women}}})},
		"deny of fields in rows":              {"role_contradicts", office(annona.RoleRule{Name: "a", Deny: true, Datasets: where(women, "sex")})},
		"rows and columns differ":             {"role_contradicts", office(annona.RoleRule{Name: "a", Datasets: where(women, "sex")}, annona.RoleRule{Name: "b", Datasets: terms("full_name")})},
		"treatments differ": {"role_contradicts", office(annona.RoleRule{Name: "a", Datasets: terms("date_of_birth")}, annona.RoleRule{Name: "b", Datasets: map[string]annona.DatasetTerms{
			"individuals": {Fields: []string{"date_of_birth"}, Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear}}}})},
		"all is denied": {"role_contradicts", office(annona.RoleRule{Name: "a", Verbs: []annona.Verb{annona.VerbGet}}, annona.RoleRule{Name: "b", Deny: true})},
	} {
		if _, err := policy.CompilePolicy(&c.policy, annona.Standard()); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, rules := range map[string][]annona.RoleRule{
		"other verbs":     {{Name: "a", Verbs: []annona.Verb{annona.VerbGet}, Datasets: where(women, "sex")}, {Name: "b", Verbs: []annona.Verb{annona.VerbExport}, Datasets: terms("full_name")}},
		"other purposes":  {{Name: "a", Purposes: []string{"x"}, Datasets: where(women, "sex")}, {Name: "b", Purposes: []string{"y"}, Datasets: terms("full_name")}},
		"other days":      {{Name: "a", ValidUntil: "2026-01-01", Datasets: where(women, "sex")}, {Name: "b", ValidFrom: "2026-01-02", Datasets: terms("full_name")}},
		"denied at night": {{Name: "a"}, {Name: "b", Deny: true, When: "request.hour < 6"}},
	} {
		p := office(rules...)
		if _, err := policy.CompilePolicy(&p, annona.Standard()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rows chosen by a special field tell it: only where the agreement grants it, and to strong credentials.
func TestARoleThatTells(t *testing.T) {
	rule := annona.RoleRule{Name: "a", Datasets: where("individual.is_disabled == true", "sex")}
	if _, err := decideIn(t, inOffice(), rule); annona.CodeOf(err) != "credential_too_weak" {
		t.Errorf("a plain key: %v", err)
	}
	strong := inOffice()
	strong.Caller.Strength = annona.StrengthOAuth
	if _, err := decideIn(t, strong, rule); err != nil {
		t.Errorf("a stronger credential: %v", err)
	}
	for _, condition := range []string{`has(individual.displacement_status)`, `has(individual.displacement_status) && individual.is_disabled == true`, `individual.is_disabled == true && has(individual.displacement_status)`} {
		rule.Datasets = where(condition, "sex")
		if _, err := decideIn(t, strong, rule); annona.CodeOf(err) != "condition_special" {
			t.Errorf("%s: a field that the agreement does not grant: %v", condition, err)
		}
	}
}

// What a decision is explained with is what it was decided from.
func TestExplanations(t *testing.T) {
	a := agreement()
	compiled, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	r := inOffice()
	in := roles(t, office(annona.RoleRule{Name: "day", When: "request.hour >= 6"}, annona.RoleRule{Name: "gets", Verbs: []annona.Verb{annona.VerbGet}}, annona.RoleRule{Name: "night", Deny: true, When: "request.hour < 6"}))
	e := policy.Explain(compiled, in, r)
	if e.Refusal != nil || !slices.Equal(e.Granted.Decision.Rules, []string{"day"}) || e.Granted.Decision.Inputs != e.Decision.Inputs || !slices.Equal(e.Decision.Rules, []string{"day"}) {
		t.Errorf("%+v", e)
	}
	if e.Rules[1].Misses != "verb" || e.Rules[2].Misses != "when" || !e.Rules[2].Deny {
		t.Errorf("%+v", e.Rules)
	}
	r.At = r.At.Add(-5 * time.Hour)
	night := policy.Explain(compiled, in, r)
	if annona.CodeOf(night.Refusal) != "role_denies" && annona.CodeOf(night.Refusal) != "role_not_granted" || night.Decision.Inputs == e.Decision.Inputs {
		t.Errorf("%+v", night)
	}
}

// Widened names all that a policy newly allows: whatever it allows and the one before did not, stands in
// the list.
func TestWhatAPolicyNewlyAllows(t *testing.T) {
	before := roles(t, office(annona.RoleRule{Name: "a", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch}, Datasets: terms("sex")}, annona.RoleRule{Name: "no", Deny: true, Datasets: terms("full_name")}))
	for name, c := range map[string]struct {
		rules []annona.RoleRule
		want  []string
	}{
		"the same": {rules: []annona.RoleRule{{Name: "b", Verbs: []annona.Verb{annona.VerbSearch, annona.VerbGet}, Datasets: terms("sex")}, {Name: "no", Deny: true, Datasets: terms("full_name")}}},
		"less":     {rules: []annona.RoleRule{{Name: "a", Verbs: []annona.Verb{annona.VerbGet}, Datasets: where(`individual.sex == "female"`, "sex"), When: "request.hour > 1"}, {Name: "no", Deny: true, Datasets: terms("full_name", "sex")}}},
		"a field more": {rules: []annona.RoleRule{{Name: "a", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch}, Datasets: terms("sex", "in_school")}, {Name: "no", Deny: true, Datasets: terms("full_name")}},
			want: []string{"office may newly get, search individuals (in_school, in_school_nil_reason), for every purpose"}},
		"nothing denied": {rules: []annona.RoleRule{{Name: "a", Verbs: []annona.Verb{annona.VerbGet}, Datasets: terms("sex")}},
			want: []string{"office is no more denied to do everything with individuals (full_name), for every purpose"}},
		"no limit": {rules: []annona.RoleRule{{Name: "a", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch}, Datasets: terms("sex"), RowCeiling: 10, StepUp: &annona.StepUp{ACR: "phr", MaxAge: 5}}, {Name: "no", Deny: true, Datasets: terms("full_name")}}},
		"everything": {rules: []annona.RoleRule{{Name: "a"}, {Name: "no", Deny: true, Datasets: terms("full_name")}},
			want: []string{"office may newly do everything with all that its agreement grants, for every purpose"}},
	} {
		var got []string
		for _, change := range policy.Widened(before, roles(t, office(c.rules...))) {
			got = append(got, change.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A client that acts for a person does what its own role and one of theirs both allow.
func TestAPersonNarrowsToo(t *testing.T) {
	p := office(annona.RoleRule{Name: "all", Datasets: terms("sex", "full_name"), RowCeiling: 100})
	p.Roles = append(p.Roles,
		annona.Role{Name: "officer", Rules: []annona.RoleRule{{Name: "reads", Verbs: []annona.Verb{annona.VerbExport}, Datasets: where(`individual.sex == "female"`, "sex", "date_of_birth"), RowCeiling: 50, StepUp: &annona.StepUp{ACR: "phr"}}}},
		annona.Role{Name: "clerk", Rules: []annona.RoleRule{{Name: "gets", Verbs: []annona.Verb{annona.VerbGet}}}})
	compiled := roles(t, p)
	a := agreement()
	under, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		person []string
		code   string
		fields int
		rules  string
	}{
		"for itself":        {person: nil, fields: 3, rules: "all"},
		"no role":           {person: []string{}, code: "role_not_granted"},
		"a role of nothing": {person: []string{"auditor", "nobody"}, code: "role_not_granted"},
		"another verb":      {person: []string{"clerk"}, code: "role_not_granted"},
		"the second role":   {person: []string{"clerk", "officer"}, fields: 2, rules: "all officer/reads"},
	} {
		r := inOffice()
		r.Person = c.person
		g, err := policy.Decide(under, compiled, r)
		if annona.CodeOf(err) != c.code && err != nil || (err == nil) != (c.code == "") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err != nil {
			continue
		}
		if len(g.Fields["individuals"]) != c.fields || strings.Join(g.Decision.Rules, " ") != c.rules {
			t.Errorf("%s: %v by %v", name, g.Fields["individuals"], g.Decision.Rules)
		}
		if narrowed := c.person != nil; narrowed != (g.RowCeiling == 50) || narrowed != (g.Conditions["individuals"] != nil) || narrowed != (g.StepUp.Assurance == annona.AssurancePasskey) {
			t.Errorf("%s: ceiling %d, rows %v, step-up %v", name, g.RowCeiling, g.Conditions["individuals"], g.StepUp)
		}
	}
}

// A limit that is gone or looser widens too.
func TestLimitsThatAreGone(t *testing.T) {
	limited := func(ceiling int64, acr string, age int) *policy.Roles {
		return roles(t, office(annona.RoleRule{Name: "a"}, annona.RoleRule{Name: "b", Verbs: []annona.Verb{annona.VerbExport}, RowCeiling: ceiling, StepUp: &annona.StepUp{ACR: acr, MaxAge: age}, SecondPerson: true}))
	}
	before := limited(100, "mfa", 15)
	for name, c := range map[string]struct {
		after *policy.Roles
		want  string
	}{
		"the same": {limited(100, "mfa", 15), ""}, "fewer rows": {limited(10, "mfa", 15), ""}, "stronger and fresher": {limited(100, "phr", 1), ""},
		"no such rule": {roles(t, office(annona.RoleRule{Name: "a"})), "office is no more limited where it may export all that its agreement grants, for every purpose: to at most 100 rows of one answer: by a sign-in (mfa) of the last 15 minutes"},
		"nobody else looks": {roles(t, office(annona.RoleRule{Name: "a"}, annona.RoleRule{Name: "b", Verbs: []annona.Verb{annona.VerbExport}, RowCeiling: 100, StepUp: &annona.StepUp{ACR: "mfa", MaxAge: 15}})),
			"office is no more limited where it may export all that its agreement grants, for every purpose: to at most 100 rows of one answer: by a sign-in (mfa) of the last 15 minutes: with a second person who approves each request"},
		"more rows": {limited(101, "mfa", 15), "limited"}, "older": {limited(100, "mfa", 16), "limited"}, "however old": {limited(100, "mfa", 0), "limited"}, "weaker": {limited(100, "outside", 15), "limited"},
	} {
		got := ""
		for _, change := range policy.Widened(before, c.after) {
			got += change.String()
		}
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A second person is asked for where one rule that holds asks, of the client or of the person for whom it acts. With
// other verbs nobody can wait, and a rule that says so is refused.
func TestASecondPersonIsAskedForByOneRule(t *testing.T) {
	waits := annona.RoleRule{Name: "b", Verbs: []annona.Verb{annona.VerbExport}, SecondPerson: true}
	request := inOffice()
	for verb, want := range map[annona.Verb]bool{annona.VerbExport: true, annona.VerbFollow: false, annona.VerbGet: false} {
		request.Verb = verb
		if g, err := decideIn(t, request, annona.RoleRule{Name: "a"}, waits); err != nil || g.SecondPerson != want {
			t.Errorf("%s: %t, %v", verb, g.SecondPerson, err)
		}
	}
	request.Verb, request.Person = annona.VerbExport, []string{"theirs"}
	p := office(annona.RoleRule{Name: "a"})
	p.Roles = append(p.Roles, annona.Role{Name: "theirs", Rules: []annona.RoleRule{waits}})
	a := agreement()
	under, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	g, err := policy.Decide(under, roles(t, p), request)
	if err != nil || !g.SecondPerson || !slices.Contains(g.Obligations(slices.Values([]annona.FieldGrant{})), "second_person=needed") {
		t.Errorf("of a person: %+v, %v", g, err)
	}
	for name, rule := range map[string]annona.RoleRule{
		"of every verb": {Name: "a", SecondPerson: true}, "of what names somebody": {Name: "a", Verbs: []annona.Verb{annona.VerbExport, annona.VerbLookup}, SecondPerson: true},
		"of a search": {Name: "a", Verbs: []annona.Verb{annona.VerbSearch}, SecondPerson: true}, "of a load": {Name: "a", Verbs: []annona.Verb{annona.VerbImport}, SecondPerson: true},
		"of what is denied": {Name: "a", Deny: true, Verbs: []annona.Verb{annona.VerbExport}, SecondPerson: true},
	} {
		p := office(rule)
		if _, err := policy.CompilePolicy(&p, annona.Standard()); annona.CodeOf(err) != "policy_malformed" || !strings.Contains(err.Error(), "second person") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What people begin by hand asks for a fresh sign-in, by the strictest rule that holds.
func TestStepUpIsTheStrictest(t *testing.T) {
	rules := []annona.RoleRule{
		{Name: "a", StepUp: &annona.StepUp{ACR: "mfa", MaxAge: 15}}, {Name: "b", StepUp: &annona.StepUp{ACR: "phr"}}, {Name: "c", StepUp: &annona.StepUp{ACR: "outside", MaxAge: 60}},
		{Name: "d", When: "request.hour == 3", StepUp: &annona.StepUp{ACR: "phr", MaxAge: 1}},
	}
	g, err := decideIn(t, inOffice(), rules...)
	if want := (annona.Demand{Assurance: annona.AssurancePasskey, MaxAge: 15 * time.Minute}); err != nil || g.StepUp != want {
		t.Errorf("%+v, %v", g, err)
	}
	for name, rule := range map[string]annona.RoleRule{
		"an unknown acr": {Name: "a", StepUp: &annona.StepUp{ACR: "gold"}}, "none": {Name: "a", StepUp: &annona.StepUp{MaxAge: 1}}, "an age below zero": {Name: "a", StepUp: &annona.StepUp{ACR: "mfa", MaxAge: -1}},
		"of what is denied": {Name: "a", Deny: true, StepUp: &annona.StepUp{ACR: "mfa"}},
	} {
		p := office(rule)
		if _, err := policy.CompilePolicy(&p, annona.Standard()); annona.CodeOf(err) != "policy_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A role narrows and never widens, whatever its rules are: the law of meeting.
func TestARoleNeverWidens(t *testing.T) {
	a := agreement()
	compiled, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	strong := inOffice()
	strong.Caller.Strength = annona.StrengthSenderConstrained
	alone := strong
	alone.Role = annona.RolePartner
	all, err := policy.Decide(compiled, roles(t, policy.Shipped()), alone)
	if err != nil {
		t.Fatal(err)
	}
	individuals, _ := annona.Standard().Dataset("individuals")
	var codes []string
	for f := range individuals.Columns() {
		codes = append(codes, f.Code)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var rules []annona.RoleRule
		for i := range rapid.IntRange(0, 4).Draw(rt, "rules") {
			rules = append(rules, annona.RoleRule{
				Name: string(rune('a' + i)), Deny: rapid.IntRange(0, 3).Draw(rt, "deny") == 0,
				Datasets: rapid.SampledFrom([]map[string]annona.DatasetTerms{nil, terms(rapid.SliceOfN(rapid.SampledFrom(codes), 1, 20).Draw(rt, "fields")...), {"individuals": {}}, {"households": {}},
					where(`individual.sex == "female"`)}).Draw(rt, "datasets"),
				When:       rapid.SampledFrom([]string{"", "request.hour == 9", "request.hour != 9"}).Draw(rt, "when"),
				RowCeiling: 0,
			})
		}
		p := office(rules...)
		in, err := policy.CompilePolicy(&p, annona.Standard())
		if err != nil {
			return
		}
		g, err := policy.Decide(compiled, in, strong)
		if err != nil {
			return
		}
		for dataset, fields := range g.Fields {
			for _, f := range fields {
				if was, ok := all.Field(f.Field); !ok || was.Treatment != f.Treatment && was.Treatment != annona.TreatPass {
					rt.Fatalf("%s.%s is granted by the role alone", dataset, f.Field.Code)
				}
			}
		}
		for _, rule := range rules {
			holds := rule.When != "request.hour != 9"
			for dataset, said := range rule.Datasets {
				if !rule.Deny || !holds || said.Condition != "" {
					continue
				}
				for _, f := range g.Fields[dataset] {
					if len(said.Fields) == 0 || slices.Contains(said.Fields, f.Field.Code) {
						rt.Fatalf("%s.%s is denied, and granted all the same", dataset, f.Field.Code)
					}
				}
			}
		}
	})
}
