package annona

import "time"

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
	Before  []byte // what it was, sealed by the vault; empty when created
}
