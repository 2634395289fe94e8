package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

// SubjectByKey returns the number of the individual with that record key; 0 when there is none.
func (s *Store) SubjectByKey(ctx context.Context, source, key string) (annona.Number, error) {
	return s.subject(ctx, `SELECT number, 1 FROM individuals WHERE source = $1 AND source_key = $2
		UNION ALL SELECT number, 2 FROM other_keys WHERE source = $1 AND source_key = $2 AND dataset = 'individuals'
		UNION ALL SELECT number, 3 FROM deleted_records WHERE source = $1 AND source_key = $2 AND dataset = 'individuals' ORDER BY 2 LIMIT 1`, source, key)
}

// SubjectByUID returns the number of the individual with that UID; 0 when there is none.
func (s *Store) SubjectByUID(ctx context.Context, uid annona.UID) (annona.Number, error) {
	return s.subject(ctx, `SELECT number FROM individuals WHERE uid = $1
		UNION ALL SELECT number FROM deleted_records WHERE uid = $1 AND dataset = 'individuals' LIMIT 1`, uid)
}

func (s *Store) subject(ctx context.Context, sql string, args ...any) (number annona.Number, err error) {
	err = s.readers.ask(ctx, "find an individual", func(c *conn) error {
		n, err := c.integer(sql, args...)
		number = annona.Number(n)
		return err
	})
	return number, err
}

// KeysOf returns all keys that lead to a record, its first one first.
func (s *Store) KeysOf(ctx context.Context, dataset *annona.Dataset, number annona.Number) (keys []annona.RecordKey, err error) {
	if _, err := tableOf(dataset.Name); err != nil {
		return nil, err
	}
	err = s.readers.ask(ctx, "find a record", func(c *conn) error {
		keys = nil
		return c.each(`SELECT source, source_key, 1 FROM `+dataset.Name+` WHERE number = $1
			UNION ALL SELECT source, source_key, 1 FROM deleted_records WHERE dataset = $2 AND number = $1
			UNION ALL SELECT source, source_key, 2 FROM other_keys WHERE dataset = $2 AND number = $1 ORDER BY 3, 1, 2`, func(r row) error {
			keys = append(keys, annona.RecordKey{Dataset: dataset, Source: r.text(0), Key: r.text(1)})
			return nil
		}, number, dataset.Name)
	})
	return keys, err
}

// Restrictions returns all restrictions of an individual, as they were recorded.
func (s *Store) Restrictions(ctx context.Context, subject annona.Number) (restrictions []annona.Restriction, err error) {
	err = s.readers.ask(ctx, "read restrictions", func(c *conn) error {
		restrictions = nil
		return c.each(`SELECT id, subject, kind, purposes, recipients, ground, effective_date, expiry_date, lifted_at, recorded_at
			FROM restrictions WHERE subject = $1 ORDER BY recorded_at, position`, func(r row) error {
			restrictions = append(restrictions, annona.Restriction{
				ID: r.uid(0), Subject: r.number(1), Kind: annona.RestrictionKind(r.text(2)),
				Purposes: splitList(r.text(3)), Recipients: splitList(r.text(4)), Ground: r.text(5),
				EffectiveDate: r.date(6), ExpiryDate: r.date(7),
				LiftedAt: r.time(8), RecordedAt: r.time(9),
			})
			return nil
		}, subject)
	})
	return restrictions, err
}

// Consents returns all consents of an individual, as they were recorded.
func (s *Store) Consents(ctx context.Context, subject annona.Number) (consents []annona.Consent, err error) {
	err = s.readers.ask(ctx, "read consents", func(c *conn) error {
		consents = nil
		return c.each(`SELECT id, subject, purposes, recipients, status, notice_version, medium,
				signed_date, effective_date, expiry_date, withdrawn_at, recorded_at
			FROM consents WHERE subject = $1 ORDER BY recorded_at, position`, func(r row) error {
			consents = append(consents, annona.Consent{
				ID: r.uid(0), Subject: r.number(1),
				Purposes: splitList(r.text(2)), Recipients: splitList(r.text(3)), Status: r.text(4),
				NoticeVersion: r.text(5), Medium: r.text(6), SignedDate: r.date(7),
				EffectiveDate: r.date(8), ExpiryDate: r.date(9),
				WithdrawnAt: r.time(10), RecordedAt: r.time(11),
			})
			return nil
		}, subject)
	})
	return consents, err
}
