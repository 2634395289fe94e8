package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// The bounds of a page of an export. The first one is small, so that the first byte comes
// soon. A record with nested groups is larger, hence fewer of them.
const (
	firstPageRows  = 1000
	maxPageRows    = 8192
	maxNestedRows  = 2048
	readersPerPass = 2
	pagesPerReader = 2 // one is read while the other waits to go: four in flight
)

// pass is one reading of the scope: the whole export, or one file of a linked one.
type pass struct {
	*Export
	shape *annona.Shape // that is read
	shown *annona.Shape // that the receiver gets: the same, or with the names of a specification
	part  int
	to    Receiver
	sent  *Sent
}

// fetched is a page that was read, opened and redacted, and waits to go.
type fetched struct {
	page      *annona.Page
	disclosed *privacy.Disclosed
	after     annona.Number // the range that was read: after < number ≤ until
	until     annona.Number
	epoch     int64 // of the standings under which it was read
	last      bool  // ends the range
	err       error
}

// fetcher reads pages of one pass; each goroutine has its own.
type fetcher struct {
	*pass
	plan *privacy.Plan
}

// newPass returns the reading of one part.
func (e *Export) newPass(part int, shown *annona.Shape, to Receiver, sent *Sent) *pass {
	p := &pass{Export: e, shape: shown, shown: shown, part: part, to: to, sent: sent}
	if e.i.spec != nil {
		p.shape = e.i.spec.read(shown)
	}
	return p
}

func (p *pass) fetcher() *fetcher {
	plan := p.i.plan(p.shape)
	if p.i.spec != nil {
		plan.Show(p.shown, p.i.spec.changes)
	}
	return &fetcher{pass: p, plan: plan}
}

// fetch reads one page of a range, opens it and redacts it. The epoch is read first: whatever
// changes after it makes the page stale.
func (f *fetcher) fetch(ctx context.Context, into *annona.Page, after, until annona.Number, limit int) (fetched, error) {
	into.Reset()
	got := fetched{page: into, after: after, until: until}
	if f.past != nil {
		return f.fetchPast(ctx, got)
	}
	more := false
	err := f.x.readOpen(ctx, into, func() (err error) {
		if got.epoch, err = f.x.Standings.Epoch(ctx); err != nil {
			return err
		}
		more, err = f.x.Records.ReadPage(ctx, f.i.scope(f.shape, f.x.today(f.x.Clock())), after, until, limit, into)
		return err
	})
	if err != nil {
		return got, err
	}
	got.last = !more
	if more {
		got.until = into.Numbers[into.Count-1]
	}
	got.disclosed = f.plan.Redact(into)
	return got, nil
}

// fetchPast does so at the export's position. The range is no wider than a page.
func (f *fetcher) fetchPast(ctx context.Context, got fetched) (fetched, error) {
	var err error
	if got.epoch, err = f.x.Standings.Epoch(ctx); err != nil {
		return got, err
	}
	if err := f.past.read(ctx, f.i.scope(f.shape, f.x.today(f.x.Clock())), got.after, got.until, got.page); err != nil {
		return got, err
	}
	got.last = true
	got.disclosed = f.plan.Redact(got.page)
	return got, nil
}

// run reads the first page by itself and the rest with readers that work ahead.
func (p *pass) run(ctx context.Context) error {
	last := p.upto
	if last == 0 {
		var err error
		if last, err = p.x.Records.LastNumber(ctx, p.shape.Dataset); err != nil {
			return err
		}
	}
	own := p.fetcher()
	until := last
	if p.past != nil {
		until = min(last, p.from+firstPageRows)
	}
	first, err := own.fetch(ctx, annona.NewPage(p.shape), p.from, until, firstPageRows)
	if err != nil {
		return err
	}
	if first.disclosed.Count() > 0 {
		if err := p.permit(ctx, own, &first); err != nil {
			return err
		}
	}
	if err := p.to.Begin(p.part); err != nil {
		return err
	}
	if err := p.hand(ctx, first); err != nil || first.until >= last {
		return err
	}
	return p.readAhead(ctx, own, first.until, last)
}

// release lets one page go: decided again, read again when it is stale, recorded, handed over.
func (p *pass) release(ctx context.Context, own *fetcher, f fetched) error {
	if err := p.permit(ctx, own, &f); err != nil {
		return err
	}
	return p.hand(ctx, f)
}

// permit decides again, renews a stale page and records it.
func (p *pass) permit(ctx context.Context, own *fetcher, f *fetched) error {
	if err := p.decideAgain(ctx); err != nil {
		return err
	}
	if err := own.renew(ctx, f); err != nil {
		return err
	}
	if f.disclosed.Count() == 0 {
		return nil
	}
	if p.part == 0 {
		if err := overCeiling(p.already+p.sent.Rows+int64(f.disclosed.Count()), p.i.grant.RowCeiling); err != nil {
			return err
		}
	}
	return p.x.record(ctx, p.i, f.disclosed, p.sent.Pages+1)
}

// renew reads a page again when a restriction, a consent or a grant changed since it was
// read: rows may come from earlier, permission comes from now.
func (f *fetcher) renew(ctx context.Context, stale *fetched) error {
	epoch, err := f.x.Standings.Epoch(ctx)
	if err != nil || epoch == stale.epoch {
		return err
	}
	last := stale.last
	*stale, err = f.fetch(ctx, annona.NewPage(f.shape), stale.after, stale.until, maxPageRows)
	stale.last = last
	return err
}

func (p *pass) hand(ctx context.Context, f fetched) error {
	if f.disclosed.Count() > 0 {
		if err := p.to.Page(f.disclosed); err != nil {
			return err
		}
		p.sent.Pages++
		if p.part == 0 {
			p.sent.Rows += int64(f.disclosed.Count())
		}
	}
	if p.memory == nil {
		return nil
	}
	return p.memory.take(ctx, &f)
}
