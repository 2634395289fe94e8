package postgres

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/annona-exchange/annona"
)

// Append appends entries and returns when they are committed. Calls that wait while another
// commit is being flushed share the next one.
func (s *Store) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := checkLeaves(rows); err != nil || len(rows) == 0 {
		return err
	}
	return s.entries.append(ctx, rows)
}

// checkLeaves refuses an entry whose hash is not that of its leaf: the tree would never verify.
func checkLeaves(rows []annona.LedgerRow) error {
	for i := range rows {
		if !bytes.Equal(rfc6962.DefaultHasher.HashLeaf(rows[i].Leaf), rows[i].Hash[:]) {
			return annona.Internal("append to the ledger", errors.New("the hash of an entry is not that of its leaf"))
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
	rows []annona.LedgerRow
	done bool
	err  error
}

func newAppender(s *Store) *appender { return &appender{store: s, baton: make(chan struct{}, 1)} }

func (a *appender) append(ctx context.Context, rows []annona.LedgerRow) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	mine := &appending{rows: rows}
	if err := a.enqueue(mine); err != nil {
		return err
	}
	select {
	case a.baton <- struct{}{}:
	case <-ctx.Done():
		if a.withdraw(mine) {
			return ctx.Err()
		}
		a.baton <- struct{}{} // somebody is committing it: wait for the outcome
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
	var rows []annona.LedgerRow
	for _, waiting := range batch {
		rows = append(rows, waiting.rows...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout) // it is the batch's, not that of one request
	defer cancel()
	err := a.store.transaction(ctx, func(t *tx) error {
		t.entries = rows
		return nil
	})
	if err != nil && ctx.Err() != nil {
		err = errBusy()
	}
	for _, waiting := range batch {
		waiting.done, waiting.err = true, fault("append to the ledger", err)
	}
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

const insertEntries = `WITH added AS (
	INSERT INTO ledger (id, at, kind, leaf, hash, request)
	SELECT e.id, e.at, e.kind, e.leaf, e.hash, e.request
	FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::uuid[]) WITH ORDINALITY e (id, at, kind, leaf, hash, request, position)
	ORDER BY e.position RETURNING entry, id),
	queued AS (INSERT INTO ledger_queue (entry) SELECT entry FROM added)
	INSERT INTO ledger_parts (entry, position, name, salt, content, noun, min, max)
	SELECT a.entry, p.position, p.name, p.salt, p.content, nullif(p.noun, ''), p.min, p.max
	FROM unnest($7::uuid[], $8::bigint[], $9::text[], $10::bytea[], $11::bytea[], $12::text[], $13::bigint[], $14::bigint[])
		p (id, position, name, salt, content, noun, min, max) JOIN added a USING (id)`

// entryColumns are the parameters of insertEntries, which writes entries with their parts and
// queues them for the sequencer.
func entryColumns(rows []annona.LedgerRow) []any {
	var ids, requests, owners [][16]byte
	var ats []*int64
	var kinds, names, nouns []string
	var leaves, hashes, salts, contents [][]byte
	var positions, mins, maxs []int64
	for i := range rows {
		r := &rows[i]
		ids, requests, kinds = append(ids, r.ID), append(requests, r.Request), append(kinds, string(r.Kind))
		ats, leaves, hashes = append(ats, instant(r.At)), append(leaves, r.Leaf), append(hashes, r.Hash[:])
		for at := range r.Parts {
			p := &r.Parts[at]
			owners, positions, names, nouns = append(owners, r.ID), append(positions, int64(at)), append(names, p.Name), append(nouns, p.Noun)
			salts, contents = append(salts, p.Salt[:]), append(contents, p.Content)
			mins, maxs = append(mins, int64(p.Min)), append(maxs, int64(p.Max))
		}
	}
	return []any{ids, ats, kinds, leaves, hashes, requests, owners, positions, names, salts, contents, nouns, mins, maxs}
}
