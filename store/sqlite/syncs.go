package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const keepingSync = "keep the state of a source"

// HoldSync lends a source to a holder and returns what is kept of it.
func (s *Store) HoldSync(ctx context.Context, source string, holder annona.UID, lease time.Duration) (annona.SyncState, error) {
	state := annona.SyncState{Source: source, Holder: holder}
	err := s.writer.update(ctx, keepingSync, func(t *tx) error {
		state.HeldUntil = t.now.Add(lease)
		held, err := t.conn.one(`INSERT INTO syncs (source, holder, held_until) VALUES (?1, ?2, ?3)
			ON CONFLICT (source) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
			WHERE syncs.holder IS NULL OR syncs.holder = excluded.holder OR syncs.held_until <= ?4
			RETURNING body`, func(stmt *sqlite.Stmt) { state.Body = columnBytes(stmt, 0) }, source, holder, state.HeldUntil, t.now)
		if err == nil && !held {
			return annona.ErrSyncHeld
		}
		return err
	})
	return state, err
}

// PutSync keeps the body of a source that the holder has.
func (s *Store) PutSync(ctx context.Context, source string, holder annona.UID, body []byte) error {
	return s.writer.update(ctx, keepingSync, func(t *tx) error {
		err := t.conn.exec("UPDATE syncs SET body = ? WHERE source = ? AND holder = ?", string(body), source, holder)
		if err == nil && t.conn.Changes() == 0 {
			return annona.ErrSyncLost
		}
		return err
	})
}

// FreeSync gives a source back.
func (s *Store) FreeSync(ctx context.Context, source string, holder annona.UID) error {
	return s.writer.update(ctx, keepingSync, func(t *tx) error {
		return t.conn.exec("UPDATE syncs SET holder = NULL, held_until = NULL WHERE source = ? AND holder = ?", source, holder)
	})
}

// Syncs returns what is kept of all sources.
func (s *Store) Syncs(ctx context.Context) (states []annona.SyncState, err error) {
	err = s.readers.read(ctx, "read the state of sources", func(c *conn) error {
		states = nil
		return c.each("SELECT source, holder, held_until, body FROM syncs ORDER BY source", func(stmt *sqlite.Stmt) error {
			states = append(states, annona.SyncState{Source: stmt.ColumnText(0), Holder: columnUID(stmt, 1), HeldUntil: columnTime(stmt, 2), Body: columnBytes(stmt, 3)})
			return nil
		})
	})
	return states, err
}
