package postgres

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
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
	ended   atomic.Int64  // when a shared transaction last came to its end, in nanoseconds since 1970
}

const (
	turnsAtOnce  = 2                      // shared transactions at the same time: errands of one are done while the other commits
	mostErrands  = 64                     // of one transaction
	longestWait  = 250 * time.Millisecond // for a turn while no shared transaction ends; then an errand is done by itself: one that hangs holds up nobody else
	sharedCommit = 60 * time.Second       // for a shared transaction, which ends with no request
	shortLock    = "100ms"                // that a turn waits for a lock: those who come next are about other things
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

// matter is the UID of the matter that the errand is about; zero: none.
func (e *errand) matter() annona.UID {
	if e.Find == nil || len(e.Find.Choice.UIDs) != 1 {
		return annona.UID{}
	}
	return e.Find.Choice.UIDs[0]
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
		return s.Update(ctx, func(own annona.Tx) error {
			if err := own.(*tx).find([]*errand{e}); err != nil {
				return err
			}
			return wanted.ByItself(ctx, own)
		})
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
	if entered, err := q.enter(ctx, e, q.turns, patience); !entered {
		return err
	}
	defer func() { <-q.turns }()
	if entered, err := q.enter(ctx, e, q.doing, patience); !entered {
		return err
	}
	s.takeTurn(ctx, e)
	return nil
}

// enter passes a door, unless the errand is done meanwhile, or its patience or its request ends. Patience begins
// anew while others get on: to be done alone would cost them more than it spares.
func (q *errands) enter(ctx context.Context, e *errand, door chan struct{}, patience *time.Timer) (entered bool, err error) {
	for {
		select {
		case <-e.done:
			return false, nil
		case door <- struct{}{}:
			return true, nil
		case now := <-patience.C:
			if since := now.Sub(time.Unix(0, q.ended.Load())); since < longestWait {
				patience.Reset(longestWait - since)
				continue
			}
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
	about := map[annona.UID]bool{}
	add := func(w *errand) {
		matter := w.matter()
		if about[w.Request] || about[matter] {
			return
		}
		about[w.Request], about[matter], w.taken = true, true, true
		delete(about, annona.UID{}) // of those that are about nothing there may be many
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
		s.errands.ended.Store(time.Now().UnixNano())
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
	var t *tx
	begin := func(c *pgxpool.Conn) error {
		t = s.newTx(ctx, c.Conn())
		return t.find(group, beginning)
	}
	err = s.writers.lend(ctx, begin, func(c *pgxpool.Conn) error {
		defer abandon(c.Conn())
		if err := t.doAll(group); err != nil {
			return err
		}
		behind()
		err := t.commit()
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

// doAll does each errand in its turn. While what they are about is looked up, its keys are read.
func (t *tx) doAll(group []*errand) error {
	var found []*annona.Page
	holding := func(_ context.Context, _ []*annona.Page, do func(annona.Cells) error) error { return do(nil) }
	for _, e := range group {
		if e.Find != nil && e.Holding != nil {
			found, holding = append(found, e.Find.Page), e.Holding
		}
	}
	looked := make(chan error, 1)
	go func() { looked <- t.foresee(group) }()
	foreseen := sync.OnceValue(func() error { return <-looked })
	defer foreseen() // also when keys cannot be read: nobody else uses the connection meanwhile
	return holding(t.conn.ctx, found, func(cells annona.Cells) error {
		if err := foreseen(); err != nil {
			return err
		}
		return t.doEach(group, cells)
	})
}

// doEach does errands for which everything was looked up.
func (t *tx) doEach(group []*errand, cells annona.Cells) error {
	for _, e := range group {
		mark := t.mark()
		err := e.Do(t, cells)
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

// foresee looks up what errands are about, and locks the matters that they have found, in the order of their numbers.
func (t *tx) foresee(group []*errand) error {
	f := foreseen{requests: map[annona.UID]*annona.KeyedRequest{}, matters: map[annona.MatterRef]*annona.Matter{}}
	var ids [][]byte
	found := map[string]*annona.Page{}
	for _, e := range group {
		if e.Request != (annona.UID{}) {
			ids, f.requests[e.Request] = append(ids, e.Request[:]), nil
		}
		if e.Find == nil || e.Find.Page.Count == 0 {
			continue
		}
		of := e.Find.Page.Shape.Dataset
		if found[of.Name] == nil {
			found[of.Name] = &annona.Page{Shape: e.Find.Page.Shape}
		}
		found[of.Name].Numbers = append(found[of.Name].Numbers, e.Find.Page.Numbers...)
		f.matters[annona.MatterRef{Dataset: of.Name, Number: e.Find.Page.Numbers[0]}] = nil
	}
	ask := []question{{"SELECT set_config('lock_timeout', '" + shortLock + "', true)", nil, func(row) error { return nil }}}
	for _, name := range slices.Sorted(maps.Keys(found)) { // everybody locks in one order
		of := found[name].Shape.Dataset
		ask = append(ask, question{selectMatters + "number = ANY ($2)" + inOrder, []any{name, integers(found[name].Numbers)}, func(r row) error {
			m, err := readMatter(of, r)
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
	if err := t.conn.askAll(ask...); err != nil {
		return t.fault("look up what is asked for", err)
	}
	t.foreseen = f
	return nil
}

// find asks for the matters that errands are about: for those of one scope by one statement. What is to be asked
// before goes with it.
func (t *tx) find(group []*errand, before ...question) error {
	var all []*finding
	for _, e := range group {
		if e.Find == nil {
			continue
		}
		if e.matter() == (annona.UID{}) {
			return annona.Internal("look up what is asked for", errors.New("an errand is about one matter, by its UID"))
		}
		if err := checkMatterScope(e.Find.Scope); err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(f *finding) bool { return f.Scope.Equal(e.Find.Scope) })
		if at < 0 {
			at, all = len(all), append(all, &finding{MatterQuestion: annona.MatterQuestion{Scope: e.Find.Scope, Page: annona.NewPage(e.Find.Scope.Shape())}})
		}
		all[at].errands = append(all[at].errands, e)
	}
	asked := before
	for _, f := range all {
		f.Limit = len(f.errands)
		for _, e := range f.errands {
			f.Choice.UIDs = append(f.Choice.UIDs, e.matter())
		}
		r := newMatterReading(&f.MatterQuestion)
		asked = append(asked, r.question())
		if r.err != nil {
			return r.err
		}
	}
	if err := t.conn.askAll(asked...); err != nil {
		return t.fault("look up what is asked for", err)
	}
	for _, f := range all {
		f.handOut()
	}
	return nil
}

// finding is one question for the matters of errands of one scope.
type finding struct {
	annona.MatterQuestion
	errands []*errand
}

// handOut gives each errand the matter that it is about.
func (f *finding) handOut() {
	for _, e := range f.errands {
		page := e.Find.Page
		page.Reset()
		page.Epoch = f.Page.Epoch
		row := slices.Index(f.Page.UIDs, e.matter())
		if row < 0 {
			continue
		}
		page.AppendRow(f.Page, row)
		for _, s := range f.Page.Shares {
			if s.Number == page.Numbers[0] {
				page.Shares = append(page.Shares, s)
			}
		}
	}
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
