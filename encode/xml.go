package encode

import (
	"bytes"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// xmlForm writes one document without namespace: the dataset, in it the records, one on each
// line.
type xmlForm struct {
	elements
	schema, next string
	dataset      string
}

const xmlDeclaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func (f *xmlForm) open(dst []byte, part Part) []byte {
	f.dataset = part.Shape.Dataset.Name
	dst = append(dst, xmlDeclaration+"<"...)
	dst = append(dst, f.dataset...)
	dst = appendAttribute(dst, "schema", f.schema)
	if f.next != "" {
		dst = appendAttribute(dst, "next", f.next)
	}
	return append(dst, ">\n"...)
}

func (f *xmlForm) row(dst []byte, row int) []byte {
	return append(f.elements.row(dst, row), '\n')
}

func (f *xmlForm) close(dst []byte) []byte {
	dst = append(dst, "</"...)
	dst = append(dst, f.dataset...)
	return append(dst, ">\n"...)
}

func appendAttribute(dst []byte, name, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, `="`...)
	escaped := appendEntities(nil, []byte(value), "")
	dst = append(dst, bytes.ReplaceAll(escaped, []byte(`"`), []byte("&quot;"))...)
	return append(dst, '"')
}

// elements writes records as XML elements.
type elements struct {
	root       *node
	head, tail string // tags of a record
}

// xmlCare marks what an XML text escapes, and the first byte of U+FFFE and U+FFFF, which XML
// does not allow.
var xmlCare = carefulOf("&<>\xEF")

func (e *elements) compile(part Part, have *annona.Shape) (err error) {
	noun := part.Shape.Dataset.Noun
	e.head, e.tail = "<"+noun+">", "</"+noun+">"
	e.root, err = newNode(part.Shape, have, xmlCare, dressXML)
	return err
}

func (e *elements) start(p *annona.Page) { e.root.start(p) }

func (e *elements) altered() int64 { return 0 }

func (e *elements) row(dst []byte, row int) []byte {
	dst = append(dst, e.head...)
	dst = appendElements(dst, e.root, row)
	return append(dst, e.tail...)
}

func dressXML(f *nodeField) {
	f.head, f.tail = "<"+f.field.Code+">", "</"+f.field.Code+">"
	inner := ""
	switch {
	case f.item != nil:
		inner = f.field.Item()
	case f.field.Many:
		inner = "value"
	default:
		return
	}
	f.head += "<" + inner + ">"
	f.between = "</" + inner + "><" + inner + ">"
	f.tail = "</" + inner + ">" + f.tail
}

func appendElements(dst []byte, n *node, row int) []byte {
	for i := range n.fields {
		f := &n.fields[i]
		if f.item != nil {
			dst = appendItems(dst, f, row)
			continue
		}
		cell, care := f.next(row)
		if len(cell) == 0 {
			continue
		}
		dst = append(dst, f.head...)
		if care {
			dst = appendEntities(dst, cell, f.between)
		} else {
			dst = append(dst, cell...)
		}
		dst = append(dst, f.tail...)
	}
	return dst
}

func appendItems(dst []byte, f *nodeField, row int) []byte {
	from, to := f.rows.Rows(row)
	if from == to {
		return dst
	}
	dst = append(dst, f.head...)
	for item := from; item < to; item++ {
		if item > from {
			dst = append(dst, f.between...)
		}
		dst = appendElements(dst, f.item, item)
	}
	return append(dst, f.tail...)
}

// appendEntities appends text as the text of an element or the value of an attribute. between
// stands for the separator of a list; empty: the text is no list.
func appendEntities(dst, text []byte, between string) []byte {
	copied := 0
	for i := 0; i < len(text); {
		escape, size := escapeXML(text[i:], between)
		if escape != "" {
			dst = append(dst, text[copied:i]...)
			dst = append(dst, escape...)
			copied = i + size
		}
		i += size
	}
	return append(dst, text[copied:]...)
}

// escapeXML returns what to write for the first character of text, empty when it stands for
// itself, and its size in bytes. What XML 1.0 does not allow becomes U+FFFD.
func escapeXML(text []byte, between string) (escape string, size int) {
	switch b := text[0]; {
	case b == '&':
		return "&amp;", 1
	case b == '<':
		return "&lt;", 1
	case b == '>':
		return "&gt;", 1
	case b == '\r':
		return "&#13;", 1 // bare, a parser would make it a newline
	case b == '\t' || b == '\n':
		return "", 1
	case b == annona.ListSeparator && between != "":
		return between, 1
	case b < ' ':
		return "\uFFFD", 1
	case b < utf8.RuneSelf:
		return "", 1
	}
	r, size := utf8.DecodeRune(text)
	if r == utf8.RuneError && size == 1 || r == '\uFFFE' || r == '\uFFFF' {
		return "\uFFFD", size
	}
	return "", size
}
