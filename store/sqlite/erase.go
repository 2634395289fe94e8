package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// Erase removes a record with all that hangs on it. See annona.RecordTx.
func (t *tx) Erase(ctx context.Context, actor string, dataset *annona.Dataset, number annona.Number) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tb, err := t.table(dataset)
	if err != nil {
		return fault("erase a record", err)
	}
	version, err := t.conn.integer("SELECT version FROM "+tb.dataset+" WHERE number = ?1 UNION ALL SELECT version FROM deleted_records WHERE number = ?1 AND dataset = ?2", number, tb.dataset)
	if err != nil || version == 0 {
		return orNotOnFile("erase a record", err)
	}
	t.erased = true
	touched := touches{}
	if tb.dataset == "individuals" {
		err = t.eraseIndividual(number, touched)
	} else {
		err = t.eraseHousehold(number, touched)
	}
	if err == nil {
		err = t.eraseRecord(tb, number)
	}
	by := annona.Author{Operator: actor}
	if err == nil {
		err = t.event(eventOf(by, tb.dataset, number, int(version), annona.EventErased, nil))
	}
	if err == nil {
		err = t.touchAll(touched, by)
	}
	if err == nil {
		err = t.moveEpoch()
	}
	return fault("erase a record", err)
}

// eraseRecord removes the row of a record, wherever it lies, its other keys, the index of its
// identifiers and what its events keep of it.
func (t *tx) eraseRecord(tb *table, number annona.Number) error {
	err := t.conn.exec("UPDATE events SET before = NULL WHERE record = ? AND dataset = ? AND before IS NOT NULL", number, tb.dataset)
	if err != nil {
		return err
	}
	if err := t.eraseMerges(tb.dataset, number); err != nil {
		return err
	}
	if err := t.forgetRows(tb, number); err != nil {
		return err
	}
	for _, from := range []string{"deleted_records", "successors", "other_keys"} {
		if err := t.conn.exec("DELETE FROM "+from+" WHERE dataset = ? AND number = ?", tb.dataset, number); err != nil {
			return err
		}
	}
	for _, from := range []string{"decisions", "change_requests"} {
		if err := t.conn.exec("DELETE FROM "+from+" WHERE dataset = ? AND subject = ?", tb.dataset, number); err != nil {
			return err
		}
	}
	return t.removeRow(tb, number)
}

// eraseIndividual removes what hangs on an individual. The households that it was in are touched,
// and those who had a relationship to it. Those who wait for it, because it is deleted, wait no more.
func (t *tx) eraseIndividual(number annona.Number, touched touches) error {
	if err := t.touchTied(number, touched, string(annona.EventErased)); err != nil {
		return err
	}
	for _, from := range []string{
		"memberships WHERE individual", "relationships WHERE from_number", "relationships WHERE to_number",
		"restrictions WHERE subject", "consents WHERE subject", "erasure_refusals WHERE subject",
	} {
		if err := t.conn.exec("DELETE FROM "+from+" = ?", number); err != nil {
			return err
		}
	}
	return t.conn.exec(`DELETE FROM relationships WHERE to_number IS NULL AND (source, to_key) IN (
		SELECT source, source_key FROM individuals WHERE number = ?1
		UNION ALL SELECT source, source_key FROM deleted_records WHERE dataset = 'individuals' AND number = ?1
		UNION ALL SELECT source, source_key FROM other_keys WHERE dataset = 'individuals' AND number = ?1)`, number)
}

// eraseHousehold removes the memberships of a household. Its members stay, and live where their
// other memberships say.
func (t *tx) eraseHousehold(number annona.Number, touched touches) error {
	members, err := t.members(number)
	if err != nil {
		return err
	}
	if err := t.conn.exec("DELETE FROM memberships WHERE household = ?", number); err != nil {
		return err
	}
	if err := t.conn.exec("DELETE FROM former_areas WHERE household = ?", number); err != nil {
		return err
	}
	clear(t.known)
	for _, m := range members {
		touched[subject{"individuals", m}] = string(annona.EventErased)
		memberships, err := readMemberships(t.conn, m, "")
		if err != nil {
			return err
		}
		if err := t.writeLine(m, lineOf(memberships, annona.DateOf(t.now))); err != nil {
			return err
		}
	}
	return nil
}

// PutTombstone writes a tombstone by its ID.
func (t *tx) PutTombstone(ctx context.Context, s annona.Tombstone) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.elsewhere.graves = true
	err := t.conn.exec(`INSERT OR REPLACE INTO tombstones
		(id, dataset, source, source_key, number, reason, erased_at, expires_at, shredded_at, complete_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		s.ID, s.Dataset, s.Source, s.Key, s.Number, s.Reason, s.ErasedAt, s.ExpiresAt, s.ShreddedAt, s.CompleteAt)
	return fault("write a tombstone", err)
}

// DropTombstones removes those that have expired. One whose key is still to be destroyed stays.
func (t *tx) DropTombstones(ctx context.Context, then time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := t.conn.exec("DELETE FROM tombstones WHERE expires_at <= ? AND shredded_at IS NOT NULL", then)
	return fault("remove tombstones", err)
}

// PutErasureRefusal writes a refusal by its ID.
func (t *tx) PutErasureRefusal(ctx context.Context, r annona.ErasureRefusal) error {
	if err := t.checkSubject(ctx, r.Subject); err != nil {
		return err
	}
	err := t.conn.exec("INSERT OR REPLACE INTO erasure_refusals (id, subject, reason, refused_at, lifted_at) VALUES (?, ?, ?, ?, ?)",
		r.ID, r.Subject, r.Reason, r.RefusedAt, r.LiftedAt)
	return fault("write a refusal of an erasure", err)
}

// HoldErasureRefusals returns those that stand.
func (t *tx) HoldErasureRefusals(ctx context.Context, subjects []annona.Number) (standing []annona.ErasureRefusal, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = t.conn.each(`SELECT id, subject, reason, refused_at FROM erasure_refusals WHERE subject IN (SELECT value FROM json_each(?)) AND lifted_at IS NULL
		ORDER BY refused_at, rowid`, func(r *sqlite.Stmt) error {
		standing = append(standing, annona.ErasureRefusal{
			ID: columnUID(r, 0), Subject: annona.Number(r.ColumnInt64(1)), Reason: r.ColumnText(2), RefusedAt: columnTime(r, 3),
		})
		return nil
	}, numberList(subjects))
	return standing, fault("read refusals of erasures", err)
}

// buried reports whether a record was erased and may not come back.
func (t *tx) buried(k recordKey) (bool, error) {
	there, err := t.lookElsewhere()
	if err != nil || !there.graves {
		return false, err
	}
	n, err := t.conn.integer("SELECT count(*) FROM tombstones WHERE source = ? AND source_key = ? AND dataset = ? AND expires_at > ?",
		k.source, k.key, k.dataset, t.now)
	return n > 0, err
}

// Tombstones returns the tombstones on file, in the order of erasure.
func (s *Store) Tombstones(ctx context.Context) (all []annona.Tombstone, err error) {
	err = s.readers.read(ctx, "read tombstones", func(c *conn) error {
		return c.each(`SELECT id, dataset, source, source_key, number, reason, erased_at, expires_at, shredded_at, complete_at
			FROM tombstones ORDER BY erased_at, rowid`, func(stmt *sqlite.Stmt) error {
			all = append(all, annona.Tombstone{
				ID: columnUID(stmt, 0), Dataset: stmt.ColumnText(1), Source: stmt.ColumnText(2), Key: stmt.ColumnText(3),
				Number: annona.Number(stmt.ColumnInt64(4)), Reason: stmt.ColumnText(5), ErasedAt: columnTime(stmt, 6),
				ExpiresAt: columnTime(stmt, 7), ShreddedAt: columnTime(stmt, 8), CompleteAt: columnTime(stmt, 9),
			})
			return nil
		})
	})
	return all, err
}
