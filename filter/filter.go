// Package filter is the filter language: how a person says which rows they want. It is a
// subset of CEL, and the same one wherever rows are chosen: in a request, in the row condition
// of an agreement, in the selection of an import.
//
//	household.poverty_score < 35 && members.exists(m, age_on(m.date_of_birth, as_of) >= 60)
//
// Compile turns text into an annona.Condition and checks every name, type and code against the
// dictionary. Format writes a condition back as text. Eval says whether it holds for one row;
// a store answers the same question in its own SQL and must agree.
//
// CEL's parser reads the text; its own checker and evaluator are not used. They know no scaled
// decimals, code lists, dates or absent values, and their messages repeat what was written.
//
// The package knows names, types and limits. It does not know who asks or what they are
// granted: the gate holds the Paths of a condition against the grant. It has no clock (as_of is
// a date that the run brings along), no floating point and no access to data. No error repeats
// a constant of the filter: it may be somebody's personal data.
package filter

import (
	"cel.dev/cel-go/common/ast"

	"github.com/annona-exchange/annona"
)

// The limits of a filter. What exceeds one is refused with the code filter_too_large.
const (
	MaxLength = 16 << 10 // bytes of text
	MaxLeaves = 200      // comparisons and other conditions without parts
	MaxDepth  = 30       // conditions inside one another
	MaxValues = 500      // values of one list
)

// Ages are whole years from 0 to MaxYears, counts of members whole numbers from 0 to MaxMembers.
const (
	MaxYears   = 200
	MaxMembers = 1_000_000
)

// Compile reads text as a condition on the records of a root dataset of the dictionary. Ages
// keep referring to as_of: see Bind.
//
// A refusal is an annona.Error with the position of the character it is about, from 1, and one
// of these codes:
//
//	filter_malformed      the text is not an expression
//	filter_too_large      a limit is exceeded (of kind KindTooLarge)
//	filter_unsupported    CEL has this, the filter language does not
//	filter_type           operator, field and constant do not go together
//	unknown_field         the dictionary has no such name
//	unknown_code          the field's code list has no such code
//	field_not_filterable  the field exists and cannot be used in a filter
func Compile(d *annona.Dictionary, dataset *annona.Dataset, text string) (annona.Condition, error) {
	c, e, err := begin(d, dataset, text)
	if err != nil {
		return nil, err
	}
	condition, err := c.condition(e)
	if err != nil {
		return nil, err
	}
	return condition, nil
}

// CompileRule reads text as the rule of a derived column on the records of a root dataset: a
// condition, or members.count(m, …) without a comparison. It refuses as Compile does.
func CompileRule(d *annona.Dictionary, dataset *annona.Dataset, text string) (*annona.Derivation, error) {
	c, e, err := begin(d, dataset, text)
	if err != nil {
		return nil, err
	}
	rule := &annona.Derivation{Count: isCount(e)}
	if rule.Count {
		rule.Of, err = c.ofMember(e)
	} else {
		rule.Of, err = c.condition(e)
	}
	if err != nil {
		return nil, err
	}
	return rule, nil
}

func begin(d *annona.Dictionary, dataset *annona.Dataset, text string) (*compiler, ast.Expr, error) {
	if !dataset.Root {
		return nil, nil, annona.Invalid("filter_unsupported", "records of this dataset are chosen through the household or individual they belong to").On(dataset.Name)
	}
	e, source, err := parse(text)
	return &compiler{dictionary: d, dataset: dataset, source: source}, e, err
}
