package rest

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// sight says who in a world may be seen under an agreement: the law's own reading of it,
// written once more so that it can disagree with the store.
type sight struct {
	w       *world
	grant   *annona.Grant
	purpose annona.PurposeTerms
}

// seen lists everybody and every household that may be seen, by key.
func (s sight) seen() (keys []string) {
	for _, p := range s.w.people {
		if s.person(p) {
			keys = append(keys, p.key)
		}
	}
	for _, h := range s.w.homes {
		if s.home(h) {
			keys = append(keys, h.key)
		}
	}
	return keys
}

// person: has a say, and meets the agreement's condition.
func (s sight) person(p *person) bool {
	consent := s.purpose.Basis == annona.BasisConsent
	switch {
	case p.restricted == annona.KindRestriction, p.restricted == annona.KindObjection && !consent, consent && !p.consented:
		return false
	}
	return filter.Eval(s.grant.Conditions["individuals"], rowOf{s: s, person: p, through: p.primary()}, lawToday)
}

// home: somebody in it may be seen today, and it meets the agreement's condition.
func (s sight) home(h *home) bool {
	return len(s.members(h)) > 0 && filter.Eval(s.grant.Conditions["households"], rowOf{s: s, home: h}, lawToday)
}

// members are the members of today who may be seen.
func (s sight) members(h *home) (members []rowOf) {
	for _, p := range s.w.people {
		for i, m := range p.memberships {
			if m.HouseholdKey == h.key && activeOn(m, lawToday) && s.person(p) {
				members = append(members, rowOf{s: s, person: p, through: &p.memberships[i]})
			}
		}
	}
	return members
}

func activeOn(m annona.Membership, day annona.Date) bool {
	return m.StartDate <= day && (m.EndDate == "" || m.EndDate > day)
}

// primary returns the primary active membership: where the primary one has ended, the oldest of
// those that are active.
func (p *person) primary() *annona.Membership {
	var oldest *annona.Membership
	for i, m := range p.memberships {
		switch {
		case !activeOn(m, lawToday):
		case !m.NotPrimary:
			return &p.memberships[i]
		case oldest == nil || m.StartDate < oldest.StartDate:
			oldest = &p.memberships[i]
		}
	}
	if p.hadPrimary() {
		return oldest
	}
	return nil
}

// hadPrimary reports whether a primary membership lasted for a day at least.
func (p *person) hadPrimary() bool {
	return slices.ContainsFunc(p.memberships, func(m annona.Membership) bool {
		return !m.NotPrimary && (m.EndDate == "" || m.StartDate < m.EndDate)
	})
}

// willHavePrimary reports whether a primary membership is yet to begin: another one from today on would take
// that away from it, where as_of shows it.
func (p *person) willHavePrimary() bool {
	return slices.ContainsFunc(p.memberships, func(m annona.Membership) bool {
		return !m.NotPrimary && m.StartDate > lawToday && (m.EndDate == "" || m.StartDate < m.EndDate)
	})
}

// keepStarts lets memberships that go on start when they did before: a report without a start leaves it as
// it stands on file.
func (w *world) keepStarts(before *world) {
	for _, p := range w.people {
		was := slices.IndexFunc(before.people, func(o *person) bool { return o.key == p.key })
		if was < 0 {
			continue
		}
		for i := range p.memberships {
			m := &p.memberships[i]
			old := slices.IndexFunc(before.people[was].memberships, func(o annona.Membership) bool {
				return o.HouseholdKey == m.HouseholdKey && (o.EndDate == "" || o.EndDate > lawToday)
			})
			if old >= 0 && m.StartDate == "" {
				m.StartDate = before.people[was].memberships[old].StartDate
			}
		}
	}
}

// handsOver reports whether somebody's primary membership passes to another one when a world becomes w:
// which one it is depends on what came before, and such a change is no secret.
func (w *world) handsOver(before *world) bool {
	return slices.ContainsFunc(w.people, func(p *person) bool {
		active := func(m annona.Membership) bool { return activeOn(m, lawToday) }
		named := func(m annona.Membership) bool { return active(m) && !m.NotPrimary }
		if !slices.ContainsFunc(p.memberships, active) || slices.ContainsFunc(p.memberships, named) {
			return false
		}
		was := slices.IndexFunc(before.people, func(o *person) bool { return o.key == p.key })
		return was >= 0 && !slices.Equal(before.people[was].memberships, p.memberships) && (p.hadPrimary() || before.people[was].hadPrimary())
	})
}

// rowOf is a person or a household as a condition of an agreement looks at it: as it is.
type rowOf struct {
	s       sight
	home    *home
	person  *person
	through *annona.Membership // through which the person is seen
}

func (r rowOf) Value(p annona.Path) (text string, present bool) {
	switch {
	case p.Root == annona.RootHead:
		heads := slices.DeleteFunc(r.s.members(r.home), func(m rowOf) bool { return m.through.Role != "head" })
		if len(heads) != 1 {
			return "", false
		}
		return heads[0].Value(annona.Path{Root: annona.RootMember, Field: p.Field})
	case p.Field.Dataset == "households":
		text = r.homeValue(p.Field)
	case p.Field.Code == "quality_flags":
		text = codesOf(r.person.flags)
	case p.Field.Derived:
		text = r.lineValue(p.Field.Code)
	default:
		text = r.person.values[p.Field.Code]
	}
	return text, text != ""
}

func (r rowOf) homeValue(f *annona.Field) string {
	h := r.home
	if h == nil && r.through != nil {
		h = r.s.w.home(r.through.HouseholdKey)
	}
	switch {
	case h == nil:
		return ""
	case f.Code == "quality_flags":
		return codesOf(h.flags)
	case f.Code == "member_count":
		return string(rune('0' + len(r.s.members(h))))
	}
	return h.values[f.Code]
}

func (r rowOf) lineValue(code string) string {
	primary := r.person.primary()
	switch {
	case code == "area_code" && primary != nil:
		return r.s.w.home(primary.HouseholdKey).values["area_code"]
	case code == "role" && r.through != nil:
		return r.through.Role
	case code == "relationship_to_head" && r.through != nil:
		return r.through.RelationshipToHead
	}
	return ""
}

func (r rowOf) Members(yield func(filter.Row) bool) {
	for _, m := range r.s.members(r.home) {
		if !yield(m) {
			return
		}
	}
}

func (r rowOf) Within(p annona.Path, area string) bool {
	code, _ := r.Value(p)
	return code == area || strings.HasPrefix(code, area+"-")
}

func codesOf(flags []flag) string {
	var codes []string
	for _, f := range flags {
		codes = append(codes, f.code)
	}
	return joined(codes)
}
