package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// cluster is a PostgreSQL of the tests' own, in a temporary folder, reached through a socket
// there. It runs as an unprivileged user: the server refuses to run as root.
type cluster struct {
	dir       string
	bin       string
	owner     *syscall.Credential // nil: as the tests themselves
	databases atomic.Int64
	template  sync.Once
}

var shared struct {
	once    sync.Once
	cluster *cluster
	err     error
}

var errNotInstalled = errors.New("PostgreSQL is not installed; on Debian or Ubuntu: sudo apt-get install postgresql")

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		shared.cluster.remove()
	}
	os.Exit(code)
}

// testCluster starts the cluster of this run, once.
func testCluster(t testing.TB) *cluster {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = startCluster() })
	if errors.Is(shared.err, errNotInstalled) {
		t.Skip(shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// serverBin returns the folder of initdb and pg_ctl.
func serverBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	for i := len(found) - 1; i >= 0; i-- {
		if path, err := filepath.EvalSymlinks(found[i]); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", errNotInstalled
}

func startCluster() (*cluster, error) {
	bin, err := serverBin()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "annona-pg")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, bin: bin}
	if os.Getuid() == 0 {
		if err := c.dropRights(); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err := c.run("initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	hba := "local all needs_password scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(c.data(), "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		return nil, err
	}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, nil
}

// dropRights makes the folder belong to somebody who is not root.
func (c *cluster) dropRights() error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(c.dir, int(uid), int(gid))
	}
	return errors.New("there is no user postgres or nobody to run the server as")
}

func (c *cluster) data() string    { return filepath.Join(c.dir, "data") }
func (c *cluster) logFile() string { return filepath.Join(c.dir, "log") }

func (c *cluster) run(program string, args ...string) error {
	cmd := exec.Command(filepath.Join(c.bin, program), args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if c.owner != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

func (c *cluster) start(settings ...string) error {
	options := "-c listen_addresses='' -c max_connections=200 -c shared_buffers=128MB -c max_wal_size=2GB -c unix_socket_directories=" + c.dir
	for _, s := range settings {
		options += " -c " + s
	}
	return c.run("pg_ctl", "-D", c.data(), "-l", c.logFile(), "-w", "-o", options, "start")
}

func (c *cluster) stop(mode string) error {
	return c.run("pg_ctl", "-D", c.data(), "-w", "-m", mode, "stop")
}

func (c *cluster) remove() {
	_ = c.stop("immediate") // nothing in it is wanted any more
	_ = os.RemoveAll(c.dir)
}

// url names a database of the cluster for a role.
func (c *cluster) url(role, database string) string {
	return fmt.Sprintf("postgres://%s@/%s?host=%s", role, database, c.dir)
}

// session is a connection of somebody else.
func (c *cluster) session(t testing.TB, role, database string) *pgx.Conn {
	t.Helper()
	s, err := pgx.Connect(context.Background(), c.url(role, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// newDatabase makes an empty database, dropped when the test ends.
func (c *cluster) newDatabase(t testing.TB, options ...string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", c.databases.Add(1))
	s := c.session(t, "postgres", "postgres")
	mustExec(t, s, "CREATE DATABASE "+name+" "+strings.Join(options, " "))
	t.Cleanup(func() { mustExec(t, c.session(t, "postgres", "postgres"), "DROP DATABASE "+name+" WITH (FORCE)") })
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
		if _, err := Migrate(context.Background(), c.url("postgres", "registry"), Setup{Dictionary: annona.Standard(), App: "app"}); err != nil {
			t.Fatalf("migrate: %v", causes(err))
		}
	})
	return c.newDatabase(t, "TEMPLATE registry")
}

// open opens a registry.
func (c *cluster) open(t testing.TB, role, database string) tested {
	t.Helper()
	return c.openURL(t, c.url(role, database))
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
		return c.each(`SELECT l.seq, e.id, e.at, e.actor, e.dataset, e.record, e.version, e.kind, e.reason, e.before
			FROM log l JOIN events e ON e.event = l.event ORDER BY l.seq`, func(r row) error {
			events = append(events, annona.Event{
				Seq: r.integer(0), ID: r.uid(1), At: r.time(2), Actor: r.text(3), Dataset: r.text(4),
				Record: r.number(5), Version: int(r.integer(6)), Kind: annona.EventKind(r.text(7)), Reason: r.text(8), Before: r.bytes(9),
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
