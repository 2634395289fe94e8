package exchange

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// An erasure that was refused (GDPR Article 17(3)) stays refused until somebody takes that back: what a court
// asks to be kept is not erased by the next clerk. To take it back needs a second person. Then the record can
// be erased as any other.

// RefuseErasure records that an individual has asked to be erased, and why that is refused. It returns the id of the
// refusal.
func (x *Exchange) RefuseErasure(ctx context.Context, caller annona.Caller, s Subject, reason string) (annona.UID, error) {
	r := annona.ErasureRefusal{ID: annona.NewUID(), Reason: reason, RefusedAt: x.Clock()}
	if err := operatorOnly(caller); err != nil {
		return r.ID, err
	}
	if err := checkReason(reason, refusalReasons); err != nil {
		return r.ID, err
	}
	var err error
	if r.Subject, err = x.refusedTo(ctx, s); err != nil {
		return r.ID, err
	}
	return r.ID, x.Writer.Update(ctx, func(tx annona.Tx) error {
		if err := tx.PutErasureRefusal(ctx, r); err != nil {
			return err
		}
		return tx.AppendEntry(ctx, x.refusalEntry(caller, r, "erasure_refused", reason, nil))
	})
}

// refusedTo is the individual to whom an erasure is refused.
func (x *Exchange) refusedTo(ctx context.Context, s Subject) (annona.Number, error) {
	if s.Household {
		return 0, annona.Invalid("refusal_of_household", "erasure is refused to an individual; name the one who asked for it")
	}
	return x.subject(ctx, s)
}

// noRefusalStands refuses to erase records of a dataset to one of whom that was refused.
func noRefusalStands(ctx context.Context, tx annona.Tx, dataset *annona.Dataset, numbers []annona.Number) error {
	if dataset.Name != "individuals" {
		return nil
	}
	standing, err := tx.HoldErasureRefusals(ctx, numbers)
	if err != nil || len(standing) == 0 {
		return err
	}
	return annona.Conflict("refusal_stands", "this erasure was refused on %s (%s); take that back first: annona subject erase --lift-refusal, which a second person approves",
		standing[0].RefusedAt.UTC().Format(time.DateOnly), standing[0].Reason)
}

// liftedRefusals is what waits for a second person: refusals to one individual, and why they are taken back.
type liftedRefusals struct {
	Subject  annona.Number `json:"subject"`
	Refusals []annona.UID  `json:"refusals"`
	Reason   string        `json:"reason"`
}

// LiftErasureRefusal takes back what RefuseErasure has refused to an individual, for a reason to erase them. It waits for a
// second person. Codes: operator_only, unknown_reason, refusal_of_household, no_refusal, approval_needed.
func (x *Exchange) LiftErasureRefusal(ctx context.Context, caller annona.Caller, s Subject, reason string) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	if err := checkReason(reason, erasureReasons); err != nil {
		return err
	}
	number, err := x.refusedTo(ctx, s)
	if err != nil {
		return err
	}
	p, err := x.liftProposal(ctx, liftedRefusals{Subject: number, Reason: reason})
	if err != nil {
		return err
	}
	if p.base < 0 {
		return annona.Conflict("no_refusal", "no refusal stands: the record can be erased")
	}
	return x.submit(ctx, caller, p)
}

// liftProposal takes back the refusals that stand now. Where others were meant, the thing has moved: base -1.
func (x *Exchange) liftProposal(ctx context.Context, body liftedRefusals) (p proposal, err error) {
	standing, err := x.standingRefusals(ctx, body.Subject)
	if err != nil {
		return p, err
	}
	var ids []annona.UID
	for _, r := range standing {
		ids = append(ids, r.ID)
		p.shows = append(p.shows, fmt.Sprintf("+ erasure: of somebody to whom it was refused on %s (%s); asked for now: %s", r.RefusedAt.UTC().Format(time.DateOnly), r.Reason, body.Reason))
	}
	if len(ids) == 0 || body.Refusals != nil && !slices.Equal(ids, body.Refusals) {
		return proposal{base: -1}, nil
	}
	body.Refusals = ids
	p.kind, p.object, p.body = annona.ApproveErasure, ids[0].String(), body
	p.put = func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
		for _, r := range standing {
			r.LiftedAt = x.Clock()
			if err := tx.PutErasureRefusal(ctx, r); err != nil {
				return err
			}
			if err := tx.AppendEntry(ctx, x.refusalEntry(caller, r, "refusal_lifted", body.Reason, how.note(nil))); err != nil {
				return err
			}
		}
		return nil
	}
	return p, nil
}

// standingRefusals are those of an individual and of whom was merged into it, whose erasure is one.
func (x *Exchange) standingRefusals(ctx context.Context, number annona.Number) (standing []annona.ErasureRefusal, err error) {
	dataset := x.subjectDataset(Subject{})
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		merged, err := x.mergedWith(ctx, tx, dataset, number)
		if err != nil {
			return err
		}
		standing, err = tx.HoldErasureRefusals(ctx, append(merged, number))
		return err
	})
	return standing, err
}

// refusalEntry is the entry of a refusal that begins or ends, for a reason.
func (x *Exchange) refusalEntry(caller annona.Caller, r annona.ErasureRefusal, act, reason string, details map[string]string) annona.LedgerRow {
	refused := annona.Tombstone{ID: r.ID, Number: r.Subject, Reason: reason}
	return x.erasureEntry(caller, x.subjectDataset(Subject{}), refused, act, details)
}
