package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// The times of a delegation.
const (
	RequestLife    = 9 * time.Minute  // of a pushed request: somebody signs in meanwhile (FAPI 2.0: less than 10)
	codeLife       = 60 * time.Second // FAPI 2.0: at most 60
	DelegationLife = 12 * time.Hour   // of a refresh token: a working day, then the person signs in again
)

// leastAge is the least max_age that is taken at its word: nobody signs in and consents in less.
const leastAge = time.Minute

// requestPrefix begins a request_uri (RFC 9126).
const requestPrefix = "urn:ietf:params:oauth:request_uri:"

// refreshPrefix lets scanners for leaked secrets recognize a refresh token.
const refreshPrefix = "annona_refresh_"

// The bounds of what a client pushes.
const (
	maxState = 1024 // bytes
	maxAge   = 365 * 24 * time.Hour
)

var (
	verifierShape  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`) // RFC 7636
	challengeShape = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)       // of SHA-256
)

// PushedRequest is what a client pushes, before it sends a browser here (RFC 9126).
type PushedRequest struct {
	Client       ShownClient
	ResponseType string
	ResponseMode string
	Redirect     string
	State        string
	Challenge    string // code_challenge
	Method       string // code_challenge_method
	Scope        string
	Details      string // authorization_details
	Thumbprint   string // dpop_jkt
	Assurances   string // acr_values, the one that is wanted first
	MaxAge       string
	Proofs       []string // every header DPoP
	Verb, Path   string   // of the HTTP request
}

// pushed is what a delegation remembers of it, until it is taken up.
type pushed struct {
	Redirect   string     `json:"redirect_uri"`
	State      string     `json:"state,omitempty"`
	Challenge  string     `json:"code_challenge"`
	Thumbprint string     `json:"dpop_jkt,omitempty"`
	Assurance  string     `json:"acr,omitempty"`
	MaxAge     int64      `json:"max_age,omitempty"` // seconds
	Detailed   bool       `json:"detailed,omitempty"`
	From       netip.Addr `json:"from"` // where the client pushed it from
}

func (p pushed) demand() annona.Demand {
	assurance, _ := annona.ParseAssurance(p.Assurance)
	return annona.Demand{Assurance: assurance, MaxAge: time.Duration(p.MaxAge) * time.Second}
}

var (
	errActsForNobody  = annona.Forbidden("unauthorized_client", "this client acts for itself: one that acts for people proves who it is by a key or a certificate, and is registered with the addresses that a browser may be sent back to")
	errResponseType   = annona.Invalid("unsupported_response_type", "the response_type is code, and its response_mode query")
	errRedirect       = annona.Invalid("invalid_request", "the redirect_uri is none of those that the client is registered with, letter by letter")
	errChallenge      = annona.Invalid("invalid_request", "send a code_challenge of 43 characters with code_challenge_method=S256 (RFC 7636)")
	errState          = annona.Invalid("invalid_request", "the state has at most %d printable characters of ASCII", maxState)
	errThumbprint     = annona.Invalid("invalid_request", "dpop_jkt is the SHA-256 thumbprint of the key that signs the proof")
	errAssurance      = annona.Invalid("invalid_request", "acr_values names none that is known here: mfa, phr")
	errMaxAge         = annona.Invalid("invalid_request", "max_age is a number of seconds, at most a year")
	errRequestURI     = annona.Invalid("invalid_request", "the request is not known, was used, or is over: start again in the application")
	errGrant          = annona.Invalid("invalid_grant", "the code or the refresh token is not good: it is another client's, was used, has ended, or code_verifier and redirect_uri are not those of the request")
	errGrantKey       = annona.Invalid("invalid_grant", "the code is bound to another key than the one of the proof")
	errSignInAgain    = annona.Unauthenticated("sign_in_required", "sign in again, in the way that the application asks for")
	errNobodySignedIn = annona.Unauthenticated("sign_in_required", "nobody has signed in")
)

// Push keeps what a client wants to do for somebody, and returns the request_uri by which a browser
// brings it up.
//
// Errors: invalid_request, invalid_client, invalid_scope, invalid_authorization_details,
// unsupported_response_type, unauthorized_client, invalid_dpop_proof, use_dpop_nonce, and those of Admit.
func (i *Issuer) Push(ctx context.Context, r PushedRequest) (requestURI string, err error) {
	k, err := i.identify(ctx, r.Client)
	if err != nil {
		return "", err
	}
	if !actsForPeople(k.client) {
		return "", errActsForNobody
	}
	kept, within, err := r.read(k.client)
	if err != nil {
		return "", err
	}
	kept.From = plainAddr(r.Client.From)
	var claim *annona.Claim
	epoch := annona.UID{}
	if len(r.Proofs) > 0 {
		made, err := i.check(ctx, r.Proofs, r.Verb, r.Path, "")
		if err != nil {
			return "", err
		}
		shown := base64.RawURLEncoding.EncodeToString(made.thumbprint)
		if kept.Thumbprint != "" && kept.Thumbprint != shown {
			return "", errThumbprint
		}
		kept.Thumbprint = shown
		c := made.claim(k.client.ID)
		claim, epoch = &c, made.epoch
	}
	caller := annona.Caller{Client: k.client.ID, Agreement: k.client.Agreement, Strength: annona.StrengthSenderConstrained, Network: kept.From}
	if err := i.Admit(ctx, caller, within); err != nil {
		return "", err
	}
	if err := i.claimAll(ctx, k, claim, epoch); err != nil {
		return "", err
	}
	body, err := json.Marshal(kept)
	if err != nil {
		return "", annona.Internal("keep a request", err)
	}
	now := i.clock()
	requestURI = requestPrefix + keyDigits.EncodeToString(fresh(secretBytes))
	return requestURI, i.Delegations.PutDelegation(ctx, annona.Delegation{
		ID: annona.NewUID(), Client: k.client.ID, Stage: annona.DelegationPushed, Hash: i.HashToken([]byte(requestURI)),
		Request: body, Within: within, BeganAt: now, Until: now.Add(RequestLife),
	})
}

// actsForPeople reports whether a client may. One with a secret may not: whoever has it has all.
func actsForPeople(c *annona.Client) bool {
	return len(c.Redirects) > 0 && (c.Method == annona.MethodPrivateKeyJWT || c.Method == annona.MethodTLS)
}

// read checks what was pushed.
func (r PushedRequest) read(client *annona.Client) (kept pushed, within annona.Authorization, err error) {
	switch {
	case r.ResponseType != "code" || r.ResponseMode != "" && r.ResponseMode != "query":
		return kept, within, errResponseType
	case r.Scope != "":
		return kept, within, errScope
	case !slices.Contains(client.Redirects, r.Redirect):
		return kept, within, errRedirect
	case r.Method != "S256" || !challengeShape.MatchString(r.Challenge):
		return kept, within, errChallenge
	case len(r.State) > maxState || strings.ContainsFunc(r.State, func(c rune) bool { return c < ' ' || c > '~' }):
		return kept, within, errState
	case r.Thumbprint != "" && !challengeShape.MatchString(r.Thumbprint):
		return kept, within, errThumbprint
	}
	kept = pushed{Redirect: r.Redirect, State: r.State, Challenge: r.Challenge, Thumbprint: r.Thumbprint, Detailed: r.Details != ""}
	if within, err = readDetails(r.Details, client.Agreement); err != nil {
		return kept, within, err
	}
	if kept.Assurance, err = readAssurances(r.Assurances); err != nil {
		return kept, within, err
	}
	kept.MaxAge, err = readMaxAge(r.MaxAge)
	return kept, within, err
}

// readAssurances takes the first assurance that is known here: acr_values are in order of preference.
func readAssurances(text string) (string, error) {
	for word := range strings.FieldsSeq(text) {
		if a, ok := annona.ParseAssurance(word); ok && a > annona.AssuranceOutside {
			return word, nil
		}
	}
	if text != "" {
		return "", errAssurance
	}
	return "", nil
}

func readMaxAge(text string) (seconds int64, err error) {
	if text == "" {
		return 0, nil
	}
	seconds, err = strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > int64(maxAge/time.Second) {
		return 0, errMaxAge
	}
	return max(seconds, int64(leastAge/time.Second)), nil
}

// claimAll claims what a request was made with.
func (i *Issuer) claimAll(ctx context.Context, k known, proof *annona.Claim, epoch annona.UID) error {
	if proof != nil {
		err := i.Claims.ClaimProof(ctx, *proof, epoch)
		i.ended(epoch, err)
		if err != nil {
			return replayed(err)
		}
	}
	if k.assertion != nil {
		return replayed(i.Claims.ClaimAssertion(ctx, *k.assertion))
	}
	return nil
}

// Asked is what a client asks a person for.
type Asked struct {
	Client   *annona.Client
	Within   annona.Authorization // the zero one: all that the agreement grants
	Redirect string               // where the browser goes when the person has answered
	Demand   annona.Demand        // how the person must have signed in

	delegation *annona.Delegation
	request    pushed
}

// Asked returns what a client has pushed, as long as nobody has answered. clientID and requestURI are what
// the browser brings.
//
// Errors: invalid_request.
func (i *Issuer) Asked(ctx context.Context, clientID, requestURI string) (*Asked, error) {
	if !strings.HasPrefix(requestURI, requestPrefix) || len(requestURI) > len(requestPrefix)+64 {
		return nil, errRequestURI // one that nobody pushed is fetched by nobody
	}
	d, err := i.Delegations.DelegationByHash(ctx, i.HashToken([]byte(requestURI)))
	if err != nil {
		return nil, err
	}
	if d == nil || d.Stage != annona.DelegationPushed || !holds(d, i.clock()) {
		return nil, errRequestURI
	}
	client, err := i.Store.ClientByID(ctx, d.Client)
	if err != nil {
		return nil, err
	}
	if client == nil || client.KeyID != clientID || !actsForPeople(client) {
		return nil, errRequestURI
	}
	asked := &Asked{Client: client, Within: d.Within, delegation: d}
	if err := json.Unmarshal(d.Request, &asked.request); err != nil {
		return nil, annona.Internal("read a request", err)
	}
	if !slices.Contains(client.Redirects, asked.request.Redirect) {
		return nil, errRequestURI // it was taken from the client meanwhile
	}
	asked.Redirect, asked.Demand = asked.request.Redirect, asked.request.demand()
	return asked, nil
}

// holds reports whether a delegation is in its stage still.
func holds(d *annona.Delegation, now time.Time) bool {
	return d.EndedAt.IsZero() && now.Before(d.Until)
}

// Allow lets the client act for who has signed in, and returns where the browser goes next: to the
// client, with a code. It is in the ledger before the code is anywhere.
//
// Errors: invalid_request; sign_in_required when who has not signed in as the client demands; those of
// Admit.
func (i *Issuer) Allow(ctx context.Context, clientID, requestURI string, who annona.SignedIn) (next string, err error) {
	if who.Person == (annona.UID{}) {
		return "", errNobodySignedIn
	}
	asked, err := i.Asked(ctx, clientID, requestURI)
	if err != nil {
		return "", err
	}
	now := i.clock()
	if !who.Meets(asked.Demand, now) {
		return "", errSignInAgain
	}
	caller := annona.Caller{
		Client: asked.Client.ID, Agreement: asked.Client.Agreement, Strength: annona.StrengthSenderConstrained,
		Network: asked.request.From, Acting: who,
	}
	if err := i.Admit(ctx, caller, asked.Within); err != nil {
		return "", err
	}
	code := keyDigits.EncodeToString(fresh(secretBytes))
	d := *asked.delegation
	d.Stage, d.Hash, d.Acting, d.Until = annona.DelegationAllowed, i.HashToken([]byte(code)), who, now.Add(codeLife)
	if err := i.Delegated(ctx, caller, d); err != nil {
		return "", err
	}
	if err := i.Delegations.MoveDelegation(ctx, asked.delegation.Hash, d, nil); err != nil {
		return "", usedUp(err, errRequestURI)
	}
	return i.answer(asked.request, "code", code), nil
}

// Refuse tells the client that the person does not want it to act for them, and returns where the browser
// goes next.
//
// Errors: invalid_request.
func (i *Issuer) Refuse(ctx context.Context, clientID, requestURI string) (next string, err error) {
	asked, err := i.Asked(ctx, clientID, requestURI)
	if err != nil {
		return "", err
	}
	if err := i.Delegations.EndDelegation(ctx, asked.delegation.ID, i.clock()); err != nil {
		return "", err
	}
	return i.answer(asked.request, "error", "access_denied"), nil
}

// answer is the address of the client with an answer. It names the issuer (RFC 9207).
func (i *Issuer) answer(r pushed, name, value string) string {
	to, err := url.Parse(r.Redirect)
	if err != nil {
		return r.Redirect // cannot be: registered ones were parsed
	}
	query := to.Query()
	query.Set(name, value)
	query.Set("iss", i.Origin)
	if r.State != "" {
		query.Set("state", r.State)
	}
	to.RawQuery = query.Encode()
	return to.String()
}

func usedUp(err, refused error) error {
	if annona.CodeOf(err) == annona.ErrClaimed.Code {
		return refused
	}
	return err
}

// takeUp gives a client its first token for a person, and what it refreshes that by. A code that is shown
// a second time ends what came of the first.
func (i *Issuer) takeUp(ctx context.Context, r TokenRequest) (Issued, error) {
	a, err := i.begin(ctx, r)
	if err != nil {
		return Issued{}, err
	}
	if err := i.claimAll(ctx, a.known, a.claim, a.made.epoch); err != nil {
		return Issued{}, err
	}
	hash := i.HashToken([]byte(r.Code))
	d, err := i.delegationOf(ctx, a.client, hash)
	if err != nil {
		return Issued{}, err
	}
	if sameHash(d.Code, hash) {
		return Issued{}, i.endReused(ctx, d)
	}
	var request pushed
	if err := json.Unmarshal(d.Request, &request); d.Stage != annona.DelegationAllowed || !holds(d, i.clock()) || err != nil {
		return Issued{}, errGrant
	}
	switch {
	case request.Redirect != r.Redirect || !solves(r.Verifier, request.Challenge):
		return Issued{}, errGrant
	case request.Thumbprint != "" && request.Thumbprint != base64.RawURLEncoding.EncodeToString(a.token.Key):
		return Issued{}, errGrantKey
	}
	if err := i.act(ctx, &a, d, d.Within); err != nil {
		return Issued{}, err
	}
	refresh := newSecretText(refreshPrefix)
	from := d.Hash
	d.Stage, d.Code, d.Hash, d.Request, d.Until = annona.DelegationTaken, d.Hash, i.HashToken([]byte(refresh)), nil, a.token.IssuedAt.Add(DelegationLife)
	issued := i.write(&a, request.Detailed)
	if err := i.Delegations.MoveDelegation(ctx, from, *d, &issued.Token); err != nil {
		if annona.CodeOf(err) == annona.ErrClaimed.Code {
			return Issued{}, i.endReused(ctx, d)
		}
		return Issued{}, err
	}
	issued.Refresh = refresh
	return issued, nil
}

// endReused ends a delegation whose code was shown twice: one of the two was a thief.
func (i *Issuer) endReused(ctx context.Context, d *annona.Delegation) error {
	if err := i.Delegations.EndDelegation(ctx, d.ID, i.clock()); err != nil {
		return err
	}
	return errGrant
}

// solves reports whether a verifier is the one of a challenge.
func solves(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return verifierShape.MatchString(verifier) && same([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge))
}

// refresh gives another token of a delegation. The refresh token stays the same: it counts only together
// with what the client proves itself by, so that rotating it would protect nobody, and lose sessions
// (FAPI 2.0, 5.3.2.1).
func (i *Issuer) refresh(ctx context.Context, r TokenRequest) (Issued, error) {
	a, err := i.begin(ctx, r)
	if err != nil {
		return Issued{}, err
	}
	hash := i.HashToken([]byte(r.Refresh))
	d, err := i.delegationOf(ctx, a.client, hash)
	if err != nil {
		return Issued{}, err
	}
	if !sameHash(d.Hash, hash) || d.Stage != annona.DelegationTaken || !holds(d, i.clock()) {
		return Issued{}, errGrant
	}
	within, err := i.narrower(r.Details, a.client.Agreement, d.Within)
	if err != nil {
		return Issued{}, err
	}
	if err := i.act(ctx, &a, d, within); err != nil {
		return Issued{}, err
	}
	issued := i.write(&a, within.Purpose != "" || within.Datasets != nil)
	return issued, i.keep(ctx, &a, issued.Token)
}

// delegationOf finds a delegation of that client: another's is as good as none.
func (i *Issuer) delegationOf(ctx context.Context, client *annona.Client, hash annona.TokenHash) (*annona.Delegation, error) {
	d, err := i.Delegations.DelegationByHash(ctx, hash)
	if err != nil {
		return nil, err
	}
	if d == nil || d.Client != client.ID || !actsForPeople(client) {
		return nil, errGrant
	}
	return d, nil
}

// act makes a token one that acts for the person of a delegation, once the gate has admitted it.
func (i *Issuer) act(ctx context.Context, a *asking, d *annona.Delegation, within annona.Authorization) error {
	a.token.Acting, a.token.Delegation, a.token.Within = d.Acting, d.ID, within
	err := i.admit(ctx, a)
	if annona.CodeOf(err) == errToken.Code {
		return errGrant // the person has ended it, or is not there any more
	}
	return err
}

// narrower reads authorization_details of a token that comes of another one: it is for no more.
func (i *Issuer) narrower(text, agreement string, than annona.Authorization) (annona.Authorization, error) {
	if text == "" {
		return than, nil
	}
	within, err := readDetails(text, agreement)
	if err != nil {
		return within, err
	}
	if within.Purpose == "" {
		within.Purpose = than.Purpose
	}
	if within.Datasets == nil {
		within.Datasets = than.Datasets
	}
	wider := slices.ContainsFunc(within.Datasets, func(d string) bool { return !slices.Contains(than.Datasets, d) })
	if than.Purpose != "" && within.Purpose != than.Purpose || than.Datasets != nil && wider {
		return within, annona.Invalid("invalid_authorization_details", "a token that comes of another one is for no more than that one")
	}
	return within, nil
}
