package postgres

import (
	"cmp"
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	begin := func(c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, begins)
		return err
	}
	err = s.writers.lend(ctx, begin, func(c *pgxpool.Conn) error {
		defer abandon(c.Conn())
		t := s.newTx(ctx, c.Conn())
		err := fn(t)
		defer func() { again = t.again }()
		if err = cmp.Or(err, t.failed, ctx.Err()); err != nil { // a failure of the database counts also when fn did not pass it on
			return err
		}
		return t.commit()
	})
	return again || isRepeatable(err), err
}

// begins is what begins a transaction of writing: alone, or in front of its first questions.
const begins = "BEGIN"

// beginning is that as a question.
var beginning = question{begins, nil, func(row) error { return nil }}

// commitBehind runs the last statements of a transaction and commits it, in one round trip.
func commitBehind(ctx context.Context, db database, last *pgx.Batch) error {
	last.Queue("COMMIT")
	answers := db.SendBatch(ctx, last)
	var done pgconn.CommandTag
	for range last.Len() {
		var err error
		if done, err = answers.Exec(); err != nil {
			return cmp.Or(err, answers.Close())
		}
	}
	if err := answers.Close(); err != nil {
		return err
	}
	if done.String() != "COMMIT" {
		return pgx.ErrTxCommitRollback
	}
	return nil
}

// abandon rolls back what was begun and not committed. A connection that does not answer is not used again.
func abandon(c *pgx.Conn) {
	if status := c.PgConn().TxStatus(); status == 'T' || status == 'E' {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = c.Exec(ctx, "ROLLBACK")
	}
}

// commit commits, also when the request ends meanwhile: half a commit does not exist.
func commit(p pgx.Tx) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	return p.Commit(ctx)
}
