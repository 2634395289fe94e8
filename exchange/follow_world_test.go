package exchange_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// anyStore is a store that a gate can stand before.
type anyStore interface {
	annona.Records
	annona.Writer
	annona.Ledger
	annona.LedgerReader
	annona.Standings
	annona.Roster
	annona.Subjects
	annona.Reference
	annona.Log
	annona.Past
	annona.Views
	annona.Loads
	annona.Indexes
	annona.Merges
	annona.ChangeRequests
	annona.Matters
	annona.ExportSpecs
	annona.ExportJobs
	annona.ExportQueue
	Close() error
}

// ground makes empty registries of one kind of store, with one vault for all of them.
type ground struct {
	name  string
	vault *vault.Vault
	make  func(clock annona.Clock) (anyStore, error)
}

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

// grounds are the two stores. Where PostgreSQL is not installed, it is left out.
func grounds(t testing.TB) []ground {
	dir := t.TempDir()
	secrets, err := sqlite.OpenSecrets(dir, true)
	check(t, err)
	t.Cleanup(func() { check(t, secrets.Close()) })
	keys, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Demo)
	check(t, err)
	all := []ground{{"sqlite", keys, sqliteGround(t)}}
	server.once.Do(func() { server.cluster, server.err = postgrestest.Start() })
	if errors.Is(server.err, postgrestest.ErrNotInstalled) {
		t.Log(server.err)
		return all
	}
	check(t, server.err)
	return append(all, ground{"postgres", keys, postgresGround(t, server.cluster)})
}

func check(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
}

func sqliteGround(t testing.TB) func(annona.Clock) (anyStore, error) {
	dir := t.TempDir()
	s, err := sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	check(t, errors.Join(err, s.Close()))
	empty, err := os.ReadFile(filepath.Join(dir, sqlite.FileName))
	check(t, err)
	return func(clock annona.Clock) (anyStore, error) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, sqlite.FileName), empty, 0o600); err != nil {
			return nil, err
		}
		return sqlite.Open(dir, sqlite.Options{Dictionary: annona.Standard(), Clock: clock, Readers: 2})
	}
}

func postgresGround(t testing.TB, cluster *postgrestest.Cluster) func(annona.Clock) (anyStore, error) {
	ctx := context.Background()
	admin, err := pgx.Connect(ctx, cluster.URL("postgres", "postgres"))
	check(t, err)
	t.Cleanup(func() { _ = admin.Close(ctx) })
	empty := "empty" + annona.NewUID().String()
	_, err = admin.Exec(ctx, "CREATE DATABASE "+empty)
	check(t, err)
	_, err = postgres.Migrate(ctx, cluster.URL("postgres", empty), postgres.Setup{Dictionary: annona.Standard(), App: "app"})
	check(t, err)
	return func(clock annona.Clock) (anyStore, error) {
		name := "world" + annona.NewUID().String()
		if _, err := admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+empty); err != nil {
			return nil, err
		}
		return postgres.Open(ctx, postgres.Options{URL: cluster.URL("app", name), Dictionary: annona.Standard(), Clock: clock, Readers: 3})
	}
}

// firstNoon is when every world begins.
var firstNoon = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

// place is a registry with a clock that a test sets.
type place struct {
	*exchange.Exchange
	ctx   context.Context
	store anyStore
	now   time.Time
}

func (g ground) open(ctx context.Context) (*place, error) {
	p := &place{ctx: ctx, now: firstNoon}
	clock := func() time.Time { return p.now }
	var err error
	if p.store, err = g.make(clock); err != nil {
		return nil, err
	}
	p.Exchange = exchange.New(exchange.Config{
		Dictionary: annona.Standard(), Records: p.store, Writer: p.store, Ledger: p.store, Standings: p.store, Roster: p.store,
		Subjects: p.store, Reference: p.store, Log: p.store, Views: p.store, Past: p.store, Loads: p.store, Indexes: p.store, Merges: p.store, ChangeRequests: p.store, Matters: p.store,
		ExportSpecs: p.store, ExportJobs: p.store, ExportQueue: p.store, Files: g.vault, Vault: g.vault, Shredder: keeper{}, Outside: &outside{}, Clock: clock, Zone: time.UTC,
		Check: func(c *annona.Client, _ time.Time, _ netip.Addr) error {
			if !c.RevokedAt.IsZero() {
				return annona.Unauthenticated("key_invalid", "the key is revoked")
			}
			return nil
		},
	})
	return p, nil
}

// keeper destroys no key: all worlds share one vault.
type keeper struct{}

func (keeper) Shred(context.Context, *annona.Dataset, annona.Number) (time.Time, error) {
	return firstNoon, nil
}

// settle waits until what was written stands in the log: PostgreSQL numbers it a moment later.
func (p *place) settle() error {
	if s, ok := p.store.(interface{ Settle(context.Context) error }); ok {
		return s.Settle(p.ctx)
	}
	return nil
}

func (p *place) admit(agreement string) (annona.Caller, error) {
	c := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: agreement, Hash: []byte{1}, CreatedAt: p.now, ExpiresAt: p.now.AddDate(1, 0, 0)}
	return annona.Caller{Client: c.ID, Agreement: agreement, Strength: annona.StrengthAPIKey}, p.CreateClient(p.ctx, operator, c)
}
