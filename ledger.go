package annona

import "time"

// EntryKind is the kind of a ledger entry.
type EntryKind string

// The kinds of ledger entries. A release precedes each page of a disclosure, an outcome ends
// each request: received is never more than released.
const (
	EntryRelease        EntryKind = "release"
	EntryOutcome        EntryKind = "outcome"
	EntryChange         EntryKind = "change"
	EntryAdministration EntryKind = "administration"
)

// LedgerRow is a ledger entry as stores keep it. Package audit makes it and alone understands
// it. The leaf goes into the tree and stays; the parts can be deleted and the proof survives.
type LedgerRow struct {
	Index   int64 // position in the tree, from 0; given by the store
	ID      UID
	At      time.Time
	Kind    EntryKind
	Leaf    []byte   // canonical encoding of id, time, kind and one commitment per part
	Hash    [32]byte // RFC 6962 hash of Leaf
	Request UID      // joins the releases and the outcome of one request
	Parts   []LedgerPart
}

// LedgerPart is content that a leaf commits to: SHA-256(Salt ‖ Content).
type LedgerPart struct {
	Name    string // facts, filter, caller, subjects.0, subjects.1 …
	Salt    [32]byte
	Content []byte
	Noun    string // of a subject set: individual or household
	Min     Number // of a subject set, for finding it; 0 otherwise
	Max     Number
}
