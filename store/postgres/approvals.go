package postgres

import (
	"context"
	"encoding/json"

	"github.com/annona-exchange/annona"
)

// ApprovalByID returns what waits for a second person. See annona.Approvals.
func (s *Store) ApprovalByID(ctx context.Context, id annona.UID) (found *annona.Approval, err error) {
	err = s.lookups.ask(ctx, "read an approval", func(c *conn) error {
		found, err = c.approval(id)
		return err
	})
	return found, err
}

// Approvals lists what waits for a second person. See annona.Approvals.
func (s *Store) Approvals(ctx context.Context, kind annona.ApprovalKind, state annona.ApprovalState, limit int) (all []annona.Approval, err error) {
	err = s.lookups.ask(ctx, "read the approvals", func(c *conn) error {
		all = nil
		return c.each("SELECT body FROM approvals WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR state = $2) ORDER BY asked_at DESC, id LIMIT $3", func(r row) error {
			a, err := approvalOf(r.bytes(0))
			all = append(all, a)
			return err
		}, string(kind), string(state), limit)
	})
	return all, err
}

func (c *conn) approval(id annona.UID) (found *annona.Approval, err error) {
	body := []byte(nil)
	is, err := c.one("SELECT body FROM approvals WHERE id = $1", func(r row) { body = r.bytes(0) }, id)
	if err != nil || !is {
		return nil, err
	}
	a, err := approvalOf(body)
	return &a, err
}

func approvalOf(body []byte) (a annona.Approval, err error) {
	if err := json.Unmarshal(body, &a); err != nil {
		return a, annona.Internal("read an approval", err)
	}
	return a, nil
}

// HoldApprovals lets nobody else decide before the transaction ends, and returns the versions in force.
func (t *tx) HoldApprovals(ctx context.Context, agreement string) (policy, version int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	if _, err := t.conn.integer("SELECT value FROM counters WHERE name = 'approvals' FOR UPDATE"); err != nil {
		return 0, 0, t.fault("hold the approvals", err)
	}
	_, err = t.conn.one("SELECT (SELECT coalesce(max(version), 0) FROM policies), (SELECT coalesce(max(version), 0) FROM agreements WHERE name = $1)", func(r row) {
		policy, version = int(r.integer(0)), int(r.integer(1))
	}, agreement)
	if err != nil {
		return 0, 0, t.fault("hold the approvals", err)
	}
	return policy, version, nil
}

// HoldApproval returns what waits for a second person, as it is at this moment.
func (t *tx) HoldApproval(ctx context.Context, id annona.UID) (*annona.Approval, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := t.conn.approval(id)
	if err != nil {
		return nil, t.fault("read an approval", err)
	}
	return a, nil
}

// PutApproval writes what waits for a second person, by its ID.
func (t *tx) PutApproval(ctx context.Context, a annona.Approval) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(a)
	if err != nil {
		return annona.Internal("write an approval", err)
	}
	err = t.conn.exec(`INSERT INTO approvals (id, kind, state, asked_at, body) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`, a.ID, string(a.Kind), string(a.State), a.AskedAt, body)
	if err != nil {
		return t.fault("write an approval", err)
	}
	return nil
}
