package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// PutExportJob keeps a new job. See annona.ExportTx.
func (t *tx) PutExportJob(ctx context.Context, id annona.UID, order annona.ExportOrder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(order)
	if err != nil {
		return annona.Internal("write an export job", err)
	}
	var key, memory any
	if len(order.Key) > 0 {
		key = order.Key
	}
	if len(order.Memory) > 0 {
		memory = order.Memory
	}
	err = t.conn.exec(`INSERT INTO export_jobs (id, agreement, client, request_key, body, state, epoch, attempts, turn, total, part_count, row_count, byte_count, memory, swept)
		VALUES (?, ?, ?, ?, ?, 'waiting', 0, 0, 0, 0, 0, 0, 0, ?, 0) ON CONFLICT DO NOTHING`, id, order.Agreement, order.Client, key, string(body), memory)
	if err == nil && t.conn.Changes() == 0 {
		return annona.ErrExportKnown
	}
	return fault("write an export job", err)
}

// CancelExport ends a job. Whoever has it loses it.
func (t *tx) CancelExport(ctx context.Context, id annona.UID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fault("cancel an export job", t.conn.exec(`UPDATE export_jobs SET state = 'cancelled', code = NULL, epoch = epoch + 1, worker = NULL, lease_until = NULL, ended_at = ?
		WHERE id = ? AND state IN ('waiting', 'running', 'complete')`, t.now, id))
}

const selectExports = `SELECT id, body, state, code, epoch, attempts, plan, total, part_count, row_count, byte_count, started_at, ended_at, expires_at, manifest, swept, reached FROM export_jobs `

func exportJob(r *sqlite.Stmt) (j annona.ExportJob, err error) {
	if err := json.Unmarshal([]byte(r.ColumnText(1)), &j.ExportOrder); err != nil {
		return j, err
	}
	j.ID, j.State, j.Code = columnUID(r, 0), annona.ExportState(r.ColumnText(2)), r.ColumnText(3)
	j.Epoch, j.Attempts, j.Plan, j.Total = r.ColumnInt64(4), r.ColumnInt(5), columnBytes(r, 6), r.ColumnInt64(7)
	j.Parts, j.Rows, j.Bytes = r.ColumnInt(8), r.ColumnInt64(9), r.ColumnInt64(10)
	j.StartedAt, j.EndedAt, j.ExpiresAt = columnTime(r, 11), columnTime(r, 12), columnTime(r, 13)
	j.Manifest, j.Swept, j.Reached = r.ColumnText(14), r.ColumnBool(15), columnBytes(r, 16)
	return j, nil
}

func (s *Store) exportJobs(ctx context.Context, sql string, args ...any) (jobs []annona.ExportJob, err error) {
	err = s.readers.read(ctx, "read export jobs", func(c *conn) error {
		jobs = nil
		return c.each(selectExports+sql, func(r *sqlite.Stmt) error {
			j, err := exportJob(r)
			jobs = append(jobs, j)
			return err
		}, args...)
	})
	return jobs, err
}

func (s *Store) oneExport(ctx context.Context, sql string, args ...any) (*annona.ExportJob, error) {
	jobs, err := s.exportJobs(ctx, sql, args...)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	return &jobs[0], nil
}

// ExportJob returns a job; nil when there is none.
func (s *Store) ExportJob(ctx context.Context, id annona.UID) (*annona.ExportJob, error) {
	return s.oneExport(ctx, "WHERE id = ?", id)
}

// ExportJobByKey returns the job that a client has asked for with that key; nil when there is none.
func (s *Store) ExportJobByKey(ctx context.Context, client annona.UID, key []byte) (*annona.ExportJob, error) {
	return s.oneExport(ctx, "WHERE client = ? AND request_key = ?", client, key)
}

// ExportJobs returns jobs, the newest first. See annona.ExportJobs.
func (s *Store) ExportJobs(ctx context.Context, agreement string, limit int) ([]annona.ExportJob, error) {
	if agreement == "" {
		return s.exportJobs(ctx, "ORDER BY key DESC LIMIT ?", limit)
	}
	return s.exportJobs(ctx, "WHERE agreement = ? ORDER BY key DESC LIMIT ?", agreement, limit)
}

// PreviousExport returns the newest job with a memory that has reached a position; nil when there is none.
func (s *Store) PreviousExport(ctx context.Context, memory []byte) (*annona.ExportJob, error) {
	return s.oneExport(ctx, "WHERE memory = ? AND reached IS NOT NULL AND state IN ('complete', 'expired') ORDER BY ended_at DESC, key DESC LIMIT 1", memory)
}

// ExportParts returns the parts of a job, by number.
func (s *Store) ExportParts(ctx context.Context, id annona.UID) (parts []annona.ExportPart, err error) {
	err = s.readers.read(ctx, "read the parts of an export", func(c *conn) error {
		parts = nil
		return c.each("SELECT body, subjects FROM export_parts WHERE job = ? ORDER BY number", func(r *sqlite.Stmt) error {
			p := annona.ExportPart{Subjects: columnBytes(r, 1)}
			err := json.Unmarshal([]byte(r.ColumnText(0)), &p)
			parts = append(parts, p)
			return err
		}, id)
	})
	return parts, err
}

// UnsweptExports marks what has expired, and returns jobs whose files are to go.
func (s *Store) UnsweptExports(ctx context.Context, limit int) ([]annona.ExportJob, error) {
	const expired = "state = 'complete' AND expires_at <= ?"
	now := s.clock()
	due, err := s.exportJobs(ctx, "WHERE "+expired+" LIMIT 1", now)
	if err == nil && len(due) > 0 {
		err = s.writer.update(ctx, "mark exports as expired", func(t *tx) error {
			return t.conn.exec("UPDATE export_jobs SET state = 'expired' WHERE "+expired, now)
		})
	}
	if err != nil {
		return nil, err
	}
	return s.exportJobs(ctx, "WHERE swept = 0 AND state IN ('failed', 'cancelled', 'expired') ORDER BY key LIMIT ?", limit)
}

// SweepExport says that the files of a job that has ended are gone.
func (s *Store) SweepExport(ctx context.Context, id annona.UID) error {
	return s.writer.update(ctx, "forget the files of an export", func(t *tx) error {
		if err := t.conn.exec("UPDATE export_jobs SET swept = 1, plan = NULL WHERE id = ?", id); err != nil {
			return err
		}
		return t.conn.exec("DELETE FROM export_parts WHERE job = ?", id)
	})
}

// ClaimExport lends a job to a worker. See annona.ExportQueue.
func (s *Store) ClaimExport(ctx context.Context, worker annona.UID, lease time.Duration) (*annona.ExportJob, error) {
	const due = `((state = 'waiting' AND coalesce(not_before, 0) <= ?1) OR (state = 'running' AND lease_until <= ?1))`
	if waiting, err := s.exportJobs(ctx, "WHERE "+due+" LIMIT 1", s.clock()); err != nil || len(waiting) == 0 {
		return nil, err // without taking the writer's turn
	}
	id := annona.UID{}
	found := false
	err := s.writer.update(ctx, "take up an export", func(t *tx) (err error) {
		found, err = t.conn.one(`UPDATE export_jobs SET state = 'running', worker = ?2, lease_until = ?3, epoch = epoch + 1, attempts = attempts + 1,
				turn = (SELECT max(turn) + 1 FROM export_jobs), started_at = coalesce(started_at, ?1)
			WHERE key = (SELECT key FROM export_jobs j WHERE `+due+`
				ORDER BY (SELECT max(turn) FROM export_jobs o WHERE o.agreement = j.agreement), key LIMIT 1)
			RETURNING id`, func(r *sqlite.Stmt) { id = columnUID(r, 0) }, t.now, worker, t.now.Add(lease))
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	return s.ExportJob(ctx, id)
}

// claimed changes a job that a worker still has: what is set may name ?1 (the moment) and, from ?4 on,
// args.
func (s *Store) claimed(ctx context.Context, doing string, c annona.ExportClaim, set string, then func(*tx) error, args ...any) error {
	return s.writer.update(ctx, doing, func(t *tx) error {
		err := t.conn.exec("UPDATE export_jobs SET "+set+" WHERE id = ?2 AND epoch = ?3 AND state = 'running' AND lease_until > ?1",
			append([]any{t.now, c.Job, c.Epoch}, args...)...)
		if err != nil {
			return err
		}
		if t.conn.Changes() == 0 {
			return annona.ErrExportLost
		}
		if then == nil {
			return nil
		}
		return then(t)
	})
}

// BeatExport extends a lease.
func (s *Store) BeatExport(ctx context.Context, c annona.ExportClaim, lease time.Duration, rows, bytes int64) error {
	return s.claimed(ctx, "go on with an export", c, "lease_until = ?4, row_count = ?5, byte_count = ?6", nil, s.clock().Add(lease), rows, bytes)
}

// PlanExport keeps who is in the export.
func (s *Store) PlanExport(ctx context.Context, c annona.ExportClaim, plan []byte, total int64) error {
	return s.claimed(ctx, "plan an export", c, "plan = ?4, total = ?5", nil, plan, total)
}

// PutExportPart keeps a part that is complete.
func (s *Store) PutExportPart(ctx context.Context, c annona.ExportClaim, p annona.ExportPart) error {
	body, err := json.Marshal(p)
	if err != nil {
		return annona.Internal("write a part of an export", err)
	}
	return s.claimed(ctx, "write a part of an export", c, "attempts = 0, part_count = max(part_count, ?4)", func(t *tx) error {
		return t.conn.exec(`INSERT INTO export_parts (job, number, body, subjects) VALUES (?, ?, ?, ?)
			ON CONFLICT (job, number) DO UPDATE SET body = excluded.body, subjects = excluded.subjects`, c.Job, p.Number, string(body), p.Subjects)
	}, p.Number)
}

// EndExport ends a claim.
func (s *Store) EndExport(ctx context.Context, c annona.ExportClaim, end annona.ExportEnd) error {
	now := s.clock()
	var ended, expires, notBefore, reached any
	if len(end.Reached) > 0 {
		reached = end.Reached
	}
	switch end.State {
	case annona.ExportWaiting:
		notBefore = now.Add(end.Delay)
	case annona.ExportComplete:
		ended, expires = now, now.Add(end.Keep)
	default:
		ended = now
	}
	return s.claimed(ctx, "end an export", c, `state = ?4, code = nullif(?5, ''), worker = NULL, lease_until = NULL, not_before = ?6, ended_at = ?7,
		expires_at = ?8, manifest = nullif(?9, ''), reached = ?10`, nil, string(end.State), end.Code, notBefore, ended, expires, end.Manifest, reached)
}
