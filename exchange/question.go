package exchange

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// Question is what a caller asks of one dataset.
type Question struct {
	Dataset string      // households or individuals
	Purpose string      // code of a purpose in the caller's agreement
	Fields  []string    // columns, groups, or group.column; empty: all that is granted
	Filter  string      // in the filter language; empty: no filter
	AsOf    annona.Date // day on which ages and memberships are read; empty: today
	// Position is one that an export or Follow has given out: an export of the rows as they were there.
	// Empty: as they are.
	Position string
	// NilReasons adds to each column its companion that says why a value is absent. Flat
	// formats leave it false and carry such a companion only when Fields names it.
	NilReasons bool
	// Plain is for an answer that has no place for repeated groups: those that Fields does not
	// name are not read, one that it names is refused.
	Plain bool
	// matters lets the dataset be one of matters, which have verbs of their own.
	matters bool
	// whole says that all of it is told one after the other, from the beginning.
	whole bool
	// spec says that a specification names the columns, see showBySpec.
	spec bool
	// atMost is how many rows the answer can have, where the caller has said so or it is on file.
	atMost annona.Estimate
	// weighed is what was found out about the request when it began; nil: it begins.
	weighed *annona.Weighed
}

// maxFields bounds the names in Question.Fields.
const maxFields = 500

// shapeOf resolves the columns of a question under a grant: all that is granted, or what was
// asked for when every name of it is known and granted. Columns stand in the dictionary's
// order, in whatever order they were asked for.
func shapeOf(d *annona.Dictionary, grant *annona.Grant, q Question) (*annona.Shape, error) {
	dataset, err := askedDataset(d, q)
	if err != nil {
		return nil, err
	}
	if len(q.Fields) > maxFields {
		return nil, annona.TooLarge("too_many_fields", "name at most %d fields", maxFields).On("fields")
	}
	s := selector{dictionary: d, grant: grant, nilReasons: q.NilReasons, plain: q.Plain}
	if len(q.Fields) == 0 {
		return s.everything(dataset, false), nil
	}
	asked, err := s.parse(dataset, q.Fields)
	if err != nil {
		return nil, err
	}
	shape := s.selection(dataset, asked)
	return shape, checkFlags(shape)
}

func askedDataset(d *annona.Dictionary, q Question) (*annona.Dataset, error) {
	if dataset, ok := d.Dataset(q.Dataset); ok && dataset.Matter && q.matters {
		return dataset, nil
	}
	return rootDataset(d, q.Dataset)
}

func rootDataset(d *annona.Dictionary, name string) (*annona.Dataset, error) {
	dataset, ok := d.Dataset(name)
	if !ok || !dataset.Root {
		return nil, annona.Invalid("unknown_dataset", "the datasets are households and individuals").On("dataset")
	}
	return dataset, nil
}

// selector turns names into shapes under one grant.
type selector struct {
	dictionary *annona.Dictionary
	grant      *annona.Grant
	nilReasons bool
	plain      bool
}

// wanted is what was asked of a dataset: names of columns, and of groups with what was asked
// of them (nil: everything).
type wanted struct {
	columns []string
	groups  map[string]*wanted
}

func (s selector) parse(dataset *annona.Dataset, names []string) (*wanted, error) {
	w := &wanted{groups: map[string]*wanted{}}
	for i, name := range names {
		if err := s.add(dataset, w, name, false); err != nil {
			return nil, err.AtPosition(i + 1)
		}
	}
	return w, nil
}

// add adds one name to what is wanted of a dataset; nested says that its records lie in others.
func (s selector) add(dataset *annona.Dataset, w *wanted, name string, nested bool) *annona.Error {
	head, rest, deeper := strings.Cut(name, ".")
	f, ok := dataset.Field(head)
	if !ok || deeper && f.Type != annona.TypeGroup {
		return unknownField(dataset)
	}
	if nested && leadsBack(f) {
		return annona.Invalid("group_repeated", "a member does not repeat the memberships that lead back to its household; ask for members.role, or for individuals").On(f.Code)
	}
	if _, granted := s.grant.Field(f); !granted {
		return annona.Forbidden("field_not_granted", "the agreement does not grant this field of %s", dataset.Name).On(f.Code)
	}
	if f.Type != annona.TypeGroup {
		w.columns = append(w.columns, f.Code)
		return nil
	}
	if s.plain {
		return annona.Invalid("group_not_plain", "the answer has no place for a repeated group; ask for layout=linked, or for another format").On(f.Code)
	}
	group, _ := s.dictionary.Dataset(f.Group)
	if !deeper {
		w.groups[f.Code] = nil
		return nil
	}
	inner, seen := w.groups[f.Code]
	if seen && inner == nil {
		return nil // the whole group was asked for already
	}
	if !seen {
		inner = &wanted{groups: map[string]*wanted{}}
		w.groups[f.Code] = inner
	}
	return s.add(group, inner, rest, true)
}

// leadsBack reports whether a group of a nested record would lead back to the record around it.
// The published schemas have no place for it there.
func leadsBack(f *annona.Field) bool { return f.Group == "memberships" }

// unknownField does not repeat what was asked: it may be anything, also somebody's name.
func unknownField(dataset *annona.Dataset) *annona.Error {
	return annona.Invalid("unknown_field", "the name at this position of the list is no field of %s; the schema %s.schema.json lists them. Names are separated by commas, without spaces", dataset.Name, dataset.Name).On("fields")
}

// selection is the shape of what was asked for.
func (s selector) selection(dataset *annona.Dataset, w *wanted) *annona.Shape {
	shape := &annona.Shape{Dataset: dataset}
	for f := range dataset.Columns() {
		if f.Type == annona.TypeGroup {
			s.addGroup(shape, f, w)
			continue
		}
		asked := slices.Contains(w.columns, f.Code)
		follows := f.Aspect == annona.AspectNilReason && s.nilReasons && slices.Contains(w.columns, f.Base.Code)
		if asked || follows && s.granted(f) {
			shape.Columns = append(shape.Columns, f)
		}
	}
	return shape
}

func (s selector) addGroup(shape *annona.Shape, f *annona.Field, w *wanted) {
	inner, asked := w.groups[f.Code]
	if !asked {
		return
	}
	group, _ := s.dictionary.Dataset(f.Group)
	nested := s.everything(group, true)
	if inner != nil {
		nested = s.selection(group, inner)
	}
	if len(nested.Columns)+len(nested.Groups) > 0 {
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: nested})
	}
}

// everything is the shape of all that is granted of a dataset. A member inside a household
// does not repeat its memberships.
func (s selector) everything(dataset *annona.Dataset, nested bool) *annona.Shape {
	shape := &annona.Shape{Dataset: dataset}
	for f := range dataset.Columns() {
		if !s.granted(f) || f.Aspect == annona.AspectNilReason && !s.nilReasons {
			continue
		}
		if f.Type != annona.TypeGroup {
			shape.Columns = append(shape.Columns, f)
			continue
		}
		if s.plain || nested && leadsBack(f) {
			continue
		}
		group, _ := s.dictionary.Dataset(f.Group)
		inner := s.everything(group, true)
		if isFlags(f) && inner.Column(flagAbout) < 0 {
			continue
		}
		if len(inner.Columns)+len(inner.Groups) > 0 {
			shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: inner})
		}
	}
	return shape
}

func (s selector) granted(f *annona.Field) bool {
	_, ok := s.grant.Field(f)
	return ok
}

// withheld names the fields of a dataset that the grant does not give: the same for every row.
func withheld(dataset *annona.Dataset, grant *annona.Grant) []string {
	var names []string
	for _, f := range dataset.Fields {
		if _, ok := grant.Field(f); !ok {
			names = append(names, f.Code)
		}
	}
	return names
}
