package exchange

import (
	"context"
	"slices"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// An agreement on an area that was closed keeps reaching the households that stood there then, as
// long as they stay in what the area has become, and none of the others there. It reaches these
// when somebody approves that.

// Waiting is an agreement that names closed areas.
type Waiting struct {
	Agreement  string
	Closed     []string // the closed areas that it names, sorted
	Successors []string // what they are today and the agreement does not reach yet, sorted
	// ByHand: a condition of the agreement names a closed area, so that a new version is needed.
	ByHand bool
}

// WaitingAgreements lists the agreements that name a closed area without reaching all that it has
// become.
func (x *Exchange) WaitingAgreements(ctx context.Context, caller annona.Caller) ([]Waiting, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	tree, err := x.Areas(ctx)
	if err != nil {
		return nil, err
	}
	agreements, err := x.Roster.Agreements(ctx)
	if err != nil {
		return nil, err
	}
	var waiting []Waiting
	for i := range agreements {
		w, err := x.waiting(tree, &agreements[i])
		if err != nil {
			return nil, err
		}
		if len(w.Successors) > 0 || w.ByHand {
			waiting = append(waiting, w)
		}
	}
	return waiting, nil
}

func (x *Exchange) waiting(tree *filter.AreaTree, a *annona.Agreement) (Waiting, error) {
	w := Waiting{Agreement: a.Name}
	reaches := func(code string) bool {
		return slices.ContainsFunc(a.Areas, func(granted string) bool { return tree.Inside(code, granted) })
	}
	for _, code := range a.Areas {
		if area, known := tree.Area(code); !known || !area.IsClosed() {
			continue
		}
		w.Closed = append(w.Closed, code)
		for _, today := range tree.Today(code) {
			if !reaches(today) {
				w.Successors = append(w.Successors, today)
			}
		}
	}
	named, err := x.closedInConditions(tree, a)
	if err != nil {
		return w, err
	}
	w.ByHand = len(named) > 0
	for _, codes := range []*[]string{&w.Closed, &w.Successors} {
		if codes == &w.Closed {
			*codes = append(*codes, named...)
		}
		slices.Sort(*codes)
		*codes = slices.Compact(*codes)
	}
	return w, nil
}

// closedInConditions returns the closed areas that the conditions of an agreement name.
func (x *Exchange) closedInConditions(tree *filter.AreaTree, a *annona.Agreement) (codes []string, err error) {
	d := x.CurrentDictionary()
	for name, terms := range a.Datasets {
		dataset, known := d.Dataset(name)
		if !known || terms.Condition == "" {
			continue
		}
		condition, err := filter.Compile(d, dataset, terms.Condition)
		if err != nil {
			return nil, err
		}
		for leaf := range filter.Leaves(condition) {
			for _, code := range areasNamed(leaf) {
				if area, known := tree.Area(code); known && area.IsClosed() {
					codes = append(codes, code)
				}
			}
		}
	}
	return codes, nil
}

func areasNamed(leaf annona.Condition) (codes []string) {
	switch c := leaf.(type) {
	case annona.Within:
		return []string{c.Area}
	case annona.Compare:
		if c.Path.Field.CodeList == filter.AreaList {
			return []string{c.Value.Text}
		}
	case annona.In:
		if c.Path.Field.CodeList != filter.AreaList {
			return nil
		}
		for _, value := range c.Values {
			codes = append(codes, value.Text)
		}
	}
	return codes
}

// ApproveAreas lets an agreement reach what the closed areas that it names are today: as its next
// version, which names these beside them. A second person's approval of such an act has its place
// here, before the version is written. Nothing to approve is refused with the code nothing_waits.
func (x *Exchange) ApproveAreas(ctx context.Context, caller annona.Caller, name string) (version int, added []string, err error) {
	if err := operatorOnly(caller); err != nil {
		return 0, nil, err
	}
	a, err := x.Standings.Agreement(ctx, name)
	if err != nil {
		return 0, nil, err
	}
	if a == nil {
		return 0, nil, annona.NotFound("no agreement of this name is on file").On("agreement")
	}
	tree, err := x.Areas(ctx)
	if err != nil {
		return 0, nil, err
	}
	w, err := x.waiting(tree, a)
	if err != nil {
		return 0, nil, err
	}
	if len(w.Successors) == 0 {
		return 0, nil, annona.Conflict("nothing_waits", "the agreement reaches all that the areas it names are today; a condition that names a closed area is changed with a new version").On(name)
	}
	next := *a
	next.Areas = slices.Concat(a.Areas, w.Successors)
	version, err = x.applyAgreement(ctx, caller, agreed{Agreement: next, Verb: annona.VerbApproveAreas, Added: w.Successors})
	return version, w.Successors, err
}
