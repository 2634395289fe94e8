package postgres

import (
	"context"

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
	return s.readers.ask(ctx, "open the registry", func(c *conn) error {
		n, err := c.counter(unfinishedCounter)
		if err == nil && n > 0 {
			return annona.Conflict("restore_unfinished", "a restore of this registry was begun and has not finished, so that erased people could be in it; run the same annona restore again")
		}
		return err
	})
}

// Renew makes positions and numbers of before the restore mean nothing. See annona.Reviver. It
// runs as the owner.
func (s *Store) Renew(ctx context.Context, last map[string]annona.Number, entries ...annona.LedgerRow) error {
	if err := checkEntries(entries); err != nil {
		return err
	}
	return fault("renew the log", s.transaction(ctx, func(t *tx) error {
		if err := t.renewLog(); err != nil {
			return err
		}
		for name, number := range last {
			sequence, known := sequences[name]
			if !known {
				continue
			}
			if err := t.conn.exec("SELECT setval($1::text::regclass, greatest($2, (SELECT last_value FROM "+sequence+")), true) WHERE $2 > 0", sequence, number); err != nil {
				return err
			}
		}
		t.moves++
		return t.conn.insertEntries(entries, noneKnown, 0)
	}))
}

// setCounter writes a counter, which may be a new one.
func (c *conn) setCounter(name string, value int64) error {
	return c.exec("INSERT INTO counters (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
}

// Release lets the registry be opened by everybody.
func (s *Store) Release(ctx context.Context) error {
	return fault("release the registry", s.transaction(ctx, func(t *tx) error {
		return t.conn.exec("UPDATE counters SET value = 0 WHERE name = $1", unfinishedCounter)
	}))
}

// LastKeys returns the highest number of each noun that may have a key.
func (s *Secrets) LastKeys(ctx context.Context) (map[string]annona.Number, error) {
	last := map[string]annona.Number{}
	err := s.pool.ask(ctx, "read the key store", func(c *conn) error {
		return c.each("SELECT noun, max(block) FROM annona_keys.subject_keys GROUP BY noun", func(r row) error {
			last[r.text(0)] = annona.Number((r.integer(1)+1)*annona.SubjectsPerBlock - 1)
			return nil
		})
	})
	return last, err
}
