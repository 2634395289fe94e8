package exchange

import (
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// The merge rule says what a record is after a source has reported of it. It is pure: what is on
// file, the report and the authorities go in, the next record comes out. Decision 0050 has the
// rule in words.

// standing is a record on file, as the merge rule sees it.
type standing struct {
	source        string    // of the first key
	asOf          time.Time // of that key's last report
	words         []word    // without origins: from that report
	memberships   []annona.Membership
	relationships []annona.Relationship
}

// said is a report: what a source says of one key in one load.
type said struct {
	origin
	first         bool                   // the key is the record's first one
	covers        func(unit string) bool // what the source's file can tell of; nothing else is its business
	words         []word
	memberships   []annona.Membership // those of households on file carry their number
	relationships []annona.Relationship
	flag          func(unit string) word // makes a flag of this report: outside of the authority over unit
}

// The units under which a file covers what is no field of the record.
const (
	unitMemberships   = "memberships"
	unitRelationships = "relationships"
)

// authorities says which source decides a field; empty: the youngest word counts.
type authorities func(unit string) string

// merge returns the record after the report, and the fields on which the report differs from
// the word of their authority, or of the registry itself. A report must not be older than the last one of its key.
func merge(was standing, r said, authority authorities) (next standing, outside []string) {
	next = standing{source: was.source, asOf: was.asOf}
	if r.first {
		next.asOf = r.asOf
	}
	for i := range was.words {
		old := was.traced(i)
		kept, differs := choose(&old, r.word(&old), r, authority(old.unit))
		if differs {
			outside = append(outside, old.unit)
		}
		if kept != nil {
			next.words = append(next.words, *kept)
		}
	}
	for _, w := range r.words {
		if !slices.ContainsFunc(was.words, func(o word) bool { return o.about(&w) }) {
			w.origins = []origin{r.origin}
			next.words = append(next.words, w)
		}
	}
	memberships, differs := mergeMemberships(was.memberships, r)
	if differs {
		outside = append(outside, unitMemberships)
	}
	next.words = raiseOutside(next.words, outside, r)
	next.mark(authority)
	next.memberships = deathIn(next.words).end(memberships, annona.DateOf(r.asOf.UTC()))
	next.relationships = mergeRelationships(was.relationships, r)
	return next, outside
}

// traced returns a word with its origins.
func (s *standing) traced(i int) word {
	w := s.words[i]
	if len(w.origins) == 0 {
		w.origins = []origin{{source: s.source, asOf: s.asOf}}
	}
	return w
}

// word returns what the report says about the same thing; nil: nothing.
func (r *said) word(about *word) *word {
	for i := range r.words {
		if r.words[i].about(about) {
			w := r.words[i]
			w.origins = []origin{r.origin}
			return &w
		}
	}
	return nil
}

// choose says which of two words about one thing counts. new is nil when the source does not
// report it; the result is nil when nothing is left. differs: another word than that of the field's
// authority was reported, or, where it has not spoken, than that of the registry itself.
func choose(old, new *word, r said, authority string) (kept *word, differs bool) {
	if new == nil && !r.covers(old.unit) {
		return old, false
	}
	others := *old // as others say it, without this source
	others.origins = slices.DeleteFunc(slices.Clone(old.origins), func(o origin) bool { return o.source == r.source })
	alone := len(others.origins) == 0
	switch {
	case new == nil && alone:
		return nil, false
	case new == nil:
		return &others, false
	case alone:
		return new, false
	case new.says(old):
		others.origins = append(others.origins, r.origin)
		return &others, false
	case old.item != "":
		return describe(&others, new, r, authority), false
	case !new.speaks():
		return &others, false
	case !old.speaks(), authority == r.source:
		return new, false
	case others.saidBy(authority), others.saidBy(annona.OwnSource):
		return &others, true
	case r.source == annona.OwnSource:
		return new, false
	case slices.ContainsFunc(others.origins, func(o origin) bool { return r.asOf.Before(o.asOf) }):
		return &others, false
	}
	return new, false
}

func (w *word) saidBy(source string) bool {
	return slices.ContainsFunc(w.origins, func(o origin) bool { return o.source == source })
}

// describe returns an item that several sources know, as the youngest of them or who decides
// describes it: one identifier may be written in two ways.
func describe(others, new *word, r said, authority string) *word {
	counts := func(o origin) bool { return o.source == authority || r.asOf.Before(o.asOf) && authority != r.source }
	if slices.ContainsFunc(others.origins, counts) {
		others.origins = append(others.origins, r.origin)
		return others
	}
	new.origins = append(others.origins, r.origin)
	return new
}

// raiseOutside replaces the flags by which this source was outside of an authority before.
func raiseOutside(words []word, outside []string, r said) []word {
	for _, unit := range outside {
		flag := r.flag(unit)
		flag.origins = []origin{r.origin}
		if at := slices.IndexFunc(words, func(w word) bool { return w.about(&flag) }); at >= 0 {
			words[at].origins = append(words[at].origins, r.origin)
			continue
		}
		words = append(words, flag)
	}
	return words
}

// mark takes the origin off the words that come from the first key's last report alone, unless an
// authority rule is about them.
func (s *standing) mark(authority authorities) {
	for i := range s.words {
		w := &s.words[i]
		if authority(w.unit) == "" && len(w.origins) == 1 && w.origins[0].source == s.source && w.origins[0].asOf.Equal(s.asOf) {
			w.origins = nil
		}
	}
}
