package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// The update log of a case is told to the partner that has it, from the moment on which it has got it: what
// a former owner has taken out is not handed over. Whoever a case is only shared with is told of no change.

// actHandedOver is the reason of the event with which a case gets another owner: the answer to a transfer.
const actHandedOver = "accept"

// CaseUpdates returns a page of what has changed of a case, the newest first. Codes: those of Updates,
// cases_not_granted.
func (x *Exchange) CaseUpdates(ctx context.Context, caller annona.Caller, purpose, id, after string, limit int) (*UpdatesShown, error) {
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadUpdates, "cases", purpose, nil)
	if err != nil {
		return nil, err
	}
	if i.grant.Agreement.Cases == nil {
		return nil, annona.Forbidden("cases_not_granted", "the agreement does not let you keep cases")
	}
	d := &caseDesk{x: x, caller: caller, i: i, today: x.today(x.Clock()), people: map[string]*inquiry{}}
	if d.worker, err = x.signedInWorker(ctx, caller, i.partner()); err != nil {
		return nil, err
	}
	t := newUpdateTelling(x, i)
	if err := t.continueBehind(id, after); err != nil {
		return nil, err
	}
	number, about, err := d.find(ctx, id)
	if err != nil {
		return nil, err
	}
	seen, events, err := t.readCase(ctx, d, number, id)
	if err != nil {
		return nil, err
	}
	if err := t.caseEvents(ctx, d, valuesOn(seen), events); err != nil {
		return nil, err
	}
	var subjects []audit.Subjects
	if of, ok := x.CurrentDictionary().Dataset(about.Dataset); ok && about.Number > 0 {
		subjects = []audit.Subjects{{Noun: of.Noun, Numbers: []annona.Number{about.Number}}}
	}
	return t.page(ctx, seen, subjects, id, limit)
}

// readCase returns a case as it is, and its events, the last one first: none of a case that is shared.
func (t *updateTelling) readCase(ctx context.Context, d *caseDesk, number annona.Number, id string) (*annona.Page, []annona.Event, error) {
	of, numbers := t.shape.Dataset, []annona.Number{number}
	choice, err := d.choice(ctx, t.i, CaseChoice{ID: id})
	if err != nil {
		return nil, nil, err
	}
	for range readAttempts {
		shares, err := t.x.Matters.MatterShares(ctx, of, numbers, t.i.partner(), d.today)
		if err != nil {
			return nil, nil, err
		}
		events, last, err := t.eventsOfCase(ctx, number)
		if err != nil {
			return nil, nil, err
		}
		page := annona.NewPage(t.shape)
		if _, err := t.x.readOwn(ctx, t.i, page, choice, 0, 1); err != nil {
			return nil, nil, err
		}
		if page.Count == 0 {
			return nil, nil, errCase
		}
		later, err := t.x.Matters.MatterEvents(ctx, of, numbers, last, 1)
		if err != nil {
			return nil, nil, err
		}
		if len(later) > 0 {
			continue // it has changed in this moment
		}
		if len(shares) > 0 {
			events, t.full = nil, true
		}
		return page, events, nil
	}
	return nil, nil, annona.Unavailable("record_moving", "the record changes faster than it can be read; try again")
}

// eventsOfCase returns the newest events since the case was handed over, the last one first.
func (t *updateTelling) eventsOfCase(ctx context.Context, number annona.Number) (events []annona.Event, last int64, err error) {
	for more := true; more; {
		some, err := t.x.Matters.MatterEvents(ctx, t.shape.Dataset, []annona.Number{number}, last, pastEvents)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range some {
			if last = e.Seq; e.Reason == actHandedOver {
				events, t.full = nil, true
				continue
			}
			events = append(events, e)
		}
		if len(events) > maxUpdates {
			events, t.full = events[len(events)-maxUpdates:], true
		}
		more = len(some) == pastEvents
	}
	slices.Reverse(events)
	return events, last, nil
}

// caseEvents tells the changes of a case that is now what after says. What it was while the reader was not
// cleared for it is left out.
func (t *updateTelling) caseEvents(ctx context.Context, d *caseDesk, after []annona.Value, events []annona.Event) error {
	for n := range events {
		event := &events[n]
		if len(event.Before) == 0 {
			continue // it came on file
		}
		kept, err := annona.ParseFormer(event.Before)
		if err != nil {
			return err
		}
		doc, err := t.x.formerDocument(ctx, &annona.Matter{Dataset: t.shape.Dataset, Number: event.Record}, kept)
		if err != nil {
			return err
		}
		if c := doc.values["confidentiality"]; c != "" && c != confidentialityNormal && !slices.Contains(d.terms().Confidentiality, c) {
			continue
		}
		before := doc.plain()
		e := UpdateEntry{At: event.At, Action: ActionUpdate, Verdict: VerdictApplied, position: updatePosition{event.At.UnixMilli(), updateOfEvent, int64(event.Version)}}
		if t.tell(&e, event.Record, before, after) {
			if err := t.attributeToClient(ctx, &e, event); err != nil {
				return err
			}
			t.entries = append(t.entries, e)
		}
		after = before
	}
	return nil
}

// attributeToClient fills in whose client has changed a case.
func (t *updateTelling) attributeToClient(ctx context.Context, e *UpdateEntry, event *annona.Event) error {
	client, err := t.x.Standings.ClientByID(ctx, event.Client)
	if err != nil || client == nil {
		e.By.Kind = "registry"
		return err
	}
	e.By.Kind = "partner"
	if e.By.Mine = client.Agreement == t.i.caller.Agreement; e.By.Mine {
		e.By.Client, e.Reason, e.Purpose = client.ID, event.Reason, event.Purpose
		return nil
	}
	e.By.System = t.pseudonym("agreement", client.Agreement)
	return nil
}

// plain is what a document says but for its groups.
func (doc document) plain() (values []annona.Value) {
	for _, f := range doc.of.Fields {
		if text := doc.values[f.Code]; text != "" {
			values = append(values, annona.Value{Field: f, Text: text})
		}
	}
	return values
}
