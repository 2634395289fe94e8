// Package sqlite keeps a registry in one SQLite file: records, areas, rights, agreements,
// clients, the log of changes and the ledger, so that one transaction can hold a change, its
// event and its entry. A second file holds the wrapped secrets of the vault.
//
// A record is its image; the columns beside it are its index. The package knows its schema
// and its SQL: it lowers the condition tree, and makes restriction, objection, consent and the
// visibility of household members part of every query. It does not know keys, agreements'
// meaning, ids on a wire or what may be shown: sealed bytes pass through as they are.
//
// Several processes may have the same folder open: each reads from a snapshot of its own, and
// they take turns in writing.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// FileName is the name of the registry's file in its folder.
const FileName = "annona.sqlite"

// Options says how to open a store.
type Options struct {
	// Create makes the file when there is none; without it, a missing file is an error.
	Create bool
	// Readers is how many pages may be read at the same time; 0: one more than processors.
	Readers int
	// Dictionary is the standard dictionary: its filterable fields get columns. Declared
	// attributes have got theirs when they were declared. May be nil for reading only.
	Dictionary *annona.Dictionary
	// Unfinished opens a registry that was loaded from a backup and not released yet.
	Unfinished bool
	// Clock tells the time of changes; nil: time.Now.
	Clock annona.Clock
}

// Store implements the ports of records, rights, standings, reference data, the log and the ledger.
// It is safe for concurrent use.
type Store struct {
	readers *pool
	writer  *writer
	clock   annona.Clock
	proofs  *proofs // that were shown
	buckets buckets // of requests

	agreements sync.Map                      // name → *annona.Agreement, as last decoded: a version never changes
	policy     atomic.Pointer[annona.Policy] // in force, as last decoded
}

var (
	_ annona.Records      = (*Store)(nil)
	_ annona.Writer       = (*Store)(nil)
	_ annona.Ledger       = (*Store)(nil)
	_ annona.LedgerReader = (*Store)(nil)
	_ annona.Requests     = (*Store)(nil)
	_ annona.LedgerIndex  = (*Store)(nil)
	_ annona.Checkpoints  = (*Store)(nil)
	_ annona.LedgerPruner = (*Store)(nil)
	_ annona.Standings    = (*Store)(nil)
	_ annona.Roster       = (*Store)(nil)
	_ annona.Tokens       = (*Store)(nil)
	_ annona.Delegations  = (*Store)(nil)
	_ annona.Buckets      = (*Store)(nil)
	_ annona.Subjects     = (*Store)(nil)
	_ annona.Reference    = (*Store)(nil)
	_ annona.Log          = (*Store)(nil)
	_ annona.Views        = (*Store)(nil)
	_ annona.Loads        = (*Store)(nil)
	_ annona.Mappings     = (*Store)(nil)
	_ annona.ExportSpecs  = (*Store)(nil)
	_ annona.Decisions    = (*Store)(nil)
)

// Open opens the registry in the folder dir and brings its schema up to date. Errors have the
// codes store_missing, store_too_new, store_foreign, store_damaged, store_read_only,
// store_full, store_busy or restore_unfinished.
func Open(dir string, o Options) (*Store, error) {
	path := filepath.Join(dir, FileName)
	if err := prepareFile(path, o.Create); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = runtime.GOMAXPROCS(0) + 1
	}
	c, err := openWriting(path, recordsCache)
	if err != nil {
		return nil, err
	}
	if c.turns, err = openTurns(dir); err != nil {
		c.Close()
		return nil, err
	}
	if err := prepareSchema(c, o.Dictionary); err != nil {
		c.Close()
		return nil, err
	}
	s := &Store{clock: o.Clock, readers: newPool(path, o.Readers), writer: newWriter(c, o.Clock), proofs: newProofs()}
	if !o.Unfinished {
		if err := s.checkFinished(context.Background()); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.refreshLines(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close waits for the transaction that is being written and closes all connections.
func (s *Store) Close() error {
	return errors.Join(s.writer.close(), s.readers.close())
}

// Epoch returns a number that moves with every change of a client, an agreement, a
// restriction or a consent: what was decided before it moved has to be decided anew.
func (s *Store) Epoch(ctx context.Context) (int64, error) {
	var epoch int64
	err := s.readers.read(ctx, "read the policy epoch", func(c *conn) (err error) {
		epoch, err = c.counter("policy_epoch")
		return err
	})
	return epoch, err
}

// prepareFile makes sure that the file exists, readable by its owner only.
func prepareFile(path string, create bool) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if !create {
		return annona.Invalid("store_missing", "the data folder holds no registry; make one with annona init")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fileFault(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fileFault(err)
	}
	return f.Close()
}

// Caches of connections that write, in KiB. Records are changed all over their indexes. Keys come in the order of their
// numbers, so that the pages that were written last are enough, however many people there are.
const (
	recordsCache = 64 << 10
	keysCache    = 4 << 10
)

// openWriting opens the connection that writes, with a cache of so many KiB.
func openWriting(path string, cache int) (*conn, error) {
	c, err := open(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	for _, pragma := range []string{
		"page_size = 8192", // before the first table; reading a page of records is a tenth faster than with 4096
		"journal_mode = wal",
		"synchronous = full", // a commit that returned survives a loss of power
		"secure_delete = on",
		"foreign_keys = on",
		fmt.Sprintf("cache_size = -%d", cache),
		"journal_size_limit = 67108864",
	} {
		if err := c.exec("PRAGMA " + pragma); err != nil {
			c.Close()
			return nil, fault("open the registry", err)
		}
	}
	if err := c.checkDurable(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// checkDurable refuses a file that cannot keep the promise of a commit.
func (c *conn) checkDurable() error {
	mode, err := c.text("PRAGMA journal_mode")
	if err != nil {
		return fault("open the registry", err)
	}
	level, err := c.integer("PRAGMA synchronous")
	if err != nil {
		return fault("open the registry", err)
	}
	if mode != "wal" || level < 2 {
		return annona.Unavailable("store_not_durable", "the file system of the data folder does not support the write-ahead log; move the folder to a local disk")
	}
	return nil
}
