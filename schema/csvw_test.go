package schema_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/schema"
)

// metadata is what a reader of CSVW looks at.
type metadata struct {
	Context []any `json:"@context"`
	Tables  []metadataTable
	metadataTable
}

type metadataTable struct {
	URL         string
	TableSchema struct {
		Columns     []metadataColumn
		PrimaryKey  string
		ForeignKeys []struct {
			ColumnReference string
			Reference       struct{ Resource, ColumnReference string }
		}
	}
}

type metadataColumn struct {
	Name, Separator, PropertyURL string
	Titles                       []string
	Datatype                     any
	Required                     bool
}

func (m metadata) tables() []metadataTable {
	if m.Tables != nil {
		return m.Tables
	}
	return []metadataTable{m.metadataTable}
}

func (t metadataTable) header() []string {
	var names []string
	for _, c := range t.TableSchema.Columns {
		names = append(names, c.Name)
	}
	return names
}

func (t metadataTable) column(name string) *metadataColumn {
	for i, c := range t.TableSchema.Columns {
		if c.Name == name {
			return &t.TableSchema.Columns[i]
		}
	}
	return nil
}

type fataler interface{ Fatal(...any) }

func describe(t fataler, d *annona.Dictionary, shape *annona.Shape, layout schema.Layout) metadata {
	var b bytes.Buffer
	if err := schema.CSVW(&b, d, shape, schema.CSVWOptions{Layout: layout}); err != nil {
		t.Fatal(err)
	}
	var m metadata
	if err := json.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCSVWDescribesTheFiles: for any choice of fields, the metadata names the files and columns
// that the encoder writes, in their order.
func TestCSVWDescribesTheFiles(t *testing.T) {
	d := annona.Standard()
	layouts := map[string][]schema.Layout{
		"households":  {schema.Plain, schema.Flat, schema.Linked},
		"individuals": {schema.Plain, schema.Linked},
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"households", "individuals"}).Draw(t, "dataset")
		layout := rapid.SampledFrom(layouts[name]).Draw(t, "layout")
		dataset, _ := d.Dataset(name)
		shape := drawShape(t, schema.FullShape(d, dataset))
		parts, err := encode.Parts(shape, encode.Options{Format: encode.CSV, Layout: encode.Layout(layout)})
		if err != nil {
			t.Skip("the encoder refuses it")
		}
		want, got := map[string][]string{}, map[string][]string{}
		for _, p := range parts {
			want[p.Name] = p.Header()
		}
		m := describe(t, d, shape, layout)
		for _, table := range m.tables() {
			got[table.URL] = table.header()
			checkTable(t, m, table)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s, %s: the files of the encoder (-) and those described (+):\n%s", name, layout, diff)
		}
	})
}

// drawShape leaves out some columns and groups. It keeps the keys more often than not.
func drawShape(t *rapid.T, full *annona.Shape) *annona.Shape {
	shape := &annona.Shape{Dataset: full.Dataset}
	for _, f := range full.Columns {
		if f.Code == full.Dataset.Key && rapid.IntRange(0, 9).Draw(t, "keep "+f.Code) > 0 || rapid.IntRange(0, 3).Draw(t, f.Code) == 0 {
			shape.Columns = append(shape.Columns, f)
		}
	}
	for _, g := range full.Groups {
		if !rapid.Bool().Draw(t, g.Field.Code) {
			continue
		}
		// The gate reads no group of which it shows nothing.
		if inner := drawShape(t, g.Shape); len(inner.Columns)+len(inner.Groups) > 0 {
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: g.Field, Shape: inner})
		}
	}
	return shape
}

// checkTable holds a table to the rules of CSV on the Web: names are unique and start their
// titles, keys exist on both sides.
func checkTable(t *rapid.T, m metadata, table metadataTable) {
	seen := map[string]bool{}
	for _, c := range table.TableSchema.Columns {
		if seen[c.Name] || len(c.Titles) == 0 || c.Titles[0] != c.Name || c.Datatype == nil {
			t.Fatalf("%s: the column %s stands twice, or its title is not the header, or it has no datatype", table.URL, c.Name)
		}
		seen[c.Name] = true
	}
	if key := table.TableSchema.PrimaryKey; key != "" && (!seen[key] || !table.column(key).Required) {
		t.Fatalf("%s: its primary key %s is no required column", table.URL, key)
	}
	for _, foreign := range table.TableSchema.ForeignKeys {
		found := false
		for _, to := range m.Tables {
			found = found || to.URL == foreign.Reference.Resource && to.TableSchema.PrimaryKey == foreign.Reference.ColumnReference
		}
		if !found || !seen[foreign.ColumnReference] {
			t.Fatalf("%s: the key %s refers to nothing", table.URL, foreign.ColumnReference)
		}
	}
}

// TestLinkedFilesAreJoined names each key between files.
func TestLinkedFilesAreJoined(t *testing.T) {
	d := annona.Standard()
	for name, want := range map[string][]string{
		"households": {
			"memberships.csv household_id → households.csv",
			"identifiers.csv household_id → households.csv",
			"other_names.csv household_id → households.csv",
			"relationships.csv household_id → households.csv",
			"functioning.csv household_id → households.csv",
			"disability_certificates.csv household_id → households.csv",
			"assessments.csv household_id → households.csv",
			"quality_flags.csv household_id → households.csv",
			"provenance.csv household_id → households.csv",
		},
		"individuals": {
			"identifiers.csv individual_id → individuals.csv",
			"other_names.csv individual_id → individuals.csv",
			"memberships.csv individual_id → individuals.csv",
			"relationships.csv individual_id → individuals.csv",
			"functioning.csv individual_id → individuals.csv",
			"disability_certificates.csv individual_id → individuals.csv",
			"assessments.csv individual_id → individuals.csv",
			"quality_flags.csv individual_id → individuals.csv",
			"provenance.csv individual_id → individuals.csv",
		},
	} {
		var got []string
		for _, table := range describe(t, d, schema.FullShape(d, dataset(t, d, name)), schema.Linked).Tables {
			for _, f := range table.TableSchema.ForeignKeys {
				got = append(got, table.URL+" "+f.ColumnReference+" → "+f.Reference.Resource)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestCSVWColumns(t *testing.T) {
	d := annona.Standard()
	table := describe(t, d, schema.FullShape(d, dataset(t, d, "individuals")), schema.Plain).metadataTable
	if c := table.column("phone_numbers"); c.Separator != ";" {
		t.Errorf("a list is separated by %q", c.Separator)
	}
	if c := table.column("full_name"); c.Separator != "" || c.Required || c.PropertyURL != "https://publicschema.org/name" {
		t.Errorf("full_name is described as %+v", c)
	}
	format := regexp.MustCompile("^" + table.column("sex").Datatype.(map[string]any)["format"].(string) + "$")
	if !format.MatchString("female") || format.MatchString("females") {
		t.Errorf("the format of a code is %s", format)
	}
	flat := describe(t, d, schema.FullShape(d, dataset(t, d, "households")), schema.Flat).metadataTable
	if flat.column("area_code") == nil || flat.column("member_area_code") == nil || flat.TableSchema.PrimaryKey != "" {
		t.Error("a flat file has the columns of both, and no primary key")
	}
}

func TestUnknownLayout(t *testing.T) {
	d := annona.Standard()
	err := schema.CSVW(&bytes.Buffer{}, d, schema.FullShape(d, dataset(t, d, "individuals")), schema.CSVWOptions{})
	if annona.CodeOf(err) != "unknown_layout" {
		t.Errorf("got %v, want unknown_layout", err)
	}
}

// TestMembershipsOfMembers: memberships that members carry themselves may lead to households
// that are not in the answer, so their household_id refers to no file.
func TestMembershipsOfMembers(t *testing.T) {
	d := annona.Standard()
	shape := schema.FullShape(d, dataset(t, d, "households"))
	memberships := schema.FullShape(d, dataset(t, d, "memberships"))
	field, _ := dataset(t, d, "individuals").Field("memberships")
	members := shape.Groups[shape.Group("members")].Shape
	members.Groups = append(members.Groups, annona.GroupShape{Field: field, Shape: memberships})
	parts, err := encode.Parts(shape, encode.Options{Format: encode.CSV, Layout: encode.Linked})
	if err != nil {
		t.Fatal(err)
	}
	for i, table := range describe(t, d, shape, schema.Linked).Tables {
		if diff := cmp.Diff(parts[i].Header(), table.header()); diff != "" {
			t.Errorf("%s: %s", table.URL, diff)
		}
		if table.URL == "memberships.csv" && table.TableSchema.ForeignKeys != nil {
			t.Errorf("the memberships of members refer to %+v", table.TableSchema.ForeignKeys)
		}
	}
}
