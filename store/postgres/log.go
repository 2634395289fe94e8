package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// lookAgain is how often a reader who waits looks at the log by itself: the connection that
// listens may be away.
const lookAgain = 500 * time.Millisecond

// pruneBatch is how many events one transaction removes.
const pruneBatch = 10_000

// LogState returns how far the log goes.
func (s *Store) LogState(ctx context.Context) (state annona.LogState, err error) {
	err = s.readers.ask(ctx, "read the state of the log", func(c *conn) error {
		_, err := c.one(`SELECT (SELECT epoch FROM log_epoch), (SELECT coalesce(max(seq), 0) FROM log), (SELECT coalesce(min(seq), 1) - 1 FROM log),
			(SELECT value FROM counters WHERE name = 'areas')`, func(r row) {
			state = annona.LogState{Epoch: r.uid(0), Head: r.integer(1), Oldest: r.integer(2), Areas: r.integer(3)}
		})
		return err
	})
	return state, err
}

// AwaitLog returns when the log goes further than seq.
func (s *Store) AwaitLog(ctx context.Context, seq int64) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		moved := s.news.next()
		state, err := s.LogState(ctx)
		if err != nil || state.Head > seq {
			return err
		}
		select {
		case <-moved:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changes runs a statement and returns how many rows it has changed.
func (c *conn) changes(sql string, args ...any) (int64, error) {
	c.statements++
	done, err := c.db.Exec(c.ctx, sql, values(args)...)
	return done.RowsAffected(), err
}

// PruneLog removes the beginning of the log. See annona.Log.
func (s *Store) PruneLog(ctx context.Context, before time.Time) (removed int64, err error) {
	const doing = "prune the log"
	for {
		var some int64
		err := s.update(ctx, doing, func(t *tx) (err error) {
			some, err = t.conn.integer("SELECT prune_events($1, $2)", before, pruneBatch)
			return err
		})
		removed += some
		if err != nil {
			return removed, err
		}
		if some < pruneBatch {
			break
		}
	}
	return removed, s.update(ctx, doing, func(t *tx) error { return t.pruneViews(before) })
}

// pruneViews forgets what no position that can be continued needs: all but the latest view of a
// record among those from before the log begins, and followers who have not come for so long.
func (t *tx) pruneViews(before time.Time) error {
	oldest, err := t.conn.integer("SELECT coalesce(min(seq), 1) - 1 FROM log")
	if err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM follower_views v WHERE seq < $1 AND EXISTS (SELECT 1 FROM follower_views later WHERE later.follower = v.follower
			AND later.number = v.number AND later.generation > v.generation AND later.seq < $1)`,
		"DELETE FROM departed WHERE seq < $1",
	} {
		if err := t.conn.exec(sql, oldest); err != nil {
			return err
		}
	}
	return t.forgetFollowers("used_at < $1", before)
}

func (t *tx) forgetFollowers(which string, args ...any) error {
	for _, sql := range []string{
		"DELETE FROM follower_views WHERE follower IN (SELECT key FROM followers WHERE " + which + ")",
		"DELETE FROM follower_ranges WHERE follower IN (SELECT key FROM followers WHERE " + which + ")",
		"DELETE FROM followers WHERE " + which,
	} {
		if _, err := t.conn.db.Exec(t.conn.ctx, sql, values(append([]any(nil), args...))...); err != nil {
			return err
		}
	}
	return nil
}

// RenewLog gives the log another epoch.
func (s *Store) RenewLog(ctx context.Context) error {
	return s.update(ctx, "renew the log", (*tx).renewLog)
}

func (t *tx) renewLog() error {
	if err := t.conn.exec("UPDATE log_epoch SET epoch = $1", annona.NewUID()); err != nil {
		return err
	}
	return t.forgetFollowers("TRUE")
}
