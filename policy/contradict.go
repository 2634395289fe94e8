package policy

import (
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// An answer has the same columns in every row. So rules of one role that can hold for the same request
// have the same rows of a dataset, and their columns are put together; or they have the same columns,
// and their rows are. checkContradictions refuses all others, and rules that nothing can come of.
func (r *role) checkContradictions() error {
	for i := range r.rules {
		for j := range r.rules[:i] {
			a, b := &r.rules[j], &r.rules[i]
			if a.Deny != b.Deny && !overlap(a, b) {
				continue
			}
			switch {
			case a.Deny && b.Deny:
			case a.Deny && a.undoes(b), b.Deny && b.undoes(a):
				return contradiction(r, a, b, "one denies all that the other allows")
			case !a.Deny && !b.Deny && overlap(a, b) && !a.joins(b):
				return contradiction(r, a, b, "they can hold for one request and differ in rows and in columns of a dataset")
			}
		}
	}
	return nil
}

func contradiction(r *role, a, b *rule, why string) error {
	return annona.Invalid("role_contradicts", "the rules %s and %s contradict each other: %s", a.Name, b.Name, why).On(r.Name)
}

// overlap reports whether two rules can hold for one request.
func overlap(a, b *rule) bool {
	return meet(a.Verbs, b.Verbs) && meet(a.Purposes, b.Purposes) &&
		(a.ValidUntil == "" || b.ValidFrom <= a.ValidUntil) && (b.ValidUntil == "" || a.ValidFrom <= b.ValidUntil)
}

// meet reports whether two lists have something in common; an empty one has everything.
func meet[T comparable](a, b []T) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(x T) bool { return slices.Contains(b, x) })
}

// undoes reports whether nothing is left of what b allows.
func (a *rule) undoes(b *rule) bool {
	covers := func(all, some int, missing bool) bool { return all == 0 || some > 0 && !missing }
	return a.when == nil && a.datasets == nil && a.ValidFrom <= b.ValidFrom && (a.ValidUntil == "" || b.ValidUntil != "" && b.ValidUntil <= a.ValidUntil) &&
		covers(len(a.Verbs), len(b.Verbs), slices.ContainsFunc(b.Verbs, func(v annona.Verb) bool { return !slices.Contains(a.Verbs, v) })) &&
		covers(len(a.Purposes), len(b.Purposes), slices.ContainsFunc(b.Purposes, func(p string) bool { return !slices.Contains(a.Purposes, p) }))
}

// joins reports whether one answer can have what both rules allow.
func (a *rule) joins(b *rule) bool {
	for dataset, mine := range a.portions(b) {
		theirs := b.portion(dataset)
		if mine == nil || theirs == nil {
			continue
		}
		if !sameRows(mine, theirs) && !sameColumns(mine, theirs) || !sameTreatments(mine, theirs) {
			return false
		}
	}
	return true
}

// portions returns what a says of the datasets that a or b names.
func (a *rule) portions(b *rule) map[string]*portion {
	named := map[string]*portion{}
	for _, of := range []map[string]*portion{a.datasets, b.datasets} {
		for dataset := range of {
			named[dataset] = a.portion(dataset)
		}
	}
	return named
}

var everything = &portion{whole: true}

// portion is what a rule says about a dataset; nil: nothing.
func (a *rule) portion(dataset string) *portion {
	if a.datasets == nil {
		return everything
	}
	return a.datasets[dataset]
}

func sameRows(a, b *portion) bool {
	if a.rows == nil || b.rows == nil {
		return a.rows == nil && b.rows == nil
	}
	return filter.Format(a.rows) == filter.Format(b.rows)
}

func sameColumns(a, b *portion) bool {
	return a.whole == b.whole && slices.Equal(a.fields, b.fields)
}

// sameTreatments reports whether the columns that both have are treated alike.
func sameTreatments(a, b *portion) bool {
	differ := func(whole, some *portion) bool {
		return whole.whole && slices.ContainsFunc(some.fields, func(g annona.FieldGrant) bool { return g.Treatment != annona.TreatPass })
	}
	if differ(a, b) || differ(b, a) {
		return false
	}
	return !slices.ContainsFunc(a.fields, func(g annona.FieldGrant) bool {
		return slices.ContainsFunc(b.fields, func(o annona.FieldGrant) bool { return o.Field == g.Field && o != g })
	})
}
