package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

func TestBackup(t *testing.T) {
	storetest.RunBackup(t, func(t *testing.T) storetest.Revivable { return openTest(t, t.TempDir()) }, loadTest)
}

func nothing(annona.TableSink) error { return nil }

func loadTest(t *testing.T, schema int, fill annona.Fill) (storetest.Revivable, func() error) {
	t.Helper()
	dir := t.TempDir()
	if err := Load(t.Context(), dir, annona.Contents{Schema: schema, Records: fill, Keys: nothing, KeySchema: 1}); err != nil {
		t.Fatalf("load: %v", err)
	}
	s, err := Open(dir, Options{Dictionary: annona.Standard(), Clock: storetest.Clock, Unfinished: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return tested{s}, func() error {
		s, err := Open(dir, Options{})
		if err == nil {
			err = s.Close()
		}
		return err
	}
}

// TestLoadLeavesNothing: a load that breaks off leaves no file that counts, runs again, and never
// touches a registry that is in use.
func TestLoadLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	load := func(schema int, fill annona.Fill) error {
		return Load(t.Context(), dir, annona.Contents{Schema: schema, Records: fill, Keys: nothing, KeySchema: 1})
	}
	broken := errors.New("the backup ends here")
	for range 2 {
		err := load(1, func(to annona.TableSink) error {
			_ = to.Table(annona.Table{Name: "areas", Columns: []annona.TableColumn{{Name: "code", Type: annona.CellText}}})
			return broken
		})
		if err == nil {
			t.Fatal("a load that broke off has worked")
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Fatalf("%s is left behind", left[0].Name())
		}
	}
	for name, table := range map[string]annona.Table{
		"another table":  {Name: "wages", Columns: []annona.TableColumn{{Name: "code", Type: annona.CellText}}},
		"another column": {Name: "areas", Columns: []annona.TableColumn{{Name: "wage", Type: annona.CellText}}},
		"another type":   {Name: "areas", Columns: []annona.TableColumn{{Name: "code", Type: annona.CellInteger}}},
		"hostile column": {Name: "individuals", Columns: []annona.TableColumn{{Name: "f_a INTEGER; DROP TABLE ledger; --", Type: annona.CellInteger}}},
	} {
		err := load(1, func(to annona.TableSink) error { return to.Table(table) })
		if annona.CodeOf(err) != "backup_damaged" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := load(99, nothing); annona.CodeOf(err) != "store_too_new" {
		t.Errorf("a newer schema: %v", err)
	}
	for range 2 { // an unfinished one is replaced
		if err := load(1, nothing); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() error {
		return Load(t.Context(), dir, annona.Contents{Schema: 1, Records: nothing})
	}
	if err := kept(); annona.CodeOf(err) != "secrets_missing" { // those that are there came with the copy
		t.Errorf("no keys to keep: %v", err)
	}
	if err := removeFiles(filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	if err := load(1, nothing); annona.CodeOf(err) != "keys_exist" {
		t.Errorf("over keys: %v", err)
	}
	for range 2 {
		if err := kept(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir, Options{Unfinished: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Release(context.Background()), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := load(1, nothing); annona.CodeOf(err) != "registry_exists" {
		t.Errorf("over a registry: %v", err)
	}
}

// TestSecretsDump copies the key store while it is open.
func TestSecretsDump(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	s, err := OpenSecrets(from, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Put(annona.Secret{Label: "realm", Version: 1, At: storetest.Clock(), Wrapped: []byte("wrapped")}); err != nil {
		t.Fatal(err)
	}
	err = Load(t.Context(), to, annona.Contents{Schema: 1, Records: nothing, KeySchema: 1, Keys: func(sink annona.TableSink) error {
		return DumpSecrets(t.Context(), from, func(annona.StoreState) (annona.TableSink, error) { return sink, nil })
	}})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := OpenSecrets(to, false)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	if found, err := loaded.Get("realm", 1); err != nil || string(found.Wrapped) != "wrapped" {
		t.Errorf("%q, %v", found.Wrapped, err)
	}
	if info, err := os.Stat(filepath.Join(to, SecretsFileName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
