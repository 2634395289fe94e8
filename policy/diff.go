package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Change is something that one policy allows and another one does not, in the terms of a rule. Lists
// that are empty stand for all.
type Change struct {
	Role     string
	Verbs    []annona.Verb
	Purposes []string
	Dataset  string   // empty: every one
	Fields   []string // of the dataset, with their treatment as date_of_birth:year
	Rows     string   // filter; empty: every row
	When     string   // filter on the request; empty: always
	From     annona.Date
	Until    annona.Date
	// Kind says how it comes that this is allowed. What a rule denied or limited before is allowed as far
	// as the role's other rules allow it.
	Kind ChangeKind
	// Of a limit that is gone: rows of one answer, 0 none; how a person must have signed in; whether a second person
	// looked at each request.
	Ceiling      int64
	StepUp       annona.Demand
	SecondPerson bool
}

// ChangeKind is a way in which a policy widens.
type ChangeKind int

// The ways.
const (
	NewlyAllowed ChangeKind = iota
	NoMoreDenied
	NoMoreLimited
)

// Widened returns what a policy would newly allow against the one before, role by role. A role whose
// name is new is new with all that it allows. What it lists may be allowed already by rules that
// overlap: it never leaves out what is new.
func Widened(before, after *Roles) []Change {
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(after.roles)) {
		changes = append(changes, newlyIn(after, after.roles[name], before, before.roles[name])...)
	}
	return changes
}

// Widened returns what a client would newly be allowed that is given another role of the policy than the one
// that it has. A role that the policy does not have allowed nothing. Empty: annona.RolePartner.
func (p *Roles) Widened(has, gets string) []Change {
	is := p.roles[cmp.Or(gets, annona.RolePartner)]
	if is == nil {
		return nil // and allows nothing
	}
	return newlyIn(p, is, p, p.roles[cmp.Or(has, annona.RolePartner)])
}

// newlyIn returns what a role of one policy allows that another role of another one does not; nil: there was none.
func newlyIn(after *Roles, is *role, before *Roles, was *role) (changes []Change) {
	if was == nil {
		was = &role{Role: &annona.Role{Name: is.Name}}
	}
	changes = append(changes, gather(is.Name, uncovered(is.claims(after, NewlyAllowed), was.claims(before, NewlyAllowed)), NewlyAllowed)...)
	changes = append(changes, gather(is.Name, uncovered(was.claims(before, NoMoreDenied), is.claims(after, NoMoreDenied)), NoMoreDenied)...)
	return append(changes, gather(is.Name, uncovered(was.claims(before, NoMoreLimited), is.claims(after, NoMoreLimited)), NoMoreLimited)...)
}

// claim is the smallest part of what a rule says: one verb, one purpose, one field. Empty parts stand
// for all.
type claim struct {
	verb        annona.Verb
	purpose     string
	dataset     string
	field       string // with its treatment
	rows, when  string
	networks    string // all that when can name, if it does
	from, until annona.Date
	ceiling     int64
	stepUp      annona.Demand
	second      bool // each request waits for a second person
}

// claims takes apart the rules of a role that allow, those that deny, or those that limit.
func (r *role) claims(in *Roles, kind ChangeKind) (all []claim) {
	for i := range r.rules {
		a := &r.rules[i]
		limits := a.RowCeiling > 0 || a.demand != annona.Demand{} || a.SecondPerson
		if a.Deny != (kind == NoMoreDenied) || kind == NoMoreLimited && !limits {
			continue
		}
		about := claim{when: a.When, networks: in.networksNamed(a.when), from: a.ValidFrom, until: a.ValidUntil}
		if kind == NoMoreLimited {
			about.ceiling, about.stepUp, about.second = a.RowCeiling, a.demand, a.SecondPerson
		}
		for _, verb := range orAll(a.Verbs) {
			for _, purpose := range orAll(a.Purposes) {
				about.verb, about.purpose = verb, purpose
				all = append(all, a.claims(about)...)
			}
		}
	}
	return all
}

// networksNamed writes down the networks of a policy when a condition names one: what it means depends
// on all of them.
func (p *Roles) networksNamed(c annona.Condition) string {
	for path := range filter.Paths(c) {
		if path.Field.Code == "network" {
			return fmt.Sprint(p.networks)
		}
	}
	return ""
}

func orAll[T comparable](list []T) []T {
	if len(list) == 0 {
		var every T
		return []T{every}
	}
	return list
}

func (a *rule) claims(about claim) (all []claim) {
	if a.datasets == nil {
		return []claim{about}
	}
	for dataset, p := range a.datasets {
		about.dataset, about.rows = dataset, a.Datasets[dataset].Condition
		if p.whole {
			about.field = ""
			all = append(all, about)
			continue
		}
		for _, g := range p.fields {
			about.field = g.Field.Code
			if g.Treatment != annona.TreatPass {
				about.field += ":" + string(g.Treatment)
			}
			if g.Treatment == annona.TreatBand {
				about.field += fmt.Sprint("/", g.Band)
			}
			all = append(all, about)
		}
	}
	return all
}

// uncovered returns those claims that none of the others covers.
func uncovered(claims, others []claim) []claim {
	known := map[claim]bool{}
	for _, o := range others {
		known[o] = true
	}
	return slices.DeleteFunc(claims, func(c claim) bool {
		return known[c] || slices.ContainsFunc(others, func(o claim) bool { return o.covers(c) })
	})
}

// covers reports whether c says nothing that o does not say.
func (o claim) covers(c claim) bool {
	name, _, _ := strings.Cut(c.field, ":")
	return (o.verb == "" || o.verb == c.verb) && (o.purpose == "" || o.purpose == c.purpose) &&
		(o.dataset == "" || o.dataset == c.dataset && (o.field == "" || o.field == c.field || o.field == name)) &&
		(o.rows == "" || o.rows == c.rows) && (o.when == "" || o.when == c.when && o.networks == c.networks) && (c.ceiling == 0 || o.ceiling != 0 && o.ceiling <= c.ceiling) && o.stepUp.And(c.stepUp) == o.stepUp && (o.second || !c.second) &&
		o.from <= c.from && (o.until == "" || c.until != "" && c.until <= o.until)
}

// gather puts claims together that differ in their verb, their purpose or their field only.
func gather(role string, claims []claim, kind ChangeKind) (changes []Change) {
	type rest struct {
		dataset, rows, when string
		from, until         annona.Date
		ceiling             int64
		stepUp              annona.Demand
		second              bool
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.dataset, b.dataset), cmp.Compare(a.rows, b.rows), cmp.Compare(a.when, b.when), cmp.Compare(a.from, b.from), cmp.Compare(a.until, b.until), cmp.Compare(a.ceiling, b.ceiling),
			cmp.Compare(a.verb, b.verb), cmp.Compare(a.purpose, b.purpose), cmp.Compare(a.field, b.field))
	})
	type heading struct {
		rest
		verb    annona.Verb
		purpose string
	}
	var order []heading
	fields := map[heading][]string{}
	for _, c := range claims {
		h := heading{rest{c.dataset, c.rows, c.when, c.from, c.until, c.ceiling, c.stepUp, c.second}, c.verb, c.purpose}
		if fields[h] == nil {
			order = append(order, h)
			fields[h] = []string{}
		}
		if c.field != "" {
			fields[h] = append(fields[h], c.field)
		}
	}
	for _, h := range order {
		next := Change{Role: role, Dataset: h.dataset, Fields: fields[h], Rows: h.rows, When: h.when, From: h.from, Until: h.until, Ceiling: h.ceiling, StepUp: h.stepUp, SecondPerson: h.second, Kind: kind}
		if h.purpose != "" {
			next.Purposes = []string{h.purpose}
		}
		if h.verb != "" {
			next.Verbs = []annona.Verb{h.verb}
		}
		if i := slices.IndexFunc(changes, next.sameButVerbs); i >= 0 {
			changes[i].Verbs = append(changes[i].Verbs, next.Verbs...)
			continue
		}
		changes = append(changes, next)
	}
	return changes
}

func (c Change) sameButVerbs(o Change) bool {
	return len(c.Verbs) > 0 && len(o.Verbs) > 0 && c.Dataset == o.Dataset && c.Rows == o.Rows && c.When == o.When && c.From == o.From && c.Until == o.Until && c.Ceiling == o.Ceiling && c.StepUp == o.StepUp && c.SecondPerson == o.SecondPerson &&
		slices.Equal(c.Purposes, o.Purposes) && slices.Equal(c.Fields, o.Fields)
}

// String says a change in plain words.
func (c Change) String() string {
	var b strings.Builder
	list := func(all string, names []string) string {
		if len(names) == 0 {
			return all
		}
		return strings.Join(names, ", ")
	}
	verbs := make([]string, len(c.Verbs))
	for i, v := range c.Verbs {
		verbs[i] = string(v)
	}
	does := [...]string{" may newly ", " is no more denied to ", " is no more limited where it may "}[c.Kind]
	fmt.Fprintf(&b, "%s%s%s", c.Role, does, list("do everything with", verbs))
	switch {
	case c.Dataset == "":
		b.WriteString(" all that its agreement grants")
	case len(c.Fields) == 0:
		fmt.Fprintf(&b, " %s, all that its agreement grants of them", c.Dataset)
	default:
		fmt.Fprintf(&b, " %s (%s)", c.Dataset, strings.Join(c.Fields, ", "))
	}
	if c.Rows != "" {
		fmt.Fprintf(&b, ", where %s", c.Rows)
	}
	fmt.Fprintf(&b, ", for %s", list("every purpose", c.Purposes))
	if c.When != "" {
		fmt.Fprintf(&b, ", when %s", c.When)
	}
	if c.From != "" {
		fmt.Fprintf(&b, ", from %s", c.From)
	}
	if c.Until != "" {
		fmt.Fprintf(&b, ", until %s", c.Until)
	}
	if c.Ceiling > 0 {
		fmt.Fprintf(&b, ": to at most %d rows of one answer", c.Ceiling)
	}
	if c.StepUp.Assurance > annona.AssuranceNone {
		fmt.Fprintf(&b, ": by a sign-in (%s)", c.StepUp.Assurance)
	}
	if c.StepUp.MaxAge > 0 {
		fmt.Fprintf(&b, " of the last %d minutes", int(c.StepUp.MaxAge.Minutes()))
	}
	if c.SecondPerson {
		b.WriteString(": with a second person who approves each request")
	}
	return b.String()
}
