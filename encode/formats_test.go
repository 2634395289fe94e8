package encode

import (
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/google/go-cmp/cmp"
)

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		accept string
		want   Format // empty: refused
	}{
		{"", JSON},
		{"*/*", JSON},
		{"application/*", JSON},
		{"text/*", XML},
		{"application/json", JSON},
		{"application/json;charset=utf-8", JSON},
		{"application/xml", XML},
		{"text/xml", XML},
		{"TEXT/CSV", CSV},
		{"application/x-ndjson", NDJSON},
		{"text/csv, application/json", JSON},
		{"text/csv, application/json;q=0.9", CSV},
		{"application/xml;q=0.5, text/csv;q=0.6, */*;q=0.1", CSV},
		{"*/*;q=0.1, application/json;q=0", XML},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", XML},
		{"text/html, */*", JSON},
		{"text/turtle, nonsense, text/csv", CSV},
		{"application/json;q=NaN, text/csv;q=0.1", CSV},
		{"application/json;q=7, text/csv;q=0.1", CSV},
		{"text/html", ""},
		{"application/json;q=0", ""},
		{"nonsense", ""},
	} {
		got, err := Negotiate(c.accept)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.accept, got, err, c.want)
		}
		if err != nil && annona.CodeOf(err) != "not_acceptable" {
			t.Errorf("%q: code %s", c.accept, annona.CodeOf(err))
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/csv;q=0.5, */*")
	f.Fuzz(func(t *testing.T, accept string) {
		format, err := Negotiate(accept)
		if _, known := mediaTypes[format]; known == (err != nil) {
			t.Errorf("%q, %v", format, err)
		}
	})
}

func TestOptionsRefused(t *testing.T) {
	d := annona.Standard()
	individuals := shapeOf(t, d, "individuals", "individual_id", "identifiers.value")
	households := shapeOf(t, d, "households", "household_id", "members.individual_id")
	for _, c := range []struct {
		name  string
		o     Options
		shape *annona.Shape
		code  string
	}{
		{"no format", Options{}, individuals, "unknown_format"},
		{"unknown format", Options{Format: "xls"}, individuals, "unknown_format"},
		{"unknown profile", Options{Format: CSV, Profile: "excel"}, individuals, "unknown_profile"},
		{"unknown layout", Options{Format: CSV, Layout: "wide"}, individuals, "unknown_layout"},
		{"linked json", Options{Format: JSON, Layout: Linked}, individuals, "layout_unsuitable"},
		{"nested csv", Options{Format: CSV, Layout: Nested}, individuals, "layout_unsuitable"},
		{"flat individuals", Options{Format: CSV, Layout: Flat}, individuals, "layout_unsuitable"},
		{"spreadsheet xml", Options{Format: XML, Profile: Spreadsheet}, individuals, "profile_unsuitable"},
		{"plain without columns", Options{Format: CSV}, shapeOf(t, d, "individuals", "identifiers.value"), "no_columns"},
		{"linked without anything", Options{Format: CSV, Layout: Linked}, shapeOf(t, d, "individuals"), "no_columns"},
		{"linked without key", Options{Format: CSV, Layout: Linked}, shapeOf(t, d, "individuals", "full_name", "identifiers.value"), "key_missing"},
		{"linked without key of the members", Options{Format: CSV}, shapeOf(t, d, "households", "household_id", "members.full_name", "members.identifiers.value"), "key_missing"},
	} {
		_, err := Parts(c.shape, c.o)
		if annona.CodeOf(err) != c.code || annona.KindOf(err) != annona.KindInvalid {
			t.Errorf("%s: %v (%s), want %s", c.name, err, annona.CodeOf(err), c.code)
		}
	}
	if _, err := Parts(households, Options{Format: CSV, Layout: Flat}); err != nil {
		t.Error(err)
	}
}

// Which files an answer has follows from what was asked for, and so do their columns.
func TestLinkedFiles(t *testing.T) {
	d := annona.Standard()
	for _, c := range []struct {
		name    string
		dataset string
		fields  []string
		want    map[string]string
	}{
		{"one file needs no key", "households", []string{"area_code"}, map[string]string{"households.csv": "area_code"}},
		{"members without their key have no memberships", "households", []string{"household_id", "members.role"},
			map[string]string{"households.csv": "household_id", "individuals.csv": "household_id,role"}},
		{"members without membership", "households", []string{"household_id", "members.individual_id", "members.sex"},
			map[string]string{"households.csv": "household_id", "individuals.csv": "household_id,individual_id,sex"}},
		{"memberships", "households", []string{"household_id", "members.individual_id", "members.relationship_to_head"},
			map[string]string{
				"households.csv": "household_id", "individuals.csv": "household_id,individual_id,relationship_to_head",
				"memberships.csv": "household_id,individual_id,relationship_to_head",
			}},
		{"memberships as a group", "households", []string{"household_id", "members.individual_id", "members.role", "members.memberships.is_primary"},
			map[string]string{
				"households.csv": "household_id", "individuals.csv": "household_id,individual_id,role",
				"memberships.csv": "household_id,individual_id,is_primary",
			}},
		{"only groups", "households", []string{"household_id", "members.individual_id", "members.identifiers.value", "identifiers.scheme"},
			map[string]string{
				"households.csv": "household_id", "individuals.csv": "household_id,individual_id",
				"identifiers.csv": "household_id,individual_id,scheme,value",
			}},
		{"individuals", "individuals", []string{"individual_id", "memberships.household_id", "memberships.individual_id", "relationships.type", "functioning.domain"},
			map[string]string{
				"individuals.csv": "individual_id", "memberships.csv": "household_id,individual_id",
				"relationships.csv": "individual_id,type", "functioning.csv": "individual_id,domain",
			}},
	} {
		parts, err := Parts(shapeOf(t, d, c.dataset, c.fields...), Options{Format: CSV, Layout: Linked})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := map[string]string{}
		for _, p := range parts {
			got[p.Name] = strings.Join(p.Header(), ",")
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestMediaTypesAndFileNames(t *testing.T) {
	for _, c := range []struct {
		dataset   string
		o         Options
		mediaType string
		file      string
	}{
		{"individuals", Options{Format: JSON}, "application/json", "individuals.json"},
		{"individuals", Options{Format: XML}, "application/xml", "individuals.xml"},
		{"individuals", Options{Format: NDJSON}, "application/x-ndjson", "individuals.ndjson"},
		{"individuals", Options{Format: CSV}, "text/csv; charset=utf-8; header=present", "individuals.csv"},
		{"individuals", Options{Format: CSV, Layout: Linked}, "application/zip", "individuals.zip"},
		{"households", Options{Format: CSV}, "application/zip", "households.zip"},
		{"households", Options{Format: CSV, Layout: Flat}, "text/csv; charset=utf-8; header=present", "households.csv"},
		{"households", Options{Format: JSON}, "application/json", "households.json"},
	} {
		if got := MediaType(c.dataset, c.o); got != c.mediaType {
			t.Errorf("%v: %s", c.o, got)
		}
		if got := FileName(c.dataset, c.o); got != c.file {
			t.Errorf("%v: %s", c.o, got)
		}
	}
}
