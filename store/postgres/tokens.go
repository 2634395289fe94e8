package postgres

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// A token ends with the delegation that it comes of.
const selectToken = `SELECT t.client, t.key, t.certificate, t.purpose, t.datasets, t.issued_at, t.expires_at, coalesce(t.revoked_at, d.ended_at),
		t.person, t.assurance, t.signed_in, t.delegation
	FROM tokens t LEFT JOIN delegations d ON d.id = t.delegation WHERE t.hash = $1`

// TokenByHash finds an access token; nil when there is none.
func (s *Store) TokenByHash(ctx context.Context, hash annona.TokenHash) (found *annona.Token, err error) {
	err = s.lookups.ask(ctx, "read an access token", func(c *conn) error {
		found = nil
		_, err := c.one(selectToken, func(r row) {
			found = &annona.Token{
				Hash: hash, Client: r.uid(0), Key: r.bytes(1), Certificate: r.bytes(2),
				Within:   annona.Authorization{Purpose: r.text(3), Datasets: splitList(r.text(4))},
				Acting:   annona.SignedIn{Person: r.uid(8), Assurance: annona.Assurance(r.integer(9)), At: r.time(10)},
				IssuedAt: r.time(5), ExpiresAt: r.time(6), RevokedAt: r.time(7), Delegation: r.uid(11),
			}
		}, hash[:])
		return err
	})
	return found, err
}

// PutToken keeps a token and claims what it was asked with. It is one statement, hence one
// transaction and one round trip.
func (s *Store) PutToken(ctx context.Context, t annona.Token, assertion, proof *annona.Claim, epoch annona.UID) error {
	claim := newClaiming(epoch)
	claim.token(t, assertion, proof)
	return s.claim(ctx, "keep an access token", claim)
}

// ClaimAssertion claims an assertion, durably.
func (s *Store) ClaimAssertion(ctx context.Context, c annona.Claim) error {
	claim := newClaiming(annona.UID{})
	claim.add("assertion_claims", c)
	return s.claim(ctx, "claim an assertion", claim)
}

// ClaimProof claims a proof. Its table is unlogged, so that nothing waits for the disk.
func (s *Store) ClaimProof(ctx context.Context, c annona.Claim, epoch annona.UID) error {
	claim := newClaiming(epoch)
	claim.add("proof_claims", c)
	return s.claim(ctx, "claim a proof", claim)
}

// claim runs a claiming. When the connection dies on the way it may run again and find its own
// claim: then the client proves itself anew.
func (s *Store) claim(ctx context.Context, doing string, c *claiming) error {
	claimed, current := false, false
	err := s.writers.ask(ctx, doing, func(on *conn) error {
		_, err := on.one(c.text(), func(r row) { claimed, current = r.truth(0), r.truth(1) }, slices.Clone(c.args)...)
		return err
	})
	switch {
	case err != nil:
		return err
	case !current:
		return annona.ErrProofEpoch
	case !claimed:
		return annona.ErrClaimed
	}
	return nil
}

// claiming is one statement that claims, and keeps a token when all claims succeed. Each claim waits
// for whoever claims the same at that moment: of many one succeeds.
type claiming struct {
	steps  []string
	args   []any
	all    []string // that must hold for the statement to have succeeded
	proven bool     // it claims a proof, hence needs the epoch
	epoch  annona.UID
}

func newClaiming(epoch annona.UID) *claiming { return &claiming{epoch: epoch} }

// bind adds an argument and returns how it is written.
func (c *claiming) bind(value any) string {
	c.args = append(c.args, value)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *claiming) add(table string, claim annona.Claim) {
	source := ""
	if table == "proof_claims" && !c.proven {
		c.proven = true
		c.steps = append(c.steps, "epoch AS (SELECT FROM proof_epoch WHERE epoch = "+c.bind(c.epoch)+")")
	}
	if table == "proof_claims" {
		source = " FROM epoch"
	}
	c.steps = append(c.steps, "new_"+table+" AS (INSERT INTO "+table+" (client, hash, until) SELECT "+
		c.bind(claim.Client)+"::uuid, "+c.bind(claim.Hash[:])+"::bytea, "+c.bind(claim.Until)+"::bigint"+source+" ON CONFLICT DO NOTHING RETURNING 1)")
	c.all = append(c.all, "EXISTS (SELECT FROM new_"+table+")")
}

func (c *claiming) token(t annona.Token, assertion, proof *annona.Claim) {
	if assertion != nil {
		c.add("assertion_claims", *assertion)
	}
	if proof != nil {
		c.add("proof_claims", *proof)
	}
	step := "new_token AS (INSERT INTO tokens (hash, client, key, certificate, purpose, datasets, person, assurance, signed_in, delegation, issued_at, expires_at) SELECT " +
		strings.Join([]string{
			c.bind(t.Hash[:]) + "::bytea", c.bind(t.Client) + "::uuid", c.bind(t.Key) + "::bytea", c.bind(t.Certificate) + "::bytea",
			c.bind(t.Within.Purpose) + "::text", c.bind(joinList(t.Within.Datasets)) + "::text",
			c.bind(uidOrNull(t.Acting.Person)) + "::uuid", c.bind(int64(t.Acting.Assurance)) + "::bigint", c.bind(t.Acting.At) + "::bigint", c.bind(uidOrNull(t.Delegation)) + "::uuid",
			c.bind(t.IssuedAt) + "::bigint", c.bind(t.ExpiresAt) + "::bigint",
		}, ", ")
	if len(c.all) > 0 {
		step += " WHERE " + strings.Join(c.all, " AND ")
	}
	c.steps = append(c.steps, step+" RETURNING 1)")
	c.all = append(c.all, "EXISTS (SELECT FROM new_token)")
}

func (c *claiming) text() string {
	current := "TRUE"
	if c.proven {
		current = "EXISTS (SELECT FROM epoch)"
	}
	return "WITH " + strings.Join(c.steps, ", ") + " SELECT " + strings.Join(c.all, " AND ") + ", " + current
}

// ProofEpoch returns the epoch in force. Whoever finds none, because a crash has emptied the table
// or because there never was one, begins another.
func (s *Store) ProofEpoch(ctx context.Context) (epoch annona.UID, err error) {
	err = s.writers.ask(ctx, "read the epoch of proofs", func(c *conn) error {
		read := func() (bool, error) {
			return c.one("SELECT epoch FROM proof_epoch", func(r row) { epoch = r.uid(0) })
		}
		if found, err := read(); found || err != nil {
			return err
		}
		if err := c.exec("INSERT INTO proof_epoch (one, epoch) VALUES (TRUE, $1) ON CONFLICT DO NOTHING", annona.NewUID()); err != nil {
			return err
		}
		_, err := read()
		return err
	})
	return epoch, err
}

// RevokeToken revokes a token of a client.
func (s *Store) RevokeToken(ctx context.Context, hash annona.TokenHash, client annona.UID, at time.Time) error {
	return s.update(ctx, "revoke an access token", func(t *tx) error {
		n, err := t.conn.changes("UPDATE tokens SET revoked_at = $1 WHERE hash = $2 AND client = $3 AND revoked_at IS NULL", at, hash[:], client)
		if n > 0 {
			t.moves++
		}
		return err
	})
}

// DropTokens removes what is over. A claim is looked for by its time without an index: writing one
// would cost every claim more than this look does.
func (s *Store) DropTokens(ctx context.Context, expired, now time.Time) error {
	return s.writers.ask(ctx, "remove expired access tokens", func(c *conn) error {
		for _, step := range []struct {
			sql  string
			than time.Time
		}{
			{"DELETE FROM tokens WHERE expires_at < $1", expired},
			{"DELETE FROM assertion_claims WHERE until < $1", now},
			{"DELETE FROM proof_claims WHERE until < $1", now},
			{"DELETE FROM outside_ends WHERE kept < $1", now},
		} {
			if err := c.exec(step.sql, step.than); err != nil {
				return err
			}
		}
		return nil
	})
}
