package ingest_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The golden files show in plain text what each example becomes.
func TestExamples(t *testing.T) {
	for _, example := range []struct {
		name    string
		inputs  []string
		mapping string
		extend  []string
	}{
		{name: "ghana-glss", inputs: []string{"sample.csv"}, extend: []string{"../examples/ghana-glss/dictionary.yaml"}},
		{name: "two-files", inputs: []string{"members.csv", "households.csv"}}, // in any order
		{name: "nested", inputs: []string{"households.ndjson"}},
	} {
		t.Run(example.name, func(t *testing.T) {
			folder := "../examples/" + example.name + "/"
			paths := make([]string, len(example.inputs))
			for i, input := range example.inputs {
				paths[i] = folder + input
			}
			got, report := readAll(t, mappingFile(t, folder+"mapping.yaml", example.extend...), paths...)
			checkCanonical(t, got)
			golden(t, "testdata/"+example.name+".txt", dump(got, report))
		})
	}
}

// TestRowFormMoves has RowForm move when the examples become something else: rows that sources reported
// before would stay what they were.
func TestRowFormMoves(t *testing.T) {
	sum := sha256.New()
	for _, name := range []string{"ghana-glss", "two-files", "nested"} {
		text, err := os.ReadFile("testdata/" + name + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(text)
	}
	const path = "testdata/row-form.txt"
	want := fmt.Sprintf("%d %x\n", ingest.RowForm, sum.Sum(nil))
	kept, err := os.ReadFile(path)
	if form, _, _ := strings.Cut(string(kept), " "); *update && form != fmt.Sprint(ingest.RowForm) {
		kept, err = []byte(want), os.WriteFile(path, []byte(want), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != want {
		t.Errorf("the examples become something else than with row form %q; move RowForm, and then run the test with -update", kept)
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); run the test with -update when the change is meant:\n%s", path, diff)
	}
}

// dump writes records one value per line.
func dump(got batches, report ingest.Report) string {
	var b strings.Builder
	for _, records := range [][]annona.Record{got.households, got.individuals} {
		for _, r := range records {
			fmt.Fprintf(&b, "%s %s %s\n", r.Dataset.Noun, r.Source, r.Key)
			dumpValues(&b, "  ", r.Values)
			for _, g := range r.Groups {
				for _, item := range g.Items {
					fmt.Fprintf(&b, "  %s\n", g.Field.Code)
					dumpValues(&b, "    ", item)
				}
			}
			for _, m := range r.Memberships {
				fmt.Fprintf(&b, "  membership %+v\n", m)
			}
			for _, m := range r.Relationships {
				fmt.Fprintf(&b, "  relationship %+v\n", m)
			}
		}
	}
	fmt.Fprintf(&b, "rows %d, households %d, individuals %d, rejected %d\n", report.Rows, report.Households, report.Individuals, report.Rejected)
	for _, f := range slices.Sorted(maps.Keys(report.Flags)) {
		fmt.Fprintf(&b, "flag %s %d\n", f, report.Flags[f])
	}
	for _, f := range slices.Sorted(maps.Keys(report.Unmapped)) {
		fmt.Fprintf(&b, "unmapped %s %v\n", f, report.Unmapped[f])
	}
	for _, f := range slices.Sorted(maps.Keys(report.Unused)) {
		fmt.Fprintf(&b, "unused %s %v\n", f, report.Unused[f])
	}
	return b.String()
}

func dumpValues(b *strings.Builder, indent string, list []annona.Value) {
	for _, v := range list {
		fmt.Fprintf(b, "%s%s %q\n", indent, v.Field.Code, v.Text)
	}
}

func TestAgreementExamples(t *testing.T) {
	for _, name := range []string{"eligibility", "research"} {
		file, err := os.Open("../examples/agreements/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		a, err := ingest.ParseAgreement(file)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.Name != name || a.Status != "active" {
			t.Errorf("%s: %+v", name, a)
		}
		for dataset, terms := range a.Datasets {
			checkGrants(t, dataset, terms)
		}
	}
}

// checkGrants holds an example agreement to what it promises.
func checkGrants(t *testing.T, dataset string, terms annona.DatasetTerms) {
	t.Helper()
	d, ok := annona.Standard().Dataset(dataset)
	if !ok {
		t.Fatalf("no dataset %s", dataset)
	}
	for _, field := range slices.Concat(terms.Fields, terms.Except) {
		if _, ok := d.Field(field); !ok {
			t.Errorf("%s has no field %s", dataset, field)
		}
	}
	for _, never := range []string{"ethnic_group", "religion", "payment_account"} {
		for _, field := range terms.Fields {
			if strings.HasPrefix(field, never) {
				t.Errorf("%s.%s is granted", dataset, field)
			}
		}
	}
}
