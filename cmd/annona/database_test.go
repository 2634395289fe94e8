package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// shared is the PostgreSQL that tests use which do not stop it.
var shared struct {
	once    sync.Once
	cluster *postgrestest.Cluster
	err     error
	count   atomic.Int64
}

func stopSharedCluster() {
	if shared.cluster != nil {
		shared.cluster.Remove()
	}
}

func sharedCluster(t testing.TB) *postgrestest.Cluster {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = postgrestest.Start() })
	if errors.Is(shared.err, postgrestest.ErrNotInstalled) {
		t.Skip(shared.err)
	}
	check(t, shared.err)
	return shared.cluster
}

func ownCluster(t testing.TB) *postgrestest.Cluster {
	t.Helper()
	sharedCluster(t) // skips where nothing is installed
	c, err := postgrestest.Start()
	check(t, err)
	t.Cleanup(c.Remove)
	return c
}

// inDatabase is a registry in PostgreSQL, with a role of its own that serves it.
type inDatabase struct {
	*postgrestest.Cluster
	name, role string
	data       string // the folder with its root key
	key        string
}

// newInDatabase makes a registry with an agreement and a key in a cluster.
func newInDatabase(t testing.TB, c *postgrestest.Cluster, options ...string) inDatabase {
	t.Helper()
	n := shared.count.Add(1)
	r := inDatabase{Cluster: c, name: fmt.Sprintf("registry%d", n), role: fmt.Sprintf("serving%d", n), data: filepath.Join(t.TempDir(), "keys")}
	sql(t, c.URL("postgres", "postgres"), "CREATE DATABASE "+r.name+" "+strings.Join(options, " "))
	must(t, "init", "--data", r.data, "--database", r.owner(), "--app-role", r.role)
	must(t, r.at("dictionary", "apply", "--database", r.owner(), ghanaDictionary)...)
	must(t, r.at("agreement", "apply", "--database", r.app(), agreementFile("eligibility"))...)
	r.key = keyOf(must(t, r.serving("key", "create", "--agreement", "eligibility")...))
	return r
}

// copy makes a second registry out of one that nobody uses at the moment.
func (r inDatabase) copy(t testing.TB) inDatabase {
	t.Helper()
	c := r
	c.name, c.data = fmt.Sprintf("registry%d", shared.count.Add(1)), filepath.Join(t.TempDir(), "keys")
	sql(t, r.URL("postgres", "postgres"), "CREATE DATABASE "+c.name+" TEMPLATE "+r.name)
	copyFolder(t, r.data, c.data)
	return c
}

func (r inDatabase) owner() string { return r.URL("postgres", r.name) }
func (r inDatabase) app() string   { return r.URL(r.role, r.name) }

// at is a command line on the registry, without its database.
func (r inDatabase) at(words ...string) []string { return append(words, "--data", r.data) }

// serving is a command line on the registry in the role that serves.
func (r inDatabase) serving(words ...string) []string {
	return r.at(append(words, "--database", r.app())...)
}

func (r inDatabase) importing(input string) []string {
	return r.serving("import", "--mapping", ghanaMapping, "--json", input)
}

func (r inDatabase) serve(t testing.TB, more ...string) *server {
	t.Helper()
	return startServing(t, r.key, append(r.serving("serve", "--listen", "127.0.0.1:0"), more...)...)
}

func (r inDatabase) flag() dataFlag {
	return dataFlag{Data: r.data, Database: r.app()}
}

// count asks the database for a number, as its administrator.
func (r inDatabase) count(t testing.TB, question string) (n int64) {
	t.Helper()
	session, err := pgx.Connect(context.Background(), r.owner())
	check(t, err)
	defer session.Close(context.Background())
	check(t, session.QueryRow(context.Background(), question).Scan(&n))
	return n
}

// sql runs statements somewhere.
func sql(t testing.TB, url string, statements ...string) {
	t.Helper()
	session, err := pgx.Connect(context.Background(), url)
	check(t, err)
	defer session.Close(context.Background())
	for _, s := range statements {
		if _, err := session.Exec(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: ", what)
		}
	}
}

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
