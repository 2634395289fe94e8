package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

var cluster *postgrestest.Cluster // nil where PostgreSQL is not installed

func TestMain(m *testing.M) {
	c, err := postgrestest.Start()
	if err != nil && !errors.Is(err, postgrestest.ErrNotInstalled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cluster = c
	code := m.Run()
	if cluster != nil {
		cluster.Remove()
	}
	os.Exit(code)
}

const patient = 20 * time.Second

// source is a database of a test's own.
type source struct {
	open func(timeout time.Duration) (*Snapshot, error)
	exec func(sql string)
	url  string // of PostgreSQL
}

// onBoth runs a test on both kinds of databases.
func onBoth(t *testing.T, test func(t *testing.T, s source)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqliteSource(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, postgresSource(t)) })
}

func sqliteSource(t *testing.T) source {
	path := filepath.Join(t.TempDir(), "source.sqlite")
	c, err := sqlite.OpenConn(path)
	check(t, err)
	t.Cleanup(func() { check(t, c.Close()) })
	return source{
		open: func(timeout time.Duration) (*Snapshot, error) { return SQLite(t.Context(), path, timeout) },
		exec: func(sql string) { t.Helper(); check(t, sqlitex.ExecuteScript(c, sql, nil)) },
	}
}

func postgresSource(t *testing.T) source {
	if cluster == nil {
		t.Skip(postgrestest.ErrNotInstalled)
	}
	name := strings.ToLower(strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
	onPostgres(t, cluster.URL("postgres", "postgres"), "CREATE DATABASE "+name)
	url := cluster.URL("postgres", name)
	return source{
		open: func(timeout time.Duration) (*Snapshot, error) { return Postgres(t.Context(), url, "", timeout) },
		exec: func(sql string) { t.Helper(); onPostgres(t, url, sql) },
		url:  url,
	}
}

func onPostgres(t *testing.T, url, sql string) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), url)
	check(t, err)
	defer c.Close(context.Background())
	_, err = c.Exec(context.Background(), sql)
	check(t, err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s source) snapshot(t *testing.T) *Snapshot {
	t.Helper()
	snapshot, err := s.open(patient)
	check(t, err)
	t.Cleanup(func() { check(t, snapshot.Close()) })
	return snapshot
}

// read reads a query to its end.
func read(t *testing.T, s *Snapshot, q Query, since Mark) (lines []map[string]any, mark Mark) {
	t.Helper()
	rows, err := s.Open(t.Context(), q, since)
	check(t, err)
	defer func() { check(t, rows.Close()) }()
	text, err := io.ReadAll(rows)
	check(t, err)
	if !rows.Whole() || rows.Err() != nil {
		t.Errorf("not whole: %v", rows.Err())
	}
	for line := range strings.Lines(string(text)) {
		var row map[string]any
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.UseNumber()
		if err := decoder.Decode(&row); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, row)
	}
	if rows.Count() != int64(len(lines)) || rows.Empty() != (len(lines) == 0) {
		t.Errorf("counted %d of %d", rows.Count(), len(lines))
	}
	return lines, rows.Mark()
}

func shown(row map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(row)) {
		v, _ := json.Marshal(row[name])
		fmt.Fprintf(&b, "%s=%s ", name, v)
	}
	return strings.TrimSpace(b.String())
}

func TestValuesOfPostgreSQL(t *testing.T) {
	s := postgresSource(t)
	s.exec(`CREATE TABLE t (i bigint, n numeric, f float8, b boolean, x bytea, d date, z timestamptz, w timestamp, j json, k jsonb, a text[], m int[][], u uuid, e text, s text)`)
	s.exec(`INSERT INTO t VALUES (9007199254740993, 12345678901234567890.10, 0.1, true, '\x00ff', '1954-01-01', '2026-11-22 03:00:00+03', '2026-11-22 03:00:00.5',
		'{"a": 1,
			"b": "two\nlines"}', '{"c": [null, true]}', '{"x,y", NULL, "q\"uote"}', '{{1,2},{3,4}}', '0d9a2b7e-0000-4000-8000-000000000001', '', E'tab\tline\nend "አማርኛ"')`)
	rows, _ := read(t, s.snapshot(t), Query{Name: "all", SQL: "SELECT *, NULL::text AS nothing FROM t -- to the end of the line"}, Mark{})
	want := `a=["x,y",null,"q\"uote"] b=true d="1954-01-01" e="" f=0.1 i=9007199254740993 j={"a":1,"b":"two\nlines"} k={"c":[null,true]} m=[[1,2],[3,4]] ` +
		`n=12345678901234567890.10 nothing=null s="tab\tline\nend \"አማርኛ\"" u="0d9a2b7e-0000-4000-8000-000000000001" w="2026-11-22T03:00:00.5" x="\\x00ff" z="2026-11-22T00:00:00+00:00"`
	if len(rows) != 1 || shown(rows[0]) != want {
		t.Errorf("got  %s\nwant %s", shown(rows[0]), want)
	}
}

func TestValuesOfSQLite(t *testing.T) {
	s := sqliteSource(t)
	s.exec(`CREATE TABLE t (i, f, g, x, e, s, j, bad)`)
	s.exec(`INSERT INTO t VALUES (9007199254740993, 0.1, 1e30, x'00ff', '', 'tab' || char(9) || 'line' || char(10) || '"አማርኛ"', '{"a": [1, "b"]}', '{"a":')`)
	snapshot := s.snapshot(t)
	rows, _ := read(t, snapshot, Query{Name: "all", SQL: "SELECT *, NULL AS void FROM t;", JSON: []string{"j", "bad", "void"}}, Mark{})
	want := `bad="{\"a\":" e="" f=0.1 g=1000000000000000000000000000000 i=9007199254740993 j={"a":[1,"b"]} s="tab\tline\n\"አማርኛ\"" void=null x="\\x00ff"`
	if len(rows) != 1 || shown(rows[0]) != want {
		t.Errorf("got  %s\nwant %s", shown(rows[0]), want)
	}
	stream, err := snapshot.Open(t.Context(), Query{SQL: "SELECT bad, s FROM t", JSON: []string{"bad", "s"}}, Mark{})
	check(t, err)
	_, err = io.ReadAll(stream)
	if check(t, err); stream.NotJSON() != 2 {
		t.Errorf("%d cells are no JSON", stream.NotJSON())
	}
	check(t, stream.Close())
}

// A text that is no UTF-8 reaches the reader of the lines as it is, which refuses the row.
func TestBrokenTextsAreNotMended(t *testing.T) {
	s := sqliteSource(t)
	s.exec(`CREATE TABLE t (s TEXT); INSERT INTO t VALUES (CAST(x'41ff22' AS TEXT))`)
	rows, err := s.snapshot(t).Open(t.Context(), Query{SQL: "SELECT s FROM t"}, Mark{})
	check(t, err)
	text, err := io.ReadAll(rows)
	if check(t, err); string(text) != "{\"s\":\"A\xff\\\"\"}\n" {
		t.Errorf("%q", text)
	}
	check(t, rows.Close())
}

func TestMarks(t *testing.T) {
	onBoth(t, func(t *testing.T, s source) {
		s.exec(`CREATE TABLE t (id integer, at timestamp, "n" integer);
			INSERT INTO t VALUES (1, '2026-11-22 10:00:00', 10), (2, '2026-11-22 10:05:00', 11), (3, NULL, NULL), (4, '2026-11-22 10:09:59.5', 9)`)
		ids := func(rows []map[string]any) (ids string) {
			for _, row := range rows {
				ids += fmt.Sprint(row["id"])
			}
			return ids
		}
		hours := Query{Name: "q", SQL: "SELECT * FROM t", Mark: "at", Overlap: Overlap{Span: 5 * time.Minute}}
		all, mark := read(t, s.snapshot(t), hours, Mark{})
		if ids(all) != "1234" || mark.Value != "2026-11-22 10:09:59.5" {
			t.Fatalf("%s, mark %+v", ids(all), mark)
		}
		some, again := read(t, s.snapshot(t), hours, mark)
		if ids(some) != "234" || again != mark {
			t.Errorf("five minutes back: %s, mark %+v", ids(some), again)
		}
		hours.Overlap = Overlap{}
		if some, _ := read(t, s.snapshot(t), hours, mark); ids(some) != "34" {
			t.Errorf("the mark itself is read again: %s", ids(some))
		}
		numbers := Query{Name: "q", SQL: "SELECT * FROM t", Mark: "n", Overlap: Overlap{Number: 1}}
		_, mark = read(t, s.snapshot(t), numbers, Mark{})
		if some, _ := read(t, s.snapshot(t), numbers, mark); ids(some) != "123" || mark.Value != "11" {
			t.Errorf("one back from %+v: %s", mark, ids(some))
		}
		s.exec("DELETE FROM t WHERE id <> 1")
		if none, kept := read(t, s.snapshot(t), numbers, mark); len(none) != 1 && kept != (Mark{}) {
			t.Errorf("nothing new: %v, %+v", none, kept)
		}
	})
}

func TestColumns(t *testing.T) {
	onBoth(t, func(t *testing.T, s source) {
		s.exec(`CREATE TABLE t (id integer, at timestamp)`)
		columns, err := s.snapshot(t).Describe(t.Context(), Query{Name: "q", SQL: "SELECT id, at AS \"When\" FROM t;", Mark: "When"})
		if err != nil || len(columns) != 2 || columns[0].Name != "id" || columns[1].Name != "When" {
			t.Errorf("%+v, %v", columns, err)
		}
		if s.url != "" && columns[1].Type != "timestamp without time zone" {
			t.Errorf("%+v", columns)
		}
		for code, q := range map[string]Query{
			"source_column_twice":   {Name: "q", SQL: "SELECT id, at AS id FROM t"},
			"source_column_missing": {Name: "q", SQL: "SELECT id FROM t", Mark: "at"},
			"source_query":          {Name: "q", SQL: "SELECT id, gone FROM t"},
		} {
			if _, err := s.snapshot(t).Describe(t.Context(), q); annona.CodeOf(err) != code {
				t.Errorf("%s: %v", code, err)
			}
		}
		for _, sql := range []string{"SELECT FROM WHERE", "DELETE FROM t", "SELECT 1) q; DROP TABLE t; --", "SELECT 1 FROM nowhere", ""} {
			if _, err := s.snapshot(t).Describe(t.Context(), Query{Name: "q", SQL: sql}); annona.CodeOf(err) != "source_query" {
				t.Errorf("%q: %v", sql, err)
			}
		}
	})
}

// What the database says about a row stays where it is.
func TestErrorsHoldNoValues(t *testing.T) {
	onBoth(t, func(t *testing.T, s source) {
		s.exec(`CREATE TABLE t (name text); INSERT INTO t VALUES ('Abeba'), ('{Abeba')`)
		sql := "SELECT CAST(name AS integer) AS n FROM t"
		if s.url == "" {
			sql = "SELECT json_extract(name, '$.a') AS n FROM t"
		}
		rows, err := s.snapshot(t).Open(t.Context(), Query{Name: "q", SQL: sql}, Mark{})
		check(t, err)
		_, err = io.ReadAll(rows)
		if code := annona.CodeOf(err); code != "source_query" || strings.Contains(err.Error(), "Abeba") {
			t.Errorf("%s: %v", code, err)
		}
		if rows.Whole() || rows.Err() == nil {
			t.Error("a stream that broke off calls itself whole")
		}
		_ = rows.Close()
	})
}

func TestLimits(t *testing.T) {
	onBoth(t, func(t *testing.T, s source) {
		endless := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
		if s.url != "" {
			endless = "SELECT pg_sleep(600)::text AS c"
		}
		snapshot, err := s.open(300 * time.Millisecond)
		check(t, err)
		rows, err := snapshot.Open(t.Context(), Query{Name: "q", SQL: endless}, Mark{})
		check(t, err)
		if _, err := io.ReadAll(rows); annona.CodeOf(err) != "source_timeout" {
			t.Errorf("an endless query: %v", err)
		}
		_ = rows.Close()
		check(t, snapshot.Close())

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		if rows, err = s.snapshot(t).Open(ctx, Query{Name: "q", SQL: endless}, Mark{}); err == nil {
			_, err = io.ReadAll(rows)
			_ = rows.Close()
		}
		if s.url != "" && !errors.Is(err, context.Canceled) {
			t.Errorf("a canceled run: %v", err)
		}
	})
}

// A result of any size passes through without lying in memory: one window of rows at most.
func TestStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, s source) {
		s.exec("CREATE TABLE t (i integer)")
		numbers := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n"
		for _, count := range []int{0, 1, window - 1, window, window + 1, 25_000} {
			sql := fmt.Sprintf(numbers, max(count, 1))
			if count == 0 {
				sql = "SELECT i FROM t"
			}
			rows, mark := read(t, s.snapshot(t), Query{Name: "q", SQL: sql, Mark: "i"}, Mark{})
			if len(rows) != count || count > 0 && mark.Value != fmt.Sprint(count) {
				t.Errorf("%d of %d rows, mark %+v", len(rows), count, mark)
			}
		}
		snapshot := s.snapshot(t)
		endless := strings.Replace(numbers, " WHERE i < %d", "", 1) // its end is never reached
		for range 3 {                                               // a stream that is left early costs nothing, and another one follows
			rows, err := snapshot.Open(t.Context(), Query{Name: "q", SQL: endless}, Mark{})
			check(t, err)
			if _, err := io.ReadFull(rows, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			check(t, rows.Close())
		}
	})
}

// All queries of a snapshot see one moment.
func TestOneMoment(t *testing.T) {
	s := postgresSource(t)
	s.exec("CREATE TABLE t (i integer); INSERT INTO t VALUES (1)")
	snapshot := s.snapshot(t)
	s.exec("INSERT INTO t VALUES (2)")
	if rows, _ := read(t, snapshot, Query{Name: "q", SQL: "SELECT i FROM t"}, Mark{}); len(rows) != 1 {
		t.Errorf("%d rows", len(rows))
	}
	if since := time.Since(snapshot.At()); since < 0 || since > time.Hour {
		t.Errorf("the snapshot is of %v", snapshot.At())
	}
}

// A query that writes is refused by the transaction, whatever the role may do.
func TestNothingIsWritten(t *testing.T) {
	s := postgresSource(t)
	s.exec("CREATE TABLE t (i integer); CREATE FUNCTION sly() RETURNS integer LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING i'")
	rows, err := s.snapshot(t).Open(t.Context(), Query{Name: "q", SQL: "SELECT sly() AS i"}, Mark{})
	if err == nil {
		_, err = io.ReadAll(rows)
		_ = rows.Close()
	}
	if annona.CodeOf(err) != "source_query" {
		t.Error(err)
	}
}

// A server that goes away in the middle ends the stream with an error, never as if it were whole.
func TestSourceGoesAway(t *testing.T) {
	s := postgresSource(t)
	s.exec("CREATE TABLE t AS SELECT g AS i, repeat('x', 500) AS filler FROM generate_series(1, 20000) g")
	rows, err := s.snapshot(t).Open(t.Context(), Query{Name: "q", SQL: "SELECT * FROM t"}, Mark{})
	check(t, err)
	_, err = io.ReadFull(rows, make([]byte, 10_000))
	check(t, err)
	s.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'annona-sync' AND datname = current_database()")
	_, err = io.Copy(io.Discard, rows)
	if annona.CodeOf(err) != "source_unavailable" || rows.Whole() || rows.Err() == nil {
		t.Errorf("%v, whole: %v", err, rows.Whole())
	}
	_ = rows.Close()
}

func TestAddresses(t *testing.T) {
	for address, code := range map[string]string{
		"postgres://reader:secret@db/x":                     "source_password_in_address",
		"postgres://reader@db/x?password=secret":            "source_password_in_address",
		"postgres://reader@db.example/x?sslmode=disable":    "source_without_tls",
		"postgres://reader@db.example/x?sslmode=prefer":     "source_without_tls",
		"postgres://reader@db.example/x?options=-csearch":   "source_address",
		"mysql://reader@db/x":                               "source_address",
		"postgres://db/x":                                   "source_address",
		"postgres://reader@db/":                             "source_address",
		"postgres://reader@localhost:1/x?connect_timeout=1": "source_unavailable",
	} {
		_, err := Postgres(t.Context(), address, "hush", time.Second)
		if annona.CodeOf(err) != code || strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), "hush") {
			t.Errorf("%s: %v", address, err)
		}
	}
	config, err := parseAddress("postgres://reader@db.example:6543/x", "hush")
	if err != nil || config.Password != "hush" || config.Port != 6543 || config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify {
		t.Errorf("%+v, %v", config, err)
	}
}

func TestFilesThatAreNoDatabase(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	check(t, os.WriteFile(text, []byte(strings.Repeat("no database\n", 1000)), 0o600))
	for path, code := range map[string]string{dir: "source_unavailable", filepath.Join(dir, "gone"): "source_unavailable", text: "source_damaged"} {
		if _, err := SQLite(t.Context(), path, time.Second); annona.CodeOf(err) != code {
			t.Errorf("%v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "gone")); err == nil {
		t.Error("a file was made")
	}
}

func TestLaterMarks(t *testing.T) {
	text := func(v string) Mark { return Mark{Value: v} }
	number := func(v string) Mark { return Mark{Value: v, Number: true} }
	for _, c := range []struct{ a, b, want Mark }{
		{Mark{}, text("a"), text("a")},
		{text("a"), Mark{}, text("a")},
		{text("9"), text("10"), text("10")},
		{number("9"), number("10.5"), number("10.5")},
		{number("9"), text("a"), text("a")},
		{text("a"), number("9"), text("a")},
		{text("a"), text("b"), text("b")},
		{text("2026-11-22 10:00:00+00"), text("infinity"), text("2026-11-22 10:00:00+00")},
		{text("infinity"), text("2026-11-22"), text("2026-11-22")},
		{text("2026-11-22 10:00:00+00"), text("2026-11-22 09:30:00-01"), text("2026-11-22 09:30:00-01")},
		{text("2026-11-22 10:00:00.25"), text("2026-11-22 10:00:00"), text("2026-11-22 10:00:00.25")},
		{text("2026-11-22"), text("zebra"), text("2026-11-22")},
	} {
		if c.a == text("infinity") {
			c.a = Mark{} // it never becomes the mark
		}
		if got := c.a.later(c.b); got != c.want {
			t.Errorf("%+v, %+v: %+v", c.a, c.b, got)
		}
	}
	if got := text("2099-01-01 00:00:00+00").NotAfter(time.Date(2026, 11, 22, 10, 0, 0, 5e8, time.UTC)); got.Value != "2026-11-22 10:00:00.5+00" {
		t.Errorf("a mark of the future: %+v", got)
	}
	for text, want := range map[string]Overlap{"10m": {Span: 10 * time.Minute}, "500": {Number: 500}, "0": {}} {
		if got, err := ParseOverlap(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "-5", "-5m", "ten", "5 %"} {
		if _, err := ParseOverlap(bad); annona.CodeOf(err) != "overlap_malformed" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for m, o := range map[Mark]Overlap{text("2026-11-22"): {Number: 1}, number("5"): {Span: 1}, text("zebra"): {Span: 1}} {
		if _, err := o.before(m); annona.CodeOf(err) != "overlap_mismatch" {
			t.Errorf("%+v from %+v: %v", o, m, err)
		}
	}
}

// The later of any marks does not depend on the order in which they are met, for marks of one kind.
func TestTheLatestMarkIsTheLatest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		marks := make([]Mark, rapid.IntRange(1, 8).Draw(t, "count"))
		var latest time.Time
		for i := range marks {
			at := base.Add(time.Duration(rapid.Int64Range(0, 1e15).Draw(t, "at")) * time.Microsecond)
			zone := time.FixedZone("", 3600*rapid.IntRange(-12, 14).Draw(t, "zone"))
			marks[i] = Mark{Value: at.In(zone).Format(layouts[0])}
			if at.After(latest) {
				latest = at
			}
		}
		var m Mark
		for _, other := range marks {
			m = m.later(other)
		}
		if at, ok := m.Time(); !ok || !at.Equal(latest) {
			t.Fatalf("%+v of %+v", m, marks)
		}
		less, err := Overlap{Span: time.Minute}.before(m)
		if at, ok := less.Time(); err != nil || !ok || latest.Sub(at) != time.Minute {
			t.Fatalf("a minute before %+v: %+v", m, less)
		}
	})
}
