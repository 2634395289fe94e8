package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/rest"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// folder is a data folder that is open: the store, the vault and the gate before them.
type folder struct {
	path     string
	database string        // its URL; empty: the folder's own file
	roles    databaseFlags // what else is said about the database
	store    store
	secrets  secrets
	vault    *vault.Vault
	keys     *identity.Keys
	gate     *exchange.Exchange

	remembered *exchange.Remembered // standings
	signer     *audit.Signer
	metrics    *rest.Metrics
	signing    atomic.Bool // this process signs the ledger: it serves
	declared   int         // extensions of the dictionary that are in force
	samples    samples

	replicaPages func() map[string]int64 // nil: the store has no replica
	tombstones   string                  // file that keeps erased people away after a restore
	unfinished   bool                    // it is being restored
}

// dataFlag is the flag that every command on a data folder takes.
type dataFlag struct {
	Data     string `required:"" type:"path" placeholder:"DIR" help:"Data folder of the registry."`
	Database string `placeholder:"URL" help:"PostgreSQL database of the registry, as postgres://role@host/name, instead of a file in the data folder, which then keeps the root key only."`
	databaseFlags
}

// with opens the folder for one command and closes it behind it.
func (d dataFlag) with(ctx context.Context, do func(*folder) error) error {
	f, err := d.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// open opens an existing registry. Whoever calls it closes it.
func (d dataFlag) open(ctx context.Context) (*folder, error) {
	f, err := d.folder("")
	if err != nil {
		return nil, err
	}
	if err := f.open(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// folder returns the folder, which is not open yet. Without a file of tombstones it is the usual
// one.
func (d dataFlag) folder(tombstones string) (*folder, error) {
	d, err := d.complete()
	if err != nil {
		return nil, err
	}
	return &folder{
		path: d.Data, database: d.Database, roles: d.databaseFlags,
		tombstones: cmp.Or(tombstones, filepath.Join(d.Data, tombstonesFile)),
	}, nil
}

// makeFolder makes a new registry in an empty or missing folder. Interrupted, it can run again:
// each step takes what an earlier run has made.
func makeFolder(path string, kind vault.Kind, rootURL string) error {
	if exists(path, sqlite.FileName) {
		return annona.Conflict("registry_exists", "the folder holds a registry already; use it as it is, or choose another folder")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return annona.Invalid("folder_unusable", "the data folder cannot be made: %s", reason(err))
	}
	secrets, err := sqlite.OpenSecrets(path, true)
	if err != nil {
		return err
	}
	defer secrets.Close()
	if err := makeVault(path, kind, secrets, rootURL); err != nil {
		return err
	}
	store, err := sqlite.Open(path, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	if err != nil {
		return err
	}
	return store.Close()
}

func makeVault(path string, kind vault.Kind, keys annona.KeyStore, rootURL string) error {
	begin := vault.Create
	if exists(path, vault.RootFile) {
		begin = vault.Finish
	}
	i := installation(path, keys)
	i.RootURL = rootURL
	_, err := begin(i, kind)
	return err
}

func exists(folder, name string) bool {
	_, err := os.Lstat(filepath.Join(folder, name))
	return err == nil
}

func (f *folder) open(ctx context.Context) (err error) {
	if f.database != "" {
		err = f.openDatabase(ctx)
	} else {
		err = f.openFiles()
	}
	if err != nil {
		return err
	}
	if f.vault, err = vault.Open(installation(f.path, f.secrets)); err != nil {
		return err
	}
	dictionary, err := f.dictionary(ctx)
	if err != nil {
		return err
	}
	f.remembered = exchange.Remember(f.store)
	f.keys = identity.NewKeys(f.remembered, f.vault.KeyHash, time.Now, f.vault.Demo())
	f.metrics = rest.NewMetrics()
	if f.replicaPages != nil && f.roles.Replica != "" {
		f.metrics.Replica(f.replicaPages)
	}
	f.signer = &audit.Signer{Ledger: f.store, Checkpoints: f.store, Key: f.vault, Clock: time.Now}
	f.samples.dictionary = func() *annona.Dictionary { return f.gate.CurrentDictionary() }
	f.gate = exchange.New(exchange.Config{
		Spool:          f.spool,
		Dictionary:     dictionary,
		Records:        f.store,
		Writer:         f.store,
		Standings:      f.store,
		Roster:         f.store,
		Remembered:     f.remembered,
		Subjects:       f.store,
		Reference:      f.store,
		Log:            f.store,
		Views:          f.store,
		Past:           f.store,
		Loads:          f.store,
		Mappings:       f.store,
		Merges:         f.store,
		Indexes:        f.store,
		ExportSpecs:    f.store,
		Users:          f.store,
		Outsiders:      f.store,
		Delegations:    f.store,
		Approvals:      f.store,
		Glasses:        f.store,
		Uses:           f.store,
		Decisions:      f.store,
		ChangeRequests: f.store,
		Matters:        f.store,
		Attachments:    f.store,
		Programs:       f.store,
		ExportJobs:     f.store,
		ExportQueue:    f.store,
		Files:          f.vault,
		History:        f.store,
		Ledger:         f.metrics.Ledger(f.store),
		Vault:          f.vault,
		Shredder:       f.vault,
		Rotator:        f.vault,
		Outside:        f.outside(),
		Clock:          time.Now,
		Zone:           time.UTC,
		Check:          f.keys.Check,
		Covered:        f.covered,
		Process:        processName(),
		Gone:           processGone,
		Samples:        &f.samples,
	})
	return nil
}

// dictionary reads the standard dictionary with all that was declared.
func (f *folder) dictionary(ctx context.Context) (*annona.Dictionary, error) {
	versions, err := f.dictionaries(ctx)
	if err != nil {
		return nil, err
	}
	f.declared = len(versions) - 1
	return versions[f.declared], nil
}

// dictionaries returns the dictionary of every schema version, the standard first.
func (f *folder) dictionaries(ctx context.Context) ([]*annona.Dictionary, error) {
	extensions, err := f.store.Extensions(ctx)
	if err != nil {
		return nil, err
	}
	versions := []*annona.Dictionary{annona.Standard()}
	for _, x := range extensions {
		extended, err := versions[len(versions)-1].Extend(x)
		if err != nil {
			return nil, err
		}
		versions = append(versions, extended)
	}
	return versions, nil
}

// earlier returns the dictionary of a schema version, for whoever holds an export of it.
func (f *folder) earlier(version int) (*annona.Dictionary, bool) {
	versions, err := f.dictionaries(context.Background())
	if err != nil {
		return nil, false
	}
	i := slices.IndexFunc(versions, func(d *annona.Dictionary) bool { return d.Version == version })
	if i < 0 {
		return nil, false
	}
	return versions[i], true
}

// refresh puts attributes in force that another process has declared meanwhile.
func (f *folder) refresh(ctx context.Context) error {
	before := f.declared
	d, err := f.dictionary(ctx)
	if err == nil && f.declared != before {
		f.gate.UseDictionary(d)
	}
	return err
}

// Close closes what is open.
func (f *folder) Close() error {
	if f.gate != nil {
		f.gate.Settle()
	}
	failed := f.samples.Close()
	if f.secrets != nil {
		failed = errors.Join(failed, f.secrets.Close())
	}
	if f.store != nil {
		failed = errors.Join(failed, f.store.Close())
	}
	return failed
}

// operator is the caller that the command line enters the gate as.
func operator() annona.Caller {
	name := "operator"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return annona.Caller{Strength: annona.StrengthOperator, Operator: name}
}

// reason says why a file could not be used, without its path: the caller names it.
func reason(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// ledger is the ledger of the folder, to verify or to copy.
func (f *folder) ledger() audit.Live {
	return audit.Live{Ledger: f.store, Checkpoints: f.store, Vault: f.vault}
}

// covered says why nothing may be disclosed. Commands that end by themselves leave signing to
// the server.
func (f *folder) covered() error {
	if !f.signing.Load() {
		return nil
	}
	return f.signer.Covered()
}
