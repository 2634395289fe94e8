package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what write writes with a file of the repository.
func golden(t *testing.T, path string, write func(io.Writer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s is stale; look at the difference, then run go test ./schema -update\n%s", path, diff)
	}
}

// smallDictionary has one field of each type, companions, a list, a nested record and a group.
func smallDictionary(t testing.TB) *annona.Dictionary {
	t.Helper()
	field := func(tag uint32, code string, typ annona.Type, vary func(*annona.Field)) *annona.Field {
		f := &annona.Field{Tag: tag, Code: code, Type: typ, Sensitivity: annona.Personal, AtRest: annona.Clear,
			Filter: annona.FilterNone, Label: "Label of " + code, Definition: "What " + code + " means: < & >."}
		if vary != nil {
			vary(f)
		}
		return f
	}
	d, err := annona.NewDictionary(7, []annona.Dataset{
		{Name: "households", Noun: "household", Root: true, Key: "household_id", Fields: []*annona.Field{
			field(1, "household_id", annona.TypeID, func(f *annona.Field) { f.Derived = true }),
			field(2, "member_count", annona.TypeInt, nil),
			field(3, "latitude", annona.TypeDec, func(f *annona.Field) { f.Scale, f.Unit = 7, "deg" }),
			field(4, "floor_material", annona.TypeCode, func(f *annona.Field) {
				f.CodeList, f.Crosswalked, f.NilReason, f.AssessmentInput = "floor_material", true, true, true
				f.IRI = "https://publicschema.org/floor_material"
			}),
			field(5, "members", annona.TypeGroup, func(f *annona.Field) { f.Group, f.Derived = "individuals", true }),
		}},
		{Name: "individuals", Noun: "individual", Root: true, Key: "individual_id", Fields: []*annona.Field{
			field(1, "individual_id", annona.TypeID, func(f *annona.Field) { f.Derived = true }),
			field(2, "household_id", annona.TypeRef, func(f *annona.Field) { f.Derived = true }),
			field(3, "full_name", annona.TypeText, nil),
			field(4, "date_of_birth", annona.TypeDate, nil),
			field(5, "is_disabled", annona.TypeBool, nil),
			field(6, "phone_numbers", annona.TypeText, func(f *annona.Field) { f.Many = true }),
			field(7, "area_code", annona.TypeCode, func(f *annona.Field) { f.CodeList = "area" }),
			field(8, "last_updated", annona.TypeInstant, func(f *annona.Field) { f.Derived = true }),
			field(9, "memberships", annona.TypeGroup, func(f *annona.Field) { f.Group, f.Derived = "memberships", true }),
			field(10, "assessments", annona.TypeGroup, func(f *annona.Field) { f.Group = "assessments" }),
		}},
		{Name: "memberships", Noun: "membership", Fields: []*annona.Field{
			field(1, "household_id", annona.TypeRef, func(f *annona.Field) { f.Derived = true }),
			field(2, "individual_id", annona.TypeRef, func(f *annona.Field) { f.Derived = true }),
		}},
		{Name: "assessments", Noun: "assessment", Fields: []*annona.Field{
			field(1, "score", annona.TypeDec, nil),
		}},
	}, []annona.CodeList{
		{Name: "area", Version: 1, Open: true},
		{Name: "floor_material", Version: 2, Codes: []annona.Code{{Code: "earth_sand", Label: "Earth or sand", DCI: "11"}, {Code: "wood.1", Label: "Wood"}}},
		{Name: "nil_reason", Version: 1, Codes: []annona.Code{{Code: "refused", Label: "Refused"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func dataset(t testing.TB, d *annona.Dictionary, name string) *annona.Dataset {
	t.Helper()
	s, ok := d.Dataset(name)
	if !ok {
		t.Fatalf("there is no dataset %s", name)
	}
	return s
}

func TestGoldenDocuments(t *testing.T) {
	d := smallDictionary(t)
	households := dataset(t, d, "households")
	floors, _ := d.CodeList("floor_material")
	for name, write := range map[string]func(io.Writer) error{
		"households.xsd":             func(w io.Writer) error { return schema.XSD(w, d, households) },
		"households.schema.json":     func(w io.Writer) error { return schema.JSONSchema(w, d, households) },
		"households.flat.csvw.json":  func(w io.Writer) error { return csvw(w, d, households, schema.Flat) },
		"households.files.csvw.json": func(w io.Writer) error { return csvw(w, d, households, schema.Linked) },
		"floor_material.json":        func(w io.Writer) error { return schema.CodeList(w, floors) },
		"dictionary.md":              func(w io.Writer) error { return schema.Markdown(w, d) },
		"dictionary.txt":             func(w io.Writer) error { return schema.Text(w, d) },
	} {
		t.Run(name, func(t *testing.T) { golden(t, filepath.Join("testdata", name), write) })
	}
}

func csvw(w io.Writer, d *annona.Dictionary, s *annona.Dataset, layout schema.Layout) error {
	return schema.CSVW(w, d, schema.FullShape(d, s), schema.CSVWOptions{Layout: layout})
}

func TestTheGlossaryIsFresh(t *testing.T) {
	golden(t, "../docs/spec/dictionary.md", func(w io.Writer) error { return schema.Markdown(w, annona.Standard()) })
}

func TestID(t *testing.T) {
	if id := schema.ID("individuals", 3); id != "individuals/3" {
		t.Errorf("the id is %s", id)
	}
}

// TestContextsLeadToTheirDatasets: an id is an address below its own dataset, and so is one of another record.
func TestContextsLeadToTheirDatasets(t *testing.T) {
	type terms struct {
		Context map[string]json.RawMessage `json:"@context"`
	}
	const base = "https://exchange.example/v1/"
	for _, c := range []struct{ dataset, field, want string }{
		{"individuals", "", "individuals"}, {"individuals", "household_id", "households"},
		{"households", "", "households"}, {"households", "head_individual_id", "individuals"},
	} {
		d := annona.Standard()
		of := dataset(t, d, c.dataset)
		raw, err := schema.Context(schema.FullShape(d, of), base)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{of.Noun, c.field} {
			if name == "" {
				continue
			}
			var outer map[string]json.RawMessage
			var term terms
			if err := errors.Join(json.Unmarshal(raw, &outer), json.Unmarshal(outer[name], &term)); err != nil {
				t.Fatal(err)
			}
			if raw, err = json.Marshal(term.Context); err != nil {
				t.Fatal(err)
			}
		}
		var found struct {
			Base string `json:"@base"`
		}
		if err := json.Unmarshal(raw, &found); err != nil || found.Base != base+c.want+"/" {
			t.Errorf("%s of %s: %s, %v", c.field, c.dataset, found.Base, err)
		}
	}
}

// TestFullShapeEnds: a member carries its groups, but not the memberships that lead back.
func TestFullShapeEnds(t *testing.T) {
	d := annona.Standard()
	households := schema.FullShape(d, dataset(t, d, "households"))
	members := households.Groups[households.Group("members")].Shape
	if members.Group("memberships") >= 0 {
		t.Error("the members of a household repeat their memberships")
	}
	want := []string{"identifiers", "other_names", "relationships", "functioning", "disability_certificates", "assessments", "quality_flags", "provenance"}
	var got []string
	for _, g := range members.Groups {
		got = append(got, g.Field.Code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("groups of a member: %s", diff)
	}
	individuals := schema.FullShape(d, dataset(t, d, "individuals"))
	if individuals.Group("memberships") < 0 {
		t.Error("an individual shows no memberships")
	}
	if individuals.Column("sex_nil_reason") < 0 {
		t.Error("an individual shows no companions")
	}
}

// brokenWriter fails after so many bytes.
type brokenWriter struct{ left int }

var errBroken = errors.New("the disk is full")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return 0, errBroken
	}
	w.left -= len(p)
	return len(p), nil
}

func TestFailedWritesShow(t *testing.T) {
	d := annona.Standard()
	individuals := dataset(t, d, "individuals")
	relationships, _ := d.CodeList("relationship")
	for name, write := range map[string]func(io.Writer) error{
		"XSD":        func(w io.Writer) error { return schema.XSD(w, d, individuals) },
		"JSONSchema": func(w io.Writer) error { return schema.JSONSchema(w, d, individuals) },
		"CSVW":       func(w io.Writer) error { return csvw(w, d, individuals, schema.Linked) },
		"CodeList":   func(w io.Writer) error { return schema.CodeList(w, relationships) },
		"Markdown":   func(w io.Writer) error { return schema.Markdown(w, d) },
		"Text":       func(w io.Writer) error { return schema.Text(w, d) },
	} {
		if err := write(&brokenWriter{left: 10}); !errors.Is(err, errBroken) {
			t.Errorf("%s: got %v, want the writer's error", name, err)
		}
	}
}

// TestOneIRIOneMeaning: columns of a specification that say different things are different properties.
func TestOneIRIOneMeaning(t *testing.T) {
	d := annona.Standard()
	individuals := dataset(t, d, "individuals")
	property := func(fields ...*annona.Field) map[string]string {
		shape := &annona.Shape{Dataset: individuals.Showing(fields), Columns: fields}
		raw, err := schema.Context(shape, "https://exchange.example/v1/")
		if err != nil {
			t.Fatal(err)
		}
		var context map[string]json.RawMessage
		var noun struct {
			Context map[string]struct {
				ID string `json:"@id"`
			} `json:"@context"`
		}
		if err := errors.Join(json.Unmarshal(raw, &context)); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(context["individual"], &noun) // the base is no object
		found := map[string]string{}
		for code, of := range noun.Context {
			found[code] = of.ID
		}
		return found
	}
	sex, _ := individuals.Field("sex")
	show := func(code string, change func(*annona.Field)) *annona.Field {
		shown := *sex
		shown.Code, shown.Origin = code, sex
		if change != nil {
			change(&shown)
		}
		shown.Base = &shown
		return &shown
	}
	derived := func(rule string) *annona.Field {
		f := show("CLASS", func(f *annona.Field) { f.Rule, f.Definition, f.IRI = &annona.Derivation{}, rule, "" })
		return f
	}
	alone := property(show("SEX", nil))
	if alone["SEX"] != "https://publicschema.org/sex" {
		t.Errorf("a column that shows a field as it is: %v", alone)
	}
	two := property(show("SEX", nil), show("GENDER", nil))
	if two["SEX"] == two["GENDER"] || two["SEX"] == "" {
		t.Errorf("two columns of one field: %v", two)
	}
	coded := property(show("SEX", func(f *annona.Field) { f.Type, f.CodeList = annona.TypeText, "" }))
	if coded["SEX"] == alone["SEX"] {
		t.Errorf("other codes: %v", coded)
	}
	if a, b := property(derived("age >= 18")), property(derived("age >= 65")); a["CLASS"] == b["CLASS"] || a["CLASS"] == "" {
		t.Errorf("two rules of one name: %v, %v", a, b)
	}
}

// TestShapesAndTerms: every term of our own that a context names is described, and every property has a shape.
func TestShapesAndTerms(t *testing.T) {
	d := annona.Standard()
	var terms bytes.Buffer
	if err := schema.Terms(&terms, d); err != nil {
		t.Fatal(err)
	}
	for of := range d.Datasets() {
		if !of.Root && !of.Matter {
			continue
		}
		context, err := schema.Context(schema.FullShape(d, of), "https://exchange.example/v1/")
		if err != nil {
			t.Fatal(err)
		}
		var shapes bytes.Buffer
		if err := schema.SHACL(&shapes, d, of); err != nil {
			t.Fatal(err)
		}
		for _, iri := range regexp.MustCompile(`"(https://github\.com/annona-exchange/annona/terms#[^"]+)"`).FindAllSubmatch(context, -1) {
			if !bytes.Contains(terms.Bytes(), []byte("<"+string(iri[1])+"> a rdf")) {
				t.Errorf("%s is not described", iri[1])
			}
			if !bytes.Contains(shapes.Bytes(), []byte("<"+string(iri[1])+">")) {
				t.Errorf("%s has no shape in that of %s", iri[1], of.Name)
			}
		}
	}
}
