package annona

// Shape is the columns of a page, fixed before its first row, and the groups nested in it.
type Shape struct {
	Dataset *Dataset
	Columns []*Field
	Groups  []GroupShape
}

// GroupShape is a repeated group nested in a shape.
type GroupShape struct {
	Field *Field // the group field: "identifiers", "members"
	Shape *Shape // of its rows
}

// Column returns the position of the column of that name, -1 when there is none.
func (s *Shape) Column(code string) int {
	for i, f := range s.Columns {
		if f.Code == code {
			return i
		}
	}
	return -1
}

// Group returns the position of the group of that name, -1 when there is none.
func (s *Shape) Group(code string) int {
	for i, g := range s.Groups {
		if g.Field.Code == code {
			return i
		}
	}
	return -1
}

// Page is a batch of records of one dataset, column by column. Stores fill it, the vault
// opens its sealed part, package privacy turns it into what may be shown.
//
// A page is reused: Reset keeps its memory. Cells are slices of that memory, good until then.
type Page struct {
	Shape   *Shape
	Count   int      // rows
	Numbers []Number // of each row; in a group whose rows are no records of their own, of the individual a row points to, if any
	UIDs    []UID    // of each row; empty in groups whose rows are no records of their own
	Columns []Column // as Shape.Columns
	Groups  []Group  // as Shape.Groups
	Sealed  Column   // the sealed image of each row, when the shape needs it; emptied by opening

	// Subjects says of each matter whom it is about; empty in pages of households and individuals.
	Subjects []SubjectRef

	// Shares is what of the rows is shared with the partner whose scope was read, in order of number; empty
	// in pages of households and individuals.
	Shares []Share

	// Epoch is the policy epoch of the moment that the rows are of. Stores set it with every reading,
	// also one that finds nothing.
	Epoch int64

	// Versions are those of the rows whose sealed images lie in Sealed: an image is bound to its own.
	Versions []int64
}

// Column holds the canonical text of one field for every row of a page.
type Column struct {
	Data []byte
	Ends []uint32 // end of each row's cell in Data
}

// Group holds the nested rows of every row of a page, one after the other.
type Group struct {
	Page *Page
	Ends []uint32 // for each row of the outer page, the end of its rows in Page
}

// NewPage returns an empty page of that shape.
func NewPage(shape *Shape) *Page {
	p := &Page{Shape: shape, Columns: make([]Column, len(shape.Columns)), Groups: make([]Group, len(shape.Groups))}
	for i, g := range shape.Groups {
		p.Groups[i].Page = NewPage(g.Shape)
	}
	return p
}

// Reset empties the page and keeps its memory.
func (p *Page) Reset() {
	p.Count, p.Numbers, p.UIDs = 0, p.Numbers[:0], p.UIDs[:0]
	for i := range p.Columns {
		p.Columns[i].Reset()
	}
	for i := range p.Groups {
		p.Groups[i].Page.Reset()
		p.Groups[i].Ends = p.Groups[i].Ends[:0]
	}
	p.Sealed.Reset()
	p.Versions = p.Versions[:0]
	p.Subjects = p.Subjects[:0]
	p.Shares = p.Shares[:0]
}

// Size is the number of bytes of all cells, those of groups included.
func (p *Page) Size() int {
	n := len(p.Sealed.Data)
	for i := range p.Columns {
		n += len(p.Columns[i].Data)
	}
	for i := range p.Groups {
		n += p.Groups[i].Page.Size()
	}
	return n
}

// Cell returns the canonical text of a cell; empty when the value is absent.
func (p *Page) Cell(column, row int) []byte { return p.Columns[column].Cell(row) }

// Reset empties the column and keeps its memory.
func (c *Column) Reset() { c.Data, c.Ends = c.Data[:0], c.Ends[:0] }

// Append appends a cell.
func (c *Column) Append(text []byte) {
	c.Data = append(c.Data, text...)
	c.EndCell()
}

// EndCell ends the cell whose text was appended to Data.
func (c *Column) EndCell() { c.Ends = append(c.Ends, uint32(len(c.Data))) }

// Cell returns the text of the cell of that row.
func (c *Column) Cell(row int) []byte {
	if row == 0 {
		return c.Data[:c.Ends[0]]
	}
	return c.Data[c.Ends[row-1]:c.Ends[row]]
}

// EndRow ends the nested rows of the current outer row.
func (g *Group) EndRow() { g.Ends = append(g.Ends, uint32(g.Page.Count)) }

// Rows returns the range of the nested rows of an outer row: from, up to but without to.
func (g *Group) Rows(row int) (from, to int) {
	if row > 0 {
		from = int(g.Ends[row-1])
	}
	return from, int(g.Ends[row])
}

// AppendRow appends a row of another page of the same shape that was opened, with what is nested in it.
func (p *Page) AppendRow(from *Page, row int) {
	if len(from.Numbers) > row {
		p.Numbers = append(p.Numbers, from.Numbers[row])
	}
	if len(from.UIDs) > row {
		p.UIDs = append(p.UIDs, from.UIDs[row])
	}
	if len(from.Subjects) > row {
		p.Subjects = append(p.Subjects, from.Subjects[row])
	}
	for i := range p.Columns {
		p.Columns[i].Append(from.Cell(i, row))
	}
	p.Count++
	for i := range p.Groups {
		g := &p.Groups[i]
		first, end := from.Groups[i].Rows(row)
		for inner := first; inner < end; inner++ {
			g.Page.AppendRow(from.Groups[i].Page, inner)
		}
		g.EndRow()
	}
}
