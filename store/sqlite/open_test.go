package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

func load(t *testing.T, s tested, records ...annona.StoredRecord) error {
	t.Helper()
	return s.Update(t.Context(), func(tx annona.Tx) error {
		_, err := storetest.Load(t.Context(), tx, "tester", records)
		return err
	})
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, Options{}); annona.CodeOf(err) != "store_missing" {
		t.Fatalf("a folder without a registry: %v", err)
	}
	s := openTest(t, dir)
	if err := load(t, s, storetest.Person("p", nil)); err != nil {
		t.Fatal(err)
	}
	again := openTest(t, dir)
	if n, err := again.SubjectByKey(t.Context(), "survey", "p"); err != nil || n != 1 {
		t.Fatalf("number %d, %v", n, err)
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("others may read the registry: %v, %v", info.Mode(), err)
	}
}

func TestOpenRefuses(t *testing.T) {
	file := func(t *testing.T) string {
		dir := t.TempDir()
		s, err := Open(dir, Options{Create: true, Dictionary: annona.Standard()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, FileName)
	}
	pragma := func(sql string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			c, err := openWriting(path, recordsCache)
			if err == nil {
				err = errors.Join(c.exec(sql), c.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, code string
		spoil      func(t *testing.T, path string)
	}{
		{"a newer schema", "store_too_new", pragma("PRAGMA user_version = 99")},
		{"somebody else's file", "store_foreign", pragma("PRAGMA application_id = 7")},
		{"no database", "store_damaged", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("Ama Mensah ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"a directory in its place", "store_unreadable", func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := file(t)
			c.spoil(t, path)
			_, err := Open(filepath.Dir(path), Options{Dictionary: annona.Standard()})
			if annona.CodeOf(err) != c.code {
				t.Fatalf("got %s (%v), want %s", annona.CodeOf(err), err, c.code)
			}
			if text := err.Error(); strings.Contains(text, "Ama") || strings.Contains(text, "SQL") || strings.Contains(text, path) {
				t.Errorf("the message says too much: %s", text)
			}
		})
	}
}

// TestFull fills the disk, by way of the engine's own limit of pages.
func TestFull(t *testing.T) {
	s := openTest(t, t.TempDir())
	if err := load(t, s, storetest.Person("first", nil)); err != nil {
		t.Fatal(err)
	}
	pages, err := s.writer.conn.integer("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n int64) {
		if _, err := s.writer.conn.integer("PRAGMA max_page_count = " + itoa(int(n))); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 2)
	big := storetest.Person("big", map[string]string{"full_name": strings.Repeat("Ama Mensah ", 10_000)})
	if err := load(t, s, storetest.Person("second", nil), big); annona.CodeOf(err) != "store_full" {
		t.Fatalf("a full disk: %v", err)
	}
	if n, err := s.SubjectByKey(t.Context(), "survey", "second"); err != nil || n != 0 {
		t.Fatalf("half a change was kept: %d, %v", n, err)
	}
	limit(1 << 30)
	if err := load(t, s, storetest.Person("second", nil), big); err != nil {
		t.Fatalf("after making room: %v", err)
	}
	if n, err := s.SubjectByKey(t.Context(), "survey", "big"); err != nil || n != 3 {
		t.Fatalf("number %d, %v", n, err)
	}
}

// TestErrorsHoldNoValues asks for a text that only the engine's own message would repeat.
func TestErrorsHoldNoValues(t *testing.T) {
	s := openTest(t, t.TempDir())
	client := annona.Client{ID: annona.NewUID(), KeyID: "Ama", Hash: []byte("x"), Agreement: "a"}
	put := func(c annona.Client) error {
		return s.Update(t.Context(), func(tx annona.Tx) error { return tx.PutClient(t.Context(), c) })
	}
	if err := put(client); err != nil {
		t.Fatal(err)
	}
	client.ID = annona.NewUID()
	err := put(client)
	if err == nil {
		t.Fatal("two clients with one key")
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if text := err.Error(); strings.Contains(text, "Ama") || strings.Contains(text, "key_id") {
			t.Errorf("the error says too much: %s", text)
		}
	}
}

// TestTwoStores writes through two handles on one folder, as two processes do.
func TestTwoStores(t *testing.T) {
	dir := t.TempDir()
	stores := []tested{openTest(t, dir), openTest(t, dir)}
	const rounds = 20
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for n := range rounds {
				key := itoa(i) + "-" + itoa(n)
				if err := load(t, s, storetest.Household(key, nil), storetest.Person(key, nil, annona.Membership{HouseholdKey: key})); err != nil {
					t.Error(err)
				}
				if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	events, err := stores[0].Events(t.Context())
	if err != nil || len(events) != 2*2*rounds || events[len(events)-1].Seq != int64(len(events)) {
		t.Fatalf("%d events, %v", len(events), err)
	}
	storetest.CheckTree(t, stores[1], 2*rounds)
}

// TestTreeAfterRollback lets another process append exactly as many entries as a failed
// transaction of ours had.
func TestTreeAfterRollback(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := openTest(t, dir), openTest(t, dir)
	stop := errors.New("stop")
	err := ours.Update(t.Context(), func(tx annona.Tx) error {
		return errors.Join(tx.AppendEntry(t.Context(), storetest.Entry(annona.EntryChange, annona.UID{})), stop)
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range []tested{theirs, ours} {
		if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.UID{})); err != nil {
			t.Fatal(err)
		}
	}
	storetest.CheckTree(t, ours, 2)
}

func TestBusyIsPatient(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := openTest(t, dir), openTest(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	held, release, done := make(chan bool), make(chan bool), make(chan error)
	go func() {
		done <- theirs.Update(t.Context(), func(annona.Tx) error { close(held); <-release; return nil })
	}()
	<-held
	go cancel()
	if err := ours.Update(ctx, func(annona.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled while waiting: %v", err)
	}
	appended := make(chan error)
	go func() { appended <- ours.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.UID{})) }()
	close(release)
	if err := errors.Join(<-done, <-appended); err != nil {
		t.Errorf("after the other has finished: %v", err)
	}
}

func TestClosed(t *testing.T) {
	s, err := Open(t.TempDir(), Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, reading := s.Epoch(t.Context())
	for _, err := range []error{reading, s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.UID{}))} {
		if annona.CodeOf(err) != "store_closed" {
			t.Errorf("a closed store: %v", err)
		}
	}
}
