package postgres

import (
	"slices"

	"github.com/annona-exchange/annona"
)

var relationshipColumns = []string{"from_number", "number", "uid", "to_number", "to_key", "source", "type", "start_date", "end_date", "end_reason"}

// relationship is a relationship as it lies in the store.
type relationship struct {
	number int64
	uid    annona.UID
	taken  bool // a record that is written goes on with it
	annona.Relationship
}

// relationshipsInto asks for all relationships of the individuals to others, in order of number.
func relationshipsInto(had map[annona.Number][]relationship, of []int64) question {
	const sql = `SELECT from_number, number, uid, to_number, to_key, source, type, start_date, end_date, end_reason
		FROM relationships WHERE from_number = ANY ($1) ORDER BY from_number, number`
	return question{sql, []any{of}, func(r row) error {
		had[r.number(0)] = append(had[r.number(0)], relationship{number: r.integer(1), uid: r.uid(2), Relationship: annona.Relationship{
			To: r.number(3), ToKey: r.text(4), Source: r.text(5), Type: r.text(6), StartDate: r.date(7), EndDate: r.date(8), EndReason: r.text(9),
		}})
		return nil
	}}
}

// writeRelationships replaces the relationships of individuals by those of their records, and
// joins those of others that have been waiting for them. One that goes on keeps its number and
// id: a change of something else must not show in them.
func (t *tx) writeRelationships(people []*written, loaded *annona.Loaded, touched touches) error {
	var replaced []int64
	for _, w := range people {
		if len(w.relationships) > 0 {
			replaced = append(replaced, int64(w.number))
		}
	}
	if len(replaced) > 0 {
		if err := t.conn.exec("DELETE FROM relationships WHERE from_number = ANY ($1)", replaced); err != nil {
			return err
		}
	}
	if err := t.insertRelationships(people, loaded); err != nil {
		return err
	}
	return t.resolveRelationships(people, touched)
}

// identify gives relationships the numbers and ids that they had, or new ones.
func (t *tx) identify(all []reported) error {
	var fresh []*reported
	for i := range all {
		if r := &all[i]; !r.goesOn() {
			fresh = append(fresh, r)
		}
	}
	numbers, err := t.next("relationships_number", len(fresh))
	for i, n := range numbers {
		fresh[i].number, fresh[i].uid = n, annona.NewUIDAt(t.now)
	}
	return err
}

// reported is a relationship that a record brings. To is the number of the other individual when
// that is on file.
type reported struct {
	of     *written
	number int64
	uid    annona.UID
	annona.Relationship
}

// goesOn takes the number and the id of the relationship that r goes on with, if there is one.
func (r *reported) goesOn() bool {
	for i := range r.of.relationships {
		o := &r.of.relationships[i]
		if !o.taken && o.Source == r.Source && o.ToKey == r.ToKey && o.Type == r.Type {
			o.taken, r.number, r.uid = true, o.number, o.uid
			return true
		}
	}
	return false
}

func (t *tx) insertRelationships(people []*written, loaded *annona.Loaded) error {
	all, err := t.reportedRelationships(people)
	if err != nil || len(all) == 0 {
		return err
	}
	if err := t.identify(all); err != nil {
		return err
	}
	rows := rowsFor("relationships", relationshipColumns)
	for i := range all {
		r := &all[i]
		var to any
		if r.To > 0 {
			to = int64(r.To)
		} else {
			loaded.Unresolved++
		}
		rows.add(int64(r.of.number), r.number, r.uid[:], to, r.ToKey, r.Source, orNull(r.Type),
			orNull(string(r.StartDate)), orNull(string(r.EndDate)), orNull(r.EndReason))
	}
	return t.conn.copyIn(rows)
}

// reportedRelationships resolves the other ends. Nothing leads to somebody who was erased.
func (t *tx) reportedRelationships(people []*written) (all []reported, err error) {
	for _, w := range people {
		for _, r := range w.record.Relationships {
			if r.ToKey == "" {
				return nil, annona.Invalid("relationship_without_key", "a relationship names the other individual by its source key")
			}
			r.Source = w.sourceOf(r.Source)
			all = append(all, reported{of: w, Relationship: r})
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	if err := t.otherEnds(all, people); err != nil {
		return nil, err
	}
	waiting, sources, keys := unresolved(all)
	if len(waiting) == 0 {
		return all, nil
	}
	erased := map[recordKey]bool{}
	err = t.conn.each(erasedKeys, func(r row) error {
		erased[recordKey{"individuals", r.text(0), r.text(1)}] = true
		return nil
	}, sources, keys, "individuals", t.now)
	return slices.DeleteFunc(all, func(r reported) bool {
		return r.To == 0 && erased[recordKey{"individuals", r.Source, r.ToKey}]
	}), err
}

// unresolved returns those whose other end is not known, and the keys that name it.
func unresolved(all []reported) (waiting []*reported, sources, keys []string) {
	for i := range all {
		if r := &all[i]; r.To == 0 {
			waiting, sources, keys = append(waiting, r), append(sources, r.Source), append(keys, r.ToKey)
		}
	}
	return waiting, sources, keys
}

// meet finds the other individuals in the batch itself, where most of them are: a household comes
// together.
func meet(all []reported, people []*written) {
	here := make(map[recordKey]annona.Number, len(people))
	for _, w := range people {
		here[nameOf(&w.key)] = w.number
	}
	for i := range all {
		if r := &all[i]; r.To == 0 {
			r.To = here[recordKey{"individuals", r.Source, r.ToKey}]
		}
	}
}

// otherEnds finds the other individuals: by number, by first key, and by another key where there are
// any.
func (t *tx) otherEnds(all []reported, people []*written) error {
	if err := t.checkEnds(all); err != nil {
		return err
	}
	meet(all, people)
	const named = `SELECT k.position, i.number FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position) `
	queries := []string{named + `JOIN individuals i ON i.source = k.source COLLATE "C" AND i.source_key = k.key COLLATE "C"`}
	if t.beside {
		queries = append(queries, named+`JOIN other_keys o ON o.source = k.source COLLATE "C" AND o.source_key = k.key COLLATE "C" AND o.dataset = 'individuals'
			JOIN individuals i ON i.number = o.number`)
	}
	for _, sql := range queries {
		waiting, sources, keys := unresolved(all)
		if len(waiting) == 0 {
			return nil
		}
		err := t.conn.each(sql, func(r row) error {
			waiting[r.integer(0)-1].To = r.number(1)
			return nil
		}, sources, keys)
		if err != nil {
			return err
		}
	}
	return nil
}

// checkEnds forgets the numbers of other individuals who are not on file any more.
func (t *tx) checkEnds(all []reported) error {
	var numbers []int64
	for i := range all {
		if all[i].To > 0 {
			numbers = append(numbers, int64(all[i].To))
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	there := map[annona.Number]bool{}
	err := t.conn.each("SELECT number FROM individuals WHERE number = ANY ($1)", func(r row) error {
		there[r.number(0)] = true
		return nil
	}, numbers)
	for i := range all {
		if !there[all[i].To] {
			all[i].To = 0
		}
	}
	return err
}

// resolveRelationships joins relationships to new individuals, and to those who come back under
// whichever of their keys.
func (t *tx) resolveRelationships(people []*written, touched touches) error {
	var sources, keys []string
	var numbers, restored []int64
	for _, w := range people {
		if w.isNew() {
			sources, keys, numbers = append(sources, w.key.Source), append(keys, w.key.Key), append(numbers, int64(w.number))
		}
		if w.deleted {
			restored = append(restored, int64(w.number))
		}
	}
	if len(restored) > 0 {
		others, err := otherKeys(t.conn, people[0].of, restored)
		if err != nil {
			return err
		}
		for number, of := range others {
			for _, k := range of {
				sources, keys, numbers = append(sources, k.Source), append(keys, k.Key), append(numbers, int64(number))
			}
		}
	}
	return t.resolve(sources, keys, numbers, touched)
}

// resolve joins the relationships that wait for keys to the individuals to whom they lead. What is
// seen of the others changes by that.
func (t *tx) resolve(sources, keys []string, numbers []int64, touched touches) error {
	if len(numbers) == 0 {
		return nil
	}
	return t.conn.each(`UPDATE relationships r SET to_number = k.number FROM unnest($1::text[], $2::text[], $3::bigint[]) k (source, key, number)
		WHERE r.source = k.source COLLATE "C" AND r.to_key = k.key COLLATE "C" AND r.to_number IS NULL AND k.number > 0 RETURNING r.from_number`, func(r row) error {
		touched[subject{"individuals", r.number(0)}] = "relationship"
		return nil
	}, sources, keys, numbers)
}
