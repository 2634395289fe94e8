package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const decisionsOf = decisionsPath + "?purpose=eligibility-assessment"

// deciding lets the partner of the key full send decisions of a program.
func (r *registry) deciding() {
	r.Helper()
	full, err := r.store.Agreement(r.Context(), "full")
	r.check(err)
	full.Decisions = []string{"cash-transfer"}
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *full)
	r.check(err)
}

// A program reads people and sends back what it decided: each line has a verdict, and the same again
// changes nothing.
func TestDecisionsComeBack(t *testing.T) {
	r := newRegistry(t)
	r.fill()
	row := func(key, id string) string {
		return fmt.Sprintf(`{"key":%q,"individual_id":%q,"program":"cash-transfer","status":"eligible","decision_date":"2026-01-31"}`, key, id)
	}
	if a := r.ask(http.MethodPost, decisionsOf, r.full, row("a", "x"), "Content-Type", "application/x-ndjson"); a.problem(t).Code != "decisions_not_granted" {
		t.Errorf("without a program: %d %s", a.status, a.body)
	}
	r.deciding()
	var people struct {
		Individuals []struct {
			ID string `json:"individual_id"`
		} `json:"individuals"`
	}
	r.check(json.Unmarshal([]byte(r.get("/v1/individuals?fields=individual_id&purpose=eligibility-assessment", r.full).body), &people))
	if len(people.Individuals) < 3 {
		t.Fatal("nobody to decide about")
	}

	lines := []string{
		row("a", people.Individuals[0].ID), row("b", people.Individuals[1].ID), row("c", "aaaaaaaaaaaaaaaaaaaaaaaaaa"), row("a", people.Individuals[0].ID), row("a", people.Individuals[2].ID),
		"{", "", `{"key":"d","key":"e"}`, strings.Replace(row("f", people.Individuals[2].ID), "status", "statuss", 1), strings.Replace(row("g", people.Individuals[2].ID), "cash-transfer", "pensions", 1),
	}
	want := []string{"recorded", "recorded", "not_found", "unchanged", "decision_differs", "row_malformed", "row_malformed", "row_malformed", "row_malformed", "program_not_granted"}
	send := func(body string) (said []string) {
		a := r.ask(http.MethodPost, decisionsOf, r.full, body, "Content-Type", "application/x-ndjson")
		var out struct {
			Recorded, Unchanged, Refused int
			Verdicts                     []DecisionVerdict
		}
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for i, v := range out.Verdicts {
			if v.Line != i+1 || v.Verdict == "recorded" != (v.ID != "" && v.Code == "") && v.Verdict != "unchanged" {
				t.Errorf("line %d: %+v", i+1, v)
			}
			if v.Code != "" {
				v.Verdict = v.Code
			}
			said = append(said, v.Verdict)
		}
		if out.Recorded+out.Unchanged+out.Refused != len(said) {
			t.Errorf("the counts are %+v", out)
		}
		return said
	}
	if said := send(strings.Join(lines, "\n") + "\n"); !slices.Equal(said, want) {
		t.Errorf("the verdicts are %v", said)
	}
	if said := send(lines[1]); !slices.Equal(said, []string{"unchanged"}) {
		t.Errorf("the same again: %v", said)
	}

	first := r.get(decisionsOf+"&dataset=individuals&limit=1", r.full)
	next := first.header.Get("Annona-Next")
	if first.status != http.StatusOK || !strings.Contains(first.body, people.Individuals[0].ID) || next == "" {
		t.Fatalf("the first page: %d %s", first.status, first.body)
	}
	second := r.get(decisionsOf+"&dataset=individuals&limit=1&after="+next, r.full)
	if !strings.Contains(second.body, people.Individuals[1].ID) || second.header.Get("Annona-Next") != "" {
		t.Errorf("the second page: %d %s", second.status, second.body)
	}
	if a := r.get(decisionsPath+"?purpose=monitoring&dataset=individuals", r.other); a.problem(t).Code != "decisions_not_granted" {
		t.Errorf("of another partner: %d %s", a.status, a.body)
	}
	r.gate.Settle()
	if open, err := r.store.OpenRequests(r.Context()); err != nil || len(open) != 0 {
		t.Errorf("%d answers have not ended, %v", len(open), err)
	}
}

func TestDecisionsThatAreNone(t *testing.T) {
	r := newRegistry(t)
	r.deciding()
	for _, c := range []struct {
		mediaType, body string
		status          int
	}{
		{"text/csv", "a", http.StatusUnsupportedMediaType},
		{"application/json", "{}", http.StatusUnsupportedMediaType},
		{"application/x-ndjson", strings.Repeat("\n", maxRows+1) + "x", http.StatusRequestEntityTooLarge},
		{"application/x-ndjson", strings.Repeat("x", maxRowsBytes+1), http.StatusRequestEntityTooLarge},
	} {
		if a := r.ask(http.MethodPost, decisionsOf, r.full, c.body, "Content-Type", c.mediaType); a.status != c.status {
			t.Errorf("%s: %d %.200s", c.mediaType, a.status, a.body)
		}
	}
}
