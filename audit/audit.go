// Package audit is the ledger's language: it turns what happened (a page released, a request
// ended, a record changed, an agreement applied) into an entry that can be proved later and
// still be erased.
//
// An entry has two halves. The leaf holds id, time, kind and one salted commitment for each
// part; it goes into the Merkle tree and stays. The parts (facts, filter text, caller, sets of
// people) lie beside it and can be deleted together with their salts: the proof survives, the
// content cannot be guessed from what remains. docs/spec/ledger.md fixes every byte.
//
// Names of fields stand once in a list of their own, which entries name by its hash: a page of
// everything that an agreement grants would otherwise carry more names than people.
//
// The tree is signed: a checkpoint says its size and root. Whoever holds one from earlier finds
// out whether the ledger still continues it.
//
// The package knows the encoding and how to check it. It does not know where entries are
// stored, who numbers them, who may read them, or any key: it is handed what opens and signs.
package audit

import (
	"time"

	"github.com/annona-exchange/annona"
)

// Facts are what an entry states about nobody in particular: never a value of a record, never
// a number of a person. Which ones are filled depends on the entry; the rest are left out of
// its encoding.
type Facts struct {
	Verb             annona.Verb  `json:"verb,omitempty"`
	Dataset          string       `json:"dataset,omitempty"`
	Purpose          string       `json:"purpose,omitempty"`
	Agreement        string       `json:"agreement,omitempty"`
	AgreementVersion int          `json:"agreement_version,omitempty"`
	Partner          string       `json:"partner,omitempty"`
	Basis            annona.Basis `json:"legal_basis,omitempty"`

	Fields        []string    `json:"fields,omitempty"`   // of the root dataset, and of nested ones as members.full_name
	Withheld      []string    `json:"withheld,omitempty"` // asked for or known, but not granted
	Format        string      `json:"format,omitempty"`
	Layout        string      `json:"layout,omitempty"`
	Specification string      `json:"specification,omitempty"` // of an export, as name@version
	AsOf          annona.Date `json:"as_of,omitempty"`
	SchemaVersion int         `json:"schema_version,omitempty"`
	Raised        string      `json:"raised,omitempty"` // the reason why a cap of the credential was raised

	// Why it was granted: the version of the policy (left out: what Annona comes with), the role, the
	// rules that matched, and the SHA-256 of all that it was decided from, hexadecimal.
	PolicyVersion int      `json:"policy_version,omitempty"`
	Role          string   `json:"role,omitempty"`
	Rules         []string `json:"rules,omitempty"`
	Inputs        string   `json:"inputs,omitempty"`

	Page    int    `json:"page,omitempty"`    // of a release, from 1
	Pages   int    `json:"pages,omitempty"`   // of an outcome: pages handed over
	Rows    int64  `json:"rows,omitempty"`    // of a release: rows of the page; of an outcome: rows handed over
	Outcome Ending `json:"outcome,omitempty"` // of an outcome
	Reason  string `json:"reason,omitempty"`  // code: why it ended or was refused, or why something changed

	Details map[string]string `json:"details,omitempty"` // of changes and administration: what was done to which object of ours
}

// Ending is how a request ended.
type Ending string

// The endings. Unknown is written for a request that a crash left without one, Refused for what was denied.
const (
	Complete Ending = "complete"
	Aborted  Ending = "aborted"
	Unknown  Ending = "unknown"
	Refused  Ending = "refused" // of administration: details have how many times
)

// Subjects are people or households who share one field mask in an entry.
type Subjects struct {
	Noun    string   // individual or household
	Fields  []string // in published order, each once
	Numbers []annona.Number
}

// Entry is a ledger entry as far as it is still there. A part that was deleted is nil or empty
// and its name stands in Deleted.
type Entry struct {
	Index    int64
	ID       annona.UID
	At       time.Time // UTC, in microseconds
	Kind     annona.EntryKind
	Request  annona.UID
	Facts    *Facts
	Filter   string
	Caller   *annona.Caller
	Subjects []Subjects // numbers ascending, each once
	Deleted  []string   // names of deleted parts, in the order of the leaf
}

// The names of parts. Subject sets are numbered from 0: subjects.0, subjects.1 …
const (
	partFacts    = "facts"
	partFilter   = "filter"
	partCaller   = "caller"
	partSubjects = "subjects."
)
