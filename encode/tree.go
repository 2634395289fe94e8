package encode

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// node is a record, or an item of a group, as the nested formats write it: its fields in
// published order, each between its own head and tail.
type node struct {
	fields []nodeField
	noun   string // what it is
}

// nodeField is a column or a group of a node.
type nodeField struct {
	cells
	field   *annona.Field
	literal bool          // a JSON number or truth value, without quotes
	head    string        // before the value
	between string        // of the values of a list, and of the items of a group
	tail    string        // behind the value
	item    *node         // of a group
	group   int           // index of the group in the shape
	rows    *annona.Group // of the page being written
}

// newNode compiles what the shape want says for pages of the shape have. dress gives each field
// its head, between and tail.
func newNode(want, have *annona.Shape, care *careful, dress func(*nodeField)) (*node, error) {
	n := &node{noun: want.Dataset.Noun}
	for _, f := range published(want) {
		field := nodeField{field: f}
		var err error
		if f.Type == annona.TypeGroup {
			err = field.nest(want, have, care, dress)
		} else {
			field.cells, err = newCells(f, have, care)
		}
		if err != nil {
			return nil, err
		}
		dress(&field)
		n.fields = append(n.fields, field)
	}
	return n, nil
}

func (f *nodeField) nest(want, have *annona.Shape, care *careful, dress func(*nodeField)) (err error) {
	code := f.field.Code
	f.group = have.Group(code)
	if f.group < 0 {
		return misuse("a page has the groups of its part; " + code + " is missing")
	}
	f.item, err = newNode(want.Groups[want.Group(code)].Shape, have.Groups[f.group].Shape, care, dress)
	return err
}

// published returns the columns and groups of a shape in the order of the dictionary.
func published(shape *annona.Shape) []*annona.Field {
	fields := slices.Clone(shape.Columns)
	for _, g := range shape.Groups {
		fields = append(fields, g.Field)
	}
	rank := map[string]int{}
	for f := range shape.Dataset.Columns() {
		rank[f.Code] = len(rank)
	}
	slices.SortStableFunc(fields, func(a, b *annona.Field) int { return rank[a.Code] - rank[b.Code] })
	return fields
}

// start puts the node before the first row of the page.
func (n *node) start(p *annona.Page) {
	for i := range n.fields {
		f := &n.fields[i]
		if f.item == nil {
			f.cells.start(p)
			continue
		}
		f.rows = &p.Groups[f.group]
		f.item.start(f.rows.Page)
	}
}
