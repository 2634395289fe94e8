package exchange

import (
	"slices"

	"github.com/annona-exchange/annona"
)

// A quality flag about a field tells something of the field: that its code has no mapping, that
// its value could not be read. So it goes where the field goes. Package privacy leaves such
// flags out of what is shown; a filter may not ask for them either.

// flagAbout is the column of quality_flags that names the field.
const flagAbout = "field"

// isFlags: provenance is about fields in the same way.
func isFlags(f *annona.Field) bool { return f.Group == "quality_flags" || f.Group == provenance }

// flagTells names what each kind of flag tells of. A kind that is not here may be about any
// field.
var flagTells = map[string][]string{
	"no_head":                 {},
	"two_heads":               {},
	"household_unreported":    {},
	"duplicate_suspected":     {},
	"survey_stale":            {"assessments"},
	"area_unknown":            {"area_code"},
	"area_closed":             {"area_code"},
	"date_of_birth_estimated": {"date_of_birth"},
	"id_disputed":             {"identifiers.value"},
	"id_format_invalid":       {"identifiers.value"},
}

// flagsWithheld returns the field of the flags when a leaf of a filter asks for one that tells of
// a field which the grant does not pass.
func flagsWithheld(d *annona.Dictionary, grant *annona.Grant, leaf annona.Condition) (*annona.Field, bool) {
	in, ok := leaf.(annona.In)
	if !ok || !isFlags(in.Path.Field) {
		return nil, false
	}
	owner, _ := d.Dataset(in.Path.Field.Dataset)
	withheld := slices.ContainsFunc(in.Values, func(code annona.Constant) bool {
		tells, known := flagTells[code.Text]
		if !known {
			tells = fieldNames(&annona.Shape{Dataset: owner, Columns: owner.Fields})
		}
		return slices.ContainsFunc(tells, func(name string) bool { return !grant.Passes(owner, name) })
	})
	return in.Path.Field, withheld
}

// checkFlags refuses flags without what they are about: which of them may be shown could not be
// told.
func checkFlags(shape *annona.Shape) error {
	for _, g := range shape.Groups {
		if isFlags(g.Field) && g.Shape.Column(flagAbout) < 0 {
			return annona.Invalid("field_missing", "this is shown together with the field that it is about: ask for %s.%s too", g.Field.Code, flagAbout).On("fields")
		}
		if err := checkFlags(g.Shape); err != nil {
			return err
		}
	}
	return nil
}
