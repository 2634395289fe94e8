package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// office is a source of two tables whose configuration a test can change.
type office struct {
	foreign
	t    testing.TB
	data string
}

// newOffice makes a small source in PostgreSQL or SQLite, with some households of one.
func newOffice(t testing.TB, kind string, count int) *office {
	t.Helper()
	o := &office{foreign: newForeign(t, shapes()["household and member"], kind), t: t, data: newRegistry(t)}
	o.rewrite("    queries:", "    retries: 0\n    queries:")
	for i := 1; i <= count; i++ {
		o.arrive(i, "2026-11-01 10:00:00")
	}
	return o
}

// arrive adds a household and its one member.
func (o *office) arrive(i int, at string) {
	o.exec(fmt.Sprintf("INSERT INTO household (no, changed_at) VALUES ('H%d', '%s')", i, at),
		fmt.Sprintf("INSERT INTO member (no, household_no, name, changed_at) VALUES ('M%d', 'H%[1]d', '%s', '%s')", i, planted, at))
}

func (o *office) rewrite(old, new string) {
	o.t.Helper()
	text, err := os.ReadFile(o.config)
	check(o.t, err)
	if !strings.Contains(string(text), old) {
		o.t.Fatalf("%q is not in the configuration", old)
	}
	writeFile(o.t, o.config, []byte(strings.Replace(string(text), old, new, 1)))
}

func (o *office) sync() syncLine {
	o.t.Helper()
	return onlySource(o.t, syncNow(o.t, o.data, o.config))
}

// fails synchronizes in vain.
func (o *office) fails(code string) syncLine {
	o.t.Helper()
	if r := refused(o.t, code, "sync", "--data", o.data, "--config", o.config, "--once"); strings.Contains(r.out+r.err, planted) {
		o.t.Errorf("a message repeats a value: %s", r)
	}
	l := onlySource(o.t, syncStatusOf(o.t, o.data))
	if l.Code != code || l.Failures == 0 {
		o.t.Errorf("want %s: %+v", code, l)
	}
	return l
}

const memberRows = "FROM member"

// A source that goes away while it is read: what was loaded stays, the marks do not move, and the next
// run completes what this one began.
func TestSyncSourceGoesAway(t *testing.T) {
	t.Parallel()
	const people = 9000
	o := newOffice(t, kindPostgres, 1)
	o.exec(fmt.Sprintf("INSERT INTO household (no, changed_at) SELECT 'H' || g, '2026-11-01 10:00:00' FROM generate_series(2, %d) g", people),
		fmt.Sprintf("INSERT INTO member (no, household_no, name, changed_at) SELECT 'M' || g, 'H' || g, repeat('x', 300), '2026-11-01 10:00:00' FROM generate_series(2, %d) g", people))
	o.rewrite("mode: full", "mode: upsert")
	o.rewrite("    delete_guard: 2%\n", "")
	o.rewrite(memberRows, memberRows+" WHERE no <> 'M8000' OR pg_terminate_backend(pg_backend_pid())")
	l := o.fails("source_unavailable")
	if l.Last.Created <= people || l.Last.Created >= 2*people || len(l.Marks) != 0 || !l.SucceededAt.IsZero() {
		t.Errorf("broken off: %+v", l)
	}
	o.rewrite(" WHERE no <> 'M8000' OR pg_terminate_backend(pg_backend_pid())", "")
	before := l.Last.Created
	if l = o.sync(); l.Last.Unchanged != before || l.Last.Created != 2*people-before || len(l.Marks) != 2 {
		t.Errorf("completed: %+v", l)
	}
}

// A full load of a source that goes away deletes nobody.
func TestSyncFullSourceGoesAway(t *testing.T) {
	t.Parallel()
	o := newOffice(t, kindPostgres, 300)
	o.sync()
	o.exec("DELETE FROM member WHERE no IN ('M1', 'M2')")
	o.rewrite(memberRows, memberRows+" WHERE no <> 'M299' OR pg_terminate_backend(pg_backend_pid())")
	if l := o.fails("source_unavailable"); l.Last.Deleted != 0 {
		t.Errorf("%+v", l)
	}
	o.rewrite(" WHERE no <> 'M299' OR pg_terminate_backend(pg_backend_pid())", "")
	if l := o.sync(); l.Last.Deleted != 0 && l.Last.Deleted != 2 {
		t.Errorf("%+v", l)
	}
	if l := onlySource(t, syncNow(t, o.data, o.config, "--compare")); l.Drift["individuals"].OnFile != 298 {
		t.Errorf("%+v", l)
	}
}

// A source that is empty for once does not delete everybody.
func TestSyncEmptySource(t *testing.T) {
	t.Parallel()
	o := newOffice(t, kindSQLite, 3)
	o.sync()
	o.exec("DELETE FROM member", "DELETE FROM household")
	if l := o.sync(); l.Last.Rows != 0 || l.Failures != 0 {
		t.Errorf("nothing has changed: %+v", l)
	}
	refused(t, "full_load_empty", "sync", "--data", o.data, "--config", o.config, "--once", "--compare")
}

// The schema of a source drifts: a new column is noted, one that is gone ends the run until somebody
// has looked.
func TestSyncSchemaDrift(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{kindPostgres, kindSQLite} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, kind, 3)
			o.rewrite("SELECT no AS household_no, village, area, registered_on, roof,", "SELECT no AS household_no, h.*,")
			o.rewrite("electricity, changed_at", "electricity")
			o.rewrite("FROM household", "FROM household h")
			if l := o.sync(); l.Last.Created != 6 || len(l.NewColumns) != 0 {
				t.Fatalf("%+v", l)
			}
			o.exec("ALTER TABLE household ADD COLUMN ward text")
			if l := o.sync(); len(l.NewColumns["households"]) != 1 || l.NewColumns["households"][0] != "ward" || l.Failures != 0 {
				t.Errorf("a new column: %+v", l)
			}
			if out := must(t, "sync", "status", "--data", o.data); !strings.Contains(out, "ward") {
				t.Error(out)
			}
			o.exec("ALTER TABLE household DROP COLUMN roof")
			if l := o.fails("source_column_gone"); !strings.Contains(l.Error, "roof") {
				t.Errorf("%+v", l)
			}
			o.rewrite("FROM household h", "FROM household h -- without roof since November")
			if l := o.sync(); l.Failures != 0 || l.Runs != 0 || len(l.NewColumns) != 0 {
				t.Errorf("looked at: %+v", l)
			}
			o.exec("ALTER TABLE member RENAME TO persons")
			o.fails("source_query")
		})
	}
}

// What has changed may not fit what is on file: a member whose household came without its mark. The
// source is then read whole, in the same run.
func TestSyncReadsWholeWhenAPartDoesNotFit(t *testing.T) {
	t.Parallel()
	o := newOffice(t, kindSQLite, 3)
	o.sync()
	o.exec("INSERT INTO household (no, changed_at) VALUES ('H4', '2020-01-01 00:00:00')",
		"INSERT INTO member (no, household_no, name, changed_at) VALUES ('M4', 'H4', 'x', '2026-11-02 10:00:00')")
	if l := o.sync(); l.Last.Created != 2 || l.Runs != 0 || l.Drift["households"] != (syncDrift{4, 4}) {
		t.Errorf("%+v", l)
	}
}

// A row of the future does not hide what changes until then.
func TestSyncMarkOfTheFuture(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{kindPostgres, kindSQLite} {
		o := newOffice(t, kind, 2)
		o.arrive(3, "2099-01-01 00:00:00")
		o.sync()
		now := map[string]string{kindPostgres: "now() AT TIME ZONE 'UTC'", kindSQLite: "datetime('now')"}[kind]
		o.exec("INSERT INTO household (no, changed_at) VALUES ('H4', " + now + ")")
		if l := o.sync(); l.Last.Created != 1 || l.Runs != 1 {
			t.Errorf("%s: %+v", kind, l)
		}
	}
}

// Another mapping reads everything again.
func TestSyncMappingChanges(t *testing.T) {
	t.Parallel()
	o := newOffice(t, kindSQLite, 3)
	o.sync()
	path := filepath.Join(filepath.Dir(o.config), "mapping.yaml")
	text, err := os.ReadFile(path)
	check(t, err)
	writeFile(t, path, []byte(strings.Replace(string(text), "full_name: name", "given_name: name", 1)))
	if l := o.sync(); l.Last.Changed != 3 || l.Last.Unchanged != 3 || l.Runs != 0 {
		t.Errorf("%+v", l)
	}
	writeFile(t, path, []byte("inputs: ["))
	o.fails("file_malformed")
}

// The password comes from the environment or a file, and shows nowhere.
func TestSyncPasswordOfAServer(t *testing.T) {
	o := newOffice(t, kindPostgres, 2)
	o.exec("DO $$ BEGIN CREATE ROLE sync_reader LOGIN PASSWORD 'hush-hush'; EXCEPTION WHEN duplicate_object THEN ALTER ROLE sync_reader PASSWORD 'hush-hush'; END $$",
		"GRANT SELECT ON household, member TO sync_reader")
	o.rewrite("postgres://postgres@", "postgres://sync_reader@")
	o.rewrite("    queries:", "    password_env: ANNONA_TEST_SOURCE\n    queries:")
	t.Setenv("ANNONA_TEST_SOURCE", "wrong-one")
	if l := o.fails("source_denied"); strings.Contains(l.Error, "wrong-one") {
		t.Error(l.Error)
	}
	t.Setenv("ANNONA_TEST_SOURCE", "hush-hush")
	if l := o.sync(); l.Last.Created != 4 {
		t.Errorf("%+v", l)
	}
	o.exec("REVOKE SELECT ON member FROM sync_reader")
	o.fails("source_denied")
}
