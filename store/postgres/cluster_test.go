package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
	"github.com/annona-exchange/annona/store/storetest"
)

// cluster is the PostgreSQL of this run.
type cluster struct {
	*postgrestest.Cluster
	databases atomic.Int64
	template  sync.Once
}

var shared struct {
	once    sync.Once
	cluster *cluster
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.Remove()
	}
	os.Exit(code)
}

// testCluster starts the cluster of this run, once.
func testCluster(t testing.TB) *cluster {
	t.Helper()
	shared.once.Do(func() {
		started, err := postgrestest.Start()
		if shared.err = err; err == nil {
			shared.cluster = &cluster{Cluster: started}
		}
	})
	if errors.Is(shared.err, postgrestest.ErrNotInstalled) {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// ownCluster starts a cluster for one test that stops it meanwhile. Such tests mostly wait: they run in parallel.
func ownCluster(t testing.TB) *cluster {
	t.Helper()
	testCluster(t) // skips where nothing is installed
	started, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Remove)
	return &cluster{Cluster: started}
}

// session is a connection of somebody else.
func (c *cluster) session(t testing.TB, role, database string) *pgx.Conn {
	t.Helper()
	s, err := pgx.Connect(context.Background(), c.URL(role, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// newDatabase makes an empty database. It goes with the cluster: dropping one takes a checkpoint.
func (c *cluster) newDatabase(t testing.TB, options ...string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", c.databases.Add(1))
	s := c.session(t, "postgres", "postgres")
	mustExec(t, s, "CREATE DATABASE "+name+" "+strings.Join(options, " "))
	return name
}

func mustExec(t testing.TB, s *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := s.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// newRegistry makes a database with an empty registry that the role app may serve. It is a
// copy of one that was made by Migrate.
func (c *cluster) newRegistry(t testing.TB) string {
	t.Helper()
	c.template.Do(func() {
		s := c.session(t, "postgres", "postgres")
		mustExec(t, s, "CREATE DATABASE registry")
		if _, err := Migrate(context.Background(), c.URL("postgres", "registry"), Setup{Dictionary: annona.Standard(), App: "app"}); err != nil {
			t.Fatalf("migrate: %v", causes(err))
		}
	})
	return c.newDatabase(t, "TEMPLATE registry")
}

// open opens a registry.
func (c *cluster) open(t testing.TB, role, database string) tested {
	t.Helper()
	return c.openURL(t, c.URL(role, database))
}

func (c *cluster) openURL(t testing.TB, url string) tested {
	t.Helper()
	s, err := Open(context.Background(), Options{URL: url, Dictionary: annona.Standard(), Clock: storetest.Clock})
	if err != nil {
		t.Fatalf("open: %v", causes(err))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return tested{s}
}

// causes shows an error with what it does not show to users.
func causes(err error) string {
	text := ""
	for ; err != nil; err = errors.Unwrap(err) {
		text += err.Error() + " ← "
	}
	return strings.TrimSuffix(text, " ← ")
}

// tested is a store with a look into its log.
type tested struct{ *Store }

func (s tested) Events(ctx context.Context) (events []annona.Event, err error) {
	if err := s.Settle(ctx); err != nil {
		return nil, err
	}
	err = s.readers.read(ctx, "read the log", func(c *conn) error {
		return c.each(`SELECT l.seq, e.id, e.at, e.actor, e.dataset, e.record, e.version, e.kind, e.reason, e.before, e.client, e.load
			FROM log l JOIN events e ON e.event = l.event ORDER BY l.seq`, func(r row) error {
			events = append(events, annona.Event{
				Seq: r.integer(0), ID: r.uid(1), At: r.time(2), Actor: r.text(3), Dataset: r.text(4),
				Record: r.number(5), Version: int(r.integer(6)), Kind: annona.EventKind(r.text(7)), Reason: r.text(8), Before: r.bytes(9),
				Client: r.uid(10), Load: r.integer(11),
			})
			return nil
		})
	})
	return events, err
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: ", what)
		}
	}
}
