package postgres

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annona-exchange/annona"
)

const (
	replayWait  = 50 * time.Millisecond // for a replica to replay what a page needs; then the primary reads it
	replicaLook = time.Second           // between looks at a replica that cannot be used
	replicaTime = 5 * time.Second       // for such a look
)

// Why a page came from where it came.
const (
	FromReplica = "replica" // it had replayed all that the page needs
	Lagging     = "lagging" // it had not; the primary read the page
	Away        = "away"    // it cannot be used at all; the primary read the page
	Failed      = "failed"  // it broke off in mid-page; the primary read the page again
)

// replica reads pages from a standby of the primary. Who may see whom is part of a page's query,
// so a page of a replica counts only when the replica has replayed everything that the primary had
// committed when the page was asked for. Otherwise the primary reads it.
type replica struct {
	pool    *pool
	primary *pool
	of      identity
	ready   atomic.Bool
	pages   map[string]*atomic.Int64 // by the reason why they came from where they came
	stop    context.CancelFunc
	looking sync.WaitGroup
}

// openReplica connects to the standby of the registry that primary reads. One that does not answer
// is looked for again and again; one that is no standby of it is refused with the codes
// replica_promoted or replica_foreign.
func openReplica(ctx context.Context, url string, size int, primary *pool) (*replica, error) {
	r := &replica{primary: primary, pages: map[string]*atomic.Int64{FromReplica: {}, Lagging: {}, Away: {}, Failed: {}}}
	var err error
	if r.of, err = primary.identity(ctx); err != nil {
		return nil, err
	}
	if r.pool, err = makePool(ctx, url, replaying, size); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil && !isAway(err) {
		r.pool.close()
		return nil, err
	}
	r.watch()
	return r, nil
}

func isAway(err error) bool {
	code := annona.CodeOf(err)
	return code == "store_unreachable" || code == "store_io" || code == "store_busy" || errors.Is(err, context.DeadlineExceeded)
}

// look finds out whether the replica can be used.
func (r *replica) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replicaTime)
	defer cancel()
	found, err := r.pool.identity(ctx)
	if err == nil && found != r.of {
		err = annona.Conflict("replica_foreign", "the replica is not one of the registry's database; name a standby of it, with the same database name").On("replica")
	}
	r.ready.Store(err == nil)
	return err
}

// watch looks for a replica that could not be used, until the store is closed.
func (r *replica) watch() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.looking.Go(func() {
		for sleep(ctx, replicaLook) {
			if !r.ready.Load() {
				_ = r.look(ctx) // until then the primary reads, and counts it
			}
		}
	})
}

func (r *replica) close() {
	r.stop()
	r.looking.Wait()
	r.pool.close()
}

// reading returns how a page is read: from the replica when it can be, otherwise from the primary.
// page is empty, so that what a replica has left in it can be thrown away.
func (r *replica) reading(page *annona.Page) read {
	return func(ctx context.Context, doing string, fn func(*conn) error) error {
		why, err := r.try(ctx, doing, fn)
		if err != nil && ctx.Err() != nil {
			return err
		}
		r.pages[why].Add(1)
		if why == FromReplica {
			return nil
		}
		page.Reset()
		return r.primary.read(ctx, doing, fn)
	}
}

func (r *replica) try(ctx context.Context, doing string, fn func(*conn) error) (why string, err error) {
	if !r.ready.Load() {
		return Away, nil
	}
	var needed position
	err = r.primary.ask(ctx, doing, func(c *conn) (err error) {
		needed, err = readPosition(c)
		return err
	})
	if err != nil {
		return Away, err
	}
	err = r.pool.readBehind(ctx, doing, func(c *conn) error { return waitForReplay(c, needed) }, fn)
	switch {
	case err == nil:
		return FromReplica, nil
	case errors.Is(err, errLagging):
		return Lagging, err
	}
	r.ready.Store(false) // looked at again within a second, on new connections
	r.pool.Reset()
	return Failed, err
}

// position is a place in the changes of a database cluster. A failover begins another timeline:
// places of different timelines say nothing about each other.
type position struct{ timeline, place int64 }

// readPosition returns a place behind all that has been committed so far. A commit of Annona is on
// the disk of the primary before anybody sees it, and so is its place. What lies behind that, and
// may never leave the primary while it idles, is nothing that has been committed.
func readPosition(c *conn) (p position, err error) {
	_, err = c.one(`SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint,
		(pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint`, func(r row) {
		p = position{r.integer(0), r.integer(1)}
	})
	return p, err
}

var errLagging = annona.Unavailable("replica_lagging", "the replica has not replayed enough yet")

// waitForReplay waits shortly until a standby has replayed what is needed. It is asked before the
// snapshot of the page is taken, on the same connection: asked within the snapshot, a standby could
// have moved on and the snapshot not.
func waitForReplay(c *conn, needed position) error {
	began := time.Now()
	for wait := time.Millisecond; ; wait *= 2 {
		standby, reached := false, position{}
		_, err := c.one(`SELECT pg_is_in_recovery(), min_recovery_end_timeline::bigint, coalesce(pg_last_wal_replay_lsn() - '0/0'::pg_lsn, 0)::bigint
			FROM pg_control_recovery()`, func(r row) {
			standby, reached = r.truth(0), position{r.integer(1), r.integer(2)}
		})
		switch {
		case err != nil:
			return err
		case !standby:
			return annona.Conflict("replica_promoted", "the replica is no standby any more")
		case reached.timeline == needed.timeline && reached.place >= needed.place:
			return nil
		case reached.timeline != needed.timeline || time.Since(began)+wait > replayWait:
			return errLagging
		}
		if !sleep(c.ctx, wait) {
			return c.ctx.Err()
		}
	}
}

// ReplicaPages counts the pages since the store was opened, by where they came from and why:
// FromReplica, Lagging, Away, Failed. nil: the store has no replica.
func (s *Store) ReplicaPages() map[string]int64 {
	if s.replica == nil {
		return nil
	}
	counts := map[string]int64{}
	for why, n := range s.replica.pages {
		counts[why] = n.Load()
	}
	return counts
}

// pages returns how a page is read that is to be appended to page.
func (s *Store) pages(page *annona.Page) read {
	if s.replica == nil || page.Count > 0 {
		return s.readers.read
	}
	return s.replica.reading(page)
}

// read runs fn in one read transaction.
type read func(ctx context.Context, doing string, fn func(*conn) error) error
