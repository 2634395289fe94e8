package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/annona-exchange/annona"
)

// IdentityProviders returns those that count, by name.
func (s *Store) IdentityProviders(ctx context.Context) (all []annona.IdentityProvider, err error) {
	err = s.lookups.ask(ctx, "read the identity providers", func(c *conn) error {
		all = nil
		return c.each("SELECT body, version, put_at FROM identity_providers WHERE removed_at IS NULL ORDER BY name", func(r row) error {
			var p annona.IdentityProvider
			err := json.Unmarshal([]byte(r.text(0)), &p)
			p.Version, p.PutAt = int(r.integer(1)), r.time(2)
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
	if err := t.conn.exec("LOCK TABLE identity_providers IN SHARE ROW EXCLUSIVE MODE"); err != nil { // one at a time: there are a few
		return t.fault("write an identity provider", err)
	}
	taken, err := t.conn.one("SELECT FROM identity_providers WHERE issuer = $1 AND name <> $2 AND removed_at IS NULL", func(row) {}, p.Issuer, p.Name)
	if err != nil {
		return t.fault("write an identity provider", err)
	}
	if taken && p.RemovedAt.IsZero() {
		return annona.ErrProviderKnown
	}
	err = t.conn.exec(`INSERT INTO identity_providers AS known (name, issuer, version, body, put_at, removed_at) VALUES ($1, $2, 1, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET issuer = excluded.issuer, version = known.version + 1, body = excluded.body, put_at = excluded.put_at, removed_at = excluded.removed_at`,
		p.Name, p.Issuer, string(body), p.PutAt, p.RemovedAt)
	if err != nil {
		return t.fault("write an identity provider", err)
	}
	t.moves++
	return nil
}

// PutOutsideToken keeps a token that an outside issuer has made. See annona.OutsideTx.
func (t *tx) PutOutsideToken(ctx context.Context, token annona.Token) (holds bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := t.lockOutside(token.Acting.Person, token.Delegation); err != nil {
		return false, t.fault("keep an access token", err)
	}
	known, err := t.conn.one("SELECT revoked_at IS NULL FROM tokens WHERE hash = $1", func(r row) { holds = r.truth(0) }, token.Hash[:])
	if err != nil {
		return false, t.fault("keep an access token", err)
	}
	if known {
		return holds, nil
	}
	over, err := t.conn.one("SELECT FROM outside_ends WHERE id IN ($1, $2) AND until >= $3 LIMIT 1", func(row) {}, uidOrNull(token.Acting.Person), uidOrNull(token.Delegation), token.IssuedAt)
	if err != nil {
		return false, t.fault("keep an access token", err)
	}
	revoked := any(nil)
	if over {
		revoked = token.IssuedAt
	}
	err = t.conn.exec(`INSERT INTO tokens (hash, client, key, certificate, purpose, datasets, person, assurance, signed_in, delegation, issued_at, expires_at, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING`,
		token.Hash[:], token.Client, token.Key, token.Certificate, token.Within.Purpose, joinList(token.Within.Datasets),
		uidOrNull(token.Acting.Person), int64(token.Acting.Assurance), token.Acting.At, uidOrNull(token.Delegation), token.IssuedAt, token.ExpiresAt, revoked)
	if err != nil {
		return false, t.fault("keep an access token", err)
	}
	return !over, nil
}

// EndOutside ends tokens. See annona.OutsideTx.
func (t *tx) EndOutside(ctx context.Context, e annona.OutsideEnd) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.lockOutside(e.ID); err != nil {
		return t.fault("end tokens", err)
	}
	err := t.conn.exec(`INSERT INTO outside_ends AS known (id, until, kept) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET until = greatest(known.until, excluded.until), kept = greatest(known.kept, excluded.kept)`, e.ID, e.Until, e.Kept)
	if err != nil {
		return t.fault("end tokens", err)
	}
	n, err := t.conn.changes("UPDATE tokens SET revoked_at = $1 WHERE (person = $2 OR delegation = $2) AND issued_at <= $3 AND revoked_at IS NULL", e.At, e.ID, e.Until)
	if err != nil {
		return t.fault("end tokens", err)
	}
	if n > 0 {
		t.moves++
	}
	return nil
}

// lockOutside lets this transaction alone keep and end tokens of those people and sign-ins. A zero one is
// nobody.
func (t *tx) lockOutside(ids ...annona.UID) error {
	var locks []int64
	for _, id := range ids {
		if id != (annona.UID{}) {
			locks = append(locks, int64(binary.BigEndian.Uint64(id[:])))
		}
	}
	slices.Sort(locks) // two transactions never wait for each other
	for _, lock := range locks {
		if err := t.conn.exec("SELECT pg_advisory_xact_lock($1)", lock); err != nil {
			return err
		}
	}
	return nil
}
