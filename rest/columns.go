package rest

import (
	"strings"

	"github.com/annona-exchange/annona"
)

// chosen returns the columns of full that a CSV export with these fields has: those that are
// named; of a group named whole, and without any name, all but the companions that say why a
// value is absent.
func chosen(full *annona.Shape, fields []string) (*annona.Shape, error) {
	if len(fields) == 0 {
		return withoutReasons(full), nil
	}
	whole, inner := map[string]bool{}, map[string][]string{}
	for _, name := range fields {
		head, rest, nested := strings.Cut(name, ".")
		switch {
		case nested && full.Group(head) >= 0:
			inner[head] = append(inner[head], rest)
		case !nested && (full.Group(head) >= 0 || full.Column(head) >= 0):
			whole[head] = true
		default:
			return nil, annona.Invalid("unknown_field", "a name in the list is no field of %s; %s.schema.json lists them", full.Dataset.Name, full.Dataset.Name).On("fields")
		}
	}
	shape := &annona.Shape{Dataset: full.Dataset}
	for _, f := range full.Columns {
		if whole[f.Code] {
			shape.Columns = append(shape.Columns, f)
		}
	}
	for _, g := range full.Groups {
		rows := withoutReasons(g.Shape)
		if !whole[g.Field.Code] {
			if inner[g.Field.Code] == nil {
				continue
			}
			var err error
			if rows, err = chosen(g.Shape, inner[g.Field.Code]); err != nil {
				return nil, err
			}
		}
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: g.Field, Shape: rows})
	}
	return shape, nil
}

func withoutReasons(full *annona.Shape) *annona.Shape {
	shape := &annona.Shape{Dataset: full.Dataset}
	for _, f := range full.Columns {
		if f.Aspect != annona.AspectNilReason {
			shape.Columns = append(shape.Columns, f)
		}
	}
	for _, g := range full.Groups {
		shape.Groups = append(shape.Groups, annona.GroupShape{Field: g.Field, Shape: withoutReasons(g.Shape)})
	}
	return shape
}
