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

	// The current line, offsets from start.
	size   int // with its line end; 0 when it is longer than maxRow
	row    map[string]any
	raw    []byte // the row as received: the line, or the row inside a reject
	fault  string
	column string
	mended bool       // the line comes from a rejects file
	reject rejectInfo // as which it was refused
}

// next reads the next line. It reports false at the end of the file or on an error of the
// source.
func (r *ndjsonReader) next() bool {
	for {
		r.pass()
		*r = ndjsonReader{window: r.window}
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
		r.raw = line
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
	if r.row = decodeObject(line); r.row == nil {
		r.fault = reasonJSON
		return false
	}
	if info, ok := r.row["reject"].(map[string]any); ok {
		inner, has := r.row["row"]
		switch {
		case len(r.row) == 1:
			return true
		case has && len(r.row) == 2:
			r.mended, r.reject = true, rejectInfoOf(info)
			r.unwrap(line, inner)
		}
	}
	if r.fault == "" {
		r.column, r.fault = checkJSON("", r.row)
	}
	return false
}

// unwrap takes the row out of a line of a rejects file.
func (r *ndjsonReader) unwrap(line []byte, inner any) {
	var wrapped struct {
		Row json.RawMessage `json:"row"`
	}
	if json.Unmarshal(line, &wrapped) == nil {
		r.raw = wrapped.Row
	}
	if r.row, _ = inner.(map[string]any); r.row == nil {
		r.fault = reasonJSON
	}
}

// decodeObject decodes one JSON object; nil when it is something else. Numbers keep their
// digits.
func decodeObject(line []byte) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return nil
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil
	}
	return object
}

// checkJSON looks for texts that cannot be carried on: too long, or with control characters.
// It returns the path of the first one and what is wrong with it.
func checkJSON(path string, value any) (column, reason string) {
	switch v := value.(type) {
	case string:
		switch {
		case len(v) > maxCell:
			return path, reasonCellTooLarge
		case hasControl([]byte(v)):
			return path, reasonControl
		}
	case json.Number:
		if len(v) > maxCell {
			return path, reasonCellTooLarge
		}
	case []any:
		for _, item := range v {
			if column, reason = checkJSON(path, item); reason != "" {
				return column, reason
			}
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			if column, reason = checkJSON(strings.TrimPrefix(path+"."+key, "."), v[key]); reason != "" {
				return column, reason
			}
		}
	}
	return "", ""
}

// at walks a path through nested objects.
func at(value any, path []string) any {
	for _, key := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[key]
	}
	return value
}

// jsonText is the text of a value: of a list, the texts of its items. An object has a text that
// no field accepts, so that it is flagged and not lost without a word.
func jsonText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "true"
		}
		return "false"
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = jsonText(item)
		}
		return strings.Join(items, listSeparator)
	}
	return string(rune(annona.ListSeparator)) + "{}"
}

// elements returns the objects of the list at the path; none when it is absent. ok is false
// when something else stands there.
func elements(value any, path []string) (items []any, ok bool) {
	switch v := at(value, path).(type) {
	case nil:
		return nil, true
	case []any:
		for _, item := range v {
			if _, ok := item.(map[string]any); !ok {
				return nil, false
			}
		}
		return v, true
	}
	return nil, false
}

// take copies the refused line verbatim to dst and moves behind it.
func (r *ndjsonReader) take(dst io.Writer) error {
	if r.size == 0 {
		return r.takeLine(dst, 0)
	}
	err := emit(dst, r.raw)
	r.pass()
	return err
}
