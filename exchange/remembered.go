package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// The bounds of what is remembered of standings.
const (
	memoryLife = time.Second // without the store having confirmed the epoch
	memorySize = 10_000      // clients; agreements are far fewer
)

// Remembered remembers clients, agreements and access tokens under the policy epoch that they were read under.
// What it says may be a second old. So a decision that was taken from it counts only when the epoch
// beside the records that were read afterwards is still the same; otherwise it is taken again from
// the store. A store that does not answer leaves nothing to decide from.
//
// Everything else of Standings goes to the store. It is safe for concurrent use.
type Remembered struct {
	annona.Standings

	mu     sync.Mutex
	memory *memory // nil: nothing is remembered
}

// memory is what was read under one epoch. Its maps are guarded by the mutex of Remembered.
type memory struct {
	epoch      int64
	confirmed  time.Time // when the store was last asked and said this epoch
	byKeyID    map[string]*annona.Client
	byID       map[annona.UID]*annona.Client
	agreements map[string]*annona.Agreement
	tokens     map[annona.TokenHash]*annona.Token
	policies   map[struct{}]*annona.Policy // at most one
}

// Remember returns a memory of standings.
func Remember(standings annona.Standings) *Remembered { return &Remembered{Standings: standings} }

// ClientByKeyID finds a client by the public part of its key; nil when there is none.
func (r *Remembered) ClientByKeyID(ctx context.Context, keyID string) (*annona.Client, error) {
	return recall(ctx, r, func(m *memory) map[string]*annona.Client { return m.byKeyID }, keyID, r.Standings.ClientByKeyID)
}

// ClientByID finds a client; nil when there is none.
func (r *Remembered) ClientByID(ctx context.Context, id annona.UID) (*annona.Client, error) {
	return recall(ctx, r, func(m *memory) map[annona.UID]*annona.Client { return m.byID }, id, r.Standings.ClientByID)
}

// Agreement returns the latest version of an agreement; nil when there is none.
func (r *Remembered) Agreement(ctx context.Context, name string) (*annona.Agreement, error) {
	return recall(ctx, r, func(m *memory) map[string]*annona.Agreement { return m.agreements }, name, r.Standings.Agreement)
}

// TokenByHash finds an access token; nil when there is none.
func (r *Remembered) TokenByHash(ctx context.Context, hash annona.TokenHash) (*annona.Token, error) {
	return recall(ctx, r, func(m *memory) map[annona.TokenHash]*annona.Token { return m.tokens }, hash, r.Standings.TokenByHash)
}

// Policy returns the policy in force; one of version 0 that says nothing when none is on file.
func (r *Remembered) Policy(ctx context.Context) (*annona.Policy, error) {
	in := func(m *memory) map[struct{}]*annona.Policy { return m.policies }
	return recall(ctx, r, in, struct{}{}, func(ctx context.Context, _ struct{}) (*annona.Policy, error) {
		p, err := r.Standings.Policy(ctx)
		if p == nil && err == nil {
			p = &annona.Policy{}
		}
		return p, err
	})
}

// recall returns what is remembered under a key, or asks the store. That there is nothing is never
// remembered.
func recall[K comparable, V any](ctx context.Context, r *Remembered, kept func(*memory) map[K]*V, key K, ask func(context.Context, K) (*V, error)) (*V, error) {
	m, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	found := kept(m)[key]
	r.mu.Unlock()
	if found != nil {
		return found, nil
	}
	found, err = ask(ctx, key)
	if err != nil || found == nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(kept(m)) >= memorySize {
		clear(kept(m))
	}
	kept(m)[key] = found // read under the epoch of m, or a later one: then m is not confirmed again
	return found, nil
}

// current returns the memory, once the store has said within the last second that its epoch is the
// one in force.
func (r *Remembered) current(ctx context.Context) (*memory, error) {
	r.mu.Lock()
	m := r.memory
	fresh := m != nil && time.Since(m.confirmed) < memoryLife
	r.mu.Unlock()
	if fresh {
		return m, nil
	}
	asked := time.Now()
	epoch, err := r.Standings.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	return r.confirm(epoch, asked), nil
}

// confirm notes which epoch the store said when it was asked, and returns the memory under it.
func (r *Remembered) confirm(epoch int64, asked time.Time) *memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.memory != nil && r.memory.epoch != epoch && asked.Before(r.memory.confirmed) {
		return r.memory // somebody has asked later
	}
	if r.memory == nil || r.memory.epoch != epoch {
		r.memory = &memory{
			epoch: epoch, byKeyID: map[string]*annona.Client{}, byID: map[annona.UID]*annona.Client{}, agreements: map[string]*annona.Agreement{},
			tokens: map[annona.TokenHash]*annona.Token{}, policies: map[struct{}]*annona.Policy{},
		}
	}
	if asked.After(r.memory.confirmed) {
		r.memory.confirmed = asked
	}
	return r.memory
}

// under returns the standings as they are remembered now. Confirms tells afterwards whether a
// decision that was taken from them counts.
func (r *Remembered) under(ctx context.Context) (*remembering, error) {
	m, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	return &remembering{Remembered: r, epoch: m.epoch, since: time.Now()}, nil
}

// remembering is one use of what is remembered.
type remembering struct {
	*Remembered
	epoch int64
	since time.Time // before anything was read with it
}

// confirms reports whether records of that epoch, read after the decision, confirm it.
func (r *remembering) confirms(epoch int64) bool {
	r.confirm(epoch, r.since)
	return epoch == r.epoch
}

// confirmsAll reports whether parts that were read confirm all decisions. Where none was read, nothing does.
func (r *remembering) confirmsAll(parts []*partReading) bool {
	read := 0
	for _, p := range parts {
		if p.page.Epoch == 0 {
			continue // of nobody
		}
		if read++; !r.confirms(p.page.Epoch) {
			return false
		}
	}
	return read > 0
}
