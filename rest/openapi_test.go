package rest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// document is what the tests look at of the OpenAPI document.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Security    []map[string][]string
		Parameters  []struct {
			Name, In, Description string
			Required              bool
			Schema                struct{ Type any }
		}
		Responses map[string]struct {
			Content map[string]struct {
				Schema  map[string]any
				Example *Problem
			}
		}
	}
	Components struct{ Schemas map[string]any }
}

func (r *registry) openAPI() document {
	r.Helper()
	var d document
	r.check(json.Unmarshal([]byte(r.get("/openapi.json", "").body), &d))
	return d
}

// The document lists exactly the routes of the mux: no route without an operation, no
// operation without a route.
func TestOpenAPIListsEveryRoute(t *testing.T) {
	r := newRegistry(t)
	var documented []string
	for path, operations := range r.openAPI().Paths {
		for method := range operations {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	routes := slices.Sorted(slices.Values(r.server.mux.patterns))
	slices.Sort(documented)
	if !slices.Equal(documented, routes) {
		t.Errorf("documented: %v\nrouted: %v", documented, routes)
	}
}

// forPartners are the paths under which only clients of partners are answered, beside those about people.
var forPartners = []string{
	"/v1/ledger/", "/v1/subjects/", "/v1/decisions/", "/v1/enrollments", "/v1/benefits", paymentsPath,
	importsPath, specsPath, exportsPath, changeRequestsPath, conflictsPath, lifeEventsPath, updatesPath, casesPath, transitionsPath, bulkPath,
}

func TestOpenAPIIsWellWritten(t *testing.T) {
	r := newRegistry(t)
	d := r.openAPI()
	ids := map[string]bool{}
	for path, operations := range d.Paths {
		for method, o := range operations {
			name := method + " " + path
			if o.OperationID == "" || ids[o.OperationID] || o.Summary == "" {
				t.Errorf("%s: id %q, summary %q", name, o.OperationID, o.Summary)
			}
			ids[o.OperationID] = true
			needsKey := aboutPeople(path) || path == decisionsPath || slices.ContainsFunc(forPartners, func(under string) bool { return strings.HasPrefix(path, under) })
			needsKey = needsKey || strings.HasPrefix(path, breakGlassPath) && (name == "post "+breakGlassPath || method == "delete")
			alsoPeople := strings.HasPrefix(path, "/v1/decisions/")
			if alsoPeople != (len(o.Security) == 3) || (needsKey && !alsoPeople) != (len(o.Security) == 2) {
				t.Errorf("%s: security %v", name, o.Security)
			}
			for _, p := range o.Parameters {
				if p.Description == "" {
					t.Errorf("%s: parameter %s says nothing", name, p.Name)
				}
				if _, several := p.Schema.Type.([]any); several {
					t.Errorf("%s: parameter %s has the types %v: the reference cannot offer to fill it in", name, p.Name, p.Schema.Type)
				}
				if p.In == "header" && p.Name != "If-None-Match" && p.Name != "If-Match" && p.Name != "Idempotency-Key" && p.Name != "Range" && p.Name != "Content-Disposition" {
					t.Errorf("%s: header %s", name, p.Name)
				}
			}
			for status, response := range o.Responses {
				if status < "400" && status != "default" {
					continue
				}
				problem := response.Content["application/problem+json"]
				if problem.Schema["$ref"] != "#/components/schemas/Problem" {
					t.Errorf("%s: %s is %v", name, status, response)
				}
				if status != "default" && (problem.Example == nil || strconv.Itoa(problem.Example.Status) != status) {
					t.Errorf("%s: the example of %s is %v", name, status, problem.Example)
				}
			}
		}
	}
	for name := range d.Components.Schemas {
		if strings.HasPrefix(name, "Error") {
			t.Errorf("the schema %s is huma's", name)
		}
	}
	if d.Components.Schemas["Problem"] == nil {
		t.Error("the schema Problem is missing")
	}
}

// No operation about people answers without a key, whatever the router says it has.
func TestEveryOperationAboutPeopleNeedsAKey(t *testing.T) {
	r := newRegistry(t)
	_, err := r.gate.SwitchNameSearch(r.Context(), operator, true) // otherwise it is no operation
	r.check(err)
	for _, pattern := range r.server.mux.patterns {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{file}", "individuals.xsd", "{version}", "1", "{list}", "sex", "{name}", "monthly").Replace(path)
		path = regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "aaaaaaaaaaaaaaaaaaaaaaaaaa")
		body := ""
		if method == http.MethodPost || method == http.MethodPatch {
			body = "{}"
		}
		a := r.ask(method, path, "", body)
		public := slices.ContainsFunc([]string{"/healthz", "/readyz", "/docs", "/openapi.", "/v1/schemas/", "/v1/code-lists", "/v1/programs"},
			func(prefix string) bool { return strings.HasPrefix(path, prefix) })
		if public == (a.status == 401) {
			t.Errorf("%s: %d", pattern, a.status)
		}
	}
}
