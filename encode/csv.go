package encode

import (
	"bytes"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// csvForm writes CSV as RFC 4180 has it: comma, CRLF, a header line, quotes only where a cell
// needs them.
type csvForm struct {
	spreadsheet bool
	root        *level[csvColumn]
	stem        []byte // the cells of the outer levels, which begin each row below them
	changed     int64
}

type csvColumn struct {
	cells
	kind cellKind
}

// cellKind says how the cells of a column are written.
type cellKind uint8

const (
	cellBare  cellKind = iota // as it is
	cellBlank                 // empty
	cellText                  // quoted where it needs to be
	cellList                  // values joined by annona.ListMark
	cellCode                  // as text; in a spreadsheet guarded against formulas
	cellWord                  // as text; in a spreadsheet guarded against formulas and numbers
)

// What makes a cell stand in quotes. A spreadsheet may also split at semicolons and tabs,
// depending on its language.
const (
	quotedChars = ",\"\r\n"
	sheetChars  = quotedChars + ";\t"
)

// What finds it, and the control character between the values of a list.
var (
	csvCare   = carefulOf(`",`)
	sheetCare = carefulOf(`",;`)
)

func (f *csvForm) compile(part Part, have *annona.Shape) error {
	if part.table == nil {
		return misuse("the parts of a CSV answer come from Parts")
	}
	root, err := compileLevel(part.table.root, have, f.column)
	f.root = root
	return err
}

// column compiles one column; without a field it is an empty cell.
func (f *csvForm) column(field *annona.Field, have *annona.Shape) (csvColumn, error) {
	if field == nil {
		return csvColumn{kind: cellBlank}, nil
	}
	walk, err := newCells(field, have, f.care())
	return csvColumn{cells: walk, kind: f.kindOf(field)}, err
}

func (f *csvForm) care() *careful {
	if f.spreadsheet {
		return sheetCare
	}
	return csvCare
}

func (f *csvForm) kindOf(field *annona.Field) cellKind {
	switch {
	case !holdsText(field):
		return cellBare
	case f.spreadsheet && field.IsText():
		return cellWord
	case f.spreadsheet:
		return cellCode
	case field.Many:
		return cellList
	default:
		return cellText
	}
}

func (f *csvForm) open(dst []byte, part Part) []byte {
	if f.spreadsheet {
		dst = append(dst, "\uFEFF"...)
	}
	for i, name := range part.table.header {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, name...) // snake_case: it never needs quotes
	}
	return append(dst, "\r\n"...)
}

func (f *csvForm) close(dst []byte) []byte { return dst }

func (f *csvForm) altered() int64 { return f.changed }

func (f *csvForm) start(p *annona.Page) { startCSV(f.root, p) }

func startCSV(l *level[csvColumn], p *annona.Page) {
	for i := range l.columns {
		if l.columns[i].kind != cellBlank {
			l.columns[i].start(p)
		}
	}
	for _, b := range l.below {
		b.rows = &p.Groups[b.index]
		startCSV(b, b.rows.Page)
	}
}

func (f *csvForm) row(dst []byte, row int) []byte {
	f.stem = f.stem[:0]
	return f.appendRows(dst, f.root, row)
}

// appendRows appends all rows of the file that one row of the level becomes.
func (f *csvForm) appendRows(dst []byte, l *level[csvColumn], row int) []byte {
	if l.below == nil {
		at := len(dst)
		dst = append(dst, f.stem...)
		dst = f.appendCells(dst, l, row)
		return endRow(dst, at)
	}
	outer := len(f.stem)
	f.stem = f.appendCells(f.stem, l, row)
	some := false
	for _, b := range l.below {
		from, to := b.rows.Rows(row)
		for nested := from; nested < to; nested++ {
			dst = f.appendRows(dst, b, nested)
			some = true
		}
	}
	if !some && l.hollow > 0 {
		dst = f.appendHollow(dst, l.hollow)
	}
	f.stem = f.stem[:outer]
	return dst
}

// appendHollow appends the row of a record without rows below.
func (f *csvForm) appendHollow(dst []byte, empty int) []byte {
	at := len(dst)
	dst = append(dst, f.stem...)
	for range empty {
		dst = append(dst, ',')
	}
	return endRow(dst, at)
}

// endRow turns the comma behind the last cell into the end of the row that began at.
func endRow(dst []byte, at int) []byte {
	if len(dst) == at+1 {
		return append(dst[:at], "\"\"\r\n"...) // readers skip an empty line, and the record with it
	}
	dst[len(dst)-1] = '\r'
	return append(dst, '\n')
}

// appendCells appends the cells of one row of the level, each with a comma behind it.
func (f *csvForm) appendCells(dst []byte, l *level[csvColumn], row int) []byte {
	for i := range l.columns {
		c := &l.columns[i]
		if c.kind == cellBlank {
			dst = append(dst, ',')
			continue
		}
		cell, care := c.next(row)
		switch {
		case len(cell) == 0:
		case c.kind == cellBare || c.kind == cellText && !care && !padded(cell):
			dst = append(dst, cell...)
		default:
			dst = f.appendCareful(dst, cell, c.kind, care)
		}
		dst = append(dst, ',')
	}
	return dst
}

// padded reports whether the cell begins or ends with a space (or a control character), which
// careless readers trim when it is not quoted.
func padded(cell []byte) bool { return cell[0] <= ' ' || cell[len(cell)-1] <= ' ' }

// appendCareful appends a cell that may need quotes, joining or the guard. Without care it
// holds nothing that needs quotes.
func (f *csvForm) appendCareful(dst, cell []byte, kind cellKind, care bool) []byte {
	if care && !utf8.Valid(cell) {
		cell = bytes.ToValidUTF8(cell, []byte("\uFFFD"))
	}
	guard := kind == cellWord && (isFormula(cell) || isNumber(cell)) || kind == cellCode && isFormula(cell)
	quote := padded(cell) || care && f.quotes(cell)
	if quote {
		dst = append(dst, '"')
	}
	if guard {
		f.changed++
		dst = append(dst, '\'')
	}
	if care {
		dst = appendDoubled(dst, cell)
	} else {
		dst = append(dst, cell...)
	}
	if quote {
		dst = append(dst, '"')
	}
	return dst
}

func (f *csvForm) quotes(cell []byte) bool {
	if f.spreadsheet {
		return bytes.ContainsAny(cell, sheetChars) || bytes.IndexByte(cell, annona.ListSeparator) >= 0
	}
	return bytes.ContainsAny(cell, quotedChars)
}

// appendDoubled appends a cell with its quotes doubled and the values of a list joined.
func appendDoubled(dst, cell []byte) []byte {
	for _, b := range cell {
		switch b {
		case '"':
			dst = append(dst, '"', '"')
		case annona.ListSeparator:
			dst = append(dst, annona.ListMark)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}
