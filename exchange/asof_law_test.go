package exchange_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
)

// TestTheLawOfSnapshots: an export at a position is the export that was taken when the log stood there,
// whatever has happened to records since; minus those who have been erased or restricted, or have
// withdrawn their consent. Following from the end of it makes what a search finds.
func TestTheLawOfSnapshots(t *testing.T) {
	t.Parallel()
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			worlds, reads, moved := 0, 0, 0
			t.Cleanup(func() {
				t.Logf("%d worlds, %d exports at a position, %d of something that has changed", worlds, reads, moved)
			})
			law(t, func(rt *rapid.T) {
				worlds++
				w := &pastWorld{moving: newWorld(rt, g)}
				defer func() { check(rt, w.place.store.Close()) }()
				rt.Repeat(map[string]func(*rapid.T){
					"records": w.change,
					"one":     w.change,
					"another": w.change,
					"full":    w.full,
					"undo":    w.undo,
					"redraw":  w.redraw,
					"right":   w.rights(w.right),
					"erase":   w.rights(w.erase),
					"amend":   w.amend,
					"reader":  w.reader,
					"keep":    w.keep,
					"compare": w.compareOne,
					"follow":  w.followOne,
					"":        func(*rapid.T) { w.place.now = w.place.now.Add(time.Second) },
				})
				for _, s := range w.snapshots {
					w.compare(rt, s)
				}
				reads += w.reads
				moved += w.moved
			})
		})
	}
}

// pastWorld is a world of which exports are kept.
type pastWorld struct {
	*moving
	loads        []annona.UID
	snapshots    []*keptExport
	reads, moved int
}

// keptExport is an export that was taken when the log stood at a position.
type keptExport struct {
	reader  *reader
	token   string
	rows    map[string]string
	changed bool // records have changed since
	rough   bool // rights have changed after them: what the export would have been then, nobody knows
	ended   bool // what it was taken under is no more
	gone    map[string]bool
}

// reader lets a reader begin; sometimes one who asks for what is shown by name only.
func (w *pastWorld) reader(rt *rapid.T) {
	before := len(w.readers)
	w.begin(rt)
	if len(w.readers) > before && rapid.Bool().Draw(rt, "by name") {
		w.readers[before].question = exchange.Question{
			Dataset: "individuals", Fields: []string{"individual_id", "sex", "last_updated", "received_at", "area_code"}, Purpose: lawPurpose, NilReasons: true,
		}
	}
}

// change loads records, some of them for the first time.
func (w *pastWorld) change(rt *rapid.T) {
	var homes, people []annona.Record
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, lawHomes-1), 0, 2, rapid.ID[int]).Draw(rt, "homes") {
		homes = append(homes, w.home(rt, n))
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, lawPeople+2), 0, 3, rapid.ID[int]).Draw(rt, "people") {
		people = append(people, w.person(rt, n))
	}
	w.send(rt, exchange.ModeUpsert, homes, people)
}

// full deletes whom it does not name; those who were deleted come back with it.
func (w *pastWorld) full(rt *rapid.T) {
	var homes, people []annona.Record
	for n := range lawHomes + 1 {
		homes = append(homes, w.home(rt, n))
	}
	for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, lawPeople+2), 1, lawPeople, rapid.ID[int]).Draw(rt, "people") {
		people = append(people, w.person(rt, n))
	}
	if rapid.Bool().Draw(rt, "fewer homes") {
		homes = homes[:lawHomes]
	}
	w.send(rt, exchange.ModeFull, homes, people)
}

func (w *pastWorld) send(rt *rapid.T, mode string, homes, people []annona.Record) {
	ctx := w.place.ctx
	l, err := w.place.BeginLoad(ctx, operator, exchange.LoadOrder{Source: "law", Mode: mode, Guard: 100})
	check(rt, err)
	if mode == exchange.ModeFull {
		check(rt, l.Name(ctx, homes, people))
		check(rt, l.Decide(ctx))
	}
	_, err = l.Put(ctx, homes, people)
	check(rt, err)
	_, err = l.Finish(ctx)
	check(rt, err)
	w.loads = append(w.loads, l.ID())
	w.recordsChanged()
}

func (w *pastWorld) recordsChanged() {
	for _, s := range w.snapshots {
		s.changed = true
	}
}

func (w *pastWorld) undo(rt *rapid.T) {
	if len(w.loads) == 0 {
		return
	}
	last := w.loads[max(0, len(w.loads)-3):]
	info, err := w.place.UndoLoad(w.place.ctx, operator, rapid.SampledFrom(last).Draw(rt, "load"))
	if annona.CodeOf(err) == "load_undone" {
		return
	}
	check(rt, err)
	w.loads = append(w.loads, info.ID)
	w.recordsChanged()
}

// redraw renames an area: its households move.
func (w *pastWorld) redraw(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
		return
	}
	n := len(w.parents)
	name := fmt.Sprint("XA-1-1-", n)
	_, err := w.place.Reorganize(w.place.ctx, operator, annona.Reorganization{Effective: annona.DateOf(w.place.now), Reference: name, Changes: []annona.AreaChange{
		{Kind: annona.AreaRename, From: []string{rapid.SampledFrom([]string{"XA-1", "XA-2", "XA-1-1"}).Draw(rt, "area")}, Into: []annona.Area{{Code: name}}},
	}})
	if err != nil {
		return // it has been renamed already
	}
	w.recordsChanged()
}

// rights changes what people have said. Of a snapshot behind which no record has changed yet, what
// there is now is what it would have been.
func (w *pastWorld) rights(act func(*rapid.T)) func(*rapid.T) {
	return func(rt *rapid.T) {
		act(rt)
		for _, s := range w.snapshots {
			if s.changed || s.ended {
				s.rough = true
				continue
			}
			before := s.rows
			s.rows, _ = w.export(rt, s.reader, "")
			for id := range before {
				if _, stays := s.rows[id]; !stays {
					s.gone[id] = true
				}
			}
		}
	}
}

// amend writes another version of the agreement, or an area: what was under the former ones, ends.
func (w *pastWorld) amend(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "rarely") > 0 {
		return
	}
	w.agreement(rt)
	for _, s := range w.snapshots {
		s.ended = true
	}
}

func (w *pastWorld) keep(rt *rapid.T) {
	if len(w.snapshots) > 5 {
		w.snapshots = w.snapshots[1:]
	}
	s := &keptExport{reader: rapid.SampledFrom(w.readers).Draw(rt, "reader"), gone: map[string]bool{}}
	check(rt, w.place.settle())
	s.rows, s.token = w.export(rt, s.reader, "")
	w.snapshots = append(w.snapshots, s)
}

func (w *pastWorld) compareOne(rt *rapid.T) {
	if len(w.snapshots) > 0 {
		w.compare(rt, rapid.SampledFrom(w.snapshots).Draw(rt, "snapshot"))
	}
}

// followOne begins to follow where an export at a position ends.
func (w *pastWorld) followOne(rt *rapid.T) {
	if len(w.snapshots) == 0 {
		return
	}
	s := rapid.SampledFrom(w.snapshots).Draw(rt, "snapshot")
	if !s.ended && w.compare(rt, s) {
		w.followLatest(rt)
	}
}

// compare exports at the position of a snapshot, and follows from there.
func (w *pastWorld) compare(rt *rapid.T, s *keptExport) bool {
	q := s.reader.question
	q.Position = s.token
	e, err := w.place.Export(w.place.ctx, s.reader.caller, q, exchange.Form{Format: "ndjson"})
	if annona.CodeOf(err) == "resync" {
		s.ended = true // under another agreement, or with other areas
	} else if s.ended && err == nil {
		rt.Fatal("a position is good under an agreement that it was not given out under")
	}
	if s.ended {
		return false
	}
	check(rt, err)
	w.reads++
	to := &rowReceiver{rows: map[string]string{}}
	_, err = e.Run(w.place.ctx, []*annona.Shape{e.Shape()}, to, func() {})
	check(rt, err)
	if s.changed {
		w.moved++
	}
	if !slices.IsSorted(to.numbers) {
		rt.Fatalf("rows out of order: %v", to.numbers)
	}
	for id := range to.rows {
		if _, was := s.rows[id]; !was && !s.rough || s.gone[id] {
			rt.Fatalf("%+v: somebody is in it who was not, or must not be:\n%s", s.reader.question, to.rows[id])
		}
	}
	if !s.rough {
		if diff := cmp.Diff(s.rows, to.rows); diff != "" {
			rt.Fatalf("%+v: the export that was taken there (-) and the one at its position (+) differ:\n%s", s.reader.question, diff)
		}
	}
	if e.Next() == "" {
		rt.Fatal("nobody can follow from here")
	}
	at := kept{token: e.Next(), has: maps.Clone(to.rows)}
	s.reader.kept = append(s.reader.kept, at)
	w.catchUp(rt, s.reader, at, rapid.IntRange(1, 6).Draw(rt, "limit"))
	return true
}

// export takes an export as things are, or at a position.
func (w *pastWorld) export(rt *rapid.T, r *reader, position string) (map[string]string, string) {
	q := r.question
	q.Position = position
	e, err := w.place.Export(w.place.ctx, r.caller, q, exchange.Form{Format: "ndjson"})
	check(rt, err)
	to := &rowReceiver{rows: map[string]string{}}
	_, err = e.Run(w.place.ctx, []*annona.Shape{e.Shape()}, to, func() {})
	check(rt, err)
	return to.rows, e.Position()
}

// rowReceiver keeps rows as text, by id.
type rowReceiver struct {
	rows    map[string]string
	numbers []annona.Number
}

func (r *rowReceiver) Begin(int) error { return nil }
func (r *rowReceiver) End() error      { return nil }

func (r *rowReceiver) Page(d *privacy.Disclosed) error {
	r.numbers = append(r.numbers, d.Page().Numbers...)
	for row := range d.Count() {
		id, text := rowText(d, row)
		r.rows[id] = text
	}
	return nil
}
