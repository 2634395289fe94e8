package exchange

import (
	"context"
	"errors"
	"time"
)

// A load writes one batch behind the other, and finds, merges and seals the records of the next one in
// the meantime: a database does what it is told while the exchange computes. The next one's rows are
// written when the one before it is committed, so that each sees what all before it have left.

// turn is the place of a write among those of its load.
type turn struct {
	over chan struct{} // closed when the write is committed and counted, or has failed
	err  error         // of a write that is over
}

func newTurn() *turn { return &turn{over: make(chan struct{})} }

func (t *turn) end(err error) {
	t.err = err
	close(t.over)
}

// longestHeld is how long a write holds the records that it has found, while it waits for its turn: the
// write before it may want one of them.
const longestHeld = time.Second

var (
	// errTooEarly says that a write has to find its records again, when the one before it is over.
	errTooEarly = errors.New("the write before this one is about the same records")
	errBefore   = errors.New("the write before this one has failed")
)

// await returns when the write of the turn is over: errBefore when it failed, errTooEarly when it takes
// longer than most. most 0: it may take as long as it does. nil is over.
func (t *turn) await(ctx context.Context, most time.Duration) error {
	if t == nil {
		return nil
	}
	var patience <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case <-t.over:
		if t.err != nil {
			return errBefore
		}
		return nil
	case <-patience:
		return errTooEarly
	case <-ctx.Done():
		return ctx.Err()
	}
}

// takeTurn waits until a share's records may be written. The write before it may have met one of them as
// well: then they are to be found again.
func (s *share) takeTurn(ctx context.Context) error {
	if s.before == nil {
		return nil
	}
	if err := s.before.await(ctx, longestHeld); err != nil {
		return err
	}
	if s.doubtful {
		return errTooEarly
	}
	for _, m := range s.sighted {
		if earlier := s.load.earlier(m.dataset, m.number); earlier.line != 0 && earlier.key == m.row.key {
			return errTooEarly
		}
	}
	return nil
}

// Two writes meet when the later one holds what the earlier one wants: a household that somebody leaves, or
// one whose head somebody becomes. Until the later one gives way, both wait. Where two meet, more will: a source
// that moves many people moves them to their neighbors. So behind a meeting some writes are kept apart: each is
// begun when the one before it has ended.

// spacing says how many of the next writes are kept apart.
type spacing struct{ left, wide int }

// fewest and most writes that are kept apart behind a meeting: twice as many as behind the last one, half as
// many for each write since then that was begun beside another one and met nobody.
const (
	fewestApart = 8
	mostApart   = 256
)

// keepsApart reports whether the next write begins only behind the one before it.
func (l *Loading) keepsApart() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.apart.left == 0 {
		return false
	}
	l.apart.left--
	return true
}

// space says how the writes behind one that was begun beside another are to be kept apart. A transaction that
// ran more than once has met somebody as well: the database has ended it.
func (l *Loading) space(s *share, err error) {
	if s.before == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(err, errTooEarly) && s.runs < 2 {
		l.apart.wide /= 2
		return
	}
	l.apart.wide = min(max(2*l.apart.wide, fewestApart), mostApart)
	l.apart.left = l.apart.wide
}
