package exchange

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
)

// was is what a record was before it changed, beyond its sealed image: sealed as PartBefore, with the
// event that tells of the change. Only the gate reads it.
type was struct {
	clear         annona.Image
	first         keptKey   // the record's first key
	others        []keptKey // the other keys under which the change was reported
	gone          time.Time // of a record that a source reports no more: the moment for which it said so
	memberships   []annona.Membership
	relationships []annona.Relationship
	marks         annona.Marks
	parts         []keptPart // of a record that others were merged into
}

// keptKey is a key that led to the record, with the digest and the moment of what was reported.
type keptKey struct {
	source, key string
	digest      [16]byte
	asOf        time.Time
	unknown     bool // it led nowhere before
}

func keptOf(k *annona.RecordKey) keptKey {
	return keptKey{source: k.Source, key: k.Key, digest: k.Digest, asOf: k.AsOf}
}

func (k *keptKey) recordKey(dataset *annona.Dataset) annona.RecordKey {
	return annona.RecordKey{Dataset: dataset, Source: k.source, Key: k.key, Digest: k.digest, AsOf: k.asOf}
}

// wasFormat is the first byte of what is kept.
const wasFormat = 2

// append appends the encoding: the format, then behind their lengths the clear image, the first key,
// the other keys, the moment, the memberships and the relationships, which are lists of texts, the marks,
// and its parts, when it has some.
func (w *was) append(b []byte) []byte {
	b = append(b, wasFormat)
	b = annona.AppendItem(b, w.clear)
	b = annona.AppendItem(b, w.first.append(nil))
	var some []byte
	for i := range w.others {
		some = annona.AppendItem(some, w.others[i].append(nil))
	}
	b = annona.AppendItem(b, some)
	b = annona.AppendItem(b, annona.Image(momentText(w.gone)))
	some = nil
	for _, m := range w.memberships {
		some = annona.AppendItem(some, appendTexts(nil, strconv.FormatInt(int64(m.Household), 10), m.Source, m.Role, m.RoleSourceCode,
			m.RelationshipToHead, m.RecipientType, string(m.StartDate), string(m.EndDate), strconv.FormatBool(m.NotPrimary), strconv.FormatBool(m.Decided)))
	}
	b = annona.AppendItem(b, some)
	some = nil
	for _, t := range w.relationships {
		some = annona.AppendItem(some, appendTexts(nil, strconv.FormatInt(int64(t.To), 10), t.Source, t.ToKey, t.Type,
			string(t.StartDate), string(t.EndDate), t.EndReason))
	}
	b = annona.AppendItem(b, some)
	b = annona.AppendItem(b, appendMarks(nil, &w.marks))
	if len(w.parts) == 0 {
		return b
	}
	some = nil
	for _, p := range w.parts {
		some = annona.AppendItem(some, appendTexts(nil, strconv.FormatInt(int64(p.number), 10), string(p.plain)))
	}
	return annona.AppendItem(b, some)
}

// appendMarks appends the moment and the household of the line as texts, then the marks of memberships
// and of relationships, each as uvarint number and 16 bytes.
func appendMarks(b []byte, m *annona.Marks) []byte {
	b = appendTexts(b, m.UpdatedAt, strconv.FormatInt(int64(m.Home), 10))
	for _, marks := range [][]annona.Mark{m.Memberships, m.Relationships} {
		var some []byte
		for i := range marks {
			some = append(binary.AppendUvarint(some, uint64(marks[i].Number)), marks[i].UID[:]...)
		}
		b = annona.AppendItem(b, some)
	}
	return b
}

func parseMarks(b []byte) (m annona.Marks, err error) {
	parts, err := cutItems(b)
	if err != nil || len(parts) != 4 {
		return m, errWas()
	}
	home, err := strconv.ParseInt(string(parts[1]), 10, 64)
	if err != nil {
		return m, errWas()
	}
	m.UpdatedAt, m.Home = string(parts[0]), annona.Number(home)
	for i, marks := range []*[]annona.Mark{&m.Memberships, &m.Relationships} {
		for rest := parts[2+i]; len(rest) > 0; {
			number, n := binary.Uvarint(rest)
			if n <= 0 || number > math.MaxInt64 || len(rest) < n+len(annona.UID{}) {
				return m, errWas()
			}
			mark := annona.Mark{Number: int64(number)}
			rest = rest[n+copy(mark.UID[:], rest[n:]):]
			*marks = append(*marks, mark)
		}
	}
	return m, nil
}

func (k *keptKey) append(b []byte) []byte {
	return appendTexts(b, k.source, k.key, string(k.digest[:]), momentText(k.asOf), strconv.FormatBool(k.unknown))
}

func momentText(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return annona.Instant(at)
}

func parseMoment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(annona.InstantLayout, text)
	if err != nil {
		return at, errWas()
	}
	return at, nil
}

// parseWas reads what append wrote. Its slices are those of b.
func parseWas(b []byte) (w was, err error) {
	if len(b) == 0 || b[0] != wasFormat {
		return w, errWas()
	}
	parts, err := cutItems(b[1:])
	if err != nil || len(parts) != 7 && len(parts) != 8 {
		return w, errWas()
	}
	if len(parts) == 8 {
		if w.parts, err = parseParts(parts[7]); err != nil {
			return w, err
		}
	}
	w.clear = annona.Image(parts[0])
	if w.first, err = parseKey(parts[1]); err != nil {
		return w, err
	}
	if w.others, err = parseKeys(parts[2]); err != nil {
		return w, err
	}
	if w.gone, err = parseMoment(string(parts[3])); err != nil {
		return w, err
	}
	if w.memberships, err = parseMemberships(parts[4]); err != nil {
		return w, err
	}
	if w.relationships, err = parseRelationships(parts[5]); err != nil {
		return w, err
	}
	w.marks, err = parseMarks(parts[6])
	return w, err
}

func errWas() error {
	return annona.Internal("read what a record was before: it does not decode", nil)
}

func cutItems(b []byte) (parts [][]byte, err error) {
	err = annona.Items(b, func(item annona.Image) bool {
		parts = append(parts, item)
		return true
	})
	return parts, err
}

// texts reads a list of exactly n texts.
func texts(b []byte, n int) ([]string, error) {
	parts, err := cutItems(b)
	if err != nil || len(parts) != n {
		return nil, errWas()
	}
	out := make([]string, n)
	for i, part := range parts {
		out[i] = string(part)
	}
	return out, nil
}

func parseKeys(b []byte) (all []keptKey, err error) {
	items, err := cutItems(b)
	if err != nil {
		return nil, errWas()
	}
	for _, item := range items {
		k, err := parseKey(item)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func parseParts(b []byte) (all []keptPart, err error) {
	items, err := cutItems(b)
	if err != nil {
		return nil, errWas()
	}
	for _, item := range items {
		t, err := texts(item, 2)
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseInt(t[0], 10, 64)
		if err != nil {
			return nil, errWas()
		}
		all = append(all, keptPart{annona.Number(number), []byte(t[1])})
	}
	return all, nil
}

func parseKey(b []byte) (k keptKey, err error) {
	t, err := texts(b, 5)
	if err != nil || len(t[2]) != len(k.digest) {
		return k, errWas()
	}
	k.source, k.key, k.unknown = t[0], t[1], t[4] == "true"
	copy(k.digest[:], t[2])
	k.asOf, err = parseMoment(t[3])
	return k, err
}

func parseMemberships(b []byte) (all []annona.Membership, err error) {
	items, err := cutItems(b)
	if err != nil {
		return nil, errWas()
	}
	for _, item := range items {
		t, err := texts(item, 10)
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseInt(t[0], 10, 64)
		if err != nil {
			return nil, errWas()
		}
		all = append(all, annona.Membership{
			Household: annona.Number(number), Source: t[1], Role: t[2], RoleSourceCode: t[3], RelationshipToHead: t[4], RecipientType: t[5],
			StartDate: annona.Date(t[6]), EndDate: annona.Date(t[7]), NotPrimary: t[8] == "true", Decided: t[9] == "true",
		})
	}
	return all, nil
}

func parseRelationships(b []byte) (all []annona.Relationship, err error) {
	items, err := cutItems(b)
	if err != nil {
		return nil, errWas()
	}
	for _, item := range items {
		t, err := texts(item, 7)
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseInt(t[0], 10, 64)
		if err != nil {
			return nil, errWas()
		}
		all = append(all, annona.Relationship{
			To: annona.Number(number), Source: t[1], ToKey: t[2], Type: t[3],
			StartDate: annona.Date(t[4]), EndDate: annona.Date(t[5]), EndReason: t[6],
		})
	}
	return all, nil
}
