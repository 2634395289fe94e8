package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
)

// A load that says of the head of a household that they have died leaves it without one, as an edit does: it is
// flagged, until somebody is named.

// leads reports whether a membership makes somebody the head of a household on file, on a day or later.
func leads(m annona.Membership, day annona.Date) bool {
	return m.Role == roleHead && m.Household != 0 && (m.EndDate == "" || m.EndDate > day)
}

// heads are the households of whose head a batch has said something.
type heads struct {
	gained []annona.Number    // somebody leads them now, so that they cannot be without a head any more
	joined []annona.RecordKey // the same, of households that the batch does not have
	lost   []annona.Number    // who led them has died, or one record alone cannot tell who leads them
}

// movedBy adds the households whose head somebody has become by a report, or is no more because of their death.
func (h *heads) movedBy(v *revision, day annona.Date) {
	led := map[annona.Number]bool{}
	for _, m := range v.former.memberships {
		if !leads(m, day) {
			continue
		}
		led[m.Household] = true
		if v.isDead() && !v.isHead(m.Household, day) {
			h.lost = append(h.lost, m.Household)
		}
	}
	for _, m := range v.now.memberships {
		switch {
		case !leads(m, day) || led[m.Household]:
		case v.isHead(m.Household, day):
			h.gained = append(h.gained, m.Household)
		default:
			h.lost = append(h.lost, m.Household)
		}
	}
}

// broughtBy adds the households that somebody joins as their head who comes on file: those of the batch that were on
// file by their numbers, those that it does not have by their keys.
func (h *heads) broughtBy(b *Batch, r *prepared, known []annona.Known, households *annona.Dataset) {
	for _, m := range r.Memberships {
		at, reported := b.at[batchKey{households.Name, r.Source, m.HouseholdKey}]
		switch {
		case m.Role != roleHead:
		case !reported:
			h.joined = append(h.joined, annona.RecordKey{Dataset: households, Source: r.Source, Key: m.HouseholdKey})
		case known[at].Version > 0:
			h.gained = append(h.gained, known[at].Number)
		}
	}
}

// findJoined finds the households that a batch names by their keys alone. What nobody has said anything of before
// cannot have lost its head: the first load of a source asks nothing.
func (l *Loading) findJoined(ctx context.Context, h *heads) error {
	if !l.follows || len(h.joined) == 0 {
		return nil
	}
	numbers, err := l.x.Loads.Numbers(ctx, h.joined)
	for _, number := range numbers {
		if number != 0 {
			h.gained = append(h.gained, number)
		}
	}
	return err
}

// settleHeads settles who is head of those households of whose head a batch has said something, behind its records.
// Where somebody has become head, only what was flagged for want of one has to be looked at again.
func (l *Loading) settleHeads(ctx context.Context, tx annona.Tx, s *settling) error {
	if err := l.findJoined(ctx, &s.heads); err != nil || len(s.gained)+len(s.lost) == 0 {
		return err
	}
	e := l.x.newEdit(tx, l.caller, l.order.Source, Why{Day: annona.DateOf(l.load.AsOf.UTC())}, l.load.AsOf)
	e.load.StartedAt, e.load.Author, e.load.Key = l.load.StartedAt, l.load.Author, l.load.Key
	homes, err := e.present(ctx, "households", slices.Concat(s.gained, s.lost))
	if err != nil {
		return err
	}
	homes = slices.DeleteFunc(homes, func(home *revision) bool {
		return e.wantsHead(home) < 0 && !slices.Contains(s.lost, home.known.Number)
	})
	if err := e.settleHeads(ctx, homes); err != nil {
		return err
	}
	err = e.write(ctx)
	s.Loaded = sum(s.Loaded, e.o.Loaded)
	return err
}

// settleHeads settles who is head of households that are held, by those who live there now.
func (e *edit) settleHeads(ctx context.Context, homes []*revision) error {
	if len(homes) == 0 {
		return nil
	}
	numbers := make([]annona.Number, len(homes))
	for i, home := range homes {
		numbers[i] = home.known.Number
	}
	members, err := e.tx.MembersOf(ctx, e.why.Day, numbers...)
	if err != nil {
		return err
	}
	people, err := e.present(ctx, "individuals", members)
	if err != nil {
		return err
	}
	living := map[annona.Number][]*revision{}
	for _, v := range people {
		for _, m := range v.now.memberships {
			living[m.Household] = append(living[m.Household], v)
		}
	}
	for _, home := range homes {
		e.settleHead(home, living[home.known.Number])
	}
	return nil
}

// settleHead flags a household of whose members nobody is the head, and takes the registry's own flag away
// when somebody is.
func (e *edit) settleHead(home *revision, members []*revision) {
	number, day := home.known.Number, e.why.Day
	lives := func(v *revision) bool { return v.belongs(number, day) >= 0 }
	hasHead := slices.ContainsFunc(members, func(v *revision) bool { return v.isHead(number, day) })
	headless := !hasHead && slices.ContainsFunc(members, lives)
	if headless {
		e.done.Headless++
	}
	at := e.wantsHead(home)
	switch {
	case headless && at < 0:
		flag := e.noHead(home)
		flag.origins = []origin{{source: annona.OwnSource, asOf: e.load.AsOf, receivedAt: e.load.StartedAt}}
		home.now.words = append(slices.Clone(home.now.words), flag)
		home.changed = true
	case !headless && at >= 0 && home.now.words[at].saidBy(annona.OwnSource):
		home.now.words = slices.Clone(home.now.words)
		w := &home.now.words[at]
		w.origins = slices.DeleteFunc(slices.Clone(w.origins), func(o origin) bool { return o.source == annona.OwnSource })
		if len(w.origins) == 0 {
			home.now.words = slices.Delete(home.now.words, at, at+1)
		}
		home.changed = true
	}
}

// noHead is the word that a household has no head.
func (e *edit) noHead(home *revision) word {
	return e.x.flag(home.known.Key.Dataset, flagNoHead, "", e.load.AsOf)
}

// wantsHead returns where a household is flagged for want of a head; -1: it is not.
func (e *edit) wantsHead(home *revision) int {
	flag := e.noHead(home)
	return slices.IndexFunc(home.now.words, func(w word) bool { return w.about(&flag) })
}
