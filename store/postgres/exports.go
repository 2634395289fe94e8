package postgres

import (
	"context"
	"encoding/json"
	"time"

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
	var key, memory []byte
	if len(order.Key) > 0 {
		key = order.Key
	}
	if len(order.Memory) > 0 {
		memory = order.Memory
	}
	n, err := t.conn.changes(`INSERT INTO export_jobs (id, agreement, client, request_key, body, state, epoch, attempts, turn, total, part_count, row_count, byte_count, memory, swept)
		VALUES ($1, $2, $3, $4, $5, 'waiting', 0, 0, 0, 0, 0, 0, 0, $6, false) ON CONFLICT DO NOTHING`, id, order.Agreement, order.Client, key, string(body), memory)
	if err == nil && n == 0 {
		return annona.ErrExportKnown
	}
	return t.fault("write an export job", err)
}

// CancelExport ends a job. Whoever has it loses it.
func (t *tx) CancelExport(ctx context.Context, id annona.UID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.fault("cancel an export job", t.conn.exec(`UPDATE export_jobs SET state = 'cancelled', code = NULL, epoch = epoch + 1, worker = NULL, lease_until = NULL, ended_at = `+clockNow+`
		WHERE id = $1 AND state IN ('waiting', 'running', 'complete')`, id))
}

const selectExports = `SELECT id, body, state, code, epoch, attempts, plan, total, part_count, row_count, byte_count, started_at, ended_at, expires_at, manifest, swept, reached FROM export_jobs `

func exportJob(r row) (j annona.ExportJob, err error) {
	if err := json.Unmarshal(r.bytes(1), &j.ExportOrder); err != nil {
		return j, err
	}
	j.ID, j.State, j.Code = r.uid(0), annona.ExportState(r.text(2)), r.text(3)
	j.Epoch, j.Attempts, j.Plan, j.Total = r.integer(4), int(r.integer(5)), r.bytes(6), r.integer(7)
	j.Parts, j.Rows, j.Bytes = int(r.integer(8)), r.integer(9), r.integer(10)
	j.StartedAt, j.EndedAt, j.ExpiresAt = r.time(11), r.time(12), r.time(13)
	j.Manifest, j.Swept, j.Reached = r.text(14), r.truth(15), r.bytes(16)
	return j, nil
}

func (s *Store) exportJobs(ctx context.Context, sql string, args ...any) (jobs []annona.ExportJob, err error) {
	err = s.readers.ask(ctx, "read export jobs", func(c *conn) error {
		jobs = nil
		return c.each(selectExports+sql, func(r row) error {
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
	return s.oneExport(ctx, "WHERE id = $1", id)
}

// ExportJobByKey returns the job that a client has asked for with that key; nil when there is none.
func (s *Store) ExportJobByKey(ctx context.Context, client annona.UID, key []byte) (*annona.ExportJob, error) {
	return s.oneExport(ctx, "WHERE client = $1 AND request_key = $2", client, key)
}

// ExportJobs returns jobs, the newest first. See annona.ExportJobs.
func (s *Store) ExportJobs(ctx context.Context, agreement string, limit int) ([]annona.ExportJob, error) {
	if agreement == "" {
		return s.exportJobs(ctx, "ORDER BY key DESC LIMIT $1", limit)
	}
	return s.exportJobs(ctx, "WHERE agreement = $1 ORDER BY key DESC LIMIT $2", agreement, limit)
}

// PreviousExport returns the newest job with a memory that has reached a position; nil when there is none.
func (s *Store) PreviousExport(ctx context.Context, memory []byte) (*annona.ExportJob, error) {
	return s.oneExport(ctx, "WHERE memory = $1 AND reached IS NOT NULL AND state IN ('complete', 'expired') ORDER BY ended_at DESC, key DESC LIMIT 1", memory)
}

// ExportParts returns the parts of a job, by number.
func (s *Store) ExportParts(ctx context.Context, id annona.UID) (parts []annona.ExportPart, err error) {
	err = s.readers.ask(ctx, "read the parts of an export", func(c *conn) error {
		parts = nil
		return c.each("SELECT body, subjects FROM export_parts WHERE job = $1 ORDER BY number", func(r row) error {
			p := annona.ExportPart{Subjects: r.bytes(1)}
			err := json.Unmarshal(r.bytes(0), &p)
			parts = append(parts, p)
			return err
		}, id)
	})
	return parts, err
}

// UnsweptExports marks what has expired, and returns jobs whose files are to go.
func (s *Store) UnsweptExports(ctx context.Context, limit int) ([]annona.ExportJob, error) {
	const expired = "state = 'complete' AND expires_at <= " + clockNow
	due, err := s.exportJobs(ctx, "WHERE "+expired+" LIMIT 1")
	if err == nil && len(due) > 0 {
		err = s.update(ctx, "mark exports as expired", func(t *tx) error {
			return t.conn.exec("UPDATE export_jobs SET state = 'expired' WHERE " + expired)
		})
	}
	if err != nil {
		return nil, err
	}
	return s.exportJobs(ctx, "WHERE NOT swept AND state IN ('failed', 'cancelled', 'expired') ORDER BY key LIMIT $1", limit)
}

// SweepExport says that the files of a job that has ended are gone.
func (s *Store) SweepExport(ctx context.Context, id annona.UID) error {
	return s.update(ctx, "forget the files of an export", func(t *tx) error {
		if err := t.conn.exec("UPDATE export_jobs SET swept = true, plan = NULL WHERE id = $1", id); err != nil {
			return err
		}
		return t.conn.exec("DELETE FROM export_parts WHERE job = $1", id)
	})
}

// ClaimExport lends a job to a worker. See annona.ExportQueue.
func (s *Store) ClaimExport(ctx context.Context, worker annona.UID, lease time.Duration) (*annona.ExportJob, error) {
	const due = `((state = 'waiting' AND coalesce(not_before, 0) <= ` + clockNow + `) OR (state = 'running' AND lease_until <= ` + clockNow + `))`
	if waiting, err := s.exportJobs(ctx, "WHERE "+due+" LIMIT 1"); err != nil || len(waiting) == 0 {
		return nil, err // without a transaction of writing
	}
	id := annona.UID{}
	found := false
	err := s.update(ctx, "take up an export", func(t *tx) (err error) {
		found, err = t.conn.one(`UPDATE export_jobs SET state = 'running', worker = $1, lease_until = `+clockNow+` + $2, epoch = epoch + 1, attempts = attempts + 1,
				turn = (SELECT max(turn) + 1 FROM export_jobs), started_at = coalesce(started_at, `+clockNow+`)
			WHERE key = (SELECT key FROM export_jobs j WHERE `+due+`
				ORDER BY (SELECT max(turn) FROM export_jobs o WHERE o.agreement = j.agreement), key LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING id`, func(r row) { id = r.uid(0) }, worker, int64(lease))
		return err
	})
	if err != nil || !found {
		return nil, err
	}
	return s.ExportJob(ctx, id)
}

// claimed changes a job that a worker still has: what is set may name args from $3 on.
func (s *Store) claimed(ctx context.Context, doing string, c annona.ExportClaim, set string, then func(*tx) error, args ...any) error {
	return s.update(ctx, doing, func(t *tx) error {
		n, err := t.conn.changes("UPDATE export_jobs SET "+set+" WHERE id = $1 AND epoch = $2 AND state = 'running' AND lease_until > "+clockNow,
			append([]any{c.Job, c.Epoch}, args...)...)
		if err != nil {
			return err
		}
		if n == 0 {
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
	return s.claimed(ctx, "go on with an export", c, "lease_until = "+clockNow+" + $3, row_count = $4, byte_count = $5", nil, int64(lease), rows, bytes)
}

// PlanExport keeps who is in the export.
func (s *Store) PlanExport(ctx context.Context, c annona.ExportClaim, plan []byte, total int64) error {
	return s.claimed(ctx, "plan an export", c, "plan = $3, total = $4", nil, plan, total)
}

// PutExportPart keeps a part that is complete.
func (s *Store) PutExportPart(ctx context.Context, c annona.ExportClaim, p annona.ExportPart) error {
	body, err := json.Marshal(p)
	if err != nil {
		return annona.Internal("write a part of an export", err)
	}
	return s.claimed(ctx, "write a part of an export", c, "attempts = 0, part_count = greatest(part_count, $3)", func(t *tx) error {
		return t.conn.exec(`INSERT INTO export_parts (job, number, body, subjects) VALUES ($1, $2, $3, $4)
			ON CONFLICT (job, number) DO UPDATE SET body = excluded.body, subjects = excluded.subjects`, c.Job, p.Number, string(body), p.Subjects)
	}, p.Number)
}

// EndExport ends a claim.
func (s *Store) EndExport(ctx context.Context, c annona.ExportClaim, end annona.ExportEnd) error {
	var reached []byte
	if len(end.Reached) > 0 {
		reached = end.Reached
	}
	times := "ended_at = " + clockNow
	switch end.State {
	case annona.ExportWaiting:
		times = "not_before = " + clockNow + " + $6"
	case annona.ExportComplete:
		times += ", expires_at = " + clockNow + " + $6"
	default:
		times += ", not_before = $6"
	}
	return s.claimed(ctx, "end an export", c, "state = $3, code = nullif($4, ''), worker = NULL, lease_until = NULL, manifest = nullif($5, ''), reached = $7, "+times, nil,
		string(end.State), end.Code, end.Manifest, int64(max(end.Delay, end.Keep)), reached)
}
