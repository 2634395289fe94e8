package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

type policyCommand struct {
	Show     policyShow     `cmd:"" help:"Print the policy in force, or one of its versions, as YAML."`
	List     policyList     `cmd:"" help:"List the versions of the policy."`
	Apply    policyApply    `cmd:"" help:"Check a policy, say what it newly allows, and put it in force."`
	Rollback policyRollback `cmd:"" help:"Put an earlier version in force again, as the next version."`
	Role     policyRole     `cmd:"" help:"Give a client a role."`
	Explain  policyExplain  `cmd:"" help:"Say what a client would be granted now, and why."`
	Decision policyDecision `cmd:"" help:"Say why a request was granted."`
}

type policyShow struct {
	dataFlag
	Version int `default:"-1" help:"Number of the version; 0: what Annona comes with. Without it: the one in force."`
}

func (p policyShow) Run(ctx context.Context, c console) error {
	return p.with(ctx, func(f *folder) error {
		shown, err := f.gate.PolicyVersion(ctx, operator(), p.Version)
		if err != nil {
			return err
		}
		return ingest.WritePolicy(c.out, *shown)
	})
}

type policyList struct{ dataFlag }

func (p policyList) Run(ctx context.Context, c console) error {
	return p.with(ctx, func(f *folder) error {
		all, err := f.gate.Policies(ctx, operator())
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "version\tin force since\troles")
		for _, v := range all {
			var roles []string
			for _, role := range v.Roles {
				roles = append(roles, role.Name)
			}
			since := "the beginning"
			if v.Version > 0 {
				since = annona.Instant(v.PutAt)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\n", v.Version, since, strings.Join(roles, ", "))
		}
		return w.Flush()
	})
}

type policyApply struct {
	dataFlag
	Check bool   `help:"Only check it, and say what it newly allows."`
	File  string `arg:"" type:"existingfile" help:"Policy, as YAML; see docs/spec/policy.md."`
}

func (p policyApply) Run(ctx context.Context, c console) error {
	next, err := parseFile(p.File, ingest.ParsePolicy)
	if err != nil {
		return err
	}
	return p.with(ctx, func(f *folder) error {
		if p.Check {
			applied, err := f.gate.ComparePolicy(ctx, operator(), next)
			if err != nil {
				return err
			}
			return tellPolicy(c, applied, "The policy is well formed.")
		}
		applied, err := f.gate.ApplyPolicy(ctx, operator(), next)
		if applied == nil {
			return err
		}
		return errors.Join(tellPolicy(c, applied, inForce(err, "Version %d of the policy is in force.", applied.Version)), err)
	})
}

// inForce says what is in force now, unless it is not.
func inForce(err error, format string, args ...any) string {
	if err != nil {
		return "It is not in force."
	}
	return fmt.Sprintf(format, args...)
}

// tellPolicy prints what a policy newly allows, and what became of it.
func tellPolicy(c console, applied *exchange.AppliedPolicy, done string) error {
	if !applied.Changed {
		_, err := fmt.Fprintf(c.out, "Nothing changed: this is version %d of the policy.\n", applied.Version)
		return err
	}
	if len(applied.Widened) == 0 {
		fmt.Fprintln(c.out, "It newly allows nothing.")
	}
	for _, change := range applied.Widened {
		fmt.Fprintln(c.out, change)
	}
	_, err := fmt.Fprintln(c.out, done)
	return err
}

type policyRollback struct {
	dataFlag
	Version int `arg:"" help:"Number of the version, 0: what Annona comes with."`
}

func (p policyRollback) Run(ctx context.Context, c console) error {
	return p.with(ctx, func(f *folder) error {
		earlier, err := f.gate.PolicyVersion(ctx, operator(), max(0, p.Version))
		if err != nil {
			return err
		}
		applied, err := f.gate.ApplyPolicy(ctx, operator(), *earlier)
		if applied == nil {
			return err
		}
		return errors.Join(tellPolicy(c, applied, inForce(err, "Version %d is in force again, as version %d.", p.Version, applied.Version)), err)
	})
}

type policyRole struct {
	dataFlag
	ID   string `arg:"" help:"Id of the key or client, as key list and client list print it."`
	Role string `arg:"" help:"Name of a role of the policy in force."`
}

func (p policyRole) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(p.ID)
	if err != nil {
		return err
	}
	return p.with(ctx, func(f *folder) error {
		if err := f.gate.SetRole(ctx, operator(), id, p.Role); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "The client acts in the role %s.\n", p.Role)
		return err
	})
}

type policyExplain struct {
	dataFlag
	Client   string `required:"" placeholder:"ID" help:"Id of the key or client."`
	Verb     string `default:"get" help:"get, lookup, search, export, follow, disclosures or name_search."`
	Dataset  string `default:"individuals" help:"households or individuals."`
	Purpose  string `required:"" placeholder:"CODE" help:"Purpose of its agreement."`
	Strength string `default:"api_key" enum:"api_key,oauth,sender_constrained" help:"As what it would authenticate."`
	From     string `placeholder:"ADDRESS" help:"From which address it would ask: for rules about networks and risk."`
	Rows     int64  `placeholder:"N" help:"How many rows the answer would have at most: for rules about rows. An export is counted."`
}

func (p policyExplain) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(p.Client)
	if err != nil {
		return err
	}
	about := annona.Caller{Client: id, Strength: annona.StrengthAPIKey}
	for _, s := range []annona.Strength{annona.StrengthOAuth, annona.StrengthSenderConstrained} {
		if s.String() == p.Strength {
			about.Strength = s
		}
	}
	if p.From != "" {
		if about.Network, err = netip.ParseAddr(p.From); err != nil {
			return annona.Invalid("address_malformed", "an address is written 192.0.2.7 or 2001:db8::7").On("from")
		}
	}
	return p.with(ctx, func(f *folder) error {
		e, err := f.gate.Explain(ctx, operator(), about, exchange.Asked{Verb: annona.Verb(p.Verb), Dataset: p.Dataset, Purpose: p.Purpose, Rows: p.Rows})
		if err != nil {
			return err
		}
		return printExplanation(c, e)
	})
}

func printExplanation(c console, e *exchange.Explanation) error {
	fmt.Fprintf(c.out, "policy version %d, role %s\n", e.Decision.Policy, e.Decision.Role)
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	for _, rule := range e.Rules {
		effect, outcome := "allows", "holds"
		if rule.Deny {
			effect = "denies"
		}
		if !rule.Holds {
			outcome = "does not hold: " + rule.Misses
		}
		if len(rule.Unknown) > 0 {
			outcome += " (" + strings.Join(rule.Unknown, ", ") + ")"
		}
		fmt.Fprintf(w, "rule %s\t%s\t%s\n", rule.Name, effect, outcome)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	tellWeighed(c, &e.Weighed)
	if e.Refusal != nil {
		_, err := fmt.Fprintf(c.out, "denied: %s: %s\n", annona.CodeOf(e.Refusal), e.Refusal)
		return err
	}
	var granted []annona.FieldGrant
	for _, dataset := range slices.Sorted(maps.Keys(e.Granted.Fields)) {
		granted = append(granted, e.Granted.Fields[dataset]...)
	}
	for _, obligation := range e.Granted.Obligations(slices.Values(granted)) {
		fmt.Fprintln(c.out, "obligation:", obligation)
	}
	_, err := fmt.Fprintf(c.out, "granted: %d columns, at most %d rows of one answer (0: no ceiling)\n", len(granted), e.Granted.RowCeiling)
	return err
}

// tellWeighed prints what was found out about the request because rules ask.
func tellWeighed(c console, w *annona.Weighed) {
	if w.Rows.Known {
		fmt.Fprintf(c.out, "rows: %d at most, as far as the rules ask\n", w.Rows.Rows)
	}
	if w.Risk.Level == "" {
		return
	}
	why := "nothing counts"
	if len(w.Risk.Factors) > 0 {
		why = strings.Join(w.Risk.Factors, ", ")
	}
	fmt.Fprintf(c.out, "risk: %s (%s)\n", w.Risk.Level, why)
}

type policyDecision struct {
	dataFlag
	ID string `arg:"" help:"Id of the request: the header Annona-Release of its answer."`
}

func (p policyDecision) Run(ctx context.Context, c console) error {
	id, err := annona.ParseUID(p.ID)
	if err != nil {
		return err
	}
	return p.with(ctx, func(f *folder) error {
		d, err := f.gate.Decision(ctx, operator(), id)
		if err != nil {
			return err
		}
		encoder := json.NewEncoder(c.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(d)
	})
}
