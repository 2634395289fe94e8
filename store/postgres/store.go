// Package postgres keeps a registry in a PostgreSQL database: records, areas, rights,
// agreements, clients, the log of changes and the ledger in the schema annona, the wrapped
// secrets of the vault in the schema annona_keys.
//
// A record is its image; the columns beside it are its index. The package knows its schema
// and its SQL: it lowers the condition tree, and makes restriction, objection, consent and the
// visibility of household members part of every query. It does not know keys, agreements'
// meaning, ids on a wire or what may be shown: sealed bytes pass through as they are.
//
// Several nodes may serve one database. Writers do not wait for each other unless they change
// the same records. One node at a time, whichever holds the lock, is the sequencer: it gives
// committed changes and entries their places in the log and in the ledger's tree.
package postgres

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annona-exchange/annona"
)

// Options says how to open a store.
type Options struct {
	// URL names the database: postgres://role@host:port/name. It alone says where a connection
	// leads and how it is proved: neither the environment nor the home folder is asked. A
	// password never stands in it: it comes from the file that ?passfile= names.
	URL string
	// Replica names a standby of that database, which reads pages of searches and exports. What
	// decides about them is always read from the database itself, and a page of a standby that
	// lags behind is not used. Empty: there is none.
	Replica string
	// Readers is how many pages may be read at the same time; 0: four for each processor.
	Readers int
	// Writers is how many transactions may write at the same time; 0: as Readers.
	Writers int
	// Dictionary is the standard dictionary: Open refuses a database that lacks the columns
	// of its filterable fields. May be nil.
	Dictionary *annona.Dictionary
	// Unfinished opens a registry that was loaded from a backup and not released yet.
	Unfinished bool
	// Clock tells the time of changes; nil: time.Now.
	Clock annona.Clock
}

// Store implements the ports of records, rights, standings, reference data, the log and the ledger.
// It is safe for concurrent use.
type Store struct {
	readers   *pool
	lookups   *pool
	writers   *pool
	replica   *replica // nil: none
	entries   *appender
	errands   *errands
	node      *node
	sequencer *sequencer
	news      *news
	url       string
	clock     annona.Clock
	prepared  preparedTables
	lists     knownLists
	linesDay  atomic.Int64 // the day up to which all household lines are right, as far as known

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

// Open connects to the registry of a database. It changes no schema: Migrate does. Errors have
// the codes store_url, store_password_in_url, store_without_tls, password_file_missing,
// password_file_unreadable, password_file_exposed, store_unreachable, store_denied, store_missing,
// store_outdated, store_too_new, store_foreign, store_read_only, store_not_durable,
// store_logs_values, replica_promoted, replica_foreign or restore_unfinished.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = 4 * runtime.GOMAXPROCS(0)
	}
	if o.Writers <= 0 {
		o.Writers = o.Readers
	}
	s := &Store{clock: o.Clock, url: o.URL}
	if err := s.connect(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) connect(ctx context.Context, o Options) (err error) {
	if s.readers, err = newPool(ctx, o.URL, reading, o.Readers); err != nil {
		return err
	}
	if err := s.readers.ask(ctx, "open the registry", func(c *conn) error { return checkSchema(c, o.Dictionary) }); err != nil {
		return err
	}
	if !o.Unfinished {
		if err := s.checkFinished(ctx); err != nil {
			return err
		}
	}
	if s.lookups, err = newPool(ctx, o.URL, looking, o.Readers); err != nil {
		return err
	}
	if s.writers, err = newPool(ctx, o.URL, writing, o.Writers); err != nil {
		return err
	}
	if o.Replica != "" {
		if s.replica, err = openReplica(ctx, o.Replica, o.Readers, s.readers); err != nil {
			return err
		}
	}
	s.entries, s.errands = newAppender(s), newErrands()
	if s.node, err = joinNodes(ctx, waiting(s.readers.config)); err != nil {
		return err
	}
	s.sequencer = startSequencer(s.writers.config)
	s.news = newNews(waiting(s.readers.config))
	return s.refreshLines(ctx)
}

// Close ends the sequencer, waits for what is being read and written, and disconnects.
func (s *Store) Close() error {
	if s.sequencer != nil {
		s.sequencer.stop()
	}
	if s.news != nil {
		s.news.stop()
	}
	if s.entries != nil {
		s.entries.close()
	}
	if s.node != nil {
		s.node.leave()
	}
	if s.replica != nil {
		s.replica.close()
	}
	for _, p := range []*pool{s.writers, s.lookups, s.readers} {
		if p != nil {
			p.close()
		}
	}
	return nil
}

// Epoch returns a number that moves with every change of a client, an agreement, a
// restriction or a consent: what was decided before it moved has to be decided anew.
func (s *Store) Epoch(ctx context.Context) (epoch int64, err error) {
	err = s.lookups.ask(ctx, "read the policy epoch", func(c *conn) (err error) {
		epoch, err = c.counter("policy_epoch")
		return err
	})
	return epoch, err
}
