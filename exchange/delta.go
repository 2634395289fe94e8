package exchange

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// The words for Since: behind the latest complete export by the same specification, and not behind any.
const (
	SincePrevious  = "previous"
	SinceBeginning = "beginning"
)

// changeColumn is the name of the column that says what to do with a row: the kind of its change.
const changeColumn = "change"

// mode checks the mode of a specification. In the mode delta its files have one column more, the first.
func (c specCompiler) mode(dataset *annona.Dataset, spec *annona.ExportSpec) error {
	switch spec.Mode {
	case "", annona.SpecFull:
		return nil
	case annona.SpecDelta:
	default:
		return annona.Invalid("unknown_mode", "a specification has the mode full or delta").On("mode")
	}
	if spec.AsOf != "" {
		return annona.Invalid("as_of_unsuitable", "what has changed is read as of the day of the export; leave as_of out, or have the mode full").On("as_of")
	}
	read := &annona.Field{
		Dataset: dataset.Name, Code: changeColumn, Type: annona.TypeText, Sensitivity: annona.Public, AtRest: annona.Clear, Filter: annona.FilterNone,
		Derived: true, Label: "Change", Definition: "what to do with the row: upsert, entered_scope, left_scope or delete",
	}
	read.Base = read
	shown := *read
	shown.Origin = read
	c.change = &shown
	return nil
}

// checkKey refuses a delta whose records cannot be told apart.
func (c specCompiler) checkKey(shape *annona.Shape) error {
	if key := shape.Column(shape.Dataset.Key); shape.Dataset.Key != "" && key >= 0 {
		if _, altered := c.changes[shape.Columns[key]]; !altered {
			return nil
		}
	}
	dataset, _ := c.dictionary.Dataset(shape.Dataset.Name)
	return annona.Invalid("delta_without_id", "in the mode delta the fields have the id of the record, unaltered: without it nobody could say which one changed").On(dataset.Key)
}

// specMemory is the id of the memory of what was shown by a specification: to one agreement, in one role.
func (x *Exchange) specMemory(i *inquiry, spec *annona.ExportSpec) [16]byte {
	a := i.grant.Agreement
	return x.Vault.Tag(append([]byte("specification\x00"), digestOf(a.Realm, a.Name, spec.Name, spec.Dataset, i.grant.Decision.Role)...))
}

// reached is a position of an export by a version of a specification.
type reached struct {
	version int
	*position
}

func (r reached) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(r.version)), r.position.encode()...)
}

// decodeReached reads what encode wrote; false when it is something else.
func decodeReached(b []byte) (r reached, ok bool) {
	if len(b) < 8 {
		return r, false
	}
	r.version, r.position = int(binary.BigEndian.Uint64(b)), decodePosition(b[8:])
	return r, r.position != nil
}

// moment is the one at which all records stand; false: they stand at several.
func (r reached) moment() (annona.Moment, bool) {
	first := r.ranges[0]
	several := slices.ContainsFunc(r.ranges, func(s seenRange) bool { return s.moment() != first.moment() })
	return first.moment(), !several && first.day != ""
}

func reachedContext(memory []byte) []byte {
	return digestOf("export position", hex.EncodeToString(memory))
}

func (x *Exchange) sealReached(memory, encoded []byte) string {
	return x.Vault.SealPosition(reachedContext(memory), encoded)
}

func (x *Exchange) openReached(memory []byte, token string) (reached, bool) {
	sealed, ok := x.Vault.OpenPosition(reachedContext(memory), token)
	if !ok {
		return reached{}, false
	}
	return decodeReached(sealed)
}

// since finds out behind which position an export begins; nil: it has everything.
func (x *Exchange) since(ctx context.Context, spec *annona.ExportSpec, token string, o *annona.ExportOrder, state annona.LogState) ([]byte, error) {
	if spec.Mode != annona.SpecDelta {
		if token != "" {
			return nil, annona.Invalid("since_unsuitable", "exports by this specification are of everything; one with mode: delta has what has changed").On("since")
		}
		return nil, nil
	}
	switch token {
	case SinceBeginning:
		return nil, nil
	case "", SincePrevious:
		job, err := x.ExportJobs.PreviousExport(ctx, o.Memory)
		if err != nil {
			return nil, err
		}
		if job == nil && token == SincePrevious {
			return nil, annona.Conflict("previous_missing", "no export by this specification is complete; leave since out to begin with everything").On("since")
		}
		if job == nil {
			return nil, nil
		}
		r, ok := decodeReached(job.Reached)
		if !ok {
			return nil, annona.Internal("read where an export ended", nil)
		}
		err = x.continues(ctx, r.position, o.Memory, state)
		if err != nil && token == "" && annona.CodeOf(err) == "resync" {
			return nil, nil // the manifest says that it has everything
		}
		return job.Reached, err
	}
	r, ok := x.openReached(o.Memory, token)
	if !ok {
		return nil, annona.Invalid("since_invalid", "since is the position in the manifest of an earlier export by this specification, previous, or beginning").On("since")
	}
	if err := x.continues(ctx, r.position, o.Memory, state); err != nil {
		return nil, err
	}
	return r.encode(), nil
}

// continues reports why nobody can go on behind a position: nothing is remembered of it, or the log does
// not reach back to it.
func (x *Exchange) continues(ctx context.Context, p *position, memory []byte, state annona.LogState) error {
	if p.memory == 0 {
		return annona.Invalid("position_not_followed", "nothing is remembered of what this export has shown: take the position of its manifest, once it is complete, of a specification with mode: delta").On("since")
	}
	f, err := x.Views.Follower(ctx, [16]byte(memory))
	if err != nil {
		return err
	}
	if !p.usable(f, state) {
		return annona.Gone("resync", "the log does not reach back to this position; export everything, with since: beginning, and drop what it does not name").On("since")
	}
	return nil
}

// planDelta fixes what has changed since the position that the export begins behind, and which of that
// the recipient has.
func (r *ExportRun) planDelta(ctx context.Context, beat func() error) (*present, error) {
	d := &deltaPlan{ExportRun: r, beat: beat, to: newPresent(), known: map[annona.Moment]concerned{}}
	d.shape = r.e.i.shape
	d.shown = r.e.i.spec.records(r.e.i.spec.shown)
	d.plan = r.e.i.plan(d.shape)
	d.plan.Show(d.shown, r.e.i.spec.changes)
	d.page = annona.NewPage(d.shape)
	state, err := r.x.Log.LogState(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.x.continues(ctx, r.since.position, r.job.Memory, state); err != nil {
		return nil, err
	}
	if d.last, err = r.x.Records.LastNumber(ctx, d.shape.Dataset); err != nil {
		return nil, err
	}
	for _, p := range r.since.pieces() {
		if err := d.through(ctx, &p); err != nil {
			return nil, err
		}
	}
	// What the log told while it was read counts only if it still told everything.
	if state, err = r.x.Log.LogState(ctx); err != nil {
		return nil, err
	}
	return d.to, r.x.continues(ctx, r.since.position, r.job.Memory, state)
}

// deltaPlan looks at everything that may have changed.
type deltaPlan struct {
	*ExportRun
	beat         func() error
	to           *present
	shape, shown *annona.Shape
	plan         *privacy.Plan
	page         *annona.Page
	last         annona.Number
	known        map[annona.Moment]concerned
	view         []byte
}

// through compares the records of a piece with what was shown of them: those that an event or a day
// concerns, and all when the scope has moved.
func (d *deltaPlan) through(ctx context.Context, p *piece) error {
	version := d.e.i.scopeVersion(d.job.Areas, d.job.At.Day)
	c, read := d.known[p.moment()]
	if !read && p.scope == version {
		var err error
		if c.numbers, c.all, err = d.x.Log.Concerned(ctx, d.shape.Dataset, p.moment(), d.job.At); err != nil {
			return err
		}
		d.known[p.moment()] = c
	}
	if p.scope != version || c.all {
		return d.sweep(ctx, p)
	}
	younger, err := d.x.Views.ViewedSince(ctx, d.since.memory, p.generation, p.after, p.until)
	if err != nil {
		return err
	}
	numbers := slices.Concat(within(c.numbers, p.after, p.until), younger)
	slices.Sort(numbers)
	for some := range slices.Chunk(slices.Compact(numbers), namedRows) {
		d.page.Reset()
		if err := d.e.past.readNumbers(ctx, d.scope(d.shape), some, d.page); err != nil {
			return err
		}
		shown, err := d.x.Views.ViewsOf(ctx, d.since.memory, some)
		if err != nil {
			return err
		}
		if err := d.compare(p, shown); err != nil {
			return err
		}
	}
	return nil
}

// within returns those of ascending numbers with after < number ≤ until.
func within(numbers []annona.Number, after, until annona.Number) []annona.Number {
	first, _ := slices.BinarySearch(numbers, after+1)
	numbers = numbers[first:]
	if until < noEnd {
		end, _ := slices.BinarySearch(numbers, until+1)
		numbers = numbers[:end]
	}
	return numbers
}

// sweep compares all records of a piece.
func (d *deltaPlan) sweep(ctx context.Context, p *piece) error {
	width := annona.Number(maxPageRows)
	if len(d.shape.Groups) > 0 {
		width = maxNestedRows
	}
	for after := p.after; after < p.until; after += width {
		until := min(p.until, after+width)
		if after >= d.last {
			until = p.until // nobody is there, but somebody may have been
		}
		d.page.Reset()
		if after < d.last {
			if err := d.e.past.read(ctx, d.scope(d.shape), after, until, d.page); err != nil {
				return err
			}
		}
		shown, err := d.x.Views.ViewsIn(ctx, d.since.memory, after, until)
		if err != nil {
			return err
		}
		if err := d.compare(p, shown); err != nil {
			return err
		}
		if until == p.until {
			return nil
		}
	}
	return nil
}

func (d *deltaPlan) compare(p *piece, shown []annona.View) error {
	page := d.plan.Redact(d.page).Page()
	for number, at := range pairs(page.Numbers, shown) {
		tag := annona.ViewTag(0)
		if at.row >= 0 {
			tag = d.tag(&d.view, d.shown, page, at.row)
		}
		if _, changed := p.changed(tag, at.views); !changed {
			continue
		}
		d.to.roots.Add(uint64(number))
		if p.had(at.views) {
			d.to.held.Add(uint64(number))
		}
		if at.row >= 0 {
			d.to.addRow(page, at.row)
		}
	}
	if err := overCeiling(d.to.roots.count(), d.e.i.grant.RowCeiling); err != nil {
		return err
	}
	return d.beat()
}

// had reports whether somebody who was shown what the piece says may have the record.
func (p *piece) had(views []annona.View) bool {
	was, ever, younger := annona.ViewTag(0), false, false
	for _, v := range views {
		if v.Generation <= p.generation {
			was = v.Tag
		}
		younger = younger || v.Generation > p.generation
		ever = ever || v.Tag != 0
	}
	return was != 0 || ever && p.rough && younger
}

// tag is the keyed hash of what is shown of a record, under the id of the export's memory.
func (r *ExportRun) tag(memory *[]byte, shape *annona.Shape, page *annona.Page, row int) annona.ViewTag {
	*memory = appendRecordView(append((*memory)[:0], r.job.Memory...), shape, page, row)
	return r.x.viewTag(*memory)
}

func (r *ExportRun) scope(shape *annona.Shape) annona.Scope {
	return r.e.i.scope(shape, r.x.today(r.x.Clock()))
}

// Remembers reports whether it is to be remembered what the export has shown.
func (r *ExportRun) Remembers() bool { return r.spec.Mode == annona.SpecDelta }

// Remember keeps what the parts show in the memory of whoever goes on behind the export, and returns the
// position there, for annona.ExportEnd. Whoever leaves a part afterwards has it written again, and then
// this is done again. beat is called now and then.
func (r *ExportRun) Remember(ctx context.Context, parts []annona.ExportPart, beat func() error) ([]byte, error) {
	follower, err := r.x.Views.Follower(ctx, [16]byte(r.job.Memory))
	if err != nil {
		return nil, err
	}
	at := r.job.At
	m := &shownMemory{
		x: r.x, i: r.e.i, id: r.job.Memory, follower: follower,
		now:      seenRange{seq: at.Seq, day: at.Day, scope: r.e.i.scopeVersion(r.job.Areas, at.Day)},
		position: &position{epoch: r.job.LogEpoch, memory: follower.Key, terms: r.job.Terms, areas: r.job.Areas},
	}
	after := annona.Number(0)
	for n, part := range parts {
		until := part.Until
		if n == len(parts)-1 {
			until = noEnd
		}
		shown, err := r.shownIn(ctx, part, beat)
		if err != nil {
			return nil, err
		}
		if r.since.position == nil {
			err = m.keep(ctx, until, shown, func() ([]annona.View, error) { return r.x.Views.ViewsIn(ctx, follower.Key, after, until) }, nothing)
		} else {
			err = r.rememberDelta(ctx, m, after, until, shown)
		}
		if err != nil {
			return nil, err
		}
		after = until
	}
	m.end()
	return reached{r.job.Version, m.position}.encode(), beat()
}

// nothing is what was shown of a record that is not in an export of everything.
func nothing(annona.Number, []annona.View) annona.ViewTag { return 0 }

// shownIn returns what a part shows of its records, and of those that it says are gone.
func (r *ExportRun) shownIn(ctx context.Context, part annona.ExportPart, beat func() error) ([]annona.View, error) {
	in, err := r.x.openPresent(r.job.ID, partName(part.Number), part.Subjects)
	if err != nil {
		return nil, err
	}
	var views []annona.View
	for _, n := range in.roots.among(nil, true) {
		views = append(views, annona.View{Number: n, Tag: uncertain}) // also of somebody who has just left
	}
	spec := r.e.i.spec
	shown, shape, page := spec.records(spec.shown), r.e.i.shape, annona.NewPage(r.e.i.shape)
	plan := r.e.i.plan(shape)
	plan.Show(shown, spec.changes)
	var memory []byte
	for some := range slices.Chunk(views, namedRows) {
		numbers := make([]annona.Number, len(some))
		for i, v := range some {
			numbers[i] = v.Number
		}
		page.Reset()
		if err := r.e.past.readNumbers(ctx, r.scope(shape), numbers, page); err != nil {
			return nil, err
		}
		redacted := plan.Redact(page).Page()
		at := 0
		for row, n := range redacted.Numbers {
			for some[at].Number != n {
				at++
			}
			some[at].Tag = r.tag(&memory, shown, redacted, row)
		}
		if err := beat(); err != nil {
			return nil, err
		}
	}
	if err := r.doubt(ctx, part.At, views); err != nil {
		return nil, err
	}
	if r.since.position == nil {
		return views, nil
	}
	for _, n := range r.plan.roots.between(part.After, part.Until) {
		if !in.roots.Contains(uint64(n)) {
			views = append(views, annona.View{Number: n})
		}
	}
	slices.SortFunc(views, byNumber)
	return views, nil
}

// doubt marks the views of those who may have looked otherwise when their part was written: an event or a
// day concerns them since, so that the next delta looks at them in any case.
func (r *ExportRun) doubt(ctx context.Context, since annona.Moment, views []annona.View) error {
	head, err := r.x.Past.SettledLog(ctx)
	if err != nil {
		return err
	}
	now := annona.Moment{Seq: head, Day: r.x.today(r.x.Clock())}
	if now == since {
		return nil
	}
	numbers, all, err := r.x.Log.Concerned(ctx, r.e.i.shape.Dataset, since, now)
	if err != nil {
		return err
	}
	for i := range views {
		if _, concerned := slices.BinarySearch(numbers, views[i].Number); all || concerned {
			views[i].Tag = uncertain
		}
	}
	return nil
}

// uncertain stands for a view of which nobody knows what it showed. No view that is read equals it, but for
// a chance of one in 2⁶⁴: the next delta has the record.
const uncertain annona.ViewTag = 1

func byNumber(a, b annona.View) int { return int(min(1, max(-1, a.Number-b.Number))) }

// rememberDelta keeps what a part of a delta shows. Of everybody else there it is what the position says
// that the delta begins behind, whatever others were shown since.
func (r *ExportRun) rememberDelta(ctx context.Context, m *shownMemory, after, until annona.Number, shown []annona.View) error {
	var pieces []piece
	for _, p := range r.since.pieces() {
		if p.after < until && p.until > after {
			pieces = append(pieces, p)
		}
	}
	read := func() ([]annona.View, error) {
		var numbers []annona.Number
		for _, v := range shown {
			numbers = append(numbers, v.Number)
		}
		for _, p := range pieces {
			younger, err := r.x.Views.ViewedSince(ctx, m.follower.Key, p.generation, max(p.after, after), min(p.until, until))
			if err != nil {
				return nil, err
			}
			numbers = append(numbers, younger...)
		}
		slices.Sort(numbers)
		var views []annona.View
		for some := range slices.Chunk(slices.Compact(numbers), namedRows) {
			more, err := r.x.Views.ViewsOf(ctx, m.follower.Key, some)
			if err != nil {
				return nil, err
			}
			views = append(views, more...)
		}
		return views, nil
	}
	return m.keep(ctx, until, shown, read, func(n annona.Number, views []annona.View) (was annona.ViewTag) {
		for _, p := range pieces {
			if n <= p.after || n > p.until {
				continue
			}
			for _, v := range views {
				if v.Generation <= p.generation {
					was = v.Tag
				}
			}
		}
		return was
	})
}
