package sqlite

import (
	"context"
	"errors"
	"sync"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// pool lends connections that only read.
type pool struct {
	path  string
	slots chan struct{} // one for each connection that may be lent
	ended chan struct{} // closed when nothing is lent any more
	mu    sync.Mutex
	idle  []*conn
}

func newPool(path string, size int) *pool {
	return &pool{path: path, slots: make(chan struct{}, size), ended: make(chan struct{})}
}

// read runs fn in one read transaction: all that fn sees is of one moment.
func (p *pool) read(ctx context.Context, doing string, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ended:
		return errClosed()
	}
	c, err := p.take()
	if err != nil {
		return err
	}
	defer p.put(c)
	if ctx.Done() != nil {
		c.SetInterrupt(ctx.Done())
		defer c.SetInterrupt(nil)
	}
	err = c.snapshot(fn)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return fault(doing, err)
}

// snapshot runs fn in a read transaction.
func (c *conn) snapshot(fn func(*conn) error) error {
	if err := c.exec("BEGIN"); err != nil {
		return err
	}
	defer c.endSnapshot()
	return fn(c)
}

func (c *conn) endSnapshot() {
	c.SetInterrupt(nil) // an interrupted connection could not end its transaction
	c.exec("ROLLBACK")
}

func (p *pool) take() (*conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c, nil
	}
	return openReading(p.path)
}

// put takes a connection back; one that could not end its transaction is closed instead.
func (p *pool) put(c *conn) {
	if !c.AutocommitEnabled() {
		c.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

func openReading(path string) (*conn, error) {
	c, err := open(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	// A reader goes through the file once, and every commit beside it empties its cache: a small
	// one takes its pages from itself, a large one from the system each time, which costs more
	// than it saves. 24 pages hold the inner ones of three tables.
	const readerCache = "cache_size = -192" // KiB
	for _, pragma := range []string{"query_only = on", readerCache, "temp_store = memory"} {
		if err := c.exec("PRAGMA " + pragma); err != nil {
			c.Close()
			return nil, fault("open the registry", err)
		}
	}
	return c, nil
}

// close waits until every connection is back and closes them.
func (p *pool) close() error {
	select {
	case <-p.ended:
		return nil
	default:
		close(p.ended)
	}
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var failed error
	for _, c := range p.idle {
		failed = errors.Join(failed, c.Close())
	}
	p.idle = nil
	return failed
}

// errScope refuses the zero Scope: there is no way in without one.
func errScope() error {
	return annona.Internal("read records", errors.New("no scope was given"))
}
