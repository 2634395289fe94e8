package main

import (
	"context"
	"fmt"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type subjectCommand struct {
	Restrict subjectRestrict `cmd:"" help:"Restrict the processing of an individual's data (GDPR Article 18)."`
	Object   subjectObject   `cmd:"" help:"Record an individual's objection (GDPR Article 21)."`
	Consent  subjectConsent  `cmd:"" help:"Record or withdraw an individual's consent."`
}

// who names the individual.
type who struct {
	Source string `placeholder:"NAME" help:"Source system that reported the individual."`
	Key    string `placeholder:"KEY" help:"Key of the individual in that source."`
	ID     string `name:"id" placeholder:"ID" help:"Or: id of the individual as a partner knows it."`
	Realm  string `placeholder:"NAME" help:"Id realm of that partner's agreement."`
}

func (w who) subject() (exchange.Subject, error) {
	byKey := w.Source != "" && w.Key != ""
	byID := w.ID != "" && w.Realm != ""
	if byKey == byID {
		return exchange.Subject{}, annona.Invalid("subject_unnamed", "name the individual either by --source and --key, or by --id and --realm")
	}
	return exchange.Subject{Source: w.Source, Key: w.Key, ID: w.ID, Realm: w.Realm}, nil
}

// right is what a restriction and an objection have in common.
type right struct {
	dataFlag
	who
	Purpose   []string `help:"Purpose concerned; may be repeated. None: all."`
	Recipient []string `sep:"none" help:"Partner concerned; may be repeated. None: all."`
	Ground    string   `placeholder:"CODE" help:"Ground, as a code; no personal data."`
	From      string   `help:"First day; today when left out." placeholder:"2006-01-02"`
	Until     string   `help:"Last day; open when left out." placeholder:"2006-01-02"`
	Lift      bool     `help:"Lift what was recorded instead."`
}

type subjectRestrict struct{ right }

func (s subjectRestrict) Run(ctx context.Context, c console) error {
	return s.record(ctx, c, annona.KindRestriction)
}

type subjectObject struct{ right }

func (s subjectObject) Run(ctx context.Context, c console) error {
	return s.record(ctx, c, annona.KindObjection)
}

func (r right) record(ctx context.Context, c console, kind annona.RestrictionKind) error {
	subject, err := r.subject()
	if err != nil {
		return err
	}
	return r.with(ctx, func(f *folder) error {
		if r.Lift {
			n, err := f.gate.Lift(ctx, operator(), subject, kind)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "Lifted: %d.\n", n)
			return err
		}
		id, err := f.gate.Restrict(ctx, operator(), subject, annona.Restriction{
			Kind: kind, Purposes: r.Purpose, Recipients: r.Recipient, Ground: r.Ground,
			EffectiveDate: annona.Date(r.From), ExpiryDate: annona.Date(r.Until),
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "Recorded as %s. It holds from the next page of every disclosure.\n", id)
		return err
	})
}

type subjectConsent struct {
	dataFlag
	who
	Purpose   []string `help:"Purpose that the consent is for; may be repeated."`
	Recipient []string `sep:"none" help:"Partner that the consent names; may be repeated."`
	Medium    string   `default:"paper" help:"How it was collected."`
	Signed    string   `help:"Day of the signature." placeholder:"2006-01-02"`
	From      string   `help:"First day; today when left out." placeholder:"2006-01-02"`
	Until     string   `help:"Last day; open when left out." placeholder:"2006-01-02"`
	Withdraw  bool     `help:"Withdraw consent instead; --purpose narrows it to one."`
}

func (s subjectConsent) Run(ctx context.Context, c console) error {
	subject, err := s.subject()
	if err != nil {
		return err
	}
	return s.with(ctx, func(f *folder) error {
		if s.Withdraw {
			return s.withdraw(ctx, c, f, subject)
		}
		id, err := f.gate.GiveConsent(ctx, operator(), subject, annona.Consent{
			Purposes: s.Purpose, Recipients: s.Recipient, Medium: s.Medium, SignedDate: annona.Date(s.Signed),
			EffectiveDate: annona.Date(s.From), ExpiryDate: annona.Date(s.Until),
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "Recorded as %s.\n", id)
		return err
	})
}

func (s subjectConsent) withdraw(ctx context.Context, c console, f *folder, subject exchange.Subject) error {
	purposes := s.Purpose
	if len(purposes) == 0 {
		purposes = []string{""} // any
	}
	total := 0
	for _, purpose := range purposes {
		n, err := f.gate.WithdrawConsent(ctx, operator(), subject, purpose)
		if err != nil {
			return err
		}
		total += n
	}
	_, err := fmt.Fprintf(c.out, "Withdrawn: %d. It holds from the next page of every disclosure.\n", total)
	return err
}
