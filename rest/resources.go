package rest

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// What decides a route that no verb of the policy decides.
const (
	decidedForAll     = "public"   // nobody: it tells nothing of anybody
	decidedByStanding = "standing" // whether the client is valid: it is told of what is its own agreement's
	decidedByPerson   = "person"   // a role of a person of the registry who has signed in
)

// resources is every route of the API, and what decides it: one of the words above, or verbs of the policy.
// The gate decides; this says it to readers of the API, and a test holds the gate to it.
func resources() map[string]string {
	const v1 = "/v1/"
	table := map[string]string{
		"POST /v1/lookup": "lookup", "POST " + nameSearchPath: "name_search", "GET " + changesPath: "follow",
		"GET " + beneficiariesPath: "search", "GET " + beneficiariesPath + "/{id}": "get", "GET " + beneficiariesPath + "/{id}/updates": "read_updates", "GET " + updatesPath: "read_updates",
		"GET /v1/enrollments/{id}/updates": "read_updates", "GET /v1/benefits/{id}/updates": "read_updates", "POST " + lifeEventsPath: "report_life_event", "POST " + checksPath: "check_enrolled",
		"GET /v1/subjects/{id}/disclosures": "disclosures",

		"POST " + importsPath: "import", "GET " + importsPath: "import", "GET " + importsPath + "/{id}": "import",

		"GET " + specsPath: decidedByStanding, "GET " + specsPath + "/{name}": decidedByStanding,
		"GET " + specsPath + "/{name}/export": "export", "POST " + specsPath + "/{name}/dry-run": "try_export",
		"POST " + exportsPath: "export", "GET " + exportsPath: decidedByStanding, "GET " + exportsPath + "/{id}": decidedByStanding,
		"DELETE " + exportsPath + "/{id}": "export", "GET " + exportsPath + "/{id}/manifest": decidedByStanding, "GET " + exportsPath + "/{id}/files/{name}": "export",

		"POST " + decisionsPath: "decide_eligibility", "GET " + decisionsPath: "decide_eligibility",

		"POST " + casesPath: "write_cases", "GET " + casesPath: "read_cases", "GET " + casesPath + "/{id}": "read_cases", "PATCH " + casesPath + "/{id}": "write_cases",
		"POST " + casesPath + "/{id}/actions": "write_cases", "GET " + casesPath + "/{id}/notes": "read_cases", "POST " + casesPath + "/{id}/notes": "write_cases",
		"POST " + attachmentsPath: "write_cases", "GET " + attachmentsPath: "read_cases", "GET " + attachmentPath: "read_cases", "DELETE " + attachmentPath: "write_cases",
		"GET " + caseConflictsPath: "read_cases", "POST " + caseConflictsPath + "/{conflict}/resolution": "write_cases",
		"POST " + bulkPath:                   "write_cases report_enrollments",
		"GET " + casesPath + "/{id}/updates": "read_updates", "POST " + casesPath + "/{id}/transitions": "transfer_cases",
		"GET " + transitionsPath: "read_cases", "POST " + transitionsPath + "/{id}/answers": "transfer_cases",

		"GET /v1/ledger/checkpoint": decidedByStanding, "GET /v1/ledger/proof": decidedByStanding, "GET /v1/decisions/{id}": decidedByStanding,

		"POST " + breakGlassPath: "break_glass", "DELETE " + breakGlassPath + "/{id}": decidedByStanding,
		"GET " + usagePath: decidedByPerson, "GET " + breakGlassPath: decidedByPerson, "POST " + breakGlassPath + "/{id}/review": decidedByPerson,

		"GET " + approvalsPath: decidedByPerson, "GET " + approvalsPath + "/{id}": decidedByPerson,
		"POST " + approvalsPath + "/{id}/approve": decidedByPerson, "POST " + approvalsPath + "/{id}/reject": decidedByPerson,

		"DELETE " + changeRequestsPath + "/{id}": "review update report_life_event",
	}
	for _, dataset := range []string{"households", "individuals"} {
		table["GET "+v1+dataset], table["GET "+v1+dataset+"/{id}"], table["GET "+v1+dataset+"/export"] = "search", "get", "export"
		table["PATCH "+v1+dataset+"/{id}"], table["GET "+v1+dataset+"/{id}/updates"] = "update", "read_updates"
	}
	for _, dataset := range []string{"enrollments", "benefits"} {
		table["GET "+v1+dataset], table["GET "+v1+dataset+"/{id}"], table["POST "+v1+dataset] = "search", "get", "report_enrollments"
	}
	table["GET "+paymentsPath], table["POST "+paymentsPath] = "search", "report_enrollments"
	for path, decide := range map[string]string{changeRequestsPath: "decision", conflictsPath: "resolution"} {
		table["GET "+path], table["GET "+path+"/{id}"], table["POST "+path+"/{id}/"+decide] = "review update report_life_event", "review update report_life_event", "review update report_life_event"
	}
	for _, path := range []string{
		"/healthz", "/readyz", "/openapi.json", "/openapi.yaml", "/docs", "/docs/{file}", "/v1/programs", "/v1/programs/{code}", "/v1/code-lists",
		"/v1/code-lists/{list}", "/v1/code-lists/{list}/{version}", "/v1/schemas/{file}", "/v1/schemas/{version}/{file}",
	} {
		table["GET "+path] = decidedForAll
	}
	return table
}

// tellWhatDecides lets the OpenAPI document say what decides each operation.
func tellWhatDecides() func(*huma.OpenAPI, *huma.Operation) {
	table := resources()
	return func(_ *huma.OpenAPI, o *huma.Operation) {
		if by := table[o.Method+" "+o.Path]; by != "" {
			o.Extensions = map[string]any{"x-annona-decided-by": strings.Fields(by)}
		}
	}
}
