package exchange

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// An update is what an outside system says of one record that it has read: some fields, each with its new
// value. It is decided whole: applied, merged with what others have done meanwhile, kept as a change
// request when somebody else decides one of its fields, or kept as a conflict when somebody else has changed
// one. Decisions 120 to 122 have the rules in words.

// Update is what a partner says of one record.
type Update struct {
	// Question is how the record was read: dataset, purpose, fields, day. The tag is one of that view.
	Question
	ID     string
	Read   string       // entity tag of what was read
	Values []Assignment // an empty text: the field has no value any more
	Reason string       // code; empty: update
	Key    string       // Idempotency-Key
}

// Updated is what came of an update.
type Updated struct {
	Done
	Verdict string
	// Answer is the record as the caller may see it now; nil when it waits, or is out of the caller's sight.
	Answer *Answer
}

// The verdicts of updates.
const (
	VerdictApplied   = "applied"
	VerdictMerged    = "merged" // with what others have changed since it was read
	VerdictQueued    = "queued" // as a change request
	VerdictConflict  = "conflict"
	VerdictDuplicate = "duplicate" // an earlier delivery has done it
)

// UpdateNote is what the report of an edit keeps of the update that it is.
type UpdateNote struct {
	Agreement string     `json:"agreement"`
	Purpose   string     `json:"purpose"`
	Person    annona.UID `json:"person,omitzero"` // for whom the client acts
	Request   annona.UID `json:"request"`
	Verdict   string     `json:"verdict"`
	Event     string     `json:"event,omitempty"` // type of the life event that it was
	Record    annona.UID `json:"record,omitzero"` // of that: the change request
}

// The HTTP statuses that a delivery of an update has, as they are kept with its key.
const (
	statusDone     = 200
	statusAccepted = 202
	statusConflict = 409
	statusStale    = 412
)

// updating is an update on its way.
type updating struct {
	x      *Exchange
	caller annona.Caller
	grant  *inquiry // under which is written
	view   *inquiry // under which was read
	values []annona.Value
	number annona.Number
	read   string // own part of the tag
	review bool   // the agreement wants somebody else to approve it
	reason string
	at     time.Time
}

// Update writes what a partner says of a record. Codes: those of decisions, updates_not_granted,
// update_not_granted, unknown_field, field_not_set, those of values, nothing_said, authorities_differ,
// individual_merged, version_unknown and those of keys.
func (x *Exchange) Update(ctx context.Context, caller annona.Caller, u Update, form Form) (*Updated, error) {
	w, err := x.newUpdating(ctx, caller, &u)
	if err != nil {
		return nil, err
	}
	keyed, err := w.keyed(u)
	if err != nil {
		return nil, err
	}
	updated := &Updated{}
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		updated.Done, err = x.once(ctx, tx, caller, keyed, func() (Done, error) {
			var done Done
			done, updated.Verdict, err = w.write(ctx, tx)
			return done, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return updated, updated.readAgain(ctx, x, caller, u, form)
}

// keyed is what an update is known by, alone or in a bulk.
func (w *updating) keyed(u Update) (Keyed, error) {
	asked, err := json.Marshal([]any{u.ID, u.Question, u.Read, u.Values, w.reason})
	if err != nil {
		return Keyed{}, annona.Internal("read an update", err)
	}
	return Keyed{Key: u.Key, Route: "PATCH /v1/" + u.Dataset + "/{id}", Asked: asked}, nil
}

// readAgain reads the record as the caller may see it now, also behind an earlier delivery.
func (u *Updated) readAgain(ctx context.Context, x *Exchange, caller annona.Caller, of Update, form Form) (err error) {
	if u.Replayed {
		u.Verdict = VerdictDuplicate
	}
	if u.Status != statusDone {
		return nil
	}
	u.Answer, err = x.Get(ctx, caller, of.Question, of.ID, form)
	if annona.KindOf(err) == annona.KindNotFound {
		return nil // what it has changed has taken it out of sight
	}
	return err
}

func (x *Exchange) newUpdating(ctx context.Context, caller annona.Caller, u *Update) (*updating, error) {
	w := &updating{x: x, caller: caller, reason: u.Reason, at: x.Clock().UTC().Truncate(time.Millisecond)}
	if w.reason == "" {
		w.reason = "update"
	}
	var err error
	if w.grant, err = x.inquire(ctx, x.Standings, caller, annona.VerbUpdate, u.Question); err != nil {
		return nil, err
	}
	if w.view, err = x.inquire(ctx, x.Standings, caller, annona.VerbGet, u.Question); err != nil {
		return nil, err
	}
	if err := (Why{Reason: w.reason}).check(x.today(w.at)); err != nil {
		return nil, err
	}
	if x.ChangeRequests == nil {
		return nil, annona.Unavailable("updates_unavailable", "this registry takes no updates over the wire")
	}
	if w.values, err = w.patched(u); err != nil {
		return nil, err
	}
	w.read, _, _ = strings.Cut(strings.Trim(u.Read, `"`), ".")
	w.read = w.read[:min(len(w.read), ownTagText)]
	w.review = w.grant.grant.Agreement.Updates[u.Dataset].Review
	w.number, err = x.numberOf(ctx, w.grant, u.ID)
	return w, err
}

// numberOf returns the number of a record that the caller may see, by its id on the wire.
func (x *Exchange) numberOf(ctx context.Context, i *inquiry, id string) (annona.Number, error) {
	uid, ok := i.realm.ParseID(id)
	if !ok {
		uid = annona.UID{} // nobody's: the query is made all the same
	}
	page := annona.NewPage(i.shape)
	if err := x.Records.ReadOne(ctx, i.scope(i.shape, x.today(x.Clock())), uid, page); err != nil {
		return 0, err
	}
	if page.Count == 0 {
		return 0, annona.NotFound("no such record, or not one that you may see")
	}
	return page.Numbers[0], nil
}

// patched checks what is said: fields that are known, that the agreement lets the caller change and see
// unaltered, and values that could also come by a load.
func (w *updating) patched(u *Update) ([]annona.Value, error) {
	dataset, _ := w.x.CurrentDictionary().Dataset(u.Dataset)
	granted := w.grant.grant.Agreement.Updates[u.Dataset].Fields
	for _, a := range u.Values {
		f, known := dataset.Field(a.Field)
		if !known {
			return nil, annona.Invalid("unknown_field", "the body names something that is no field of %s; the schema %s.schema.json lists them", u.Dataset, u.Dataset)
		}
		if !slices.Contains(granted, f.Code) && !slices.Contains(granted, f.Base.Code) || !w.grant.grant.Passes(dataset, f.Code) {
			return nil, annona.Forbidden("update_not_granted", "the agreement does not let you change this field of %s, or shows it to you altered", u.Dataset).On(f.Code)
		}
		if err := seesLife(w.grant.grant, dataset, f.Code); err != nil {
			return nil, err
		}
	}
	values, err := w.x.valuesOf(u.Dataset, u.Values)
	if err != nil {
		return nil, err
	}
	return values, checkDaysOf(values, w.x.today(w.at))
}

// seesLife refuses to change the day of a birth or of a death for whoever does not see both of them unaltered: they
// are held against each other, and a refusal would tell the other one.
func seesLife(grant *annona.Grant, dataset *annona.Dataset, code string) error {
	days := []string{"date_of_birth", "date_of_death"}
	if !slices.Contains(days, code) {
		return nil
	}
	for _, day := range days {
		if !grant.Passes(dataset, day) {
			return annona.Forbidden("update_not_granted", "the days of birth and death are held against each other, and the agreement does not show you both of them unaltered").On(day)
		}
	}
	return nil
}

// checkDaysOf refuses days to come of what has happened, and a value beside the reason why there is none.
func checkDaysOf(values []annona.Value, today annona.Date) error {
	for _, code := range []string{"date_of_birth", "date_of_death"} {
		if annona.Date(valueOf(values, code)) > today {
			return annona.Invalid("day_to_come", "the day has not come; record it when it has").On(code)
		}
	}
	for _, v := range values {
		reason := v.Field.Aspect == annona.AspectNilReason && v.Text != ""
		if reason && textIn(values, v.Field.Base) != "" {
			return annona.Invalid("value_and_reason", "a field has a value, or a reason why it has none").On(v.Field.Code)
		}
	}
	return nil
}

// write decides an update in a transaction, and writes what comes of it.
func (w *updating) write(ctx context.Context, tx annona.Tx) (Done, string, error) {
	dataset := w.grant.question.Dataset
	e := w.x.newEdit(tx, w.caller, sourceOf(w.grant.grant.Agreement), Why{Day: annona.DateOf(w.at), Reason: w.reason}, w.at)
	held, err := e.hold(ctx, dataset, w.number)
	if err != nil {
		return Done{}, "", err
	}
	v := held[0]
	base, earlier, err := w.base(ctx, v)
	if err != nil {
		return Done{}, "", err
	}
	if clashes := w.clashes(v, base, earlier); len(clashes) > 0 {
		return w.keep(ctx, tx, v, annona.ChangeRequest{Type: typeConflict, State: RequestOpen}, clashes, VerdictConflict)
	}
	fate, err := w.fate(v)
	if err != nil {
		return Done{}, "", err
	}
	if fate.State != "" {
		return w.keep(ctx, tx, v, fate, w.contents(v), VerdictQueued)
	}
	verdict := VerdictApplied
	if len(earlier) > 0 {
		verdict = VerdictMerged
	}
	return w.apply(ctx, e, v, verdict)
}

// apply writes the values. Where they are on file already nothing is written.
func (w *updating) apply(ctx context.Context, e *edit, v *revision, verdict string) (Done, string, error) {
	if err := e.overwrite(ctx, v, w.values); err != nil {
		return Done{}, "", err
	}
	done := Done{Status: statusDone, Noun: w.grant.question.Dataset, Version: int64(v.known.Version)}
	if !v.changed {
		return done, verdict, nil
	}
	if err := e.tx.PutLoad(ctx, &e.load); err != nil {
		return done, "", err
	}
	if err := e.write(ctx); err != nil {
		return done, "", err
	}
	a := w.grant.grant.Agreement
	e.facts = audit.Facts{Verb: annona.VerbUpdate, Agreement: a.Name, AgreementVersion: a.Version, Partner: a.Partner.Name, Purpose: w.grant.grant.Purpose.Code}
	e.note = &UpdateNote{Agreement: a.Name, Purpose: w.grant.grant.Purpose.Code, Person: w.caller.Acting.Person, Request: w.grant.request, Verdict: verdict}
	done.Version++
	return done, verdict, e.record(ctx, w.caller, "update", w.grant.request)
}

// sourceOf is the source of what the clients of an agreement say of records.
func sourceOf(a *annona.Agreement) string { return "partner:" + a.Name }

// textOf is what a record says of a field.
func (v *revision) textOf(f *annona.Field) string {
	unit := unitOf(f)
	for i := range v.now.words {
		if w := &v.now.words[i]; w.unit == unit && w.item == "" {
			return textIn(w.values, f)
		}
	}
	return ""
}

func textIn(values []annona.Value, f *annona.Field) string {
	for _, v := range values {
		if v.Field == f {
			return v.Text
		}
	}
	return ""
}

// fate says who decides an update. The zero change request: nobody but the caller. Codes:
// authorities_differ.
func (w *updating) fate(v *revision) (fate annona.ChangeRequest, err error) {
	authority, own := authoritiesOf(w.x.CurrentDictionary(), w.grant.question.Dataset), sourceOf(w.grant.grant.Agreement)
	first := true
	for _, value := range w.values {
		if v.textOf(value.Field) == value.Text {
			continue // it is so already
		}
		one := annona.ChangeRequest{}
		unit := unitOf(value.Field)
		switch decides := authority(unit); {
		case decides != "" && decides != annona.OwnSource && decides != own:
			one = annona.ChangeRequest{Type: typeUpdate, State: RequestAtSource, Source: decides, Until: w.at.Add(sourcePatience)}
		case w.review, decides == "" && v.isDecided(unit):
			one = annona.ChangeRequest{Type: typeUpdate, State: RequestPending}
		}
		if !first && (one.State != fate.State || one.Source != fate.Source) {
			return fate, annona.Conflict("authorities_differ", "not everything in this is decided by the same source; say this field in a request of its own").On(value.Field.Code)
		}
		fate, first = one, false
	}
	return fate, nil
}

// sourcePatience is how long a change request waits for the source that decides.
const sourcePatience = 90 * 24 * time.Hour

// isDecided reports whether the registry itself has said what stands there.
func (v *revision) isDecided(unit string) bool {
	return slices.ContainsFunc(v.now.words, func(w word) bool { return w.unit == unit && w.item == "" && w.saidBy(annona.OwnSource) })
}

// overwrite puts values in the place of what is on file of their fields. What is one word with them stays,
// but for what belongs to a former value alone: the source's own code, why there was none, when it was
// observed. Such a word is that of the edit's source; where the registry itself decides, it is the registry's.
func (e *edit) overwrite(ctx context.Context, v *revision, values []annona.Value) error {
	dataset := v.known.Key.Dataset
	authority := authoritiesOf(e.x.CurrentDictionary(), dataset.Name)
	next := v.now
	next.words = slices.Clone(v.now.words)
	for _, value := range values {
		if dataset.Name == "households" && value.Field.Code == "area_code" && value.Text != "" {
			if err := e.checkArea(ctx, value.Text); err != nil {
				return err
			}
		}
		from := e.origin()
		if unit := unitOf(value.Field); authority(unit) == annona.OwnSource {
			from.source = annona.OwnSource
		}
		next.put(value, from, values)
	}
	if err := checkLife(next.words); err != nil {
		return err
	}
	next.mark(authority)
	next.memberships = deathIn(next.words).end(next.memberships, annona.DateOf(e.load.AsOf))
	return e.become(ctx, v, next)
}

// become makes a record what it is after somebody's word, and settles the households that they have left by that.
func (e *edit) become(ctx context.Context, v *revision, next standing) error {
	had := v.now.memberships
	if v.now.same(&next) {
		return nil
	}
	v.now, v.changed = next, true
	return e.settleHomes(ctx, v, had)
}

// put puts a value in the place of what stands there. all are those that are put with it.
func (s *standing) put(value annona.Value, from origin, all []annona.Value) {
	unit := unitOf(value.Field)
	at := slices.IndexFunc(s.words, func(w word) bool { return w.unit == unit && w.group == nil })
	if at < 0 {
		at, s.words = len(s.words), append(s.words, word{unit: unit})
	}
	w := s.words[at]
	if textIn(w.values, value.Field) == value.Text {
		if len(w.values) == 0 {
			s.words = slices.Delete(s.words, at, at+1)
		}
		return
	}
	w.values = slices.DeleteFunc(slices.Clone(w.values), func(v annona.Value) bool {
		said := slices.ContainsFunc(all, func(a annona.Value) bool { return a.Field == v.Field })
		return v.Field == value.Field || !said && v.Field.Base == value.Field.Base && v.Field != value.Field
	})
	if value.Text != "" {
		w.values = append(w.values, value)
		slices.SortFunc(w.values, byTag)
	}
	w.origins = []origin{from}
	if s.words[at] = w; len(w.values) == 0 {
		s.words = slices.Delete(s.words, at, at+1)
	}
}

// checkLife refuses a death before the birth.
func checkLife(words []word) error {
	born, died := annona.Date(""), annona.Date("")
	for i := range words {
		born, died = max(born, annona.Date(valueOf(words[i].values, "date_of_birth"))), max(died, annona.Date(valueOf(words[i].values, "date_of_death")))
	}
	if died != "" && died < born {
		return errDeathBeforeBirth
	}
	return nil
}

var errDeathBeforeBirth = annona.Invalid("death_before_birth", "nobody dies before they are born").On("date_of_death")
