package audit

import (
	"crypto/rand"
	"math/bits"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
)

// Release returns the entry that must be durable before a page of a disclosure leaves.
// Subject sets without numbers are left out; several with the same noun and fields become
// one. at is kept in microseconds.
func Release(at time.Time, request annona.UID, facts Facts, filter string, caller annona.Caller, subjects []Subjects) annona.LedgerRow {
	return compose(annona.EntryRelease, at, request, facts, filter, caller, subjects)
}

// Outcome returns the entry that ends a request: how, and how many pages and rows were handed
// over.
func Outcome(at time.Time, request annona.UID, facts Facts, caller annona.Caller) annona.LedgerRow {
	return compose(annona.EntryOutcome, at, request, facts, "", caller, nil)
}

// Change returns the entry of a change to records: an import, a restriction, a consent. Who
// is concerned stands in subjects and nowhere else.
func Change(at time.Time, request annona.UID, facts Facts, caller annona.Caller, subjects []Subjects) annona.LedgerRow {
	return compose(annona.EntryChange, at, request, facts, "", caller, subjects)
}

// Administration returns the entry of an act that concerns no person: an agreement applied, a
// key created or revoked, the dictionary extended.
func Administration(at time.Time, request annona.UID, facts Facts, caller annona.Caller) annona.LedgerRow {
	return compose(annona.EntryAdministration, at, request, facts, "", caller, nil)
}

func compose(kind annona.EntryKind, at time.Time, request annona.UID, facts Facts, filter string, caller annona.Caller, subjects []Subjects) annona.LedgerRow {
	row := annona.LedgerRow{
		ID:      annona.NewUID(),
		At:      time.UnixMicro(at.UnixMicro()).UTC(),
		Kind:    kind,
		Request: request,
	}
	row.Parts, row.Lists = contents(facts, filter, caller, subjects)
	salts := make([]byte, 32*len(row.Parts))
	rand.Read(salts) // never fails: crypto/rand aborts the process rather than return an error
	for i := range row.Parts {
		row.Parts[i].Salt = [32]byte(salts[32*i:])
	}
	return commit(row)
}

// contents returns the parts of an entry in the order of its leaf, without salts, and the
// lists of fields that they name.
func contents(facts Facts, filter string, caller annona.Caller, subjects []Subjects) ([]annona.LedgerPart, []annona.FieldList) {
	var named lists
	list := named.add(facts.Fields)
	sets := mergeSubjects(subjects, &named)
	parts := make([]annona.LedgerPart, 0, 3+len(sets))
	parts = append(parts, annona.LedgerPart{Name: partFacts, Content: encodeFacts(facts, list)})
	if filter != "" {
		parts = append(parts, annona.LedgerPart{Name: partFilter, Content: []byte(filter)})
	}
	parts = append(parts, annona.LedgerPart{Name: partCaller, Content: encodeCaller(caller)})
	for i, set := range sets {
		p := annona.LedgerPart{Name: partSubjects + strconv.Itoa(i), Content: set.encode(), Noun: set.noun, Min: set.min(), Max: set.max()}
		p.Reach = reach(p.Min, p.Max)
		parts = append(parts, p)
	}
	return parts, named.all
}

// reach is the least k with max − min < 2^k.
func reach(min, max annona.Number) int { return bits.Len64(uint64(max - min)) }

// commit fills in the leaf and its hash.
func commit(row annona.LedgerRow) annona.LedgerRow {
	row.Leaf = leafOf(row).encode()
	row.Hash = hashLeaf(row.Leaf)
	return row
}
