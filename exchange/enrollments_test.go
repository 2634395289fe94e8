package exchange_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// reporter is a registry with two programs, of which the caller reports one and sees both.
type reporter struct {
	*registry
	t      *testing.T
	people []string // ids
}

func newReporter(t *testing.T) *reporter {
	r := &reporter{registry: newRegistry(t, 40), t: t}
	for _, code := range []string{"child-grant", "pension"} {
		p := cashTransfer()
		p.Code, p.AssistanceUnit = code, "individual"
		if _, _, err := r.ApplyProgram(t.Context(), operator, p); err != nil {
			t.Fatal(err)
		}
	}
	r.partner(t, r.terms)
	for _, row := range r.ask(t, everybody).rows {
		r.people = append(r.people, row[0])
	}
	return r
}

func (r *reporter) terms(a *annona.Agreement) {
	a.Programs = []annona.ProgramTerms{{Program: "child-grant", See: true, Report: true}, {Program: "pension", See: true}}
	for _, name := range []string{"enrollments", "benefits", "status_changes", "payments"} {
		a.Datasets[name] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}}
	}
}

// enrolled is a report that is in order; each test changes one thing.
func enrolled(own, individual string, change ...any) map[string]any {
	row := map[string]any{"source_enrollment_id": own, "individual_id": individual, "program": "child-grant", "cycle": "2026-1", "status": "active", "status_date": "2026-03-01"}
	for i := 0; i < len(change); i += 2 {
		row[change[i].(string)] = change[i+1]
	}
	return row
}

func paid(own, enrollment string, change ...any) map[string]any {
	row := map[string]any{"source_benefit_id": own, "source_enrollment_id": enrollment, "benefit_type": "cash", "entitlement_status": "approved", "amount": "50.00", "currency": "GHS",
		"description": "Child grant of March", "payments": []any{map[string]any{"attempt": json.Number("1"), "status": "pending"}}}
	row["payments"] = nil
	for i := 0; i < len(change); i += 2 {
		row[change[i].(string)] = change[i+1]
	}
	return row
}

// words are the verdicts, with the codes of refusals.
func words(verdicts []exchange.ReportVerdict) (all []string) {
	for _, v := range verdicts {
		word := v.Verdict
		if v.Reason != nil {
			word += " " + annona.CodeOf(v.Reason)
		}
		all = append(all, word)
	}
	return all
}

func (r *reporter) report(whole bool, rows ...map[string]any) []string {
	r.t.Helper()
	verdicts, err := r.ReportEnrollments(r.t.Context(), r.caller, purpose, rows, whole)
	if err != nil {
		r.t.Fatal(err)
	}
	return words(verdicts)
}

func (r *reporter) pay(rows ...map[string]any) []string {
	r.t.Helper()
	verdicts, err := r.ReportBenefits(r.t.Context(), r.caller, purpose, rows, false)
	if err != nil {
		r.t.Fatal(err)
	}
	return words(verdicts)
}

// rows reads enrollments or benefits: columns of the answer, one text for each row.
func (r *reporter) rows(dataset string, p exchange.Participation, fields ...string) (rows []string) {
	r.t.Helper()
	for after := ""; ; {
		answer, err := r.Participations(r.t.Context(), r.caller, exchange.Question{Dataset: dataset, Purpose: purpose, Fields: fields}, "", p, 2, after)
		if err != nil {
			r.t.Fatal(err)
		}
		page := answer.Page.Page()
		if answer.Next != "" && page.Count != 2 {
			r.t.Errorf("a page of %d that is not the last", page.Count)
		}
		for row := range page.Count {
			var cells []string
			for c := range page.Columns {
				cells = append(cells, string(page.Cell(c, row)))
			}
			for g := range page.Groups {
				from, to := page.Groups[g].Rows(row)
				cells = append(cells, fmt.Sprint(to-from))
			}
			rows = append(rows, strings.Join(cells, " "))
		}
		answer.Sent(int64(page.Count), nil)
		if after = answer.Next; after == "" {
			return rows
		}
	}
}

func (r *reporter) same(what string, got []string, want ...string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// Enrollments come on file once under the name of their source, move on, and show their history.
func TestEnrollments(t *testing.T) {
	r := newReporter(t)
	a, b, c := r.people[0], r.people[1], r.people[2]
	r.same("new", r.report(false, enrolled("1", a), enrolled("2", b, "status", "waitlisted", "rank", json.Number("3")), enrolled("3", c)), "recorded", "recorded", "recorded")
	r.same("the same again", r.report(false, enrolled("1", a), enrolled("3", c)), "unchanged", "unchanged")
	r.same("on file", r.rows("enrollments", exchange.Participation{}, "individual_id", "status", "enrollment_date", "rank", "waitlisted_at"),
		a+" active   2026-03-01", b+" waitlisted 2026-03-01 3 ", c+" active   2026-03-01")
	r.same("moved on", r.report(false, enrolled("2", b, "status_date", "2026-04-01"), enrolled("3", c, "status", "closed", "status_date", "2026-05-01", "exit_reason", "D")), "recorded", "recorded")
	columns := []string{"individual_id", "status", "status_date", "enrollment_date", "exit_date", "exit_reason", "status_history"}
	r.same("behind that", r.rows("enrollments", exchange.Participation{}, columns...),
		a+" active 2026-03-01 2026-03-01   1", b+" active 2026-04-01 2026-04-01   2", c+" closed 2026-05-01 2026-03-01 2026-05-01 death 2")
	for what, p := range map[string]exchange.Participation{"of a status": {Status: "closed"}, "of somebody": {Individual: c}} {
		r.same(what, r.rows("enrollments", p, "individual_id"), c)
	}
	r.same("of nobody", r.rows("enrollments", exchange.Participation{Individual: strings.Repeat("a", 26)}, "individual_id"))
	r.same("of another program", r.rows("enrollments", exchange.Participation{Program: "pension"}, "individual_id"))

	r.same("reported wrongly", r.report(false,
		enrolled("1", b), enrolled("4", strings.Repeat("a", 26)), enrolled("", a), enrolled("5", a, "program", "pension"), enrolled("6", a, "cycle", "1999"),
		enrolled("2", b, "status", "waitlisted"), enrolled("7", a, "status", "suspended"), enrolled("8", a, "status_date", "2099-01-01"), enrolled("9", a, "status", "gone"),
		enrolled("10", a, "full_name", "Ama"), enrolled("11", a, "enrollment_date", "2020-01-01"), enrolled("12", a, "household_id", a), enrolled("13", a, "rank", json.Number("1")), nil),
		"refused another_subject", "refused not_found", "refused field_required", "refused program_not_granted", "refused cycle_unknown",
		"refused status_move", "refused field_required", "refused date_ahead", "refused code_unknown",
		"refused unknown_field", "refused field_not_set", "refused assistance_unit", "refused field_not_set", "refused field_required")
	r.same("one name twice", r.report(false, enrolled("20", a), enrolled("20", a)), "recorded", "refused key_twice")
	r.same("as a whole", r.report(true, enrolled("21", a), enrolled("1", a, "status", "waitlisted")), "refused all_or_nothing", "refused status_move")
	if n := len(r.rows("enrollments", exchange.Participation{}, "individual_id")); n != 4 {
		t.Errorf("%d enrollments, want those that were recorded", n)
	}
	r.partner(t, func(a *annona.Agreement) { r.terms(a); a.Programs = a.Programs[1:] })
	if _, err := r.ReportEnrollments(t.Context(), r.caller, purpose, []map[string]any{enrolled("1", a)}, false); annona.CodeOf(err) != "reports_not_granted" {
		t.Errorf("by somebody who may not: %v", err)
	}
	r.same("seen by somebody who may not", r.rows("enrollments", exchange.Participation{}, "individual_id"))
}

// Benefits belong to enrollments, and go with whom those are about.
func TestBenefits(t *testing.T) {
	r := newReporter(t)
	a := r.people[0]
	r.report(false, enrolled("1", a))
	r.same("new", r.pay(paid("b1", "1"), paid("b2", "none"), paid("b3", "1", "benefit_type", "voucher"), paid("b4", "1", "currency", nil)),
		"recorded", "refused not_found", "refused benefit_type_unknown", "refused field_required")
	attempt := func(of ...any) map[string]any {
		p := map[string]any{}
		for i := 0; i < len(of); i += 2 {
			p[of[i].(string)] = of[i+1]
		}
		return p
	}
	first := attempt("attempt", json.Number("1"), "status", "failed", "failure_code", "no_account")
	second := attempt("attempt", json.Number("2"), "status", "paid", "paid_at", "2026-04-02T09:00:00Z")
	r.same("payments", r.pay(paid("b1", "1", "payments", []any{first})), "recorded")
	r.same("a payment that is gone", r.pay(paid("b1", "1", "payments", []any{second})), "refused payment_removed")
	r.same("paid without a time", r.pay(paid("b1", "1", "payments", []any{first, attempt("attempt", json.Number("2"), "status", "paid")})), "refused field_required")
	r.same("paid", r.pay(paid("b1", "1", "entitlement_status", "fulfilled", "payments", []any{first, second})), "recorded")
	r.same("taken back", r.pay(paid("b1", "1", "payments", []any{first, second})), "refused status_move")
	r.same("on file", r.rows("benefits", exchange.Participation{}, "individual_id", "amount", "entitlement_status", "description", "payments"),
		a+" Child grant of March 50 fulfilled 2")
}

// Payments are reported by themselves, known by their attempt or by the payer's reference, and read a row for each.
func TestPayments(t *testing.T) {
	r := newReporter(t)
	a, b := r.people[0], r.people[1]
	r.report(false, enrolled("1", a), enrolled("2", b))
	r.pay(paid("b1", "1"), paid("b2", "2"), paid("b3", "2"))
	row := func(of ...any) map[string]any {
		p := map[string]any{}
		for i := 0; i < len(of); i += 2 {
			p[of[i].(string)] = of[i+1]
		}
		return p
	}
	report := func(whole bool, rows ...map[string]any) []string {
		t.Helper()
		verdicts, err := r.ReportPayments(t.Context(), r.caller, purpose, rows, whole)
		check(t, err)
		return words(verdicts)
	}
	pending := row("source_benefit_id", "b1", "reference", "R-1", "status", "pending", "amount", "50")
	r.same("new, two of one benefit", report(false, pending, row("source_benefit_id", "b1", "attempt", json.Number("2"), "reference", "R-2", "status", "processing"),
		row("source_benefit_id", "b3", "reference", "R-3", "status", "paid", "paid_at", "2026-04-02T09:00:00Z")), "recorded", "recorded", "recorded")
	r.same("the same again", report(false, pending), "unchanged")
	r.same("moved on", report(false, row("source_benefit_id", "b1", "reference", "R-1", "status", "failed", "failure_code", "no_account"), row("source_benefit_id", "b1", "attempt", json.Number("2"), "status", "paid", "paid_at", "2026-04-03T09:00:00Z")),
		"recorded", "recorded")
	r.same("said wrongly", report(false,
		row("reference", "R-1", "status", "paid"), row("source_benefit_id", "b1", "status", "paid"), row("source_benefit_id", "none", "reference", "R-1", "status", "pending"),
		row("source_benefit_id", "b1", "reference", "R-9", "status", "paid"), row("source_benefit_id", "b1", "reference", "R-9"), row("source_benefit_id", "b1", "reference", "R-9", "status", "gone"),
		row("source_benefit_id", "b1", "attempt", json.Number("0"), "status", "pending"), row("source_benefit_id", "b1", "reference", "R-9", "status", "pending", "payee", "x"),
		row("source_benefit_id", "b1", "attempt", json.Number("2"), "collected_at", "2026-04-01T09:00:00Z")),
		"refused field_required", "refused field_required", "refused not_found", "refused field_required", "refused field_required", "refused code_unknown", "refused value_malformed", "refused unknown_field", "refused dates_crossed")
	r.same("as a whole", report(true, row("source_benefit_id", "b2", "reference", "R-4", "status", "pending"), row("source_benefit_id", "b2", "reference", "R-5")), "refused all_or_nothing", "refused field_required")
	read := func(c exchange.PaymentChoice, limit int, fields ...string) (rows []string) {
		t.Helper()
		for after := ""; ; {
			answer, err := r.Payments(t.Context(), r.caller, purpose, fields, c, limit, after)
			check(t, err)
			if answer.Next != "" && answer.Page.Count() != limit {
				t.Errorf("a page of %d that is not the last", answer.Page.Count())
			}
			rows = append(rows, lines(answer)...)
			answer.Sent(int64(answer.Page.Count()), nil)
			if after = answer.Next; after == "" {
				return rows
			}
		}
	}
	first, second, third := a+" child-grant GHS R-1 1 50 failed", a+" child-grant GHS R-2 2  paid", b+" child-grant GHS R-3 1  paid"
	columns := []string{"individual_id", "program", "currency", "reference", "attempt", "amount", "status"}
	for limit := range 4 {
		r.same(fmt.Sprintf("pages of %d", limit+1), read(exchange.PaymentChoice{}, limit+1, columns...), first, second, third)
	}
	r.same("of somebody", read(exchange.PaymentChoice{Participation: exchange.Participation{Individual: b}}, 9, columns...), third)
	r.same("of a program that pays none", read(exchange.PaymentChoice{Participation: exchange.Participation{Program: "pension"}}, 9, columns...))
	page, err := r.Payments(t.Context(), r.caller, purpose, nil, exchange.PaymentChoice{}, 1, "")
	check(t, err)
	page.Sent(1, nil)
	for code, ask := range map[string]func() (*exchange.Answer, error){
		"cursor_invalid": func() (*exchange.Answer, error) {
			return r.Payments(t.Context(), r.caller, purpose, nil, exchange.PaymentChoice{Participation: exchange.Participation{Individual: b}}, 1, page.Next)
		},
		"unknown_field": func() (*exchange.Answer, error) {
			return r.Payments(t.Context(), r.caller, purpose, []string{"description"}, exchange.PaymentChoice{}, 1, "")
		},
		"limit_out_of_range": func() (*exchange.Answer, error) {
			return r.Payments(t.Context(), r.caller, purpose, nil, exchange.PaymentChoice{}, 0, "")
		},
	} {
		_, err := ask()
		refusal(t, "a question that is none", err, code)
	}
	_, err = r.Restrict(t.Context(), operator, exchange.Subject{ID: a, Realm: "program"}, annona.Restriction{Kind: annona.KindRestriction, Ground: "contested"})
	check(t, err)
	r.same("of whom nobody may be told", read(exchange.PaymentChoice{}, 9, columns...), third)
	r.partner(t, func(a *annona.Agreement) { r.terms(a); delete(a.Datasets, "payments") })
	_, err = r.Payments(t.Context(), r.caller, purpose, nil, exchange.PaymentChoice{}, 1, "")
	refusal(t, "not granted", err, "dataset_not_granted")
}

// Whoever is erased takes along what programs keep about them, with its keys.
func TestErasureTakesEnrollments(t *testing.T) {
	r := newReporter(t)
	a, b := r.people[0], r.people[1]
	r.report(false, enrolled("1", a), enrolled("2", b))
	r.pay(paid("b1", "1"))
	if _, err := r.Erase(t.Context(), operator, exchange.Subject{ID: a, Realm: "program"}, "unlawful"); err != nil {
		t.Fatal(err)
	}
	r.same("enrollments", r.rows("enrollments", exchange.Participation{}, "individual_id"), b)
	r.same("benefits", r.rows("benefits", exchange.Participation{}, "individual_id"))
	var kinds []string
	stones, err := r.Erasures(t.Context(), operator)
	for _, s := range stones {
		kinds = append(kinds, s.Dataset)
		if s.ShreddedAt.IsZero() {
			t.Errorf("the key of one of %s is there still", s.Dataset)
		}
	}
	slices.Sort(kinds)
	r.same("tombstones", kinds, "benefits", "enrollments", "individuals")
	if err != nil {
		t.Error(err)
	}
	r.same("reported again", r.report(false, enrolled("1", a)), "refused not_found")
}

// A report about a household needs an agreement that shows the ids of households.
func TestAReportAboutWhatIsNotGranted(t *testing.T) {
	r := newReporter(t)
	p := cashTransfer()
	p.Code, p.AssistanceUnit = "home-grant", "household"
	_, _, err := r.ApplyProgram(t.Context(), operator, p)
	check(t, err)
	r.partner(t, func(a *annona.Agreement) {
		r.terms(a)
		a.Programs = append(a.Programs, annona.ProgramTerms{Program: "home-grant", See: true, Report: true})
		delete(a.Datasets, "households")
	})
	row := enrolled("1", "", "program", "home-grant", "household_id", "aaaaaaaaaaaaaaaaaaaaaaaaaa")
	delete(row, "individual_id")
	if got := r.report(false, row); len(got) != 1 || !strings.Contains(got[0], "dataset_not_granted") {
		t.Errorf("verdicts %q", got)
	}
}

// Rows are picked by what is seen of them: that one is there would tell what its columns do not.
func TestParticipationIsAskedByWhatIsSeen(t *testing.T) {
	r := newReporter(t)
	r.same("the report", r.report(false, enrolled("E-1", r.people[0])), "recorded")
	r.same("the benefit", r.pay(paid("B-1", "E-1")), "recorded")
	seen := map[string][]string{
		"enrollments": {"enrollment_id", "individual_id", "program", "status"}, "benefits": {"benefit_id", "individual_id", "program", "entitlement_status", "payments"},
	}
	for dataset, fields := range seen {
		status := map[string]string{"enrollments": "active", "benefits": "approved"}[dataset]
		for field, picked := range map[string]exchange.Participation{"program": {Program: "child-grant"}, fields[3]: {Status: status}} {
			ask := func(granted []string, p exchange.Participation) error {
				r.partner(t, func(a *annona.Agreement) {
					r.terms(a)
					a.Datasets[dataset] = annona.DatasetTerms{Fields: granted}
				})
				q := exchange.Question{Dataset: dataset, Purpose: purpose, Fields: fields[:2]}
				answer, err := r.Participations(t.Context(), r.caller, q, "", p, 10, "")
				if err == nil && answer.Page.Count() != 1 {
					t.Errorf("%s by %s: %d rows", dataset, field, answer.Page.Count())
				}
				return err
			}
			hidden := slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return f == field })
			refusal(t, dataset+" by "+field+", which is granted", ask(fields, picked), "")
			refusal(t, dataset+" by "+field+", which is not granted", ask(hidden, picked), "filter_not_granted")
			refusal(t, dataset+" without "+field, ask(hidden, exchange.Participation{Individual: r.people[0]}), "")
		}
	}
	for field, choice := range map[string]exchange.BeneficiaryChoice{"program": {Program: "child-grant"}, "status": {Status: "active"}} {
		for granted, code := range map[string]string{"program status": "", strings.ReplaceAll("program status", field, ""): "filter_not_granted"} {
			r.partner(t, func(a *annona.Agreement) {
				r.terms(a)
				a.Datasets["enrollments"] = annona.DatasetTerms{Fields: append(strings.Fields(granted), "enrollment_id", "individual_id")}
			})
			_, err := r.Beneficiaries(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose}, choice, 10, "", exchange.Form{Format: "json"})
			refusal(t, "beneficiaries by "+field+", where "+granted+" is granted", err, code)
		}
	}
	r.partner(t, func(a *annona.Agreement) {
		r.terms(a)
		a.Datasets["benefits"] = annona.DatasetTerms{Fields: []string{"benefit_id", "individual_id", "payments"}}
	})
	_, err := r.Payments(t.Context(), r.caller, purpose, nil, exchange.PaymentChoice{Participation: exchange.Participation{Program: "child-grant"}}, 10, "")
	refusal(t, "payments by program, which is not granted", err, "filter_not_granted")
}
