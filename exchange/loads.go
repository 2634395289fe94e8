package exchange

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/annona-exchange/annona"
)

// The modes of a load.
const (
	ModeUpsert = "upsert" // what rows say is written; who is not named stays
	ModeFull   = "full"   // the rows are all that the source has: who is not named is deleted
	ModeUndo   = "undo"   // takes another load back
	ModeEdit   = "edit"   // what a person has decided, see edit.go
)

// The states of a load.
const (
	StateRunning  = "running"
	StateFinished = "finished"
	StateFailed   = "failed"  // it broke; the batches that it committed stay
	StateRefused  = "refused" // nothing of it was applied
	StateUndone   = "undone"
)

// DefaultGuard is the share of a source's records that a full load may delete, in percent.
const DefaultGuard = 2.0

// LoadOrder says what a load is to do.
type LoadOrder struct {
	Source string
	Mode   string        // ModeUpsert when empty
	AsOf   time.Time     // the moment for which the source reports; zero: the start of the load
	Guard  float64       // of a full load, in percent of the source's records; 0: none may be deleted
	Areas  []annona.Area // that the mapping declares: those come on file that are not
	// Covers names the fields, groups, memberships and relationships that the source's files can tell
	// of, by dataset; nil: all. Nothing else of a record is the source's business.
	Covers map[string][]string
	// Match names the identifier schemes by which an unknown individual may be one that is on file.
	Match []string
	// Mapping names the one on file that the rows are read with, as name@version; empty: it is not on
	// file.
	Mapping string

	id      annona.UID // of the load; zero: a new one
	request string     // see Exchange.requested
}

// Tally counts what a load did beside annona.Loaded.
type Tally struct {
	Attached     int `json:"attached,omitempty"`      // keys that lead to a record of another source
	Ambiguous    int `json:"ambiguous,omitempty"`     // records of which several on file hold the identifier
	TakenBack    int `json:"taken_back,omitempty"`    // records that another source still reports: only this source's words went
	Kept         int `json:"kept,omitempty"`          // households that still have members
	Held         int `json:"held,omitempty"`          // not deleted, because refused rows may be theirs
	ChangedSince int `json:"changed_since,omitempty"` // of an undo: changed by something else meanwhile
	Repeated     int `json:"repeated,omitempty"`      // rows that were left out: an earlier one has the same key and says something else
	Misfits      int `json:"misfits,omitempty"`       // rows with an identifier that is not of the form of its declared type
}

func (t Tally) plus(o Tally) Tally {
	return Tally{
		Attached: t.Attached + o.Attached, Ambiguous: t.Ambiguous + o.Ambiguous, TakenBack: t.TakenBack + o.TakenBack,
		Kept: t.Kept + o.Kept, Held: t.Held + o.Held, ChangedSince: t.ChangedSince + o.ChangedSince, Repeated: t.Repeated + o.Repeated, Misfits: t.Misfits + o.Misfits,
	}
}

// LoadReport is what is kept of a load: counts and codes, never a value.
type LoadReport struct {
	Created   int `json:"created"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Deleted   int `json:"deleted"`
	Restored  int `json:"restored"`
	Stale     int `json:"stale"`
	Erased    int `json:"erased"`
	Pending   int `json:"pending_relationships"`
	Tally
	OutsideAuthority map[string]int  `json:"outside_authority,omitempty"` // by dataset.field
	Missing          map[string]int  `json:"missing,omitempty"`           // of a full load: the source's records that no row names, by dataset
	Live             map[string]int  `json:"live,omitempty"`              // likewise: all records of the source
	Reading          json.RawMessage `json:"reading,omitempty"`           // what the reader counted: rows, refused rows, flags
	Repeats          []Repeat        `json:"repeats,omitempty"`           // where the rows stood that are counted in repeated, the first of them
	Code             string          `json:"code,omitempty"`              // why it failed or was refused
	Act              string          `json:"act,omitempty"`               // of an edit: what was decided

	Update *UpdateNote `json:"update,omitempty"` // of an edit by a partner

	Mapping string    `json:"mapping,omitempty"` // on file, as name@version
	Request string    `json:"request,omitempty"` // keyed digest of what a registrar asked for
	Process string    `json:"process,omitempty"` // that runs it
	Beat    time.Time `json:"beat,omitzero"`     // when it was last known to run
}

func (r *LoadReport) add(o outcome) {
	r.Tally = r.Tally.plus(o.tally)
	r.Repeats = withRepeats(r.Repeats, o.repeats)
	for name, n := range o.outside {
		if r.OutsideAuthority == nil {
			r.OutsideAuthority = map[string]int{}
		}
		r.OutsideAuthority[name] += n
	}
}

// Reading is what a reader counted of the rows of a load, as it is kept with the load's report.
type Reading struct {
	Rows        int            `json:"rows"` // refused ones included
	Rejected    int            `json:"rejected"`
	Refused     map[string]int `json:"refused,omitempty"`  // rows by why they were refused
	Flags       map[string]int `json:"flags,omitempty"`    // by code:field
	Unmapped    map[string]int `json:"unmapped,omitempty"` // by field
	RefusedRows []RowPlace     `json:"refused_rows,omitempty"`
}

// RowPlace says where a row stood, and why it was refused. It says nothing of what stood in it.
type RowPlace struct {
	Input  string `json:"input"` // its name in the mapping
	Line   int    `json:"line"`  // of the file, from 1
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

// Counted is what the reader counted, as far as the report has it.
func (r *LoadReport) Counted() (counted Reading) {
	_ = json.Unmarshal(r.Reading, &counted) // of a load whose reading was never counted there is none
	return counted
}

// LoadInfo is a load as it is shown.
type LoadInfo struct {
	annona.Load
	Report LoadReport
}

// Seconds is how long the load took, or has been taking.
func (i *LoadInfo) Seconds(now time.Time) float64 {
	end := i.FinishedAt
	if end.IsZero() {
		end = now
	}
	return end.Sub(i.StartedAt).Seconds()
}

// ListLoads returns at most limit loads, the newest first; those of one source when it is named. A
// registrar is told of the loads of its sources.
func (x *Exchange) ListLoads(ctx context.Context, caller annona.Caller, source string, limit int) ([]LoadInfo, error) {
	sources, err := x.told(ctx, caller, source)
	if err != nil {
		return nil, err
	}
	var loads []annona.Load
	for _, one := range sources {
		some, err := x.Loads.Loads(ctx, one, limit)
		if err != nil {
			return nil, err
		}
		loads = append(loads, some...)
	}
	slices.SortFunc(loads, func(a, b annona.Load) int { return cmp.Compare(b.Key, a.Key) })
	loads = loads[:min(len(loads), limit)]
	all := make([]LoadInfo, len(loads))
	for i := range loads {
		if all[i], err = x.infoOf(&loads[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// told returns the sources of whose loads a caller is told, the empty name for all.
func (x *Exchange) told(ctx context.Context, caller annona.Caller, source string) ([]string, error) {
	if caller.IsOperator() {
		return []string{source}, nil
	}
	sources, err := x.sourcesOf(ctx, caller)
	switch {
	case err != nil || source == "":
		return sources, err
	case !slices.Contains(sources, source):
		return nil, annona.Forbidden("source_not_granted", "the agreement does not let you load this source").On("source")
	}
	return []string{source}, nil
}

// ShowLoad returns a load. To a registrar, a load of a source that is not its own is none.
func (x *Exchange) ShowLoad(ctx context.Context, caller annona.Caller, id annona.UID) (LoadInfo, error) {
	sources, err := x.told(ctx, caller, "")
	if err != nil {
		return LoadInfo{}, err
	}
	load, err := x.Loads.LoadByID(ctx, id)
	if err != nil {
		return LoadInfo{}, err
	}
	if load == nil || !caller.IsOperator() && !slices.Contains(sources, load.Source) {
		return LoadInfo{}, annona.NotFound("no load with this id is on file")
	}
	return x.infoOf(load)
}

// infoOf reads a load's report. One whose process has died is shown as failed.
func (x *Exchange) infoOf(load *annona.Load) (LoadInfo, error) {
	info := LoadInfo{Load: *load}
	if len(load.Report) > 0 {
		if err := json.Unmarshal(load.Report, &info.Report); err != nil {
			return info, annona.Internal("read the report of a load", err)
		}
	}
	if info.State == StateRunning && x.died(&info.Report) {
		info.State, info.FinishedAt, info.Report.Code = StateFailed, info.Report.Beat, codeInterrupted
	}
	return info, nil
}

const codeInterrupted = "interrupted"

// A load that runs says so: with what it writes, and every beat while a batch or the first pass takes
// long, or while nothing is to be written. When nobody can say whether its process lives, it is dead after silence.
const (
	beat    = 5 * time.Second
	silence = 60 * time.Second
)

func (x *Exchange) died(r *LoadReport) bool {
	if x.Gone != nil && r.Process != "" {
		if gone, known := x.Gone(r.Process); known {
			return gone
		}
	}
	return x.Clock().Sub(r.Beat) > silence
}

// BeginLoad begins a load and records that it did. Codes: load_running when another load of the source
// stands in the way. Only the operator may, and a client under an agreement that lets it load the source.
func (x *Exchange) BeginLoad(ctx context.Context, caller annona.Caller, order LoadOrder) (*Loading, error) {
	if order.Mode == "" {
		order.Mode = ModeUpsert
	}
	if err := x.mayLoad(ctx, caller, order); err != nil {
		return nil, err
	}
	switch {
	case order.Source == annona.OwnSource:
		return nil, annona.Invalid("source_reserved", "%s is the name of what the registry itself decides; give the source another one", annona.OwnSource).On("source")
	case order.Mode != ModeUpsert && order.Mode != ModeFull:
		return nil, annona.Invalid("mode_unknown", "a load has the mode upsert or full").On("mode")
	case order.Guard < 0 || order.Guard > 100:
		return nil, annona.Invalid("guard_out_of_range", "the delete guard is 0 to 100 percent").On("delete_guard")
	case order.AsOf.After(x.Clock().Add(day)):
		return nil, annona.Invalid("as_of_in_future", "the source reports for a moment that is more than a day ahead; is the date right?").On("as_of")
	}
	l := x.newLoading(caller, order)
	return l, l.start(ctx)
}

const day = 24 * time.Hour

func (x *Exchange) newLoading(caller annona.Caller, order LoadOrder) *Loading {
	now := x.Clock().UTC().Truncate(time.Millisecond)
	l := &Loading{x: x, caller: caller, order: order, request: annona.NewUID(), stop: func() {}, confirms: confirmed{}}
	l.load = annona.Load{
		ID: annona.NewUID(), Source: order.Source, Mode: order.Mode, AsOf: order.AsOf.UTC().Truncate(time.Millisecond), StartedAt: now, State: StateRunning,
		Author: annona.Author{Operator: caller.Operator, Client: caller.Client},
	}
	if order.AsOf.IsZero() {
		l.load.AsOf = now
	}
	if order.id != (annona.UID{}) {
		l.load.ID = order.id
	}
	l.report.Process, l.report.Mapping, l.report.Request = x.Process, order.Mapping, order.request
	d := x.CurrentDictionary()
	l.decides = map[string]authorities{"households": authoritiesOf(d, "households"), "individuals": authoritiesOf(d, "individuals")}
	l.covers = coverage(order.Covers)
	l.seen = map[string]*sightings{"households": {}, "individuals": {}}
	for _, scheme := range order.Match {
		if l.match == nil {
			l.match = map[string]bool{}
		}
		l.match[scheme] = true
	}
	if order.Mode == ModeFull {
		l.named = map[string]*roaring64.Bitmap{"households": roaring64.New(), "individuals": roaring64.New()}
		seed := maphash.MakeSeed()
		l.first.SetSeed(seed)
		l.second.SetSeed(seed)
	}
	return l
}

// start puts the load on file and looks whether another one stands in its way. Both look after
// they are on file, so that of two at once one at least sees the other.
func (l *Loading) start(ctx context.Context) error {
	entry := l.entry("started", annona.Loaded{})
	err := l.x.Writer.Update(ctx, func(tx annona.Tx) error {
		load := l.snapshot(StateRunning, outcome{})
		if err := tx.PutLoad(ctx, &load); err != nil {
			return err
		}
		l.load.Key = load.Key
		if err := l.x.addAreas(ctx, tx, l.order.Areas); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, entry)
	})
	if err != nil {
		return err
	}
	if err := l.clearTheWay(ctx); err != nil {
		return cmp.Or(l.end(ctx, StateRefused, err), err)
	}
	if l.newer, err = l.younger(ctx); err != nil {
		return cmp.Or(l.end(ctx, StateRefused, err), err)
	}
	l.live(ctx)
	return nil
}

// recentLoads is how many loads of a source are looked at for those that run.
const recentLoads = 200

// clearTheWay fails when another load of the source runs that must not: beside a full load, an
// undo or the load of a client there is no other one. Loads of dead processes are closed.
func (l *Loading) clearTheWay(ctx context.Context) error {
	loads, err := l.x.Loads.Loads(ctx, l.order.Source, recentLoads)
	if err != nil {
		return err
	}
	l.follows = len(loads) > 1 // one is this
	if !l.follows {
		l.unheard = mostDoubts
	}
	for i := range loads {
		other, err := l.x.infoOf(&loads[i])
		if err != nil {
			return err
		}
		switch {
		case other.ID == l.load.ID || loads[i].State != StateRunning:
		case other.State == StateFailed:
			if err := l.x.close(ctx, other); err != nil {
				return err
			}
		case alone(&l.load) || alone(&other.Load):
			return errLoadRunning(l.order.Source)
		}
	}
	return nil
}

func alone(l *annona.Load) bool { return l.Mode != ModeUpsert || l.Author.Client != (annona.UID{}) }

// close puts on file that a load has failed because its process died.
func (x *Exchange) close(ctx context.Context, dead LoadInfo) error {
	load := dead.Load
	load.Report = dead.Report.encode()
	return x.Writer.Update(ctx, func(tx annona.Tx) error { return tx.PutLoad(ctx, &load) })
}

func (r LoadReport) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("a report of counts does not encode: " + err.Error())
	}
	return b
}

// live lets the load say that it runs, until it ends. It does not where a batch has just said so: another
// write beside the batches would have them make room, as for anybody who waits.
func (l *Loading) live(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	l.stop = func() {
		cancel()
		<-ended
		l.stop = func() {}
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !l.isSilentFor(beat) {
					continue
				}
				load := l.snapshot(StateRunning, outcome{})
				_ = l.x.Writer.Update(ctx, func(tx annona.Tx) error { return tx.PutLoad(ctx, &load) }) // the next beat tries again
			}
		}
	}()
}

// isSilentFor reports whether no batch has told for so long that the load runs.
func (l *Loading) isSilentFor(long time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.x.Clock().Sub(l.told) >= long
}

// snapshot is the load as it stands when what a transaction does is added.
func (l *Loading) snapshot(state string, o outcome) annona.Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	load, n := l.load, sum(l.done, o.Loaded)
	report := l.report
	report.OutsideAuthority = maps.Clone(l.report.OutsideAuthority)
	report.add(o)
	report.Created, report.Changed, report.Unchanged, report.Deleted = n.Created, n.Changed, n.Unchanged, n.Deleted
	report.Restored, report.Stale, report.Erased, report.Pending = n.Restored, n.Stale, n.Erased, n.Unresolved
	report.Beat = l.x.Clock()
	load.State, load.Report = state, report.encode()
	if state != StateRunning {
		load.FinishedAt = l.x.Clock()
	}
	return load
}

func (l *Loading) author() annona.Author {
	by := l.load.Author
	by.Load = l.load.Key
	return by
}

// Read keeps what the reader counted with the load's report: counts and codes, never values; and how
// many rows it has refused.
func (l *Loading) Read(counted any, rejected int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rejected = rejected
	if b, err := json.Marshal(counted); err == nil {
		l.report.Reading = b
	}
}

// Finish ends a load that was read to its end, and returns what it did. A full load deletes now whom
// no row has named.
func (l *Loading) Finish(ctx context.Context) (annona.Loaded, error) {
	if l.order.Mode == ModeFull {
		if err := l.deleteMissing(ctx); err != nil {
			return l.done, cmp.Or(l.Fail(ctx, err), err)
		}
	}
	return l.done, l.end(ctx, StateFinished, nil)
}

// Fail ends a load that broke: what it has committed stays. It is recorded also when ctx is over.
func (l *Loading) Fail(ctx context.Context, cause error) error {
	state := StateFailed
	if l.order.Mode == ModeFull && !l.decided {
		state = StateRefused
	}
	return l.end(ctx, state, cause)
}

// lastWords is how long the end of a load may take to be put on file when the caller has gone.
const lastWords = 10 * time.Second

func (l *Loading) end(ctx context.Context, state string, cause error) error {
	l.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if cause != nil {
		l.report.Code = codeOf(cause)
	}
	load := l.snapshot(state, outcome{})
	var err error
	if load.Confirmed, err = l.confirms.encode(); err != nil {
		return err
	}
	return l.x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutLoad(ctx, &load); err != nil {
			return err
		}
		if err := l.settleRows(ctx, tx, state == StateFinished); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, l.entry(state, l.done))
	})
}

func codeOf(err error) string {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return codeInterrupted
	}
	return annona.CodeOf(err)
}

// coverage turns names of fields into units; nil stays nil.
func coverage(covers map[string][]string) map[string]map[string]bool {
	if covers == nil {
		return nil
	}
	units := map[string]map[string]bool{}
	for dataset, names := range covers {
		of := map[string]bool{"quality_flags": true}
		for _, name := range names {
			if unit, ok := together[name]; ok {
				name = unit
			}
			of[name] = true
		}
		for from, to := range derivedFrom {
			of[to] = of[to] || of[from]
		}
		units[dataset] = of
	}
	return units
}

// derivedFrom says what a report tells of because the exchange derives it from the rest of it.
var derivedFrom = map[string]string{"functioning": "is_disabled", "assessments": "poverty_score"}

func (l *Loading) coverOf(dataset *annona.Dataset) func(string) bool {
	if l.covers == nil {
		return func(string) bool { return true }
	}
	units := l.covers[dataset.Name]
	return func(unit string) bool { return units[unit] }
}

// authoritiesOf returns which source decides which field of a dataset.
func authoritiesOf(d *annona.Dictionary, dataset string) authorities {
	current, _ := d.Dataset(dataset)
	units := map[string]string{}
	for _, f := range current.Fields {
		if f.Authority != "" {
			units[unitOf(f)] = f.Authority
		}
	}
	return func(unit string) string { return units[unit] }
}

// The quality flags that the gate raises.
const (
	flagOutside   = "outside_authority"
	flagDuplicate = "duplicate_suspected"
	flagMisfit    = "id_format_invalid"
	flagDiffer    = "merged_differ"
)

// differFlag makes the flag that records which were merged say different things of a field.
func (x *Exchange) differFlag(dataset *annona.Dataset) func(unit string, since time.Time) word {
	return func(unit string, since time.Time) word { return x.flag(dataset, flagDiffer, unit, since) }
}

// flag makes a quality flag; about is the field, empty: the whole record; since zero: it has no day.
func (x *Exchange) flag(dataset *annona.Dataset, code, about string, since time.Time) word {
	group, _ := dataset.Field("quality_flags")
	flags, _ := x.CurrentDictionary().Dataset("quality_flags")
	var item []annona.Value
	var day annona.Date
	if !since.IsZero() {
		day = annona.DateOf(since.UTC())
	}
	for _, v := range [...]struct{ field, text string }{{"code", code}, {"field", about}, {"since", string(day)}} {
		if f, ok := flags.Field(v.field); ok && v.text != "" {
			item = append(item, annona.Value{Field: f, Text: v.text})
		}
	}
	slices.SortFunc(item, byTag)
	return word{unit: group.Code, item: itemKey(item, keyed["quality_flags"]), group: group, items: [][]annona.Value{item}}
}
