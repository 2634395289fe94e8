package exchange

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// flagAreaClosed is on a household whose area is closed while nobody has said in which of its
// successors the household is.
const flagAreaClosed = "area_closed"

// placing knows where in the image of a household its area and its quality flags stand.
type placing struct {
	households         *annona.Dataset
	area, flags        *annona.Field
	code, field, since *annona.Field // of a flag
}

func newPlacing(d *annona.Dictionary) placing {
	var p placing
	p.households, _ = d.Dataset("households")
	p.area, _ = p.households.Field("area_code")
	p.flags, _ = p.households.Field("quality_flags")
	flags, _ := d.Dataset(p.flags.Group)
	p.code, _ = flags.Field("code")
	p.field, _ = flags.Field(flagAbout)
	p.since, _ = flags.Field("since")
	return p
}

// areaOf returns the area in the clear image of a household; empty when it has none.
func (p placing) areaOf(clear annona.Image) (area string, err error) {
	err = clear.Values(func(tag uint32, text []byte) bool {
		if tag == p.area.ImageTag() {
			area = string(text)
		}
		return area == ""
	})
	return area, err
}

// put returns the clear image with another area, and what the filters' index holds of it. With a
// day the household gets the flag that its area was closed on that day, without one it loses it.
func (p placing) put(clear annona.Image, area string, closed annona.Date) (annona.Image, []annona.Value, error) {
	type part struct {
		tag  uint32
		text []byte
	}
	var parts []part
	var flags []byte
	err := clear.Values(func(tag uint32, text []byte) bool {
		switch tag {
		case p.flags.ImageTag():
			flags = text
		case p.area.ImageTag():
		default:
			parts = append(parts, part{tag, text})
		}
		return true
	})
	if err != nil {
		return nil, nil, annona.Internal("read a household", err)
	}
	flags, codes, err := p.reflag(flags, closed)
	if err != nil {
		return nil, nil, annona.Internal("read a household", err)
	}
	parts = append(parts, part{p.area.ImageTag(), []byte(area)}, part{p.flags.ImageTag(), flags})
	slices.SortFunc(parts, func(a, b part) int { return int(a.tag) - int(b.tag) })
	var image annona.Image
	for _, one := range parts {
		image = image.AppendValue(one.tag, one.text)
	}
	separator := string(rune(annona.ListSeparator))
	return image, []annona.Value{{Field: p.area, Text: area}, {Field: p.flags, Text: strings.Join(codes, separator)}}, nil
}

// reflag returns the items of the flags with or without the one about a closed area, and the codes
// of all of them.
func (p placing) reflag(items []byte, closed annona.Date) (out []byte, codes []string, err error) {
	has := false
	err = annona.Items(items, func(item annona.Image) bool {
		code := ""
		_ = item.Values(func(tag uint32, text []byte) bool {
			if tag == p.code.ImageTag() {
				code = string(text)
			}
			return code == ""
		})
		has = has || code == flagAreaClosed
		if code == flagAreaClosed && closed == "" {
			return true
		}
		out, codes = annona.AppendItem(out, item), append(codes, code)
		return true
	})
	if err != nil || has || closed == "" {
		return out, codes, err
	}
	flag := packItems(annona.GroupItems{Items: [][]annona.Value{{
		{Field: p.code, Text: flagAreaClosed}, {Field: p.field, Text: p.area.Code}, {Field: p.since, Text: string(closed)},
	}}})
	return append(out, flag...), append(codes, flagAreaClosed), nil
}

// fate is what becomes of a household in an area.
type fate struct {
	area   string
	closed annona.Date // first day on which its area is closed and its successor unknown; empty: it is known
}

// fate says where a household with that code is. One whose area has one successor today is there.
// Of several it is in the one where it stood already, if it did; otherwise nobody knows.
func (a *areas) fate(code, stood string) fate {
	area, known := a.tree.Area(code)
	if !known || !area.IsClosed() {
		return fate{area: code}
	}
	if today := a.tree.Today(code); len(today) == 1 {
		return fate{area: today[0]}
	}
	was, known := a.tree.Area(stood)
	if known && !was.IsClosed() && a.tree.Territory(stood, code) {
		return fate{area: stood}
	}
	return fate{area: code, closed: area.ValidTo.AddDays(1)}
}

// settle puts a household that a source reports in a closed area where it is today. stood is the
// clear image on file. The digest stays that of what the source says.
func (a *areas) settle(r *annona.StoredRecord, stood annona.Image) error {
	if a == nil || !a.closed || r.Dataset.Name != a.placing.households.Name {
		return nil
	}
	code, err := a.placing.areaOf(r.Clear)
	if err != nil || code == "" {
		return err
	}
	was, err := a.placing.areaOf(stood)
	if err != nil {
		return err
	}
	f := a.fate(code, was)
	if f.area == code && f.closed == "" {
		return nil
	}
	image, index, err := a.placing.put(r.Clear, f.area, f.closed)
	if err != nil {
		return err
	}
	r.Clear = image
	others := slices.DeleteFunc(slices.Clone(r.Index), func(v annona.Value) bool { return v.Field.Code == a.placing.area.Code || isFlags(v.Field) })
	r.Index = append(others, index...)
	return nil
}
