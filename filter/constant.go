package filter

import (
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/annona-exchange/annona"
)

// constant compiles a constant for a field: of its type, in canonical form, and when the field
// has codes, one of them. The constant itself never gets into a refusal.
func (c *compiler) constant(f *annona.Field, e ast.Expr) (annona.Constant, error) {
	switch e.Kind() {
	case ast.LiteralKind:
	case ast.CallKind:
		return annona.Constant{}, c.notAValue(e)
	default:
		return annona.Constant{}, c.fault(e, "filter_type", "a constant is expected here: %s", written(f)).On(f.Code)
	}
	text, ok := c.literal(f, e)
	if !ok {
		return annona.Constant{}, c.fault(e, "filter_type", "a constant for this field is %s", written(f)).On(f.Code)
	}
	switch {
	case f.Type == annona.TypeCode, isFlags(f):
		return c.code(f, e, text)
	case f.Type == annona.TypeBool:
		return truth(text), nil
	case f.Type.IsNumeric():
		return c.number(f, e, text)
	}
	canonical, err := f.Canonical(text)
	if err != nil || canonical == "" {
		return annona.Constant{}, c.fault(e, "filter_type", "a constant for this field is %s", written(f)).On(f.Code)
	}
	return annona.Constant{Text: canonical}, nil
}

// literal returns the text of a constant when its kind fits the field.
func (c *compiler) literal(f *annona.Field, e ast.Expr) (string, bool) {
	numeric := f.Type == annona.TypeInt || f.Type == annona.TypeDec
	switch value := e.AsLiteral().(type) {
	case types.Bool:
		return strconv.FormatBool(bool(value)), f.Type == annona.TypeBool
	case types.Int:
		return strconv.FormatInt(int64(value), 10), numeric
	case types.Double:
		return c.source.numeral(e), numeric
	case types.String:
		return string(value), f.Type != annona.TypeBool && f.Type != annona.TypeID && f.Type != annona.TypeRef
	}
	return "", false
}

// code checks a code against the field's list.
func (c *compiler) code(f *annona.Field, e ast.Expr, text string) (annona.Constant, error) {
	if canonical, err := f.Canonical(text); err != nil || canonical == "" {
		return annona.Constant{}, c.fault(e, "filter_type", "a constant for this field is %s", written(f)).On(f.Code)
	}
	if list, ok := c.codeList(f); ok && !list.Has(text) {
		return annona.Constant{}, c.fault(e, "unknown_code", "the code list %s has no such code", list.Name).On(f.Code)
	}
	return annona.Constant{Text: text}, nil
}

// number reads a number into the integer that both stores compare. A digit beyond the field's
// scale is refused: no value could equal it.
func (c *compiler) number(f *annona.Field, e ast.Expr, text string) (annona.Constant, error) {
	scale := scaleOf(f)
	n, err := annona.ParseDecimal(text, scale)
	if err != nil {
		return annona.Constant{}, c.fault(e, "filter_type", "a constant for this field is %s", written(f)).On(f.Code)
	}
	return annona.Constant{Text: string(annona.AppendDecimal(nil, n, scale)), Int: n}, nil
}

func truth(text string) annona.Constant {
	if text == "true" {
		return annona.Constant{Text: text, Int: 1}
	}
	return annona.Constant{Text: text}
}

// scaleOf returns the digits behind the point: none for a whole number.
func scaleOf(f *annona.Field) int {
	if f.Type == annona.TypeDec {
		return f.Scale
	}
	return 0
}

// written says how a constant for the field is written.
func written(f *annona.Field) string {
	switch f.Type {
	case annona.TypeInt:
		return "a whole number of at most 64 bits"
	case annona.TypeDec:
		return "a number with at most " + strconv.Itoa(f.Scale) + " digits after the point and no exponent"
	case annona.TypeBool:
		return "true or false"
	case annona.TypeDate:
		return `a day of the calendar in quotes: "2006-01-31"`
	case annona.TypeInstant:
		return `an instant in quotes with its zone: "2006-01-31T12:00:00Z"`
	case annona.TypeCode, annona.TypeGroup:
		return "a code in quotes"
	case annona.TypeID, annona.TypeRef:
		return "none: ids are not compared, only has(…) can be asked"
	}
	return "text in quotes: not empty, without control characters, of a list without semicolon"
}

// whole reads a whole number from 0 to most.
func whole(e ast.Expr, most int) (int, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	n, ok := e.AsLiteral().(types.Int)
	if !ok || n < 0 || int64(n) > int64(most) {
		return 0, false
	}
	return int(n), true
}
