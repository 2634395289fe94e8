package sqlite

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annona-exchange/annona"
)

const (
	busyPatience = 10 * time.Second       // how long another process may keep us from writing
	busyPause    = 700 * time.Microsecond // between two attempts: shorter than courtesy
	courtesy     = 2 * time.Millisecond   // left free after a long change, so that others get their turn: where they cannot say that they wait
	mostCourtesy = 50 * time.Millisecond  // left to those who wait, where they can
	longChange   = 10 * time.Millisecond
	company      = 20 * time.Second       // how long whoever reads people, or another process, is expected to write again
	encounter    = 500 * time.Millisecond // the same for a change of this process: a load itself makes some beside its batches
	wipePatience = 500 * time.Millisecond // how long readers may keep an erasure from emptying the log
	wipePause    = 5 * time.Millisecond
)

// writer owns the one connection of this process that writes. Whoever holds the baton uses
// it. Entries of the ledger that wait are written first, all in one commit.
type writer struct {
	baton chan struct{}
	conn  *conn
	clock annona.Clock
	tree  tree
	moved pulse     // of the log
	ended time.Time // the last long change

	version int64        // of the file, as the last transaction has left it
	log     int          // pages that the write-ahead log may have before it is copied; 0: not set yet
	others  atomic.Int64 // until when somebody else is expected to write, in nanoseconds since 1970

	mu     sync.Mutex
	queue  []*appending
	closed bool
}

// appending is one call of Append, or something as small, that waits for its commit.
type appending struct {
	rows []annona.LedgerRow
	// write writes something else in that commit. What it refuses is its own affair, and must leave
	// nothing behind; what fails takes all others of the commit with it. nil: nothing.
	write     func(*tx) (refused, failed error)
	done      bool
	err       error
	committed chan struct{} // closed when done
}

func newWriter(c *conn, clock annona.Clock) *writer {
	c.SetBusyTimeout(0) // taking turns is done here, see begin
	return &writer{baton: make(chan struct{}, 1), conn: c, clock: clock}
}

func (w *writer) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.baton <- struct{}{}:
	default:
		w.expect(encounter)
		select {
		case w.baton <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if w.closed {
		w.release()
		return errClosed()
	}
	return nil
}

func (w *writer) release() { <-w.baton }

// expect notes that somebody else has written, or waits to, and will again.
func (w *writer) expect(again time.Duration) {
	until := time.Now().Add(again).UnixNano()
	for had := w.others.Load(); had < until && !w.others.CompareAndSwap(had, until); had = w.others.Load() {
	}
}

// Alone reports whether nobody else is expected to write: no request of this process that waited a
// moment ago, nobody who reads people, and no other process.
func (s *Store) Alone() bool { return s.writer.isAlone() }

func (w *writer) isAlone() bool { return time.Now().UnixNano() > w.others.Load() }

func (w *writer) close() error {
	w.baton <- struct{}{}
	defer w.release()
	if w.closed {
		return nil
	}
	w.closed = true
	return w.conn.Close()
}

func errClosed() error {
	return annona.Unavailable("store_closed", "the registry is being closed; try again")
}

// Update runs fn in one transaction. On error, cancellation or panic nothing of it is kept;
// an error of fn comes back as it is.
func (s *Store) Update(ctx context.Context, fn func(annona.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := s.attempt(ctx, fn)
		if !errors.Is(err, annona.ErrAreasMoved) && !errors.Is(err, annona.ErrIndexesMoved) || attempt == areaPatience {
			return err
		}
	}
}

// Share does an errand. See annona.Writer.
func (s *Store) Share(ctx context.Context, e annona.Errand) error {
	if e.Find == nil {
		return s.Update(ctx, func(own annona.Tx) error { return e.ByItself(ctx, own) })
	}
	if err := checkMatterQuestions(e.Find); err != nil {
		return err
	}
	return s.Update(ctx, func(own annona.Tx) error {
		e.Find.Page.Reset()
		if err := own.(*tx).conn.readMatters(e.Find); err != nil {
			return fault("look up what is asked for", err)
		}
		return e.ByItself(ctx, own)
	})
}

// areaPatience is how often a transaction runs that relies on areas which have moved.
const areaPatience = 3

func (s *Store) attempt(ctx context.Context, fn func(annona.Tx) error) error {
	var failed error
	err := s.writer.update(ctx, "write to the registry", func(t *tx) error {
		failed = fn(t)
		return failed
	})
	if failed != nil {
		return failed
	}
	return err
}

func (w *writer) update(ctx context.Context, doing string, fn func(*tx) error) error {
	if err := w.acquire(ctx); err != nil {
		return err
	}
	defer w.release()
	w.flush()
	w.giveWay()
	if err := w.limitLog(w.logOfChange()); err != nil {
		return fault(doing, err)
	}
	began := time.Now()
	erased := false
	err := w.transaction(ctx, func(t *tx) error {
		if err := t.refreshLines(); err != nil {
			return err
		}
		if err := fn(t); err != nil {
			return err
		}
		erased = t.erased
		return t.finish()
	})
	if err == nil && erased {
		w.wipe()
	}
	if now := time.Now(); now.Sub(began) > longChange {
		w.ended = now
	}
	return fault(doing, err)
}

// giveWay lets others have their turn behind a long change.
func (w *writer) giveWay() {
	if !tellsTurns {
		time.Sleep(time.Until(w.ended.Add(courtesy)))
		return
	}
	for time.Since(w.ended) < mostCourtesy && w.conn.turns.waiting() {
		w.expect(company)
		time.Sleep(busyPause)
	}
}

// How many pages of 8 KiB the write-ahead log may have before a commit copies them into the file. In a long
// log, pages that many commits touch are copied once. While they are copied, whoever commits an entry
// waits for the same disk: so changes beside others copy often, and little. Entries that somebody waits
// for leave the copying to changes.
const (
	longLog  = 16_000
	shortLog = 4_000
)

// limitLog sets how long the log may be behind the commits of this process from now on.
func (w *writer) limitLog(pages int) error {
	if pages == w.log {
		return nil
	}
	if err := w.conn.exec("PRAGMA wal_autocheckpoint = " + strconv.Itoa(pages)); err != nil {
		return err
	}
	w.log = pages
	return nil
}

func (w *writer) logOfChange() int {
	if w.isAlone() {
		return longLog
	}
	return shortLog
}

// wipe empties the write-ahead log, which holds what pages were before an erasure. Whoever reads
// prevents it, so that it is tried for a while; what a long reader keeps goes with a later erasure,
// or when the last process closes the file.
func (w *writer) wipe() {
	for deadline := time.Now().Add(wipePatience); time.Now().Before(deadline); time.Sleep(wipePause) {
		if busy, err := w.conn.integer("PRAGMA wal_checkpoint(TRUNCATE)"); err == nil && busy == 0 {
			return
		}
	}
}

// Append appends entries and returns when they are committed. Calls that wait while another
// commit is being flushed share the next one.
func (s *Store) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := checkEntries(rows); err != nil || len(rows) == 0 {
		return err
	}
	return s.writer.append(ctx, &appending{rows: rows})
}

// AppendLater appends entries that wait a little for a commit that they can share.
func (s *Store) AppendLater(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := checkEntries(rows); err != nil || len(rows) == 0 {
		return err
	}
	return s.writer.appendLater(ctx, &appending{rows: rows})
}

// leisure is how long entries that nobody waits for leave it to others to begin a commit.
const leisure = 20 * time.Millisecond

func (w *writer) append(ctx context.Context, a *appending) error {
	return w.await(ctx, w.enqueue(a))
}

func (w *writer) appendLater(ctx context.Context, a *appending) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.enqueue(a)
	patience := time.NewTimer(leisure)
	defer patience.Stop()
	select {
	case <-a.committed:
		return a.err
	case <-patience.C:
		return w.await(ctx, a)
	}
}

func (w *writer) enqueue(a *appending) *appending {
	a.committed = make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, a)
	return a
}

// await returns when the entries are committed; it begins the commit when nobody else does.
func (w *writer) await(ctx context.Context, a *appending) error {
	err := ctx.Err()
	if err == nil {
		select {
		case <-a.committed:
			return a.err
		case w.baton <- struct{}{}:
			defer w.release()
			err = w.flushFor(a)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil && w.withdraw(a) {
		return err
	}
	<-a.committed // by whoever has taken it from the queue
	return a.err
}

// flushFor commits what waits unless a was committed meanwhile. The caller holds the baton.
func (w *writer) flushFor(a *appending) error {
	if w.closed {
		return errClosed()
	}
	if !a.done {
		w.flush()
	}
	return nil
}

// withdraw takes an entry that nobody has begun to write back out of the queue.
func (w *writer) withdraw(a *appending) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, waiting := range w.queue {
		if waiting == a {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			return true
		}
	}
	return false
}

// flush commits all entries that wait. They are durable together or not at all.
func (w *writer) flush() {
	w.mu.Lock()
	batch := w.queue
	w.queue = nil
	w.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	w.expect(company)
	err := error(errBusy()) // when writing panics
	defer func() {
		for _, a := range batch {
			if a.done = true; err != nil || a.err == nil {
				a.err = fault("append to the ledger", err)
			}
			close(a.committed)
		}
	}()
	if err = w.limitLog(longLog); err != nil {
		return
	}
	err = w.transaction(context.Background(), func(t *tx) error {
		for _, a := range batch {
			if err := t.appendEntries(a.rows); err != nil {
				return err
			}
			if a.write == nil {
				continue
			}
			var failed error
			if a.err, failed = a.write(t); failed != nil {
				return failed
			}
		}
		return t.finish()
	})
}

// transaction runs fn in a transaction of its own and forgets what it remembered when it fails.
func (w *writer) transaction(ctx context.Context, fn func(*tx) error) (err error) {
	kept := false
	defer func() {
		if !kept {
			w.tree.forget()
		}
	}()
	err = w.conn.transaction(ctx, func() error {
		if err := w.look(); err != nil {
			return err
		}
		return fn(newTx(ctx, w))
	})
	kept = err == nil
	if kept {
		w.moved.beat()
	}
	return err
}

// look notes whether another process has written since the last transaction.
func (w *writer) look() error {
	version, err := w.conn.integer("PRAGMA data_version")
	if err != nil {
		return err
	}
	if w.version > 0 && version != w.version {
		w.expect(company)
	}
	w.version = version
	return nil
}

// transaction runs fn between BEGIN IMMEDIATE and COMMIT. It rolls back when fn fails or
// panics, or when ctx ends before the commit.
func (c *conn) transaction(ctx context.Context, fn func() error) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	committed := false
	defer func() {
		if !committed && !c.AutocommitEnabled() {
			c.exec("ROLLBACK")
		}
	}()
	if err := fn(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := c.exec("COMMIT")
	committed = err == nil
	return err
}

// begin waits for its turn among the processes that have the folder open.
func (c *conn) begin(ctx context.Context) error {
	deadline := time.Now().Add(busyPatience)
	waits := false
	for {
		err := c.exec("BEGIN IMMEDIATE")
		if err == nil || !isBusy(err) {
			return err
		}
		if !waits && c.turns.wait() {
			waits = true
			defer c.turns.over()
		}
		if time.Now().After(deadline) {
			return errBusy()
		}
		select {
		case <-time.After(busyPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
