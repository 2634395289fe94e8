package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
	"github.com/annona-exchange/annona/store/storetest"
)

// standby is a server that follows a cluster.
func (c *cluster) standby(t testing.TB) *cluster {
	t.Helper()
	s, err := c.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	return &cluster{Cluster: s}
}

// openWith opens a registry with a replica.
func (c *cluster) openWith(t testing.TB, replica *postgrestest.Cluster, database string) tested {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: c.URL("app", database), Replica: replica.URL("app", database), Dictionary: annona.Standard(), Clock: storetest.Clock})
	if err != nil {
		t.Fatal(causes(err))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return tested{s}
}

// everybody reads all individuals and says how often a page came from the replica meanwhile.
func everybody(t testing.TB, s *Store) (count int, fromReplica int64) {
	t.Helper()
	d, _ := annona.Standard().Dataset("individuals")
	scope := annona.NewScope(storetest.Shape(d, "sex"), nil, nil, annona.ScopeTerms{Purpose: "p", Recipient: "r", AsOf: storetest.Today, Today: storetest.Today})
	page := annona.NewPage(scope.Shape())
	before := s.ReplicaPages()[FromReplica]
	if _, err := s.ReadPage(context.Background(), scope, 0, 0, 1000, page); err != nil {
		t.Fatal(causes(err))
	}
	return page.Count, s.ReplicaPages()[FromReplica] - before
}

// useReplica waits until pages come from the replica.
func useReplica(t testing.TB, s *Store) {
	t.Helper()
	waitFor(t, "pages from the replica", func() bool {
		_, n := everybody(t, s)
		return n == 1
	})
}

func restrict(t testing.TB, s *Store, subject annona.Number) {
	t.Helper()
	err := s.Update(context.Background(), func(x annona.Tx) error {
		return x.PutRestriction(context.Background(), annona.Restriction{ID: annona.NewUID(), Subject: subject, Kind: annona.KindRestriction})
	})
	if err != nil {
		t.Fatal(causes(err))
	}
}

// TestReplica reads pages from a standby that has caught up, and never a page from one that lags.
func TestReplica(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	database := c.newRegistry(t)
	for i := range 5 {
		put(t, c.open(t, "app", database).Store, fmt.Sprint(i), "1")
	}
	second := c.newRegistry(t)
	follower := c.standby(t)
	t.Run("of another database", func(t *testing.T) {
		refuseReplica(t, c, follower.URL("app", second), database, "replica_foreign")
		refuseReplica(t, c, follower.URL("nobody_knows", database), database, "store_denied")
		if _, err := Open(t.Context(), Options{URL: follower.URL("app", database)}); annona.CodeOf(err) != "store_read_only" {
			t.Errorf("a standby as the registry: %v", causes(err))
		}
	})
	s := c.openWith(t, follower.Cluster, database)
	useReplica(t, s.Store)
	if n, _ := everybody(t, s.Store); n != 5 {
		t.Fatalf("%d people, want 5", n)
	}
	there := follower.session(t, "postgres", database)

	// With every change it is either read behind the change or from the primary.
	for i := range 20 {
		put(t, s.Store, fmt.Sprint("more", i), "1")
		if n, _ := everybody(t, s.Store); n != 6+i {
			t.Fatalf("%d people after %d changes", n, i+1)
		}
	}
	useReplica(t, s.Store)

	mustExec(t, there, "SELECT pg_wal_replay_pause()")
	restrict(t, s.Store, 1)
	for range 3 {
		if n, from := everybody(t, s.Store); n != 24 || from != 0 {
			t.Fatalf("%d people, %d pages from a replica that does not know of the restriction", n, from)
		}
	}
	if ask(t, there, "SELECT count(*) FROM annona.restrictions") != 0 {
		t.Fatal("the replica was not paused")
	}
	if s.ReplicaPages()[Lagging] == 0 {
		t.Errorf("no page counts as lagging: %v", s.ReplicaPages())
	}
	mustExec(t, there, "SELECT pg_wal_replay_resume()")
	useReplica(t, s.Store)
	if n, _ := everybody(t, s.Store); n != 24 {
		t.Errorf("%d people from the replica, want 24", n)
	}

	t.Run("one that is down", func(t *testing.T) {
		if err := follower.Down("immediate"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if n, from := everybody(t, s.Store); n != 24 || from != 0 {
				t.Fatalf("%d people, %d pages from nowhere", n, from)
			}
		}
		late := c.openWith(t, follower.Cluster, database) // it is not there when the node starts
		if n, from := everybody(t, late.Store); n != 24 || from != 0 {
			t.Fatalf("%d people, %d pages from nowhere", n, from)
		}
		if err := follower.Up(); err != nil {
			t.Fatal(err)
		}
		useReplica(t, s.Store)
		useReplica(t, late.Store)
	})
	t.Run("one that breaks off", func(t *testing.T) {
		scope := annona.NewScope(storetest.Shape(dataset(t, "individuals"), "sex"), nil, nil, annona.ScopeTerms{AsOf: storetest.Today, Today: storetest.Today})
		page, calls := annona.NewPage(scope.Shape()), 0
		err := s.replica.reading(page)(t.Context(), "read", func(c *conn) error {
			if calls++; calls == 1 {
				page.Count = 7 // half of a page
				return c.exec("SELECT pg_terminate_backend(pg_backend_pid())")
			}
			if page.Count != 0 {
				t.Error("the half of a page was kept")
			}
			return nil
		})
		if err == nil && calls == 1 {
			t.Skip("the role may not end its own session here")
		}
		if err != nil || calls != 2 {
			t.Errorf("%d calls, %v", calls, causes(err))
		}
		useReplica(t, s.Store)
	})
	t.Run("one that was promoted", func(t *testing.T) {
		if err := follower.Promote(); err != nil {
			t.Fatal(err)
		}
		mustExec(t, follower.session(t, "postgres", database), "UPDATE annona.restrictions SET lifted_at = 1")
		for end := time.Now().Add(3 * replicaLook); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if n, from := everybody(t, s.Store); n != 24 || from != 0 {
				t.Fatalf("%d people, %d pages from a server with changes of its own", n, from)
			}
		}
		refuseReplica(t, c, follower.URL("app", database), database, "replica_promoted")
	})
	t.Run("the primary itself", func(t *testing.T) { refuseReplica(t, c, c.URL("app", database), database, "replica_promoted") })
}

func refuseReplica(t *testing.T, c *cluster, url, database, code string) {
	t.Helper()
	s, err := Open(t.Context(), Options{URL: c.URL("app", database), Replica: url})
	if err == nil {
		s.Close()
	}
	if annona.CodeOf(err) != code {
		t.Errorf("want %s, got %v", code, causes(err))
	}
}

func dataset(t testing.TB, name string) *annona.Dataset {
	t.Helper()
	d, ok := annona.Standard().Dataset(name)
	if !ok {
		t.Fatal("no dataset ", name)
	}
	return d
}

// TestForeignReplica names a standby of something else, with a database of the same name.
func TestForeignReplica(t *testing.T) {
	t.Parallel()
	c, other := testCluster(t), ownCluster(t)
	database := c.newRegistry(t)
	other.newRegistry(t)
	admin := other.session(t, "postgres", "postgres")
	mustExec(t, admin, "DROP DATABASE IF EXISTS "+database)
	mustExec(t, admin, "CREATE DATABASE "+database+" TEMPLATE registry")
	refuseReplica(t, c, other.standby(t).URL("app", database), database, "replica_foreign")
}

// TestReplicaOfAnotherTimeline fails over to a server that lacks the last changes, while the
// replica has replayed them: its place in the changes is further, and says nothing.
func TestReplicaOfAnotherTimeline(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	database := c.newRegistry(t)
	put(t, c.open(t, "app", database).Store, "a", "1")
	put(t, c.open(t, "app", database).Store, "b", "1")
	next, replica := c.standby(t), c.standby(t)
	replayed := func(s *pgx.Conn, at int64) func() bool {
		return func() bool {
			return ask(t, s, "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint") >= at
		}
	}
	primary, atNext, atReplica := c.session(t, "postgres", database), next.session(t, "postgres", database), replica.session(t, "postgres", database)
	place := func() int64 { return ask(t, primary, "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint") }
	waitFor(t, "the next primary", replayed(atNext, place()))
	mustExec(t, atNext, "ALTER SYSTEM SET primary_conninfo = ''")
	mustExec(t, atNext, "SELECT pg_reload_conf()")
	waitFor(t, "no follower", func() bool { return ask(t, primary, "SELECT count(*) FROM pg_stat_replication") == 1 })
	for i := range 2000 {
		mustExec(t, primary, "INSERT INTO annona.areas (code, level, names) VALUES ($1, 1, '{}')", fmt.Sprint(i)) // only the replica gets these
	}
	waitFor(t, "the replica", replayed(atReplica, place()))
	_, nextHost, _ := strings.Cut(next.URL("app", database), "host=")
	node := c.openURL(t, c.URL("app", database)+","+nextHost) // knows both
	if err := c.Down("immediate"); err != nil {
		t.Fatal(err)
	}
	if err := next.Promote(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the node to find the new primary", func() bool { return node.Update(t.Context(), upsert("b", "2")) == nil })
	s := next.openWith(t, replica.Cluster, database)
	restrict(t, s.Store, 1)
	new, old := ask(t, next.session(t, "postgres", database), "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"), ask(t, atReplica, "SELECT (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint")
	if new >= old {
		t.Fatalf("the replica is not ahead: %d, %d", new, old)
	}
	for range 5 {
		if n, from := everybody(t, s.Store); n != 1 || from != 0 {
			t.Fatalf("%d people, %d pages from a replica of another timeline", n, from)
		}
	}
	if s.ReplicaPages()[Lagging] == 0 {
		t.Errorf("%v", s.ReplicaPages())
	}
}
