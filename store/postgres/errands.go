package postgres

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

// Errands that come at the same moment share a transaction: what they are about is looked up by one
// statement, each is done in its turn, and what all have left to the end is written at once. An errand that
// refuses leaves nothing behind. When the transaction fails, through whomever, each errand is done again by
// itself.
type errands struct {
	mu      sync.Mutex
	waiting []*errand
	turns   chan struct{}
	doing   chan struct{} // held from looking up to the end of the last errand
}

const (
	turnsAtOnce  = 2                     // shared transactions at the same time: errands of one are done while the other commits
	mostErrands  = 64                    // of one transaction
	longestWait  = 50 * time.Millisecond // for a turn; then an errand is done by itself: a transaction that hangs holds up nobody else
	sharedCommit = 60 * time.Second      // for a shared transaction, which ends with no request
	shortLock    = "100ms"               // that a shared transaction waits for a lock: those who share it are about other things
)

// errand is an errand that waits for a turn, or is being done.
type errand struct {
	annona.Errand
	taken   bool          // guarded by errands.mu
	done    chan struct{} // closed behind what follows
	alone   bool          // it is to be done by itself
	err     error         // what it has refused, or its commit
	refused bool
}

func newErrands() *errands {
	return &errands{turns: make(chan struct{}, turnsAtOnce), doing: make(chan struct{}, 1)}
}

// Share does an errand. See annona.Writer.
func (s *Store) Share(ctx context.Context, wanted annona.Errand) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := &errand{Errand: wanted, done: make(chan struct{})}
	if err := s.awaitTurn(ctx, e); err != nil {
		return err
	}
	if e.alone {
		return s.Update(ctx, wanted.Do)
	}
	return e.err
}

// awaitTurn returns when the errand is done, or is to be done by itself. It takes a turn for that when
// nobody else does.
func (s *Store) awaitTurn(ctx context.Context, e *errand) error {
	q := s.errands
	q.mu.Lock()
	q.waiting = append(q.waiting, e)
	q.mu.Unlock()
	patience := time.NewTimer(longestWait)
	defer patience.Stop()
	if entered, err := q.enter(ctx, e, q.turns, patience.C); !entered {
		return err
	}
	defer func() { <-q.turns }()
	if entered, err := q.enter(ctx, e, q.doing, patience.C); !entered {
		return err
	}
	s.takeTurn(ctx, e)
	return nil
}

// enter passes a door, unless the errand is done meanwhile, or its patience or its request ends.
func (q *errands) enter(ctx context.Context, e *errand, door chan struct{}, patience <-chan time.Time) (entered bool, err error) {
	select {
	case <-e.done:
		return false, nil
	case door <- struct{}{}:
		return true, nil
	case <-patience:
		if e.alone = q.withdraw(e); e.alone {
			return false, nil
		}
	case <-ctx.Done():
		if q.withdraw(e) {
			return false, ctx.Err()
		}
	}
	<-e.done // whoever has taken it does not stop
	return false, nil
}

// withdraw takes an errand back that nobody does yet.
func (q *errands) withdraw(e *errand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.taken {
		return false
	}
	e.taken = true
	q.waiting = slices.DeleteFunc(q.waiting, func(w *errand) bool { return w == e })
	return true
}

// take takes an errand out of the queue, and those that can be done with it: no two are about the same,
// because each looks up what the one before has left. None: somebody else has taken it.
func (q *errands) take(e *errand) (group []*errand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.taken {
		return nil
	}
	requests, matters := map[annona.UID]bool{}, map[annona.MatterRef]bool{}
	add := func(w *errand) {
		if requests[w.Request] && w.Request != (annona.UID{}) || matters[w.Matter] && w.Matter != (annona.MatterRef{}) {
			return
		}
		requests[w.Request], matters[w.Matter], w.taken = true, true, true
		group = append(group, w)
	}
	add(e)
	for _, w := range q.waiting {
		if w != e && len(group) < mostErrands {
			add(w)
		}
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(w *errand) bool { return w.taken })
	return group
}

// takeTurn does an errand with those that wait, or waits for whoever has taken it already.
func (s *Store) takeTurn(ctx context.Context, e *errand) {
	behind := sync.OnceFunc(func() { <-s.errands.doing })
	defer behind()
	group := s.errands.take(e)
	if len(group) == 0 {
		behind()
		<-e.done
		return
	}
	if len(group) > 1 {
		var cancel func()
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), sharedCommit) // it is not that of one request
		defer cancel()
	}
	settled, err := false, error(nil)
	defer func() {
		for _, e := range group {
			e.settle(settled, err)
		}
	}()
	settled, err = s.doAll(ctx, group, behind)
}

// settle ends an errand. settled: its transaction was committed, or it is not known whether it was.
func (e *errand) settle(settled bool, err error) {
	if !e.refused {
		e.alone, e.err = !settled, err
	}
	close(e.done)
}

// doAll does errands in one transaction. settled: it was committed, or nobody knows whether it was: err. Otherwise
// nothing of it is kept. behind is called when all locks are taken that the errands want.
func (s *Store) doAll(ctx context.Context, group []*errand, behind func()) (settled bool, err error) {
	if err := s.refreshLines(ctx); err != nil {
		return false, nil
	}
	var p pgx.Tx
	begin := func(c *pgxpool.Conn) (err error) {
		p, err = c.Begin(ctx)
		return err
	}
	err = s.writers.lend(ctx, begin, func(*pgxpool.Conn) error {
		defer rollBack(p)
		t := s.newTx(ctx, p)
		if err := t.doAll(group); err != nil {
			return err
		}
		behind()
		if err := t.finish(); err != nil {
			return err
		}
		err := commit(p)
		settled = !isRolledBack(err)
		return err
	})
	if err == nil {
		s.sequencer.poke()
	}
	return settled, ended(ctx, "write to the registry", err)
}

// isRolledBack reports whether the server itself has said that a commit did not happen.
func isRolledBack(err error) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) || errors.Is(err, pgx.ErrTxCommitRollback)
}

// doAll does each errand in its turn.
func (t *tx) doAll(group []*errand) error {
	if err := t.foresee(group); err != nil {
		return err
	}
	for _, e := range group {
		mark := t.mark()
		err := e.Do(t)
		switch {
		case t.failed != nil:
			return t.failed
		case err != nil && t.touched(mark):
			return errTouched
		case err != nil:
			t.forget(mark)
			e.refused, e.err = true, err
		}
	}
	return nil
}

// errTouched says that an errand has refused behind a statement of its own: it may have written something.
var errTouched = errors.New("an errand has refused too late to share a transaction")

// mark is how far a transaction has come.
type mark struct{ statements, later, events, entries, claims int }

func (t *tx) mark() mark {
	return mark{t.conn.statements, len(t.later.QueuedQueries), len(t.events), len(t.entries), len(t.claims)}
}

func (t *tx) touched(since mark) bool { return t.conn.statements > since.statements }

// forget drops what waits for the end of the transaction since then.
func (t *tx) forget(m mark) {
	t.later.QueuedQueries = t.later.QueuedQueries[:m.later]
	for _, e := range t.events[m.events:] {
		delete(t.evented, subject{e.Dataset, e.Record})
	}
	t.events, t.entries, t.claims = t.events[:m.events], t.entries[:m.entries], t.claims[:m.claims]
}

// foreseen is what errands are about, looked up for all of them at once.
type foreseen struct {
	requests map[annona.UID]*annona.KeyedRequest // nil: none is kept
	matters  map[annona.MatterRef]*annona.Matter // locked; nil: it is not on file
}

// foresee looks up what errands are about, and locks the matters, in the order of their numbers.
func (t *tx) foresee(group []*errand) error {
	f := foreseen{requests: map[annona.UID]*annona.KeyedRequest{}, matters: map[annona.MatterRef]*annona.Matter{}}
	var ids [][]byte
	numbers := map[string][]int64{}
	datasets := map[string]*annona.Dataset{}
	for _, e := range group {
		if e.Request != (annona.UID{}) {
			ids, f.requests[e.Request] = append(ids, e.Request[:]), nil
		}
		if e.Matter != (annona.MatterRef{}) {
			numbers[e.Matter.Dataset], f.matters[e.Matter] = append(numbers[e.Matter.Dataset], int64(e.Matter.Number)), nil
			datasets[e.Matter.Dataset] = e.Dataset
		}
	}
	var ask []question
	if len(group) > 1 {
		ask = append(ask, question{"SELECT set_config('lock_timeout', '" + shortLock + "', true)", nil, func(row) error { return nil }})
	}
	for _, name := range slices.Sorted(maps.Keys(numbers)) { // everybody locks in one order
		ask = append(ask, question{selectMatters + "number = ANY ($2)" + inOrder, []any{name, numbers[name]}, func(r row) error {
			m, err := readMatter(datasets[name], r)
			f.matters[annona.MatterRef{Dataset: name, Number: m.Number}] = &m
			return err
		}})
	}
	if len(ids) > 0 { // behind the locks: what whoever had one before has done under the same key is seen
		ask = append(ask, question{selectRequest + "id = ANY ($1::uuid[])", []any{ids}, func(r row) error {
			found := readRequest(r)
			f.requests[found.ID] = &found
			return nil
		}})
	}
	if len(ask) == 0 {
		return nil
	}
	if err := t.conn.askAll(ask...); err != nil {
		return t.fault("look up what is asked for", err)
	}
	t.foreseen = f
	return nil
}

// claimForeseen claims a request that was looked up. It is written at the end. foreseen: it was, and what lies there still counts.
func (t *tx) claimForeseen(r annona.KeyedRequest) (earlier *annona.KeyedRequest, foreseen bool) {
	earlier, foreseen = t.foreseen.requests[r.ID]
	if !foreseen || earlier != nil && !earlier.Until.After(r.At) {
		return nil, false
	}
	if earlier == nil {
		delete(t.foreseen.requests, r.ID)
		t.claims = append(t.claims, r)
	}
	return earlier, true
}

// endForeseen notes what came of a request that this transaction has claimed and not written yet.
func (t *tx) endForeseen(r annona.KeyedRequest) bool {
	at := slices.IndexFunc(t.claims, func(c annona.KeyedRequest) bool { return c.ID == r.ID })
	if at >= 0 {
		t.claims[at] = r
	}
	return at >= 0
}

// holdForeseen returns matters that were locked when they were looked up, and not written since.
func (t *tx) holdForeseen(dataset *annona.Dataset, numbers []annona.Number) (held []annona.Matter, foreseen bool) {
	for _, n := range numbers {
		m, foreseen := t.foreseen.matters[annona.MatterRef{Dataset: dataset.Name, Number: n}]
		if !foreseen {
			return nil, false
		}
		if m != nil {
			held = append(held, *m)
			t.about[annona.MatterRef{Dataset: dataset.Name, Number: n}] = m.Subject
		}
	}
	return held, true
}

const insertRequests = `INSERT INTO requests (id, digest, at, until, status, noun, record, version)
	SELECT r.id, r.digest, r.at, r.until, r.status, r.noun, r.record, r.version
	FROM unnest($1::uuid[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::uuid[], $8::bigint[])
		r (id, digest, at, until, status, noun, record, version)`

// queueClaims has the claims written, in one order for everybody. Where somebody else has claimed the same
// meanwhile, the transaction fails.
func (t *tx) queueClaims() {
	n := len(t.claims)
	if n == 0 {
		return
	}
	slices.SortFunc(t.claims, func(a, b annona.KeyedRequest) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	ids, digests, records := make([][16]byte, n), make([][]byte, n), make([][]byte, n)
	at, until, status, versions := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	nouns := make([]string, n)
	for i, r := range t.claims {
		ids[i], digests[i], records[i] = r.ID, r.Digest[:], r.Record[:]
		at[i], until[i], status[i], versions[i], nouns[i] = r.At.UnixNano(), r.Until.UnixNano(), int64(r.Status), r.Version, r.Noun
	}
	t.later.Queue(insertRequests, ids, digests, at, until, status, nouns, records, versions)
}
