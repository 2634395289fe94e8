package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// somebody returns the id of the individual of that name, as the key sees it.
func (r *registry) somebody(key, purpose string) string {
	r.Helper()
	a := r.get("/v1/individuals?limit=1&fields=individual_id&purpose="+purpose, key)
	var page struct {
		Individuals []struct {
			ID string `json:"individual_id"`
		}
	}
	r.check(json.Unmarshal([]byte(a.body), &page))
	return page.Individuals[0].ID
}

func TestNegotiation(t *testing.T) {
	r := newRegistry(t)
	record := "/v1/individuals/" + r.somebody(r.full, "eligibility-assessment") + "?purpose=eligibility-assessment&fields=individual_id,full_name"
	for accept, want := range map[string]string{
		"":                                       "application/json",
		"*/*":                                    "application/json",
		"application/*":                          "application/json",
		"text/csv":                               "text/csv; charset=utf-8; header=present",
		"application/xml":                        "application/xml",
		"text/html, application/xml;q=0.9":       "application/xml",
		"application/json;q=0.1, text/csv;q=0.2": "text/csv; charset=utf-8; header=present",
		"application/x-ndjson":                   "application/x-ndjson",
	} {
		for _, path := range []string{record, onePage + "&fields=individual_id,full_name"} {
			a := r.get(path, r.full, "Accept", accept)
			if got := a.header.Get("Content-Type"); a.status != 200 || got != want {
				t.Errorf("%s of %q: %d %s %s", path, accept, a.status, got, a.body)
			}
			if !strings.Contains(a.body, "Wiśniewska") || a.header.Get("Vary") != "Accept, Accept-Encoding" || a.header.Get("Annona-Schema") != "individuals/1" {
				t.Errorf("%s of %q: %v %s", path, accept, a.header, a.body)
			}
		}
	}
}

func TestPagesEndToEnd(t *testing.T) {
	r := newRegistry(t)
	var seen []string
	path := onePage + "&limit=2&fields=individual_id"
	for next := path; next != ""; {
		a := r.get(next, r.full, "Accept", "text/csv")
		lines := strings.Fields(a.body)
		seen = append(seen, lines[1:]...)
		if next = ""; a.header.Get("Annona-Next") != "" {
			next = path + "&after=" + url.QueryEscape(a.header.Get("Annona-Next"))
		}
	}
	if len(seen) != 5 || len(slices.Compact(slices.Sorted(slices.Values(seen)))) != 5 {
		t.Errorf("pages of two have %v", seen)
	}
}

func TestEntityTags(t *testing.T) {
	r := newRegistry(t)
	path := "/v1/individuals/" + r.somebody(r.full, "eligibility-assessment") + "?purpose=eligibility-assessment"
	first := r.get(path, r.full)
	tag := first.header.Get("ETag")
	if first.status != 200 || !strings.HasPrefix(tag, `"`) {
		t.Fatalf("%d %v", first.status, first.header)
	}
	for _, header := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if a := r.get(path, r.full, "If-None-Match", header); a.status != 304 || a.body != "" || a.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: %d %v", header, a.status, a.header)
		}
	}
	for name, a := range map[string]answer{
		"another format": r.get(path, r.full, "If-None-Match", tag, "Accept", "application/xml"),
		"another coding": r.get(path, r.full, "If-None-Match", tag, "Accept-Encoding", "gzip"),
		"other fields":   r.get(path+"&fields=sex", r.full, "If-None-Match", tag),
		"another tag":    r.get(path, r.full, "If-None-Match", `"x"`),
	} {
		if other := name != "another tag"; a.status != 200 || other == (a.header.Get("ETag") == tag) {
			t.Errorf("%s: %d %s", name, a.status, a.header.Get("ETag"))
		}
	}
	if a := r.ask(http.MethodHead, path, r.full, ""); a.status != 200 || a.body != "" || a.header.Get("ETag") != tag {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
}

// An id is good for the agreement that got it, and for no other; nobody's id is answered
// like somebody's whom one may not see.
func TestIdsOfAnotherAgreement(t *testing.T) {
	r := newRegistry(t)
	ours := r.somebody(r.full, "eligibility-assessment")
	theirs := r.somebody(r.other, "monitoring")
	if ours == theirs {
		t.Error("two agreements see the same id")
	}
	path := func(id string) string { return "/v1/individuals/" + id + "?purpose=eligibility-assessment" }
	if a := r.get(path(ours), r.full); a.status != 200 {
		t.Errorf("one's own id: %d %s", a.status, a.body)
	}
	foreign, unknown, nonsense := r.get(path(theirs), r.full), r.get(path("aaaaaaaaaaaaaaaaaaaaaaaaaa"), r.full), r.get(path("x"), r.full)
	for _, a := range []answer{foreign, unknown, nonsense} {
		p, want := a.problem(t), foreign.problem(t)
		p.RequestID, want.RequestID = "", ""
		if a.status != 404 || !reflect.DeepEqual(p, want) {
			t.Errorf("%d %+v, want %+v", a.status, p, want)
		}
	}
}

func TestLookup(t *testing.T) {
	r := newRegistry(t)
	ask := func(body string, headers ...string) answer {
		return r.ask(http.MethodPost, "/v1/lookup", r.full, body, headers...)
	}
	for _, body := range []string{
		`{"type":"national_id_number","value":"GHA-0012345","purpose":"eligibility-assessment","fields":["individual_id","full_name"]}`,
		`{"dataset":"individuals","type":"national_id_number","value":"gha 001 2345","purpose":"eligibility-assessment","as_of":"2026-01-01"}`,
	} {
		if a := ask(body); a.status != 200 || !strings.Contains(a.body, "Wiśniewska") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	a := ask(`{"type":"national_id_number","value":"GHA-0012345","purpose":"eligibility-assessment","fields":["full_name"]}`, "Accept", "text/csv", "Accept-Encoding", "zstd")
	if text, err := decoded(a); err != nil || text != "full_name\r\nWanjiku Wiśniewska\r\n" && text != "full_name\nWanjiku Wiśniewska\n" {
		t.Errorf("%d %v %q %v", a.status, a.header, text, err)
	}
	r.keepsToItself(planted)
}

// A revoked key stops working with the next request.
func TestRevokedKey(t *testing.T) {
	r := newRegistry(t)
	if a := r.get(onePage, r.full); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	r.check(r.gate.RevokeClient(t.Context(), operator, r.fullClient))
	for _, path := range []string{onePage, wholeFile + "&format=csv"} {
		if a := r.get(path, r.full); a.status != 401 || a.problem(t).Code != "key_invalid" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

func TestPublished(t *testing.T) {
	r := newRegistry(t)
	for path, want := range map[string]string{
		"/v1/schemas/individuals.xsd":                                      "<xs:schema",
		"/v1/schemas/households.xsd":                                       "households/1",
		"/v1/schemas/1/individuals.xsd":                                    "individuals/1",
		"/v1/schemas/individuals.schema.json":                              "json-schema.org",
		"/v1/schemas/1/households.schema.json":                             "json-schema.org",
		"/v1/schemas/individuals.csvw.json":                                `"individuals.csv"`,
		"/v1/schemas/households.csvw.json":                                 `"memberships.csv"`,
		"/v1/schemas/households.csvw.json?layout=flat":                     "member_full_name",
		"/v1/schemas/individuals.csvw.json?fields=sex,individual_id":       `"sex"`,
		"/v1/schemas/households.csvw.json?fields=household_id,identifiers": `"identifiers.csv"`,
		"/v1/code-lists":                                                   `"/v1/code-lists/sex/1"`,
		"/v1/code-lists/sex":                                               `"female"`,
		"/v1/code-lists/sex/1":                                             `"female"`,
		"/openapi.json":                                                    `"openapi": "3.1.0"`,
		"/openapi.yaml":                                                    "openapi: 3.1.0",
		"/docs":                                                            "/docs/start.js",
		"/docs/start.js":                                                   "SwaggerUIBundle",
		"/docs/swagger-ui-bundle.js":                                       "SwaggerUIBundle",
		"/docs/swagger-ui.css":                                             ".swagger-ui",
	} {
		a := r.get(path, "")
		if a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d lacks %s: %.300s", path, a.status, want, a.body)
		}
		z := r.get(path, "", "Accept-Encoding", "gzip")
		if text, err := decoded(z); err != nil || text != a.body {
			t.Errorf("%s: another text when compressed, %v", path, err)
		}
		if strings.HasPrefix(path, "/docs") && strings.Contains(a.header.Get("Content-Security-Policy"), "http") {
			t.Errorf("%s: %s", path, a.header.Get("Content-Security-Policy"))
		}
	}
	for _, page := range []string{"/docs", "/docs/start.js"} {
		if a := r.get(page, ""); strings.Contains(a.body, "//unpkg") || strings.Contains(a.body, "https://") {
			t.Errorf("%s fetches something from elsewhere", page)
		}
	}
}

// The metadata of CSV on the Web has exactly the columns of the export that it is asked for.
func TestCSVWHasTheColumnsOfTheExport(t *testing.T) {
	r := newRegistry(t)
	for _, query := range []string{"fields=sex,individual_id,date_of_birth", "fields=full_name,sex_nil_reason", "fields=full_name&layout=plain"} {
		file := r.get(wholeFile+"&format=csv&"+query, r.full)
		described := r.get("/v1/schemas/individuals.csvw.json?"+query, "")
		var metadata struct {
			TableSchema struct {
				Columns []struct{ Name string }
			}
		}
		r.check(json.Unmarshal([]byte(described.body), &metadata))
		var names []string
		for _, c := range metadata.TableSchema.Columns {
			names = append(names, c.Name)
		}
		header, _, _ := strings.Cut(file.body, "\n")
		if strings.TrimSpace(header) != strings.Join(names, ",") {
			t.Errorf("%s: the file has %s, the metadata %v", query, header, names)
		}
	}
	for _, query := range []string{"fields=individual_id,identifiers.value&layout=plain", "fields=identifiers"} {
		for _, path := range []string{wholeFile + "&format=csv&", "/v1/schemas/individuals.csvw.json?"} {
			if a := r.get(path+query, r.full); a.status != 400 || a.problem(t).Code != "group_not_plain" {
				t.Errorf("%s%s: %d %s", path, query, a.status, a.body)
			}
		}
	}
}

// A version that is over keeps its schemas and code lists.
func TestEarlierVersions(t *testing.T) {
	first := annona.Standard()
	second, err := first.Extend(annona.Extension{Country: "GH", CodeLists: []annona.CodeList{{Name: "shoe", Version: 1, Codes: []annona.Code{{Code: "boot"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	third, err := second.Extend(annona.Extension{Country: "GH", CodeLists: []annona.CodeList{{Name: "shoe", Version: 2, Codes: []annona.Code{{Code: "clog"}, {Code: "boot", ReplacedBy: "clog"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRegistry(t, func(o *Options) {
		o.Dictionary = func() *annona.Dictionary { return third }
		o.Earlier = func(version int) (*annona.Dictionary, bool) {
			switch version {
			case 1:
				return first, true
			case 2:
				return second, true
			}
			return nil, false
		}
	})
	for path, want := range map[string]string{
		"/v1/schemas/individuals.xsd": "individuals/3", "/v1/schemas/3/individuals.xsd": "individuals/3",
		"/v1/schemas/2/individuals.xsd": "individuals/2", "/v1/schemas/1/individuals.xsd": "individuals/1",
		"/v1/code-lists/shoe": "clog", "/v1/code-lists/shoe/2": "clog", "/v1/code-lists/shoe/1": "boot",
	} {
		if a := r.get(path, ""); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %.200s", path, a.status, a.body)
		}
	}
	for _, path := range []string{"/v1/schemas/4/individuals.xsd", "/v1/code-lists/shoe/3", "/v1/code-lists/hat/1"} {
		if a := r.get(path, ""); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestReadiness(t *testing.T) {
	var fault error
	r := newRegistry(t, func(o *Options) { o.Ready = func(ctx context.Context) error { return fault } })
	if a := r.get("/readyz", ""); a.status != 200 || a.body != "{\"status\":\"ok\"}\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	fault = annona.Internal("open the store", nil)
	if a := r.get("/readyz", ""); a.status != 503 || a.problem(t).Code != "not_ready" || strings.Contains(a.body, "store") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.get("/healthz", ""); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	fault = nil
	r.server.drain(errShuttingDown)
	if a := r.get("/readyz", ""); a.status != 503 || a.problem(t).Code != "shutting_down" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A panic is answered, logged by type and place, and its value is not.
func TestPanics(t *testing.T) {
	r := newRegistry(t)
	r.server.mux.ServeMux.HandleFunc("GET /panics", func(http.ResponseWriter, *http.Request) { panic("Wiśniewska") })
	r.server.mux.ServeMux.HandleFunc("GET /panics-later", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("half of "))
		w.(*response).ResponseWriter.(http.Flusher).Flush()
		panic("Nyaboke")
	})
	if a := r.get("/panics", ""); a.status != 500 || a.problem(t).Code != "internal" || strings.Contains(a.body, "string") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.get("/panics-later", ""); a.err == nil {
		t.Errorf("a body that broke off ended cleanly: %d %s", a.status, a.body)
	}
	if log := r.logged(); !strings.Contains(log, `"type":"string"`) || !strings.Contains(log, "answer_test.go") {
		t.Errorf("the log lacks type and stack: %s", log)
	}
	r.keepsToItself(planted)
}

// The log says who asked for what, and nothing about whom.
func TestLogLines(t *testing.T) {
	r := newRegistry(t)
	r.get(wholeFile+"&format=csv&fields=full_name", r.full, "User-Agent", `x","level":"FATAL`)
	r.get(filtered(onePage, "individual.sex == 'female'"), r.full)
	r.get("/v1/individuals/"+r.somebody(r.full, "eligibility-assessment")+"?purpose=eligibility-assessment", r.full)
	lines := strings.Split(strings.TrimSpace(r.logged()), "\n")
	for _, line := range lines {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, name := range []string{"request_id", "method", "route", "status", "bytes", "seconds"} {
			if _, ok := entry[name]; !ok {
				t.Errorf("no %s: %s", name, line)
			}
		}
	}
	for _, fragment := range []string{`"route":"/v1/individuals/export"`, `"route":"/v1/individuals/{id}"`, `"agreement":"full"`,
		`"purpose":"eligibility-assessment"`, `"dataset":"individuals"`, `"format":"csv"`, `"rows":5`, r.fullClient.String()} {
		if !strings.Contains(r.logged(), fragment) {
			t.Errorf("the log lacks %s: %s", fragment, r.logged())
		}
	}
	if metrics := r.metricsText(); !strings.Contains(metrics, `annona_rows_disclosed_total{dataset="individuals",format="csv"} 5`) {
		t.Errorf("the metrics lack the rows: %s", metrics)
	}
	r.keepsToItself(append(planted, "fatal", "female"))
}

func TestNewNeedsItsPorts(t *testing.T) {
	for _, o := range []Options{{}, {Gate: exchange.New(exchange.Config{Clock: time.Now})}} {
		if _, err := New(o); err == nil {
			t.Error("a server without gate or authenticator")
		}
	}
}
