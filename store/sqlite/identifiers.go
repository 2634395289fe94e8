package sqlite

import (
	"bytes"
	"encoding/binary"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// The blind indexes of a record lie in its row, in one piece, and the finder leads to them: whoever
// looks for one follows the finder and reads what the row says. Several holders of one identifier are
// legal: the look-up finds them all, and whoever asks learns that it is ambiguous.

// appendIdentifiers appends identifiers as their column holds them: two items for each, a byte that says
// whether it is shareable before its scheme, and its hash. Of one that is named twice the last word counts.
func appendIdentifiers(list []byte, identifiers []annona.IdentifierIndex) ([]byte, error) {
	for i, id := range identifiers {
		if err := checkIdentifier(id); err != nil {
			return list, err
		}
		if holds(identifiers[i+1:], id) {
			continue
		}
		shareable := byte(0)
		if id.Shareable {
			shareable = 1
		}
		list = append(binary.AppendUvarint(list, uint64(1+len(id.Scheme))), shareable)
		list = append(list, id.Scheme...)
		list = annona.AppendItem(list, id.Hash)
	}
	return list, nil
}

// identifiersIn reads a column of identifiers.
func identifiersIn(list []byte) (all []annona.IdentifierIndex, err error) {
	var id annona.IdentifierIndex
	malformed := annona.Items(list, func(item annona.Image) bool {
		switch {
		case id.Scheme != "":
			id.Hash = item
			all, id = append(all, id), annona.IdentifierIndex{}
		case len(item) < 2:
			err = errIdentifiers()
		default:
			id.Scheme, id.Shareable = string(item[1:]), item[0] == 1
		}
		return err == nil
	})
	if malformed != nil || id.Scheme != "" {
		err = errIdentifiers()
	}
	return all, err
}

func errIdentifiers() error {
	return annona.Unavailable("store_damaged", "the identifiers of a record in the registry's file are not well formed; stop, keep a copy of the folder, and restore a backup")
}

// identifiersOf reads the identifiers of a record on file.
func (c *conn) identifiersOf(dataset string, number annona.Number) ([]annona.IdentifierIndex, error) {
	var list []byte
	_, err := c.one("SELECT identifiers FROM "+dataset+" WHERE number = ?", func(s *sqlite.Stmt) { list = columnBytes(s, 0) }, number)
	if err != nil {
		return nil, err
	}
	return identifiersIn(list)
}

// holds reports whether an identifier is among some, shareable or not.
func holds(some []annona.IdentifierIndex, id annona.IdentifierIndex) bool {
	return slices.ContainsFunc(some, func(o annona.IdentifierIndex) bool { return o.Scheme == id.Scheme && bytes.Equal(o.Hash, id.Hash) })
}

// isHolder reports whether a record on file holds an identifier.
func (c *conn) isHolder(dataset string, number annona.Number, id annona.IdentifierIndex) (bool, error) {
	all, err := c.identifiersOf(dataset, number)
	return holds(all, id), err
}

// refind lets the finder lead to what a record holds now, and to what it held no more.
func (t *tx) refind(noun string, number annona.Number, had, has []annona.IdentifierIndex) error {
	former, hashes := identifierHashes(noun, had), identifierHashes(noun, has)
	for _, hash := range former {
		if slices.Contains(hashes, hash) {
			continue
		}
		if err := t.forgetFindable(hash, number); err != nil {
			return err
		}
	}
	for _, hash := range hashes {
		if !slices.Contains(former, hash) {
			t.makeFindable(hash, number)
		}
	}
	return nil
}

func identifierHashes(noun string, identifiers []annona.IdentifierIndex) []uint64 {
	hashes := make([]uint64, len(identifiers))
	for i, id := range identifiers {
		hashes[i] = identifierHash(noun, id)
	}
	return hashes
}

// rewriteIdentifiers replaces the identifiers of a record on file.
func (t *tx) rewriteIdentifiers(tb *table, number annona.Number, identifiers []annona.IdentifierIndex) error {
	had, err := t.conn.identifiersOf(tb.dataset, number)
	if err != nil {
		return err
	}
	list, err := appendIdentifiers(nil, identifiers)
	if err != nil {
		return err
	}
	if err := t.conn.exec("UPDATE "+tb.dataset+" SET identifiers = ? WHERE number = ?", list, number); err != nil {
		return err
	}
	return t.refind(tb.noun, number, had, identifiers)
}

// forgetIdentifiers lets the finder lead to no identifier of a record, whose row is about to go.
func (t *tx) forgetIdentifiers(tb *table, number annona.Number) error {
	had, err := t.conn.identifiersOf(tb.dataset, number)
	if err != nil {
		return err
	}
	return t.refind(tb.noun, number, had, nil)
}

func checkIdentifier(id annona.IdentifierIndex) error {
	if id.Scheme == "" || len(id.Hash) == 0 {
		return annona.Invalid("identifier_malformed", "an identifier has a scheme and a blind index")
	}
	return nil
}
