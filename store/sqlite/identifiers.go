package sqlite

import (
	"bytes"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// writeIdentifiers replaces the blind index of a record. Several holders of one identifier
// are legal: the look-up finds them all, and whoever asks learns that it is ambiguous.
func (t *tx) writeIdentifiers(noun string, number annona.Number, isNew bool, identifiers []annona.IdentifierIndex) error {
	var had []annona.IdentifierIndex
	if !isNew {
		var err error
		if had, err = readIdentifiers(t.conn, noun, number); err != nil {
			return err
		}
	}
	for _, id := range had {
		if !slices.ContainsFunc(identifiers, func(o annona.IdentifierIndex) bool { return isSame(id, o) }) {
			if err := t.forgetIdentifier(noun, number, id); err != nil {
				return err
			}
		}
	}
	for _, id := range identifiers {
		if err := checkIdentifier(id); err != nil {
			return err
		}
		err := t.conn.exec("INSERT OR REPLACE INTO identifier_index (hash, scheme, noun, number, shareable) VALUES (?, ?, ?, ?, ?)",
			id.Hash, id.Scheme, noun, number, id.Shareable)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(had, func(o annona.IdentifierIndex) bool { return isSame(id, o) }) {
			continue
		}
		t.makeFindable(identifierHash(noun, id), number)
	}
	return nil
}

// isSame reports whether two indexes are of one identifier.
func isSame(a, b annona.IdentifierIndex) bool {
	return a.Scheme == b.Scheme && bytes.Equal(a.Hash, b.Hash)
}

func readIdentifiers(c *conn, noun string, number annona.Number) (all []annona.IdentifierIndex, err error) {
	err = c.each("SELECT hash, scheme FROM identifier_index WHERE number = ? AND noun = ?", func(s *sqlite.Stmt) error {
		all = append(all, annona.IdentifierIndex{Hash: columnBytes(s, 0), Scheme: s.ColumnText(1)})
		return nil
	}, number, noun)
	return all, err
}

// forgetIdentifiers removes all identifiers of a record.
func (t *tx) forgetIdentifiers(noun string, number annona.Number) error {
	all, err := readIdentifiers(t.conn, noun, number)
	for _, id := range all {
		if err == nil {
			err = t.forgetIdentifier(noun, number, id)
		}
	}
	return err
}

func (t *tx) forgetIdentifier(noun string, number annona.Number, id annona.IdentifierIndex) error {
	err := t.conn.exec("DELETE FROM identifier_index WHERE number = ? AND noun = ? AND hash = ? AND scheme = ?", number, noun, id.Hash, id.Scheme)
	if err != nil {
		return err
	}
	return t.forgetFindable(identifierHash(noun, id), number)
}

func checkIdentifier(id annona.IdentifierIndex) error {
	if id.Scheme == "" || len(id.Hash) == 0 {
		return annona.Invalid("identifier_malformed", "an identifier has a scheme and a blind index")
	}
	return nil
}
