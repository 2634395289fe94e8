package exchange

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// The types of change requests.
const (
	typeUpdate    = "update"
	typeConflict  = "conflict"
	typeLifeEvent = "life_event"
)

// The states of change requests and conflicts. Those behind RequestOpen are ends.
const (
	RequestPending   = "pending"           // somebody of the registry decides it
	RequestAtSource  = "pending_at_source" // the source that decides the field has not said it yet
	RequestOpen      = "open"              // a conflict that nobody has resolved
	RequestApplied   = "applied"
	RequestRejected  = "rejected"
	RequestWithdrawn = "withdrawn"
	RequestConfirmed = "confirmed" // the source says it
	RequestDeclined  = "declined"  // the source does not
	RequestTimedOut  = "timed_out"
)

// checkState refuses what is no state of change requests and conflicts; empty stands for each. Codes: unknown_code.
func checkState(state string) error {
	if state != "" && !slices.Contains([]string{
		RequestPending, RequestAtSource, RequestOpen, RequestApplied, RequestRejected, RequestWithdrawn, RequestConfirmed, RequestDeclined, RequestTimedOut,
	}, state) {
		return annona.Invalid("unknown_code", "no change request and no conflict has this state").On("state")
	}
	return nil
}

// asked is what a change request asks of one field, and what a conflict knows of it.
type asked struct {
	Field  string     `json:"field"`
	Before string     `json:"before,omitempty"` // as the applicant has read it
	After  string     `json:"after,omitempty"`  // as the applicant wants it
	Now    string     `json:"now,omitempty"`    // of a conflict: as somebody else has said it
	At     time.Time  `json:"at,omitzero"`      // when
	Load   int64      `json:"load,omitempty"`   // by which load or edit
	Client annona.UID `json:"client,omitzero"`
}

// How far back the version is looked for that somebody has read.
const (
	versionsKept = 100
	versionsFor  = 7 * 24 * time.Hour
)

// base returns the values of the record as the caller has read it, and what it was before each change
// since, the last one first; none: nothing has changed that the caller sees of it. Code version_unknown.
func (w *updating) base(ctx context.Context, v *revision) (base []annona.Value, since []former, err error) {
	now := valuesIn(v.now.words)
	if w.tagOf(v.known.Number, now) == w.read {
		return now, nil, nil
	}
	events, err := w.x.ChangeRequests.FormersOf(ctx, v.known.Key.Dataset, v.known.Number, 0, versionsKept)
	if err != nil {
		return nil, nil, err
	}
	formers, err := w.x.openFormers(ctx, events, true)
	if err != nil {
		return nil, nil, err
	}
	for n, f := range formers {
		if f.event.At.Before(w.at.Add(-versionsFor)) {
			break
		}
		r, err := recordOf(w.x.CurrentDictionary(), f.dataset, f.was.clear, f.sealed)
		if err != nil {
			return nil, nil, err
		}
		if w.tagOf(v.known.Number, r.Values) == w.read {
			return r.Values, formers[:n+1], nil
		}
	}
	return nil, nil, annona.Stale("version_unknown", "the record is not what you have read, and what you have read is not found again: read it once more").On("If-Match")
}

func valuesIn(words []word) (values []annona.Value) {
	for i := range words {
		values = append(values, words[i].values...)
	}
	return values
}

// tagOf is what the own part of the tag is of a record with those values.
func (w *updating) tagOf(number annona.Number, values []annona.Value) string {
	shape := &annona.Shape{Dataset: w.view.shape.Dataset}
	for _, f := range w.view.shape.Columns {
		if liesWith(f) {
			shape.Columns = append(shape.Columns, f)
		}
	}
	return w.x.ownTag(w.view, w.view.plan(shape).Redact(pageOf(shape, number, values)).Page())
}

// pageOf is a page of one record that has those values.
func pageOf(shape *annona.Shape, number annona.Number, values []annona.Value) *annona.Page {
	page := annona.NewPage(shape)
	page.Count, page.Numbers, page.UIDs = 1, []annona.Number{number}, []annona.UID{{}}
	for i, f := range shape.Columns {
		page.Columns[i].Append([]byte(textIn(values, f)))
	}
	return page
}

// clashes are the fields that somebody else has changed since, to something else than the caller wants.
// The others of the update come with them: it is decided whole.
func (w *updating) clashes(v *revision, base []annona.Value, since []former) []asked {
	clash, all := false, w.contents(v)
	for i, value := range w.values {
		before, now := textIn(base, value.Field), v.textOf(value.Field)
		all[i].Before = before
		if now == before || now == value.Text {
			continue
		}
		clash = true
		all[i].Now = now
		w.whoSaid(&all[i], value.Field, now, since)
	}
	if !clash {
		return nil
	}
	return all
}

// whoSaid fills in when, and by which load, a field got the value that stands there.
func (w *updating) whoSaid(a *asked, f *annona.Field, now string, since []former) {
	for i := range since {
		r, err := recordOf(w.x.CurrentDictionary(), since[i].dataset, since[i].was.clear, since[i].sealed)
		if err == nil && textIn(r.Values, f) != now {
			e := &since[i].event
			a.At, a.Load, a.Client = e.At, e.Load, e.Client
			return
		}
	}
}

// contents is what the update asks.
func (w *updating) contents(v *revision) []asked {
	all := make([]asked, len(w.values))
	for i, value := range w.values {
		all[i] = asked{Field: value.Field.Code, Before: v.textOf(value.Field), After: value.Text}
	}
	return all
}

// keep keeps what is not written.
func (w *updating) keep(ctx context.Context, tx annona.Tx, v *revision, c annona.ChangeRequest, content any, verdict string) (Done, string, error) {
	c.ID = annona.NewUID()
	if err := w.file(ctx, tx, v, &c, content); err != nil {
		return Done{}, "", err
	}
	done := Done{Status: statusAccepted, Noun: "change_requests", Record: c.ID, Version: int64(c.Version)}
	if verdict == VerdictConflict {
		done.Status, done.Noun = statusStale, "conflicts"
	}
	a := w.grant.grant.Agreement
	facts := audit.Facts{Verb: w.grant.verb, Agreement: a.Name, AgreementVersion: a.Version, Partner: a.Partner.Name, Purpose: c.Purpose, Reason: w.reason,
		Details: map[string]string{"verdict": verdict, "record": c.ID.String()}}
	about := []audit.Subjects{{Noun: v.known.Key.Dataset.Noun, Numbers: []annona.Number{c.Subject}}}
	return done, verdict, tx.AppendEntry(ctx, audit.Change(w.x.Clock(), w.grant.request, facts, w.caller, about))
}

// file puts a change request on file, with what it asks sealed under the key of its subject.
func (w *updating) file(ctx context.Context, tx annona.Tx, v *revision, c *annona.ChangeRequest, content any) error {
	c.Dataset, c.Subject, c.Version = w.grant.question.Dataset, v.known.Number, v.known.Version
	c.Agreement, c.Client, c.Person, c.Purpose, c.At = w.grant.grant.Agreement.Name, w.caller.Client, w.caller.Acting.Person, w.grant.grant.Purpose.Code, w.at
	text, err := json.Marshal(content)
	if err != nil {
		return annona.Internal("write a change request", err)
	}
	cells := []annona.Cell{{Dataset: v.known.Key.Dataset, Number: c.Subject, Version: c.Version, Part: annona.PartRequest, Image: text}}
	if err := w.x.Vault.Seal(ctx, cells); err != nil {
		return err
	}
	c.Sealed = cells[0].Image
	return tx.PutChangeRequest(ctx, *c)
}
