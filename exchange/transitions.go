package exchange

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// A case is shared or handed over in two steps: one partner offers, the other one answers. Each step is one
// transaction, in which the case is held, so that it has one owner at every instant.

// The kinds of transitions, and where they stand. Nothing writes that one has expired: its last day does.
const (
	kindReferral = "referral"
	kindTransfer = "transfer"
	kindRequest  = "transfer_request"

	basisConsent  = "consent"
	basisOverride = "override"

	transitionPending   = "pending"
	transitionAccepted  = "accepted"
	transitionDeclined  = "declined"
	transitionCompleted = "completed"
	transitionCancelled = "cancelled"
	transitionExpired   = "expired"
)

// openTransitions is where a transition stands that still shows something, or may.
var openTransitions = []string{transitionPending, transitionAccepted}

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
	case o.Basis == basisOverride && strings.TrimSpace(o.OverrideReason) == "":
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
	if o.Basis != basisConsent {
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
	for _, code := range []string{"kind", "to_partner"} {
		f, _ := transitions.Field(code)
		shape.Columns = append(shape.Columns, f)
	}
	scope := d.i.ownScope(d.x, shape, d.worker)
	terms := scope.Terms()
	terms.Owner = of.Owner
	page := annona.NewPage(shape)
	choice := annona.MatterChoice{Parents: []annona.Number{of.Number}, States: []string{transitionPending}, DueFrom: d.today}
	if _, err := d.x.readMatters(ctx, annona.NewMatterScope(shape, terms, annona.Scope{}, annona.Scope{}), choice, 0, atOnce, page); err != nil {
		return err
	}
	for row := range page.Count {
		kind, to := string(page.Cell(0, row)), string(page.Cell(1, row))
		if kind == o.Kind && (kind == kindTransfer || to == o.ToPartner) {
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
	choice := d.standing(status)
	if id != "" {
		number, _, err := d.find(ctx, id)
		if err != nil {
			return nil, err
		}
		choice.Parents = []annona.Number{number}
	}
	i.chosen = string(appendTexts(nil, id, status))
	return d.transitionsPage(ctx, i, choice, after, limit)
}

// standing picks the transitions that stand there today.
func (d *caseDesk) standing(status string) annona.MatterChoice {
	switch status {
	case "":
		return annona.MatterChoice{}
	case transitionExpired:
		return annona.MatterChoice{States: openTransitions, DueUntil: d.today.AddDays(-1)}
	case transitionPending, transitionAccepted:
		return annona.MatterChoice{States: []string{status}, DueFrom: d.today}
	}
	return annona.MatterChoice{States: []string{status}}
}

// transitionsPage reads a page of transitions, says of each where it stands today, and releases it.
func (d *caseDesk) transitionsPage(ctx context.Context, i *inquiry, choice annona.MatterChoice, after string, limit int) (*Answer, error) {
	page := annona.NewPage(withLastDay(i.shape))
	more, err := d.readPage(ctx, i, choice, after, limit, page)
	if err != nil {
		return nil, err
	}
	d.endByThemselves(page)
	narrowTo(page, i.shape)
	return d.x.answerPage(ctx, i, page, more)
}

// withLastDay is a shape of transitions with what it takes to say where one stands today.
func withLastDay(shape *annona.Shape) *annona.Shape {
	if shape.Column("expires_on") >= 0 {
		return shape
	}
	wide := *shape
	until, _ := shape.Dataset.Field("expires_on")
	wide.Columns = append(slices.Clone(shape.Columns), until)
	return &wide
}

// endByThemselves says of the transitions of a page that have had their last day that they have expired.
func (d *caseDesk) endByThemselves(page *annona.Page) {
	status, until := page.Shape.Column("status"), page.Shape.Column("expires_on")
	if status < 0 {
		return
	}
	var told annona.Column
	for row := range page.Count {
		stands := page.Cell(status, row)
		if over(string(stands), annona.Date(page.Cell(until, row)), d.today) {
			stands = []byte(transitionExpired)
		}
		told.Append(stands)
	}
	page.Columns[status] = told
}

// over reports whether a transition has ended by itself.
func over(status string, until, today annona.Date) bool {
	return today > until && slices.Contains(openTransitions, status)
}
