package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// columns are what is downloaded: 23 fields, five of them sealed at rest (the names and the
// phone numbers).
var columns = []string{
	"individual_id", "household_id", "role", "relationship_to_head", "area_code", "registration_date", "as_of",
	"full_name", "given_name", "family_name", "father_name", "phone_numbers",
	"sex", "date_of_birth", "date_of_birth_precision", "vital_status", "marital_status", "education_level",
	"in_school", "employment_status", "occupation", "is_disabled", "last_updated",
}

// download names a measured download.
type download struct {
	format string
	of     country
}

// result is what a download took: medians, and the peak memory of its server.
type result struct {
	total, firstByte time.Duration
	peakMiB          float64
}

// repeats is how often a server of its own sends the same download.
const repeats = 3

// download measures a download from a fresh server after a small warm-up.
func (b *bench) download(ctx context.Context, what download) (result, error) {
	if r, ok := b.downloads[what]; ok {
		return r, nil
	}
	set, err := b.dataset(ctx, what.of)
	if err != nil {
		return result{}, err
	}
	s, err := b.serve(ctx, set)
	if err != nil {
		return result{}, err
	}
	defer s.stop()
	if err := s.warmUp(ctx); err != nil {
		return result{}, err
	}
	r, err := s.repeat(ctx, what.format)
	if err != nil {
		return result{}, err
	}
	if r.peakMiB, err = s.peakMiB(); err != nil {
		return result{}, err
	}
	b.downloads[what] = r
	return r, nil
}

func (s *server) repeat(ctx context.Context, format string) (result, error) {
	totals, firsts := make([]time.Duration, repeats), make([]time.Duration, repeats)
	for i := range repeats {
		r, err := s.curl(ctx, format)
		if err != nil {
			return result{}, err
		}
		note("%s of %s: %.2f s, first byte after %.0f ms", format, s.set.country, r.total.Seconds(), r.firstByte.Seconds()*1000)
		totals[i], firsts[i] = r.total, r.firstByte
	}
	return result{total: median(totals), firstByte: median(firsts)}, nil
}

// warmUp asks for one page.
func (s *server) warmUp(ctx context.Context) error {
	_, err := s.fetch(ctx, os.DevNull, "/v1/individuals?limit=100&purpose="+purpose+"&fields="+strings.Join(columns, ","))
	return err
}

// curl downloads everybody into nowhere. curl fails when the body is cut off.
func (s *server) curl(ctx context.Context, format string) (result, error) {
	started := time.Now()
	first, err := s.fetch(ctx, os.DevNull, exportPath(format))
	return result{total: time.Since(started), firstByte: first}, err
}

func exportPath(format string) string {
	return "/v1/individuals/export?format=" + format + "&purpose=" + purpose + "&fields=" + strings.Join(columns, ",")
}

// fetch has curl write an answer to a file, and returns the time to its first byte.
func (s *server) fetch(ctx context.Context, file, path string) (time.Duration, error) {
	out, err := output(exec.CommandContext(ctx, "curl", "-sS", "--fail-with-body", "-H", "@"+s.set.header(),
		"-o", file, "-w", "%{time_starttransfer} %{size_download}", s.url+path))
	if err != nil {
		return 0, err
	}
	var seconds, size float64
	if _, err := fmt.Sscan(string(out), &seconds, &size); err != nil || size == 0 {
		return 0, fmt.Errorf("curl reported %q", out)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// fingerprint is of the columns that a flat table has.
func fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join(columns, ",")))
	return fmt.Sprintf("%x", sum[:4])
}

// flat returns a database with one table that holds the same columns of the same rows, made
// from our own CSV once per data set.
func (b *bench) flat(ctx context.Context, set *dataset) (string, error) {
	path := filepath.Join(set.folder, "flat-"+fingerprint()+".sqlite")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unfinished := path + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	err := b.received(ctx, set, func(csv string) error { return load(ctx, csv, unfinished, set.size) })
	if err != nil {
		return "", err
	}
	return path, os.Rename(unfinished, path)
}

// received calls use with the file of a CSV export of everybody.
func (b *bench) received(ctx context.Context, set *dataset, use func(csv string) error) error {
	s, err := b.serve(ctx, set)
	if err != nil {
		return err
	}
	defer s.stop()
	csv := filepath.Join(set.folder, "flat.csv")
	defer os.Remove(csv)
	if _, err := s.fetch(ctx, csv, exportPath("csv")); err != nil {
		return err
	}
	return use(csv)
}

// load has the shell import the CSV and checks that every row arrived. Columns have the types
// that a database would give them; what is absent is NULL.
func load(ctx context.Context, csv, database string, rows int) error {
	var typed, cast []string
	for _, c := range columns {
		switch {
		case c == "is_disabled" || c == "in_school":
			typed, cast = append(typed, c+" INTEGER"), append(cast, "CASE "+c+" WHEN 'true' THEN 1 WHEN 'false' THEN 0 END")
		default:
			typed, cast = append(typed, c+" TEXT"), append(cast, "NULLIF("+c+", '')")
		}
	}
	script := strings.Join([]string{
		"PRAGMA journal_mode = OFF;",
		"PRAGMA synchronous = OFF;",
		".mode csv",
		".import '" + csv + "' received", // the first row names the columns
		"CREATE TABLE flat (" + strings.Join(typed, ", ") + ") STRICT;",
		"INSERT INTO flat SELECT " + strings.Join(cast, ", ") + " FROM received;",
		"DROP TABLE received;",
		"VACUUM;",
		"SELECT count(*) FROM flat;",
	}, "\n")
	cmd := exec.CommandContext(ctx, "sqlite3", "-bail", database)
	cmd.Stdin = strings.NewReader(script)
	out, err := output(cmd)
	if err != nil {
		return err
	}
	if got := string(lastLine(out)); got != fmt.Sprint(rows) {
		return fmt.Errorf("the CSV export has %s rows, not %d", got, rows)
	}
	return nil
}

// dump has the shell write the table as CSV into nowhere.
func dump(ctx context.Context, database string) (time.Duration, error) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer nowhere.Close()
	cmd := exec.CommandContext(ctx, "sqlite3", "-csv", "-header", database, "SELECT * FROM flat")
	cmd.Stdout, cmd.Stderr = nowhere, os.Stderr
	started := time.Now()
	err = cmd.Run()
	return time.Since(started), err
}
