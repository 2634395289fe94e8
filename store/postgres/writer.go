package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annona-exchange/annona"
)

const (
	patience      = 8 // how often a transaction runs that loses against others
	pause         = 10 * time.Millisecond
	commitTimeout = 60 * time.Second // a commit that has been sent is waited for
)

// Update runs fn in one transaction, again when it loses against another one. On error,
// cancellation or panic nothing of it is kept; the error is that of fn.
func (s *Store) Update(ctx context.Context, fn func(annona.Tx) error) error {
	var failed error
	err := s.update(ctx, "write to the registry", func(t *tx) error {
		failed = fn(t)
		return failed
	})
	if failed != nil {
		return failed
	}
	return err
}

// Alone is always true: nobody waits for another one's transaction, unless both write the same record.
func (s *Store) Alone() bool { return true }

func (s *Store) update(ctx context.Context, doing string, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.refreshLines(ctx); err != nil {
		return err
	}
	return ended(ctx, doing, s.transaction(ctx, fn))
}

// transaction runs fn between BEGIN and COMMIT and then wakes the sequencer.
func (s *Store) transaction(ctx context.Context, fn func(*tx) error) error {
	for attempt := 1; ; attempt++ {
		again, err := s.attempt(ctx, fn)
		if err == nil {
			s.sequencer.poke()
			return nil
		}
		if !again || attempt == patience || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Duration(attempt) * (pause/2 + rand.N(pause)))
	}
}

// attempt runs the transaction once and reports whether it is worth another try.
func (s *Store) attempt(ctx context.Context, fn func(*tx) error) (again bool, err error) {
	var p pgx.Tx
	begin := func(c *pgxpool.Conn) (err error) {
		p, err = c.Begin(ctx)
		return err
	}
	err = s.writers.lend(ctx, begin, func(*pgxpool.Conn) error {
		defer rollBack(p)
		t := s.newTx(ctx, p)
		err := t.run(fn)
		again = t.again
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return commit(p)
	})
	return again || isRepeatable(err), err
}

// commit commits, also when the request ends meanwhile: half a commit does not exist.
func commit(p pgx.Tx) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	return p.Commit(ctx)
}

// run runs fn and writes what it has left to the end. A failure of the database that fn did
// not pass on fails the transaction all the same.
func (t *tx) run(fn func(*tx) error) error {
	if err := fn(t); err != nil {
		return err
	}
	if t.failed != nil {
		return t.failed
	}
	return t.finish()
}
