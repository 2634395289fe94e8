package filter

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// Row is one record as Eval looks at it.
type Row interface {
	// Value returns the canonical text of a field; the values of a field with several joined
	// by annona.ListSeparator, and for quality_flags the codes of the flags joined so. A row
	// given for a member answers paths with RootMember, the record itself all others.
	Value(p annona.Path) (text string, present bool)
	// Members calls yield for each visible active member of a household until it returns false.
	Members(yield func(Row) bool)
	// Within reports whether the area of that path is area or lies inside it. For the area of a
	// household, and what repeats it, also whether the household stood there when area was closed
	// and has not left its territory since (annona.AreaTree).
	Within(p annona.Path, area string) bool
}

// Eval reports whether the condition holds for the row; ages are read on asOf. A nil condition
// holds. A comparison with an absent value is false and its negation true.
func Eval(c annona.Condition, row Row, asOf annona.Date) bool {
	return view{self: row, asOf: asOf}.holds(c)
}

// Derive returns what a derived column says of the row, as canonical text: true or false, or a number.
func Derive(rule *annona.Derivation, row Row, asOf annona.Date) string {
	if !rule.Count {
		return strconv.FormatBool(Eval(rule.Of, row, asOf))
	}
	return strconv.Itoa(view{self: row, asOf: asOf}.count(rule.Of, math.MaxInt))
}

// view is what a condition sees: the record and, inside members, one of them.
type view struct {
	self   Row
	member Row
	asOf   annona.Date
}

func (v view) holds(c annona.Condition) bool {
	switch c := c.(type) {
	case annona.And:
		return v.all(c)
	case annona.Or:
		return v.any(c)
	case annona.Not:
		return !v.holds(c.Of)
	case annona.Compare:
		return v.compare(c)
	case annona.Age:
		text, ok := v.value(c.Path)
		return ok && ordering(c.Op, annona.AgeOn(annona.Date(text), v.asOf)-c.Years)
	case annona.In:
		return v.in(c)
	case annona.Has:
		_, ok := v.value(c.Path)
		return ok
	case annona.Within:
		_, ok := v.value(c.Path)
		return ok && v.row(c.Path).Within(c.Path, c.Area)
	case annona.Exists:
		return v.count(c.Of, 1) == 1
	case annona.Count:
		return ordering(c.Op, v.count(c.Of, c.N+1)-c.N)
	}
	return true
}

func (v view) all(parts []annona.Condition) bool {
	for _, part := range parts {
		if !v.holds(part) {
			return false
		}
	}
	return true
}

func (v view) any(parts []annona.Condition) bool {
	for _, part := range parts {
		if v.holds(part) {
			return true
		}
	}
	return false
}

// count counts the members who satisfy a condition, up to enough.
func (v view) count(of annona.Condition, enough int) int {
	n := 0
	for member := range v.self.Members {
		if (view{self: v.self, member: member, asOf: v.asOf}).holds(of) {
			n++
		}
		if n >= enough {
			break
		}
	}
	return n
}

func (v view) row(p annona.Path) Row {
	if p.Root == annona.RootMember {
		return v.member
	}
	return v.self
}

// value returns what the path leads to. The empty text is the absent value.
func (v view) value(p annona.Path) (string, bool) {
	text, ok := v.row(p).Value(p)
	return text, ok && text != ""
}

func (v view) compare(c annona.Compare) bool {
	text, ok := v.value(c.Path)
	if !ok {
		return false
	}
	order, ok := compareTo(c.Path.Field, text, c.Value)
	return ok && ordering(c.Op, order)
}

func (v view) in(c annona.In) bool {
	text, ok := v.value(c.Path)
	if !ok {
		return false
	}
	if !isSet(c.Path.Field) {
		return among(c.Path.Field, text, c.Values)
	}
	for one := range strings.SplitSeq(text, string(rune(annona.ListSeparator))) {
		if among(c.Path.Field, one, c.Values) {
			return true
		}
	}
	return false
}

func among(f *annona.Field, text string, values []annona.Constant) bool {
	for _, value := range values {
		if order, ok := compareTo(f, text, value); ok && order == 0 {
			return true
		}
	}
	return false
}

// compareTo compares a value with a constant: numbers as scaled integers, all else by its
// bytes. A number that cannot be read compares with nothing.
func compareTo(f *annona.Field, text string, value annona.Constant) (order int, ok bool) {
	switch {
	case f.Type == annona.TypeBool:
		return int(truth(text).Int - value.Int), true
	case f.Type.IsNumeric():
		n, err := annona.ParseDecimal(text, scaleOf(f))
		return cmp.Compare(n, value.Int), err == nil
	}
	return strings.Compare(text, value.Text), true
}

// ordering reports whether a comparison holds for a difference: negative, zero or positive.
func ordering(op annona.Op, difference int) bool {
	switch op {
	case annona.Equal:
		return difference == 0
	case annona.NotEqual:
		return difference != 0
	case annona.Less:
		return difference < 0
	case annona.LessOrEqual:
		return difference <= 0
	case annona.Greater:
		return difference > 0
	default:
		return difference >= 0
	}
}
