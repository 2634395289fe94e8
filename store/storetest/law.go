package storetest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
	"github.com/annona-exchange/annona/filter/filtertest"
)

// testLaw holds the store to package filter: over random registries, for random conditions
// and terms, it gives exactly the rows for which filter.Eval holds and who are visible.
func testLaw(t *testing.T, r *registry) {
	r.update(func(tx annona.Tx) error { return tx.PutAreas(r.ctx, filtertest.Areas()) })
	individuals, households := filtertest.Condition(r.dictionary, r.individuals), filtertest.Condition(r.dictionary, r.households)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		w := drawWorld(rt, r, round)
		for range 4 {
			ts := drawTerms(rt)
			people := individuals.Draw(rt, "people")
			rows := households.Draw(rt, "rows")
			w.compare(rt, annona.NewScope(r.shape(r.individuals, "sex"), people, people, ts), w.individualsSeen(people, ts))
			w.compare(rt, annona.NewScope(r.shape(r.households, "member_count"), rows, people, ts), w.householdsSeen(rows, people, ts))
			w.compare(rt, annona.NewScope(r.shape(r.households, "member_count"), rows, nil, ts), w.householdsSeen(rows, nil, ts))
		}
	})
}

// world is a registry in memory, the same that the store has been given.
type world struct {
	r          *registry
	households []*thing
	people     []*thing
	first      [2]annona.Number // numbers before the world's own: households, individuals
}

// thing is a household or an individual of a world.
type thing struct {
	number      annona.Number
	values      values
	memberships []belonging // of an individual
	restricted  annona.RestrictionKind
	consented   bool
}

type belonging struct {
	household *thing
	annona.Membership
}

func drawWorld(rt *rapid.T, r *registry, round int) *world {
	w := &world{r: r}
	var former, records []annona.StoredRecord
	for d, dataset := range []*annona.Dataset{r.households, r.individuals} {
		last, err := r.LastNumber(r.ctx, dataset)
		if err != nil {
			rt.Fatal(err)
		}
		w.first[d] = last
	}
	key := func(noun string, i int) string { return fmt.Sprintf("%s %d of %d", noun, i, round) }
	for i := range rapid.IntRange(1, 4).Draw(rt, "households") {
		h := &thing{number: w.first[0] + annona.Number(i+1), values: drawValues(rt, r, r.households)}
		w.households = append(w.households, h)
		records = append(records, r.household(key("household", i), h.values))
		former = append(former, r.household(key("household", i), drawValues(rt, r, r.households)))
	}
	for i := range rapid.IntRange(0, 6).Draw(rt, "people") {
		p := &thing{number: w.first[1] + annona.Number(i+1), values: drawValues(rt, r, r.individuals)}
		p.restricted = rapid.SampledFrom([]annona.RestrictionKind{"", "", "", annona.KindRestriction, annona.KindObjection}).Draw(rt, "restricted")
		p.consented = rapid.Bool().Draw(rt, "consented")
		var memberships []annona.Membership
		for range rapid.IntRange(0, 2).Draw(rt, "memberships") {
			at := rapid.IntRange(0, len(w.households)-1).Draw(rt, "of")
			if slices.ContainsFunc(p.memberships, func(b belonging) bool { return b.household == w.households[at] }) {
				continue
			}
			m := drawMembership(rt)
			m.HouseholdKey = key("household", at)
			memberships = append(memberships, m)
			p.memberships = append(p.memberships, belonging{w.households[at], m})
		}
		w.people = append(w.people, p)
		records = append(records, r.person(key("person", i), p.values, memberships...))
		m := drawMembership(rt)
		m.HouseholdKey = key("household", 0)
		former = append(former, r.person(key("person", i), values{}, m))
	}
	if rapid.Bool().Draw(rt, "changed since") {
		w.store(rt, former)
	}
	w.store(rt, records)
	return w
}

// store gives the world to the store.
func (w *world) store(rt *rapid.T, records []annona.StoredRecord) {
	r := w.r
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		if _, err := tx.Upsert(r.ctx, "tester", records); err != nil {
			return err
		}
		for _, p := range w.people { // saying the same twice changes nothing
			if err := w.storeRights(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func (w *world) storeRights(tx annona.Tx, p *thing) error {
	if p.restricted != "" {
		x := annona.Restriction{ID: annona.NewUID(), Subject: p.number, Kind: p.restricted}
		if err := tx.PutRestriction(w.r.ctx, x); err != nil {
			return err
		}
	}
	if !p.consented {
		return nil
	}
	return tx.PutConsent(w.r.ctx, annona.Consent{ID: annona.NewUID(), Subject: p.number, Status: "given", EffectiveDate: "2000-01-01",
		Purposes: []string{terms().Purpose}, Recipients: []string{terms().Recipient}})
}

// drawValues draws values of all fields that a condition can name and a source reports.
func drawValues(rt *rapid.T, r *registry, d *annona.Dataset) values {
	v := values{}
	for _, f := range d.Fields {
		pool := filtertest.Values(r.dictionary, f)
		if f.Derived || len(pool) == 0 || f.Filter != annona.FilterRange && f.Type != annona.TypeGroup {
			continue
		}
		text := rapid.SampledFrom(append([]string{""}, pool...)).Draw(rt, f.Code)
		if text != "" && (f.Many || f.Type == annona.TypeGroup) && rapid.Bool().Draw(rt, "two") {
			text += string(rune(annona.ListSeparator)) + pool[0]
		}
		v[f.Code] = text
	}
	return v
}

func drawMembership(rt *rapid.T) annona.Membership {
	date := rapid.SampledFrom([]annona.Date{"", "", "", Today, Today.AddDays(1)})
	return annona.Membership{
		Role:               rapid.SampledFrom([]string{"", "head", "spouse", "child"}).Draw(rt, "role"),
		RelationshipToHead: rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(rt, "relationship"),
		NotPrimary:         rapid.Bool().Draw(rt, "not primary"),
		StartDate:          date.Draw(rt, "start"),
		EndDate:            date.Draw(rt, "end"),
	}
}

func drawTerms(rt *rapid.T) annona.ScopeTerms {
	ts := terms()
	ts.Basis = rapid.SampledFrom([]annona.Basis{annona.BasisPublicInterest, annona.BasisConsent}).Draw(rt, "basis")
	ts.Unbounded = rapid.IntRange(0, 4).Draw(rt, "unbounded") == 0
	return ts
}

// compare reads the scope from the store, in the range of this world.
func (w *world) compare(rt *rapid.T, scope annona.Scope, want []annona.Number) {
	first := w.first[0]
	if scope.Dataset().Name == "individuals" {
		first = w.first[1]
	}
	page := annona.NewPage(scope.Shape())
	if _, err := w.r.ReadPage(w.r.ctx, scope, first, 0, 1000, page); err != nil {
		rt.Fatalf("%s: %v", format(w.r, scope), err)
	}
	if !slices.Equal(page.Numbers, want) {
		rt.Fatalf("%s %s (people: %s; %+v): the store says %v, package filter %v",
			scope.Dataset().Name, format(w.r, scope), text(w.r.individuals, scope.People()), scope.Terms(), page.Numbers, want)
	}
}

func format(r *registry, scope annona.Scope) string { return text(scope.Dataset(), scope.Rows()) }

func text(d *annona.Dataset, c annona.Condition) string { return fmt.Sprintf("%+v", c) }

// allowed is what an individual has said.
func (p *thing) allowed(ts annona.ScopeTerms) bool {
	consent := ts.Basis == annona.BasisConsent
	switch {
	case ts.Unbounded:
		return true
	case p.restricted == annona.KindRestriction, p.restricted == annona.KindObjection && !consent:
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

func (w *world) individualsSeen(c annona.Condition, ts annona.ScopeTerms) (seen []annona.Number) {
	for _, p := range w.people {
		if p.allowed(ts) && w.holds(c, p, ts, 0) {
			seen = append(seen, p.number)
		}
	}
	return seen
}

func (w *world) householdsSeen(rows, people annona.Condition, ts annona.ScopeTerms) (seen []annona.Number) {
	visible := func(p *thing) bool { return p.allowed(ts) && w.holds(people, p, ts, 1) }
	for _, h := range w.households {
		empty := len(w.membersOf(h, func(*thing) bool { return true })) == 0
		consent := ts.Basis == annona.BasisConsent && !ts.Unbounded
		if len(w.membersOf(h, visible)) == 0 && (!empty || consent) {
			continue
		}
		if filter.Eval(rows, row{w: w, household: h, visible: visible}, Today) {
			seen = append(seen, h.number)
		}
	}
	return seen
}

// holds reports whether a condition about people holds. Inside a condition about people,
// members are counted without that condition.
func (w *world) holds(c annona.Condition, p *thing, ts annona.ScopeTerms, depth int) bool {
	visible := func(p *thing) bool { return p.allowed(ts) && (depth > 0 || w.holds(c, p, ts, depth+1)) }
	return filter.Eval(c, row{w: w, individual: p, through: p.primary(), visible: visible}, Today)
}

// row is a filter.Row over a world.
type row struct {
	w          *world
	household  *thing     // of a condition on households
	individual *thing     // of a condition on individuals, or of a member
	through    *belonging // the membership through which the individual is seen
	visible    func(*thing) bool
}

func (r row) Value(p annona.Path) (string, bool) {
	switch {
	case p.Root == annona.RootHead:
		heads := slices.DeleteFunc(r.w.membersOf(r.household, r.visible), func(m row) bool { return m.through.Role != "head" })
		if len(heads) != 1 {
			return "", false
		}
		return heads[0].Value(annona.Path{Root: annona.RootMember, Field: p.Field})
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
	if h == nil && r.through != nil {
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
	case code == "area_code" && primary != nil:
		text = primary.household.values["area_code"]
	case code == "role" && r.through != nil:
		text = r.through.Role
	case code == "relationship_to_head" && r.through != nil:
		text = r.through.RelationshipToHead
	}
	return text, text != ""
}

func (r row) Members(yield func(filter.Row) bool) {
	for _, m := range r.w.membersOf(r.household, r.visible) {
		if !yield(m) {
			return
		}
	}
}

func (r row) Within(code, area string) bool {
	return code == area || strings.HasPrefix(code, area+"-")
}
