package exchange_test

import (
	"context"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/policy"
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
		counts = append(counts, p.Name+" "+string(rune('0'+p.Page.Count())))
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
	r.same("parts", r.counts(b), "enrollments 1", "benefits 1", "household_enrollments 0", "household_benefits 0")
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
	if e.Facts.Verb != annona.VerbGet || e.Facts.Rows != 3 || e.Facts.Details["parts"] != "enrollments benefits household_enrollments household_benefits" || !slices.Contains(e.Facts.Fields, "enrollments.status") || !slices.Contains(e.Facts.Fields, "full_name") {
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

// Which parts are shown is remembered for a moment, and never longer than it holds: a part that was taken away
// on another node is gone with the next view, and one that was given is there. A part that is not granted is no
// denial.
func TestBeneficiaryShowsPartsAsTheyAreGranted(t *testing.T) {
	r := newReporter(t)
	a := r.people[0]
	r.report(false, enrolled("1", a))
	there := exchange.New(r.Config) // another node
	view := func() []string {
		t.Helper()
		b, err := there.Beneficiary(t.Context(), r.caller, exchange.Question{Purpose: purpose}, a, exchange.Form{Format: "json"})
		if err != nil {
			t.Fatal(err)
		}
		b.Sent(b.Rows, nil)
		return r.counts(b)
	}
	all := []string{"enrollments 1", "benefits 0", "household_enrollments 0", "household_benefits 0"}
	r.same("all parts", view(), all...)
	was := r.caller
	r.partner(t, func(a *annona.Agreement) {
		r.terms(a)
		delete(a.Datasets, "enrollments")
	})
	r.caller = was
	r.same("without enrollments", view(), "benefits 0", "household_benefits 0")
	r.partner(t, func(a *annona.Agreement) {
		r.terms(a)
		delete(a.Datasets, "enrollments")
		delete(a.Datasets, "benefits")
	})
	r.caller = was
	r.same("without parts", view())
	r.partner(t, r.terms)
	r.caller = was
	r.same("all parts again", view(), all...)
	there.EnterRefusals(true)
	r.Settle()
	for _, e := range r.entries(t) {
		if e.Facts != nil && e.Facts.Outcome == audit.Refused {
			t.Errorf("a part that is not granted was entered as a denial: %+v", e.Facts)
		}
	}
}

// overtakenParts changes what is granted between the decision about parts and their reading.
type overtakenParts struct {
	annona.Matters
	decisions
	before func()
}

type decisions = annona.Decisions

func (o *overtakenParts) ReadMatters(ctx context.Context, questions ...*annona.MatterQuestion) error {
	o.happen()
	return o.Matters.ReadMatters(ctx, questions...)
}

func (o *overtakenParts) DecisionsAbout(ctx context.Context, agreement string, about annona.SubjectRef, limit int) ([]annona.EligibilityDecision, error) {
	o.happen()
	return o.decisions.DecisionsAbout(ctx, agreement, about, limit)
}

func (o *overtakenParts) happen() {
	if o.before != nil {
		before := o.before
		o.before = nil
		before()
	}
}

// A right that ends after the decision about a part and before its reading ends the part.
func TestBeneficiaryShowsNoPartThatWasTakenAwayMeanwhile(t *testing.T) {
	r := newReporter(t)
	a := r.people[0]
	r.report(false, enrolled("1", a))
	deciding := func(g *annona.Agreement) { r.terms(g); g.Decisions = []string{"child-grant"} }
	onlyDecisions := func(g *annona.Agreement) {
		g.Decisions = []string{"child-grant"}
	}
	for name, c := range map[string]struct {
		before, after func(*annona.Agreement)
		want          []string
	}{
		"enrollments":            {r.terms, func(g *annona.Agreement) { r.terms(g); delete(g.Datasets, "enrollments") }, []string{"benefits 0", "household_benefits 0"}},
		"decisions beside parts": {deciding, r.terms, []string{"enrollments 1", "benefits 0", "household_enrollments 0", "household_benefits 0"}},
		"decisions alone":        {onlyDecisions, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.partner(t, c.before)
			was := r.caller
			o := &overtakenParts{Matters: r.store, decisions: r.store}
			config := r.Config
			config.Remembered, config.Matters, config.Decisions = nil, o, o
			x := exchange.New(config)
			view := func() *exchange.Beneficiary {
				b, err := x.Beneficiary(t.Context(), was, exchange.Question{Purpose: purpose}, a, exchange.Form{Format: "json"})
				if err != nil {
					t.Fatal(err)
				}
				b.Sent(b.Rows, nil)
				return b
			}
			view()
			o.before = func() { r.partner(t, c.after) }
			b := view()
			r.same("parts", r.counts(b), c.want...)
			if b.Told {
				t.Error("decisions are told by an agreement that has none any more")
			}
			if o.before != nil {
				t.Error("nothing was read")
			}
		})
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
	r.same("of a program that is not seen", none, "enrollments 0", "benefits 0", "household_enrollments 0", "household_benefits 0")
	r.partner(t, seen)
	r.report(false, enrolled("1", a, "status", "suspended", "status_reason", "review", "status_date", "2026-04-01"), enrolled("2", a), enrolled("3", b))
	r.pay(paid("b1", "1"))
	if after, still := look(unseen, a); after != before || !slices.Equal(still, none) {
		t.Errorf("what is hidden has moved the entity tag from %s to %s, and %v", before, after, still)
	}
	first, parts := look(seen, a)
	r.same("of one that is", parts, "enrollments 2", "benefits 1", "household_enrollments 0", "household_benefits 0")
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

// list follows a list of beneficiaries to its end, and returns who is in it.
func (r *reporter) list(dataset string, choice exchange.BeneficiaryChoice, limit int) (ids []string, each []exchange.Beneficiary) {
	r.t.Helper()
	for after := ""; ; {
		q := exchange.Question{Dataset: dataset, Purpose: purpose}
		page, err := r.Beneficiaries(r.t.Context(), r.caller, q, choice, limit, after, exchange.Form{Format: "json"})
		if err != nil {
			r.t.Fatal(err)
		}
		if page.Sent(page.Rows, nil); len(page.Each) > limit || len(page.Each) < limit && page.Next != "" {
			r.t.Errorf("a page of %d has %d, and %q behind it", limit, len(page.Each), page.Next)
		}
		for _, b := range page.Each {
			ids = append(ids, string(b.Page.Page().Cell(b.Page.Shape().Column(b.Page.Shape().Dataset.Key), 0)))
			each = append(each, b)
		}
		if after = page.Next; after == "" {
			return ids, each
		}
	}
}

// A list has those who take part themselves, as far as their enrollments are seen; each stands in it as its
// own address has it.
func TestBeneficiariesAreListed(t *testing.T) {
	r := newReporter(t)
	p := r.people
	r.report(false, enrolled("1", p[3]), enrolled("2", p[1]), enrolled("3", p[5], "status", "suspended", "status_reason", "review"), enrolled("4", p[1], "cycle", nil))
	r.pay(paid("b1", "1"))
	for what, c := range map[string]struct {
		dataset string
		choice  exchange.BeneficiaryChoice
		want    []string
	}{
		"all":                            {"individuals", exchange.BeneficiaryChoice{}, []string{p[1], p[3], p[5]}},
		"of a program":                   {"individuals", exchange.BeneficiaryChoice{Program: "child-grant"}, []string{p[1], p[3], p[5]}},
		"of a program that nobody is in": {"individuals", exchange.BeneficiaryChoice{Program: "pension"}, nil},
		"of one that is not on file":     {"individuals", exchange.BeneficiaryChoice{Program: "nothing"}, nil},
		"who are active":                 {"individuals", exchange.BeneficiaryChoice{Status: "active"}, []string{p[1], p[3]}},
		"households":                     {"households", exchange.BeneficiaryChoice{}, nil},
	} {
		for _, limit := range []int{1, 2, 20} {
			if got, _ := r.list(c.dataset, c.choice, limit); !slices.Equal(got, c.want) {
				t.Errorf("%s, %d on a page: %v, want %v", what, limit, got, c.want)
			}
		}
	}
	_, each := r.list("individuals", exchange.BeneficiaryChoice{}, 20)
	for n, id := range []string{p[1], p[3], p[5]} {
		alone := r.beneficiary(id)
		if !slices.Equal(r.counts(&each[n]), r.counts(alone)) || len(alone.More) > 0 {
			t.Errorf("%v in the list, %v alone", r.counts(&each[n]), r.counts(alone))
		}
	}
	r.partner(t, func(g *annona.Agreement) {
		r.terms(g)
		g.Programs = []annona.ProgramTerms{{Program: "child-grant", Report: true}, {Program: "pension", See: true}}
	})
	if got, _ := r.list("individuals", exchange.BeneficiaryChoice{}, 20); len(got) > 0 {
		t.Errorf("of a program that is not seen: %v", got)
	}
	r.partner(t, func(g *annona.Agreement) { r.terms(g); delete(g.Datasets, "enrollments") })
	q := exchange.Question{Dataset: "individuals", Purpose: purpose}
	if _, err := r.Beneficiaries(t.Context(), r.caller, q, exchange.BeneficiaryChoice{}, 1, "", exchange.Form{}); annona.KindOf(err) != annona.KindForbidden {
		t.Errorf("without enrollments: %v", err)
	}
}

// The list is one release, of everybody in it, and nothing leaves when it cannot be recorded. Its cursor goes
// on with the same question only.
func TestAListOfBeneficiariesIsOneRelease(t *testing.T) {
	r := newReporter(t)
	r.report(false, enrolled("1", r.people[0]), enrolled("2", r.people[1]), enrolled("3", r.people[2]))
	q := exchange.Question{Dataset: "individuals", Purpose: purpose}
	page, err := r.Beneficiaries(t.Context(), r.caller, q, exchange.BeneficiaryChoice{}, 2, "", exchange.Form{Format: "json"})
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	page.Sent(page.Rows, nil)
	r.Settle()
	stored, err := r.store.EntriesOf(t.Context(), page.Request, 0, 10)
	if err != nil || len(stored) != 2 {
		t.Fatalf("%d entries, want a release and its outcome: %v", len(stored), err)
	}
	opener := audit.Opener{Vault: r.Vault, Ledger: r.store}
	e, err := opener.Open(t.Context(), stored[0])
	if err != nil {
		t.Fatal(err)
	}
	if e.Facts.Verb != annona.VerbSearch || e.Facts.Rows != 4 || e.Facts.Details["parts"] != "enrollments benefits household_enrollments household_benefits" {
		t.Errorf("facts %+v", e.Facts)
	}
	for n := range page.Each {
		number := page.Each[n].Page.Page().Numbers[0]
		if !slices.ContainsFunc(e.Subjects, func(s audit.Subjects) bool {
			return slices.Contains(s.Numbers, number) && slices.Contains(s.Fields, "enrollments.status")
		}) {
			t.Errorf("number %d is not in the entry", number)
		}
	}
	if _, err := r.Beneficiaries(t.Context(), r.caller, q, exchange.BeneficiaryChoice{Status: "active"}, 2, page.Next, exchange.Form{}); annona.CodeOf(err) != "cursor_invalid" {
		t.Errorf("another question: %v", err)
	}
	for _, limit := range []int{0, exchange.MaxBeneficiaries + 1} {
		if _, err := r.Beneficiaries(t.Context(), r.caller, q, exchange.BeneficiaryChoice{}, limit, "", exchange.Form{}); annona.CodeOf(err) != "limit_out_of_range" {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
	r.ledger.broken = true
	if _, err := r.Beneficiaries(t.Context(), r.caller, q, exchange.BeneficiaryChoice{}, 2, "", exchange.Form{}); annona.CodeOf(err) != "ledger_unavailable" {
		t.Errorf("without a ledger: %v", err)
	}
}

// What a program keeps about a household stands with each member who is seen in it, apart, as far as the
// caller sees households and in which one somebody lives.
func TestAMemberShowsWhatTheirHouseholdHas(t *testing.T) {
	r := newReporter(t)
	p := cashTransfer()
	p.Code, p.AssistanceUnit = "cash", "household"
	if _, _, err := r.ApplyProgram(t.Context(), operator, p); err != nil {
		t.Fatal(err)
	}
	terms := func(g *annona.Agreement) {
		r.terms(g)
		g.Programs = append(g.Programs, annona.ProgramTerms{Program: "cash", See: true, Report: true})
	}
	r.partner(t, terms)
	lives := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "household_id"}}
	rows := r.ask(t, lives).rows
	home := rows[0][1]
	theirs := enrolled("h", "", "household_id", home, "program", "cash")
	delete(theirs, "individual_id")
	r.same("reports", r.report(false, theirs, enrolled("1", rows[0][0])), "recorded", "recorded")
	r.pay(paid("b1", "h"))
	for _, row := range rows {
		want := []string{"enrollments 0", "benefits 0", "household_enrollments 0", "household_benefits 0"}
		if row[1] == home {
			want[2], want[3] = "household_enrollments 1", "household_benefits 1"
		}
		if row[0] == rows[0][0] {
			want[0] = "enrollments 1"
		}
		r.same("parts", r.counts(r.beneficiary(row[0])), want...)
	}
	r.same("of the household itself", r.counts(r.beneficiary(home)), "enrollments 1", "benefits 1")
	if got, _ := r.list("households", exchange.BeneficiaryChoice{Program: "cash"}, 20); !slices.Equal(got, []string{home}) {
		t.Errorf("households in the list: %v", got)
	}
	if got, _ := r.list("individuals", exchange.BeneficiaryChoice{Program: "cash"}, 20); len(got) > 0 {
		t.Errorf("individuals in the list of a program of households: %v", got)
	}
	for what, change := range map[string]func(*annona.Agreement){
		"no households": func(g *annona.Agreement) { delete(g.Datasets, "households") },
		"not where they live": func(g *annona.Agreement) {
			g.Datasets["individuals"] = annona.DatasetTerms{Fields: []string{"individual_id", "full_name"}}
		},
		"other households": func(g *annona.Agreement) { g.Areas = []string{"XA-99"} },
		"no such program":  func(g *annona.Agreement) { g.Programs = g.Programs[:2] },
	} {
		r.partner(t, func(g *annona.Agreement) { terms(g); change(g) })
		b, err := r.Beneficiary(t.Context(), r.caller, exchange.Question{Purpose: purpose}, rows[0][0], exchange.Form{Format: "json"})
		if annona.KindOf(err) == annona.KindNotFound {
			continue
		}
		if err != nil {
			t.Fatal(what, err)
		}
		for _, part := range b.Parts {
			if part.Name == "household_enrollments" && part.Page.Count() > 0 {
				t.Errorf("%s: what the household has is shown", what)
			}
		}
	}
}

// Who lists those who take part may search people and enrollments.
func TestRolesOfThoseWhoListBeneficiaries(t *testing.T) {
	r := newReporter(t)
	p := policy.Shipped()
	for name, datasets := range map[string]map[string]annona.DatasetTerms{"both": nil, "people-alone": {"individuals": {}}, "enrollments-alone": {"enrollments": {}}} {
		p.Roles = append(p.Roles, annona.Role{Name: name, Rules: []annona.RoleRule{{Name: "lists", Verbs: []annona.Verb{annona.VerbSearch}, Datasets: datasets}}})
	}
	_, err := r.ApplyPolicy(t.Context(), operator, p)
	check(t, err)
	for role, code := range map[string]string{"both": "", "people-alone": "role_not_granted", "enrollments-alone": "role_not_granted"} {
		check(t, r.SetRole(t.Context(), operator, r.caller.Client, role))
		_, err := r.Beneficiaries(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id"}}, exchange.BeneficiaryChoice{}, 10, "", exchange.Form{Format: "json"})
		refusal(t, role, err, code)
	}
}
