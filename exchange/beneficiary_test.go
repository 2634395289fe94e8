package exchange_test

import (
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

func (r *reporter) beneficiary(id string) *exchange.Beneficiary {
	r.t.Helper()
	b, err := r.Beneficiary(r.t.Context(), r.caller, exchange.Question{Purpose: purpose}, id, exchange.Form{Format: "json"})
	if err != nil {
		r.t.Fatal(err)
	}
	b.Sent(b.Rows, nil)
	return b
}

func (r *reporter) counts(b *exchange.Beneficiary) (counts []string) {
	for _, p := range b.Parts {
		counts = append(counts, p.Dataset+" "+string(rune('0'+p.Page.Count())))
	}
	return counts
}

// A beneficiary is one release: with the record, all its parts and everybody in them.
func TestBeneficiaryIsOneRelease(t *testing.T) {
	r := newReporter(t)
	a := r.people[0]
	r.report(false, enrolled("1", a), enrolled("2", r.people[1]))
	r.pay(paid("b1", "1"))
	b := r.beneficiary(a)
	r.same("parts", r.counts(b), "enrollments 1", "benefits 1")
	r.Settle()
	stored, err := r.store.EntriesOf(t.Context(), b.Request, 0, 10)
	if err != nil || len(stored) != 2 {
		t.Fatalf("%d entries, want a release and its outcome: %v", len(stored), err)
	}
	opener := audit.Opener{Vault: r.Vault, Ledger: r.store}
	e, err := opener.Open(t.Context(), stored[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.Facts.Verb != annona.VerbGet || e.Facts.Rows != 3 || e.Facts.Details["parts"] != "enrollments benefits" || !slices.Contains(e.Facts.Fields, "enrollments.status") || !slices.Contains(e.Facts.Fields, "full_name") {
		t.Errorf("facts %+v", e.Facts)
	}
	var fields []string
	for _, s := range e.Subjects {
		if s.Noun == "individual" && slices.Contains(s.Numbers, b.Page.Page().Numbers[0]) {
			fields = append(fields, s.Fields...)
		}
	}
	for _, field := range []string{"full_name", "enrollments.status", "benefits.amount"} {
		if !slices.Contains(fields, field) {
			t.Errorf("the entry does not say that %s has left: %v", field, fields)
		}
	}
	r.verify(t)
	r.ledger.broken = true
	if _, err := r.Beneficiary(t.Context(), r.caller, exchange.Question{Purpose: purpose}, a, exchange.Form{Format: "json"}); annona.CodeOf(err) != "ledger_unavailable" {
		t.Errorf("without a ledger: %v", err)
	}
}

// What is hidden moves nothing of what a caller sees: neither a part nor the entity tag.
func TestBeneficiaryIsTheSameWithWhatIsHidden(t *testing.T) {
	r := newReporter(t)
	a, b := r.people[0], r.people[1]
	r.report(false, enrolled("1", a))
	unseen := func(g *annona.Agreement) {
		r.terms(g)
		g.Programs = []annona.ProgramTerms{{Program: "pension", See: true}}
	}
	seen := func(g *annona.Agreement) { r.terms(g) }
	look := func(terms func(*annona.Agreement), id string) (tag string, parts []string) {
		r.partner(t, terms)
		found := r.beneficiary(id)
		return found.ETag, r.counts(found)
	}
	before, none := look(unseen, a)
	r.same("of a program that is not seen", none, "enrollments 0", "benefits 0")
	r.partner(t, seen)
	r.report(false, enrolled("1", a, "status", "suspended", "status_reason", "review", "status_date", "2026-04-01"), enrolled("2", a), enrolled("3", b))
	r.pay(paid("b1", "1"))
	if after, still := look(unseen, a); after != before || !slices.Equal(still, none) {
		t.Errorf("what is hidden has moved the entity tag from %s to %s, and %v", before, after, still)
	}
	first, parts := look(seen, a)
	r.same("of one that is", parts, "enrollments 2", "benefits 1")
	if first == before {
		t.Error("what is seen does not move the entity tag")
	}
	sent := exchange.EligibilityDecision{Key: "d1", IndividualID: a, Program: "child-grant", Status: "eligible", DecisionDate: "2026-01-02"}
	deciding := func(g *annona.Agreement) { r.terms(g); g.Decisions = []string{"child-grant"} }
	r.partner(t, deciding)
	if _, err := r.DecideEligibility(t.Context(), r.caller, purpose, []exchange.EligibilityDecision{sent}); err != nil {
		t.Fatal(err)
	}
	if found := r.beneficiary(a); len(found.About) != 1 || found.About[0].IndividualID != a || found.ETag == first {
		t.Errorf("decisions: %+v", found.About)
	}
	if found := r.beneficiary(b); len(found.About) != 0 || !found.Told {
		t.Errorf("decisions about somebody else: %+v", found.About)
	}
}
