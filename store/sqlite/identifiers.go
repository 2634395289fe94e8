package sqlite

import (
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// The blind indexes of a record lie in its row, in one piece, and the finder leads to them: whoever
// looks for one follows the finder and reads what the row says. Several holders of one identifier are
// legal: the look-up finds them all, and whoever asks learns that it is ambiguous.

// unpackIdentifiers reads the column of a row.
func unpackIdentifiers(list []byte) ([]annona.IdentifierIndex, error) {
	all, err := annona.UnpackIdentifiers(list)
	if err != nil {
		return nil, annona.Unavailable("store_damaged", "the identifiers of a record in the registry's file are not well formed; stop, keep a copy of the folder, and restore a backup")
	}
	return all, nil
}

// identifiersOf reads the identifiers of a record on file.
func (c *conn) identifiersOf(dataset string, number annona.Number) ([]annona.IdentifierIndex, error) {
	var list []byte
	_, err := c.one("SELECT identifiers FROM "+dataset+" WHERE number = ?", func(s *sqlite.Stmt) { list = columnBytes(s, 0) }, number)
	if err != nil {
		return nil, err
	}
	return unpackIdentifiers(list)
}

// isHolder reports whether a record on file holds an identifier.
func (c *conn) isHolder(dataset string, number annona.Number, id annona.IdentifierIndex) (bool, error) {
	all, err := c.identifiersOf(dataset, number)
	return id.IsAmong(all), err
}

// refind lets the finder lead to what a record holds now, and to what it held no more.
func (t *tx) refind(noun string, number annona.Number, had, has []annona.IdentifierIndex) {
	former, hashes := identifierHashes(noun, had), identifierHashes(noun, has)
	for _, hash := range former {
		if !slices.Contains(hashes, hash) {
			t.forgetFindable(hash, number)
		}
	}
	for _, hash := range hashes {
		if !slices.Contains(former, hash) {
			t.makeFindable(hash, number)
		}
	}
}

func identifierHashes(noun string, identifiers []annona.IdentifierIndex) []uint64 {
	hashes := make([]uint64, len(identifiers))
	for i, id := range identifiers {
		hashes[i] = id.Place(noun)
	}
	return hashes
}

// rewriteIdentifiers replaces the identifiers of a record on file.
func (t *tx) rewriteIdentifiers(tb *table, number annona.Number, identifiers []annona.IdentifierIndex) error {
	had, err := t.conn.identifiersOf(tb.dataset, number)
	if err != nil {
		return err
	}
	list, err := annona.PackIdentifiers(nil, identifiers)
	if err != nil {
		return err
	}
	if err := t.conn.exec("UPDATE "+tb.dataset+" SET identifiers = ? WHERE number = ?", list, number); err != nil {
		return err
	}
	t.refind(tb.noun, number, had, identifiers)
	return nil
}

// forgetIdentifiers lets the finder lead to no identifier of a record, whose row is about to go.
func (t *tx) forgetIdentifiers(tb *table, number annona.Number) error {
	had, err := t.conn.identifiersOf(tb.dataset, number)
	if err != nil {
		return err
	}
	t.refind(tb.noun, number, had, nil)
	return nil
}
