package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// A life event that waits is read and approved like any change request. Its reader sees it whole or not at all:
// every field of which it speaks unaltered, and everybody whom it names.

// LifeShown is a life event as its reader sees it.
type LifeShown struct {
	Type     string
	Day      annona.Date
	Evidence string
	// Individual, Household, Head and Members are ids of the reader's realm.
	Individual, Household, Head string
	Members                     []string
	Role                        string
	Primary                     bool
	Area                        string
	Identifier, Former          map[string]string
}

// name says of which type a life event is, and which groups of its subject it is about. A reader who does not
// see all of it unaltered is not told of it.
func (s *ChangeShown) name(i *inquiry, event *happened) {
	if event == nil {
		return
	}
	dataset := i.shape.Dataset
	if slices.ContainsFunc(event.concerns(), func(name string) bool { return !i.grant.Passes(dataset, name) }) {
		s.Fields = nil
		return
	}
	s.Event = &LifeShown{Type: event.Type}
	if len(s.Fields) == 0 {
		s.Fields = event.concerns()
	}
}

// tell fills in what a life event says. It returns whom it names beside the subject: they are disclosed, too.
func (s *ChangeShown) tell(ctx context.Context, x *Exchange, i *inquiry, event *happened) (others []audit.Subjects, err error) {
	if s.name(i, event); event == nil || s.Event == nil {
		return nil, nil
	}
	ids := map[annona.Number]string{}
	for _, of := range []struct {
		dataset string
		numbers []annona.Number
	}{{"households", []annona.Number{event.Home}}, {"individuals", slices.Concat([]annona.Number{event.Person, event.Head}, event.Members)}} {
		numbers := slices.DeleteFunc(of.numbers, func(n annona.Number) bool { return n == 0 })
		if len(numbers) == 0 {
			continue
		}
		told, err := x.idsFor(ctx, i, of.dataset, numbers)
		if err != nil {
			return nil, err
		}
		if told == nil {
			s.Fields = nil // somebody is out of sight
			return nil, nil
		}
		if of.dataset == "households" {
			s.Event.Household = told[event.Home]
		} else {
			ids = told
		}
		dataset, _ := x.CurrentDictionary().Dataset(of.dataset)
		slices.Sort(numbers)
		others = append(others, audit.Subjects{Noun: dataset.Noun, Fields: []string{typeLifeEvent}, Numbers: slices.Compact(numbers)})
	}
	e := s.Event
	e.Day, e.Evidence, e.Role, e.Primary, e.Area = event.Day, event.Evidence, event.Role, event.Primary, event.Area
	e.Identifier, e.Former = event.Identifier, event.Former
	e.Individual, e.Head = ids[event.Person], ids[event.Head]
	for _, member := range event.Members {
		e.Members = append(e.Members, ids[member])
	}
	return others, nil
}

// idsFor returns the ids of records as the reader of a change request sees them; nil: one is out of sight.
func (x *Exchange) idsFor(ctx context.Context, i *inquiry, dataset string, numbers []annona.Number) (map[annona.Number]string, error) {
	if dataset != i.question.Dataset {
		var err error
		if i, _, err = x.readerOfRequests(ctx, i.caller, i.question.Purpose, dataset); isFailure(err) {
			return nil, err
		} else if err != nil {
			return nil, nil
		}
	}
	seen, err := x.subjectsOfRequests(ctx, i, slices.Clone(numbers))
	if err != nil {
		return nil, err
	}
	shown := i.plan(seen.Shape).Redact(seen)
	ids := make(map[annona.Number]string, seen.Count)
	for row, number := range seen.Numbers {
		ids[number] = ""
		if len(shown.Shape().Columns) > 0 {
			ids[number] = string(shown.Page().Cell(0, row))
		}
	}
	for _, number := range numbers {
		if _, there := ids[number]; !there {
			return nil, nil
		}
	}
	return ids, nil
}

// live lets a life event take effect that somebody approves. Everything is checked again: the record may have
// changed, and so may what the reviewer sees.
func (g *ruling) live(ctx context.Context, e *edit, v *revision, c *annona.ChangeRequest, event *happened) error {
	if g.i != nil {
		shown := &ChangeShown{}
		if _, err := shown.tell(ctx, g.x, g.i, event); err != nil {
			return err
		}
		if len(shown.Fields) == 0 {
			return annona.Forbidden("review_not_granted", "you do not see everything unaltered that this asks for, or not everybody")
		}
		if err := g.seesDays(ctx, event); err != nil {
			return err
		}
	}
	if event.Type != annona.LifeBirth {
		values, err := event.values(v.known.Key.Dataset)
		if err != nil {
			return err
		}
		if err := g.checkAuthority(v, values); err != nil {
			return err
		}
	}
	e.why.Day = event.Day
	e.facts = audit.Facts{Verb: annona.VerbReview, Agreement: c.Agreement, Purpose: g.r.Purpose}
	e.note = &UpdateNote{Agreement: c.Agreement, Purpose: c.Purpose, Person: c.Person, Request: g.request, Verdict: VerdictApplied, Event: event.Type, Record: c.ID}
	if _, err := event.takeEffect(ctx, e, v); err != nil {
		return err
	}
	c.State, c.Load = RequestApplied, e.load.ID
	return e.record(ctx, g.caller, ActionChangeRequest, g.request)
}

// seesDays refuses who does not see the days against which an event of people is held: a refusal would tell them.
func (g *ruling) seesDays(ctx context.Context, event *happened) (err error) {
	if event.Person == 0 && event.Head == 0 && len(event.Members) == 0 {
		return nil
	}
	i := g.i
	if i.question.Dataset != "individuals" {
		if i, _, err = g.x.readerOfRequests(ctx, g.caller, g.r.Purpose, "individuals"); err != nil {
			return err
		}
	}
	for _, name := range event.daysOf() {
		if !i.grant.Passes(i.shape.Dataset, name) {
			return annona.Forbidden("review_not_granted", "an event is held against the days of birth and death of those who take part, and you do not see those unaltered").On(name)
		}
	}
	return nil
}

// isLived reports whether a source says what it decides of an event.
func (x *Exchange) isLived(v *revision, source string, event *happened) bool {
	authority := authoritiesOf(x.CurrentDictionary(), v.known.Key.Dataset.Name)
	says := func(w *word) bool {
		at := slices.IndexFunc(v.now.words, func(o word) bool { return o.about(w) })
		if at < 0 {
			return false
		}
		traced := v.now.traced(at)
		return traced.saidBy(source)
	}
	for _, a := range event.Asked {
		f, ok := v.known.Key.Dataset.Field(a.Field)
		if ok && authority(unitOf(f)) != source {
			continue
		}
		if !ok || v.textOf(f) != a.After || a.After != "" && !says(&word{unit: unitOf(f)}) {
			return false
		}
	}
	if len(event.Identifier) == 0 {
		return true
	}
	group, _ := v.known.Key.Dataset.Field(unitIdentifiers)
	of, _ := x.CurrentDictionary().Dataset(group.Group)
	identifier := event.word(group, of, event.Identifier, nil)
	return says(&identifier)
}
