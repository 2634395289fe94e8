package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

// SubjectByKey returns the number of the individual with that record key; 0 when there is none.
func (s *Store) SubjectByKey(ctx context.Context, source, key string) (annona.Number, error) {
	return s.subject(ctx, "SELECT number FROM individuals WHERE source = $1 AND source_key = $2", source, key)
}

// SubjectByUID returns the number of the individual with that UID; 0 when there is none.
func (s *Store) SubjectByUID(ctx context.Context, uid annona.UID) (annona.Number, error) {
	return s.subject(ctx, "SELECT number FROM individuals WHERE uid = $1", uid)
}

func (s *Store) subject(ctx context.Context, sql string, args ...any) (number annona.Number, err error) {
	err = s.readers.ask(ctx, "find an individual", func(c *conn) error {
		n, err := c.integer(sql, args...)
		number = annona.Number(n)
		return err
	})
	return number, err
}

// KeyOf returns under which record key a record is on file; empty when it is not.
func (s *Store) KeyOf(ctx context.Context, dataset *annona.Dataset, number annona.Number) (source, key string, err error) {
	table, err := tableOf(dataset.Name)
	if err != nil {
		return "", "", err
	}
	err = s.readers.ask(ctx, "find a record", func(c *conn) error {
		_, err := c.one("SELECT source, source_key FROM "+table.dataset+" WHERE number = $1", func(r row) {
			source, key = r.text(0), r.text(1)
		}, number)
		return err
	})
	return source, key, err
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
