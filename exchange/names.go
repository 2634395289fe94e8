package exchange

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/annona-exchange/annona"
)

// The bounds of names in their index.
const (
	minLetters   = 2 // of a part of a name
	firstLetters = 4 // by which the beginning of a part is found
	maxParts     = 8 // of one name; those behind are not found
	// maxOtherNames is of how many other names of an individual the index has the parts. Each name has
	// bounds of its own: what is not shown of somebody does not change by what they are found.
	maxOtherNames = 16
)

// nameFields are the fields by which somebody is found, those of groups as group.field.
var nameFields = []string{
	"full_name", "given_name", "second_name", "family_name", "father_name", "grandfather_name", "family_name_at_birth", "preferred_name",
	"other_names.full_name", "other_names.given_name", "other_names.family_name",
}

// partsOf takes names apart, as they are compared: decomposed (NFKD), case folded, without marks,
// apostrophes and invisible characters, between spaces, hyphens, digits and signs. Each part stands
// there once, in the order of the names; those of one letter are left out.
func partsOf(names ...string) (parts []string) {
	for _, name := range names {
		some := strings.FieldsFunc(plainName(name), func(r rune) bool { return !unicode.IsLetter(r) })
		some = slices.DeleteFunc(some, func(part string) bool { return utf8.RuneCountInString(part) < minLetters })
		for _, part := range some[:min(len(some), maxParts)] {
			if !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

func plainName(name string) string {
	folded := cases.Fold().String(norm.NFKD.String(name))
	return strings.Map(func(r rune) rune {
		if unicode.IsMark(r) || unicode.In(r, unicode.Cf, unicode.Lm) || strings.ContainsRune("'`´‘’ʼ＇", r) {
			return -1
		}
		return r
	}, norm.NFKD.String(folded))
}

// firstOf returns the first letters of a part of a name; all of it when it has no more.
func firstOf(part string) string {
	at := 0
	for i := range part {
		if at == firstLetters {
			return part[:i]
		}
		at++
	}
	return part
}

// nameTokens returns what the index has of an individual with these parts of names in a zone.
func (x *Exchange) nameTokens(zone string, parts []string) (tokens []uint32) {
	if zone == "" {
		return nil
	}
	for _, part := range parts {
		tokens = append(tokens, x.Vault.NameTokens(zone, part)[0])
		if first := firstOf(part); first != part {
			tokens = append(tokens, x.Vault.NameTokens(zone, first)[0])
		}
	}
	return tokens
}

// namesIn returns the names in the sealed image of an individual.
func namesIn(d *annona.Dictionary, individuals *annona.Dataset, sealed annona.Image) (names []string, err error) {
	r, err := recordOf(d, individuals, sealed)
	if err != nil {
		return nil, err
	}
	for _, field := range nameFields {
		group, code, nested := strings.Cut(field, ".")
		if !nested {
			names = append(names, valueOf(r.Values, field))
			continue
		}
		items := groupOf(&r, group)
		for _, item := range items[:min(len(items), maxOtherNames)] {
			names = append(names, valueOf(item, code))
		}
	}
	return names, nil
}

// hasName reports whether somebody with these parts of names is the one that is asked for: each asked
// part is one of theirs or, unless it has to be whole, at least four letters with which one of theirs
// begins.
func hasName(parts, asked []string, whole bool) bool {
	for _, a := range asked {
		fits := func(part string) bool {
			return part == a || !whole && utf8.RuneCountInString(a) >= firstLetters && strings.HasPrefix(part, a)
		}
		if !slices.ContainsFunc(parts, fits) {
			return false
		}
	}
	return true
}
