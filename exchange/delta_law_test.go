package exchange_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
)

// TestTheLawOfDeltas: an export of everything, and then deltas from any of its positions, make what a fresh
// export of everything has. Every row of a delta changes something. Between any two of them records, rights,
// areas, the agreement, the day and the specification itself move; following what the specification shows
// goes on from the same positions.
func TestTheLawOfDeltas(t *testing.T) {
	t.Parallel()
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			worlds, deltas, rows := 0, 0, 0
			t.Cleanup(func() { t.Logf("%d worlds, %d deltas with %d rows", worlds, deltas, rows) })
			lawWithin(t, 3*time.Second, func(rt *rapid.T) {
				worlds++
				w := &deltaWorld{moving: newWorld(rt, g)}
				defer func() { check(rt, w.place.store.Close()) }()
				var err error
				w.caller, err = w.place.admit("law")
				check(rt, err)
				w.specify(rt)
				w.whole(rt)
				rt.Repeat(map[string]func(*rapid.T){
					"records": w.records,
					"one":     w.oneRecord,
					"another": w.oneRecord,
					"right":   w.right,
					"all":     w.everything,
					"erase":   w.erase,
					"merge":   w.merge,
					"specify": w.specify,
					"whole":   w.whole,
					"delta":   w.delta,
					"further": w.delta,
					"follow":  w.followSpec,
					"":        func(*rapid.T) {},
				})
				for _, at := range w.kept {
					w.catchUpFrom(rt, at)
				}
				deltas += w.deltas
				rows += w.rows
			})
		})
	}
}

// deltaWorld is a world of which exports are taken by one specification.
type deltaWorld struct {
	*moving
	caller       annona.Caller
	kept         []deltaKept // every position that an export was given
	previous     string      // position of the latest export
	deltas, rows int
}

// deltaKept is a position, with what its recipient has then. doubtful: rights have moved while the export ran, so
// that some rows may come once more.
type deltaKept struct {
	kept
	doubtful bool
}

const deltaSpec = "delta"

// specify puts a version of the specification on file.
func (w *deltaWorld) specify(rt *rapid.T) {
	s := annona.ExportSpec{Name: deltaSpec, Agreement: "law", Purpose: lawPurpose, Dataset: "individuals", Format: "ndjson", Mode: annona.SpecDelta, PartRows: int64(rapid.IntRange(2, 5).Draw(rt, "part rows"))}
	s.Fields = rapid.SampledFrom([][]annona.SpecField{
		{{Field: "individual_id", As: "pid"}, {Field: "sex", Codes: sexCodes()}, {Field: "date_of_birth", As: "age", Treatment: annona.TreatAge, Band: 1}},
		{{Field: "sex"}, {Field: "area_code", Treatment: annona.TreatArea, Level: 1}, {Field: "individual_id"}, {Field: "household_id", As: "home"}},
		{{Field: "individual_id"}, {Field: "relationships.to_individual_id"}, {Field: "memberships.household_id"}, {Field: "area_code"}},
	}).Draw(rt, "fields")
	s.Filter = rapid.SampledFrom([]string{"", "", "individual.sex == 'female'", "age_on(individual.date_of_birth, as_of) >= 18", "household.poverty_score < 50"}).Draw(rt, "filter")
	s.Derived = rapid.SampledFrom([][]annona.SpecRule{nil, {{As: "adult", Rule: "age_on(individual.date_of_birth, as_of) >= 18"}}, {{As: "poor", Rule: "household.poverty_score < 30"}, {As: "west", Rule: "within(individual.area_code, 'XA-1')"}}}).Draw(rt, "derived")
	_, _, err := w.place.PutExportSpec(w.place.ctx, operator, s)
	check(rt, err)
}

func sexCodes() map[string]string {
	codes := map[string]string{}
	list, _ := annona.Standard().CodeList("sex")
	for i, c := range list.Codes {
		codes[c.Code] = fmt.Sprint("s", i)
	}
	return codes
}

// whole takes an export of everything, and begins with that.
func (w *deltaWorld) whole(rt *rapid.T) {
	to, position := w.run(rt, exchange.SinceBeginning, nil)
	for _, c := range to.rows {
		if c.word != "upsert" {
			rt.Fatalf("%s in an export of everything", c.word)
		}
	}
	w.keep(rt, position, deltaKept{}, to)
}

// delta takes one from any position, or the latest one; sometimes somebody leaves in the midst.
func (w *deltaWorld) delta(rt *rapid.T) {
	at := rapid.SampledFrom(w.kept).Draw(rt, "at")
	since := at.token
	if since == w.previous {
		since = rapid.SampledFrom([]string{"", exchange.SincePrevious, at.token}).Draw(rt, "since")
	}
	var midst func()
	if rapid.IntRange(0, 3).Draw(rt, "midst") == 0 {
		midst = func() { w.right(rt) }
	}
	to, position := w.run(rt, since, midst)
	at.doubtful = at.doubtful || midst != nil
	next := w.keep(rt, position, at, to)
	w.deltas++
	w.rows += len(to.rows)
	if midst == nil {
		w.compareWhole(rt, *next)
		return
	}
	next.doubtful = true
}

// run takes an export, in the way of a worker.
func (w *deltaWorld) run(rt *rapid.T, since string, midst func()) (to *deltaReceiver, position string) {
	check(rt, w.place.settle())
	ctx := w.place.ctx
	started, _, err := w.place.StartExport(ctx, w.caller, exchange.ExportRequest{Spec: deltaSpec, Since: since})
	check(rt, err)
	job, err := w.place.store.ClaimExport(ctx, annona.NewUID(), time.Hour)
	check(rt, err)
	claim := annona.ExportClaim{Job: job.ID, Epoch: job.Epoch}
	beat := func() error { return nil }
	export, err := w.place.ResumeExport(ctx, *job)
	check(rt, err)
	check(rt, export.Plan(ctx, claim, beat))
	files := make([]*deltaReceiver, export.Parts())
	parts := make([]annona.ExportPart, export.Parts())
	write := func(n int) {
		files[n] = &deltaReceiver{}
		parts[n], err = export.Write(ctx, n+1, []*annona.Shape{export.Shape()}, files[n], 0)
		check(rt, err)
	}
	for n := range parts {
		write(n)
		if midst != nil && n == 0 {
			midst()
			check(rt, w.place.settle())
		}
	}
	var reached []byte
	for clean := false; !clean || reached == nil; {
		clean = true
		for n := range parts {
			left, err := export.Left(ctx, parts[n])
			check(rt, err)
			if left {
				write(n)
				clean, reached = false, nil
			}
		}
		if clean && reached == nil {
			reached, err = export.Remember(ctx, parts, beat)
			check(rt, err)
			clean = false
		}
	}
	check(rt, w.place.store.EndExport(ctx, claim, annona.ExportEnd{State: annona.ExportComplete, Keep: time.Hour, Reached: reached}))
	started.Reached = reached
	to = &deltaReceiver{}
	for _, f := range files {
		to.rows = append(to.rows, f.rows...)
	}
	return to, w.place.ExportPosition(&started)
}

// keep applies the rows of an export.
func (w *deltaWorld) keep(rt *rapid.T, position string, at deltaKept, to *deltaReceiver) *deltaKept {
	next := deltaKept{kept: kept{token: position, has: map[string]string{}}}
	maps.Copy(next.has, at.has)
	for _, c := range to.rows {
		was, had := next.has[c.id]
		switch c.word {
		case "left_scope", "delete":
			if !had {
				rt.Fatalf("%s of a record that the recipient does not have", c.word)
			}
			delete(next.has, c.id)
		default:
			if was == c.text && !at.doubtful || c.word == "entered_scope" && had {
				rt.Fatalf("%s of a record that the recipient has like this (%v):\n%s", c.word, had, c.text)
			}
			next.has[c.id] = c.text
		}
	}
	w.kept = append(w.kept, next)
	w.previous = position
	return &w.kept[len(w.kept)-1]
}

// followSpec follows what the specification shows, from any position to the end.
func (w *deltaWorld) followSpec(rt *rapid.T) {
	w.catchUpFrom(rt, rapid.SampledFrom(w.kept).Draw(rt, "at"))
}

func (w *deltaWorld) catchUpFrom(rt *rapid.T, at deltaKept) {
	check(rt, w.place.settle())
	limit := rapid.IntRange(1, 6).Draw(rt, "limit")
	for more := true; more; {
		changes, _, err := w.place.FollowSpec(w.place.ctx, w.caller, deltaSpec, 0, at.token, limit, 0, exchange.Form{Format: "json"})
		check(rt, err)
		at = deltaKept{kept{token: changes.Next, has: maps.Clone(at.has)}, at.doubtful}
		for _, c := range changes.List {
			if c.Kind.Gone() {
				id := string(changes.IDs.Page().Cell(0, c.Row))
				if _, had := at.has[id]; !had {
					rt.Fatalf("%s of a record that the recipient does not have", c.Kind)
				}
				delete(at.has, id)
				continue
			}
			id, text := rowText(changes.Records, c.Row)
			if at.has[id] == text && !at.doubtful {
				rt.Fatalf("%s of a record that the recipient has like this:\n%s", c.Kind, text)
			}
			at.has[id] = text
		}
		more = changes.More
		w.kept = append(w.kept, at)
	}
	w.compareWhole(rt, at)
}

// compareWhole holds what a recipient has against an export of everything, as it is streamed.
func (w *deltaWorld) compareWhole(rt *rapid.T, at deltaKept) {
	e, _, err := w.place.ExportBySpec(w.place.ctx, w.caller, deltaSpec, 0)
	check(rt, err)
	to := &deltaReceiver{}
	_, err = e.Run(w.place.ctx, []*annona.Shape{e.Shape()}, to, func() {})
	check(rt, err)
	fresh := map[string]string{}
	for _, c := range to.rows {
		fresh[c.id] = c.text
	}
	if diff := cmp.Diff(fresh, at.has); diff != "" {
		rt.Fatalf("a fresh export (-) and what deltas have made (+) differ:\n%s", diff)
	}
}

// deltaReceiver keeps the rows of an export.
type deltaReceiver struct{ rows []deltaRow }

type deltaRow struct{ word, id, text string }

func (r *deltaReceiver) Begin(int) error { return nil }
func (r *deltaReceiver) End() error      { return nil }

func (r *deltaReceiver) Page(d *privacy.Disclosed) error {
	p := *d.Page()
	shape := *p.Shape
	p.Shape, p.Columns = &shape, p.Columns[1:]
	shape.Columns = shape.Columns[1:]
	for row := range p.Count {
		c := deltaRow{word: string(d.Page().Cell(0, row)), id: string(p.Cell(shape.Column(shape.Dataset.Key), row)), text: pageText(&p, row)}
		r.rows = append(r.rows, c)
	}
	return nil
}
