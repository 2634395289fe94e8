package assess

import (
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Shape is what an export looks like: which columns it has, what they are called, and how they are written.
type Shape struct {
	Dataset string
	Format  string // ndjson, json or csv
	Layout  string // of csv: plain, flat or linked
	Guarded bool   // csv that was written for spreadsheets

	dictionary *annona.Dictionary
	known      bool               // from a specification: what it does not name is not there
	own, of    map[string]*column // columns of records, and of members, by the name in the export
}

// column is a column of an export.
type column struct {
	field  string            // code of the field in the dictionary
	codes  map[string]string // the dictionary's code for each of the recipient's
	change annona.Treatment  // what was done to it
}

// Plain is the shape of an export without a specification: every column has the name of its field.
func Plain(d *annona.Dictionary, dataset, format, layout string) (*Shape, error) {
	s := &Shape{Dataset: dataset, Format: format, Layout: layout, dictionary: d}
	return s, s.check()
}

// Specified is the shape of what an export specification says.
func Specified(d *annona.Dictionary, spec *annona.ExportSpec) (*Shape, error) {
	s := &Shape{
		Dataset: spec.Dataset, Format: spec.Format, Layout: spec.Layout, Guarded: spec.Profile == "spreadsheet",
		known: true, own: map[string]*column{}, of: map[string]*column{},
	}
	if s.Format == "csv" && s.Layout == "" {
		s.Layout = map[string]string{"households": "linked", "individuals": "plain"}[s.Dataset]
	}
	var err error
	if s.dictionary, err = withDerived(d, spec); err != nil {
		return nil, err
	}
	for _, f := range spec.Fields {
		c := &column{field: f.Field, codes: map[string]string{}, change: f.Treatment}
		for ours, theirs := range f.Codes {
			c.codes[theirs] = ours
		}
		columns := s.own
		if group, name, nested := strings.Cut(f.Field, "."); nested {
			if group != "members" {
				continue // nothing is decided by what lies deeper
			}
			c.field, columns = name, s.of
		}
		name := f.As
		if name == "" {
			name = c.field
		}
		columns[name] = c
	}
	for _, r := range spec.Derived {
		s.own[r.As] = &column{field: derivedCode(r.As)}
	}
	return s, s.check()
}

func (s *Shape) check() error {
	switch {
	case s.Dataset != "households" && s.Dataset != "individuals":
		return annona.Invalid("unknown_dataset", "exports are of households or individuals").On("dataset")
	case s.Format != "ndjson" && s.Format != "json" && s.Format != "csv":
		return annona.Invalid("format_unsupported", "this reads NDJSON, JSON and CSV; ask for one of them").On("format")
	}
	return nil
}

// derivedCode is what a rule calls a derived column: its name in lower case.
func derivedCode(as string) string { return strings.ToLower(as) }

// nowhere is the country of derived columns: no country has that code.
const nowhere = "ZZ"

// withDerived returns a dictionary that also has the derived columns of a specification, as attributes of
// its dataset: a rule names them like fields.
func withDerived(d *annona.Dictionary, spec *annona.ExportSpec) (*annona.Dictionary, error) {
	if len(spec.Derived) == 0 {
		return d, nil
	}
	x := annona.Extension{Country: nowhere}
	dataset, ok := d.Dataset(spec.Dataset)
	if !ok {
		return d, nil
	}
	for _, r := range spec.Derived {
		kind := annona.TypeBool
		if rule, err := filter.CompileRule(d, dataset, r.Rule); r.Type == annona.RuleCount || r.Type == "" && err == nil && rule.Count {
			kind = annona.TypeInt
		}
		x.Fields = append(x.Fields, annona.Field{
			Dataset: spec.Dataset, Code: derivedCode(r.As), Type: kind, Label: r.As, Definition: "Derived by the specification.",
			Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterRange,
		})
	}
	return d.Extend(x)
}

// has refuses a condition about something that the export does not have, or not as it is.
func (s *Shape) has(about string, condition annona.Condition) error {
	if names(condition) {
		return annona.Invalid("rule_unsupported", "a rule of a partner cannot say within(…): the tree of areas is the registry's; choose areas in the filter of the specification")
	}
	for path := range filter.Paths(condition) {
		if err := s.hasPath(about, path); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shape) hasPath(about string, path annona.Path) error {
	columns := s.own
	switch {
	case about == "individuals" && s.Dataset == "households":
		if path.Root == annona.RootSelf {
			columns = s.of
		}
	case path.Root == annona.RootHousehold:
		return annona.Invalid("rule_field_missing", "an export of individuals has nothing of their households; take in one of households, whose members are decided on").On(path.Field.Code)
	case path.Root == annona.RootHead, path.Root == annona.RootMember:
		columns = s.of
	}
	if !s.known {
		return nil
	}
	for _, c := range columns {
		if c.field == path.Field.Code && c.change != "" && c.change != annona.TreatPass {
			return annona.Invalid("rule_field_altered", "the specification shows this field altered, so that a rule would be about something else; have the registry derive what you need").On(c.field)
		}
		if c.field == path.Field.Code {
			return s.hasHead(path)
		}
	}
	return annona.Invalid("rule_field_missing", "the specification does not have this field, so that the rule would hold for nobody").On(path.Field.Code)
}

// hasHead demands the role, by which the head is known.
func (s *Shape) hasHead(path annona.Path) error {
	if path.Root != annona.RootHead {
		return nil
	}
	for _, c := range s.of {
		if c.field == "role" {
			return nil
		}
	}
	return annona.Invalid("rule_field_missing", "who is the head is told by the role of members, which the specification does not have").On("role")
}

// names reports whether a condition says within.
func names(c annona.Condition) bool {
	switch c := c.(type) {
	case annona.Within:
		return true
	case annona.And:
		for _, part := range c {
			if names(part) {
				return true
			}
		}
	case annona.Or:
		for _, part := range c {
			if names(part) {
				return true
			}
		}
	case annona.Not:
		return names(c.Of)
	case annona.Exists:
		return names(c.Of)
	case annona.Count:
		return names(c.Of)
	}
	return false
}

// find returns the column that the export calls so, of records or of their members.
func (s *Shape) find(name string, member bool) (*column, bool) {
	columns := s.own
	if member {
		columns = s.of
	}
	if !s.known {
		return &column{field: name}, true
	}
	c, ok := columns[name]
	return c, ok
}
