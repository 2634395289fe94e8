package exchange

import (
	"cmp"
	"context"
	"slices"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/annona-exchange/annona"
)

// An undo is a load of its own. Each record that the load made or changed, and that nothing else has
// changed since, becomes again what it was, as a new version: no history is rewritten. It works the
// same way on an undo.

// UndoLoad takes a load back and returns the load that did so. Codes: load_running, load_undone,
// load_not_applied.
func (x *Exchange) UndoLoad(ctx context.Context, caller annona.Caller, id annona.UID) (LoadInfo, error) {
	if err := operatorOnly(caller); err != nil {
		return LoadInfo{}, err
	}
	undone, err := x.ShowLoad(ctx, caller, id)
	if err != nil {
		return LoadInfo{}, err
	}
	switch undone.State {
	case StateRunning:
		return LoadInfo{}, annona.Conflict("load_running", "the load is still running; wait for its end")
	case StateUndone:
		return LoadInfo{}, annona.Conflict("load_undone", "the load has been undone; to bring it back, undo the load that did so")
	case StateRefused:
		return LoadInfo{}, annona.Conflict("load_not_applied", "nothing of this load was applied, so that there is nothing to undo")
	}
	l := x.newLoading(caller, LoadOrder{Source: undone.Source, Mode: ModeUndo})
	l.load.Undoes = id
	if err := l.start(ctx); err != nil {
		return LoadInfo{}, err
	}
	u := undoing{Loading: l, of: undone.Load}
	if err := u.run(ctx); err != nil {
		return LoadInfo{}, cmp.Or(err, l.Fail(ctx, err))
	}
	if err := u.finish(ctx, undone); err != nil {
		return LoadInfo{}, err
	}
	return x.ShowLoad(ctx, caller, l.load.ID)
}

type undoing struct {
	*Loading
	of annona.Load
}

// finish ends the undo and marks what it has undone; a load that an undo had taken back is finished
// again when that one is undone.
func (u *undoing) finish(ctx context.Context, undone LoadInfo) error {
	marked := undone.Load
	marked.State, marked.Report = StateUndone, undone.Report.encode()
	back, err := u.x.Loads.LoadByID(ctx, undone.Undoes)
	if err != nil {
		return err
	}
	err = u.x.Writer.Update(ctx, func(tx annona.Tx) error {
		if undone.Mode == ModeUndo && back != nil && back.State == StateUndone {
			again := *back
			again.State = StateFinished
			if err := tx.PutLoad(ctx, &again); err != nil {
				return err
			}
		}
		return tx.PutLoad(ctx, &marked)
	})
	if err != nil {
		return err
	}
	return u.end(ctx, StateFinished, nil)
}

// run goes through what the load did, in an order in which a household is there as long as somebody
// lives in it: households come back, individuals become what they were, households go.
func (u *undoing) run(ctx context.Context) error {
	stays := func(e *annona.LoadEvent) bool { return e.Kind == annona.EventChanged || e.Kind == annona.EventDeleted }
	for _, part := range []struct {
		dataset string
		takes   func(e *annona.LoadEvent) bool
	}{
		{"households", stays},
		{"individuals", func(*annona.LoadEvent) bool { return true }},
		{"households", func(e *annona.LoadEvent) bool { return !stays(e) }},
	} {
		dataset, _ := u.x.CurrentDictionary().Dataset(part.dataset)
		if err := u.part(ctx, dataset, part.takes); err != nil {
			return err
		}
	}
	return nil
}

// part undoes the load's events about one dataset. A record that the load changed several times
// becomes what it was before the first of them.
func (u *undoing) part(ctx context.Context, dataset *annona.Dataset, takes func(*annona.LoadEvent) bool) error {
	once, often := roaring64.New(), map[annona.Number][]annona.LoadEvent{}
	err := u.events(ctx, dataset, func(e annona.LoadEvent) error {
		if !once.CheckedAdd(uint64(e.Record)) {
			often[e.Record] = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	var page []annona.LoadEvent
	flush := func() error {
		err := u.undo(ctx, dataset, page)
		page = page[:0]
		return err
	}
	err = u.events(ctx, dataset, func(e annona.LoadEvent) error {
		if _, several := often[e.Record]; several {
			often[e.Record] = append(often[e.Record], e)
			return nil
		}
		if !takes(&e) {
			return nil
		}
		if page = append(page, e); len(page) < walked {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	for _, all := range often {
		if e := folded(all); takes(&e) {
			page = append(page, e)
		}
	}
	for len(page) > walked {
		rest := slices.Clone(page[walked:])
		page = page[:walked]
		if err := flush(); err != nil {
			return err
		}
		page = rest
	}
	return flush()
}

// folded is one event for several of one record: the last version, with what was before the first of
// those that follow each other without another one's between them.
func folded(all []annona.LoadEvent) annona.LoadEvent {
	e := all[len(all)-1]
	for i := len(all) - 2; i >= 0 && all[i].Version == all[i+1].Version-1; i-- {
		e.Kind, e.Before = foldKinds(all[i], e), all[i].Before
	}
	return e
}

// foldKinds says what an earlier and a later event are together.
func foldKinds(first, last annona.LoadEvent) annona.EventKind {
	switch first.Kind {
	case annona.EventCreated, annona.EventRestored:
		return first.Kind
	}
	if last.Kind == annona.EventRestored {
		return annona.EventChanged
	}
	return last.Kind
}

const eventsAtOnce = 5000

// events calls visit for each event of the load about a dataset that made a version.
func (u *undoing) events(ctx context.Context, dataset *annona.Dataset, visit func(annona.LoadEvent) error) error {
	for after := int64(0); ; {
		events, err := u.x.Loads.LoadEvents(ctx, &u.of, after, eventsAtOnce)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			after = e.Event
			if e.Dataset != dataset.Name || e.Kind == annona.EventTouched || e.Kind == annona.EventErased {
				continue
			}
			if err := visit(e); err != nil {
				return err
			}
		}
	}
}

// undo undoes events of different records in one transaction.
func (u *undoing) undo(ctx context.Context, dataset *annona.Dataset, events []annona.LoadEvent) error {
	if len(events) == 0 {
		return nil
	}
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b annona.LoadEvent) int { return int(a.Record - b.Record) })
	numbers := make([]annona.Number, len(events))
	for i, e := range events {
		numbers[i] = e.Record
	}
	var wrote outcome
	err := u.x.Writer.Update(ctx, func(tx annona.Tx) error {
		wrote = outcome{}
		known, err := tx.Hold(ctx, dataset, numbers)
		if err != nil {
			return err
		}
		if err := u.write(ctx, tx, known, events, &wrote); err != nil {
			return err
		}
		return u.commit(ctx, tx, "undone", wrote)
	})
	if err != nil {
		return err
	}
	u.add(wrote)
	return nil
}

// write makes records again what they were before the events.
func (u *undoing) write(ctx context.Context, tx annona.Tx, known []annona.Known, events []annona.LoadEvent, o *outcome) error {
	var back []*revision // to an image that is kept
	var gone []*revision // out of sight
	for i, k := range known {
		e := &events[i]
		switch {
		case k.Version == 0: // erased since
			o.Erased++
		case k.Version != e.Version:
			o.tally.ChangedSince++
		case e.Kind == annona.EventCreated:
			gone = append(gone, &revision{known: k, former: wasOf(&k)})
		case e.Kind == annona.EventRestored: // what was kept when it was deleted is kept again
			gone = append(gone, &revision{known: k, former: wasOf(&k), before: e.Before})
		default:
			v := &revision{known: k}
			if !k.Deleted {
				v.former = wasOf(&k)
			}
			v.before = e.Before
			back = append(back, v)
		}
	}
	for _, v := range slices.Concat(gone, back) {
		o.settle(v.known.Key.Dataset.Name, v.known.Number)
	}
	if err := u.x.remove(ctx, tx, u.author(), gone, o); err != nil {
		return err
	}
	return u.restore(ctx, tx, back, o)
}

// restore writes what records were before as their next version.
func (u *undoing) restore(ctx context.Context, tx annona.Tx, back []*revision, o *outcome) error {
	if len(back) == 0 {
		return nil
	}
	cells := make([]annona.Cell, 0, 2*len(back))
	for _, v := range back {
		former, err := annona.ParseFormer(v.before)
		if err != nil {
			return err
		}
		cell := annona.Cell{Dataset: v.known.Key.Dataset, Number: v.known.Number, Version: former.Version}
		cell.Part, cell.Image = annona.PartBefore, slices.Clone(former.Clear)
		cells = append(cells, cell)
		cell.Part, cell.Image = annona.PartSealed, slices.Clone(former.Sealed)
		cells = append(cells, cell)
	}
	if err := u.x.Vault.OpenCells(ctx, cells); err != nil {
		return err
	}
	if err := u.x.openParts(ctx, u.x.Vault, back); err != nil {
		return err
	}
	var w writes
	for i, v := range back {
		then, err := parseWas(cells[2*i].Image)
		if err != nil {
			return err
		}
		if err := u.become(v, &then, cells[2*i+1].Image, &w); err != nil {
			return err
		}
	}
	loaded, err := w.put(ctx, u.x, tx, u.author())
	o.Loaded = sum(o.Loaded, loaded)
	return err
}

// become writes a record as it was then.
func (u *undoing) become(v *revision, then *was, sealed annona.Image, w *writes) error {
	dataset := v.known.Key.Dataset
	r, err := recordOf(u.x.CurrentDictionary(), dataset, then.clear, sealed)
	if err != nil {
		return err
	}
	for _, k := range then.others {
		key := k.recordKey(dataset)
		now := annona.RecordKey{Dataset: dataset, Source: k.source, Key: k.key}
		known := slices.IndexFunc(v.known.OtherKeys, func(o annona.RecordKey) bool { return o.Source == k.source && o.Key == k.key })
		kept := keptOf(&now)
		if kept.unknown = known < 0; known >= 0 {
			kept.digest, kept.asOf = v.known.OtherKeys[known].Digest, v.known.OtherKeys[known].AsOf
		}
		v.former.others = append(v.former.others, kept)
		number := v.known.Number
		if k.unknown {
			number = 0
		}
		w.keys = append(w.keys, leading{key, number})
	}
	if err := u.x.formerParts(v, then.parts); err != nil {
		return err
	}
	v.keys = []annona.RecordKey{then.first.recordKey(dataset)}
	v.now = standing{words: wordsOf(&r), memberships: then.memberships, relationships: then.relationships}
	next, image, err := u.x.next(v)
	if err != nil {
		return err
	}
	w.add(next, image)
	if len(then.parts) > 0 {
		w.parts = append(w.parts, partsWrite{dataset, next.Number, next.Version, v.parts})
	}
	return nil
}
