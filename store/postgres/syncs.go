package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

const keepingSync = "keep the state of a source"

// clockNow is the server's clock, which all nodes share.
const clockNow = "(extract(epoch FROM clock_timestamp()) * 1e9)::bigint"

// HoldSync lends a source to a holder and returns what is kept of it.
func (s *Store) HoldSync(ctx context.Context, source string, holder annona.UID, lease time.Duration) (annona.SyncState, error) {
	state := annona.SyncState{Source: source, Holder: holder}
	err := s.update(ctx, keepingSync, func(t *tx) error {
		held, err := t.conn.one(`INSERT INTO syncs (source, holder, held_until) VALUES ($1, $2, `+clockNow+` + $3)
			ON CONFLICT (source) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
			WHERE syncs.holder IS NULL OR syncs.holder = excluded.holder OR syncs.held_until <= `+clockNow+`
			RETURNING held_until, body`, func(r row) { state.HeldUntil, state.Body = r.time(0), r.bytes(1) }, source, holder, int64(lease))
		if err == nil && !held {
			return annona.ErrSyncHeld
		}
		return err
	})
	return state, err
}

// PutSync keeps the body of a source that the holder has.
func (s *Store) PutSync(ctx context.Context, source string, holder annona.UID, body []byte) error {
	return s.update(ctx, keepingSync, func(t *tx) error {
		n, err := t.conn.changes("UPDATE syncs SET body = $1 WHERE source = $2 AND holder = $3", string(body), source, holder)
		if err == nil && n == 0 {
			return annona.ErrSyncLost
		}
		return err
	})
}

// FreeSync gives a source back.
func (s *Store) FreeSync(ctx context.Context, source string, holder annona.UID) error {
	return s.update(ctx, keepingSync, func(t *tx) error {
		return t.conn.exec("UPDATE syncs SET holder = NULL, held_until = NULL WHERE source = $1 AND holder = $2", source, holder)
	})
}

// Syncs returns what is kept of all sources.
func (s *Store) Syncs(ctx context.Context) (states []annona.SyncState, err error) {
	err = s.readers.ask(ctx, "read the state of sources", func(c *conn) error {
		states = nil
		return c.each("SELECT source, holder, held_until, body FROM syncs ORDER BY source", func(r row) error {
			states = append(states, annona.SyncState{Source: r.text(0), Holder: r.uid(1), HeldUntil: r.time(2), Body: r.bytes(3)})
			return nil
		})
	})
	return states, err
}
