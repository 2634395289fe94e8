package ingest

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// Reasons why a row cannot be read at all.
const (
	reasonColumnCount  = "column_count"       // more or fewer cells than the header
	reasonQuote        = "quote_unterminated" // a quoted cell that does not end
	reasonAfterQuote   = "quote_malformed"    // text between a closing quote and the delimiter
	reasonCellTooLarge = "cell_too_large"     // above maxCell
	reasonRowTooLarge  = "row_too_large"      // above maxRow
	reasonEncoding     = "encoding"           // not UTF-8
	reasonControl      = "control_character"  // NUL and other characters that no format carries
)

// csvReader reads rows as RFC 4180 writes them, with LF or CRLF. Where a row breaks the
// grammar it is refused and reading goes on with the next physical line, so that one
// forgotten quote costs one row. A quote inside an unquoted cell is text. Empty lines are
// skipped.
type csvReader struct {
	*window
	comma byte
	count int // cells of a row; 0 until the header is read

	// The current row, offsets from start.
	cells  []csvCell
	size   int // bytes of the row with its line end; 0 when its grammar is broken
	fault  string
	column int // cell at which the fault is, -1 for the row
}

type csvCell struct {
	from, to int // without quotes
	begin    int // with them
	escaped  bool
}

// next reads the next row. It reports false at the end of the file or on an error of the
// source.
func (r *csvReader) next() bool {
	for {
		r.pass()
		r.cells, r.size, r.fault, r.column = r.cells[:0], 0, "", -1
		if r.start == r.end && !r.fill() {
			return false
		}
		r.scan()
		if r.err != nil {
			return false // the row is cut: it must not load as if it ended here
		}
		if r.fault == "" && len(r.cells) == 1 && r.cells[0].to == r.cells[0].begin {
			continue // an empty line
		}
		if r.fault == "" {
			r.check()
		}
		return true
	}
}

// pass moves behind the current row, when that was read whole.
func (r *csvReader) pass() {
	r.advance(r.size)
	r.size = 0
}

// scan finds the cells of the row at start.
func (r *csvReader) scan() {
	for at := 0; ; {
		end, ok := r.scanCell(at)
		if !ok {
			return
		}
		if rest := r.rest(); end == len(rest) || rest[end] == '\n' {
			r.size = min(end+1, len(rest))
			r.trimReturn()
			return
		}
		at = end + 1
	}
}

// scanCell appends the cell that begins at at and returns the position behind it: of a
// delimiter, a line feed or the end of the file.
func (r *csvReader) scanCell(at int) (int, bool) {
	if at == len(r.rest()) {
		r.fill()
	}
	if at < len(r.rest()) && r.rest()[at] == '"' {
		return r.scanQuoted(at)
	}
	for i := at; ; {
		rest := r.rest()
		for ; i < len(rest); i++ {
			if c := rest[i]; c == r.comma || c == '\n' {
				return r.endCell(csvCell{from: at, to: i, begin: at}, i)
			}
		}
		if i-at > maxCell {
			return r.broken(reasonCellTooLarge)
		}
		if !r.fill() {
			if !r.eof {
				return r.broken(reasonRowTooLarge)
			}
			return r.endCell(csvCell{from: at, to: i, begin: at}, i)
		}
	}
}

func (r *csvReader) endCell(c csvCell, end int) (int, bool) {
	if c.to-c.from > maxCell {
		return r.broken(reasonCellTooLarge)
	}
	r.cells = append(r.cells, c)
	return end, true
}

func (r *csvReader) broken(reason string) (int, bool) {
	r.fault, r.column = reason, len(r.cells)
	return 0, false
}

func (r *csvReader) scanQuoted(at int) (int, bool) {
	c := csvCell{begin: at, from: at + 1}
	for i := c.from; ; {
		q := bytes.IndexByte(r.rest()[i:], '"')
		if q < 0 {
			i = len(r.rest())
			if i-c.from > maxCell {
				return r.broken(reasonCellTooLarge)
			}
			if bytes.Count(r.rest()[at:], newline) > maxCellLines || !r.fill() {
				return r.broken(reasonQuote)
			}
			continue
		}
		i += q
		if i-c.from > maxCell {
			return r.broken(reasonCellTooLarge)
		}
		if i+1 == len(r.rest()) {
			r.fill()
		}
		if i+1 < len(r.rest()) && r.rest()[i+1] == '"' {
			c.escaped = true
			i += 2
			continue
		}
		c.to = i
		return r.afterQuote(c, i+1)
	}
}

// afterQuote expects a delimiter, a line end or the end of the file.
func (r *csvReader) afterQuote(c csvCell, at int) (int, bool) {
	rest := r.rest()
	if at < len(rest) && rest[at] == '\r' {
		if at+1 == len(rest) {
			r.fill()
			rest = r.rest()
		}
		at++
		if at < len(rest) && rest[at] != '\n' {
			return r.broken(reasonAfterQuote)
		}
	}
	if at < len(rest) && rest[at] != '\n' && rest[at] != r.comma {
		return r.broken(reasonAfterQuote)
	}
	return r.endCell(c, at)
}

// trimReturn takes the CR of a CRLF off the last cell, when that is not quoted.
func (r *csvReader) trimReturn() {
	last := &r.cells[len(r.cells)-1]
	if last.from == last.begin && last.to > last.from && r.rest()[last.to-1] == '\r' {
		last.to--
	}
}

// check refuses a row that was read but cannot be trusted.
func (r *csvReader) check() {
	row := r.rest()[:r.size]
	switch {
	case len(row) > maxRow:
		r.fault = reasonRowTooLarge
	case r.count > 0 && len(r.cells) != r.count:
		r.fault = reasonColumnCount
		if bytes.IndexByte(row, '\n') < len(row)-1 {
			r.size = 0 // a quote may have swallowed lines: each gets its own verdict
		}
	case hasControl(row):
		r.fault, r.column = reasonControl, r.find(hasControl)
	case !utf8.Valid(row):
		r.fault, r.column = reasonEncoding, r.find(func(b []byte) bool { return !utf8.Valid(b) })
	}
}

// find returns the first cell for which is holds, -1 when none does.
func (r *csvReader) find(is func([]byte) bool) int {
	for i, c := range r.cells {
		if is(r.rest()[c.from:c.to]) {
			return i
		}
	}
	return -1
}

// text returns cell i of the current row.
func (r *csvReader) text(i int) string { return unescape(r.cells[i], string(r.raw(i))) }

// fills reports whether the current row has something in cell i.
func (r *csvReader) fills(i int) bool { return len(bytes.TrimSpace(r.raw(i))) > 0 }

func (r *csvReader) raw(i int) []byte { return r.rest()[r.cells[i].from:r.cells[i].to] }

func unescape(c csvCell, text string) string {
	if c.escaped {
		return strings.ReplaceAll(text, `""`, `"`)
	}
	return text
}

// texts returns the cells at the wanted positions, appended to dst. They share one allocation.
func (r *csvReader) texts(dst []string, wanted []int) []string {
	row := string(r.rest()[:r.size])
	for _, i := range wanted {
		c := r.cells[i]
		dst = append(dst, unescape(c, row[c.from:c.to]))
	}
	return dst
}

// take copies the refused row verbatim to dst, from its cell from on, and moves behind it: a
// whole row when its grammar is sound, otherwise its first physical line.
func (r *csvReader) take(dst io.Writer, from int) error {
	begin := 0
	if from > 0 && from < len(r.cells) {
		begin = r.cells[from].begin
	}
	if r.size == 0 {
		return r.takeLine(dst, begin)
	}
	row := bytes.TrimSuffix(r.rest()[:r.size], newline)
	err := emit(dst, bytes.TrimSuffix(row[begin:], []byte{'\r'}))
	r.pass()
	return err
}

// hasControl reports whether text holds a character that XML 1.0 cannot carry: C0 controls
// other than tab and line ends, U+FFFE and U+FFFF.
func hasControl(text []byte) bool {
	for i, c := range text {
		switch {
		case c < ' ' && c != '\t' && c != '\n' && c != '\r':
			return true
		case c == 0xEF && i+2 < len(text) && text[i+1] == 0xBF && text[i+2] >= 0xBE:
			return true
		}
	}
	return false
}
