package rest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter/filtertest"
)

// The days of the law. Every call is made today.
const (
	lawToday    annona.Date = filtertest.AsOf
	lawTomorrow annona.Date = "2024-03-02"
)

// world is all that a registry holds about people, in memory.
type world struct {
	homes  []*home
	people []*person
}

// home is a household.
type home struct {
	key         string
	values      map[string]string // by name of the column, companions included
	identifiers []card
	flags       []flag
}

type person struct {
	key           string
	values        map[string]string
	identifiers   []card
	flags         []flag
	memberships   []annona.Membership
	relationships []annona.Relationship
	restricted    annona.RestrictionKind // in all that is done; empty: not at all
	elsewhere     bool                   // restricted, but for another purpose and another partner
	consented     bool
}

// flag is a quality flag; about is the field that it is about, empty for the whole record.
type flag struct{ code, about string }

// card is an identifier on paper.
type card struct{ scheme, value, issuer string }

func (w *world) clone() *world {
	c := &world{}
	for _, h := range w.homes {
		c.homes = append(c.homes, &home{h.key, maps.Clone(h.values), slices.Clone(h.identifiers), slices.Clone(h.flags)})
	}
	for _, p := range w.people {
		o := *p
		o.values, o.identifiers, o.flags = maps.Clone(p.values), slices.Clone(p.identifiers), slices.Clone(p.flags)
		o.memberships, o.relationships = slices.Clone(p.memberships), slices.Clone(p.relationships)
		c.people = append(c.people, &o)
	}
	return c
}

// withRightsOf returns the world with what another one says about everybody's rights: an export as of
// a moment shows what was on file then to whoever may see it now.
func (w *world) withRightsOf(other *world) *world {
	c := w.clone()
	for _, p := range c.people {
		for _, o := range other.people {
			if o.key == p.key {
				p.restricted, p.elsewhere, p.consented = o.restricted, o.elsewhere, o.consented
			}
		}
	}
	return c
}

func (w *world) home(key string) *home {
	i := slices.IndexFunc(w.homes, func(h *home) bool { return h.key == key })
	return w.homes[i]
}

// drawWorld draws a small registry: one to five households and up to eight people.
func drawWorld(rt *rapid.T) *world {
	w := &world{}
	for i := range evenInt(1, 4).Draw(rt, "homes") {
		w.homes = append(w.homes, drawHome(rt, fmt.Sprintf("h%d", i)))
	}
	for i := range evenInt(2, 7).Draw(rt, "people") {
		w.people = append(w.people, drawPerson(rt, fmt.Sprintf("p%d", i), w))
	}
	return w
}

func drawHome(rt *rapid.T, key string) *home {
	return &home{key, drawValues(rt, "households", "area_code", "poverty_score"), drawDocuments(rt), drawFlags(rt)}
}

// drawPerson draws a person who is in none, one or two of the world's households.
func drawPerson(rt *rapid.T, key string, w *world) *person {
	return &person{
		key: key, values: drawValues(rt, "individuals", "sex", "date_of_birth"), identifiers: drawDocuments(rt), flags: drawFlags(rt),
		restricted:  even([]annona.RestrictionKind{"", "", "", "", "", "", annona.KindRestriction, annona.KindObjection}).Draw(rt, "restricted"),
		elsewhere:   evenInt(0, 3).Draw(rt, "elsewhere") == 0,
		consented:   evenInt(0, 4).Draw(rt, "consented") > 0,
		memberships: drawMemberships(rt, w), relationships: drawRelationships(rt),
	}
}

// drawMemberships draws at most one primary membership: that is the rule of the data model.
func drawMemberships(rt *rapid.T, w *world) (out []annona.Membership) {
	for n := range even([]int{0, 1, 1, 1, 1, 2, 2}).Draw(rt, "memberships") {
		m := drawMembership(rt, even(w.homes).Draw(rt, "of").key)
		m.NotPrimary = n > 0 || evenInt(0, 4).Draw(rt, "not primary") == 0
		if !slices.ContainsFunc(out, func(o annona.Membership) bool { return o.HouseholdKey == m.HouseholdKey }) {
			out = append(out, m)
		}
	}
	return out
}

func drawMembership(rt *rapid.T, household string) annona.Membership {
	return annona.Membership{
		HouseholdKey:       household,
		Role:               even([]string{"", "head", "head", "spouse", "child"}).Draw(rt, "role"),
		RoleSourceCode:     even([]string{"", "01", "02"}).Draw(rt, "role source code"),
		RelationshipToHead: even([]string{"", "1", "2", "3"}).Draw(rt, "relationship to head"),
		RecipientType:      even([]string{"", "primary", "secondary"}).Draw(rt, "recipient"),
		StartDate:          even([]annona.Date{"", "", "", "", "2019-02-28", lawToday, lawTomorrow}).Draw(rt, "start"),
		EndDate:            even([]annona.Date{"", "", "", "", "", "", lawToday, lawTomorrow}).Draw(rt, "end"),
	}
}

// drawRelationships draws relationships to people on file and to some who never come.
func drawRelationships(rt *rapid.T) (out []annona.Relationship) {
	for range even([]int{0, 0, 1, 2}).Draw(rt, "relationships") {
		to := fmt.Sprintf("p%d", evenInt(0, 7).Draw(rt, "to"))
		if !slices.ContainsFunc(out, func(o annona.Relationship) bool { return o.ToKey == to }) {
			out = append(out, annona.Relationship{ToKey: to, Type: even([]string{"parent", "spouse"}).Draw(rt, "type")})
		}
	}
	return out
}

var (
	lawSchemes   = []string{"national_id_number", "household_id_number"}
	lawDocuments = []string{"A-1", "A-2", "A-3"}
)

// drawDocuments draws identifiers from so few that they clash.
func drawDocuments(rt *rapid.T) (out []card) {
	for range even([]int{0, 1, 1, 2}).Draw(rt, "identifiers") {
		d := card{
			even(lawSchemes).Draw(rt, "scheme"), even(lawDocuments).Draw(rt, "document"),
			even([]string{"", "office"}).Draw(rt, "issuer"),
		}
		if !slices.ContainsFunc(out, func(o card) bool { return o.scheme == d.scheme && o.value == d.value }) {
			out = append(out, d)
		}
	}
	return out
}

func drawFlags(rt *rapid.T) []flag {
	return even([][]flag{
		nil, nil, {{"no_head", ""}}, {{"id_disputed", "identifiers.value"}, {"survey_stale", ""}}, {{"code_unmapped", "marital_status"}},
	}).Draw(rt, "flags")
}

// drawValues draws values of some columns of a dataset, and nearly always of those named.
func drawValues(rt *rapid.T, dataset string, nearlyAlways ...string) map[string]string {
	d, _ := annona.Standard().Dataset(dataset)
	values := map[string]string{}
	for _, name := range nearlyAlways {
		if f, ok := d.Field(name); ok && evenInt(0, 7).Draw(rt, "absent") > 0 {
			values[name] = drawValue(rt, f)
		}
	}
	for _, f := range rapid.SliceOfNDistinct(even(reportedColumns(d)), 0, 9, (*annona.Field).ImageTag).Draw(rt, "columns") {
		values[f.Code] = drawValue(rt, f)
	}
	return values
}

func drawValue(rt *rapid.T, f *annona.Field) string {
	pool := filtertest.Values(annona.Standard(), f)
	text := even(pool).Draw(rt, f.Code)
	if f.Many && rapid.Bool().Draw(rt, "two") {
		text = joined(slices.Compact([]string{text, pool[0]}))
	}
	return text
}

func joined(values []string) string { return strings.Join(values, string(rune(annona.ListSeparator))) }

// reportedColumns are the single-valued columns that a source reports; not those of a death, which
// ends memberships: whoever sees who lives where sees it, whatever else is withheld.
func reportedColumns(d *annona.Dataset) (columns []*annona.Field) {
	for f := range d.Columns() {
		if !f.Derived && f.Code != "vital_status" && f.Code != "date_of_death" && f.Type != annona.TypeGroup && len(filtertest.Values(annona.Standard(), f)) > 0 {
			columns = append(columns, f)
		}
	}
	return columns
}

// even draws each element as often as any other; the generators of rapid prefer the first ones.
func even[T any](from []T) *rapid.Generator[T] {
	return rapid.Custom(func(t *rapid.T) T { return from[evenInt(0, len(from)-1).Draw(t, "index")] })
}

func evenInt(from, to int) *rapid.Generator[int] {
	return rapid.Custom(func(t *rapid.T) int {
		n := 0
		for range 10 {
			n <<= 1
			if rapid.Bool().Draw(t, "bit") {
				n |= 1
			}
		}
		return from + n%(to-from+1)
	})
}
