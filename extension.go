package annona

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var countryCode = regexp.MustCompile(`^[A-Z]{2}$`)

// checkAttribute says whether a country may declare f in s. Only what a source reports and
// an image keeps can be declared: nobody would compute a derived attribute.
func checkAttribute(datasets []Dataset, s *Dataset, f *Field) error {
	fault := func(format string, args ...any) error {
		return Invalid("attribute_refused", format, args...).On(f.Code)
	}
	plain := []Type{TypeText, TypeInt, TypeDec, TypeBool, TypeDate, TypeInstant, TypeCode}
	switch {
	case !slices.Contains(plain, f.Type):
		return fault("a declared attribute is text, int, dec, bool, date, instant or code")
	case f.Derived:
		return fault("a declared attribute comes from a source; the exchange derives none for a country")
	case f.Tag != 0 && f.Tag < CountryTag:
		return fault("tags below %d belong to the standard; leave the tag out to get the next free one", CountryTag)
	case f.AtRest == SealedIndexed:
		return fault("only the value of an identifier is indexed for look-up; seal the attribute instead")
	case isRootKey(datasets, f.Code):
		return fault("the name is that of an id column in linked files; choose another")
	case s.Root:
		return nil
	case f.Filter != FilterNone:
		return fault("only attributes of households and individuals can be filtered")
	case !reported(datasets, s):
		return fault("the dataset %s takes no attributes: the exchange makes its rows", s.Name)
	}
	return nil
}

func isRootKey(datasets []Dataset, code string) bool {
	return slices.ContainsFunc(datasets, func(s Dataset) bool { return s.Root && s.Key == code })
}

// reported says whether some record's image holds rows of s.
func reported(datasets []Dataset, s *Dataset) bool {
	for _, owner := range datasets {
		for _, f := range owner.Fields {
			if f.Group == s.Name && !f.Derived {
				return true
			}
		}
	}
	return false
}

// checkGroups holds the datasets to what their groups demand. All of an item lies where its
// group lies, so a field cannot be sealed alone. In a flat file the columns of a nested record
// carry the item's name as prefix and must not meet a column of the outer record.
func (d *Dictionary) checkGroups() error {
	for s := range d.Datasets() {
		for _, g := range s.Fields {
			if g.Type != TypeGroup {
				continue
			}
			for c := range d.datasets[g.Group].Columns() {
				if !g.Derived && c.IsSealed() != g.IsSealed() {
					return Invalid("at_rest_of_group", "the group %s of %s lies %s at rest, and so must each of its fields",
						g.Code, s.Name, g.AtRest).On(c.Dataset + "." + c.Code)
				}
				if meets, ok := s.byName[g.Item()+"_"+c.Code]; ok && d.datasets[g.Group].Root {
					return Invalid("field_meets_prefix", "in a flat file of %s it would meet the column of the same name from %s",
						s.Name, g.Group).On(meets.Dataset + "." + meets.Code)
				}
			}
		}
	}
	return nil
}

// IsCode says whether every format can carry the code, alone and in a list.
func IsCode(code string) bool {
	return code != "" && printable(code) && strings.TrimSpace(code) == code &&
		!strings.ContainsRune(code, ListMark) && !strings.ContainsFunc(code, unicode.IsControl)
}

// Declares reports whether all of the extension is in the dictionary already, as it stands there.
func (d *Dictionary) Declares(x Extension) bool {
	for _, f := range x.Fields {
		s, ok := d.Dataset(f.Dataset)
		if !ok {
			return false
		}
		have, ok := s.Field(f.Code)
		if !ok {
			return false
		}
		f.Country, f.Base, f.Aspect, f.Authority = x.Country, have.Base, AspectValue, have.Authority
		if f.Tag == 0 {
			f.Tag = have.Tag
		}
		if f != *have {
			return false
		}
	}
	for _, a := range x.Authorities {
		f, ok := d.field(a)
		if !ok || f.Authority != a.Source {
			return false
		}
	}
	for _, t := range x.identifierTypes() {
		if !t.same(d.IdentifierType(t.Code)) {
			return false
		}
	}
	for _, l := range x.CodeLists {
		have, ok := d.CodeList(l.Name)
		if !ok || have.Version != l.Version || have.Open != l.Open || have.Country != x.Country || !slices.Equal(have.Codes, l.Codes) {
			return false
		}
	}
	return true
}

func (d *Dictionary) field(a Authority) (*Field, bool) {
	s, ok := d.Dataset(a.Dataset)
	if !ok {
		return nil, false
	}
	return s.Field(a.Field)
}

// apply puts the rule in force in the datasets.
func (a Authority) apply(datasets []Dataset) error {
	i := slices.IndexFunc(datasets, func(s Dataset) bool { return s.Name == a.Dataset && s.Root })
	if i < 0 {
		return Invalid("authority_refused", "an authority decides a field of households or individuals").On(a.Field)
	}
	for j, f := range datasets[i].Fields {
		if f.Code != a.Field {
			continue
		}
		if f.Derived {
			return Invalid("authority_refused", "no source decides this field: the exchange derives it").On(a.Field)
		}
		decided := *f
		decided.Authority = a.Source
		datasets[i].Fields[j] = &decided
		return nil
	}
	return Invalid("unknown_field", "the authority decides a field that %s do not have", a.Dataset).On(a.Field)
}
