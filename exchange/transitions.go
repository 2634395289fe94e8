package exchange

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// A case is shared or handed over in two steps: one partner offers, the other one answers. Each step is one
// transaction, in which the case is held, so that it has one owner at every instant. What a referral
// shows ends by itself on its last day.

// The kinds of transitions, and where they stand.
const (
	kindReferral = "referral"
	kindTransfer = "transfer"
	kindRequest  = "transfer_request"

	transitionPending   = "pending"
	transitionAccepted  = "accepted"
	transitionDeclined  = "declined"
	transitionCompleted = "completed"
	transitionCancelled = "cancelled"
)

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
	case today > annona.Date(said["expires_on"]) && answer != "cancel":
		return "", annona.Conflict("transition_expired", "the transition has ended by itself; begin another one").On("answer")
	}
	return r.to[said["kind"]], nil
}

// Offer is a transition as it is begun.
type Offer struct {
	Kind           string      `json:"kind"`                 // referral, transfer or transfer_request
	ToPartner      string      `json:"to_partner,omitempty"` // of a request: empty, the caller's own
	ToWorker       string      `json:"to_worker,omitempty"`
	Service        string      `json:"service,omitempty"`
	Reason         string      `json:"reason,omitempty"`
	FieldsShared   []string    `json:"fields_shared,omitempty"` // fields and groups of a case, notes or attachments; none: what the other one's agreement shows
	Edit           bool        `json:"edit,omitempty"`
	Basis          string      `json:"basis"`
	OverrideReason string      `json:"override_reason,omitempty"` // of the basis override
	ExpiresOn      annona.Date `json:"expires_on"`
	Keyed          *Keyed      `json:"-"` // what the request is known by; nil: a repetition is another offer
}

// longestTransition is how many days a transition may last.
const longestTransition = 366

// OfferTransition begins a referral, a transfer or a request for one.
func (x *Exchange) OfferTransition(ctx context.Context, caller annona.Caller, purpose, id string, o Offer) (v CaseVerdict, err error) {
	d, i, err := x.transitionDesk(ctx, caller, purpose)
	if err != nil {
		return v, err
	}
	number, _, err := d.find(ctx, id)
	if err != nil {
		return v, err
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		done, err := d.onceIfKeyed(ctx, tx, o.Keyed, func() (done Done, err error) {
			done = Done{Status: 201, Noun: "transitions", Version: 1}
			done.Record, err = d.offer(ctx, tx, i, number, o)
			return done, err
		})
		v = CaseVerdict{Verdict: VerdictCreated, ID: string(i.realm.AppendID(nil, done.Record[:])), ETag: d.tag(&annona.Matter{UID: done.Record}, int(done.Version))}
		if done.Replayed {
			v.Verdict = VerdictUnchanged
		}
		return err
	})
	return v, err
}

// offer begins a transition, and returns its UID.
func (d *caseDesk) offer(ctx context.Context, tx annona.Tx, i *inquiry, number annona.Number, o Offer) (uid annona.UID, err error) {
	of, _, err := d.hold(ctx, tx, number)
	if err != nil {
		return uid, err
	}
	if o.Kind == kindRequest {
		o.ToPartner = d.i.partner()
	}
	if err := d.checkOffer(ctx, &of, o); err != nil {
		return uid, err
	}
	if err := d.onlyOne(ctx, &of, o); err != nil {
		return uid, err
	}
	e, err := d.offered(ctx, tx, i, &of, o)
	if err != nil {
		return uid, err
	}
	if err := d.x.putMatters(ctx, tx, d.cells, d.author("offer"), []matterEdit{e}); err != nil {
		return uid, err
	}
	// Both see the transition itself, whoever has the case.
	if err := tx.PutShare(ctx, annona.Share{Dataset: "transitions", Number: e.Number, Partner: o.ToPartner, By: e.UID}); err != nil {
		return uid, err
	}
	return e.UID, tx.AppendEntry(ctx, d.entry("offer_"+o.Kind, "transitions", nil, of.Subject))
}

func (x *Exchange) transitionDesk(ctx context.Context, caller annona.Caller, purpose string) (*caseDesk, *inquiry, error) {
	d, err := x.caseDesk(ctx, caller, annona.VerbTransferCases, purpose)
	if err != nil {
		return nil, nil, err
	}
	i, err := x.inquireMatters(ctx, caller, annona.VerbTransferCases, "transitions", purpose, []string{"transition_id"})
	return d, i, err
}

// checkOffer refuses what contradicts itself, and what the other partner cannot receive.
func (d *caseDesk) checkOffer(ctx context.Context, of *matterEdit, o Offer) error {
	me := d.i.partner()
	_, err := annona.ParseDate(string(o.ExpiresOn))
	switch {
	case !slices.Contains([]string{kindReferral, kindTransfer, kindRequest}, o.Kind):
		return annona.Invalid("kind_unknown", "a transition is a referral, a transfer or a transfer_request").On("kind")
	case o.Kind == kindRequest && of.Owner == me, o.Kind != kindRequest && o.ToPartner == me:
		return annona.Invalid("transition_to_oneself", "the case is yours already; another partner is to see or to have it").On("to_partner")
	case o.Kind != kindRequest && of.Owner != me:
		return annona.Forbidden("not_owner", "only the partner that has the case refers it or hands it over; ask for it with a transfer_request")
	case err != nil || o.ExpiresOn < d.today || o.ExpiresOn > d.today.AddDays(longestTransition):
		return annona.Invalid("expiry_malformed", "a transition has a last day, written 2006-01-02: today or one of the next %d days", longestTransition).On("expires_on")
	case of.Subject.IsZero():
		return annona.Conflict("case_provisional", "say first whom the case is about: somebody who is not on file is seen by the case's owner only")
	case of.was.values["phase"] == phaseClosed:
		return annona.Conflict("case_phase", "the case is closed; reopen it first")
	case o.Basis == "override" && strings.TrimSpace(o.OverrideReason) == "":
		return annona.Invalid("field_required", "to go without consent needs a reason, in words").On("override_reason")
	case o.Kind != kindRequest && of.Confidentiality == confidentialityNamed && o.ToWorker == "":
		return annona.Invalid("field_required", "a case of named persons goes to a named worker").On("to_worker")
	case o.Kind == kindTransfer && (len(o.FieldsShared) > 0 || o.Edit):
		return annona.Invalid("transfer_in_part", "a transfer hands the whole case over; to show a part of it, refer it").On("fields_shared")
	}
	for _, name := range o.FieldsShared {
		if _, known := of.Dataset.Field(name); !known && name != partNotes && name != partAttachments {
			return annona.Invalid("unknown_field", "cases have no field of one of these names").On("fields_shared")
		}
	}
	receiver := o.ToPartner
	if err := d.receives(ctx, receiver, of); err != nil {
		return err
	}
	return d.consented(ctx, of, o)
}

// receives refuses a partner that no agreement lets receive the case.
func (d *caseDesk) receives(ctx context.Context, partner string, of *matterEdit) error {
	all, err := d.x.Roster.Agreements(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		inForce := a.Status == "active" && d.today >= a.ValidFrom && d.today <= a.ValidUntil
		if a.Partner.Name != partner || !inForce || a.Cases == nil || !a.Cases.Receives {
			continue
		}
		if of.Confidentiality != confidentialityRestricted || slices.Contains(a.Cases.Confidentiality, confidentialityRestricted) {
			return nil
		}
	}
	return annona.Invalid("partner_not_receiving", "no agreement in force lets this partner receive such a case").On("to_partner")
}

// consented refuses a transition on the basis of a consent that nobody has given.
func (d *caseDesk) consented(ctx context.Context, of *matterEdit, o Offer) error {
	if o.Basis != "consent" {
		return nil
	}
	missing := annona.Conflict("consent_missing", "no consent on file lets this partner receive the case for this purpose; record one, or name another basis").On("basis")
	if of.Subject.Dataset != "individuals" {
		return missing
	}
	all, err := d.x.Subjects.Consents(ctx, of.Subject.Number)
	if err != nil {
		return err
	}
	for _, c := range all {
		given := c.Status == "given" && c.WithdrawnAt.IsZero() && c.EffectiveDate <= d.today && (c.ExpiryDate == "" || c.ExpiryDate >= d.today)
		if given && slices.Contains(c.Recipients, o.ToPartner) && slices.Contains(c.Purposes, d.i.grant.Purpose.Code) {
			return nil
		}
	}
	return missing
}

// onlyOne refuses a second hand-over of a case, and the same referral twice, while the first one waits.
func (d *caseDesk) onlyOne(ctx context.Context, of *matterEdit, o Offer) error {
	transitions := d.dataset("transitions")
	shape := &annona.Shape{Dataset: transitions}
	for _, code := range []string{"kind", "to_partner", "expires_on"} {
		f, _ := transitions.Field(code)
		shape.Columns = append(shape.Columns, f)
	}
	scope := d.i.ownScope(d.x, shape, d.worker)
	terms := scope.Terms()
	terms.Owner = of.Owner
	page := annona.NewPage(shape)
	choice := annona.MatterChoice{Parents: []annona.Number{of.Number}, States: []string{transitionPending}}
	if _, err := d.x.readMatters(ctx, annona.NewMatterScope(shape, terms, annona.Scope{}, annona.Scope{}), choice, 0, atOnce, page); err != nil {
		return err
	}
	for row := range page.Count {
		kind, to, until := string(page.Cell(0, row)), string(page.Cell(1, row)), annona.Date(page.Cell(2, row))
		if until >= d.today && kind == o.Kind && (kind == kindTransfer || to == o.ToPartner) {
			return annona.Conflict("transition_pending", "another one of this kind waits for its answer; cancel it first").On("kind")
		}
	}
	return nil
}

func (d *caseDesk) offered(ctx context.Context, tx annona.Tx, i *inquiry, of *matterEdit, o Offer) (e matterEdit, err error) {
	fresh, err := tx.NewMatters(ctx, i.shape.Dataset, 1)
	if err != nil {
		return e, err
	}
	e = matterEdit{Matter: fresh[0], was: newDocument(i.shape.Dataset)}
	e.Parent, e.Subject, e.Owner, e.State, e.Due = of.Number, of.Subject, of.Owner, transitionPending, o.ExpiresOn
	// Whoever may not see the case does not see that it is offered; of a case of named persons, the one
	// to whom it goes does.
	if e.Confidentiality = of.Confidentiality; of.Confidentiality == confidentialityNamed {
		e.Worker = d.x.workerOf(o.ToPartner, o.ToWorker)
	}
	said := map[string]any{
		"kind": o.Kind, "status": transitionPending, "from_partner": of.Owner, "to_partner": o.ToPartner, "basis": o.Basis, "expires_on": string(o.ExpiresOn),
		"created_at": annona.Instant(d.x.Clock()), "owner_then": of.Owner, "edit": o.Edit,
	}
	for code, text := range map[string]string{
		"to_worker": o.ToWorker, "service": o.Service, "reason": o.Reason, "override_reason": o.OverrideReason, "team_then": of.was.values["team"],
		"fields_shared": strings.Join(o.FieldsShared, string(rune(annona.ListMark))),
	} {
		if text != "" {
			said[code] = text
		}
	}
	e.next, err = e.was.with(d.x.CurrentDictionary(), said)
	return e, err
}

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
	missing := annona.NotFound("no such transition, or not one of yours")
	number, about, err := d.findIn(ctx, i, id, missing)
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
	e, of, err := d.holdBoth(ctx, tx, transitions, number)
	if err != nil {
		return done, err
	}
	status, err := answered(e.was.values, a.Answer, d.i.partner(), d.today)
	if err != nil {
		return done, err
	}
	edits := []matterEdit{e}
	t := &edits[0]
	t.next.values["status"], t.next.values["responded_at"], t.State = status, annona.Instant(d.x.Clock()), status
	if a.Answer == "decline" && a.Why != "" {
		if t.next, err = t.next.with(d.x.CurrentDictionary(), map[string]any{"decline_reason": a.Why}); err != nil {
			return done, err
		}
	}
	moved, err := d.settle(ctx, tx, t, &of, a.Answer)
	if err != nil {
		return done, err
	}
	if moved {
		edits = append([]matterEdit{of}, edits...)
	}
	for _, each := range edits { // a dataset each
		if err := d.x.putMatters(ctx, tx, d.cells, d.author(a.Answer), []matterEdit{each}); err != nil {
			return done, err
		}
	}
	done = Done{Status: statusDone, Noun: "transitions", Record: e.UID, Version: int64(e.Version + 1)}
	return done, tx.AppendEntry(ctx, d.entry(a.Answer+"_"+e.was.values["kind"], "transitions", nil, about))
}

// holdBoth locks the case of a transition, and then the transition.
func (d *caseDesk) holdBoth(ctx context.Context, tx annona.Tx, transitions *annona.Dataset, number annona.Number) (e, of matterEdit, err error) {
	peek, err := tx.HoldMatters(ctx, transitions, []annona.Number{number})
	if err != nil || len(peek) == 0 {
		return e, of, orMissing(err)
	}
	cases, err := tx.HoldMatters(ctx, d.dataset("cases"), []annona.Number{peek[0].Parent})
	if err != nil || len(cases) == 0 {
		return e, of, orMissing(err)
	}
	edits, err := d.x.openMatters(ctx, d.cells, append(peek, cases...))
	if err != nil {
		return e, of, err
	}
	return edits[0], edits[1], nil
}

func orMissing(err error) error {
	if err != nil {
		return err
	}
	return errCase
}

// settle lets a transition have its effect on the case, and reports whether the case changes by it.
func (d *caseDesk) settle(ctx context.Context, tx annona.Tx, t, of *matterEdit, answer string) (moved bool, err error) {
	said := t.next.values
	share := annona.Share{Dataset: "cases", Number: of.Number, Partner: said["to_partner"], By: t.UID}
	switch {
	case said["kind"] == kindReferral && answer == "accept":
		if of.Owner != said["from_partner"] {
			return false, errMovedOn
		}
		share.Until, share.Edit = annona.Date(said["expires_on"]), said["edit"] == "true"
		if list := said["fields_shared"]; list != "" {
			share.Fields = strings.Split(list, string(rune(annona.ListSeparator)))
		}
		return false, tx.PutShare(ctx, share)
	case said["kind"] == kindReferral:
		return false, tx.EndShare(ctx, share)
	case answer != "accept":
		return false, nil
	}
	if of.Owner != said["from_partner"] {
		return false, errMovedOn
	}
	return true, d.handOver(ctx, tx, of, said, share)
}

var errMovedOn = annona.Conflict("case_moved_on", "the case belongs to another partner by now")

// everyDay is before the last day of every share.
const everyDay = annona.Date("0001-01-01")

// handOver makes the other partner the owner. What was shared with it ends: it sees the whole case.
func (d *caseDesk) handOver(ctx context.Context, tx annona.Tx, of *matterEdit, said map[string]string, share annona.Share) error {
	if err := d.receives(ctx, share.Partner, of); err != nil {
		return err
	}
	of.Owner = share.Partner
	for _, code := range []string{"team", "worker", "supervisor"} {
		delete(of.next.values, code)
	}
	set(of.next.values, "worker", said["to_worker"])
	d.index(of)
	shares, err := d.x.Matters.MatterShares(ctx, of.Dataset, []annona.Number{of.Number}, share.Partner, everyDay)
	if err != nil {
		return err
	}
	for _, s := range append(shares, share) { // also where there is none: whoever reads the case by its owner reads it again
		if err := tx.EndShare(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Transitions returns a page of the transitions that the caller's partner has begun or is to answer; those
// of one case when it is named, of one status when that is.
func (x *Exchange) Transitions(ctx context.Context, caller annona.Caller, purpose, id, status string, fields []string, after string, limit int) (*Answer, error) {
	if err := cmp.Or(checkLimit(limit, MaxLimit), x.checkStatus("transitions", status)); err != nil {
		return nil, err
	}
	d, err := x.caseDesk(ctx, caller, annona.VerbReadCases, purpose)
	if err != nil {
		return nil, err
	}
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadCases, "transitions", purpose, fields)
	if err != nil {
		return nil, err
	}
	var choice annona.MatterChoice
	if status != "" {
		choice.States = []string{status}
	}
	if id != "" {
		number, _, err := d.find(ctx, id)
		if err != nil {
			return nil, err
		}
		choice.Parents = []annona.Number{number}
	}
	i.chosen = string(appendTexts(nil, id, status))
	return d.page(ctx, i, choice, after, limit)
}
