package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// secretive stands in what callers send; no answer and no log line may repeat it.
const secretive = "Zuberi-Kamau-19"

// scenario is one request that is refused.
type scenario struct {
	name    string
	method  string // GET unless said otherwise
	path    string
	key     string // a word: full, narrow, other, expired, none or the key itself
	body    string
	headers []string
	status  int
	code    string
	contain []string // beside the code
}

const (
	onePage    = "/v1/individuals?purpose=eligibility-assessment"
	households = "/v1/households?purpose=eligibility-assessment"
	wholeFile  = "/v1/individuals/export?purpose=eligibility-assessment"
)

func filtered(path, filter string) string { return path + "&filter=" + url.QueryEscape(filter) }

func badQuestions() []scenario {
	terms := strings.TrimSuffix(strings.Repeat("individual.sex == 'female' || ", 1000), " || ")
	return []scenario{
		{name: "unknown field", path: onePage + "&fields=sex," + secretive, status: 400, code: "unknown_field", contain: []string{`"name":"fields"`, `"position":2`}},
		{name: "empty field", path: onePage + "&fields=sex,,", status: 400, code: "unknown_field"},
		{name: "column of no group", path: onePage + "&fields=sex.value", status: 400, code: "unknown_field"},
		{name: "unknown filter field", path: filtered(onePage, "individual."+"zuberi"+" == 1"), status: 400, code: "unknown_field", contain: []string{`"position":`}},
		{name: "broken filter", path: filtered(onePage, "individual.sex == '"+secretive), status: 400, code: "filter_malformed", contain: []string{`"position":`}},
		{name: "filter of another type", path: filtered(onePage, "individual.date_of_birth == 7"), status: 400, code: "filter_type"},
		{name: "sealed field in a filter", path: filtered(onePage, "individual.full_name == '"+secretive+"'"), status: 400, code: "field_not_filterable"},
		{name: "unknown code", path: filtered(onePage, "individual.sex == '"+secretive+"'"), status: 400, code: "unknown_code"},
		{name: "filter of 100 kB", path: filtered(onePage, "individual.sex == '"+strings.Repeat("x", 100_000)+"'"), status: 400, code: "filter_too_large"},
		{name: "filter of 1,000 terms", path: filtered(onePage, terms), status: 400, code: "filter_too_large"},
		{name: "filter that nests", path: filtered(onePage, strings.Repeat("(", 500)+"true"+strings.Repeat(")", 500)), status: 400},
		{name: "blank filter", path: filtered(onePage, "  "), status: 400, code: "filter_malformed"},
		{name: "unknown parameter", path: onePage + "&" + secretive + "=1", status: 400, code: "unknown_parameter", contain: []string{"as_of", "purpose"}},
		{name: "misspelt parameter", path: onePage + "&Limit=1", status: 400, code: "unknown_parameter"},
		{name: "parameter of another operation", path: onePage + "&format=csv", status: 400, code: "unknown_parameter"},
		{name: "repeated parameter", path: onePage + "&limit=1&limit=2", status: 400, code: "parameter_repeated", contain: []string{`"name":"limit"`}},
		{name: "repeated purpose", path: onePage + "&purpose=eligibility-assessment", status: 400, code: "parameter_repeated"},
		{name: "repeated under another spelling", path: onePage + "&limit=1&l%69mit=2", status: 400, code: "parameter_repeated"},
		{name: "empty parameter", path: onePage + "&fields=", status: 400, code: "parameter_empty"},
		{name: "empty filter", path: onePage + "&filter=", status: 400, code: "parameter_empty"},
		{name: "valueless parameter", path: onePage + "&limit", status: 400, code: "parameter_empty"},
		{name: "broken escape", path: onePage + "&fields=%zz", status: 400, code: "query_malformed"},
		{name: "semicolon", path: onePage + ";limit=1", status: 400, code: "query_malformed"},
		{name: "no purpose", path: "/v1/individuals", status: 400, code: "purpose_missing", contain: []string{`"name":"purpose"`}},
		{name: "malformed purpose", path: "/v1/individuals?purpose=" + secretive + "%20x", status: 400},
		{name: "purpose of nobody", path: "/v1/individuals?purpose=zuberi-kamau-19", status: 403, code: "purpose_not_granted"},
		{name: "purpose of another agreement", path: "/v1/individuals?purpose=statistics", status: 403, code: "purpose_not_granted"},
		{name: "memberships of members", path: "/v1/households?purpose=eligibility-assessment&fields=members.memberships", status: 400, code: "group_repeated", contain: []string{"members.role"}},
		{name: "limit 0", path: onePage + "&limit=0", status: 400, code: "limit_out_of_range", contain: []string{"1 to 1000"}},
		{name: "limit -1", path: onePage + "&limit=-1", status: 400, code: "limit_out_of_range"},
		{name: "limit 10^9", path: onePage + "&limit=1000000000", status: 400, code: "limit_out_of_range"},
		{name: "limit 10^40", path: onePage + "&limit=1" + strings.Repeat("0", 40), status: 400, code: "parameter_malformed", contain: []string{`"name":"limit"`}},
		{name: "limit in words", path: onePage + "&limit=" + secretive, status: 400, code: "parameter_malformed"},
		{name: "as_of that is no day", path: onePage + "&as_of=2026-02-30", status: 400, code: "as_of_malformed", contain: []string{`"name":"as_of"`}},
		{name: "forged cursor", path: onePage + "&after=" + secretive, status: 400, code: "cursor_invalid"},
		{name: "unknown format", path: wholeFile + "&format=" + secretive, status: 400, code: "unknown_format", contain: []string{"csv", "ndjson"}},
		{name: "format in capitals", path: wholeFile + "&format=CSV", status: 400, code: "unknown_format"},
		{name: "no format", path: wholeFile, status: 400, code: "format_missing", contain: []string{"ndjson"}},
		{name: "only a wildcard", path: wholeFile, headers: []string{"Accept", "*/*"}, status: 400, code: "format_missing"},
		{name: "download in a foreign format", path: wholeFile, headers: []string{"Accept", "text/html, */*;q=0.1"}, status: 406, code: "not_acceptable"},
		{name: "unknown layout", path: wholeFile + "&format=csv&layout=" + secretive, status: 400, code: "unknown_layout"},
		{name: "unknown profile", path: wholeFile + "&format=csv&profile=" + secretive, status: 400, code: "unknown_profile"},
		{name: "flat individuals", path: wholeFile + "&format=csv&layout=flat", status: 400, code: "layout_unsuitable"},
		{name: "linked xml", path: wholeFile + "&format=xml&layout=linked", status: 400, code: "layout_unsuitable"},
		{name: "spreadsheet json", path: wholeFile + "&format=json&profile=spreadsheet", status: 400, code: "profile_unsuitable"},
		{name: "no column left", path: wholeFile + "&format=csv&fields=identifiers", status: 400, code: "group_not_plain"},
		{name: "page in a foreign format", path: onePage, headers: []string{"Accept", "text/html"}, status: 406, code: "not_acceptable", contain: []string{"text/csv"}},
		{name: "page in no format", path: onePage, headers: []string{"Accept", "application/json;q=0"}, status: 406, code: "not_acceptable"},
		{name: "changes of nothing", path: "/v1/changes?purpose=eligibility-assessment", status: 400, code: "unknown_dataset"},
		{name: "changes of something unknown", path: "/v1/changes?purpose=eligibility-assessment&dataset=" + secretive, status: 400, code: "unknown_dataset"},
		{name: "changes without a purpose", path: "/v1/changes?dataset=individuals", status: 400, code: "purpose_missing"},
		{name: "changes as of another day", path: allChanges + "&as_of=2024-01-01", status: 400, code: "unknown_parameter", contain: []string{"wait"}},
		{name: "changes behind a foreign position", path: allChanges + "&after=" + secretive, status: 400, code: "cursor_invalid"},
		{name: "too many changes", path: allChanges + "&limit=1001", status: 400, code: "limit_out_of_range"},
		{name: "too long a wait", path: allChanges + "&wait=61", status: 400, code: "wait_out_of_range"},
		{name: "a wait backwards", path: allChanges + "&wait=-1", status: 400, code: "wait_out_of_range"},
		{name: "changes as csv", path: allChanges, headers: []string{"Accept", "text/csv"}, status: 406, code: "not_acceptable", contain: []string{"application/x-ndjson"}},
		{name: "changes of a withheld column", path: "/v1/changes?dataset=individuals&purpose=statistics&fields=full_name", key: "narrow", status: 403, code: "field_not_granted"},
		{name: "changes chosen by a withheld column", path: "/v1/changes?dataset=individuals&purpose=statistics&filter=has(individual.marital_status)", key: "narrow", status: 403, code: "filter_not_granted"},
		{name: "a body on GET", path: onePage, body: `{"purpose":"x"}`, status: 400, code: "body_unexpected"},
	}
}

func notGranted() []scenario {
	narrow := "/v1/individuals?purpose=statistics"
	return []scenario{
		{name: "field", path: narrow + "&fields=sex,full_name", key: "narrow", status: 403, code: "field_not_granted", contain: []string{`"name":"full_name"`}},
		{name: "group", path: narrow + "&fields=identifiers.value", key: "narrow", status: 403, code: "field_not_granted"},
		{name: "filter on a withheld field", path: filtered(narrow, "individual.marital_status == 'married'"), key: "narrow", status: 403, code: "filter_not_granted"},
		{name: "filter on an altered field", path: filtered(narrow, "individual.date_of_birth < '1990-01-01'"), key: "narrow", status: 403, code: "filter_not_granted"},
		{name: "filter on another dataset", path: filtered(narrow, "household.poverty_score < 30"), key: "narrow", status: 403, code: "filter_not_granted"},
		{name: "dataset", path: "/v1/households?purpose=statistics", key: "narrow", status: 403, code: "dataset_not_granted"},
		{name: "field of an export", path: "/v1/individuals/export?format=csv&purpose=statistics&fields=full_name", key: "narrow", status: 403, code: "field_not_granted"},
		{name: "filter of an export", path: filtered("/v1/individuals/export?format=csv&purpose=statistics", "household.poverty_score < 30"), key: "narrow", status: 403, code: "filter_not_granted"},
		{name: "look-up", method: "POST", path: "/v1/lookup", key: "narrow", body: `{"type":"national_id_number","value":"GHA-0012345","purpose":"statistics"}`, status: 403, code: "filter_not_granted"},
		{name: "purpose with another agreement's key", path: onePage, key: "other", status: 403, code: "purpose_not_granted"},
	}
}

func badKeys() []scenario {
	const made = "annona_live_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaAAAAAA"
	return []scenario{
		{name: "none", path: onePage, key: "none", status: 401, code: "key_missing", contain: []string{"X-API-Key"}},
		{name: "malformed", path: onePage, key: secretive, status: 401, code: "key_malformed"},
		{name: "wrong checksum", path: onePage, key: made, status: 401, code: "key_malformed"},
		{name: "expired", path: onePage, key: "expired", status: 401, code: "key_expired"},
		{name: "two", path: onePage, headers: []string{"X-API-Key", made}, status: 400, code: "header_repeated"},
		{name: "as a bearer token", path: onePage, key: "none", headers: []string{"Authorization", "Bearer " + made}, status: 401, code: "key_missing"},
		{name: "before anything else is said", path: onePage + "&fields=zuberi", key: "none", status: 401, code: "key_missing"},
		{name: "in the query", path: onePage + "&api_key=" + made, key: "none", status: 400, code: "key_in_url", contain: []string{"revoked"}},
		{name: "in the query under any name", path: onePage + "&fields=" + made, status: 400, code: "key_in_url"},
		{name: "in the query, escaped", path: onePage + "&fields=annona%5Flive%5Faaaaaaaaaaaaaaaa%5Faaa", status: 400, code: "key_in_url"},
		{name: "in the query as a name", path: onePage + "&" + made, status: 400, code: "key_in_url"},
		{name: "a parameter for keys", path: onePage + "&access_token=" + secretive, status: 400, code: "key_in_url"},
		{name: "in the path", path: "/v1/individuals/" + made, status: 400, code: "key_in_url"},
		{name: "on a public path", path: "/healthz?key=" + secretive, key: "none", status: 400, code: "key_in_url"},
		{name: "on no path", path: "/" + made, key: "none", status: 400, code: "key_in_url"},
	}
}

func badPaths() []scenario {
	var out []scenario
	for _, path := range []string{
		"/", "/v1", "/v1/", "/v1/individuals/", "/v1//individuals", "//v1/individuals", "/v1/./individuals", "/v1/x/../individuals",
		"/v1/%2e%2e/v1/individuals", "/v1/individuals%2Fexport", "/v1/%69ndividuals", "/v1/individuals.", "/v1/Individuals", "/V1/individuals",
		"/v1/individuals;x=1", "/v1/individuals%00", "/v1/persons", "/v1/individuals/a/b", "/metrics", "/docs/", "/docs/../rest.go", "/docs/start.html",
		"/v1/schemas/individuals", "/v1/schemas/memberships.xsd", "/v1/schemas/individuals.xsd.bak", "/v1/schemas/0/individuals.xsd", "/v1/schemas/01/individuals.xsd",
		"/v1/schemas/999/individuals.xsd", "/v1/code-lists/" + secretive, "/v1/code-lists/sex/2", "/v1/code-lists/sex/01", "/v1/code-lists/sex/-1",
	} {
		out = append(out, scenario{name: path, path: path, status: 404, code: "not_found"})
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
		out = append(out, scenario{name: method + " on GET", method: method, path: "/v1/individuals", status: 405, code: "method_not_allowed", contain: []string{"GET"}})
	}
	return append(out,
		scenario{name: "GET on POST", path: "/v1/lookup", status: 405, code: "method_not_allowed", contain: []string{"POST"}},
		scenario{name: "override ignored", path: "/v1/lookup", headers: []string{"X-HTTP-Method-Override", "POST"}, status: 405, code: "method_not_allowed"},
		scenario{name: "id of nobody", path: "/v1/individuals/aaaaaaaaaaaaaaaaaaaaaaaaaa?purpose=eligibility-assessment", status: 404, code: "not_found"},
		scenario{name: "id that is none", path: "/v1/individuals/" + secretive + "?purpose=eligibility-assessment", status: 404, code: "not_found"},
		scenario{name: "parameter of a schema", path: "/v1/schemas/individuals.xsd?fields=sex", status: 400, code: "unknown_parameter"},
		scenario{name: "field of a schema", path: "/v1/schemas/individuals.csvw.json?fields=" + secretive, status: 400, code: "unknown_field"},
		scenario{name: "layout of a schema", path: "/v1/schemas/individuals.csvw.json?layout=flat", status: 400, code: "layout_unsuitable"},
		scenario{name: "parameter of health", path: "/healthz?" + secretive + "=1", status: 400, code: "unknown_parameter"},
	)
}

func badBodies() []scenario {
	post := func(name, body string, status int, code string, headers ...string) scenario {
		return scenario{name: name, method: "POST", path: "/v1/lookup", body: body, headers: headers, status: status, code: code}
	}
	const good = `"type":"national_id_number","value":"` + secretive + `","purpose":"eligibility-assessment"`
	return []scenario{
		post("nobody", `{`+good+`}`, 404, "not_found"),
		post("empty", ``, 400, "body_missing"),
		post("no JSON", secretive, 400, "body_malformed"),
		post("broken off", `{`+good, 400, "body_malformed"),
		post("two values", `{`+good+`}{}`, 400, "body_malformed"),
		post("member twice", `{`+good+`,"value":"x"}`, 400, "body_malformed"),
		post("not UTF-8", `{"type":"`+"\xff"+`"}`, 400, "body_malformed"),
		post("deep", strings.Repeat("[", 10000)+strings.Repeat("]", 10000), 400, "body_malformed"),
		post("an array", `[]`, 400, "body_invalid"),
		post("null", `null`, 400, "body_invalid"),
		post("unknown member", `{`+good+`,"`+secretive+`":1}`, 400, "unknown_member"),
		post("member in capitals", `{`+good+`,"VALUE":"x"}`, 400, "unknown_member"),
		post("no value", `{"type":"national_id_number","purpose":"eligibility-assessment"}`, 400, "identifier_malformed"),
		post("a number for text", `{"type":"national_id_number","value":7,"purpose":"eligibility-assessment"}`, 400, "body_invalid"),
		post("unknown type", `{"type":"`+secretive+`","value":"1","purpose":"eligibility-assessment"}`, 400, "unknown_code"),
		post("unknown dataset", `{"dataset":"`+secretive+`",`+good+`}`, 400, "body_invalid"),
		post("empty value", `{"type":"national_id_number","value":"","purpose":"eligibility-assessment"}`, 400, "identifier_malformed"),
		post("long value", `{"type":"national_id_number","value":"`+strings.Repeat("1", 1000)+`","purpose":"eligibility-assessment"}`, 400, "identifier_malformed"),
		post("too large", `{"value":"`+strings.Repeat("1", maxBody)+`"}`, 413, "body_too_large"),
		post("another media type", `{`+good+`}`, 415, "unsupported_media_type", "Content-Type", "text/plain"),
		post("compressed", `{`+good+`}`, 415, "content_encoding_unsupported", "Content-Encoding", "gzip"),
		post("a query beside it", `{`+good+`}`, 400, "unknown_parameter"),
	}
}

func TestRefusals(t *testing.T) {
	r := newRegistry(t)
	keys := map[string]string{"": r.full, "full": r.full, "narrow": r.narrow, "other": r.other, "expired": r.expired, "none": ""}
	for group, scenarios := range map[string][]scenario{
		"question": badQuestions(), "grant": notGranted(), "key": badKeys(), "path": badPaths(), "body": badBodies(),
	} {
		for _, s := range scenarios {
			if s.name == "a query beside it" {
				s.path += "?purpose=eligibility-assessment"
			}
			key, named := keys[s.key]
			if !named {
				key = s.key
			}
			r.refuses(t, group+": "+s.name, s, key)
		}
	}
	r.keepsToItself(append([]string{secretive, "zuberi", r.full, r.narrow, r.expired}, planted...))
}

// refuses sends a scenario's request and checks its answer.
func (r *registry) refuses(t *testing.T, name string, s scenario, key string) {
	t.Helper()
	if s.method == "" {
		s.method = http.MethodGet
	}
	a := r.ask(s.method, s.path, key, s.body, s.headers...)
	p := a.problem(t)
	if a.status != s.status || p.Status != s.status || s.code != "" && p.Code != s.code {
		t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, s.status, s.code)
	}
	if p.Type != "about:blank" || p.Title == "" || p.Detail == "" || len(p.RequestID) != 32 || a.header.Get("Annona-Request") != p.RequestID {
		t.Errorf("%s: an incomplete problem: %s", name, a.body)
	}
	for _, fragment := range s.contain {
		if !strings.Contains(a.body, fragment) {
			t.Errorf("%s: %s lacks %s", name, a.body, fragment)
		}
	}
	for _, fragment := range append([]string{secretive, "zuberi", "goroutine", ".go:"}, planted...) {
		if strings.Contains(strings.ToLower(a.body), strings.ToLower(fragment)) {
			t.Errorf("%s: %s repeats %s", name, a.body, fragment)
		}
	}
	if (a.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
		t.Errorf("%s: WWW-Authenticate is %q at %d", name, a.header.Get("WWW-Authenticate"), a.status)
	}
	if (a.status == 405) != (a.header.Get("Allow") != "") {
		t.Errorf("%s: Allow is %q at %d", name, a.header.Get("Allow"), a.status)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: the security headers are missing", name)
	}
}

// keepsToItself fails when the log or the metrics repeat one of the words.
func (r *registry) keepsToItself(words []string) {
	r.Helper()
	said := map[string]string{"the log": r.logged(), "the metrics": r.metricsText()}
	for where, text := range said {
		for _, word := range words {
			if strings.Contains(strings.ToLower(text), strings.ToLower(word)) {
				r.Errorf("%s repeat %s", where, word)
			}
		}
	}
}

// A cursor continues only the question it was made for, by the client it was made for.
func TestForeignCursors(t *testing.T) {
	r := newRegistry(t)
	first := r.get(onePage+"&limit=2&fields=individual_id,sex", r.full)
	cursor := first.header.Get("Annona-Next")
	if first.status != 200 || cursor == "" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	after := "&after=" + url.QueryEscape(cursor)
	again := onePage + "&limit=2&fields=individual_id,sex" + after
	if a := r.get(again, r.full); a.status != 200 || a.header.Get("Annona-Next") == "" || r.get(again, r.full).status != 200 {
		t.Errorf("its own cursor: %d %s", a.status, a.body)
	}
	for name, s := range map[string]scenario{
		"another client":    {path: "/v1/individuals?purpose=monitoring&limit=2&fields=individual_id,sex" + after, key: r.other},
		"other fields":      {path: onePage + "&fields=individual_id" + after, key: r.full},
		"another filter":    {path: filtered(onePage, "individual.sex == 'male'") + "&fields=individual_id,sex" + after, key: r.full},
		"another day":       {path: onePage + "&as_of=2020-01-01&fields=individual_id,sex" + after, key: r.full},
		"another dataset":   {path: households + "&fields=household_id" + after, key: r.full},
		"one that is bent":  {path: onePage + "&fields=individual_id,sex&after=" + url.QueryEscape(flip(cursor)), key: r.full},
		"one that is short": {path: onePage + "&fields=individual_id,sex&after=" + url.QueryEscape(cursor[:10]), key: r.full},
	} {
		s.status, s.code = 400, "cursor_invalid"
		r.refuses(t, name, s, s.key)
	}
	later := time.Now().AddDate(0, 0, 2)
	r.now.Store(&later)
	r.refuses(t, "an old one", scenario{path: again, status: 410, code: "cursor_expired"}, r.full)
}

func flip(cursor string) string {
	bent := []byte(cursor)
	bent[len(bent)/2] ^= 1
	return string(bent)
}

// Every list refuses a page of no rows, of less, and of more than it has, whoever asks for whatever: by the document of
// the interface, so that none is forgotten. It refuses states and statuses that no row has, too.
func TestNoListTakesAnyLimitOrStatus(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	r.reporting()
	r.change("full", func(a *annona.Agreement) { a.UpdateLog, a.Reviews = true, true })
	lists := 0
	for path, operations := range r.openAPI().Paths {
		parameters := map[string]bool{}
		for _, p := range operations["get"].Parameters {
			parameters[p.Name] = true
		}
		if !parameters["limit"] {
			continue
		}
		lists++
		query := "?purpose=" + matrixPurpose
		switch {
		case path == importsPath:
			query = "?source=x"
		case parameters["dataset"]:
			query += "&dataset=individuals"
		}
		at := strings.NewReplacer("{id}", strings.Repeat("a", 26), "{name}", "x").Replace(path) + query
		for _, limit := range []string{"-1", "0", "1001", "9223372036854775807"} {
			if a := r.get(at+"&limit="+limit, r.full); a.status != http.StatusBadRequest || codeOf(a) != "limit_out_of_range" {
				t.Errorf("%s with limit %s: %d %s", path, limit, a.status, a.body)
			}
		}
		for _, name := range []string{"state", "status", "verdict"} {
			if parameters[name] {
				if a := r.get(at+"&"+name+"=dance", r.full); a.status != http.StatusBadRequest || codeOf(a) != "unknown_code" {
					t.Errorf("%s with the %s dance: %d %s", path, name, a.status, a.body)
				}
			}
		}
	}
	if lists < 15 {
		t.Errorf("%d lists", lists)
	}
}
