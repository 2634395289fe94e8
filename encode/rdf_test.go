package encode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/piprate/json-gold/ld"
)

const testContext = `{"@version":1.1,"person":{"@id":"https://example.org/terms#Person","@context":{"@base":"https://example.org/v1/people/",` +
	`"id":"@id","name":{"@id":"https://example.org/terms#name"},"born":{"@id":"https://example.org/terms#born","@type":"http://www.w3.org/2001/XMLSchema#date"},` +
	`"home":{"@id":"https://example.org/terms#home","@type":"@id","@context":{"@base":"https://example.org/v1/homes/"}},` +
	`"many":{"@id":"https://example.org/terms#many","@container":"@set"},"inner":{"@id":"https://example.org/terms#inner","@container":"@set"}}}}`

// statements reads N-Triples, or expands JSON-LD, with a reader that is not ours, and gives blank nodes
// labels that depend on what they say alone.
func statements(t *testing.T, format string, document []byte) string {
	t.Helper()
	processor, options := ld.NewJsonLdProcessor(), ld.NewJsonLdOptions("")
	options.Format, options.Algorithm, options.ProcessingMode = "application/n-quads", ld.AlgorithmURDNA2015, ld.JsonLd_1_1
	var input any = string(document)
	if format == "jsonld" {
		if err := json.Unmarshal(document, &input); err != nil {
			t.Fatal(err)
		}
	} else {
		options.InputFormat = "application/n-quads"
	}
	found, err := processor.Normalize(input, options)
	if err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	return found.(string)
}

// FuzzTriples writes values of any kind as JSON-LD and as N-Triples: a reader that is not ours finds the same
// statements in both, and as many as were written.
func FuzzTriples(f *testing.F) {
	for _, text := range []string{"", "Ama", `" . <x> <y> <z> .`, "\\\"\n\r\t\b\f", "\x00\x01\x1f\x7f\u0085\u2028\ufffe", `"@en`, `"^^<http://evil>`, "a b", "../up", "//host/x", "http://evil/", "%41", "#f", "?q", "naïve 日本語 😀", "\xff\xfe", "_:b1", `\u0022`} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, text, id string) {
		text, id = strings.ToValidUTF8(text, "\uFFFD"), "x"+escapeID(strings.ToValidUTF8(id, "\uFFFD")) // ids of the exchange are letters and digits
		say := func(v any) string { b, _ := json.Marshal(v); return string(b) }
		object := fmt.Sprintf(`{"@type":"person","id":%s,"name":%s,"born":%[2]s,"home":%[1]s,"many":[%[2]s,"other",7,true],"inner":[{"@type":"person","name":%[2]s},{"@type":"person"}]}`, say(id), say(text))
		var linked, triples, turtle bytes.Buffer
		for _, of := range []struct {
			to     *bytes.Buffer
			format Format
		}{{&linked, JSONLD}, {&triples, NTriples}, {&turtle, Turtle}} {
			if err := writeLinked(of.to, []byte(object), Options{Format: of.format, Context: []byte(testContext)}); err != nil {
				t.Fatal(err)
			}
		}
		if want := 13; strings.Count(triples.String(), "\n") != want && text != "other" {
			t.Errorf("%d lines, want %d: %s", strings.Count(triples.String(), "\n"), want, triples.String())
		}
		if strings.ContainsAny(id, "%") {
			return // readers differ in what they make of percents
		}
		if a, b := statements(t, "jsonld", linked.Bytes()), statements(t, "nquads", triples.Bytes()); a != b {
			t.Errorf("JSON-LD says\n%sN-Triples say\n%s", a, b)
		}
	})
}

// What cannot be said is refused, and not left out.
func TestTriplesRefuseWhatTheyDoNotKnow(t *testing.T) {
	for what, object := range map[string]string{
		"no type": `{"name":"x"}`, "another type": `{"@type":"animal"}`, "a member without a term": `{"@type":"person","age":"3"}`,
		"a number with a fraction": `{"@type":"person","name":1.5}`, "no object": `"x"`, "broken off": `{"@type":"person","name":"x"`,
	} {
		var out bytes.Buffer
		if err := writeLinked(&out, []byte(object), Options{Format: NTriples, Context: []byte(testContext)}); err == nil {
			t.Errorf("%s: %s", what, out.String())
		}
	}
	if err := writeLinked(&bytes.Buffer{}, []byte(`{}`), Options{Format: Turtle}); err == nil {
		t.Error("there is no context")
	}
}

func TestTurtleAbbreviatesPlainNames(t *testing.T) {
	g := &graph{turtle: true}
	for iri, want := range map[string]string{
		"https://publicschema.org/sex":                               "ps:sex",
		"https://publicschema.org/sp/program_ref":                    "sp:program_ref",
		"https://github.com/annona-exchange/annona/terms#cases.team": "an:cases.team",
		"https://github.com/annona-exchange/annona/terms#cases.":     "<https://github.com/annona-exchange/annona/terms#cases.>",
		"https://publicschema.org/a> <b":                             "<https://publicschema.org/a%3E%20%3Cb>",
		"http://www.w3.org/2001/XMLSchema#":                          "<http://www.w3.org/2001/XMLSchema#>",
	} {
		if got := g.iri(iri); got != want {
			t.Errorf("%s is written %s, want %s", iri, got, want)
		}
	}
}
