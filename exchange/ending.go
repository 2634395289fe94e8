package exchange

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// ending ends a request that released something. Whoever writes the answer calls Sent once,
// behind its last byte or where it broke off; a request without it has the outcome unknown
// after the next start.
type ending struct {
	x       *Exchange
	request annona.UID
	facts   audit.Facts
	caller  annona.Caller
}

// outcomeTime bounds the entry of an outcome: the reader does not wait for it.
const outcomeTime = 10 * time.Second

// Sent records how the request ended: how many rows were handed over, and in err why they were
// not written whole. It does not wait until the entry is durable. A lost outcome is shown as
// unknown, never as complete.
func (e ending) Sent(rows int64, err error) {
	if e.x == nil {
		return // nothing was released
	}
	facts := e.facts
	facts.Fields, facts.Outcome, facts.Rows, facts.Page = nil, audit.Complete, rows, 0
	if rows > 0 {
		facts.Pages = 1
	}
	if err != nil {
		facts.Outcome, facts.Pages, facts.Rows, facts.Reason = audit.Aborted, 0, 0, annona.CodeOf(err)
	}
	entry := audit.Outcome(e.x.Clock(), e.request, facts, e.caller)
	e.x.outcomes.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), outcomeTime)
		defer cancel()
		_ = e.x.Ledger.AppendLater(ctx, entry) // lost: unknown
	})
}

// Settle waits until every outcome that was handed to Sent, and every denial that was counted, is recorded or
// lost, and what clients have used. A server does so before it closes the store.
func (x *Exchange) Settle() {
	x.EnterRefusals(true)
	ctx, cancel := context.WithTimeout(context.Background(), outcomeTime)
	defer cancel()
	_ = x.KeepUses(ctx) // lost: noted when it is used again
	x.outcomes.Wait()
}
