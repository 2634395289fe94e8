package encode

import (
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// jsonForm writes one document whose only top-level list is the records, one on each line.
type jsonForm struct {
	objects
	schema, next string
	some         bool // a record was written
}

func (f *jsonForm) open(dst []byte, part Part) []byte {
	return f.opened(dst, part.Shape.Dataset.Name)
}

// opened begins the document, up to its list of that name.
func (f *jsonForm) opened(dst []byte, name string) []byte {
	dst = append(dst, `{"schema":`...)
	dst = appendString(dst, f.schema)
	if f.next != "" {
		dst = append(dst, `,"next":`...)
		dst = appendString(dst, f.next)
	}
	dst = append(dst, ',')
	dst = appendString(dst, name)
	return append(dst, ":[\n"...)
}

func (f *jsonForm) row(dst []byte, row int) []byte {
	if f.some {
		dst = append(dst, ",\n"...)
	}
	f.some = true
	return f.objects.row(dst, row)
}

func (f *jsonForm) close(dst []byte) []byte {
	if f.some {
		dst = append(dst, '\n')
	}
	return append(dst, "]}\n"...)
}

// objects writes records as JSON objects; JSON, NDJSON and JSON-LD share it.
type objects struct {
	root  *node
	typed bool // each object says of which noun it is
}

// jsonCare marks what a JSON string escapes, and the first byte of U+2028 and U+2029, which
// end a line for readers that take JSON for a script.
var jsonCare = carefulOf("\"\\\xE2")

func (o *objects) compile(part Part, have *annona.Shape) (err error) {
	o.root, err = newNode(part.Shape, have, jsonCare, dressJSON)
	return err
}

func (o *objects) start(p *annona.Page) { o.root.start(p) }

func (o *objects) row(dst []byte, row int) []byte { return o.append(dst, o.root, row) }

func (o *objects) altered() int64 { return 0 }

// dressJSON begins each field with a comma. The first one of an object becomes its brace.
func dressJSON(f *nodeField) {
	f.head = `,"` + f.field.Code + `":`
	switch {
	case f.item != nil:
		f.head, f.between, f.tail = f.head+"[", ",", "]"
	case f.field.Many:
		f.head, f.between, f.tail = f.head+`["`, `","`, `"]`
	case f.field.Type == annona.TypeInt || f.field.Type == annona.TypeBool:
		f.literal = true
	default:
		f.head, f.tail = f.head+`"`, `"`
	}
}

func (o *objects) append(dst []byte, n *node, row int) []byte {
	at := len(dst)
	if o.typed {
		dst = append(dst, `,"@type":"`...)
		dst = append(dst, n.noun...)
		dst = append(dst, '"')
	}
	for i := range n.fields {
		f := &n.fields[i]
		if f.item != nil {
			dst = o.appendArray(dst, f, row)
			continue
		}
		cell, care := f.next(row)
		if len(cell) == 0 {
			continue
		}
		dst = append(dst, f.head...)
		switch {
		case care:
			dst = appendEscaped(dst, cell, f.between)
		case f.literal && !isLiteral(cell):
			dst = appendString(dst, string(cell))
		default:
			dst = append(dst, cell...)
		}
		dst = append(dst, f.tail...)
	}
	if len(dst) == at {
		return append(dst, '{', '}')
	}
	dst[at] = '{'
	return append(dst, '}')
}

func (o *objects) appendArray(dst []byte, f *nodeField, row int) []byte {
	from, to := f.rows.Rows(row)
	if from == to {
		return dst
	}
	dst = append(dst, f.head...)
	for item := from; item < to; item++ {
		if item > from {
			dst = append(dst, f.between...)
		}
		dst = o.append(dst, f.item, item)
	}
	return append(dst, f.tail...)
}

// isLiteral reports whether the cell may stand without quotes. The cells of whole numbers and
// truth values do, unless they were masked.
func isLiteral(cell []byte) bool {
	if s := string(cell); s == "true" || s == "false" {
		return true
	}
	digits := cell
	if digits[0] == '-' {
		digits = digits[1:]
	}
	for _, b := range digits {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(digits) == 1 || len(digits) > 1 && digits[0] != '0'
}

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = appendEscaped(dst, []byte(s), "")
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends text as the inside of a JSON string. between stands for the separator
// of a list; empty: the text is no list.
func appendEscaped(dst, text []byte, between string) []byte {
	copied := 0
	for i := 0; i < len(text); {
		escape, size := escapeJSON(text[i:], between)
		if escape != "" {
			dst = append(dst, text[copied:i]...)
			dst = append(dst, escape...)
			copied = i + size
		}
		i += size
	}
	return append(dst, text[copied:]...)
}

// escapeJSON returns what to write for the first character of text, empty when it stands for
// itself, and its size in bytes.
func escapeJSON(text []byte, between string) (escape string, size int) {
	switch b := text[0]; {
	case b == '"':
		return `\"`, 1
	case b == '\\':
		return `\\`, 1
	case b == '\n':
		return `\n`, 1
	case b == '\r':
		return `\r`, 1
	case b == '\t':
		return `\t`, 1
	case b == annona.ListSeparator && between != "":
		return between, 1
	case b < ' ':
		return string([]byte{'\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15]}), 1
	case b < utf8.RuneSelf:
		return "", 1
	}
	r, size := utf8.DecodeRune(text)
	switch {
	case r == utf8.RuneError && size == 1:
		return "\uFFFD", 1
	case r == '\u2028':
		return `\u2028`, size
	case r == '\u2029':
		return `\u2029`, size
	default:
		return "", size
	}
}
