package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestFiguresHaveNamesOfTheirOwn(t *testing.T) {
	b := &bench{size: 10_000_000}
	seen := map[string]bool{}
	for _, name := range b.names() {
		if seen[name] || !regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`).MatchString(name) {
			t.Errorf("%s stands twice or is no name", name)
		}
		seen[name] = true
	}
	for _, name := range []string{"csv_rows_per_s_100k", "csv_rows_per_s_1m", "csv_vmhwm_mib_100k", "csv_rss_growth_mib", "first_byte_ms", "csv_sqlite_over_shell",
		"csv_postgres_over_copy", "ndjson_postgres_over_copy", "xml_postgres_over_copy", "csv_sqlite_over_copy", "export_rss_growth_mib",
		"record_p99_ms", "audited_reads_per_s", "write_over_pgbench_8", "write_over_pgbench_64", "csv_rows_per_s_10m",
		"import_sqlite_per_s", "import_postgres_per_s", "import_nightly_over_first", "record_p99_during_import_ms", "import_rss_growth_mib",
		"case_update_over_pgbench_8", "case_update_over_pgbench_64", "beneficiary_view_p99_ms", "checks_per_s", "revoke_p99_s"} {
		if !seen[name] {
			t.Errorf("%s is missing; others rely on it", name)
		}
	}
}

func TestMedianIsTheMiddle(t *testing.T) {
	if got := median([]float64{9, 1, 5, 2, 7}); got != 5 {
		t.Errorf("got %v, want 5", got)
	}
	if got := median([]time.Duration{3, 1, 2}); got != 2 {
		t.Errorf("got %v, want 2", got)
	}
}

func TestTheReportIsTheLastLine(t *testing.T) {
	for text, want := range map[string]string{"": "", "{}": "{}", "one\ntwo\n\n": "two"} {
		if got := string(lastLine([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestAFigureThatFailsSaysWhy(t *testing.T) {
	program := filepath.Join(t.TempDir(), "annona")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no room >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := &bench{program: program, folder: t.TempDir(), sets: map[country]*dataset{}, downloads: map[download]result{}}
	lines, err := b.measure(t.Context(), regexp.MustCompile("^csv_rows_per_s_100k$"))
	if len(lines) != 0 || err == nil || !strings.Contains(err.Error(), "csv_rows_per_s_100k") || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v, %v", lines, err)
	}
}

// need skips a test where the machine lacks a tool.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing; make tools installs it", tool)
		}
	}
}

func TestNoFigureOfThatName(t *testing.T) {
	need(t, "curl", "sqlite3")
	if err := run(context.Background(), "/bin/true", t.TempDir(), "no_such_figure", 0); err == nil || !strings.Contains(err.Error(), "csv_rows_per_s_1m") {
		t.Errorf("got %v, want the names there are", err)
	}
	if err := run(context.Background(), "/bin/true", t.TempDir(), "(", 0); err == nil {
		t.Error("a broken expression was taken")
	}
}

// A flat table holds every row, with NULL where a value is absent.
func TestLoadCountsRows(t *testing.T) {
	need(t, "sqlite3")
	folder := t.TempDir()
	csv := filepath.Join(folder, "in.csv")
	row := strings.Repeat(",", len(columns)-1) + "\r\n"
	if err := os.WriteFile(csv, []byte(strings.Join(columns, ",")+"\r\n"+"a"+row+"b"+row), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := load(t.Context(), csv, filepath.Join(folder, "flat.sqlite"), 2); err != nil {
		t.Error(err)
	}
	if err := load(t.Context(), csv, filepath.Join(folder, "again.sqlite"), 3); err == nil {
		t.Error("a missing row was not noticed")
	}
}

// One individual of a hundred gets another name, and nobody else.
func TestSomeAreChanged(t *testing.T) {
	var lines strings.Builder
	for range 250 {
		lines.WriteString(`{"members":[{"individual_id":"a","full_name":"Ama"},{"individual_id":"b","full_name":"Kofi","other_names":[{"full_name":"K"}]}]}` + "\n")
	}
	folder := t.TempDir()
	from, to := filepath.Join(folder, "from"), filepath.Join(folder, "to")
	if err := os.WriteFile(from, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	changed, err := changeSome(from, to)
	got, readErr := os.ReadFile(to)
	if err != nil || readErr != nil {
		t.Fatal(err, readErr)
	}
	if text := string(got); changed != 5 || strings.Count(text, `"Neo Kofi"`) != 5 || strings.ReplaceAll(text, "Neo ", "") != lines.String() {
		t.Errorf("%d changed, %d renamed", changed, strings.Count(text, "Neo "))
	}
}
