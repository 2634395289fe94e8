package exchange

import (
	"context"

	"github.com/annona-exchange/annona"
)

// A load that says of the head of a household that they have died leaves it without one, as an edit does: it is
// flagged, until somebody is named.

// leads reports whether a membership makes somebody the head of a household on file, on a day or later.
func leads(m annona.Membership, day annona.Date) bool {
	return m.Role == roleHead && m.Household != 0 && (m.EndDate == "" || m.EndDate > day)
}

// movedHeads are the households whose head somebody has become by a report, or is no more because of their death.
func (v *revision) movedHeads(day annona.Date) (homes []annona.Number) {
	for _, m := range v.former.memberships {
		if v.isDead() && leads(m, day) && !v.isHead(m.Household, day) {
			homes = append(homes, m.Household)
		}
	}
	led := map[annona.Number]bool{}
	for _, m := range v.former.memberships {
		led[m.Household] = led[m.Household] || leads(m, day)
	}
	for _, m := range v.now.memberships {
		if leads(m, day) && !led[m.Household] {
			homes = append(homes, m.Household)
		}
	}
	return homes
}

// headedBy adds the households that somebody joins as their head who comes on file: those of the batch that were on
// file by their numbers, those that it does not have by their keys.
func (s *settling) headedBy(b *Batch, r *prepared, known []annona.Known, households *annona.Dataset) {
	for _, m := range r.Memberships {
		at, reported := b.at[batchKey{households.Name, r.Source, m.HouseholdKey}]
		switch {
		case m.Role != roleHead:
		case !reported:
			s.joined = append(s.joined, annona.RecordKey{Dataset: households, Source: r.Source, Key: m.HouseholdKey})
		case known[at].Version > 0:
			s.homes = append(s.homes, known[at].Number)
		}
	}
}

// findJoined finds the households that a batch names by their keys alone. What nobody has said anything of before
// cannot have lost its head: the first load of a source asks nothing.
func (l *Loading) findJoined(ctx context.Context, s *settling) error {
	if !l.follows || len(s.joined) == 0 {
		return nil
	}
	numbers, err := l.x.Loads.Numbers(ctx, s.joined)
	for _, number := range numbers {
		if number != 0 {
			s.homes = append(s.homes, number)
		}
	}
	return err
}

// settleHeads settles who is head of those households of whose head a batch has said something, behind its records.
func (l *Loading) settleHeads(ctx context.Context, tx annona.Tx, s *settling) error {
	if err := l.findJoined(ctx, s); err != nil || len(s.homes) == 0 {
		return err
	}
	e := l.x.newEdit(tx, l.caller, l.order.Source, Why{Day: annona.DateOf(l.load.AsOf.UTC())}, l.load.AsOf)
	e.load.StartedAt, e.load.Author, e.load.Key = l.load.StartedAt, l.load.Author, l.load.Key
	for _, home := range s.homes {
		err := e.settleHeads(ctx, []annona.Number{home})
		if err != nil && annona.KindOf(err) != annona.KindNotFound { // it, or somebody there, is out of sight by now
			return err
		}
	}
	err := e.write(ctx)
	s.Loaded = sum(s.Loaded, e.o.Loaded)
	return err
}
