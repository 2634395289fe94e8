package filter

import (
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// Format writes a condition as canonical filter text: equal conditions have equal texts, and
// Compile reads the text back into an equal condition. A nil condition, which holds always, is
// written true. An And or Or of one part is written as that part.
//
// Conditions that Compile cannot make are written all the same (for the ledger), though Compile
// may refuse the text: a comparison of an amount without its currency, text beyond the limits.
func Format(c annona.Condition) string { return string(appendCondition(nil, c)) }

// FormatRule writes the rule of a derived column as CompileRule reads it.
func FormatRule(rule *annona.Derivation) string {
	if !rule.Count {
		return Format(rule.Of)
	}
	return "members.count(m, " + Format(rule.Of) + ")"
}

func appendCondition(b []byte, c annona.Condition) []byte {
	switch c := c.(type) {
	case annona.And:
		if amount, terms, ok := asMoney(c); ok {
			return appendMoney(b, amount, terms)
		}
		return appendChain(b, c, " && ", "true")
	case annona.Or:
		return appendChain(b, c, " || ", "false")
	case annona.Not:
		return appendPart(append(b, '!'), c.Of, isSimple(c.Of))
	case annona.Compare:
		return appendCompare(b, c)
	case annona.Age:
		b = append(appendPath(append(b, "age_on("...), c.Path), ", as_of)"...)
		return strconv.AppendInt(append(b, operatorText(c.Op)...), int64(c.Years), 10)
	case annona.In:
		return appendIn(b, c)
	case annona.Has:
		return append(appendPath(append(b, "has("...), c.Path), ')')
	case annona.Within:
		b = append(appendPath(append(b, "within("...), c.Path), ", "...)
		return append(appendQuoted(b, c.Area), ')')
	case annona.Exists:
		return append(appendCondition(append(b, "members.exists(m, "...), c.Of), ')')
	case annona.Count:
		b = append(appendCondition(append(b, "members.count(m, "...), c.Of), ')')
		return strconv.AppendInt(append(b, operatorText(c.Op)...), int64(c.N), 10)
	}
	return append(b, "true"...)
}

// appendChain writes the parts with an operator between them. Parts that are chains themselves
// stand in parentheses, so that no rule of precedence is needed to read them.
func appendChain(b []byte, parts []annona.Condition, operator, empty string) []byte {
	switch len(parts) {
	case 0:
		return append(b, empty...)
	case 1:
		return appendCondition(b, parts[0])
	}
	for i, part := range parts {
		if i > 0 {
			b = append(b, operator...)
		}
		b = appendPart(b, part, !isChain(part))
	}
	return b
}

func appendPart(b []byte, c annona.Condition, bare bool) []byte {
	if bare {
		return appendCondition(b, c)
	}
	return append(appendCondition(append(b, '('), c), ')')
}

// isChain reports whether the text of c has && or || outside of any parentheses.
func isChain(c annona.Condition) bool {
	switch c := c.(type) {
	case annona.And:
		_, _, money := asMoney(c)
		return !money && (len(c) > 1 || len(c) == 1 && isChain(c[0]))
	case annona.Or:
		return len(c) > 1 || len(c) == 1 && isChain(c[0])
	}
	return false
}

// isSimple reports whether ! can stand before the text of c without parentheses.
func isSimple(c annona.Condition) bool {
	switch c := c.(type) {
	case annona.And:
		return len(c) == 0
	case annona.Or:
		return len(c) == 0
	case annona.Compare:
		return isBare(c)
	case annona.Has, annona.Within, annona.Exists:
		return true
	}
	return false
}

// isBare reports whether c is written as its field alone.
func isBare(c annona.Compare) bool {
	return c.Path.Field.Type == annona.TypeBool && c.Op == annona.Equal && c.Value.Int == 1
}

func appendCompare(b []byte, c annona.Compare) []byte {
	b = appendPath(b, c.Path)
	if isBare(c) {
		return b
	}
	return appendConstant(append(b, operatorText(c.Op)...), c.Path.Field, c.Value)
}

func appendIn(b []byte, c annona.In) []byte {
	if isSet(c.Path.Field) && len(c.Values) == 1 {
		b = append(appendConstant(b, c.Path.Field, c.Values[0]), " in "...)
		return appendPath(b, c.Path)
	}
	b = append(appendPath(b, c.Path), " in ["...)
	for i, value := range c.Values {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendConstant(b, c.Path.Field, value)
	}
	return append(b, ']')
}

// asMoney recognizes what a comparison with money(…) compiles to.
func asMoney(c annona.And) (amount annona.Compare, terms []annona.Compare, ok bool) {
	if len(c) != 2 && len(c) != 3 {
		return amount, nil, false
	}
	suffixes := []string{"_amount", "_currency", "_period"}
	var stem string
	for i, part := range c {
		compare, is := part.(annona.Compare)
		if !is {
			return amount, nil, false
		}
		of, is := strings.CutSuffix(compare.Path.Field.Code, suffixes[i])
		switch {
		case !is:
			return amount, nil, false
		case i == 0:
			amount, stem = compare, of
		case of != stem || compare.Op != annona.Equal || compare.Path.Root != amount.Path.Root || compare.Path.Field.Dataset != amount.Path.Field.Dataset:
			return amount, nil, false
		default:
			terms = append(terms, compare)
		}
	}
	return amount, terms, true
}

func appendMoney(b []byte, amount annona.Compare, terms []annona.Compare) []byte {
	b = append(appendPath(b, amount.Path), operatorText(amount.Op)...)
	scale := scaleOf(amount.Path.Field)
	b = appendQuoted(append(b, "money("...), string(annona.AppendDecimal(nil, amount.Value.Int, scale)))
	for _, term := range terms {
		b = appendQuoted(append(b, ", "...), term.Value.Text)
	}
	return append(b, ')')
}

// appendPath writes the name and the field. The name of a record itself is the singular of its
// dataset.
func appendPath(b []byte, p annona.Path) []byte {
	switch p.Root {
	case annona.RootHousehold:
		b = append(b, "household"...)
	case annona.RootHead:
		b = append(b, "head"...)
	case annona.RootMember:
		b = append(b, 'm')
	default:
		b = append(b, strings.TrimSuffix(p.Field.Dataset, "s")...)
	}
	return append(append(b, '.'), p.Field.Code...)
}

func appendConstant(b []byte, f *annona.Field, value annona.Constant) []byte {
	switch {
	case f.Type == annona.TypeBool:
		return strconv.AppendBool(b, value.Int == 1)
	case f.Type.IsNumeric():
		return annona.AppendDecimal(b, value.Int, scaleOf(f))
	}
	return appendQuoted(b, value.Text)
}

// appendQuoted writes text as a string of CEL.
func appendQuoted(b []byte, text string) []byte {
	b = slices.Grow(b, len(text)+2)
	b = append(b, '"')
	for i := range len(text) {
		switch ch := text[i]; ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, ch)
		}
	}
	return append(b, '"')
}

func operatorText(op annona.Op) string {
	return [...]string{" == ", " != ", " < ", " <= ", " > ", " >= "}[op]
}
