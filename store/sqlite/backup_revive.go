package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// unfinishedCounter is above 0 in a registry that was loaded from a backup and not released yet.
const unfinishedCounter = "restore_unfinished"

// The values of unfinishedCounter: where the keys come from.
const (
	keysKept   = 1
	keysLoaded = 2
)

// checkFinished refuses a registry that was loaded from a backup and not made fit to serve.
func (s *Store) checkFinished(ctx context.Context) error {
	return s.readers.read(ctx, "open the registry", func(c *conn) error {
		n, err := c.counter(unfinishedCounter)
		if err == nil && n > 0 {
			return annona.Conflict("restore_unfinished", "a restore of this registry was begun and has not finished, so that erased people could be in it; run the same annona restore again")
		}
		return err
	})
}

// Renew makes positions and numbers of before the restore mean nothing. See annona.Reviver.
func (s *Store) Renew(ctx context.Context, last map[string]annona.Number, entries ...annona.LedgerRow) error {
	if err := checkEntries(entries); err != nil {
		return err
	}
	return s.writer.update(ctx, "renew the log", func(t *tx) error {
		if err := t.renewLog(); err != nil {
			return err
		}
		for name, number := range last {
			if err := t.conn.exec("UPDATE counters SET value = max(value, ?) WHERE name = ?", number, name); err != nil {
				return err
			}
		}
		if err := t.moveEpoch(); err != nil {
			return err
		}
		return t.appendEntries(entries)
	})
}

// Release lets the registry be opened by everybody.
func (s *Store) Release(ctx context.Context) error {
	return s.writer.update(ctx, "release the registry", func(t *tx) error {
		return t.conn.exec("UPDATE counters SET value = 0 WHERE name = ?", unfinishedCounter)
	})
}

// LastKeys returns the highest number of each noun that may have a key.
func (s *Secrets) LastKeys(ctx context.Context) (map[string]annona.Number, error) {
	last := map[string]annona.Number{}
	err := s.readers.read(ctx, "read the key store", func(c *conn) error {
		return c.each("SELECT noun, max(block) FROM subject_keys GROUP BY noun", func(stmt *sqlite.Stmt) error {
			last[stmt.ColumnText(0)] = annona.Number((stmt.ColumnInt64(1)+1)*annona.SubjectsPerBlock - 1)
			return nil
		})
	})
	return last, err
}
