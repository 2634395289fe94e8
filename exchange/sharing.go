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
	wrote outcome
	err   error
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
		return l.writeAlone(ctx, b)
	}
	return s.wrote, s.err
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
		s.wrote, s.err = s.load.writeAlone(ctx, s.batch) // which ends with its request
	default:
		written := false
		defer func() {
			for _, s := range group {
				s.alone = !written
				close(s.done)
			}
		}()
		written = group.write(ctx) == nil
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

// errApart says that writes cannot share a transaction.
var errApart = errors.New("two writes are about one record")

// write writes all of them in one transaction, or none.
func (g group) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedCommit) // it is not that of one request
	defer cancel()
	batches := make([]*Batch, len(g))
	for i, s := range g {
		batches[i] = s.batch
	}
	all := joinBatches(batches)
	return g[0].load.x.Writer.Update(ctx, func(tx annona.Tx) error {
		written, err := g.settle(ctx, tx, all)
		if err != nil {
			return err
		}
		return g.put(ctx, tx, written)
	})
}

// settle finds all records at once and lets each load say what becomes of its own.
func (g group) settle(ctx context.Context, tx annona.Tx, all *Batch) ([]writes, error) {
	areas, err := g[0].load.x.relyOnAreas(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	known, err := tx.Find(ctx, all.keys)
	if err != nil {
		return nil, err
	}
	if err := apart(all.keys, known); err != nil {
		return nil, err
	}
	written := make([]writes, len(g))
	for i, s := range g {
		own := known[:len(s.batch.keys)]
		known = known[len(own):]
		if written[i], s.wrote, err = s.load.settle(ctx, s.batch, own, areas); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// apart fails when several keys lead to one record.
func apart(keys []annona.RecordKey, known []annona.Known) error {
	type subject struct {
		dataset string
		number  annona.Number
	}
	seen := map[subject]bool{}
	for i, k := range known {
		s := subject{keys[i].Dataset.Name, k.Number}
		if k.Erased {
			continue
		}
		if seen[s] {
			return errApart
		}
		seen[s] = true
	}
	return nil
}

// put seals everything at once and writes it, each load's with its events and its entry.
func (g group) put(ctx context.Context, tx annona.Tx, written []writes) error {
	var all writes
	for i := range written {
		all.records, all.images = append(all.records, written[i].records...), append(all.images, written[i].images...)
	}
	if err := g[0].load.x.seal(ctx, all.records, all.images); err != nil {
		return err
	}
	for i, s := range g {
		w := written[i]
		w.records, all.records = all.records[:len(w.records)], all.records[len(w.records):]
		if err := s.load.put(ctx, tx, s.batch, &w, &s.wrote); err != nil {
			return err
		}
	}
	return nil
}
