package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const selectDelegations = "SELECT id, client, stage, hash, code, request, purpose, datasets, person, assurance, signed_in, began_at, until, ended_at FROM delegations "

func scanDelegation(s *sqlite.Stmt) annona.Delegation {
	d := annona.Delegation{
		ID: columnUID(s, 0), Client: columnUID(s, 1), Stage: annona.DelegationStage(s.ColumnText(2)), Request: columnBytes(s, 5),
		Within:  annona.Authorization{Purpose: s.ColumnText(6), Datasets: splitList(s.ColumnText(7))},
		Acting:  annona.SignedIn{Person: columnUID(s, 8), Assurance: annona.Assurance(s.ColumnInt(9)), At: columnTime(s, 10)},
		BeganAt: columnTime(s, 11), Until: columnTime(s, 12), EndedAt: columnTime(s, 13),
	}
	copy(d.Hash[:], columnBytes(s, 3))
	copy(d.Code[:], columnBytes(s, 4))
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
	return s.writer.update(ctx, "keep a delegation", func(t *tx) error {
		return t.conn.exec(`INSERT INTO delegations (id, client, stage, hash, code, request, purpose, datasets, person, assurance, signed_in, began_at, until, ended_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			d.ID, d.Client, string(d.Stage), d.Hash[:], codeOrNull(d.Code), d.Request, d.Within.Purpose, joinList(d.Within.Datasets),
			uidOrNull(d.Acting.Person), int64(d.Acting.Assurance), d.Acting.At, d.BeganAt, d.Until, d.EndedAt)
	})
}

// DelegationByHash finds a delegation; nil when there is none.
func (s *Store) DelegationByHash(ctx context.Context, hash annona.TokenHash) (found *annona.Delegation, err error) {
	err = s.readers.read(ctx, "read a delegation", func(c *conn) error {
		_, err := c.one(selectDelegations+"WHERE hash = ? OR code = ?", func(stmt *sqlite.Stmt) {
			d := scanDelegation(stmt)
			found = &d
		}, hash[:], hash[:])
		return err
	})
	return found, err
}

// MoveDelegation writes a delegation in the place of what it was, once.
func (s *Store) MoveDelegation(ctx context.Context, from annona.TokenHash, d annona.Delegation, token *annona.Token) error {
	moved := false
	err := s.writer.update(ctx, "move a delegation", func(t *tx) error {
		err := t.conn.exec(`UPDATE delegations SET stage = ?, hash = ?, code = ?, request = ?, purpose = ?, datasets = ?, person = ?, assurance = ?, signed_in = ?, until = ?
			WHERE id = ? AND hash = ? AND ended_at IS NULL`,
			string(d.Stage), d.Hash[:], codeOrNull(d.Code), d.Request, d.Within.Purpose, joinList(d.Within.Datasets),
			uidOrNull(d.Acting.Person), int64(d.Acting.Assurance), d.Acting.At, d.Until, d.ID, from[:])
		if moved = err == nil && t.conn.Changes() > 0; !moved || token == nil {
			return err
		}
		return t.putToken(*token)
	})
	if err == nil && !moved {
		return annona.ErrClaimed
	}
	return err
}

// EndDelegation ends a delegation, and with it its access tokens.
func (s *Store) EndDelegation(ctx context.Context, id annona.UID, at time.Time) error {
	return s.writer.update(ctx, "end a delegation", func(t *tx) error {
		err := t.conn.exec("UPDATE delegations SET ended_at = ? WHERE id = ? AND ended_at IS NULL", at, id)
		if err != nil || t.conn.Changes() == 0 {
			return err
		}
		return t.moveEpoch()
	})
}

// DelegationsOf returns the delegations of a person that were taken up and have not ended, the newest first.
func (s *Store) DelegationsOf(ctx context.Context, person annona.UID) (all []annona.Delegation, err error) {
	err = s.readers.read(ctx, "read the delegations of a person", func(c *conn) error {
		return c.each(selectDelegations+"WHERE person = ? AND stage = ? AND ended_at IS NULL ORDER BY began_at DESC, id", func(stmt *sqlite.Stmt) error {
			all = append(all, scanDelegation(stmt))
			return nil
		}, person, string(annona.DelegationTaken))
	})
	return all, err
}

// DropDelegations removes delegations that are over.
func (s *Store) DropDelegations(ctx context.Context, before time.Time) error {
	return s.writer.update(ctx, "remove delegations", func(t *tx) error {
		return t.conn.exec("DELETE FROM delegations WHERE until < ?", before)
	})
}
