package postgres

import (
	"slices"
	"sort"

	"github.com/annona-exchange/annona"
)

// The blind indexes of a record lie in its row, in one piece, and the index of places leads to them: whoever
// looks for one follows the index and compares what the row says. Several holders of one identifier are
// legal: the look-up finds them all, and whoever asks learns that it is ambiguous.

// identifierPlace is the place of an identifier as a number of the database, which has a sign: places stay in their order.
func identifierPlace(noun string, id annona.IdentifierIndex) int64 {
	return int64(id.Place(noun) ^ 1<<63)
}

// identifierPlaces returns the places of identifiers, each once.
func identifierPlaces(noun string, identifiers []annona.IdentifierIndex) []int64 {
	places := make([]int64, len(identifiers))
	for i, id := range identifiers {
		places[i] = identifierPlace(noun, id)
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// unpackIdentifiers reads the column of a row.
func unpackIdentifiers(list []byte) ([]annona.IdentifierIndex, error) {
	all, err := annona.UnpackIdentifiers(list)
	if err != nil {
		return nil, annona.Unavailable("store_damaged", "the identifiers of a record in the database are not well formed; stop, keep a copy of the database, and restore a backup")
	}
	return all, nil
}

// identifiersOf reads the identifiers of a record on file.
func (t *tx) identifiersOf(tb table, number annona.Number) (all []annona.IdentifierIndex, err error) {
	if f := t.found[subject{tb.dataset, number}]; f != nil {
		return f.identifiers, nil
	}
	if err := t.sendLater(); err != nil { // it may be about to change
		return nil, err
	}
	err = t.conn.each("SELECT identifiers FROM "+tb.dataset+" WHERE number = $1", func(r row) (err error) {
		all, err = unpackIdentifiers(r.bytes(0))
		return err
	}, number)
	return all, err
}

// entries are entries of the index of places.
type entries struct{ places, numbers []int64 }

func (e *entries) Len() int           { return len(e.places) }
func (e *entries) Less(i, j int) bool { return e.places[i] < e.places[j] }
func (e *entries) Swap(i, j int) {
	e.places[i], e.places[j] = e.places[j], e.places[i]
	e.numbers[i], e.numbers[j] = e.numbers[j], e.numbers[i]
}

func (e *entries) add(number annona.Number, places ...int64) {
	for _, place := range places {
		e.places, e.numbers = append(e.places, place), append(e.numbers, int64(number))
	}
}

// replace adds the places that a record has now and had not, and to gone those that it had and has no more.
func (e *entries) replace(gone *entries, number annona.Number, had, has []int64) {
	for _, place := range had {
		if !slices.Contains(has, place) {
			gone.add(number, place)
		}
	}
	for _, place := range has {
		if !slices.Contains(had, place) {
			e.add(number, place)
		}
	}
}

// queueGone has entries removed that lead nowhere.
func (t *tx) queueGone(gone *entries) {
	if len(gone.places) > 0 {
		t.later.Queue(`DELETE FROM identifier_index i USING unnest($1::bigint[], $2::bigint[]) g (place, number)
			WHERE i.place = g.place AND i.number = g.number`, gone.places, gone.numbers)
	}
}

// writeIdentifiers lets the index lead to what records hold now, and to what they held no more.
func (t *tx) writeIdentifiers(noun string, changes []*written) error {
	var gone, added entries
	for _, w := range changes {
		added.replace(&gone, w.number, identifierPlaces(noun, w.identifiers), identifierPlaces(noun, w.record.Identifiers))
	}
	t.queueGone(&gone)
	if len(added.places) == 0 {
		return nil
	}
	if err := t.sendLater(); err != nil {
		return err
	}
	sort.Sort(&added) // neighbors of a tree are put there one behind the other
	rows := rowsFor("identifier_index", []string{"place", "number"})
	for i, place := range added.places {
		rows.add(place, added.numbers[i])
	}
	return t.conn.copyIn(rows)
}
