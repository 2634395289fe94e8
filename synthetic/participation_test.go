package synthetic_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/synthetic"
)

func reports(t *testing.T, seed uint64) *synthetic.Registry {
	t.Helper()
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: 8000, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTheSameSeedGivesTheSameReports(t *testing.T) {
	var texts []string
	for _, seed := range []uint64{3, 3, 4} {
		var b bytes.Buffer
		r := reports(t, seed)
		for _, err := range []error{synthetic.WriteReports(&b, r.Enrollments()), synthetic.WriteReports(&b, r.Benefits()),
			synthetic.WriteReports(&b, r.Cases()), synthetic.WriteReports(&b, r.CaseNotes())} {
			if err != nil {
				t.Fatal(err)
			}
		}
		texts = append(texts, b.String())
	}
	if texts[0] != texts[1] || texts[0] == texts[2] {
		t.Error("reports do not follow from the seed")
	}
}

// What the programs report is of both kinds, on waiting lists, ended with reasons, and paid.
func TestWhatProgramsReport(t *testing.T) {
	r := reports(t, 1)
	seen, last := map[string]int{}, map[string]synthetic.Enrollment{}
	moved := false
	for e := range r.Enrollments() {
		if before, known := last[e.Name]; known {
			moved = true
			if before.Individual != e.Individual || before.Household != e.Household || before.StatusDate > e.StatusDate {
				t.Errorf("%s moves to another subject, or back in time", e.Name)
			}
		} else if moved {
			t.Fatalf("%s begins behind those that have moved", e.Name)
		}
		if (e.Program == "cash-transfer") != (e.Household != "") || (e.Individual == "") == (e.Household == "") {
			t.Errorf("%s is about the wrong kind", e.Name)
		}
		if (e.Status == "closed") != (e.ExitReason != "") {
			t.Errorf("%s is %s with the reason %q", e.Name, e.Status, e.ExitReason)
		}
		last[e.Name] = e
	}
	for _, e := range last {
		seen[e.Program]++
		seen[e.Status]++
	}
	for _, what := range []string{"cash-transfer", "child-benefit", "girls-education", "active", "waitlisted", "suspended", "closed", "graduated"} {
		if seen[what] < 5 {
			t.Errorf("%d enrollments are %s", seen[what], what)
		}
	}
	paid, failed := 0, 0
	for b := range r.Benefits() {
		if e := last[b.Enrollment]; e.Name == "" || e.Status == "waitlisted" || b.PeriodEnd > "2026-07-01" {
			t.Errorf("%s is of an enrollment that waits, or for days ahead", b.Name)
		}
		for _, p := range b.Payments {
			if p.Status == "paid" {
				paid++
			} else {
				failed++
			}
		}
	}
	if paid < 100 || failed < 5 {
		t.Errorf("%d payments, %d failed", paid, failed)
	}
}

// About one household of five has a case; some of these are restricted, and those that tell always.
func TestCasesOfTheCountry(t *testing.T) {
	r := reports(t, 1)
	households, cases, restricted, closed, planned := 0, 0, 0, 0, 0
	for range r.Households() {
		households++
	}
	for c := range r.Cases() {
		cases++
		tells := slices.Contains([]string{"violence", "health", "staff_complaint"}, c.Type)
		if c.Confidentiality == "restricted" {
			restricted++
		} else if tells {
			t.Errorf("%s is of type %s, and %s", c.Name, c.Type, c.Confidentiality)
		}
		if c.Phase == "closed" {
			closed++
		}
		if len(c.Plan) > 0 {
			planned++
		}
	}
	if share := float64(cases) / float64(households); share < 0.15 || share > 0.25 {
		t.Errorf("%d cases of %d households", cases, households)
	}
	if restricted < 10 || closed < 10 || planned < 50 {
		t.Errorf("%d restricted, %d closed, %d with a plan", restricted, closed, planned)
	}
	for n := range r.CaseNotes() {
		if !strings.HasPrefix(n.Case, "C-") || n.Text == "" || n.Author == "" {
			t.Errorf("a note of %s lacks something", n.Case)
		}
	}
}
