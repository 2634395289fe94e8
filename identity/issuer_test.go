package identity

import (
	"context"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/annona-exchange/annona"
)

// Each case changes one thing of an assertion that holds.
func TestAssertionsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(o *office, s *statement){
		"FA-08 aud as a list":       func(_ *office, s *statement) { s.claims["aud"] = []string{officeURL} },
		"FA-08 aud is the endpoint": func(_ *office, s *statement) { s.claims["aud"] = officeURL + tokenPath },
		"FA-08 a second aud":        func(_ *office, s *statement) { s.claims["aud"] = []string{officeURL, "https://other.example"} },
		"FA-08 no aud":              func(_ *office, s *statement) { delete(s.claims, "aud") },
		"FA-08 aud with a slash":    func(_ *office, s *statement) { s.claims["aud"] = officeURL + "/" },
		"FA-12 iat 11 s ahead":      func(o *office, s *statement) { s.claims["iat"] = o.now.Unix() + 11 },
		"FA-12 nbf 11 s ahead":      func(o *office, s *statement) { s.claims["nbf"] = o.now.Unix() + 11 },
		"T-17 expired":              func(o *office, s *statement) { s.claims["exp"] = o.now.Unix() },
		"T-17 exp of an hour":       func(o *office, s *statement) { s.claims["exp"] = o.now.Unix() + 3600 },
		"T-17 exp of 71 s":          func(o *office, s *statement) { s.claims["exp"] = o.now.Unix() + 71 },
		"T-17 no exp":               func(_ *office, s *statement) { delete(s.claims, "exp") },
		"FA-29 no jti":              func(_ *office, s *statement) { delete(s.claims, "jti") },
		"FA-29 long jti":            func(_ *office, s *statement) { s.claims["jti"] = strings.Repeat("x", 257) },
		"T-16 iss":                  func(o *office, s *statement) { s.claims["iss"] = o.other.KeyID },
		"T-16 sub":                  func(o *office, s *statement) { s.claims["sub"] = o.other.KeyID },
		"T-16 nobody's":             func(_ *office, s *statement) { s.claims["iss"], s.claims["sub"] = "nobody", "nobody" },
		"T-16 typ of a proof":       func(_ *office, s *statement) { s.header["typ"] = "dpop+jwt" },
		"FA-25 RS256":               func(_ *office, s *statement) { s.header["alg"] = "RS256" },
		"T-12 none": func(_ *office, s *statement) {
			s.header["alg"] = "none"
			s.cut = func(x string) string { return x[:strings.LastIndex(x, ".")+1] }
		},
		"T-13 HS256 by a public key": func(_ *office, s *statement) { s.header["alg"] = "HS256" },
		"T-14 kid as a path":         func(_ *office, s *statement) { s.header["kid"] = "../../etc/passwd" },
		"T-14 kid as SQL":            func(_ *office, s *statement) { s.header["kid"] = "' OR 1=1 --" },
		"T-15 embedded jwk":          func(o *office, s *statement) { s.header["jwk"], s.key = jwkOf(o.TB, o.otherKey.Public()), o.otherKey },
		"T-15 jku":                   func(o *office, s *statement) { s.header["jku"], s.key = "https://evil.example/keys", o.otherKey },
		"T-18 claims twice":          func(_ *office, s *statement) { s.repeats("iss") },
		"T-18 crit":                  func(_ *office, s *statement) { s.header["crit"] = []string{"exp"} },
		"T-18 huge":                  func(_ *office, s *statement) { s.claims["x"] = strings.Repeat("x", 10_000) },
		"T-18 encrypted": func(_ *office, s *statement) {
			s.header["enc"] = "A256GCM"
			s.cut = func(x string) string { return x + ".a.b" }
		},
		"T-19 signature of zero": func(_ *office, s *statement) { s.cut = zeroSignature },
		"another's key":          func(o *office, s *statement) { s.key = o.otherKey },
	} {
		o := newOffice(t)
		s := o.assertion()
		change(o, &s)
		r := o.ask(o.signerKey)
		r.Client.Assertion = s.text(t)
		_, err := o.issuer.GiveToken(t.Context(), r)
		refuses(t, name, err, "invalid_client")
		if len(o.store.claimed)+len(o.store.tokens) != 0 {
			t.Errorf("%s: something was kept", name)
		}
	}
}

// FA-25, DP-22: a key of a client signs by one algorithm, and by no other one that fits it.
func TestAlgorithmsThatAreRefused(t *testing.T) {
	o := newOffice(t)
	key := rsaKey(t, 2048)
	client, _ := o.register(Registration{Keys: jwkSet(t, key.Public())})
	for algorithm, code := range map[string]string{"RS256": "invalid_client", "PS256": ""} {
		r, s := o.ask(o.signerKey), o.assertion()
		s.header["alg"], s.key, s.claims["iss"], s.claims["sub"] = algorithm, key, client.KeyID, client.KeyID
		r.Client.Assertion = s.text(t)
		_, err := o.issuer.GiveToken(t.Context(), r)
		if (err == nil) != (code == "") || err != nil && annona.CodeOf(err) != code {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestAssertionsThatHold(t *testing.T) {
	o := newOffice(t)
	for name, change := range map[string]func(s *statement){
		"FA-12 10 s ahead": func(s *statement) {
			s.claims["iat"], s.claims["nbf"], s.claims["exp"] = o.now.Unix()+10, o.now.Unix()+10, o.now.Unix()+70
		},
		"no iat and no typ": func(s *statement) { delete(s.claims, "iat"); delete(s.header, "typ") },
		"its own typ":       func(s *statement) { s.header["typ"] = "client-authentication+jwt" },
	} {
		s := o.assertion()
		change(&s)
		r := o.ask(o.signerKey)
		r.Client.Assertion = s.text(t)
		if _, err := o.issuer.GiveToken(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FA-29: of 100 parallel uses of one assertion one succeeds.
func TestAssertionsCountOnce(t *testing.T) {
	o := newOffice(t)
	first := o.ask(o.signerKey)
	requests := make([]TokenRequest, 100)
	for i := range requests {
		requests[i] = o.ask(o.signerKey)
		requests[i].Client = first.Client
	}
	var given atomic.Int64
	var many sync.WaitGroup
	for _, r := range requests {
		many.Go(func() {
			if _, err := o.issuer.GiveToken(context.Background(), r); err == nil {
				given.Add(1)
			}
		})
	}
	many.Wait()
	if given.Load() != 1 {
		t.Errorf("one assertion gives %d tokens", given.Load())
	}
	o.now = o.now.Add(59 * time.Second) // it expires in a second
	late := o.ask(o.signerKey)
	late.Client = first.Client
	_, err := o.issuer.GiveToken(t.Context(), late)
	refuses(t, "and as long as it holds", err, "invalid_client")
	pushed, again := o.pushing(o.signerKey), o.pushing(o.signerKey)
	o.pushed(pushed)
	again.Client = pushed.Client
	_, err = o.issuer.Push(t.Context(), again)
	refuses(t, "FA-29 a request that is pushed again", err, "invalid_client")
	namesake := o.assertion()
	namesake.claims["jti"], namesake.claims["iss"], namesake.claims["sub"], namesake.key = "of two", o.other.KeyID, o.other.KeyID, o.otherKey
	own := o.assertion()
	own.claims["jti"] = "of two"
	for _, s := range []statement{namesake, own} {
		r := o.ask(s.key)
		r.Client.Assertion = s.text(t)
		o.issued(r) // another client's jti is another
	}
	_, _, err = o.issuer.Introspect(t.Context(), first.Client, "x")
	refuses(t, "and then an introspection", err, "invalid_client")
	refuses(t, "and a revocation", o.issuer.Revoke(t.Context(), first.Client, "x"), "invalid_client")
}

func basic(id, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(id + ":" + secret))
}

// Who asks in the wrong way, or is somebody else, gets nothing.
func TestClientsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		shown func(o *office, s *ShownClient)
		code  string
	}{
		"nothing at all":          {func(_ *office, s *ShownClient) { *s = ShownClient{} }, "invalid_client"},
		"FA-03 a client_id alone": {func(o *office, s *ShownClient) { *s = ShownClient{ID: o.signer.KeyID} }, "invalid_client"},
		"two ways":                {func(o *office, s *ShownClient) { s.Basic = basic(o.secretive.KeyID, o.secret) }, "invalid_request"},
		"two ways, one of them empty": {func(o *office, s *ShownClient) {
			*s = ShownClient{Basic: basic(o.secretive.KeyID, o.secret), AssertionType: AssertionType}
		}, "invalid_request"},
		"two ways, one without its type": {func(o *office, s *ShownClient) {
			*s = ShownClient{Basic: basic(o.secretive.KeyID, o.secret), Assertion: s.Assertion}
		}, "invalid_request"},
		"another type":         {func(_ *office, s *ShownClient) { s.AssertionType = "urn:x" }, "invalid_request"},
		"client_id of another": {func(o *office, s *ShownClient) { s.ID = o.other.KeyID }, "invalid_client"},
		"a secret and another's id": {func(o *office, s *ShownClient) {
			*s = ShownClient{ID: o.other.KeyID, Basic: basic(o.secretive.KeyID, o.secret)}
		}, "invalid_client"},
		"an assertion in place of a secret": {func(o *office, s *ShownClient) {
			a := o.assertion()
			a.claims["iss"], a.claims["sub"] = o.secretive.KeyID, o.secretive.KeyID
			s.Assertion = a.text(o.TB)
		}, "invalid_client"},
		"a certificate of nobody in place of a key": {func(o *office, s *ShownClient) {
			o.connect(s, "loader", time.Hour)
			s.ID, s.Certificate.Subject = o.signer.KeyID, pkix.Name{}
		}, "invalid_client"},
		"FA-06 another's secret": {func(o *office, s *ShownClient) { *s = ShownClient{Basic: basic(o.signer.KeyID, o.secret)} }, "invalid_client"},
		"wrong secret":           {func(o *office, s *ShownClient) { *s = ShownClient{Basic: basic(o.secretive.KeyID, o.secret+"x")} }, "invalid_client"},
		"nobody's secret":        {func(o *office, s *ShownClient) { *s = ShownClient{Basic: basic("nobody", o.secret)} }, "invalid_client"},
		"no base64":              {func(_ *office, s *ShownClient) { *s = ShownClient{Basic: "!"} }, "invalid_client"},
		"MT-04 expired":          {func(o *office, s *ShownClient) { o.connect(s, "loader", -time.Hour) }, "invalid_client"},
		"MT-04 not valid yet": {func(o *office, s *ShownClient) {
			o.connect(s, "loader", time.Hour)
			s.Certificate.NotBefore = o.now.Add(time.Minute)
		}, "invalid_client"},
		"MT-02 another's certificate":  {func(o *office, s *ShownClient) { o.connect(s, "reader", time.Hour) }, "invalid_client"},
		"a certificate in place of it": {func(o *office, s *ShownClient) { o.connect(s, "loader", time.Hour); s.ID = o.signer.KeyID }, "invalid_client"},
		"no certificate":               {func(o *office, s *ShownClient) { *s = ShownClient{ID: o.certified.KeyID} }, "invalid_client"},
		"revoked":                      {func(o *office, _ *ShownClient) { o.signer.RevokedAt = o.now }, "invalid_client"},
		"expired":                      {func(o *office, _ *ShownClient) { o.signer.ExpiresAt = o.now }, "invalid_client"},
		"another network": {func(o *office, _ *ShownClient) {
			o.signer.Networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		}, "network_not_allowed"},
	} {
		o := newOffice(t)
		r := o.ask(o.signerKey)
		c.shown(o, &r.Client)
		_, err := o.issuer.GiveToken(t.Context(), r)
		refuses(t, name, err, c.code)
		if len(o.store.tokens) != 0 {
			t.Errorf("%s: a token was kept", name)
		}
	}
}

// connect is a connection with a certificate that is valid for so long.
func (o *office) connect(s *ShownClient, name string, valid time.Duration) {
	*s = ShownClient{ID: o.certified.KeyID, Certificate: certificate(o.TB, name, o.now.Add(-2*time.Hour), o.now.Add(valid))}
}

// What a request asks for is refused where it is not to be had.
func TestRequestsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(o *office, r *TokenRequest)
		code   string
	}{
		"FA-02 password grant":   {func(_ *office, r *TokenRequest) { r.Grant = "password" }, "unsupported_grant_type"},
		"no grant":               {func(_ *office, r *TokenRequest) { r.Grant = "" }, "unsupported_grant_type"},
		"scope":                  {func(_ *office, r *TokenRequest) { r.Scope = "everything" }, "invalid_scope"},
		"FA-04 bound to nothing": {func(_ *office, r *TokenRequest) { r.Proofs = nil }, "invalid_request"},
		"details, no JSON":       {func(_ *office, r *TokenRequest) { r.Details = "x" }, "invalid_authorization_details"},
		"details, none":          {func(_ *office, r *TokenRequest) { r.Details = "[]" }, "invalid_authorization_details"},
		"details, two": {func(_ *office, r *TokenRequest) {
			r.Details = `[{"type":"annona_exchange"},{"type":"annona_exchange"}]`
		}, "invalid_authorization_details"},
		"details of another type": {func(_ *office, r *TokenRequest) { r.Details = `[{"type":"payment"}]` }, "invalid_authorization_details"},
		"details, unknown member": {func(_ *office, r *TokenRequest) { r.Details = `[{"type":"annona_exchange","fields":["sex"]}]` }, "invalid_authorization_details"},
		"details, member twice": {func(_ *office, r *TokenRequest) {
			r.Details = `[{"type":"annona_exchange","purpose":"a","purpose":"b"}]`
		}, "invalid_authorization_details"},
		"details, another agreement": {func(_ *office, r *TokenRequest) { r.Details = `[{"type":"annona_exchange","agreement":"other"}]` }, "invalid_authorization_details"},
		"the gate says no": {func(o *office, _ *TokenRequest) {
			o.admit = annona.Forbidden("purpose_not_granted", "no")
		}, "purpose_not_granted"},
	} {
		o := newOffice(t)
		r := o.ask(o.signerKey)
		c.change(o, &r)
		_, err := o.issuer.GiveToken(t.Context(), r)
		refuses(t, name, err, c.code)
		if len(o.store.tokens)+len(o.store.claimed) != 0 {
			t.Errorf("%s: something was kept", name)
		}
	}
}

// How strong a caller is, and what its token is bound to.
func TestTokensAreBound(t *testing.T) {
	o := newOffice(t)
	bySecret := TokenRequest{Client: ShownClient{Basic: basic(o.secretive.KeyID, o.secret)}, Grant: "client_credentials", Method: "POST", Path: tokenPath}
	plain := o.issued(bySecret)
	if plain.Type() != "Bearer" || plain.Key != nil || plain.ExpiresAt.Sub(o.now) > 5*time.Minute {
		t.Errorf("by a secret: %+v", plain)
	}
	bearer := annona.ShownToken{Scheme: "Bearer", Token: plain.Text, Method: "GET", Path: readPath}
	caller, err := o.tokens.Recognize(t.Context(), bearer)
	if err != nil || caller.Strength != annona.StrengthOAuth || caller.Client != o.secretive.ID || caller.Agreement != "eligibility" || caller.Token != plain.Hash {
		t.Errorf("by a secret: %+v, %v", caller, err)
	}
	refuses(t, "DP-17 a proof with it", o.recognize(o.show(o.signerKey, plain.Text)), "invalid_token")
	proved := bearer
	proved.Proofs = o.show(o.signerKey, plain.Text).Proofs
	named := bearer
	named.Scheme = "DPoP"
	refuses(t, "DP-17 as DPoP, without a proof", o.recognize(named), "invalid_token")
	refuses(t, "DP-17 a proof beside it", o.recognize(proved), "invalid_token")

	withProof := bySecret
	withProof.Proofs = []string{o.proofFor(o.signerKey, "POST", tokenPath, "").text(t)}
	if caller, err := o.tokens.Recognize(t.Context(), o.show(o.signerKey, o.issued(withProof).Text)); err != nil || caller.Strength != annona.StrengthOAuth {
		t.Errorf("a secret and a proof: %v, %v", caller.Strength, err)
	}
	bound := o.issued(o.ask(o.signerKey))
	if caller, err := o.tokens.Recognize(t.Context(), o.show(o.signerKey, bound.Text)); err != nil || caller.Strength != annona.StrengthSenderConstrained || bound.Type() != "DPoP" {
		t.Errorf("an assertion and a proof: %v, %v", caller.Strength, err)
	}
	if strings.Contains(bound.Text, string(bound.Hash[:])) || !strings.HasPrefix(bound.Text, "annona_token_") {
		t.Error("the token does not look like one")
	}
}

// MT-01 to MT-05: a token that is bound to a certificate works on connections that have it.
func TestTokensOfCertificates(t *testing.T) {
	o := newOffice(t)
	own := certificate(t, "loader", o.now.Add(-time.Hour), o.now.Add(time.Minute))
	renewed := certificate(t, "loader", o.now.Add(-time.Hour), o.now.Add(time.Hour))
	r := TokenRequest{Client: ShownClient{ID: o.certified.KeyID, Certificate: own}, Grant: "client_credentials", Method: "POST", Path: tokenPath}
	token := o.issued(r)
	shown := annona.ShownToken{Scheme: "Bearer", Token: token.Text, Method: "GET", Path: readPath, Certificate: own}
	if caller, err := o.tokens.Recognize(t.Context(), shown); err != nil || caller.Strength != annona.StrengthSenderConstrained || token.Type() != "Bearer" {
		t.Errorf("MT-01: %v, %v", caller.Strength, err)
	}
	stolen := shown
	stolen.Certificate = certificate(t, "reader", o.now.Add(-time.Hour), o.now.Add(time.Hour))
	refuses(t, "MT-02 another client's certificate", o.recognize(stolen), "invalid_token")
	stolen.Certificate = renewed
	refuses(t, "MT-03 a renewed certificate", o.recognize(stolen), "invalid_token")
	stolen.Certificate = nil
	refuses(t, "MT-05 none", o.recognize(stolen), "invalid_token")
	o.now = o.now.Add(2 * time.Minute)
	refuses(t, "MT-04 expired meanwhile", o.recognize(shown), "invalid_token")
}

// A token ends by its time, by revocation, and with its client.
func TestTokensThatAreRefused(t *testing.T) {
	o := newOffice(t)
	token := o.issued(o.ask(o.signerKey))
	for name, text := range map[string]string{
		"none": "", "an API key": "annona_live_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaAAAAAA", "a longer one": token.Text + "x",
		"a mistyped one": token.Text[:20] + flip(token.Text[20]) + token.Text[21:], "an unknown one": newSecretText(tokenPrefix),
	} {
		refuses(t, name, o.recognize(o.show(o.signerKey, text)), "invalid_token")
	}
	began := o.now
	o.now = began.Add(TokenLife - time.Second)
	if err := o.recognize(o.show(o.signerKey, token.Text)); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	o.now = began.Add(TokenLife)
	refuses(t, "expired", o.recognize(o.show(o.signerKey, token.Text)), "invalid_token")
	o.now = began
	if err := o.issuer.Revoke(t.Context(), o.ask(o.signerKey).Client, newSecretText(tokenPrefix)); err != nil {
		t.Errorf("revoking what is nobody's: %v", err)
	}
	if err := o.issuer.Revoke(t.Context(), ShownClient{Basic: basic(o.secretive.KeyID, o.secret)}, token.Text); err != nil {
		t.Errorf("revoking another's: %v", err)
	}
	if err := o.recognize(o.show(o.signerKey, token.Text)); err != nil {
		t.Errorf("another client has revoked it: %v", err)
	}
	if err := o.issuer.Revoke(t.Context(), o.ask(o.signerKey).Client, token.Text); err != nil {
		t.Error(err)
	}
	refuses(t, "revoked", o.recognize(o.show(o.signerKey, token.Text)), "invalid_token")
	other := o.issued(o.ask(o.signerKey))
	o.signer.RevokedAt = o.now
	refuses(t, "its client is revoked", o.recognize(o.show(o.signerKey, other.Text)), "invalid_token")
	o.signer.RevokedAt = time.Time{}
	o.signer.Networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	refuses(t, "from another network", o.recognize(o.show(o.signerKey, other.Text)), "network_not_allowed")
}

// A client is told about its own tokens only.
func TestIntrospection(t *testing.T) {
	o := newOffice(t)
	token := o.issued(o.ask(o.signerKey))
	if _, got, err := o.issuer.Introspect(t.Context(), o.ask(o.signerKey).Client, token.Text); err != nil || got == nil || got.Client != o.signer.ID {
		t.Errorf("its own: %v, %v", got, err)
	}
	if _, got, err := o.issuer.Introspect(t.Context(), ShownClient{Basic: basic(o.secretive.KeyID, o.secret)}, token.Text); err != nil || got != nil {
		t.Errorf("another's: %v, %v", got, err)
	}
	o.now = o.now.Add(TokenLife)
	if _, got, err := o.issuer.Introspect(t.Context(), o.ask(o.signerKey).Client, token.Text); err != nil || got != nil {
		t.Errorf("expired: %v, %v", got, err)
	}
	_, _, err := o.issuer.Introspect(t.Context(), ShownClient{}, token.Text)
	refuses(t, "of nobody", err, "invalid_client")
}

// What a client refreshes tokens by is another's business neither to ask about nor to end.
func TestRefreshTokensOfOthers(t *testing.T) {
	o := newOffice(t)
	first := o.issued(o.takingUp(o.code(o.pushing(o.signerKey))))
	stranger := ShownClient{Basic: basic(o.secretive.KeyID, o.secret)}
	active := func(shown ShownClient, text string) bool {
		t.Helper()
		_, told, err := o.issuer.Introspect(t.Context(), shown, text)
		if err != nil {
			t.Fatal(err)
		}
		return told != nil
	}
	own := func() ShownClient { return o.ask(o.signerKey).Client }
	if !active(own(), first.Refresh) || active(stranger, first.Refresh) || active(own(), newSecretText(refreshPrefix)) {
		t.Error("its own refresh token is not active, or another's is, or one that nobody has")
	}
	for _, text := range []string{first.Refresh, newSecretText(refreshPrefix)} {
		if err := o.issuer.Revoke(t.Context(), stranger, text); err != nil {
			t.Errorf("revoking another's: %v", err)
		}
	}
	if err := o.recognize(o.show(o.signerKey, first.Text)); err != nil || !active(own(), first.Refresh) {
		t.Errorf("another client has ended it: %v", err)
	}
	if err := o.issuer.Revoke(t.Context(), own(), first.Refresh); err != nil {
		t.Fatal(err)
	}
	if active(own(), first.Refresh) {
		t.Error("a refresh token that was revoked is active")
	}
	late := o.issued(o.takingUp(o.code(o.pushing(o.signerKey))))
	o.now = o.now.Add(DelegationLife)
	if active(own(), late.Refresh) {
		t.Error("a refresh token of yesterday is active")
	}
}

// DP-19: when the database has lost its claims, a node that remembers the epoch of before learns of the new one
// from what it is refused, and goes on.
func TestAnEpochThatEnds(t *testing.T) {
	for name, ask := range map[string]func(o *office) error{
		"a token":   func(o *office) error { _, err := o.issuer.GiveToken(t.Context(), o.ask(o.signerKey)); return err },
		"a request": func(o *office) error { _, err := o.issuer.Push(t.Context(), o.pushing(o.signerKey)); return err },
	} {
		o := newOffice(t)
		if err := ask(o); err != nil {
			t.Fatal(err)
		}
		o.store.epoch = annona.NewUID()
		refuses(t, name+" in the epoch of before", ask(o), annona.ErrProofEpoch.Code)
		if err := ask(o); err != nil {
			t.Errorf("%s in the new one: %v", name, err)
		}
	}
}

// A client of the authorization server is no API key, and a key is no client.
func TestClientsAreNoKeys(t *testing.T) {
	o := newOffice(t)
	if _, err := Parse(o.secret); err == nil {
		t.Error("a client secret parses as an API key")
	}
	text, key, err := Mint(keyedHash, false, o.now, o.now.AddDate(0, 1, 0), "eligibility", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	o.store.clients[key.KeyID] = &key
	parsed, _ := Parse(text)
	r := TokenRequest{Client: ShownClient{Basic: basic(key.KeyID, parsed.body)}, Grant: "client_credentials"}
	_, err = o.issuer.GiveToken(t.Context(), r)
	refuses(t, "a token for an API key", err, "invalid_client")
	key.Method = annona.MethodPrivateKeyJWT // as if it were one
	_, err = o.issuer.Keys.Authenticate(t.Context(), text, netip.MustParseAddr("192.0.2.7"))
	refuses(t, "an API key whose client is one of the authorization server", err, "key_invalid")
}

// numbered is a JWK set with one key under many names.
func numbered(t *testing.T, key any, many int) []byte {
	set := jose.JSONWebKeySet{}
	for i := range many {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key, KeyID: strconv.Itoa(i)})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	key, rsa := ecKey(t), rsaKey(t, 1024)
	jwk := string(jwkSet(t, key.Public()))
	for name, c := range map[string]struct {
		change func(r *Registration)
		code   string
	}{
		"no way":           {func(*Registration) {}, "method_required"},
		"two ways":         {func(r *Registration) { r.Secret, r.Subject = true, "CN=x" }, "method_required"},
		"no keys":          {func(r *Registration) { r.Keys = []byte(`{"keys":[]}`) }, "keys_malformed"},
		"no JSON":          {func(r *Registration) { r.Keys = []byte("x") }, "keys_malformed"},
		"a private key":    {func(r *Registration) { r.Keys = jwkSet(t, key) }, "keys_malformed"},
		"a secret key":     {func(r *Registration) { r.Keys = []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`) }, "keys_malformed"},
		"FA-26 short RSA":  {func(r *Registration) { r.Keys = jwkSet(t, rsa.Public()) }, "keys_malformed"},
		"another alg":      {func(r *Registration) { r.Keys = []byte(strings.Replace(jwk, `"kty"`, `"alg":"RS256","kty"`, 1)) }, "keys_malformed"},
		"two without kid":  {func(r *Registration) { r.Keys = jwkSet(t, key.Public(), ecKey(t).Public()) }, "keys_malformed"},
		"a subject of air": {func(r *Registration) { r.Subject = "loader" }, "subject_malformed"},
		"a long subject":   {func(r *Registration) { r.Subject = "CN=" + strings.Repeat("a", 1024) }, "subject_malformed"},
		"two lines":        {func(r *Registration) { r.Subject = "CN=a\nO=b" }, "subject_malformed"},
		"a long file":      {func(r *Registration) { r.Keys = []byte(jwk + strings.Repeat(" ", 64<<10)) }, "keys_malformed"},
		"eleven keys":      {func(r *Registration) { r.Keys = numbered(t, key.Public(), maxKeys+1) }, "keys_malformed"},
		"a long kid": {func(r *Registration) {
			r.Keys = []byte(strings.Replace(jwk, `"kty"`, `"kid":"`+strings.Repeat("k", 257)+`","kty"`, 1))
		}, "keys_malformed"},
		"outside, by nobody":      {func(r *Registration) { r.Outside = "loader" }, "outside_client_malformed"},
		"outside, without a name": {func(r *Registration) { r.Issuer = "https://login.example" }, "outside_client_malformed"},
		"outside, two words":      {func(r *Registration) { r.Issuer, r.Outside = "https://login.example", "the loader" }, "outside_client_malformed"},
		"outside, two lines":      {func(r *Registration) { r.Issuer, r.Outside = "https://login.example", "the\nloader" }, "outside_client_malformed"},
		"outside, a long name":    {func(r *Registration) { r.Issuer, r.Outside = "https://login.example", strings.Repeat("a", 257) }, "outside_client_malformed"},
		"outside, sent back to": {func(r *Registration) {
			r.Issuer, r.Outside, r.Redirects = "https://login.example", "loader", []string{redirect}
		}, "outside_client_malformed"},
		"outside, and a secret": {func(r *Registration) { r.Issuer, r.Outside, r.Secret = "https://login.example", "loader", true }, "method_required"},
		"no expiry":             {func(r *Registration) { r.Secret, r.Expires = true, time.Time{} }, "expiry_required"},
	} {
		r := Registration{Agreement: "eligibility", Expires: noon.AddDate(0, 1, 0)}
		c.change(&r)
		_, _, err := RegisterClient(keyedHash, false, noon, r)
		refuses(t, name, err, c.code)
	}
	if _, err := readKeys([]byte("x")); !errors.As(err, new(*annona.Error)) {
		t.Errorf("keys on file that do not decode: %v", err)
	}
}
