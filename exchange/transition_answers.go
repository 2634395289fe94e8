package exchange

import (
	"context"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

var errTransition = annona.NotFound("no such transition, or not one of yours")

// TransitionAnswer is what a partner says to a transition.
type TransitionAnswer struct {
	Answer string // accept, decline, cancel or complete
	Why    string // it is declined
	Keyed  *Keyed // what the request is known by; nil: a repetition is another answer
}

// AnswerTransition accepts, declines, cancels or completes a transition. What that means for the case
// happens in the same transaction.
func (x *Exchange) AnswerTransition(ctx context.Context, caller annona.Caller, purpose, id string, a TransitionAnswer) (v CaseVerdict, err error) {
	d, i, err := x.transitionDesk(ctx, caller, purpose)
	if err != nil {
		return v, err
	}
	number, about, err := d.findIn(ctx, i, id, errTransition)
	if err != nil {
		return v, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		done, err := d.onceIfKeyed(ctx, tx, a.Keyed, func() (Done, error) { return d.answer(ctx, tx, i.shape.Dataset, number, about, a) })
		v = CaseVerdict{Verdict: VerdictChanged, ID: id, ETag: d.tag(&annona.Matter{UID: done.Record}, int(done.Version))}
		if done.Replayed {
			v.Verdict = VerdictUnchanged
		}
		return err
	})
	return v, err
}

// answer writes what is said to a transition, with its effect on the case.
func (d *caseDesk) answer(ctx context.Context, tx annona.Tx, transitions *annona.Dataset, number annona.Number, about annona.SubjectRef, a TransitionAnswer) (done Done, err error) {
	t, of, beside, err := d.holdAll(ctx, tx, transitions, number)
	if err != nil {
		return done, err
	}
	status, err := answered(t.was.values, a.Answer, d.i.partner(), d.today)
	if err != nil {
		return done, err
	}
	if a.Answer == "accept" {
		if err := d.consented(ctx, &of, Offer{Basis: t.was.values["basis"], ToPartner: t.was.values["to_partner"]}); err != nil {
			return done, err
		}
	}
	d.stand(&t, status)
	if a.Answer == "decline" && a.Why != "" {
		if t.next, err = t.next.with(d.x.CurrentDictionary(), map[string]any{"decline_reason": a.Why}); err != nil {
			return done, err
		}
	}
	edits := []matterEdit{t}
	if a.Answer == "accept" && t.was.values["kind"] != kindReferral {
		edits, err = d.handOver(ctx, tx, &of, t, beside)
	} else {
		err = d.settleReferral(ctx, tx, &t, &of, a.Answer)
	}
	if err != nil {
		return done, err
	}
	for _, each := range edits { // one by one: the case is of another dataset
		if err := d.x.putMatters(ctx, tx, d.cells, d.author(a.Answer), []matterEdit{each}); err != nil {
			return done, err
		}
	}
	done = Done{Status: statusDone, Noun: "transitions", Record: t.UID, Version: int64(t.Version + 1)}
	return done, tx.AppendEntry(ctx, d.entry(a.Answer+"_"+t.was.values["kind"], "transitions", nil, about))
}

// holdAll locks the case of a transition, and then the transitions of the case, so that whoever answers one of them
// waits for whoever answers another. Beside the transition it returns the others that are open.
func (d *caseDesk) holdAll(ctx context.Context, tx annona.Tx, transitions *annona.Dataset, number annona.Number) (t, of matterEdit, beside []matterEdit, err error) {
	held, err := tx.HoldWithParent(ctx, d.dataset("cases"), transitions, number)
	if err != nil || len(held) == 0 {
		return t, of, nil, orMissing(err)
	}
	kept := held[:1]
	at := 0
	for _, m := range held[1:] {
		switch {
		case m.Number == number:
			at = len(kept)
		case !slices.Contains(openTransitions, m.State) || over(m.State, m.Due, d.today):
			continue
		}
		kept = append(kept, m)
	}
	if at == 0 {
		return t, of, nil, errTransition
	}
	edits, err := d.x.openMatters(ctx, d.cells, kept)
	if err != nil {
		return t, of, nil, err
	}
	return edits[at], edits[0], slices.Concat(edits[1:at], edits[at+1:]), nil
}

func orMissing(err error) error {
	if err != nil {
		return err
	}
	return errTransition
}

// stand says where a transition stands from this moment on.
func (d *caseDesk) stand(t *matterEdit, status string) {
	t.next.values["status"], t.next.values["responded_at"], t.State = status, annona.Instant(d.x.Clock()), status
}

// answerRule is one line of what may be answered: by whom, of which kind, standing where, and what then.
type answerRule struct {
	answer string
	kinds  []string
	at     []string
	byTo   bool // the partner that was asked or offered; otherwise the one that began it
	to     map[string]string
}

var answerRules = []answerRule{
	{"accept", []string{kindReferral, kindTransfer, kindRequest}, []string{transitionPending}, true,
		map[string]string{kindReferral: transitionAccepted, kindTransfer: transitionCompleted, kindRequest: transitionCompleted}},
	{"decline", []string{kindReferral, kindTransfer, kindRequest}, []string{transitionPending}, true,
		map[string]string{kindReferral: transitionDeclined, kindTransfer: transitionDeclined, kindRequest: transitionDeclined}},
	{"cancel", []string{kindReferral, kindTransfer, kindRequest}, []string{transitionPending, transitionAccepted}, false,
		map[string]string{kindReferral: transitionCancelled, kindTransfer: transitionCancelled, kindRequest: transitionCancelled}},
	{"complete", []string{kindReferral}, []string{transitionAccepted}, true, map[string]string{kindReferral: transitionCompleted}},
}

// answered returns where a transition stands behind an answer.
func answered(said map[string]string, answer, partner string, today annona.Date) (string, error) {
	at := slices.IndexFunc(answerRules, func(r answerRule) bool { return r.answer == answer })
	if at < 0 {
		return "", annona.Invalid("answer_unknown", "an answer is accept, decline, cancel or complete").On("answer")
	}
	r := answerRules[at]
	begun, asked := said["from_partner"], said["to_partner"]
	if said["kind"] == kindRequest {
		begun, asked = asked, begun
	}
	switch {
	case !slices.Contains(r.kinds, said["kind"]) || !slices.Contains(r.at, said["status"]):
		return "", annona.Conflict("transition_status", "the transition does not stand where this can be answered").On("answer")
	case r.byTo && partner != asked, !r.byTo && partner != begun:
		return "", annona.Forbidden("transition_not_yours", "the other partner answers this").On("answer")
	case today > annona.Date(said["expires_on"]):
		return "", annona.Conflict("transition_expired", "the transition has ended by itself; begin another one").On("answer")
	}
	return r.to[said["kind"]], nil
}

// settleReferral lets the other partner see what a referral shares once it is accepted, and no longer once it has ended.
// What else is answered to a transition has no effect on its case.
func (d *caseDesk) settleReferral(ctx context.Context, tx annona.Tx, t, of *matterEdit, answer string) error {
	said := t.next.values
	if said["kind"] != kindReferral {
		return nil
	}
	share := annona.Share{Dataset: "cases", Number: of.Number, Partner: said["to_partner"], By: t.UID}
	if answer != "accept" {
		return tx.EndShare(ctx, share)
	}
	share.Until, share.Edit = annona.Date(said["expires_on"]), said["edit"] == "true"
	if said["basis"] == basisConsent {
		share.Consent = d.i.grant.Purpose.Code // that of the consent which was looked up
	}
	if list := said["fields_shared"]; list != "" {
		share.Fields = strings.Split(list, string(rune(annona.ListSeparator)))
	}
	return tx.PutShare(ctx, share)
}

// handOver makes the other partner the owner, and returns what changes by it: the case first. Whatever the former owner
// has shared or offered ends in the same moment: who sees the case from then on is for the new owner to say.
func (d *caseDesk) handOver(ctx context.Context, tx annona.Tx, of *matterEdit, t matterEdit, beside []matterEdit) ([]matterEdit, error) {
	said := t.next.values
	if err := d.receives(ctx, said["to_partner"], of); err != nil {
		return nil, err
	}
	of.Owner = said["to_partner"]
	for _, code := range []string{"team", "worker", "supervisor"} {
		delete(of.next.values, code)
	}
	set(of.next.values, "worker", said["to_worker"])
	d.index(of)
	for n := range beside {
		d.stand(&beside[n], transitionCancelled)
	}
	// Also where nothing is shared this moves the policy epoch: whoever reads the case by its owner reads it again.
	if err := tx.EndShares(ctx, annona.MatterRef{Dataset: of.Dataset.Name, Number: of.Number}); err != nil {
		return nil, err
	}
	return append([]matterEdit{*of, t}, beside...), nil
}
