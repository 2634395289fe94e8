package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/transparency-dev/merkle/rfc6962"
)

// leafFormat is the first byte of every leaf.
const leafFormat = 1

// leaf is what a leaf says: enough to prove an entry, nothing to learn from it.
type leaf struct {
	id      annona.UID
	micros  int64 // since 1970-01-01 UTC
	kind    annona.EntryKind
	request annona.UID
	parts   []commitment
}

// commitment binds the content of one part: SHA-256(salt ‖ content).
type commitment struct {
	name string
	hash [32]byte
}

func commitTo(p annona.LedgerPart) commitment {
	h := sha256.New()
	h.Write(p.Salt[:])
	h.Write(p.Content)
	c := commitment{name: p.Name}
	h.Sum(c.hash[:0])
	return c
}

// leafOf makes the leaf of a row whose parts are all there.
func leafOf(row annona.LedgerRow) leaf {
	l := leaf{id: row.ID, micros: row.At.UnixMicro(), kind: row.Kind, request: row.Request}
	for _, p := range row.Parts {
		l.parts = append(l.parts, commitTo(p))
	}
	return l
}

func (l leaf) time() time.Time { return time.UnixMicro(l.micros).UTC() }

// part finds the commitment of that name.
func (l leaf) part(name string) (commitment, bool) {
	for _, c := range l.parts {
		if c.name == name {
			return c, true
		}
	}
	return commitment{}, false
}

// encode writes the canonical bytes. Every text is preceded by its length, everything else
// has a fixed width, so no two different leaves encode alike.
func (l leaf) encode() []byte {
	b := make([]byte, 0, 128+64*len(l.parts))
	b = append(b, leafFormat)
	b = append(b, l.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.micros))
	b = appendText(b, string(l.kind))
	b = append(b, l.request[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.parts)))
	for _, c := range l.parts {
		b = appendText(b, c.name)
		b = append(b, c.hash[:]...)
	}
	return b
}

// decodeLeaf reads what encode wrote, and nothing else.
func decodeLeaf(b []byte) (leaf, error) {
	r := reader{rest: b}
	if format := r.take(1); r.failed || format[0] != leafFormat {
		return leaf{}, errLeaf
	}
	var l leaf
	copy(l.id[:], r.take(16))
	l.micros = int64(r.uint64())
	l.kind = annona.EntryKind(r.text())
	copy(l.request[:], r.take(16))
	for n := r.uint32(); n > 0 && !r.failed; n-- {
		c := commitment{name: r.text()}
		copy(c.hash[:], r.take(32))
		l.parts = append(l.parts, c)
	}
	if r.failed || len(r.rest) > 0 {
		return leaf{}, errLeaf
	}
	return l, nil
}

var errLeaf = annona.Invalid("leaf_malformed", "the leaf is not in format %d; it was damaged or a newer version wrote it", leafFormat)

// hashLeaf is the leaf hash of RFC 6962.
func hashLeaf(b []byte) (hash [32]byte) {
	copy(hash[:], rfc6962.DefaultHasher.HashLeaf(b))
	return hash
}

// appendText appends a text behind its length, four bytes big-endian.
func appendText(b []byte, text string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// reader takes an encoding apart. After the first failure it hands out zeros.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if r.failed || n > len(r.rest) {
		r.failed = true
		return make([]byte, min(n, 32))
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) text() string {
	n := r.uint32()
	if r.failed {
		return ""
	}
	return string(r.take(int(n)))
}
