package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// readSmall takes the first three steps of a small request: decide, narrow and fetch, in which read
// fills the page. The decision is taken from remembered standings and confirmed by the policy epoch
// that lies beside the records: a revocation, a restriction or another agreement that came before
// the records were read is always found. A decision that is not confirmed, and every refusal, is
// taken again from the store.
func (x *Exchange) readSmall(ctx context.Context, caller annona.Caller, verb annona.Verb, q Question, form Form, read func(*inquiry, *annona.Page) error) (*inquiry, *annona.Page, error) {
	remembered, err := x.Remembered.under(ctx)
	if err != nil {
		return nil, nil, err
	}
	i, page, err := x.inquireAndRead(ctx, remembered, caller, verb, q, form, read)
	switch {
	case err == nil && remembered.confirms(page.Epoch):
		return i, page, nil
	case isFailure(err):
		return nil, nil, err
	}
	return x.inquireAndRead(ctx, x.Standings, caller, verb, q, form, read)
}

func (x *Exchange) inquireAndRead(ctx context.Context, from annona.Standings, caller annona.Caller, verb annona.Verb, q Question, form Form, read func(*inquiry, *annona.Page) error) (*inquiry, *annona.Page, error) {
	i, err := x.inquire(ctx, from, caller, verb, q)
	if err != nil {
		return nil, nil, err
	}
	i.form = form
	page := annona.NewPage(i.shape)
	if err := read(i, page); err != nil {
		return nil, nil, err
	}
	return i, page, nil
}

// isFailure reports whether something failed, so that nothing was decided.
func isFailure(err error) bool {
	if err == nil {
		return false
	}
	kind := annona.KindOf(err)
	return kind == annona.KindInternal || kind == annona.KindUnavailable
}
