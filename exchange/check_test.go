package exchange_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

const checking = "duplicate-prevention"

// checkTerms let the partner ask about one program and a group, for a purpose of its own; of people it sees
// nothing but their sex.
func checkTerms(a *annona.Agreement) {
	a.Purposes = append(a.Purposes, annona.PurposeTerms{Code: checking, Basis: annona.BasisPublicInterest})
	a.Datasets = map[string]annona.DatasetTerms{"individuals": {Fields: []string{"sex"}}}
	a.Checks = &annona.CheckTerms{Purpose: checking, Programs: []string{"child-grant"}, Groups: map[string][]string{"cash": {"child-grant", "pension"}}, PeoplePerDay: 20}
}

func card(value string) []exchange.Identifier {
	return []exchange.Identifier{{Type: "passport_number", Value: value}}
}

// checker is a registry of which four people hold passports: one is enrolled, one waits, two hold the same
// number, of whom one is enrolled.
func newChecker(t *testing.T) *reporter {
	r := newReporter(t)
	r.partner(t, func(a *annona.Agreement) { r.terms(a); grantIdentifiers(a) })
	r.put(t, holder(t, "1", "passport_number", "Northland", "C1"), holder(t, "2", "passport_number", "Northland", "C2"),
		holder(t, "3", "passport_number", "Northland", "C3"), holder(t, "4", "passport_number", "Southland", "C3"), holder(t, "5", "passport_number", "Northland", "C5"))
	id := func(value, issuer string) string {
		answer, _, err := r.Lookup(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id"}},
			[]exchange.Identifier{{Type: "passport_number", Value: value, Issuer: issuer}}, exchange.Form{Format: "json"})
		if err != nil {
			t.Fatal(err)
		}
		return string(answer.Page.Page().Cell(0, 0))
	}
	r.same("enrolled", r.report(false, enrolled("1", id("C1", "")), enrolled("2", id("C2", ""), "status", "waitlisted", "rank", nil), enrolled("3", id("C3", "Northland")),
		enrolled("5", id("C5", ""))), "recorded", "recorded", "recorded", "recorded")
	if _, err := r.Restrict(t.Context(), operator, exchange.Subject{ID: id("C5", ""), Realm: "program"}, annona.Restriction{Kind: annona.KindRestriction, Ground: "contested"}); err != nil {
		t.Fatal(err)
	}
	r.partner(t, checkTerms)
	return r
}

func (r *reporter) check(rows ...exchange.EnrolledCheck) (words []string) {
	r.t.Helper()
	checked, err := r.CheckEnrolled(r.t.Context(), r.caller, checking, rows)
	if err != nil {
		return []string{annona.CodeOf(err)}
	}
	checked.Sent(int64(len(rows)), nil)
	for _, v := range checked.Verdicts {
		if v.Reason != nil {
			words = append(words, annona.CodeOf(v.Reason))
			continue
		}
		words = append(words, v.Enrolled)
	}
	return words
}

func TestCheckEnrolled(t *testing.T) {
	r := newChecker(t)
	about := func(value string) exchange.EnrolledCheck {
		return exchange.EnrolledCheck{Identifiers: card(value), Program: "child-grant"}
	}
	r.same("one who takes part, who waits, whom nobody knows, of several some, who is restricted",
		r.check(about("C1"), about("C2"), about("C9"), about("C3"), about("C5")), "yes", "no", "no", "cannot_tell", "no")
	r.same("by group", r.check(exchange.EnrolledCheck{Identifiers: card("C1"), Group: "cash"}, exchange.EnrolledCheck{Identifiers: card("C2"), Group: "cash"}), "yes", "no")
	r.same("by one identifier of two that is known", r.check(exchange.EnrolledCheck{Identifiers: append(card("C9"), card("C1")...), Program: "child-grant"}), "yes")
	r.same("by identifiers of two people", r.check(exchange.EnrolledCheck{Identifiers: append(card("C1"), card("C2")...), Program: "child-grant"}), "cannot_tell")
	r.same("by its issuer", r.check(exchange.EnrolledCheck{Identifiers: []exchange.Identifier{{Type: "passport_number", Value: "C3", Issuer: "Southland"}}, Program: "child-grant"}), "no")
	r.same("asked wrongly", r.check(
		exchange.EnrolledCheck{Program: "child-grant"}, exchange.EnrolledCheck{Identifiers: card("")}, exchange.EnrolledCheck{Identifiers: card("C1"), Program: "pension"},
		exchange.EnrolledCheck{Identifiers: card("C1"), Group: "none"}, exchange.EnrolledCheck{Identifiers: card("C1"), Program: "child-grant", Group: "cash"},
		exchange.EnrolledCheck{Identifiers: []exchange.Identifier{{Type: "shoe", Value: "C1"}}, Program: "child-grant"}, exchange.EnrolledCheck{Identifiers: slices.Repeat(card("C1"), 11), Program: "child-grant"}),
		"identifier_malformed", "check_malformed", "program_not_granted", "program_not_granted", "check_malformed", "unknown_code", "identifier_malformed")
	r.same("nobody", r.check())
	for what, code := range map[string]string{purpose: "purpose_not_granted", "none": "purpose_not_granted"} {
		if _, err := r.CheckEnrolled(t.Context(), r.caller, what, []exchange.EnrolledCheck{about("C1")}); annona.CodeOf(err) != code {
			t.Errorf("for %s: %v", what, err)
		}
	}
	r.partner(t, func(a *annona.Agreement) { checkTerms(a); a.Checks = nil })
	r.same("by one who may not", r.check(about("C1")), "checks_not_granted")
	r.partner(t, func(a *annona.Agreement) { checkTerms(a); a.Areas = []string{"GH16"} })
	r.same("where the partner sees nobody", r.check(about("C1"), about("C3")), "no", "no")
}

// Each check is an entry, with whoever was found, also when the answer is no; and no entry tells who was
// asked about.
func TestChecksAreInTheLedger(t *testing.T) {
	r := newChecker(t)
	rows := []exchange.EnrolledCheck{{Identifiers: card("C2"), Program: "child-grant"}, {Identifiers: card("C9"), Program: "child-grant"}}
	checked, err := r.CheckEnrolled(t.Context(), r.caller, checking, rows)
	if err != nil {
		t.Fatal(err)
	}
	checked.Sent(2, nil)
	r.Settle()
	stored, err := r.store.EntriesOf(t.Context(), checked.Request, 0, 10)
	if err != nil || len(stored) != 2 {
		t.Fatalf("%d entries, %v", len(stored), err)
	}
	opener := audit.Opener{Vault: r.Vault, Ledger: r.store}
	e, err := opener.Open(t.Context(), stored[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.Facts.Verb != annona.VerbCheckEnrolled || e.Facts.Purpose != checking || e.Facts.Rows != 2 || e.Facts.Details["checked"] != "program/child-grant" {
		t.Errorf("facts %+v", e.Facts)
	}
	if len(e.Subjects) != 1 || len(e.Subjects[0].Numbers) != 1 || !slices.Equal(e.Subjects[0].Fields, []string{"enrollments.status"}) {
		t.Errorf("subjects %+v", e.Subjects)
	}
	for _, text := range append(slices.Collect(maps.Values(e.Facts.Details)), e.Filter) {
		if strings.Contains(text, "C2") || strings.Contains(text, "C9") {
			t.Errorf("the entry repeats an identifier: %s", text)
		}
	}
	r.ledger.broken = true
	if _, err := r.CheckEnrolled(t.Context(), r.caller, checking, rows); annona.CodeOf(err) != "ledger_unavailable" {
		t.Errorf("without a ledger: %v", err)
	}
}

// The people of a day are those who are asked about, whether anybody knows them or not.
func TestChecksAreBounded(t *testing.T) {
	r := newChecker(t)
	r.Buckets = r.store
	var rows []exchange.EnrolledCheck
	for n := range 21 {
		rows = append(rows, exchange.EnrolledCheck{Identifiers: card("C" + strings.Repeat("9", n+1)), Program: "child-grant"})
	}
	r.same("more than a day has", r.check(rows...), "checks_too_many")
	r.same("the same one, many times", r.check(slices.Repeat(rows[:1], 15)...), slices.Repeat([]string{"no"}, 15)...)
	r.same("what is left", r.check(rows[1:20]...), slices.Repeat([]string{"no"}, 19)...)
	r.same("nothing", r.check(rows[20]), "checks_too_many")
	r.same("what is wrong anyway", r.check(exchange.EnrolledCheck{Program: "child-grant"}), "identifier_malformed")
	if _, err := r.CheckEnrolled(t.Context(), r.caller, checking, make([]exchange.EnrolledCheck, exchange.MaxChecks+1)); annona.CodeOf(err) != "too_many_rows" {
		t.Errorf("too many rows: %v", err)
	}
}

// A role bounds how many are asked about at once.
func TestTheCeilingOfChecks(t *testing.T) {
	r := newChecker(t)
	_, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "one", RowCeiling: 1}))
	check(t, err)
	check(t, r.SetRole(t.Context(), operator, r.caller.Client, "desk"))
	row := exchange.EnrolledCheck{Identifiers: card("C1"), Program: "child-grant"}
	r.same("two", r.check(row, row), "row_ceiling")
	if got := r.check(row); len(got) != 1 || got[0] == "row_ceiling" {
		t.Errorf("one: %q", got)
	}
}
