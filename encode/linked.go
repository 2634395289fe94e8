package encode

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// A linkedFile is a file of a linked answer before its columns are settled. The same group may
// be found on several paths: identifiers of a household and of its members go into one file.
type linkedFile struct {
	name  string
	paths []path
}

// path leads from the records to the rows of a file.
type path struct {
	steps   []annona.GroupShape // the first one is the records themselves and has no field
	columns []*annona.Field     // of the last step, that the file shows
}

// memberships is the file, and the group, that says who belongs to which household.
const memberships = "memberships"

// membershipFields are the fields of an individual that belong to the membership.
var membershipFields = []string{"role", "role_source_code", "relationship_to_head"}

// linkedParts lays each repeated group into a file of its own, which carries the keys of all
// that its rows lie in.
func linkedParts(shape *annona.Shape, o Options) ([]Part, error) {
	root := []annona.GroupShape{{Shape: shape}}
	c := &collector{}
	c.add(shape.Dataset.Name, root, shape.Columns)
	c.groups(root)
	var parts []Part
	for _, f := range c.files {
		t, err := f.table()
		if err != nil {
			return nil, err
		}
		if len(t.header) > 0 { // else only groups of the records were asked for
			parts = append(parts, t.part(o.tableName(f.name)))
		}
	}
	if len(parts) == 0 {
		return nil, annona.Invalid("no_columns", "name at least one column").On("fields")
	}
	return parts, nil
}

// collector finds the files of a shape: the records, the members, and then each group.
type collector struct{ files []*linkedFile }

func (c *collector) add(name string, steps []annona.GroupShape, columns []*annona.Field) {
	p := path{steps: slices.Clone(steps), columns: columns}
	i := slices.IndexFunc(c.files, func(f *linkedFile) bool { return f.name == name })
	if i < 0 {
		c.files = append(c.files, &linkedFile{name: name, paths: []path{p}})
		return
	}
	c.files[i].paths = append(c.files[i].paths, p)
}

func (c *collector) groups(steps []annona.GroupShape) {
	shape := steps[len(steps)-1].Shape
	if i := shape.Group(members); i >= 0 {
		c.members(append(steps, shape.Groups[i]))
	}
	for _, g := range shape.Groups {
		if g.Field.Code == members {
			continue
		}
		inner := append(steps, g)
		c.add(g.Field.Code, inner, g.Shape.Columns)
		c.groups(inner)
	}
}

// members adds the file of the individuals in households, and that of their memberships unless
// the members carry memberships as a group of their own.
func (c *collector) members(steps []annona.GroupShape) {
	shape := steps[len(steps)-1].Shape
	c.add(shape.Dataset.Name, steps, shape.Columns)
	if shape.Group(memberships) < 0 {
		if columns := membershipColumns(shape); columns != nil {
			c.add(memberships, steps, columns)
		}
	}
	c.groups(steps)
}

// membershipColumns returns the individual's key and what the shape has of the membership;
// nothing when it lacks one of the two.
func membershipColumns(shape *annona.Shape) []*annona.Field {
	var key, columns []*annona.Field
	for _, f := range shape.Columns {
		switch {
		case f.Code == shape.Dataset.Key:
			key = append(key, f)
		case slices.Contains(membershipFields, f.Shows().Base.Code):
			columns = append(columns, f)
		}
	}
	if key == nil || columns == nil {
		return nil
	}
	return append(key, columns...)
}

// table settles the columns of a file: first the keys of what its rows lie in, then their own.
func (f *linkedFile) table() (*table, error) {
	slices.SortStableFunc(f.paths, func(a, b path) int { return len(a.steps) - len(b.steps) })
	var own []string
	for _, p := range f.paths {
		for _, column := range p.columns {
			if !slices.Contains(own, column.Code) {
				own = append(own, column.Code)
			}
		}
	}
	var keys []string
	for _, key := range f.paths[len(f.paths)-1].keys() {
		if !slices.Contains(own, key) {
			keys = append(keys, key)
		}
	}
	t := &table{header: slices.Concat(keys, own)}
	for _, p := range f.paths {
		if err := p.graft(t, keys, own); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// keys are the key columns of the records and members that the rows of the path lie in.
func (p path) keys() []string {
	var keys []string
	for _, step := range p.steps[:len(p.steps)-1] {
		if step.Shape.Dataset.Root {
			keys = append(keys, step.Shape.Dataset.Key)
		}
	}
	return keys
}

// graft adds the tiers of the path to the table. Paths that begin alike share their tiers.
func (p path) graft(t *table, keys, own []string) error {
	last := len(p.steps) - 1
	var at *tier
	for _, step := range p.steps[:last] {
		key, err := keyColumn(step.Shape, keys)
		if err != nil {
			return err
		}
		keys, at = keys[len(key):], at.descend(t, step, key)
	}
	columns := make([]*annona.Field, len(keys), len(keys)+len(own)) // a household's own rows have no individual's key
	for _, code := range own {
		var column *annona.Field
		if i := slices.IndexFunc(p.columns, func(f *annona.Field) bool { return f.Code == code }); i >= 0 {
			column = p.columns[i]
		}
		columns = append(columns, column)
	}
	at.descend(t, p.steps[last], columns)
	return nil
}

// keyColumn returns the key of one depth when it is the next one of the file; nothing when the
// rows of the file have a column of that name themselves, or the depth has no key.
func keyColumn(shape *annona.Shape, keys []string) ([]*annona.Field, error) {
	key := shape.Dataset.Key
	if len(keys) == 0 || keys[0] != key {
		return nil, nil
	}
	at := shape.Column(key)
	if at < 0 {
		return nil, annona.Invalid("key_missing", "linked files are joined by %s; ask for this field of the %s too, or for another layout", key, shape.Dataset.Name).On("fields")
	}
	return shape.Columns[at : at+1 : at+1], nil
}

// descend returns the tier of that group below t, or the root when t is nil, and makes it when
// it is not there yet.
func (t *tier) descend(in *table, step annona.GroupShape, columns []*annona.Field) *tier {
	next := &tier{dataset: step.Shape.Dataset, group: step.Field, columns: columns}
	if t == nil {
		if in.root == nil {
			in.root = next
		}
		return in.root
	}
	i := slices.IndexFunc(t.below, func(b *tier) bool { return b.group == step.Field })
	if i < 0 {
		t.below = append(t.below, next)
		return next
	}
	return t.below[i]
}
