// Package schema writes the documents that describe the exchange's files to those who read
// them: XML Schema, JSON Schema, CSV on the Web metadata, code lists and the dictionary as
// text. All of them are made from an annona.Dictionary, so none can say anything else.
//
// It knows the wire forms of each format (package encode writes them). It knows no data, no
// grant and no HTTP. A schema describes everything that a record can hold; what a partner is
// not granted is absent, and every field may be.
package schema

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// ID is the name of the schema of a dataset in one version of the dictionary: "individuals/3".
func ID(dataset string, version int) string { return fmt.Sprintf("%s/%d", dataset, version) }

// FullShape returns everything that a record of the dataset can hold: all columns, and all
// groups with theirs. A nested record does not repeat the memberships that lead back to the
// record around it.
func FullShape(d *annona.Dictionary, dataset *annona.Dataset) *annona.Shape {
	return fullShape(d, dataset, nil)
}

// fullShape leaves out groups whose rows point at one of the records further out.
func fullShape(d *annona.Dictionary, dataset *annona.Dataset, outer []string) *annona.Shape {
	shape := &annona.Shape{Dataset: dataset}
	inner := outer
	if dataset.Root {
		inner = append(slices.Clone(outer), dataset.Key)
	}
	for f := range dataset.Columns() {
		if f.Type != annona.TypeGroup {
			shape.Columns = append(shape.Columns, f)
			continue
		}
		rows, _ := d.Dataset(f.Group)
		if !rows.Root && pointsAt(rows, outer) {
			continue
		}
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: f, Shape: fullShape(d, rows, inner)})
	}
	return shape
}

func pointsAt(rows *annona.Dataset, keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		_, ok := rows.Field(key)
		return ok
	})
}

// published yields the columns and groups of a shape in the order of the dictionary, the order
// in which nested formats write them. rows is nil for a column.
func published(shape *annona.Shape) func(yield func(f *annona.Field, rows *annona.Shape) bool) {
	return func(yield func(*annona.Field, *annona.Shape) bool) {
		for f := range shape.Dataset.Columns() {
			if i := shape.Group(f.Code); i >= 0 {
				if !yield(f, shape.Groups[i].Shape) {
					return
				}
			} else if shape.Column(f.Code) >= 0 && !yield(f, nil) {
				return
			}
		}
	}
}

// closedList returns the list that the values of f must be in, nil when there is none.
func closedList(d *annona.Dictionary, f *annona.Field) *annona.CodeList {
	if f.Type != annona.TypeCode {
		return nil
	}
	if l, ok := d.CodeList(f.CodeList); ok && !l.Open {
		return l
	}
	return nil
}

// labelOf says what a code means, and when it is to be written no more.
func labelOf(c *annona.Code) string {
	switch {
	case c.ReplacedBy != "":
		return strings.TrimSpace(c.Label + " (deprecated: " + c.ReplacedBy + ")")
	case c.Deprecated:
		return strings.TrimSpace(c.Label + " (deprecated)")
	}
	return c.Label
}

// CodeLists names the code lists of the fields of a shape, those of nested ones too, each with its
// version and a comma between: "area=1, sex=2".
func CodeLists(d *annona.Dictionary, shape *annona.Shape) string {
	versions := map[string]int{}
	for _, s := range shapes(shape) {
		for _, f := range s.Columns {
			if l, ok := d.CodeList(f.CodeList); ok {
				versions[l.Name] = l.Version
			}
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		names = append(names, name+"="+strconv.Itoa(versions[name]))
	}
	return strings.Join(names, ", ")
}

// shapes yields the shape and those nested in it, each dataset once, outer ones first.
func shapes(root *annona.Shape) []*annona.Shape {
	all := []*annona.Shape{root}
	for i := 0; i < len(all); i++ {
		for _, g := range all[i].Groups {
			if !slices.ContainsFunc(all, func(s *annona.Shape) bool { return s.Dataset == g.Shape.Dataset }) {
				all = append(all, g.Shape)
			}
		}
	}
	return all
}

// vocabulary is what the fields of a document refer to: closed code lists, sorted by name, and
// scales of decimals, ascending.
type vocabulary struct {
	lists  []*annona.CodeList
	scales []int
}

func vocabularyOf(d *annona.Dictionary, all []*annona.Shape) vocabulary {
	var v vocabulary
	lists := map[string]bool{}
	for _, s := range all {
		for _, f := range s.Columns {
			if l := closedList(d, f); l != nil {
				lists[l.Name] = true
			}
			if f.Type == annona.TypeDec && !slices.Contains(v.scales, f.Scale) {
				v.scales = append(v.scales, f.Scale)
			}
		}
	}
	for _, name := range d.CodeLists() {
		if l, _ := d.CodeList(name); lists[name] {
			v.lists = append(v.lists, l)
		}
	}
	slices.Sort(v.scales)
	return v
}

// The forms of values that more than one document states.
const (
	idPattern      = `[a-z2-7]{26}`
	datePattern    = `[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}`
	instantPattern = `[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z`
)

// decimalPattern is the canonical text of a decimal: no leading or trailing zeros, no exponent.
func decimalPattern(scale int) string {
	whole := `-?(0|[1-9][0-9]*)`
	if scale == 0 {
		return whole
	}
	return fmt.Sprintf(`%s(\.[0-9]{0,%d}[1-9])?`, whole, scale-1)
}

// describe is the definition of a field with its unit, or what a companion is for.
func describe(f *annona.Field) string {
	text := f.Definition
	switch f.Aspect {
	case annona.AspectSourceCode:
		return "The code of " + f.Base.Code + " as the source wrote it."
	case annona.AspectNilReason:
		return "Why " + f.Base.Code + " is absent."
	case annona.AspectAsOf:
		return "Day on which " + f.Base.Code + " was observed."
	}
	if f.Unit != "" {
		text += " Unit: " + f.Unit + "."
	}
	return text
}
