package identity

import (
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

var (
	errNoRule      = annona.Forbidden("person_not_known_here", "the rules for this identity provider give the person behind the token no role: whoever administers the exchange adds one, or the identity provider another group")
	errTwoPartners = annona.Forbidden("person_of_two_partners", "the rules for this identity provider give the person behind the token to two partners: they work for one")
)

// placeOf returns the partner and the roles that the rules of a provider give to somebody whose token has
// those claims. A token never names a role itself: what it says of roles is a claim as any other.
func placeOf(p annona.IdentityProvider, claims map[string]any) (partner string, roles []string, err error) {
	fitting := 0
	for _, rule := range p.People {
		if rule.When != nil && !says(claims, *rule.When) {
			continue
		}
		if fitting++; fitting > 1 && rule.Partner != partner {
			return "", nil, errTwoPartners
		}
		partner, roles = rule.Partner, append(roles, rule.Roles...)
	}
	if fitting == 0 {
		return "", nil, errNoRule
	}
	slices.Sort(roles)
	return partner, slices.Compact(roles), nil
}

// says reports whether claims have one with that value.
func says(claims map[string]any, want annona.ClaimValue) bool {
	switch is := claimNamed(claims, want.Claim).(type) {
	case string:
		return is == want.Is
	case []any:
		return slices.Contains(is, any(want.Is))
	}
	return false
}

// claimNamed finds a claim by its name, or within another one by both names and a dot.
func claimNamed(claims map[string]any, name string) any {
	if is, ok := claims[name]; ok {
		return is
	}
	outer, inner, nested := strings.Cut(name, ".")
	within, ok := claims[outer].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return claimNamed(within, inner)
}
