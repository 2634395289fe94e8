package audit

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/annona-exchange/annona"
)

// subjectSet is the people of one noun and one field mask, each once.
type subjectSet struct {
	noun    string
	fields  hash
	numbers []uint64 // ascending, each once
}

// mergeSubjects brings the sets into their canonical form: one per noun and field mask, in
// order of first appearance, none empty.
func mergeSubjects(subjects []Subjects, named *lists) []subjectSet {
	sets := make([]subjectSet, 0, len(subjects))
	for _, s := range subjects {
		if len(s.Numbers) == 0 {
			continue
		}
		fields := named.add(s.Fields)
		same := func(have subjectSet) bool { return have.noun == s.Noun && have.fields == fields }
		i := slices.IndexFunc(sets, same)
		if i < 0 {
			i = len(sets)
			sets = append(sets, subjectSet{noun: s.Noun, fields: fields})
		}
		sets[i].numbers = appendNumbers(sets[i].numbers, s.Numbers)
	}
	for i := range sets {
		if !slices.IsSorted(sets[i].numbers) {
			slices.Sort(sets[i].numbers)
		}
		sets[i].numbers = slices.Compact(sets[i].numbers)
	}
	return sets
}

func appendNumbers(to []uint64, numbers []annona.Number) []uint64 {
	to = slices.Grow(to, len(numbers))
	for _, n := range numbers {
		to = append(to, uint64(n))
	}
	return to
}

func (s subjectSet) min() annona.Number { return annona.Number(s.numbers[0]) }

func (s subjectSet) max() annona.Number { return annona.Number(s.numbers[len(s.numbers)-1]) }

// encode writes noun, hash of the fields and the numbers as a 64-bit roaring bitmap.
func (s subjectSet) encode() []byte {
	set := roaring64.New()
	set.AddMany(s.numbers)
	set.RunOptimize()
	b := appendText(make([]byte, 0, 64+set.GetSerializedSizeInBytes()), s.noun)
	b = append(b, s.fields[:]...)
	bitmap, err := set.ToBytes()
	if err != nil {
		panic("audit: a set of numbers does not encode") // writing to memory cannot fail
	}
	return appendText(b, string(bitmap))
}

// storedSet is a decoded subject set, its numbers still in the bitmap: a few bytes can stand
// for millions.
type storedSet struct {
	noun    string
	fields  hash
	numbers *roaring64.Bitmap // not empty
}

func (s storedSet) min() annona.Number { return annona.Number(s.numbers.Minimum()) }

func (s storedSet) max() annona.Number { return annona.Number(s.numbers.Maximum()) }

// decodeSubjects reads what encode wrote. It takes any valid bitmap of the portable format,
// whichever containers its writer chose.
func decodeSubjects(b []byte) (storedSet, error) {
	r := reader{rest: b}
	s := storedSet{noun: r.text()}
	copy(s.fields[:], r.take(len(s.fields)))
	bitmap := r.text()
	if r.failed || len(r.rest) > 0 {
		return storedSet{}, errSubjects
	}
	numbers, err := decodeBitmap(bitmap)
	s.numbers = numbers
	return s, err
}

var errSubjects = annona.Invalid("part_malformed", "the set of subjects does not decode")

// smallestBucket is the least number of bytes that one bucket of a 64-bit bitmap takes: key,
// cookie and count.
const smallestBucket = 12

func decodeBitmap(b string) (*roaring64.Bitmap, error) {
	// The library allocates as many buckets as the text claims.
	if len(b) < 8 || binary.LittleEndian.Uint64([]byte(b[:8])) > uint64(len(b)/smallestBucket) {
		return nil, errSubjects
	}
	set := roaring64.New()
	source := strings.NewReader(b)
	if _, err := set.ReadFrom(source); err != nil || source.Len() > 0 {
		return nil, errSubjects
	}
	if set.Validate() != nil || set.IsEmpty() {
		return nil, errSubjects
	}
	return set, nil
}

// MaxSubjects is the size of the largest set that Open lists: a thousand times what one page
// holds.
const MaxSubjects = 1 << 24

func (s storedSet) list(fields []string) (Subjects, error) {
	count := s.numbers.GetCardinality()
	if count > MaxSubjects {
		return Subjects{}, annona.TooLarge("subjects_too_many", "a set of subjects has more than %d numbers; no entry of ours has", MaxSubjects)
	}
	out := Subjects{Noun: s.noun, Fields: fields, Numbers: make([]annona.Number, 0, count)}
	for n := s.numbers.Iterator(); n.HasNext(); {
		out.Numbers = append(out.Numbers, annona.Number(n.Next()))
	}
	return out, nil
}
