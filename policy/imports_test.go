package policy_test

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// registrar returns an agreement that lets its partner load, and a load that it grants; each test
// changes one thing.
func registrar() (annona.Agreement, policy.Load) {
	a := agreement()
	a.Imports = &annona.ImportTerms{Sources: []string{"office", "clinic"}, Modes: []string{"upsert", "full"}, DeleteGuard: percent(5)}
	return a, policy.Load{Request: importing(), Source: "office", Mode: "full"}
}

func importing() policy.Request {
	r := request
	r.Verb, r.Dataset, r.Purpose = annona.VerbImport, "", ""
	return r
}

func percent(p annona.Percent) *annona.Percent { return &p }

func decideLoad(t *testing.T, a annona.Agreement, l policy.Load) (annona.Percent, error) {
	t.Helper()
	terms, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatalf("the agreement does not compile: %v", err)
	}
	return policy.DecideLoad(terms, roles(t, policy.Shipped()), l)
}

// Whoever the agreement does not name as a registrar loads nothing.
func TestOneFactorFlipsTheDecisionToLoad(t *testing.T) {
	if guard, err := unchanged(t); err != nil || guard != 2 {
		t.Fatalf("the load that all others differ from: guard %v, %v", guard, err)
	}
	for code, change := range map[string]func(*annona.Agreement, *policy.Load){
		"agreement_not_active":     func(a *annona.Agreement, _ *policy.Load) { a.Status = "suspended" },
		"credential_too_weak":      func(a *annona.Agreement, _ *policy.Load) { a.Floor = "oauth" },
		"imports_not_granted":      func(a *annona.Agreement, _ *policy.Load) { a.Imports = nil },
		"source_not_granted":       func(_ *annona.Agreement, l *policy.Load) { l.Source = "offic" },
		"mode_not_granted":         func(a *annona.Agreement, _ *policy.Load) { a.Imports.Modes = []string{"upsert"} },
		"delete_guard_not_granted": func(_ *annona.Agreement, l *policy.Load) { l.Guard = percent(5.01) },
	} {
		a, l := registrar()
		change(&a, &l)
		if _, err := decideLoad(t, a, l); annona.CodeOf(err) != code || annona.KindOf(err) != annona.KindForbidden {
			t.Errorf("%s: got %v", code, err)
		}
	}
	for name, change := range map[string]func(*annona.Agreement, *policy.Load){
		"no modes mean upsert": func(a *annona.Agreement, l *policy.Load) { a.Imports.Modes, l.Mode = nil, "upsert" },
		"no mode but undo":     func(_ *annona.Agreement, l *policy.Load) { l.Mode = "undo" },
		"operator":             func(_ *annona.Agreement, l *policy.Load) { l.Caller.Strength = annona.StrengthOperator },
		"no source":            func(_ *annona.Agreement, l *policy.Load) { l.Source = "" },
	} {
		a, l := registrar()
		change(&a, &l)
		if _, err := decideLoad(t, a, l); (err == nil) != (name == "no modes mean upsert") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A role lets load by a rule that names the verb, whatever datasets it names; a person's role has to as well.
func TestWhoseRoleLetsLoad(t *testing.T) {
	loads := annona.RoleRule{Name: "loads", Verbs: []annona.Verb{annona.VerbImport}}
	people := loads
	people.Datasets = map[string]annona.DatasetTerms{"individuals": {}}
	no := annona.RoleRule{Name: "no", Deny: true, Verbs: []annona.Verb{annona.VerbImport}, Datasets: people.Datasets}
	for name, c := range map[string]struct {
		rules  []annona.RoleRule
		person []string
		code   string
	}{
		"by a rule":                {[]annona.RoleRule{loads}, nil, ""},
		"by a rule about people":   {[]annona.RoleRule{people}, nil, ""},
		"by no rule":               {[]annona.RoleRule{{Name: "gets", Verbs: []annona.Verb{annona.VerbGet}}}, nil, "role_not_granted"},
		"by a rule that denies":    {[]annona.RoleRule{no}, nil, "role_not_granted"},
		"for a person who may":     {[]annona.RoleRule{loads}, []string{"auditor", "office"}, ""},
		"for a person who may not": {[]annona.RoleRule{loads}, []string{"auditor"}, "role_not_granted"},
		"for a person of no role":  {[]annona.RoleRule{loads}, []string{}, "role_not_granted"},
	} {
		a, l := registrar()
		l.Role, l.Person = "office", c.person
		terms, err := policy.Compile(&a, annona.Standard())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.DecideLoad(terms, roles(t, office(c.rules...)), l); codeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token that was asked for reading loads nothing.
func TestATokenForReadingLoadsNothing(t *testing.T) {
	for _, within := range []annona.Authorization{{Purpose: "eligibility-assessment"}, {Datasets: []string{"individuals"}}} {
		a, l := registrar()
		l.Within = within
		if _, err := decideLoad(t, a, l); codeOf(err) != "imports_not_authorized" {
			t.Errorf("%+v: %v", within, err)
		}
	}
}

// The guard is never above the agreement's, and above the usual one only for who asks for it.
func TestTheGuardOfALoad(t *testing.T) {
	for _, c := range []struct{ agreed, asked, want *annona.Percent }{
		{nil, nil, percent(2)}, {percent(5), nil, percent(2)}, {percent(0), nil, percent(0)}, {percent(1), nil, percent(1)},
		{percent(5), percent(5), percent(5)}, {percent(5), percent(0), percent(0)}, {nil, percent(2), percent(2)}, {nil, percent(3), nil}, {percent(0), percent(0.1), nil},
	} {
		a, l := registrar()
		a.Imports.DeleteGuard, l.Guard = c.agreed, c.asked
		guard, err := decideLoad(t, a, l)
		if c.want == nil && annona.CodeOf(err) != "delete_guard_not_granted" || c.want != nil && (err != nil || guard != *c.want) {
			t.Errorf("agreed %v, asked %v: %v, %v", c.agreed, c.asked, guard, err)
		}
	}
}

func TestImportTermsThatContradictThemselves(t *testing.T) {
	for name, terms := range map[string]annona.ImportTerms{
		"no sources": {}, "an empty source": {Sources: []string{"a", ""}}, "an unknown mode": {Sources: []string{"a"}, Modes: []string{"undo"}},
		"a guard above all": {Sources: []string{"a"}, Modes: []string{"full"}, DeleteGuard: percent(101)},
	} {
		a := agreement()
		a.Imports = &terms
		if _, err := policy.Compile(&a, annona.Standard()); annona.CodeOf(err) != "agreement_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := agreement()
	a.Datasets, a.Imports = nil, &annona.ImportTerms{Sources: []string{"office"}}
	terms, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatalf("an agreement to import only: %v", err)
	}
	if _, err := policy.Decide(terms, roles(t, policy.Shipped()), request); annona.CodeOf(err) != "dataset_not_granted" {
		t.Errorf("it grants something to read: %v", err)
	}
}

func unchanged(t *testing.T) (annona.Percent, error) {
	t.Helper()
	a, l := registrar()
	return decideLoad(t, a, l)
}
