package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona/audit"
)

// commandsOn are command lines that open a registry, each in another way.
func commandsOn(data, url string) [][]string {
	at := []string{"--data", data, "--database", url}
	return [][]string{
		append([]string{"verify"}, at...),
		append([]string{"serve", "--listen", "127.0.0.1:0"}, at...),
		append([]string{"import", "--mapping", ghanaMapping, ghanaSample}, at...),
		append([]string{"key", "create", "--agreement", "eligibility"}, at...),
	}
}

// TestDatabasesThatAreNotThere: an address that leads nowhere, or to something else, is refused in
// words by every command.
func TestDatabasesThatAreNotThere(t *testing.T) {
	t.Parallel()
	r := newInDatabase(t, sharedCluster(t))
	mute, err := net.Listen("tcp", "127.0.0.1:0") // lets connections in and says nothing
	check(t, err)
	defer mute.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, closed.Close())
	sql(t, r.URL("postgres", "postgres"), "CREATE DATABASE somebodys", "CREATE DATABASE nobodys")
	sql(t, r.URL("postgres", "somebodys"), "CREATE SCHEMA annona CREATE TABLE notes ()")
	for name, c := range map[string]struct{ url, code string }{
		"refused":        {"postgres://a@" + closed.Addr().String() + "/registry", "store_unreachable"},
		"timeout":        {"postgres://a@" + mute.Addr().String() + "/registry?connect_timeout=1", "store_unreachable"},
		"unknown host":   {"postgres://a@no-such-host.invalid/registry", "store_unreachable"},
		"no socket":      {"postgres://a@/registry?host=" + t.TempDir(), "store_unreachable"},
		"no URL":         {"registry", "store_url"},
		"no role":        {"postgres://localhost/registry", "store_url"},
		"password in it": {"postgres://a:secret@localhost/registry", "store_password_in_url"},
		"in the clear":   {"postgres://a@192.0.2.1/registry?sslmode=disable", "store_without_tls"},
		"unknown role":   {r.URL("nobody_knows", r.name), "store_denied"},
		"no database":    {r.URL(r.role, "no_such"), "store_missing"},
		"empty database": {r.URL("postgres", "nobodys"), "store_missing"},
		"somebody's":     {r.URL("postgres", "somebodys"), "store_foreign"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, args := range commandsOn(r.data, c.url) {
				if ran := refused(t, c.code, args...); strings.Contains(ran.err, "secret") {
					t.Error("an error repeats a password")
				}
			}
		})
	}
	must(t, r.serving("verify")...)
}

// TestRegistriesThatAreNotWhole: a registry whose schema, rights or keys are not what they were is
// refused in words, and neither the database nor the folder is touched.
func TestRegistriesThatAreNotWhole(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	whole, other := newInDatabase(t, c), newInDatabase(t, c)
	must(t, whole.importing(ghanaSample)...)
	for name, damage := range map[string]struct {
		sql  string
		file func(t *testing.T, data string)
		code string
	}{
		"a schema from the future": {sql: "UPDATE annona.schema_version SET version = 99", code: "store_too_new"},
		"a schema of the past":     {sql: "ALTER TABLE annona.individuals DROP COLUMN f_sex", code: "store_outdated"},
		"read only":                {sql: "ALTER ROLE %s IN DATABASE %d SET default_transaction_read_only = on", code: "store_read_only"},
		"no rights":                {sql: "REVOKE ALL ON SCHEMA annona FROM %s", code: "store_not_allowed"},
		"keys of another role":     {sql: "REVOKE ALL ON SCHEMA annona_keys FROM %s", code: "store_keys_not_allowed"},
		"commits that may be lost": {sql: "ALTER ROLE %s IN DATABASE %d SET synchronous_commit = off", code: "store_not_durable"},
		"values in the log":        {sql: "ALTER ROLE %s IN DATABASE %d SET log_error_verbosity = 'default'", code: "store_logs_values"},
		"keys that are gone":       {sql: "TRUNCATE annona_keys.secrets", code: "secrets_missing"},
		"no root key":              {file: remove("root.key"), code: "root_key_missing"},
		"no root key in it":        {file: overwrite("root.key", 0, "nonsense"), code: "root_key_malformed"},
		"a root key for all":       {file: chmod("root.key", 0o644), code: "root_key_exposed"},
		"the root key of somebody else": {file: func(t *testing.T, data string) {
			copyFile(t, filepath.Join(other.data, "root.key"), filepath.Join(data, "root.key"))
		}, code: "root_key_foreign"},
	} {
		t.Run(name, func(t *testing.T) {
			r := whole.copy(t)
			const content = "SELECT (SELECT count(*) FROM annona.ledger) + (SELECT count(*) FROM annona.events) + (SELECT count(*) FROM annona.clients) + (SELECT count(*) FROM annona_keys.secrets)"
			if damage.sql != "" {
				sql(t, r.owner(), strings.NewReplacer("%s", r.role, "%d", r.name).Replace(damage.sql))
			}
			if damage.file != nil {
				damage.file(t, r.data)
			}
			before, files := r.count(t, content), filesOf(t, r.data)
			for _, args := range commandsOn(r.data, r.app()) {
				refused(t, damage.code, args...)
			}
			if after := r.count(t, content); after != before || filesOf(t, r.data) != files {
				t.Errorf("it was touched: %d rows, before %d", after, before)
			}
		})
	}
}

// TestOldSchemaIsMended: what is refused as outdated is there again after annona migrate.
func TestOldSchemaIsMended(t *testing.T) {
	t.Parallel()
	r := newInDatabase(t, sharedCluster(t))
	must(t, r.importing(ghanaSample)...)
	sql(t, r.owner(), "DROP INDEX annona.individuals_area", "ALTER TABLE annona.areas DROP COLUMN replaced_by", "ALTER TABLE annona.individuals DROP COLUMN f_sex")
	refused(t, "store_outdated", r.serving("verify")...)
	refused(t, "store_not_allowed", "migrate", "--database", r.app())
	must(t, "migrate", "--database", r.owner(), "--app-role", r.role)
	must(t, r.serving("verify")...)
}

// TestDatabasePassword lets a role in by its password only.
func TestDatabasePassword(t *testing.T) {
	t.Parallel()
	r := newInDatabase(t, sharedCluster(t))
	sql(t, r.owner(), "CREATE ROLE needs_password LOGIN PASSWORD 'right'", "GRANT "+r.role+" TO needs_password",
		"ALTER ROLE needs_password SET log_error_verbosity = 'terse'", "ALTER ROLE needs_password SET log_parameter_max_length = 0")
	url, file := r.URL("needs_password", r.name), filepath.Join(t.TempDir(), "passwords")
	for _, args := range commandsOn(r.data, url) {
		refused(t, "store_denied", args...)
		refused(t, "password_file_missing", append(args, "--database-password-file", file)...)
	}
	writeFile(t, file, []byte("*:*:*:*:wrong\n"))
	for _, args := range commandsOn(r.data, url) {
		if ran := refused(t, "store_denied", append(args, "--database-password-file", file)...); strings.Contains(ran.err, "wrong") {
			t.Error("an error repeats a password")
		}
	}
	writeFile(t, file, []byte("localhost:5432:"+r.name+":needs_password:right\n*:*:*:*:wrong\n"))
	must(t, append(r.at("verify", "--database", url), "--database-password-file", file)...)
	must(t, "migrate", "status", "--database", url, "--database-password-file", file)
	refused(t, "database_missing", r.at("verify", "--database-password-file", file)...)

	// What the environment says leads nowhere else.
	p := startWith(t, []string{
		"PGHOST=stray.example", "PGPORT=1", "PGUSER=stray", "PGDATABASE=stray", "PGPASSWORD=stray", "PGPASSFILE=/stray", "PGSERVICE=stray", "PGSERVICEFILE=/stray",
		"PGSSLMODE=verify-full", "PGSSLROOTCERT=/stray", "PGSSLCERT=/stray", "PGOPTIONS=-c search_path=stray", "PGTARGETSESSIONATTRS=standby", "PGCONNECT_TIMEOUT=x",
		"HOME=" + t.TempDir(),
	}, append(r.at("verify", "--database", url), "--database-password-file", file)...)
	if code := p.wait(); code != 0 {
		t.Errorf("the environment has a say: exit %d, %s", code, p.err)
	}
}

// TestServerGoesAwayInAnImport takes the server away while an import runs. What was committed stays,
// and the same import completes when the server is back.
func TestServerGoesAwayInAnImport(t *testing.T) {
	t.Parallel()
	const people = 12_000
	r, input := newInDatabase(t, ownCluster(t)), surveyOf(t, people)
	p := start(t, r.importing(input)...)
	eventually(t, "the import to get on", func() bool { return r.count(t, "SELECT count(*) FROM annona.individuals") > 2000 })
	check(t, r.Down("immediate"))
	if code := p.wait(); code != exitFailure || !strings.Contains(p.err.String(), "code: store_io\n") && !strings.Contains(p.err.String(), "code: store_unreachable\n") {
		t.Fatalf("exit %d: %s", code, p.err)
	}
	checkMannerly(t, ran{err: p.err.String()})
	refused(t, "store_unreachable", r.serving("verify")...)
	check(t, r.Up())
	must(t, r.serving("verify")...)
	first := r.count(t, "SELECT count(*) FROM annona.individuals") + r.count(t, "SELECT count(*) FROM annona.households")
	second := parseImport(t, must(t, r.importing(input)...))
	if int64(second.Unchanged) != first || second.Created+second.Unchanged != 2*people || second.Changed != 0 || first >= 2*people {
		t.Errorf("%d records were committed, the second import has %+v", first, second)
	}
	must(t, r.serving("verify")...)
}

// TestExportsThatBreakOff cuts exports in three ways: the client goes, the database ends the session
// that reads, the database goes. None ends like one that is whole, and all have an outcome.
func TestExportsThatBreakOff(t *testing.T) {
	t.Parallel()
	const people = 40_000 // more than four pages and what a connection can hold
	r := newInDatabase(t, ownCluster(t))
	must(t, r.importing(surveyOf(t, people))...)
	s := r.serve(t)
	csv := about(eligibility, "format", "csv")
	aborted := func(n int, reason string) {
		t.Helper()
		eventually(t, "the export to be cut", func() bool { return strings.Count(s.err.String(), `"aborted":true`) == n })
		got, with := releasedIn(t, r.flag()), 0
		for _, facts := range got.endings {
			if facts.Outcome == audit.Aborted && facts.Reason == reason {
				with++
			}
		}
		if got.outcomes[audit.Aborted] != n || got.open != 0 || with == 0 {
			t.Errorf("outcomes %v, %d of them with the reason %s, %d requests open", got.outcomes, with, reason, got.open)
		}
	}

	slow := s.slowExport("individuals", csv)
	check(t, slow.Body.Close())
	aborted(1, "client_gone")

	slow = s.slowExport("individuals", csv)
	admin, err := pgx.Connect(t.Context(), r.owner())
	check(t, err)
	defer admin.Close(context.Background())
	hold, err := admin.Begin(t.Context())
	check(t, err)
	_, err = hold.Exec(t.Context(), "LOCK TABLE annona.individuals IN ACCESS EXCLUSIVE MODE")
	check(t, err)
	ended := make(chan error)
	go func() { _, err := io.Copy(io.Discard, slow.Body); ended <- err }()
	const waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'annona.individuals'::regclass AND NOT granted"
	eventually(t, "a page to be read", func() bool { return r.count(t, waiting) > 0 })
	for running := true; running; { // until every attempt to read the page has ended
		_, err := hold.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'annona.individuals'::regclass AND NOT granted")
		check(t, err)
		select {
		case err := <-ended:
			if running = false; err == nil || slow.Trailer.Get("Annona-Rows") != "" {
				t.Errorf("an export whose page could not be read ends well: %v, %v", err, slow.Trailer)
			}
		case <-time.After(10 * time.Millisecond):
		}
	}
	check(t, hold.Rollback(t.Context()))
	aborted(2, "store_io")
	if rows := countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id"))); rows != people {
		t.Errorf("%d individuals afterwards", rows)
	}

	slow = s.slowExport("individuals", csv)
	check(t, r.Down("immediate"))
	if _, err := io.Copy(io.Discard, slow.Body); err == nil {
		t.Error("an export that lost its database ends well")
	}
	if a := s.get("/v1/individuals", about(eligibility, "limit", "1")); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.code() != "store_unreachable" {
		t.Errorf("without a database: status %d %s", a.status, a.code())
	}
	if a := s.get("/readyz", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("ready without a database: %d", a.status)
	}
	check(t, r.Up())
	if rows := countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id"))); rows != people {
		t.Errorf("%d individuals when the database is back", rows)
	}
	s.stop()
	again := r.serve(t) // records what the database could not
	again.stop()
	if got := releasedIn(t, r.flag()); got.open != 0 {
		t.Errorf("%d requests are open", got.open)
	}
	must(t, r.serving("verify")...)
}

// TestCrowdedDatabase: a database that lets nobody in any more, or whose tables somebody holds, is a
// reason to come back later.
func TestCrowdedDatabase(t *testing.T) {
	t.Parallel()
	r := newInDatabase(t, sharedCluster(t))
	must(t, r.importing(ghanaSample)...)
	s := r.serve(t)
	page := func() answer { return s.get("/v1/individuals", about(eligibility, "limit", "5")) }
	later := func(what string, a answer) {
		t.Helper()
		if a.status != http.StatusServiceUnavailable || a.code() != "store_busy" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d %s, Retry-After %q", what, a.status, a.body, a.header.Get("Retry-After"))
		}
	}
	sql(t, r.owner(), "ALTER ROLE "+r.role+" CONNECTION LIMIT 0", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+r.role+"'")
	later("no connection left", page())
	refused(t, "store_busy", r.serving("verify")...)
	sql(t, r.owner(), "ALTER ROLE "+r.role+" CONNECTION LIMIT -1")
	if a := page(); a.status != http.StatusOK {
		t.Errorf("with connections again: status %d %s", a.status, a.body)
	}
	admin, err := pgx.Connect(t.Context(), r.owner())
	check(t, err)
	defer admin.Close(context.Background())
	hold, err := admin.Begin(t.Context())
	check(t, err)
	_, err = hold.Exec(t.Context(), "LOCK TABLE annona.individuals IN ACCESS EXCLUSIVE MODE")
	check(t, err)
	later("a lock that nobody gives back", page())
	check(t, hold.Rollback(t.Context()))
	if a := page(); a.status != http.StatusOK {
		t.Errorf("with the lock given back: status %d %s", a.status, a.body)
	}
	s.stop()
	must(t, r.serving("verify")...)
}

// TestTwoProcesses imports the same file from two processes at once, while two nodes serve.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	const people = 3000
	r, input := newInDatabase(t, sharedCluster(t)), surveyOf(t, people)
	nodes := []*server{r.serve(t), r.serve(t)}
	var both sync.WaitGroup
	reports := make([]importReport, 2)
	for n := range reports {
		both.Go(func() {
			p := start(t, r.importing(input)...)
			if code := p.wait(); code != 0 {
				t.Errorf("exit %d: %s", code, p.err)
				return
			}
			reports[n] = parseImport(t, p.out.String())
		})
	}
	both.Wait()
	if a, b := reports[0], reports[1]; a.Created+b.Created != 2*people || a.Unchanged+b.Unchanged != 2*people || a.Changed+b.Changed != 0 {
		t.Errorf("%+v and %+v", a, b)
	}
	var bodies []string
	for _, s := range nodes {
		bodies = append(bodies, string(s.export("individuals", about(eligibility, "format", "csv"))))
	}
	if bodies[0] != bodies[1] || strings.Count(bodies[0], "\n") != people+1 {
		t.Errorf("two nodes answer differently, or not with %d people", people)
	}
	must(t, r.serving("verify")...)
	if n := r.count(t, "SELECT count(*) - max(seq) FROM annona.log"); n != 0 {
		t.Error("the log has gaps")
	}
}

// TestUnwritableFolderBesideADatabase: init says what is wrong before it makes anything.
func TestUnwritableFolderBesideADatabase(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	name := fmt.Sprintf("registry%d", shared.count.Add(1))
	sql(t, c.URL("postgres", "postgres"), "CREATE DATABASE "+name)
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	refused(t, "folder_unusable", "init", "--data", filepath.Join(file, "keys"), "--database", c.URL("postgres", name))
	if ran := command("migrate", "status", "--database", c.URL("postgres", name)); !strings.Contains(ran.out, "version: 0\n") {
		t.Errorf("a registry was made without its key: %s", ran)
	}
	if _, err := os.Stat(filepath.Join(file, "keys")); err == nil {
		t.Error("there is a folder")
	}
}
