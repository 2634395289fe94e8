package exchange

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// What somebody has said of their rights holds for each record of theirs, as if it had been one all along.
// So a merge gives each record what was said of the other: restrictions and objections, and consents.
// A withdrawal withdraws what was given before it on the other record too.

// rightsOfMerge are what a merge has written of rights: what was there before is not changed, but for
// the consents that it withdrew.
type rightsOfMerge struct {
	Restrictions []annona.UID `json:"restrictions,omitempty"` // made
	Consents     []annona.UID `json:"consents,omitempty"`     // made
	Withdrawn    []annona.UID `json:"withdrawn,omitempty"`    // consents
}

// joinRights gives each of two groups of records what was said of the other. The first of a group says
// what all of it have.
func (x *Exchange) joinRights(ctx context.Context, tx annona.Tx, a, b []annona.Number) ([]byte, error) {
	var made rightsOfMerge
	for _, way := range [...]struct{ from, to []annona.Number }{{a, b}, {b, a}} {
		if err := x.carryWithdrawals(ctx, tx, way.from[0], way.to, &made); err != nil {
			return nil, err
		}
	}
	for _, way := range [...]struct{ from, to []annona.Number }{{a, b}, {b, a}} {
		if err := x.carryRights(ctx, tx, way.from[0], way.to, &made); err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(made)
	if err != nil {
		return nil, annona.Internal("write what a merge did to rights", err)
	}
	return body, nil
}

// carryWithdrawals withdraws the consents of records that were given before the one of from was
// withdrawn.
func (x *Exchange) carryWithdrawals(ctx context.Context, tx annona.Tx, from annona.Number, to []annona.Number, made *rightsOfMerge) error {
	said, err := x.Subjects.Consents(ctx, from)
	if err != nil {
		return err
	}
	for _, number := range to {
		given, err := x.Subjects.Consents(ctx, number)
		if err != nil {
			return err
		}
		for _, c := range given {
			at := slices.IndexFunc(said, func(w annona.Consent) bool { return withdraws(w, c) })
			if c.Status != "given" || at < 0 {
				continue
			}
			c.Status, c.WithdrawnAt = "withdrawn", said[at].WithdrawnAt
			made.Withdrawn = append(made.Withdrawn, c.ID)
			if err := tx.PutConsent(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// withdraws reports whether w was withdrawn after c had been given, for something that c is for.
func withdraws(w, c annona.Consent) bool {
	shares := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	return w.Status == "withdrawn" && !c.RecordedAt.After(w.WithdrawnAt) && shares(w.Purposes, c.Purposes) && shares(w.Recipients, c.Recipients)
}

// carryRights gives records the restrictions and consents of another one that hold.
func (x *Exchange) carryRights(ctx context.Context, tx annona.Tx, from annona.Number, to []annona.Number, made *rightsOfMerge) error {
	restrictions, err := x.Subjects.Restrictions(ctx, from)
	if err != nil {
		return err
	}
	consents, err := x.Subjects.Consents(ctx, from)
	if err != nil {
		return err
	}
	for _, number := range to {
		for _, r := range restrictions {
			if !r.LiftedAt.IsZero() {
				continue
			}
			r.ID, r.Subject = annona.NewUID(), number
			made.Restrictions = append(made.Restrictions, r.ID)
			if err := tx.PutRestriction(ctx, r); err != nil {
				return err
			}
		}
		for _, c := range consents {
			if c.Status != "given" || slices.Contains(made.Withdrawn, c.ID) {
				continue
			}
			c.ID, c.Subject = annona.NewUID(), number
			made.Consents = append(made.Consents, c.ID)
			if err := tx.PutConsent(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// partRights takes back what a merge has written of rights. What was recorded since holds for the
// records of both sides.
func (x *Exchange) partRights(ctx context.Context, tx annona.Tx, m *annona.Merge, stay, away []annona.Number) (left []string, err error) {
	var made rightsOfMerge
	if len(m.Rights) > 0 {
		if err := json.Unmarshal(m.Rights, &made); err != nil {
			return nil, annona.Internal("read what a merge did to rights", err)
		}
	}
	since, withdrawn := false, false
	for _, number := range slices.Concat(stay, away) {
		restrictions, err := x.Subjects.Restrictions(ctx, number)
		if err != nil {
			return nil, err
		}
		for _, r := range restrictions {
			since = since || r.RecordedAt.After(m.At)
			if slices.Contains(made.Restrictions, r.ID) && r.LiftedAt.IsZero() {
				r.LiftedAt = x.Clock()
				if err := tx.PutRestriction(ctx, r); err != nil {
					return nil, err
				}
			}
		}
		consents, err := x.Subjects.Consents(ctx, number)
		if err != nil {
			return nil, err
		}
		again := func(c annona.Consent) bool { return c.Status == "withdrawn" && c.WithdrawnAt.After(m.At) }
		saidNo := slices.ContainsFunc(consents, again)
		for _, c := range consents {
			since = since || c.RecordedAt.After(m.At) || again(c)
			switch {
			case slices.Contains(made.Consents, c.ID) && c.Status == "given":
				c.ExpiryDate = c.EffectiveDate.AddDays(-1) // as if it had never been given; a withdrawal would be a word of the individual
			case slices.Contains(made.Withdrawn, c.ID) && saidNo:
				withdrawn = true
				continue
			case slices.Contains(made.Withdrawn, c.ID):
				c.Status, c.WithdrawnAt = "given", time.Time{}
			default:
				continue
			}
			if err := tx.PutConsent(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	if since {
		left = append(left, LeftRights)
	}
	if withdrawn {
		left = append(left, LeftConsents)
	}
	return left, nil
}
