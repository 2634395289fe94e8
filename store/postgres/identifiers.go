package postgres

import (
	"github.com/annona-exchange/annona"
)

var identifierColumns = []string{"hash", "scheme", "noun", "number", "shareable"}

// writeIdentifiers replaces the blind indexes of records. Several holders of one identifier
// are legal: the look-up finds them all, and whoever asks learns that it is ambiguous.
func (t *tx) writeIdentifiers(noun string, changes []*written) error {
	var known []int64
	var rows [][]any
	for _, w := range changes {
		if !w.isNew() {
			known = append(known, int64(w.number))
		}
		last := map[[2]string]int{} // of one identifier that is reported twice, the last word counts
		for _, id := range w.record.Identifiers {
			if err := checkIdentifier(id); err != nil {
				return err
			}
			values := []any{id.Hash, id.Scheme, noun, int64(w.number), id.Shareable}
			key := [2]string{string(id.Hash), id.Scheme}
			if at, twice := last[key]; twice {
				rows[at] = values
				continue
			}
			last[key] = len(rows)
			rows = append(rows, values)
		}
	}
	if len(known) > 0 {
		t.later.Queue("DELETE FROM identifier_index WHERE number = ANY ($1) AND noun = $2", known, noun)
	}
	if len(rows) == 0 {
		return nil
	}
	if err := t.sendLater(); err != nil {
		return err
	}
	return t.conn.copyIn("identifier_index", identifierColumns, rows)
}

func checkIdentifier(id annona.IdentifierIndex) error {
	if id.Scheme == "" || len(id.Hash) == 0 {
		return annona.Invalid("identifier_malformed", "an identifier has a scheme and a blind index")
	}
	return nil
}
