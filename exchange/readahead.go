package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// reader reads every n-th range of numbers ahead of the pass, into its own pages, so that a
// later range can never take the page that an earlier one waits for.
type reader struct {
	*fetcher
	free  chan *annona.Page
	ready chan fetched
}

// readAhead reads (after, last] in ranges with several readers and releases their pages in
// order.
func (p *pass) readAhead(ctx context.Context, own *fetcher, after, last annona.Number) error {
	ctx, stop := context.WithCancel(ctx)
	readers := make([]*reader, readersPerPass)
	for n := range readers {
		readers[n] = p.startReader(ctx, after, last, n)
	}
	defer func() {
		stop()
		for _, r := range readers {
			for range r.ready { // until the reader has gone: it must not outlive the pass
			}
		}
	}()
	for n := 0; ; n++ {
		r := readers[n%len(readers)]
		ended, err := p.releaseRange(ctx, own, r)
		if err != nil || ended {
			return err
		}
	}
}

// releaseRange releases the pages of the reader's next range; ended when it has none left.
func (p *pass) releaseRange(ctx context.Context, own *fetcher, r *reader) (ended bool, err error) {
	for f := range r.ready {
		if f.err != nil {
			return false, f.err
		}
		if f.disclosed.Count() > 0 || p.memory != nil {
			if err := p.release(ctx, own, f); err != nil {
				return false, err
			}
		}
		r.free <- f.page
		if f.last {
			return false, nil
		}
	}
	return true, ctx.Err()
}

// startReader starts the n-th of the readers.
func (p *pass) startReader(ctx context.Context, after, last annona.Number, n int) *reader {
	r := &reader{
		fetcher: p.fetcher(),
		free:    make(chan *annona.Page, pagesPerReader),
		ready:   make(chan fetched, pagesPerReader),
	}
	for range pagesPerReader {
		r.free <- annona.NewPage(p.shape)
	}
	width := annona.Number(maxPageRows)
	if len(p.shape.Groups) > 0 {
		width = maxNestedRows
	}
	go func() {
		defer close(r.ready)
		for from := after + annona.Number(n)*width; from < last; from += readersPerPass * width {
			if !r.readRange(ctx, from, min(from+width, last)) {
				return
			}
		}
	}()
	return r
}

// readRange reads one range and reports whether the reader may go on. The range is no wider
// than a page, so that one page holds it.
func (r *reader) readRange(ctx context.Context, after, until annona.Number) bool {
	var page *annona.Page
	select {
	case page = <-r.free:
	case <-ctx.Done():
		return false
	}
	f, err := r.fetch(ctx, page, after, until, int(until-after))
	f.err, f.last = err, true
	select {
	case r.ready <- f:
		return err == nil
	case <-ctx.Done():
		return false
	}
}
