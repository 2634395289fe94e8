package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// PutLoad writes a load. See annona.Tx. One that has its key is on file already: it waits for the end
// of the transaction, where it costs no question of its own.
func (t *tx) PutLoad(ctx context.Context, l *annona.Load) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	columns := []any{l.ID, l.Source, l.Mode, l.Author.Operator, uidOrNull(l.Author.Client), l.Author.Reason, l.AsOf, l.StartedAt, l.FinishedAt, l.State, uidOrNull(l.Undoes), l.Report, l.Confirmed}
	if l.Key > 0 {
		t.later.Queue(updateLoad, values(append(columns, l.Key))...)
		return nil
	}
	found, err := t.conn.one(insertLoad, func(r row) { l.Key = r.integer(0) }, columns...)
	if err == nil && !found {
		return annona.ErrLoadTaken
	}
	return t.fault("write a load", err)
}

const (
	insertLoad = `INSERT INTO loads (id, source, mode, operator, client, reason, as_of, started_at, finished_at, state, undoes, report, confirmed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (id) DO NOTHING RETURNING key`
	updateLoad = `UPDATE loads SET source = $2, mode = $3, operator = $4, client = $5, reason = $6, as_of = $7, started_at = $8,
		finished_at = $9, state = $10, undoes = $11, report = $12, confirmed = coalesce($13, confirmed) WHERE id = $1 AND key = $14`
)

// uidOrNull is the bytes of an id; nil when it is zero.
func uidOrNull(u annona.UID) []byte {
	if u == (annona.UID{}) {
		return nil
	}
	return u[:]
}

const selectLoads = `SELECT key, id, source, mode, operator, client, reason, as_of, started_at, finished_at, state, undoes, report FROM loads`

// LoadByID returns a load; nil when there is none.
func (s *Store) LoadByID(ctx context.Context, id annona.UID) (*annona.Load, error) {
	loads, err := s.loads(ctx, selectLoads+" WHERE id = $1", id)
	if err != nil || len(loads) == 0 {
		return nil, err
	}
	return &loads[0], nil
}

// Loads returns loads, the newest first. See annona.Loads.
func (s *Store) Loads(ctx context.Context, source string, limit int) ([]annona.Load, error) {
	if source == "" {
		return s.loads(ctx, selectLoads+" ORDER BY key DESC LIMIT $1", limit)
	}
	return s.loads(ctx, selectLoads+" WHERE source = $1 ORDER BY key DESC LIMIT $2", source, limit)
}

// LoadsByKey returns loads by their keys. See annona.Loads.
func (s *Store) LoadsByKey(ctx context.Context, keys []int64) ([]annona.Load, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	return s.loads(ctx, selectLoads+" WHERE key = ANY ($1) ORDER BY key", keys)
}

func (s *Store) loads(ctx context.Context, sql string, args ...any) (loads []annona.Load, err error) {
	err = s.readers.ask(ctx, "read loads", func(c *conn) error {
		loads = nil
		return c.each(sql, func(r row) error {
			loads = append(loads, annona.Load{
				Key: r.integer(0), ID: r.uid(1), Source: r.text(2), Mode: r.text(3),
				Author: annona.Author{Operator: r.text(4), Client: r.uid(5), Load: r.integer(0), Reason: r.text(6)},
				AsOf:   r.time(7), StartedAt: r.time(8), FinishedAt: r.time(9),
				State: r.text(10), Undoes: r.uid(11), Report: r.bytes(12),
			})
			return nil
		}, slices.Clone(args)...)
	})
	return loads, err
}

// Confirmed returns loads with what they have confirmed. See annona.Loads.
func (s *Store) Confirmed(ctx context.Context, source string, after time.Time) (loads []annona.Load, err error) {
	err = s.readers.ask(ctx, "read loads", func(c *conn) error {
		loads = nil
		return c.each("SELECT key, id, source, mode, as_of, state, confirmed FROM loads WHERE source = $1 AND confirmed IS NOT NULL AND (as_of > $2 OR mode = 'undo') ORDER BY key", func(r row) error {
			loads = append(loads, annona.Load{
				Key: r.integer(0), ID: r.uid(1), Source: r.text(2), Mode: r.text(3), AsOf: r.time(4), State: r.text(5), Confirmed: r.bytes(6),
			})
			return nil
		}, source, after)
	})
	return loads, err
}

// LoadEvents returns what a load did to records. What it only touched is left out.
func (s *Store) LoadEvents(ctx context.Context, l *annona.Load, after int64, limit int) (events []annona.LoadEvent, err error) {
	err = s.readers.ask(ctx, "read what a load did", func(c *conn) error {
		events = nil
		return c.each("SELECT event, dataset, record, version, kind, before FROM events WHERE load = $1 AND event > $2 AND kind <> 'touched' ORDER BY event LIMIT $3", func(r row) error {
			events = append(events, annona.LoadEvent{
				Event: r.integer(0), Dataset: r.text(1), Record: r.number(2), Version: int(r.integer(3)),
				Kind: annona.EventKind(r.text(4)), Before: r.bytes(5),
			})
			return nil
		}, l.Key, after, limit)
	})
	return events, err
}

// Numbers returns the numbers of the records on file that have one of those keys.
func (s *Store) Numbers(ctx context.Context, keys []annona.RecordKey) ([]annona.Number, error) {
	at, sources, texts := map[string][]int{}, map[string][]string{}, map[string][]string{}
	for i := range keys {
		dataset := keys[i].Dataset.Name
		if _, err := tableOf(dataset); err != nil {
			return nil, err
		}
		at[dataset] = append(at[dataset], i)
		sources[dataset], texts[dataset] = append(sources[dataset], keys[i].Source), append(texts[dataset], keys[i].Key)
	}
	numbers := make([]annona.Number, len(keys))
	err := s.readers.ask(ctx, "find records", func(c *conn) error {
		for dataset, positions := range at {
			const named = `FROM unnest($1::text[], $2::text[]) WITH ORDINALITY k (source, key, position)`
			err := c.each(`SELECT k.position, r.number `+named+` JOIN `+dataset+` r ON r.source = k.source COLLATE "C" AND r.source_key = k.key COLLATE "C"
				UNION ALL SELECT k.position, r.number `+named+` JOIN other_keys o ON o.source = k.source COLLATE "C" AND o.source_key = k.key COLLATE "C" AND o.dataset = $3
					JOIN `+dataset+` r ON r.number = o.number`, func(r row) error {
				numbers[positions[r.integer(0)-1]] = r.number(1)
				return nil
			}, sources[dataset], texts[dataset], dataset)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return numbers, err
}

// NumbersOfSource returns the numbers of the records on file that have a key of a source. It walks
// the records in order of number: the index of keys has another order.
func (s *Store) NumbersOfSource(ctx context.Context, dataset *annona.Dataset, source string, after annona.Number, limit int) (numbers []annona.Number, err error) {
	if _, err := tableOf(dataset.Name); err != nil {
		return nil, err
	}
	err = s.readers.ask(ctx, "find the records of a source", func(c *conn) error {
		numbers = nil
		return c.each(`(SELECT number FROM `+dataset.Name+` WHERE number > $1 AND source || '' = $2 ORDER BY number LIMIT $4)
			UNION (SELECT DISTINCT o.number FROM other_keys o JOIN `+dataset.Name+` r ON r.number = o.number
				WHERE o.dataset = $3 AND o.number > $1 AND o.source = $2 ORDER BY o.number LIMIT $4)
			ORDER BY number LIMIT $4`, func(r row) error {
			numbers = append(numbers, r.number(0))
			return nil
		}, after, source, dataset.Name, limit)
	})
	return numbers, err
}
