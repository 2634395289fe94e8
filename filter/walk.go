package filter

import (
	"iter"

	"github.com/annona-exchange/annona"
)

// Paths yields each field that the condition names, those of members and of the head included,
// as often as it names them. The gate holds them against the grant. A condition that only
// counts members names no field: see UsesMembers.
func Paths(c annona.Condition) iter.Seq[annona.Path] {
	return func(yield func(annona.Path) bool) {
		for leaf := range Leaves(c) {
			if !yield(pathOf(leaf)) {
				return
			}
		}
	}
}

func pathOf(leaf annona.Condition) annona.Path {
	switch c := leaf.(type) {
	case annona.Compare:
		return c.Path
	case annona.Age:
		return c.Path
	case annona.In:
		return c.Path
	case annona.Has:
		return c.Path
	default:
		return leaf.(annona.Within).Path
	}
}

// Leaves yields every Compare, Age, In, Has and Within in the condition, also inside Exists and
// Count.
func Leaves(c annona.Condition) iter.Seq[annona.Condition] {
	return func(yield func(annona.Condition) bool) { walk(c, yield) }
}

// walk calls yield for each leaf until it returns false, and reports whether it never did.
func walk(c annona.Condition, yield func(annona.Condition) bool) bool {
	switch c := c.(type) {
	case annona.And:
		return walkAll(c, yield)
	case annona.Or:
		return walkAll(c, yield)
	case annona.Not:
		return walk(c.Of, yield)
	case annona.Exists:
		return walk(c.Of, yield)
	case annona.Count:
		return walk(c.Of, yield)
	case annona.Compare, annona.Age, annona.In, annona.Has, annona.Within:
		return yield(c)
	}
	return true
}

func walkAll(parts []annona.Condition, yield func(annona.Condition) bool) bool {
	for _, part := range parts {
		if !walk(part, yield) {
			return false
		}
	}
	return true
}

// UsesMembers reports whether the condition asks about the members of a household, be it only
// how many they are.
func UsesMembers(c annona.Condition) bool {
	switch c := c.(type) {
	case annona.And:
		return anyUsesMembers(c)
	case annona.Or:
		return anyUsesMembers(c)
	case annona.Not:
		return UsesMembers(c.Of)
	case annona.Exists, annona.Count:
		return true
	}
	return false
}

func anyUsesMembers(parts []annona.Condition) bool {
	for _, part := range parts {
		if UsesMembers(part) {
			return true
		}
	}
	return false
}

// Bind returns the condition with each Age turned into comparisons of the date itself, for the
// as-of date. The condition given is left as it is.
func Bind(c annona.Condition, asOf annona.Date) annona.Condition {
	switch c := c.(type) {
	case annona.And:
		return annona.And(bindAll(c, asOf))
	case annona.Or:
		return annona.Or(bindAll(c, asOf))
	case annona.Not:
		return annona.Not{Of: Bind(c.Of, asOf)}
	case annona.Exists:
		return annona.Exists{Of: Bind(c.Of, asOf)}
	case annona.Count:
		return annona.Count{Of: Bind(c.Of, asOf), Op: c.Op, N: c.N}
	case annona.Age:
		return c.Bind(asOf)
	}
	return c
}

func bindAll(parts []annona.Condition, asOf annona.Date) []annona.Condition {
	bound := make([]annona.Condition, len(parts))
	for i, part := range parts {
		bound[i] = Bind(part, asOf)
	}
	return bound
}
