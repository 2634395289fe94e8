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
	record      *annona.StoredRecord
	created     bool
	memberships []membership
	line        line
}

// Upsert writes records that are new or changed, households first. See annona.RecordTx.
func (t *tx) Upsert(ctx context.Context, actor string, records []annona.StoredRecord) (annona.Loaded, error) {
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
		changes[r.Dataset.Name] = append(changes[r.Dataset.Name], &written{found: f, record: r, created: f.version == 0})
	}
	touched := touches{}
	for _, tb := range tables() {
		if err := t.writeTable(actor, tb.dataset, changes[tb.dataset], &loaded, touched); err != nil {
			return loaded, t.fault("write a record", err)
		}
	}
	if err := t.writeRelationships(changes["individuals"], &loaded, touched); err != nil { // everybody of the batch is on file now
		return loaded, t.fault("write a relationship", err)
	}
	return loaded, t.fault("write an event", t.touchAll(touched, actor))
}

// writeTable writes records of one dataset with what hangs on them, except for relationships.
func (t *tx) writeTable(actor, dataset string, changes []*written, loaded *annona.Loaded, touched touches) error {
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
	if err := t.writeRecords(actor, tb, changes, loaded); err != nil {
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
// for the end of the transaction: nobody looks at what they change.
func (t *tx) writeRecords(actor string, tb *table, changes []*written, loaded *annona.Loaded) error {
	now := annona.Instant(t.now)
	var added [][]any
	for _, w := range changes {
		event := annona.Event{Actor: actor, Dataset: tb.dataset, Record: w.number, Version: w.record.Version, Kind: annona.EventChanged, Before: w.record.Before}
		if w.created {
			loaded.Created++
			event.Kind = annona.EventCreated
			values, err := t.setValues(tb, recordValues(w, now), w, now)
			if err != nil {
				return err
			}
			added = append(added, values)
		} else {
			loaded.Changed++
			values, err := t.setValues(tb, []any{int64(w.number)}, w, now)
			if err != nil {
				return err
			}
			t.later.Queue(tb.update, values...)
		}
		if err := t.event(event); err != nil {
			return err
		}
	}
	return t.conn.copyIn(tb.dataset, tb.columns, added)
}
