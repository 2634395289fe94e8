package annona

import (
	"encoding/binary"
	"time"
)

// EventKind says what happened to a record.
type EventKind string

// The kinds of events. Touched: the record itself did not change, but something that decides
// who may see it did (household, membership, consent, restriction).
const (
	EventCreated EventKind = "created"
	EventChanged EventKind = "changed"
	EventTouched EventKind = "touched"
	EventErased  EventKind = "erased"
)

// Event is one change, in the one order of the log. What the record was before is kept as its
// former images; what it is after is the next event's Before, or the row itself.
type Event struct {
	Seq     int64 // gapless, from 1; given by the store
	ID      UID
	At      time.Time
	Actor   string
	Client  UID
	Purpose string
	Dataset string
	Record  Number
	Version int
	Kind    EventKind
	Reason  string // code
	Before  []byte // what it was, see Former; empty when created, and when the record was erased
}

// Former is a record as it was before it changed. Both images are sealed under the subject's key:
// the clear one when the record changed, as PartBefore, the other one as it lay in the store, as
// PartSealed. Both are bound to the version that they are of.
type Former struct {
	Version       int
	Clear, Sealed []byte // empty: the record had no such image
}

// Append appends the bytes that an event keeps: uvarint version, then for each image, the clear
// one first, uvarint length and its bytes.
func (f Former) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(f.Version))
	b = AppendItem(b, f.Clear)
	return AppendItem(b, f.Sealed)
}

// ParseFormer reads what Append wrote. The images are slices of b.
func ParseFormer(b []byte) (f Former, err error) {
	version, n := binary.Uvarint(b)
	if n <= 0 || version == 0 || version > maxVersion {
		return f, errFormer()
	}
	f.Version = int(version)
	rest := b[n:]
	if f.Clear, rest, err = cut(rest); err != nil {
		return f, errFormer()
	}
	if f.Sealed, rest, err = cut(rest); err != nil || len(rest) > 0 {
		return f, errFormer()
	}
	return f, nil
}

// maxVersion is more often than any record changes.
const maxVersion = 1 << 31

func errFormer() error {
	return Internal("read an event: what the record was does not decode", nil)
}
