package postgres

import (
	"context"
	"math"
	"slices"

	"github.com/annona-exchange/annona"
)

// PutParts writes what a record consists of. See annona.LifeTx.
func (t *tx) PutParts(ctx context.Context, dataset *annona.Dataset, record annona.Number, parts []annona.Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var numbers, versions []int64
	var own [][]byte
	for _, p := range parts {
		numbers, versions, own = append(numbers, int64(p.Number)), append(versions, int64(p.Version)), append(own, p.Own)
	}
	t.beside = t.beside || len(parts) > 0
	t.later.Queue("DELETE FROM parts WHERE dataset = $1 AND record = $2", dataset.Name, int64(record))
	t.later.Queue(`INSERT INTO parts (dataset, record, place, number, version, own)
		SELECT $1, $2, p.place - 1, p.number, p.version, p.own FROM unnest($3::bigint[], $4::bigint[], $5::bytea[]) WITH ORDINALITY p (number, version, own, place)`,
		dataset.Name, int64(record), numbers, versions, own)
	if err := t.sendLater(); err != nil {
		return t.fault("write the parts of a record", err)
	}
	return nil
}

// fillParts says what records consist of that others were merged into, and which keys lead to them.
func (t *tx) fillParts(dataset string, all []*found) error {
	var numbers []int64
	for _, f := range all {
		if f.version > 0 {
			numbers = append(numbers, int64(f.number))
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	parts := map[annona.Number][]annona.Part{}
	var merged []int64
	err := t.conn.each("SELECT record, number, version, own FROM parts WHERE dataset = $1 AND record = ANY ($2) ORDER BY record, place", func(r row) error {
		parts[r.number(0)] = append(parts[r.number(0)], annona.Part{Number: r.number(1), Version: int(r.integer(2)), Own: r.bytes(3)})
		merged = append(merged, r.integer(0))
		return nil
	}, dataset, numbers)
	if err != nil || len(parts) == 0 {
		return err
	}
	others, err := otherKeys(t.conn, all[0].of, slices.Compact(merged))
	for _, f := range all {
		if f.known.Parts = parts[f.number]; f.known.Parts != nil {
			f.known.OtherKeys = others[f.number]
		}
	}
	return err
}

// PutMerge writes a merge by its ID.
func (t *tx) PutMerge(ctx context.Context, m annona.Merge) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO merges (id, dataset, survivor, merged, version, at, operator, client, reason, undone, undone_at, rights)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET undone = excluded.undone, undone_at = excluded.undone_at, rights = excluded.rights`,
		m.ID, m.Dataset, m.Survivor, m.Merged, m.Version, m.At, m.Author.Operator, uidOrNull(m.Author.Client), m.Author.Reason, m.Undone, m.UndoneAt, m.Rights)
	if err != nil {
		return t.fault("write a merge", err)
	}
	return nil
}

const selectMerges = "SELECT id, dataset, survivor, merged, version, at, operator, client, reason, undone, undone_at, rights FROM merges"

// MergeByID returns a merge; nil when there is none.
func (s *Store) MergeByID(ctx context.Context, id annona.UID) (*annona.Merge, error) {
	merges, err := s.merges(ctx, selectMerges+" WHERE id = $1", id)
	if err != nil || len(merges) == 0 {
		return nil, err
	}
	return &merges[0], nil
}

// MergesOf returns the merges of records, in the order in which they were made.
func (s *Store) MergesOf(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Merge, error) {
	return s.merges(ctx, selectMerges+" WHERE dataset = $1 AND (survivor = ANY ($2) OR merged = ANY ($2)) ORDER BY at, position", dataset.Name, integers(numbers))
}

func (s *Store) merges(ctx context.Context, sql string, args ...any) (merges []annona.Merge, err error) {
	err = s.readers.ask(ctx, "read merges", func(c *conn) error {
		merges = nil
		return c.each(sql, func(r row) error {
			merges = append(merges, annona.Merge{
				ID: r.uid(0), Dataset: r.text(1), Survivor: r.number(2), Merged: r.number(3), Version: int(r.integer(4)), At: r.time(5),
				Author: annona.Author{Operator: r.text(6), Client: r.uid(7), Reason: r.text(8)},
				Undone: int(r.integer(9)), UndoneAt: r.time(10), Rights: r.bytes(11),
			})
			return nil
		}, slices.Clone(args)...)
	})
	return merges, err
}

// millionths are in how many parts a score is kept.
const millionths = 1e6

// PutCandidate writes a match candidate by its ID.
func (t *tx) PutCandidate(ctx context.Context, c annona.Candidate) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	written, err := t.conn.integer(`INSERT INTO candidates (id, dataset, a, b, origin, engine, score, evidence, state, at, operator, client, reason, decided_at, merge)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (dataset, a, b) DO UPDATE SET origin = excluded.origin, engine = excluded.engine, score = excluded.score, evidence = excluded.evidence, state = excluded.state,
			operator = excluded.operator, client = excluded.client, reason = excluded.reason, decided_at = excluded.decided_at, merge = excluded.merge
			WHERE candidates.id = excluded.id
		RETURNING key`,
		c.ID, c.Dataset, c.A, c.B, c.Origin, c.Engine, int64(math.Round(c.Score*millionths)), c.Evidence, c.State, c.At,
		c.Decided.Operator, uidOrNull(c.Decided.Client), c.Decided.Reason, c.DecidedAt, uidOrNull(c.Merge))
	switch {
	case err != nil:
		return t.fault("write a match candidate", err)
	case written == 0:
		return annona.Conflict("candidate_known", "these two records are a match candidate already")
	}
	return nil
}

const selectCandidates = "SELECT key, id, dataset, a, b, origin, engine, score, evidence, state, at, operator, client, reason, decided_at, merge FROM candidates"

// CandidateByID returns a match candidate; nil when there is none.
func (s *Store) CandidateByID(ctx context.Context, id annona.UID) (*annona.Candidate, error) {
	all, err := s.candidates(ctx, selectCandidates+" WHERE id = $1", id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Candidates returns match candidates by key. See annona.Merges.
func (s *Store) Candidates(ctx context.Context, state string, after int64, limit int) ([]annona.Candidate, error) {
	if state == "" {
		return s.candidates(ctx, selectCandidates+" WHERE key > $1 ORDER BY key LIMIT $2", after, limit)
	}
	return s.candidates(ctx, selectCandidates+" WHERE state = $1 AND key > $2 ORDER BY key LIMIT $3", state, after, limit)
}

// CandidatesOf returns the match candidates that name one of those records.
func (s *Store) CandidatesOf(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Candidate, error) {
	return s.candidates(ctx, selectCandidates+" WHERE dataset = $1 AND (a = ANY ($2) OR b = ANY ($2)) ORDER BY key", dataset.Name, integers(numbers))
}

func (s *Store) candidates(ctx context.Context, sql string, args ...any) (all []annona.Candidate, err error) {
	err = s.readers.ask(ctx, "read match candidates", func(c *conn) error {
		all = nil
		return c.each(sql, func(r row) error {
			all = append(all, annona.Candidate{
				Key: r.integer(0), ID: r.uid(1), Dataset: r.text(2), A: r.number(3), B: r.number(4),
				Origin: r.text(5), Engine: r.text(6), Score: float64(r.integer(7)) / millionths, Evidence: r.text(8),
				State: r.text(9), At: r.time(10),
				Decided:   annona.Author{Operator: r.text(11), Client: r.uid(12), Reason: r.text(13)},
				DecidedAt: r.time(14), Merge: r.uid(15),
			})
			return nil
		}, slices.Clone(args)...)
	})
	return all, err
}

// eraseMerges removes what tells that a record was merged with others, and what others' events keep
// of it from the time when they were one. A merge is forgotten when neither record is there.
func (t *tx) eraseMerges(dataset string, number annona.Number) error {
	for _, sql := range []string{
		"DELETE FROM parts WHERE dataset = $1 AND (record = $2 OR number = $2)",
		"DELETE FROM candidates WHERE dataset = $1 AND (a = $2 OR b = $2)",
		`WITH RECURSIVE held (survivor, version, undone) AS (
			SELECT survivor, version, undone FROM merges WHERE dataset = $1 AND merged = $2
			UNION SELECT m.survivor, m.version, m.undone FROM held h JOIN merges m ON m.dataset = $1 AND m.merged = h.survivor)
		UPDATE events e SET before = NULL FROM held h WHERE e.before IS NOT NULL AND e.dataset = $1 AND e.record = h.survivor
			AND e.version > h.version AND (h.undone = 0 OR e.version <= h.undone)`,
		`DELETE FROM merges m WHERE dataset = $1 AND (merged = $2 OR survivor = $2) AND NOT EXISTS (
			SELECT FROM ` + dataset + ` r WHERE r.number IN (m.survivor, m.merged) AND r.number <> $2
			UNION ALL SELECT FROM deleted_records r WHERE r.dataset = $1 AND r.number IN (m.survivor, m.merged) AND r.number <> $2)`,
	} {
		if err := t.conn.exec(sql, dataset, number); err != nil {
			return err
		}
	}
	return nil
}
