package exchange

import (
	"cmp"
	"slices"

	"github.com/annona-exchange/annona"
)

// recordOf reads the values and groups of a record from its images. A field that the dictionary does
// not have (anymore) cannot stand in an image: tags are never taken back.
func recordOf(d *annona.Dictionary, dataset *annona.Dataset, images ...annona.Image) (annona.Record, error) {
	r := annona.Record{Dataset: dataset}
	for _, image := range images {
		var failed error
		err := image.Values(func(tag uint32, text []byte) bool {
			f := dataset.FieldOfTag(tag)
			switch {
			case f == nil:
				failed = errUnknownTag(dataset)
			case f.Type == annona.TypeGroup:
				var g annona.GroupItems
				if g, failed = itemsOf(d, f, text); failed == nil {
					r.Groups = append(r.Groups, g)
				}
			default:
				r.Values = append(r.Values, annona.Value{Field: f, Text: string(text)})
			}
			return failed == nil
		})
		if err != nil || failed != nil {
			return r, annona.Internal("read a stored record", cmp.Or(failed, err))
		}
	}
	slices.SortStableFunc(r.Groups, func(a, b annona.GroupItems) int { return int(a.Field.ImageTag()) - int(b.Field.ImageTag()) })
	return r, nil
}

func errUnknownTag(dataset *annona.Dataset) error {
	return annona.Internal("read a record of "+dataset.Name+": it has a field that the dictionary does not know", nil)
}

func itemsOf(d *annona.Dictionary, group *annona.Field, packed []byte) (annona.GroupItems, error) {
	g := annona.GroupItems{Field: group}
	rows, _ := d.Dataset(group.Group)
	var failed error
	err := annona.Items(packed, func(item annona.Image) bool {
		var values []annona.Value
		failed = cmp.Or(item.Values(func(tag uint32, text []byte) bool {
			if f := rows.FieldOfTag(tag); f != nil {
				values = append(values, annona.Value{Field: f, Text: string(text)})
				return true
			}
			failed = errUnknownTag(rows)
			return false
		}), failed)
		g.Items = append(g.Items, values)
		return failed == nil
	})
	return g, cmp.Or(failed, err)
}
