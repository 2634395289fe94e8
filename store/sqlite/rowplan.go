package sqlite

import (
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// rowPlan is how the rows of a query become rows of a page. It is made once for a query.
//
// The first two columns of a query over records are number and uid.
type rowPlan struct {
	shape     *annona.Shape
	selected  []string // expressions, in order
	cells     []cell
	blank     []int  // derived columns that this query does not fill and nobody else does
	clear     pieces // columns of the clear image
	sealed    pieces // columns of the sealed image
	version   int    // column of the version, where the sealed image is read
	unpacker  *annona.Unpacker
	image     []byte // memory for the image of the row
	person    int    // column of the number of the individual whom a row of a group points to; -1: to nobody
	isRecords bool
}

// cell takes one column of the query to one column of the page.
type cell struct{ page, query int }

// newRecordPlan plans rows of households or individuals. expressions are those of the derived
// columns; later are the derived columns that are filled from other queries.
func newRecordPlan(shape *annona.Shape, alias string, expressions map[string]string, later ...string) *rowPlan {
	p := &rowPlan{shape: shape, selected: []string{alias + ".number", alias + ".uid"}, clear: noPieces, sealed: noPieces, person: -1, isRecords: true}
	p.planDerived(expressions, later)
	p.unpacker = annona.NewUnpacker(shape, false)
	p.clear = p.addPieces(p.unpacker, alias+".clear")
	if p.sealed = p.addPieces(annona.NewUnpacker(shape, true), alias+".sealed"); p.sealed.any() {
		p.version = p.add(alias + ".version")
	}
	return p
}

// pieces are the columns that an image is read from: the rest, and the groups where any is asked
// for. -1: it is not read.
type pieces struct{ rest, groups int }

var noPieces = pieces{-1, -1}

func (i pieces) any() bool { return i.rest >= 0 }

func (p *rowPlan) addPieces(u *annona.Unpacker, column string) pieces {
	i := noPieces
	if u.Fills() {
		i.rest = p.add(column)
	}
	if u.FillsGroups() {
		i.groups = p.add(column + "_groups")
	}
	return i
}

// newGroupPlan plans rows of a group that is kept in columns, not in an image.
func newGroupPlan(shape *annona.Shape, expressions map[string]string, later ...string) *rowPlan {
	p := &rowPlan{shape: shape, clear: noPieces, sealed: noPieces, person: -1}
	p.planDerived(expressions, later)
	return p
}

// pointsTo has the rows of a group number the individual whose id they show in that column.
func (p *rowPlan) pointsTo(code, number string) {
	if p.shape.Column(code) >= 0 {
		p.person = p.add(number)
	}
}

func (p *rowPlan) planDerived(expressions map[string]string, later []string) {
	for i, f := range p.shape.Columns {
		if !f.Derived && p.isRecords {
			continue
		}
		expression, ok := expressions[f.Code]
		switch {
		case ok:
			p.cells = append(p.cells, cell{page: i, query: p.add(expression)})
		case !contains(later, f.Code):
			p.blank = append(p.blank, i)
		}
	}
}

// add selects an expression, once, and returns its column.
func (p *rowPlan) add(expression string) int {
	for i, have := range p.selected {
		if have == expression {
			return i
		}
	}
	p.selected = append(p.selected, expression)
	return len(p.selected) - 1
}

func (p *rowPlan) list() string { return strings.Join(p.selected, ", ") }

// read appends the row that stmt stands on; before counts columns in front of the plan's.
func (p *rowPlan) read(stmt *sqlite.Stmt, before int, page *annona.Page) error {
	if p.isRecords {
		var uid annona.UID
		stmt.ColumnBytes(before+1, uid[:])
		page.Numbers = append(page.Numbers, annona.Number(stmt.ColumnInt64(before)))
		page.UIDs = append(page.UIDs, uid)
	}
	if p.person >= 0 {
		page.Numbers = append(page.Numbers, annona.Number(stmt.ColumnInt64(before+p.person)))
	}
	for _, c := range p.cells {
		column := &page.Columns[c.page]
		column.Data = appendColumn(column.Data, stmt, before+c.query)
		column.EndCell()
	}
	for _, i := range p.blank {
		page.Columns[i].EndCell()
	}
	if p.sealed.any() {
		page.Sealed.Data = appendColumn(page.Sealed.Data, stmt, before+p.sealed.rest)
		if p.sealed.groups >= 0 {
			page.Sealed.Data = appendColumn(page.Sealed.Data, stmt, before+p.sealed.groups)
		}
		page.Sealed.EndCell()
		page.Versions = append(page.Versions, stmt.ColumnInt64(before+p.version))
	}
	if p.clear.any() {
		p.image = appendColumn(p.image[:0], stmt, before+p.clear.rest)
		rest := len(p.image)
		if p.clear.groups >= 0 {
			p.image = appendColumn(p.image, stmt, before+p.clear.groups)
		}
		if err := p.unpacker.Unpack(page, p.image[:rest], p.image[rest:]); err != nil {
			return annona.Internal("read a stored record", err)
		}
	}
	page.Count++
	return nil
}

func contains(codes []string, code string) bool {
	for _, c := range codes {
		if c == code {
			return true
		}
	}
	return false
}
