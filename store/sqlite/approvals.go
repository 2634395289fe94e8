package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// ApprovalByID returns what waits for a second person. See annona.Approvals.
func (s *Store) ApprovalByID(ctx context.Context, id annona.UID) (found *annona.Approval, err error) {
	err = s.readers.read(ctx, "read an approval", func(c *conn) error {
		found, err = c.approval(id)
		return err
	})
	return found, err
}

// Approvals lists what waits for a second person. See annona.Approvals.
func (s *Store) Approvals(ctx context.Context, kind annona.ApprovalKind, state annona.ApprovalState, limit int) (all []annona.Approval, err error) {
	err = s.readers.read(ctx, "read the approvals", func(c *conn) error {
		all = nil
		return c.each("SELECT body FROM approvals WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY asked_at DESC, id LIMIT ?3", func(r *sqlite.Stmt) error {
			a, err := approvalOf(columnBytes(r, 0))
			all = append(all, a)
			return err
		}, string(kind), string(state), limit)
	})
	return all, err
}

func (c *conn) approval(id annona.UID) (found *annona.Approval, err error) {
	body := []byte(nil)
	is, err := c.one("SELECT body FROM approvals WHERE id = ?", func(r *sqlite.Stmt) { body = columnBytes(r, 0) }, id)
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

// HoldApprovals returns the versions in force. There is one writer: nobody else decides meanwhile.
func (t *tx) HoldApprovals(ctx context.Context, agreement string) (policy, version int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	_, err = t.conn.one("SELECT (SELECT coalesce(max(version), 0) FROM policies), (SELECT coalesce(max(version), 0) FROM agreements WHERE name = ?)", func(r *sqlite.Stmt) {
		policy, version = r.ColumnInt(0), r.ColumnInt(1)
	}, agreement)
	return policy, version, fault("hold the approvals", err)
}

// HoldApproval returns what waits for a second person, as it is at this moment.
func (t *tx) HoldApproval(ctx context.Context, id annona.UID) (*annona.Approval, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a, err := t.conn.approval(id)
	return a, fault("read an approval", err)
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
	return fault("write an approval", t.conn.exec(`INSERT INTO approvals (id, kind, state, asked_at, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`, a.ID, string(a.Kind), string(a.State), a.AskedAt, body))
}
