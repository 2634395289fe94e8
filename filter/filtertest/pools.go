package filtertest

import "github.com/annona-exchange/annona"

// AsOf is a day on which the dates of the pools give telling ages: birthdays fall on it, the
// day before and the day after, and on February 29.
const AsOf annona.Date = "2024-03-01"

// Areas is a small tree of areas. An area lies inside another whose code it begins with.
func Areas() []annona.Area {
	return []annona.Area{
		{Code: "XA", Level: 0, Names: map[string]string{"en": "Country"}},
		{Code: "XA-1", Parent: "XA", Level: 1, Names: map[string]string{"en": "North"}},
		{Code: "XA-1-1", Parent: "XA-1", Level: 2, Names: map[string]string{"en": "Upper North"}},
		{Code: "XA-2", Parent: "XA", Level: 1, Names: map[string]string{"en": "South"}},
	}
}

// Values returns the canonical texts that conditions and rows draw the values of a field from,
// each fit for the dictionary. It is empty for a field that has no pool: ids and groups other
// than the quality flags.
func Values(d *annona.Dictionary, f *annona.Field) []string {
	if isFlags(f) {
		return []string{"no_head", "id_disputed", "survey_stale"}
	}
	switch f.Type {
	case annona.TypeText:
		return texts(f)
	case annona.TypeInt:
		return []string{"-1", "0", "1", "2", "10"}
	case annona.TypeDec:
		return decimals(f.Scale)
	case annona.TypeBool:
		return []string{"false", "true"}
	case annona.TypeDate:
		return []string{"1964-02-29", "1964-03-01", "2006-03-01", "2006-03-02", "2019-02-28", "2024-03-01"}
	case annona.TypeInstant:
		return []string{"2024-02-29T23:59:59.999Z", "2024-03-01T00:00:00.000Z"}
	case annona.TypeCode:
		return codes(d, f)
	}
	return nil
}

func texts(f *annona.Field) []string {
	if f.Many {
		return []string{"B", "a", "ä"}
	}
	return []string{"B", "a", "ä", "a \"b\"\\", "two\nlines\tor; more"}
}

// decimals are chosen so that comparing them as text would give another order.
func decimals(scale int) []string {
	if scale == 0 {
		return []string{"-1", "0", "9", "10"}
	}
	return []string{"-1.5", "0", "9.5", "10", "10.1"}
}

func codes(d *annona.Dictionary, f *annona.Field) []string {
	if f.CodeList == areaList {
		return []string{"XA", "XA-1", "XA-1-1", "XA-2"}
	}
	list, ok := d.CodeList(f.CodeList)
	if !ok || len(list.Codes) == 0 {
		return []string{"aa", "bb"}
	}
	var pool []string
	for _, code := range list.Codes[:min(3, len(list.Codes))] {
		pool = append(pool, code.Code)
	}
	return pool
}

func isFlags(f *annona.Field) bool {
	return f.Type == annona.TypeGroup && f.Code == "quality_flags"
}
