package audit

import (
	"context"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

const (
	signEvery = 500 * time.Millisecond // between two looks at the tree
	signTime  = 10 * time.Second       // for one look and its signature
	// coverLimit is how long entries may be without a checkpoint before nothing may be disclosed.
	coverLimit = 60 * time.Second
)

// Signer keeps the tree signed. Each node of an installation has one; the store lets one of
// them sign at a time, the others see that it was done. It never signs a tree that does not
// continue the one signed last: whoever changed it finds the ledger without new checkpoints.
type Signer struct {
	Ledger      annona.LedgerReader
	Checkpoints annona.Checkpoints
	Key         annona.CheckpointSigner
	Clock       annona.Clock

	mu      sync.Mutex
	covered time.Time // every entry committed before it is covered by a checkpoint
	last    annona.Checkpoint
}

// Begin grants the time that a first checkpoint may take. Whoever asks Covered from another
// goroutine than Run's calls it before.
func (s *Signer) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered = s.Clock()
}

// Run signs within a second whatever was appended, until ctx ends. report is told when that
// begins to fail, and with nil when it works again.
func (s *Signer) Run(ctx context.Context, report func(error)) {
	s.Begin()
	tick := time.NewTicker(signEvery)
	defer tick.Stop()
	failing := false
	for {
		limited, cancel := context.WithTimeout(ctx, signTime)
		_, err := s.Sign(limited)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing || err == nil && failing {
			report(err)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Covered returns nil while entries are signed in time, and otherwise the error with which
// disclosures stop (503 ledger_unsigned).
func (s *Signer) Covered() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Clock().Sub(s.covered) <= coverLimit {
		return nil
	}
	return annona.Unavailable("ledger_unsigned", "the ledger has had no new checkpoint for more than a minute, so nothing may be disclosed; the server's log says why")
}

// Sign returns a checkpoint that covers all entries committed before the call, and signs it
// when there is none yet. Errors have the codes ledger_rolled_back, ledger_deviates or those of
// the store.
func (s *Signer) Sign(ctx context.Context) (annona.Checkpoint, error) {
	began := s.Clock()
	size, root, err := s.Ledger.LedgerTree(ctx)
	if err != nil {
		return annona.Checkpoint{}, err
	}
	latest, err := s.latest(ctx)
	if err != nil {
		return annona.Checkpoint{}, err
	}
	switch {
	case size < latest.Size:
		return latest, annona.Conflict("ledger_rolled_back", "the ledger has fewer entries than its latest checkpoint says: it was cut off, or an older copy was put in its place; run annona verify")
	case size > latest.Size:
		if latest, err = s.extend(ctx, latest, size, root); err != nil {
			return latest, err
		}
	case root != latest.Root && size > 0:
		return latest, errNotContinued
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.covered, s.last = began, latest
	return latest, nil
}

var errNotContinued = annona.Conflict("ledger_deviates", "the ledger's tree does not continue its latest checkpoint: it was changed; run annona verify")

// latest returns the latest checkpoint on file, or the one that this process remembers when
// the file has lost it.
func (s *Signer) latest(ctx context.Context) (annona.Checkpoint, error) {
	kept, err := s.Checkpoints.LatestCheckpoint(ctx)
	if err != nil {
		return annona.Checkpoint{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept == nil || kept.Size < s.last.Size {
		return s.last, nil
	}
	return *kept, nil
}

// extend signs a tree that continues the latest checkpoint.
func (s *Signer) extend(ctx context.Context, latest annona.Checkpoint, size int64, root [32]byte) (annona.Checkpoint, error) {
	if latest.Size > 0 {
		before, err := rootAt(ctx, s.Ledger, latest.Size)
		if err != nil {
			return latest, err
		}
		if before != latest.Root {
			return latest, errNotContinued
		}
	}
	signed, err := s.Key.SignCheckpoint(checkpointText(s.Key.LedgerOrigin(), size, root))
	if err != nil {
		return latest, err
	}
	c := annona.Checkpoint{Size: size, Root: root, At: s.Clock().UTC(), Note: signed}
	kept, err := s.Checkpoints.PutCheckpoint(ctx, c)
	if err != nil || kept {
		return c, err
	}
	return s.latest(ctx) // another node was faster
}
