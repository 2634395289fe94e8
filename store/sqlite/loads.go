package sqlite

import (
	"context"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// PutLoad writes a load. See annona.Tx.
func (t *tx) PutLoad(ctx context.Context, l *annona.Load) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	found, err := t.conn.one(`INSERT INTO loads (id, source, mode, operator, client, reason, as_of, started_at, finished_at, state, undoes, report, confirmed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET source = excluded.source, mode = excluded.mode, operator = excluded.operator, client = excluded.client,
			reason = excluded.reason, as_of = excluded.as_of, started_at = excluded.started_at, finished_at = excluded.finished_at,
			state = excluded.state, undoes = excluded.undoes, report = excluded.report, confirmed = coalesce(excluded.confirmed, loads.confirmed)
			WHERE loads.key = ?
		RETURNING key`, func(s *sqlite.Stmt) { l.Key = s.ColumnInt64(0) }, l.ID, l.Source, l.Mode, l.Author.Operator, orNull(l.Author.Client), l.Author.Reason, l.AsOf, l.StartedAt, l.FinishedAt, l.State, orNull(l.Undoes), l.Report, l.Confirmed, l.Key)
	if err == nil && !found {
		return annona.ErrLoadTaken
	}
	return fault("write a load", err)
}

// orNull is an id; nil when it is zero.
func orNull(u annona.UID) any {
	if u == (annona.UID{}) {
		return nil
	}
	return u
}

const selectLoads = `SELECT key, id, source, mode, operator, client, reason, as_of, started_at, finished_at, state, undoes, report FROM loads`

// LoadByID returns a load; nil when there is none.
func (s *Store) LoadByID(ctx context.Context, id annona.UID) (*annona.Load, error) {
	loads, err := s.loads(ctx, selectLoads+" WHERE id = ?", id)
	if err != nil || len(loads) == 0 {
		return nil, err
	}
	return &loads[0], nil
}

// Loads returns loads, the newest first. See annona.Loads.
func (s *Store) Loads(ctx context.Context, source string, limit int) ([]annona.Load, error) {
	if source == "" {
		return s.loads(ctx, selectLoads+" ORDER BY key DESC LIMIT ?", limit)
	}
	return s.loads(ctx, selectLoads+" WHERE source = ? ORDER BY key DESC LIMIT ?", source, limit)
}

// LoadsByKey returns loads by their keys. See annona.Loads.
func (s *Store) LoadsByKey(ctx context.Context, keys []int64) ([]annona.Load, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	numbers := make([]annona.Number, len(keys))
	for i, key := range keys {
		numbers[i] = annona.Number(key)
	}
	return s.loads(ctx, selectLoads+" WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key", numberList(numbers))
}

func (s *Store) loads(ctx context.Context, sql string, args ...any) (loads []annona.Load, err error) {
	err = s.readers.read(ctx, "read loads", func(c *conn) error {
		return c.each(sql, func(r *sqlite.Stmt) error {
			loads = append(loads, annona.Load{
				Key: r.ColumnInt64(0), ID: columnUID(r, 1), Source: r.ColumnText(2), Mode: r.ColumnText(3),
				Author: annona.Author{Operator: r.ColumnText(4), Client: columnUID(r, 5), Load: r.ColumnInt64(0), Reason: r.ColumnText(6)},
				AsOf:   columnTime(r, 7), StartedAt: columnTime(r, 8), FinishedAt: columnTime(r, 9),
				State: r.ColumnText(10), Undoes: columnUID(r, 11), Report: columnBytes(r, 12),
			})
			return nil
		}, args...)
	})
	return loads, err
}

// Confirmed returns loads with what they have confirmed. See annona.Loads.
func (s *Store) Confirmed(ctx context.Context, source string, after time.Time) (loads []annona.Load, err error) {
	err = s.readers.read(ctx, "read loads", func(c *conn) error {
		return c.each("SELECT key, id, source, mode, as_of, state, confirmed FROM loads WHERE source = ? AND confirmed IS NOT NULL AND (as_of > ? OR mode = 'undo') ORDER BY key", func(r *sqlite.Stmt) error {
			loads = append(loads, annona.Load{
				Key: r.ColumnInt64(0), ID: columnUID(r, 1), Source: r.ColumnText(2), Mode: r.ColumnText(3), AsOf: columnTime(r, 4),
				State: r.ColumnText(5), Confirmed: columnBytes(r, 6),
			})
			return nil
		}, source, after)
	})
	return loads, err
}

// LoadEvents returns what a load did to records. What it only touched is left out.
func (s *Store) LoadEvents(ctx context.Context, l *annona.Load, after int64, limit int) (events []annona.LoadEvent, err error) {
	err = s.readers.read(ctx, "read what a load did", func(c *conn) error {
		return c.each(`SELECT e.seq, e.dataset, e.record, e.version, e.kind, e.before FROM load_runs r
			CROSS JOIN events e ON e.seq BETWEEN max(r.first, ?2 + 1) AND r.last
			WHERE r.load = ?1 AND r.last > ?2 AND e.kind <> 'touched' ORDER BY r.first, e.seq LIMIT ?3`, func(r *sqlite.Stmt) error {
			events = append(events, annona.LoadEvent{
				Event: r.ColumnInt64(0), Dataset: r.ColumnText(1), Record: annona.Number(r.ColumnInt64(2)), Version: int(r.ColumnInt64(3)),
				Kind: annona.EventKind(r.ColumnText(4)), Before: columnBytes(r, 5),
			})
			return nil
		}, l.Key, after, limit)
	})
	return events, err
}

// Numbers returns the numbers of the records on file that have one of those keys.
func (s *Store) Numbers(ctx context.Context, keys []annona.RecordKey) ([]annona.Number, error) {
	numbers := make([]annona.Number, len(keys))
	for i := range keys {
		if err := s.checkDataset(keys[i].Dataset); err != nil {
			return nil, err
		}
	}
	err := s.readers.read(ctx, "find records", func(c *conn) error {
		for i := range keys {
			k := &keys[i]
			n, err := c.numberOf(nameOf(k))
			if err == nil && n == 0 {
				var other int64
				other, err = c.integer(`SELECT r.number FROM other_keys o CROSS JOIN `+k.Dataset.Name+` r ON r.number = o.number
					WHERE o.source = ? AND o.source_key = ? AND o.dataset = ?`, k.Source, k.Key, k.Dataset.Name)
				n = annona.Number(other)
			}
			if err != nil {
				return err
			}
			numbers[i] = n
		}
		return nil
	})
	return numbers, err
}

// NumbersOfSource returns the numbers of the records on file that have a key of a source. It walks
// the records in order of number: the index of keys has another order.
func (s *Store) NumbersOfSource(ctx context.Context, dataset *annona.Dataset, source string, after annona.Number, limit int) (numbers []annona.Number, err error) {
	if err := s.checkDataset(dataset); err != nil {
		return nil, err
	}
	err = s.readers.read(ctx, "find the records of a source", func(c *conn) error {
		for _, sql := range []string{
			"SELECT number FROM " + dataset.Name + " NOT INDEXED WHERE number > ?1 AND source = ?2 AND ?3 <> '' ORDER BY number LIMIT ?4",
			`SELECT DISTINCT o.number FROM other_keys o INDEXED BY other_keys_number WHERE o.number > ?1 AND o.source = ?2 AND o.dataset = ?3
				AND EXISTS (SELECT 1 FROM ` + dataset.Name + ` r WHERE r.number = o.number) ORDER BY o.number LIMIT ?4`,
		} {
			err := c.each(sql, func(r *sqlite.Stmt) error {
				numbers = append(numbers, annona.Number(r.ColumnInt64(0)))
				return nil
			}, after, source, dataset.Name, limit)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return firstNumbers(numbers, limit), err
}

// firstNumbers returns the least numbers, each once, at most limit.
func firstNumbers(numbers []annona.Number, limit int) []annona.Number {
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	return numbers[:min(len(numbers), limit)]
}
