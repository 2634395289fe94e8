package exchange

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// A life event is what has happened to people, as an outside system says: somebody was born, a household has
// split. It is a typed change request that names all that belongs together. It takes effect whole, in one
// transaction, at once or when somebody has approved it. What it does to records is in lifeacts.go; decision
// 168 has the rules in words.

// LifeEvent is what a partner says has happened.
type LifeEvent struct {
	Purpose    string
	Type       string   // one of the Life constants
	Individual string   // wire id
	Household  string   // wire id
	Members    []string // household_split: who leaves
	Head       string   // of the new household, or the new one of the household
	Role       string   // member_joins: of the member; head_change: what the former head becomes
	Primary    bool     // member_joins: it becomes their first household
	Area       string   // household_split: where the new household lives; empty: where the old one does
	Values     []Assignment
	Identifier []Assignment // as an item of the group identifiers
	Former     []Assignment // identifier_corrected: what was wrong
	Day        annona.Date  // on which it happened
	Evidence   string       // by what that is known: the number of a form or a document
	Reason     string       // code
	Key        string       // Idempotency-Key
}

// LifeEventDone is what came of a life event.
type LifeEventDone struct {
	Done
	Verdict string // applied, queued or duplicate
	// CreatedDataset and CreatedID say who came on file, where the caller may see them.
	CreatedDataset, CreatedID string
}

// happened is a life event as it is kept, sealed under the key of its subject.
type happened struct {
	Type     string          `json:"type"`
	Day      annona.Date     `json:"day"`
	Evidence string          `json:"evidence"`
	Asked    []asked         `json:"asked,omitempty"` // values of the subject; of a birth those of the child
	Person   annona.Number   `json:"person,omitempty"`
	Home     annona.Number   `json:"home,omitempty"`
	Head     annona.Number   `json:"head,omitempty"`
	Members  []annona.Number `json:"members,omitempty"`
	Role     string          `json:"role,omitempty"`
	Primary  bool            `json:"primary,omitempty"`
	Area     string          `json:"area,omitempty"`
	// Identifier and Former are items of the group identifiers, by the codes of its fields.
	Identifier map[string]string `json:"identifier,omitempty"`
	Former     map[string]string `json:"former,omitempty"`
}

// The members of a life event, as refusals name them.
const (
	memberMembers    = "members"
	memberHead       = "head"
	memberRole       = "role"
	memberPrimary    = "primary"
	memberArea       = "area_code"
	memberValues     = "values"
	memberIdentifier = "identifier"
	memberFormer     = "former"
)

// lifeType says what a type of life events is made of. Where it needs neither an individual nor a household, it
// is about one of them.
type lifeType struct{ needs, may []string }

var lifeTypes = map[string]lifeType{
	annona.LifeContact:             {needs: []string{memberValues}},
	annona.LifeBirth:               {needs: []string{memberIndividual}, may: []string{memberValues}},
	annona.LifeDeath:               {needs: []string{memberIndividual}},
	annona.LifeJoins:               {needs: []string{memberIndividual, memberHousehold}, may: []string{memberRole, memberPrimary}},
	annona.LifeLeaves:              {needs: []string{memberIndividual, memberHousehold}},
	annona.LifeSplit:               {needs: []string{memberHousehold, memberMembers}, may: []string{memberHead, memberArea}},
	annona.LifeHead:                {needs: []string{memberHousehold, memberHead}, may: []string{memberRole}},
	annona.LifeIdentifierAdded:     {needs: []string{memberIdentifier}},
	annona.LifeIdentifierCorrected: {needs: []string{memberIdentifier, memberFormer}},
}

const (
	mostLeaving     = 100 // members of one split
	longestEvidence = 200 // bytes
)

// said are the members that a life event has.
func (l *LifeEvent) said() (names []string) {
	for _, m := range []struct {
		name  string
		there bool
	}{
		{memberIndividual, l.Individual != ""}, {memberHousehold, l.Household != ""}, {memberMembers, len(l.Members) > 0}, {memberHead, l.Head != ""}, {memberRole, l.Role != ""},
		{memberPrimary, l.Primary}, {memberArea, l.Area != ""}, {memberValues, len(l.Values) > 0}, {memberIdentifier, len(l.Identifier) > 0}, {memberFormer, len(l.Former) > 0},
	} {
		if m.there {
			names = append(names, m.name)
		}
	}
	return names
}

// check refuses a life event that lacks something, or has what its type does not take.
func (l *LifeEvent) check(today annona.Date) error {
	of, known := lifeTypes[l.Type]
	if !known {
		return annona.Invalid("unknown_code", "no life event has this type").On("type")
	}
	said := l.said()
	for _, name := range of.needs {
		if !slices.Contains(said, name) {
			return annona.Invalid("life_event_incomplete", "an event of this type needs this").On(name)
		}
	}
	ids := []string{memberIndividual, memberHousehold}
	names := slices.ContainsFunc(of.needs, func(name string) bool { return slices.Contains(ids, name) })
	for _, name := range said {
		if !slices.Contains(of.needs, name) && !slices.Contains(of.may, name) && (names || !slices.Contains(ids, name)) {
			return annona.Invalid("life_event_malformed", "an event of this type does not have this").On(name)
		}
	}
	switch {
	case !names && (l.Individual == "") == (l.Household == ""):
		return annona.Invalid("life_event_incomplete", "say whom it is about: one individual, or one household").On(memberIndividual)
	case len(l.Members) > mostLeaving:
		return annona.Invalid("life_event_malformed", "at most %d leave a household together", mostLeaving).On(memberMembers)
	case l.Day == "":
		return annona.Invalid("life_event_incomplete", "say on which day it happened").On("effective_date")
	case l.Evidence == "":
		return annona.Invalid("life_event_incomplete", "say by what it is known: the number of a form or a document").On("evidence")
	case len(l.Evidence) > longestEvidence || strings.ContainsFunc(l.Evidence, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return annona.Invalid("evidence_malformed", "evidence is a reference of at most %d bytes, on one line", longestEvidence).On("evidence")
	}
	return (Why{Day: l.Day, Reason: l.Reason}).check(today)
}

// dataset is that of the subject.
func (l *LifeEvent) dataset() string {
	if l.Individual != "" {
		return "individuals"
	}
	return "households"
}

// living is a life event on its way: an update of its subject, and of others.
type living struct {
	updating
	event     happened
	others    map[string]*inquiry // by dataset
	rehearsed bool
}

// errRehearse says that an event is going to wait, and was not tried before; errRehearsed, that it would do.
var (
	errRehearse  = errors.New("a life event waits")
	errRehearsed = errors.New("a life event would do")
)

// ReportLifeEvent writes what has happened to people, or keeps it as a change request. Codes: those of
// decisions and keys, life_event_not_granted, unknown_code, life_event_incomplete, life_event_malformed,
// evidence_malformed, reason_malformed, day_to_come, not_found, those of values, field_not_contact,
// update_not_granted, authorities_differ, those of lifeacts.go and individual_merged.
func (x *Exchange) ReportLifeEvent(ctx context.Context, caller annona.Caller, l LifeEvent) (*LifeEventDone, error) {
	w, err := x.newLiving(ctx, caller, &l)
	if err != nil {
		return nil, err
	}
	asked, err := json.Marshal(l)
	if err != nil {
		return nil, annona.Internal("read a life event", err)
	}
	done := &LifeEventDone{}
	keyed := Keyed{Key: l.Key, Route: "POST /v1/life-events", Asked: asked}
	write := func(tx annona.Tx) error {
		done.Done, err = x.once(ctx, tx, caller, keyed, func() (did Done, err error) {
			did, done.Verdict, err = w.write(ctx, tx)
			return did, err
		})
		return err
	}
	err = x.Writer.Update(ctx, write)
	if errors.Is(err, errRehearse) {
		if err = w.rehearse(ctx); err == nil {
			err = x.Writer.Update(ctx, write)
		}
	}
	if err != nil {
		return nil, err
	}
	if done.Replayed {
		done.Verdict = VerdictDuplicate
	}
	return done, w.whoCame(ctx, done)
}

func (x *Exchange) newLiving(ctx context.Context, caller annona.Caller, l *LifeEvent) (*living, error) {
	w := &living{updating: updating{x: x, caller: caller, reason: l.Reason, at: x.Clock().UTC().Truncate(time.Millisecond)}, others: map[string]*inquiry{}}
	var err error
	if w.grant, err = w.inquire(ctx, l.dataset(), l.Purpose); err != nil {
		return nil, err
	}
	if x.ChangeRequests == nil {
		return nil, annona.Unavailable("updates_unavailable", "this registry takes no updates over the wire")
	}
	if err := l.check(x.today(w.at)); err != nil {
		return nil, err
	}
	terms := w.grant.grant.Agreement.LifeEvents
	if terms == nil || !slices.Contains(terms.Types, l.Type) {
		return nil, annona.Forbidden("life_event_not_granted", "the agreement does not let you report events of this type").On("type")
	}
	w.review = slices.Contains(terms.Review, l.Type)
	if err := w.understand(l); err != nil {
		return nil, err
	}
	for _, name := range w.event.concerns() {
		if !w.grant.grant.Passes(w.dataset(), name) {
			return nil, annona.Forbidden("update_not_granted", "the agreement does not show this field of %s to you, or shows it altered", w.dataset().Name).On(name)
		}
	}
	return w, cmp.Or(w.seesDays(ctx, l), w.find(ctx, l))
}

// outlives reports whether the event may be about somebody who has died.
func (h *happened) outlives() bool {
	return h.Type == annona.LifeIdentifierAdded || h.Type == annona.LifeIdentifierCorrected
}

// daysOf are the fields against which an event of people is held.
func (h *happened) daysOf() []string {
	if h.outlives() {
		return []string{"date_of_birth"}
	}
	return []string{"date_of_birth", "date_of_death", "vital_status"}
}

// seesDays refuses an event of people to whom does not see when they were born, or whether they have died: the
// event is held against that, and a refusal would tell it.
func (w *living) seesDays(ctx context.Context, l *LifeEvent) error {
	if l.Individual == "" && l.Head == "" && len(l.Members) == 0 {
		return nil
	}
	i, err := w.inquire(ctx, "individuals", l.Purpose)
	if err != nil {
		return err
	}
	for _, name := range w.event.daysOf() {
		if !i.grant.Passes(i.shape.Dataset, name) {
			return annona.Forbidden("update_not_granted", "an event is held against the days of birth and death of those who take part, and the agreement does not show those to you, or shows them altered").On(name)
		}
	}
	return nil
}

// inquire decides about the event for one of the datasets that it concerns.
func (w *living) inquire(ctx context.Context, dataset, purpose string) (*inquiry, error) {
	if i := w.others[dataset]; i != nil {
		return i, nil
	}
	i, err := w.x.inquire(ctx, w.x.Standings, w.caller, annona.VerbReportLifeEvent, Question{Dataset: dataset, Purpose: purpose, NilReasons: true})
	if err == nil {
		w.others[dataset] = i
	}
	return i, err
}

func (w *living) dataset() *annona.Dataset { return w.grant.shape.Dataset }

// find finds everybody whom the event names, among those whom the caller may see.
func (w *living) find(ctx context.Context, l *LifeEvent) error {
	one := func(dataset, member, id string, into *annona.Number) error {
		if id == "" {
			return nil
		}
		i, err := w.inquire(ctx, dataset, l.Purpose)
		if err != nil {
			return err
		}
		*into, err = w.x.numberOf(ctx, i, id)
		if annona.KindOf(err) == annona.KindNotFound {
			return annona.NotFound("no such record, or not one that you may see").On(member)
		}
		return err
	}
	h := &w.event
	h.Members = make([]annona.Number, len(l.Members))
	for n, id := range l.Members {
		if err := one("individuals", memberMembers, id, &h.Members[n]); err != nil {
			return err
		}
	}
	err := cmp.Or(one("individuals", memberIndividual, l.Individual, &h.Person), one("households", memberHousehold, l.Household, &h.Home), one("individuals", memberHead, l.Head, &h.Head))
	if w.number = h.Person; w.dataset().Name == "households" {
		w.number = h.Home
	}
	return err
}

// write decides a life event in a transaction, and writes what comes of it.
func (w *living) write(ctx context.Context, tx annona.Tx) (Done, string, error) {
	e, v, err := w.begin(ctx, tx)
	if err != nil {
		return Done{}, "", err
	}
	event := w.eventOf(v)
	fate, err := w.fate(v)
	if err != nil {
		return Done{}, "", err
	}
	if fate.State != "" && !w.rehearsed {
		return Done{}, "", errRehearse
	}
	if fate.State != "" {
		fate.Type = typeLifeEvent
		done, verdict, err := w.keep(ctx, tx, v, fate, event, VerdictQueued)
		done.Version = 0 // nobody came on file
		return done, verdict, err
	}
	return w.apply(ctx, e, v, event)
}

// eventOf is the event with what its subject says now.
func (w *living) eventOf(v *revision) happened {
	event := w.event
	if event.Type != annona.LifeBirth {
		event.Asked = w.contents(v)
	}
	return event
}

// begin holds the subject for an edit on the day of the event.
func (w *living) begin(ctx context.Context, tx annona.Tx) (*edit, *revision, error) {
	e := w.x.newEdit(tx, w.caller, sourceOf(w.grant.grant.Agreement), Why{Day: w.event.Day, Reason: w.reason}, w.at)
	held, err := e.hold(ctx, w.dataset().Name, w.number)
	if err != nil {
		return nil, nil, err
	}
	return e, held[0], nil
}

// rehearse refuses an event that would not do now, before somebody is asked to approve it. Nothing of it is
// written.
func (w *living) rehearse(ctx context.Context) error {
	err := w.x.Writer.Update(ctx, func(tx annona.Tx) error {
		e, v, err := w.begin(ctx, tx)
		if err != nil {
			return err
		}
		event := w.eventOf(v)
		if _, err := event.act(ctx, e, v); err != nil {
			return err
		}
		return errRehearsed
	})
	if w.rehearsed = errors.Is(err, errRehearsed); w.rehearsed {
		return nil
	}
	return err
}

// fate says who decides the event: a source where it decides something of it, and somebody else where the
// agreement wants that or the registry itself has decided otherwise. Codes: authorities_differ.
func (w *living) fate(v *revision) (fate annona.ChangeRequest, err error) {
	authority, own := authoritiesOf(w.x.CurrentDictionary(), w.dataset().Name), sourceOf(w.grant.grant.Agreement)
	if w.review {
		fate.State = RequestPending
	}
	for _, unit := range w.changes(v) {
		decides := authority(unit)
		switch {
		case decides == "" && v.isDecided(unit) && fate.State == "":
			fate.State = RequestPending
		case decides == "" || decides == annona.OwnSource || decides == own:
		case fate.Source != "" && fate.Source != decides:
			return fate, annona.Conflict("authorities_differ", "several sources decide what is in this; let each of them say its part").On(unit)
		default:
			fate = annona.ChangeRequest{State: RequestAtSource, Source: decides, Until: w.at.Add(sourcePatience)}
		}
	}
	return fate, nil
}

// changes are the units of the subject that the event changes, beside those that no source decides.
func (w *living) changes(v *revision) (units []string) {
	if len(w.event.Identifier) > 0 {
		units = []string{unitIdentifiers}
	}
	for _, value := range w.values {
		// The fields of a birth are the child's, and nobody has decided those.
		if w.event.Type != annona.LifeBirth && v.textOf(value.Field) != value.Text {
			units = append(units, unitOf(value.Field))
		}
	}
	return units
}

// apply writes the event, with the change request that it is, which is decided already.
func (w *living) apply(ctx context.Context, e *edit, v *revision, event happened) (Done, string, error) {
	c := annona.ChangeRequest{
		ID: annona.NewUID(), Type: typeLifeEvent, State: RequestApplied, DecidedAt: w.at, Load: e.load.ID,
		DecidedBy: annona.Author{Client: w.caller.Client, Reason: w.reason},
	}
	a := w.grant.grant.Agreement
	facts := audit.Facts{Verb: annona.VerbReportLifeEvent, Agreement: a.Name, AgreementVersion: a.Version, Partner: a.Partner.Name, Purpose: w.grant.grant.Purpose.Code}
	note := &UpdateNote{Agreement: a.Name, Purpose: facts.Purpose, Person: w.caller.Acting.Person, Request: w.grant.request, Verdict: VerdictApplied, Event: event.Type, Record: c.ID}
	e.facts, e.note = facts, note
	made, err := event.takeEffect(ctx, e, v)
	if err == nil {
		err = e.record(ctx, w.caller, typeLifeEvent, w.grant.request)
	}
	if err != nil {
		return Done{}, "", err
	}
	if err := w.file(ctx, e.tx, v, &c, event); err != nil {
		return Done{}, "", err
	}
	return Done{Status: statusDone, Noun: "change_requests", Record: c.ID, Version: int64(made)}, VerdictApplied, nil
}

// takeEffect does what has happened, as an edit. It returns the number of who came on file by that; 0: nobody.
func (h *happened) takeEffect(ctx context.Context, e *edit, v *revision) (annona.Number, error) {
	if err := e.tx.PutLoad(ctx, &e.load); err != nil {
		return 0, err
	}
	made, err := h.act(ctx, e, v)
	if err != nil {
		return 0, err
	}
	return made, e.write(ctx)
}

// whoCame names who came on file by the event, where the caller may see them.
func (w *living) whoCame(ctx context.Context, done *LifeEventDone) error {
	if done.Done.Version == 0 || done.Status != statusDone {
		return nil
	}
	dataset := "households"
	if w.event.Type == annona.LifeBirth {
		dataset = "individuals"
	}
	i, err := w.inquire(ctx, dataset, w.grant.question.Purpose)
	if err != nil {
		return err
	}
	seen, err := w.x.subjectsOfRequests(ctx, i, []annona.Number{annona.Number(done.Done.Version)})
	if err != nil || seen.Count == 0 {
		return err
	}
	done.CreatedDataset, done.CreatedID = dataset, firstCell(i.plan(seen.Shape).Redact(seen))
	return nil
}
