package rest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// drawOther returns another world that differs from w only in what a caller under these terms
// may not see, and what was changed.
func drawOther(rt *rapid.T, w *world, t lawTerms) (*world, []string) {
	first, seen := w, sightOf(w, t).seen()
	var changes []string
	for range evenInt(1, 4).Draw(rt, "changes") {
		names := secretNames
		if t.focus.changes != nil && rapid.Bool().Draw(rt, "focused") {
			names = t.focus.changes
		}
		name := even(names).Draw(rt, "change")
		other := w.clone()
		secrets[name](&change{T: rt, w: other, t: t, s: sightOf(other, t)})
		other.keepStarts(first)
		if slices.Equal(sightOf(other, t).seen(), seen) && !other.handsOver(w) { // otherwise it was no secret
			w, changes = other, append(changes, name)
		}
	}
	return w, changes
}

func sightOf(w *world, t lawTerms) sight {
	return sight{w: w, grant: t.grant, purpose: t.agreement.Purposes[0]}
}

// change is one change of a world that a caller must not notice.
type change struct {
	*rapid.T
	w *world
	t lawTerms
	s sight
}

var secrets = map[string]func(*change){
	"a withheld value":              (*change).withheldValue,
	"what a treatment hides":        (*change).alteredValue,
	"withheld identifiers or flags": (*change).withheldGroup,
	"a flag about what is withheld": (*change).withheldFlag,
	"a withheld part of a role":     (*change).withheldRole,
	"withheld memberships":          (*change).withheldLink,
	"a hidden person, edited":       (*change).editPerson,
	"a hidden person, added":        (*change).addPerson,
	"a hidden person, removed":      (*change).removePerson,
	"a hidden household, edited":    (*change).editHome,
	"a hidden household, added":     (*change).addHome,
	"a hidden household, removed":   (*change).removeHome,
	"the order of the hidden":       (*change).reorder,
	"what was said to others":       (*change).sayElsewhere,
}

var secretNames = slices.Sorted(maps.Keys(secrets))

// values returns the values of any record of a dataset.
func (c *change) values(dataset string) map[string]string {
	if dataset == "households" {
		return even(c.w.homes).Draw(c.T, "home").values
	}
	if len(c.w.people) == 0 {
		return map[string]string{}
	}
	return even(c.w.people).Draw(c.T, "person").values
}

func (c *change) dataset() *annona.Dataset {
	d, _ := annona.Standard().Dataset(even([]string{"households", "individuals"}).Draw(c.T, "dataset"))
	return d
}

func (c *change) withheldValue() {
	d := c.dataset()
	withheld := slices.DeleteFunc(reportedColumns(d), func(f *annona.Field) bool {
		return c.t.grants(d.Name, f.Code) || c.t.names(d.Name, f.Code) || f.Code == "area_code" // which people show too
	})
	if len(withheld) == 0 {
		return
	}
	f := even(withheld).Draw(c.T, "column")
	values := c.values(d.Name)
	if values[f.Code] != "" && rapid.Bool().Draw(c.T, "absent") {
		delete(values, f.Code)
		return
	}
	values[f.Code] = drawValue(c.T, f)
}

// alteredValue changes a value within what the agreement's treatment makes of it.
func (c *change) alteredValue() {
	d := c.dataset()
	values := c.values(d.Name)
	for _, g := range c.t.grant.Fields[d.Name] {
		text := values[g.Field.Code]
		if text == "" || c.t.names(d.Name, g.Field.Code) {
			continue
		}
		switch g.Treatment {
		case annona.TreatYear:
			values[g.Field.Code] = text[:5] + even([]string{"01-01", "07-15", "12-31"}).Draw(c.T, "day")
		case annona.TreatMonth:
			values[g.Field.Code] = text[:8] + even([]string{"01", "15", "28"}).Draw(c.T, "day")
		case annona.TreatMask:
			values[g.Field.Code] = even([]string{"a", "b c", "12345678"}).Draw(c.T, "masked")
			if runes := []rune(text); len(runes) > 8 {
				values[g.Field.Code] = "somebody else's " + string(runes[len(runes)-4:])
			}
		case annona.TreatBand:
			if !strings.HasPrefix(text, "-") {
				scaled, _ := annona.ParseDecimal(text, 0)
				if whole, _, point := strings.Cut(text, "."); point {
					scaled, _ = annona.ParseDecimal(whole, 0)
				}
				values[g.Field.Code] = fmt.Sprint(scaled-scaled%g.Band) + even([]string{"", ".5", ".0001"}).Draw(c.T, "within the band")
			}
		}
	}
}

// withheldGroup redraws identifiers and flags of somebody, as far as they are withheld.
func (c *change) withheldGroup() {
	d := c.dataset()
	if d.Name == "households" {
		h := even(c.w.homes).Draw(c.T, "home")
		c.withheldCards(d, &h.identifiers)
		c.withheldFlags(d, &h.flags)
	} else if len(c.w.people) > 0 {
		p := even(c.w.people).Draw(c.T, "person")
		c.withheldCards(d, &p.identifiers)
		c.withheldFlags(d, &p.flags)
	}
}

func (c *change) withheldCards(d *annona.Dataset, cards *[]card) {
	if !c.t.grants(d.Name, "identifiers") {
		*cards = drawDocuments(c.T)
		return
	}
	for i := range *cards {
		if !c.t.grants("identifiers", "issuer") {
			(*cards)[i].issuer = even([]string{"", "office", "embassy"}).Draw(c.T, "issuer")
		}
	}
}

// withheldFlags: without the field that they are about, no flags are shown.
func (c *change) withheldFlags(d *annona.Dataset, flags *[]flag) {
	switch {
	case c.t.names(d.Name, "quality_flags"):
	case !c.t.grants(d.Name, "quality_flags") || !c.t.grants("quality_flags", "field"):
		*flags = drawFlags(c.T)
	case !c.t.grants("quality_flags", "code"):
		for i := range *flags {
			(*flags)[i].code = even([]string{"no_head", "value_malformed"}).Draw(c.T, "code")
		}
	}
}

// withheldFlag raises or drops a flag about a field that is withheld or altered.
func (c *change) withheldFlag() {
	d := c.dataset()
	about := even(fieldCodes(d)).Draw(c.T, "about")
	if c.t.grant.Passes(d, about) || c.t.names(d.Name, "quality_flags") {
		return
	}
	toggle := func(flags []flag) []flag {
		if rapid.Bool().Draw(c.T, "raised") {
			code := even([]string{"code_unmapped", "value_malformed", "date_of_birth_estimated"}).Draw(c.T, "flag")
			return append(flags, flag{code, about})
		}
		return slices.DeleteFunc(flags, func(f flag) bool { return f.about == about })
	}
	if d.Name == "households" {
		h := even(c.w.homes).Draw(c.T, "home")
		h.flags = toggle(h.flags)
	} else if len(c.w.people) > 0 {
		p := even(c.w.people).Draw(c.T, "person")
		p.flags = toggle(p.flags)
	}
}

// withheldRole redraws what a membership says, as far as nothing of it is granted anywhere.
func (c *change) withheldRole() {
	d := annona.Standard()
	withheld := func(code string) bool {
		for s := range d.Datasets() {
			if c.t.grants(s.Name, code) {
				return false
			}
		}
		return !c.t.names("individuals", code)
	}
	for _, p := range c.w.people {
		for i := range p.memberships {
			m, other := &p.memberships[i], drawMembership(c.T, "")
			if withheld("role") && withheld("head_individual_id") {
				m.Role = other.Role
			}
			if withheld("role_source_code") {
				m.RoleSourceCode = other.RoleSourceCode
			}
			if withheld("relationship_to_head") {
				m.RelationshipToHead = other.RelationshipToHead
			}
			if withheld("recipient_type") {
				m.RecipientType = other.RecipientType
			}
		}
	}
}

// withheldLink moves people where no column tells who lives with whom.
func (c *change) withheldLink() {
	for dataset, codes := range map[string][]string{
		"individuals": {"household_id", "role", "role_source_code", "relationship_to_head", "area_code", "memberships"},
		"households":  {"head_individual_id", "member_count", "members"},
	} {
		for _, code := range codes {
			if c.t.grants(dataset, code) {
				return
			}
		}
	}
	for _, p := range c.w.people {
		if rapid.Bool().Draw(c.T, "moves") {
			p.memberships = drawMemberships(c.T, c.w)
		}
	}
}

// sayElsewhere changes rights that do not matter to this purpose and partner.
func (c *change) sayElsewhere() {
	consent := c.t.agreement.Purposes[0].Basis == annona.BasisConsent
	for _, p := range c.w.people {
		switch {
		case rapid.Bool().Draw(c.T, "elsewhere"):
			p.elsewhere = !p.elsewhere
		case !consent:
			p.consented = !p.consented
		case p.restricted == annona.KindObjection:
			p.restricted = ""
		}
	}
}
