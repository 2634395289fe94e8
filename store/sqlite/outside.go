package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// IdentityProviders returns those that count, by name.
func (s *Store) IdentityProviders(ctx context.Context) (all []annona.IdentityProvider, err error) {
	err = s.readers.read(ctx, "read the identity providers", func(c *conn) error {
		all = nil
		return c.each("SELECT body, version, put_at FROM identity_providers WHERE removed_at IS NULL ORDER BY name", func(stmt *sqlite.Stmt) error {
			var p annona.IdentityProvider
			err := json.Unmarshal([]byte(stmt.ColumnText(0)), &p)
			p.Version, p.PutAt = stmt.ColumnInt(1), columnTime(stmt, 2)
			all = append(all, p)
			return err
		})
	})
	return all, err
}

// PutIdentityProvider writes the next version of a provider. See annona.OutsideTx.
func (t *tx) PutIdentityProvider(ctx context.Context, p annona.IdentityProvider) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return annona.Internal("write an identity provider", err)
	}
	taken, err := t.conn.integer("SELECT count(*) FROM identity_providers WHERE issuer = ? AND name <> ? AND removed_at IS NULL", p.Issuer, p.Name)
	if err != nil {
		return fault("write an identity provider", err)
	}
	if taken > 0 && p.RemovedAt.IsZero() {
		return annona.ErrProviderKnown
	}
	err = t.conn.exec(`INSERT INTO identity_providers (name, issuer, version, body, put_at, removed_at) VALUES (?1, ?2, 1, ?3, ?4, ?5)
		ON CONFLICT (name) DO UPDATE SET issuer = excluded.issuer, version = version + 1, body = excluded.body, put_at = excluded.put_at, removed_at = excluded.removed_at`,
		p.Name, p.Issuer, string(body), p.PutAt, p.RemovedAt)
	if err == nil {
		err = t.moveEpoch()
	}
	return fault("write an identity provider", err)
}

// PutOutsideToken keeps a token that an outside issuer has made. The writer is alone. See annona.OutsideTx.
func (t *tx) PutOutsideToken(ctx context.Context, token annona.Token) (holds bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	known, err := t.conn.one("SELECT revoked_at IS NULL FROM tokens WHERE hash = ?", func(s *sqlite.Stmt) { holds = s.ColumnBool(0) }, token.Hash[:])
	if known || err != nil {
		return holds, fault("keep an access token", err)
	}
	over, err := t.conn.integer("SELECT count(*) FROM outside_ends WHERE id IN (?1, ?2) AND until >= ?3", uidOrNull(token.Acting.Person), uidOrNull(token.Delegation), token.IssuedAt)
	if err == nil {
		err = t.putToken(token)
	}
	if err == nil && over > 0 {
		err = t.conn.exec("UPDATE tokens SET revoked_at = issued_at WHERE hash = ?", token.Hash[:])
	}
	return over == 0, fault("keep an access token", err)
}

// EndOutside ends tokens. See annona.OutsideTx.
func (t *tx) EndOutside(ctx context.Context, e annona.OutsideEnd) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO outside_ends (id, until, kept) VALUES (?1, ?2, ?3)
		ON CONFLICT (id) DO UPDATE SET until = max(until, excluded.until), kept = max(kept, excluded.kept)`, e.ID, e.Until, e.Kept)
	if err != nil {
		return fault("end tokens", err)
	}
	err = t.conn.exec("UPDATE tokens SET revoked_at = ?1 WHERE (person = ?2 OR delegation = ?2) AND issued_at <= ?3 AND revoked_at IS NULL", e.At, e.ID, e.Until)
	if err == nil && t.conn.Changes() > 0 {
		err = t.moveEpoch()
	}
	return fault("end tokens", err)
}
