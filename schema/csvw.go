package schema

import (
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// CSVWOptions says which CSV files are described.
type CSVWOptions struct {
	Layout Layout
}

// CSVW writes the metadata of CSV files (CSV on the Web, Metadata Vocabulary for Tabular Data)
// with the columns of shape: one table, or for linked files a group of tables that name the
// keys between them. It describes the machine profile.
func CSVW(w io.Writer, d *annona.Dictionary, shape *annona.Shape, o CSVWOptions) error {
	tables, err := tablesOf(shape, o.Layout)
	if err != nil {
		return err
	}
	document := object{
		{"@context", []any{"http://www.w3.org/ns/csvw", object{{"@language", "en"}}}},
		{"dc:identifier", ID(shape.Dataset.Name, d.Version)},
		{"dialect", object{{"encoding", "utf-8"}, {"delimiter", ","}, {"quoteChar", `"`}, {"doubleQuote", true}, {"header", true}, {"lineTerminators", []string{"\r\n", "\n"}}}},
	}
	if o.Layout != Linked {
		return writeJSON(w, append(document, tableSchema(d, tables[0], nil)...))
	}
	described := make([]object, len(tables))
	for i, t := range tables {
		described[i] = tableSchema(d, t, tables)
	}
	return writeJSON(w, append(document, member{"tables", described}))
}

// tableSchema describes one file. all are the files that its keys may refer to.
func tableSchema(d *annona.Dictionary, t *table, all []*table) object {
	columns := make([]object, len(t.columns))
	for i, c := range t.columns {
		outermost := i == 0 && t.keys > 0 // a row always lies in some record
		columns[i] = columnSchema(d, c, outermost || t.root && c.name == t.dataset.Key)
	}
	schema := object{{"columns", columns}}
	if t.root && t.has(t.dataset.Key) {
		schema = append(schema, member{"primaryKey", t.dataset.Key})
	}
	var foreign []object
	for i, c := range t.columns {
		if to := t.refersTo(i, all); to != nil {
			foreign = append(foreign, object{
				{"columnReference", c.name},
				{"reference", object{{"resource", to.name + ".csv"}, {"columnReference", c.name}}},
			})
		}
	}
	if foreign != nil {
		schema = append(schema, member{"foreignKeys", foreign})
	}
	return object{{"url", t.name + ".csv"}, {"tableSchema", schema}}
}

// refersTo returns the file that has one row for each value of the column; nil when there is
// none. An individual who belongs to two households stands in the file of members twice, so
// nothing refers to that file. The household_id of an individual is the primary household,
// which need not be in the answer; the key of the household around the row always is.
func (t *table) refersTo(i int, all []*table) *table {
	for _, to := range all {
		key := to.dataset.Key
		if to == t || !to.root || t.columns[i].name != key || !to.has(key) {
			continue
		}
		if i < t.keys || t.direct && !t.dataset.Root {
			return to
		}
	}
	return nil
}

func columnSchema(d *annona.Dictionary, c column, required bool) object {
	titles := []string{c.name}
	if c.field.Label != c.name {
		titles = append(titles, c.field.Label)
	}
	s := object{{"name", c.name}, {"titles", titles}}.with("dc:description", describe(c.field))
	s = append(s, member{"datatype", datatype(d, c.field)})
	if required {
		s = append(s, member{"required", true})
	}
	if c.field.Many {
		s = append(s, member{"separator", string(annona.ListMark)})
	}
	if l, ok := d.CodeList(c.field.CodeList); ok {
		s = append(s, member{"dc:source", "Code list " + l.Name + ", version " + strconv.Itoa(l.Version) + "."})
	}
	return s.with("propertyUrl", c.field.IRI)
}

// datatype is the type of a value. A format of text is a regular expression.
func datatype(d *annona.Dictionary, f *annona.Field) any {
	switch f.Type {
	case annona.TypeID, annona.TypeRef:
		return object{{"base", "string"}, {"format", idPattern}}
	case annona.TypeInt:
		return "long"
	case annona.TypeDec:
		return "decimal"
	case annona.TypeBool:
		return object{{"base", "boolean"}, {"format", "true|false"}}
	case annona.TypeDate:
		return object{{"base", "date"}, {"format", "yyyy-MM-dd"}}
	case annona.TypeInstant:
		return object{{"base", "dateTime"}, {"format", "yyyy-MM-ddTHH:mm:ss.SSSX"}}
	}
	if l := closedList(d, f); l != nil {
		return object{{"base", "string"}, {"format", alternatives(l)}}
	}
	return "string"
}

func alternatives(l *annona.CodeList) string {
	codes := make([]string, len(l.Codes))
	for i, c := range l.Codes {
		codes[i] = regexp.QuoteMeta(c.Code)
	}
	return "(" + strings.Join(codes, "|") + ")"
}
