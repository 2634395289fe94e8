package encode

import (
	"math"
	"unicode/utf8"

	"github.com/annona-exchange/annona"
)

// careful marks the bytes that a format cannot copy as they are.
type careful [256]bool

// carefulOf marks the control characters below the space and the given bytes.
func carefulOf(further string) *careful {
	var c careful
	for b := range 0x20 {
		c[b] = true
	}
	for i := range len(further) {
		c[further[i]] = true
	}
	return &c
}

// cells walks the cells of one column from the first row of a page to the last. It looks at
// each byte of the column once, and so knows of each cell whether it can be copied as it is.
type cells struct {
	index   int
	care    *careful // nil: no cell of the column needs care
	data    []byte
	ends    []uint32
	at      uint32 // where the next cell starts
	mark    uint32 // the first byte from at on that needs care
	corrupt bool   // some cell is not UTF-8: every cell needs care
}

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
	c.corrupt = c.care != nil && !wellFormed(column)
	c.mark = c.seek(0)
}

// next returns the cell of that row and whether it needs care. Rows come in order.
func (c *cells) next(row int) (cell []byte, care bool) {
	end := c.ends[row]
	cell, c.at = c.data[c.at:end], end
	if c.mark < end {
		c.mark = c.seek(end)
		return cell, true
	}
	return cell, false
}

// seek finds the first byte from there on that needs care.
func (c *cells) seek(from uint32) uint32 {
	if c.care == nil {
		return math.MaxUint32
	}
	if c.corrupt {
		return from
	}
	for i, b := range c.data[from:] {
		if c.care[b] {
			return from + uint32(i)
		}
	}
	return math.MaxUint32
}

// wellFormed reports whether every cell of the column is UTF-8. By contract it is
// (annona.Field.Canonical); a document must not break when somebody broke the contract.
func wellFormed(c *annona.Column) bool {
	if !utf8.Valid(c.Data) {
		return false
	}
	for _, end := range c.Ends {
		if int(end) < len(c.Data) && !utf8.RuneStart(c.Data[end]) {
			return false
		}
	}
	return true
}
