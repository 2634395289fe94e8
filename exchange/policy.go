package exchange

import (
	"cmp"
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

// SetRole gives a client a role of the policy in force: when a second person has approved it (code
// approval_needed), or at once when it allows nothing that the one before does not. The one that it has
// changes nothing. Code client_over: it is revoked.
func (x *Exchange) SetRole(ctx context.Context, caller annona.Caller, id annona.UID, role string) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	c, err := x.Standings.ClientByID(ctx, id)
	switch {
	case err != nil:
		return err
	case c == nil:
		return annona.NotFound("no client with this id is on file")
	}
	p, err := x.roleProposal(ctx, givenRole{Client: id, Had: roleOf(*c), Role: cmp.Or(role, annona.RolePartner)})
	switch {
	case err != nil || p.put == nil:
		return err
	case len(p.shows) > 0:
		return x.submit(ctx, caller, p)
	}
	return x.Writer.Update(ctx, func(tx annona.Tx) error { return p.put(ctx, tx, caller, consent{}) })
}

// givenRole is another role for a client, as it lies on file while it waits for a second person.
type givenRole struct {
	Client annona.UID
	Had    string // when it was asked for
	Role   string
}

// roleProposal is another role for a client. It shows what that newly allows, and puts nothing when the client
// has it.
func (x *Exchange) roleProposal(ctx context.Context, g givenRole) (p proposal, err error) {
	c, err := x.Standings.ClientByID(ctx, g.Client)
	switch {
	case err != nil:
		return p, err
	case c == nil || !c.RevokedAt.IsZero():
		return p, annona.Conflict("client_over", "this client is revoked: make another one")
	case roleOf(*c) != g.Had:
		return proposal{base: -1}, nil // somebody has given it another one meanwhile
	case g.Had == g.Role:
		return p, nil
	}
	if err := x.checkPolicyHas(ctx, g.Role); err != nil {
		return p, err
	}
	shows, err := x.newlyAllowed(ctx, g.Had, g.Role)
	return proposal{kind: annona.ApproveRole, object: g.Client.String(), agreement: c.Agreement, body: g, shows: shows,
		put: func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
			c.Role = g.Role
			if err := tx.PutClient(ctx, *c); err != nil {
				return err
			}
			return tx.AppendEntry(ctx, x.aboutClient(caller, annona.VerbSetRole, *c, how.note(nil)))
		}}, err
}

// newlyAllowed says in plain words what a client newly may in another role of the policy in force.
func (x *Exchange) newlyAllowed(ctx context.Context, has, gets string) (shows []string, err error) {
	p, err := x.policyInForce(ctx)
	if err != nil {
		return nil, err
	}
	roles, err := policy.CompilePolicy(p, x.CurrentDictionary())
	if err != nil {
		return nil, err
	}
	for _, change := range roles.Widened(has, gets) {
		shows = append(shows, change.String())
	}
	return shows, nil
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
