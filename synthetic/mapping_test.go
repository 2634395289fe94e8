package synthetic_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/synthetic"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the areas of examples/synthetic/mapping.yaml anew")

const mappingPath = "../examples/synthetic/mapping.yaml"

// The mapping names the areas of the country, so that an import knows them.
func TestMappingHoldsTheAreas(t *testing.T) {
	text, err := os.ReadFile(mappingPath)
	if err != nil {
		t.Fatal(err)
	}
	rules, _, ok := bytes.Cut(text, []byte("\nareas:"))
	if !ok {
		t.Fatal("the mapping has no areas")
	}
	want := append(append(rules, "\nareas:\n"...), areaLines(t)...)
	if *update {
		if err := os.WriteFile(mappingPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(text, want) {
		t.Error("the areas of the mapping are not those of the country; run the test with -update")
	}
	if _, err := ingest.ParseMapping(bytes.NewReader(want), annona.Standard()); err != nil {
		t.Error(err)
	}
}

func areaLines(t *testing.T) []byte {
	t.Helper()
	r, err := synthetic.New(annona.Standard(), synthetic.Country{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, a := range r.Areas() {
		parent := ""
		if a.Parent != "" {
			parent = ", parent: " + a.Parent
		}
		fmt.Fprintf(&out, "  - {code: %s%s, level: %d, name: %s}\n", a.Code, parent, a.Level, a.Names["en"])
	}
	return out.Bytes()
}

// What is written as NDJSON and read back through the mapping is what the registry reports,
// but for what an import adds by itself: the codes as received and its own quality flags.
func TestTheMappingReadsWhatIsWritten(t *testing.T) {
	r, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: 4000, Seed: 6, Duplicates: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	var want []annona.Record
	for h := range r.Households() {
		want = append(append(want, h.Record), h.Members...)
	}
	got := imported(t, r)
	if len(got) != len(want) {
		t.Errorf("%d records came back of %d", len(got), len(want))
	}
	for _, w := range want {
		if diff := cmp.Diff(plain(w), plain(got[w.Key])); diff != "" {
			t.Fatalf("%s (-written +read):\n%s", w.Key, diff)
		}
	}
}

// imported writes the country and reads it back, by key.
func imported(t *testing.T, r *synthetic.Registry) map[string]annona.Record {
	t.Helper()
	text, err := os.ReadFile(mappingPath)
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := ingest.ParseMapping(bytes.NewReader(text), annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	var written bytes.Buffer
	if err := r.WriteNDJSON(&written); err != nil {
		t.Fatal(err)
	}
	source := ingest.Source{Name: "synthetic", Open: func() (io.ReadCloser, error) { return io.NopCloser(&written), nil }}
	records := map[string]annona.Record{}
	report, err := ingest.Read(t.Context(), mapping, []ingest.Source{source}, nil, nil, func(b ingest.Batch) error {
		for _, record := range append(b.Households, b.Individuals...) {
			records[record.Key] = record
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for flag := range report.Flags {
		if !strings.HasPrefix(flag, "date_of_birth_estimated") {
			t.Errorf("the import doubts %s", flag)
		}
	}
	if report.Rejected > 0 {
		t.Errorf("%d rows were refused", report.Rejected)
	}
	return records
}

// plain is what a record says, without what an import adds.
func plain(r annona.Record) map[string]any {
	out := map[string]any{
		"source": r.Source, "dataset": r.Dataset.Name,
		"values": said(r.Values), "relationships": r.Relationships,
	}
	for _, m := range r.Memberships {
		m.RoleSourceCode = ""
		out["membership"] = m
	}
	for _, g := range r.Groups {
		if g.Field.Code == "quality_flags" {
			continue
		}
		var items []map[string]string
		for _, values := range g.Items {
			items = append(items, said(values))
		}
		out[g.Field.Code] = items
	}
	return out
}

func said(values []annona.Value) map[string]string {
	out := map[string]string{}
	for _, v := range values {
		out[v.Field.Code] = v.Text
	}
	for code := range out {
		missing := code != "as_of" && strings.HasSuffix(code, "_as_of") && out[strings.TrimSuffix(code, "_as_of")] == ""
		received := strings.HasSuffix(code, "_source_code") || code == "scheme_name" // of an identifier
		if missing || received {
			delete(out, code)
		}
	}
	return out
}
