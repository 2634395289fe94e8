package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/annona-exchange/annona"
)

// Append appends entries and returns when they are committed. Calls that wait while another
// commit is being flushed share the next one.
func (s *Store) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := checkEntries(rows); err != nil || len(rows) == 0 {
		return err
	}
	return s.entries.append(ctx, rows)
}

// AppendLater appends entries that wait a little for a commit that they can share.
func (s *Store) AppendLater(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := checkEntries(rows); err != nil || len(rows) == 0 {
		return err
	}
	return s.entries.appendLater(ctx, rows)
}

// leisure is how long entries that nobody waits for leave it to others to begin a commit.
const leisure = 20 * time.Millisecond

// checkEntries refuses an entry whose hash is not that of its leaf, because the tree would never
// verify, and one with a part that is not sealed.
func checkEntries(rows []annona.LedgerRow) error {
	for i := range rows {
		if !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(rows[i].Leaf), rows[i].Hash[:]) {
			return annona.Internal("append to the ledger", errors.New("the hash of an entry is not that of its leaf"))
		}
		for _, p := range rows[i].Parts {
			if len(p.Sealed) == 0 || len(p.Content) > 0 || p.Salt != [32]byte{} {
				return annona.Internal("append to the ledger", errors.New("a part of an entry is not sealed"))
			}
		}
	}
	return nil
}

// appender commits entries in groups. Whoever holds the baton commits for all who wait.
type appender struct {
	store  *Store
	baton  chan struct{}
	mu     sync.Mutex
	queue  []*appending
	closed bool
}

// appending is one call of Append that waits for its commit.
type appending struct {
	rows      []annona.LedgerRow
	done      bool
	err       error
	committed chan struct{} // closed when done
}

func newAppender(s *Store) *appender { return &appender{store: s, baton: make(chan struct{}, 1)} }

func (a *appender) append(ctx context.Context, rows []annona.LedgerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &appending{rows: rows, committed: make(chan struct{})}
	if err := a.enqueue(mine); err != nil {
		return err
	}
	return a.await(ctx, mine)
}

func (a *appender) appendLater(ctx context.Context, rows []annona.LedgerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &appending{rows: rows, committed: make(chan struct{})}
	if err := a.enqueue(mine); err != nil {
		return err
	}
	patience := time.NewTimer(leisure)
	defer patience.Stop()
	select {
	case <-mine.committed:
		return mine.err
	case <-patience.C:
		return a.await(ctx, mine)
	}
}

// await returns when the entries are committed; it begins the commit when nobody else does.
func (a *appender) await(ctx context.Context, mine *appending) error {
	select {
	case <-mine.committed:
		return mine.err
	case a.baton <- struct{}{}:
	case <-ctx.Done():
		if a.withdraw(mine) {
			return ctx.Err()
		}
		<-mine.committed // by whoever has taken it from the queue
		return mine.err
	}
	defer func() { <-a.baton }()
	if !mine.done {
		a.flush()
	}
	return mine.err
}

func (a *appender) enqueue(mine *appending) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return errClosed()
	}
	a.queue = append(a.queue, mine)
	return nil
}

// withdraw takes entries that nobody has begun to write back out of the queue.
func (a *appender) withdraw(mine *appending) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, waiting := range a.queue {
		if waiting == mine {
			a.queue = append(a.queue[:i], a.queue[i+1:]...)
			return true
		}
	}
	return false
}

// flush commits all entries that wait. They are durable together or not at all.
func (a *appender) flush() {
	a.mu.Lock()
	batch := a.queue
	a.queue = nil
	a.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := error(errBusy()) // when writing panics
	defer func() {
		for _, waiting := range batch {
			waiting.done, waiting.err = true, fault("append to the ledger", err)
			close(waiting.committed)
		}
	}()
	var rows []annona.LedgerRow
	for _, waiting := range batch {
		rows = append(rows, waiting.rows...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout) // it is the batch's, not that of one request
	defer cancel()
	err = a.commit(ctx, rows)
	if err != nil && ctx.Err() != nil {
		err = errBusy()
	}
}

// commit writes entries by one statement, which is a transaction of its own: one round trip.
func (a *appender) commit(ctx context.Context, rows []annona.LedgerRow) error {
	var failed error
	begin := func(p *pgxpool.Conn) error {
		err := (&conn{ctx: ctx, db: p}).insertEntries(rows, a.store.lists.has, a.store.node.number)
		if err == nil || pgconn.SafeToRetry(err) { // nothing was sent
			return err
		}
		failed = err
		return nil
	}
	err := a.store.writers.lend(ctx, begin, func(*pgxpool.Conn) error { return failed })
	if err == nil {
		a.store.lists.committed(rows)
	}
	return err
}

// close refuses further entries and waits for those that are being written.
func (a *appender) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.baton <- struct{}{}
	a.flush()
	<-a.baton
}

const (
	// insertEntries writes entries with what they say, and queues them for the sequencer. What most batches do not have is
	// left out of the statement, because also an insert of nothing takes the server its time.
	insertEntries = `WITH added AS (
	INSERT INTO ledger (id, at, kind, leaf, hash, request, node)
	SELECT e.id, e.at, e.kind, e.leaf, e.hash, e.request, nullif($8::bigint, 0)
	FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::uuid[]) WITH ORDINALITY e (id, at, kind, leaf, hash, request, position)
	ORDER BY e.position RETURNING entry, id),
	queued AS (INSERT INTO ledger_queue (entry) SELECT entry FROM added)`
	insertSets = `,
	filed AS (INSERT INTO ledger_subjects (noun, reach, min, max, entry) SELECT s.noun, s.reach, s.min, s.max, a.entry
		FROM unnest($9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::uuid[]) s (noun, reach, min, max, id) JOIN added a USING (id))`
	insertLists = `,
	listed AS (INSERT INTO ledger_fields (hash, content) SELECT * FROM unnest($14::bytea[], $15::bytea[]) ON CONFLICT DO NOTHING)`
	insertContent = `
	INSERT INTO ledger_content (entry, parts) SELECT a.entry, p.parts FROM unnest($1::uuid[], $7::bytea[]) p (id, parts) JOIN added a USING (id) WHERE p.parts <> ''`

	insertWithSets  = insertEntries + insertSets + insertContent
	insertWithLists = insertEntries + insertSets + insertLists + insertContent
	insertAlone     = insertEntries + insertContent
)

// entryBatch is entries with what they say, column by column.
type entryBatch struct {
	ids, requests     [][16]byte
	ats               []*int64
	kinds             []string
	leaves, hashes    [][]byte
	parts             [][]byte
	sets              setBatch[[16]byte]
	listHashes, lists [][]byte
}

func (b *entryBatch) add(r *annona.LedgerRow) {
	b.ids, b.requests, b.kinds = append(b.ids, r.ID), append(b.requests, r.Request), append(b.kinds, string(r.Kind))
	b.ats, b.leaves, b.hashes = append(b.ats, instant(r.At)), append(b.leaves, r.Leaf), append(b.hashes, r.Hash[:])
	b.parts = append(b.parts, annona.AppendParts([]byte{}, r.Parts))
	b.sets.add(r.Parts, r.ID)
}

// addLists adds the lists of fields that nobody is known to have written yet.
func (b *entryBatch) addLists(r *annona.LedgerRow, known func([32]byte) bool) {
	for i := range r.Lists {
		l := &r.Lists[i]
		named := func(hash []byte) bool { return bytes.Equal(hash, l.Hash[:]) }
		if !known(l.Hash) && !slices.ContainsFunc(b.listHashes, named) {
			b.listHashes, b.lists = append(b.listHashes, l.Hash[:]), append(b.lists, l.Content)
		}
	}
}

// setBatch is sets of subjects, column by column, each with what tells its entry from others.
type setBatch[E any] struct {
	parts               []*annona.LedgerPart
	nouns               []string
	reaches, mins, maxs []int64
	entries             []E
}

func (b *setBatch[E]) add(parts []annona.LedgerPart, entry E) {
	for i := range parts {
		if p := &parts[i]; p.Noun != "" {
			b.parts, b.nouns, b.entries = append(b.parts, p), append(b.nouns, p.Noun), append(b.entries, entry)
			b.reaches, b.mins, b.maxs = append(b.reaches, int64(p.Reach)), append(b.mins, int64(p.Min)), append(b.maxs, int64(p.Max))
		}
	}
}

func (b *setBatch[E]) columns() []any { return []any{b.nouns, b.reaches, b.mins, b.maxs, b.entries} }

// inserting returns the statement that writes entries with all they have, as insertEntries says. known says which lists of
// fields were committed before; node is the one whose requests the entries belong to, 0 for those that belong to none.
func inserting(rows []annona.LedgerRow, known func([32]byte) bool, node int64) (sql string, args []any) {
	var b entryBatch
	for i := range rows {
		b.add(&rows[i])
		b.addLists(&rows[i], known)
	}
	args = []any{b.ids, b.ats, b.kinds, b.leaves, b.hashes, b.requests, b.parts, node}
	switch {
	case len(b.lists) > 0:
		return insertWithLists, append(append(args, b.sets.columns()...), b.listHashes, b.lists)
	case len(b.sets.parts) > 0:
		return insertWithSets, append(args, b.sets.columns()...)
	}
	return insertAlone, args
}

// insertEntries writes entries by one statement.
func (c *conn) insertEntries(rows []annona.LedgerRow, known func([32]byte) bool, node int64) error {
	if len(rows) == 0 {
		return nil
	}
	sql, args := inserting(rows, known, node)
	_, err := c.db.Exec(c.ctx, sql, args...)
	return err
}

// knownLists remembers lists of fields that were committed, so that most entries bring none.
type knownLists struct {
	mu     sync.Mutex
	hashes map[[32]byte]bool
}

// maxKnownLists bounds what knownLists remembers; a caller may ask for fields in many ways.
const maxKnownLists = 10_000

func (k *knownLists) has(hash [32]byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hashes[hash]
}

func (k *knownLists) committed(rows []annona.LedgerRow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range rows {
		for _, l := range rows[i].Lists {
			if k.hashes == nil || len(k.hashes) >= maxKnownLists {
				k.hashes = map[[32]byte]bool{}
			}
			k.hashes[l.Hash] = true
		}
	}
}

func noneKnown([32]byte) bool { return false }
