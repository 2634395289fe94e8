package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var linkedRows = flag.Int("linked", 8, "how many rows of each kind are read as linked data and held to the shapes; 0: all of the demo")

// linkedTypes are the formats of linked data, and the ends of their files.
var linkedTypes = map[string]string{"application/ld+json": ".jsonld", "text/turtle": ".ttl", "application/n-triples": ".nt"}

// TestLinkedDataOfTheDemo: the same record as JSON, JSON-LD, Turtle and N-Triples is the same statements to
// readers that are not ours, and all of them conform to the published shapes.
func TestLinkedDataOfTheDemo(t *testing.T) {
	t.Parallel()
	readers := filepath.Join("..", "..", "encode", "testdata", "readers")
	if _, err := os.Stat(filepath.Join(readers, "node_modules", "rdf-validate-shacl")); err != nil {
		t.Skip("the readers of npm are not installed: linked data is not tried. make tools installs them")
	}
	data, folder := filepath.Join(t.TempDir(), "demo"), t.TempDir()
	s := startDemo(t, data)
	s.key = readDemo(t, data).Credentials[3].Key
	about := func(more ...string) url.Values {
		v := url.Values{"purpose": {"case-management"}}
		for n := 0; n < len(more); n += 2 {
			if more[n+1] != "" {
				v.Set(more[n], more[n+1])
			}
		}
		return v
	}
	list := func(dataset, field string) (ids []string) {
		limit := cmp.Or(*linkedRows, 1000)
		for after, next := "", "first"; next != ""; after = next {
			a := s.get("/v1/"+dataset, about("limit", fmt.Sprint(limit), "after", after))
			var page map[string]json.RawMessage
			var rows []map[string]any
			check(t, json.Unmarshal(a.body, &page))
			check(t, json.Unmarshal(page[dataset], &rows))
			for _, row := range rows {
				if id, ok := row[field].(string); ok {
					ids = append(ids, id)
				}
			}
			if next = a.header.Get("Annona-Next"); *linkedRows > 0 {
				return ids
			}
		}
		return ids
	}
	var paths []string
	for dataset, key := range map[string]string{"individuals": "individual_id", "households": "household_id", "enrollments": "enrollment_id", "benefits": "benefit_id", "cases": "case_id"} {
		for _, id := range list(dataset, key) {
			paths = append(paths, dataset+"/"+id)
		}
	}
	for _, field := range []string{"individual_id", "household_id"} {
		for _, id := range list("cases", field)[:2] {
			paths = append(paths, "beneficiaries/"+id)
		}
	}
	for path, patch := range map[string]string{
		"individuals/" + list("individuals", "individual_id")[0]: `{"marital_status":"widowed","phone_numbers":["+999555","+999556"]}`,
		"cases/" + list("cases", "case_id")[0]:                   `{"priority":"critical","due_date":"2027-01-01"}`,
	} {
		editOne(t, s, path, patch)
		paths = append(paths, path+"/updates")
	}
	paths = append(paths, "beneficiaries/"+list("cases", "individual_id")[0]+"/updates")
	for _, path := range paths {
		name := filepath.Join(folder, strings.ReplaceAll(path, "/", "-"))
		for mediaType, end := range linkedTypes {
			r := s.request(http.MethodGet, "/v1/"+path, about(), nil)
			r.Header.Set("Accept", mediaType)
			a := s.ask(r)
			if a.status != 200 || a.header.Get("Content-Type") != mediaType || !strings.Contains(a.header.Get("Vary"), "Accept") {
				t.Fatalf("%s as %s: %d %s", path, mediaType, a.status, a.header.Get("Content-Type"))
			}
			writeFile(t, name+end, a.body)
		}
		underPublished(t, s, path, name, s.get("/v1/"+path, about()).body)
	}
	for _, dataset := range []string{"individuals", "households", "enrollments", "benefits", "cases", "case_notes", "transitions"} {
		a := s.get("/v1/schemas/"+dataset+".shacl.ttl", nil)
		if a.status != 200 {
			t.Fatalf("the shapes of %s: %d", dataset, a.status)
		}
		writeFile(t, filepath.Join(folder, dataset+".shacl.ttl"), a.body)
	}
	out, err := exec.Command("node", filepath.Join(readers, "graphs.mjs"), folder).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, out)
	}
	last := regexp.MustCompile(`(?m)^\d+ documents, (\d+) statements, 7 files of shapes\n$`).Find(out)
	if last == nil || len(out) > len(last) {
		t.Errorf("%.3000s", out)
	}
	t.Logf("%s", last)
}

// underPublished keeps the document under the published context, and holds it to plain JSON: that is the
// same, but for types.
func underPublished(t *testing.T, s *server, path, name string, plain []byte) {
	dataset, id, _ := strings.Cut(path, "/")
	var linked, published map[string]any
	document, err := os.ReadFile(name + ".jsonld")
	check(t, err)
	check(t, json.Unmarshal(document, &linked))
	if !strings.Contains(id, "/") && dataset != "beneficiaries" {
		check(t, json.Unmarshal(s.get("/v1/schemas/"+dataset+".jsonld", nil).body, &published))
		linked["@context"] = published["@context"]
		again, err := json.Marshal(linked)
		check(t, err)
		writeFile(t, name+".published", again)
	}
	var said any
	check(t, json.Unmarshal(plain, &said))
	delete(linked, "@context")
	if strings.Contains(id, "/") {
		delete(linked, "record")
		said.(map[string]any)["next"] = nil
		for _, update := range said.(map[string]any)["updates"].([]any) {
			delete(update.(map[string]any), "record") // an id there, an address in linked data
		}
		linked["next"] = nil
	}
	if withoutTypes(linked); !reflect.DeepEqual(any(linked), said) {
		t.Errorf("%s: JSON-LD and JSON say other things", dataset)
	}
}

// withoutTypes takes from objects what linked data alone says.
func withoutTypes(value any) {
	switch value := value.(type) {
	case map[string]any:
		if value["@type"] == "update" {
			delete(value, "record")
		}
		delete(value, "@type")
		for _, inner := range value {
			withoutTypes(inner)
		}
	case []any:
		for _, inner := range value {
			withoutTypes(inner)
		}
	}
}

// editOne changes a record and a case, so that their update logs have a line.
func editOne(t *testing.T, s *server, path, patch string) {
	t.Helper()
	query := url.Values{"purpose": {"case-management"}}
	r := s.request(http.MethodPatch, "/v1/"+path, query, strings.NewReader(patch))
	r.Header.Set("Content-Type", "application/merge-patch+json")
	r.Header.Set("If-Match", s.get("/v1/"+path, query).header.Get("ETag"))
	r.Header.Set("Idempotency-Key", "linked-"+path)
	if a := s.ask(r); a.status != http.StatusOK {
		t.Fatalf("%s is not changed: %d %s", path, a.status, a.body)
	}
}
