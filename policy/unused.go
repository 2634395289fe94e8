package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// Reached is something that a client could do in its role under its agreement.
type Reached struct {
	Verb    annona.Verb
	Purpose string
	Dataset string              // empty: the verb has none
	Fields  map[string][]string // that could be shown, by dataset, without what accompanies them
}

// Reach lists what a client could do in a role under an agreement on a day, at some hour, from some network, with a good
// sign-in and the strongest credential: conditions on the request are taken as met, and rules that deny under a
// condition do not count.
func Reach(t *Terms, p *Roles, name string, today annona.Date) (all []Reached) {
	in := p.roles[name]
	if in == nil {
		return nil
	}
	able := p.always(in)
	for _, purpose := range t.agreement.Purposes {
		if t.agreement.Imports != nil {
			r := &Request{Role: name, Verb: annona.VerbImport, Purpose: purpose.Code, Today: today}
			if _, _, err := able.permits(r); err == nil && inForce(t.agreement, today) == nil {
				all = append(all, Reached{Verb: annona.VerbImport})
			}
		}
		for _, verb := range verbs {
			for _, dataset := range slices.Sorted(maps.Keys(t.roots)) {
				if !t.roots[dataset] || verb == annona.VerbImport {
					continue
				}
				g, err := Decide(t, able, Request{Caller: annona.Caller{Strength: annona.StrengthSenderConstrained}, Role: name, Verb: verb, Dataset: dataset, Purpose: purpose.Code, Today: today})
				if err == nil {
					all = append(all, Reached{verb, purpose.Code, dataset, valuesOf(g.Fields)})
				}
			}
		}
	}
	return slices.CompactFunc(all, func(a, b Reached) bool { return a.Verb == annona.VerbImport && b.Verb == annona.VerbImport })
}

// always is a policy with one role, whose conditions on the request are met.
func (p *Roles) always(in *role) *Roles {
	able := &role{Role: in.Role}
	for _, a := range in.rules {
		if a.Deny && a.when != nil {
			continue
		}
		a.when = nil
		able.rules = append(able.rules, a)
	}
	return &Roles{policy: p.policy, roles: map[string]*role{in.Name: able}, networks: p.networks, roots: p.roots}
}

// valuesOf names the fields of a grant, without what accompanies them.
func valuesOf(granted map[string][]annona.FieldGrant) map[string][]string {
	out := map[string][]string{}
	for dataset, fields := range granted {
		for _, g := range fields {
			if !slices.Contains(out[dataset], g.Field.Base.Code) {
				out[dataset] = append(out[dataset], g.Field.Base.Code)
			}
		}
	}
	return out
}

// Needed is what a client has used of its role, and the fields that it has not.
type Needed struct {
	Verbs    []annona.Verb
	Purposes []string            // an empty one stands for verbs without a purpose
	Unused   map[string][]string // fields, by dataset
}

// Narrowest returns a role under another name that allows no more than a role does, and of that no more than what is needed, and says
// in plain words what it takes away; nothing: the role has no more than is needed. Rows, ceilings, conditions and
// what the role denies stay as they are.
func (p *Roles) Narrowest(name, as string, needed Needed, d *annona.Dictionary) (annona.Role, []string, error) {
	in := p.roles[name]
	if in == nil {
		return annona.Role{}, nil, annona.Forbidden("role_unknown", "the policy in force has no such role")
	}
	narrow := annona.Role{Name: as, Emergency: in.Emergency, Title: strings.TrimSpace(in.Title + ", as far as it is used")}
	var removes []string
	for i := range in.rules {
		rule := *in.rules[i].RoleRule
		if rule.Deny {
			narrow.Rules = append(narrow.Rules, rule)
			continue
		}
		all := rule.Verbs
		if len(all) == 0 {
			all = verbs
		}
		rule.Verbs = kept(all, needed.Verbs)
		if len(rule.Verbs) == 0 {
			removes = append(removes, fmt.Sprintf("the rule %s: none of its verbs is used", rule.Name))
			continue
		}
		if left := len(all) - len(rule.Verbs); left > 0 {
			removes = append(removes, fmt.Sprintf("verbs of the rule %s: %s", rule.Name, words(without(all, rule.Verbs))))
		}
		if rule.Purposes = needed.purposes(rule.Purposes); len(rule.Purposes) == 0 && !slices.Contains(needed.Purposes, "") {
			removes = append(removes, fmt.Sprintf("the rule %s: none of its purposes is used", rule.Name))
			continue
		}
		if len(rule.Purposes) > 0 {
			removes = append(removes, lessPurposes(in.rules[i].RoleRule, rule.Purposes)...)
		}
		narrow.Rules = append(narrow.Rules, rule)
	}
	return p.withoutFields(narrow, removes, needed, d)
}

// purposes leaves of the purposes of a rule, none for all, those that are needed. Every rule loses the same: one that
// limits loses none that another one allows.
func (n Needed) purposes(of []string) []string {
	switch {
	case slices.Contains(n.Purposes, ""): // a verb without a purpose is used, and a rule with purposes is not about it
		return of
	case len(of) == 0:
		return slices.Compact(slices.Sorted(slices.Values(n.Purposes)))
	}
	return kept(of, n.Purposes)
}

// lessPurposes says which purposes of a rule are taken away.
func lessPurposes(rule *annona.RoleRule, left []string) []string {
	switch {
	case len(rule.Purposes) == 0:
		return []string{fmt.Sprintf("purposes of the rule %s: all but %s", rule.Name, words(left))}
	case len(left) < len(rule.Purposes):
		return []string{fmt.Sprintf("purposes of the rule %s: %s", rule.Name, words(without(rule.Purposes, left)))}
	}
	return nil
}

// withoutFields adds a rule that denies the fields that are not used. A dataset whose fields other rules name in a
// way that would contradict it stays as it is.
func (p *Roles) withoutFields(narrow annona.Role, removes []string, needed Needed, d *annona.Dictionary) (annona.Role, []string, error) {
	check := func(r annona.Role) error {
		r.Name = "narrower"
		_, err := CompilePolicy(&annona.Policy{Networks: p.policy.Networks, Roles: []annona.Role{r, {Name: annona.RolePartner}}}, d)
		return err
	}
	if err := check(narrow); err != nil {
		return narrow, nil, err
	}
	denied := annona.RoleRule{Name: "not-used", Deny: true, Datasets: map[string]annona.DatasetTerms{}}
	for _, dataset := range slices.Sorted(maps.Keys(needed.Unused)) {
		fields := needed.Unused[dataset]
		denied.Datasets[dataset] = annona.DatasetTerms{Fields: fields}
		with := narrow
		with.Rules = append(slices.Clone(narrow.Rules), denied)
		if check(with) != nil {
			delete(denied.Datasets, dataset)
			continue
		}
		removes = append(removes, fmt.Sprintf("fields of %s: %s", dataset, strings.Join(fields, ", ")))
	}
	if len(denied.Datasets) > 0 {
		narrow.Rules = append(narrow.Rules, denied)
	}
	return narrow, removes, nil
}

func kept[T comparable](list, of []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !slices.Contains(of, v) })
}

func without[T comparable](list, of []T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return slices.Contains(of, v) })
}

func words[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}
