package annona

import (
	"encoding/binary"
	"errors"
	"slices"
)

// An Image is a record as it was written: the canonical text of each field that the record
// has, under the field's ImageTag, tags ascending. A record has two images, one of its clear
// fields and one of its sealed ones; stores carry both as they are, the event log keeps the
// former ones. Columns beside the image serve to select rows, never to show them.
//
// Stores keep the groups of a record apart from the rest of its image, because most of its bytes
// are theirs and most exports show none: SplitGroups cuts them off, JoinImages puts them back.
//
// Encoding: for each value uvarint tag, uvarint length, bytes. The value of a group is its
// items: for each item uvarint length, then an Image of the group's dataset.
type Image []byte

var errImage = errors.New("a stored record is damaged: its image does not decode")

// AppendValue appends a value to an image. Tags must ascend; an absent value is left out.
func (m Image) AppendValue(tag uint32, text []byte) Image {
	if len(text) == 0 {
		return m
	}
	m = binary.AppendUvarint(m, uint64(tag))
	m = binary.AppendUvarint(m, uint64(len(text)))
	return append(m, text...)
}

// AppendText is AppendValue for text.
func (m Image) AppendText(tag uint32, text string) Image {
	if len(text) == 0 {
		return m
	}
	m = binary.AppendUvarint(m, uint64(tag))
	m = binary.AppendUvarint(m, uint64(len(text)))
	return append(m, text...)
}

// AppendItem appends one item to the items of a group.
func AppendItem(items []byte, item Image) []byte {
	items = binary.AppendUvarint(items, uint64(len(item)))
	return append(items, item...)
}

// next splits the first value off. Nearly all tags have one or two bytes and nearly all lengths
// one, and an export reads tens of millions of them.
func (m Image) next() (tag uint32, text []byte, rest Image, err error) {
	at := 0 // of the length
	switch {
	case len(m) > 1 && m[0] < 0x80:
		tag, at = uint32(m[0]), 1
	case len(m) > 2 && m[1] < 0x80:
		tag, at = uint32(m[0]&0x7f)|uint32(m[1])<<7, 2
	}
	if at == 0 || m[at] >= 0x80 {
		return m.nextLong()
	}
	from, to := at+1, at+1+int(m[at])
	if to > len(m) {
		return 0, nil, nil, errImage
	}
	return tag, m[from:to], m[to:], nil
}

func (m Image) nextLong() (tag uint32, text []byte, rest Image, err error) {
	t, n := binary.Uvarint(m)
	if n <= 0 || t > 1<<22 {
		return 0, nil, nil, errImage
	}
	text, rest, err = cut(m[n:])
	return uint32(t), text, rest, err
}

// cut splits a length-prefixed part off.
func cut(b []byte) (part, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, errImage
	}
	return b[n : n+int(size)], b[n+int(size):], nil
}

// Values calls yield for each value of the image, in order, until yield returns false.
func (m Image) Values(yield func(tag uint32, text []byte) bool) error {
	for len(m) > 0 {
		tag, text, rest, err := m.next()
		if err != nil {
			return err
		}
		if !yield(tag, text) {
			return nil
		}
		m = rest
	}
	return nil
}

// Items calls yield for each item of a group's value, in order, until yield returns false.
func Items(items []byte, yield func(item Image) bool) error {
	for len(items) > 0 {
		item, rest, err := cut(items)
		if err != nil {
			return err
		}
		if !yield(item) {
			return nil
		}
		items = rest
	}
	return nil
}

// SplitGroups cuts an image of the dataset in two: the groups, and the rest. Values that stand together go
// together; an image without groups is the rest itself.
func (d *Dataset) SplitGroups(m Image) (rest, groups Image, err error) {
	if len(m) == 0 {
		return nil, nil, nil
	}
	from, ofGroups := 0, false // the stretch that has been walked, and where it belongs
	put := func(to int) {
		switch part := m[from:to]; {
		case len(part) == 0:
		case ofGroups:
			groups = append(groups, part...)
		case rest == nil:
			rest = part[:len(part):len(part)]
		default:
			rest = append(rest, part...)
		}
		from = to
	}
	for left := m; len(left) > 0; {
		tag, text, behind, err := left.next()
		if err != nil {
			return rest, groups, err
		}
		at, next := len(m)-len(left), len(m)-len(behind)
		switch isGroup := slices.Contains(d.groups, tag); {
		case len(text) == 0: // it says nothing
			put(at)
			from = next
		case isGroup != ofGroups:
			put(at)
			ofGroups = isGroup
		}
		left = behind
	}
	put(len(m))
	return rest, groups, nil
}

// JoinImages returns the image that was cut in two.
func JoinImages(rest, groups Image) (Image, error) {
	var joined Image
	err := groups.Values(func(tag uint32, text []byte) bool {
		for len(rest) > 0 {
			next, value, behind, err := rest.next()
			if err != nil || next > tag {
				break
			}
			joined, rest = joined.AppendValue(next, value), behind
		}
		joined = joined.AppendValue(tag, text)
		return true
	})
	return append(joined, rest...), err
}

// A sealed image is two items, one behind the other: what is sealed of the record but its groups,
// and its groups; the latter only when there are some. CutSealed cuts it between them.
func CutSealed(sealed []byte) (rest, groups []byte, err error) {
	if len(sealed) == 0 {
		return nil, nil, nil
	}
	_, groups, err = cut(sealed)
	return sealed[:len(sealed)-len(groups)], groups, err
}

// Unpacker fills the columns of a page from images. It is compiled once for a shape and used
// for every row; it is not safe for concurrent use.
type Unpacker struct {
	slots  []int16 // column of a tag, or -1; tags of the standard dictionary are small
	far    map[uint32]int16
	fills  []int  // the columns that this part of the image fills
	last   uint32 // the highest tag of all that is asked for: what lies behind it is not looked at
	groups []groupUnpacker
}

type groupUnpacker struct {
	tag   uint32
	group int
	items *Unpacker
}

// NewUnpacker compiles the unpacking of one part of the image: the clear fields of shape or
// the sealed ones. Derived columns are left to whoever derives them.
func NewUnpacker(shape *Shape, sealed bool) *Unpacker {
	u := &Unpacker{fills: make([]int, 0, len(shape.Columns))}
	for i, f := range shape.Columns {
		if !f.Derived && f.IsSealed() == sealed {
			u.fills = append(u.fills, i)
			u.last = max(u.last, f.ImageTag())
		}
	}
	u.slots = make([]int16, min(int(u.last)+1, mostSlots))
	for i := range u.slots {
		u.slots[i] = -1
	}
	for _, i := range u.fills {
		u.place(shape.Columns[i].ImageTag(), i)
	}
	for i, g := range shape.Groups {
		if g.Field.Derived || g.Field.IsSealed() != sealed {
			continue
		}
		u.groups = append(u.groups, groupUnpacker{tag: g.Field.ImageTag(), group: i, items: newItemUnpacker(g.Shape)})
		u.last = max(u.last, g.Field.ImageTag())
	}
	return u
}

// mostSlots is up to which tag columns are found without a map.
const mostSlots = 1024

// place notes which column a tag fills.
func (u *Unpacker) place(tag uint32, column int) {
	if int(tag) < len(u.slots) {
		u.slots[tag] = int16(column)
		return
	}
	if u.far == nil {
		u.far = map[uint32]int16{}
	}
	u.far[tag] = int16(column)
}

// newItemUnpacker compiles the unpacking of a group's items: all its fields lie where the
// group lies.
func newItemUnpacker(shape *Shape) *Unpacker {
	u := &Unpacker{}
	for i, f := range shape.Columns {
		if f.Derived {
			continue
		}
		u.fills = append(u.fills, i)
		u.place(f.ImageTag(), i)
		u.last = max(u.last, f.ImageTag())
	}
	return u
}

// Fills reports whether the unpacker has anything to fill: a part that nobody asked for need
// not be fetched or opened.
func (u *Unpacker) Fills() bool { return len(u.fills) > 0 || len(u.groups) > 0 }

// FillsGroups reports whether groups are among it.
func (u *Unpacker) FillsGroups() bool { return len(u.groups) > 0 }

// Unpack appends one row to the columns and groups of p that this part fills, from an image or the
// pieces of one. An absent value becomes an absent cell.
func (u *Unpacker) Unpack(p *Page, pieces ...Image) error {
	for _, image := range pieces {
		if err := u.unpack(p, image); err != nil {
			return err
		}
	}
	for _, i := range u.fills {
		p.Columns[i].EndCell()
	}
	for i := range u.groups {
		p.Groups[u.groups[i].group].EndRow()
	}
	return nil
}

func (u *Unpacker) unpack(p *Page, image Image) error {
	for len(image) > 0 {
		tag, text, rest, err := image.next()
		if err != nil {
			return err
		}
		if tag > u.last {
			return nil
		}
		image = rest
		if column := u.column(tag); column >= 0 {
			c := &p.Columns[column]
			c.Data = append(c.Data, text...)
			continue
		}
		if err := u.unpackGroup(p, tag, text); err != nil {
			return err
		}
	}
	return nil
}

func (u *Unpacker) column(tag uint32) int16 {
	if int(tag) < len(u.slots) {
		return u.slots[tag]
	}
	if column, ok := u.far[tag]; ok {
		return column
	}
	return -1
}

func (u *Unpacker) unpackGroup(p *Page, tag uint32, items []byte) error {
	for i := range u.groups {
		g := &u.groups[i]
		if g.tag != tag {
			continue
		}
		rows := p.Groups[g.group].Page
		var failed error
		err := Items(items, func(item Image) bool {
			failed = g.items.Unpack(rows, item)
			rows.Count++
			return failed == nil
		})
		return errors.Join(failed, err)
	}
	return nil
}
