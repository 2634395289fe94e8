package postgres

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

var identifierColumns = []string{"hash", "scheme", "noun", "number", "shareable"}

// writeIdentifiers replaces the blind indexes of records. Several holders of one identifier
// are legal: the look-up finds them all, and whoever asks learns that it is ambiguous.
func (t *tx) writeIdentifiers(noun string, changes []*written) error {
	var known []int64
	rows := rowsFor("identifier_index", identifierColumns)
	for _, w := range changes {
		if !w.isNew() {
			known = append(known, int64(w.number))
		}
		all := slices.Clone(w.record.Identifiers)
		slices.SortStableFunc(all, byIdentifier)
		for i, id := range all {
			if err := checkIdentifier(id); err != nil {
				return err
			}
			if i+1 < len(all) && byIdentifier(id, all[i+1]) == 0 {
				continue // of one that is reported twice, the last word counts
			}
			rows.add(id.Hash, id.Scheme, noun, int64(w.number), id.Shareable)
		}
	}
	if len(known) > 0 {
		t.later.Queue("DELETE FROM identifier_index WHERE number = ANY ($1) AND noun = $2", known, noun)
	}
	if rows.count == 0 {
		return nil
	}
	if err := t.sendLater(); err != nil {
		return err
	}
	return t.conn.copyIn(rows)
}

func byIdentifier(a, b annona.IdentifierIndex) int {
	return cmp.Or(bytes.Compare(a.Hash, b.Hash), strings.Compare(a.Scheme, b.Scheme))
}

func checkIdentifier(id annona.IdentifierIndex) error {
	if id.Scheme == "" || len(id.Hash) == 0 {
		return annona.Invalid("identifier_malformed", "an identifier has a scheme and a blind index")
	}
	return nil
}
