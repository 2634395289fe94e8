package exchange

import (
	"context"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Identity providers of others say who calls; what that counts for is decided here. How their tokens are
// read, package identity knows.

// overTheRegistry are the roles that no rule of an identity provider gives unless its file says so.
var overTheRegistry = []string{RoleAdministrator, "approver", "auditor", "data-protection-officer"}

var providerName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// The bounds of an identity provider.
const (
	maxProviderText = 512
	maxProviderList = 100
	longestToken    = 24 * 60 // minutes
)

// PutIdentityProvider lets the tokens of an issuer count, or changes what they count for: when a second person
// has approved it (code approval_needed). The same again changes nothing.
//
// Codes: operator_only, identity_provider_malformed, partner_unknown, role_malformed, role_over_the_registry,
// identity_provider_known, and issuer_changed: one that has another issuer is another one.
func (x *Exchange) PutIdentityProvider(ctx context.Context, caller annona.Caller, p annona.IdentityProvider) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	proposed, err := x.providerProposal(ctx, p)
	if err != nil || len(proposed.shows) == 0 {
		return err
	}
	return x.submit(ctx, caller, proposed)
}

// providerProposal is an identity provider as it is to be. It shows what differs from before.
func (x *Exchange) providerProposal(ctx context.Context, p annona.IdentityProvider) (proposal, error) {
	if err := x.checkProvider(ctx, p); err != nil {
		return proposal{}, err
	}
	before, err := x.identityProvider(ctx, p.Name)
	if err != nil {
		return proposal{}, err
	}
	var was annona.IdentityProvider
	if before != nil {
		was = *before
	}
	if before != nil && was.Issuer != p.Issuer {
		return proposal{}, annona.Conflict("issuer_changed", "the identity provider of this name has another issuer: remove it first, with its clients, or choose another name").On("issuer")
	}
	return proposal{kind: annona.ApproveProvider, object: p.Name, base: was.Version, body: p, shows: differences(was, p),
		put: func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
			p.PutAt = x.Clock()
			return x.writeProvider(ctx, tx, caller, p, how.note(map[string]string{"act": "put"}))
		}}, nil
}

// RemoveIdentityProvider lets the tokens of an issuer count no more: its clients are revoked, all that it
// has issued with them.
func (x *Exchange) RemoveIdentityProvider(ctx context.Context, caller annona.Caller, name string) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	p, err := x.identityProvider(ctx, name)
	if err != nil {
		return err
	}
	if p == nil {
		return annona.NotFound("no identity provider of this name is on file; annona identity-provider list shows them")
	}
	clients, err := x.Roster.Clients(ctx)
	if err != nil {
		return err
	}
	now := x.Clock()
	p.RemovedAt = now
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		for _, c := range clients {
			if c.Method != annona.MethodOutside || issuerOf(c) != p.Issuer || !c.RevokedAt.IsZero() {
				continue
			}
			c.RevokedAt = now
			if err := x.writeClient(ctx, tx, caller, annona.VerbRevokeClient, c); err != nil {
				return err
			}
		}
		return x.writeProvider(ctx, tx, caller, *p, map[string]string{"act": "removed"})
	})
}

// IdentityProviders returns those whose tokens count, by name.
func (x *Exchange) IdentityProviders(ctx context.Context, caller annona.Caller) ([]annona.IdentityProvider, error) {
	if err := operatorOnly(caller); err != nil {
		return nil, err
	}
	return x.Outsiders.IdentityProviders(ctx)
}

func (x *Exchange) identityProvider(ctx context.Context, name string) (*annona.IdentityProvider, error) {
	all, err := x.Outsiders.IdentityProviders(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p annona.IdentityProvider) bool { return p.Name == name })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

func (x *Exchange) writeProvider(ctx context.Context, tx annona.Tx, caller annona.Caller, p annona.IdentityProvider, details map[string]string) error {
	if err := tx.PutIdentityProvider(ctx, p); err != nil {
		return err
	}
	details["issuer"], details["name"], details["rules"] = p.Issuer, p.Name, strconv.Itoa(len(p.People))
	return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbIdentityProvider, Details: details}))
}

// checkProvider refuses what says nothing that could be held to.
func (x *Exchange) checkProvider(ctx context.Context, p annona.IdentityProvider) error {
	malformed := func(field, why string) error {
		return annona.Invalid("identity_provider_malformed", "%s", why).On(field)
	}
	switch {
	case !providerName.MatchString(p.Name) || len(p.Name) > 64:
		return malformed("name", "a name is a word of small letters, digits and hyphens")
	case !isIssuer(p.Issuer):
		return malformed("issuer", "an issuer is written https://host/path, as its tokens write it in iss; plain http only for a loopback address")
	case p.Audience == "" || len(p.Audience) > maxProviderText || len(p.Scope) > maxProviderText:
		return malformed("audience", "say what aud the provider writes into tokens for this registry")
	case p.LongestToken < 0 || p.LongestToken > longestToken:
		return malformed("longest_token", "a token lives for 1 minute to a day: say how many minutes, or nothing for an hour")
	case slices.ContainsFunc(p.Networks, func(n string) bool { _, err := netip.ParsePrefix(n); return err != nil }):
		return malformed("networks", "a network is written as address and length: 10.2.0.0/16")
	case p.Machines != nil && (p.Machines.Claim == "" || p.Machines.Is == ""):
		return malformed("machines", "say which claim of a machine's token has which value, or nothing: then its sub is its client_id")
	case len(p.People) > maxProviderList || len(p.Networks) > maxProviderList || len(p.Assurance) > maxProviderList:
		return malformed("people", "a provider has at most 100 rules, networks and values of acr")
	}
	for _, word := range p.Assurance {
		if a, ok := annona.ParseAssurance(word); !ok || a == annona.AssuranceNone {
			return malformed("assurance", "a value of acr counts for outside, mfa or phr")
		}
	}
	for _, rule := range p.People {
		if err := x.checkPeopleRule(ctx, p, rule); err != nil {
			return err
		}
	}
	return nil
}

func (x *Exchange) checkPeopleRule(ctx context.Context, p annona.IdentityProvider, rule annona.PeopleRule) error {
	if rule.When != nil && (rule.When.Claim == "" || rule.When.Is == "") || len(rule.Roles) == 0 {
		return annona.Invalid("identity_provider_malformed", "a rule names a claim and its value, or no claim at all, and the roles that it gives").On("people")
	}
	for _, role := range rule.Roles {
		if slices.Contains(overTheRegistry, role) && !slices.Contains(p.Privileged, role) {
			return annona.Invalid("role_over_the_registry", "a rule gives the role %s, which is over the registry itself: name it under privileged as well, if this identity provider may say who has it", role).On("people")
		}
	}
	if err := checkRoles(rule.Roles); err != nil {
		return err
	}
	return x.checkPartner(ctx, rule.Partner)
}

// isIssuer reports whether a text can be an issuer: an address without anything that its metadata would
// not be found under.
func isIssuer(text string) bool {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxProviderText || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.String() != text {
		return false
	}
	host, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && host.IsLoopback()
}

// issuerOf is the issuer of a client of an identity provider.
func issuerOf(c annona.Client) string {
	for i := range c.Subject {
		if c.Subject[i] == ' ' {
			return c.Subject[:i]
		}
	}
	return ""
}

// OutsideClient returns the id under which a client of an identity provider is put on file: the one that it
// had, when it is revoked or has expired.
//
// Codes: not_found, client_known.
func (x *Exchange) OutsideClient(ctx context.Context, c annona.Client) (annona.UID, error) {
	all, err := x.Outsiders.IdentityProviders(ctx)
	if err != nil {
		return c.ID, err
	}
	if !slices.ContainsFunc(all, func(p annona.IdentityProvider) bool { return p.Issuer == issuerOf(c) }) {
		return c.ID, annona.NotFound("no identity provider with this issuer is on file; add it first: annona identity-provider add").On("issuer")
	}
	known, err := x.Standings.ClientByKeyID(ctx, c.KeyID)
	switch {
	case err != nil || known == nil:
		return c.ID, err
	case known.RevokedAt.IsZero() && x.Clock().Before(known.ExpiresAt):
		return c.ID, annona.Conflict("client_known", "this client of the identity provider is registered; revoke it first").On("client_id")
	}
	return known.ID, nil
}

// TakeInToken keeps a token of others that was verified, and says whether it holds. A person is put on
// file whom nobody has met yet. When the rules of the provider give somebody another partner or other roles
// than before, they have those from now on, and whatever was issued to them earlier is over: an older token
// brings nothing back.
func (x *Exchange) TakeInToken(ctx context.Context, caller annona.Caller, t annona.Token, person *annona.User) (holds bool, err error) {
	err = x.Writer.Update(ctx, func(tx annona.Tx) error {
		if holds, err = tx.PutOutsideToken(ctx, t); err != nil || !holds || person == nil {
			return err
		}
		return x.meet(ctx, tx, caller, t, *person)
	})
	return holds, err
}

// meet brings a person up to date, in the transaction that keeps their token.
func (x *Exchange) meet(ctx context.Context, tx annona.Tx, caller annona.Caller, t annona.Token, now annona.User) error {
	known, _, err := tx.HoldUser(ctx, now.ID)
	if err != nil {
		return err
	}
	act := "vouched_for"
	if known != nil {
		if known.Partner == now.Partner && slices.Equal(known.Roles, now.Roles) {
			return nil
		}
		act, known.Partner, known.Roles = "roles_by_provider", now.Partner, now.Roles
		known.Version++
		now = *known
	}
	if err := tx.PutUser(ctx, now); err != nil {
		return err
	}
	end := annona.OutsideEnd{ID: now.ID, Until: t.IssuedAt.Add(-time.Second), Kept: x.Clock().Add((longestToken + 60) * time.Minute), At: x.Clock()}
	if err := tx.EndOutside(ctx, end); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, x.aboutUser(caller, &now, act, consent{}))
}

// EndOutside ends tokens of others: their provider says that a sign-in is over, or the operator does.
func (x *Exchange) EndOutside(ctx context.Context, caller annona.Caller, provider string, e annona.OutsideEnd) error {
	return x.SignIn(ctx, caller, func(tx annona.Tx) (map[string]string, error) {
		return map[string]string{"act": "ended_by_provider", "ended": e.ID.String(), "provider": provider}, tx.EndOutside(ctx, e)
	})
}
