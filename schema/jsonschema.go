package schema

import (
	"io"
	"strconv"

	"github.com/annona-exchange/annona"
)

// JSONSchema writes the JSON Schema (draft 2020-12) of a dataset's documents. The schema of one
// record lies at #/$defs/{noun}; the lines of NDJSON validate against that.
func JSONSchema(w io.Writer, d *annona.Dictionary, dataset *annona.Dataset) error {
	id, all := ID(dataset.Name, d.Version), shapes(FullShape(d, dataset))
	return writeJSON(w, object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", id},
		{"type", "object"},
		{"properties", object{
			{"schema", object{{"const", id}}},
			{"next", object{{"type", "string"}, {"description", "Cursor of the next page of a search."}}},
			{dataset.Name, object{{"type", "array"}, {"items", reference(dataset.Noun)}}},
		}},
		{"required", []string{"schema", dataset.Name}},
		{"additionalProperties", false},
		{"$defs", definitions(d, all)},
	})
}

func reference(definition string) object { return object{{"$ref", "#/$defs/" + definition}} }

func definitions(d *annona.Dictionary, all []*annona.Shape) object {
	var defs object
	for _, s := range all {
		defs = append(defs, member{s.Dataset.Noun, recordSchema(d, s)})
	}
	defs = append(defs,
		member{"text", object{{"type", "string"}, {"minLength", 1}}},
		member{"id", pattern(idPattern)},
		member{"date", pattern(datePattern).with("format", "date")},
		member{"instant", pattern(instantPattern).with("format", "date-time")},
	)
	v := vocabularyOf(d, all)
	for _, scale := range v.scales {
		defs = append(defs, member{decimalType(scale), pattern(decimalPattern(scale))})
	}
	for _, l := range v.lists {
		defs = append(defs, member{codeType(l), codesSchema(l)})
	}
	return defs
}

func pattern(expression string) object {
	return object{{"type", "string"}, {"pattern", "^(?:" + expression + ")$"}}
}

func recordSchema(d *annona.Dictionary, shape *annona.Shape) object {
	properties := object{}
	for f, rows := range published(shape) {
		properties = append(properties, member{f.Code, propertySchema(d, f, rows)})
	}
	return object{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}}
}

func propertySchema(d *annona.Dictionary, f *annona.Field, rows *annona.Shape) object {
	var s object
	switch {
	case rows != nil:
		s = object{{"type", "array"}, {"minItems", 1}, {"items", reference(rows.Dataset.Noun)}}
	case f.Many:
		s = object{{"type", "array"}, {"minItems", 1}, {"items", valueSchema(d, f)}}
	default:
		s = valueSchema(d, f)
	}
	return s.with("title", f.Label).with("description", describe(f))
}

func valueSchema(d *annona.Dictionary, f *annona.Field) object {
	switch f.Type {
	case annona.TypeInt:
		return object{{"type", "integer"}}
	case annona.TypeBool:
		return object{{"type", "boolean"}}
	case annona.TypeID, annona.TypeRef:
		return reference("id")
	case annona.TypeDec:
		return reference(decimalType(f.Scale))
	case annona.TypeDate:
		return reference("date")
	case annona.TypeInstant:
		return reference("instant")
	}
	if l := closedList(d, f); l != nil {
		return reference(codeType(l))
	}
	return reference("text")
}

func codesSchema(l *annona.CodeList) object {
	codes := make([]string, len(l.Codes))
	for i, c := range l.Codes {
		codes[i] = c.Code
	}
	return object{
		{"description", "Code list " + l.Name + ", version " + strconv.Itoa(l.Version) + "."},
		{"enum", codes},
	}
}

// CodeList writes a code list with its labels.
func CodeList(w io.Writer, l *annona.CodeList) error {
	codes := make([]object, len(l.Codes))
	for i, c := range l.Codes {
		codes[i] = object{{"code", c.Code}}.with("label", c.Label).with("dci", c.DCI).with("replaced_by", c.ReplacedBy)
		if c.IsRetired() {
			codes[i] = append(codes[i], member{"deprecated", true})
		}
	}
	list := object{{"name", l.Name}, {"version", l.Version}, {"open", l.Open}}.with("country", l.Country)
	return writeJSON(w, append(list, member{"codes", codes}))
}
