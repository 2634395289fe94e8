package rest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Every route there is stands in the table of resources, and is decided by what that says: a client whose
// role allows nothing is denied, and the denial stands in the ledger under the verbs of the table; what a
// person decides no key opens; what is public needs none.
func TestEveryRouteIsDecided(t *testing.T) {
	s := newSwaps(t)
	s.server.Files = noFiles{} // nobody comes so far as to read one
	s.check(program(s))
	s.amend("full", func(a *annona.Agreement) {
		a.Disclosures, a.NameSearch, a.Reviews, a.UpdateLog, a.Decisions = true, true, true, true, []string{"child-grant"}
		a.Checks = &annona.CheckTerms{Purpose: matrixPurpose, Programs: []string{"child-grant"}}
		a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"preferred_name"}}, "households": {Fields: []string{"settlement_type"}}}
		a.Programs, a.Cases = []annona.ProgramTerms{{Program: "child-grant", See: true, Report: true}}, &annona.CaseTerms{}
		a.LifeEvents = &annona.LifeEventTerms{Types: []string{annona.LifeDeath}}
		a.Imports = &annona.ImportTerms{Sources: []string{"people"}}
	})
	_, err := s.gate.SwitchNameSearch(t.Context(), operator, true)
	s.check(err)
	_, _, err = s.gate.PutExportSpec(t.Context(), operator, annona.ExportSpec{
		Name: "everybody", Agreement: "full", Purpose: matrixPurpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "individual_id"}},
	})
	s.check(err)
	started := s.ask(http.MethodPost, exportsPath, s.full, `{"specification":"everybody"}`, "Content-Type", "application/json")
	_, job, _ := strings.Cut(started.header.Get("Location"), exportsPath+"/")
	if job == "" {
		t.Fatalf("no export to be refused: %d %s", started.status, started.body)
	}
	s.check(s.gate.SetRole(t.Context(), operator, s.fullClient, "auditor"))
	table := resources()
	for _, pattern := range s.server.mux.patterns {
		decides := table[pattern]
		delete(table, pattern)
		if strings.HasPrefix(pattern, http.MethodHead) {
			continue // as GET
		}
		switch decides {
		case "":
			t.Errorf("the table of resources does not know the route %s", pattern)
		case decidedForAll:
			if a := s.ask(http.MethodGet, publicPath.Replace(path(pattern)), "", ""); a.status == http.StatusUnauthorized {
				t.Errorf("%s: is public, and asks for a key", pattern)
			}
		case decidedByPerson:
			if a := s.tryRoute(pattern, s.full, job); a.status != http.StatusUnauthorized {
				t.Errorf("%s: a key opens it: %d %s", pattern, a.status, a.body)
			}
		case decidedByStanding:
			if a := s.tryRoute(pattern, s.expired, job); a.status != http.StatusUnauthorized {
				t.Errorf("%s: an expired key opens it: %d %s", pattern, a.status, a.body)
			}
		default:
			s.denies(t, pattern, job, strings.Fields(decides))
		}
	}
	for pattern := range table {
		t.Errorf("there is no route %s", pattern)
	}
}

type noFiles struct{ Files }

func path(pattern string) string {
	_, path, _ := strings.Cut(pattern, " ")
	return path
}

func program(s *swaps) error {
	_, _, err := s.gate.ApplyProgram(s.Context(), operator, annona.Program{Code: "child-grant", Names: map[string]string{"en": "Child grant"}, AssistanceUnit: "individual"})
	return err
}

// trial is how a route is asked, where that is not how most are.
type trial struct{ query, body, media string }

const aboutIndividuals = "?dataset=individuals&purpose=" + matrixPurpose

// trials are those of routes that look at what they are asked before they ask whether they may. A body is
// JSON where nothing else is said.
var trials = map[string]trial{
	"POST /v1/lookup":                                      {query: "?", body: `{"type":"national_id_number","value":"GHA-0012345","purpose":"` + matrixPurpose + `"}`},
	"POST " + nameSearchPath:                               {query: "?", body: `{"name":"Mensah","area":"GH01","purpose":"` + matrixPurpose + `"}`},
	"POST " + checksPath:                                   {body: `{"identifiers":[{"type":"passport_number","value":"X1"}],"program":"child-grant"}`},
	"PATCH /v1/individuals/{id}":                           {body: `{"preferred_name":"x"}`, media: mergePatch},
	"PATCH /v1/households/{id}":                            {body: `{"settlement_type":"rural"}`, media: mergePatch},
	"PATCH " + casesPath + "/{id}":                         {body: `{}`, media: mergePatch},
	"GET /v1/individuals/export":                           {query: "?format=ndjson&purpose=" + matrixPurpose},
	"GET /v1/households/export":                            {query: "?format=ndjson&purpose=" + matrixPurpose},
	"GET " + beneficiariesPath:                             {query: aboutIndividuals},
	"GET " + changesPath:                                   {query: aboutIndividuals},
	"GET " + changeRequestsPath:                            {query: aboutIndividuals},
	"GET " + conflictsPath:                                 {query: aboutIndividuals},
	"GET " + decisionsPath:                                 {query: aboutIndividuals},
	"GET " + updatesPath:                                   {query: aboutIndividuals},
	"POST " + lifeEventsPath:                               {body: `{"type":"death","individual_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","effective_date":"2020-01-01","evidence":"1","reason":"reported"}`},
	"POST " + decisionsPath:                                {body: `{"key":"1","individual_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","program":"child-grant","status":"eligible","decision_date":"2020-01-01"}`, media: "application/x-ndjson"},
	"POST " + casesPath:                                    {body: "{}", media: "application/x-ndjson"},
	"POST " + casesPath + "/{id}/actions":                  {body: `{"action":"close"}`},
	"POST " + casesPath + "/{id}/notes":                    {body: `{"text":"x"}`},
	"POST " + casesPath + "/{id}/transitions":              {body: `{"kind":"referral","basis":"consent","expires_on":"2090-01-01"}`},
	"POST " + caseConflictsPath + "/{conflict}/resolution": {body: `{"decision":"approve","reason":"seen"}`},
	"POST " + attachmentsPath:                              {body: "x", media: "text/plain"},
	"POST " + bulkPath:                                     {body: `{"op":"case","body":{"source_case_id":"1"}}` + "\n" + `{"op":"enrollment","body":{}}`, media: "application/x-ndjson"},
	"POST /v1/enrollments":                                 {body: "{}", media: "application/x-ndjson"},
	"POST /v1/benefits":                                    {body: "{}", media: "application/x-ndjson"},
	"POST " + paymentsPath:                                 {body: "{}", media: "application/x-ndjson"},

	"POST " + changeRequestsPath + "/{id}/decision": {body: `{"decision":"approve","reason":"seen"}`},
	"POST " + conflictsPath + "/{id}/resolution":    {body: `{"decision":"approve","reason":"seen"}`},

	"POST " + importsPath: {query: "?mapping=people", body: "id\n1\n", media: "text/csv"},

	"POST " + breakGlassPath:                {query: "?", body: `{"purpose":"` + matrixPurpose + `","reason":"flood"}`},
	"POST " + exportsPath:                   {query: "?", body: `{"specification":"everybody"}`},
	"POST " + specsPath + "/{name}/dry-run": {query: "?", body: "{}"}, "GET " + specsPath + "/{name}/export": {query: "?"},
	"DELETE " + exportsPath + "/{id}": {query: "?"}, "GET " + exportsPath + "/{id}/files/{name}": {query: "?"},
	"GET " + importsPath: {query: "?"}, "GET " + importsPath + "/{id}": {query: "?"},
}

// tryRoute asks a route with a key.
func (s *swaps) tryRoute(pattern, key, job string) answer {
	method, path, _ := strings.Cut(pattern, " ")
	how := trials[pattern]
	if how.query == "" && resources()[pattern] != decidedByStanding && resources()[pattern] != decidedByPerson {
		how.query = "?purpose=" + matrixPurpose
	}
	id := strings.Repeat("a", 32)
	switch {
	case strings.HasPrefix(path, exportsPath):
		id = job
	case slices.ContainsFunc([]string{"/v1/individuals/", "/v1/households/", casesPath, transitionsPath, "/v1/subjects/", beneficiariesPath, "/v1/enrollments/", "/v1/benefits/"}, func(under string) bool { return strings.HasPrefix(path, under) }):
		id = id[:26] // of a realm
	}
	target := strings.NewReplacer("{id}", id, "{attachment}", id, "{conflict}", strings.Repeat("a", 32), "{name}", "everybody").Replace(path) + strings.TrimSuffix(how.query, "?")
	headers := []string{"If-Match", `"x"`, "Idempotency-Key", "x"}
	if method == http.MethodPost || method == http.MethodPatch {
		headers = append(headers, "Content-Type", cmp.Or(how.media, "application/json"))
		how.body = cmp.Or(how.body, "{}")
	}
	return s.ask(method, target, key, how.body, headers...)
}

// denies wants a route to be denied to a role that allows nothing, under the verbs that decide it.
func (s *swaps) denies(t *testing.T, pattern, job string, verbs []string) {
	t.Helper()
	before := len(s.ledgerEntries())
	a := s.tryRoute(pattern, s.full, job)
	if a.status != http.StatusForbidden || a.problem(t).Code != "role_not_granted" {
		t.Errorf("%s: %d %s", pattern, a.status, a.body)
		return
	}
	s.gate.EnterRefusals(true)
	s.gate.EnterRefusals(true)
	var entered []string
	for _, e := range s.ledgerEntries()[before:] {
		if e.Facts != nil && e.Facts.Outcome == audit.Refused && e.Facts.Reason == "role_not_granted" {
			entered = append(entered, string(e.Facts.Verb))
		}
	}
	slices.Sort(entered)
	slices.Sort(verbs)
	if entered = slices.Compact(entered); !slices.Equal(entered, verbs) {
		t.Errorf("%s: the ledger has denials of %q, want %q", pattern, entered, verbs)
	}
}

// ledgerEntries are all that the ledger has.
func (r *registry) ledgerEntries() (all []audit.Entry) {
	r.Helper()
	r.gate.Settle()
	opener := audit.Opener{Vault: r.gate.Vault, Ledger: r.store}
	r.check(r.store.WalkLedger(r.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(r.Context(), row)
		all = append(all, e)
		return err
	}))
	return all
}
