package encode

import (
	"fmt"

	"github.com/annona-exchange/annona"
	"pgregory.net/rapid"
)

// nastyText is what people, forms and attackers write into text fields.
func nastyText() *rapid.Generator[string] {
	fragment := rapid.SampledFrom([]string{
		`"`, `""`, "'", ",", ";", "\n", "\r", "\r\n", "\t", " ", "  ", "=cmd|' /C calc'!A0", "+1", "-2", "@SUM(A1)", "＝1", "＠x",
		"]]>", "<![CDATA[", "<!--", "&amp;", "&", "<b>", ">", `\`, `\u0000`, "\u2028", "\u2029", "\u202e", "\u200f", "\ufeff", "\ufffd",
		"e\u0301", "é", "አበበ", "سليمان", "𝔸", "👩‍👧‍👦", "007", "123456789012345", "1e5", "null", "true", "Abena", "O'Brien", "\u0085", "\x7f", "/", "{", "[",
	})
	return rapid.Custom(func(t *rapid.T) string {
		text := ""
		for range rapid.IntRange(1, 4).Draw(t, "fragments") {
			text += fragment.Draw(t, "fragment")
		}
		return text
	})
}

func nastyValue(f *annona.Field) *rapid.Generator[string] {
	text := nastyText().Filter(func(s string) bool {
		canonical, err := f.Canonical(s)
		return f.Type == annona.TypeText && err == nil && canonical == s
	})
	switch f.Type {
	case annona.TypeID, annona.TypeRef:
		return rapid.StringMatching(`[A-Z2-7]{25}A`)
	case annona.TypeInt:
		return rapid.Custom(func(t *rapid.T) string { return fmt.Sprint(rapid.Int64().Draw(t, "int")) })
	case annona.TypeDec:
		return rapid.Custom(func(t *rapid.T) string {
			return string(annona.AppendDecimal(nil, rapid.Int64().Draw(t, "dec"), f.Scale))
		})
	case annona.TypeBool:
		return rapid.SampledFrom([]string{"true", "false"})
	case annona.TypeDate:
		return rapid.SampledFrom([]string{"1980-02-29", "2026-12-31", "1900-01-01"})
	case annona.TypeInstant:
		return rapid.Just("2026-03-01T12:00:00.000Z")
	case annona.TypeCode:
		return rapid.SampledFrom([]string{"active", "GH0102", "01", "a&b", "<5", "x,y", `say "so"`})
	default:
		return text
	}
}

// nastyItems draws records of a shape. Keys are always there, other values now and then.
func nastyItems(t *rapid.T, shape *annona.Shape, most int) []item {
	items := []item{}
	for range rapid.IntRange(0, most).Draw(t, "rows of "+shape.Dataset.Name) {
		it := item{}
		for _, f := range shape.Columns {
			if f.Code != shape.Dataset.Key && rapid.IntRange(0, 2).Draw(t, "absent") == 0 {
				continue
			}
			if f.Many {
				it[f.Code] = rapid.SliceOfN(nastyValue(f), 1, 3).Draw(t, f.Code)
				continue
			}
			it[f.Code] = nastyValue(f).Draw(t, f.Code)
		}
		for _, g := range shape.Groups {
			if items := nastyItems(t, g.Shape, 3); len(items) > 0 {
				it[g.Field.Code] = items
			}
		}
		items = append(items, it)
	}
	return items
}

// nastyShape draws some columns and groups of a dataset; not the quality flags and not the
// provenance, of which package privacy lets only those leave that are about a field which leaves.
func nastyShape(t *rapid.T, d *annona.Dictionary, dataset string, depth int) *annona.Shape {
	s, _ := d.Dataset(dataset)
	shape := &annona.Shape{Dataset: s}
	for f := range s.Columns() {
		switch {
		case f.Code == s.Key:
			shape.Columns = append(shape.Columns, f)
		case rapid.IntRange(0, 2).Draw(t, "column "+f.Code) > 0:
		case f.Type != annona.TypeGroup:
			shape.Columns = append(shape.Columns, f)
		case depth > 0 && f.Group != "quality_flags" && f.Group != "provenance":
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: nastyShape(t, d, f.Group, depth-1)})
		}
	}
	if len(shape.Columns) == 0 {
		shape.Columns = s.Fields[:1:1]
	}
	return shape
}
