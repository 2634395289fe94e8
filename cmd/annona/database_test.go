package main

import (
	"context"
	"encoding/csv"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// newDatabase starts a PostgreSQL with an empty database and returns its URL for the owner and
// for the role that serves.
func newDatabase(t *testing.T) (owner, app string) {
	t.Helper()
	c, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		t.Skip(err)
	}
	check(t, err)
	t.Cleanup(c.Remove)
	session, err := pgx.Connect(context.Background(), c.URL("postgres", "postgres"))
	check(t, err)
	_, err = session.Exec(context.Background(), "CREATE DATABASE registry")
	check(t, err)
	check(t, session.Close(context.Background()))
	return c.URL("postgres", "registry"), c.URL("annona_app", "registry")
}

// TestSameAnswersFromPostgres fills a registry in a database as one in a folder is filled, and
// asks both the same.
func TestSameAnswersFromPostgres(t *testing.T) {
	t.Parallel()
	owner, app := newDatabase(t)
	refused(t, "store_outdated", "migrate", "status", "--database", owner)
	keys := filepath.Join(t.TempDir(), "keys")
	must(t, "init", "--data", keys, "--database", owner, "--app-role", "annona_app")
	must(t, "init", "--data", keys, "--database", owner) // as after an interruption
	must(t, "migrate", "--database", owner)
	must(t, "migrate", "status", "--database", app)
	refused(t, "registry_exists", "init", "--data", t.TempDir(), "--database", owner)
	refused(t, "store_not_allowed", "dictionary", "apply", "--data", keys, "--database", app, ghanaDictionary)

	files := filepath.Join(t.TempDir(), "files")
	must(t, "init", "--data", files)
	var exports, counts []string
	for _, where := range [][]string{{"--data", files}, {"--data", keys, "--database", app}} {
		declaring := where
		if len(where) > 2 {
			declaring = []string{"--data", keys, "--database", owner}
		}
		at := func(declaring []string, words ...string) []string { return append(words, declaring...) }
		must(t, append(at(declaring, "dictionary", "apply"), ghanaDictionary)...)
		must(t, append(at(where, "agreement", "apply"), agreementFile("eligibility"))...)
		counts = append(counts, importedCounts(must(t, append(at(where, "import"), "--mapping", ghanaMapping, ghanaSample)...)))
		key := keyOf(must(t, append(at(where, "key", "create"), "--agreement", "eligibility")...))
		s := startServing(t, key, append(at(where, "serve"), "--listen", "127.0.0.1:0")...)
		exports = append(exports, withoutIDs(t, s.export("individuals", about(eligibility, "format", "csv"))))
		if code := s.stop(); code != 0 {
			t.Errorf("the server ended with exit code %d", code)
		}
		must(t, at(where, "verify")...)
	}
	if exports[0] != exports[1] || strings.Count(exports[0], "\n") < 10 {
		t.Errorf("the stores differ:\n%.600s\n%.600s", exports[0], exports[1])
	}
	if counts[0] != counts[1] {
		t.Errorf("the imports differ: %s; %s", counts[0], counts[1])
	}
	refused(t, "store_password_in_url", "verify", "--data", keys, "--database", "postgres://a:b@localhost/c")
	refused(t, "store_missing", "verify", "--data", keys, "--database", strings.Replace(app, "registry", "postgres", 1))
}

// importedCounts is the line of an import's report that counts records.
func importedCounts(report string) string {
	for line := range strings.Lines(report) {
		if strings.HasPrefix(line, "records ") {
			return line
		}
	}
	return ""
}

func keyOf(printed string) string {
	for line := range strings.Lines(printed) {
		if key, ok := strings.CutPrefix(line, "key:"); ok {
			return strings.TrimSpace(key)
		}
	}
	return ""
}

// withoutIDs leaves the columns out that are random in each registry, and sorts the rows.
func withoutIDs(t *testing.T, body []byte) string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	check(t, err)
	var lines []string
	header := rows[0]
	for _, row := range rows {
		var kept []string
		for i, cell := range row {
			if !strings.HasSuffix(header[i], "_id") && header[i] != "last_updated" && header[i] != "received_at" {
				kept = append(kept, cell)
			}
		}
		lines = append(lines, strings.Join(kept, ","))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
