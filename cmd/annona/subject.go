package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

type subjectCommand struct {
	Restrict subjectRestrict `cmd:"" help:"Restrict the processing of an individual's data (GDPR Article 18)."`
	Object   subjectObject   `cmd:"" help:"Record an individual's objection (GDPR Article 21)."`
	Consent  subjectConsent  `cmd:"" help:"Record or withdraw an individual's consent."`
	Erase    subjectErase    `cmd:"" help:"Erase an individual, or record that this was refused (GDPR Article 17)."`
	Erased   subjectErased   `cmd:"" help:"List erasures and how far they are."`

	Merge   subjectMerge   `cmd:"" help:"Merge two records of one individual."`
	Unmerge subjectUnmerge `cmd:"" help:"Take a merge back: both records are again what their own sources report."`
	Merges  subjectMerges  `cmd:"" help:"List the merges of an individual."`

	Disclosures subjectDisclosures `cmd:"" help:"Tell who received an individual's data (GDPR Article 15)."`
	Disputes    subjectDisputes    `cmd:"" help:"List identifiers that several individuals hold, though they have one holder."`
	Tombstones  subjectTombstones  `cmd:"" help:"Make the file whole that keeps erased people away after a restore."`
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

type subjectErase struct {
	dataFlag
	tombstonesFlag
	who
	Household bool   `help:"Erase the household with that key instead; its members stay."`
	Reason    string `required:"" placeholder:"CODE" help:"Reason. To erase: not_necessary, consent_withdrawn, objection, unlawful, legal_obligation, child_consent. To refuse: expression, legal_obligation, public_health, archiving, legal_claims."`
	Refuse    bool   `xor:"refusal" help:"Refuse the erasure, and record why; nothing is erased, now or later, until the refusal is lifted."`
	Lift      bool   `name:"lift-refusal" xor:"refusal" help:"Lift the refusals that stand, for a reason to erase; nothing is erased yet. A second person approves it."`
}

func (s subjectErase) Run(ctx context.Context, c console) error {
	subject, err := s.subject()
	if err != nil {
		return err
	}
	subject.Household = s.Household
	return s.withTombstones(ctx, s.tombstonesFlag, func(f *folder) error {
		if s.Refuse {
			id, err := f.gate.RefuseErasure(ctx, operator(), subject, s.Reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "Recorded as %s: erasure refused (%s).\n", id, s.Reason)
			return err
		}
		if s.Lift {
			if err := f.gate.LiftErasureRefusal(ctx, operator(), subject, s.Reason); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, "The refusal is lifted. The record can be erased.")
			return err
		}
		stone, err := f.gate.Erase(ctx, operator(), subject, s.Reason)
		if stone.ErasedAt.IsZero() {
			return err
		}
		return errors.Join(err, certificate(c, stone))
	})
}

// certificate prints what can be told to whoever asked for the erasure: no personal data.
func certificate(c console, stone annona.Tombstone) error {
	_, err := fmt.Fprintf(c.out, "Erasure %s\nReason:    %s\nEffective: %s, from now on nobody is shown the record and no import brings it back\nComplete:  %s\n",
		stone.ID, stone.Reason, annona.Instant(stone.ErasedAt), completion(stone, time.Now()))
	return err
}

// completion says when nothing can open an old copy of the record anymore.
func completion(stone annona.Tombstone, now time.Time) string {
	switch {
	case stone.ShreddedAt.IsZero():
		return "not known yet: the key is still to be destroyed; annona serve does so when it starts"
	case now.Before(stone.CompleteAt):
		return annona.Instant(stone.CompleteAt) + ", then old backups do not open it either"
	}
	return annona.Instant(stone.CompleteAt) + ", old backups do not open it either"
}

type subjectErased struct {
	dataFlag
	JSON bool `name:"json" help:"Print JSON, one erasure on a line."`
}

// erasure is an erasure as it is printed.
type erasure struct {
	ID        string `json:"id"`
	Dataset   string `json:"dataset"`
	Reason    string `json:"reason"`
	Effective string `json:"effective"`
	Complete  string `json:"complete,omitempty"` // left out while the key is still to be destroyed
	Expires   string `json:"tombstone_expires"`
}

func (s subjectErased) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		stones, err := f.gate.Erasures(ctx, operator())
		if err != nil {
			return err
		}
		for _, stone := range stones {
			if err := s.print(c, stone); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s subjectErased) print(c console, stone annona.Tombstone) error {
	if !s.JSON {
		_, err := fmt.Fprintf(c.out, "%s  %s  %s  effective %s  complete %s\n",
			stone.ID, stone.Dataset, stone.Reason, annona.Instant(stone.ErasedAt), completion(stone, time.Now()))
		return err
	}
	e := erasure{ID: stone.ID.String(), Dataset: stone.Dataset, Reason: stone.Reason, Effective: annona.Instant(stone.ErasedAt), Expires: annona.Instant(stone.ExpiresAt)}
	if !stone.CompleteAt.IsZero() {
		e.Complete = annona.Instant(stone.CompleteAt)
	}
	return json.NewEncoder(c.out).Encode(e)
}

type subjectDisclosures struct {
	dataFlag
	who
	JSON bool `name:"json" help:"Print JSON."`
}

func (s subjectDisclosures) Run(ctx context.Context, c console) error {
	subject, err := s.subject()
	if err != nil {
		return err
	}
	return s.with(ctx, func(f *folder) error {
		told, err := f.gate.DisclosuresOf(ctx, operator(), subject)
		if err != nil {
			return err
		}
		err = s.print(c, told)
		told.Sent(int64(len(told.All)), err)
		return err
	})
}

// registryItself stands where a disclosure has no partner.
const registryItself = "(the registry, at its command line)"

func (s subjectDisclosures) print(c console, told *exchange.Disclosures) error {
	if s.JSON {
		return json.NewEncoder(c.out).Encode(told.All)
	}
	for _, d := range told.All {
		fmt.Fprintf(c.out, "%s  %s\n  request:   %s (%s)\n", d.Last.UTC().Format(time.RFC3339), cmp.Or(d.Recipient, registryItself), d.Request, d.Verb)
		if d.Agreement != "" {
			fmt.Fprintf(c.out, "  agreement: %s, version %d\n  purpose:   %s (%s)\n", d.Agreement, d.AgreementVersion, d.Purpose, d.Basis)
		}
		fmt.Fprintf(c.out, "  fields:    %s\n  pages:     %d, outcome: %s\n", strings.Join(d.Fields, " "), d.Pages, cmp.Or(string(d.Outcome), "still running"))
	}
	if told.More {
		fmt.Fprintln(c.out, "There are older ones, which are not listed.")
	}
	_, err := fmt.Fprintf(c.out, "Requests that released data of this individual: %d.\n", len(told.All))
	return err
}
