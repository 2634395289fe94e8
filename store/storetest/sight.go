package storetest

import (
	"slices"
	"strconv"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// sight is what a scope shows of a world, by the reading of package filter.
type sight struct {
	w      *world
	people annona.Condition
	rows   annona.Condition // of households
	narrow bool             // people are seen only in households that satisfy rows
	terms  annona.ScopeTerms
}

// person reports whether an individual may be seen. The condition about people looks at
// everybody who has not objected, whoever else may be seen.
func (s sight) person(p *thing) bool {
	everybody := func(o *thing) bool { return o.allowed(s.terms) }
	return everybody(p) && filter.Eval(s.people, row{w: s.w, individual: p, through: p.primary(), visible: everybody}, Today)
}

// household reports whether a household satisfies rows.
func (s sight) household(h *thing) bool {
	return filter.Eval(s.rows, row{w: s.w, household: h, visible: s.person}, Today)
}

// shown is the households in which people are seen; nil: all.
func (s sight) shown() func(*thing) bool {
	if !s.narrow {
		return nil
	}
	return s.household
}

// individuals lists who is seen and satisfies what the caller chooses.
func (s sight) individuals(chosen annona.Condition) (seen []annona.Number) {
	for _, p := range s.w.people {
		r := row{w: s.w, individual: p, through: p.primary(), visible: s.person, shown: s.shown()}
		if s.person(p) && filter.Eval(chosen, r, Today) {
			seen = append(seen, p.number)
		}
	}
	return seen
}

// shownPeople are the rows of everybody who is seen, as a caller's condition looks at them.
func (s sight) shownPeople() (rows []row) {
	for _, p := range s.w.people {
		if s.person(p) {
			rows = append(rows, row{w: s.w, individual: p, through: p.primary(), visible: s.person, shown: s.shown()})
		}
	}
	return rows
}

// shownHouseholds are the rows of the households that are seen, as a caller's condition looks at them.
func (s sight) shownHouseholds() (rows []row) {
	for _, h := range s.w.households {
		if len(s.w.membersOf(h, s.person)) > 0 && s.household(h) {
			rows = append(rows, row{w: s.w, household: h, visible: s.person, shown: s.shown()})
		}
	}
	return rows
}

// households lists the households that are seen and satisfy what the caller chooses: somebody
// in them is seen.
func (s sight) households(chosen annona.Condition) (seen []annona.Number) {
	for _, h := range s.w.households {
		empty := len(s.w.membersOf(h, s.person)) == 0
		if empty || !s.household(h) {
			continue
		}
		if filter.Eval(chosen, row{w: s.w, household: h, visible: s.person, shown: s.shown()}, Today) {
			seen = append(seen, h.number)
		}
	}
	return seen
}

// allowed is what an individual has said.
func (p *thing) allowed(ts annona.ScopeTerms) bool {
	consent := ts.Basis == annona.BasisConsent
	if p.restricted == annona.KindRestriction || p.restricted == annona.KindObjection && !consent {
		return false
	}
	return p.consented || !consent
}

func active(m annona.Membership) bool {
	return m.StartDate <= Today && (m.EndDate == "" || m.EndDate > Today)
}

// primary returns the individual's primary active membership.
func (p *thing) primary() *belonging {
	for i, m := range p.memberships {
		if active(m.Membership) && !m.NotPrimary {
			return &p.memberships[i]
		}
	}
	return nil
}

// membersOf returns the active members of a household of whom ok holds.
func (w *world) membersOf(h *thing, ok func(*thing) bool) (members []row) {
	for _, p := range w.people {
		for i, m := range p.memberships {
			if m.household == h && active(m.Membership) && ok(p) {
				members = append(members, row{w: w, individual: p, through: &p.memberships[i]})
			}
		}
	}
	return members
}

// row is a filter.Row over a world.
type row struct {
	w          *world
	household  *thing     // of a condition on households
	individual *thing     // of a condition on individuals, or of a member
	through    *belonging // the membership through which the individual is seen
	visible    func(*thing) bool
	shown      func(*thing) bool // households in which people are seen; nil: all
}

func (r row) Value(p annona.Path) (string, bool) {
	switch {
	case p.Root == annona.RootHead:
		heads := slices.DeleteFunc(r.w.membersOf(r.household, r.visible), func(m row) bool { return m.through.Role != "head" })
		if len(heads) != 1 {
			return "", false
		}
		return r.member(heads[0]).Value(annona.Path{Root: annona.RootMember, Field: p.Field})
	case p.Field.Dataset == "households":
		return r.householdValue(p.Field)
	case p.Field.Derived:
		return r.lineValue(p.Field.Code)
	}
	text := r.individual.values[p.Field.Code]
	return text, text != ""
}

func (r row) householdValue(f *annona.Field) (string, bool) {
	h := r.household
	if h == nil && r.through != nil && r.shows(r.through.household) {
		h = r.through.household
	}
	if h == nil {
		return "", false
	}
	if f.Code == "member_count" {
		return strconv.Itoa(len(r.w.membersOf(h, r.visible))), true
	}
	text := h.values[f.Code]
	return text, text != ""
}

// lineValue is a field of the household line: role and relationship are those of the
// membership through which the individual is seen, the area is that of the primary household.
func (r row) lineValue(code string) (string, bool) {
	text := ""
	switch primary := r.individual.primary(); {
	case code == "area_code" && primary != nil && r.shows(primary.household):
		text = primary.household.values["area_code"]
	case r.through == nil || r.household == nil && !r.shows(r.through.household):
	case code == "role":
		text = r.through.Role
	case code == "relationship_to_head":
		text = r.through.RelationshipToHead
	}
	return text, text != ""
}

func (r row) shows(h *thing) bool { return r.shown == nil || r.shown(h) }

// member is a member as this row shows it: inside the household, the membership is seen.
func (r row) member(m row) row {
	m.shown = r.shown
	m.household = r.household
	return m
}

func (r row) Members(yield func(filter.Row) bool) {
	for _, m := range r.w.membersOf(r.household, r.visible) {
		if !yield(r.member(m)) {
			return
		}
	}
}

func (r row) Within(p annona.Path, area string) bool {
	code, _ := r.Value(p)
	if r.w.tree.Inside(code, area) {
		return true
	}
	h := r.placed(p)
	return h != nil && p.Field.Code == "area_code" && slices.Contains(h.former, area) && r.w.tree.Territory(code, area)
}

// placed returns the household whose area a path leads to.
func (r row) placed(p annona.Path) *thing {
	switch {
	case p.Root == annona.RootHead:
		heads := slices.DeleteFunc(r.w.membersOf(r.household, r.visible), func(m row) bool { return m.through.Role != "head" })
		if len(heads) != 1 {
			return nil
		}
		return r.member(heads[0]).placed(annona.Path{Root: annona.RootMember, Field: p.Field})
	case p.Field.Dataset == "households" && r.household != nil:
		return r.household
	case p.Field.Dataset == "households":
		return r.through.household
	}
	if primary := r.individual.primary(); primary != nil {
		return primary.household
	}
	return nil
}
