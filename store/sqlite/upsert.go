package sqlite

import (
	"bytes"
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

// stored is a record as it lies in the store before it is written again.
type stored struct {
	number  annona.Number
	uid     annona.UID
	version int64
	same    bool // the source reports what it reported before
}

// written is a record of this batch that has been written.
type written struct {
	record  *annona.StoredRecord
	number  annona.Number
	created bool
}

// Upsert writes records that are new or changed and leaves the others alone. See annona.Tx.
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
		if w.record != nil && w.record.Dataset.Name == "individuals" {
			people = append(people, w)
		}
	}
	for _, w := range people { // everybody of the batch has a number now
		if err := t.writeRelationships(w, &loaded, touched); err != nil {
			return loaded, fault("write a relationship", err)
		}
	}
	return loaded, fault("write an event", t.touchAll(touched, actor))
}

// upsertRecord writes one record with what hangs on it, except for its relationships. The
// result is empty when nothing changed.
func (t *tx) upsertRecord(actor string, r *annona.StoredRecord, loaded *annona.Loaded, touched touches) (w written, err error) {
	if r.Source == "" || r.Key == "" {
		return w, annona.Invalid("record_without_key", "a record names its source and has a key there")
	}
	tb, err := t.table(r.Dataset)
	if err != nil {
		return w, err
	}
	old, err := t.find(tb, r)
	if err != nil {
		return w, err
	}
	if old.same {
		loaded.Unchanged++
		return w, nil
	}
	memberships, err := t.wantedMemberships(r)
	if err != nil {
		return w, err
	}
	l := lineOf(memberships, annona.DateOf(t.now))
	if old.number == 0 {
		loaded.Created++
		old, err = t.create(tb, r, l, actor)
		w = written{record: r, number: old.number, created: true}
	} else {
		loaded.Changed++
		w = written{record: r, number: old.number}
		err = t.change(tb, r, old, l, actor, touched)
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

func (t *tx) find(tb *table, r *annona.StoredRecord) (old stored, err error) {
	_, err = t.conn.one(tb.find, func(s *sqlite.Stmt) {
		old.number, old.uid, old.version = annona.Number(s.ColumnInt64(0)), columnUID(s, 1), s.ColumnInt64(3)
		var digest [16]byte
		s.ColumnBytes(2, digest[:])
		old.same = bytes.Equal(digest[:], r.Digest[:])
	}, r.Source, r.Key)
	return old, err
}

// create writes a new record under the next number.
func (t *tx) create(tb *table, r *annona.StoredRecord, l line, actor string) (stored, error) {
	number, err := t.next(tb.dataset)
	if err != nil {
		return stored{}, err
	}
	made := stored{number: annona.Number(number), uid: annona.NewUID(), version: 1}
	stmt, err := t.conn.prepare(tb.insert)
	if err != nil {
		return made, err
	}
	now := annona.Instant(t.now)
	if err := tb.bindRecord(stmt, r, 1, l, now); err != nil {
		return made, err
	}
	for i, a := range []any{made.number, made.uid, r.Source, r.Key, now} {
		bind(stmt, tb.params+1+i, a)
	}
	if err := run(stmt); err != nil {
		return made, err
	}
	return made, t.event(annona.Event{Actor: actor, Dataset: tb.dataset, Record: made.number, Version: 1, Kind: annona.EventCreated})
}

// change writes the next version of a record; its event keeps what it was before.
func (t *tx) change(tb *table, r *annona.StoredRecord, old stored, l line, actor string, touched touches) error {
	before, err := t.before(tb, old.number)
	if err != nil {
		return err
	}
	if tb.dataset == "households" {
		if err := t.householdChanges(tb, r, old.number, touched); err != nil {
			return err
		}
	}
	stmt, err := t.conn.prepare(tb.update)
	if err != nil {
		return err
	}
	if err := tb.bindRecord(stmt, r, old.version+1, l, annona.Instant(t.now)); err != nil {
		return err
	}
	bind(stmt, tb.params+1, old.number)
	if err := run(stmt); err != nil {
		return err
	}
	return t.event(annona.Event{
		Actor: actor, Dataset: tb.dataset, Record: old.number, Version: int(old.version) + 1, Kind: annona.EventChanged, Before: before,
	})
}

func (t *tx) before(tb *table, number annona.Number) (before []byte, err error) {
	_, err = t.conn.one("SELECT clear, sealed, key_material FROM "+tb.dataset+" WHERE number = ?", func(s *sqlite.Stmt) {
		before = beforeImage(columnBytes(s, 0), columnBytes(s, 1), columnBytes(s, 2))
	}, number)
	return before, err
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
