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

// MatterUpdates returns a page of what has changed of a case, an enrollment or a benefit, the newest first.
// Codes: those of Updates, cases_not_granted.
func (x *Exchange) MatterUpdates(ctx context.Context, caller annona.Caller, purpose, dataset, id, after string, limit int) (*UpdatesShown, error) {
	if err := checkLimit(limit, MaxUpdates); err != nil {
		return nil, err
	}
	t, err := x.tellingOfMatters(ctx, caller, purpose, dataset)
	if err != nil {
		return nil, err
	}
	if err := t.continueBehind(id, after); err != nil {
		return nil, err
	}
	uid, _ := t.i.realm.ParseID(id)
	seen, err := t.matters(ctx, annona.MatterChoice{UIDs: []annona.UID{uid}}, 2)
	if err == nil && seen.Count == 0 {
		err = annona.NotFound("no such record, or not one that you may see")
	}
	if err == nil {
		err = t.conflictsOf(ctx, seen)
	}
	if err != nil {
		return nil, err
	}
	return t.page(ctx, seen, x.mattersAbout(seen), id, limit)
}

// tellingOfMatters is one for a reader who asks of a dataset of matters.
func (x *Exchange) tellingOfMatters(ctx context.Context, caller annona.Caller, purpose, dataset string) (*updateTelling, error) {
	i, err := x.inquireMatters(ctx, caller, annona.VerbReadUpdates, dataset, purpose, nil)
	if err != nil {
		return nil, err
	}
	if dataset == "cases" && i.grant.Agreement.Cases == nil {
		return nil, annona.Forbidden("cases_not_granted", "the agreement does not let you keep cases")
	}
	return newUpdateTelling(x, i), nil
}

// mattersAbout are the people whom matters are about.
func (x *Exchange) mattersAbout(page *annona.Page) (all []audit.Subjects) {
	numbers := map[string][]annona.Number{}
	for _, about := range page.Subjects {
		if about.Number > 0 {
			numbers[about.Dataset] = append(numbers[about.Dataset], about.Number)
		}
	}
	for _, dataset := range []string{"households", "individuals"} {
		of, _ := x.CurrentDictionary().Dataset(dataset)
		if list := numbers[dataset]; len(list) > 0 {
			slices.Sort(list)
			all = append(all, audit.Subjects{Noun: of.Noun, Numbers: slices.Compact(list)})
		}
	}
	return all
}

// matters tells what has changed of the matters of a choice, and returns those that the reader may see: of a
// case what is the partner's, of the others what programs show. It is not complete when most of them are found.
func (t *updateTelling) matters(ctx context.Context, choice annona.MatterChoice, most int) (*annona.Page, error) {
	for range readAttempts {
		found := annona.NewPage(&annona.Shape{Dataset: t.shape.Dataset})
		more, err := t.readMatters(ctx, choice, most, found)
		if err != nil || found.Count == 0 {
			return found, err
		}
		told := *t
		moved, page, err := told.mattersAt(ctx, found)
		if err != nil {
			return nil, err
		}
		if !moved {
			*t = told
			t.full = t.full || more
			return page, nil
		}
	}
	return nil, annona.Unavailable("record_moving", "the record changes faster than it can be read; try again")
}

// readMatters reads matters within the reader's scope.
func (t *updateTelling) readMatters(ctx context.Context, choice annona.MatterChoice, most int, page *annona.Page) (more bool, err error) {
	if t.shape.Dataset.Name == "cases" {
		worker, err := t.x.signedInWorker(ctx, t.i.caller, t.i.partner())
		if err != nil {
			return false, err
		}
		return t.x.readOwn(ctx, t.i, worker, page, choice, 0, most)
	}
	err = t.x.readOpen(ctx, page, func() (err error) {
		more, err = t.x.readMatters(ctx, t.x.programScope(t.i, page.Shape), choice, 0, most, page)
		return err
	})
	return more, err
}

// mattersAt tells of matters that were found, unless one of them changes in this moment.
func (t *updateTelling) mattersAt(ctx context.Context, found *annona.Page) (moved bool, page *annona.Page, err error) {
	of, today := t.shape.Dataset, t.x.today(t.x.Clock())
	shares, err := t.x.Matters.MatterShares(ctx, of, found.Numbers, t.i.partner(), today)
	if err != nil {
		return false, nil, err
	}
	events, last := map[annona.Number][]annona.Event{}, map[annona.Number]int64{}
	for _, number := range found.Numbers {
		if events[number], last[number], err = t.eventsOfMatter(ctx, number); err != nil {
			return false, nil, err
		}
	}
	page = annona.NewPage(t.shape)
	if _, err := t.readMatters(ctx, annona.MatterChoice{UIDs: found.UIDs}, found.Count, page); err != nil {
		return false, nil, err
	}
	for _, number := range found.Numbers {
		later, err := t.x.Matters.MatterEvents(ctx, of, []annona.Number{number}, last[number], 1)
		if err != nil || len(later) > 0 || page.Count < found.Count {
			return true, nil, err
		}
	}
	for row, number := range page.Numbers {
		if slices.ContainsFunc(shares, func(s annona.Share) bool { return s.Number == number }) {
			t.full = true // whom a case is only shared with is told of no change
			continue
		}
		if err := t.matterEvents(ctx, valuesAt(page, row), events[number]); err != nil {
			return false, nil, err
		}
	}
	return false, page, nil
}

func valuesAt(page *annona.Page, row int) (values []annona.Value) {
	for c, f := range page.Shape.Columns {
		if cell := page.Cell(c, row); len(cell) > 0 {
			values = append(values, annona.Value{Field: f, Text: string(cell)})
		}
	}
	return values
}

// eventsOfMatter returns the newest events since a matter was handed over, the last one first.
func (t *updateTelling) eventsOfMatter(ctx context.Context, number annona.Number) (events []annona.Event, last int64, err error) {
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

// matterEvents tells the changes of a matter that is now what after says. What it was while the reader was not
// cleared for it is left out.
func (t *updateTelling) matterEvents(ctx context.Context, after []annona.Value, events []annona.Event) error {
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
		if !t.cleared(doc.values["confidentiality"]) {
			continue
		}
		before := doc.plain()
		e := UpdateEntry{At: event.At, Action: ActionUpdate, Verdict: VerdictApplied, position: updatePosition{at: event.At.UnixMilli(), kind: updateOfEvent, key: int64(event.Version)}}
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

// conflictsOf tells of edits of cases that have clashed and have not taken effect. What has is a change of the case.
func (t *updateTelling) conflictsOf(ctx context.Context, seen *annona.Page) error {
	own, err := t.ownCases(ctx, seen)
	if err != nil {
		return err
	}
	for _, number := range own {
		all, err := t.x.ChangeRequests.ChangeRequests(ctx, annona.WhichRequests{Conflicts: true, Dataset: "cases", Subject: number}, 0, maxUpdates)
		if err != nil {
			return err
		}
		t.full = t.full || len(all) == maxUpdates
		for n := range all {
			if err := t.conflict(ctx, &all[n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownCases are those of the matters that are cases which the reader's partner has.
func (t *updateTelling) ownCases(ctx context.Context, seen *annona.Page) (own []annona.Number, err error) {
	if t.shape.Dataset.Name != "cases" {
		return nil, nil
	}
	shares, err := t.x.Matters.MatterShares(ctx, t.shape.Dataset, seen.Numbers, t.i.partner(), t.x.today(t.x.Clock()))
	for _, number := range seen.Numbers {
		if !slices.ContainsFunc(shares, func(s annona.Share) bool { return s.Number == number }) {
			own = append(own, number)
		}
	}
	return own, err
}

// conflict tells of an edit that has clashed while the reader's partner had the case, and the reader was cleared for it.
func (t *updateTelling) conflict(ctx context.Context, c *annona.ChangeRequest) error {
	verdict := verdictOf(c)
	if verdict == "" {
		return nil
	}
	kept, err := t.x.readClash(ctx, c)
	if annona.CodeOf(err) == "key_gone" {
		return nil // erased in this moment
	}
	if err != nil || kept.Owner != t.i.partner() || !t.cleared(kept.Confidentiality) {
		return err
	}
	e := UpdateEntry{At: c.At, Action: ActionUpdate, Verdict: verdict, ChangeRequest: c.ID, position: updatePosition{at: c.At.UnixMilli(), kind: updateOfRequest, key: c.Key}}
	var before, after []annona.Value
	for _, p := range kept.Parts {
		f, isField := t.shape.Dataset.Field(p.Field)
		now, _ := p.Now.(string)
		wanted, _ := p.After.(string)
		if isField && f.Type != annona.TypeGroup {
			before, after = append(before, annona.Value{Field: f, Text: now}), append(after, annona.Value{Field: f, Text: wanted})
		}
	}
	if !t.tell(&e, c.Subject, before, after) {
		return nil
	}
	if err := t.attributeToClient(ctx, &e, &annona.Event{Client: c.Client, Purpose: c.Purpose}); err != nil {
		return err
	}
	if err := t.decided(ctx, &e, c); err != nil {
		return err
	}
	if e.DecidedBy.Mine {
		e.Reason = c.DecidedBy.Reason
	}
	t.entries = append(t.entries, e)
	return nil
}

// cleared reports whether the reader may see a matter of that confidentiality.
func (t *updateTelling) cleared(code string) bool {
	if code == "" || code == confidentialityNormal {
		return true
	}
	terms := t.i.grant.Agreement.Cases
	return terms != nil && slices.Contains(terms.Confidentiality, code)
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
