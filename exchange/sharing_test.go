package exchange_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// crowdedWriter lets every transaction wait until a test opens it, and counts them.
type crowdedWriter struct {
	annona.Writer
	opened chan struct{}
	runs   atomic.Int64
}

func (w *crowdedWriter) Update(ctx context.Context, fn func(annona.Tx) error) error {
	<-w.opened
	w.runs.Add(1)
	return w.Writer.Update(ctx, fn)
}

// crowd begins a load for each report and writes them all at once: two transactions begin, the others
// wait for them and share. It returns what each was told, and how many transactions there were.
func (p *place) crowd(t *testing.T, reports ...annona.Record) (loads []*exchange.Loading, told []annona.Loaded, errs []error, runs int64) {
	t.Helper()
	told, errs = make([]annona.Loaded, len(reports)), make([]error, len(reports))
	for i := range reports {
		l, err := p.BeginLoad(t.Context(), operator, exchange.LoadOrder{Source: reports[i].Source, Match: []string{"national_id_number"}})
		check(t, err)
		loads = append(loads, l)
	}
	usual := p.Writer
	w := &crowdedWriter{Writer: usual, opened: make(chan struct{})}
	p.Writer = w
	defer func() { p.Writer = usual }()
	var all sync.WaitGroup
	for i := range reports {
		all.Go(func() { told[i], errs[i] = loads[i].Put(t.Context(), []annona.Record{reports[i]}) })
	}
	time.Sleep(100 * time.Millisecond)
	close(w.opened)
	all.Wait()
	return loads, told, errs, w.runs.Load()
}

// reportOf is what a source of its own says of a person.
func reportOf(t *testing.T, source int, cells ...string) annona.Record {
	t.Helper()
	r := row(t, "individuals", "a", cells...)
	r.Source = fmt.Sprint("source-", source)
	return r
}

// batches returns how many entries of batches are in the ledger.
func (p *place) batches(t *testing.T) (n int) {
	t.Helper()
	check(t, p.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		if row.Kind == annona.EntryChange {
			n++
		}
		return nil
	}))
	return n
}

const crowdSize = 12

// TestSmallWritesShare writes many records at once: in few transactions, each with its own event, entry
// and report.
func TestSmallWritesShare(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			for round, name := range []string{"Ama", "Afia"} {
				var reports []annona.Record
				for i := range crowdSize {
					reports = append(reports, reportOf(t, i, "full_name", name))
				}
				before := p.batches(t)
				loads, told, errs, runs := p.crowd(t, reports...)
				for i := range reports {
					check(t, errs[i])
					info, err := p.ShowLoad(t.Context(), operator, loads[i].ID())
					check(t, err)
					if want := []annona.Loaded{{Created: 1}, {Changed: 1}}[round]; told[i] != want || info.Report.Created != want.Created || info.Report.Changed != want.Changed {
						t.Errorf("load %d was told %+v, its report says %+v", i, told[i], info.Report)
					}
				}
				if runs > crowdSize/2 {
					t.Errorf("%d transactions for %d writes", runs, crowdSize)
				}
				if n := p.batches(t) - before; n != 2*crowdSize { // that it began, and the batch
					t.Errorf("%d entries for %d writes", n, crowdSize)
				}
				check(t, p.settle())
				state, err := p.store.LogState(t.Context())
				check(t, err)
				if state.Head != int64((round+1)*crowdSize) {
					t.Errorf("%d events after %d writes", state.Head, (round+1)*crowdSize)
				}
			}
		})
	}
}

// askedVault counts how often keys were asked for: to hold them, and to open or seal by themselves.
type askedVault struct {
	exchange.Vault
	held, opened, sealed int
}

func (v *askedVault) Holding(ctx context.Context, pages []*annona.Page, do func(annona.Cells) error) error {
	v.held++
	return v.Vault.Holding(ctx, pages, do)
}

func (v *askedVault) OpenCells(ctx context.Context, cells []annona.Cell) error {
	v.opened++
	return v.Vault.OpenCells(ctx, cells)
}

func (v *askedVault) Seal(ctx context.Context, cells []annona.Cell) error {
	v.sealed++
	return v.Vault.Seal(ctx, cells)
}

// TestAWriteAsksForKeysOnce changes records: what opens what they were seals what they become.
func TestAWriteAsksForKeysOnce(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			asked := &askedVault{Vault: p.Vault}
			p.Vault = asked
			for _, name := range []string{"Ama", "Afia"} {
				*asked = askedVault{Vault: asked.Vault}
				l, err := p.StartLoad(t.Context(), operator, "civil", nil)
				check(t, err)
				_, err = l.Put(t.Context(), []annona.Record{row(t, "individuals", "a", "full_name", name), row(t, "individuals", "b", "full_name", name)})
				check(t, err)
			}
			if asked.held != 1 || asked.opened != 0 || asked.sealed != 0 {
				t.Errorf("keys were held %d times, and asked for %d times to open and %d times to seal", asked.held, asked.opened, asked.sealed)
			}
		})
	}
}

// TestOneOfManyFails writes many records at once, one of which cannot be written: the others are, and
// only whoever reported it is told.
func TestOneOfManyFails(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			var reports []annona.Record
			for i := range crowdSize {
				reports = append(reports, reportOf(t, i, "full_name", "Ama"))
			}
			reports[7] = reportOf(t, 7, "full_name", "Ama", "in", "nowhere")
			_, told, errs, _ := p.crowd(t, reports...)
			for i := range reports {
				want, code := annona.Loaded{Created: 1}, annona.CodeOf(nil)
				if i == 7 {
					want, code = annona.Loaded{}, "unknown_household"
				}
				if told[i] != want || annona.CodeOf(errs[i]) != code {
					t.Errorf("load %d was told %+v, %v", i, told[i], errs[i])
				}
			}
		})
	}
}

// TestSharedWritesOfOnePerson has sources report a person whom they know under keys of their own: each
// finds what the ones before have left.
func TestSharedWritesOfOnePerson(t *testing.T) {
	for _, g := range grounds(t) {
		t.Run(g.name, func(t *testing.T) {
			p, err := g.open(t.Context())
			check(t, err)
			defer func() { check(t, p.store.Close()) }()
			_, _, errs, _ := p.crowd(t, reportOf(t, 0, "full_name", "Ama", "national_id", "GHA-1"))
			check(t, errs[0])
			var reports []annona.Record
			for i := range crowdSize {
				reports = append(reports, reportOf(t, i+1, "full_name", "Ama", "national_id", "GHA-1", "occupation", fmt.Sprint(i)))
			}
			loads, told, errs, _ := p.crowd(t, reports...)
			for i := range reports {
				check(t, errs[i])
				info, err := p.ShowLoad(t.Context(), operator, loads[i].ID())
				check(t, err)
				if told[i] != (annona.Loaded{Changed: 1}) || info.Report.Attached != 1 {
					t.Errorf("load %d was told %+v, %+v", i, told[i], info.Report)
				}
			}
			d, _ := annona.Standard().Dataset("individuals")
			last, err := p.store.LastNumber(t.Context(), d)
			check(t, err)
			check(t, p.settle())
			state, err := p.store.LogState(t.Context())
			check(t, err)
			if state.Head != crowdSize+1 {
				t.Errorf("%d events, the last number is %d", state.Head, last)
			}
		})
	}
}

// TestASharedWriteIsCalledOff ends a request whose write waits for its turn: nothing of it is written,
// and the others are.
func TestASharedWriteIsCalledOff(t *testing.T) {
	r := newRegistry(t, 0)
	usual := r.Writer
	var loads []*exchange.Loading
	for i := range 3 {
		l, err := r.StartLoad(t.Context(), operator, fmt.Sprint("source-", i), nil)
		check(t, err)
		loads = append(loads, l)
	}
	w := &crowdedWriter{Writer: usual, opened: make(chan struct{})}
	r.Writer = w
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			_, err := loads[i].Put(t.Context(), []annona.Record{reportOf(t, i, "full_name", "Ama")})
			if err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond) // both have their turns
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := loads[2].Put(ctx, []annona.Record{reportOf(t, 2, "full_name", "Ama")}); err != context.DeadlineExceeded {
		t.Error(err)
	}
	close(w.opened)
	all.Wait()
	d, _ := annona.Standard().Dataset("individuals")
	if last, err := r.store.LastNumber(t.Context(), d); last != 2 || err != nil {
		t.Errorf("%d people are on file, %v", last, err)
	}
}
