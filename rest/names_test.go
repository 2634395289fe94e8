package rest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// C-17: while names are not searched, the path is like one that there is not, for everybody and by
// every method.
func TestNoNameSearch(t *testing.T) {
	r := newRegistry(t)
	const body = `{"name":"Nyaboke","area":"GH01","purpose":"eligibility-assessment"}`
	ask := func(method, path, key string) string {
		t.Helper()
		sent := body
		if method == http.MethodGet {
			sent = ""
		}
		a := r.ask(method, path, key, sent)
		if a.status != http.StatusNotFound {
			t.Errorf("%s %s: status %d", method, path, a.status)
		}
		var headers []string
		for name, values := range a.header {
			if name != "Date" && name != "Annona-Request" {
				headers = append(headers, name+": "+strings.Join(values, ","))
			}
		}
		slices.Sort(headers)
		return strings.Join(headers, "\n") + strings.ReplaceAll(a.body, a.header.Get("Annona-Request"), "")
	}
	for _, key := range []string{r.full, r.expired, ""} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPut, http.MethodDelete} {
			if there, nowhere := ask(method, nameSearchPath, key), ask(method, "/v1/name-searches", key); there != nowhere {
				t.Errorf("%s: %s\nwhere there is no path: %s", method, there, nowhere)
			}
		}
	}
}

// A search is answered as a page, in every format, and says nothing of the name but to whom it asks.
func TestNameSearch(t *testing.T) {
	k := newKeep(t)
	in := k.open(knownSecrets[0].agree(t))
	defer in.close()
	w := smallWorld()
	w.home("h0").values["area_code"] = "XA-1-1"
	w.person("p0").values["full_name"] = "Nyaboke One"
	in.load(w)
	for accept, want := range map[string]string{"application/json": `"full_name":"Nyaboke One"`, "application/xml": "<full_name>Nyaboke One</full_name>", "text/csv": "Nyaboke One", "application/x-ndjson": `"full_name":"Nyaboke One"`} {
		a := in.ask(call{method: http.MethodPost, path: nameSearchPath, headers: map[string]string{"Accept": accept},
			body: `{"purpose":"` + lawPurpose + `","name":"nyab","area":"XA-1-1","fields":["full_name"]}`})[0].body
		if !strings.Contains(a, want) {
			t.Errorf("%s: %s", accept, a)
		}
	}
	for body, code := range map[string]string{
		`{"purpose":"law","name":"nyab"}`:                                                "area_missing",
		`{"purpose":"law","name":"nyab","area":"XA-1"}`:                                  "area_too_large",
		`{"purpose":"law","name":"nyab","area":"XA-9"}`:                                  "area_unknown",
		`{"purpose":"law","area":"XA-1-1"}`:                                              "body_invalid",
		`{"purpose":"law","name":"` + strings.Repeat("a", 10_000) + `","area":"XA-1-1"}`: "name_malformed",
		`{"purpose":"law","name":"a\u0000b","area":"XA-1-1"}`:                            "name_malformed",
		`{"name":"nyab","area":"XA-1-1"}`:                                                "body_invalid",
		`{"purpose":"law","name":"nyab","area":"XA-1-1","limit":100}`:                    "unknown_member",
	} {
		a := in.ask(call{method: http.MethodPost, path: nameSearchPath, body: strings.ReplaceAll(body, `"law"`, `"`+lawPurpose+`"`)})[0].body
		if !strings.Contains(a, `"code":"`+code+`"`) || strings.Contains(a, "nyab") {
			t.Errorf("%s: %s, want %s", body, a, code)
		}
	}
}
