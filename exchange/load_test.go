package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// watchedVault notes what is sealed, as it was before. It lets keys go missing.
type watchedVault struct {
	exchange.Vault
	sealed  [][]annona.Cell // of each call
	missing int             // how many pages from now on do not open
	opened  int
}

func (v *watchedVault) Seal(ctx context.Context, cells []annona.Cell) error {
	return watchedCells{v.Vault, v}.Seal(ctx, cells)
}

func (v *watchedVault) Holding(ctx context.Context, pages []*annona.Page, do func(annona.Cells) error) error {
	return v.Vault.Holding(ctx, pages, func(cells annona.Cells) error { return do(watchedCells{cells, v}) })
}

// watchedCells notes what is sealed under keys that are held, too.
type watchedCells struct {
	annona.Cells
	vault *watchedVault
}

func (c watchedCells) Seal(ctx context.Context, cells []annona.Cell) error {
	kept := slices.DeleteFunc(slices.Clone(cells), func(c annona.Cell) bool { return len(c.Image) == 0 })
	for i := range kept {
		kept[i].Image = bytes.Clone(kept[i].Image)
	}
	c.vault.sealed = append(c.vault.sealed, kept)
	return c.Cells.Seal(ctx, cells)
}

func (v *watchedVault) Open(ctx context.Context, pages ...*annona.Page) error {
	v.opened++
	if v.missing > 0 {
		v.missing--
		return annona.Unavailable("key_gone", "gone")
	}
	return v.Vault.Open(ctx, pages...)
}

func (r *registry) watch() *watchedVault {
	v := &watchedVault{Vault: r.Vault}
	r.Vault = v
	return v
}

// person makes an individual as a source reports it.
func person(t *testing.T, key, name, occupation string) annona.Record {
	t.Helper()
	d, _ := annona.Standard().Dataset("individuals")
	r := annona.Record{Dataset: d, Source: "survey", Key: key}
	for code, text := range map[string]string{"full_name": name, "occupation": occupation} {
		f, ok := d.Field(code)
		if !ok {
			t.Fatal("no field " + code)
		}
		r.Values = append(r.Values, annona.Value{Field: f, Text: text})
	}
	return r
}

// load writes records as one batch.
func (r *registry) load(t *testing.T, records ...annona.Record) annona.Loaded {
	t.Helper()
	load, err := r.StartLoad(t.Context(), operator, "survey", nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := load.Put(t.Context(), records)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// TestSealedUnderNumberAndVersion follows a record through three imports: what is sealed is bound
// to the version that it is of, and what has not changed is not sealed again.
func TestSealedUnderNumberAndVersion(t *testing.T) {
	r := newRegistry(t, 0)
	v := r.watch()
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"))
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "farmer"))
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "farmer"))
	if n := len(v.sealed); n != 3 {
		t.Fatalf("%d calls of Seal for 3 batches", n)
	}
	check := func(cells []annona.Cell, want ...annona.Cell) {
		t.Helper()
		if len(cells) != len(want) {
			t.Fatalf("%d images are sealed, want %d: %+v", len(cells), len(want), cells)
		}
		for i, w := range want {
			if c := cells[i]; c.Number != w.Number || c.Version != w.Version || c.Part != w.Part || !bytes.Contains(c.Image, w.Image) || c.Dataset.Name != "individuals" {
				t.Errorf("image %d is number %d, version %d, %s", i, c.Number, c.Version, c.Part)
			}
		}
	}
	check(v.sealed[0],
		annona.Cell{Number: 1, Version: 1, Part: annona.PartSealed, Image: []byte("Ama")},
		annona.Cell{Number: 2, Version: 1, Part: annona.PartSealed, Image: []byte("Kofi")})
	check(v.sealed[1],
		annona.Cell{Number: 2, Version: 2, Part: annona.PartSealed, Image: []byte("Kofi")},
		annona.Cell{Number: 2, Version: 1, Part: annona.PartBefore, Image: []byte("smith")})
	check(v.sealed[2])
}

// TestAKeyTwiceInABatch loads a record that stands in a batch more than once: the last row counts.
func TestAKeyTwiceInABatch(t *testing.T) {
	r := newRegistry(t, 0)
	v := r.watch()
	got := r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"), person(t, "a", "Ama", "miller"), person(t, "a", "Ama", "miller"))
	if got != (annona.Loaded{Created: 2, Changed: 1, Unchanged: 1}) {
		t.Errorf("%+v", got)
	}
	if n := len(v.sealed[0]); n != 2 {
		t.Errorf("%d images are sealed for 2 records", n)
	}
	if got := r.load(t, person(t, "a", "Ama", "miller")); got != (annona.Loaded{Unchanged: 1}) {
		t.Errorf("the last row again: %+v", got)
	}
}

// twice runs every transaction twice: the first time it loses against another one.
type twice struct{ annona.Writer }

var errLost = errors.New("lost against another transaction")

func (w twice) Update(ctx context.Context, fn func(annona.Tx) error) error {
	err := w.Writer.Update(ctx, func(tx annona.Tx) error { return errors.Join(fn(tx), errLost) })
	if !errors.Is(err, errLost) {
		return err
	}
	return w.Writer.Update(ctx, fn)
}

// TestATransactionRunsAgain loads through a store that runs every transaction twice.
func TestATransactionRunsAgain(t *testing.T) {
	r := newRegistry(t, 0)
	r.Writer = twice{r.Writer}
	for _, occupation := range []string{"baker", "miller"} {
		r.load(t, person(t, "a", "Ama", occupation), person(t, "a", "Ama Mensah", occupation))
	}
	r.partner(t, nil)
	answer, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"full_name", "occupation"}}, 10, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	if p := answer.Page.Page(); p.Count != 1 || string(p.Cell(0, 0)) != "Ama Mensah" || string(p.Cell(1, 0)) != "miller" {
		t.Errorf("%d rows, or another person", p.Count)
	}
}

// TestTheSourcesKeyIsNowhere asks the store for a record by the key that its source gave it.
func TestTheSourcesKeyIsNowhere(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"))
	if n, err := r.store.SubjectByKey(t.Context(), "survey", "a"); n != 0 || err != nil {
		t.Errorf("the store knows the source's own key: %d, %v", n, err)
	}
	if n, err := r.store.SubjectByKey(t.Context(), "survey", r.Vault.RecordKey("individuals", "survey", "a")); n != 1 || err != nil {
		t.Errorf("the record key leads to %d, %v", n, err)
	}
}

// TestAPageIsReadAgainWhenAKeyIsGone lets keys go between reading and opening.
func TestAPageIsReadAgainWhenAKeyIsGone(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"))
	v := r.watch()
	for missing, code := range map[int]string{1: annona.CodeOf(nil), 2: annona.CodeOf(nil), 3: "keys_missing"} {
		v.missing, v.opened = missing, 0
		_, err := r.Search(t.Context(), r.caller, everybody, 10, "", exchange.Form{})
		if annona.CodeOf(err) != code || v.opened != min(missing+1, 3) {
			t.Errorf("%d times: %v after %d attempts", missing, err, v.opened)
		}
		v.missing = missing
		sent, err := r.download(t, everybody, &receiver{})
		if annona.CodeOf(err) != code || err == nil && sent.Rows != 1 {
			t.Errorf("%d times in an export: %v, %d rows", missing, err, sent.Rows)
		}
	}
}

// TestALoadSaysThatItRunsWithItsBatches has a load tell that it runs with what it writes and, while nothing is to
// be written, with a batch now and then: a heart that beats beside the batches has them make room.
func TestALoadSaysThatItRunsWithItsBatches(t *testing.T) {
	r := newRegistry(t, 0)
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	r.Clock = func() time.Time { return now }
	load, err := r.StartLoad(t.Context(), operator, "survey", nil)
	if err != nil {
		t.Fatal(err)
	}
	ama := person(t, "a", "Ama", "baker")
	for n, step := range []struct {
		after time.Duration
		wrote int // records
		tells bool
	}{{time.Second, 1, true}, {time.Second, 0, false}, {2 * time.Second, 0, true}, {time.Second, 0, false}} {
		before, err := load.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(step.after)
		loaded, err := load.Put(t.Context(), []annona.Record{ama})
		if err != nil || loaded.Created != step.wrote {
			t.Fatalf("batch %d: %+v, %v", n, loaded, err)
		}
		after, err := load.Info(t.Context())
		if told := after.Report.Beat.After(before.Report.Beat); err != nil || told != step.tells {
			t.Errorf("batch %d: the load tells that it runs: %t, want %t (%v)", n, told, step.tells, err)
		}
	}
}

// A full load deletes nobody in the name of a client that was revoked after its last row.
func TestADeletionAsksAgain(t *testing.T) {
	r := newRegistry(t, 1)
	all := annona.Percent(100)
	r.partner(t, func(a *annona.Agreement) {
		a.Imports = &annona.ImportTerms{Sources: []string{"survey"}, Modes: []string{exchange.ModeUpsert, exchange.ModeFull}, DeleteGuard: &all}
	})
	ama, esi := person(t, "ama", "Ama", "farmer"), person(t, "esi", "Esi", "teacher")
	first, err := r.BeginLoad(t.Context(), r.caller, exchange.LoadOrder{Source: "survey"})
	check(t, err)
	_, err = first.Put(t.Context(), []annona.Record{ama, esi})
	check(t, err)
	_, err = first.Finish(t.Context())
	check(t, err)

	full, err := r.BeginLoad(t.Context(), r.caller, exchange.LoadOrder{Source: "survey", Mode: exchange.ModeFull, Guard: 100})
	check(t, err)
	check(t, full.Name(t.Context(), []annona.Record{ama}))
	check(t, full.Decide(t.Context()))
	_, err = full.Put(t.Context(), []annona.Record{ama})
	check(t, err)
	check(t, r.RevokeClient(t.Context(), operator, r.caller.Client))
	if done, err := full.Finish(t.Context()); annona.CodeOf(err) != "key_invalid" || done.Deleted != 0 {
		t.Errorf("%d deleted, %v", done.Deleted, err)
	}
}
