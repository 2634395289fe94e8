package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

const selectIndex = "SELECT kind, kept, version, whole, dataset, after, started_at FROM indexes"

// IndexStates returns the state of each index. See annona.Indexes.
func (s *Store) IndexStates(ctx context.Context) (states map[annona.IndexKind]annona.IndexState, moves int64, err error) {
	err = s.readers.ask(ctx, "read the state of the indexes", func(c *conn) error {
		if moves, err = c.counter("indexes"); err != nil { // first: a count that is too old makes somebody look again
			return err
		}
		states = map[annona.IndexKind]annona.IndexState{}
		return c.each(selectIndex, func(r row) error {
			state := indexState(r)
			states[state.Kind] = state
			return nil
		})
	})
	return states, moves, err
}

func indexState(r row) annona.IndexState {
	return annona.IndexState{
		Kind: annona.IndexKind(r.text(0)), On: r.truth(1), Version: int(r.integer(2)), Whole: r.truth(3),
		Dataset: r.text(4), After: r.number(5), StartedAt: r.time(6),
	}
}

// HoldIndex returns the state of an index and locks it. See annona.IndexTx.
func (t *tx) HoldIndex(ctx context.Context, kind annona.IndexKind) (state annona.IndexState, err error) {
	if err := ctx.Err(); err != nil {
		return state, err
	}
	found, err := t.conn.one(selectIndex+" WHERE kind = $1 FOR NO KEY UPDATE", func(r row) { state = indexState(r) }, string(kind))
	if err == nil && !found {
		err = errNotFound
	}
	if err != nil {
		return state, t.fault("read the state of an index", err)
	}
	return state, nil
}

// PutIndex writes the state of an index. When it is switched or gets another key, those who rely on
// the former state are waited for.
func (t *tx) PutIndex(ctx context.Context, state annona.IndexState) error {
	former, err := t.HoldIndex(ctx, state.Kind)
	if err != nil {
		return err
	}
	if !state.Kept(former) {
		if err := t.moveIndexes(); err != nil {
			return t.fault("write the state of an index", err)
		}
	}
	err = t.conn.exec("UPDATE indexes SET kept = $1, version = $2, whole = $3, dataset = $4, after = $5, started_at = $6 WHERE kind = $7",
		state.On, state.Version, state.Whole, state.Dataset, state.After, state.StartedAt, string(state.Kind))
	if err != nil {
		return t.fault("write the state of an index", err)
	}
	return nil
}

func (t *tx) moveIndexes() error {
	if err := t.conn.exec("SELECT pg_advisory_xact_lock($1)", int64(indexesLock)); err != nil {
		return err
	}
	t.follows = false // its own moves it need not expect
	return t.conn.exec("UPDATE counters SET value = value + 1 WHERE name = 'indexes'")
}

// FollowIndexes has the count of moves compared at the end of the transaction, if records are
// written, under a lock that whoever switches an index waits for. So it costs no round trip.
func (t *tx) FollowIndexes(ctx context.Context, moves int64, names bool) error {
	t.follows, t.moved, t.names = true, moves, names
	return ctx.Err()
}

// queueIndexes has it compared.
func (t *tx) queueIndexes() {
	if t.follows && t.hashed {
		t.later.Queue("SELECT expect_indexes($1, $2)", int64(indexesLock), t.moved)
	}
}

// RecordsBehind returns the numbers of records. See annona.IndexTx.
func (t *tx) RecordsBehind(ctx context.Context, dataset *annona.Dataset, after annona.Number, limit int) (numbers []annona.Number, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tb, err := tableOf(dataset.Name)
	if err != nil {
		return nil, err
	}
	err = t.conn.each("SELECT number FROM "+tb.dataset+" WHERE number > $1 ORDER BY number LIMIT $2", func(r row) error {
		numbers = append(numbers, r.number(0))
		return nil
	}, after, limit)
	if err != nil {
		return nil, t.fault("find records", err)
	}
	return numbers, nil
}

// PutIdentifiers replaces the blind indexes of a record, which Hold has locked, at the end of the
// transaction.
func (t *tx) PutIdentifiers(ctx context.Context, dataset *annona.Dataset, number annona.Number, identifiers []annona.IdentifierIndex) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tb, err := tableOf(dataset.Name)
	if err != nil {
		return err
	}
	list, err := annona.PackIdentifiers(nil, identifiers)
	if err != nil {
		return err
	}
	had, err := t.identifiersOf(tb, number)
	if err != nil {
		return t.fault("read the identifiers of a record", err)
	}
	t.hashed = true
	t.later.Queue("UPDATE "+tb.dataset+" SET identifiers = $1 WHERE number = $2", value(list), int64(number))
	var gone, added entries
	added.replace(&gone, number, identifierPlaces(tb.noun, had), identifierPlaces(tb.noun, identifiers))
	t.queueGone(&gone)
	if len(added.places) > 0 {
		t.later.Queue("INSERT INTO identifier_index (place, number) SELECT * FROM unnest($1::bigint[], $2::bigint[])", added.places, added.numbers)
	}
	if f := t.found[subject{tb.dataset, number}]; f != nil {
		f.identifiers = identifiers
	}
	return nil
}
