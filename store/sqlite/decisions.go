package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

const selectDecisions = "SELECT key, id, agreement, client, reference, dataset, subject, digest, at, body FROM decisions WHERE agreement = ?"

// Decisions returns decisions of an agreement. See annona.Decisions.
func (s *Store) Decisions(ctx context.Context, agreement, dataset string, after int64, limit int) (all []annona.EligibilityDecision, err error) {
	err = s.readers.read(ctx, "read eligibility decisions", func(c *conn) error {
		all, err = c.decisions(selectDecisions+" AND dataset = ? AND key > ? ORDER BY key LIMIT ?", agreement, dataset, after, limit)
		return err
	})
	return all, err
}

// DecisionsAbout returns the newest decisions about a record. See annona.Decisions.
func (s *Store) DecisionsAbout(ctx context.Context, agreement string, subject annona.SubjectRef, limit int) (all []annona.EligibilityDecision, err error) {
	err = s.readers.read(ctx, "read eligibility decisions", func(c *conn) error {
		all, err = c.decisions(selectDecisions+` AND dataset = ?
			AND subject IN (SELECT ? UNION ALL SELECT number FROM parts WHERE dataset = ? AND record = ?) ORDER BY key DESC LIMIT ?`,
			agreement, subject.Dataset, subject.Number, subject.Dataset, subject.Number, limit)
		return err
	})
	return all, err
}

// DecisionsUnder returns the decisions of an agreement that have one of those references.
func (t *tx) DecisionsUnder(ctx context.Context, agreement string, references []string) ([]annona.EligibilityDecision, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := json.Marshal(references)
	if err != nil {
		return nil, annona.Internal("find eligibility decisions", err)
	}
	all, err := t.conn.decisions(selectDecisions+" AND reference IN (SELECT value FROM json_each(?)) ORDER BY key", agreement, string(list))
	return all, fault("find eligibility decisions", err)
}

// PutDecision appends a decision. See annona.DecisionTx.
func (t *tx) PutDecision(ctx context.Context, d annona.EligibilityDecision) error {
	known, err := t.DecisionsUnder(ctx, d.Agreement, []string{d.Reference})
	if err != nil {
		return err
	}
	if len(known) > 0 {
		return annona.ErrDecisionTaken
	}
	err = t.conn.exec("INSERT INTO decisions (id, agreement, client, reference, dataset, subject, digest, at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		d.ID, d.Agreement, d.Client, d.Reference, d.Dataset, d.Subject, d.Digest[:], d.At, d.Body)
	if err == nil {
		err = t.touch(subject{d.Dataset, d.Subject}, annona.Author{Client: d.Client}, "decision")
	}
	return fault("write an eligibility decision", err)
}

func (c *conn) decisions(sql string, args ...any) (all []annona.EligibilityDecision, err error) {
	err = c.each(sql, func(s *sqlite.Stmt) error {
		d := annona.EligibilityDecision{
			Key: s.ColumnInt64(0), ID: columnUID(s, 1), Agreement: s.ColumnText(2), Client: columnUID(s, 3), Reference: s.ColumnText(4),
			Dataset: s.ColumnText(5), Subject: annona.Number(s.ColumnInt64(6)), At: columnTime(s, 8), Body: columnBytes(s, 9),
		}
		copy(d.Digest[:], columnBytes(s, 7))
		all = append(all, d)
		return nil
	}, args...)
	return all, err
}
