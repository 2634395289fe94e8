package sqlite

import "github.com/annona-exchange/annona"

// writeIdentifiers replaces the blind index of a record. Several holders of one identifier
// are legal: the look-up finds them all, and whoever asks learns that it is ambiguous.
func (t *tx) writeIdentifiers(noun string, w written) error {
	if !w.isNew() {
		if err := t.conn.exec("DELETE FROM identifier_index WHERE number = ? AND noun = ?", w.number, noun); err != nil {
			return err
		}
	}
	for _, id := range w.record.Identifiers {
		if err := checkIdentifier(id); err != nil {
			return err
		}
		err := t.conn.exec("INSERT OR REPLACE INTO identifier_index (hash, scheme, noun, number, shareable) VALUES (?, ?, ?, ?, ?)",
			id.Hash, id.Scheme, noun, w.number, id.Shareable)
		if err != nil {
			return err
		}
	}
	return nil
}

func checkIdentifier(id annona.IdentifierIndex) error {
	if id.Scheme == "" || len(id.Hash) == 0 {
		return annona.Invalid("identifier_malformed", "an identifier has a scheme and a blind index")
	}
	return nil
}
