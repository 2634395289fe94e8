package policy

import "github.com/annona-exchange/annona"

// Explanation is a decision that says how it came about.
type Explanation struct {
	Decision annona.Decision
	Weighed  annona.Weighed // as far as a rule asks
	Refusal  error          // nil: it is granted
	Granted  *annona.Grant
	Rules    []RuleOutcome // every rule of the role, in the order of the policy
}

// RuleOutcome is what became of one rule.
type RuleOutcome struct {
	Name   string `json:"name"`
	Deny   bool   `json:"deny,omitempty"`
	Holds  bool   `json:"holds"`
	Misses string `json:"misses,omitempty"` // why it does not hold: verb, purpose, day, when, not known
	// Unknown are the facts that the rule asks about and that are not known: risk, rows. One that denies may hold
	// because of that, one that allows does not.
	Unknown []string `json:"unknown,omitempty"`
}

// Explain decides as Decide does, and says what became of each rule.
func Explain(t *Terms, p *Roles, r Request) Explanation {
	e := Explanation{Weighed: r.Weighed, Decision: annona.Decision{Policy: p.policy.Version, Role: r.role(), Inputs: r.inputs(t.agreement.Name, t.agreement.Version, p.policy.Version)}}
	if in := p.roles[r.role()]; in != nil {
		about := facts{&r, p.networks}
		for i := range in.rules {
			a := &in.rules[i]
			misses := a.misses(&r, about)
			outcome := RuleOutcome{Name: a.Name, Deny: a.Deny, Holds: misses == "", Misses: misses}
			if a.elsewhere(&r) == "" {
				outcome.Unknown = a.unknown(&r)
			}
			e.Rules = append(e.Rules, outcome)
			if misses == "" {
				e.Decision.Rules = append(e.Decision.Rules, a.Name)
			}
		}
	}
	e.Granted, e.Refusal = Decide(t, p, r)
	return e
}
