package exchange

import (
	"context"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/privacy"
)

// specification is an export specification under a grant: what is read, and how it is shown.
type specification struct {
	dictionary *annona.Dictionary
	version    int
	shown      *annona.Shape // with the recipient's names, in the recipient's order
	changes    map[*annona.Field]privacy.Change
	rules      []annona.Condition // of derived columns
	ages       bool               // a treatment shows ages
	change     *annona.Field      // the column that says what to do with a row; nil: there is none
}

// recipientName is what a recipient may call a column: a name in every format.
var recipientName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,59}$`)

// maxSpecDepth bounds how deep groups lie in each other: members.identifiers.value.
const maxSpecDepth = 3

// compileSpec resolves the columns of a specification under a grant. It refuses what the dictionary
// does not know, what the grant does not give, two columns of one name, and codes that would lose
// or confuse values.
func compileSpec(d *annona.Dictionary, grant *annona.Grant, spec *annona.ExportSpec, on surroundings) (*specification, error) {
	dataset, err := rootDataset(d, spec.Dataset)
	if err != nil {
		return nil, err
	}
	if len(spec.Fields) == 0 || len(spec.Fields) > maxFields {
		return nil, annona.Invalid("spec_fields", "a specification has 1 to %d fields", maxFields).On("fields")
	}
	c := specCompiler{
		grant:         grant,
		on:            on,
		specification: &specification{dictionary: d, version: spec.Version, changes: map[*annona.Field]privacy.Change{}},
	}
	columns := make([]specColumn, len(spec.Fields))
	for i := range spec.Fields {
		columns[i] = specColumn{path: strings.Split(spec.Fields[i].Field, "."), SpecField: &spec.Fields[i]}
		if len(columns[i].path) > maxSpecDepth {
			return nil, annona.Invalid("unknown_field", "groups are not nested that deep").On(spec.Fields[i].Field)
		}
	}
	if c.derived, err = c.columns(dataset, spec.Derived); err != nil {
		return nil, err
	}
	if err := c.mode(dataset, spec); err != nil {
		return nil, err
	}
	c.shown, err = c.shape(dataset, columns, false)
	return c.specification, err
}

type specCompiler struct {
	grant   *annona.Grant
	on      surroundings
	derived []*annona.Field // columns behind the others
	*specification
}

// surroundings are what treatments look at beside a value: the day of the export and the areas.
type surroundings struct {
	asOf  annona.Date
	areas *filter.AreaTree // nil: no treatment needs it
}

// surroundingsOf reads what the treatments of a specification look at.
func (x *Exchange) surroundingsOf(ctx context.Context, spec *annona.ExportSpec, asOf annona.Date) (surroundings, error) {
	on := surroundings{asOf: asOf}
	if !slices.ContainsFunc(spec.Fields, func(f annona.SpecField) bool { return f.Treatment == annona.TreatArea }) {
		return on, nil
	}
	var err error
	on.areas, err = x.Areas(ctx)
	return on, err
}

// specColumn is a column on its way down: path is what is left of its field.
type specColumn struct {
	path []string
	*annona.SpecField
}

// shape resolves the columns of one dataset, in their order. A group stands where its first column does.
func (c specCompiler) shape(dataset *annona.Dataset, columns []specColumn, nested bool) (*annona.Shape, error) {
	shape := &annona.Shape{}
	var fields []*annona.Field
	for i, column := range columns {
		f, err := c.field(dataset, column, nested)
		if err != nil {
			return nil, err
		}
		if f.Type != annona.TypeGroup {
			shown, err := c.show(f, column)
			if err != nil {
				return nil, err
			}
			shape.Columns = append(shape.Columns, shown)
			fields = append(fields, shown)
			continue
		}
		if slices.ContainsFunc(columns[:i], func(o specColumn) bool { return o.path[0] == f.Code }) {
			continue // it was resolved with its first column
		}
		inner, err := c.group(f, columns[i:])
		if err != nil {
			return nil, err
		}
		shown := *f
		shown.Origin = f
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: &shown, Shape: inner})
		fields = append(fields, &shown)
	}
	if !nested {
		shape.Columns, fields = append(shape.Columns, c.derived...), append(fields, c.derived...)
		if c.change != nil {
			shape.Columns, fields = slices.Insert(shape.Columns, 0, c.change), slices.Insert(fields, 0, c.change)
		}
	}
	if err := distinct(dataset, fields); err != nil {
		return nil, err
	}
	if err := distinctFlat(shape); err != nil {
		return nil, err
	}
	shape.Dataset = dataset.Showing(fields)
	if c.change != nil && !nested {
		return shape, c.checkKey(shape)
	}
	return shape, nil
}

// group resolves what the columns name of a group.
func (c specCompiler) group(f *annona.Field, columns []specColumn) (*annona.Shape, error) {
	var inner []specColumn
	for _, column := range columns {
		if column.path[0] == f.Code && len(column.path) > 1 { // a whole group is refused in its turn
			inner = append(inner, specColumn{column.path[1:], column.SpecField})
		}
	}
	dataset, _ := c.dictionary.Dataset(f.Group)
	return c.shape(dataset, inner, true)
}

// field finds the next field of a path.
func (c specCompiler) field(dataset *annona.Dataset, column specColumn, nested bool) (*annona.Field, error) {
	f, known := dataset.Field(column.path[0])
	if !known || len(column.path) > 1 && f.Type != annona.TypeGroup {
		return nil, annona.Invalid("unknown_field", "%s have no such field; the schema %s.schema.json lists them", dataset.Name, dataset.Name).On(column.Field)
	}
	_, granted := c.grant.Field(f)
	switch {
	case len(column.path) == 1 && f.Type == annona.TypeGroup:
		return nil, annona.Invalid("group_unresolved", "name the columns of the group that leave: %s.…", column.Field).On(column.Field)
	case nested && leadsBack(f):
		return nil, annona.Invalid("group_repeated", "a member does not repeat the memberships that lead back to its household").On(column.Field)
	case !granted:
		return nil, annona.Forbidden("field_not_granted", "the agreement does not grant this field").On(column.Field)
	case isFlags(f):
		return nil, annona.Invalid("group_unsuitable", "quality flags leave with whole records only, not under other names").On(column.Field)
	}
	return f, nil
}

// show gives a field the recipient's name and notes what is changed of it.
func (c specCompiler) show(f *annona.Field, column specColumn) (*annona.Field, error) {
	shown := *f
	shown.Origin = f
	if column.As != "" {
		shown.Code = column.As
		if !recipientName.MatchString(column.As) {
			return nil, nameMalformed(column.Field)
		}
	}
	change := privacy.Change{Treatment: column.Treatment, Band: column.Band, Codes: column.Codes, AsOf: c.on.asOf}
	switch {
	case column.Codes != nil && column.Treatment != "":
		return nil, annona.Invalid("change_twice", "a field has other codes or a treatment, not both").On(column.Field)
	case column.Codes != nil:
		if err := c.checkCodes(f, column); err != nil {
			return nil, err
		}
		shown.Type, shown.CodeList = annona.TypeText, ""
	case column.Treatment != "":
		if err := c.checkTreatment(f, column); err != nil {
			return nil, err
		}
		switch column.Treatment {
		case annona.TreatAge:
			shown.Type, shown.Unit, c.ages = annona.TypeInt, years, true
		case annona.TreatArea:
			change.Area = func(code string) string { return c.on.areas.AtLevel(code, column.Level) }
		}
	case column.Band != 0 || column.Level != 0:
		return nil, annona.Invalid("treatment_misplaced", "band and level belong to a treatment").On(column.Field)
	default:
		return &shown, nil
	}
	c.changes[&shown] = change
	return &shown, nil
}

func nameMalformed(column string) error {
	return annona.Invalid("name_malformed", "a name is made of letters, digits and underscores, begins with a letter and is at most 60 characters long").On(column)
}

// checkCodes refuses codes that would lose a value or make two of them one.
func (c specCompiler) checkCodes(f *annona.Field, column specColumn) error {
	list, known := c.dictionary.CodeList(f.CodeList)
	if f.Type != annona.TypeCode || !known || list.Open {
		return annona.Invalid("codes_misplaced", "only a field of a closed code list has other codes").On(column.Field)
	}
	theirs := map[string]bool{}
	for _, code := range list.Codes {
		their, mapped := column.Codes[code.Code]
		switch {
		case !mapped:
			return annona.Invalid("codes_lossy", "the list %s has codes that are not mapped; map each of them", list.Name).On(column.Field + ": " + code.Code)
		case theirs[their]:
			return annona.Invalid("codes_lossy", "two codes of the list %s become one", list.Name).On(column.Field + ": " + their)
		case !annona.IsCode(their):
			return annona.Invalid("code_malformed", "a code is not empty and has no control character, no semicolon and no space at its ends").On(column.Field)
		}
		theirs[their] = true
	}
	for code := range column.Codes {
		if !list.Has(code) {
			return annona.Invalid("unknown_code", "the list %s has no such code", list.Name).On(column.Field + ": " + code)
		}
	}
	return nil
}

// years is how UCUM writes the unit.
const years = "a"

// checkTreatment refuses a treatment that does not fit the field.
func (c specCompiler) checkTreatment(f *annona.Field, column specColumn) error {
	isArea := column.Treatment == annona.TreatArea
	switch {
	case isArea && f.CodeList == filter.AreaList && !f.Many && column.Band == 0 && column.Level > 0 && column.Level <= annona.MaxAreaLevel:
		return nil
	case isArea || column.Level != 0:
		return annona.Invalid("treatment_misplaced", "area with its level is for areas; no other treatment has a level").On(column.Field)
	}
	return column.Treatment.Fits(f, column.Band)
}

// distinct refuses two columns of one name.
func distinct(dataset *annona.Dataset, fields []*annona.Field) error {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Code] {
			return annona.Invalid("name_twice", "two columns of %s have one name", dataset.Name).On(f.Code)
		}
		seen[f.Code] = true
	}
	return nil
}

// distinctFlat refuses a column that has the name of a nested record's column in a flat table, where
// that one carries the item's name as prefix.
func distinctFlat(shape *annona.Shape) error {
	for _, g := range shape.Groups {
		if !g.Shape.Dataset.Root {
			continue // flat tables have no columns of it
		}
		prefix := g.Field.Item() + "_"
		for _, f := range g.Shape.Columns {
			if shape.Column(prefix+f.Code) >= 0 {
				return annona.Invalid("name_twice", "a column has the name that one of %s has in a flat table", g.Field.Code).On(prefix + f.Code)
			}
		}
	}
	return nil
}

// read is what a shape with the recipient's names reads: the fields that it shows.
func (s *specification) read(shown *annona.Shape) *annona.Shape {
	dataset, _ := s.dictionary.Dataset(shown.Dataset.Name)
	shape := &annona.Shape{Dataset: dataset}
	for _, f := range shown.Columns {
		if f != s.change {
			shape.Columns = append(shape.Columns, f.Shows())
		}
	}
	for _, g := range shown.Groups {
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: g.Field.Shows(), Shape: s.read(g.Shape)})
	}
	return shape
}

// records is a shape without the column that says what to do with a row.
func (s *specification) records(shown *annona.Shape) *annona.Shape {
	if s.change == nil || len(shown.Columns) == 0 || shown.Columns[0] != s.change {
		return shown
	}
	return &annona.Shape{Dataset: shown.Dataset, Columns: shown.Columns[1:], Groups: shown.Groups}
}

// questionOf is what an export by a specification asks, but for its columns.
func questionOf(spec *annona.ExportSpec) Question {
	return Question{Dataset: spec.Dataset, Purpose: spec.Purpose, Filter: spec.Filter, AsOf: spec.AsOf, spec: true}
}

// sameSpec reports whether two specifications say the same, whatever their versions.
func sameSpec(a, b *annona.ExportSpec) bool {
	x, y := *a, *b
	x.Version, x.PutAt, x.Dropped = y.Version, y.PutAt, y.Dropped
	return reflect.DeepEqual(x, y)
}
