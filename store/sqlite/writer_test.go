package sqlite

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

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
