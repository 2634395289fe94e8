package exchange

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/policy"
)

// AppliedPolicy says what became of a policy that was put in force.
type AppliedPolicy struct {
	Version int
	Changed bool            // false: it says what the one in force says
	Widened []policy.Change // what it newly allows
}

// ApplyPolicy checks a policy and puts it in force as its next version, within five seconds on every
// node and in everything that runs: when a second person has approved it (code approval_needed, with what
// it would newly allow). The same again changes nothing. It is refused when a client that is
// valid would be in a role that is not there (role_in_use), or when no valid client could do anything any
// more (policy_locks_out). Codes: those of policy.CompilePolicy too.
func (x *Exchange) ApplyPolicy(ctx context.Context, caller annona.Caller, p annona.Policy) (*AppliedPolicy, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	applied, next, err := x.comparePolicy(ctx, p)
	if err != nil || !applied.Changed {
		return applied, err
	}
	if err := x.checkLockOut(ctx, next); err != nil {
		return nil, err
	}
	return applied, x.submit(ctx, caller, x.policyProposal(p, applied))
}

// policyProposal is a policy that was compared and checked, as the next version.
func (x *Exchange) policyProposal(p annona.Policy, applied *AppliedPolicy) proposal {
	p.Version, p.PutAt, p.Hash = applied.Version, time.Time{}, policy.Hash(p)
	shows := []string{"It newly allows nothing."}
	if len(applied.Widened) > 0 {
		shows = nil
	}
	for _, change := range applied.Widened {
		shows = append(shows, change.String())
	}
	return proposal{kind: annona.ApprovePolicy, object: "policy", base: p.Version - 1, body: p, shows: shows,
		put: func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
			p.PutAt = x.Clock().UTC()
			if err := tx.PutPolicy(ctx, p); err != nil {
				return err
			}
			return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbApplyPolicy, PolicyVersion: p.Version, Details: how.note(map[string]string{
				"hash": p.Hash, "newly_allows": strconv.Itoa(len(applied.Widened)),
			})}))
		}}
}

// ComparePolicy says what a policy would newly allow, and puts nothing in force.
func (x *Exchange) ComparePolicy(ctx context.Context, caller annona.Caller, p annona.Policy) (*AppliedPolicy, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	applied, _, err := x.comparePolicy(ctx, p)
	return applied, err
}

func (x *Exchange) comparePolicy(ctx context.Context, p annona.Policy) (*AppliedPolicy, *policy.Roles, error) {
	now, err := x.policyInForce(ctx)
	if err != nil {
		return nil, nil, err
	}
	d := x.CurrentDictionary()
	before, err := policy.CompilePolicy(now, d)
	if err != nil {
		return nil, nil, err
	}
	next, err := policy.CompilePolicy(&p, d)
	if err != nil {
		return nil, nil, err
	}
	if policy.Hash(p) == policy.Hash(*now) {
		return &AppliedPolicy{Version: now.Version}, next, nil
	}
	return &AppliedPolicy{Version: now.Version + 1, Changed: true, Widened: policy.Widened(before, next)}, next, nil
}

// checkLockOut refuses a policy under which valid clients have no role, or nobody can do anything.
func (x *Exchange) checkLockOut(ctx context.Context, next *policy.Roles) error {
	clients, err := x.Roster.Clients(ctx)
	if err != nil {
		return err
	}
	now := x.Clock()
	clients = slices.DeleteFunc(clients, func(c annona.Client) bool { return !c.RevokedAt.IsZero() || !now.Before(c.ExpiresAt) })
	able := len(clients) == 0
	for _, c := range clients {
		if !next.Has(c.Role) {
			return annona.Conflict("role_in_use", "a valid client is in the role %s, which the policy does not have; give it another role first, or keep the role", roleOf(c)).On(c.KeyID)
		}
		able = able || next.Allows(c.Role, x.today(now))
	}
	if !able {
		return annona.Conflict("policy_locks_out", "under this policy no valid client could do anything: none of their roles has a rule that allows something today")
	}
	return nil
}

func roleOf(c annona.Client) string {
	if c.Role == "" {
		return annona.RolePartner
	}
	return c.Role
}

// Policies returns the versions of the policy, newest first, and behind them what Annona comes with.
func (x *Exchange) Policies(ctx context.Context, caller annona.Caller) ([]annona.Policy, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	all, err := x.Roster.Policies(ctx)
	return append(all, policy.Shipped()), err
}

// PolicyVersion returns a version of the policy, 0 what Annona comes with, -1 the one in force.
func (x *Exchange) PolicyVersion(ctx context.Context, caller annona.Caller, version int) (*annona.Policy, error) {
	all, err := x.Policies(ctx, caller)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p annona.Policy) bool { return version < 0 || p.Version == version })
	if i < 0 {
		return nil, annona.NotFound("no version of the policy has this number; annona policy list shows those there are").On("version")
	}
	return &all[i], nil
}

func (x *Exchange) policyInForce(ctx context.Context) (*annona.Policy, error) {
	p, err := x.Standings.Policy(ctx)
	if p == nil {
		shipped := policy.Shipped()
		p = &shipped
	}
	return p, err
}

// SetRole gives a client a role of the policy in force. The one that it has changes nothing.
func (x *Exchange) SetRole(ctx context.Context, caller annona.Caller, id annona.UID, role string) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	if err := x.checkPolicyHas(ctx, role); err != nil {
		return err
	}
	c, err := x.Standings.ClientByID(ctx, id)
	switch {
	case err != nil:
		return err
	case c == nil:
		return annona.NotFound("no client with this id is on file")
	case roleOf(*c) == role:
		return nil
	}
	c.Role = role
	return x.putClient(ctx, caller, annona.VerbSetRole, *c)
}

// checkPolicyHas refuses a role that the policy in force does not have.
func (x *Exchange) checkPolicyHas(ctx context.Context, role string) error {
	p, err := x.policyInForce(ctx)
	if err != nil {
		return err
	}
	named := func(r annona.Role) bool { return r.Name == role && !r.Emergency }
	if role != "" && !slices.ContainsFunc(p.Roles, named) {
		return annona.Invalid("role_unknown", "the policy in force has no such role; annona policy show lists its roles").On("role")
	}
	return nil
}
