package sqlite

import (
	"context"
	"math"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// PutParts writes what a record consists of. See annona.LifeTx.
func (t *tx) PutParts(ctx context.Context, dataset *annona.Dataset, record annona.Number, parts []annona.Part) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec("DELETE FROM parts WHERE dataset = ? AND record = ?", dataset.Name, record)
	for place, p := range parts {
		if err == nil {
			err = t.conn.exec("INSERT INTO parts (dataset, record, place, number, version, own) VALUES (?, ?, ?, ?, ?, ?)",
				dataset.Name, record, place, p.Number, p.Version, p.Own)
		}
	}
	t.elsewhere.parts = t.elsewhere.parts || len(parts) > 0
	return fault("write the parts of a record", err)
}

// partsOf returns what a record consists of; none where it is of one piece.
func (t *tx) partsOf(dataset string, record annona.Number) (parts []annona.Part, err error) {
	there, err := t.lookElsewhere()
	if err != nil || !there.parts {
		return nil, err
	}
	err = t.conn.each("SELECT number, version, own FROM parts WHERE dataset = ? AND record = ? ORDER BY place", func(s *sqlite.Stmt) error {
		parts = append(parts, annona.Part{Number: annona.Number(s.ColumnInt64(0)), Version: int(s.ColumnInt64(1)), Own: columnBytes(s, 2)})
		return nil
	}, dataset, record)
	return parts, err
}

// PutMerge writes a merge by its ID.
func (t *tx) PutMerge(ctx context.Context, m annona.Merge) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO merges (id, dataset, survivor, merged, version, at, operator, client, reason, undone, undone_at, rights)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET undone = excluded.undone, undone_at = excluded.undone_at, rights = excluded.rights`,
		m.ID, m.Dataset, m.Survivor, m.Merged, m.Version, m.At, m.Author.Operator, orNull(m.Author.Client), m.Author.Reason, m.Undone, m.UndoneAt, m.Rights)
	return fault("write a merge", err)
}

const selectMerges = "SELECT id, dataset, survivor, merged, version, at, operator, client, reason, undone, undone_at, rights FROM merges"

// MergeByID returns a merge; nil when there is none.
func (s *Store) MergeByID(ctx context.Context, id annona.UID) (*annona.Merge, error) {
	merges, err := s.merges(ctx, selectMerges+" WHERE id = ?", id)
	if err != nil || len(merges) == 0 {
		return nil, err
	}
	return &merges[0], nil
}

// MergesOf returns the merges of records, in the order in which they were made.
func (s *Store) MergesOf(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Merge, error) {
	return s.merges(ctx, `SELECT m.id, dataset, survivor, merged, version, at, operator, client, reason, undone, undone_at, rights FROM merges m
		WHERE dataset = ?1 AND id IN (SELECT s.id FROM json_each(?2) n CROSS JOIN merges s ON s.survivor = n.value
			UNION SELECT s.id FROM json_each(?2) n CROSS JOIN merges s ON s.merged = n.value) ORDER BY m.at, m.rowid`, dataset.Name, numberList(numbers))
}

func (s *Store) merges(ctx context.Context, sql string, args ...any) (merges []annona.Merge, err error) {
	err = s.readers.read(ctx, "read merges", func(c *conn) error {
		return c.each(sql, func(r *sqlite.Stmt) error {
			merges = append(merges, annona.Merge{
				ID: columnUID(r, 0), Dataset: r.ColumnText(1), Survivor: annona.Number(r.ColumnInt64(2)), Merged: annona.Number(r.ColumnInt64(3)),
				Version: int(r.ColumnInt64(4)), At: columnTime(r, 5),
				Author: annona.Author{Operator: r.ColumnText(6), Client: columnUID(r, 7), Reason: r.ColumnText(8)},
				Undone: int(r.ColumnInt64(9)), UndoneAt: columnTime(r, 10), Rights: columnBytes(r, 11),
			})
			return nil
		}, args...)
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
	known, err := t.conn.integer("SELECT count(*) FROM candidates WHERE dataset = ? AND a = ? AND b = ? AND id <> ?", c.Dataset, c.A, c.B, c.ID)
	switch {
	case err != nil:
		return fault("write a match candidate", err)
	case known > 0:
		return annona.Conflict("candidate_known", "these two records are a match candidate already")
	}
	err = t.conn.exec(`INSERT INTO candidates (id, dataset, a, b, origin, engine, score, evidence, state, at, operator, client, reason, decided_at, merge)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET origin = excluded.origin, engine = excluded.engine, score = excluded.score, evidence = excluded.evidence, state = excluded.state,
			operator = excluded.operator, client = excluded.client, reason = excluded.reason, decided_at = excluded.decided_at, merge = excluded.merge`,
		c.ID, c.Dataset, c.A, c.B, c.Origin, c.Engine, int64(math.Round(c.Score*millionths)), c.Evidence, c.State, c.At,
		c.Decided.Operator, orNull(c.Decided.Client), c.Decided.Reason, c.DecidedAt, orNull(c.Merge))
	return fault("write a match candidate", err)
}

const selectCandidates = "SELECT key, id, dataset, a, b, origin, engine, score, evidence, state, at, operator, client, reason, decided_at, merge FROM candidates"

// CandidateByID returns a match candidate; nil when there is none.
func (s *Store) CandidateByID(ctx context.Context, id annona.UID) (*annona.Candidate, error) {
	all, err := s.candidates(ctx, selectCandidates+" WHERE id = ?", id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// Candidates returns match candidates by key. See annona.Merges.
func (s *Store) Candidates(ctx context.Context, state string, after int64, limit int) ([]annona.Candidate, error) {
	return s.candidates(ctx, selectCandidates+" WHERE (?1 IS NULL OR state = ?1) AND key > ?2 ORDER BY key LIMIT ?3", state, after, limit)
}

// CandidatesOf returns the match candidates that name one of those records.
func (s *Store) CandidatesOf(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number) ([]annona.Candidate, error) {
	return s.candidates(ctx, selectCandidates+` WHERE dataset = ?1 AND key IN (
		SELECT c.key FROM json_each(?2) n CROSS JOIN candidates c ON c.dataset = ?1 AND c.a = n.value
		UNION SELECT c.key FROM json_each(?2) n CROSS JOIN candidates c ON c.dataset = ?1 AND c.b = n.value) ORDER BY key`, dataset.Name, numberList(numbers))
}

func (s *Store) candidates(ctx context.Context, sql string, args ...any) (all []annona.Candidate, err error) {
	err = s.readers.read(ctx, "read match candidates", func(c *conn) error {
		return c.each(sql, func(r *sqlite.Stmt) error {
			all = append(all, annona.Candidate{
				Key: r.ColumnInt64(0), ID: columnUID(r, 1), Dataset: r.ColumnText(2), A: annona.Number(r.ColumnInt64(3)), B: annona.Number(r.ColumnInt64(4)),
				Origin: r.ColumnText(5), Engine: r.ColumnText(6), Score: float64(r.ColumnInt64(7)) / millionths, Evidence: r.ColumnText(8),
				State: r.ColumnText(9), At: columnTime(r, 10),
				Decided:   annona.Author{Operator: r.ColumnText(11), Client: columnUID(r, 12), Reason: r.ColumnText(13)},
				DecidedAt: columnTime(r, 14), Merge: columnUID(r, 15),
			})
			return nil
		}, args...)
	})
	return all, err
}

// eraseMerges removes what tells that a record was merged with others, and what others' events keep
// of it from the time when they were one. A merge is forgotten when neither record is there.
func (t *tx) eraseMerges(dataset string, number annona.Number) error {
	for _, sql := range []string{
		"DELETE FROM parts WHERE dataset = ?1 AND (record = ?2 OR number = ?2)",
		"DELETE FROM candidates WHERE dataset = ?1 AND (a = ?2 OR b = ?2)",
		`WITH RECURSIVE held (survivor, version, undone) AS (
			SELECT survivor, version, undone FROM merges WHERE dataset = ?1 AND merged = ?2
			UNION SELECT m.survivor, m.version, m.undone FROM held h JOIN merges m ON m.dataset = ?1 AND m.merged = h.survivor)
		UPDATE events SET before = NULL WHERE before IS NOT NULL AND dataset = ?1 AND EXISTS (SELECT 1 FROM held h
			WHERE h.survivor = events.record AND events.version > h.version AND (h.undone = 0 OR events.version <= h.undone))`,
		`DELETE FROM merges WHERE dataset = ?1 AND (merged = ?2 OR survivor = ?2) AND NOT EXISTS (
			SELECT 1 FROM ` + dataset + ` r WHERE r.number IN (merges.survivor, merges.merged) AND r.number <> ?2
			UNION ALL SELECT 1 FROM deleted_records r WHERE r.dataset = ?1 AND r.number IN (merges.survivor, merges.merged) AND r.number <> ?2)`,
	} {
		if err := t.conn.exec(sql, dataset, number); err != nil {
			return err
		}
	}
	return nil
}
