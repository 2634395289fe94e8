package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// door is how the matrix asks a route about people. Where the path has an id, it is asked for one of the
// caller's, for another partner's and for one of nobody.
type door struct {
	verb  annona.Verb
	query url.Values
	body  string
	any   bool   // whoever may gets some answer, which depends on more than the role
	of    string // whose ids are asked for; empty: individuals
	head  []string
}

const matrixPurpose = "eligibility-assessment"

var (
	ndjson = []string{"Content-Type", "application/x-ndjson"}
	plain  = []string{"Content-Type", "application/json"}
)

// matrix is every route about people, with the verb that is decided about. One that is missing here fails
// the test.
var matrix = map[string]door{
	"GET /v1/individuals":                                 {verb: annona.VerbSearch, query: url.Values{"limit": {"1"}}},
	"GET /v1/households":                                  {verb: annona.VerbSearch, query: url.Values{"limit": {"1"}}},
	"GET /v1/individuals/{id}":                            {verb: annona.VerbGet},
	"GET /v1/households/{id}":                             {verb: annona.VerbGet},
	"PATCH /v1/individuals/{id}":                          {verb: annona.VerbUpdate, body: `{"preferred_name":"x"}`, any: true, head: []string{"If-Match", `"x"`, "Idempotency-Key", "x"}},
	"PATCH /v1/households/{id}":                           {verb: annona.VerbUpdate, body: `{"settlement_type":"rural"}`, any: true, head: []string{"If-Match", `"x"`, "Idempotency-Key", "x"}},
	"GET /v1/individuals/{id}/updates":                    {verb: annona.VerbReadUpdates},
	"GET /v1/households/{id}/updates":                     {verb: annona.VerbReadUpdates},
	"GET /v1/individuals/export":                          {verb: annona.VerbExport, query: url.Values{"format": {"csv"}}},
	"GET /v1/households/export":                           {verb: annona.VerbExport, query: url.Values{"format": {"csv"}, "layout": {"flat"}}},
	"GET /v1/beneficiaries":                               {verb: annona.VerbSearch, query: url.Values{"limit": {"1"}, "dataset": {"individuals"}}},
	"GET /v1/beneficiaries/{id}":                          {verb: annona.VerbGet},
	"POST /v1/checks/enrolled":                            {verb: annona.VerbCheckEnrolled, body: `{"identifiers":[{"type":"passport_number","value":"X1"}],"program":"child-grant"}`, head: []string{"Content-Type", "application/json"}},
	"GET /v1/enrollments":                                 {verb: annona.VerbSearch, query: url.Values{"limit": {"1"}}},
	"GET /v1/enrollments/{id}":                            {verb: annona.VerbGet, any: true},
	"POST /v1/enrollments":                                {verb: annona.VerbReportEnrollments, body: "{}", head: ndjson},
	"GET /v1/benefits":                                    {verb: annona.VerbSearch, query: url.Values{"limit": {"1"}}},
	"GET /v1/benefits/{id}":                               {verb: annona.VerbGet, any: true},
	"POST /v1/benefits":                                   {verb: annona.VerbReportEnrollments, body: "{}", head: ndjson},
	"GET /v1/payments":                                    {verb: annona.VerbSearch, query: url.Values{"limit": {"1"}}},
	"POST /v1/payments":                                   {verb: annona.VerbReportEnrollments, body: "{}", head: ndjson},
	"GET /v1/cases":                                       {verb: annona.VerbReadCases},
	"POST /v1/cases":                                      {verb: annona.VerbWriteCases, body: "{}", head: ndjson},
	"GET /v1/cases/{id}":                                  {verb: annona.VerbReadCases, of: "cases"},
	"PATCH /v1/cases/{id}":                                {verb: annona.VerbWriteCases, of: "cases", body: `{"team":"x"}`, any: true, head: []string{"If-Match", `"x"`, "Idempotency-Key", "x"}},
	"POST /v1/cases/{id}/actions":                         {verb: annona.VerbWriteCases, of: "cases", body: `{"action":"assess"}`, any: true, head: []string{"If-Match", `"x"`, "Idempotency-Key", "x", "Content-Type", "application/json"}},
	"GET /v1/cases/{id}/notes":                            {verb: annona.VerbReadCases, of: "cases"},
	"POST /v1/cases/{id}/notes":                           {verb: annona.VerbWriteCases, of: "cases", body: `{"kind":"call","text":"x"}`, any: true, head: plain},
	"GET /v1/cases/{id}/updates":                          {verb: annona.VerbReadUpdates, of: "cases"},
	"POST /v1/cases/{id}/transitions":                     {verb: annona.VerbTransferCases, of: "cases", body: `{"kind":"referral"}`, any: true, head: plain},
	"GET /v1/cases/{id}/conflicts":                        {verb: annona.VerbReadCases, of: "cases"},
	"POST /v1/cases/{id}/conflicts/{conflict}/resolution": {verb: annona.VerbWriteCases, of: "cases", body: `{"decision":"reject","reason":"seen"}`, any: true, head: append([]string{"Idempotency-Key", "x"}, plain...)},
	"GET /v1/transitions":                                 {verb: annona.VerbReadCases},
	"POST /v1/transitions/{id}/answers":                   {verb: annona.VerbTransferCases, of: "cases", body: `{"answer":"accept"}`, any: true, head: plain},
	"GET /v1/cases/{id}/attachments":                      {verb: annona.VerbReadCases, of: "cases"},
	"POST /v1/cases/{id}/attachments":                     {verb: annona.VerbWriteCases, of: "cases", body: "x", any: true, head: []string{"Content-Type", "text/plain", "Content-Disposition", `attachment; filename="x.txt"`}},
	"GET /v1/cases/{id}/attachments/{attachment}":         {verb: annona.VerbReadCases, of: "cases", any: true},
	"DELETE /v1/cases/{id}/attachments/{attachment}":      {verb: annona.VerbWriteCases, of: "cases", any: true},
	"POST /v1/bulk":                                       {verb: annona.VerbWriteCases, body: `{"op":"case","body":{"case_type":"other","source_case_id":"1"}}`, head: ndjson},
	"GET /v1/changes":                                     {verb: annona.VerbFollow, query: url.Values{"dataset": {"individuals"}}},
	"GET /v1/subjects/{id}/disclosures":                   {verb: annona.VerbDisclosures},
	"POST /v1/lookup":                                     {verb: annona.VerbLookup, body: `{"type":"national_id_number","value":"GHA-0012345","purpose":"` + matrixPurpose + `"}`},
	"POST /v1/name-search":                                {verb: annona.VerbNameSearch, body: `{"name":"Mensah","area":"GH01","purpose":"` + matrixPurpose + `"}`, any: true},
	"GET /v1/enrollments/{id}/updates":                    {verb: annona.VerbReadUpdates, any: true},
	"GET /v1/benefits/{id}/updates":                       {verb: annona.VerbReadUpdates, any: true},
	"GET /v1/beneficiaries/{id}/updates":                  {verb: annona.VerbReadUpdates},
	"GET /v1/updates":                                     {verb: annona.VerbReadUpdates, query: url.Values{"dataset": {"individuals"}}},
	"POST /v1/life-events": {verb: annona.VerbReportLifeEvent, any: true, head: []string{"Content-Type", "application/json", "Idempotency-Key", "x"},
		body: `{"type":"death","individual_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","effective_date":"2020-01-01","evidence":"1","reason":"reported"}`},
}

// Every route about people × every role that Annona ships × somebody's own id, another partner's and one
// of nobody: who may gets an answer, who may not gets one refusal, whatever the id is; and an id of
// another partner's realm answers as one of nobody.
func TestTheMatrixOfRoutesAndRoles(t *testing.T) {
	s := newSwaps(t)
	s.amend("full", func(a *annona.Agreement) {
		a.Disclosures, a.NameSearch, a.Reviews, a.UpdateLog = true, true, true, true
		a.LifeEvents = &annona.LifeEventTerms{Types: []string{annona.LifeDeath}}
		a.Checks = &annona.CheckTerms{Purpose: matrixPurpose, Programs: []string{"child-grant"}}
		a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"preferred_name"}}, "households": {Fields: []string{"settlement_type"}}}
	})
	_, err := s.gate.SwitchNameSearch(t.Context(), operator, true)
	s.check(err)
	for _, pattern := range s.server.mux.patterns {
		method, path, _ := strings.Cut(pattern, " ")
		if _, known := matrix[pattern]; !known && method != http.MethodHead && (aboutPeople(path) || aboutMatters(path) || strings.HasPrefix(path, "/v1/subjects/")) {
			t.Errorf("the matrix does not know the route %s", pattern)
		}
	}
	s.reporting()
	s.caseworkers()
	s.amend("other", func(a *annona.Agreement) {
		a.Cases, a.APIKey = &annona.CaseTerms{}, &annona.CredentialTerms{SpecialFields: true, Reason: "tests"}
	})
	own, foreign := s.somebody(s.full, matrixPurpose), s.somebody(s.other, "monitoring")
	theirs := s.ask(http.MethodPost, casesPath+"?purpose=monitoring", s.other, fmt.Sprintf(`{"individual_id":%q,"case_type":"other"}`, foreign), ndjson...)
	var out struct{ Verdicts []CaseLine }
	s.check(json.Unmarshal([]byte(theirs.body), &out))
	ours := s.put(s.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"other"}`, own))[0].ID
	for _, role := range policy.Shipped().Roles {
		if role.Emergency {
			continue // no client has it
		}
		s.check(s.gate.SetRole(t.Context(), operator, s.fullClient, role.Name))
		for pattern, d := range matrix {
			if d.of == "cases" {
				s.tryDoor(t, role, pattern, d, ours, out.Verdicts[0].ID)
				continue
			}
			s.tryDoor(t, role, pattern, d, own, foreign)
		}
	}
	s.keepsToItself(nil)
}

// changed is what the routes of the API change. Clients, keys, roles, agreements and the policy are not among it: the
// command line alone changes these.
var changed = []string{
	"approvals", "benefits", "break-glass", "bulk", "cases", "change-requests", "checks", "conflicts", "eligibility-decisions", "enrollments",
	"export-specs", "exports", "households", "imports", "individuals", "life-events", "lookup", "name-search", "payments", "transitions",
}

// AK-09: a key creates no keys, since there is no route for it.
func TestNoRouteMakesKeys(t *testing.T) {
	for _, pattern := range newSwaps(t).server.mux.patterns {
		method, path, _ := strings.Cut(pattern, " ")
		what, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
		if strings.HasPrefix(path, "/v1/") && method != http.MethodGet && method != http.MethodHead && !slices.Contains(changed, what) {
			t.Errorf("%s changes what no route changes", pattern)
		}
	}
}

// aboutMatters reports whether a route is about what programs and case workers keep.
func aboutMatters(path string) bool {
	return slices.ContainsFunc([]string{"/v1/enrollments", "/v1/benefits", paymentsPath, casesPath, transitionsPath, bulkPath}, func(of string) bool { return strings.HasPrefix(path, of) })
}

func (s *swaps) tryDoor(t *testing.T, role annona.Role, pattern string, d door, own, foreign string) {
	t.Helper()
	ids := []string{""}
	if strings.Contains(pattern, "{id}") {
		ids = []string{own, foreign, strings.Repeat("a", len(own))}
	}
	allowed := false
	for _, rule := range role.Rules {
		allowed = allowed || len(rule.Verbs) == 0
		for _, verb := range rule.Verbs {
			allowed = allowed || verb == d.verb
		}
	}
	var answers []string
	for i, id := range ids {
		method, path, _ := strings.Cut(pattern, " ")
		query := url.Values{"purpose": {matrixPurpose}}
		for name, values := range d.query {
			query[name] = values
		}
		target := strings.NewReplacer("{id}", id, "{conflict}", strings.Repeat("a", 32), "{attachment}", strings.Repeat("a", len(own))).Replace(path) + "?" + query.Encode()
		var a answer
		switch method {
		case http.MethodPost:
			if d.head != nil {
				a = s.ask(method, target, s.full, d.body, d.head...)
				break
			}
			a = s.ask(method, path, s.full, d.body, "Content-Type", "application/json")
		case http.MethodPatch, http.MethodDelete:
			a = s.ask(method, target, s.full, d.body, d.head...)
		default:
			a = s.get(target, s.full)
		}
		what := role.Name + ": " + pattern
		code := ""
		if a.status >= http.StatusBadRequest {
			code = a.problem(t).Code
		}
		switch {
		case !allowed && (a.status != http.StatusForbidden || code != "role_not_granted"):
			t.Errorf("%s, id %d: an unexpected permit, or another refusal: %d %s", what, i, a.status, code)
		case allowed && code == "role_not_granted":
			t.Errorf("%s, id %d: refused", what, i)
		case allowed && i == 0 && !d.any && a.status != http.StatusOK && !(strings.Contains(pattern, "households/{id}") && a.status == http.StatusNotFound):
			t.Errorf("%s: %d %s", what, a.status, code)
		}
		answers = append(answers, ledgerID.ReplaceAllString(a.body, ""))
	}
	if len(answers) == 3 && (answers[1] != answers[2] || !allowed && answers[0] != answers[1]) {
		t.Errorf("%s: %s: ids that are not the caller's can be told apart:\n%s\n%s", role.Name, pattern, answers[1], answers[2])
	}
}
