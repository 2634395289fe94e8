package filter

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/annona-exchange/annona"
)

// asOf is the name of the day on which a run reads ages.
const asOf = "as_of"

// comparison returns the comparison that an operator of CEL makes.
func comparison(operator string) (annona.Op, bool) {
	switch operator {
	case operators.Equals:
		return annona.Equal, true
	case operators.NotEquals:
		return annona.NotEqual, true
	case operators.Less:
		return annona.Less, true
	case operators.LessEquals:
		return annona.LessOrEqual, true
	case operators.Greater:
		return annona.Greater, true
	case operators.GreaterEquals:
		return annona.GreaterOrEqual, true
	}
	return 0, false
}

// mirror returns the comparison that says the same with its sides exchanged.
func mirror(op annona.Op) annona.Op {
	switch op {
	case annona.Less:
		return annona.Greater
	case annona.LessOrEqual:
		return annona.GreaterOrEqual
	case annona.Greater:
		return annona.Less
	case annona.GreaterOrEqual:
		return annona.LessOrEqual
	}
	return op
}

// isCall reports whether e calls that function, not behind a point.
func isCall(e ast.Expr, function string) bool {
	return e.Kind() == ast.CallKind && !e.AsCall().IsMemberFunction() && e.AsCall().FunctionName() == function
}

// isCount reports whether e counts members.
func isCount(e ast.Expr) bool {
	return e.Kind() == ast.CallKind && e.AsCall().IsMemberFunction() && e.AsCall().FunctionName() == "count"
}

// isConstant reports whether e is a constant side of a comparison.
func isConstant(e ast.Expr) bool { return e.Kind() == ast.LiteralKind || isCall(e, "money") }

// compare compiles a comparison. One side is a constant, the other is what it is about.
func (c *compiler) compare(e ast.Expr, op annona.Op, left, right ast.Expr) (annona.Condition, error) {
	if isConstant(left) {
		left, right, op = right, left, mirror(op)
	}
	switch {
	case isConstant(left):
		return nil, c.fault(e, "filter_unsupported", "both sides are constants; compare a field with a constant")
	case isCount(left):
		return c.count(op, left, right)
	case isCall(left, "age_on"):
		return c.age(op, left, right)
	case left.Kind() == ast.CallKind:
		return nil, c.notAValue(left)
	case left.Kind() != ast.SelectKind:
		return nil, c.fault(left, "filter_type", "a field is compared with a constant; a field is written %s.field", c.dataset.Noun)
	}
	path, err := c.path(left)
	if err != nil {
		return nil, err
	}
	return c.compareField(e, path, op, right)
}

// notAValue refuses a call as a side of a comparison.
func (c *compiler) notAValue(e ast.Expr) error {
	switch function := e.AsCall().FunctionName(); function {
	case "has", "within", "exists", "all":
		return c.fault(e, "filter_unsupported", "this is a condition already; use it alone, or with ! in front").On(function)
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.In,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return c.fault(e, "filter_unsupported", "a condition is not compared; join conditions by && and ||, negate them by !")
	}
	return c.notACondition(e)
}

// compareField compiles the comparison of a field with what should be a constant.
func (c *compiler) compareField(e ast.Expr, path annona.Path, op annona.Op, value ast.Expr) (annona.Condition, error) {
	f := path.Field
	switch {
	case value.Kind() == ast.SelectKind, isCall(value, "age_on"), isCount(value):
		return nil, c.fault(e, "filter_unsupported", "two fields cannot be compared with each other; compare each with a constant").On(f.Code)
	case value.Kind() == ast.ListKind:
		return nil, c.fault(e, "filter_type", "a list of constants stands behind in").On(f.Code)
	case isSet(f):
		return nil, c.fault(e, "filter_type", "this field has several values; ask for one of them with in: \"code\" in record.field").On(f.Code)
	case len(c.moneyTerms(f)) > 0 || isCall(value, "money"):
		return c.compareMoney(e, path, op, value)
	case op != annona.Equal && op != annona.NotEqual && !ordered(f.Type):
		return nil, c.fault(e, "filter_type", "values of this field have no order; use ==, != or in").On(f.Code)
	}
	constant, err := c.constant(f, value)
	if err != nil {
		return nil, err
	}
	return annona.Compare{Path: path, Op: op, Value: constant}, c.leaf()
}

// compareMoney compiles amount < money("500", "GHS", "year"): the amount is compared, and the
// currency and the period are the same.
func (c *compiler) compareMoney(e ast.Expr, path annona.Path, op annona.Op, value ast.Expr) (annona.Condition, error) {
	terms := c.moneyTerms(path.Field)
	switch {
	case len(terms) == 0:
		return nil, c.fault(value, "filter_type", "this field holds no money; compare it with a constant of its own type").On(path.Field.Code)
	case !isCall(value, "money") || len(value.AsCall().Args()) != 1+len(terms):
		return nil, c.fault(value, "filter_type", "%s", moneyHint(len(terms))).On(path.Field.Code)
	}
	args := value.AsCall().Args()
	amount, err := c.constant(path.Field, args[0])
	if err != nil {
		return nil, err
	}
	all := annona.And{annona.Compare{Path: path, Op: op, Value: amount}}
	for i, term := range terms {
		if err := c.filterable(value, term); err != nil {
			return nil, err
		}
		constant, err := c.constant(term, args[1+i])
		if err != nil {
			return nil, err
		}
		all = append(all, annona.Compare{Path: annona.Path{Root: path.Root, Field: term}, Op: annona.Equal, Value: constant})
	}
	return all, c.leaf()
}

func moneyHint(terms int) string {
	if terms == 1 {
		return `money is compared with its currency: money("500", "GHS")`
	}
	return `money is compared with its currency and period: money("500", "GHS", "year")`
}

// age compiles age_on(date field, as_of) compared with completed years.
func (c *compiler) age(op annona.Op, e, value ast.Expr) (annona.Condition, error) {
	args := e.AsCall().Args()
	if len(args) != 2 || args[0].Kind() != ast.SelectKind || args[1].Kind() != ast.IdentKind || args[1].AsIdent() != asOf {
		return nil, c.fault(e, "filter_type", "it is written age_on(field with a date, as_of); as_of is the day that the run names").On("age_on")
	}
	path, err := c.path(args[0])
	if err != nil {
		return nil, err
	}
	if path.Field.Type != annona.TypeDate {
		return nil, c.fault(args[0], "filter_type", "an age is counted from a date; this field is none").On(path.Field.Code)
	}
	years, ok := whole(value, MaxYears)
	if !ok {
		return nil, c.fault(value, "filter_type", "an age is compared with a whole number of years from 0 to %d", MaxYears).On("age_on")
	}
	return annona.Age{Path: path, Op: op, Years: years}, c.leaf()
}

// count compiles members.count(m, condition) compared with a number.
func (c *compiler) count(op annona.Op, e, value ast.Expr) (annona.Condition, error) {
	of, err := c.ofMember(e)
	if err != nil {
		return nil, err
	}
	n, ok := whole(value, MaxMembers)
	if !ok {
		return nil, c.fault(value, "filter_type", "members are compared with a whole number from 0 to %d", MaxMembers).On("count")
	}
	return annona.Count{Of: of, Op: op, N: n}, nil
}

// in compiles field in [constants] and, for a field with several values, constant in field.
func (c *compiler) in(e, left, right ast.Expr) (annona.Condition, error) {
	field, values := left, right
	if right.Kind() == ast.SelectKind {
		field, values = right, left
	}
	if field.Kind() != ast.SelectKind {
		return nil, c.fault(e, "filter_type", "in is written field in [constants], or constant in a field that has several values")
	}
	path, err := c.path(field)
	if err != nil {
		return nil, err
	}
	list, err := c.listed(e, path, values, field == right)
	if err != nil {
		return nil, err
	}
	in := annona.In{Path: path}
	for _, value := range list {
		constant, err := c.constant(path.Field, value)
		if err != nil {
			return nil, err
		}
		in.Values = append(in.Values, constant)
	}
	return in, c.leaf()
}

// listed returns the constants of an in. contained says that the field stands behind it.
func (c *compiler) listed(e ast.Expr, path annona.Path, values ast.Expr, contained bool) ([]ast.Expr, error) {
	refuse := func(why string) ([]ast.Expr, error) {
		return nil, c.fault(e, "filter_type", "%s", why).On(path.Field.Code)
	}
	switch {
	case len(c.moneyTerms(path.Field)) > 0:
		return refuse("money is compared with ==, <, > and the like, not with in")
	case contained && values.Kind() == ast.SelectKind:
		return nil, c.fault(e, "filter_unsupported", "two fields cannot be compared with each other; compare each with a constant").On(path.Field.Code)
	case contained && !isSet(path.Field):
		return refuse("this field has one value; write field in [constants]")
	case contained && values.Kind() != ast.LiteralKind:
		return refuse("one constant stands before in when a field stands behind it")
	case contained:
		return []ast.Expr{values}, nil
	case values.Kind() != ast.ListKind:
		return refuse("a list of constants in brackets stands behind in")
	}
	list := values.AsList().Elements()
	if len(list) == 0 {
		return refuse("the list is empty; nothing could be in it")
	}
	if len(list) > MaxValues {
		return nil, annona.TooLarge("filter_too_large", "a list has at most %d values", MaxValues).AtPosition(c.source.position(values))
	}
	return list, nil
}
