package filter

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/annona-exchange/annona"
)

// compiler turns CEL's syntax tree into a condition.
type compiler struct {
	dictionary *annona.Dictionary
	dataset    *annona.Dataset
	source     source
	member     string // name of the member inside members.exists, all and count; empty outside
	leaves     int
	depth      int
}

// condition compiles an expression that is true or false.
func (c *compiler) condition(e ast.Expr) (annona.Condition, error) {
	c.depth++
	defer func() { c.depth-- }()
	if c.depth > MaxDepth {
		return nil, tooDeep()
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return c.truth(e)
	case ast.SelectKind:
		return c.bareField(e)
	case ast.CallKind:
		return c.call(e)
	}
	return nil, c.fault(e, "filter_type", "a condition is expected here: a comparison, a field that is true or false, or has(…)")
}

// call compiles an operator or a function that is true or false.
func (c *compiler) call(e ast.Expr) (annona.Condition, error) {
	call := e.AsCall()
	if call.IsMemberFunction() {
		return c.membersCall(e)
	}
	switch function := call.FunctionName(); function {
	case operators.LogicalAnd:
		parts, err := c.conditions(call.Args())
		return annona.And(parts), err
	case operators.LogicalOr:
		parts, err := c.conditions(call.Args())
		return annona.Or(parts), err
	case operators.LogicalNot:
		of, err := c.condition(call.Args()[0])
		return annona.Not{Of: of}, err
	case operators.In:
		return c.in(e, call.Args()[0], call.Args()[1])
	case "has":
		return c.has(e)
	case "within":
		return c.within(e)
	default:
		if op, ok := comparison(function); ok {
			return c.compare(e, op, call.Args()[0], call.Args()[1])
		}
	}
	return nil, c.notACondition(e)
}

func (c *compiler) conditions(list []ast.Expr) ([]annona.Condition, error) {
	parts := make([]annona.Condition, 0, len(list))
	for _, e := range list {
		part, err := c.condition(e)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// truth compiles true or false standing alone.
func (c *compiler) truth(e ast.Expr) (annona.Condition, error) {
	value, ok := e.AsLiteral().(types.Bool)
	switch {
	case !ok:
		return nil, c.fault(e, "filter_type", "a constant alone is no condition; compare it with a field")
	case bool(value):
		return annona.And{}, c.leaf()
	default:
		return annona.Or{}, c.leaf()
	}
}

// bareField compiles a field that is itself true or false.
func (c *compiler) bareField(e ast.Expr) (annona.Condition, error) {
	path, err := c.path(e)
	if err != nil {
		return nil, err
	}
	if path.Field.Type != annona.TypeBool {
		return nil, c.fault(e, "filter_type", "this field is not true or false; compare it with a constant, or ask has(…)").On(path.Field.Code)
	}
	return annona.Compare{Path: path, Op: annona.Equal, Value: annona.Constant{Text: "true", Int: 1}}, c.leaf()
}

// has compiles has(field).
func (c *compiler) has(e ast.Expr) (annona.Condition, error) {
	args := e.AsCall().Args()
	if len(args) != 1 || args[0].Kind() != ast.SelectKind {
		return nil, c.fault(e, "filter_type", "write has(…) with one field").On("has")
	}
	path, err := c.path(args[0])
	if err != nil {
		return nil, err
	}
	if isFlags(path.Field) {
		return nil, c.fault(args[0], "filter_unsupported", "name the flags that you look for, as in \"no_head\" in household.quality_flags").On(path.Field.Code)
	}
	return annona.Has{Path: path}, c.leaf()
}

// AreaList is the code list of areas.
const AreaList = "area"

// within compiles within(field, area).
func (c *compiler) within(e ast.Expr) (annona.Condition, error) {
	args := e.AsCall().Args()
	if len(args) != 2 || args[0].Kind() != ast.SelectKind {
		return nil, c.fault(e, "filter_type", "write within(…) with a field that holds an area and the code of the area around it").On("within")
	}
	path, err := c.path(args[0])
	if err != nil {
		return nil, err
	}
	if path.Field.CodeList != AreaList || path.Field.Many {
		return nil, c.fault(args[0], "filter_type", "the first part of within(…) is a field that holds one area").On(path.Field.Code)
	}
	area, err := c.constant(path.Field, args[1])
	if err != nil {
		return nil, err
	}
	return annona.Within{Path: path, Area: area.Text}, c.leaf()
}

// membersCall compiles members.exists and members.all. For members.count see compare.
func (c *compiler) membersCall(e ast.Expr) (annona.Condition, error) {
	switch e.AsCall().FunctionName() {
	case "exists":
		of, err := c.ofMember(e)
		return annona.Exists{Of: of}, err
	case "all": // there is none who does not: two levels more than it looks
		c.depth += 2
		defer func() { c.depth -= 2 }()
		of, err := c.ofMember(e)
		return annona.Not{Of: annona.Exists{Of: annona.Not{Of: of}}}, err
	}
	return nil, c.notACondition(e)
}

// ofMember compiles the condition inside members.exists(m, …), members.all and members.count.
func (c *compiler) ofMember(e ast.Expr) (annona.Condition, error) {
	call := e.AsCall()
	function := call.FunctionName()
	args := call.Args()
	switch {
	case call.Target().Kind() != ast.IdentKind || call.Target().AsIdent() != "members":
		return nil, c.fault(e, "filter_unsupported", "this stands behind members only").On(function)
	case c.dataset.Name != households:
		return nil, c.fault(e, "filter_unsupported", "members belong to households; choose households, or use a field of individual or household").On("members")
	case c.member != "":
		return nil, c.fault(e, "filter_unsupported", "members cannot stand inside members").On("members")
	case len(args) != 2 || args[0].Kind() != ast.IdentKind:
		return nil, c.fault(e, "filter_type", "it is written members.%s(m, condition on m)", function).On(function)
	case c.isRoot(args[0].AsIdent()):
		return nil, c.fault(args[0], "filter_unsupported", "this name is taken; call the member m").On(function)
	}
	c.member = args[0].AsIdent()
	defer func() { c.member = "" }()
	return c.condition(args[1])
}

func (c *compiler) leaf() error {
	c.leaves++
	if c.leaves > MaxLeaves {
		return annona.TooLarge("filter_too_large", "a filter has at most %d comparisons", MaxLeaves)
	}
	return nil
}

// fault makes a refusal of what e says.
func (c *compiler) fault(e ast.Expr, code, format string, args ...any) *annona.Error {
	return annona.Invalid(code, format, args...).AtPosition(c.source.position(e))
}

// notACondition refuses a call that is no condition in the filter language.
func (c *compiler) notACondition(e ast.Expr) error {
	switch function := e.AsCall().FunctionName(); function {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate:
		return c.fault(e, "filter_unsupported", "the filter language does not calculate; write the result as a constant")
	case operators.Conditional:
		return c.fault(e, "filter_unsupported", "there is no ?: in the filter language; use && and ||")
	case operators.Index:
		return c.fault(e, "filter_unsupported", "there are no brackets behind a name; write the field behind a point")
	case "age_on", "money":
		return c.fault(e, "filter_type", "this is a value, not a condition; compare it").On(function)
	case "count":
		return c.fault(e, "filter_type", "the number of members is not a condition; compare it with a number").On(function)
	}
	return c.fault(e, "filter_unsupported", "the filter language has no such function; it has has, within, age_on, money, members.exists, members.all and members.count")
}
