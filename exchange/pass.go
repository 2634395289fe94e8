package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// The bounds of a page of an export. The first one is small, so that the first byte comes
// soon. A record with nested groups is larger, hence fewer of them.
const (
	firstPageRows  = 1000
	maxPageRows    = 8192
	maxNestedRows  = 384
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
		plan.Show(p.i.spec.records(p.shown), p.i.spec.changes)
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
	got.disclosed = f.redact(into)
	return got, nil
}

// fetchPast does so at the export's position. The range is no wider than a page.
func (f *fetcher) fetchPast(ctx context.Context, got fetched) (fetched, error) {
	var err error
	if got.epoch, err = f.x.Standings.Epoch(ctx); err != nil {
		return got, err
	}
	got.last = true
	scope := f.i.scope(f.shape, f.x.today(f.x.Clock()))
	if f.delta != nil {
		return f.fetchDelta(ctx, got, scope)
	}
	if err := f.past.read(ctx, scope, got.after, got.until, got.page); err != nil {
		return got, err
	}
	got.disclosed = f.redact(got.page)
	return got, nil
}

// fetchDelta reads those of a range that have changed, and the ids of those that are gone.
func (f *fetcher) fetchDelta(ctx context.Context, got fetched, scope annona.Scope) (fetched, error) {
	numbers := f.delta.roots.between(got.after, got.until)
	if err := f.past.readNumbers(ctx, scope, numbers, got.page); err != nil {
		return got, err
	}
	words := map[annona.Number]string{}
	var gone []annona.Number
	for _, n := range numbers {
		held := f.delta.held.Contains(uint64(n))
		_, seen := slices.BinarySearch(got.page.Numbers, n)
		switch {
		case seen && held:
			words[n] = string(ChangeUpsert)
		case seen:
			words[n] = string(ChangeEntered)
		case held:
			gone = append(gone, n)
		}
	}
	got.disclosed = f.plan.Redact(got.page)
	if f.shown.Columns == nil || f.shown.Columns[0] != f.i.spec.change {
		return got, nil // a file of what lies in records
	}
	ids, err := f.goneIDs(ctx, gone, words)
	if err != nil {
		return got, err
	}
	got.disclosed = got.disclosed.Telling(f.shown, ids, func(n annona.Number) string { return words[n] })
	return got, nil
}

// goneIDs discloses the ids of records that are gone, and notes what became of each.
func (f *fetcher) goneIDs(ctx context.Context, gone []annona.Number, words map[annona.Number]string) (*privacy.Disclosed, error) {
	dataset := f.i.shape.Dataset
	key, _ := dataset.Field(dataset.Key)
	page := annona.NewPage(&annona.Shape{Dataset: dataset, Columns: []*annona.Field{key}})
	left, err := f.x.Views.Departed(ctx, dataset, gone)
	if err != nil {
		return nil, err
	}
	for _, n := range gone {
		d, known := left[n]
		if !known {
			return nil, errPast()
		}
		words[n] = string(ChangeLeft)
		if d.Erased {
			words[n] = string(ChangeDelete)
		}
		page.Numbers, page.UIDs = append(page.Numbers, n), append(page.UIDs, d.UID)
		page.Columns[0].Append(d.UID[:])
		page.Count++
	}
	return f.i.plan(page.Shape).Redact(page), nil
}

// redact turns a page of records into what may be shown of it. In the mode delta each row of an export of
// everything says that it is to be put in its place.
func (f *fetcher) redact(page *annona.Page) *privacy.Disclosed {
	d := f.plan.Redact(page)
	if f.i.spec == nil || f.i.spec.change == nil || len(f.shown.Columns) == 0 || f.shown.Columns[0] != f.i.spec.change {
		return d
	}
	return d.Telling(f.shown, nil, func(annona.Number) string { return string(ChangeUpsert) })
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
