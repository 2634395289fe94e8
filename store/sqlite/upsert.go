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
	record  *annona.StoredRecord
	number  annona.Number
	created bool
}

// Upsert writes records that are new or changed. See annona.RecordTx.
func (t *tx) Upsert(ctx context.Context, actor string, records []annona.StoredRecord) (annona.Loaded, error) {
	var loaded annona.Loaded
	var people []written
	touched := touches{}
	for i := range records {
		if err := ctx.Err(); err != nil {
			return loaded, err
		}
		w, err := t.upsertRecord(actor, &records[i], &loaded, touched)
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
	return loaded, fault("write an event", t.touchAll(touched, actor))
}

// upsertRecord writes one record with what hangs on it, except for its relationships.
func (t *tx) upsertRecord(actor string, r *annona.StoredRecord, loaded *annona.Loaded, touched touches) (w written, err error) {
	tb, err := t.table(r.Dataset)
	if err != nil {
		return w, err
	}
	f, err := t.taken(tb, r)
	if err != nil {
		return w, err
	}
	memberships, err := t.wantedMemberships(r)
	if err != nil {
		return w, err
	}
	w = written{record: r, number: f.number, created: f.version == 0}
	l := lineOf(memberships, annona.DateOf(t.now))
	if w.created {
		loaded.Created++
		err = t.create(tb, r, f, l, actor)
	} else {
		loaded.Changed++
		err = t.change(tb, r, l, actor, touched)
	}
	if err != nil {
		return w, err
	}
	if err := t.writeIdentifiers(tb.noun, w); err != nil {
		return w, err
	}
	if tb.dataset != "individuals" {
		return w, nil
	}
	return w, t.writeMemberships(w, memberships, touched)
}

// create writes a new record under the number that was set aside for it.
func (t *tx) create(tb *table, r *annona.StoredRecord, f *found, l line, actor string) error {
	stmt, err := t.conn.prepare(tb.insert)
	if err != nil {
		return err
	}
	now := annona.Instant(t.now)
	if err := tb.bindRecord(stmt, r, l, now); err != nil {
		return err
	}
	for i, a := range []any{f.number, f.uid, r.Source, r.Key, now} {
		bind(stmt, tb.params+1+i, a)
	}
	if err := run(stmt); err != nil {
		return err
	}
	return t.event(annona.Event{Actor: actor, Dataset: tb.dataset, Record: f.number, Version: 1, Kind: annona.EventCreated})
}

// change writes the next version of a record; its event keeps what it was before.
func (t *tx) change(tb *table, r *annona.StoredRecord, l line, actor string, touched touches) error {
	if tb.dataset == "households" {
		if err := t.householdChanges(tb, r, touched); err != nil {
			return err
		}
	}
	stmt, err := t.conn.prepare(tb.update)
	if err != nil {
		return err
	}
	if err := tb.bindRecord(stmt, r, l, annona.Instant(t.now)); err != nil {
		return err
	}
	bind(stmt, tb.params+1, r.Number)
	if err := run(stmt); err != nil {
		return err
	}
	return t.event(annona.Event{
		Actor: actor, Dataset: tb.dataset, Record: r.Number, Version: r.Version, Kind: annona.EventChanged, Before: r.Before,
	})
}

// run steps a statement that returns no rows and resets it.
func run(stmt *sqlite.Stmt) error {
	_, err := stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// touches are the records that a batch touches without changing them, and why.
type touches map[subject]string

func (t *tx) touchAll(touched touches, actor string) error {
	order := slices.SortedFunc(maps.Keys(touched), func(a, b subject) int {
		return cmp.Or(strings.Compare(a.dataset, b.dataset), cmp.Compare(a.number, b.number))
	})
	for _, s := range order {
		if err := t.touch(s, actor, touched[s]); err != nil {
			return err
		}
	}
	return nil
}
