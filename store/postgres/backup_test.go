package postgres

import (
	"context"
	"errors"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// TestBackup dumps in the role that serves and loads as the owner.
func TestBackup(t *testing.T) {
	c := testCluster(t)
	storetest.RunBackup(t, func(t *testing.T) storetest.Revivable {
		database := c.newRegistry(t)
		return served{c.open(t, "app", database), func() tested { return c.open(t, "postgres", database) }}
	}, func(t *testing.T, schema int, fill annona.Fill) (storetest.Revivable, func() error) {
		url := c.URL("postgres", c.newDatabase(t))
		from := annona.Contents{Schema: schema, Records: fill, Keys: nothing, KeySchema: schema}
		if err := Load(t.Context(), url, Setup{Dictionary: annona.Standard(), App: "app"}, from); err != nil {
			t.Fatalf("load: %v", causes(err))
		}
		s, err := Open(t.Context(), Options{URL: url, Dictionary: annona.Standard(), Clock: storetest.Clock, Unfinished: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return tested{s}, func() error { return openAndClose(url) }
	})
}

func nothing(annona.TableSink) error { return nil }

func openAndClose(url string) error {
	s, err := Open(context.Background(), Options{URL: url})
	if err == nil {
		err = s.Close()
	}
	return err
}

// TestLoadLeavesNothing: a load that breaks off leaves nothing, runs again, keeps the keys that are
// there, and never touches a registry that is in use.
func TestLoadLeavesNothing(t *testing.T) {
	c := testCluster(t)
	database := c.newDatabase(t)
	url := c.URL("postgres", database)
	load := func(schema int, fill annona.Fill) error {
		return Load(t.Context(), url, Setup{App: "app"}, annona.Contents{Schema: schema, Records: fill, Keys: nothing, KeySchema: schema})
	}
	kept := func() error {
		return Load(t.Context(), url, Setup{App: "app"}, annona.Contents{Schema: 1, Records: nothing})
	}
	broken := errors.New("the backup ends here")
	for range 2 {
		err := load(1, func(to annona.TableSink) error {
			_ = to.Table(annona.Table{Name: "areas", Columns: []annona.TableColumn{{Name: "code", Type: annona.CellText}}})
			_ = to.Row(annona.TableRow{[]byte("XA")})
			return broken
		})
		if err == nil {
			t.Fatal("a load that broke off has worked")
		}
		if status, err := MigrationStatus(t.Context(), url); err != nil || status.Version != 0 {
			t.Fatalf("a registry is left behind: %v, %v", status, err)
		}
	}
	for name, table := range map[string]annona.Table{
		"another table":  {Name: "wages", Columns: []annona.TableColumn{{Name: "code", Type: annona.CellText}}},
		"another column": {Name: "areas", Columns: []annona.TableColumn{{Name: "wage", Type: annona.CellText}}},
		"another type":   {Name: "areas", Columns: []annona.TableColumn{{Name: "code", Type: annona.CellInteger}}},
		"hostile column": {Name: "individuals", Columns: []annona.TableColumn{{Name: "f_a bigint; DROP TABLE ledger; --", Type: annona.CellInteger}}},
	} {
		if err := load(1, func(to annona.TableSink) error { return to.Table(table) }); annona.CodeOf(err) != "backup_damaged" {
			t.Errorf("%s: %v", name, causes(err))
		}
	}
	err := load(1, func(to annona.TableSink) error {
		if err := to.Table(sequencesTable); err != nil {
			return err
		}
		return to.Row(annona.TableRow{[]byte("pg_secrets"), make([]byte, 8)})
	})
	if annona.CodeOf(err) != "backup_damaged" {
		t.Errorf("another sequence: %v", causes(err))
	}
	if err := load(99, nothing); annona.CodeOf(err) != "store_too_new" {
		t.Errorf("a newer schema: %v", err)
	}
	if err := kept(); annona.CodeOf(err) != "secrets_missing" {
		t.Errorf("no keys to keep: %v", causes(err))
	}
	for range 2 { // an unfinished one is replaced, with the keys that it has brought
		if err := load(1, nothing); err != nil {
			t.Fatal(causes(err))
		}
		keep(t, url, "wrapped")
	}
	mustExec(t, c.session(t, "postgres", database), "DROP SCHEMA annona CASCADE")
	if err := load(1, nothing); annona.CodeOf(err) != "keys_exist" {
		t.Errorf("over keys: %v", causes(err))
	}
	for range 2 { // an unfinished one is replaced, the keys stay
		if err := kept(); err != nil {
			t.Fatal(causes(err))
		}
	}
	if keys := keptKeys(t, url); keys != "wrapped" {
		t.Errorf("the keys are %q", keys)
	}
	s, err := Open(t.Context(), Options{URL: url, Unfinished: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Release(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := load(1, nothing); annona.CodeOf(err) != "registry_exists" {
		t.Errorf("over a registry: %v", err)
	}
}

func keep(t *testing.T, url, wrapped string) {
	t.Helper()
	s, err := OpenSecrets(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Put(annona.Secret{Label: "realm", Version: 1, At: storetest.Clock(), Wrapped: []byte(wrapped)}), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func keptKeys(t *testing.T, url string) string {
	t.Helper()
	s, err := OpenSecrets(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found, err := s.Get("realm", 1)
	if err != nil {
		t.Fatal(err)
	}
	return string(found.Wrapped)
}

// TestSecretsDump copies the key store from one database to another.
func TestSecretsDump(t *testing.T) {
	c := testCluster(t)
	from, to := c.URL("app", c.newRegistry(t)), c.URL("postgres", c.newDatabase(t))
	keep(t, from, "wrapped")
	err := Load(t.Context(), to, Setup{}, annona.Contents{Schema: 1, Records: nothing, KeySchema: 1, Keys: func(sink annona.TableSink) error {
		return DumpSecrets(t.Context(), from, func(annona.StoreState) (annona.TableSink, error) { return sink, nil })
	}})
	if err != nil {
		t.Fatal(causes(err))
	}
	if keys := keptKeys(t, to); keys != "wrapped" {
		t.Errorf("the keys are %q", keys)
	}
}
