package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/filter"
)

// Roles is a policy, checked against the dictionary and compiled once for all decisions under it.
// It is safe for concurrent use.
type Roles struct {
	policy   *annona.Policy
	roles    map[string]*role
	networks []namedNetwork
	roots    []string // root datasets of the dictionary
	narrowed narrowings
}

// role is a role with its rules in the order of the policy.
type role struct {
	*annona.Role
	rules []rule
	asks  Asked // of all its rules
}

// rule is one rule, compiled.
type rule struct {
	*annona.RoleRule
	when     annona.Condition
	asks     Asked // of when
	demand   annona.Demand
	datasets map[string]*portion // nil: every dataset, whole
}

// portion is what a rule says about one dataset.
type portion struct {
	whole  bool                // every field
	fields []annona.FieldGrant // otherwise
	rows   annona.Condition    // nil: every row
}

// Has reports whether the policy has a role; empty: annona.RolePartner.
func (p *Roles) Has(name string) bool { return p.roles[cmp.Or(name, annona.RolePartner)] != nil }

// Allows reports whether some rule of a role allows something on a day.
func (p *Roles) Allows(name string, today annona.Date) bool {
	in := p.roles[cmp.Or(name, annona.RolePartner)]
	return in != nil && slices.ContainsFunc(in.rules, func(a rule) bool {
		return !a.Deny && a.ValidFrom <= today && (a.ValidUntil == "" || today <= a.ValidUntil)
	})
}

// CompilePolicy checks a policy against the dictionary. It refuses what is unknown and what contradicts
// itself. Codes: policy_malformed, role_contradicts, unknown_dataset, unknown_field, condition_misplaced,
// condition_special, and those of filter.Compile.
func CompilePolicy(p *annona.Policy, d *annona.Dictionary) (*Roles, error) {
	compiled := &Roles{policy: p, roles: map[string]*role{}}
	for s := range d.Datasets() {
		if s.Root {
			compiled.roots = append(compiled.roots, s.Name)
		}
	}
	if err := compiled.nameNetworks(); err != nil {
		return nil, err
	}
	about, err := annona.NewDictionary(1, []annona.Dataset{requests}, nil)
	if err != nil {
		return nil, err
	}
	for i := range p.Roles {
		r := &role{Role: &p.Roles[i]}
		if !name.MatchString(r.Name) || compiled.roles[r.Name] != nil {
			return nil, malformed(r.Name, "each role has a name of its own, of lower-case letters, digits and hyphens")
		}
		compiled.roles[r.Name] = r
		for j := range r.Rules {
			if err := r.compile(&p.Roles[i].Rules[j], d, about); err != nil {
				return nil, err
			}
		}
		if err := errors.Join(r.checkContradictions(), r.checkEmergency()); err != nil {
			return nil, err
		}
	}
	if compiled.roles[annona.RolePartner] == nil {
		return nil, malformed("", "the policy has no role %s: every client that names no role would be locked out", annona.RolePartner)
	}
	return compiled, nil
}

// emergencyVerbs are what may be done in an emergency: to read some records, never to export.
var emergencyVerbs = []annona.Verb{annona.VerbGet, annona.VerbLookup, annona.VerbSearch, annona.VerbNameSearch}

// InEmergency reports whether a verb is one of those that an emergency can be about.
func InEmergency(v annona.Verb) bool { return slices.Contains(emergencyVerbs, v) }

// Emergency returns those of some roles that hold in an emergency.
func (p *Roles) Emergency(names []string) (those []string) {
	for _, name := range names {
		if r := p.roles[name]; r != nil && r.Role.Emergency {
			those = append(those, name)
		}
	}
	return those
}

// checkEmergency refuses an emergency role that could be more than reading.
func (r *role) checkEmergency() error {
	if !r.Emergency {
		return nil
	}
	for _, a := range r.rules {
		if !a.Deny && (len(a.Verbs) == 0 || slices.ContainsFunc(a.Verbs, func(v annona.Verb) bool { return !InEmergency(v) })) {
			return malformed(r.Name, "the rule %s is of an emergency: it names its verbs, of get, lookup, search and name_search", a.Name)
		}
	}
	if r.Name == annona.RolePartner {
		return malformed(r.Name, "the role %s is that of clients which name none, it is not for emergencies", r.Name)
	}
	return nil
}

func malformed(role, format string, args ...any) error {
	return annona.Invalid("policy_malformed", "%s", fmt.Sprintf(format, args...)).On(role)
}

func (p *Roles) nameNetworks() error {
	for label, prefixes := range p.policy.Networks {
		if !name.MatchString(label) || len(prefixes) == 0 {
			return malformed("", "a network has a name of lower-case letters, digits and hyphens, and addresses as 192.0.2.0/24")
		}
		for _, prefix := range prefixes {
			if !prefix.IsValid() {
				return malformed("", "the addresses of a network are written as 192.0.2.0/24")
			}
			p.networks = append(p.networks, namedNetwork{label, prefix.Masked()})
		}
	}
	slices.SortFunc(p.networks, func(a, b namedNetwork) int { return cmp.Compare(a.name, b.name) })
	return nil
}

// verbs are those that a rule can name.
var verbs = []annona.Verb{
	annona.VerbGet, annona.VerbLookup, annona.VerbSearch, annona.VerbExport, annona.VerbTryExport, annona.VerbFollow, annona.VerbDisclosures, annona.VerbNameSearch, annona.VerbImport,
	annona.VerbDecideEligibility, annona.VerbReportEnrollments, annona.VerbCheckEnrolled, annona.VerbUpdate, annona.VerbReportLifeEvent, annona.VerbReadUpdates, annona.VerbReview, annona.VerbReadCases, annona.VerbWriteCases, annona.VerbTransferCases,
}

// waiting are the verbs whose requests can wait for a second person: they say beforehand all that leaves, and name
// nobody.
var waiting = []annona.Verb{annona.VerbExport, annona.VerbFollow}

func (r *role) compile(from *annona.RoleRule, d, about *annona.Dictionary) (err error) {
	c := rule{RoleRule: from}
	switch {
	case !name.MatchString(c.Name) || slices.ContainsFunc(r.rules, func(o rule) bool { return o.Name == c.Name }):
		return malformed(r.Name, "each rule has a name of its own within its role, of lower-case letters, digits and hyphens")
	case slices.ContainsFunc(c.Verbs, func(v annona.Verb) bool { return !slices.Contains(verbs, v) }):
		return malformed(r.Name, "the rule %s names something that is no verb", c.Name)
	case slices.ContainsFunc(c.Purposes, func(p string) bool { return !name.MatchString(p) }):
		return malformed(r.Name, "the rule %s names something that is no purpose", c.Name)
	case c.RowCeiling < 0 || c.Deny && c.RowCeiling != 0:
		return malformed(r.Name, "the row ceiling of the rule %s is not negative, and only a rule that allows has one", c.Name)
	}
	if c.SecondPerson && (c.Deny || len(c.Verbs) == 0 || slices.ContainsFunc(c.Verbs, func(v annona.Verb) bool { return !slices.Contains(waiting, v) })) {
		return malformed(r.Name, "the rule %s asks for a second person: it allows, and names its verbs, of export and follow; with no other verb can anybody wait, bound those by step_up and row_ceiling in rules of their own, or deny them", c.Name)
	}
	if err := checkDays(c.ValidFrom, c.ValidUntil); err != nil {
		return malformed(r.Name, "the days of the rule %s are written 2006-01-02, the first one first", c.Name)
	}
	if c.StepUp != nil {
		assurance, known := annona.ParseAssurance(c.StepUp.ACR)
		if !known || c.StepUp.MaxAge < 0 || c.Deny {
			return malformed(r.Name, "the rule %s asks for a sign-in of outside, mfa or phr, at most so many minutes ago, and only a rule that allows does", c.Name)
		}
		c.demand = annona.Demand{Assurance: assurance, MaxAge: time.Duration(c.StepUp.MaxAge) * time.Minute}
	}
	if c.When != "" {
		dataset, _ := about.Dataset(requests.Name)
		if c.when, err = filter.Compile(about, dataset, c.When); err != nil {
			return err
		}
		if c.asks, err = askedBy(c.when); err != nil {
			return malformed(r.Name, "the condition of the rule %s: %s", c.Name, err)
		}
	}
	if len(c.Datasets) > 0 {
		c.datasets = map[string]*portion{}
	}
	for _, dataset := range slices.Sorted(maps.Keys(c.Datasets)) {
		if c.datasets[dataset], err = compilePortion(d, dataset, c.Datasets[dataset], c.Deny); err != nil {
			return err
		}
	}
	r.rules, r.asks = append(r.rules, c), r.asks.and(c.asks)
	return nil
}

func checkDays(days ...annona.Date) error {
	last := annona.Date("")
	for _, day := range days {
		if day == "" {
			continue
		}
		if _, err := annona.ParseDate(string(day)); err != nil || day < last {
			return errDays
		}
		last = day
	}
	return nil
}

var errDays = annona.Invalid("date_malformed", "days are written 2006-01-02")

func compilePortion(d *annona.Dictionary, name string, terms annona.DatasetTerms, deny bool) (*portion, error) {
	dataset, ok := d.Dataset(name)
	if !ok {
		return nil, annona.Invalid("unknown_dataset", "a rule names an unknown dataset").On(name)
	}
	p := &portion{whole: len(terms.Sensitivities)+len(terms.Fields) == 0}
	if p.whole && len(terms.Except)+len(terms.Treatments)+len(terms.Bands) > 0 {
		return nil, annona.Invalid("policy_malformed", "a rule that excepts or treats fields names those that it is about too: by sensitivities, by fields").On(name)
	}
	if !p.whole {
		var err error
		if p.fields, err = resolve(dataset, terms); err != nil {
			return nil, err
		}
	}
	if terms.ValidUntil != "" {
		return nil, annona.Invalid("policy_malformed", "a rule has a valid_until of its own, its datasets have none").On(name)
	}
	if terms.Condition == "" {
		return p, nil
	}
	if !dataset.Root {
		return nil, annona.Invalid("condition_misplaced", "a condition stands with households or individuals").On(name)
	}
	if deny && !p.whole {
		return nil, annona.Invalid("role_contradicts", "a rule that denies names fields or rows of a dataset, not both: an answer has the same columns in every row").On(name)
	}
	condition, err := filter.Compile(d, dataset, terms.Condition)
	p.rows = condition
	return p, err
}

// Hash returns the hash by which a policy is told from every other one, in hexadecimal.
func Hash(p annona.Policy) string {
	p.Version, p.Hash, p.PutAt = 0, "", time.Time{}
	text, _ := json.Marshal(p) // maps are written in order of their keys, and the types always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
