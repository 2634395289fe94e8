package exchange

import (
	"context"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// Assignment says what a field of a record is. An empty text takes back what the registry itself has
// said of it.
type Assignment struct {
	Field string
	Text  string // canonical; the values of a field with many of them between semicolons
}

// Setting is what a person says of one record.
type Setting struct {
	Record Subject // Household says of which kind it is
	Values []Assignment
	Why
}

// Set writes what a person says of a record. It holds against what sources say otherwise: such a word is
// flagged outside_authority and counted by its load. A field that another source decides is refused with the
// code outside_authority. Fields that are one word (a date of birth and its precision, an address) are said
// together: those that are not named become absent.
func (x *Exchange) Set(ctx context.Context, caller annona.Caller, s Setting) (Edited, error) {
	dataset := "individuals"
	if s.Record.Household {
		dataset = "households"
	}
	if err := operatorOnly(caller); err != nil {
		return Edited{}, err
	}
	values, err := x.valuesOf(dataset, s.Values)
	if err != nil {
		return Edited{}, err
	}
	numbers, err := x.numbers(ctx, dataset, s.Record)
	if err != nil {
		return Edited{}, err
	}
	return x.edit(ctx, caller, "set", s.Why, func(e *edit) error {
		held, err := e.hold(ctx, dataset, numbers...)
		if err != nil {
			return err
		}
		return e.say(ctx, held[0], values)
	})
}

// valuesOf checks assignments and gives them their fields. A value with an empty text is kept: it says
// that nothing is said any more.
func (x *Exchange) valuesOf(dataset string, list []Assignment) ([]annona.Value, error) {
	if len(list) == 0 {
		return nil, annona.Invalid("nothing_said", "name a field and its value")
	}
	d := x.CurrentDictionary()
	of, _ := d.Dataset(dataset)
	values := make([]annona.Value, 0, len(list))
	for _, a := range list {
		f, known := of.Field(a.Field)
		switch {
		case !known:
			return nil, annona.Invalid("unknown_field", "the dictionary has no such field").On(a.Field)
		case f.Derived || f.Type == annona.TypeGroup || f.Type == annona.TypeID || f.Type == annona.TypeRef:
			return nil, annona.Invalid("field_not_set", "the exchange makes this field itself, or it has parts; it is not set by hand").On(a.Field)
		case slices.ContainsFunc(values, func(v annona.Value) bool { return v.Field == f }):
			return nil, annona.Invalid("field_twice", "a record gives a field twice").On(a.Field)
		}
		text, err := canonical(d, f, a.Text)
		if err != nil {
			return nil, err
		}
		values = append(values, annona.Value{Field: f, Text: text})
	}
	return values, nil
}

func canonical(d *annona.Dictionary, f *annona.Field, text string) (string, error) {
	parts := []string{text}
	if f.Many {
		parts = strings.Split(text, string(rune(annona.ListMark)))
	}
	list, closed := d.CodeList(f.CodeList)
	for i, part := range parts {
		one, err := f.Canonical(strings.TrimSpace(part))
		if err != nil {
			return "", err
		}
		if closed && one != "" && f.Aspect == annona.AspectValue && len(list.Codes) > 0 && !list.Has(one) {
			return "", annona.Invalid("code_unknown", "the code is not in the list %s", f.CodeList).On(f.Code)
		}
		parts[i] = one
	}
	return strings.Join(parts, string(rune(annona.ListSeparator))), nil
}

// say merges the registry's own word into a record.
func (e *edit) say(ctx context.Context, v *revision, values []annona.Value) error {
	dataset := v.known.Key.Dataset
	units := map[string]bool{}
	spoken := annona.Record{Dataset: dataset}
	for _, value := range values {
		units[unitOf(value.Field)] = true
		if value.Text == "" {
			continue
		}
		spoken.Values = append(spoken.Values, value)
		if dataset.Name == "households" && value.Field.Code == "area_code" {
			if err := e.checkArea(ctx, value.Text); err != nil {
				return err
			}
		}
	}
	authority := authoritiesOf(e.x.CurrentDictionary(), dataset.Name)
	next, outside := merge(v.now, said{
		origin: e.origin(), words: wordsOf(&spoken), covers: func(unit string) bool { return units[unit] },
		flag: func(unit string) word { return e.x.flag(dataset, flagOutside, unit, e.load.AsOf) },
	}, authority)
	if len(outside) > 0 {
		return annona.Conflict("outside_authority", "another source decides this field; let it be corrected there").On(outside[0])
	}
	return e.become(ctx, v, next)
}

// checkArea has the transaction depend on the areas and refuses one that nobody can live in.
func (e *edit) checkArea(ctx context.Context, code string) error {
	a, err := e.x.readAreas(ctx)
	if err != nil {
		return err
	}
	area, known := a.tree.Area(code)
	switch {
	case !known:
		return annona.Invalid("area_unknown", "no area with this code is on file").On(code)
	case area.IsClosed():
		return annona.Conflict("area_closed", "the area is closed since %s", area.ValidTo).On(code)
	}
	return e.tx.ExpectAreas(ctx, a.version)
}
