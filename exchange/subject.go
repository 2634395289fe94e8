package exchange

import (
	"context"
	"errors"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

// Subject names one individual for the operator: by the key that a source gave, or by the
// wire id that a partner knows, under the realm of that partner's agreement.
type Subject struct {
	Source, Key string
	ID, Realm   string
	Household   bool // of erasure only: a household, by its key
}

// subject finds the individual's number.
func (x *Exchange) subject(ctx context.Context, s Subject) (annona.Number, error) {
	number, err := x.findSubject(ctx, s)
	if err != nil {
		return 0, err
	}
	if number == 0 {
		return 0, notOnFile()
	}
	return number, nil
}

func notOnFile() error {
	return annona.NotFound("no individual with this key or id is on file")
}

// findSubject returns the number of a subject; of one that was merged into another, that one's.
func (x *Exchange) findSubject(ctx context.Context, s Subject) (annona.Number, error) {
	number, err := x.findRecord(ctx, s)
	if err != nil || number == 0 {
		return 0, err
	}
	return x.survivorOf(ctx, x.individuals(), number)
}

// findRecord returns the number of the record that a subject's key leads to, or that has its id.
func (x *Exchange) findRecord(ctx context.Context, s Subject) (annona.Number, error) {
	if s.ID == "" {
		return x.Subjects.SubjectByKey(ctx, s.Source, x.Vault.RecordKey("individuals", s.Source, s.Key))
	}
	realm, err := x.Vault.Realm(s.Realm)
	if err != nil {
		return 0, err
	}
	uid, ok := realm.ParseID(s.ID)
	if !ok {
		return 0, nil
	}
	return x.Subjects.SubjectByUID(ctx, uid)
}

// IDsByKey returns the ids under which an agreement knows households or individuals, by their keys in a
// source: so that the operator can bring what a program's files say by those. One that is not on file is
// not there. What the agreement may see of them is not asked; whatever is done by the ids asks it.
func (x *Exchange) IDsByKey(ctx context.Context, caller annona.Caller, agreement, dataset, source string, keys []string) (map[string]string, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	d, err := rootDataset(x.CurrentDictionary(), dataset)
	if err != nil {
		return nil, err
	}
	under, err := x.Standings.Agreement(ctx, agreement)
	if err != nil || under == nil {
		return nil, errors.Join(err, annona.NotFound("no agreement of this name is on file").On("agreement"))
	}
	realm, err := x.Vault.Realm(under.Realm)
	if err != nil {
		return nil, err
	}
	hashed := make([]string, len(keys))
	for n, key := range keys {
		hashed[n] = x.Vault.RecordKey(dataset, source, key)
	}
	found, err := x.Matters.UIDsByKey(ctx, d, source, hashed)
	ids := make(map[string]string, len(found))
	for n, key := range keys {
		if uid, ok := found[hashed[n]]; ok {
			ids[key] = string(realm.AppendID(nil, uid[:]))
		}
	}
	return ids, err
}

// Restrict records a restriction or an objection of an individual. It takes effect with the
// next page of every disclosure.
func (x *Exchange) Restrict(ctx context.Context, caller annona.Caller, s Subject, r annona.Restriction) (annona.UID, error) {
	if err := operatorOnly(caller); err != nil {
		return r.ID, err
	}
	if err := checkRight(r.Purposes, r.EffectiveDate, r.ExpiryDate); err != nil {
		return r.ID, err
	}
	number, err := x.subject(ctx, s)
	if err != nil {
		return r.ID, err
	}
	now := x.Clock()
	r.ID, r.Subject, r.RecordedAt = annona.NewUID(), number, now
	if r.EffectiveDate == "" {
		r.EffectiveDate = x.today(now)
	}
	return r.ID, x.putRight(ctx, caller, number, string(r.Kind), r.ID, func(tx annona.Tx, of annona.Number) error {
		one := r
		if one.Subject = of; of != number {
			one.ID = annona.NewUID()
		}
		return tx.PutRestriction(ctx, one)
	})
}

// Lift ends every active restriction of that kind of an individual and returns how many.
func (x *Exchange) Lift(ctx context.Context, caller annona.Caller, s Subject, kind annona.RestrictionKind) (int, error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	number, err := x.subject(ctx, s)
	if err != nil {
		return 0, err
	}
	return x.eachRecord(ctx, number, func(of annona.Number) (lifted int, err error) {
		all, err := x.Subjects.Restrictions(ctx, of)
		if err != nil {
			return 0, err
		}
		for _, r := range all {
			if r.Kind != kind || !r.LiftedAt.IsZero() {
				continue
			}
			r.LiftedAt = x.Clock()
			if err := x.changeRight(ctx, caller, of, "lift_"+string(kind), r.ID, func(tx annona.Tx) error { return tx.PutRestriction(ctx, r) }); err != nil {
				return lifted, err
			}
			lifted++
		}
		return lifted, nil
	})
}

// eachRecord calls change for a record and for those that were merged into it, and returns what it says of
// the record.
func (x *Exchange) eachRecord(ctx context.Context, number annona.Number, change func(annona.Number) (int, error)) (count int, err error) {
	numbers, err := x.mergedInto(ctx, x.individuals(), number)
	if err != nil {
		return 0, err
	}
	for i, of := range numbers {
		n, err := change(of)
		if i == 0 {
			count = n
		}
		if err != nil {
			return count, err
		}
	}
	return count, nil
}

// GiveConsent records an individual's consent to named purposes and recipients.
func (x *Exchange) GiveConsent(ctx context.Context, caller annona.Caller, s Subject, c annona.Consent) (annona.UID, error) {
	if err := operatorOnly(caller); err != nil {
		return c.ID, err
	}
	if len(c.Purposes) == 0 || len(c.Recipients) == 0 {
		return c.ID, annona.Invalid("consent_unspecific", "a consent names its purposes and its recipients")
	}
	if err := checkRight(c.Purposes, c.EffectiveDate, c.ExpiryDate); err != nil {
		return c.ID, err
	}
	number, err := x.subject(ctx, s)
	if err != nil {
		return c.ID, err
	}
	now := x.Clock()
	c.ID, c.Subject, c.RecordedAt, c.Status = annona.NewUID(), number, now, "given"
	if c.EffectiveDate == "" {
		c.EffectiveDate = x.today(now)
	}
	return c.ID, x.putRight(ctx, caller, number, "consent_given", c.ID, func(tx annona.Tx, of annona.Number) error {
		one := c
		if one.Subject = of; of != number {
			one.ID = annona.NewUID()
		}
		return tx.PutConsent(ctx, one)
	})
}

// WithdrawConsent withdraws every consent of an individual that names the purpose (empty: any)
// and returns how many.
func (x *Exchange) WithdrawConsent(ctx context.Context, caller annona.Caller, s Subject, purpose string) (int, error) {
	if err := operatorOnly(caller); err != nil {
		return 0, err
	}
	number, err := x.subject(ctx, s)
	if err != nil {
		return 0, err
	}
	return x.eachRecord(ctx, number, func(of annona.Number) (withdrawn int, err error) {
		all, err := x.Subjects.Consents(ctx, of)
		if err != nil {
			return 0, err
		}
		for _, c := range all {
			if c.Status != "given" || purpose != "" && !slices.Contains(c.Purposes, purpose) {
				continue
			}
			c.Status, c.WithdrawnAt = "withdrawn", x.Clock()
			if err := x.changeRight(ctx, caller, of, "consent_withdrawn", c.ID, func(tx annona.Tx) error { return tx.PutConsent(ctx, c) }); err != nil {
				return withdrawn, err
			}
			withdrawn++
		}
		return withdrawn, nil
	})
}

// checkRight refuses what could never take effect.
func checkRight(purposes []string, from, until annona.Date) error {
	for _, purpose := range purposes {
		if err := policy.CheckPurpose(purpose); err != nil {
			return err
		}
	}
	return checkDays(from, until)
}

func checkDays(from, until annona.Date) error {
	for _, d := range []annona.Date{from, until} {
		if _, err := annona.ParseDate(string(d)); d != "" && err != nil {
			return err
		}
	}
	if from != "" && until != "" && until < from {
		return annona.Invalid("days_reversed", "the last day comes before the first")
	}
	return nil
}

// putRight writes the exercise of a right with its ledger entry, for a record and for those that were
// merged into it.
func (x *Exchange) putRight(ctx context.Context, caller annona.Caller, number annona.Number, act string, id annona.UID, put func(annona.Tx, annona.Number) error) error {
	return x.changeRight(ctx, caller, number, act, id, func(tx annona.Tx) error {
		numbers, err := x.mergedInto(ctx, x.individuals(), number)
		if err != nil {
			return err
		}
		for _, of := range numbers {
			if err := put(tx, of); err != nil {
				return err
			}
		}
		now, err := x.lineageOf(ctx, x.individuals(), number) // the record is locked since
		if err == nil && (now.survivor(number) != number || !slices.Equal(now.inside(number), numbers)) {
			err = annona.Conflict("record_moved", "the record was merged, or a merge of it was taken back, in this moment; try again")
		}
		return err
	})
}

func (x *Exchange) changeRight(ctx context.Context, caller annona.Caller, number annona.Number, act string, id annona.UID, put func(annona.Tx) error) error {
	facts := audit.Facts{Verb: annona.VerbSubjectRights, Details: map[string]string{"act": act, "record": id.String()}}
	subjects := []audit.Subjects{{Noun: "individual", Numbers: []annona.Number{number}}}
	entry := audit.Change(x.Clock(), annona.NewUID(), facts, caller, subjects)
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := put(tx); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, entry)
	})
}
