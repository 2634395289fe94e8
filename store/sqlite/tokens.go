package sqlite

import (
	"context"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// A token ends with the delegation that it comes of.
const selectToken = `SELECT t.client, t.key, t.certificate, t.purpose, t.datasets, t.issued_at, t.expires_at, coalesce(t.revoked_at, d.ended_at),
		t.person, t.assurance, t.signed_in, t.delegation
	FROM tokens t LEFT JOIN delegations d ON d.id = t.delegation WHERE t.hash = ?`

// TokenByHash finds an access token; nil when there is none.
func (s *Store) TokenByHash(ctx context.Context, hash annona.TokenHash) (found *annona.Token, err error) {
	err = s.readers.read(ctx, "read an access token", func(c *conn) error {
		_, err := c.one(selectToken, func(stmt *sqlite.Stmt) {
			found = &annona.Token{
				Hash: hash, Client: columnUID(stmt, 0), Key: columnBytes(stmt, 1), Certificate: columnBytes(stmt, 2),
				Within:   annona.Authorization{Purpose: stmt.ColumnText(3), Datasets: splitList(stmt.ColumnText(4))},
				Acting:   annona.SignedIn{Person: columnUID(stmt, 8), Assurance: annona.Assurance(stmt.ColumnInt(9)), At: columnTime(stmt, 10)},
				IssuedAt: columnTime(stmt, 5), ExpiresAt: columnTime(stmt, 6), RevokedAt: columnTime(stmt, 7), Delegation: columnUID(stmt, 11),
			}
		}, hash[:])
		return err
	})
	return found, err
}

// PutToken keeps a token and claims what it was asked with. Tokens that are kept at the same time
// share a commit with each other and with entries of the ledger.
func (s *Store) PutToken(ctx context.Context, token annona.Token, assertion, proof *annona.Claim, epoch annona.UID) error {
	if proof != nil {
		if err := s.ClaimProof(ctx, *proof, epoch); err != nil {
			return err
		}
	}
	return s.writer.append(ctx, &appending{write: func(t *tx) (refused, failed error) {
		if assertion != nil {
			if refused, failed = t.claim(*assertion); refused != nil || failed != nil {
				return refused, failed
			}
		}
		return nil, t.putToken(token)
	}})
}

func (t *tx) putToken(token annona.Token) error {
	return t.conn.exec(`INSERT INTO tokens (hash, client, key, certificate, purpose, datasets, person, assurance, signed_in, delegation, issued_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		token.Hash[:], token.Client, token.Key, token.Certificate, token.Within.Purpose, joinList(token.Within.Datasets),
		uidOrNull(token.Acting.Person), int64(token.Acting.Assurance), token.Acting.At, uidOrNull(token.Delegation), token.IssuedAt, token.ExpiresAt)
}

// ClaimAssertion claims an assertion, durably.
func (s *Store) ClaimAssertion(ctx context.Context, c annona.Claim) error {
	return s.writer.append(ctx, &appending{write: func(t *tx) (refused, failed error) { return t.claim(c) }})
}

// claim claims an assertion within a transaction.
func (t *tx) claim(c annona.Claim) (refused, failed error) {
	err := t.conn.exec("INSERT INTO assertion_claims (client, hash, until) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", c.Client, c.Hash[:], c.Until)
	if err == nil && t.conn.Changes() == 0 {
		return annona.ErrClaimed, nil
	}
	return nil, err
}

// ClaimProof claims a proof in the memory of this process.
func (s *Store) ClaimProof(ctx context.Context, c annona.Claim, epoch annona.UID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.proofs.claim(c, epoch, s.clock())
}

// ProofEpoch returns the epoch of this process.
func (s *Store) ProofEpoch(ctx context.Context) (annona.UID, error) { return s.proofs.epoch, ctx.Err() }

// RevokeToken revokes a token of a client.
func (s *Store) RevokeToken(ctx context.Context, hash annona.TokenHash, client annona.UID, at time.Time) error {
	return s.writer.update(ctx, "revoke an access token", func(t *tx) error {
		err := t.conn.exec("UPDATE tokens SET revoked_at = ? WHERE hash = ? AND client = ? AND revoked_at IS NULL", at, hash[:], client)
		if err != nil || t.conn.Changes() == 0 {
			return err
		}
		return t.moveEpoch()
	})
}

// DropTokens removes what is over.
func (s *Store) DropTokens(ctx context.Context, expired, now time.Time) error {
	return s.writer.update(ctx, "remove expired access tokens", func(t *tx) error {
		if err := t.conn.exec("DELETE FROM tokens WHERE expires_at < ?", expired); err != nil {
			return err
		}
		if err := t.conn.exec("DELETE FROM outside_ends WHERE kept < ?", now); err != nil {
			return err
		}
		return t.conn.exec("DELETE FROM assertion_claims WHERE until < ?", now)
	})
}

// proofs remembers the proofs that were shown to this process, in two generations: when the younger
// one is as old as a claim may be, it takes the place of the older one, whose claims are over.
type proofs struct {
	epoch annona.UID

	mu             sync.Mutex
	began          time.Time // of the younger generation
	younger, older map[claimKey]struct{}
}

type claimKey struct {
	client annona.UID
	hash   [32]byte
}

func newProofs() *proofs {
	return &proofs{epoch: annona.NewUID(), younger: map[claimKey]struct{}{}}
}

func (p *proofs) claim(c annona.Claim, epoch annona.UID, now time.Time) error {
	if epoch != p.epoch {
		return annona.ErrProofEpoch
	}
	if c.Until.Sub(now) > annona.MaxClaim {
		return annona.Internal("remember a proof: it would have to be remembered for too long", nil)
	}
	key := claimKey{c.Client, c.Hash}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.began) > annona.MaxClaim {
		p.began, p.older, p.younger = now, p.younger, make(map[claimKey]struct{}, len(p.younger))
	}
	_, recently := p.younger[key]
	_, before := p.older[key]
	if recently || before {
		return annona.ErrClaimed
	}
	p.younger[key] = struct{}{}
	return nil
}
