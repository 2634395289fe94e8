package filter_test

import (
	"maps"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/filter/filtertest"
)

// forRoots runs a property over both root datasets.
func forRoots(t *testing.T, law func(t *rapid.T, of *annona.Dataset)) {
	for _, name := range []string{"households", "individuals"} {
		of := dataset(t, name)
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) { law(t, of) }))
	}
}

func draw(t *rapid.T, of *annona.Dataset) annona.Condition {
	return filtertest.Condition(annona.Standard(), of).Draw(t, "condition")
}

func drawRow(t *rapid.T, of *annona.Dataset) filter.Row {
	return filtertest.Row(annona.Standard(), of).Draw(t, "row")
}

func TestFormatIsReadBackEqual(t *testing.T) {
	forRoots(t, func(t *rapid.T, of *annona.Dataset) {
		want := draw(t, of)
		text := filter.Format(want)
		got, err := filter.Compile(annona.Standard(), of, text)
		if err != nil {
			t.Fatalf("%s\nrefused: %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\nread back as\n%s", text, filter.Format(got))
		}
	})
}

func TestDifferentConditionsHaveDifferentTexts(t *testing.T) {
	forRoots(t, func(t *rapid.T, of *annona.Dataset) {
		a, b := draw(t, of), draw(t, of)
		if (filter.Format(a) == filter.Format(b)) != reflect.DeepEqual(a, b) {
			t.Fatalf("%s\n%s", filter.Format(a), filter.Format(b))
		}
	})
}

func TestEvalObeysDeMorgan(t *testing.T) {
	forRoots(t, func(t *rapid.T, of *annona.Dataset) {
		a, b, row := draw(t, of), draw(t, of), drawRow(t, of)
		same(t, row, annona.Not{Of: annona.And{a, b}}, annona.Or{annona.Not{Of: a}, annona.Not{Of: b}})
		same(t, row, annona.Not{Of: annona.Or{a, b}}, annona.And{annona.Not{Of: a}, annona.Not{Of: b}})
		same(t, row, annona.Not{Of: annona.Not{Of: a}}, a)
		same(t, row, annona.Or{a, annona.Not{Of: a}}, annona.And{})
		same(t, row, annona.And{a, annona.Not{Of: a}}, annona.Or{})
	})
}

// Quantifiers agree with counting: exists is a count above zero, all is none that does not.
func TestQuantifiersAgreeWithCounts(t *testing.T) {
	households := dataset(t, "households")
	rapid.Check(t, func(t *rapid.T) {
		d := annona.Standard()
		drawn := filtertest.Condition(d, households).Filter(func(c annona.Condition) bool {
			_, exists := c.(annona.Exists)
			return exists
		}).Draw(t, "exists")
		of, row := drawn.(annona.Exists).Of, drawRow(t, households)
		same(t, row, drawn, annona.Count{Of: of, Op: annona.Greater, N: 0})
		same(t, row, drawn, annona.Count{Of: of, Op: annona.NotEqual, N: 0})
		all, err := filter.Compile(d, households, "members.all(m, "+filter.Format(of)+")")
		if err != nil {
			t.Fatal(err)
		}
		n := len(slices.Collect(row.Members))
		same(t, row, all, annona.Count{Of: of, Op: annona.Equal, N: n})
		same(t, row, annona.Count{Of: annona.And{}, Op: annona.Equal, N: n}, annona.And{})
	})
}

func TestBoundAgesAreTheAges(t *testing.T) {
	forRoots(t, func(t *rapid.T, of *annona.Dataset) {
		c, row := draw(t, of), drawRow(t, of)
		asOf := drawDate(t)
		bound := filter.Bind(c, asOf)
		if filter.Eval(c, row, asOf) != filter.Eval(bound, row, "") {
			t.Fatalf("on %s\n%s\nbound:\n%s", asOf, filter.Format(c), filter.Format(bound))
		}
	})
}

func drawDate(t *rapid.T) annona.Date {
	return filtertest.AsOf.AddDays(rapid.IntRange(-20_000, 20_000).Draw(t, "days"))
}

// An age says what annona.AgeOn counts, and so do the comparisons that it is bound to.
func TestAgesAreCompletedYears(t *testing.T) {
	born := path(t, annona.RootSelf, "individuals", "date_of_birth")
	rapid.Check(t, func(t *rapid.T) {
		birth, asOf := drawDate(t), drawDate(t)
		years := annona.AgeOn(birth, asOf) + rapid.IntRange(-1, 1).Draw(t, "off")
		row := &filtertest.Record{Cells: map[filtertest.Cell]string{{Field: "date_of_birth"}: string(birth)}}
		for op, want := range map[annona.Op]bool{
			annona.Equal:          annona.AgeOn(birth, asOf) == years,
			annona.NotEqual:       annona.AgeOn(birth, asOf) != years,
			annona.Less:           annona.AgeOn(birth, asOf) < years,
			annona.LessOrEqual:    annona.AgeOn(birth, asOf) <= years,
			annona.Greater:        annona.AgeOn(birth, asOf) > years,
			annona.GreaterOrEqual: annona.AgeOn(birth, asOf) >= years,
		} {
			c := annona.Age{Path: born, Op: op, Years: years}
			if filter.Eval(c, row, asOf) != want || filter.Eval(filter.Bind(c, asOf), row, "") != want {
				t.Fatalf("born %s, on %s: %s is not %v", birth, asOf, filter.Format(c), want)
			}
		}
	})
}

// Whatever a leaf says of an absent value is false.
func TestAbsentValuesMakeLeavesFalse(t *testing.T) {
	forRoots(t, func(t *rapid.T, of *annona.Dataset) {
		leaf := filtertest.Condition(annona.Standard(), of).Filter(isLeaf).Draw(t, "leaf")
		nothing := &filtertest.Record{}
		if filter.Eval(leaf, nothing, filtertest.AsOf) {
			t.Fatalf("%s holds for a row without values", filter.Format(leaf))
		}
		if !filter.Eval(annona.Not{Of: leaf}, nothing, filtertest.AsOf) {
			t.Fatalf("the negation of %s does not hold", filter.Format(leaf))
		}
	})
}

func isLeaf(c annona.Condition) bool {
	switch c.(type) {
	case annona.Compare, annona.Age, annona.In, annona.Has, annona.Within:
		return true
	}
	return false
}

// Numbers compare as numbers, checked against exact fractions.
func TestNumbersCompareExactly(t *testing.T) {
	households := dataset(t, "households")
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,13})\.[0-9]{1,4}`)
		value, constant := number.Draw(t, "value"), number.Draw(t, "constant")
		c, err := filter.Compile(annona.Standard(), households, "household.poverty_score < "+constant)
		if err != nil {
			t.Fatal(err)
		}
		row := &filtertest.Record{Cells: map[filtertest.Cell]string{{Field: "poverty_score"}: value}}
		a, _ := new(big.Rat).SetString(value)
		b, _ := new(big.Rat).SetString(constant)
		if filter.Eval(c, row, "") != (a.Cmp(b) < 0) {
			t.Fatalf("%s < %s", value, constant)
		}
	})
}

// A row that has all that Paths names decides the condition: no other value matters.
func TestPathsNamesEveryFieldThatMatters(t *testing.T) {
	forRoots(t, func(t *rapid.T, of *annona.Dataset) {
		c, row := draw(t, of), filtertest.Row(annona.Standard(), of).Draw(t, "row")
		named := map[filtertest.Cell]bool{}
		for p := range filter.Paths(c) {
			named[filtertest.Cell{Root: p.Root, Field: p.Field.Code}] = true
		}
		before := filter.Eval(c, row, filtertest.AsOf)
		for _, r := range append(row.Visible, row) {
			maps.DeleteFunc(r.Cells, func(cell filtertest.Cell, _ string) bool { return !named[cell] })
		}
		if filter.Eval(c, row, filtertest.AsOf) != before {
			t.Fatalf("%s depends on more than %v", filter.Format(c), named)
		}
	})
}

func same(t *rapid.T, row filter.Row, a, b annona.Condition) {
	t.Helper()
	if filter.Eval(a, row, filtertest.AsOf) != filter.Eval(b, row, filtertest.AsOf) {
		t.Fatalf("these differ:\n%s\n%s", filter.Format(a), filter.Format(b))
	}
}
