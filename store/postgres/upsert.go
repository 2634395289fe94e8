package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
)

var errNoColumn = errors.New("a filterable field has no column: the store was opened with another dictionary")

// written is a record of a batch that is new or has changed.
type written struct {
	record      *annona.StoredRecord
	number      annona.Number
	uid         annona.UID
	version     int64 // the one that is being written
	created     bool
	before      []byte // what it was
	index       []string
	memberships []membership
	line        line
}

// Upsert writes records that are new or changed and leaves the others alone. See annona.Tx.
//
// It asks for all records of a batch at once. Locks are taken on households before individuals
// and in order of number, so that two batches wait for each other in one direction only.
func (t *tx) Upsert(ctx context.Context, actor string, records []annona.StoredRecord) (annona.Loaded, error) {
	var loaded annona.Loaded
	var people []*written
	touched := touches{}
	for len(records) > 0 {
		if err := ctx.Err(); err != nil {
			return loaded, err
		}
		part := distinct(records)
		records = records[len(part):]
		more, err := t.upsertDistinct(actor, part, &loaded, touched)
		if err != nil {
			return loaded, t.fault("write a record", err)
		}
		people = append(people, more...)
	}
	if err := t.writeRelationships(people, &loaded, touched); err != nil { // everybody of the batch has a number now
		return loaded, t.fault("write a relationship", err)
	}
	return loaded, t.fault("write an event", t.touchAll(touched, actor))
}

// recordKey is how a source names a record.
type recordKey struct{ dataset, source, key string }

// distinct returns the records up to the first that stands there twice.
func distinct(records []annona.StoredRecord) []annona.StoredRecord {
	seen := make(map[recordKey]bool, len(records))
	for i := range records {
		r := &records[i]
		k := recordKey{r.Dataset.Name, r.Source, r.Key}
		if seen[k] {
			return records[:i]
		}
		seen[k] = true
	}
	return records
}

// upsertDistinct writes records of which none stands there twice, households first, and
// returns the individuals among them.
func (t *tx) upsertDistinct(actor string, records []annona.StoredRecord, loaded *annona.Loaded, touched touches) ([]*written, error) {
	byDataset := map[string][]*annona.StoredRecord{}
	for i := range records {
		r := &records[i]
		if r.Source == "" || r.Key == "" {
			return nil, annona.Invalid("record_without_key", "a record names its source and has a key there")
		}
		if _, err := t.table(r.Dataset.Name); err != nil {
			return nil, err
		}
		byDataset[r.Dataset.Name] = append(byDataset[r.Dataset.Name], r)
	}
	if _, err := t.upsertTable(actor, "households", byDataset["households"], loaded, touched); err != nil {
		return nil, err
	}
	return t.upsertTable(actor, "individuals", byDataset["individuals"], loaded, touched)
}

// upsertTable writes records of one dataset with what hangs on them, except for relationships.
func (t *tx) upsertTable(actor, dataset string, records []*annona.StoredRecord, loaded *annona.Loaded, touched touches) ([]*written, error) {
	if len(records) == 0 {
		return nil, nil
	}
	tb, err := t.table(dataset)
	if err != nil {
		return nil, err
	}
	changes, known, err := t.differing(tb, records)
	if err != nil {
		return nil, err
	}
	if err := t.wantedMemberships(changes); err != nil {
		return nil, err
	}
	if changes, err = t.lockRecords(tb, changes, known); err != nil {
		return nil, err
	}
	loaded.Unchanged += len(records) - len(changes)
	if err := t.writeRecords(actor, tb, changes, loaded); err != nil {
		return nil, err
	}
	if err := t.writeIdentifiers(tb.noun, changes); err != nil {
		return nil, err
	}
	if dataset == "households" {
		return nil, t.householdsChanged(tb, changes, touched)
	}
	return changes, t.writeMemberships(changes, touched)
}

// differing returns the records that are not on file or differ from what is, and the numbers
// of those that are. It takes no locks: an import that repeats itself disturbs nobody.
func (t *tx) differing(tb *table, records []*annona.StoredRecord) (changes []*written, known []int64, err error) {
	sources, keys := make([]string, len(records)), make([]string, len(records))
	for i, r := range records {
		sources[i], keys[i] = r.Source, r.Key
	}
	numbers, same := make([]int64, len(records)), make([]bool, len(records))
	err = t.conn.each(tb.find, func(r row) error {
		at := r.integer(0) - 1
		numbers[at], same[at] = r.integer(2), bytes.Equal(r[1], records[at].Digest[:])
		return nil
	}, sources, keys)
	for i, r := range records {
		if same[i] {
			continue
		}
		changes = append(changes, &written{record: r, number: annona.Number(numbers[i])})
		if numbers[i] != 0 {
			known = append(known, numbers[i])
		}
	}
	return changes, known, err
}

// lockRecords locks the records that are on file and reads what they are. One that somebody
// else has made the same meanwhile is left out.
func (t *tx) lockRecords(tb *table, changes []*written, known []int64) ([]*written, error) {
	byNumber := make(map[annona.Number]*written, len(known))
	for _, w := range changes {
		w.created = w.number == 0
		w.version = 1
		byNumber[w.number] = w
	}
	if len(known) == 0 {
		return changes, nil
	}
	same := map[*written]bool{}
	err := t.conn.each(tb.lock, func(r row) error {
		w := byNumber[r.number(0)]
		w.version, w.uid, same[w] = r.integer(1)+1, r.uid(2), bytes.Equal(r[3], w.record.Digest[:])
		w.before = beforeImage(r[4], r[5], r[6])
		for i := range tb.indexed {
			w.index = append(w.index, r.text(7+i))
		}
		return nil
	}, known)
	kept := changes[:0]
	for _, w := range changes {
		if !same[w] {
			kept = append(kept, w)
		}
	}
	return kept, err
}

// writeRecords writes new records and the next versions of others, with their events.
func (t *tx) writeRecords(actor string, tb *table, changes []*written, loaded *annona.Loaded) error {
	if err := t.giveNumbers(tb, changes); err != nil {
		return err
	}
	now := annona.Instant(t.now)
	var added [][]any
	updates := &pgx.Batch{}
	for _, w := range changes {
		event := annona.Event{Actor: actor, Dataset: tb.dataset, Record: w.number, Version: int(w.version), Kind: annona.EventChanged, Before: w.before}
		if w.created {
			loaded.Created++
			event.Kind = annona.EventCreated
			values, err := tb.setValues(recordValues(w, now), w, now)
			if err != nil {
				return err
			}
			added = append(added, values)
		} else {
			loaded.Changed++
			values, err := tb.setValues([]any{int64(w.number)}, w, now)
			if err != nil {
				return err
			}
			updates.Queue(tb.update, values...)
		}
		if err := t.event(event); err != nil {
			return err
		}
	}
	if err := t.conn.copyIn(tb.dataset, tb.columns, added); err != nil {
		return err
	}
	return t.conn.send(updates)
}

// giveNumbers gives new records their numbers and ids.
func (t *tx) giveNumbers(tb *table, changes []*written) error {
	var fresh []*written
	for _, w := range changes {
		if w.created {
			fresh = append(fresh, w)
		}
	}
	numbers, err := t.next(sequences[tb.dataset], len(fresh))
	for i, n := range numbers {
		fresh[i].number, fresh[i].uid = annona.Number(n), annona.NewUID()
	}
	return err
}
