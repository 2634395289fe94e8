package rest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// drawOther returns another world that differs from w only in what a caller under these terms
// may not see, and what was changed.
func drawOther(rt *rapid.T, w *world, t lawTerms) (*world, []string) {
	seen := sightOf(w, t).seen()
	var changes []string
	for range rapid.IntRange(1, 4).Draw(rt, "changes") {
		name := rapid.SampledFrom(secretNames).Draw(rt, "change")
		other := w.clone()
		secrets[name](&change{T: rt, w: other, t: t, s: sightOf(other, t)})
		if slices.Equal(sightOf(other, t).seen(), seen) { // otherwise it was no secret
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

var secretNames = []string{
	"a withheld value", "a withheld value", "what a treatment hides", "withheld identifiers or flags", "a withheld part of a role", "withheld memberships",
	"a hidden person, edited", "a hidden person, added", "a hidden person, added", "a hidden person, removed",
	"a hidden household, edited", "a hidden household, added", "a hidden household, removed", "the order of the hidden", "what was said to others",
}

// values returns the values of any record of a dataset.
func (c *change) values(dataset string) map[string]string {
	if dataset == "households" {
		return rapid.SampledFrom(c.w.homes).Draw(c.T, "home").values
	}
	if len(c.w.people) == 0 {
		return map[string]string{}
	}
	return rapid.SampledFrom(c.w.people).Draw(c.T, "person").values
}

func (c *change) dataset() *annona.Dataset {
	d, _ := annona.Standard().Dataset(rapid.SampledFrom([]string{"households", "individuals"}).Draw(c.T, "dataset"))
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
	f := rapid.SampledFrom(withheld).Draw(c.T, "column")
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
			values[g.Field.Code] = text[:5] + rapid.SampledFrom([]string{"01-01", "07-15", "12-31"}).Draw(c.T, "day")
		case annona.TreatMonth:
			values[g.Field.Code] = text[:8] + rapid.SampledFrom([]string{"01", "15", "28"}).Draw(c.T, "day")
		case annona.TreatMask:
			values[g.Field.Code] = rapid.SampledFrom([]string{"a", "b c", "12345678"}).Draw(c.T, "masked")
			if runes := []rune(text); len(runes) > 8 {
				values[g.Field.Code] = "somebody else's " + string(runes[len(runes)-4:])
			}
		case annona.TreatBand:
			if !strings.HasPrefix(text, "-") {
				scaled, _ := annona.ParseDecimal(text, 0)
				if whole, _, point := strings.Cut(text, "."); point {
					scaled, _ = annona.ParseDecimal(whole, 0)
				}
				values[g.Field.Code] = fmt.Sprint(scaled-scaled%g.Band) + rapid.SampledFrom([]string{"", ".5", ".0001"}).Draw(c.T, "within the band")
			}
		}
	}
}

// withheldGroup redraws identifiers and flags of somebody, as far as they are withheld.
func (c *change) withheldGroup() {
	d := c.dataset()
	documents, flags := !c.t.grants(d.Name, "identifiers"), !c.t.grants(d.Name, "quality_flags") && !c.t.names(d.Name, "quality_flags")
	redraw := func(had *[]card, flagged *[]string) {
		switch {
		case documents:
			*had = drawDocuments(c.T)
		case !c.t.grants("identifiers", "issuer"):
			for i := range *had {
				(*had)[i].issuer = rapid.SampledFrom([]string{"", "office", "embassy"}).Draw(c.T, "issuer")
			}
		}
		if flags {
			*flagged = drawFlags(c.T)
		}
	}
	if d.Name == "households" {
		h := rapid.SampledFrom(c.w.homes).Draw(c.T, "home")
		redraw(&h.identifiers, &h.flags)
	} else if len(c.w.people) > 0 {
		p := rapid.SampledFrom(c.w.people).Draw(c.T, "person")
		redraw(&p.identifiers, &p.flags)
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
