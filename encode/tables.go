package encode

import (
	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// tables writes the forms whose cells have types: workbooks and Parquet files. Each part is a
// table of its own.
type tables struct {
	answer
	file tableFile
	walk walk
}

// tableFile is where tables are written, one behind the other.
type tableFile interface {
	// begin completes the table before and starts the next one, whose rows have one cell for
	// each name. fields says what they hold.
	begin(name string, header []string, fields []*annona.Field) error
	// row writes a row. Cells are canonical text, empty where a value is absent. The bytes are good
	// until the next flush, the slice of them until row returns.
	row(cells [][]byte) error
	// flush hands over what is ready, and keeps nothing of the cells.
	flush() error
	// end completes the last table and the file.
	end() error
	// altered returns how many cells were changed so far.
	altered() int64
}

func (t *tables) Begin(part int) error {
	if err := t.begin(part); err != nil {
		return err
	}
	p := t.parts[part]
	if p.table == nil {
		return t.fail(misuse("the parts of a file of tables come from Parts"))
	}
	if err := t.file.begin(p.Name, p.table.header, p.table.fields()); err != nil {
		return t.fail(err)
	}
	return nil
}

func (t *tables) Page(d *privacy.Disclosed) error { return t.page(d.Page()) }

func (t *tables) page(p *annona.Page) error {
	if err := t.expect(); err != nil {
		return err
	}
	if p.Shape != t.have {
		t.have = p.Shape
		if err := t.walk.compile(t.parts[t.part].table, p.Shape); err != nil {
			return t.fail(err)
		}
	}
	if err := t.walk.page(p, t.file.row); err != nil {
		return t.fail(err)
	}
	if err := t.file.flush(); err != nil {
		return t.fail(err)
	}
	return nil
}

func (t *tables) End() error {
	if err := t.end(); err != nil {
		return err
	}
	if err := t.file.end(); err != nil {
		return t.fail(err)
	}
	t.err = errEnded
	return nil
}

func (t *tables) Altered() int64 { return t.file.altered() }

// fields returns what each column of the table holds. Tiers that share a column give it the same
// field.
func (t *table) fields() []*annona.Field {
	fields := make([]*annona.Field, len(t.header))
	t.root.name(fields)
	return fields
}

// name puts the columns of the tier, and of those below it, where they stand in a row.
func (t *tier) name(fields []*annona.Field) {
	for i, f := range t.columns {
		if f != nil {
			fields[i] = f
		}
	}
	for _, b := range t.below {
		b.name(fields[len(t.columns):])
	}
}

// walk goes through the rows that the records of a page become in a table.
type walk struct {
	root  *level[int] // of each column the index in its page; blank: an empty cell
	cells [][]byte    // of the row
}

const blank = -1

func (w *walk) compile(t *table, have *annona.Shape) (err error) {
	w.cells = make([][]byte, len(t.header))
	w.root, err = compileLevel(t.root, have, func(field *annona.Field, have *annona.Shape) (int, error) {
		if field == nil {
			return blank, nil
		}
		index := have.Column(field.Code)
		if index < 0 {
			return blank, misuse("a page has the columns of its part; " + field.Code + " is missing")
		}
		return index, nil
	})
	return err
}

// page calls row for each row of a page.
func (w *walk) page(p *annona.Page, row func(cells [][]byte) error) error {
	for record := range p.Count {
		if err := w.rows(w.root, p, record, 0, row); err != nil {
			return err
		}
	}
	return nil
}

// rows walks what one row of a level becomes. Its first cell stands at at.
func (w *walk) rows(l *level[int], p *annona.Page, row, at int, yield func(cells [][]byte) error) error {
	inner := at + len(l.columns)
	for i, column := range l.columns {
		w.cells[at+i] = nil
		if column != blank {
			w.cells[at+i] = p.Cell(column, row)
		}
	}
	if l.below == nil {
		return yield(w.cells)
	}
	some := false
	for _, b := range l.below {
		group := &p.Groups[b.index]
		from, to := group.Rows(row)
		for nested := from; nested < to; nested++ {
			if err := w.rows(b, group.Page, nested, inner, yield); err != nil {
				return err
			}
			some = true
		}
	}
	if some || l.hollow == 0 {
		return nil
	}
	clear(w.cells[inner:])
	return yield(w.cells)
}
