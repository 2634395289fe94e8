package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/transparency-dev/merkle/compact"

	"github.com/annona-exchange/annona"
)

// The advisory locks of a registry. They belong to its database alone.
const (
	schemaLock    = 0x414e4e01
	sequencerLock = 0x414e4e02
	agreementLock = 0x414e4e03 // with the hash of a name
	signerLock    = 0x414e4e04
	areasLock     = 0x414e4e0a
	indexesLock   = 0x414e4e0b
)

const (
	shortWait   = 12 * time.Millisecond  // between batches, unless somebody waits for one: what is committed meanwhile shares the next
	longWait    = 20 * time.Millisecond  // of one who has none
	leafWait    = 100 * time.Millisecond // for leaves of entries that come alone, unless somebody waits: nobody follows the ledger
	leadWait    = 250 * time.Millisecond // between attempts to become the leader
	batchTime   = 60 * time.Second       // for one batch; then the connection counts as dead
	drainTime   = 2 * time.Second        // for a batch of what is left when the store is closed
	manyQueued  = 10_000                 // events or entries of one batch
	settleLimit = 60 * time.Second
)

// Channel is where the sequencer notifies of each batch that it has put into the log.
const Channel = "annona_log"

// sequencer gives committed changes and entries their places. A database hands out numbers
// before commits, so whoever reads by such a number can miss one that commits late. Here
// writers only queue; the one sequencer that holds the lock numbers what it sees committed,
// and readers see only what is numbered. Nobody waits for anybody.
type sequencer struct {
	config *pgxpool.Config
	wake   chan struct{} // a change was committed here
	hurry  chan struct{} // somebody waits for the place of a change or an entry
	cancel context.CancelFunc
	done   chan struct{}
}

func startSequencer(config *pgxpool.Config) *sequencer {
	ctx, cancel := context.WithCancel(context.Background())
	q := &sequencer{config: config, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go q.run(ctx)
	return q
}

func (q *sequencer) stop() {
	q.cancel()
	<-q.done
}

// poke tells the sequencer of this process that there is work.
func (q *sequencer) poke() { signal(q.wake) }

// press tells it that somebody waits.
func (q *sequencer) press() { signal(q.hurry) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run leads whenever it can, on a connection of its own that is replaced when it dies. A
// failure is no reason to stop: the queues keep everything, and Settle tells who waits.
func (q *sequencer) run(ctx context.Context) {
	defer close(q.done)
	for ctx.Err() == nil {
		_ = q.live(ctx)
		sleep(ctx, leadWait)
	}
}

// live is the life of one connection.
func (q *sequencer) live(ctx context.Context) error {
	c, err := dial(ctx, q.config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx) // ends the session and with it the lock
	}()
	l := newLeader(c)
	for {
		leads, err := l.elect(ctx)
		if err != nil {
			return err
		}
		if leads {
			return q.lead(ctx, l)
		}
		if !sleep(ctx, leadWait) {
			return ctx.Err()
		}
	}
}

// lead moves what is queued until the connection dies or the store is closed.
func (q *sequencer) lead(ctx context.Context, l *leader) error {
	wait, next := shortWait, look
	for ctx.Err() == nil {
		moved, err := l.batch(batchTime, next)
		if err != nil {
			return err
		}
		if moved >= manyQueued {
			next = changed // the queue has more
			continue
		}
		if moved == 0 {
			wait = min(2*wait, longWait)
		} else if wait = shortWait; q.rest(ctx) {
			next = lookAtAll
			continue
		}
		next = q.await(ctx, wait)
	}
	return l.drain()
}

// calling is why a leader begins a batch.
type calling int

const (
	look      calling = iota // there may be changes, and entries that have waited long enough
	lookAtAll                // somebody waits for a change or an entry
	changed                  // there is something: it need not be looked for
)

// rest lets work gather behind a batch, until somebody waits, which it reports.
func (q *sequencer) rest(ctx context.Context) (pressed bool) {
	select {
	case <-q.hurry:
		return true
	case <-time.After(shortWait):
	case <-ctx.Done():
	}
	return false
}

// await waits for work of this process, or until it is time to look for that of others.
func (q *sequencer) await(ctx context.Context, wait time.Duration) calling {
	select {
	case <-q.wake:
		return changed
	case <-q.hurry:
		return lookAtAll
	case <-time.After(wait):
	case <-ctx.Done():
	}
	return look
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// leader is a session that holds the lock of the sequencer.
type leader struct {
	session *pgx.Conn
	edge    *compact.Range // right edge of the ledger's tree; nil: to be read
	events  floor
	entries floor
	looked  time.Time // at the floors
	leaves  time.Time // when entries last got theirs
}

func newLeader(session *pgx.Conn) *leader {
	return &leader{session: session, events: floor{table: "annona.events"}, entries: floor{table: "annona.ledger"}}
}

// lookAtFloors is done now and then.
func (l *leader) lookAtFloors(c *conn) error {
	if time.Since(l.looked) < floorLook {
		return nil
	}
	l.looked = time.Now()
	if err := l.events.look(c); err != nil {
		return err
	}
	return l.entries.look(c)
}

func (l *leader) elect(ctx context.Context) (leads bool, err error) {
	err = l.session.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(sequencerLock)).Scan(&leads)
	return leads, err
}

// drain moves what is left when the store is closed.
func (l *leader) drain() error {
	for {
		if moved, err := l.batch(drainTime, lookAtAll); err != nil || moved < manyQueued {
			return err
		}
	}
}

// batch moves what is committed out of the queues, in one transaction, and returns how much.
func (l *leader) batch(limit time.Duration, why calling) (count int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit) // a batch is finished also when the store is being closed
	defer cancel()
	c := &conn{ctx: ctx, db: l.session}
	if err := l.lookAtFloors(c); err != nil {
		return 0, err
	}
	if why != changed {
		entriesToo := why == lookAtAll || time.Since(l.leaves) >= leafWait
		waiting, err := l.isWaiting(c, entriesToo)
		if err != nil {
			return 0, err
		}
		if !waiting {
			l.tookNone(entriesToo)
			return 0, nil
		}
	}
	kept := false
	defer func() {
		if !kept {
			l.edge = nil
		}
	}()
	defer abandon(l.session)
	var events, entries moved
	if err := c.askAll(beginning, events.events(l.events.at), entries.entries(l.entries.at)); err != nil {
		return 0, err
	}
	last, err := l.grow(c, &entries)
	if err != nil {
		return 0, err
	}
	if events.count+entries.count > 0 {
		last.Queue("SELECT pg_notify($1::text, '')", Channel)
	}
	if err := commitBehind(ctx, l.session, last); err != nil {
		return 0, err
	}
	kept, l.leaves = true, time.Now()
	l.events.took(events.count, events.last)
	l.entries.took(entries.count, entries.last)
	return max(events.count, entries.count), nil
}

// tookNone notes that no change is queued, nor an entry where those were looked for.
func (l *leader) tookNone(entriesToo bool) {
	l.events.took(0, 0)
	if entriesToo {
		l.entries.took(0, 0)
	}
}

// isWaiting reports whether a change is queued, or an entry where those count.
func (l *leader) isWaiting(c *conn, entries bool) (waiting bool, err error) {
	_, err = c.one("SELECT EXISTS (SELECT FROM event_queue WHERE event > $1) OR $3 AND EXISTS (SELECT FROM ledger_queue WHERE entry > $2)",
		func(r row) { waiting = r.truth(0) }, l.events.at, l.entries.at, entries)
	return waiting, err
}

// moved is what was taken out of a queue.
type moved struct {
	count   int
	last    int64
	numbers []int64 // of entries
	hashes  [][]byte
}

// events gives queued events their numbers in the log, gapless: about as many as a batch has, whole runs of them. Among the events of one record their
// order is the order of their changes: each was queued under the record's lock.
func (m *moved) events(floor int64) question {
	const sql = `WITH queued AS (
			SELECT event, sum((last - event + 1)::int) OVER (ORDER BY event) - (last - event + 1) AS before FROM event_queue WHERE event > $2 ORDER BY event LIMIT $1),
		moved AS (DELETE FROM event_queue WHERE event = ANY (ARRAY (SELECT event FROM queued WHERE before < $1)) RETURNING event, last),
		placed AS (INSERT INTO log (seq, event)
			SELECT (SELECT coalesce(max(seq), 0) FROM log) + row_number() OVER (ORDER BY n), n FROM moved, generate_series(event, last) n)
		SELECT coalesce(sum(last - event + 1), 0)::bigint, coalesce(max(last), 0) FROM moved`
	return question{sql, []any{int64(manyQueued), floor}, func(r row) error {
		m.count, m.last = int(r.integer(0)), r.integer(1)
		return nil
	}}
}

// entries takes queued entries, which have no leaves yet.
func (m *moved) entries(floor int64) question {
	const sql = `WITH moved AS (
			DELETE FROM ledger_queue WHERE entry = ANY (ARRAY (SELECT entry FROM ledger_queue WHERE entry > $2 ORDER BY entry LIMIT $1)) RETURNING entry)
		SELECT e.entry, e.hash FROM moved m JOIN ledger e ON e.entry = m.entry ORDER BY e.entry`
	return question{sql, []any{int64(manyQueued), floor}, func(r row) error {
		m.count, m.last = m.count+1, r.integer(0)
		m.numbers, m.hashes = append(m.numbers, m.last), append(m.hashes, r.bytes(1))
		return nil
	}}
}

// grow gives entries their leaves and makes the tree grow, by statements that it leaves to the end.
func (l *leader) grow(c *conn, entries *moved) (*pgx.Batch, error) {
	last := &pgx.Batch{}
	if entries.count == 0 {
		return last, nil
	}
	if err := l.readEdge(c); err != nil {
		return nil, err
	}
	first := int64(l.edge.End())
	var places []int64
	var kept [][]byte
	keep := func(id compact.NodeID, hash []byte) {
		places, kept = append(places, treeNode(id).Place()), append(kept, hash)
	}
	for _, hash := range entries.hashes {
		if err := l.edge.Append(hash, keep); err != nil {
			return nil, err
		}
	}
	last.Queue(`WITH leaves AS (INSERT INTO ledger_leaves (idx, entry) SELECT $1 + position - 1, entry FROM unnest($2::bigint[]) WITH ORDINALITY e (entry, position))
		INSERT INTO ledger_nodes (place, hash) SELECT * FROM unnest($3::bigint[], $4::bytea[])`, first, entries.numbers, places, kept)
	return last, nil
}

// readEdge reads the edge of the tree, unless it is that of the leader's own last batch: while it has
// the lock, nobody else makes the tree grow.
func (l *leader) readEdge(c *conn) error {
	if l.edge != nil {
		return nil
	}
	size, err := treeSize(c)
	if err == nil {
		l.edge, err = readEdge(c, size)
	}
	return err
}

// Settle waits until every change and entry that is committed now has its place in the log
// and in the ledger. It fails with the code store_unsettled when no node numbers them.
func (s *Store) Settle(ctx context.Context) error { return s.settle(ctx, queues{true, true}) }

// queues says for which of them somebody waits.
type queues struct{ events, entries bool }

func (s *Store) settle(ctx context.Context, of queues) error {
	limited, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	var event, entry, firstEvent, firstEntry int64
	err := s.readers.ask(limited, "look at the queues", func(c *conn) error {
		_, err := c.one(`SELECT (SELECT max(event) FROM event_queue WHERE $1), (SELECT max(entry) FROM ledger_queue WHERE $2),
			(SELECT min(event) FROM event_queue WHERE $1), (SELECT min(entry) FROM ledger_queue WHERE $2)`, func(r row) {
			event, entry, firstEvent, firstEntry = r.integer(0), r.integer(1), r.integer(2), r.integer(3)
		}, of.events, of.entries)
		return err
	})
	for wait := time.Millisecond; err == nil && (event > 0 || entry > 0); wait = min(2*wait, longWait) {
		s.sequencer.press()
		if !sleep(limited, wait) {
			err = limited.Err()
			break
		}
		err = s.readers.ask(limited, "look at the queues", func(c *conn) error {
			_, err := c.one("SELECT EXISTS (SELECT FROM event_queue WHERE event BETWEEN $3 AND $1), EXISTS (SELECT FROM ledger_queue WHERE entry BETWEEN $4 AND $2)", func(r row) {
				if !r.truth(0) && !r.truth(1) {
					event, entry = 0, 0
				}
			}, event, entry, firstEvent, firstEntry)
			return err
		})
	}
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return annona.Unavailable("store_unsettled", "nobody numbers what was written: check that a node of Annona can write to the database")
	}
	return err
}
