package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// indexMoves is the counter of the times that an index was switched or got another key.
const indexMoves = "indexes"

const selectIndex = "SELECT kind, kept, version, whole, dataset, after, started_at FROM indexes"

// IndexStates returns the state of each index. See annona.Indexes.
func (s *Store) IndexStates(ctx context.Context) (states map[annona.IndexKind]annona.IndexState, moves int64, err error) {
	err = s.readers.read(ctx, "read the state of the indexes", func(c *conn) error {
		if moves, err = c.counter(indexMoves); err != nil {
			return err
		}
		states = map[annona.IndexKind]annona.IndexState{}
		return c.each(selectIndex, func(r *sqlite.Stmt) error {
			state := indexState(r)
			states[state.Kind] = state
			return nil
		})
	})
	return states, moves, err
}

func indexState(r *sqlite.Stmt) annona.IndexState {
	return annona.IndexState{
		Kind: annona.IndexKind(r.ColumnText(0)), On: r.ColumnBool(1), Version: r.ColumnInt(2), Whole: r.ColumnBool(3),
		Dataset: r.ColumnText(4), After: annona.Number(r.ColumnInt64(5)), StartedAt: columnTime(r, 6),
	}
}

// HoldIndex returns the state of an index. Nobody else writes while the transaction lasts.
func (t *tx) HoldIndex(ctx context.Context, kind annona.IndexKind) (state annona.IndexState, err error) {
	if err := ctx.Err(); err != nil {
		return state, err
	}
	found, err := t.conn.one(selectIndex+" WHERE kind = ?", func(r *sqlite.Stmt) { state = indexState(r) }, string(kind))
	if err == nil && !found {
		err = errNotFound
	}
	return state, fault("read the state of an index", err)
}

// PutIndex writes the state of an index. See annona.IndexTx.
func (t *tx) PutIndex(ctx context.Context, state annona.IndexState) error {
	former, err := t.HoldIndex(ctx, state.Kind)
	if err != nil {
		return err
	}
	err = t.conn.exec("UPDATE indexes SET kept = ?, version = ?, whole = ?, dataset = ?, after = ?, started_at = ? WHERE kind = ?",
		state.On, state.Version, state.Whole, state.Dataset, state.After, state.StartedAt, string(state.Kind))
	if err == nil && !state.Kept(former) {
		_, err = t.next(indexMoves)
	}
	return fault("write the state of an index", err)
}

// FollowIndexes refuses indexes that have moved. See annona.IndexTx.
func (t *tx) FollowIndexes(ctx context.Context, moves int64, names bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now, err := t.conn.counter(indexMoves)
	if err == nil && now != moves {
		return annona.ErrIndexesMoved
	}
	t.names = names
	return fault("read the state of the indexes", err)
}

// RecordsBehind returns the numbers of records. See annona.IndexTx.
func (t *tx) RecordsBehind(ctx context.Context, dataset *annona.Dataset, after annona.Number, limit int) (numbers []annona.Number, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tb, err := t.table(dataset)
	if err != nil {
		return nil, fault("find records", err)
	}
	err = t.conn.each("SELECT number FROM "+tb.dataset+" WHERE number > ? ORDER BY number LIMIT ?", func(r *sqlite.Stmt) error {
		numbers = append(numbers, annona.Number(r.ColumnInt64(0)))
		return nil
	}, after, limit)
	return numbers, fault("find records", err)
}

// PutIdentifiers replaces the blind indexes of a record. See annona.IndexTx.
func (t *tx) PutIdentifiers(ctx context.Context, dataset *annona.Dataset, number annona.Number, identifiers []annona.IdentifierIndex) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tb, err := t.table(dataset)
	if err == nil {
		err = t.rewriteIdentifiers(tb, number, identifiers)
	}
	return fault("write the index of identifiers", err)
}
