package exchange

import (
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// A record into which others were merged consists of parts: itself and those. Each part is what its own
// sources say of it, and goes on to be reported by itself. What the record shows is put together
// from its parts by the rule below, which is pure. So a merge loses nothing, and can be taken back.
// Decision 0067 has the rule in words.

// unity is what parts are put together by.
type unity struct {
	authority authorities
	flag      func(unit string, since time.Time) word // the parts say different things of unit
	inside    func(t annona.Relationship) bool        // it leads to another part of the same record
}

// unite returns the record that parts make, the first of which is the record itself.
func (u unity) unite(parts []standing) standing {
	whole := standing{source: parts[0].source, asOf: parts[0].asOf, words: slices.Clone(parts[0].words)}
	var flags []word
	for i := 1; i < len(parts); i++ {
		for n := range parts[i].words {
			w := parts[i].traced(n)
			at := slices.IndexFunc(whole.words, func(o word) bool { return o.about(&w) })
			if at < 0 {
				whole.words = append(whole.words, w)
				continue
			}
			kept, lost := u.choose(whole.traced(at), w)
			whole.words[at] = kept
			if lost != nil {
				flag := u.flag(lost.unit, lost.youngest())
				flag.origins = lost.origins
				flags = append(flags, flag)
			}
		}
	}
	for _, flag := range flags {
		if !slices.ContainsFunc(whole.words, func(o word) bool { return o.about(&flag) }) {
			whole.words = append(whole.words, flag)
		}
	}
	for i := range parts {
		whole.memberships = addMemberships(whole.memberships, parts[i].memberships)
		whole.relationships = u.addRelationships(whole.relationships, parts[i].relationships)
	}
	died := deathIn(whole.words)
	whole.memberships = died.end(whole.memberships, annona.DateOf(whole.diedAt().UTC()))
	return whole
}

// choose says which of two words about one thing counts: that of its authority, that which has a
// value, the younger one, the first. lost is the other one where both have a value and differ.
func (u unity) choose(first, second word) (kept word, lost *word) {
	if first.says(&second) {
		first.origins = joinOrigins(first.origins, second.origins)
		return first, nil
	}
	winner, loser := first, second
	switch authority := u.authority(first.unit); {
	case first.speaks() != second.speaks():
		if second.speaks() {
			winner, loser = second, first
		}
		return winner, nil
	case first.from(authority) != second.from(authority):
		if second.from(authority) {
			winner, loser = second, first
		}
	case second.youngest().After(first.youngest()):
		winner, loser = second, first
	}
	if first.item != "" { // one identifier, written in two ways
		winner.origins = joinOrigins(winner.origins, loser.origins)
		return winner, nil
	}
	return winner, &loser
}

// from reports whether a source is among those that say so.
func (w *word) from(source string) bool {
	return source != "" && slices.ContainsFunc(w.origins, func(o origin) bool { return o.source == source })
}

// youngest is when the word was last said.
func (w *word) youngest() (at time.Time) {
	for _, o := range w.origins {
		if o.asOf.After(at) {
			at = o.asOf
		}
	}
	return at
}

// joinOrigins returns all origins, of one source the younger one.
func joinOrigins(a, b []origin) []origin {
	all := slices.Clone(a)
	for _, o := range b {
		at := slices.IndexFunc(all, func(p origin) bool { return p.source == o.source })
		switch {
		case at < 0:
			all = append(all, o)
		case o.asOf.After(all[at].asOf):
			all[at] = o
		}
	}
	return all
}

// diedAt is when the death was reported; the last report when nobody has died.
func (s *standing) diedAt() time.Time {
	for i := range s.words {
		if w := s.traced(i); w.unit == "vital_status" {
			return w.youngest()
		}
	}
	return s.asOf
}

// addMemberships adds those of another part. Nobody is in one household twice at a time, nor has two
// primary memberships: those of earlier parts stay.
func addMemberships(had, more []annona.Membership) []annona.Membership {
	first := len(had)
	for _, m := range more {
		earlier := had[:first]
		if slices.ContainsFunc(earlier, func(o annona.Membership) bool { return overlap(o, m) }) {
			continue
		}
		rivals := func(o annona.Membership) bool { return !o.NotPrimary && atOneTime(o, m) }
		m.NotPrimary = m.NotPrimary || slices.ContainsFunc(earlier, rivals)
		had = append(had, m)
	}
	return had
}

// addRelationships adds those of another part, without those to the record itself and those that it
// has.
func (u unity) addRelationships(had, more []annona.Relationship) []annona.Relationship {
	first := len(had)
	for _, t := range more {
		twice := func(o annona.Relationship) bool { return sameRelation(o, t) }
		if !u.inside(t) && !slices.ContainsFunc(had[:first], twice) {
			had = append(had, t)
		}
	}
	return had
}

func sameRelation(a, b annona.Relationship) bool {
	toOne := a.Source == b.Source && a.ToKey == b.ToKey || a.To != 0 && a.To == b.To
	return toOne && strings.EqualFold(a.Type, b.Type) && (a.EndDate == "" || b.StartDate < a.EndDate) && (b.EndDate == "" || a.StartDate < b.EndDate)
}
