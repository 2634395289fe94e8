package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// SubjectByKey returns the number of the individual with that record key; 0 when there is none.
func (s *Store) SubjectByKey(ctx context.Context, source, key string) (annona.Number, error) {
	var number annona.Number
	err := s.readers.read(ctx, "find an individual", func(c *conn) (err error) {
		if number, err = c.numberOf(recordKey{"individuals", source, key}); err != nil || number > 0 {
			return err
		}
		n, err := c.integer(`SELECT number FROM other_keys WHERE source = ?1 AND source_key = ?2 AND dataset = 'individuals'
			UNION ALL SELECT number FROM deleted_records WHERE source = ?1 AND source_key = ?2 AND dataset = 'individuals' LIMIT 1`, source, key)
		number = annona.Number(n)
		return err
	})
	return number, err
}

// SubjectByUID returns the number of the individual with that UID; 0 when there is none.
func (s *Store) SubjectByUID(ctx context.Context, uid annona.UID) (annona.Number, error) {
	return s.subject(ctx, `SELECT number FROM individuals WHERE uid = ?1
		UNION ALL SELECT number FROM deleted_records WHERE uid = ?1 AND dataset = 'individuals' LIMIT 1`, uid)
}

func (s *Store) subject(ctx context.Context, sql string, args ...any) (number annona.Number, err error) {
	err = s.readers.read(ctx, "find an individual", func(c *conn) error {
		n, err := c.integer(sql, args...)
		number = annona.Number(n)
		return err
	})
	return number, err
}

// KeysOf returns all keys that lead to a record, its first one first.
func (s *Store) KeysOf(ctx context.Context, dataset *annona.Dataset, number annona.Number) (keys []annona.RecordKey, err error) {
	if err := s.checkDataset(dataset); err != nil {
		return nil, err
	}
	err = s.readers.read(ctx, "find a record", func(c *conn) error {
		return c.each(`SELECT source, source_key FROM `+dataset.Name+` WHERE number = ?1
			UNION ALL SELECT source, source_key FROM deleted_records WHERE dataset = ?2 AND number = ?1
			UNION ALL SELECT source, source_key FROM (SELECT * FROM other_keys WHERE dataset = ?2 AND number = ?1 ORDER BY source, source_key)`, func(r *sqlite.Stmt) error {
			keys = append(keys, annona.RecordKey{Dataset: dataset, Source: r.ColumnText(0), Key: r.ColumnText(1)})
			return nil
		}, number, dataset.Name)
	})
	return keys, err
}

// Restrictions returns all restrictions of an individual, as they were recorded.
func (s *Store) Restrictions(ctx context.Context, subject annona.Number) (restrictions []annona.Restriction, err error) {
	err = s.readers.read(ctx, "read restrictions", func(c *conn) error {
		return c.each(`SELECT id, subject, kind, purposes, recipients, ground, effective_date, expiry_date, lifted_at, recorded_at
			FROM restrictions WHERE subject = ? ORDER BY recorded_at, rowid`, func(stmt *sqlite.Stmt) error {
			restrictions = append(restrictions, annona.Restriction{
				ID: columnUID(stmt, 0), Subject: annona.Number(stmt.ColumnInt64(1)), Kind: annona.RestrictionKind(stmt.ColumnText(2)),
				Purposes: splitList(stmt.ColumnText(3)), Recipients: splitList(stmt.ColumnText(4)), Ground: stmt.ColumnText(5),
				EffectiveDate: columnDate(stmt, 6), ExpiryDate: columnDate(stmt, 7),
				LiftedAt: columnTime(stmt, 8), RecordedAt: columnTime(stmt, 9),
			})
			return nil
		}, subject)
	})
	return restrictions, err
}

// Consents returns all consents of an individual, as they were recorded.
func (s *Store) Consents(ctx context.Context, subject annona.Number) (consents []annona.Consent, err error) {
	err = s.readers.read(ctx, "read consents", func(c *conn) error {
		return c.each(`SELECT id, subject, purposes, recipients, status, notice_version, medium,
				signed_date, effective_date, expiry_date, withdrawn_at, recorded_at
			FROM consents WHERE subject = ? ORDER BY recorded_at, rowid`, func(stmt *sqlite.Stmt) error {
			consents = append(consents, annona.Consent{
				ID: columnUID(stmt, 0), Subject: annona.Number(stmt.ColumnInt64(1)),
				Purposes: splitList(stmt.ColumnText(2)), Recipients: splitList(stmt.ColumnText(3)), Status: stmt.ColumnText(4),
				NoticeVersion: stmt.ColumnText(5), Medium: stmt.ColumnText(6), SignedDate: columnDate(stmt, 7),
				EffectiveDate: columnDate(stmt, 8), ExpiryDate: columnDate(stmt, 9),
				WithdrawnAt: columnTime(stmt, 10), RecordedAt: columnTime(stmt, 11),
			})
			return nil
		}, subject)
	})
	return consents, err
}
