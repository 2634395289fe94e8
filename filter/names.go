package filter

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/annona-exchange/annona"
)

// The root datasets.
const (
	individuals = "individuals"
	households  = "households"
)

// root returns what a name stands for, as seen from the records of the filter's dataset.
func (c *compiler) root(name string) (root annona.Root, dataset string, ok bool) {
	if c.member != "" && name == c.member {
		return annona.RootMember, individuals, true
	}
	switch {
	case name == c.dataset.Noun:
		return annona.RootSelf, c.dataset.Name, true
	case c.dataset.Name == individuals && name == "household":
		return annona.RootHousehold, households, true
	case c.dataset.Name == households && name == "head":
		return annona.RootHead, individuals, true
	}
	return 0, "", false
}

// isRoot reports whether a name has a meaning of its own, so that no member can be called that.
func (c *compiler) isRoot(name string) bool {
	_, _, ok := c.root(name)
	return ok || name == "members" || name == "individual" || name == asOf
}

// rootNames lists the names that fields stand behind, for messages.
func (c *compiler) rootNames() string {
	switch {
	case c.member != "":
		return "household and the member"
	case c.dataset.Name == households:
		return "household, head and members"
	case c.dataset.Name == individuals:
		return "individual and household"
	}
	return c.dataset.Noun
}

// path compiles name.field and checks that the field can be filtered.
func (c *compiler) path(e ast.Expr) (annona.Path, error) {
	selected := e.AsSelect()
	if selected.Operand().Kind() != ast.IdentKind {
		return annona.Path{}, c.fault(e, "filter_unsupported", "a field stands directly behind the name of its record")
	}
	name := selected.Operand().AsIdent()
	root, of, ok := c.root(name)
	if !ok {
		return annona.Path{}, c.fault(e, "unknown_field", "fields of %s are filtered here; this name is not among them: %s", c.dataset.Name, c.rootNames())
	}
	if root == annona.RootHead && c.member != "" {
		return annona.Path{}, c.fault(e, "filter_unsupported", "inside members a condition is about the member or the household; put what is about the head beside it").On("head")
	}
	dataset, ok := c.dictionary.Dataset(of)
	if !ok {
		return annona.Path{}, c.fault(e, "unknown_field", "the dictionary has no such dataset").On(of)
	}
	field, ok := dataset.Field(selected.FieldName())
	if !ok {
		return annona.Path{}, c.fault(e, "unknown_field", "the dataset has no such field; the dictionary lists those it has").On(of)
	}
	return annona.Path{Root: root, Field: field}, c.filterable(e, field)
}

// filterable refuses a field that no filter may name and says what to do instead.
func (c *compiler) filterable(e ast.Expr, f *annona.Field) error {
	refuse := func(why string) error {
		return c.fault(e, "field_not_filterable", "%s", why).On(f.Code)
	}
	switch {
	case isFlags(f):
		return nil
	case f.Filter == annona.FilterLookup, f.Sensitivity == annona.Identifies && f.Filter == annona.FilterNone:
		return refuse("identifiers are not filtered; find their holder with POST /v1/lookup")
	case f.Type == annona.TypeGroup:
		return refuse("this is a repeated group, not a value; it cannot be filtered")
	case f.IsSealed():
		return refuse("this field is sealed in the store and cannot be filtered")
	case f.Filter != annona.FilterRange:
		return refuse("this field cannot be filtered")
	}
	return nil
}

// isFlags reports whether f is the group of quality flags. In a filter it is the set of the
// codes of its flags: the one group that can be filtered.
func isFlags(f *annona.Field) bool { return f.Type == annona.TypeGroup && f.Code == "quality_flags" }

// isSet reports whether f has several values for one record.
func isSet(f *annona.Field) bool { return f.Many || isFlags(f) }

// codeList returns the code list of a code field or of the quality flags.
func (c *compiler) codeList(f *annona.Field) (*annona.CodeList, bool) {
	if isFlags(f) {
		flags, ok := c.dictionary.Dataset(f.Group)
		if !ok {
			return nil, false
		}
		if f, ok = flags.Field("code"); !ok {
			return nil, false
		}
	}
	return c.dictionary.CodeList(f.CodeList)
}

// moneyTerms returns the fields that say what an amount of money is in: its currency and,
// where it has one, its period. An amount is a field x_amount that stands beside x_currency.
func (c *compiler) moneyTerms(f *annona.Field) []*annona.Field {
	dataset, ok := c.dictionary.Dataset(f.Dataset)
	if !ok {
		return nil
	}
	stem, ok := strings.CutSuffix(f.Code, "_amount")
	if !ok {
		return nil
	}
	currency, ok := dataset.Field(stem + "_currency")
	if !ok {
		return nil
	}
	period, ok := dataset.Field(stem + "_period")
	if !ok {
		return []*annona.Field{currency}
	}
	return []*annona.Field{currency, period}
}

// ordered lists the types whose values have an order.
func ordered(t annona.Type) bool {
	return slices.Contains([]annona.Type{annona.TypeText, annona.TypeInt, annona.TypeDec, annona.TypeDate, annona.TypeInstant}, t)
}
