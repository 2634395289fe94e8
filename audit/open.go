package audit

import (
	"strings"

	"github.com/annona-exchange/annona"
)

// Open decodes all of an entry that is still there. It checks the leaf against the row and
// each part against its commitment, and fails with code entry_changed when one differs: what
// it returns is what was written.
func Open(row annona.LedgerRow) (Entry, error) {
	l, findings := checkRow(row)
	if len(findings) > 0 {
		return Entry{}, annona.Conflict("entry_changed", "%s", findings[0].Message)
	}
	e := Entry{Index: row.Index, ID: l.id, At: l.time(), Kind: l.kind, Request: l.request}
	present := make(map[string]bool, len(row.Parts))
	for _, p := range row.Parts {
		present[p.Name] = true
		if err := e.take(p); err != nil {
			return Entry{}, err
		}
	}
	for _, c := range l.parts {
		if !present[c.name] {
			e.Deleted = append(e.Deleted, c.name)
		}
	}
	return e, nil
}

// take decodes one part into the entry.
func (e *Entry) take(p annona.LedgerPart) (err error) {
	switch {
	case p.Name == partFacts:
		e.Facts = &Facts{}
		return decodeCanonical(p.Content, e.Facts)
	case p.Name == partFilter:
		e.Filter = string(p.Content)
		return nil
	case p.Name == partCaller:
		e.Caller, err = decodeCaller(p.Content)
		return err
	case strings.HasPrefix(p.Name, partSubjects):
		set, err := decodeSubjects(p.Content)
		if err != nil {
			return err
		}
		s, err := set.list()
		e.Subjects = append(e.Subjects, s)
		return err
	}
	return annona.Invalid("part_unknown", "the entry has a part that this version does not know; a newer version wrote it")
}

// checkRow compares a row with its own leaf. The leaf is zero when it does not decode.
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
	seen := make(map[string]bool, len(row.Parts))
	for _, p := range row.Parts {
		if seen[p.Name] {
			report("part_twice", "a part is there twice")
		}
		seen[p.Name] = true
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
	if p.Noun != s.noun || p.Min != s.min() || p.Max != s.max() {
		return "subjects_misfiled", "a set of subjects would not be found: its noun, least or greatest number is wrong"
	}
	return "", ""
}
