package sqlite

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

var errNoColumn = errors.New("a filterable field has no column: the store was opened with another dictionary")

// written is a record of this batch that has been written.
type written struct {
	*found
	record *annona.StoredRecord
}

// isNew reports whether nothing of the record is on file yet but what this batch brings.
func (w written) isNew() bool { return w.version == 0 || w.deleted }

// Upsert writes records that are new or changed. See annona.RecordTx.
func (t *tx) Upsert(ctx context.Context, by annona.Author, records []annona.StoredRecord) (annona.Loaded, error) {
	var loaded annona.Loaded
	var people []written
	touched := touches{}
	for i := range records {
		if err := ctx.Err(); err != nil {
			return loaded, err
		}
		w, err := t.upsertRecord(by, &records[i], &loaded, touched)
		if err != nil {
			return loaded, fault("write a record", err)
		}
		if w.record.Dataset.Name == "individuals" {
			people = append(people, w)
		}
	}
	for _, w := range people { // everybody of the batch is on file now
		if err := t.writeRelationships(w, &loaded, touched); err != nil {
			return loaded, fault("write a relationship", err)
		}
	}
	return loaded, fault("write an event", t.touchAll(touched, by))
}

// upsertRecord writes one record with what hangs on it, except for its relationships.
func (t *tx) upsertRecord(by annona.Author, r *annona.StoredRecord, loaded *annona.Loaded, touched touches) (w written, err error) {
	tb, err := t.table(r.Dataset)
	if err != nil {
		return w, err
	}
	f, err := t.taken(tb, r)
	if err != nil {
		return w, err
	}
	w = written{found: f, record: r}
	memberships, err := t.wantedMemberships(w)
	if err != nil {
		return w, err
	}
	l := lineOf(memberships, annona.DateOf(t.now))
	switch {
	case f.version == 0:
		loaded.Created++
		err = t.create(tb, r, f, l, by)
	case f.deleted:
		loaded.Changed++
		loaded.Restored++
		err = t.restore(tb, r, f, l, by)
	default:
		loaded.Changed++
		err = t.change(tb, r, f, l, by, touched)
	}
	if err != nil {
		return w, err
	}
	if nameOf(&f.key) != nameOf(&r.RecordKey) {
		if err := t.putKey(tb, &r.RecordKey, f.number, touched); err != nil {
			return w, err
		}
	}
	t.refind(tb.noun, w.number, f.identifiers, r.Identifiers)
	if tb.dataset != "individuals" {
		return w, nil
	}
	t.dueName(f.number)
	return w, t.replaceMemberships(f.memberships, memberships, touched)
}

// create writes a new record under the number that was set aside for it.
func (t *tx) create(tb *table, r *annona.StoredRecord, f *found, l line, by annona.Author) error {
	if err := t.insertRow(tb, r, f, l, t.instant); err != nil {
		return err
	}
	return t.event(eventOf(by, tb.dataset, f.number, 1, annona.EventCreated, nil))
}

// insertRow writes the row of a record that has none.
func (t *tx) insertRow(tb *table, r *annona.StoredRecord, f *found, l line, receivedAt string) error {
	stmt, err := t.conn.prepare(tb.insert)
	if err != nil {
		return err
	}
	if err := tb.bindRecord(stmt, r, f.first(r), l, t.instant); err != nil {
		return err
	}
	for i, a := range []any{f.number, f.uid, f.key.Source, f.key.Key, receivedAt} {
		bind(stmt, tb.params+1+i, a)
	}
	k := nameOf(&f.key)
	t.makeFindable(keyHash(k), f.number)
	t.here[k] = f.number
	return step(stmt)
}

// first is the record's first key with what was last reported under it: now, or before.
func (f *found) first(r *annona.StoredRecord) *annona.RecordKey {
	if nameOf(&f.key) == nameOf(&r.RecordKey) {
		return &r.RecordKey
	}
	return &f.key
}

// change writes the next version of a record; its event keeps what it was before.
func (t *tx) change(tb *table, r *annona.StoredRecord, f *found, l line, by annona.Author, touched touches) error {
	if tb.dataset == "households" {
		if err := t.householdChanges(tb, r, touched); err != nil {
			return err
		}
	}
	stmt, err := t.conn.prepare(tb.update)
	if err != nil {
		return err
	}
	if err := tb.bindRecord(stmt, r, f.first(r), l, t.instant); err != nil {
		return err
	}
	bind(stmt, tb.params+1, r.Number)
	if err := step(stmt); err != nil {
		return err
	}
	return t.event(eventOf(by, tb.dataset, r.Number, r.Version, annona.EventChanged, r.Before))
}

// step steps a statement that returns no rows and resets it.
func step(stmt *sqlite.Stmt) error {
	_, err := stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// touches are the records that a batch touches without changing them, and why.
type touches map[subject]string

func (t *tx) touchAll(touched touches, by annona.Author) error {
	order := slices.SortedFunc(maps.Keys(touched), func(a, b subject) int {
		return cmp.Or(strings.Compare(a.dataset, b.dataset), cmp.Compare(a.number, b.number))
	})
	for _, s := range order {
		if err := t.touch(s, by, touched[s]); err != nil {
			return err
		}
	}
	return nil
}
