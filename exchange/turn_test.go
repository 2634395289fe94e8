package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// slowWriter holds the first transaction back before it commits, until a test lets it go or fails it.
type slowWriter struct {
	annona.Writer
	goesOn chan error
	began  atomic.Int64
}

func (w *slowWriter) Update(ctx context.Context, fn func(annona.Tx) error) error {
	first := w.began.Add(1) == 1
	return w.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		if first {
			return <-w.goesOn
		}
		return nil
	})
}

// files makes two files of twenty people each, whose rows stand one behind the other. The parent of the
// first one of each stands in the other file. The last row of the second file has a key of the first, and
// says of it what is on file before.
func files(t *testing.T) (all [2][]annona.Record) {
	t.Helper()
	for i := range 40 {
		r := row(t, "individuals", fmt.Sprint("p", i), "occupation", fmt.Sprint("job ", i))
		switch i {
		case 0, 20:
			r.Relationships = []annona.Relationship{{ToKey: fmt.Sprint("p", 25-i), Type: "child"}}
		case 39:
			r = before(t)
		}
		r.File, r.Line = 1, i+2
		all[i/20] = append(all[i/20], r)
	}
	return all
}

func before(t *testing.T) annona.Record { return row(t, "individuals", "p7", "occupation", "before") }

// overlapping begins to write two batches, and the second one while the first one is not committed.
func (p *place) overlapping(t *testing.T, w *slowWriter, end error) (load *exchange.Loading, errs [2]error) {
	t.Helper()
	p.put(t, []annona.Record{before(t)})
	load, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: "survey"})
	check(t, err)
	usual := p.Writer
	w.Writer, w.goesOn = usual, make(chan error)
	p.Writer = w
	defer func() { p.Writer = usual }()
	var waits [2]func() error
	for i, records := range files(t) {
		b, err := load.MakeReady(records)
		check(t, err)
		waits[i] = load.WriteBehind(t.Context(), b)
		for w.began.Load() <= int64(i) {
			time.Sleep(time.Millisecond)
		}
	}
	time.Sleep(50 * time.Millisecond) // the second one finds its records
	w.goesOn <- end
	for i, wait := range waits {
		errs[i] = wait()
	}
	return load, errs
}

// TestAWriteBesideTheOneBefore writes a batch while the one before it is not committed: what became of
// the records is what it is when one follows the other.
func TestAWriteBesideTheOneBefore(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			load, errs := p.overlapping(t, &slowWriter{}, nil)
			if errs != [2]error{} {
				t.Fatal(errs)
			}
			if count, places := load.Repeats(); count != 1 || places[0].Line != 41 || places[0].First.Line != 9 {
				t.Errorf("%d repeats, %+v", count, places)
			}
			loaded, err := load.Finish(t.Context())
			check(t, err)
			if loaded.Created != 38 || loaded.Changed != 1 {
				t.Errorf("%+v", loaded)
			}
			if waiting := p.waiting(t); waiting != 0 {
				t.Errorf("%d relationships lead nowhere", waiting)
			}
		})
	}
}

// lateVault calls between before the keys of a second transaction are read: when it has found its records.
type lateVault struct {
	exchange.Vault
	asked   atomic.Int64
	between func()
}

func (v *lateVault) Holding(ctx context.Context, pages []*annona.Page, do func(annona.Cells) error) error {
	if v.asked.Add(1) == 2 {
		v.between()
	}
	return v.Vault.Holding(ctx, pages, do)
}

// TestAWriteFoundBeforeTheOneBefore lets a write find its records before the one before it is committed, and go on
// behind that: where a record was as its row says, and a row of the one before has said something else, it is found again.
func TestAWriteFoundBeforeTheOneBefore(t *testing.T) {
	for _, g := range grounds(t) {
		if g.name != "postgres" { // the other store has one transaction at a time
			continue
		}
		p, err := g.open(t.Context())
		check(t, err)
		defer func() { check(t, p.store.Close()) }()
		order := exchange.LoadOrder{Source: "survey"}
		former, err := p.BeginLoad(t.Context(), operator, order)
		check(t, err)
		_, err = former.Put(t.Context(), []annona.Record{before(t)})
		check(t, err)
		_, err = former.Finish(t.Context())
		check(t, err)
		load, err := p.BeginLoad(t.Context(), operator, order)
		check(t, err)
		w := &slowWriter{Writer: p.Writer, goesOn: make(chan error)}
		p.Writer = w
		var waits [2]func() error
		p.Vault = &lateVault{Vault: p.Vault, between: func() {
			w.goesOn <- nil
			check(t, waits[0]())
		}}
		both := files(t)
		for i, records := range both {
			b, err := load.MakeReady(records)
			check(t, err)
			waits[i] = load.WriteBehind(t.Context(), b)
			for w.began.Load() <= int64(i) {
				time.Sleep(time.Millisecond)
			}
		}
		check(t, waits[1]())
		if count, places := load.Repeats(); count != 1 || places[0].Line != 41 {
			t.Errorf("%d repeats, %+v", count, places)
		}
	}
}

// waiting counts relationships whose other end is not on file.
func (p *place) waiting(t *testing.T) (n int) {
	t.Helper()
	people, _ := annona.Standard().Dataset("individuals")
	numbers, err := p.Loads.NumbersOfSource(t.Context(), people, "survey", 0, 100)
	check(t, err)
	check(t, p.store.Update(t.Context(), func(tx annona.Tx) error {
		known, err := tx.Hold(t.Context(), people, numbers)
		for _, k := range known {
			for _, r := range k.Relationships {
				if r.To == 0 {
					n++
				}
			}
		}
		return err
	}))
	return n
}

// TestAWriteBehindOneThatFails writes nothing of a batch when the one before it has failed.
func TestAWriteBehindOneThatFails(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			broken := errors.New("the first one breaks")
			load, errs := p.overlapping(t, &slowWriter{}, broken)
			if !errors.Is(errs[0], broken) || errs[1] == nil {
				t.Errorf("%v", errs)
			}
			people, _ := annona.Standard().Dataset("individuals")
			if last := load.Done(); last.Created != 0 {
				t.Errorf("%+v", last)
			}
			if numbers, err := p.Loads.NumbersOfSource(t.Context(), people, "survey", 0, 10); err != nil || len(numbers) != 1 {
				t.Errorf("%d people are on file, %v", len(numbers), err)
			}
		})
	}
}

// hurriedWriter counts the transactions of a load that ran again because they were begun too early.
type hurriedWriter struct {
	annona.Writer
	early atomic.Int64
}

func (w *hurriedWriter) Update(ctx context.Context, fn func(annona.Tx) error) error {
	runs := 0
	err := w.Writer.Update(ctx, func(tx annona.Tx) error {
		runs++
		return fn(tx)
	})
	if err != nil || runs > 1 {
		w.early.Add(1)
	}
	return err
}

// moved are rows of households of two, in batches of ten households. Everybody lives so many households away from
// where they live with none, and what is said of each household says so as well.
func moved(t *testing.T, batches, away int) (all [][2][]annona.Record) {
	t.Helper()
	all = make([][2][]annona.Record, batches)
	households := 10 * batches
	for i := range households {
		home := (i + away) % households
		r := row(t, "households", fmt.Sprint("h", i), "poverty_score", fmt.Sprint(10+away))
		r.File, r.Line = 1, i+1
		all[i/10][0] = append(all[i/10][0], r)
		for n, role := range []string{"head", "child"} {
			m := member(fmt.Sprint("p", 2*i+n), fmt.Sprint("h", home), role)
			m.Source, m.File, m.Line = "survey", 2, 2*i+n+1
			all[home/10][1] = append(all[home/10][1], m)
		}
	}
	return all
}

// write writes batches as an import does: each is begun beside the one before it.
func (p *place) write(t *testing.T, batches [][2][]annona.Record) (loaded annona.Loaded) {
	t.Helper()
	load, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: "survey"})
	check(t, err)
	wait := func() error { return nil }
	for _, some := range batches {
		b, err := load.MakeReady(some[0], some[1])
		check(t, err)
		next := load.WriteBehind(t.Context(), b)
		check(t, wait())
		wait = next
	}
	check(t, wait())
	loaded, err = load.Finish(t.Context())
	check(t, err)
	return loaded
}

// TestWritesThatMeetKeepApart moves everybody into a household of the batch before. Each batch wants households that
// the next one holds; nearly none waits for another one to give way.
func TestWritesThatMeetKeepApart(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			const batches = 12
			p.write(t, moved(t, batches, 0))
			p.now = p.now.AddDate(0, 1, 0)
			usual := p.Writer
			w := &hurriedWriter{Writer: usual}
			p.Writer = w
			defer func() { p.Writer = usual }()
			loaded := p.write(t, moved(t, batches, 3))
			if loaded.Changed != 30*batches {
				t.Errorf("%+v", loaded)
			}
			if early := w.early.Load(); early > 2 {
				t.Errorf("%d of %d transactions were begun too early", early, batches)
			}
		})
	}
}

// TestAKeyTwiceInAFirstLoad has a source that never loaded before report a key on two rows of different transactions.
// It is one person, and the first row counts.
func TestAKeyTwiceInAFirstLoad(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			load, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: "survey"})
			check(t, err)
			all := files(t)
			var waits [2]func() error
			for i, records := range all {
				b, err := load.MakeReady(records)
				check(t, err)
				waits[i] = load.WriteBehind(t.Context(), b)
			}
			for _, wait := range waits {
				check(t, wait())
			}
			loaded, err := load.Finish(t.Context())
			check(t, err)
			if count, places := load.Repeats(); loaded.Created != 39 || loaded.Changed != 0 || count != 1 || places[0].Line != 41 || places[0].First.Line != 9 {
				t.Errorf("%+v, %d repeats, %+v", loaded, count, places)
			}
			if waiting := p.waiting(t); waiting != 0 {
				t.Errorf("%d relationships lead nowhere", waiting)
			}
		})
	}
}
