package sqlite

import (
	"context"
	"encoding/json"

	"github.com/annona-exchange/annona"
	"zombiezen.com/go/sqlite"
)

// Policy returns the policy in force; nil when none is on file. See annona.Standings.
func (s *Store) Policy(ctx context.Context) (*annona.Policy, error) {
	known := s.policy.Load()
	if known == nil {
		known = &annona.Policy{}
	}
	version, body := 0, ""
	err := s.readers.read(ctx, "read the policy", func(c *conn) error {
		_, err := c.one("SELECT version, CASE WHEN version = ? THEN '' ELSE body END FROM policies ORDER BY version DESC LIMIT 1", func(stmt *sqlite.Stmt) {
			version, body = stmt.ColumnInt(0), stmt.ColumnText(1)
		}, known.Version)
		return err
	})
	if err != nil || version == 0 {
		return nil, err
	}
	if version == known.Version {
		return known, nil
	}
	p := &annona.Policy{}
	if err := json.Unmarshal([]byte(body), p); err != nil {
		return nil, annona.Internal("read the policy", err)
	}
	s.policy.Store(p)
	return p, nil
}

// Policies returns the versions of the policy, newest first. See annona.Roster.
func (s *Store) Policies(ctx context.Context) (all []annona.Policy, err error) {
	err = s.readers.read(ctx, "read the policies", func(c *conn) error {
		all = nil
		return c.each("SELECT version, body FROM policies ORDER BY version DESC", func(stmt *sqlite.Stmt) error {
			var p annona.Policy
			err := json.Unmarshal([]byte(stmt.ColumnText(1)), &p)
			all = append(all, p)
			return err
		})
	})
	return all, err
}

// PutPolicy writes a version of the policy. See annona.PolicyTx.
func (t *tx) PutPolicy(ctx context.Context, p annona.Policy) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return annona.Internal("write the policy", err)
	}
	last, err := t.conn.integer("SELECT coalesce(max(version), 0) FROM policies")
	if err != nil {
		return fault("write the policy", err)
	}
	if p.Version != int(last)+1 {
		return annona.ErrPolicyVersion
	}
	if err := t.conn.exec("INSERT INTO policies (version, body) VALUES (?, ?)", p.Version, string(body)); err != nil {
		return fault("write the policy", err)
	}
	return fault("write the policy", t.moveEpoch())
}
