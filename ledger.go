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
// it, the vault seals what it says. The leaf goes into the tree and stays; the parts can be
// deleted and the proof survives.
type LedgerRow struct {
	Index   int64 // position in the tree, from 0; given by the store
	ID      UID
	At      time.Time
	Kind    EntryKind
	Leaf    []byte   // canonical encoding of id, time, kind and one commitment per part
	Hash    [32]byte // RFC 6962 hash of Leaf
	Request UID      // joins the releases and the outcome of one request
	Parts   []LedgerPart
	Lists   []FieldList // that the parts name; a store keeps each once
}

// LedgerPart is content that a leaf commits to: SHA-256(Salt ‖ Content). It is either open
// (Salt and Content) or sealed (Sealed, both in one); stores take sealed ones only.
type LedgerPart struct {
	Name    string // facts, filter, caller, subjects.0, subjects.1 …
	Salt    [32]byte
	Content []byte
	Sealed  []byte

	// By these a subject set is found; the zero values otherwise. Reach is the least k with
	// Max − Min < 2^k: sets of one reach that hold a number begin at most 2^k before it.
	Noun     string // individual or household
	Reach    int
	Min, Max Number
}

// FieldList is the names of fields that people in an entry share. It says nothing of anybody,
// so that it lies in clear, once, under its hash, and is never deleted.
type FieldList struct {
	Hash    [32]byte // SHA-256 of Content
	Content []byte
}

// TreeNode is a node of the ledger's tree all of whose leaves are there: the Index-th of its
// level, both from 0; level 0 holds the leaf hashes.
type TreeNode struct{ Level, Index int64 }

// Checkpoint is a signed statement of the tree at one size. Its note says the same, signed, in
// the form of docs/spec/ledger.md.
type Checkpoint struct {
	Size int64
	Root [32]byte
	At   time.Time
	Note string
}
