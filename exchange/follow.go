package exchange

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// MaxWait is how long a follower may wait for the next change.
const MaxWait = 60 * time.Second

// ChangeKind says what a follower does with a change.
type ChangeKind string

// The kinds of changes. Whether a record is new or has only come into sight is not told: that
// would say what it was before.
const (
	ChangeUpsert  ChangeKind = "upsert"        // put this record in the place of the one with its id
	ChangeEntered ChangeKind = "entered_scope" // likewise; it was not in sight before
	ChangeLeft    ChangeKind = "left_scope"    // drop the record with this id
	ChangeDelete  ChangeKind = "delete"        // likewise; the registry has erased or deleted it, or merged it into another one
)

// Gone reports whether the change has no record any more.
func (k ChangeKind) Gone() bool { return k == ChangeLeft || k == ChangeDelete }

// Change is one change of what a follower sees. Row is that of its record in Changes.Records, or
// of its id in Changes.IDs when the record is gone. What took its place stands in Changes.Into from row
// IntoFrom up to IntoEnd: those that the caller may see.
type Change struct {
	Kind              ChangeKind
	Row               int
	IntoFrom, IntoEnd int
}

// Changes is a page of changes that was released. Whoever writes it says with Sent how that ended.
type Changes struct {
	ending
	List    []Change
	Records *privacy.Disclosed // nil: there are none
	IDs     *privacy.Disclosed // of those that are gone: the id only; nil: there are none
	Into    *privacy.Disclosed // ids of those that took their place; nil: there are none
	Request annona.UID
	Schema  int
	Next    string // the position behind these changes
	More    bool   // there are more already
}

// Follow returns the changes of what the caller sees since a position, at most limit of them.
// Without a position it begins with all that the caller sees. The position behind the changes
// is the next one to ask with; asking twice with the same one is answered twice, each time up to
// date. Applying every change from any position that is still kept makes what a fresh search
// returns, and what leaves the caller's view as it is makes no change.
//
// When there is none, Follow waits for the first one, and is decided anew each second.
func (x *Exchange) Follow(ctx context.Context, caller annona.Caller, q Question, after string, limit int, wait time.Duration, form Form) (*Changes, error) {
	return x.follow(ctx, after, limit, wait, func(after string) (*look, error) {
		return x.startLook(ctx, caller, q, after, limit, form)
	})
}

// FollowSpec does so with what an export specification shows, under the recipient's names and codes; version
// 0 is the latest one. It begins with all of that, or behind an export: with the position of its manifest. The
// specification is returned as well.
func (x *Exchange) FollowSpec(ctx context.Context, caller annona.Caller, name string, version int, after string, limit int, wait time.Duration, form Form) (changes *Changes, spec annona.ExportSpec, err error) {
	changes, err = x.follow(ctx, after, limit, wait, func(after string) (l *look, err error) {
		if spec, err = x.ShowExportSpec(ctx, caller, name, version); err != nil {
			return nil, err
		}
		return x.startSpecLook(ctx, caller, &spec, after, limit, form)
	})
	return changes, spec, err
}

// follow takes looks until one has found something, or the time is over.
func (x *Exchange) follow(ctx context.Context, after string, limit int, wait time.Duration, start func(after string) (*look, error)) (*Changes, error) {
	if err := checkLimit(limit, MaxLimit); err != nil {
		return nil, err
	}
	if wait < 0 || wait > MaxWait {
		return nil, annona.Invalid("wait_out_of_range", "wait is 0 to %d seconds", int(MaxWait.Seconds())).On("wait")
	}
	end := time.Now().Add(wait)
	for overtaken := 0; ; {
		l, err := start(after)
		if err != nil {
			return nil, err
		}
		next, err := l.run(ctx)
		switch {
		case errors.Is(err, annona.ErrViewsMoved) && overtaken < patience:
			overtaken++
			continue
		case err != nil:
			return nil, err
		case len(l.changes) > 0 || !time.Now().Before(end):
			return l.answer(ctx, next)
		}
		after = l.seal(next)
		if err := x.await(ctx, l.state.Head, end); err != nil {
			return nil, err
		}
	}
}

// patience is how often a look is taken again because another one was faster.
const patience = 20

// pace is the least time between two looks of one follower: while much is written, one look is for
// many changes.
const pace = 50 * time.Millisecond

// await returns when the log has moved, or when it is time to decide again.
func (x *Exchange) await(ctx context.Context, head int64, end time.Time) error {
	limited, cancel := context.WithTimeout(ctx, min(recheck, time.Until(end)))
	defer cancel()
	select {
	case <-time.After(pace):
	case <-limited.Done():
	}
	err := x.Log.AwaitLog(limited, head)
	if limited.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// look is one look from a position at how things are now.
type look struct {
	x        *Exchange
	i        *inquiry
	from     *position
	follower annona.Follower
	state    annona.LogState
	today    annona.Date
	version  uint64 // of the scope
	limit    int

	plan    *privacy.Plan
	page    *annona.Page
	shown   *annona.Shape // with the names that the follower sees
	id      []byte        // of the memory
	chosen  *privacy.Selection
	gone    []annona.Number
	changes []Change
	full    bool          // there is a further change
	seen    []annona.View // that the memory does not have yet
	known   map[annona.Moment]concerned
	view    []byte // memory for the view of a record

	overtaken bool // by another reader of the memory
}

type concerned struct {
	numbers []annona.Number
	all     bool
}

// startLook takes the first two steps and reads where the caller stands. The memory's generation
// is read before the log, and the log before any record: whatever comes later is found again.
func (x *Exchange) startLook(ctx context.Context, caller annona.Caller, q Question, after string, limit int, form Form) (*look, error) {
	q, err := x.withID(q)
	if err != nil {
		return nil, err
	}
	q.whole, q.atMost = after == "", atMost(limit)
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbFollow, q)
	if err != nil {
		return nil, err
	}
	i.form = form
	l, err := x.newLook(ctx, i, x.memoryID(i), i.shape, limit)
	if err != nil {
		return nil, err
	}
	l.from, err = x.openFollow(i, after, l.follower, l.state)
	return l, err
}

func (x *Exchange) newLook(ctx context.Context, i *inquiry, id [16]byte, shown *annona.Shape, limit int) (l *look, err error) {
	l = &look{
		x: x, i: i, today: i.asOf, limit: limit, id: id[:], shown: shown,
		plan: i.plan(i.shape), page: annona.NewPage(i.shape), known: map[annona.Moment]concerned{},
	}
	l.chosen = l.plan.Select(shown)
	if ceiling := i.grant.RowCeiling; ceiling > 0 {
		l.limit = int(min(int64(limit), ceiling))
	}
	if l.follower, err = x.Views.Follower(ctx, id); err != nil {
		return nil, err
	}
	if l.state, err = x.Log.LogState(ctx); err != nil {
		return nil, err
	}
	l.version = i.scopeVersion(l.state.Areas, l.today)
	return l, nil
}

// startSpecLook does so for what a specification shows.
func (x *Exchange) startSpecLook(ctx context.Context, caller annona.Caller, spec *annona.ExportSpec, after string, limit int, form Form) (*look, error) {
	if spec.Mode != annona.SpecDelta {
		return nil, annona.Invalid("spec_not_followed", "nothing is remembered of what exports by this specification have shown; one with mode: delta can be followed").On("specification")
	}
	q := questionOf(spec)
	q.whole, q.atMost = after == "", atMost(limit)
	i, err := x.inquire(ctx, x.Standings, caller, annona.VerbFollow, q)
	if err != nil {
		return nil, err
	}
	form.Spec = spec.Name + "@" + strconv.Itoa(spec.Version)
	i.form = form
	if err := x.showBySpec(ctx, i, spec); err != nil {
		return nil, err
	}
	l, err := x.newLook(ctx, i, x.specMemory(i, spec), i.spec.records(i.spec.shown), limit)
	if err != nil {
		return nil, err
	}
	l.plan.Show(l.shown, i.spec.changes)
	l.from, err = x.openSpecFollow(ctx, l, after)
	return l, err
}

// openSpecFollow returns the position in a token: of a manifest, or behind earlier changes.
func (x *Exchange) openSpecFollow(ctx context.Context, l *look, token string) (*position, error) {
	if token == "" {
		return beginning(l.state.Epoch, l.follower.Key), nil
	}
	r, ok := x.openReached(l.id, token)
	if !ok {
		return nil, annona.Invalid("cursor_invalid", "after is the position of a manifest of this specification, or the one behind its changes; start again without it").On("after")
	}
	err := x.continues(ctx, r.position, l.id, l.state)
	if annona.CodeOf(err) == "resync" {
		err = errResync()
	}
	return r.position, err
}

// memoryID is the id of the memory of whoever follows a question.
func (x *Exchange) memoryID(i *inquiry) [16]byte {
	return x.Vault.Tag(append([]byte("follower\x00"+i.grant.Agreement.Realm+"\x00"), i.followContext()...))
}

// withID adds the id to the columns asked for: without it nobody could say which record changed.
func (x *Exchange) withID(q Question) (Question, error) {
	dataset, err := rootDataset(x.CurrentDictionary(), q.Dataset)
	if err != nil {
		return q, err
	}
	if len(q.Fields) > 0 && !slices.Contains(q.Fields, dataset.Key) {
		q.Fields = append([]string{dataset.Key}, q.Fields...)
	}
	if q.AsOf != "" {
		return q, annona.Invalid("as_of_unsuitable", "a follower reads ages and memberships of today").On("as_of")
	}
	q.NilReasons = true
	return q, nil
}

// run goes through everything that may have changed and returns the position behind it.
func (l *look) run(ctx context.Context) (*position, error) {
	if l.i.shape.Column(l.i.shape.Dataset.Key) < 0 {
		return nil, annona.Forbidden("field_not_granted", "the agreement does not grant the id of %s, so that their changes cannot be told apart", l.i.shape.Dataset.Name).On(l.i.shape.Dataset.Key)
	}
	pieces := l.from.pieces()
	next := &position{epoch: l.state.Epoch, memory: l.follower.Key}
	for n := range pieces {
		if err := l.through(ctx, &pieces[n]); err != nil {
			return nil, err
		}
		if l.full {
			next.cursor = pieces[n].upto
			break
		}
	}
	if l.overtaken {
		return nil, annona.ErrViewsMoved
	}
	now := seenRange{generation: l.follower.Generation, seq: l.state.Head, day: l.today, scope: l.version}
	if len(l.seen) > 0 {
		slices.SortFunc(l.seen, func(a, b annona.View) int { return int(a.Number - b.Number) })
		var err error
		if now.generation, err = l.x.Views.Observe(ctx, l.follower, annona.Observation{Seq: l.state.Head, Views: l.seen}); err != nil {
			return nil, err
		}
	}
	var err error
	next.ranges, err = l.x.join(ctx, l.follower.Key, advance(pieces, now))
	return next, err
}

// seal seals the position behind the look.
func (l *look) seal(p *position) string {
	p.terms, p.areas = l.i.terms(l.state.Areas), l.state.Areas
	if l.i.spec != nil {
		return l.x.sealReached(l.id, reached{l.i.spec.version, p}.encode())
	}
	return l.x.sealFollow(l.i, p)
}

// answer takes the last step and hands over.
func (l *look) answer(ctx context.Context, next *position) (*Changes, error) {
	a := &Changes{List: l.changes, Request: l.i.request, Schema: l.i.schema, Next: l.seal(next), More: l.full}
	if len(l.changes) == 0 {
		return a, nil
	}
	var subjects []audit.Subjects
	if l.chosen.Count() > 0 {
		a.Records = l.chosen.Disclosed()
		subjects = append(subjects, subjectsOf(a.Records)...)
	}
	if len(l.gone) > 0 {
		var err error
		if a.IDs, a.Into, err = l.ids(ctx); err != nil {
			return nil, err
		}
		subjects = append(subjects, subjectsOf(a.IDs)...)
		if a.Into != nil {
			subjects = append(subjects, subjectsOf(a.Into)...)
		}
	}
	facts := l.i.facts()
	facts.Fields, facts.Rows, facts.Page = l.i.fields, int64(len(l.changes)), 1
	if err := l.x.disclose(ctx, audit.Release(l.x.Clock(), l.i.request, facts, l.i.filterText(), l.i.caller, subjects)); err != nil {
		return nil, err
	}
	a.ending = l.i.ending(l.x)
	return a, nil
}

// ids discloses the ids of records that are gone, and nothing else of them but what took their place:
// the ids of records that the caller may see and has asked for.
func (l *look) ids(ctx context.Context) (gone, into *privacy.Disclosed, err error) {
	dataset := l.i.shape.Dataset
	left, err := l.x.Views.Departed(ctx, dataset, slices.Sorted(slices.Values(l.gone)))
	if err != nil {
		return nil, nil, err
	}
	key, _ := dataset.Field(dataset.Key)
	shape := &annona.Shape{Dataset: dataset, Columns: []*annona.Field{key}}
	page, successors := annona.NewPage(shape), annona.NewPage(shape)
	for n := range l.changes {
		c := &l.changes[n]
		if !c.Kind.Gone() {
			continue
		}
		number := l.gone[c.Row]
		d, known := left[number]
		if !known {
			return nil, nil, errResync()
		}
		if d.Erased {
			c.Kind = ChangeDelete
			c.IntoFrom = successors.Count
			if err := l.successors(ctx, d.Into, successors); err != nil {
				return nil, nil, err
			}
			c.IntoEnd = successors.Count
		}
		page.Numbers, page.UIDs = append(page.Numbers, number), append(page.UIDs, d.UID)
		page.Columns[0].Append(d.UID[:])
		page.Count++
	}
	if successors.Count > 0 {
		into = l.i.plan(shape).Redact(successors)
	}
	return l.i.plan(shape).Redact(page), into, nil
}

// successors appends the ids of those records that the caller sees at this moment.
func (l *look) successors(ctx context.Context, uids []annona.UID, page *annona.Page) error {
	if len(uids) == 0 {
		return nil
	}
	nothing := &annona.Shape{Dataset: l.i.shape.Dataset}
	for _, uid := range uids {
		seen := annona.NewPage(nothing)
		if err := l.x.Records.ReadOne(ctx, l.i.scope(nothing, l.today), uid, seen); err != nil {
			return err
		}
		for row := range seen.Count {
			page.Numbers, page.UIDs = append(page.Numbers, seen.Numbers[row]), append(page.UIDs, uid)
			page.Columns[0].Append(uid[:])
			page.Count++
		}
	}
	return nil
}
