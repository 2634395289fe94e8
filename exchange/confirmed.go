package exchange

import (
	"context"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"github.com/annona-exchange/annona"
)

// confirmed are the records, by dataset, that a load has found as they are on file. That writes nothing
// to them: the moment of their keys stays that of the load that brought the words. So it is kept with the
// load, and asked for when a later load is as of an earlier moment: its report is older than the word it
// would change, also where that word was only repeated.
//
// An undo keeps those that it has changed back: what had been confirmed of them does not hold any more.
type confirmed map[string]*roaring64.Bitmap

func (c confirmed) add(dataset string, numbers []annona.Number) {
	if len(numbers) == 0 {
		return
	}
	if c[dataset] == nil {
		c[dataset] = roaring64.New()
	}
	for _, n := range numbers {
		c[dataset].Add(uint64(n))
	}
}

// with returns a copy to which numbers are added.
func (c confirmed) with(more map[string][]annona.Number) confirmed {
	all := confirmed{}
	for dataset, numbers := range c {
		all[dataset] = numbers.Clone()
	}
	for dataset, numbers := range more {
		all.add(dataset, numbers)
	}
	return all
}

func (c confirmed) has(dataset string, number annona.Number) bool {
	return c[dataset] != nil && c[dataset].Contains(uint64(number))
}

// encode appends for each dataset its name and the bitmap in its portable form; nil when there is none.
func (c confirmed) encode() (b []byte, err error) {
	for _, dataset := range [...]string{"households", "individuals"} {
		if c[dataset] == nil {
			continue
		}
		c[dataset].RunOptimize()
		numbers, err := c[dataset].ToBytes()
		if err != nil {
			return nil, annona.Internal("keep what a load has confirmed", err)
		}
		b = annona.AppendItem(annona.AppendItem(b, annona.Image(dataset)), numbers)
	}
	return b, nil
}

func parseConfirmed(b []byte) (confirmed, error) {
	parts, err := cutItems(b)
	if err != nil || len(parts)%2 != 0 {
		return nil, errConfirmed(err)
	}
	c := confirmed{}
	for i := 0; i < len(parts); i += 2 {
		numbers := roaring64.New()
		if err := numbers.UnmarshalBinary(parts[i+1]); err != nil {
			return nil, errConfirmed(err)
		}
		c[string(parts[i])] = numbers
	}
	return c, nil
}

func errConfirmed(err error) error {
	return annona.Internal("read what a load has confirmed: it does not decode", err)
}

// younger returns the records that loads of the same source have confirmed for a later moment than that
// of this load.
func (l *Loading) younger(ctx context.Context) (confirmed, error) {
	loads, err := l.x.Loads.Confirmed(ctx, l.order.Source, l.load.AsOf)
	if err != nil {
		return nil, err
	}
	all := confirmed{}
	for i := range loads {
		c, err := parseConfirmed(loads[i].Confirmed)
		if err != nil {
			return nil, err
		}
		for dataset, numbers := range c {
			switch {
			case loads[i].Mode == ModeUndo && all[dataset] != nil:
				all[dataset].AndNot(numbers)
			case loads[i].Mode == ModeUndo || loads[i].State == StateUndone:
			case all[dataset] == nil:
				all[dataset] = numbers
			default:
				all[dataset].Or(numbers)
			}
		}
	}
	return all, nil
}

// stale reports whether a record's key has spoken for a later moment than that of this load.
func (l *Loading) stale(number annona.Number, reported *annona.RecordKey, dataset string) bool {
	return reported.Source != "" && (l.load.AsOf.Before(reported.AsOf) || l.newer.has(dataset, number))
}
