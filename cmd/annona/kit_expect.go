package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/annona-exchange/annona"
)

// expectations are what a partner's program has to find in the rows of a kit, in whatever format it reads.
type expectations struct {
	Specification string                   `json:"specification"`
	Format        string                   `json:"format"`
	Layout        string                   `json:"layout,omitempty"`
	Dataset       string                   `json:"dataset"`
	Key           string                   `json:"key"` // column that tells records apart
	Rows          int                      `json:"rows"`
	Columns       map[string]*columnCounts `json:"columns"`
	Members       *memberExpected          `json:"members,omitempty"` // of households
}

type memberExpected struct {
	Key     string                   `json:"key,omitempty"` // column that tells members apart
	Rows    int                      `json:"rows"`
	Columns map[string]*columnCounts `json:"columns"`
}

// columnCounts is what stands in a column: in how many rows something, and how many different things.
type columnCounts struct {
	Filled   int `json:"filled"`
	Distinct int `json:"distinct"`

	seen map[string]bool
}

func (c *columnCounts) count(text string) {
	c.Filled++
	if !c.seen[text] {
		c.seen[text] = true
		c.Distinct++
	}
}

// expect counts what rows in NDJSON hold.
func expect(spec *annona.ExportSpec, rows []byte) (e expectations, err error) {
	e = expectations{
		Specification: spec.Name + "@" + fmt.Sprint(spec.Version), Format: spec.Format, Layout: spec.Layout, Dataset: spec.Dataset,
		Columns: map[string]*columnCounts{}, Members: &memberExpected{Columns: map[string]*columnCounts{}},
	}
	id := strings.TrimSuffix(spec.Dataset, "s") + "_id"
	for _, f := range spec.Fields {
		name, columns := f.As, e.Columns
		group, code, nested := strings.Cut(f.Field, ".")
		if !nested {
			code = f.Field
		} else if columns = e.Members.Columns; group != "members" || strings.Contains(code, ".") {
			continue // what lies deeper is in the schema
		}
		if name == "" {
			name = code
		}
		if f.Field == id {
			e.Key = name
		}
		if f.Field == "members.individual_id" {
			e.Members.Key = name
		}
		columns[name] = &columnCounts{seen: map[string]bool{}}
	}
	for _, d := range spec.Derived {
		e.Columns[d.As] = &columnCounts{seen: map[string]bool{}}
	}
	for line := range bytes.Lines(rows) {
		var row map[string]json.RawMessage
		if err := json.Unmarshal(line, &row); err != nil {
			return e, annona.Internal("read the rows of a kit", err)
		}
		e.Rows++
		countIn(e.Columns, row)
		var members []map[string]json.RawMessage
		if text, ok := row["members"]; ok {
			if err := json.Unmarshal(text, &members); err != nil {
				return e, annona.Internal("read the rows of a kit", err)
			}
		}
		for _, m := range members {
			e.Members.Rows++
			countIn(e.Members.Columns, m)
		}
	}
	if len(e.Members.Columns) == 0 {
		e.Members = nil
	}
	return e, nil
}

func countIn(columns map[string]*columnCounts, row map[string]json.RawMessage) {
	for name, text := range row {
		if c := columns[name]; c != nil {
			c.count(string(text))
		}
	}
}

// recordSchema describes one record as it stands in JSON and NDJSON.
func recordSchema(shape *annona.Shape) map[string]any {
	schema := objectSchema(shape)
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return schema
}

func objectSchema(shape *annona.Shape) map[string]any {
	properties := map[string]any{}
	for _, f := range shape.Columns {
		properties[f.Code] = valueSchema(f)
	}
	for _, g := range shape.Groups {
		properties[g.Field.Code] = map[string]any{"type": "array", "items": objectSchema(g.Shape)}
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}

func valueSchema(f *annona.Field) map[string]any {
	one := map[string]any{"type": "string"}
	switch f.Type {
	case annona.TypeInt:
		one["type"] = "integer"
	case annona.TypeBool:
		one["type"] = "boolean"
	case annona.TypeDate:
		one["format"] = "date"
	case annona.TypeInstant:
		one["format"] = "date-time"
	}
	if f.Many {
		return map[string]any{"type": "array", "items": one}
	}
	return one
}
