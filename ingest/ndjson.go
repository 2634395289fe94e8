package ingest

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// Reasons why a line of NDJSON cannot be read.
const (
	reasonJSON    = "json_malformed" // not one JSON object
	reasonNotList = "not_a_list"     // `each` names something that is no list of objects
)

// ndjsonReader reads one JSON object per line. Empty lines are skipped.
type ndjsonReader struct {
	*window
	parser *jsonParser
	recall func(line []byte) ([16]byte, *annona.KnownRow) // nil: nobody remembers lines
	lineState
}

// lineState is what is known of the current line.
type lineState struct {
	size   int // with its line end; 0 when it is longer than maxRow
	row    *jsonValue
	raw    string // the row as received: the line, or the row inside a reject
	fault  string
	column string
	sum    [16]byte         // of the line; zero: nobody has asked
	known  *annona.KnownRow // what it became in an earlier load; then it is not parsed
	mended bool             // the line comes from a rejects file
	reject rejectInfo       // as which it was refused
}

func newNDJSONReader(src io.Reader) *ndjsonReader {
	return &ndjsonReader{window: newWindow(src), parser: &jsonParser{}}
}

// next reads the next line. It reports false at the end of the file or on an error of the
// source.
func (r *ndjsonReader) next() bool {
	for {
		r.pass()
		r.lineState = lineState{}
		if r.start == r.end && !r.fill() {
			return false
		}
		if !r.scan() {
			return r.err == nil
		}
		line := bytes.TrimSpace(r.rest()[:r.size])
		if len(line) == 0 {
			continue
		}
		r.raw = string(line)
		if r.recall != nil && len(line) <= maxRow {
			if r.sum, r.known = r.recall(line); r.known != nil {
				return true
			}
		}
		if skip := r.parse(line); !skip {
			return true
		}
	}
}

func (r *ndjsonReader) pass() {
	r.advance(r.size)
	r.size = 0
}

// scan finds the end of the line. It reports false when the line cannot be read.
func (r *ndjsonReader) scan() bool {
	for from := 0; ; {
		if i := bytes.IndexByte(r.rest()[from:], '\n'); i >= 0 {
			r.size = from + i + 1
			return true
		}
		from = len(r.rest())
		if r.fill() {
			continue
		}
		if r.err != nil {
			return false
		}
		if !r.eof {
			r.fault = reasonRowTooLarge
			return false
		}
		r.size = len(r.rest())
		return true
	}
}

// parse decodes the line. skip is true for the head of a reject, whose row follows on the next
// line.
func (r *ndjsonReader) parse(line []byte) (skip bool) {
	switch {
	case len(line) > maxRow:
		r.fault = reasonRowTooLarge
		return false
	case bytes.IndexByte(line, 0) >= 0:
		r.fault = reasonControl
		return false
	case !utf8.Valid(line):
		r.fault = reasonEncoding // the decoder would replace what it cannot read
		return false
	}
	if r.row = r.parser.parse(r.raw); r.row == nil {
		r.fault = reasonJSON
		return false
	}
	if info := r.row.member("reject"); info.isObject() {
		switch members := r.row.count(); {
		case members == 1:
			return true
		case members == 2 && r.row.has("row"):
			r.mended, r.reject = true, rejectInfoOf(info)
			r.unwrap(line, r.row.member("row"))
		}
	}
	if r.fault == "" && !isPlain(line) {
		r.column, r.fault = checkJSON("", r.row)
	}
	return false
}

// unwrap takes the row out of a line of a rejects file.
func (r *ndjsonReader) unwrap(line []byte, inner *jsonValue) {
	var wrapped struct {
		Row json.RawMessage `json:"row"`
	}
	if json.Unmarshal(line, &wrapped) == nil {
		r.raw = string(wrapped.Row)
	}
	if r.row = inner; !inner.isObject() {
		r.row, r.fault = nil, reasonJSON
	}
}

// checkJSON looks for texts that cannot be carried on: too long, or with control characters.
// It returns the path of the first one and what is wrong with it.
func checkJSON(path string, v *jsonValue) (column, reason string) {
	switch v.kind {
	case jsonString, jsonNumber:
		switch {
		case len(v.text) > maxCell:
			return path, reasonCellTooLarge
		case hasControl([]byte(v.text)):
			return path, reasonControl
		}
	}
	for inner := v.first; inner != nil && reason == ""; inner = inner.next {
		below := path
		if v.kind == jsonObject {
			below = strings.TrimPrefix(path+"."+inner.name, ".")
		}
		column, reason = checkJSON(below, inner)
	}
	return column, reason
}

// isPlain reports whether no text of a line can be one that checkJSON refuses: it is short and
// holds no escapes.
func isPlain(line []byte) bool {
	return len(line) <= maxCell && bytes.IndexByte(line, '\\') < 0 && !hasControl(line)
}

// at walks a path through nested objects.
func at(value *jsonValue, path []string) *jsonValue {
	for _, key := range path {
		value = value.member(key)
	}
	return value
}

// jsonText is the text of a value: of a list, the texts of its items. An object has a text that
// no field accepts, so that it is flagged and not lost without a word.
func jsonText(v *jsonValue) string {
	if v == nil {
		return ""
	}
	switch v.kind {
	case jsonNull:
		return ""
	case jsonString, jsonNumber:
		return v.text
	case jsonTrue:
		return "true"
	case jsonFalse:
		return "false"
	case jsonList:
		items := make([]string, 0, 8)
		for item := v.first; item != nil; item = item.next {
			items = append(items, jsonText(item))
		}
		return strings.Join(items, listSeparator)
	}
	return listSeparator + "{}"
}

// elements returns the objects of the list at the path; none when it is absent. ok is false
// when something else stands there.
func elements(value *jsonValue, path []string) (items []*jsonValue, ok bool) {
	list := at(value, path)
	if list == nil {
		return nil, true
	}
	if list.kind != jsonList {
		return nil, false
	}
	for item := list.first; item != nil; item = item.next {
		if !item.isObject() {
			return nil, false
		}
		items = append(items, item)
	}
	return items, true
}

// take copies the refused line verbatim to dst and moves behind it.
func (r *ndjsonReader) take(dst io.Writer) error {
	if r.size == 0 {
		return r.takeLine(dst, 0)
	}
	err := emit(dst, []byte(r.raw))
	r.pass()
	return err
}
