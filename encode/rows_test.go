package encode

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// By contract no cell is corrupt. If one were, the document would still be one.
func TestCorruptCells(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "full_name", "role_source_code", "phone_numbers")
	records := []item{
		{"full_name": "a\xffb", "role_source_code": "x\xc3"},
		{"full_name": "ok", "role_source_code": "\xa9y", "phone_numbers": []string{"\xf0\x9f", "1\xed\xa0\x80"}},
		{"full_name": "é", "role_source_code": "\x01", "phone_numbers": []string{"\ufffe"}},
	}
	for _, o := range []Options{{Format: JSON}, {Format: XML}, {Format: NDJSON}, {Format: CSV}, {Format: CSV, Profile: Spreadsheet}} {
		document, _ := write(t, d, shape, records, 3, o)
		if !utf8.Valid(document) {
			t.Errorf("%s is not UTF-8", o.Format)
		}
		var err error
		var got []item
		switch o.Format {
		case JSON:
			got, err = readJSON(document, shape)
		case XML:
			got, err = readXML(document, shape)
		case NDJSON:
			got, err = readNDJSON(document)
		case CSV:
			got, err = readCSV(bytes.TrimPrefix(document, []byte("\uFEFF")), shape.Columns)
		}
		if err != nil || len(got) != 3 || got[0]["full_name"] != "a\uFFFDb" || got[1]["full_name"] != "ok" || got[2]["full_name"] != "é" {
			t.Errorf("%s: %v, %v", o.Format, got, err)
		}
	}
}

// A number or truth value that was masked is no JSON literal any more.
func TestMaskedLiterals(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "households", "member_count", "electricity_access")
	p := annona.NewPage(shape)
	fill(p, []item{{"member_count": "123456789", "electricity_access": "true"}})
	grant := grantAll(d)
	for i := range grant.Fields["households"] {
		grant.Fields["households"][i].Treatment = annona.TreatMask
	}
	var out bytes.Buffer
	if err := WriteRecord(&out, privacy.Compile(shape, grant, plainRealm{}).Redact(p), Options{Format: JSON}); err != nil {
		t.Fatal(err)
	}
	if want := `{"member_count":"****6789","electricity_access":"****"}` + "\n"; out.String() != want {
		t.Errorf("%s", out.String())
	}
}

// No format allocates for a row.
func TestNoAllocationPerRow(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "households", "household_id", "full_address", "household_assets", "members.individual_id", "members.full_name", "members.phone_numbers")
	record := item{
		"household_id": id("HA"), "full_address": "12, Station \"Road\" & <b>\n", "household_assets": []string{"radio", "bicycle"},
		"members": []item{{"individual_id": id("PA"), "full_name": "=Abena", "phone_numbers": []string{"+233", "+234"}}},
	}
	var records []item
	for range 500 {
		records = append(records, record)
	}
	for name, o := range allOptions() {
		parts, err := Parts(shape, o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := New(io.Discard, parts, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Begin(0); err != nil {
			t.Fatal(err)
		}
		page := disclose(d, parts[0].Shape, records)
		perPage := testing.AllocsPerRun(5, func() {
			if err := e.Page(page); err != nil {
				t.Fatal(err)
			}
		})
		if perPage > 5 {
			t.Errorf("%s: %v allocations for a page of 500 rows", name, perPage)
		}
	}
}

// A large cell passes, and its memory is not kept.
func TestLargeCell(t *testing.T) {
	d := annona.Standard()
	shape := shapeOf(t, d, "individuals", "full_address")
	records := []item{{"full_address": strings.Repeat(`"x"`, 1<<20)}, {"full_address": "short"}}
	for _, o := range []Options{{Format: JSON}, {Format: XML}, {Format: CSV}} {
		var out bytes.Buffer
		e := encodeTo(t, &out, d, shape, records, 1, o)
		if kept := cap(e.(*encoder).out.b); kept > keepSize {
			t.Errorf("%s keeps %d bytes", o.Format, kept)
		}
		if out.Len() < 3<<20 {
			t.Errorf("%s: %d bytes", o.Format, out.Len())
		}
	}
}

func TestRecordIsOne(t *testing.T) {
	d := annona.Standard()
	for _, records := range [][]item{nil, sampleRecords()} {
		if err := WriteRecord(io.Discard, disclose(d, sampleShape(t, d), records), Options{Format: JSON}); err == nil {
			t.Errorf("%d rows are written as one record", len(records))
		}
	}
}

// Country attributes are published behind the groups of the standard, and written there.
func TestPublishedOrder(t *testing.T) {
	d, err := annona.Standard().Extend(annona.Extension{Country: "GH", Fields: []annona.Field{{
		Dataset: "individuals", Code: "lineage", Type: annona.TypeText, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterNone,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	shape := shapeOf(t, d, "individuals", "full_name", "lineage", "identifiers.value")
	records := []item{{"full_name": "Abena", "lineage": "Asona", "identifiers": []item{{"value": "7"}}}}
	document, _ := write(t, d, shape, records, 1, Options{Format: NDJSON})
	if want := `{"full_name":"Abena","identifiers":[{"value":"7"}],"lineage":"Asona"}` + "\n"; string(document) != want {
		t.Errorf("%s", document)
	}
}

// A country may declare a list of any type; its values are joined and parted like those of text.
func TestListsOfDates(t *testing.T) {
	d, err := annona.Standard().Extend(annona.Extension{Country: "GH", Fields: []annona.Field{{
		Dataset: "individuals", Code: "visits", Type: annona.TypeDate, Many: true, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterNone,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	shape := shapeOf(t, d, "individuals", "visits")
	records := []item{{"visits": []string{"2026-01-01", "2026-02-01"}}}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Format: NDJSON}, `{"visits":["2026-01-01","2026-02-01"]}` + "\n"},
		{Options{Format: CSV}, "visits\r\n2026-01-01;2026-02-01\r\n"},
		{Options{Format: XML, Schema: "individuals/3"}, xmlDeclaration + `<individuals schema="individuals/3">` + "\n" +
			"<individual><visits><value>2026-01-01</value><value>2026-02-01</value></visits></individual>\n</individuals>\n"},
	} {
		if document, _ := write(t, d, shape, records, 1, c.o); string(document) != c.want {
			t.Errorf("%s: %s", c.o.Format, document)
		}
	}
}
