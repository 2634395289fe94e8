package exchange

import (
	"context"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
)

// lineage are all merges by which records hang together, also those that were taken back.
type lineage []annona.Merge

// lineageOf returns the merges that lead to a record and from it, over any number of steps.
func (x *Exchange) lineageOf(ctx context.Context, dataset *annona.Dataset, number annona.Number) (all lineage, err error) {
	seen := map[annona.Number]bool{number: true}
	for next := []annona.Number{number}; len(next) > 0; {
		found, err := x.Merges.MergesOf(ctx, dataset, next)
		if err != nil {
			return nil, err
		}
		next = nil
		for _, m := range found {
			if slices.ContainsFunc(all, func(o annona.Merge) bool { return o.ID == m.ID }) {
				continue
			}
			all = append(all, m)
			for _, n := range [...]annona.Number{m.Survivor, m.Merged} {
				if !seen[n] {
					seen[n] = true
					next = append(next, n)
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b annona.Merge) int { return a.At.Compare(b.At) })
	return all, nil
}

// survivor returns the record in which one is seen: itself, unless it was merged into another.
func (l lineage) survivor(number annona.Number) annona.Number {
	for range l { // no longer than the way from one to the next can be
		at := slices.IndexFunc(l, func(m annona.Merge) bool { return m.Holds() && m.Merged == number })
		if at < 0 {
			break
		}
		number = l[at].Survivor
	}
	return number
}

// inside returns a record and all that were merged into it, itself first.
func (l lineage) inside(number annona.Number) []annona.Number {
	numbers := []annona.Number{number}
	for i := 0; i < len(numbers); i++ {
		for _, m := range l {
			if m.Holds() && m.Survivor == numbers[i] && !slices.Contains(numbers, m.Merged) {
				numbers = append(numbers, m.Merged)
			}
		}
	}
	return numbers
}

// span is a time in which the data of somebody was that of a record.
type span struct {
	number      annona.Number
	from, until time.Time // until zero: still
}

func (s span) has(at time.Time) bool {
	return !at.Before(s.from) && (s.until.IsZero() || !at.After(s.until))
}

// spans says under which records, and when, data of the record was shown: under itself; under those
// into which it was merged, for as long as it was; and under those that are merged into it now, because
// their data is its own.
func (l lineage) spans(number annona.Number) (all []span) {
	for _, n := range l.inside(number) {
		all = append(all, l.lent(span{number: n}, len(l))...)
	}
	return all
}

// lent follows a record into those that it was merged into.
func (l lineage) lent(s span, steps int) []span {
	all := []span{s}
	for _, m := range l {
		if steps == 0 || m.Merged != s.number {
			continue
		}
		under := span{number: m.Survivor, from: later(s.from, m.At), until: sooner(s.until, m.UndoneAt)}
		if under.until.IsZero() || under.from.Before(under.until) {
			all = append(all, l.lent(under, steps-1)...)
		}
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// sooner returns the earlier of two ends; zero is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (x *Exchange) survivorOf(ctx context.Context, dataset *annona.Dataset, number annona.Number) (annona.Number, error) {
	l, err := x.lineageOf(ctx, dataset, number)
	return l.survivor(number), err
}

// mergedInto returns a record and all that were merged into it.
func (x *Exchange) mergedInto(ctx context.Context, dataset *annona.Dataset, number annona.Number) ([]annona.Number, error) {
	l, err := x.lineageOf(ctx, dataset, number)
	return l.inside(number), err
}

// MergesOf returns the merges of an individual, also those that were taken back, as they were made.
func (x *Exchange) MergesOf(ctx context.Context, caller annona.Caller, s Subject) ([]annona.Merge, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	number, err := x.subject(ctx, s)
	if err != nil {
		return nil, err
	}
	return x.lineageOf(ctx, x.individuals(), number)
}
