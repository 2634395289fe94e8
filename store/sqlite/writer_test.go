package sqlite

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// Whoever writes long changes one behind the other leaves each of those a turn who wait for one: a
// short change comes between two long ones, however often they begin.
func TestTurns(t *testing.T) {
	if !tellsTurns {
		t.Skip("on this system nobody says that they wait")
	}
	dir := t.TempDir()
	long, short := openTest(t, dir), openTest(t, dir)
	change := func(s tested, takes time.Duration) error {
		return s.Update(t.Context(), func(annona.Tx) error { time.Sleep(takes); return nil })
	}
	const many = 20
	var since atomic.Int64 // long changes since the last short one
	var most int64
	var failed error
	var both sync.WaitGroup
	both.Go(func() {
		for range many {
			if err := change(short, 0); err != nil {
				failed = err
			}
			most = max(most, since.Swap(0))
		}
		since.Store(-1 << 40)
	})
	for since.Load() >= 0 {
		if err := change(long, 2*longChange); err != nil {
			t.Fatal(err)
		}
		since.Add(1)
	}
	both.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	if most > 3 {
		t.Errorf("%d long changes came one behind the other while a short one waited", most)
	}
}

// Changes copy the log of the engine often beside others, and seldom otherwise; entries that somebody
// waits for leave that to them.
func TestLogIsShortBesideOthers(t *testing.T) {
	s := openTest(t, t.TempDir())
	limit := func() int64 {
		t.Helper()
		n, err := s.writer.conn.integer("PRAGMA wal_autocheckpoint")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	change := func() {
		t.Helper()
		if err := s.Update(t.Context(), func(annona.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if change(); limit() != longLog {
		t.Errorf("alone, %d pages", limit())
	}
	if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
		t.Fatal(err)
	}
	if limit() != longLog {
		t.Errorf("behind an entry, %d pages", limit())
	}
	if change(); limit() != shortLog {
		t.Errorf("beside others, %d pages", limit())
	}
	if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
		t.Fatal(err)
	}
	if limit() != longLog {
		t.Errorf("behind an entry beside changes, %d pages", limit())
	}
}

// A writer is alone until somebody else writes to the file: another process, or whoever reads people,
// by the entries of the disclosures. Its own changes are nobody's.
func TestAlone(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	change := func(s *Store) {
		t.Helper()
		if err := s.Update(t.Context(), func(annona.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if change(s.Store); !s.Alone() {
			t.Fatal("a writer takes its own changes for those of somebody else")
		}
	}
	next := openTest(t, dir)
	if err := load(t, next, storetest.Household("h", nil)); err != nil {
		t.Fatal(err)
	}
	if change(s.Store); s.Alone() {
		t.Error("another process has written, and the writer believes itself alone")
	}
	reads := openTest(t, t.TempDir())
	if err := reads.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
		t.Fatal(err)
	}
	if reads.Alone() {
		t.Error("an entry was appended, and the writer believes itself alone")
	}
}
