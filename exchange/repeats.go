package exchange

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/annona-exchange/annona"
)

// A key that stands on two rows of one load is a mistake of its source: the rows may say different
// things of one person, or be two people. Which of them is right nobody can tell, so that the first one
// counts, wherever the second one stands; a second one that says something else is left out and told by
// its place, with that of the first. What has no place (it was not read from a file) is not looked at:
// of that the later word holds.

// Repeat says where a row stood that was left out because an earlier one has the same key.
type Repeat struct {
	Dataset string `json:"dataset"`
	File    int    `json:"file"` // of those of the load, from 1 in the order in which they are read
	Line    int    `json:"line"`
	First   Place  `json:"first"` // of the row that counts
}

// Place is where a row stood.
type Place struct {
	File int `json:"file"`
	Line int `json:"line"`
}

// mostRepeats is how many repeats a report tells by their places.
const mostRepeats = 1000

func (o *outcome) repeat(r *prepared, first Place) {
	o.tally.Repeated++
	if len(o.repeats) < mostRepeats {
		o.repeats = append(o.repeats, Repeat{Dataset: r.Dataset.Name, File: r.said.File, Line: r.said.Line, First: first})
	}
}

// withRepeats adds repeats, in the order of their places.
func withRepeats(all, more []Repeat) []Repeat {
	if len(more) == 0 {
		return all
	}
	all = append(slices.Clip(all), more[:min(len(more), mostRepeats-len(all))]...)
	slices.SortStableFunc(all, func(a, b Repeat) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	return all
}

// sightings remember on which row of the load each record stood: twelve bytes for each.
type sightings struct {
	pages map[annona.Number]*[sightingsOnPage]sighting
}

const sightingsOnPage = 512

type sighting struct {
	line uint32 // 0: the record has not been met
	key  uint32 // hash of the key that the row had: several keys may lead to one record
	said uint16 // of the digest
	file uint16
}

func sightingOf(r *prepared) sighting {
	h := fnv.New32a()
	h.Write([]byte(r.Key))
	return sighting{line: uint32(r.said.Line), key: h.Sum32(), said: uint16(r.Digest[0])<<8 | uint16(r.Digest[1]), file: uint16(min(r.said.File, 1<<16-1))}
}

// at is what is remembered of a record.
func (s *sightings) at(number annona.Number) sighting {
	if page := s.pages[number/sightingsOnPage]; page != nil {
		return page[number%sightingsOnPage]
	}
	return sighting{}
}

// remember keeps on which row a record stood.
func (s *sightings) remember(number annona.Number, row sighting) {
	if s.pages == nil {
		s.pages = map[annona.Number]*[sightingsOnPage]sighting{}
	}
	page := s.pages[number/sightingsOnPage]
	if page == nil {
		page = new([sightingsOnPage]sighting)
		s.pages[number/sightingsOnPage] = page
	}
	page[number%sightingsOnPage] = row
}

// repeats reports whether an earlier row of the load had the record's key, and then notes it when this
// one says something else.
func (l *Loading) repeats(r *prepared, k *annona.Known, o *outcome) bool {
	if r.said.Line == 0 {
		return false
	}
	earlier, now := l.earlier(r.Dataset.Name, k.Number), sightingOf(r)
	if earlier.line == 0 || earlier.key != now.key {
		o.sighted = append(o.sighted, sighted{r.Dataset.Name, k.Number, now})
		return false
	}
	if k.Same || earlier.said == now.said {
		o.doubtful = o.doubtful || earlier.said != now.said
		o.Unchanged++
		return true
	}
	o.repeat(r, Place{File: int(earlier.file), Line: int(earlier.line)})
	return true
}

// earlier is what is remembered of a record by the writes that have ended.
func (l *Loading) earlier(dataset string, number annona.Number) sighting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[dataset].at(number)
}

// sighted is a record that a transaction has met.
type sighted struct {
	dataset string
	number  annona.Number
	row     sighting
}
