package policy

import "github.com/annona-exchange/annona"

// Explanation is a decision that says how it came about.
type Explanation struct {
	Decision annona.Decision
	Refusal  error // nil: it is granted
	Granted  *annona.Grant
	Rules    []RuleOutcome // every rule of the role, in the order of the policy
}

// RuleOutcome is what became of one rule.
type RuleOutcome struct {
	Name   string `json:"name"`
	Deny   bool   `json:"deny,omitempty"`
	Holds  bool   `json:"holds"`
	Misses string `json:"misses,omitempty"` // why it does not hold: verb, purpose, day, when
}

// Explain decides as Decide does, and says what became of each rule.
func Explain(t *Terms, p *Roles, r Request) Explanation {
	e := Explanation{Decision: annona.Decision{Policy: p.policy.Version, Role: r.role(), Inputs: r.inputs(t.agreement.Name, t.agreement.Version, p.policy.Version)}}
	if in := p.roles[r.role()]; in != nil {
		about := facts{&r, p.networks}
		for i := range in.rules {
			a := &in.rules[i]
			misses := a.misses(&r, about)
			e.Rules = append(e.Rules, RuleOutcome{Name: a.Name, Deny: a.Deny, Holds: misses == "", Misses: misses})
			if misses == "" {
				e.Decision.Rules = append(e.Decision.Rules, a.Name)
			}
		}
	}
	e.Granted, e.Refusal = Decide(t, p, r)
	return e
}
