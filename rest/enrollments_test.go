package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// reporting lets the partner of the key full report a program, and see it.
func (r *registry) reporting() {
	r.Helper()
	_, _, err := r.gate.ApplyProgram(r.Context(), operator, annona.Program{
		Code: "child-grant", Names: map[string]string{"en": "Child grant"}, AssistanceUnit: "individual",
		Cycles: []annona.ProgramCycle{{Code: "2026-1", Start: "2026-01-01", End: "2026-12-31", Status: "open"}},
	})
	r.check(err)
	full, err := r.store.Agreement(r.Context(), "full")
	r.check(err)
	full.Programs = []annona.ProgramTerms{{Program: "child-grant", See: true, Report: true}}
	for _, name := range []string{"enrollments", "benefits", "status_changes", "payments"} {
		full.Datasets[name] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}}
	}
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *full)
	r.check(err)
}

// A program shows itself, reports who takes part and what they get, and reads it again.
func TestParticipationOverHTTP(t *testing.T) {
	r := newRegistry(t)
	r.fill()
	r.reporting()
	if a := r.get("/v1/programs/child-grant", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"2026-1"`) {
		t.Errorf("the program: %d %s", a.status, a.body)
	}
	if a := r.get("/v1/programs", ""); a.status != http.StatusOK || !strings.Contains(a.body, `"child-grant"`) {
		t.Errorf("the programs: %d %s", a.status, a.body)
	}
	const purpose = "?purpose=eligibility-assessment"
	id := r.somebody(r.full, "eligibility-assessment")
	send := func(path string, lines ...string) (out struct {
		Recorded, Unchanged, Refused int
		Verdicts                     []RowVerdict
	}) {
		t.Helper()
		a := r.ask(http.MethodPost, path, r.full, strings.Join(lines, "\n")+"\n", "Content-Type", "application/x-ndjson")
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return out
	}
	row := `{"source_enrollment_id":"E-1","individual_id":"` + id + `","program":"child-grant","cycle":"2026-1","status":"active","status_date":"2026-01-15"}`
	said := send("/v1/enrollments"+purpose, row, "{", `{"a":1,"a":2}`, strings.Replace(row, id, strings.Repeat("a", 26), 1))
	if said.Recorded != 1 || said.Refused != 3 || said.Verdicts[0].ID == "" || said.Verdicts[3].Code != "key_twice" && said.Verdicts[3].Code != "not_found" {
		t.Errorf("enrollments: %+v", said)
	}
	if again := send("/v1/enrollments"+purpose, row); again.Unchanged != 1 || again.Verdicts[0].ID != said.Verdicts[0].ID {
		t.Errorf("again: %+v", again)
	}
	if whole := send("/v1/enrollments"+purpose+"&whole=true", strings.Replace(row, "E-1", "E-2", 1), "{"); whole.Recorded != 0 || whole.Verdicts[0].Code != "all_or_nothing" {
		t.Errorf("as a whole: %+v", whole)
	}
	benefit := `{"source_benefit_id":"B-1","source_enrollment_id":"E-1","benefit_type":"cash","entitlement_status":"fulfilled","amount":50.25,"currency":"GHS","payments":[{"attempt":1,"status":"paid","paid_at":"2026-02-01T09:00:00Z","amount":50.25}]}`
	if said := send("/v1/benefits"+purpose, benefit); said.Recorded != 1 {
		t.Errorf("benefits: %+v", said)
	}
	var page struct {
		Enrollments []map[string]any
		Benefits    []map[string]any
	}
	r.check(json.Unmarshal([]byte(r.get("/v1/enrollments"+purpose+"&individual_id="+id+"&status=active", r.full).body), &page))
	r.check(json.Unmarshal([]byte(r.get("/v1/benefits"+purpose+"&program=child-grant&since=2020-01-01T00:00:00Z", r.full).body), &page))
	if len(page.Enrollments) != 1 || page.Enrollments[0]["individual_id"] != id || page.Enrollments[0]["enrollment_date"] != "2026-01-15" || len(page.Benefits) != 1 ||
		page.Benefits[0]["enrollment_id"] != page.Enrollments[0]["enrollment_id"] || len(page.Benefits[0]["payments"].([]any)) != 1 {
		t.Errorf("read again: %+v", page)
	}
	if said := send("/v1/payments"+purpose, `{"source_benefit_id":"B-1","reference":"R-2","status":"pending"}`, `{"source_benefit_id":"B-2","reference":"R-2","status":"pending"}`); said.Recorded != 1 || said.Verdicts[1].Code != "not_found" {
		t.Errorf("payments: %+v", said)
	}
	var payments struct{ Payments []map[string]any }
	paid := r.get("/v1/payments"+purpose+"&limit=1&benefit_id="+page.Benefits[0]["benefit_id"].(string), r.full)
	r.check(json.Unmarshal([]byte(paid.body), &payments))
	if len(payments.Payments) != 1 || payments.Payments[0]["individual_id"] != id || payments.Payments[0]["currency"] != "GHS" || payments.Payments[0]["paid_at"] == nil || paid.header.Get("Annona-Next") == "" {
		t.Errorf("a payment: %s", paid.body)
	}
	r.check(json.Unmarshal([]byte(r.get("/v1/payments"+purpose+"&limit=1&benefit_id="+page.Benefits[0]["benefit_id"].(string)+"&after="+paid.header.Get("Annona-Next"), r.full).body), &payments))
	if len(payments.Payments) != 1 || payments.Payments[0]["reference"] != "R-2" || payments.Payments[0]["attempt"] != 2.0 {
		t.Errorf("the next one: %+v", payments)
	}
	one := r.get("/v1/enrollments/"+said.Verdicts[0].ID+purpose, r.full)
	if one.status != http.StatusOK || one.header.Get("ETag") == "" || !strings.Contains(one.body, `"status_history"`) {
		t.Errorf("one: %d %v %s", one.status, one.header, one.body)
	}
	for name, path := range map[string]string{"nobody's": "/v1/enrollments/" + strings.Repeat("a", 26) + purpose, "a person's": "/v1/enrollments/" + id + purpose, "a benefit's of an enrollment": "/v1/benefits/" + said.Verdicts[0].ID + purpose} {
		if a := r.get(path, r.full); a.status != http.StatusNotFound {
			t.Errorf("%s id: %d %s", name, a.status, a.body)
		}
	}
	for name, asked := range map[string]struct{ path, code string }{
		"since":  {"/v1/enrollments" + purpose + "&since=yesterday", "since_malformed"},
		"cursor": {"/v1/enrollments" + purpose + "&after=x", "cursor_invalid"},
		"field":  {"/v1/enrollments" + purpose + "&fields=shoe", "unknown_field"},

		"a parameter": {"/v1/payments" + purpose + "&status=paid", "unknown_parameter"},
	} {
		if a := r.get(asked.path, r.full); a.problem(t).Code != asked.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := r.ask(http.MethodPost, "/v1/enrollments"+purpose, r.full, strings.Repeat("{}\n", 10_001), "Content-Type", "application/x-ndjson"); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("too many: %d %s", a.status, a.body)
	}
}
