package exchange_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// deciding grants the program that it may send decisions of two programs.
func deciding(a *annona.Agreement) { a.Decisions = []string{"cash-transfer", "school-meals"} }

// decision is one that is in order; each test changes one thing.
func decision(key, individual string) exchange.EligibilityDecision {
	return exchange.EligibilityDecision{
		Key: key, IndividualID: individual, Program: "cash-transfer", Status: "eligible", DecisionDate: "2026-07-01", ValidUntil: "2027-06-30",
		Basis: "pmt", Score: "23.5", Reasons: []string{"child_under_5"}, Automated: true, Software: "assess 1.0",
	}
}

// decide sends decisions and returns a word for each: the verdict, and the code of a refusal.
func (r *registry) decide(t *testing.T, rows ...exchange.EligibilityDecision) (words []string) {
	t.Helper()
	verdicts, err := r.DecideEligibility(t.Context(), r.caller, purpose, rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		word := v.Verdict
		if v.Reason != nil {
			word += " " + annona.CodeOf(v.Reason)
		}
		words = append(words, word)
	}
	return words
}

func (r *registry) decided(t *testing.T, dataset string) []exchange.Decided {
	t.Helper()
	page, err := r.EligibilityDecisions(t.Context(), r.caller, purpose, dataset, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	page.Sent(int64(len(page.Decisions)), nil)
	return page.Decisions
}

// A decision comes on file once, whoever it is about leaves it with them, and what a program sends
// wrongly is refused row by row.
func TestDecideEligibility(t *testing.T) {
	r := newRegistry(t, 60)
	r.partner(t, func(a *annona.Agreement) { deciding(a); a.Realm = "another" })
	elsewhere := r.ask(t, everybody).rows
	r.partner(t, deciding)
	people := r.ask(t, everybody).rows
	id := func(n int) string { return people[n][0] }

	if words := r.decide(t, decision("a", id(0)), decision("b", id(1))); !slices.Equal(words, []string{"recorded", "recorded"}) {
		t.Fatalf("new ones: %v", words)
	}
	other := decision("a", id(0))
	other.Status = "ineligible"
	answer := decision("e", id(0))
	answer.AppealOf = "a"
	lost := decision("f", id(0))
	lost.AppealOf = "none"
	cases := map[string]exchange.EligibilityDecision{
		"unchanged":                    decision("a", id(0)),
		"refused decision_differs":     other,
		"refused not_found":            decision("c", elsewhere[0][0]),
		"recorded":                     answer,
		"refused not_found of nobody":  decision("d", "aaaaaaaaaaaaaaaaaaaaaaaaaa"),
		"refused not_found of no id":   decision("d", "7"),
		"refused not_found of appeals": lost,
	}
	change := func(name string, change func(*exchange.EligibilityDecision)) {
		d := decision("g", id(2))
		change(&d)
		cases[name] = d
	}
	change("refused program_not_granted", func(d *exchange.EligibilityDecision) { d.Program = "pensions" })
	change("refused decision_malformed: no key", func(d *exchange.EligibilityDecision) { d.Key = "" })
	change("refused decision_malformed: nobody", func(d *exchange.EligibilityDecision) { d.IndividualID = "" })
	change("refused decision_malformed: two", func(d *exchange.EligibilityDecision) { d.HouseholdID = id(1) })
	change("refused decision_malformed: status", func(d *exchange.EligibilityDecision) { d.Status = "maybe" })
	change("refused decision_malformed: day", func(d *exchange.EligibilityDecision) { d.DecisionDate = "2026-02-30" })
	change("refused decision_malformed: ahead", func(d *exchange.EligibilityDecision) { d.DecisionDate = "2099-01-01" })
	change("refused decision_malformed: valid", func(d *exchange.EligibilityDecision) { d.ValidUntil = "2026-06-30" })
	change("refused decision_malformed: text", func(d *exchange.EligibilityDecision) { d.Reasons = []string{"She is poor"} })
	change("refused decision_malformed: score", func(d *exchange.EligibilityDecision) { d.Score = "1e9" })
	change("refused not_found: export", func(d *exchange.EligibilityDecision) { d.Export = annona.NewUID().String() })
	for want, d := range cases {
		if got := r.decide(t, d)[0]; len(want) < len(got) || want[:len(got)] != got {
			t.Errorf("%s: %s", want, got)
		}
	}

	all := r.decided(t, "individuals")
	if len(all) != 3 || all[0].IndividualID != id(0) || all[0].Status != "eligible" || all[0].Key != "" || all[2].AppealOf != all[0].ID.String() {
		t.Errorf("on file: %+v", all)
	}
	if houses := r.decided(t, "households"); len(houses) != 0 {
		t.Errorf("of households: %+v", houses)
	}
}

// The export that a decision was computed from is one of the partner's own.
func TestADecisionNamesItsExport(t *testing.T) {
	r := newRegistry(t, 20)
	r.partner(t, deciding)
	export, err := r.Export(t.Context(), r.caller, everybody, exchange.Form{})
	to := run(t, export, err)
	d := decision("a", to.rows[0][0])
	d.Export = export.Request().String()
	if words := r.decide(t, d); words[0] != "recorded" {
		t.Errorf("of an export of its own: %v", words)
	}
	r.partner(t, func(a *annona.Agreement) { deciding(a); a.Name = "another" })
	d.Key = "b"
	if words := r.decide(t, d); words[0] != "refused not_found" {
		t.Errorf("of another's export: %v", words)
	}
}

// Whoever may not see somebody learns nothing from a decision about them, and nobody keeps a decision
// about somebody who was erased.
func TestDecisionsFollowWhatMayBeSeen(t *testing.T) {
	r := newRegistry(t, 30)
	r.partner(t, deciding)
	people := r.ask(t, everybody)
	var rows []exchange.EligibilityDecision
	for n := range 30 {
		rows = append(rows, decision(fmt.Sprint("d", n), people.rows[n][0]))
	}
	r.decide(t, rows...)
	restricted := annona.Restriction{ID: annona.NewUID(), Subject: 3, Kind: annona.KindRestriction}
	if err := r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutRestriction(t.Context(), restricted) }); err != nil {
		t.Fatal(err)
	}
	individuals, _ := annona.Standard().Dataset("individuals")
	if err := r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.Erase(t.Context(), "tester", individuals, 5) }); err != nil {
		t.Fatal(err)
	}
	if all := r.decided(t, "individuals"); len(all) != 28 {
		t.Errorf("%d decisions are shown", len(all))
	}
	if words := r.decide(t, decision("x", people.rows[2][0]), decision("y", people.rows[4][0])); !slices.Equal(words, []string{"refused not_found", "refused not_found"}) {
		t.Errorf("about one who is restricted and one who was erased: %v", words)
	}
	if left, err := r.store.Decisions(t.Context(), "program", "individuals", 0, 100); err != nil || len(left) != 29 {
		t.Errorf("%d are on file, %v", len(left), err)
	}
}

func TestDecisionsNeedAGrant(t *testing.T) {
	r := newRegistry(t, 10)
	if _, err := r.DecideEligibility(t.Context(), r.caller, purpose, nil); annona.CodeOf(err) != "decisions_not_granted" {
		t.Errorf("without a program: %v", err)
	}
	r.partner(t, deciding)
	if _, err := r.DecideEligibility(t.Context(), r.caller, "curiosity", nil); annona.CodeOf(err) != "purpose_not_granted" {
		t.Errorf("for another purpose: %v", err)
	}
	if _, err := r.DecideEligibility(t.Context(), operator, purpose, nil); annona.CodeOf(err) != "operator_reads_nothing" {
		t.Errorf("by the operator: %v", err)
	}
	page, err := r.EligibilityDecisions(t.Context(), r.caller, purpose, "individuals", "", 10)
	if err != nil || len(page.Decisions) != 0 || page.Next != "" {
		t.Errorf("none yet: %+v, %v", page, err)
	}
}

// A decision about a household needs an agreement that shows the ids of households.
func TestADecisionAboutWhatIsNotGranted(t *testing.T) {
	r := newRegistry(t, 10)
	r.partner(t, func(a *annona.Agreement) { deciding(a); delete(a.Datasets, "households") })
	d := decision("1", "")
	d.HouseholdID = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	if got := r.decide(t, d); len(got) != 1 || got[0] != exchange.VerdictRefused+" dataset_not_granted" {
		t.Errorf("verdicts %q", got)
	}
}
