package schema

import (
	"bufio"
	"encoding/xml"
	"io"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// XSD writes the XML Schema (1.0) of a dataset. It stands alone and has no target namespace, as
// the documents have none. Both the document of many records and a record by itself validate.
func XSD(w io.Writer, d *annona.Dictionary, dataset *annona.Dataset) error {
	out := bufio.NewWriter(w)
	x := &xsd{markup: markup{out: out}, d: d}
	x.schema(FullShape(d, dataset))
	return out.Flush()
}

type xsd struct {
	markup
	d *annona.Dictionary
}

func (x *xsd) schema(root *annona.Shape) {
	id, all := ID(root.Dataset.Name, x.d.Version), shapes(root)
	x.text(xml.Header)
	x.open("xs:schema", "xmlns:xs", "http://www.w3.org/2001/XMLSchema", "elementFormDefault", "unqualified", "version", id)
	x.document(root.Dataset, id)
	for _, s := range all {
		x.record(s)
	}
	v := vocabularyOf(x.d, all)
	for _, scale := range v.scales {
		x.restriction(decimalType(scale), "xs:decimal", facet{"xs:fractionDigits", strconv.Itoa(scale)}, facet{"xs:pattern", decimalPattern(scale)})
	}
	x.restriction("text", "xs:string", facet{"xs:minLength", "1"})
	x.restriction("id", "xs:string", facet{"xs:pattern", idPattern})
	x.restriction("date", "xs:date", facet{"xs:pattern", datePattern})
	x.restriction("instant", "xs:dateTime", facet{"xs:pattern", instantPattern})
	x.restriction("yes-or-no", "xs:boolean", facet{"xs:pattern", "true|false"})
	for _, l := range v.lists {
		x.codes(l)
	}
	x.close("xs:schema")
}

// document declares the list of records, and the record as an element that may also stand alone.
func (x *xsd) document(dataset *annona.Dataset, id string) {
	x.open("xs:element", "name", dataset.Name)
	x.open("xs:complexType")
	x.open("xs:sequence")
	x.leaf("xs:element", "ref", dataset.Noun, "minOccurs", "0", "maxOccurs", "unbounded")
	x.close("xs:sequence")
	x.leaf("xs:attribute", "name", "schema", "type", "xs:string", "use", "required", "fixed", id)
	x.leaf("xs:attribute", "name", "next", "type", "xs:string")
	x.close("xs:complexType")
	x.close("xs:element")
	x.leaf("xs:element", "name", dataset.Noun, "type", dataset.Noun)
}

// record declares the type of the records of one dataset.
func (x *xsd) record(shape *annona.Shape) {
	x.open("xs:complexType", "name", shape.Dataset.Noun)
	x.open("xs:sequence")
	for f, rows := range published(shape) {
		switch {
		case rows != nil:
			x.list(f, f.Item(), rows.Dataset.Noun)
		case f.Many:
			x.list(f, "value", x.typeOf(f))
		default:
			x.open("xs:element", "name", f.Code, "type", x.typeOf(f), "minOccurs", "0")
			x.documentation(describe(f))
			x.close("xs:element")
		}
	}
	x.close("xs:sequence")
	x.close("xs:complexType")
}

// list declares a field that holds several elements of one type.
func (x *xsd) list(f *annona.Field, item, itemType string) {
	x.open("xs:element", "name", f.Code, "minOccurs", "0")
	x.documentation(describe(f))
	x.open("xs:complexType")
	x.open("xs:sequence")
	x.leaf("xs:element", "name", item, "type", itemType, "maxOccurs", "unbounded")
	x.close("xs:sequence")
	x.close("xs:complexType")
	x.close("xs:element")
}

func (x *xsd) typeOf(f *annona.Field) string {
	switch f.Type {
	case annona.TypeID, annona.TypeRef:
		return "id"
	case annona.TypeInt:
		return "xs:long"
	case annona.TypeDec:
		return decimalType(f.Scale)
	case annona.TypeBool:
		return "yes-or-no"
	case annona.TypeDate:
		return "date"
	case annona.TypeInstant:
		return "instant"
	}
	if l := closedList(x.d, f); l != nil {
		return codeType(l)
	}
	return "text"
}

// The names of types hold a hyphen where they are made, so that they cannot meet a noun.

func decimalType(scale int) string { return "decimal-" + strconv.Itoa(scale) }

func codeType(l *annona.CodeList) string { return l.Name + "-code" }

type facet struct{ name, value string }

func (x *xsd) restriction(name, base string, facets ...facet) {
	x.open("xs:simpleType", "name", name)
	x.open("xs:restriction", "base", base)
	for _, f := range facets {
		x.leaf(f.name, "value", f.value)
	}
	x.close("xs:restriction")
	x.close("xs:simpleType")
}

func (x *xsd) codes(l *annona.CodeList) {
	x.open("xs:simpleType", "name", codeType(l))
	x.documentation("Code list " + l.Name + ", version " + strconv.Itoa(l.Version) + ".")
	x.open("xs:restriction", "base", "xs:string")
	for _, c := range l.Codes {
		x.open("xs:enumeration", "value", c.Code)
		x.documentation(labelOf(&c))
		x.close("xs:enumeration")
	}
	x.close("xs:restriction")
	x.close("xs:simpleType")
}

func (x *xsd) documentation(text string) {
	if text == "" {
		return
	}
	x.open("xs:annotation")
	x.indent()
	x.text(`<xs:documentation xml:lang="en">`)
	x.escape(text)
	x.text("</xs:documentation>\n")
	x.close("xs:annotation")
}

// markup writes indented XML. A failed write stays in out and shows when it is flushed.
type markup struct {
	out   *bufio.Writer
	depth int
}

func (m *markup) text(s string) { m.out.WriteString(s) }

func (m *markup) escape(s string) { xml.EscapeText(m.out, []byte(s)) }

func (m *markup) indent() { m.text(strings.Repeat("  ", m.depth)) }

// open writes a start tag. attributes are names and values in turn.
func (m *markup) open(tag string, attributes ...string) {
	m.start(tag, attributes)
	m.text(">\n")
	m.depth++
}

func (m *markup) leaf(tag string, attributes ...string) {
	m.start(tag, attributes)
	m.text("/>\n")
}

func (m *markup) close(tag string) {
	m.depth--
	m.indent()
	m.text("</" + tag + ">\n")
}

func (m *markup) start(tag string, attributes []string) {
	m.indent()
	m.text("<" + tag)
	for i := 0; i < len(attributes); i += 2 {
		m.text(" " + attributes[i] + `="`)
		m.escape(attributes[i+1])
		m.text(`"`)
	}
}
