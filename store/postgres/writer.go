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

// attempt runs the transaction once and reports whether it is worth another try: also on another connection,
// when this one turns out to be dead before anything has begun.
func (s *Store) attempt(ctx context.Context, fn func(*tx) error) (again bool, err error) {
	atOnce := func(*pgxpool.Conn) error { return nil }
	err = s.writers.lend(ctx, atOnce, func(c *pgxpool.Conn) error {
		defer abandon(c.Conn())
		o := &opening{Conn: c.Conn()}
		t := s.newTx(ctx, o)
		err := fn(t)
		if err = cmp.Or(err, t.failed); err == nil { // a failure of the database counts also when fn did not pass it on
			err = o.begin(ctx) // whoever has asked nothing learns here that the connection is dead, and not when it is committed
		}
		dead := !o.begun && o.IsClosed()
		if dead {
			s.writers.Reset() // the others have lost their server too
		}
		defer func() { again = t.again || dead }()
		if err = cmp.Or(err, ctx.Err()); err != nil {
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

// opening is a connection whose transaction begins with its first statements, in the same round trip.
type opening struct {
	*pgx.Conn
	begun bool
}

// SendBatch sends statements, the first ones behind BEGIN.
func (o *opening) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if o.begun {
		return o.Conn.SendBatch(ctx, b)
	}
	var all pgx.Batch
	all.Queue(begins)
	all.QueuedQueries = append(all.QueuedQueries, b.QueuedQueries...)
	answers := o.Conn.SendBatch(ctx, &all)
	_, err := answers.Exec() // whoever asks for the next answer is told why there is none
	o.begun = err == nil
	return answers
}

func (o *opening) Exec(ctx context.Context, sql string, args ...any) (done pgconn.CommandTag, err error) {
	if o.begun {
		return o.Conn.Exec(ctx, sql, args...)
	}
	var b pgx.Batch
	b.Queue(sql, args...)
	answers := o.SendBatch(ctx, &b)
	done, err = answers.Exec()
	return done, cmp.Or(err, answers.Close())
}

func (o *opening) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if o.begun {
		return o.Conn.Query(ctx, sql, args...)
	}
	var b pgx.Batch
	b.Queue(sql, args...)
	answers := o.SendBatch(ctx, &b)
	rows, err := answers.Query()
	if err != nil {
		return nil, cmp.Or(err, answers.Close())
	}
	return &lastRows{Rows: rows, answers: answers}, nil
}

// begin begins the transaction by itself: for those who do not send statements.
func (o *opening) begin(ctx context.Context) error {
	if o.begun {
		return nil
	}
	_, err := o.Conn.Exec(ctx, begins)
	o.begun = err == nil
	return err
}

// lastRows are the rows of the last answer: behind them the connection is free again.
type lastRows struct {
	pgx.Rows
	answers pgx.BatchResults
	ended   error
}

func (r *lastRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

func (r *lastRows) Close() {
	r.Rows.Close()
	if r.answers != nil {
		r.ended, r.answers = r.answers.Close(), nil
	}
}

func (r *lastRows) Err() error { return cmp.Or(r.Rows.Err(), r.ended) }

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
