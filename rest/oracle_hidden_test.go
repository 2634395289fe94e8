package rest

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// hidden returns somebody who may not be seen; nil when there is nobody.
func (c *change) hidden() *person {
	hidden := slices.DeleteFunc(slices.Clone(c.w.people), c.s.person)
	if len(hidden) == 0 {
		return nil
	}
	return even(hidden).Draw(c.T, "hidden person")
}

func (c *change) hiddenHome() *home {
	hidden := slices.DeleteFunc(slices.Clone(c.w.homes), c.s.home)
	if len(hidden) == 0 {
		return nil
	}
	return even(hidden).Draw(c.T, "hidden home")
}

func (c *change) editPerson() {
	if p := c.hidden(); p != nil {
		restricted := p.restricted
		*p = *drawPerson(c.T, p.key, c.w)
		p.restricted = restricted
	}
}

// addPerson adds somebody hidden, perhaps related to others, wherever in the order.
func (c *change) addPerson() {
	p := drawPerson(c.T, fmt.Sprintf("x%d", len(c.w.people)), c.w)
	if evenInt(0, 3).Draw(c.T, "restricted too") > 0 {
		p.restricted = annona.KindRestriction
	}
	for _, o := range c.w.people {
		if evenInt(0, 3).Draw(c.T, "related") == 0 {
			o.relationships = append(o.relationships, annona.Relationship{ToKey: p.key, Type: "caregiver"})
		}
	}
	at := evenInt(0, len(c.w.people)).Draw(c.T, "place")
	c.w.people = slices.Insert(c.w.people, at, p)
}

func (c *change) removePerson() {
	p := c.hidden()
	if p == nil {
		return
	}
	c.w.people = slices.DeleteFunc(c.w.people, func(o *person) bool { return o == p })
	if rapid.Bool().Draw(c.T, "dangling") {
		return
	}
	for _, o := range c.w.people {
		o.relationships = slices.DeleteFunc(o.relationships, func(r annona.Relationship) bool { return r.ToKey == p.key })
	}
}

func (c *change) editHome() {
	if h := c.hiddenHome(); h != nil {
		*h = *drawHome(c.T, h.key)
	}
}

// addHome adds a household that is hidden, perhaps with members who are not.
func (c *change) addHome() {
	h := drawHome(c.T, fmt.Sprintf("y%d", len(c.w.homes)))
	c.w.homes = slices.Insert(c.w.homes, evenInt(0, len(c.w.homes)).Draw(c.T, "place"), h)
	for _, p := range c.w.people {
		if evenInt(0, 3).Draw(c.T, "member") > 0 {
			continue
		}
		m := drawMembership(c.T, h.key)
		m.NotPrimary = p.primary() != nil || p.willHavePrimary() || rapid.Bool().Draw(c.T, "not primary")
		m.StartDate, m.EndDate = "", ""
		p.memberships = slices.Insert(p.memberships, evenInt(0, len(p.memberships)).Draw(c.T, "rank"), m)
	}
}

func (c *change) removeHome() {
	h := c.hiddenHome()
	if h == nil || len(c.w.homes) == 1 {
		return
	}
	c.w.homes = slices.DeleteFunc(c.w.homes, func(o *home) bool { return o == h })
	for _, p := range c.w.people {
		p.memberships = slices.DeleteFunc(p.memberships, func(m annona.Membership) bool { return m.HouseholdKey == h.key })
	}
}

// reorder puts a hidden person and a hidden household somewhere else in the order in which
// they come on file.
func (c *change) reorder() {
	if p := c.hidden(); p != nil {
		c.w.people = slices.DeleteFunc(c.w.people, func(o *person) bool { return o == p })
		c.w.people = slices.Insert(c.w.people, evenInt(0, len(c.w.people)).Draw(c.T, "place"), p)
	}
	if h := c.hiddenHome(); h != nil {
		c.w.homes = slices.DeleteFunc(c.w.homes, func(o *home) bool { return o == h })
		c.w.homes = slices.Insert(c.w.homes, evenInt(0, len(c.w.homes)).Draw(c.T, "place"), h)
	}
}
