package exchange

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// What was denied stands in the ledger: who asked, which verb, which dataset, and the code of the reason. It
// never holds what was asked for. A client that is denied the same again and again fills nothing: the first
// denial is entered at once, and what follows is counted and entered once a minute.

// refusalPause is how long the same denial is counted before it is entered again.
const refusalPause = time.Minute

// maxRefusals is how many different denials a node counts at once. A further one waits until others are
// entered, and is counted with those of its client that have no room of their own.
const maxRefusals = 10_000

// refusal is what denials are grouped by.
type refusal struct {
	client        annona.UID
	person        annona.UID
	verb          annona.Verb
	dataset, code string
}

// counted is how often one was denied since it was entered last.
type counted struct {
	caller annona.Caller
	times  int
	since  time.Time
}

// refusals are the denials of this node.
type refusals struct {
	mu     sync.Mutex
	groups map[refusal]*counted
}

// denied notes that a caller was denied something, when that is what err says.
func (x *Exchange) denied(from annona.Standings, caller annona.Caller, verb annona.Verb, dataset string, err error) {
	if _, retried := from.(*remembering); retried || caller.IsOperator() {
		return // what was remembered is decided again
	}
	kind := annona.KindOf(err) // of nil: none of these
	if kind != annona.KindForbidden && kind != annona.KindUnauthenticated {
		return
	}
	if _, known := x.CurrentDictionary().Dataset(dataset); !known {
		dataset = ""
	}
	r := refusal{caller.Client, caller.Acting.Person, verb, dataset, annona.CodeOf(err)}
	now := x.Clock()
	if x.refusals.count(r, caller, now) {
		x.enter(r, caller, 1)
	}
}

// count counts a denial, and reports whether it is the first of its group, to be entered at once.
func (f *refusals) count(r refusal, caller annona.Caller, now time.Time) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups == nil {
		f.groups = map[refusal]*counted{}
	}
	if len(f.groups) >= maxRefusals && f.groups[r] == nil {
		r = refusal{client: r.client, code: "others"}
	}
	g := f.groups[r]
	if g == nil {
		f.groups[r] = &counted{caller: caller, since: now}
		return len(f.groups) <= maxRefusals
	}
	g.times++
	return false
}

// due takes out what was counted for long enough; all of it, when it is the last time.
func (f *refusals) due(now time.Time, last bool) map[refusal]counted {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[refusal]counted{}
	for r, g := range f.groups {
		switch {
		case !last && now.Sub(g.since) < refusalPause:
		case g.times > 0:
			out[r] = *g
			g.times, g.since = 0, now
		default:
			delete(f.groups, r)
		}
	}
	return out
}

// EnterRefusals enters what was denied again and again. A server asks for it each minute; Settle does at
// the end.
func (x *Exchange) EnterRefusals(last bool) {
	for r, g := range x.refusals.due(x.Clock(), last) {
		x.enter(r, g.caller, g.times)
	}
}

// enter enters denials of one group. Nobody waits for it: whoever was denied gets nothing.
func (x *Exchange) enter(r refusal, caller annona.Caller, times int) {
	entry := x.administration(caller, audit.Facts{
		Verb: r.verb, Dataset: r.dataset, Agreement: caller.Agreement, Outcome: audit.Refused, Reason: r.code,
		Details: map[string]string{"times": strconv.Itoa(times)},
	})
	x.outcomes.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), outcomeTime)
		defer cancel()
		_ = x.Ledger.AppendLater(ctx, entry) // lost: the metrics have counted it
	})
}
