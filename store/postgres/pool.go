package postgres

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pool lends connections of one use.
type pool struct {
	*pgxpool.Pool
	config *pgxpool.Config
	closed atomic.Bool
}

// newPool makes a pool and its first connection.
func newPool(ctx context.Context, url string, u use, size int) (*pool, error) {
	p, err := makePool(ctx, url, u, size)
	if err != nil {
		return nil, err
	}
	if err := p.Ping(ctx); err != nil {
		p.Close()
		return nil, fault("open the registry", err)
	}
	return p, nil
}

// makePool makes a pool that connects when it is asked for something.
func makePool(ctx context.Context, url string, u use, size int) (*pool, error) {
	config, err := parse(url, u)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(size)
	config.MinConns = 0
	config.MaxConnIdleTime = 5 * time.Minute
	p := &pool{config: config}
	if p.Pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fault("open the registry", err)
	}
	return p, nil
}

// close waits until every connection is back and closes them.
func (p *pool) close() {
	if !p.closed.Swap(true) {
		p.Close()
	}
}

// attempts is how often a connection is taken whose server has gone away meanwhile.
const attempts = 3

// lend runs fn on a connection. start is run before it: when the connection turns out to be
// dead there, nothing has happened yet and another one is taken.
func (p *pool) lend(ctx context.Context, start, fn func(*pgxpool.Conn) error) error {
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.closed.Load() {
			return errClosed()
		}
		c, err := p.Acquire(ctx)
		if err != nil {
			return err
		}
		err = start(c)
		if err == nil {
			defer c.Release()
			return fn(c)
		}
		dead := c.Conn().IsClosed()
		c.Release()
		if !dead || attempt == attempts || ctx.Err() != nil {
			return err
		}
		p.Reset() // the others have lost their server too
	}
}

// ask runs fn on a connection without a transaction: each of its questions is a snapshot.
func (p *pool) ask(ctx context.Context, doing string, fn func(*conn) error) error {
	err := p.lend(ctx,
		func(c *pgxpool.Conn) error { return fn(&conn{ctx: ctx, db: c}) },
		func(*pgxpool.Conn) error { return nil })
	return ended(ctx, doing, err)
}

// read runs fn in one read transaction: all that fn sees is of one moment.
func (p *pool) read(ctx context.Context, doing string, fn func(*conn) error) error {
	return p.readBehind(ctx, doing, func(*conn) error { return nil }, fn)
}

// readBehind is read, after before has been run on the connection: the snapshot is taken behind it.
func (p *pool) readBehind(ctx context.Context, doing string, before, fn func(*conn) error) error {
	var t pgx.Tx
	begin := func(c *pgxpool.Conn) (err error) {
		if err := before(&conn{ctx: ctx, db: c}); err != nil {
			return err
		}
		t, err = c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		return err
	}
	err := p.lend(ctx, begin, func(*pgxpool.Conn) error {
		defer rollBack(t)
		return fn(&conn{ctx: ctx, db: t})
	})
	return ended(ctx, doing, err)
}

// rollBack ends a transaction, also one whose request has ended. A connection that cannot do
// it any more is thrown away by its pool.
func rollBack(t pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = t.Rollback(ctx) // after a commit it has nothing to do
}

// ended prefers the reason why a request ended to what it broke on its way.
func ended(ctx context.Context, doing string, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, errStop) {
		return ctx.Err()
	}
	return fault(doing, err)
}

var errStop = errors.New("the caller has seen enough")
