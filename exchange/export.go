package exchange

import (
	"context"
	"errors"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// recheck is how often a running export asks again whether it may go on, also while a write
// waits for a slow reader. A revocation takes effect within 5 seconds.
const recheck = time.Second

// Export is a search at full length: all records in the caller's scope. It was decided and
// narrowed; nothing is read before Run.
type Export struct {
	x        *Exchange
	i        *inquiry
	position string

	// Of an export at a position.
	past   *Snapshot // nil: of now
	at     annona.Moment
	areas  int64        // version of the areas
	memory *shownMemory // nil: nobody can go on behind it

	// Of one part of an export that becomes files.
	from, upto annona.Number // rows with from < number ≤ upto; upto 0: all
	already    int64         // rows of the parts before
	delta      *present      // of a delta: the rows that have changed; nil: it has everything
}

// Receiver is where an export goes: an encoder. Page is called only after the ledger entry
// of that page is durable; End once, behind the last page. What failed to end is not complete.
type Receiver interface {
	Begin(part int) error
	Page(d *privacy.Disclosed) error
	End() error
}

// Sent counts what was handed over.
type Sent struct {
	Rows  int64 // of the root dataset
	Pages int
}

// Export decides and narrows an export.
func (x *Exchange) Export(ctx context.Context, caller annona.Caller, q Question, form Form) (*Export, error) {
	return x.export(ctx, caller, q, form, nil)
}

func (x *Exchange) export(ctx context.Context, caller annona.Caller, q Question, form Form, spec *annona.ExportSpec) (*Export, error) {
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbExport, q)
	if err != nil {
		return nil, err
	}
	i.form = form
	if spec != nil {
		if err := x.showBySpec(ctx, i, spec); err != nil {
			return nil, err
		}
	}
	e := &Export{x: x, i: i}
	if err := e.stand(ctx); err != nil {
		return nil, err
	}
	return e, e.checkCeiling(ctx)
}

// Shape returns the columns of the export as they are shown, fixed from now on.
func (e *Export) Shape() *annona.Shape {
	if e.i.spec != nil {
		return e.i.spec.shown
	}
	return e.i.shape
}

// Request returns the id of the export in the ledger.
func (e *Export) Request() annona.UID { return e.i.request }

// Schema returns the version of the schema that the export follows.
func (e *Export) Schema() int { return e.i.schema }

// Withheld names the fields of the dataset that the agreement does not grant.
func (e *Export) Withheld() []string { return withheld(e.i.shape.Dataset, e.i.grant) }

// Raised is the reason why the agreement raises a cap of this credential; empty: it does not.
func (e *Export) Raised() string { return e.i.grant.Raised }

// checkCeiling refuses an export that would be cut off at the grant's ceiling, before its
// first byte. It counts at most one row more than that, all of them rows that the caller may
// read.
func (e *Export) checkCeiling(ctx context.Context) error {
	ceiling := e.i.grant.RowCeiling
	if ceiling == 0 {
		return nil
	}
	scope := e.i.scope(&annona.Shape{Dataset: e.i.shape.Dataset}, e.x.today(e.x.Clock()))
	if e.past != nil {
		return e.checkPastCeiling(ctx, scope)
	}
	rows, err := e.x.countRows(ctx, scope, ceiling+1)
	if err != nil {
		return err
	}
	return overCeiling(rows, ceiling)
}

// countRows counts the rows of a scope, and stops soon behind enough of them.
func (x *Exchange) countRows(ctx context.Context, scope annona.Scope, enough int64) (rows int64, err error) {
	page, after := annona.NewPage(scope.Shape()), annona.Number(0)
	for more := true; more && rows < enough; {
		page.Reset()
		if more, err = x.Records.ReadPage(ctx, scope, after, 0, maxPageRows, page); err != nil {
			return rows, err
		}
		if page.Count == 0 {
			break
		}
		rows, after = rows+int64(page.Count), page.Numbers[page.Count-1]
	}
	return rows, nil
}

func (e *Export) checkPastCeiling(ctx context.Context, scope annona.Scope) error {
	last, err := e.x.Records.LastNumber(ctx, scope.Dataset())
	page, rows := annona.NewPage(scope.Shape()), int64(0)
	for after := annona.Number(0); err == nil && after < last && rows <= e.i.grant.RowCeiling; after += maxPageRows {
		page.Reset()
		err = e.past.read(ctx, scope, after, min(after+maxPageRows, last), page)
		rows += int64(page.Count)
	}
	if err != nil {
		return err
	}
	return overCeiling(rows, e.i.grant.RowCeiling)
}

func overCeiling(rows, ceiling int64) error {
	if ceiling == 0 || rows <= ceiling {
		return nil
	}
	return annona.Forbidden("row_ceiling",
		"more than %d rows; narrow the filter, use a stronger credential (oauth, sender_constrained), or have the cap raised in the agreement", ceiling)
}

// Run reads the scope once for each part and hands its pages to the receiver, in order, each
// after its ledger entry. The receiver's first Begin comes when the first page is ready to
// go: an error before it is an answer, an error after it must abort the connection.
//
// cut is called when the export may not go on while a write is blocked; it must make that
// write fail.
func (e *Export) Run(ctx context.Context, parts []*annona.Shape, to Receiver, cut func()) (Sent, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, cut)()
	go e.watch(ctx, cancel)

	sent, err := e.send(ctx, parts, to)
	if err != nil {
		return sent, e.aborted(ctx, sent, cause(ctx, err))
	}
	err = e.x.outcome(context.WithoutCancel(ctx), e.i, audit.Complete, sent.Pages, sent.Rows, "")
	return sent, err
}

// send hands over every part, and the end.
func (e *Export) send(ctx context.Context, parts []*annona.Shape, to Receiver) (sent Sent, err error) {
	if e.past != nil && e.i.spec == nil {
		if e.memory, err = e.remember(ctx, parts); err != nil {
			return sent, err
		}
	}
	for n, shape := range parts {
		p := e.newPass(n, shape, to, &sent)
		if err := p.run(ctx); err != nil {
			return sent, err
		}
	}
	if e.memory != nil {
		e.memory.end()
	}
	return sent, to.End()
}

// cause prefers the reason why the export was stopped to the failure that the stop brought
// about.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, context.Canceled) {
		return why
	}
	return err
}

func (e *Export) aborted(ctx context.Context, sent Sent, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	lost := e.x.outcome(ctx, e.i, audit.Aborted, sent.Pages, sent.Rows, annona.CodeOf(err))
	return errors.Join(err, lost)
}

// watch asks each second whether the export may go on, and cancels it when it may not.
func (e *Export) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := e.decideAgain(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
				return
			}
		}
	}
}

// decideAgain takes the first step anew. Columns and rows were fixed under one version of the
// agreement: another one ends the export.
func (e *Export) decideAgain(ctx context.Context) error {
	grant, err := e.x.decide(ctx, e.x.Standings, e.i.caller, e.i.verb, e.i.question)
	if err != nil {
		return err
	}
	was := e.i.grant
	switch {
	case grant.Agreement.Version != was.Agreement.Version:
		return annona.Conflict("agreement_changed", "the agreement changed while the export ran; run it again")
	case grant.Decision.Effect != was.Decision.Effect:
		return annona.Conflict("policy_changed", "what the policy lets your role see changed while the export ran; run it again")
	}
	return nil
}
