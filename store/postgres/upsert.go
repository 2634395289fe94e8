package postgres

import (
	"context"
	"errors"

	"github.com/annona-exchange/annona"
)

var errNoColumn = errors.New("a filterable field has no column: the store was opened with another dictionary")

// written is a record of a batch that is being written.
type written struct {
	*found
	record *annona.StoredRecord
	joins  []membership // that it is to have
	line   line
}

// isNew reports whether nothing of the record is on file yet but what this batch brings.
func (w *written) isNew() bool { return w.version == 0 || w.deleted }

// first is the record's first key with what was last reported under it: now, or before.
func (w *written) first() *annona.RecordKey {
	if nameOf(&w.key) == nameOf(&w.record.RecordKey) {
		return &w.record.RecordKey
	}
	return &w.key
}

// Upsert writes records that are new or changed, households first. See annona.RecordTx.
func (t *tx) Upsert(ctx context.Context, by annona.Author, records []annona.StoredRecord) (annona.Loaded, error) {
	var loaded annona.Loaded
	if err := ctx.Err(); err != nil {
		return loaded, err
	}
	changes := map[string][]*written{}
	for i := range records {
		r := &records[i]
		f, err := t.taken(r)
		if err != nil {
			return loaded, err
		}
		changes[r.Dataset.Name] = append(changes[r.Dataset.Name], &written{found: f, record: r})
	}
	touched := touches{}
	for _, tb := range tables() {
		if err := t.writeTable(by, tb.dataset, changes[tb.dataset], &loaded, touched); err != nil {
			return loaded, t.fault("write a record", err)
		}
	}
	if err := t.writeRelationships(changes["individuals"], &loaded, touched); err != nil { // everybody of the batch is on file now
		return loaded, t.fault("write a relationship", err)
	}
	return loaded, t.fault("write an event", t.touchAll(touched, by))
}

// writeTable writes records of one dataset with what hangs on them, except for relationships.
func (t *tx) writeTable(by annona.Author, dataset string, changes []*written, loaded *annona.Loaded, touched touches) error {
	if len(changes) == 0 {
		return nil
	}
	tb, err := t.table(dataset)
	if err != nil {
		return err
	}
	if err := t.wantedMemberships(changes); err != nil {
		return err
	}
	if err := t.writeRecords(by, tb, changes, loaded); err != nil {
		return err
	}
	if err := t.writeOtherKeys(tb, changes, touched); err != nil {
		return err
	}
	if err := t.writeIdentifiers(tb.noun, changes); err != nil {
		return err
	}
	if dataset == "households" {
		if err := t.sendLater(); err != nil { // their members look at them
			return err
		}
		return t.householdsChanged(tb, changes, touched)
	}
	return t.writeMemberships(changes, touched)
}

// writeOtherKeys keeps what was reported under keys that are not the records' first ones.
func (t *tx) writeOtherKeys(tb *table, changes []*written, touched touches) error {
	var keys, added []*annona.RecordKey
	var numbers, to []int64
	for _, w := range changes {
		switch k := &w.record.RecordKey; {
		case nameOf(&w.key) == nameOf(k):
		case w.way == byOtherKey && nameOf(w.asked) == nameOf(k): // it leads here already
			keys, numbers = append(keys, k), append(numbers, int64(w.number))
		default:
			added, to = append(added, k), append(to, int64(w.number))
		}
	}
	if len(keys) > 0 {
		if err := t.writeKeys(tb, keys, numbers); err != nil {
			return err
		}
	}
	return t.putKeys(tb, added, to, touched)
}

// setValues looks at the columns again when one is missing that has come meanwhile.
func (t *tx) setValues(tb *table, dst []any, w *written, now string) ([]any, error) {
	values, err := tb.setValues(dst, w, now)
	if errors.Is(err, errNoColumn) && t.early {
		t.prepared.forget()
		t.again = true
	}
	return values, err
}

// writeRecords writes new records and the next versions of others, with their events. Updates wait
// for the end of the transaction: nobody looks at what they change. New ones are sent while more of them
// are made, so that nothing else is asked of the database meanwhile.
func (t *tx) writeRecords(by annona.Author, tb *table, changes []*written, loaded *annona.Loaded) error {
	added := rowsFor(tb.dataset, tb.columns)
	if err := t.makeRecords(tb, changes, added); err != nil {
		return err
	}
	if err := t.conn.copyIn(added); err != nil {
		return err
	}
	var restored []int64
	for _, w := range changes {
		if t.hashed = true; t.names && tb.dataset == "individuals" {
			t.dueNames(w.number)
		}
		event := eventOf(by, tb.dataset, w.number, w.record.Version, annona.EventChanged, w.record.Before)
		switch {
		case w.version == 0:
			loaded.Created++
			event.Kind = annona.EventCreated
		case w.deleted:
			loaded.Changed++
			loaded.Restored++
			event.Kind = annona.EventRestored
			restored = append(restored, int64(w.number))
		default:
			loaded.Changed++
		}
		if err := t.event(event); err != nil {
			return err
		}
	}
	t.forgetDeleted(tb.dataset, restored)
	return nil
}

// makeRecords adds new records to the rows, sends many of them, and queues the updates of the others.
func (t *tx) makeRecords(tb *table, changes []*written, added *newRows) error {
	now := annona.Instant(t.now)
	made := false
	defer func() {
		if !made {
			added.abandon()
		}
	}()
	var values []any // of one record: used again for the next new one
	for _, w := range changes {
		if !w.isNew() {
			values, err := t.setValues(tb, []any{int64(w.number)}, w, now)
			if err != nil {
				return err
			}
			t.later.Queue(tb.update, values...)
			continue
		}
		var err error
		if values, err = t.setValues(tb, recordValues(values[:0], w, now), w, now); err != nil {
			return err
		}
		added.add(values...)
		if err := t.conn.stream(added); err != nil {
			return err
		}
	}
	made = true
	return nil
}
