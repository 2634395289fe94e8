package postgres

import (
	"context"
	"math"

	"github.com/annona-exchange/annona"
)

const selectChangeRequests = `SELECT key, id, type, dataset, subject, state, source, agreement, client, person, purpose, version, sealed, at, until,
	decided_at, operator, decider, reason, load FROM change_requests`

// typeConflict is the type of change requests that are conflicts.
const typeConflict = "conflict"

// PutChangeRequest writes a change request by its ID. See annona.ChangeRequestTx.
func (t *tx) PutChangeRequest(ctx context.Context, c annona.ChangeRequest) error {
	const doing = "write a change request"
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO change_requests (id, type, conflict, dataset, subject, state, source, agreement, client, person, purpose, version, sealed, at, until,
			decided_at, operator, decider, reason, load)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, until = excluded.until, decided_at = excluded.decided_at, operator = excluded.operator,
			decider = excluded.decider, reason = excluded.reason, load = excluded.load`,
		c.ID, c.Type, c.Type == typeConflict, c.Dataset, c.Subject, c.State, c.Source, c.Agreement, c.Client, uidOrNull(c.Person), c.Purpose, int64(c.Version), c.Sealed, c.At, c.Until,
		c.DecidedAt, c.DecidedBy.Operator, uidOrNull(c.DecidedBy.Client), c.DecidedBy.Reason, uidOrNull(c.Load))
	if err != nil {
		return t.fault(doing, err)
	}
	if _, err := tableOf(c.Dataset); err != nil {
		return nil // what is kept of a case moves nothing of anybody
	}
	by := annona.Author{Operator: c.DecidedBy.Operator, Client: c.Client}
	if err := t.touchAll(touches{subject{c.Dataset, c.Subject}: "change_request"}, by); err != nil {
		return t.fault(doing, err)
	}
	return nil
}

// HoldChangeRequest locks a change request and returns it; nil when there is none.
func (t *tx) HoldChangeRequest(ctx context.Context, id annona.UID) (*annona.ChangeRequest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := t.conn.changeRequests(selectChangeRequests+" WHERE id = $1 FOR UPDATE", id)
	if err != nil {
		return nil, t.fault("read a change request", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return &all[0], nil
}

// ChangeRequestByID returns a change request; nil when there is none.
func (s *Store) ChangeRequestByID(ctx context.Context, id annona.UID) (found *annona.ChangeRequest, err error) {
	err = s.writers.ask(ctx, "read a change request", func(c *conn) error { // whoever has just asked for it reads it again
		all, err := c.changeRequests(selectChangeRequests+" WHERE id = $1", id)
		if len(all) > 0 {
			found = &all[0]
		}
		return err
	})
	return found, err
}

// ChangeRequests returns change requests. See annona.ChangeRequests.
func (s *Store) ChangeRequests(ctx context.Context, of annona.WhichRequests, after int64, limit int) (all []annona.ChangeRequest, err error) {
	err = s.readers.ask(ctx, "read change requests", func(c *conn) error {
		all, err = c.changeRequests(selectChangeRequests+` WHERE key > $1 AND conflict = $2 AND ($3::text IS NULL OR agreement = $3)
			AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR dataset = $5) AND ($6 = 0 OR subject = $6) ORDER BY key LIMIT $7`,
			after, of.Conflicts, of.Agreement, of.State, of.Dataset, int64(of.Subject), int64(limit))
		return err
	})
	return all, err
}

func (c *conn) changeRequests(sql string, args ...any) (all []annona.ChangeRequest, err error) {
	err = c.each(sql, func(r row) error {
		all = append(all, annona.ChangeRequest{
			Key: r.integer(0), ID: r.uid(1), Type: r.text(2), Dataset: r.text(3), Subject: r.number(4),
			State: r.text(5), Source: r.text(6), Agreement: r.text(7), Client: r.uid(8), Person: r.uid(9),
			Purpose: r.text(10), Version: int(r.integer(11)), Sealed: r.bytes(12), At: r.time(13), Until: r.time(14),
			DecidedAt: r.time(15), DecidedBy: annona.Author{Operator: r.text(16), Client: r.uid(17), Reason: r.text(18)}, Load: r.uid(19),
		})
		return nil
	}, args...)
	return all, err
}

// FormersOf returns what events keep of a record. See annona.ChangeRequests. It is asked of the primary:
// a standby may lack the last one.
func (s *Store) FormersOf(ctx context.Context, dataset *annona.Dataset, record annona.Number, below, limit int) (events []annona.Event, err error) {
	if below == 0 {
		below = math.MaxInt32
	}
	err = s.writers.ask(ctx, "read what a record was", func(c *conn) error {
		return c.each(`SELECT id, at, actor, client, dataset, record, version, kind, reason, load, before FROM events
			WHERE record = $1 AND dataset = $2 AND before IS NOT NULL AND version < $3 ORDER BY version DESC, event DESC LIMIT $4`, func(r row) error {
			e := annona.Event{
				ID: r.uid(0), At: r.time(1), Actor: r.text(2), Client: r.uid(3), Dataset: r.text(4), Record: r.number(5),
				Version: int(r.integer(6)), Kind: annona.EventKind(r.text(7)), Reason: r.text(8), Before: r.bytes(10),
			}
			if !r.absent(9) {
				e.Load = r.integer(9)
			}
			events = append(events, e)
			return nil
		}, int64(record), dataset.Name, int64(below), int64(limit))
	})
	return events, err
}
