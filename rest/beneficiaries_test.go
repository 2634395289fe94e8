package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// participant is a registry in which somebody takes part in a program that the key full reports.
func (r *registry) participant() (id string) {
	r.Helper()
	r.fill()
	r.reporting()
	id = r.somebody(r.full, matrixPurpose)
	for path, row := range map[string]string{
		"/v1/enrollments": `{"source_enrollment_id":"E-1","individual_id":"` + id + `","program":"child-grant","cycle":"2026-1","status":"active","status_date":"2026-01-15"}`,
	} {
		a := r.ask(http.MethodPost, path+"?purpose="+matrixPurpose, r.full, row+"\n", "Content-Type", "application/x-ndjson")
		if !strings.Contains(a.body, `"recorded":1`) {
			r.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	benefit := `{"source_benefit_id":"B-1","source_enrollment_id":"E-1","benefit_type":"cash","entitlement_status":"fulfilled","amount":50.25,"currency":"GHS","payments":[{"attempt":1,"status":"paid","paid_at":"2026-02-01T09:00:00Z"}]}`
	if a := r.ask(http.MethodPost, "/v1/benefits?purpose="+matrixPurpose, r.full, benefit+"\n", "Content-Type", "application/x-ndjson"); !strings.Contains(a.body, `"recorded":1`) {
		r.Fatalf("a benefit: %d %s", a.status, a.body)
	}
	return id
}

func (r *registry) change(name string, change func(*annona.Agreement)) {
	r.Helper()
	a, err := r.store.Agreement(r.Context(), name)
	r.check(err)
	change(a)
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *a)
	r.check(err)
}

// A beneficiary has each part that its own dataset grants, and nothing of the others.
func TestBeneficiaryHasWhatIsGranted(t *testing.T) {
	r := newRegistry(t)
	id := r.participant()
	path := beneficiariesPath + "/" + id + "?purpose=" + matrixPurpose
	for _, c := range []struct {
		what      string
		change    func(*annona.Agreement)
		has, lack []string
	}{
		{"all", func(*annona.Agreement) {}, []string{`"individual":{`, `"enrollments":[{`, `"benefits":[{`, `"payments":[`, `"child-grant"`, `"50.25"`}, []string{`"cases"`, `"eligibility_decisions"`, `"more"`}},
		{"decisions", func(a *annona.Agreement) { a.Decisions = []string{"child-grant"} }, []string{`"eligibility_decisions":[]`}, nil},
		{"cases", func(a *annona.Agreement) {
			a.Cases, a.Datasets["cases"] = &annona.CaseTerms{}, annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal}}
		}, []string{`"cases":[]`}, nil},
		{"no payments", func(a *annona.Agreement) { delete(a.Datasets, "payments") }, []string{`"benefits":[{`}, []string{`"payments"`, `"paid_at"`}},
		{"no benefits", func(a *annona.Agreement) { delete(a.Datasets, "benefits") }, []string{`"enrollments":[{`}, []string{`"benefits"`, `50.25`}},
		{"a program that is not seen", func(a *annona.Agreement) { a.Programs = nil }, []string{`"enrollments":[]`}, []string{`child-grant`, `"cycle"`}},
		{"no enrollments", func(a *annona.Agreement) { delete(a.Datasets, "enrollments") }, []string{`"individual":{`}, []string{`"enrollments"`, `child-grant`}},
	} {
		r.change("full", c.change)
		a := r.get(path, r.full)
		if a.status != http.StatusOK || !json.Valid([]byte(a.body)) {
			t.Fatalf("%s: %d %s", c.what, a.status, a.body)
		}
		for _, text := range c.has {
			if !strings.Contains(a.body, text) {
				t.Errorf("%s: %s is missing in %s", c.what, text, a.body)
			}
		}
		for _, text := range c.lack {
			if strings.Contains(a.body, text) {
				t.Errorf("%s: %s is in %s", c.what, text, a.body)
			}
		}
	}
}

// Ids of nobody and ids of others are one answer; the entity tag moves with what is seen.
func TestBeneficiaryByItsID(t *testing.T) {
	r := newRegistry(t)
	id := r.participant()
	path := func(id string) string { return beneficiariesPath + "/" + id + "?purpose=" + matrixPurpose }
	a := r.get(path(id), r.full)
	tag := a.header.Get("ETag")
	if a.status != http.StatusOK || tag == "" || a.header.Get("Annona-Schema") == "" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	if again := r.get(path(id), r.full, "If-None-Match", tag); again.status != http.StatusNotModified || again.body != "" {
		t.Errorf("unchanged: %d %s", again.status, again.body)
	}
	nobody := r.get(path(strings.Repeat("a", 26)), r.full)
	for what, other := range map[string]string{"of an enrollment": fmt.Sprint(r.enrollmentOf(id)), "of another partner": r.somebody(r.other, "monitoring")} {
		got := r.get(path(other), r.full)
		if got.status != http.StatusNotFound || ledgerID.ReplaceAllString(got.body, "") != ledgerID.ReplaceAllString(nobody.body, "") {
			t.Errorf("an id %s: %d %s", what, got.status, got.body)
		}
	}
	moved := `{"source_enrollment_id":"E-1","individual_id":"` + id + `","program":"child-grant","status":"suspended","status_reason":"review","status_date":"2026-02-15"}`
	r.ask(http.MethodPost, "/v1/enrollments?purpose="+matrixPurpose, r.full, moved+"\n", "Content-Type", "application/x-ndjson")
	if later := r.get(path(id), r.full, "If-None-Match", tag); later.status != http.StatusOK || !strings.Contains(later.body, `"suspended"`) {
		t.Errorf("moved on: %d %s", later.status, later.body)
	}
	for what, asked := range map[string]struct {
		path, accept string
		status       int
	}{
		"no purpose": {beneficiariesPath + "/" + id, "", http.StatusBadRequest}, "another parameter": {path(id) + "&fields=x", "", http.StatusBadRequest}, "another format": {path(id), "text/csv", http.StatusNotAcceptable},
	} {
		if a := r.get(asked.path, r.full, "Accept", asked.accept); a.status != asked.status {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
}

func (r *registry) enrollmentOf(id string) string {
	r.Helper()
	var page struct{ Enrollments []map[string]any }
	r.check(json.Unmarshal([]byte(r.get("/v1/enrollments?purpose="+matrixPurpose+"&individual_id="+id, r.full).body), &page))
	return page.Enrollments[0]["enrollment_id"].(string)
}

// Checks are asked one by one and on lines; what is wrong with a line stops no other.
func TestChecksOverHTTP(t *testing.T) {
	r := newRegistry(t)
	r.participant()
	path := checksPath + "?purpose=" + matrixPurpose
	row := `{"identifiers":[{"type":"passport_number","value":"X1"}],"program":"child-grant"}`
	if a := r.ask(http.MethodPost, path, r.full, row, "Content-Type", "application/json"); a.problem(t).Code != "checks_not_granted" {
		t.Errorf("not granted: %d %s", a.status, a.body)
	}
	r.change("full", func(a *annona.Agreement) {
		a.Checks = &annona.CheckTerms{Purpose: matrixPurpose, Programs: []string{"child-grant"}}
	})
	if a := r.ask(http.MethodPost, path, r.full, row, "Content-Type", "application/json"); a.status != http.StatusOK || a.body != `{"enrolled":"no"}`+"\n" {
		t.Errorf("alone: %d %s", a.status, a.body)
	}
	known := `{"identifiers":[{"type":"national_id_number","value":"GHA-0012345"}],"program":"child-grant"}`
	if a := r.ask(http.MethodPost, path, r.full, known, "Content-Type", "application/json"); a.body != `{"enrolled":"yes"}`+"\n" {
		t.Errorf("somebody who takes part: %d %s", a.status, a.body)
	}
	for what, body := range map[string]string{"no object": "[]", "another member": `{"name":"Ama"}`, "nothing": ""} {
		if a := r.ask(http.MethodPost, path, r.full, body, "Content-Type", "application/json"); a.problem(t).Code != "body_malformed" {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	a := r.ask(http.MethodPost, path, r.full, row+"\n{\n"+strings.Replace(row, "child-grant", "pension", 1)+"\n"+row+"\n", "Content-Type", "application/x-ndjson")
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	want := []string{`{"line":1,"enrolled":"no"}`, `{"line":2,"code":"body_malformed"`, `{"line":3,"code":"program_not_granted"`, `{"line":4,"enrolled":"no"}`}
	for n := range want {
		if len(lines) != len(want) || !strings.HasPrefix(lines[n], want[n]) {
			t.Fatalf("lines: %d %s", a.status, a.body)
		}
	}
	if a := r.ask(http.MethodPost, path, r.full, row, "Content-Type", "text/csv"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("as CSV: %d %s", a.status, a.body)
	}
	if a := r.ask(http.MethodPost, path, r.full, strings.Repeat("{}\n", 10_001), "Content-Type", "application/x-ndjson"); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("too many: %d %s", a.status, a.body)
	}
}

// The list is one document, or one line for each; both have the same beneficiaries as their own addresses.
func TestBeneficiariesOverHTTP(t *testing.T) {
	r := newRegistry(t)
	id := r.participant()
	path := beneficiariesPath + "?dataset=individuals&purpose=" + matrixPurpose
	a := r.get(path, r.full)
	var listed struct {
		Schema        string
		Beneficiaries []map[string]json.RawMessage
	}
	r.check(json.Unmarshal([]byte(a.body), &listed))
	if a.status != http.StatusOK || len(listed.Beneficiaries) != 1 || listed.Schema == "" || !strings.Contains(string(listed.Beneficiaries[0]["individual"]), id) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var alone map[string]json.RawMessage
	r.check(json.Unmarshal([]byte(r.get(beneficiariesPath+"/"+id+"?purpose="+matrixPurpose, r.full).body), &alone))
	delete(alone, "schema")
	for name, text := range alone {
		if string(listed.Beneficiaries[0][name]) != string(text) {
			t.Errorf("%s: %s in the list, %s alone", name, listed.Beneficiaries[0][name], text)
		}
	}
	if len(alone) != len(listed.Beneficiaries[0]) {
		t.Errorf("members %v", listed.Beneficiaries[0])
	}
	lines := r.get(path, r.full, "Accept", "application/x-ndjson")
	if strings.Count(lines.body, "\n") != 1 || !json.Valid([]byte(lines.body)) || !strings.Contains(lines.body, `"child-grant"`) {
		t.Errorf("on lines: %d %q", lines.status, lines.body)
	}
	if none := r.get(path+"&program=nothing", r.full); none.status != http.StatusOK || !strings.Contains(none.body, `"beneficiaries":[`) || !json.Valid([]byte(none.body)) {
		t.Errorf("nobody: %d %s", none.status, none.body)
	}
	if none := r.get(path+"&filter=individual.sex%20%3D%3D%20%22unknown%22", r.full); none.status != http.StatusOK || strings.Contains(none.body, id) {
		t.Errorf("filtered: %d %s", none.status, none.body)
	}
	for what, asked := range map[string]string{"too many": path + "&limit=101", "a cursor of nobody": path + "&after=x"} {
		if a := r.get(asked, r.full); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a := r.get(path, r.full, "Accept", "text/turtle"); a.status != http.StatusNotAcceptable {
		t.Errorf("in Turtle: %d %s", a.status, a.body)
	}
}
