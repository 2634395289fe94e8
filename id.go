package annona

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// Number is the inside number of a household or an individual: assigned once, from 1,
// never reused and never shown on any wire. It is the order of pages and the element of
// the ledger's subject sets.
type Number int64

// UID is the 128-bit id of a record, which nobody can guess. No wire shows it: each agreement sees it
// enciphered under its realm (see Realm).
type UID [16]byte

// NewUIDAt returns a fresh UID for something that is made at that time: the milliseconds since
// 1970 in 48 bits, then 80 random ones. What is made together lies together in an index, so that a
// load writes its end and not all of it. No wire shows the time of a record: realms encipher the whole.
// The id of a request tells when it was made, to those who made it and to those who read the ledger.
func NewUIDAt(at time.Time) UID {
	u := NewUID()
	ms := uint64(at.UnixMilli())
	binary.BigEndian.PutUint16(u[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(u[2:], uint32(ms))
	return u
}

// NewUID returns a fresh random UID.
func NewUID() UID {
	var u UID
	rand.Read(u[:]) // never fails: crypto/rand aborts the process rather than return an error
	return u
}

// String returns the id in hexadecimal. It is for ids of agreements, keys and ledger
// entries; the id of a person or a household leaves only through a Realm.
func (u UID) String() string { return hex.EncodeToString(u[:]) }

// ParseUID reads what String wrote.
func ParseUID(s string) (UID, error) {
	var u UID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(u) {
		return u, Invalid("id_malformed", "an id has 32 hexadecimal digits")
	}
	copy(u[:], b)
	return u, nil
}

// WireIDLength is the length of an id on a wire: 26 characters of base32.
const WireIDLength = 26

// Realm turns a UID into the id that one agreement's partners see, and back. Two
// realms cannot be joined: the same UID looks unrelated in each.
type Realm interface {
	// AppendID appends the wire id of uid, WireIDLength characters, to dst.
	AppendID(dst []byte, uid []byte) []byte
	// ParseID reads a wire id. It refuses text that is not one; an id of another
	// realm parses into a UID that nobody has.
	ParseID(id string) (UID, bool)
}

// InstantLayout is the canonical text of an instant.
const InstantLayout = "2006-01-02T15:04:05.000Z"

// Instant returns the canonical text of t.
func Instant(t time.Time) string { return t.UTC().Format(InstantLayout) }
