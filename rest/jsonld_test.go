package rest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// triples expands a document with the reference implementation of JSON-LD, which refuses what
// would be lost.
func (r *registry) triples(document string) map[string]bool {
	r.Helper()
	readers := filepath.Join("..", "encode", "testdata", "readers")
	if _, err := os.Stat(filepath.Join(readers, "node_modules")); err != nil {
		r.Skip("the readers of npm are not installed: JSON-LD is not tried. make tools installs them")
	}
	file := filepath.Join(r.TempDir(), "document.jsonld")
	r.check(os.WriteFile(file, []byte(document), 0o600))
	out, err := exec.Command("node", filepath.Join(readers, "jsonld.mjs"), file).Output()
	if err != nil {
		r.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		found[line] = true
	}
	return found
}

// countValues counts what an object of a nested format says: its noun, and one statement for each
// value but its own id.
func countValues(object map[string]any) int {
	count := 1
	for name, value := range object {
		list, several := value.([]any)
		switch {
		case name == "@type" || name == "@context" || several:
		case isOwnID(name, object):
		default:
			count++
		}
		for _, v := range list {
			count++
			if nested, ok := v.(map[string]any); ok {
				count += countValues(nested)
			}
		}
	}
	return count
}

func isOwnID(name string, object map[string]any) bool {
	return name == fmt.Sprint(object["@type"])+"_id" && (name == "individual_id" || name == "household_id")
}

// Every value of an export is a statement about the record that it belongs to.
func TestJSONLDExpandsFully(t *testing.T) {
	r := newRegistry(t)
	for _, dataset := range []string{"individuals", "households"} {
		a := r.get("/v1/"+dataset+"/export?purpose=eligibility-assessment&format=jsonld", r.full)
		if a.status != 200 || a.header.Get("Content-Type") != "application/ld+json" {
			t.Fatalf("%d %v", a.status, a.header)
		}
		var document struct {
			Graph []map[string]any `json:"@graph"`
		}
		r.check(json.Unmarshal([]byte(a.body), &document))
		want := 0
		for _, record := range document.Graph {
			want += countValues(record)
		}
		found := r.triples(a.body)
		if len(found) != want || len(document.Graph) < 2 {
			t.Errorf("%d records of %s became %d statements instead of %d", len(document.Graph), dataset, len(found), want)
		}
	}
}

// A record by itself makes the statements that it makes in an export, and is found under the id
// that they are about.
func TestJSONLDRecord(t *testing.T) {
	r := newRegistry(t)
	var export struct {
		Graph []map[string]any `json:"@graph"`
	}
	r.check(json.Unmarshal([]byte(r.get("/v1/individuals/export?purpose=eligibility-assessment&format=jsonld", r.full).body), &export))
	individual, household := export.Graph[0]["individual_id"].(string), export.Graph[0]["household_id"].(string)
	iri := r.url + "/v1/individuals/" + individual
	a := r.get("/v1/individuals/"+individual+"?purpose=eligibility-assessment", r.full, "Accept", "application/ld+json")
	if a.status != 200 || a.header.Get("Content-Type") != "application/ld+json" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	found := r.triples(a.body)
	if want := countValues(export.Graph[0]); len(found) != want {
		t.Errorf("%d statements instead of %d", len(found), want)
	}
	for _, want := range []string{
		"<" + iri + "> <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <https://github.com/annona-exchange/annona/terms#Individual> .\n",
		"<" + iri + "> <https://publicschema.org/group> <" + r.url + "/v1/households/" + household + "> .\n",
		"<" + iri + `> <https://publicschema.org/date_of_birth> "` + fmt.Sprint(export.Graph[0]["date_of_birth"]) + `"^^<http://www.w3.org/2001/XMLSchema#date> .` + "\n",
	} {
		if !found[want] {
			t.Errorf("the statements lack %s", want)
		}
	}
}

// The published context is the one of the documents: with it, plain JSON says the same.
func TestPublishedContext(t *testing.T) {
	r := newRegistry(t)
	var published, export struct {
		Context json.RawMessage  `json:"@context"`
		Graph   []map[string]any `json:"@graph"`
	}
	r.check(json.Unmarshal([]byte(r.get("/v1/schemas/households.jsonld", "").body), &published))
	body := r.get("/v1/households/export?purpose=eligibility-assessment&format=jsonld", r.full).body
	r.check(json.Unmarshal([]byte(body), &export))
	export.Context = published.Context
	again, err := json.Marshal(export)
	r.check(err)
	if own, other := len(r.triples(body)), len(r.triples(string(again))); own != other {
		t.Errorf("%d statements under the document's own context, %d under the published one", own, other)
	}
}
