package sqlite

import (
	"context"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// lookAgain is how often a reader who waits looks at the log by itself: another process may have
// written to it.
const lookAgain = 200 * time.Millisecond

// pruneBatch is how many events one transaction removes.
const pruneBatch = 2000

// LogState returns how far the log goes.
func (s *Store) LogState(ctx context.Context) (state annona.LogState, err error) {
	err = s.readers.read(ctx, "read the state of the log", func(c *conn) error {
		_, err := c.one(`SELECT (SELECT epoch FROM log_epoch), (SELECT coalesce(max(seq), 0) FROM events), (SELECT coalesce(min(seq), 1) - 1 FROM events),
			(SELECT value FROM counters WHERE name = 'areas')`, func(s *sqlite.Stmt) {
			state = annona.LogState{Epoch: columnUID(s, 0), Head: s.ColumnInt64(1), Oldest: s.ColumnInt64(2), Areas: s.ColumnInt64(3)}
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
		moved := s.writer.moved.next()
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

// pulse tells everybody who waits that something has happened.
type pulse struct {
	mu      sync.Mutex
	waiting chan struct{}
}

// next returns a channel that the next beat closes.
func (p *pulse) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = make(chan struct{})
	}
	return p.waiting
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting != nil {
		close(p.waiting)
		p.waiting = nil
	}
}

// PruneLog removes the beginning of the log. See annona.Log.
func (s *Store) PruneLog(ctx context.Context, before time.Time) (removed int64, err error) {
	const doing = "prune the log"
	for {
		var some int64
		err := s.writer.update(ctx, doing, func(t *tx) (err error) {
			some, err = t.pruneEvents(before)
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
	return removed, s.writer.update(ctx, doing, func(t *tx) error { return t.pruneViews(before) })
}

// pruneEvents removes the oldest events, no more than a batch of them and never the last.
func (t *tx) pruneEvents(before time.Time) (int64, error) {
	err := t.conn.exec(`DELETE FROM events WHERE seq < (SELECT min(seq) FROM (
		SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT ?) WHERE at >= ?
		UNION ALL SELECT min(seq) + ? FROM events UNION ALL SELECT max(seq) FROM events))`, pruneBatch, before, pruneBatch)
	return int64(t.conn.Changes()), err
}

// pruneViews forgets what no position that can be continued needs: all but the latest view of a
// record among those from before the log begins, where events of loads stood that are gone, and followers
// who have not come for so long.
func (t *tx) pruneViews(before time.Time) error {
	oldest, err := t.conn.integer("SELECT coalesce(min(seq), 1) - 1 FROM events")
	if err != nil {
		return err
	}
	for _, sql := range []string{
		`DELETE FROM follower_views WHERE seq < ?1 AND EXISTS (SELECT 1 FROM follower_views later WHERE later.follower = follower_views.follower
			AND later.number = follower_views.number AND later.generation > follower_views.generation AND later.seq < ?1)`,
		"DELETE FROM departed WHERE seq < ?1",
		"DELETE FROM load_runs WHERE last <= ?1",
	} {
		if err := t.conn.exec(sql, oldest); err != nil {
			return err
		}
	}
	return t.forgetFollowers("used_at < ?", before)
}

func (t *tx) forgetFollowers(which string, args ...any) error {
	for _, sql := range []string{
		"DELETE FROM follower_views WHERE follower IN (SELECT key FROM followers WHERE " + which + ")",
		"DELETE FROM follower_ranges WHERE follower IN (SELECT key FROM followers WHERE " + which + ")",
		"DELETE FROM followers WHERE " + which,
	} {
		if err := t.conn.exec(sql, args...); err != nil {
			return err
		}
	}
	return nil
}

// RenewLog gives the log another epoch.
func (s *Store) RenewLog(ctx context.Context) error {
	return s.writer.update(ctx, "renew the log", (*tx).renewLog)
}

func (t *tx) renewLog() error {
	if err := t.conn.exec("UPDATE log_epoch SET epoch = ?", annona.NewUID()); err != nil {
		return err
	}
	return t.forgetFollowers("TRUE")
}
