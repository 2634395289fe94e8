package rest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	database "zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
	"github.com/annona-exchange/annona/store/sqlite"
)

// lawStore is a store that the registries of the laws stand on.
type lawStore interface {
	annona.Records
	annona.Writer
	annona.Ledger
	annona.Standings
	annona.Roster
	annona.Subjects
	annona.Reference
	annona.Log
	annona.Past
	annona.Views
	annona.Loads
	annona.Mappings
	annona.Merges
	annona.Indexes
	annona.ExportSpecs
	annona.ExportJobs
	annona.ExportQueue
	annona.Decisions
	annona.ChangeRequests
	annona.Matters
	annona.Attachments
	annona.Programs
	annona.Uses
	exchange.History
	Close() error
}

// shelf is where copies of one registry lie, each under a name.
type shelf interface {
	// copy opens a copy of the registry that is kept.
	copy(clock annona.Clock) (s lawStore, name string, err error)
	// keep has copies begin as the one of that name, which is closed.
	keep(name string) error
	// uids reads ids from a copy itself: no scope shows those of people who may not be seen.
	uids(name, query string) ([]annona.UID, error)
	// drop removes a copy, which is closed.
	drop(name string) error
}

// sqliteShelf is a shelf of files.
type sqliteShelf struct {
	t     *testing.T
	empty []byte
}

func newSQLiteShelf(t *testing.T) (*sqliteShelf, error) {
	dir := t.TempDir()
	s, err := sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	if err != nil {
		return nil, err
	}
	shelf := &sqliteShelf{t: t}
	return shelf, errors.Join(s.Close(), shelf.keep(filepath.Join(dir, sqlite.FileName)))
}

func (f *sqliteShelf) copy(clock annona.Clock) (lawStore, string, error) {
	dir := f.t.TempDir()
	name := filepath.Join(dir, sqlite.FileName)
	if err := os.WriteFile(name, f.empty, 0o600); err != nil {
		return nil, "", err
	}
	s, err := sqlite.Open(dir, sqlite.Options{Dictionary: annona.Standard(), Clock: clock, Readers: 1})
	return s, name, err
}

func (f *sqliteShelf) keep(name string) (err error) {
	f.empty, err = os.ReadFile(name)
	return err
}

func (f *sqliteShelf) uids(name, query string) (all []annona.UID, err error) {
	file, err := database.OpenConn(name, database.OpenReadOnly)
	if err != nil {
		return nil, err
	}
	err = sqlitex.ExecuteTransient(file, query, &sqlitex.ExecOptions{ResultFunc: func(stmt *database.Stmt) error {
		var uid annona.UID
		stmt.ColumnBytes(0, uid[:])
		all = append(all, uid)
		return nil
	}})
	return all, errors.Join(err, file.Close())
}

func (f *sqliteShelf) drop(string) error { return nil } // the test's folder goes with it

// server is the PostgreSQL of this run, started by the first test that needs it.
var server struct {
	once    sync.Once
	cluster *postgrestest.Cluster
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if server.cluster != nil {
		server.cluster.Remove()
	}
	os.Exit(code)
}

// postgresShelf is a shelf of databases.
type postgresShelf struct {
	admin *pgx.Conn
	kept  string
}

// newPostgresShelf returns no shelf where PostgreSQL is not installed.
func newPostgresShelf(t *testing.T) (*postgresShelf, error) {
	server.once.Do(func() { server.cluster, server.err = postgrestest.Start() })
	if errors.Is(server.err, postgrestest.ErrNotInstalled) {
		t.Skip(server.err)
	}
	if server.err != nil {
		return nil, server.err
	}
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, server.cluster.URL("postgres", "postgres"))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = admin.Close(ctx) })
	f := &postgresShelf{admin, "empty" + annona.NewUID().String()}
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+f.kept); err != nil {
		return nil, err
	}
	_, err = postgres.Migrate(ctx, server.cluster.URL("postgres", f.kept), postgres.Setup{Dictionary: annona.Standard(), App: "app"})
	return f, err
}

func (f *postgresShelf) copy(clock annona.Clock) (lawStore, string, error) {
	ctx, name := context.Background(), "world"+annona.NewUID().String()
	if _, err := f.admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+f.kept); err != nil {
		return nil, "", err
	}
	s, err := postgres.Open(ctx, postgres.Options{URL: server.cluster.URL("app", name), Dictionary: annona.Standard(), Clock: clock, Readers: 2})
	return s, name, err
}

func (f *postgresShelf) keep(name string) error {
	f.kept = name
	return nil
}

func (f *postgresShelf) uids(name, query string) (all []annona.UID, err error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, server.cluster.URL("postgres", name))
	if err != nil {
		return nil, err
	}
	_, err = c.Exec(ctx, "SET search_path = annona")
	rows, failed := c.Query(ctx, query)
	if err = errors.Join(err, failed); err == nil {
		all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (uid annona.UID, err error) {
			var b [16]byte
			err = r.Scan(&b)
			return b, err
		})
	}
	return all, errors.Join(err, c.Close(ctx))
}

func (f *postgresShelf) drop(name string) error {
	if name == f.kept {
		return nil
	}
	_, err := f.admin.Exec(context.Background(), "DROP DATABASE "+name)
	return err
}
