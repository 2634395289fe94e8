package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

const (
	redirect = "https://cases.example/back?tenant=7"
	pushPath = "/oauth2/par"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// delegations are those of a shelf.
type delegations struct {
	locked sync.Mutex
	all    map[annona.UID]annona.Delegation

	meanwhile func() // what somebody else does between the next look-up and what is made of it; nil: nothing
}

func (s *delegations) PutDelegation(_ context.Context, d annona.Delegation) error {
	s.locked.Lock()
	defer s.locked.Unlock()
	s.all[d.ID] = d
	return nil
}

func (s *delegations) DelegationByHash(_ context.Context, hash annona.TokenHash) (*annona.Delegation, error) {
	found := s.byHash(hash)
	if meanwhile := s.meanwhile; meanwhile != nil {
		s.meanwhile = nil
		meanwhile()
	}
	return found, nil
}

func (s *delegations) byHash(hash annona.TokenHash) *annona.Delegation {
	s.locked.Lock()
	defer s.locked.Unlock()
	for _, d := range s.all {
		if d.Hash == hash || d.Code == hash {
			return &d
		}
	}
	return nil
}

func (s *delegations) move(from annona.TokenHash, d annona.Delegation) error {
	s.locked.Lock()
	defer s.locked.Unlock()
	if old, ok := s.all[d.ID]; !ok || old.Hash != from || !old.EndedAt.IsZero() {
		return annona.ErrClaimed
	}
	s.all[d.ID] = d
	return nil
}

func (s *delegations) EndDelegation(_ context.Context, id annona.UID, at time.Time) error {
	s.locked.Lock()
	defer s.locked.Unlock()
	if d, ok := s.all[id]; ok && d.EndedAt.IsZero() {
		d.EndedAt = at
		s.all[id] = d
	}
	return nil
}

// endOf is when a delegation has ended.
func (s *delegations) endOf(id annona.UID) time.Time {
	s.locked.Lock()
	defer s.locked.Unlock()
	return s.all[id].EndedAt
}

func (s *delegations) DelegationsOf(context.Context, annona.UID) ([]annona.Delegation, error) {
	return nil, nil
}

func (s *delegations) DropDelegations(context.Context, time.Time) error { return nil }

func (o *office) who() annona.SignedIn {
	return annona.SignedIn{Person: annona.UID{7}, Assurance: annona.AssuranceTwoFactors, At: o.now.Add(-time.Minute)}
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// pushing is a request that holds, bound to the key of a proof.
func (o *office) pushing(key crypto.Signer) PushedRequest {
	return PushedRequest{
		Client:       ShownClient{Assertion: o.assertion().text(o.TB), AssertionType: AssertionType, From: netip.MustParseAddr("192.0.2.7")},
		ResponseType: "code", Redirect: redirect, State: "s1", Challenge: challengeOf(verifier), Method: "S256",
		Proofs: []string{o.proofFor(key, "POST", pushPath, "").text(o.TB)}, Verb: "POST", Path: pushPath,
	}
}

func (o *office) pushed(r PushedRequest) string {
	o.Helper()
	requestURI, err := o.issuer.Push(o.Context(), r)
	if err != nil {
		o.Fatal(err)
	}
	return requestURI
}

// code goes as far as the code.
func (o *office) code(r PushedRequest) string {
	o.Helper()
	next, err := o.issuer.Allow(o.Context(), o.signer.KeyID, o.pushed(r), o.who())
	if err != nil {
		o.Fatal(err)
	}
	to, err := url.Parse(next)
	if err != nil {
		o.Fatal(err)
	}
	return to.Query().Get("code")
}

// takingUp takes a code up, by the client that signs.
func (o *office) takingUp(code string) TokenRequest {
	r := o.ask(o.signerKey)
	r.Grant, r.Code, r.Redirect, r.Verifier = "authorization_code", code, redirect, verifier
	return r
}

func (o *office) refreshing(refresh string) TokenRequest {
	r := o.ask(o.signerKey)
	r.Grant, r.Refresh = "refresh_token", refresh
	return r
}

// A person lets a client act for them: the client and the person are both in what the token says, and it
// ends when the client revokes what it refreshes it by.
func TestCodeFlow(t *testing.T) {
	o := newOffice(t)
	push := o.pushing(o.signerKey)
	push.Details = `[{"type":"annona_exchange","purpose":"eligibility-assessment","datasets":["individuals"]}]`
	requestURI := o.pushed(push)
	asked, err := o.issuer.Asked(o.Context(), o.signer.KeyID, requestURI)
	if err != nil || asked.Client.KeyID != o.signer.KeyID || asked.Within.Purpose != "eligibility-assessment" || asked.Redirect != redirect {
		t.Fatalf("asked %+v, %v", asked, err)
	}
	next, err := o.issuer.Allow(o.Context(), o.signer.KeyID, requestURI, o.who())
	if err != nil {
		t.Fatal(err)
	}
	to, _ := url.Parse(next)
	got := to.Query()
	if !strings.HasPrefix(next, "https://cases.example/back?") || got.Get("tenant") != "7" || got.Get("state") != "s1" || got.Get("iss") != officeURL || got.Get("code") == "" {
		t.Fatalf("the browser goes to %s", next)
	}
	if len(o.recorded) != 1 || o.admitted.Acting != o.who() || o.admitted.Client != o.signer.ID {
		t.Errorf("recorded %+v, admitted %+v", o.recorded, o.admitted)
	}

	first := o.issued(o.takingUp(got.Get("code")))
	if first.Type() != "DPoP" || first.Refresh == "" || first.Acting != o.who() || !strings.Contains(string(first.Details), "individuals") {
		t.Errorf("got %+v", first)
	}
	caller, err := o.tokens.Recognize(o.Context(), o.show(o.signerKey, first.Text))
	if err != nil || caller.Acting != o.who() || caller.Client != o.signer.ID || caller.Strength != annona.StrengthSenderConstrained {
		t.Errorf("the caller is %+v, %v", caller, err)
	}
	o.now = o.now.Add(time.Hour)
	second := o.issued(o.refreshing(first.Refresh))
	if second.Refresh != "" || second.Acting.Person != caller.Acting.Person || second.Within.Purpose != "eligibility-assessment" {
		t.Errorf("refreshed: %+v", second)
	}
	shown := ShownClient{Assertion: o.assertion().text(t), AssertionType: AssertionType}
	if _, told, err := o.issuer.Introspect(t.Context(), shown, first.Refresh); err != nil || told == nil {
		t.Errorf("the refresh token is not active: %v", err)
	}
	shown.Assertion = o.assertion().text(t)
	if err := o.issuer.Revoke(t.Context(), shown, first.Refresh); err != nil {
		t.Fatal(err)
	}
	refuses(t, "a token of a delegation that was revoked", o.recognize(o.show(o.signerKey, second.Text)), "invalid_token")
	_, err = o.issuer.GiveToken(t.Context(), o.refreshing(first.Refresh))
	refuses(t, "a refresh token that was revoked", err, "invalid_grant")
}

// FA-14, FA-16, FA-19, FA-26: what is pushed is refused whenever it is not exactly as it must be.
func TestPushesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, code string
		change     func(o *office, r *PushedRequest)
	}{
		{"FA-14 an implicit token", "unsupported_response_type", func(_ *office, r *PushedRequest) { r.ResponseType = "token" }},
		{"FA-14 a hybrid answer", "unsupported_response_type", func(_ *office, r *PushedRequest) { r.ResponseType = "code id_token" }},
		{"an answer behind #", "unsupported_response_type", func(_ *office, r *PushedRequest) { r.ResponseMode = "fragment" }},
		{"FA-15 no client", "invalid_client", func(_ *office, r *PushedRequest) { r.Client = ShownClient{} }},
		{"FA-15 another key than the client's", "invalid_client", func(o *office, r *PushedRequest) {
			s := o.assertion()
			s.key = o.otherKey
			r.Client.Assertion = s.text(o.TB)
		}},
		{"FA-16 no challenge", "invalid_request", func(_ *office, r *PushedRequest) { r.Challenge = "" }},
		{"FA-16 plain", "invalid_request", func(_ *office, r *PushedRequest) { r.Challenge, r.Method = verifier, "plain" }},
		{"FA-16 no method", "invalid_request", func(_ *office, r *PushedRequest) { r.Method = "" }},
		{"FA-16 a challenge of another length", "invalid_request", func(_ *office, r *PushedRequest) { r.Challenge += "A" }},
		{"FA-19 no address", "invalid_request", func(_ *office, r *PushedRequest) { r.Redirect = "" }},
		{"FA-19 another address", "invalid_request", func(_ *office, r *PushedRequest) { r.Redirect = "https://evil.example/back" }},
		{"FA-19 another path", "invalid_request", func(_ *office, r *PushedRequest) { r.Redirect = "https://cases.example/back/../x?tenant=7" }},
		{"FA-19 another query", "invalid_request", func(_ *office, r *PushedRequest) { r.Redirect += "&x=1" }},
		{"FA-19 other capitals", "invalid_request", func(_ *office, r *PushedRequest) { r.Redirect = strings.ToUpper(r.Redirect) }},
		{"scopes", "invalid_scope", func(_ *office, r *PushedRequest) { r.Scope = "openid" }},
		{"a state of two lines", "invalid_request", func(_ *office, r *PushedRequest) { r.State = "a\r\nSet-Cookie: b" }},
		{"a long state", "invalid_request", func(_ *office, r *PushedRequest) { r.State = strings.Repeat("a", maxState+1) }},
		{"FA-10 the thumbprint of another key", "invalid_request", func(_ *office, r *PushedRequest) { r.Thumbprint = challengeOf("another") }},
		{"FA-10 a proof for another path", "invalid_dpop_proof", func(o *office, r *PushedRequest) {
			r.Proofs = []string{o.proofFor(o.signerKey, "POST", tokenPath, "").text(o.TB)}
		}},
		{"an unknown assurance", "invalid_request", func(_ *office, r *PushedRequest) { r.Assurances = "gold silver" }},
		{"a state beyond ASCII", "invalid_request", func(_ *office, r *PushedRequest) { r.State = "\u00e4" }},
		{"FA-10 a thumbprint that is none", "invalid_request", func(_ *office, r *PushedRequest) { r.Proofs, r.Thumbprint = nil, "short" }},
		{"an assurance that nobody can ask for", "invalid_request", func(_ *office, r *PushedRequest) { r.Assurances = annona.AssuranceOutside.String() }},
		{"a max_age that is none", "invalid_request", func(_ *office, r *PushedRequest) { r.MaxAge = "-1" }},
		{"a max_age that is no number", "invalid_request", func(_ *office, r *PushedRequest) { r.MaxAge = "soon" }},
		{"a max_age beyond a year", "invalid_request", func(_ *office, r *PushedRequest) { r.MaxAge = "31536001" }},
		{"FA-06 a secret, and addresses on file all the same", "unauthorized_client", func(o *office, r *PushedRequest) {
			o.secretive.Redirects = o.signer.Redirects
			r.Client = ShownClient{Basic: basic(o.secretive.KeyID, o.secret)}
		}},
		{"another agreement", "invalid_authorization_details", func(_ *office, r *PushedRequest) {
			r.Details = `[{"type":"annona_exchange","agreement":"another"}]`
		}},
		{"more than the agreement grants", "dataset_not_granted", func(o *office, _ *PushedRequest) {
			o.admit = annona.Forbidden("dataset_not_granted", "no")
		}},
	} {
		o := newOffice(t)
		r := o.pushing(o.signerKey)
		c.change(o, &r)
		_, err := o.issuer.Push(t.Context(), r)
		refuses(t, c.name, err, c.code)
		if len(o.store.delegations.all) > 0 {
			t.Errorf("%s: something is kept", c.name)
		}
	}
	o := newOffice(t)
	r := o.pushing(o.otherKey)
	s := o.assertion()
	s.key, s.claims["iss"], s.claims["sub"] = o.otherKey, o.other.KeyID, o.other.KeyID
	r.Client.Assertion = s.text(t)
	_, err := o.issuer.Push(t.Context(), r)
	refuses(t, "a client that acts for nobody", err, "unauthorized_client")
	same := o.pushing(o.signerKey)
	o.pushed(same)
	_, err = o.issuer.Push(t.Context(), same)
	refuses(t, "the same assertion and proof again", err, "invalid_client")
	again := o.pushing(o.signerKey)
	again.Proofs = same.Proofs
	_, err = o.issuer.Push(t.Context(), again)
	refuses(t, "DP-14 the same proof with another assertion", err, "invalid_client")
	again.Proofs = nil
	o.pushed(again) // what is refused claims no assertion
}

// FA-11, FA-17, FA-30, T-23: a request and a code count once, for a short while, for whom they were made.
func TestCodesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, code string
		change     func(o *office, r *TokenRequest)
	}{
		{"a code that nobody has", "invalid_grant", func(_ *office, r *TokenRequest) { r.Code = strings.Repeat("a", 32) }},
		{"no code", "invalid_grant", func(_ *office, r *TokenRequest) { r.Code = "" }},
		{"FA-11 after its time", "invalid_grant", func(o *office, r *TokenRequest) {
			code := r.Code
			o.now = o.now.Add(60 * time.Second)
			*r = o.takingUp(code)
		}},
		{"FA-16 no verifier", "invalid_grant", func(_ *office, r *TokenRequest) { r.Verifier = "" }},
		{"FA-16 another verifier", "invalid_grant", func(_ *office, r *TokenRequest) { r.Verifier = strings.Repeat("b", 43) }},
		{"FA-16 the challenge as the verifier", "invalid_grant", func(_ *office, r *TokenRequest) { r.Verifier = challengeOf(verifier) }},
		{"FA-19 another address", "invalid_grant", func(_ *office, r *TokenRequest) { r.Redirect = "https://cases.example/back" }},
		{"FA-10 another key", "invalid_grant", func(o *office, r *TokenRequest) {
			r.Proofs = []string{o.proofFor(o.otherKey, "POST", tokenPath, "").text(o.TB)}
		}},
		{"another client", "invalid_grant", func(o *office, r *TokenRequest) {
			o.other.Redirects = o.signer.Redirects
			s := o.assertion()
			s.key, s.claims["iss"], s.claims["sub"] = o.otherKey, o.other.KeyID, o.other.KeyID
			r.Client.Assertion = s.text(o.TB)
		}},
		{"as a refresh token", "invalid_grant", func(_ *office, r *TokenRequest) { r.Grant, r.Refresh = "refresh_token", r.Code }},
		{"a request that nobody has allowed", "invalid_grant", func(o *office, r *TokenRequest) { r.Code = o.pushed(o.pushing(o.signerKey)) }},
		{"FA-16 a short verifier", "invalid_grant", func(o *office, r *TokenRequest) {
			push := o.pushing(o.signerKey)
			push.Challenge = challengeOf("short")
			r.Code, r.Verifier = o.code(push), "short"
		}},
		{"FA-29 an assertion that was shown before", "invalid_client", func(o *office, r *TokenRequest) {
			before := o.pushing(o.signerKey)
			o.pushed(before)
			r.Client = before.Client
		}},
		{"DP-14 a proof that was shown before", "invalid_client", func(o *office, r *TokenRequest) {
			before := o.takingUp("none")
			_, _ = o.issuer.GiveToken(o.Context(), before)
			r.Proofs = before.Proofs
		}},
		{"a client that acts for people no more", "invalid_grant", func(o *office, _ *TokenRequest) { o.signer.Redirects = nil }},
		{"a person who is not there any more", "invalid_grant", func(o *office, _ *TokenRequest) { o.admit = errToken }},
		{"no longer admitted", "agreement_not_active", func(o *office, _ *TokenRequest) { o.admit = annona.Forbidden("agreement_not_active", "no") }},
	} {
		o := newOffice(t)
		r := o.takingUp(o.code(o.pushing(o.signerKey)))
		c.change(o, &r)
		_, err := o.issuer.GiveToken(t.Context(), r)
		refuses(t, c.name, err, c.code)
		if len(o.store.tokens) > 0 {
			t.Errorf("%s: a token is there", c.name)
		}
	}

	o := newOffice(t)
	code := o.code(o.pushing(o.signerKey))
	first := o.issued(o.takingUp(code))
	_, err := o.issuer.GiveToken(t.Context(), o.refreshing(code))
	refuses(t, "a code that was taken up, as a refresh token", err, "invalid_grant")
	_, err = o.issuer.GiveToken(t.Context(), o.takingUp(code))
	refuses(t, "FA-11 a code again", err, "invalid_grant")
	refuses(t, "what came of a code that was shown twice", o.recognize(o.show(o.signerKey, first.Text)), "invalid_token")
	_, err = o.issuer.GiveToken(t.Context(), o.refreshing(first.Refresh))
	refuses(t, "and its refresh token", err, "invalid_grant")
}

// Of many who take up one code at once, at most one gets a token, and it does not stay good.
func TestCodesCountOnce(t *testing.T) {
	o := newOffice(t)
	code := o.code(o.pushing(o.signerKey))
	requests := make([]TokenRequest, 20)
	for i := range requests {
		requests[i] = o.takingUp(code)
	}
	var many sync.WaitGroup
	var mu sync.Mutex
	var got []Issued
	for _, r := range requests {
		many.Go(func() {
			if issued, err := o.issuer.GiveToken(t.Context(), r); err == nil {
				mu.Lock()
				got = append(got, issued)
				mu.Unlock()
			}
		})
	}
	many.Wait()
	if len(got) > 1 {
		t.Errorf("one code gives %d tokens", len(got))
	}
	for _, issued := range got {
		refuses(t, "the token of a code that was shown twice", o.recognize(o.show(o.signerKey, issued.Text)), "invalid_token")
	}

	code = o.code(o.pushing(o.signerKey))
	var first Issued
	o.store.meanwhile = func() { first = o.issued(o.takingUp(code)) }
	_, err := o.issuer.GiveToken(t.Context(), o.takingUp(code))
	refuses(t, "a code that somebody else took up meanwhile", err, "invalid_grant")
	refuses(t, "their token", o.recognize(o.show(o.signerKey, first.Text)), "invalid_token")
}

// FA-15, FA-17, FA-30, T-23, T-24: what a browser brings is a request that this server gave to that client,
// that nobody has answered, and only somebody who signed in as demanded can.
func TestRequestsOfBrowsers(t *testing.T) {
	o := newOffice(t)
	for name, uri := range map[string]string{
		"none": "", "of another server": "https://evil.example/request.jwt", "made up": requestPrefix + strings.Repeat("a", 32), "huge": requestPrefix + strings.Repeat("a", 1<<16),
	} {
		_, err := o.issuer.Asked(t.Context(), o.signer.KeyID, uri)
		refuses(t, "FA-30 "+name, err, "invalid_request")
	}
	uri := o.pushed(o.pushing(o.signerKey))
	_, err := o.issuer.Allow(t.Context(), o.other.KeyID, uri, o.who())
	refuses(t, "FA-30 another client's", err, "invalid_request")
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, uri, annona.SignedIn{})
	refuses(t, "nobody", err, "sign_in_required")
	o.unrecorded = errors.New("the ledger is full")
	if next, err := o.issuer.Allow(t.Context(), o.signer.KeyID, uri, o.who()); err == nil {
		t.Errorf("a code that is not in the ledger: %s", next)
	}
	o.unrecorded, o.admit = nil, annona.Forbidden("person_of_other_partner", "no")
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, uri, o.who())
	refuses(t, "FA-13 somebody whom the gate does not admit", err, "person_of_other_partner")
	delete(o.store.clients, o.signer.KeyID)
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, uri, o.who())
	refuses(t, "of a client that is gone", err, "invalid_request")
	o.admit, o.store.clients[o.signer.KeyID] = nil, o.signer
	if _, err = o.issuer.Allow(t.Context(), o.signer.KeyID, uri, o.who()); err != nil {
		t.Fatal(err)
	}
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, uri, o.who())
	refuses(t, "T-23 a request that was answered", err, "invalid_request")

	removed, registered := o.pushed(o.pushing(o.signerKey)), o.signer.Redirects
	o.signer.Redirects = []string{"https://cases.example/another"}
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, removed, o.who())
	refuses(t, "FA-07 an address that the client has no more", err, "invalid_request")
	o.signer.Redirects = registered

	late := o.pushed(o.pushing(o.signerKey))
	o.now = o.now.Add(9 * time.Minute)
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, late, o.who())
	refuses(t, "FA-17 after its time", err, "invalid_request")

	for name, demand := range map[string]func(*PushedRequest){
		"T-24 a passkey is wanted":  func(r *PushedRequest) { r.Assurances = "phr" },
		"T-24 signed in long ago":   func(r *PushedRequest) { r.MaxAge = "59" },
		"T-24 signed in never mind": func(r *PushedRequest) { r.MaxAge = "0" },
	} {
		r := o.pushing(o.signerKey)
		demand(&r)
		uri, who := o.pushed(r), o.who()
		who.At = o.now.Add(-2 * time.Minute)
		_, err := o.issuer.Allow(t.Context(), o.signer.KeyID, uri, who)
		refuses(t, name, err, "sign_in_required")
		who.At, who.Assurance = o.now, annona.AssurancePasskey
		if _, err := o.issuer.Allow(t.Context(), o.signer.KeyID, uri, who); err != nil {
			t.Errorf("%s: signed in again: %v", name, err)
		}
	}

	refused := o.pushed(o.pushing(o.signerKey))
	next, err := o.issuer.Refuse(t.Context(), o.signer.KeyID, refused)
	if err != nil || !strings.Contains(next, "error=access_denied") || !strings.Contains(next, "state=s1") || !strings.Contains(next, "iss=") {
		t.Errorf("refused: %s, %v", next, err)
	}
	_, err = o.issuer.Allow(t.Context(), o.signer.KeyID, refused, o.who())
	refuses(t, "one that was refused", err, "invalid_request")
}

// FA-09, ZT-12: refresh tokens are good for their client alone, for a day's work, and for no more than the
// person has allowed.
func TestRefreshTokensThatAreRefused(t *testing.T) {
	o := newOffice(t)
	push := o.pushing(o.signerKey)
	push.Details = `[{"type":"annona_exchange","datasets":["individuals"]}]`
	first := o.issued(o.takingUp(o.code(push)))
	o.admit = annona.Forbidden("agreement_not_active", "no")
	_, err := o.issuer.GiveToken(t.Context(), o.refreshing(first.Refresh))
	refuses(t, "no longer admitted", err, "agreement_not_active")
	o.admit = nil
	wider := o.refreshing(first.Refresh)
	wider.Details = `[{"type":"annona_exchange","datasets":["households","individuals"]}]`
	_, err = o.issuer.GiveToken(t.Context(), wider)
	refuses(t, "more than was allowed", err, "invalid_authorization_details")
	narrower := o.refreshing(first.Refresh)
	narrower.Details = `[{"type":"annona_exchange","purpose":"monitoring"}]`
	if got := o.issued(narrower); got.Within.Purpose != "monitoring" || len(got.Within.Datasets) != 1 {
		t.Errorf("got %+v", got.Within)
	}
	o.other.Redirects = o.signer.Redirects
	others := o.refreshing(first.Refresh)
	s := o.assertion()
	s.key, s.claims["iss"], s.claims["sub"] = o.otherKey, o.other.KeyID, o.other.KeyID
	others.Client.Assertion = s.text(t)
	_, err = o.issuer.GiveToken(t.Context(), others)
	refuses(t, "another client", err, "invalid_grant")
	unbound := o.refreshing(first.Refresh)
	unbound.Proofs = nil
	_, err = o.issuer.GiveToken(t.Context(), unbound)
	refuses(t, "FA-04 without a proof", err, "invalid_request")
	if again := o.issued(o.refreshing(first.Refresh)); again.Refresh != "" {
		t.Error("FA-09 the refresh token rotates")
	}
	push = o.pushing(o.signerKey)
	push.Details = `[{"type":"annona_exchange","purpose":"monitoring"}]`
	second := o.issued(o.takingUp(o.code(push)))
	other := o.refreshing(second.Refresh)
	other.Details = `[{"type":"annona_exchange","purpose":"eligibility-assessment"}]`
	_, err = o.issuer.GiveToken(t.Context(), other)
	refuses(t, "FA-13 another purpose", err, "invalid_authorization_details")
	other = o.refreshing(second.Refresh)
	other.Details = `[{"type":"annona_exchange","datasets":["individuals"]}]`
	if got := o.issued(other); got.Within.Purpose != "monitoring" {
		t.Errorf("FA-13 who names no purpose has %q", got.Within.Purpose)
	}
	o.now = o.now.Add(12 * time.Hour)
	_, err = o.issuer.GiveToken(t.Context(), o.refreshing(first.Refresh))
	refuses(t, "after a day's work", err, "invalid_grant")
}

// RFC 8693: a service behind gets a token for the same person, under the same agreement, for no more.
func TestExchange(t *testing.T) {
	o := newOffice(t)
	push := o.pushing(o.signerKey)
	push.Details = `[{"type":"annona_exchange","datasets":["individuals"]}]`
	front := o.issued(o.takingUp(o.code(push)))
	asOther := func(subject string) TokenRequest {
		r := o.ask(o.otherKey)
		s := o.assertion()
		s.key, s.claims["iss"], s.claims["sub"] = o.otherKey, o.other.KeyID, o.other.KeyID
		r.Client.Assertion = s.text(t)
		r.Grant, r.Subject, r.SubjectType = exchangeGrant, subject, AccessTokenType
		return r
	}
	o.now = o.now.Add(time.Minute)
	behind := o.issued(asOther(front.Text))
	if behind.Acting != front.Acting || behind.Client != o.other.ID || !behind.ExpiresAt.Equal(front.ExpiresAt) || len(behind.Within.Datasets) != 1 {
		t.Errorf("got %+v", behind)
	}
	if err := o.recognize(o.show(o.otherKey, behind.Text)); err != nil {
		t.Error(err)
	}
	refuses(t, "by the key of the first client", o.recognize(o.show(o.signerKey, behind.Text)), "invalid_dpop_proof")

	for name, c := range map[string]struct {
		code   string
		change func(*TokenRequest)
	}{
		"wider":                  {"invalid_authorization_details", func(r *TokenRequest) { r.Details = `[{"type":"annona_exchange","datasets":["households"]}]` }},
		"T-16 another type":      {"invalid_request", func(r *TokenRequest) { r.SubjectType = "urn:ietf:params:oauth:token-type:id_token" }},
		"a refresh token":        {"invalid_request", func(r *TokenRequest) { r.Subject = front.Refresh }},
		"nothing":                {"invalid_request", func(r *TokenRequest) { r.Subject = "" }},
		"a token for nobody":     {"invalid_request", func(r *TokenRequest) { r.Subject = o.issued(o.ask(o.signerKey)).Text }},
		"of another agreement":   {"invalid_request", func(*TokenRequest) { o.other.Agreement = "another" }},
		"by a secret":            {"unauthorized_client", func(r *TokenRequest) { r.Client = ShownClient{Basic: basic(o.secretive.KeyID, o.secret)} }},
		"a first client revoked": {"invalid_request", func(*TokenRequest) { o.signer.RevokedAt = o.now }},
		"a first client expired": {"invalid_request", func(*TokenRequest) { o.signer.ExpiresAt = o.now }},
		"a first client gone":    {"invalid_request", func(*TokenRequest) { delete(o.store.clients, o.signer.KeyID) }},
		"FA-13 not admitted":     {"agreement_not_active", func(*TokenRequest) { o.admit = annona.Forbidden("agreement_not_active", "no") }},
		"a refresh token for it": {"invalid_request", func(r *TokenRequest) { r.Requested = "urn:ietf:params:oauth:token-type:refresh_token" }},
	} {
		r := asOther(front.Text)
		agreement, expires := o.other.Agreement, o.signer.ExpiresAt
		c.change(&r)
		_, err := o.issuer.GiveToken(t.Context(), r)
		refuses(t, name, err, c.code)
		o.other.Agreement, o.signer.RevokedAt, o.signer.ExpiresAt, o.admit, o.store.clients[o.signer.KeyID] = agreement, time.Time{}, expires, nil, o.signer
	}
	if err := o.store.EndDelegation(t.Context(), front.Delegation, o.now); err != nil {
		t.Fatal(err)
	}
	refuses(t, "after the delegation has ended", o.recognize(o.show(o.otherKey, behind.Text)), "invalid_token")
	_, err := o.issuer.GiveToken(t.Context(), asOther(front.Text))
	refuses(t, "another one after it has ended", err, "invalid_request")
}

// FA-19: only complete https addresses are registered, and for clients that prove themselves by a key.
func TestRedirectsThatAreRefused(t *testing.T) {
	keys := jwkSet(t, ecKey(t).Public())
	register := func(r Registration) error {
		r.Agreement, r.Expires = "eligibility", noon.AddDate(0, 1, 0)
		_, _, err := RegisterClient(keyedHash, false, noon, r)
		return err
	}
	for _, address := range []string{
		"", "http://cases.example/back", "https://", "https:///back", "cases.example", "https://user@cases.example/", "https://cases.example/#x",
		"https://cases.example/#", "javascript:alert(1)", "https://cases.example/" + strings.Repeat("a", 512), "https://cases.example/a b",
	} {
		refuses(t, address, register(Registration{Keys: keys, Redirects: []string{address}}), "redirect_malformed")
	}
	eleven := make([]string, maxRedirects+1)
	for i := range eleven {
		eleven[i] = redirect
	}
	refuses(t, "eleven", register(Registration{Keys: keys, Redirects: eleven}), "redirect_malformed")
	refuses(t, "a client with a secret", register(Registration{Secret: true, Redirects: []string{redirect}}), "redirect_malformed")
	if err := register(Registration{Keys: keys, Redirects: []string{redirect}}); err != nil {
		t.Error(err)
	}
}
