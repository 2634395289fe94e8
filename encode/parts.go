package encode

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// Part is one pass over the records.
type Part struct {
	Name  string        // of the file: "memberships.csv"; of a workbook the name of the sheet
	Shape *annona.Shape // to fetch for this pass
	table *table        // of the formats that are tables
	files []Part        // that this pass fills side by side; nil: it is one itself
}

// Header returns the names of the columns of a table, in order; nothing for the formats that nest.
func (p Part) Header() []string {
	if p.table == nil {
		return nil
	}
	return slices.Clone(p.table.header)
}

// Parts returns the passes over the records that an answer of that shape needs: one for most. A linked
// answer needs one for each file, unless it is a zip and there are spools in which files can wait. It refuses options that do not go together, and a
// shape that the layout cannot hold.
func Parts(shape *annona.Shape, o Options) ([]Part, error) {
	o, err := o.resolve(shape.Dataset.Name)
	if err != nil {
		return nil, err
	}
	switch o.Layout {
	case Linked:
		files, err := linkedParts(shape, o)
		if err != nil || o.Spool == nil || o.Format == XLSX || len(files) == 1 {
			return files, err
		}
		return []Part{{Name: FileName(shape.Dataset.Name, o), Shape: shape, files: files}}, nil
	case Flat:
		return onePart(shape, o, flatTable(shape))
	case Plain:
		return onePart(shape, o, plainTable(shape))
	default:
		return []Part{{Name: FileName(shape.Dataset.Name, o), Shape: shape}}, nil
	}
}

func onePart(shape *annona.Shape, o Options, t *table) ([]Part, error) {
	if len(t.header) == 0 {
		return nil, annona.Invalid("no_columns", "a %s file has no column for what was asked; ask for single-valued fields or for layout=linked", o.Layout).On("fields")
	}
	return []Part{t.part(o.tableName(shape.Dataset.Name))}, nil
}

// table says how nested rows become the rows of one file.
type table struct {
	header []string
	root   *tier
}

// tier is one depth of a table: the columns that the rows of one shape give to each row of the
// file. The rows of a tier without tiers below are the rows of the file.
type tier struct {
	dataset *annona.Dataset
	group   *annona.Field   // nil at the root
	columns []*annona.Field // nil: an empty cell
	below   []*tier
	hollow  int // empty cells of the row that stands for a record without rows below; 0: no such row
}

// level is a tier compiled for the pages of one shape. C is what a form knows of a column.
type level[C any] struct {
	columns []C
	below   []*level[C]
	index   int           // of the group in the outer shape
	rows    *annona.Group // of the page being written; nil at the root
	hollow  int           // as in tier
}

// compileLevel compiles a tier and those below it. column is told a field of the tier, nil for an
// empty cell, and the shape of the pages.
func compileLevel[C any](t *tier, have *annona.Shape, column func(*annona.Field, *annona.Shape) (C, error)) (*level[C], error) {
	l := &level[C]{hollow: t.hollow}
	for _, field := range t.columns {
		c, err := column(field, have)
		if err != nil {
			return nil, err
		}
		l.columns = append(l.columns, c)
	}
	for _, b := range t.below {
		index := have.Group(b.group.Code)
		if index < 0 {
			return nil, misuse("a page has the groups of its part; " + b.group.Code + " is missing")
		}
		below, err := compileLevel(b, have.Groups[index].Shape, column)
		if err != nil {
			return nil, err
		}
		below.index = index
		l.below = append(l.below, below)
	}
	return l, nil
}

// shape is what is fetched for a table.
func (t *tier) shape() *annona.Shape {
	s := &annona.Shape{Dataset: t.dataset}
	for _, f := range t.columns {
		if f != nil {
			s.Columns = append(s.Columns, f)
		}
	}
	for _, b := range t.below {
		s.Groups = append(s.Groups, annona.GroupShape{Field: b.group, Shape: b.shape()})
	}
	return s
}

// part returns the part that writes the table.
func (t *table) part(name string) Part { return Part{Name: name, Shape: t.root.shape(), table: t} }

// plainTable holds the columns of the records themselves and leaves their groups out.
func plainTable(shape *annona.Shape) *table {
	return &table{
		header: codes(shape.Columns),
		root:   &tier{dataset: shape.Dataset, columns: shape.Columns},
	}
}

// members is the group of households that holds individuals.
const members = "members"

// memberPrefix stands before the columns of members in a flat file. The dictionary sees to it
// that no column of households is called like that.
const memberPrefix = "member_"

// flatTable repeats the household on the row of each member.
func flatTable(shape *annona.Shape) *table {
	t := plainTable(shape)
	i := shape.Group(members)
	if i < 0 {
		return t
	}
	group := shape.Groups[i]
	for _, f := range group.Shape.Columns {
		t.header = append(t.header, memberPrefix+f.Code)
	}
	below := &tier{dataset: group.Shape.Dataset, group: group.Field, columns: group.Shape.Columns}
	t.root.below = []*tier{below}
	t.root.hollow = len(below.columns)
	return t
}

func codes(fields []*annona.Field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Code
	}
	return names
}
