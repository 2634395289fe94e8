package exchange_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// sink counts tables and rows, and may fail at a row.
type sink struct {
	rows, failAt int
	opened       func()
}

var errSink = errors.New("the disk is full")

func (s *sink) Table(annona.Table) error { return nil }

func (s *sink) Row(annona.TableRow) error {
	if s.rows++; s.rows == s.failAt {
		return errSink
	}
	return nil
}

func (s *sink) backup() exchange.Backup {
	return exchange.Backup{
		Verb: annona.VerbBackup, Recipients: []string{"one", "two"},
		Begin: func(annona.StoreState) (annona.TableSink, error) {
			if s.opened != nil {
				s.opened()
			}
			return s, nil
		},
		Finish: func() (int64, int64, error) { return 4711, int64(s.rows), nil },
	}
}

// backups returns what the ledger says of backups and restores.
func (r *registry) backups(t *testing.T) (all []audit.Facts) {
	t.Helper()
	opener := audit.Opener{Vault: r.Vault, Ledger: r.store}
	err := r.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(t.Context(), row)
		if err == nil && e.Facts != nil && slices.Contains([]annona.Verb{annona.VerbBackup, annona.VerbRestore}, e.Facts.Verb) {
			all = append(all, *e.Facts)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestBackupIsRecordedFirst: before a row leaves, the ledger knows who can open it; it also knows
// how it ended.
func TestBackupIsRecordedFirst(t *testing.T) {
	r := newRegistry(t, 30)
	to := &sink{}
	to.opened = func() {
		if told := r.backups(t); len(told) != 1 || told[0].Details["recipients"] != "one two" || told[0].Outcome != "" {
			t.Errorf("before the first row the ledger says %+v", told)
		}
	}
	if err := r.TakeBackup(t.Context(), operator, r.store, to.backup()); err != nil {
		t.Fatal(err)
	}
	told := r.backups(t)
	if last := told[len(told)-1]; len(told) != 2 || last.Outcome != audit.Complete || last.Rows != int64(to.rows) || last.Details["bytes"] != "4711" || last.Details["log_position"] == "0" {
		t.Errorf("%d rows; the ledger says %+v", to.rows, told)
	}
	r.ledger.broken = true
	silent := &sink{}
	if err := r.TakeBackup(t.Context(), operator, r.store, silent.backup()); err == nil || silent.rows > 0 {
		t.Errorf("%d rows have left without an entry, %v", silent.rows, err)
	}
}

// TestBackupThatBreaksOff is recorded as aborted, with the reason.
func TestBackupThatBreaksOff(t *testing.T) {
	r := newRegistry(t, 30)
	ctx, cancel := context.WithCancel(t.Context())
	canceled := &sink{opened: cancel}
	for _, c := range []struct {
		ctx    context.Context
		sink   *sink
		reason string
		want   error
	}{{t.Context(), &sink{failAt: 9}, "internal", errSink}, {ctx, canceled, "interrupted", context.Canceled}} {
		if err := r.TakeBackup(c.ctx, operator, r.store, c.sink.backup()); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
		told := r.backups(t)
		if last := told[len(told)-1]; last.Outcome != audit.Aborted || last.Reason != c.reason || last.Rows != 0 {
			t.Errorf("the ledger says %+v", last)
		}
	}
	finish := (&sink{}).backup()
	finish.Finish = func() (int64, int64, error) { return 17, 3, errSink }
	if err := r.TakeBackup(t.Context(), operator, r.store, finish); !errors.Is(err, errSink) {
		t.Errorf("%v", err)
	}
}

// TestOnlyTheOperatorBacksUp holds for every verb of backup and restore.
func TestOnlyTheOperatorBacksUp(t *testing.T) {
	r := newRegistry(t, 0)
	to := &sink{}
	revived := r.Revive(t.Context(), r.caller, r.store, exchange.Restored{})
	_, reburied := r.Rebury(t.Context(), r.caller, nil, true)
	_, checked := r.CheckSealed(t.Context(), r.caller)
	for _, err := range []error{r.TakeBackup(t.Context(), r.caller, r.store, to.backup()), revived, reburied, checked} {
		if annona.CodeOf(err) != "operator_only" || to.rows > 0 {
			t.Errorf("a partner: %v", err)
		}
	}
}

// TestErasureIsKeptOutside: no erasure is known to the registry alone, and one that cannot be kept
// outside does not happen.
func TestErasureIsKeptOutside(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"))
	r.kept.broken = annona.Unavailable("tombstones_unwritable", "the disk is full")
	if _, err := r.Erase(t.Context(), operator, ama(), "unlawful"); annona.CodeOf(err) != "tombstones_unwritable" {
		t.Errorf("%v", err)
	}
	if stones, err := r.Erasures(t.Context(), operator); err != nil || len(stones) > 0 {
		t.Fatalf("erased although it could not be kept: %+v, %v", stones, err)
	}
	r.kept.broken = nil
	stone, err := r.Erase(t.Context(), operator, ama(), "unlawful")
	if err != nil || len(r.kept.stones) != 1 || r.kept.stones[0].ID != stone.ID || r.kept.stones[0].Number != stone.Number {
		t.Errorf("kept outside: %+v, %v", r.kept.stones, err)
	}
}

// TestRebury takes somebody out again whom a backup has brought back, as often as it is run, and
// nobody else.
func TestRebury(t *testing.T) {
	r := newRegistry(t, 0)
	keys := r.watchShredder()
	r.load(t, person(t, "a", "Ama", "baker"), person(t, "b", "Kofi", "smith"))
	known, err := r.store.KeysOf(t.Context(), datasetOf(t, "individuals"), 1)
	if err != nil {
		t.Fatal(err)
	}
	source, key := known[0].Source, known[0].Key
	now := time.Now()
	stone := annona.Tombstone{ID: annona.NewUID(), Dataset: "individuals", Source: source, Key: key, Number: 1, Reason: "unlawful", ErasedAt: now, ExpiresAt: now.Add(time.Hour)}
	others := stone // whose number somebody else has: that one's key stays
	others.ID, others.Key, others.Number = annona.NewUID(), "another", 2
	later := stone // of somebody who came after the backup
	later.ID, later.Key, later.Number = annona.NewUID(), "later", 77
	expired := stone
	expired.ID, expired.ExpiresAt = annona.NewUID(), now.Add(-time.Hour)
	if n, err := r.Rebury(t.Context(), operator, []annona.Tombstone{expired}, true); n != 0 || err != nil {
		t.Errorf("an expired tombstone takes %d out, %v", n, err)
	}
	for run, want := range []int{1, 0, 0} {
		if n, err := r.Rebury(t.Context(), operator, []annona.Tombstone{stone, others, later}, run != 1); n != want || err != nil {
			t.Errorf("run %d takes %d out, want %d, %v", run, n, want, err)
		}
	}
	if !slices.Equal(keys.shredded, []annona.Number{1, 77, 1, 77}) {
		t.Errorf("keys of %v are destroyed", keys.shredded)
	}
	if n, err := r.CheckSealed(t.Context(), operator); n != 1 || err != nil {
		t.Errorf("%d records open, %v; the one who stays has lost its key", n, err)
	}
	if got := r.load(t, person(t, "a", "Ama", "baker")); got != (annona.Loaded{Erased: 1}) {
		t.Errorf("reported again: %+v", got)
	}
}

// TestRevive moves what must not be taken for what was before, and says so in the ledger.
func TestRevive(t *testing.T) {
	r := newRegistry(t, 0)
	r.load(t, person(t, "a", "Ama", "baker"))
	for range 2 {
		err := r.Revive(t.Context(), operator, r.store, exchange.Restored{Made: "2026-01-01T00:00:00.000Z", Position: 9, Proof: "beef", Keys: "kept", Last: map[string]annona.Number{"individuals": 500}})
		if err != nil {
			t.Fatal(err)
		}
	}
	told := r.backups(t)
	if len(told) != 2 || told[1].Verb != annona.VerbRestore || told[1].Details["backup"] != "beef" || told[1].Details["log_position"] != "9" {
		t.Errorf("the ledger says %+v", told)
	}
	r.load(t, person(t, "b", "Kofi", "smith"))
	if number, err := r.store.LastNumber(t.Context(), datasetOf(t, "individuals")); err != nil || number != 501 {
		t.Errorf("the next number is %d, %v", number, err)
	}
	if n, err := r.CheckSealed(t.Context(), operator); n != 2 || err != nil {
		t.Errorf("%d records open, %v", n, err)
	}
}

func datasetOf(t *testing.T, name string) *annona.Dataset {
	t.Helper()
	d, ok := annona.Standard().Dataset(name)
	if !ok {
		t.Fatalf("no dataset %s", name)
	}
	return d
}
