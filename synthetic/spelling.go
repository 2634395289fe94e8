package synthetic

import (
	"strings"
	"unicode/utf8"
)

// spelling is a person's name as one record has it.
type spelling struct {
	full, given, second, family, father, grandfather string
	familyAtBirth                                    string
	latinFull, latinGiven, latinFamily               string // of names in another script
	whole                                            bool   // the parts were not recorded
}

// spell puts the name of a person together. A second registration of the same person has a
// typing error in it, and a few names are of the sort that break careless programs.
func (w *draft) spell(who *person) spelling {
	s := w.parts(who, false)
	if who.copied != 0 {
		s.given = w.mistype(s.given)
	}
	s.full = w.chained(who.tradition, s)
	if !who.tradition.isLatin() {
		l := w.parts(who, true)
		s.latinGiven, s.latinFamily, s.latinFull = l.given, l.family, w.chained(who.tradition, l)
	}
	if w.chance(nastyNames) {
		w.complicate(&s, who)
	}
	s.whole = w.chance(0.03)
	return s
}

// parts returns the parts of the name in the script of its tradition or in Latin letters.
func (w *draft) parts(who *person, latin bool) spelling {
	n := &who.name
	return spelling{
		given:         n.given.written(latin),
		second:        n.second.written(latin),
		family:        n.family.borne(latin, who.female),
		familyAtBirth: n.birthFamily.borne(latin, who.female),
		father:        n.father.asFather(latin, who.female),
		grandfather:   n.grandfather.asFather(latin, false),
	}
}

// written is the plain form of a name.
func (n *name) written(latin bool) string {
	switch {
	case n == nil:
		return ""
	case latin:
		return n.latin
	default:
		return n.native
	}
}

// borne is a family name in the form that a man or a woman bears.
func (n *name) borne(latin, female bool) string {
	switch {
	case n == nil || !female || n.daughterNative == "":
		return n.written(latin)
	case latin:
		return n.daughterLatin
	default:
		return n.daughterNative
	}
}

// asFather is the father name of his son or daughter.
func (n *name) asFather(latin, female bool) string {
	switch {
	case n == nil:
		return ""
	case female && n.daughterNative != "":
		return n.borne(latin, true)
	case latin:
		return n.fatherLatin
	default:
		return n.fatherNative
	}
}

// chained joins the parts as the tradition does.
func (w *draft) chained(t *tradition, s spelling) string {
	switch t.chain {
	case givenOnly:
		return s.given
	case familyGiven:
		if s.given != "" && utf8.RuneLen(firstRune(s.given)) > 1 {
			return w.join("", s.family, s.given)
		}
		return w.join(" ", s.family, s.given)
	case givenFather:
		return w.join(" ", s.given, s.father, s.grandfather)
	case givenFatherFamily:
		return w.join(" ", s.given, s.father, s.family)
	default:
		return w.join(" ", s.given, s.second, s.family)
	}
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// mistype swaps, drops or doubles one letter, never the first.
func (w *draft) mistype(given string) string {
	letters := []rune(given)
	if len(letters) < 2 {
		return given + given
	}
	at := 1 + w.IntN(len(letters)-1)
	switch {
	case at+1 < len(letters) && letters[at] != letters[at+1] && w.chance(0.4):
		letters[at], letters[at+1] = letters[at+1], letters[at]
	case len(letters) > 3 && w.chance(0.5):
		letters = append(letters[:at], letters[at+1:]...)
	default:
		letters = append(letters[:at], append([]rune{letters[at]}, letters[at:]...)...)
	}
	return string(letters)
}

// complicate makes a name that is right and hard to handle.
func (w *draft) complicate(s *spelling, who *person) {
	switch w.IntN(8) {
	case 0:
		s.full = w.join(" ", s.given, "“"+s.given+"”", s.family)
	case 1:
		s.full = w.join(" ", s.given, `"Mama"`, s.family)
	case 2:
		s.given += "-" + w.givenName(who.tradition, who.female).native
		s.full = w.chained(who.tradition, *s)
	case 3:
		s.family = "O'Null"
		s.full = w.join(" ", s.given, s.family)
	case 4:
		s.family = "Null"
		s.full = w.join(" ", s.given, s.family)
	case 5:
		s.full = w.join(", ", s.family, s.given)
	case 6:
		s.given = "ʻ" + s.given
		s.full = w.chained(who.tradition, *s)
	default:
		s.full = strings.Repeat(s.full+" ", 1+200/len(s.full)) + s.given
	}
}

// naming writes the name. The full name is always there.
func (w *draft) naming(who *person, s spelling) {
	c := &w.registry.columns.individual
	w.set(c.fullName, s.full)
	if s.whole {
		return
	}
	order := "given_first"
	if who.tradition.chain == familyGiven {
		order = "family_first"
	}
	w.set(c.nameOrder, order)
	w.set(c.givenName, s.given)
	w.set(c.secondName, s.second)
	w.set(c.familyName, s.family)
	if chain := who.tradition.chain; chain == givenFather || chain == givenFatherFamily {
		w.set(c.fatherName, s.father)
		w.set(c.grandfatherName, s.grandfather)
	}
	if s.familyAtBirth != s.family && w.chance(0.5) {
		w.set(c.familyNameAtBirth, s.familyAtBirth)
	}
	if w.ageOf(who) >= 18 && w.chance(0.01) {
		w.set(c.namePrefix, relationOf(who.female, "Mrs", "Dr"))
	}
	if w.chance(0.01) {
		w.set(c.preferredName, s.given)
	}
}

// transliteration writes a name of another script in Latin letters too, for most.
func (w *draft) transliteration(who *person, s spelling) {
	if s.latinFull == "" || !w.chance(0.85) {
		return
	}
	c := &w.registry.columns.otherName
	w.put(c.kind, "transliteration")
	w.put(c.fullName, s.latinFull)
	if !s.whole {
		w.put(c.givenName, s.latinGiven)
		w.put(c.familyName, s.latinFamily)
	}
	w.put(c.script, "Latn")
	w.put(c.language, who.tradition.language)
	w.endItem()
}
