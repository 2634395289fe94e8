package main

import (
	"context"
	"os"

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
	annona.Standings
	annona.Subjects
	annona.Reference
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
	s, err := postgres.Open(ctx, postgres.Options{URL: f.database, Dictionary: annona.Standard(), Unfinished: f.unfinished})
	if err != nil {
		return err
	}
	f.store = s
	keys, err := postgres.OpenSecrets(ctx, f.database)
	if err != nil {
		return err
	}
	f.secrets = keys
	return nil
}

// dumpSecrets gives the whole key store to what begin returns.
func (f *folder) dumpSecrets(ctx context.Context, begin func(annona.StoreState) (annona.TableSink, error)) error {
	if f.database != "" {
		return postgres.DumpSecrets(ctx, f.database, begin)
	}
	return sqlite.DumpSecrets(ctx, f.path, begin)
}

// makeDatabase makes a new registry in a database, and its root key in the folder. Interrupted,
// it can run again.
func makeDatabase(ctx context.Context, path, url, role string) error {
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
	if _, err := postgres.Migrate(ctx, url, postgres.Setup{Dictionary: annona.Standard(), App: role}); err != nil {
		return err
	}
	keys, err := postgres.OpenSecrets(ctx, url)
	if err != nil {
		return err
	}
	defer keys.Close()
	return makeVault(path, vault.Production, keys)
}
