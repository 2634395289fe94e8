// Package filtertest makes random conditions and random rows for property tests: of package
// filter, of the stores that lower conditions to SQL and of the gate. Values come from small
// pools, so that conditions hold for some rows and not for others.
//
// It knows the dictionary and nothing of stores; it is for tests only.
package filtertest

import (
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

const (
	individuals = "individuals"
	households  = "households"
	areaList    = "area"
)

// maxNesting bounds conditions inside one another; Exists and Count take one level as well.
const maxNesting = 4

// Condition generates conditions on the records of a root dataset, each one that filter.Compile
// makes from some text: every field that can be filtered, every kind of node.
func Condition(d *annona.Dictionary, dataset *annona.Dataset) *rapid.Generator[annona.Condition] {
	m := maker{dictionary: d, dataset: dataset, paths: outside(d, dataset), inside: inside(d, dataset)}
	return rapid.Custom(func(t *rapid.T) annona.Condition { return m.condition(t, maxNesting, m.paths) })
}

// maker draws conditions over the paths that each place allows.
type maker struct {
	dictionary *annona.Dictionary
	dataset    *annona.Dataset
	paths      []annona.Path
	inside     []annona.Path // within Exists and Count; empty where there are no members
}

// outside lists the paths of a condition on dataset.
func outside(d *annona.Dictionary, dataset *annona.Dataset) []annona.Path {
	paths := pathsOf(d, annona.RootSelf, dataset.Name)
	switch dataset.Name {
	case individuals:
		return append(paths, pathsOf(d, annona.RootHousehold, households)...)
	case households:
		return append(paths, pathsOf(d, annona.RootHead, individuals)...)
	}
	return paths
}

// inside lists the paths of a condition on the members of a household.
func inside(d *annona.Dictionary, dataset *annona.Dataset) []annona.Path {
	if dataset.Name != households {
		return nil
	}
	return append(pathsOf(d, annona.RootMember, individuals), pathsOf(d, annona.RootSelf, households)...)
}

func pathsOf(d *annona.Dictionary, root annona.Root, name string) []annona.Path {
	dataset, ok := d.Dataset(name)
	if !ok {
		return nil
	}
	var paths []annona.Path
	for f := range dataset.Columns() {
		if (f.Filter == annona.FilterRange || isFlags(f)) && len(Values(d, f)) > 0 {
			paths = append(paths, annona.Path{Root: root, Field: f})
		}
	}
	return paths
}

// condition draws a condition with at most that many levels over the given paths.
func (m maker) condition(t *rapid.T, levels int, paths []annona.Path) annona.Condition {
	if levels <= 1 {
		return m.leaf(t, paths)
	}
	kinds := []string{"leaf", "leaf", "and", "or", "not"}
	if len(m.inside) > 0 && &paths[0] == &m.paths[0] {
		kinds = append(kinds, "exists", "count")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "node") {
	case "and":
		return annona.And(m.parts(t, levels, paths))
	case "or":
		return annona.Or(m.parts(t, levels, paths))
	case "not":
		return annona.Not{Of: m.condition(t, levels-1, paths)}
	case "exists":
		return annona.Exists{Of: m.condition(t, levels-1, m.inside)}
	case "count":
		return annona.Count{Of: m.condition(t, levels-1, m.inside), Op: op(t), N: rapid.IntRange(0, 3).Draw(t, "n")}
	}
	return m.leaf(t, paths)
}

func (m maker) parts(t *rapid.T, levels int, paths []annona.Path) []annona.Condition {
	parts := make([]annona.Condition, rapid.IntRange(2, 3).Draw(t, "parts"))
	for i := range parts {
		parts[i] = m.condition(t, levels-1, paths)
	}
	return parts
}

// leaf draws a condition without parts: true, false, or one about a field.
func (m maker) leaf(t *rapid.T, paths []annona.Path) annona.Condition {
	switch rapid.IntRange(0, 29).Draw(t, "constant") {
	case 0:
		return annona.And{}
	case 1:
		return annona.Or{}
	}
	p := rapid.SampledFrom(paths).Draw(t, "path")
	kinds := []string{"compare", "compare", "in", "has"}
	switch f := p.Field; {
	case isFlags(f):
		return m.in(t, p)
	case f.Many:
		kinds = []string{"in", "has"}
	case m.terms(f) != nil:
		kinds = []string{"money", "has"}
	case f.Type == annona.TypeDate:
		kinds = append(kinds, "age")
	case f.CodeList == areaList:
		kinds = append(kinds, "within")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "leaf") {
	case "in":
		return m.in(t, p)
	case "has":
		return annona.Has{Path: p}
	case "money":
		return m.money(t, p)
	case "age":
		return annona.Age{Path: p, Op: op(t), Years: rapid.SampledFrom([]int{0, 4, 5, 17, 18, 59, 60, 200}).Draw(t, "years")}
	case "within":
		return annona.Within{Path: p, Area: m.constant(t, p.Field).Text}
	}
	return m.compare(t, p)
}

func (m maker) compare(t *rapid.T, p annona.Path) annona.Condition {
	compare := annona.Compare{Path: p, Op: op(t), Value: m.constant(t, p.Field)}
	if p.Field.Type == annona.TypeCode || p.Field.Type == annona.TypeBool {
		compare.Op = rapid.SampledFrom([]annona.Op{annona.Equal, annona.NotEqual}).Draw(t, "equality")
	}
	return compare
}

func (m maker) in(t *rapid.T, p annona.Path) annona.Condition {
	in := annona.In{Path: p}
	for range rapid.IntRange(1, 3).Draw(t, "values") {
		in.Values = append(in.Values, m.constant(t, p.Field))
	}
	return in
}

// money draws what filter.Compile makes of a comparison with money(…).
func (m maker) money(t *rapid.T, p annona.Path) annona.Condition {
	all := annona.And{annona.Compare{Path: p, Op: op(t), Value: m.constant(t, p.Field)}}
	for _, term := range m.terms(p.Field) {
		all = append(all, annona.Compare{Path: annona.Path{Root: p.Root, Field: term}, Op: annona.Equal, Value: m.constant(t, term)})
	}
	return all
}

// terms returns currency and period of an amount of money; nil for any other field.
func (m maker) terms(f *annona.Field) []*annona.Field {
	dataset, ok := m.dictionary.Dataset(f.Dataset)
	stem, amount := strings.CutSuffix(f.Code, "_amount")
	if !ok || !amount {
		return nil
	}
	var terms []*annona.Field
	for _, suffix := range []string{"_currency", "_period"} {
		if term, ok := dataset.Field(stem + suffix); ok {
			terms = append(terms, term)
		}
	}
	return terms
}

func (m maker) constant(t *rapid.T, f *annona.Field) annona.Constant {
	text := rapid.SampledFrom(Values(m.dictionary, f)).Draw(t, "value")
	switch f.Type {
	case annona.TypeBool:
		if text == "true" {
			return annona.Constant{Text: text, Int: 1}
		}
	case annona.TypeInt:
		return annona.Constant{Text: text, Int: scaled(text, 0)}
	case annona.TypeDec:
		return annona.Constant{Text: text, Int: scaled(text, f.Scale)}
	}
	return annona.Constant{Text: text}
}

// scaled reads a number of a pool.
func scaled(text string, scale int) int64 {
	n, err := annona.ParseDecimal(text, scale)
	if err != nil {
		panic("a pool of filtertest holds a number that does not fit its field")
	}
	return n
}

func op(t *rapid.T) annona.Op {
	return annona.Op(rapid.IntRange(int(annona.Equal), int(annona.GreaterOrEqual)).Draw(t, "op"))
}
