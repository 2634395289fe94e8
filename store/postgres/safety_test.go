package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

const planted = "PLANTED-VALUE"

// TestViolationsLeaveNoValue breaks every kind of rule with values that must not be seen
// again: not in an error, not in what it wraps, not in the server's log.
func TestViolationsLeaveNoValue(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	client := func() annona.Client {
		return annona.Client{ID: annona.NewUID(), KeyID: planted, Hash: []byte(planted), Agreement: planted, CreatedAt: time.Now()}
	}
	if err := s.Update(t.Context(), func(x annona.Tx) error { return x.PutClient(t.Context(), client()) }); err != nil {
		t.Fatal(causes(err))
	}
	long := strings.Repeat(planted, 1000)
	random := make([]byte, 0, 64_000)
	for i := range 4000 { // what does not compress
		u := annona.NewUID()
		random = append(append(random, planted[i%len(planted)]), u.String()...)
	}
	exec := func(sql string, args ...any) func(annona.Tx) error {
		return func(x annona.Tx) error { return x.(*tx).fault("break a rule", x.(*tx).conn.exec(sql, args...)) }
	}
	for name, violate := range map[string]func(annona.Tx) error{
		"unique":   func(x annona.Tx) error { return x.PutClient(t.Context(), client()) },
		"not null": exec("INSERT INTO households (number, source, source_key, version, digest, updated_at, received_at) VALUES (1, $1, $1, 1, '', $1, $1)", planted),
		"cast":     exec("SELECT ($1::text)::bigint", planted),
		"nul":      upsert(planted+"\x00", "1"),
		"utf-8":    upsert(planted+"\xff", "1"),
		"too long": upsert(string(random), "1"),
		"copy": func(x annona.Tx) error {
			rows := rowsFor("memberships", membershipColumns)
			rows.add(int64(1), int64(0), int64(1), nil, nil, true, planted, planted, planted, planted, planted, long)
			return x.(*tx).fault("copy", x.(*tx).conn.copyIn(rows))
		},
		"role":     exec("SET ROLE \"" + planted + "\""),
		"no right": exec("UPDATE events SET actor = $1", planted),
	} {
		err := s.Update(t.Context(), violate)
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
		if text := causes(err); strings.Contains(text, planted) || len(text) > 500 {
			t.Errorf("%s: the error says what it must not: %s", name, text)
		}
	}
	log, err := os.ReadFile(c.LogFile())
	if err != nil || len(log) == 0 {
		t.Fatal("the server's log cannot be read: ", err)
	}
	lines := strings.Split(string(log), "\n")
	for _, line := range lines {
		// The cast fails in the message itself, and the name of a role is no bound value: both
		// are here to see that the log is read at all.
		if strings.Contains(line, planted) && !strings.Contains(line, "type bigint") && !strings.Contains(line, "SET ROLE") && !strings.Contains(line, "role \"") {
			t.Errorf("the server's log holds a value: %.60s", line)
		}
	}
}

// TestAppRole serves in the role that may not change the schema.
func TestAppRole(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	put(t, s.Store, "p", "1")
	x := annona.Extension{Country: "GH", Fields: []annona.Field{
		{Dataset: "households", Code: "herd_size", Type: annona.TypeInt, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterRange},
	}}
	extended, err := annona.Standard().Extend(x)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Declare(t.Context(), x, extended, storetest.Entry(annona.EntryAdministration, annona.UID{})); annona.CodeOf(err) != "store_not_allowed" {
		t.Errorf("the serving role declares attributes: %v", causes(err))
	}
	session := c.session(t, "app", database)
	for _, sql := range []string{
		"DELETE FROM annona.events", "UPDATE annona.log SET seq = 9", "DELETE FROM annona.ledger", "UPDATE annona.ledger_leaves SET idx = 9",
		"TRUNCATE annona_keys.subject_keys", "DELETE FROM annona.agreements", "CREATE TABLE annona.x ()", "DROP TABLE annona.log",
		"ALTER TABLE annona.individuals ADD COLUMN x text", "UPDATE annona.schema_version SET version = 0", "UPDATE annona.events SET actor = 'x'", "DELETE FROM annona.areas", "TRUNCATE annona.individuals", "TRUNCATE annona.log",
	} {
		if _, err := session.Exec(t.Context(), sql); serverCode(err) != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	owner := c.open(t, "postgres", database)
	if err := owner.Declare(t.Context(), x, extended, storetest.Entry(annona.EntryAdministration, annona.UID{})); err != nil {
		t.Fatal(causes(err))
	}
	put(t, s.Store, "p", "2") // with statements made before the new column
}

// TestOpenRefuses opens what cannot or must not be opened.
func TestOpenRefuses(t *testing.T) {
	c := testCluster(t)
	admin := c.session(t, "postgres", "postgres")
	registry := c.newRegistry(t)
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte("*:*:*:*:wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustExec(t, admin, "DO $$ BEGIN CREATE ROLE needs_password LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
	mustExec(t, admin, "CREATE ROLE talkative LOGIN")
	mustExec(t, admin, "GRANT app TO talkative")
	careless, newer, foreign, older := c.newRegistry(t), c.newRegistry(t), c.newDatabase(t), c.newRegistry(t)
	mustExec(t, admin, "ALTER DATABASE "+careless+" SET synchronous_commit = off")
	mustExec(t, c.session(t, "postgres", newer), "UPDATE annona.schema_version SET version = 99")
	mustExec(t, c.session(t, "postgres", foreign), "CREATE SCHEMA annona CREATE TABLE x ()")
	mustExec(t, c.session(t, "postgres", older), "ALTER TABLE annona.individuals DROP COLUMN f_sex")
	nobody := "postgres://postgres@/postgres?host=" + t.TempDir()
	for _, x := range []struct{ name, url, code string }{
		{"no URL", "somewhere", "store_url"},
		{"another kind of URL", "mysql://a@b/c", "store_url"},
		{"malformed", "postgres://a@b/c?sslmode=perhaps", "store_url"},
		{"password", "postgres://app:secret@localhost/x", "store_password_in_url"},
		{"password as a parameter", "postgres://app@localhost/x?password=secret", "store_password_in_url"},
		{"in the clear where it may be", "postgres://app@db.example/x?sslmode=prefer", "store_without_tls"},
		{"in the clear, explicitly", "postgres://app@db.example/x?sslmode=disable", "store_without_tls"},
		{"nobody there", nobody, "store_unreachable"},
		{"wrong password", c.URL("needs_password", registry) + "&passfile=" + passfile, "store_denied"},
		{"unknown role", c.URL("nobody_knows", registry), "store_denied"},
		{"no such database", c.URL("app", "nowhere"), "store_missing"},
		{"empty database", c.URL("app", "postgres"), "store_missing"},
		{"not ours", c.URL("postgres", foreign), "store_foreign"},
		{"newer", c.URL("app", newer), "store_too_new"},
		{"older", c.URL("app", older), "store_outdated"},
		{"commits may be lost", c.URL("app", careless), "store_not_durable"},
		{"values in the log", c.URL("talkative", registry), "store_logs_values"},
	} {
		s, err := Open(t.Context(), Options{URL: x.url, Dictionary: annona.Standard()})
		if err == nil {
			t.Errorf("%s: opened", x.name)
			s.Close()
			continue
		}
		if text := causes(err); annona.CodeOf(err) != x.code || strings.Contains(text, "secret") || strings.Contains(text, "wrong") {
			t.Errorf("%s: %s: %s", x.name, annona.CodeOf(err), text)
		}
	}
	mustExec(t, admin, "ALTER SYSTEM SET fsync = off")
	mustExec(t, admin, "SELECT pg_reload_conf()")
	defer func() {
		mustExec(t, admin, "ALTER SYSTEM RESET fsync")
		mustExec(t, admin, "SELECT pg_reload_conf()")
		waitFor(t, "fsync", func() bool {
			return ask(t, admin, "SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'on'") == 1
		})
	}()
	waitFor(t, "fsync off", func() bool {
		return ask(t, admin, "SELECT count(*) FROM pg_settings WHERE name = 'fsync' AND setting = 'off'") == 1
	})
	if _, err := Open(t.Context(), Options{URL: c.URL("app", registry)}); annona.CodeOf(err) != "store_not_durable" {
		t.Errorf("fsync off: %v", causes(err))
	}
}

// TestServerRestarts takes the server away under an open store and brings it back.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	put(t, s.Store, "before", "1")
	var many sync.WaitGroup // connections that will all lose their server
	for range 2 * attempts {
		many.Go(func() {
			err := s.readers.ask(t.Context(), "sleep", func(c *conn) error { return c.exec("SELECT pg_sleep(0.2)") })
			if err != nil {
				t.Error(causes(err))
			}
		})
	}
	many.Wait()
	cut := make(chan error)
	go func() {
		cut <- s.readers.ask(context.Background(), "sleep", func(c *conn) error { return c.exec("SELECT pg_sleep(60)") })
	}()
	waitFor(t, "a query", func() bool { return s.readers.Stat().AcquiredConns() > 0 })
	if err := c.Down("fast"); err != nil {
		t.Fatal(err)
	}
	if err := <-cut; annona.CodeOf(err) != "store_io" && annona.CodeOf(err) != "store_unreachable" {
		t.Errorf("cut in mid-query: %v", causes(err))
	}
	for name, err := range map[string]error{
		"read":   func() error { _, err := s.Epoch(t.Context()); return err }(),
		"write":  s.Update(t.Context(), upsert("lost", "1")),
		"append": s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())),
	} {
		if code := annona.CodeOf(err); code != "store_unreachable" && code != "store_io" {
			t.Errorf("%s without a server: %v", name, causes(err))
		}
	}
	if err := c.Up(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Epoch(t.Context()); err != nil {
		t.Errorf("read after the restart: %v", causes(err))
	}
	put(t, s.Store, "after", "1")
	if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
		t.Errorf("append after the restart: %v", causes(err))
	}
	checkLog(t, s, 2)
	storetest.CheckTree(t, s, 1)
}

// TestAWriteWhoseConnectionIsDead writes over connections whose server has gone away meanwhile: another one is taken.
func TestAWriteWhoseConnectionIsDead(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	var all sync.WaitGroup
	begun, end := make(chan struct{}), make(chan struct{})
	for i := range 3 {
		all.Go(func() {
			err := s.Update(t.Context(), func(x annona.Tx) error {
				err := upsert(fmt.Sprint("before ", i), "1")(x)
				begun <- struct{}{}
				<-end
				return err
			})
			if err != nil {
				t.Error(causes(err))
			}
		})
	}
	for range 3 {
		<-begun
	}
	close(end)
	all.Wait()
	cut := c.session(t, "postgres", database)
	const everyone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	mustExec(t, cut, everyone)
	put(t, s.Store, "after", "1")
	checkLog(t, s, 4)
	mustExec(t, cut, everyone)
	err := s.Update(t.Context(), func(x annona.Tx) error { // asks nothing before it commits
		return x.AppendEntry(t.Context(), storetest.Entry(annona.EntryChange, annona.NewUID()))
	})
	if err != nil {
		t.Error(causes(err))
	}
	storetest.CheckTree(t, s, 1)
}

// TestAbandonedReadsLeakNothing cancels reads at any moment.
func TestAbandonedReadsLeakNothing(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	for i := range 20 {
		put(t, s.Store, string(rune('a'+i)), "1")
	}
	d, _ := annona.Standard().Dataset("individuals")
	scope := annona.NewScope(storetest.Shape(d, "sex"), nil, nil, annona.ScopeTerms{AsOf: storetest.Today, Today: storetest.Today})
	page := annona.NewPage(scope.Shape())
	for i := range 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%100)*10*time.Microsecond)
		page.Reset()
		if _, err := s.ReadPage(ctx, scope, 0, 0, 100, page); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(causes(err))
		}
		cancel()
	}
	waitFor(t, "connections to come back", func() bool { return s.readers.Stat().AcquiredConns() == 0 })
	page.Reset()
	if _, err := s.ReadPage(t.Context(), scope, 0, 0, 100, page); err != nil || page.Count != 20 {
		t.Fatalf("%d rows afterwards; %v", page.Count, err)
	}
}
