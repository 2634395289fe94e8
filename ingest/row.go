package ingest

import (
	"hash/maphash"
	"strconv"
	"strings"

	"github.com/annona-exchange/annona"
)

// Reasons why a row that can be read is refused.
const (
	reasonKeyMissing = "key_missing"
	reasonKeyTooLong = "key_too_long" // above maxKey
)

// maxKey is the longest key of a record, in bytes.
const maxKey = 200

// rowCells are the cells of one row by the slots of the input's root view.
type rowCells struct {
	cells   []string
	node    *jsonValue // of NDJSON
	mended  bool       // the row comes from a rejects file
	refused rejectInfo // as which it was refused
}

// fault is why a row is refused.
type fault struct{ column, reason, key string }

// member is an individual found in a row, with its key.
type member struct {
	frame frame
	key   string
}

// row turns one input row into records. It looks at all keys first: a row loads whole or not
// at all.
func (r *reader) row(in *input, row rowCells) (fault, error) {
	r.noted, r.unsure = rowNotes{flags: r.noted.flags[:0]}, false
	outer := frame{cells: row.cells, node: row.node}
	var household string
	if slots := in.householdKey(); slots != nil {
		var reason string
		if household, reason = keyOf(slots, outer.cells); reason == reasonKeyTooLong || reason != "" && in.individual == nil {
			return fault{column: in.keyColumn(), reason: reason}, nil
		}
	}
	members, refused := r.members(in, outer, household, row)
	if refused.reason != "" {
		return refused, nil
	}
	r.survey = in.surveyOf(outer)
	if household != "" {
		r.putHousehold(in, outer, household)
	}
	for _, m := range members {
		r.individual(in.individual, m.frame, m.key, household)
	}
	return fault{}, r.err
}

// householdKey returns the slots of the household's key in the row; nil when it names none.
func (in *input) householdKey() []int {
	if in.household != nil {
		return in.household.key
	}
	if in.individual.membership != nil {
		return in.individual.membership.household
	}
	return nil
}

func (in *input) keyColumn() string {
	if in.household != nil {
		return in.household.keyColumn
	}
	return ""
}

// members finds the individuals of a row and their keys.
func (r *reader) members(in *input, outer frame, household string, row rowCells) ([]member, fault) {
	e := in.individual
	if e == nil {
		return nil, fault{}
	}
	if e.view == in.root {
		key, refused := r.personKey(in, household, row)
		r.one[0] = member{frame: outer, key: key}
		return r.one[:], refused
	}
	items, ok := elements(outer.node, e.view.each)
	if !ok {
		return nil, fault{column: e.view.name, reason: reasonNotList}
	}
	if household == "" {
		return nil, fault{column: in.keyColumn(), reason: reasonKeyMissing}
	}
	members := make([]member, len(items))
	for i, item := range items {
		inner := frame{cells: r.jsonCells(e.view, item), node: item}
		key, reason := household+"/"+strconv.Itoa(i+1), ""
		if !e.ordinal {
			key, reason = keyOf(e.key, inner.cells)
		}
		if reason != "" {
			return nil, fault{column: e.view.name + "." + e.keyColumn, reason: reason}
		}
		members[i] = member{frame: inner, key: key}
	}
	return members, fault{}
}

// personKey returns the key of the one person of a flat row.
func (r *reader) personKey(in *input, household string, row rowCells) (string, fault) {
	e := in.individual
	switch {
	case !e.ordinal:
		key, reason := keyOf(e.key, row.cells)
		return key, fault{column: e.keyColumn, reason: reason}
	case household == "":
		return "", fault{column: in.keyColumn(), reason: reasonKeyMissing}
	case !row.mended:
		return r.nextInHousehold(household), fault{}
	case strings.HasPrefix(row.refused.Key, household+"/"):
		return row.refused.Key, fault{}
	}
	// Its place is not known. A key of its own keeps it from taking somebody else's.
	return household + "/+" + strconv.Itoa(row.refused.Line), fault{}
}

// nextInHousehold returns the key of the next person of a household who has no key of the
// source: the household's key and the place in it.
func (r *reader) nextInHousehold(household string) string {
	hash := r.hash(household)
	s := r.households[hash]
	s.members++
	r.households[hash] = s
	r.noted.household, r.noted.ordinal = hash, int(s.members)
	return household + "/" + strconv.Itoa(int(s.members))
}

// putHousehold emits the household of a row: once, and again when its cells have changed. Of a
// file of members it emits those that no file of households gave.
func (r *reader) putHousehold(in *input, f frame, key string) {
	if in.household == nil && !r.stubs {
		return
	}
	hash := r.hash(key)
	s := r.households[hash]
	digest := uint64(1)
	if in.repeats {
		digest = r.hash(append([]string{key}, f.cells[:in.ofHousehold]...)...)
	}
	r.noted.household, r.noted.emitted = hash, r.emits(in, s, digest)
	if in.repeats {
		r.noted.cells = digest
	}
	if !r.noted.emitted {
		return
	}
	again := s.digest != 0
	if again && in.household != nil && !in.repeats {
		r.report.Repeated++
	}
	if again && in.repeats {
		r.mapAgain(hash)
	}
	s.digest = digest
	r.households[hash] = s
	if in.household == nil {
		r.stub(key)
		return
	}
	r.household(in.household, f, key, again, in.repeats)
}

// emits reports whether a row makes a record of its household, which was seen as that. digest is of its cells.
func (r *reader) emits(in *input, s sighting, digest uint64) bool {
	return (in.household != nil || s.digest == 0) && (!in.repeats || s.digest != digest)
}

// hashNow is a hash that is the same within this reading.
func (r *reader) hashNow(parts []string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, part := range parts {
		h.WriteString(part)
		h.WriteByte(annona.ListSeparator)
	}
	return h.Sum64() | 1
}

// keyOf joins the columns of a key.
func keyOf(slots []int, cells []string) (key, reason string) {
	if len(slots) == 1 {
		key = strings.TrimSpace(cells[slots[0]])
	} else {
		parts := make([]string, len(slots))
		for i, slot := range slots {
			parts[i] = cells[slot]
		}
		key, _ = joinKey(parts)
	}
	switch {
	case key == "":
		return "", reasonKeyMissing
	case len(key) > maxKey:
		return "", reasonKeyTooLong
	case strings.Contains(key, listSeparator):
		return "", reasonNotList
	}
	return key, ""
}

// keyEscaper keeps a slash inside one part of a key apart from the one between parts.
var keyEscaper = strings.NewReplacer("~", "~0", "/", "~1")

// joinKey joins the parts of a key by slashes. It reports false when one is missing.
func joinKey(parts []string) (string, bool) {
	if len(parts) == 1 {
		return strings.TrimSpace(parts[0]), strings.TrimSpace(parts[0]) != ""
	}
	escaped := make([]string, len(parts))
	for i, part := range parts {
		part = strings.TrimSpace(part)
		if part == "" {
			return "", false
		}
		escaped[i] = keyEscaper.Replace(part)
	}
	return strings.Join(escaped, "/"), true
}

// jsonCells reads the columns of a view from a JSON object. They are good until the next row: all of
// one row lie in memory that is used again.
func (b *builder) jsonCells(v *view, node *jsonValue) []string {
	from, n := len(b.cells), len(v.columns)
	if from+n > cap(b.cells) {
		from, b.cells = 0, make([]string, 0, max(2*cap(b.cells), n)) // what was read of this row stays where it is
	}
	b.cells = b.cells[:from+n]
	cells := b.cells[from : from+n : from+n]
	for i, path := range v.paths {
		cells[i] = jsonText(at(node, path))
	}
	return cells
}

// surveyOf returns the day on which what the row says was observed; empty when it is unknown.
func (in *input) surveyOf(f frame) annona.Date {
	switch {
	case in.survey == nil:
		return ""
	case in.survey.constant != "":
		return annona.Date(in.survey.constant)
	}
	r := in.survey
	if r.calendars != nil {
		r, _ = r.calendars.of(f.cells)
	}
	return r.dates.read(r.text(f.cells)).date
}
