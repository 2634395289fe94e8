package postgres

import (
	"context"

	"github.com/annona-exchange/annona"
)

const selectDecisions = "SELECT key, id, agreement, client, reference, dataset, subject, digest, at, body FROM decisions WHERE agreement = $1"

// Decisions returns decisions of an agreement. See annona.Decisions.
func (s *Store) Decisions(ctx context.Context, agreement, dataset string, after int64, limit int) (all []annona.EligibilityDecision, err error) {
	err = s.readers.ask(ctx, "read eligibility decisions", func(c *conn) error {
		all, err = c.decisions(selectDecisions+" AND dataset = $2 AND key > $3 ORDER BY key LIMIT $4", agreement, dataset, after, limit)
		return err
	})
	return all, err
}

// DecisionsAbout returns the newest decisions about a record. See annona.Decisions.
func (s *Store) DecisionsAbout(ctx context.Context, agreement string, subject annona.SubjectRef, limit int) (all []annona.EligibilityDecision, err error) {
	err = s.readers.ask(ctx, "read eligibility decisions", func(c *conn) error {
		all, err = c.decisions(selectDecisions+` AND dataset = $2
			AND subject = ANY (ARRAY (SELECT $3::bigint UNION ALL SELECT number FROM parts WHERE dataset = $2 AND record = $3)) ORDER BY key DESC LIMIT $4`,
			agreement, subject.Dataset, subject.Number, limit)
		return err
	})
	return all, err
}

// DecisionsUnder returns the decisions of an agreement that have one of those references.
func (t *tx) DecisionsUnder(ctx context.Context, agreement string, references []string) ([]annona.EligibilityDecision, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := t.conn.decisions(selectDecisions+" AND reference = ANY ($2) ORDER BY key", agreement, references)
	if err != nil {
		return nil, t.fault("find eligibility decisions", err)
	}
	return all, nil
}

// PutDecision appends a decision. See annona.DecisionTx.
func (t *tx) PutDecision(ctx context.Context, d annona.EligibilityDecision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := t.conn.changes(`INSERT INTO decisions (id, agreement, client, reference, dataset, subject, digest, at, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (agreement, reference) DO NOTHING`,
		d.ID, d.Agreement, d.Client, d.Reference, d.Dataset, d.Subject, d.Digest[:], d.At, d.Body)
	if err != nil {
		return t.fault("write an eligibility decision", err)
	}
	if n == 0 {
		return annona.ErrDecisionTaken
	}
	if err := t.touchAll(touches{subject{d.Dataset, d.Subject}: "decision"}, annona.Author{Client: d.Client}); err != nil {
		return t.fault("write an eligibility decision", err)
	}
	return nil
}

func (c *conn) decisions(sql string, args ...any) (all []annona.EligibilityDecision, err error) {
	err = c.each(sql, func(r row) error {
		d := annona.EligibilityDecision{
			Key: r.integer(0), ID: r.uid(1), Agreement: r.text(2), Client: r.uid(3), Reference: r.text(4),
			Dataset: r.text(5), Subject: r.number(6), At: r.time(8), Body: r.bytes(9),
		}
		copy(d.Digest[:], r.bytes(7))
		all = append(all, d)
		return nil
	}, args...)
	return all, err
}
