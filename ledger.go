package annona

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
	"time"
	"unicode/utf8"
)

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

// AppendParts appends sealed parts to dst in one piece, as they lie in a store: for each its name, noun, reach, least and
// greatest number and the sealed bytes. Lengths and numbers are uvarints; what has no noun has zeros.
func AppendParts(dst []byte, parts []LedgerPart) []byte {
	for i := range parts {
		p := &parts[i]
		dst = AppendItem(dst, Image(p.Name))
		dst = AppendItem(dst, Image(p.Noun))
		for _, n := range [...]uint64{uint64(p.Reach), uint64(p.Min), uint64(p.Max)} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = AppendItem(dst, p.Sealed)
	}
	return dst
}

// ParseParts reads what AppendParts has written; sealed bytes are those of packed. What cannot be read, because somebody
// has changed it, comes as one part without a name: no vault opens it, so that it is found where parts are verified.
func ParseParts(packed []byte) (parts []LedgerPart) {
	for rest := packed; len(rest) > 0; {
		p, behind, ok := parsePart(rest)
		if !ok {
			return append(parts, LedgerPart{Sealed: packed})
		}
		parts, rest = append(parts, p), behind
	}
	return parts
}

// parsePart reads one part. A noun that no store can be asked for was put there by somebody: it is to reach no query.
func parsePart(b []byte) (p LedgerPart, rest []byte, ok bool) {
	name, rest, err := cut(b)
	if err != nil || len(name) == 0 {
		return p, nil, false
	}
	noun, rest, err := cut(rest)
	if err != nil || !utf8.Valid(noun) || bytes.IndexByte(noun, 0) >= 0 {
		return p, nil, false
	}
	var numbers [3]uint64
	for i := range numbers {
		n, length := binary.Uvarint(rest)
		if length <= 0 {
			return p, nil, false
		}
		numbers[i], rest = n, rest[length:]
	}
	sealed, rest, err := cut(rest)
	p = LedgerPart{Name: string(name), Noun: string(noun), Reach: int(numbers[0]), Min: Number(numbers[1]), Max: Number(numbers[2]), Sealed: sealed}
	return p, rest, err == nil
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

// Place returns the place of the node among all that there ever are, from 0, in the order in which they come to be: each
// one right behind its last leaf and what lies between. So a tree grows at its end alone.
func (n TreeNode) Place() int64 {
	last := (n.Index+1)<<n.Level - 1 // of its leaves
	return nodesOf(last) + n.Level
}

// TreeSize returns how many leaves a tree of so many nodes has. Where some of its last are missing, it is the size that
// the tree had with them.
func TreeSize(nodes int64) int64 {
	size := nodes / 2
	for nodesOf(size) < nodes {
		size++
	}
	return size
}

// nodesOf returns how many nodes a tree of so many leaves has: two for each leaf but one for each tree of full size in it.
func nodesOf(leaves int64) int64 { return 2*leaves - int64(bits.OnesCount64(uint64(leaves))) }

// Checkpoint is a signed statement of the tree at one size. Its note says the same, signed, in
// the form of docs/spec/ledger.md.
type Checkpoint struct {
	Size int64
	Root [32]byte
	At   time.Time
	Note string
}

// Ledger appends entries of disclosures, durably: when Append returns, they are committed.
// Appends of several requests share one commit. An entry with a part that is not sealed is
// refused.
type Ledger interface {
	Append(ctx context.Context, rows ...LedgerRow) error
	// AppendLater does the same for entries that nobody waits for: for some milliseconds it
	// leaves it to others to begin the commit that they share. Until it returns they may be lost.
	AppendLater(ctx context.Context, rows ...LedgerRow) error
}

// LedgerReader walks the ledger for verification. Parts are sealed as they were appended.
type LedgerReader interface {
	// WalkLedger calls fn for each row in order of index, all of one consistent state.
	WalkLedger(ctx context.Context, fn func(LedgerRow) error) error
	// LedgerTree returns the size and root of the tree as the store keeps it, with every entry
	// that was committed before the call.
	LedgerTree(ctx context.Context) (size int64, root [32]byte, err error)
	// TreeNodes returns the hashes of nodes of the tree; ledger_damaged when one is missing.
	TreeNodes(ctx context.Context, nodes []TreeNode) ([][]byte, error)
	// FieldList returns the content that was appended under that hash; nil when there is none.
	FieldList(ctx context.Context, hash [32]byte) ([]byte, error)
	// OpenRequests returns requests that have releases and no outcome.
	OpenRequests(ctx context.Context) ([]UID, error)
}

// LedgerIndex finds entries without walking the ledger.
type LedgerIndex interface {
	// EntriesAbout calls fn for each release that has a set of subjects of that noun between
	// whose least and greatest number the given one lies, in no particular order.
	EntriesAbout(ctx context.Context, noun string, number Number, fn func(LedgerRow) error) error
	// EntriesOf returns the releases and outcomes of a request that have their leaf, in order of
	// index, at most limit of them and only those with a greater index than after.
	EntriesOf(ctx context.Context, request UID, after int64, limit int) ([]LedgerRow, error)
	// Outcomes returns the outcomes of requests, those of one request in order.
	Outcomes(ctx context.Context, requests []UID) ([]LedgerRow, error)
}

// Checkpoints keeps the signed checkpoints of the ledger's tree.
type Checkpoints interface {
	// LatestCheckpoint returns the one of the greatest size; nil when there is none.
	LatestCheckpoint(ctx context.Context) (*Checkpoint, error)
	// CheckpointsAfter returns at most limit checkpoints of a greater size, by size.
	CheckpointsAfter(ctx context.Context, size int64, limit int) ([]Checkpoint, error)
	// PutCheckpoint keeps a checkpoint. One signer at a time: when one of that size or a greater
	// one is there already, it changes nothing and returns false.
	PutCheckpoint(ctx context.Context, c Checkpoint) (kept bool, err error)
}

// LedgerPruner deletes the content of old entries. Leaves stay.
type LedgerPruner interface {
	// FirstEntryAt returns the index of the first entry of that time or later; the size of the
	// tree when there is none.
	FirstEntryAt(ctx context.Context, at time.Time) (int64, error)
	// PruneLedger deletes all parts of entries below that index and returns how many entries
	// lost some. It may be interrupted and run again.
	PruneLedger(ctx context.Context, below int64) (entries int64, err error)
}

// EntryVault seals what ledger entries say.
type EntryVault interface {
	// SealEntry returns the row with every part sealed; the row it was given stays as it is.
	SealEntry(row LedgerRow) LedgerRow
	// OpenEntry returns the row with every part open. It fails when a part was not sealed for
	// this entry under this name.
	OpenEntry(row LedgerRow) (LedgerRow, error)
}

// CheckpointSigner signs checkpoints with a key that signs nothing else.
type CheckpointSigner interface {
	// LedgerOrigin names this ledger among all others, for ever: the first line of its
	// checkpoints.
	LedgerOrigin() string
	// SignCheckpoint returns the text, which begins with the origin, as a signed note.
	SignCheckpoint(text string) (note string, err error)
	// CheckpointKeys returns the public keys, the one in use last.
	CheckpointKeys() ([]string, error)
}
