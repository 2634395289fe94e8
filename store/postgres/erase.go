package postgres

import (
	"context"
	"time"

	"github.com/annona-exchange/annona"
)

// Erase removes a record with all that hangs on it. See annona.RecordTx.
func (t *tx) Erase(ctx context.Context, actor string, dataset *annona.Dataset, number annona.Number) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tb, err := tableOf(dataset.Name)
	if err != nil {
		return err
	}
	if err := t.erase(actor, tb, number); err != nil {
		return t.fault("erase a record", err)
	}
	t.moves++
	return nil
}

func (t *tx) erase(actor string, tb table, number annona.Number) error {
	if err := t.sendLater(); err != nil {
		return err
	}
	version, err := t.lockVersion(tb, number)
	if err != nil {
		return err
	}
	if version == 0 {
		return annona.NotFound("the record is not on file")
	}
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
	if err != nil {
		return err
	}
	return t.touchAll(touched, by)
}

// lockVersion locks a record, on file or deleted, and returns its version; 0 when there is none. It
// looks twice on file: a record may come back between two looks.
func (t *tx) lockVersion(tb table, number annona.Number) (version int64, err error) {
	onFile := "SELECT version FROM " + tb.dataset + " WHERE number = $1 FOR UPDATE"
	deleted := "SELECT version FROM deleted_records WHERE number = $1 AND dataset = '" + tb.dataset + "' FOR UPDATE"
	for _, sql := range []string{onFile, deleted, onFile} {
		if version, err = t.conn.integer(sql, number); err != nil || version > 0 {
			break
		}
	}
	return version, err
}

// eraseRecord removes the row of a record, wherever it lies, its other keys, the index of its
// identifiers and what its events keep of it.
func (t *tx) eraseRecord(tb table, number annona.Number) error {
	if err := t.writeEvents(); err != nil {
		return err
	}
	if err := t.sendLater(); err != nil {
		return err
	}
	err := t.conn.exec("UPDATE events SET before = NULL WHERE record = $1 AND dataset = $2 AND before IS NOT NULL", number, tb.dataset)
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
		if err := t.conn.exec("DELETE FROM "+from+" WHERE dataset = $1 AND number = $2", tb.dataset, number); err != nil {
			return err
		}
	}
	for _, from := range []string{"decisions", "change_requests"} {
		if err := t.conn.exec("DELETE FROM "+from+" WHERE dataset = $1 AND subject = $2", tb.dataset, number); err != nil {
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
		if err := t.conn.exec("DELETE FROM "+from+" = $1", number); err != nil {
			return err
		}
	}
	return t.conn.exec(`DELETE FROM relationships WHERE to_number IS NULL AND (source, to_key) IN (
		SELECT source, source_key FROM individuals WHERE number = $1
		UNION ALL SELECT source, source_key FROM deleted_records WHERE dataset = 'individuals' AND number = $1
		UNION ALL SELECT source, source_key FROM other_keys WHERE dataset = 'individuals' AND number = $1)`, number)
}

// eraseHousehold removes the memberships of a household. Its members stay, and live where their
// other memberships say.
func (t *tx) eraseHousehold(number annona.Number, touched touches) error {
	var members []int64
	err := t.conn.each(`SELECT number FROM individuals WHERE number = ANY (ARRAY (SELECT individual FROM memberships WHERE household = $1))
		ORDER BY number FOR NO KEY UPDATE`, func(r row) error {
		members = append(members, r.integer(0))
		return nil
	}, number)
	if err != nil {
		return err
	}
	if err := t.conn.exec("DELETE FROM memberships WHERE household = $1", number); err != nil {
		return err
	}
	if err := t.conn.exec("DELETE FROM former_areas WHERE household = $1", number); err != nil {
		return err
	}
	clear(t.known)
	clear(t.homes)
	memberships, err := readMemberships(t.conn, members)
	if err != nil {
		return err
	}
	for _, m := range members {
		touched[subject{"individuals", annona.Number(m)}] = string(annona.EventErased)
		if err := t.writeLine(annona.Number(m), lineOf(memberships[annona.Number(m)], annona.DateOf(t.now))); err != nil {
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
	err := t.conn.exec(`INSERT INTO tombstones
		(id, dataset, source, source_key, number, reason, erased_at, expires_at, shredded_at, complete_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at, shredded_at = excluded.shredded_at, complete_at = excluded.complete_at`,
		s.ID, s.Dataset, s.Source, s.Key, s.Number, s.Reason, s.ErasedAt, s.ExpiresAt, s.ShreddedAt, s.CompleteAt)
	if err != nil {
		return t.fault("write a tombstone", err)
	}
	return nil
}

// DropTombstones removes those that have expired. One whose key is still to be destroyed stays.
func (t *tx) DropTombstones(ctx context.Context, then time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.conn.exec("DELETE FROM tombstones WHERE expires_at <= $1 AND shredded_at IS NOT NULL", then); err != nil {
		return t.fault("remove tombstones", err)
	}
	return nil
}

// PutErasureRefusal writes a refusal by its ID.
func (t *tx) PutErasureRefusal(ctx context.Context, r annona.ErasureRefusal) error {
	if err := t.lockSubject(ctx, r.Subject); err != nil {
		return err
	}
	err := t.conn.exec(`INSERT INTO erasure_refusals (id, subject, reason, refused_at, lifted_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET lifted_at = excluded.lifted_at`, r.ID, r.Subject, r.Reason, r.RefusedAt, r.LiftedAt)
	if err != nil {
		return t.fault("write a refusal of an erasure", err)
	}
	return nil
}

// HoldErasureRefusals returns those that stand. Whoever writes one locks its individual, and so does this.
func (t *tx) HoldErasureRefusals(ctx context.Context, subjects []annona.Number) (standing []annona.ErasureRefusal, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	numbers := integers(subjects)
	err = t.conn.each("SELECT number FROM individuals WHERE number = ANY ($1) ORDER BY number FOR NO KEY UPDATE", func(row) error { return nil }, numbers)
	if err == nil {
		err = t.conn.each(`SELECT id, subject, reason, refused_at FROM erasure_refusals WHERE subject = ANY ($1) AND lifted_at IS NULL
			ORDER BY refused_at, position`, func(r row) error {
			standing = append(standing, annona.ErasureRefusal{ID: r.uid(0), Subject: r.number(1), Reason: r.text(2), RefusedAt: r.time(3)})
			return nil
		}, numbers)
	}
	if err != nil {
		return nil, t.fault("read refusals of erasures", err)
	}
	return standing, nil
}

// erasedKeys asks which records of a dataset were erased and may not come back.
const erasedKeys = `SELECT k.source, k.key FROM unnest($1::text[], $2::text[]) k (source, key)
	JOIN tombstones s ON s.source = k.source COLLATE "C" AND s.source_key = k.key COLLATE "C" AND s.dataset = $3 AND s.expires_at > $4`

// Tombstones returns the tombstones on file, in the order of erasure.
func (s *Store) Tombstones(ctx context.Context) (all []annona.Tombstone, err error) {
	err = s.readers.ask(ctx, "read tombstones", func(c *conn) error {
		all = nil
		return c.each(`SELECT id, dataset, source, source_key, number, reason, erased_at, expires_at, shredded_at, complete_at
			FROM tombstones ORDER BY erased_at, position`, func(r row) error {
			all = append(all, annona.Tombstone{
				ID: r.uid(0), Dataset: r.text(1), Source: r.text(2), Key: r.text(3), Number: r.number(4), Reason: r.text(5),
				ErasedAt: r.time(6), ExpiresAt: r.time(7), ShreddedAt: r.time(8), CompleteAt: r.time(9),
			})
			return nil
		})
	})
	return all, err
}
