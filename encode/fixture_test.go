package encode

import (
	"bytes"
	"encoding/base32"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// item is a record, or an item of a group, as a reader of any format should find it: a string
// for a value, []string for a list, []item for a group. What is absent has no entry.
type item map[string]any

// plainRealm writes an id as it is, in base32.
type plainRealm struct{}

var wireID = base32.StdEncoding.WithPadding(base32.NoPadding)

func (plainRealm) AppendID(dst []byte, uid []byte) []byte { return wireID.AppendEncode(dst, uid) }

func (plainRealm) ParseID(id string) (annona.UID, bool) { return annona.UID{}, false }

// grantAll passes every field of the dictionary.
func grantAll(d *annona.Dictionary) *annona.Grant {
	g := &annona.Grant{Fields: map[string][]annona.FieldGrant{}}
	for s := range d.Datasets() {
		for f := range s.Columns() {
			g.Fields[s.Name] = append(g.Fields[s.Name], annona.FieldGrant{Field: f, Treatment: annona.TreatPass})
		}
	}
	return g
}

// shapeOf returns the shape of the named columns, groups and group.columns of a dataset. A
// group named alone comes with all its columns and no groups of its own.
func shapeOf(t testing.TB, d *annona.Dictionary, dataset string, names ...string) *annona.Shape {
	t.Helper()
	s, ok := d.Dataset(dataset)
	if !ok {
		t.Fatalf("no dataset %s", dataset)
	}
	shape := &annona.Shape{Dataset: s}
	inner := map[string][]string{}
	for _, name := range names {
		if head, rest, nested := strings.Cut(name, "."); nested {
			inner[head] = append(inner[head], rest)
		}
	}
	for f := range s.Columns() {
		switch {
		case f.Type != annona.TypeGroup && (slices.Contains(names, f.Code) || slices.Contains(names, "*")):
			shape.Columns = append(shape.Columns, f)
		case f.Type == annona.TypeGroup && slices.Contains(names, f.Code):
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: shapeOf(t, d, f.Group, "*")})
		case f.Type == annona.TypeGroup && inner[f.Code] != nil:
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: shapeOf(t, d, f.Group, inner[f.Code]...)})
		}
	}
	return shape
}

// fill appends records to a page, as a store would.
func fill(p *annona.Page, records []item) {
	for _, r := range records {
		for i, f := range p.Shape.Columns {
			p.Columns[i].Append(cellOf(f, r[f.Code]))
		}
		for i, g := range p.Shape.Groups {
			items, _ := r[g.Field.Code].([]item)
			fill(p.Groups[i].Page, items)
			p.Groups[i].EndRow()
		}
		p.Count++
	}
}

func cellOf(f *annona.Field, value any) []byte {
	switch v := value.(type) {
	case nil:
		return nil
	case []string:
		return []byte(strings.Join(v, string(rune(annona.ListSeparator))))
	case string:
		if f.Type == annona.TypeID || f.Type == annona.TypeRef {
			uid, err := wireID.DecodeString(v)
			if err != nil {
				panic("an id of a fixture is 26 characters of base32")
			}
			return uid
		}
		return []byte(v)
	default:
		panic("a value of a fixture is a string or a list")
	}
}

// disclose makes what may be shown of the records when everything may.
func disclose(d *annona.Dictionary, shape *annona.Shape, records []item) *privacy.Disclosed {
	p := annona.NewPage(shape)
	fill(p, records)
	return privacy.Compile(shape, grantAll(d), plainRealm{}).Redact(p)
}

// write writes records as pages of at most pageRows, and returns the document and the number
// of altered cells.
func write(t testing.TB, d *annona.Dictionary, shape *annona.Shape, records []item, pageRows int, o Options) ([]byte, int64) {
	t.Helper()
	var out bytes.Buffer
	e := encodeTo(t, &out, d, shape, records, pageRows, o)
	defer e.Close()
	if err := e.End(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), e.Altered()
}

func encodeTo(t testing.TB, w io.Writer, d *annona.Dictionary, shape *annona.Shape, records []item, pageRows int, o Options) Encoder {
	t.Helper()
	parts, err := Parts(shape, o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(w, parts, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range parts {
		if err := e.Begin(i); err != nil {
			t.Fatal(err)
		}
		for page := range slices.Chunk(records, pageRows) {
			if err := e.Page(disclose(d, part.Shape, page)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return e
}

// id returns a wire id that begins with the given letters.
func id(letters string) string {
	return letters + strings.Repeat("A", annona.WireIDLength-len(letters))
}

func day() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// sampleShape is what the golden files show of households.
func sampleShape(t testing.TB, d *annona.Dictionary) *annona.Shape {
	return shapeOf(t, d, "households",
		"household_id", "status", "member_count", "full_address", "area_code", "poverty_score", "electricity_access", "household_assets",
		"identifiers.scheme", "identifiers.value", "quality_flags",
		"members.individual_id", "members.household_id", "members.role", "members.role_source_code", "members.full_name", "members.date_of_birth",
		"members.phone_numbers", "members.identifiers.scheme", "members.identifiers.value", "members.identifiers.valid_until",
		"members.functioning.domain", "members.functioning.severity")
}

func sampleRecords() []item {
	return []item{
		{
			"household_id": id("HA"), "status": "active", "member_count": "2", "full_address": "12, Station Road\nBlock \"B\"",
			"area_code": "GH0102", "poverty_score": "-12.5", "electricity_access": "true", "household_assets": []string{"radio", "bicycle"},
			"identifiers":   []item{{"scheme": "household_card", "value": "000123"}},
			"quality_flags": []item{{"code": "survey_stale", "since": "2026-01-31"}},
			"members": []item{
				{
					"individual_id": id("PA"), "household_id": id("HA"), "role": "head", "role_source_code": "1",
					"full_name": "Abena \"Ama\" <Mensah> & Söhne ]]>", "date_of_birth": "1980-02-29",
					"phone_numbers": []string{"+233201234567", "0302123456"},
					"identifiers": []item{
						{"scheme": "national_id", "value": "GHA-7101", "valid_until": "2030-12-31"},
						{"scheme": "birth_registration", "value": "0071"},
					},
					"functioning": []item{{"domain": "seeing", "severity": "some_difficulty"}},
				},
				{"individual_id": id("PB"), "household_id": id("HA"), "role": "child", "full_name": "=cmd|' /C calc'!A0"},
			},
		},
		{"household_id": id("HB"), "status": "active", "member_count": "0", "electricity_access": "false"},
	}
}
