package schema

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// Layout says what becomes of repeated groups in CSV.
type Layout string

// The layouts of CSV.
const (
	Plain  Layout = "plain"  // one file of the single-valued columns
	Flat   Layout = "flat"   // one file; the columns of the household stand on each member's row
	Linked Layout = "linked" // one file for each repeated group, joined by keys
)

// table is one CSV file: its columns in order.
type table struct {
	name    string // without .csv
	dataset *annona.Dataset
	columns []column
	keys    int  // so many columns come first that belong to the records around the rows
	root    bool // one row for each record: its key is unique
	direct  bool // its rows lie in the records of the root file
}

type column struct {
	name  string
	field *annona.Field
}

func (t *table) has(name string) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name })
}

func tablesOf(shape *annona.Shape, layout Layout) ([]*table, error) {
	root := &table{name: shape.Dataset.Name, dataset: shape.Dataset, columns: columnsOf(shape.Columns, ""), root: true}
	switch layout {
	case Plain:
		return []*table{root}, nil
	case Flat:
		return []*table{flatten(root, shape)}, nil
	case Linked:
		return link(shape), nil
	}
	return nil, annona.Invalid("unknown_layout", "a layout of CSV is plain, flat or linked").On("layout")
}

func columnsOf(fields []*annona.Field, prefix string) []column {
	columns := make([]column, len(fields))
	for i, f := range fields {
		columns[i] = column{prefix + f.Code, f}
	}
	return columns
}

// flatten adds the columns of the nested records, each with the item's name before it.
func flatten(t *table, shape *annona.Shape) *table {
	for _, g := range shape.Groups {
		if g.Shape.Dataset.Root {
			t.columns = append(t.columns, columnsOf(g.Shape.Columns, g.Field.Item()+"_")...)
			t.root = false
		}
	}
	return t
}

// linked is a file before its columns are settled: the rows of one group may be found at
// several depths.
type linked struct {
	name   string
	places []place
}

type place struct {
	dataset *annona.Dataset
	fields  []*annona.Field
	around  []*annona.Dataset // the records that the rows lie in, outermost first
}

type linker struct{ files []*linked }

// link lays a shape out in files: the records, the nested records with their memberships, then
// each group.
func link(shape *annona.Shape) []*table {
	l := &linker{}
	l.add(shape.Dataset.Name, place{shape.Dataset, shape.Columns, nil})
	l.groups(shape, nil)
	var tables []*table
	for _, f := range l.files {
		if t := f.table(); t != nil {
			tables = append(tables, t)
		}
	}
	return tables
}

func (l *linker) add(name string, p place) {
	i := slices.IndexFunc(l.files, func(f *linked) bool { return f.name == name })
	if i < 0 {
		l.files = append(l.files, &linked{name: name, places: []place{p}})
		return
	}
	l.files[i].places = append(l.files[i].places, p)
}

func (l *linker) groups(shape *annona.Shape, around []*annona.Dataset) {
	around = append(slices.Clone(around), shape.Dataset)
	for _, nested := range []bool{true, false} {
		for _, g := range shape.Groups {
			if g.Shape.Dataset.Root != nested {
				continue
			}
			if nested {
				l.add(g.Shape.Dataset.Name, place{g.Shape.Dataset, g.Shape.Columns, around})
				l.memberships(g.Shape, around)
			} else {
				l.add(g.Field.Code, place{g.Shape.Dataset, g.Shape.Columns, around})
			}
			l.groups(g.Shape, around)
		}
	}
}

const memberships = "memberships"

// membershipFields are the columns of an individual that belong to the membership.
var membershipFields = []string{"role", "role_source_code", "relationship_to_head"}

// memberships adds the file that says who belongs to which household, when the members show
// who they are and anything of their membership, and do not carry it as a group.
func (l *linker) memberships(members *annona.Shape, around []*annona.Dataset) {
	var key, fields []*annona.Field
	for _, f := range members.Columns {
		switch {
		case f.Code == members.Dataset.Key:
			key = append(key, f)
		case slices.Contains(membershipFields, f.Base.Code):
			fields = append(fields, f)
		}
	}
	if key != nil && fields != nil && members.Group(memberships) < 0 {
		l.add(memberships, place{members.Dataset, append(key, fields...), around})
	}
}

// table settles the columns: the keys of the records around the rows, then the rows' own.
func (f *linked) table() *table {
	slices.SortStableFunc(f.places, func(a, b place) int { return len(a.around) - len(b.around) })
	outermost, deepest := f.places[0], f.places[len(f.places)-1]
	t := &table{name: f.name, dataset: outermost.dataset, root: len(outermost.around) == 0, direct: len(deepest.around) == 1}
	var own []column
	for _, p := range f.places {
		for _, c := range columnsOf(p.fields, "") {
			if !slices.Contains(own, c) {
				own = append(own, c)
			}
		}
	}
	if own == nil {
		return nil
	}
	for _, record := range deepest.around {
		key, rooted := record.Field(record.Key)
		if rooted && !slices.ContainsFunc(own, func(c column) bool { return c.name == record.Key }) {
			t.columns = append(t.columns, column{record.Key, key})
		}
	}
	t.keys = len(t.columns)
	t.columns = append(t.columns, own...)
	return t
}
