package exchange

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// Small writes that come at the same moment share a transaction: most of what one costs is the same
// for one record and for many. Each keeps its own author, load, events and ledger entry. When a shared
// transaction fails, through whomever, each of them is written again by itself: what somebody is told
// is about their own records, and nobody's write fails through another one's.
type sharing struct {
	mu      sync.Mutex
	waiting []*share
	turns   chan struct{}
}

const (
	turnsAtOnce  = 2                     // shared transactions at the same time: one computes while the other one commits
	smallWrite   = 16                    // records of a write that shares
	manyShared   = 128                   // records of a shared transaction
	longestTurn  = 50 * time.Millisecond // that a write waits for its turn; then it takes one: a transaction that hangs holds up nobody else
	sharedCommit = 60 * time.Second      // for a shared transaction, which ends with no request
)

// share is a write that shares a transaction, or is about to.
type share struct {
	load  *Loading
	batch *Batch
	taken bool          // somebody writes it; guarded by sharing.mu
	done  chan struct{} // closed behind what follows
	alone bool          // it is to be written by itself
	// before is the turn of the load's write before it; nil: that has ended, or there is none.
	before *turn
	runs   int // of the transaction
	settling
	err error
}

func newSharing() *sharing { return &sharing{turns: make(chan struct{}, turnsAtOnce)} }

// isShared reports whether a batch is written together with others.
func (l *Loading) isShared(b *Batch) bool {
	return len(b.records) <= smallWrite && l.order.Mode == ModeUpsert
}

// writeShared writes a small batch, in a transaction that it may share.
func (l *Loading) writeShared(ctx context.Context, b *Batch) (outcome, error) {
	t, s := l.x.sharing, &share{load: l, batch: b, done: make(chan struct{})}
	if err := t.await(ctx, s); err != nil {
		return outcome{}, err
	}
	if s.alone {
		return l.writeAlone(ctx, b, nil)
	}
	return s.outcome, s.err
}

// await returns when somebody has written the share, or has found that it is to be written by itself.
// It takes a turn for that when nobody else does.
func (t *sharing) await(ctx context.Context, s *share) error {
	t.mu.Lock()
	t.waiting = append(t.waiting, s)
	t.mu.Unlock()
	patience := time.NewTimer(longestTurn)
	defer patience.Stop()
	select {
	case <-s.done:
	case t.turns <- struct{}{}:
		defer func() { <-t.turns }()
		t.turn(ctx, s)
	case <-patience.C:
		t.turn(ctx, s)
	case <-ctx.Done():
		if t.withdraw(s) {
			return ctx.Err()
		}
		<-s.done // whoever has taken it does not stop
	}
	return nil
}

// withdraw takes a share back that nobody writes yet.
func (t *sharing) withdraw(s *share) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.taken {
		return false
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(w *share) bool { return w == s })
	return true
}

// turn writes a share and those that wait with it, or waits for whoever has taken it already.
func (t *sharing) turn(ctx context.Context, s *share) {
	switch group := t.take(s); len(group) {
	case 0:
		<-s.done
	case 1:
		defer close(s.done)
		s.err = group.commit(ctx) // it ends with its request
	default:
		written := false
		defer func() {
			for _, s := range group {
				s.alone = !written
				close(s.done)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedCommit) // it is not that of one request
		defer cancel()
		written = group.commit(ctx) == nil
	}
}

// group is shares of one transaction.
type group []*share

// take takes a share out of the queue, and those that can be written with it: no record stands there
// twice, because each write finds what the one before has left. None: somebody else has taken it.
func (t *sharing) take(s *share) group {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.taken {
		return nil
	}
	taken := group{s}
	keys := map[batchKey]bool{}
	s.name(keys)
	for _, w := range t.waiting {
		if w != s && len(keys)+len(w.batch.records) <= manyShared && w.name(keys) {
			taken = append(taken, w)
		}
	}
	for _, s := range taken {
		s.taken = true
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(w *share) bool { return w.taken })
	return taken
}

// name adds the keys of a share, unless one of them is there.
func (s *share) name(keys map[batchKey]bool) bool {
	for k := range s.batch.at {
		if keys[k] {
			return false
		}
	}
	for k := range s.batch.at {
		keys[k] = true
	}
	return true
}

// commit writes all of them in one transaction with its events and its ledger entries, or none.
func (g group) commit(ctx context.Context) error {
	batches := make([]*Batch, len(g))
	for i, s := range g {
		batches[i] = s.batch
	}
	x, all := g[0].load.x, joinBatches(batches)
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		for _, s := range g {
			s.runs++
		}
		if all.moves != x.indexMoves() {
			all = g.rehash(batches, all.runs)
		}
		return g.write(ctx, tx, all)
	})
}

// rehash makes the hashes of the batches anew and joins them again.
func (g group) rehash(batches []*Batch, runs int) *Batch {
	for _, s := range g {
		s.load.rehash(s.batch)
	}
	all := joinBatches(batches)
	all.runs = runs
	return all
}

// write takes the way of records into the store, in the store's transaction, which may run again: they
// are found, merged with what is on file, sealed under their numbers and next versions, and written.
func (g group) write(ctx context.Context, tx annona.Tx, all *Batch) error {
	x := g[0].load.x
	areas, err := x.relyOnAreas(ctx, tx, all)
	if err != nil {
		return err
	}
	g.hint(all)
	known, err := tx.Find(ctx, all.keys)
	if err != nil {
		return err
	}
	var w writes
	err = x.Vault.Holding(ctx, revised(all.keys, known), func(cells annona.Cells) error {
		if err := g.settle(ctx, cells, all, known, areas); err != nil {
			return err
		}
		w = g[0].writes
		for _, s := range g[1:] {
			w.records, w.images = append(w.records, s.records...), append(w.images, s.images...)
		}
		return seal(ctx, cells, w.records, w.images)
	})
	if err != nil {
		return err
	}
	for _, s := range g {
		if err := s.takeTurn(ctx); err != nil {
			return err
		}
		s.records, w.records = w.records[:len(s.records)], w.records[len(s.records):]
		if err := s.load.put(ctx, tx, s.batch, &s.settling); err != nil {
			return err
		}
	}
	return nil
}

// hint says of the keys of a load whether its source is believed to report them for the first time: until a
// transaction runs again, perhaps because it was wrong.
func (g group) hint(all *Batch) {
	first := len(g) == 1 && g[0].load.comesFirst(g[0].runs)
	for i := range all.keys {
		all.keys[i].First = first
	}
}

// revised returns the records on file that differ from what is reported of them, of each dataset on a page.
func revised(keys []annona.RecordKey, known []annona.Known) (pages []*annona.Page) {
	of := map[*annona.Dataset]*annona.Page{}
	for i := range known {
		k, dataset := &known[i], keys[i].Dataset
		if k.Version == 0 || k.Same || k.Erased {
			continue
		}
		page := of[dataset]
		if page == nil {
			page = &annona.Page{Shape: &annona.Shape{Dataset: dataset}}
			of[dataset], pages = page, append(pages, page)
		}
		page.Numbers, page.Count = append(page.Numbers, k.Number), page.Count+1
	}
	return pages
}

// settle lets each load say what becomes of its own records. Those on file are opened at once.
func (g group) settle(ctx context.Context, cells annona.Cells, all *Batch, known []annona.Known, areas *areas) (err error) {
	if len(g) > 1 && !apart(all.keys, known) {
		return errOneRecord
	}
	var revisions []*revision
	rest := known
	for _, s := range g {
		if s.settling, err = s.load.settle(s.batch, rest[:len(s.batch.keys)], areas); err != nil {
			return err
		}
		rest = rest[len(s.batch.keys):]
		revisions = append(revisions, s.revisions...)
	}
	if err := g[0].load.x.recall(ctx, cells, revisions); err != nil {
		return err
	}
	for _, s := range g {
		if err := s.load.revise(ctx, s.batch, known[:len(s.batch.keys)], areas, &s.settling); err != nil {
			return err
		}
		known = known[len(s.batch.keys):]
	}
	return nil
}

// errOneRecord says that writes cannot share a transaction.
var errOneRecord = errors.New("two writes are about one record")

// apart reports whether no two keys lead to one record.
func apart(keys []annona.RecordKey, known []annona.Known) bool {
	type subject struct {
		dataset string
		number  annona.Number
	}
	seen := make(map[subject]bool, len(known))
	for i, k := range known {
		s := subject{keys[i].Dataset.Name, k.Number}
		if seen[s] && !k.Erased {
			return false
		}
		seen[s] = true
	}
	return true
}
