package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/annona-exchange/annona"
)

// TokenLife is how long an access token lives.
const TokenLife = 5 * time.Minute

// Installation is what the authorization server and whoever recognizes its tokens are wired to.
type Installation struct {
	Standings annona.Standings // may be remembered for a second: whatever is read by it, the gate confirms
	Store     annona.Standings // as they are at this moment
	Claims    annona.Tokens
	// Delegations are what people let clients do for them.
	Delegations annona.Delegations
	Keys        *Keys // checks what holds of every client: not revoked, not expired, its networks
	Clock       annona.Clock
	// Origin is the public address, https://host: the name of the issuer, and the beginning of every htu.
	Origin string
	// HashSecret and HashToken are the keyed hashes of what clients know; HashNonce has a key of its own
	// in every epoch.
	HashSecret func([]byte) []byte
	HashToken  func([]byte) annona.TokenHash
	HashNonce  func(epoch annona.UID, message []byte) []byte
	// Signing returns the keys of the authorization server, the one in use first.
	Signing func() []SigningKey
	// Admit says why a client may not have a token for that. The gate answers: it knows agreements.
	Admit func(ctx context.Context, caller annona.Caller, within annona.Authorization) error
	// Delegated records that a person lets a client act for them.
	Delegated func(ctx context.Context, caller annona.Caller, d annona.Delegation) error
	// Outside recognizes tokens that others issue; nil: none count here.
	Outside *Outside
}

// SigningKey is a key of the authorization server.
type SigningKey struct {
	ID      string
	Private ed25519.PrivateKey
}

// Issuer gives access tokens to clients that prove who they are. It is safe for concurrent use.
type Issuer struct {
	Installation
	*Proofs
}

// NewIssuer returns an authorization server's knowledge of who is who. Proofs are shared with whoever
// recognizes tokens.
func NewIssuer(i Installation, proofs *Proofs) *Issuer {
	return &Issuer{i, proofs}
}

// ShownClient is what a request to the authorization server shows of its client.
type ShownClient struct {
	ID            string // client_id of the form; empty: not there
	Basic         string // what stands behind Basic in Authorization; empty: not there
	Assertion     string // client_assertion
	AssertionType string
	Certificate   *x509.Certificate // that the connection has verified; nil: none
	From          netip.Addr
}

// Errors of clients. They say the same of a client that is not there and of one that is another.
var (
	errClient       = annona.Unauthenticated("invalid_client", "the client is not known, or it has not proved that it is the one it names")
	errClientWays   = annona.Invalid("invalid_request", "a client proves who it is in one way: by an assertion, by its certificate with client_id, or by its secret in Authorization: Basic")
	errClientMethod = annona.Unauthenticated("invalid_client", "the client is registered to prove who it is in another way")
)

// badAssertion says what is wrong with an assertion. It repeats nothing of it.
func badAssertion(reason error) error {
	return annona.Unauthenticated("invalid_client", "the client assertion is refused: %s", reason)
}

// known is a client that has proved who it is. Its assertion, if it has shown one, is to be claimed.
type known struct {
	client    *annona.Client
	assertion *annona.Claim
}

// identify establishes which client asks. Nothing is claimed yet.
//
// Errors: invalid_request, invalid_client, network_not_allowed.
func (i *Issuer) identify(ctx context.Context, shown ShownClient) (k known, err error) {
	switch {
	case shown.Basic != "" && (shown.Assertion != "" || shown.AssertionType != ""):
		return known{}, errClientWays
	case shown.Basic != "":
		k, err = i.bySecret(ctx, shown)
	case shown.Assertion != "" || shown.AssertionType != "":
		k, err = i.byAssertion(ctx, shown)
	default:
		k, err = i.byCertificate(ctx, shown)
	}
	if err != nil {
		return known{}, err
	}
	if err := i.Keys.Check(k.client, i.clock(), shown.From); err != nil {
		if annona.KindOf(err) == annona.KindForbidden {
			return known{}, err // the network
		}
		return known{}, errClient
	}
	return k, nil
}

func (i *Issuer) bySecret(ctx context.Context, shown ShownClient) (known, error) {
	id, secret, ok := decodeBasic(shown.Basic)
	if !ok || shown.ID != "" && shown.ID != id {
		return known{}, errClient
	}
	client, err := i.Standings.ClientByKeyID(ctx, id)
	if err != nil {
		return known{}, err
	}
	hash := i.HashSecret([]byte(secret))
	kept := make([]byte, len(hash))
	if client != nil {
		kept = client.Hash
	}
	if !same(hash, kept) || client == nil || client.Method != annona.MethodSecret {
		return known{}, errClient
	}
	return known{client: client}, nil
}

func (i *Issuer) byAssertion(ctx context.Context, shown ShownClient) (known, error) {
	if shown.AssertionType != AssertionType {
		return known{}, errClientWays
	}
	s, err := parseSigned(shown.Assertion)
	if err != nil {
		return known{}, badAssertion(err)
	}
	id := s.claimedIssuer()
	if id == "" || shown.ID != "" && shown.ID != id {
		return known{}, errClient
	}
	client, err := i.Standings.ClientByKeyID(ctx, id)
	switch {
	case err != nil:
		return known{}, err
	case client == nil:
		return known{}, errClient
	case client.Method != annona.MethodPrivateKeyJWT:
		return known{}, errClientMethod
	}
	claim, err := i.checkAssertion(s, client)
	if own := (*annona.Error)(nil); errors.As(err, &own) {
		return known{}, err
	} else if err != nil {
		return known{}, badAssertion(err)
	}
	return known{client, &claim}, nil
}

// byCertificate takes the certificate that this connection has, which an authority that the operator
// named has signed. What a header says about a certificate counts for nothing.
func (i *Issuer) byCertificate(ctx context.Context, shown ShownClient) (known, error) {
	if shown.ID == "" {
		return known{}, errClient
	}
	client, err := i.Standings.ClientByKeyID(ctx, shown.ID)
	switch {
	case err != nil:
		return known{}, err
	case client == nil || shown.Certificate == nil:
		return known{}, errClient
	case client.Method != annona.MethodTLS:
		return known{}, errClientMethod
	case !holdsNow(shown.Certificate, i.clock()) || shown.Certificate.Subject.String() != client.Subject:
		return known{}, errClient
	}
	return known{client: client}, nil
}

func holdsNow(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// thumbprint is the x5t#S256 of a certificate; nil of none.
func thumbprint(c *x509.Certificate) []byte {
	if c == nil {
		return nil
	}
	sum := sha256.Sum256(c.Raw)
	return sum[:]
}

// TokenRequest is a request for an access token.
type TokenRequest struct {
	Client  ShownClient
	Grant   string   // grant_type
	Scope   string   // must be empty: what a token is for stands in Details
	Details string   // authorization_details, JSON; empty: all that the agreement grants
	Proofs  []string // every header DPoP of the request
	Method  string
	Path    string

	Code, Redirect, Verifier string // of authorization_code
	Refresh                  string // of refresh_token
	Subject, SubjectType     string // of a token exchange
	Requested                string // requested_token_type of a token exchange
}

// Issued is a token that was given out. Text is the token itself, told once.
type Issued struct {
	annona.Token
	Text     string
	ClientID string
	Details  json.RawMessage // as granted; nil: none were asked for
	Refresh  string          // refresh token, told once; empty: there is none
}

// Type returns the token_type: DPoP when a proof must come with the token.
func (t Issued) Type() string {
	if t.Key != nil {
		return "DPoP"
	}
	return "Bearer"
}

var (
	errGrantType = annona.Invalid("unsupported_grant_type", "this server gives tokens for grant_type=client_credentials, authorization_code, refresh_token and "+exchangeGrant)
	errScope     = annona.Invalid("invalid_scope", "there are no scopes here; say what the token is for in authorization_details")
	errUnbound   = annona.Invalid("invalid_request", "a client that proves who it is by a key gets tokens that are bound to one: send a DPoP proof, or connect with a client certificate")
)

// GiveToken gives a client an access token. The token is bound to the key of the proof and to the
// certificate of the connection, if there are any; only a client that proves itself by a secret gets one
// that is bound to nothing.
//
// Errors: unsupported_grant_type, invalid_scope, invalid_authorization_details, invalid_request,
// invalid_client, invalid_grant, invalid_dpop_proof, use_dpop_nonce, network_not_allowed, and those of Admit.
func (i *Issuer) GiveToken(ctx context.Context, r TokenRequest) (Issued, error) {
	if r.Scope != "" {
		return Issued{}, errScope
	}
	switch r.Grant {
	case "client_credentials":
		return i.forItself(ctx, r)
	case "authorization_code":
		return i.takeUp(ctx, r)
	case "refresh_token":
		return i.refresh(ctx, r)
	case exchangeGrant:
		return i.exchange(ctx, r)
	}
	return Issued{}, errGrantType
}

// forItself gives a token to a client that acts for nobody else.
func (i *Issuer) forItself(ctx context.Context, r TokenRequest) (Issued, error) {
	a, err := i.begin(ctx, r)
	if err != nil {
		return Issued{}, err
	}
	if a.token.Within, err = readDetails(r.Details, a.client.Agreement); err != nil {
		return Issued{}, err
	}
	if err := i.admit(ctx, &a); err != nil {
		return Issued{}, err
	}
	issued := i.write(&a, r.Details != "")
	return issued, i.keep(ctx, &a, issued.Token)
}

// asking is a request for a token whose client has proved who it is. What it was proved by is not
// claimed yet.
type asking struct {
	known
	token   annona.Token
	network netip.Addr
	made    proof
	claim   *annona.Claim // of the proof
}

// begin identifies the client of a request, and binds the token that it is going to get.
func (i *Issuer) begin(ctx context.Context, r TokenRequest) (a asking, err error) {
	if a.known, err = i.identify(ctx, r.Client); err != nil {
		return a, err
	}
	now := i.clock()
	a.network = plainAddr(r.Client.From)
	a.token = annona.Token{Client: a.client.ID, Certificate: thumbprint(r.Client.Certificate), IssuedAt: now, ExpiresAt: now.Add(TokenLife)}
	a.made, a.claim, err = i.bind(ctx, r, a.known, &a.token)
	return a, err
}

// admit asks the gate whether the client may have the token.
func (i *Issuer) admit(ctx context.Context, a *asking) error {
	return i.Admit(ctx, annona.Caller{
		Client: a.client.ID, Agreement: a.client.Agreement, Strength: strengthOf(a.client, &a.token), Network: a.network, Acting: a.token.Acting,
	}, a.token.Within)
}

// write makes the text of a token. detailed says whether the client is told what it is for.
func (i *Issuer) write(a *asking, detailed bool) Issued {
	text := newSecretText(tokenPrefix)
	a.token.Hash = i.HashToken([]byte(text))
	issued := Issued{Token: a.token, Text: text, ClientID: a.client.KeyID}
	if detailed {
		issued.Details = Details(a.token.Within, a.client.Agreement)
	}
	return issued
}

// keep keeps a token and claims, with it, what it was asked with.
func (i *Issuer) keep(ctx context.Context, a *asking, token annona.Token) error {
	err := i.Claims.PutToken(ctx, token, a.assertion, a.claim, a.made.epoch)
	i.ended(a.made.epoch, err)
	return replayed(err)
}

// bind binds a token to the key of the proof that the request shows.
func (i *Issuer) bind(ctx context.Context, r TokenRequest, k known, token *annona.Token) (proof, *annona.Claim, error) {
	if len(r.Proofs) == 0 {
		if token.Certificate == nil && k.client.Method != annona.MethodSecret {
			return proof{}, nil, errUnbound
		}
		return proof{}, nil, nil
	}
	made, err := i.check(ctx, r.Proofs, r.Method, r.Path, "")
	if err != nil {
		return proof{}, nil, err
	}
	claim := made.claim(token.Client)
	token.Key = made.thumbprint
	return made, &claim, nil
}

// replayed says of a claim that failed at the token endpoint what OAuth calls it.
func replayed(err error) error {
	if annona.CodeOf(err) == annona.ErrClaimed.Code {
		return annona.Unauthenticated("invalid_client", "the assertion or the proof was shown before; make both anew for each request")
	}
	return err
}

// strengthOf is how strong a client stands that shows a token. A secret is the weaker rung, whatever
// the token is bound to.
func strengthOf(client *annona.Client, t *annona.Token) annona.Strength {
	if client.Method == annona.MethodSecret || t.Key == nil && t.Certificate == nil {
		return annona.StrengthOAuth
	}
	return annona.StrengthSenderConstrained
}

// tokenPrefix lets scanners for leaked secrets recognize a token.
const tokenPrefix = "annona_token_"

// newSecretText makes a token: 160 random bits and a checksum, as in a key.
func newSecretText(prefix string) string {
	body := prefix + keyDigits.EncodeToString(fresh(secretBytes))
	return body + checksum(body)
}

// identifyOnce is identify for what gives no token: the assertion is claimed at once.
func (i *Issuer) identifyOnce(ctx context.Context, shown ShownClient) (*annona.Client, error) {
	k, err := i.identify(ctx, shown)
	if err != nil {
		return nil, err
	}
	if k.assertion != nil {
		if err := i.Claims.ClaimAssertion(ctx, *k.assertion); err != nil {
			return nil, replayed(err)
		}
	}
	return k.client, nil
}

// Introspect tells a client about a token of its own (RFC 7662). nil: it is not active, or another's. A
// refresh token is told as a token that is bound to nothing.
func (i *Issuer) Introspect(ctx context.Context, shown ShownClient, text string) (client *annona.Client, token *annona.Token, err error) {
	if client, err = i.identifyOnce(ctx, shown); err != nil {
		return nil, nil, err
	}
	hash := i.HashToken([]byte(text))
	if strings.HasPrefix(text, refreshPrefix) {
		d, err := i.ownDelegation(ctx, client, hash)
		if d == nil || err != nil || !holds(d, i.clock()) {
			return client, nil, err
		}
		return client, &annona.Token{Client: client.ID, Within: d.Within, Acting: d.Acting, Delegation: d.ID, IssuedAt: d.BeganAt, ExpiresAt: d.Until}, nil
	}
	token, err = i.Store.TokenByHash(ctx, hash)
	if err != nil || token == nil || token.Client != client.ID || !isActive(token, i.clock()) {
		return client, nil, err
	}
	return client, token, nil
}

func isActive(t *annona.Token, now time.Time) bool {
	return t.RevokedAt.IsZero() && now.Before(t.ExpiresAt)
}

// ownDelegation finds what a client refreshes tokens by; nil when there is none, or it is another's.
func (i *Issuer) ownDelegation(ctx context.Context, client *annona.Client, hash annona.TokenHash) (*annona.Delegation, error) {
	d, err := i.Delegations.DelegationByHash(ctx, hash)
	if err != nil || d == nil || d.Client != client.ID || d.Stage != annona.DelegationTaken || !sameHash(d.Hash, hash) {
		return nil, err
	}
	return d, nil
}

// Revoke revokes a token of the client that asks (RFC 7009). A refresh token takes with it all access
// tokens that came of it. Another's stays, and nobody is told.
func (i *Issuer) Revoke(ctx context.Context, shown ShownClient, text string) error {
	client, err := i.identifyOnce(ctx, shown)
	if err != nil {
		return err
	}
	hash := i.HashToken([]byte(text))
	if !strings.HasPrefix(text, refreshPrefix) {
		return i.Claims.RevokeToken(ctx, hash, client.ID, i.clock())
	}
	d, err := i.ownDelegation(ctx, client, hash)
	if d == nil || err != nil {
		return err
	}
	return i.Delegations.EndDelegation(ctx, d.ID, i.clock())
}

// Logout ends tokens of others, as their issuer says in a logout token.
//
// Errors: invalid_request, identity_provider_unavailable.
func (i *Issuer) Logout(ctx context.Context, text string) error {
	if i.Outside == nil {
		return annona.Invalid("invalid_request", "no identity provider of others counts here")
	}
	return i.Outside.Logout(ctx, text)
}

// Sign signs a statement of the authorization server, of that typ, by the key in use.
func (i *Issuer) Sign(typ string, statement any) (string, error) {
	keys := i.Signing()
	body, err := json.Marshal(statement)
	if err != nil || len(keys) == 0 {
		return "", annona.Internal("sign an answer", err)
	}
	key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: keys[0].Private, KeyID: keys[0].ID}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", annona.Internal("sign an answer", err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		return "", annona.Internal("sign an answer", err)
	}
	return signed.CompactSerialize()
}

// PublicKeys returns the public keys that answers are signed by, as a JWK set: the one in use first,
// then those before it.
func (i *Issuer) PublicKeys() ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range i.Signing() {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Private.Public(), KeyID: k.ID, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	body, err := json.Marshal(set)
	if err != nil {
		return nil, annona.Internal("write the public keys", err)
	}
	return body, nil
}

// DetailType is the type of our authorization_details (RFC 9396).
const DetailType = "annona_exchange"

// detail is the one object that authorization_details may have.
type detail struct {
	Type      string   `json:"type"`
	Agreement string   `json:"agreement,omitempty"`
	Purpose   string   `json:"purpose,omitempty"`
	Datasets  []string `json:"datasets,omitempty"`
}

// errDetails is every refusal of authorization_details.
var errDetails = annona.Invalid("invalid_authorization_details", "authorization_details is a list of one object of type %s, with any of agreement, which is the client's own, purpose and datasets", DetailType)

// readDetails reads authorization_details. What an agreement grants is not looked at here.
func readDetails(text, agreement string) (annona.Authorization, error) {
	if text == "" {
		return annona.Authorization{}, nil
	}
	var list []detail
	if err := readStrictly(text, &list); err != nil || len(list) != 1 || list[0].Type != DetailType {
		return annona.Authorization{}, errDetails
	}
	d := list[0]
	if d.Agreement != "" && d.Agreement != agreement {
		return annona.Authorization{}, errDetails
	}
	slices.Sort(d.Datasets)
	return annona.Authorization{Purpose: d.Purpose, Datasets: slices.Compact(d.Datasets)}, nil
}

// Details writes what a token is good for as authorization_details.
func Details(within annona.Authorization, agreement string) json.RawMessage {
	body, _ := json.Marshal([]detail{{DetailType, agreement, within.Purpose, within.Datasets}}) // strings: cannot fail
	return body
}
