package exchange

import (
	"context"
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
)

// Position is where the rows of the export stand in the log, for the same question by the same client;
// empty when a day was asked for. The rows of a plain export are read over some time: each is of this
// position or of a later one. Those of an export at a position are all of that.
func (e *Export) Position() string { return e.position }

// Next is where whoever has received all of an export at a position goes on with Follow; empty when it
// cannot: the export lacks columns that changes have. It is known when Run has returned.
func (e *Export) Next() string {
	if e.memory == nil {
		return ""
	}
	return e.x.sealFollow(e.i, e.memory.position)
}

// Past reports whether the export is one at a position.
func (e *Export) Past() bool { return e.past != nil }

// stand fixes where the export stands in the log.
func (e *Export) stand(ctx context.Context) error {
	q := e.i.question
	if q.Position != "" && q.AsOf != "" {
		return annona.Invalid("as_of_unsuitable", "an export at a position is of the day of that position; leave as_of out").On("as_of")
	}
	if q.AsOf != "" || e.i.spec != nil { // nobody follows a specification
		return nil
	}
	state, err := e.x.Log.LogState(ctx)
	if err != nil {
		return err
	}
	at := annona.Moment{Seq: state.Head, Day: e.i.asOf}
	if q.Position != "" {
		if at, err = e.x.openPast(e.i, q.Position, state); err != nil {
			return err
		}
		e.i.asOf = at.Day
		e.i.position = at.Seq
		e.past = e.x.snapshot(e.i.shape.Dataset, at)
		e.at, e.areas = at, state.Areas
	}
	e.position = e.x.sealFollow(e.i, &position{
		epoch: state.Epoch, terms: e.i.terms(state.Areas), areas: state.Areas,
		ranges: []seenRange{{until: noEnd, seq: at.Seq, day: at.Day}},
	})
	return nil
}

// openPast returns the moment of a position at which somebody may read: one of this caller for the same
// question, under the same terms, to which the log still reaches back.
func (x *Exchange) openPast(i *inquiry, token string, state annona.LogState) (at annona.Moment, err error) {
	sealed, ok := x.Vault.OpenPosition(i.followContext(), token)
	p := (*position)(nil)
	if ok {
		p = decodePosition(sealed)
	}
	if p == nil {
		return at, annona.Invalid("position_invalid", "position is one of this client for the same dataset, purpose, fields and filter: of an export, or behind all changes").On("position")
	}
	first := p.ranges[0]
	if slices.ContainsFunc(p.ranges, func(r seenRange) bool { return r.seq != first.seq || r.day != first.day || r.day == "" }) {
		return at, annona.Invalid("position_between", "this position is in the midst of several pages; read on until there are no more changes").On("position")
	}
	if p.epoch != state.Epoch || first.seq > state.Head || first.seq < state.Oldest || p.terms != i.terms(state.Areas) {
		return at, errPast()
	}
	return first.moment(), nil
}

// shownMemory keeps what an export at a position has shown in the memory of whoever follows the same
// question, so that Follow can go on behind it.
type shownMemory struct {
	x        *Exchange
	i        *inquiry
	id       []byte
	follower annona.Follower
	shape    *annona.Shape // of the changes
	now      seenRange     // but for its end and its generation
	position *position
	view     []byte
}

// remember begins the memory of an export; nil when the changes of the same question have columns that
// the export does not have.
func (e *Export) remember(ctx context.Context, parts []*annona.Shape) (*shownMemory, error) {
	q := e.i.question
	asked, err := e.x.withID(Question{Dataset: q.Dataset, Purpose: q.Purpose, Fields: q.Fields, Filter: q.Filter})
	if err != nil {
		return nil, err
	}
	of, err := e.x.questions.compile(e.x.CurrentDictionary(), e.i.grant, e.i.caller, asked)
	if err != nil || len(parts) != 1 || of.shape.Column(of.shape.Dataset.Key) < 0 || !covers(parts[0], of.shape) {
		return nil, err
	}
	id := e.x.memoryID(e.i)
	m := &shownMemory{x: e.x, i: e.i, id: id[:], shape: of.shape}
	if m.follower, err = e.x.Views.Follower(ctx, id); err != nil {
		return nil, err
	}
	state, err := e.x.Log.LogState(ctx)
	if err != nil {
		return nil, err
	}
	m.now = seenRange{seq: e.at.Seq, day: e.at.Day, scope: e.i.scopeVersion(e.areas, e.at.Day)}
	m.position = &position{epoch: state.Epoch, memory: m.follower.Key, terms: e.i.terms(e.areas), areas: e.areas}
	return m, nil
}

// take keeps what was shown of the records of a range, and that others were not.
func (m *shownMemory) take(ctx context.Context, f *fetched) error {
	page := f.disclosed.Page()
	shown := make([]annona.View, page.Count)
	for row := range shown {
		m.view = appendRecordView(append(m.view[:0], m.id...), m.shape, page, row)
		shown[row] = annona.View{Number: page.Numbers[row], Tag: m.x.viewTag(m.view)}
	}
	known := func() ([]annona.View, error) { return m.x.Views.ViewsIn(ctx, m.follower.Key, f.after, f.until) }
	return m.keep(ctx, f.until, shown, known, nothing)
}

// keep keeps what was shown of the records of a range. known reads what is remembered of those, and of
// everybody else there for whom that could be otherwise; other says what was shown of them.
func (m *shownMemory) keep(ctx context.Context, until annona.Number, shown []annona.View, known func() ([]annona.View, error), other func(annona.Number, []annona.View) annona.ViewTag) error {
	numbers := make([]annona.Number, len(shown))
	for i, v := range shown {
		numbers[i] = v.Number
	}
	for attempt := 0; ; attempt++ {
		state, err := m.x.Log.LogState(ctx)
		if err != nil {
			return err
		}
		views, err := known()
		if err != nil {
			return err
		}
		var seen []annona.View
		late := false
		for number, at := range pairs(numbers, views) {
			var tag annona.ViewTag
			if at.row >= 0 {
				tag = shown[at.row].Tag
			} else {
				tag = other(number, at.views)
			}
			if last := len(at.views) - 1; last < 0 && tag != 0 || last >= 0 && at.views[last].Tag != tag {
				seen = append(seen, annona.View{Number: number, Tag: tag})
			}
			late = late || overtaken(at.views, m.follower)
		}
		switch {
		case late:
			err = annona.ErrViewsMoved
		case len(seen) > 0:
			m.follower.Generation, err = m.x.Views.Observe(ctx, m.follower, annona.Observation{Seq: state.Head, Views: seen})
		}
		switch {
		case errors.Is(err, annona.ErrViewsMoved) && attempt < patience:
			if m.follower, err = m.x.Views.Follower(ctx, [16]byte(m.id)); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			return m.advance(ctx, until)
		}
	}
}

func (m *shownMemory) advance(ctx context.Context, until annona.Number) (err error) {
	now := m.now
	now.until, now.generation = until, m.follower.Generation
	m.position.ranges, err = m.x.join(ctx, m.follower.Key, append(m.position.ranges, now))
	return err
}

// end says that nothing lies behind the last range.
func (m *shownMemory) end() {
	if last := len(m.position.ranges) - 1; last >= 0 {
		m.position.ranges[last].until = noEnd
		return
	}
	now := m.now
	now.until, now.generation = noEnd, m.follower.Generation
	m.position.ranges = []seenRange{now}
}
