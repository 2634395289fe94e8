package main

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// store is what a registry is kept in.
type store interface {
	annona.Records
	annona.Writer
	annona.Ledger
	annona.LedgerReader
	annona.Requests
	annona.LedgerIndex
	annona.LedgerPruner
	annona.Checkpoints
	annona.Standings
	annona.Roster
	annona.Tokens
	annona.Delegations
	annona.Approvals
	annona.BreakGlasses
	annona.Uses
	annona.Buckets
	annona.Subjects
	annona.Reference
	annona.Log
	annona.Past
	annona.Views
	annona.Syncs
	annona.ExportJobs
	annona.ExportQueue
	annona.Loads
	annona.Mappings
	annona.ExportSpecs
	annona.Decisions
	annona.Matters
	annona.Attachments
	annona.Programs
	annona.ChangeRequests
	annona.Indexes
	annona.Merges
	annona.Users
	annona.Outside
	annona.Dumper
	annona.Reviver
	Close() error
}

// secrets is what the wrapped keys of the vault are kept in.
type secrets interface {
	annona.KeyStore
	// LastKeys returns the highest number of each noun that may have a key.
	LastKeys(ctx context.Context) (map[string]annona.Number, error)
	Close() error
}

// openFiles opens the files of a data folder. What failed to open stays nil.
func (f *folder) openFiles() error {
	s, err := sqlite.Open(f.path, sqlite.Options{Dictionary: annona.Standard(), Unfinished: f.unfinished})
	if err != nil {
		return err
	}
	f.store = s
	keys, err := sqlite.OpenSecrets(f.path, false)
	if err != nil {
		return err
	}
	f.secrets = keys
	return nil
}

// openDatabase connects to a registry in PostgreSQL.
func (f *folder) openDatabase(ctx context.Context) error {
	s, err := postgres.Open(ctx, postgres.Options{URL: f.database, Replica: f.roles.Replica, Dictionary: annona.Standard(), Unfinished: f.unfinished})
	if err != nil {
		return err
	}
	f.store, f.replicaPages = s, s.ReplicaPages
	keys, err := postgres.OpenSecrets(ctx, cmp.Or(f.roles.Keys, f.database))
	if err != nil {
		return err
	}
	f.secrets = keys
	if f.roles.Keys != "" {
		return keys.BelongTo(ctx, s)
	}
	return nil
}

// databaseFlags say more about a registry in PostgreSQL.
type databaseFlags struct {
	Keys         string `name:"keys-database" placeholder:"URL" help:"The same database, for the role that alone reaches the keys. Without it, one role does both."`
	PasswordFile string `name:"database-password-file" type:"path" placeholder:"FILE" help:"Passwords of the database roles, for the owner of the file only: lines of host:port:database:role:password, * for any; host is localhost for a socket."`
	Replica      string `kong:"-"` // of serve
}

// complete returns all addresses with the password file in them, and refuses flags that would have
// no effect.
func (d dataFlag) complete() (dataFlag, error) {
	if d.Database == "" && d.databaseFlags != (databaseFlags{}) {
		return d, annona.Invalid("database_missing", "--keys-database, --database-password-file and --replica go with --database").On("database")
	}
	for _, address := range []*string{&d.Database, &d.Keys, &d.Replica} {
		*address = withPasswordFile(*address, d.PasswordFile)
	}
	return d, nil
}

// withPasswordFile names the password file in the URL of a database.
func withPasswordFile(address, file string) string {
	if address == "" || file == "" {
		return address
	}
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + url.Values{"passfile": {file}}.Encode()
}

// forgetDatabaseEnvironment drops what the database driver would read from the environment: a
// registry is named by the command line alone.
func forgetDatabaseEnvironment() {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name) // the name is one of the environment's own
		}
	}
}

// makeDatabase makes a new registry in a database, and its root key in the folder. Interrupted,
// it can run again.
func makeDatabase(ctx context.Context, path, url string, s postgres.Setup, rootURL string) error {
	status, err := postgres.MigrationStatus(ctx, url)
	if err != nil {
		return err
	}
	if status.Version > 0 && !exists(path, vault.RootFile) {
		return annona.Conflict("registry_exists", "the database holds a registry already, and its root key is not in this folder; use the folder of that registry, or choose another database")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return annona.Invalid("folder_unusable", "the data folder cannot be made: %s", reason(err))
	}
	if _, err := postgres.Migrate(ctx, url, s); err != nil {
		return err
	}
	keys, err := postgres.OpenSecrets(ctx, url)
	if err != nil {
		return err
	}
	defer keys.Close()
	return makeVault(path, vault.Production, keys, rootURL)
}
