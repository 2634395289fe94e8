package audit

import (
	"context"
	"strings"

	"github.com/annona-exchange/annona"
)

// Open decodes all of an entry that is still there, of a row whose parts are open and that
// brings the lists of fields it names. It checks the leaf against the row and each part
// against its commitment, and fails with code entry_changed when one differs: what it returns
// is what was written.
func Open(row annona.LedgerRow) (Entry, error) {
	o, err := open(row)
	if err != nil {
		return Entry{}, err
	}
	return o.entry(row.Lists)
}

// Opener opens the entries of one ledger. One goroutine uses it.
type Opener struct {
	Vault  annona.EntryVault
	Ledger interface {
		FieldList(ctx context.Context, hash [32]byte) ([]byte, error)
	}
	known map[hash]annona.FieldList
}

// maxKnownLists bounds the lists of fields that an Opener remembers.
const maxKnownLists = 1000

// Open unseals a row of the ledger and decodes all of it that is still there.
func (o *Opener) Open(ctx context.Context, row annona.LedgerRow) (Entry, error) {
	opened, err := o.open(ctx, &row)
	if err != nil {
		return Entry{}, err
	}
	return opened.entry(row.Lists)
}

// open unseals the row and gives it the lists of fields that it names.
func (o *Opener) open(ctx context.Context, row *annona.LedgerRow) (openEntry, error) {
	unsealed, err := o.Vault.OpenEntry(*row)
	if err != nil {
		return openEntry{}, err
	}
	*row = unsealed
	opened, err := open(unsealed)
	if err != nil {
		return openEntry{}, err
	}
	for _, h := range opened.lists() {
		list, err := o.list(ctx, h)
		if err != nil {
			return openEntry{}, err
		}
		row.Lists = append(row.Lists, list)
	}
	return opened, nil
}

func (o *Opener) list(ctx context.Context, h hash) (annona.FieldList, error) {
	if list, ok := o.known[h]; ok {
		return list, nil
	}
	content, err := o.Ledger.FieldList(ctx, h)
	if err != nil {
		return annona.FieldList{}, err
	}
	list := annona.FieldList{Hash: h, Content: content}
	if _, err := resolve(h, []annona.FieldList{list}); err != nil {
		return list, err
	}
	if o.known == nil || len(o.known) >= maxKnownLists {
		o.known = map[hash]annona.FieldList{}
	}
	o.known[h] = list
	return list, nil
}

// openEntry is a row that was checked and taken apart; its fields still lie in lists, its
// numbers in bitmaps.
type openEntry struct {
	row    annona.LedgerRow
	leaf   leaf
	facts  *Facts
	list   hash // of facts
	filter string
	caller *annona.Caller
	sets   []storedSet
}

func open(row annona.LedgerRow) (openEntry, error) {
	l, findings := checkRow(row)
	if len(findings) > 0 {
		return openEntry{}, annona.Conflict("entry_changed", "%s", findings[0].Message)
	}
	o := openEntry{row: row, leaf: l}
	for _, p := range row.Parts {
		if err := o.take(p); err != nil {
			return openEntry{}, err
		}
	}
	return o, nil
}

// take decodes one part.
func (o *openEntry) take(p annona.LedgerPart) (err error) {
	switch {
	case p.Name == partFacts:
		o.facts, o.list, err = decodeFacts(p.Content)
		return err
	case p.Name == partFilter:
		o.filter = string(p.Content)
		return nil
	case p.Name == partCaller:
		o.caller, err = decodeCaller(p.Content)
		return err
	case strings.HasPrefix(p.Name, partSubjects):
		set, err := decodeSubjects(p.Content)
		o.sets = append(o.sets, set)
		return err
	}
	return annona.Invalid("part_unknown", "the entry has a part that this version does not know; a newer version wrote it")
}

// lists returns the hashes of the lists of fields that the entry names.
func (o openEntry) lists() []hash {
	var named []hash
	if o.list != (hash{}) {
		named = append(named, o.list)
	}
	for _, s := range o.sets {
		if s.fields != (hash{}) {
			named = append(named, s.fields)
		}
	}
	return named
}

// entry lists everything.
func (o openEntry) entry(brought []annona.FieldList) (Entry, error) {
	e := Entry{
		Index: o.row.Index, ID: o.leaf.id, At: o.leaf.time(), Kind: o.leaf.kind, Request: o.leaf.request,
		Facts: o.facts, Filter: o.filter, Caller: o.caller, Deleted: o.deleted(),
	}
	var err error
	if e.Facts != nil {
		if e.Facts.Fields, err = resolve(o.list, brought); err != nil {
			return Entry{}, err
		}
	}
	for _, set := range o.sets {
		fields, err := resolve(set.fields, brought)
		if err != nil {
			return Entry{}, err
		}
		s, err := set.list(fields)
		if err != nil {
			return Entry{}, err
		}
		e.Subjects = append(e.Subjects, s)
	}
	return e, nil
}

// deleted names the parts that the leaf commits to and that are gone.
func (o openEntry) deleted() (names []string) {
	present := make(map[string]bool, len(o.row.Parts))
	for _, p := range o.row.Parts {
		present[p.Name] = true
	}
	for _, c := range o.leaf.parts {
		if !present[c.name] {
			names = append(names, c.name)
		}
	}
	return names
}

// checkRow compares a row with its own leaf, and its parts, which are open, with the
// commitments. The leaf is zero when it does not decode.
func checkRow(row annona.LedgerRow) (leaf, []Finding) {
	var found []Finding
	report := func(code, message string) {
		found = append(found, Finding{Index: row.Index, Code: code, Message: message})
	}
	if hashLeaf(row.Leaf) != row.Hash {
		report("hash_changed", "the hash is not that of the leaf")
	}
	l, err := decodeLeaf(row.Leaf)
	if err != nil {
		report("leaf_malformed", err.Error())
		return leaf{}, found
	}
	if l.id != row.ID {
		report("id_changed", "the entry id is not that of the leaf")
	}
	if l.micros != row.At.UnixMicro() {
		report("time_changed", "the time is not that of the leaf")
	}
	if l.kind != row.Kind {
		report("kind_changed", "the kind is not that of the leaf")
	}
	if l.request != row.Request {
		report("request_changed", "the request is not that of the leaf")
	}
	for i, p := range row.Parts {
		for _, before := range row.Parts[:i] {
			if before.Name == p.Name {
				report("part_twice", "a part is there twice")
			}
		}
		if code, message := l.checkPart(p); code != "" {
			report(code, message)
		}
	}
	return l, found
}

// checkPart compares a part with its commitment, and the columns by which a subject set is
// found with the set itself. It returns no code when all is well.
func (l leaf) checkPart(p annona.LedgerPart) (code, message string) {
	c, known := l.part(p.Name)
	if !known {
		return "part_unknown", "a part is there that the leaf does not name"
	}
	if commitTo(p) != c {
		return "part_changed", "the content or the salt of a part is not what the leaf commits to"
	}
	if !strings.HasPrefix(p.Name, partSubjects) {
		return "", ""
	}
	s, err := decodeSubjects(p.Content)
	if err != nil {
		return "part_malformed", err.Error()
	}
	if p.Noun != s.noun || p.Min != s.min() || p.Max != s.max() || p.Reach != reach(p.Min, p.Max) {
		return "subjects_misfiled", "a set of subjects would not be found: its noun, reach, least or greatest number is wrong"
	}
	return "", ""
}
