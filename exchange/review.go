package exchange

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/privacy"
)

// Change requests and conflicts are read by whoever may decide them, and by the agreement that has asked.
// Each reader sees the fields that its grant shows, treated as anywhere else; of a request none of whose
// fields it sees, it is not told. The operator at the command line decides them and sees no value.

// ChangeShown is a change request or a conflict, as far as the reader may see it. Whoever writes it says
// with Sent how that ended.
type ChangeShown struct {
	Answer
	annona.ChangeRequest
	Mine     bool // the reader's agreement has asked for it
	RecordID string
	Fields   []string // that the reader may see
	// Before, After and Now have one row each, and the columns Fields. Now is nil unless it is a conflict.
	Before, After, Now *privacy.Disclosed
	Since              map[string]time.Time // of a conflict: when somebody else has said what stands there, by field
	Event              *LifeShown           // of a life event; in a list its type alone
}

// ChangesShown is a page of change requests or conflicts, without what they ask.
type ChangesShown struct {
	Answer
	Requests []ChangeShown
}

// openRequest returns what a change request asks of the fields of its subject, and the life event that it is;
// nil: it is none.
func (x *Exchange) openRequest(ctx context.Context, c *annona.ChangeRequest) (content []asked, event *happened, err error) {
	dataset, _ := x.CurrentDictionary().Dataset(c.Dataset)
	cells := []annona.Cell{{Dataset: dataset, Number: c.Subject, Version: c.Version, Part: annona.PartRequest, Image: slices.Clone(c.Sealed)}}
	if err := x.Vault.OpenCells(ctx, cells); err != nil {
		return nil, nil, err
	}
	if c.Type == typeLifeEvent {
		event = &happened{}
		err = json.Unmarshal(cells[0].Image, event)
		content = event.Asked
	} else {
		err = json.Unmarshal(cells[0].Image, &content)
	}
	if err != nil {
		return nil, nil, annona.Internal("read a change request", err)
	}
	return content, event, nil
}

// readerOfRequests decides whether somebody reads change requests about a dataset: all of those whom they
// may see where they decide them, otherwise those of their own agreement.
func (x *Exchange) readerOfRequests(ctx context.Context, caller annona.Caller, purpose, dataset string) (i *inquiry, reviews bool, err error) {
	q := Question{Dataset: dataset, Purpose: purpose, NilReasons: true}
	if i, err = x.inquire(ctx, x.Standings, caller, annona.VerbReview, q); err == nil || isFailure(err) {
		return i, err == nil, err
	}
	if i, err = x.inquire(ctx, x.Standings, caller, annona.VerbUpdate, q); err == nil || isFailure(err) {
		return i, false, err
	}
	if i, later := x.inquire(ctx, x.Standings, caller, annona.VerbReportLifeEvent, q); later == nil {
		return i, false, nil
	}
	return nil, false, err
}

func errNoRequest() error {
	return annona.NotFound("no such request, or not one that you may see")
}

// findRequest returns a change request that the caller may see, with its reader.
func (x *Exchange) findRequest(ctx context.Context, caller annona.Caller, purpose, id string, conflict bool) (*annona.ChangeRequest, *inquiry, bool, error) {
	var refusal error
	readers, reviews := map[string]*inquiry{}, map[string]bool{}
	for _, dataset := range []string{"households", "individuals"} {
		i, decides, err := x.readerOfRequests(ctx, caller, purpose, dataset)
		if isFailure(err) {
			return nil, nil, false, err
		}
		if err != nil {
			refusal = err
			continue
		}
		readers[dataset], reviews[dataset] = i, decides
	}
	if len(readers) == 0 {
		return nil, nil, false, refusal
	}
	uid, err := annona.ParseUID(id)
	if err != nil {
		return nil, nil, false, errNoRequest()
	}
	c, err := x.ChangeRequests.ChangeRequestByID(ctx, uid)
	if err != nil {
		return nil, nil, false, err
	}
	if c == nil || conflict != (c.Type == typeConflict) {
		return nil, nil, false, errNoRequest()
	}
	i, decides := readers[c.Dataset], reviews[c.Dataset]
	if i == nil || !decides && c.Agreement != caller.Agreement {
		return nil, nil, false, errNoRequest()
	}
	return c, i, decides, nil
}

// subjects discloses the ids of those records whom a reader may see.
func (x *Exchange) subjectsOfRequests(ctx context.Context, i *inquiry, numbers []annona.Number) (*annona.Page, error) {
	shape := &annona.Shape{Dataset: i.shape.Dataset}
	for _, f := range i.shape.Columns {
		if f.Type == annona.TypeID {
			shape.Columns = append(shape.Columns, f)
		}
	}
	slices.Sort(numbers)
	page := annona.NewPage(shape)
	err := x.Records.ReadNumbers(ctx, i.scope(shape, x.today(x.Clock())), slices.Compact(numbers), page)
	return page, err
}

// ShowChangeRequest returns a change request or a conflict with what it asks. Codes: those of decisions,
// not_found.
func (x *Exchange) ShowChangeRequest(ctx context.Context, caller annona.Caller, purpose, id string, conflict bool) (*ChangeShown, error) {
	c, i, _, err := x.findRequest(ctx, caller, purpose, id, conflict)
	if err != nil {
		return nil, err
	}
	seen, err := x.subjectsOfRequests(ctx, i, []annona.Number{c.Subject})
	if err != nil {
		return nil, err
	}
	content, event, err := x.openRequest(ctx, c)
	if err != nil {
		return nil, err
	}
	shown := &ChangeShown{ChangeRequest: *c, Mine: c.Agreement == caller.Agreement, Since: map[string]time.Time{}}
	shape := shown.cut(i, content)
	others, err := shown.tell(ctx, x, i, event)
	if err != nil {
		return nil, err
	}
	if seen.Count == 0 || len(shown.Fields) == 0 {
		return nil, errNoRequest()
	}
	i.form = Form{Format: "json"}
	shown.Answer = Answer{Request: i.request, Schema: i.schema}
	row := func(text func(asked) string) *privacy.Disclosed {
		var values []annona.Value
		for _, a := range content {
			if f, ok := shape.Dataset.Field(a.Field); ok {
				values = append(values, annona.Value{Field: f, Text: text(a)})
			}
		}
		return i.plan(shape).Redact(pageOf(shape, c.Subject, values))
	}
	shown.Before, shown.After = row(func(a asked) string { return a.Before }), row(func(a asked) string { return a.After })
	if conflict {
		shown.Now = row(func(a asked) string {
			if a.At.IsZero() {
				return a.Before
			}
			return a.Now
		})
	}
	shown.Page = i.plan(seen.Shape).Redact(seen)
	shown.RecordID = firstCell(shown.Page)
	facts := i.facts()
	facts.Fields, facts.Rows, facts.Page = shown.Fields, 1, 1
	about := append(subjectsOf(shown.After), others...)
	if err := x.disclose(ctx, audit.Release(x.Clock(), i.request, facts, i.filterText(), i.caller, about)); err != nil {
		return nil, err
	}
	shown.ending = i.ending(x)
	return shown, nil
}

func firstCell(d *privacy.Disclosed) string {
	if d.Count() == 0 || len(d.Shape().Columns) == 0 {
		return ""
	}
	return string(d.Page().Cell(0, 0))
}

// cut fills in the fields that a reader may see, and returns their columns.
func (s *ChangeShown) cut(i *inquiry, content []asked) *annona.Shape {
	shape := &annona.Shape{Dataset: i.shape.Dataset}
	for _, f := range i.shape.Columns {
		at := slices.IndexFunc(content, func(a asked) bool { return a.Field == f.Code })
		if at < 0 {
			continue
		}
		shape.Columns, s.Fields = append(shape.Columns, f), append(s.Fields, f.Code)
		if a := content[at]; !a.At.IsZero() {
			s.Since[f.Code] = a.At
		}
	}
	return shape
}

// ListChangeRequests returns a page of change requests or conflicts about one dataset, in the order in which
// they came; of one state when it is named. Those that the caller may not see are left out.
func (x *Exchange) ListChangeRequests(ctx context.Context, caller annona.Caller, purpose, dataset, state, after string, limit int, conflicts bool) (*ChangesShown, error) {
	if err := cmp.Or(checkLimit(limit, MaxUpdates), checkState(state)); err != nil {
		return nil, err
	}
	if dataset == "cases" {
		return nil, annona.Invalid("dataset_unsuitable", "nobody asks for changes of cases: who may change one does; ask for individuals or households").On("dataset")
	}
	i, reviews, err := x.readerOfRequests(ctx, caller, purpose, dataset)
	if err != nil {
		return nil, err
	}
	i.form = Form{Format: "json"}
	from, err := x.openCursor(i, after)
	if err != nil {
		return nil, err
	}
	which := annona.WhichRequests{Conflicts: conflicts, State: state, Dataset: dataset}
	if !reviews {
		which.Agreement = caller.Agreement
	}
	all, err := x.ChangeRequests.ChangeRequests(ctx, which, int64(from), limit+1)
	if err != nil {
		return nil, err
	}
	page := &ChangesShown{Answer: Answer{Request: i.request, Schema: i.schema}}
	if len(all) > limit {
		all = all[:limit]
		page.Next = x.sealCursor(i, annona.Number(all[limit-1].Key))
	}
	return page, x.fillRequests(ctx, i, all, page)
}

func (x *Exchange) fillRequests(ctx context.Context, i *inquiry, all []annona.ChangeRequest, page *ChangesShown) error {
	var numbers []annona.Number
	for _, c := range all {
		if c.Dataset == i.question.Dataset {
			numbers = append(numbers, c.Subject)
		}
	}
	seen, err := x.subjectsOfRequests(ctx, i, numbers)
	if err != nil {
		return err
	}
	rows := map[annona.Number]int{}
	for row, n := range seen.Numbers {
		rows[n] = row
	}
	if page.Page, err = x.release(ctx, i, seen); err != nil {
		return err
	}
	if page.Page.Count() > 0 {
		page.ending = i.ending(x)
	}
	for _, c := range all {
		row, visible := rows[c.Subject]
		if !visible || c.Dataset != i.question.Dataset {
			continue
		}
		content, event, err := x.openRequest(ctx, &c)
		if annona.CodeOf(err) == "key_gone" {
			continue // erased in this moment
		}
		if err != nil {
			return err
		}
		shown := ChangeShown{ChangeRequest: c, Mine: c.Agreement == i.caller.Agreement, Since: map[string]time.Time{}}
		shown.cut(i, content)
		if shown.name(i, event); len(shown.Fields) == 0 {
			continue
		}
		if len(page.Page.Shape().Columns) > 0 {
			shown.RecordID = string(page.Page.Page().Cell(0, row))
		}
		page.Requests = append(page.Requests, shown)
	}
	return nil
}

// Ruling is what somebody decides about a change request or a conflict.
type Ruling struct {
	Purpose  string // of the caller; not of the operator
	ID       string
	Conflict bool
	Approve  bool // what is asked takes effect; otherwise what is on file stays
	Withdraw bool // by the applicant
	Reason   string
	Key      string // Idempotency-Key; not of the operator
}

// ruling is one on its way.
type ruling struct {
	x       *Exchange
	caller  annona.Caller
	i       *inquiry // nil: of the operator
	reviews bool
	r       Ruling
	request annona.UID
}

// DecideChangeRequest decides a change request or resolves a conflict. What is approved takes effect as the
// registry's own word; what the applicant resolves itself, as its own. Codes: not_found, request_decided,
// request_moved, own_request, review_not_granted, reviews_not_granted, authority_outside, reason_malformed
// and those of keys.
func (x *Exchange) DecideChangeRequest(ctx context.Context, caller annona.Caller, r Ruling) (state string, done Done, err error) {
	g := &ruling{x: x, caller: caller, r: r, reviews: true, request: annona.NewUID()}
	if err := (Why{Reason: r.Reason}).check(x.today(x.Clock())); err != nil {
		return "", done, err
	}
	if !caller.IsOperator() {
		if _, g.i, g.reviews, err = x.findRequest(ctx, caller, r.Purpose, r.ID, r.Conflict); err != nil {
			return "", done, err
		}
		g.request = g.i.request
	}
	uid, err := annona.ParseUID(r.ID)
	if err != nil {
		return "", done, errNoRequest()
	}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		decide := func() (Done, error) {
			c, err := g.decide(ctx, tx, uid)
			if err != nil {
				return Done{}, err
			}
			state = c.State
			return Done{Status: statusDone, Noun: "change_requests", Record: uid}, nil
		}
		if caller.IsOperator() {
			done, err = decide()
			return err
		}
		asked, err := json.Marshal(r)
		if err != nil {
			return annona.Internal("read a decision", err)
		}
		done, err = x.once(ctx, tx, caller, Keyed{Key: r.Key, Route: "POST /v1/change-requests/{id}/decision", Asked: asked}, decide)
		return err
	})
	if err == nil && done.Replayed {
		var c *annona.ChangeRequest
		if c, err = x.ChangeRequests.ChangeRequestByID(ctx, uid); c != nil {
			state = c.State
		}
	}
	return state, done, err
}

func (g *ruling) decide(ctx context.Context, tx annona.Tx, id annona.UID) (*annona.ChangeRequest, error) {
	c, err := tx.HoldChangeRequest(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case c == nil || g.r.Conflict != (c.Type == typeConflict):
		return nil, errNoRequest()
	case c.Dataset == "cases":
		return nil, annona.Conflict("conflict_of_case", "this is a conflict of a case: a partner that has it resolves it")
	case !c.DecidedAt.IsZero():
		return nil, annona.Conflict("request_decided", "this has been decided already; read it again")
	}
	if err := g.mayDecide(c); err != nil {
		return nil, err
	}
	dataset, _ := g.x.CurrentDictionary().Dataset(c.Dataset)
	now := g.x.Clock().UTC().Truncate(time.Millisecond)
	source := annona.OwnSource
	if !g.reviews {
		source = sourceOf(g.i.grant.Agreement)
	}
	e := g.x.newEdit(tx, g.caller, source, Why{Day: annona.DateOf(now), Reason: g.r.Reason}, now)
	held, err := e.hold(ctx, c.Dataset, c.Subject)
	if err != nil {
		return nil, err
	}
	c.DecidedAt, c.DecidedBy = now, annona.Author{Operator: g.caller.Operator, Client: g.caller.Client, Reason: g.r.Reason}
	switch {
	case g.r.Withdraw:
		c.State = RequestWithdrawn
	case !g.r.Approve && c.State == RequestAtSource:
		c.State = RequestDeclined
	case !g.r.Approve:
		c.State = RequestRejected
	default:
		if err := g.apply(ctx, e, held[0], c); err != nil {
			return nil, err
		}
	}
	if err := tx.PutChangeRequest(ctx, *c); err != nil {
		return nil, err
	}
	facts := audit.Facts{Verb: annona.VerbReview, Agreement: c.Agreement, Purpose: g.r.Purpose, Reason: g.r.Reason, Details: map[string]string{"record": c.ID.String(), "state": c.State}}
	about := []audit.Subjects{{Noun: dataset.Noun, Numbers: []annona.Number{c.Subject}}}
	return c, tx.AppendEntry(ctx, audit.Change(now, g.request, facts, g.caller, about))
}

// mayDecide refuses who may not decide this one.
func (g *ruling) mayDecide(c *annona.ChangeRequest) error {
	mine := g.i != nil && c.Agreement == g.caller.Agreement
	switch {
	case g.r.Withdraw && !mine:
		return annona.Forbidden("request_of_others", "whoever has asked for it withdraws it; you may reject it")
	case g.r.Withdraw || g.i == nil:
		return nil
	case !g.reviews && !g.r.Conflict:
		return annona.Forbidden("reviews_not_granted", "the agreement or your role does not let you decide change requests")
	case g.r.Approve && !g.r.Conflict && g.isApplicant(c):
		return annona.Forbidden("own_request", "somebody else approves what you have asked for")
	case g.r.Approve && c.State == RequestAtSource:
		return annona.Conflict("authority_outside", "another source decides this field; it takes effect when that source says it").On(c.Source)
	}
	return nil
}

// isApplicant reports whether the same person, or the same system where no person is named, has asked.
func (g *ruling) isApplicant(c *annona.ChangeRequest) bool {
	if c.Person != (annona.UID{}) && g.caller.Acting.Person != (annona.UID{}) {
		return c.Person == g.caller.Acting.Person
	}
	return c.Client == g.caller.Client
}

var errMoved = annona.Conflict("request_moved", "the record has changed since this was asked; reject it, and ask anew")

// apply lets what is asked take effect, unless the record is not what it was when it was asked. An applicant
// who resolves a conflict decides no more than by an update.
func (g *ruling) apply(ctx context.Context, e *edit, v *revision, c *annona.ChangeRequest) error {
	content, event, err := g.x.openRequest(ctx, c)
	if err != nil {
		return err
	}
	if event != nil {
		return g.live(ctx, e, v, c, event)
	}
	values := make([]annona.Value, 0, len(content))
	for _, a := range content {
		f, ok := v.known.Key.Dataset.Field(a.Field)
		if !ok {
			return annona.Internal("read a change request: the dictionary lacks a field", nil)
		}
		if g.i != nil && !g.i.grant.Passes(v.known.Key.Dataset, f.Code) {
			return annona.Forbidden("review_not_granted", "you do not see everything unaltered that this asks for").On(f.Code)
		}
		if g.i != nil && seesLife(g.i.grant, v.known.Key.Dataset, f.Code) != nil {
			return annona.Forbidden("review_not_granted", "the days of birth and death are held against each other, and you do not see both of them unaltered").On(f.Code)
		}
		was := a.Before
		if !a.At.IsZero() {
			was = a.Now
		}
		if now := v.textOf(f); now != was && now != a.After {
			return errMoved.On(f.Code)
		}
		values = append(values, annona.Value{Field: f, Text: a.After})
	}
	if !g.reviews {
		w := &updating{x: g.x, caller: g.caller, grant: g.i, values: values, review: g.i.grant.Agreement.Updates[c.Dataset].Review, at: e.load.AsOf}
		fate, err := w.fate(v)
		if err != nil {
			return err
		}
		if fate.State != "" {
			return annona.Conflict("outside_authority", "somebody else decides this; ask for it in an update").On(content[0].Field)
		}
	} else if err := g.checkAuthority(v, values); err != nil {
		return err
	}
	if err := e.overwrite(ctx, v, values); err != nil {
		return err
	}
	c.State = RequestApplied
	if !v.changed {
		return nil
	}
	if err := e.tx.PutLoad(ctx, &e.load); err != nil {
		return err
	}
	if err := e.write(ctx); err != nil {
		return err
	}
	c.Load = e.load.ID
	e.facts = audit.Facts{Verb: annona.VerbReview, Agreement: c.Agreement, Purpose: g.r.Purpose}
	e.note = &UpdateNote{Agreement: c.Agreement, Purpose: c.Purpose, Person: c.Person, Request: g.request, Verdict: VerdictApplied}
	return e.record(ctx, g.caller, ActionChangeRequest, g.request)
}

// checkAuthority refuses what another source decides: nobody here can approve it.
func (g *ruling) checkAuthority(v *revision, values []annona.Value) error {
	authority := authoritiesOf(g.x.CurrentDictionary(), v.known.Key.Dataset.Name)
	for _, value := range values {
		if decides := authority(unitOf(value.Field)); decides != "" && decides != annona.OwnSource && v.textOf(value.Field) != value.Text {
			return annona.Conflict("outside_authority", "another source decides this field; let it be corrected there").On(value.Field.Code)
		}
	}
	return nil
}

// ChangeRequestList returns change requests for the operator, without what they ask: at most limit, behind a key.
func (x *Exchange) ChangeRequestList(ctx context.Context, caller annona.Caller, which annona.WhichRequests, after int64, limit int) ([]annona.ChangeRequest, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	return x.ChangeRequests.ChangeRequests(ctx, which, after, limit)
}

// settledAtOnce is how many change requests are looked at together.
const settledAtOnce = 100

// SettleChangeRequests confirms change requests whose source has said what they ask, and ends those whose
// time is over. A server asks for it each minute.
func (x *Exchange) SettleChangeRequests(ctx context.Context) error {
	for after := int64(0); ; {
		all, err := x.ChangeRequests.ChangeRequests(ctx, annona.WhichRequests{State: RequestAtSource}, after, settledAtOnce)
		if err != nil || len(all) == 0 {
			return err
		}
		for i := range all {
			after = all[i].Key
			if err := x.settleRequest(ctx, &all[i]); err != nil && annona.KindOf(err) != annona.KindNotFound && annona.CodeOf(err) != "individual_merged" {
				return err
			}
		}
	}
}

func (x *Exchange) settleRequest(ctx context.Context, c *annona.ChangeRequest) error {
	dataset, _ := x.CurrentDictionary().Dataset(c.Dataset)
	now := x.Clock().UTC().Truncate(time.Millisecond)
	last, err := x.ChangeRequests.FormersOf(ctx, dataset, c.Subject, 0, 1)
	if err != nil {
		return err
	}
	moved, over := len(last) > 0 && last[0].Version > c.Version, now.After(c.Until)
	if !moved && !over {
		return nil
	}
	operator := annona.Caller{Strength: annona.StrengthOperator, Operator: "server"}
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		held, err := tx.HoldChangeRequest(ctx, c.ID)
		if err != nil || held == nil || held.State != RequestAtSource {
			return err
		}
		said, err := x.isConfirmed(ctx, tx, held)
		switch {
		case err != nil:
			return err
		case said:
			held.State = RequestConfirmed
		case over:
			held.State = RequestTimedOut
		default:
			return nil
		}
		held.DecidedAt = now
		if err := tx.PutChangeRequest(ctx, *held); err != nil {
			return err
		}
		facts := audit.Facts{Verb: annona.VerbReview, Agreement: held.Agreement, Purpose: held.Purpose, Details: map[string]string{"record": held.ID.String(), "state": held.State}}
		about := []audit.Subjects{{Noun: dataset.Noun, Numbers: []annona.Number{held.Subject}}}
		return tx.AppendEntry(ctx, audit.Change(now, annona.NewUID(), facts, operator, about))
	})
}

// isConfirmed reports whether the source that decides says what a change request asks.
func (x *Exchange) isConfirmed(ctx context.Context, tx annona.Tx, c *annona.ChangeRequest) (bool, error) {
	e := x.newEdit(tx, annona.Caller{}, annona.OwnSource, Why{}, x.Clock())
	held, err := e.hold(ctx, c.Dataset, c.Subject)
	if err != nil {
		return false, err
	}
	content, event, err := x.openRequest(ctx, c)
	if err != nil {
		return false, err
	}
	v := held[0]
	if event != nil {
		return x.isLived(v, c.Source, event), nil
	}
	for _, a := range content {
		f, ok := v.known.Key.Dataset.Field(a.Field)
		if !ok || v.textOf(f) != a.After {
			return false, nil
		}
		unit := unitOf(f)
		at := slices.IndexFunc(v.now.words, func(w word) bool { return w.unit == unit && w.item == "" })
		if at < 0 {
			continue // the source has taken the value away, as was asked
		}
		if w := v.now.traced(at); !w.saidBy(c.Source) {
			return false, nil
		}
	}
	return true, nil
}

// InspectChangeRequest returns a change request or a conflict for the operator, with the names of its fields.
func (x *Exchange) InspectChangeRequest(ctx context.Context, caller annona.Caller, id string) (*annona.ChangeRequest, []string, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, nil, err
	}
	uid, err := annona.ParseUID(id)
	if err != nil {
		return nil, nil, errNoRequest()
	}
	c, err := x.ChangeRequests.ChangeRequestByID(ctx, uid)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, nil, errNoRequest()
	}
	if c.Dataset == "cases" {
		of, err := x.readClash(ctx, c)
		return c, of.fields(), err
	}
	content, event, err := x.openRequest(ctx, c)
	if err == nil && event != nil {
		return c, event.concerns(), nil
	}
	var fields []string
	for _, a := range content {
		fields = append(fields, a.Field)
	}
	return c, fields, err
}
