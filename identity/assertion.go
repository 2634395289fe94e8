package identity

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/annona-exchange/annona"
)

// AssertionType is the client_assertion_type of RFC 7523.
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionLife is how far ahead an assertion may expire, beside the skew of clocks.
const assertionLife = 60 * time.Second

type assertionClaims struct {
	ID        string          `json:"jti"`
	Issuer    string          `json:"iss"`
	Subject   string          `json:"sub"`
	Audience  json.RawMessage `json:"aud"`
	Expires   numericDate     `json:"exp"`
	NotBefore numericDate     `json:"nbf"`
	IssuedAt  numericDate     `json:"iat"`
}

var (
	errAssertionType     = errors.New("its typ is another one than JWT or client-authentication+jwt")
	errAssertionIssuer   = errors.New("iss and sub are not the client_id, both")
	errAssertionAudience = errors.New("aud is not the issuer of this server, as one string")
	errAssertionTimes    = errors.New("exp is not within the next minute, or nbf or iat lie ahead; set the clock")
	errAssertionID       = errors.New("it has no jti of at most 256 characters")
)

// claimedIssuer returns whom an assertion says it is of. Nothing is verified.
func (s signed) claimedIssuer() string {
	var claims assertionClaims
	if s.peek(&claims) != nil {
		return ""
	}
	return claims.Issuer
}

// checkAssertion checks an assertion of a client by the client's own keys: a jwk, jku or x5u in its
// header is looked at by nobody. It returns what the caller claims last.
func (i *Issuer) checkAssertion(s signed, client *annona.Client) (annona.Claim, error) {
	switch s.header.Type {
	case "", "JWT", "client-authentication+jwt":
	default:
		return annona.Claim{}, errAssertionType
	}
	var claims assertionClaims
	if err := verifyByAny(s, client.Keys, &claims); err != nil {
		return annona.Claim{}, err
	}
	if claims.Issuer != client.KeyID || claims.Subject != client.KeyID {
		return annona.Claim{}, errAssertionIssuer
	}
	var audience string
	if json.Unmarshal(claims.Audience, &audience) != nil || audience != i.origin {
		return annona.Claim{}, errAssertionAudience
	}
	if claims.ID == "" || len(claims.ID) > maxNameLen {
		return annona.Claim{}, errAssertionID
	}
	now := i.clock()
	if !inTime(claims, now) {
		return annona.Claim{}, errAssertionTimes
	}
	return annona.Claim{Client: client.ID, Hash: sha256.Sum256([]byte(claims.ID)), Until: now.Add(assertionLife + aheadMost)}, nil
}

// inTime holds an assertion to its times: it expires within a minute, and no time in it lies further
// ahead than clocks differ.
func inTime(c assertionClaims, now time.Time) bool {
	ahead := now.Add(aheadMost)
	switch {
	case c.Expires == nil || !c.Expires.Time().After(now) || c.Expires.Time().After(ahead.Add(assertionLife)):
		return false
	case c.NotBefore != nil && c.NotBefore.Time().After(ahead):
		return false
	case c.IssuedAt != nil && c.IssuedAt.Time().After(ahead):
		return false
	}
	return true
}

// verifyByAny verifies by the keys of a JWK set that the assertion may mean: those with its kid, or
// all when it has none.
func verifyByAny(s signed, set []byte, claims any) error {
	keys, err := readKeys(set)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if s.header.KeyID != "" && s.header.KeyID != key.KeyID || !fits(key.Key, s.header.Algorithm) {
			continue
		}
		if err := s.verify(&key, claims); err == nil || errors.Is(err, errClaims) {
			return err
		}
	}
	return errSignature
}

// readKeys reads a JWK set as RegisterClient has kept it.
func readKeys(set []byte) ([]jose.JSONWebKey, error) {
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(set, &keys); err != nil {
		return nil, annona.Internal("read the keys of a client", err)
	}
	return keys.Keys, nil
}
