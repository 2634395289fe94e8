package postgres

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// Disputes returns identifiers that several records hold. The index of places has them in the order of their
// hashes, so that a page reads what comes behind the last one, and no more. See annona.Subjects.
func (s *Store) Disputes(ctx context.Context, dataset *annona.Dataset, after []byte, limit int) (all []annona.Dispute, err error) {
	if _, err := tableOf(dataset.Name); err != nil {
		return nil, err
	}
	err = s.readers.ask(ctx, "find disputed identifiers", func(c *conn) error {
		d := disputed{conn: c, of: dataset, after: after, limit: limit}
		err := d.walk()
		all = d.found
		return err
	})
	return all, err
}

// disputed gathers disputes on a walk through the index of places.
type disputed struct {
	conn  *conn
	of    *annona.Dataset
	after []byte
	limit int
	found []annona.Dispute
}

// selectShared goes through the index alone, as far as it has to.
const selectShared = "SELECT place FROM identifier_index WHERE place >= $1 AND place & 1 = $2 GROUP BY place HAVING count(*) > 1 ORDER BY place LIMIT $3"

// walk goes through the places that several entries have, until enough of them are disputes.
func (d *disputed) walk() error {
	first := identifierPlace(d.of.Noun, annona.IdentifierIndex{Hash: d.after})
	for from := first; len(d.found) < d.limit; {
		var shared []int64
		err := d.conn.each(selectShared, func(r row) error {
			shared = append(shared, r.integer(0))
			return nil
		}, from, first&1, int64(d.limit-len(d.found)))
		if err != nil || len(shared) == 0 {
			return err
		}
		if err := d.settle(shared); err != nil {
			return err
		}
		last := shared[len(shared)-1]
		if from = last + 1; from < last {
			return nil
		}
	}
	return nil
}

// settle adds the disputes at some places, which ascend.
func (d *disputed) settle(places []int64) error {
	holders := map[int64][]holder{}
	err := d.conn.each(`SELECT i.place, r.number, r.uid, r.identifiers FROM identifier_index i JOIN `+d.of.Name+` r ON r.number = i.number
		WHERE i.place = ANY ($1) ORDER BY i.place, r.number`, func(r row) error {
		held, err := unpackIdentifiers(r.bytes(3))
		holders[r.integer(0)] = append(holders[r.integer(0)], holder{r.number(1), r.uid(2), held})
		return err
	}, places)
	for _, place := range places {
		d.add(place, holders[place])
	}
	return err
}

// holder is a record with the identifiers that it holds.
type holder struct {
	number annona.Number
	uid    annona.UID
	held   []annona.IdentifierIndex
}

// add adds the identifiers of a place that several records hold: nearly always there is one at most.
func (d *disputed) add(place int64, holders []holder) {
	var begun []annona.Dispute
	for _, h := range holders {
		for _, id := range h.held {
			if id.Shareable || identifierPlace(d.of.Noun, id) != place || bytes.Compare(id.Hash, d.after) <= 0 {
				continue
			}
			at := slices.IndexFunc(begun, func(o annona.Dispute) bool { return o.Scheme == id.Scheme && bytes.Equal(o.Hash, id.Hash) })
			if at < 0 {
				at, begun = len(begun), append(begun, annona.Dispute{IdentifierIndex: annona.IdentifierIndex{Scheme: id.Scheme, Hash: id.Hash}})
			}
			begun[at].Holders, begun[at].UIDs = append(begun[at].Holders, h.number), append(begun[at].UIDs, h.uid)
		}
	}
	slices.SortFunc(begun, func(a, b annona.Dispute) int {
		return cmp.Or(bytes.Compare(a.Hash, b.Hash), strings.Compare(a.Scheme, b.Scheme))
	})
	for _, one := range begun {
		if len(one.Holders) > 1 && len(d.found) < d.limit {
			d.found = append(d.found, one)
		}
	}
}
