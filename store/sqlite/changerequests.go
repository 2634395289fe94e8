package sqlite

import (
	"context"
	"math"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const selectChangeRequests = `SELECT key, id, type, dataset, subject, state, source, agreement, client, person, purpose, version, sealed, at, until,
	decided_at, operator, decider, reason, load FROM change_requests`

// typeConflict is the type of change requests that are conflicts.
const typeConflict = "conflict"

// PutChangeRequest writes a change request by its ID. See annona.ChangeRequestTx.
func (t *tx) PutChangeRequest(ctx context.Context, c annona.ChangeRequest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO change_requests (id, type, conflict, dataset, subject, state, source, agreement, client, person, purpose, version, sealed, at, until,
			decided_at, operator, decider, reason, load)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, until = excluded.until, decided_at = excluded.decided_at, operator = excluded.operator,
			decider = excluded.decider, reason = excluded.reason, load = excluded.load`,
		c.ID, c.Type, c.Type == typeConflict, c.Dataset, c.Subject, c.State, c.Source, c.Agreement, c.Client, uidOrNull(c.Person), c.Purpose, c.Version, c.Sealed, c.At, c.Until,
		c.DecidedAt, c.DecidedBy.Operator, uidOrNull(c.DecidedBy.Client), c.DecidedBy.Reason, uidOrNull(c.Load))
	if _, no := tableOf(c.Dataset); no == nil && err == nil { // what is kept of a case moves nothing of anybody
		err = t.touch(subject{c.Dataset, c.Subject}, annona.Author{Operator: c.DecidedBy.Operator, Client: c.Client}, "change_request")
	}
	return fault("write a change request", err)
}

// HoldChangeRequest returns a change request. Those who write take turns.
func (t *tx) HoldChangeRequest(ctx context.Context, id annona.UID) (*annona.ChangeRequest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := t.conn.changeRequests(selectChangeRequests+" WHERE id = ?", id)
	if err != nil || len(all) == 0 {
		return nil, fault("read a change request", err)
	}
	return &all[0], nil
}

// ChangeRequestByID returns a change request; nil when there is none.
func (s *Store) ChangeRequestByID(ctx context.Context, id annona.UID) (found *annona.ChangeRequest, err error) {
	err = s.readers.read(ctx, "read a change request", func(c *conn) error {
		all, err := c.changeRequests(selectChangeRequests+" WHERE id = ?", id)
		if len(all) > 0 {
			found = &all[0]
		}
		return err
	})
	return found, err
}

// ChangeRequests returns change requests. See annona.ChangeRequests.
func (s *Store) ChangeRequests(ctx context.Context, of annona.WhichRequests, after int64, limit int) (all []annona.ChangeRequest, err error) {
	err = s.readers.read(ctx, "read change requests", func(c *conn) error {
		all, err = c.changeRequests(selectChangeRequests+` WHERE key > ?1 AND conflict = ?2 AND (?3 IS NULL OR agreement = ?3) AND (?4 IS NULL OR state = ?4)
			AND (?5 IS NULL OR dataset = ?5) AND (?6 = 0 OR subject = ?6) ORDER BY key LIMIT ?7`, after, of.Conflicts, of.Agreement, of.State, of.Dataset, of.Subject, limit)
		return err
	})
	return all, err
}

func (c *conn) changeRequests(sql string, args ...any) (all []annona.ChangeRequest, err error) {
	err = c.each(sql, func(s *sqlite.Stmt) error {
		all = append(all, annona.ChangeRequest{
			Key: s.ColumnInt64(0), ID: columnUID(s, 1), Type: s.ColumnText(2), Dataset: s.ColumnText(3), Subject: annona.Number(s.ColumnInt64(4)),
			State: s.ColumnText(5), Source: s.ColumnText(6), Agreement: s.ColumnText(7), Client: columnUID(s, 8), Person: columnUID(s, 9),
			Purpose: s.ColumnText(10), Version: s.ColumnInt(11), Sealed: columnBytes(s, 12), At: columnTime(s, 13), Until: columnTime(s, 14),
			DecidedAt: columnTime(s, 15), DecidedBy: annona.Author{Operator: s.ColumnText(16), Client: columnUID(s, 17), Reason: s.ColumnText(18)}, Load: columnUID(s, 19),
		})
		return nil
	}, args...)
	return all, err
}

// FormersOf returns what events keep of a record. See annona.ChangeRequests.
func (s *Store) FormersOf(ctx context.Context, dataset *annona.Dataset, record annona.Number, below, limit int) (events []annona.Event, err error) {
	if below == 0 {
		below = math.MaxInt32
	}
	err = s.readers.read(ctx, "read what a record was", func(c *conn) error {
		return c.each(`SELECT id, at, actor, client, dataset, record, version, kind, reason, load, before FROM events
			WHERE record = ? AND dataset = ? AND before IS NOT NULL AND version < ? ORDER BY version DESC, seq DESC LIMIT ?`, func(s *sqlite.Stmt) error {
			events = append(events, annona.Event{
				ID: columnUID(s, 0), At: columnTime(s, 1), Actor: s.ColumnText(2), Client: columnUID(s, 3), Dataset: s.ColumnText(4), Record: annona.Number(s.ColumnInt64(5)),
				Version: s.ColumnInt(6), Kind: annona.EventKind(s.ColumnText(7)), Reason: s.ColumnText(8), Load: s.ColumnInt64(9), Before: columnBytes(s, 10),
			})
			return nil
		}, record, dataset.Name, below, limit)
	})
	return events, err
}
