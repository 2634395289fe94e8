package annona_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

var ageOps = map[annona.Op]func(age, years int) bool{
	annona.Equal:          func(a, n int) bool { return a == n },
	annona.NotEqual:       func(a, n int) bool { return a != n },
	annona.Less:           func(a, n int) bool { return a < n },
	annona.LessOrEqual:    func(a, n int) bool { return a <= n },
	annona.Greater:        func(a, n int) bool { return a > n },
	annona.GreaterOrEqual: func(a, n int) bool { return a >= n },
}

// holds evaluates what Bind makes, for one date that may be absent.
func holds(c annona.Condition, birth annona.Date) bool {
	switch c := c.(type) {
	case annona.And:
		for _, of := range c {
			if !holds(of, birth) {
				return false
			}
		}
		return true
	case annona.Not:
		return !holds(c.Of, birth)
	case annona.Has:
		return birth != ""
	case annona.Compare:
		at := annona.Date(c.Value.Text)
		switch {
		case birth == "":
			return false
		case c.Op == annona.LessOrEqual:
			return birth <= at
		case c.Op == annona.Greater:
			return birth > at
		}
	}
	panic("Bind made a condition that this test does not know")
}

// TestBoundAgeIsAge: comparing dates gives the same answer as counting years.
func TestBoundAgeIsAge(t *testing.T) {
	years := rapid.OneOf(rapid.IntRange(-2, 120), rapid.IntRange(-10_000, 10_000),
		rapid.SampledFrom([]int{math.MinInt, math.MinInt + 1, math.MaxInt - 1, math.MaxInt}))
	rapid.Check(t, func(t *rapid.T) {
		birth, asOf, n := date(t, "birth"), date(t, "as of"), years.Draw(t, "years")
		if rapid.Bool().Draw(t, "a likely age") {
			birth = asOf.YearsBefore(rapid.IntRange(-1, 100).Draw(t, "age")).AddDays(rapid.IntRange(-2, 2).Draw(t, "days"))
			n = annona.AgeOn(birth, asOf) + rapid.IntRange(-1, 1).Draw(t, "off by")
		}
		for op, want := range ageOps {
			bound := annona.Age{Op: op, Years: n}.Bind(asOf)
			if got := holds(bound, birth); got != want(annona.AgeOn(birth, asOf), n) {
				t.Fatalf("op %d: born %s, on %s, against %d years: %v (age %d)", op, birth, asOf, n, got, annona.AgeOn(birth, asOf))
			}
			if holds(bound, "") {
				t.Fatalf("op %d holds for an absent date", op)
			}
		}
	})
}

func TestIsNumeric(t *testing.T) {
	for _, typ := range []annona.Type{annona.TypeInt, annona.TypeDec, annona.TypeBool} {
		if !typ.IsNumeric() {
			t.Errorf("%s compares as a number", typ)
		}
	}
	if annona.TypeDate.IsNumeric() || annona.TypeText.IsNumeric() {
		t.Error("dates and text compare as text")
	}
}
