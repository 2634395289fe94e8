package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

const selectDelegations = "SELECT id, client, stage, hash, code, request, purpose, datasets, person, assurance, signed_in, began_at, until, ended_at FROM delegations "

func scanDelegation(r row) annona.Delegation {
	d := annona.Delegation{
		ID: r.uid(0), Client: r.uid(1), Stage: annona.DelegationStage(r.text(2)), Request: r.bytes(5),
		Within:  annona.Authorization{Purpose: r.text(6), Datasets: splitList(r.text(7))},
		Acting:  annona.SignedIn{Person: r.uid(8), Assurance: annona.Assurance(r.integer(9)), At: r.time(10)},
		BeganAt: r.time(11), Until: r.time(12), EndedAt: r.time(13),
	}
	copy(d.Hash[:], r.bytes(3))
	copy(d.Code[:], r.bytes(4))
	return d
}

// codeOrNull is how the hash of a code is kept.
func codeOrNull(hash annona.TokenHash) []byte {
	if hash == (annona.TokenHash{}) {
		return nil
	}
	return hash[:]
}

// PutDelegation keeps a new delegation.
func (s *Store) PutDelegation(ctx context.Context, d annona.Delegation) error {
	return s.update(ctx, "keep a delegation", func(t *tx) error {
		return t.conn.exec(`INSERT INTO delegations (id, client, stage, hash, code, request, purpose, datasets, person, assurance, signed_in, began_at, until, ended_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			d.ID, d.Client, string(d.Stage), d.Hash[:], codeOrNull(d.Code), d.Request, d.Within.Purpose, joinList(d.Within.Datasets),
			uidOrNull(d.Acting.Person), int64(d.Acting.Assurance), d.Acting.At, d.BeganAt, d.Until, d.EndedAt)
	})
}

// DelegationByHash finds a delegation; nil when there is none.
func (s *Store) DelegationByHash(ctx context.Context, hash annona.TokenHash) (found *annona.Delegation, err error) {
	err = s.lookups.ask(ctx, "read a delegation", func(c *conn) error {
		found = nil
		_, err := c.one(selectDelegations+"WHERE hash = $1 OR code = $1", func(r row) {
			d := scanDelegation(r)
			found = &d
		}, hash[:])
		return err
	})
	return found, err
}

// MoveDelegation writes a delegation in the place of what it was, once. Whoever comes second waits for
// the row and then finds another hash in it.
func (s *Store) MoveDelegation(ctx context.Context, from annona.TokenHash, d annona.Delegation, token *annona.Token) error {
	moved := int64(0)
	err := s.update(ctx, "move a delegation", func(t *tx) (err error) {
		moved, err = t.conn.changes(`UPDATE delegations SET stage = $1, hash = $2, code = $3, request = $4, purpose = $5, datasets = $6, person = $7, assurance = $8, signed_in = $9, until = $10
			WHERE id = $11 AND hash = $12 AND ended_at IS NULL`,
			string(d.Stage), d.Hash[:], codeOrNull(d.Code), d.Request, d.Within.Purpose, joinList(d.Within.Datasets),
			uidOrNull(d.Acting.Person), int64(d.Acting.Assurance), d.Acting.At, d.Until, d.ID, from[:])
		if err != nil || moved == 0 || token == nil {
			return err
		}
		keep := newClaiming(annona.UID{})
		keep.token(*token, nil, nil)
		_, err = t.conn.one(keep.text(), func(row) {}, keep.args...)
		return err
	})
	if err == nil && moved == 0 {
		return annona.ErrClaimed
	}
	return err
}

// EndDelegation ends a delegation, and with it its access tokens.
func (s *Store) EndDelegation(ctx context.Context, id annona.UID, at time.Time) error {
	return s.update(ctx, "end a delegation", func(t *tx) error {
		n, err := t.conn.changes("UPDATE delegations SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL", at, id)
		if n > 0 {
			t.moves++
		}
		return err
	})
}

// DelegationsOf returns the delegations of a person that were taken up and have not ended, the newest first.
func (s *Store) DelegationsOf(ctx context.Context, person annona.UID) (all []annona.Delegation, err error) {
	err = s.lookups.ask(ctx, "read the delegations of a person", func(c *conn) error {
		all = nil
		return c.each(selectDelegations+"WHERE person = $1 AND stage = $2 AND ended_at IS NULL ORDER BY began_at DESC, id", func(r row) error {
			all = append(all, scanDelegation(r))
			return nil
		}, person, string(annona.DelegationTaken))
	})
	return all, err
}

// DropDelegations removes delegations that are over.
func (s *Store) DropDelegations(ctx context.Context, before time.Time) error {
	return s.writers.ask(ctx, "remove delegations", func(c *conn) error {
		return c.exec("DELETE FROM delegations WHERE until < $1", before)
	})
}
