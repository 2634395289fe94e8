package exchange

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// document is what a matter says, by the names of its fields: canonical text, and the items of groups,
// each under its own name within the group. What is derived does not stand in it.
type document struct {
	of     *annona.Dataset
	values map[string]string              // none is empty
	groups map[string][]map[string]string // by group, in order
}

// The bounds of what a matter says.
const (
	maxShortText = 1000     // bytes of a text that lies in clear
	maxLongText  = 64 << 10 // bytes of one that is sealed
	maxItems     = 200      // of one group
)

// itemName is the field by which an item is known within its group. A group without it is replaced
// as a whole.
const itemName = "item"

func newDocument(of *annona.Dataset) document {
	return document{of: of, values: map[string]string{}, groups: map[string][]map[string]string{}}
}

// openDocument reads what a matter says from its images.
func openDocument(d *annona.Dictionary, of *annona.Dataset, images ...annona.Image) (document, error) {
	doc := newDocument(of)
	r, err := recordOf(d, of, images...)
	if err != nil {
		return doc, err
	}
	for _, v := range r.Values {
		doc.values[v.Field.Code] = v.Text
	}
	for _, g := range r.Groups {
		for _, values := range g.Items {
			item := make(map[string]string, len(values))
			for _, v := range values {
				item[v.Field.Code] = v.Text
			}
			doc.groups[g.Field.Code] = append(doc.groups[g.Field.Code], item)
		}
	}
	return doc, nil
}

// images returns what a matter says as its two images, of which the second one is to be sealed.
func (doc document) images(d *annona.Dictionary) (clear, sealed annona.Image, err error) {
	var values []annona.Value
	for code, text := range doc.values {
		f, _ := doc.of.Field(code)
		values = append(values, annona.Value{Field: f, Text: text})
	}
	var groups []annona.GroupItems
	for code, items := range doc.groups {
		f, _ := doc.of.Field(code)
		rows, _ := d.Dataset(f.Group)
		g := annona.GroupItems{Field: f}
		for _, item := range items {
			var of []annona.Value
			for code, text := range item {
				inner, _ := rows.Field(code)
				of = append(of, annona.Value{Field: inner, Text: text})
			}
			g.Items = append(g.Items, of)
		}
		groups = append(groups, g)
	}
	var p prepared
	err = p.cut(values, groups)
	return p.Clear, p.sealed, err
}

// clone returns a copy of its own.
func (doc document) clone() document {
	copied := document{of: doc.of, values: maps.Clone(doc.values), groups: make(map[string][]map[string]string, len(doc.groups))}
	for code, items := range doc.groups {
		for _, item := range items {
			copied.groups[code] = append(copied.groups[code], maps.Clone(item))
		}
	}
	return copied
}

// with returns the document as a JSON merge patch (RFC 7396) leaves it: null takes a value away, an
// array replaces a group. Items that have names are also patched one by one, by an object of them. closed
// names fields that this request may not set.
func (doc document) with(d *annona.Dictionary, patch map[string]any, closed ...string) (document, error) {
	next := doc.clone()
	for code, said := range patch {
		f, known := doc.of.Field(code)
		switch {
		case !known:
			return doc, annona.Invalid("unknown_field", "a member of the body is no field of %s; the schema %s.schema.json lists them", doc.of.Name, doc.of.Name)
		case f.Derived || f.Aspect != annona.AspectValue || slices.Contains(closed, code):
			return doc, annona.Invalid("field_not_set", "the exchange makes this field itself, or another request sets it").On(code)
		case f.Type == annona.TypeGroup:
			rows, _ := d.Dataset(f.Group)
			items, err := patchItems(d, rows, next.groups[code], said)
			if err != nil {
				return doc, onField(err, code)
			}
			next.groups[code] = items
			if len(items) == 0 {
				delete(next.groups, code)
			}
		default:
			text, err := textOf(d, f, said)
			if err != nil {
				return doc, err
			}
			set(next.values, code, text)
		}
	}
	return next, nil
}

func onField(err error, group string) error {
	if e, ok := err.(*annona.Error); ok && e.Name != "" && !strings.Contains(e.Name, ".") {
		return e.On(group + "." + e.Name)
	}
	return err
}

func set(values map[string]string, code, text string) {
	if text == "" {
		delete(values, code)
		return
	}
	values[code] = text
}

// textOf returns the canonical text of a JSON value; empty for null.
func textOf(d *annona.Dictionary, f *annona.Field, said any) (string, error) {
	text, err := plainText(f, said)
	if err != nil {
		return "", err
	}
	longest := maxShortText
	if f.IsSealed() {
		longest = maxLongText
	}
	if len(text) > longest {
		return "", annona.TooLarge("text_too_long", "the text has at most %d bytes", longest).On(f.Code)
	}
	return canonical(d, f, text)
}

func plainText(f *annona.Field, said any) (string, error) {
	malformed := annona.Invalid("value_malformed", "the value is not of the type that the schema gives for this field").On(f.Code)
	switch said := said.(type) {
	case nil:
		return "", nil
	case string:
		if f.Type == annona.TypeInt || f.Type == annona.TypeBool {
			return "", malformed
		}
		return said, nil
	case json.Number:
		if f.Type == annona.TypeInt || f.Type == annona.TypeDec {
			return said.String(), nil
		}
	case bool:
		if f.Type == annona.TypeBool && said {
			return "true", nil
		}
		if f.Type == annona.TypeBool {
			return "false", nil
		}
	case []any:
		if !f.Many {
			return "", malformed
		}
		var parts []string
		for _, one := range said {
			part, ok := one.(string)
			if !ok || part == "" || strings.ContainsRune(part, annona.ListMark) {
				return "", malformed
			}
			parts = append(parts, part)
		}
		return strings.Join(parts, string(rune(annona.ListMark))), nil
	}
	return "", malformed
}

// patchItems returns the items of a group behind a patch of it.
func patchItems(d *annona.Dictionary, rows *annona.Dataset, items []map[string]string, said any) ([]map[string]string, error) {
	malformed := annona.Invalid("group_malformed", "a group is written as an array of its items, or as an object of the items to change, by their names")
	var next []map[string]string
	switch said := said.(type) {
	case nil:
	case []any:
		for _, one := range said {
			patch, ok := one.(map[string]any)
			if !ok {
				return nil, malformed
			}
			item, err := patchItem(d, rows, map[string]string{}, patch)
			if err != nil {
				return nil, err
			}
			next = append(next, item)
		}
	case map[string]any:
		if _, named := rows.Field(itemName); !named {
			return nil, malformed
		}
		var err error
		if next, err = patchNamed(d, rows, items, said); err != nil {
			return nil, err
		}
	default:
		return nil, malformed
	}
	return next, checkItems(rows, next)
}

func patchNamed(d *annona.Dictionary, rows *annona.Dataset, items []map[string]string, said map[string]any) ([]map[string]string, error) {
	next, left := []map[string]string{}, maps.Clone(said)
	for _, item := range items {
		change, changed := left[item[itemName]]
		delete(left, item[itemName])
		if !changed {
			next = append(next, item)
			continue
		}
		if change == nil {
			continue
		}
		patch, ok := change.(map[string]any)
		if !ok {
			return nil, annona.Invalid("group_malformed", "an item is written as an object").On(itemName)
		}
		patched, err := patchItem(d, rows, item, patch)
		if err != nil {
			return nil, err
		}
		next = append(next, patched)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		patch, ok := left[name].(map[string]any)
		if !ok {
			return nil, annona.NotFound("the group has no item of this name").On(itemName)
		}
		item, err := patchItem(d, rows, map[string]string{itemName: name}, patch)
		if err != nil {
			return nil, err
		}
		next = append(next, item)
	}
	return next, nil
}

func patchItem(d *annona.Dictionary, rows *annona.Dataset, item map[string]string, patch map[string]any) (map[string]string, error) {
	next := maps.Clone(item)
	for code, said := range patch {
		f, known := rows.Field(code)
		if !known || f.Type == annona.TypeGroup {
			return nil, annona.Invalid("unknown_field", "a member of an item is no field of %s", rows.Name)
		}
		text, err := textOf(d, f, said)
		if err != nil {
			return nil, err
		}
		if code == itemName && item[itemName] != "" && text != item[itemName] {
			return nil, annona.Invalid("item_renamed", "an item keeps its name; take it away and add another one").On(itemName)
		}
		set(next, code, text)
	}
	return next, nil
}

// checkItems names items that have no name, and refuses two of one name.
func checkItems(rows *annona.Dataset, items []map[string]string) error {
	if len(items) > maxItems {
		return annona.TooLarge("too_many_items", "a group has at most %d items", maxItems)
	}
	if _, named := rows.Field(itemName); !named {
		return nil
	}
	seen := map[string]bool{}
	for _, item := range items {
		if item[itemName] == "" {
			item[itemName] = shortName(annona.NewUID())
		}
		if name := item[itemName]; seen[name] || len(name) > 64 {
			return annona.Invalid("item_twice", "each item of a group has a name of its own, of at most 64 characters").On(itemName)
		}
		seen[item[itemName]] = true
	}
	return nil
}

const shortLetters = "23456789BCDFGHJKMNPQRSTVWXYZ" // none that is mistaken for another, no vowels: no words

// shortName is eight letters and digits of an id that was drawn by chance.
func shortName(of annona.UID) string {
	name := make([]byte, 8)
	for i := range name {
		name[i] = shortLetters[int(of[i])%len(shortLetters)]
	}
	return string(name)
}

// units are the parts that are merged and compared as one each: a value, an item that has a name, a
// group whose items have none.
func (doc document) units() map[string]string {
	units := maps.Clone(doc.values)
	for code, items := range doc.groups {
		for _, item := range items {
			name := code
			if item[itemName] != "" {
				name += "/" + item[itemName]
			}
			units[name] += packed(item)
		}
	}
	return units
}

// packed writes an item in one canonical form.
func packed(item map[string]string) string {
	var b bytes.Buffer
	for _, code := range slices.Sorted(maps.Keys(item)) {
		b.Write(appendTexts(nil, code, item[code]))
	}
	return b.String()
}

// changedUnits names the units that differ, in order.
func changedUnits(a, b document) []string {
	before, behind := a.units(), b.units()
	var changed []string
	for name, text := range before {
		if behind[name] != text {
			changed = append(changed, name)
		}
	}
	for name := range behind {
		if _, there := before[name]; !there {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}
