package encode

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// careful finds the bytes that a format cannot copy as they are: the control characters below
// the space, and a few more.
type careful struct {
	further []byte
	ascii   []byte // those of further that ASCII has
}

// carefulOf returns what finds control characters and the given bytes.
func carefulOf(further string) *careful {
	c := &careful{further: []byte(further)}
	for _, b := range c.further {
		if b < utf8.RuneSelf {
			c.ascii = append(c.ascii, b)
		}
	}
	return c
}

// find returns the position of the first byte that needs care, len(text) when there is none.
func (c *careful) find(text []byte) int { return findControl(text[:firstOf(text, c.further)]) }

// findPlain is find in a text that isPlain.
func (c *careful) findPlain(text []byte) int { return firstOf(text, c.ascii) }

// firstOf returns the position of the first of some bytes, len(text) when there is none. Each is
// looked for by itself, as that is what processors do best, in what lies before the one that was
// found.
func firstOf(text, some []byte) int {
	for _, b := range some {
		if at := bytes.IndexByte(text, b); at >= 0 {
			text = text[:at]
		}
	}
	return len(text)
}

// isPlain reports whether a text is ASCII without control characters (DEL may be in it). Most
// columns are.
func isPlain(text []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	found := uint64(0)
	for ; len(text) >= 16; text = text[16:] {
		one, two := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[8:])
		found |= one | two | (one-' '*each)&^one | (two-' '*each)&^two
	}
	for _, b := range text {
		if b < ' ' {
			return false
		}
		found |= uint64(b)
	}
	return found&high == 0
}

// findControl returns the position of the first control character, len(text) when there is none.
// It looks at eight bytes at once: a byte of a word is below the space when subtracting a space
// borrows from its high bit. A borrow reaches higher bytes too, so that the lowest one is right.
func findControl(text []byte) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(text); i += 8 {
		word := binary.LittleEndian.Uint64(text[i:])
		if found := (word - ' '*each) &^ word & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if text[i] < ' ' {
			break
		}
	}
	return i
}

// cells walks the cells of one column from the first row of a page to the last. It looks at
// the bytes of the column a block of rows ahead, each once, and so knows of each cell whether
// it can be copied as it is.
type cells struct {
	index   int
	care    *careful // nil: no cell of the column needs care
	data    []byte
	ends    []uint32
	at      uint32 // where the next cell starts
	mark    uint32 // where the next byte that needs care lies, or the block ends
	limit   uint32 // where the block ends
	plain   bool   // the block is plain
	corrupt bool   // a cell of the block is not UTF-8: every one needs care
}

// blockRows is how many rows are looked at ahead: few enough to stay near the processor.
const blockRows = 32

// newCells returns the walk over the column that f has in the shape have.
func newCells(f *annona.Field, have *annona.Shape, care *careful) (cells, error) {
	index := have.Column(f.Code)
	if index < 0 {
		return cells{}, misuse("a page has the columns of its part; " + f.Code + " is missing")
	}
	if !holdsText(f) {
		care = nil
	}
	return cells{index: index, care: care}, nil
}

// holdsText reports whether the cells of f can hold characters that a format must escape. The
// canonical text of the other types is made of digits, letters, points, colons and hyphens.
func holdsText(f *annona.Field) bool {
	switch f.Type {
	case annona.TypeInt, annona.TypeDec, annona.TypeBool, annona.TypeDate, annona.TypeInstant, annona.TypeID:
		return f.Many || f.IsText()
	}
	return true
}

// start puts the walk before the first row of the page.
func (c *cells) start(p *annona.Page) {
	column := &p.Columns[c.index]
	c.data, c.ends, c.at = column.Data, column.Ends, 0
	c.mark, c.limit = 0, 0
	if c.care == nil {
		c.mark = math.MaxUint32
	}
}

// next returns the cell of that row and whether it needs care. Rows come in order.
func (c *cells) next(row int) (cell []byte, care bool) {
	from := c.at
	c.at = c.ends[row]
	return c.data[from:c.at], c.mark < c.at && c.look(row, from)
}

// look reports whether the cell of that row, where the mark lies, needs care, and moves the
// mark on.
func (c *cells) look(row int, from uint32) bool {
	if c.mark == c.limit {
		c.block(row, from)
	}
	end := c.ends[row]
	if c.mark >= end {
		return false
	}
	c.mark = c.seek(end)
	return true
}

// block looks at the rows from that one on.
func (c *cells) block(row int, from uint32) {
	last := min(row+blockRows, len(c.ends))
	c.limit = c.ends[last-1]
	c.plain = isPlain(c.data[from:c.limit])
	c.corrupt = !c.plain && !wellFormed(c.data[:c.limit], from, c.ends[row:last])
	c.mark = c.seek(from)
}

func (c *cells) seek(from uint32) uint32 {
	switch text := c.data[from:c.limit]; {
	case c.plain:
		return from + uint32(c.care.findPlain(text))
	case c.corrupt:
		return from
	default:
		return from + uint32(c.care.find(text))
	}
}

// wellFormed reports whether each of the cells is UTF-8. By contract it is
// (annona.Field.Canonical); a document must not break when somebody broke the contract.
func wellFormed(data []byte, from uint32, ends []uint32) bool {
	if !utf8.Valid(data[from:]) {
		return false
	}
	for _, end := range ends {
		if int(end) < len(data) && !utf8.RuneStart(data[end]) {
			return false // the character goes on in the next cell
		}
	}
	return true
}
