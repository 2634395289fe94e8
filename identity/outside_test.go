package identity

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/annona-exchange/annona"
)

// abroad is an identity provider of others: what it publishes, and how it misbehaves.
type abroad struct {
	*httptest.Server
	office *office
	key    crypto.Signer
	client *annona.Client

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	issuer  string // that it says it is; empty: its own
	broken  func(http.ResponseWriter, *http.Request)
	fetched int

	provider annona.IdentityProvider
	taken    map[annona.UID]annona.User // whom the gate was told about
	ended    []annona.OutsideEnd
	trouble  []error
}

const abroadAudience = "https://exchange.example/api"

func newAbroad(t *testing.T) *abroad {
	t.Helper()
	o := newOffice(t)
	a := &abroad{office: o, key: ecKey(t), taken: map[annona.UID]annona.User{}}
	a.keys = []jose.JSONWebKey{{Key: a.key.Public(), KeyID: "first"}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.publish))
	t.Cleanup(a.Close)
	a.provider = annona.IdentityProvider{
		Name: "ministry", Issuer: a.URL, Audience: abroadAudience, Networks: []string{"127.0.0.0/8"}, Version: 1,
		Assurance: map[string]string{"gold": "phr"},
		People:    []annona.PeopleRule{{When: &annona.ClaimValue{Claim: "groups", Is: "officers"}, Partner: "health", Roles: []string{"case-worker"}}},
	}
	a.client, _ = o.register(Registration{Outside: "loader", Issuer: a.URL})
	o.tokens.Outside = NewOutside(OutsideWiring{
		Providers: a, Standings: o.store, Clock: func() time.Time { return o.now }, HashName: keyedHash, HashToken: o.tokens.HashToken, Outbound: NewOutbound,
		TakeIn:  a.takeIn,
		End:     func(_ context.Context, _ string, e annona.OutsideEnd) error { a.ended = append(a.ended, e); return nil },
		Trouble: func(_ string, err error) { a.mu.Lock(); a.trouble = append(a.trouble, err); a.mu.Unlock() },
	})
	o.issuer.Outside = o.tokens.Outside
	return a
}

func (a *abroad) IdentityProviders(context.Context) ([]annona.IdentityProvider, error) {
	return []annona.IdentityProvider{a.provider}, nil
}

// takeIn stands for the gate: a token is over when an end lies behind it.
func (a *abroad) takeIn(_ context.Context, _ annona.Caller, t annona.Token, person *annona.User) (bool, error) {
	holds := true
	for _, e := range a.ended {
		holds = holds && (e.ID != t.Acting.Person && e.ID != t.Delegation || t.IssuedAt.After(e.Until))
	}
	if person != nil {
		a.taken[person.ID] = *person
	}
	a.office.store.mu.Lock()
	defer a.office.store.mu.Unlock()
	if holds {
		a.office.store.tokens[t.Hash] = &t
	}
	return holds, nil
}

func (a *abroad) publish(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	broken := a.broken
	a.mu.Unlock()
	if broken != nil {
		broken(w, r)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.URL.Path {
	case discoveryPath:
		issuer := a.issuer
		if issuer == "" {
			issuer = a.URL
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"more":1}`, issuer, a.URL+"/keys")
	case "/keys":
		a.fetched++
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: a.keys})
	default:
		http.NotFound(w, r)
	}
}

// publishes lets the provider publish other keys.
func (a *abroad) publishes(keys ...jose.JSONWebKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = keys
}

func (a *abroad) breaks(how func(http.ResponseWriter, *http.Request)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = how
}

func (a *abroad) fetches() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fetched
}

// token is one of a machine, that holds.
func (a *abroad) token() statement {
	now := a.office.now.Unix()
	return statement{
		header: map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "first"},
		claims: map[string]any{"iss": a.URL, "sub": "loader", "client_id": "loader", "aud": abroadAudience, "iat": now, "exp": now + 300, "jti": annona.NewUID().String()},
		key:    a.key,
	}
}

// personal is one of a person.
func (a *abroad) personal() statement {
	s := a.token()
	maps.Copy(s.claims, map[string]any{"sub": "ama@ministry", "sid": "s-1", "groups": []string{"staff", "officers"}, "acr": "gold", "auth_time": a.office.now.Unix() - 60})
	return s
}

// shows shows a token that is bound to nothing.
func (a *abroad) shows(s statement) (annona.Caller, error) {
	return a.office.tokens.Recognize(a.office.Context(), annona.ShownToken{Scheme: "Bearer", Token: s.text(a.office.TB), Method: "GET", Path: readPath, From: netip.MustParseAddr("192.0.2.7")})
}

func TestTokensOfOthers(t *testing.T) {
	a := newAbroad(t)
	machine := a.token()
	caller, err := a.shows(machine)
	if err != nil || caller.Client != a.client.ID || caller.Agreement != "eligibility" || caller.Strength != annona.StrengthOAuth || caller.Acting != (annona.SignedIn{}) {
		t.Fatalf("a machine: %+v, %v", caller, err)
	}
	caller, err = a.shows(a.personal())
	person := a.taken[caller.Acting.Person]
	if err != nil || person.Partner != "health" || strings.Join(person.Roles, " ") != "case-worker" || person.Provider != "ministry" || strings.Contains(person.Name, "ama") ||
		caller.Acting.Assurance != annona.AssurancePasskey || !caller.Acting.At.Equal(a.office.now.Add(-time.Minute)) {
		t.Errorf("a person: %+v as %+v, %v", caller, person, err)
	}
	plain := a.personal()
	delete(plain.claims, "auth_time")
	plain.claims["acr"] = "phr"
	if caller, err = a.shows(plain); err != nil || caller.Acting.Assurance != annona.AssuranceOutside || !caller.Acting.At.IsZero() || caller.Acting.Person != person.ID {
		t.Errorf("an acr that nobody has mapped: %+v, %v", caller.Acting, err)
	}

	key := ecKey(t)
	thumb, _ := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	bound := a.token()
	bound.claims["cnf"] = map[string]any{"jkt": jwsText(thumb)}
	bound.claims["authorization_details"] = []any{map[string]any{"type": "other"}, map[string]any{"type": DetailType, "purpose": "eligibility"}}
	text := bound.text(t)
	if caller, err = a.office.tokens.Recognize(t.Context(), a.office.show(key, text)); err != nil || caller.Strength != annona.StrengthSenderConstrained {
		t.Errorf("a token with a proof: %+v, %v", caller, err)
	}
	if kept := a.office.store.tokens[caller.Token]; kept == nil || kept.Within.Purpose != "eligibility" || !same(kept.Key, thumb) {
		t.Errorf("kept %+v", kept)
	}
	refuses(t, "another key", a.office.recognize(a.office.show(ecKey(t), text)), "invalid_dpop_proof")
	refuses(t, "a bound one as Bearer", a.office.recognize(annona.ShownToken{Scheme: "Bearer", Token: text}), "invalid_token")

	right, wrong := certificate(t, "loader", a.office.now.Add(-time.Hour), a.office.now.Add(time.Hour)), certificate(t, "loader", a.office.now.Add(-time.Hour), a.office.now.Add(time.Hour))
	bound = a.token()
	bound.claims["cnf"] = map[string]any{"x5t#S256": jwsText(thumbprint(right))}
	text = bound.text(t)
	if caller, err = a.office.tokens.Recognize(t.Context(), annona.ShownToken{Scheme: "Bearer", Token: text, Certificate: right}); err != nil || caller.Strength != annona.StrengthSenderConstrained {
		t.Errorf("a token with a certificate: %+v, %v", caller, err)
	}
	refuses(t, "another certificate", a.office.recognize(annona.ShownToken{Scheme: "Bearer", Token: text, Certificate: wrong}), "invalid_token")
	if a.fetches() != 1 {
		t.Errorf("the keys were fetched %d times", a.fetches())
	}
}

// T-12 to T-19, AK-12: each changes one thing of a token that holds.
func TestTokensOfOthersThatAreRefused(t *testing.T) {
	a := newAbroad(t)
	if _, err := a.shows(a.token()); err != nil {
		t.Fatal(err)
	}
	with := func(claim string, value any) func(*statement) {
		return func(s *statement) { s.claims[claim] = value }
	}
	head := func(name string, value any) func(*statement) {
		return func(s *statement) { s.header[name] = value }
	}
	without := func(claim string) func(*statement) { return func(s *statement) { delete(s.claims, claim) } }
	now := a.office.now.Unix()
	rsa := rsaKey(t, 2048)
	for name, change := range map[string]func(*statement){
		"T-12 none":                  head("alg", "none"),
		"T-12 None":                  head("alg", "None"),
		"T-13 HS256":                 head("alg", "HS256"),
		"T-13 RS256":                 func(s *statement) { s.header["alg"], s.key = "RS256", rsa },
		"T-14 kid of a path":         head("kid", "../../etc/passwd"),
		"T-14 kid of SQL":            head("kid", "' OR 1=1 --"),
		"T-15 another key, embedded": func(s *statement) { s.key = ecKey(t); s.header["jwk"] = jwkOf(t, s.key.Public()) },
		"T-15 jku":                   func(s *statement) { s.key = ecKey(t); s.header["jku"] = "https://evil.example/keys" },
		"T-15 x5u":                   func(s *statement) { s.key = ecKey(t); s.header["x5u"] = "https://evil.example/chain" },
		"T-16 another issuer":        with("iss", "https://evil.example"),
		"T-16 the issuer, with /":    with("iss", a.URL+"/"),
		"T-16 another audience":      with("aud", "https://other.example"),
		"T-16 no audience":           without("aud"),
		"T-16 a list without us":     with("aud", []string{"https://other.example", "https://third.example"}),
		"T-16 an audience of air":    with("aud", map[string]any{abroadAudience: true}),
		"T-16 an ID token":           head("typ", "JWT"),
		"T-16 no typ":                func(s *statement) { delete(s.header, "typ") },
		"T-16 a logout token":        head("typ", "logout+jwt"),
		"T-17 expired":               with("exp", now),
		"T-17 no exp":                without("exp"),
		"T-17 no iat":                without("iat"),
		"T-17 iat ahead":             with("iat", now+61),
		"T-17 nbf ahead":             with("nbf", now+61),
		"T-17 auth_time ahead":       with("auth_time", now+61),
		"T-17 too long":              with("exp", now+3601),
		"T-18 a claim twice":         func(s *statement) { s.repeats("iss") },
		"T-18 crit":                  func(s *statement) { s.header["crit"], s.header["x"] = []string{"x"}, 1 },
		"T-18 huge":                  with("pad", strings.Repeat("x", 1<<20)),
		"T-18 five parts":            func(s *statement) { s.cut = func(text string) string { return text + ".x.y" } },
		"T-19 another curve":         func(s *statement) { s.header["alg"] = "EdDSA" },
		"T-19 r and s of nothing": func(s *statement) {
			s.cut = func(text string) string { return text[:strings.LastIndexByte(text, '.')+1] + jwsText(make([]byte, 64)) }
		},
		"a signature cut short":      func(s *statement) { s.cut = func(text string) string { return text[:len(text)-4] } },
		"a claim changed":            func(s *statement) { s.cut = swapClaims(t, s) },
		"no client":                  without("client_id"),
		"another client":             with("client_id", "other"),
		"two clients":                with("azp", "other"),
		"a client by key":            with("client_id", a.office.signer.KeyID),
		"no sub":                     without("sub"),
		"a sub too long":             with("sub", strings.Repeat("x", 257)),
		"a sid too long":             with("sid", strings.Repeat("x", 257)),
		"bound to what we know not":  with("cnf", map[string]any{"kid": jwsText(make([]byte, 32))}),
		"bound to a whole key":       with("cnf", map[string]any{"jwk": map[string]any{"kty": "EC"}}),
		"bound to nothing":           with("cnf", map[string]any{}),
		"bound to more than we know": with("cnf", map[string]any{"jkt": jwsText(make([]byte, 32)), "kid": jwsText(make([]byte, 32))}),
		"bound badly":                with("cnf", map[string]any{"jkt": "AA"}),
		"for something else":         with("authorization_details", []any{map[string]any{"type": "payment"}}),
		"for two things":             with("authorization_details", []any{map[string]any{"type": DetailType}, map[string]any{"type": DetailType}}),
		"for another agreement":      with("authorization_details", []any{map[string]any{"type": DetailType, "agreement": "other"}}),
		"for what cannot be read":    with("authorization_details", []any{map[string]any{"type": DetailType, "actions": "all"}}),
	} {
		s := a.token()
		change(&s)
		before := len(a.office.store.tokens)
		_, err := a.shows(s)
		refuses(t, name, err, "invalid_token")
		if len(a.office.store.tokens) != before {
			t.Errorf("%s: it was taken in", name)
		}
	}
	a.provider.Scope = "annona"
	a.provider.Version++
	a.office.now = a.office.now.Add(2 * time.Second)
	_, err := a.shows(a.token())
	refuses(t, "without the scope", err, "invalid_token")
	s := a.token()
	s.claims["scope"] = "openid annona"
	if _, err := a.shows(s); err != nil {
		t.Errorf("with the scope: %v", err)
	}
}

// swapClaims puts other claims under the signature.
func swapClaims(t *testing.T, s *statement) func(string) string {
	return func(text string) string {
		other := maps.Clone(s.claims)
		other["exp"] = other["iat"].(int64) + 3000
		body, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(text, ".")
		return parts[0] + "." + jwsText(body) + "." + parts[2]
	}
}

// AK-12: who somebody is, is iss and sub. What a token says of roles or addresses gives nothing.
func TestPeopleOfOthers(t *testing.T) {
	a := newAbroad(t)
	first, err := a.shows(a.personal())
	if err != nil {
		t.Fatal(err)
	}
	s := a.personal()
	s.claims["roles"], s.claims["email"], s.claims["partner"] = []string{"administrator"}, "ama@example.org", "other"
	if caller, err := a.shows(s); err != nil || caller.Acting.Person != first.Acting.Person || strings.Join(a.taken[caller.Acting.Person].Roles, " ") != "case-worker" {
		t.Errorf("roles of a token count: %+v, %v", a.taken[caller.Acting.Person], err)
	}
	s = a.personal()
	s.claims["sub"], s.claims["email"] = "kofi@ministry", "ama@example.org"
	if caller, err := a.shows(s); err != nil || caller.Acting.Person == first.Acting.Person {
		t.Errorf("two people of one address are one: %v", err)
	}
	o := a.office.tokens.Outside
	if o.personID(a.URL, "ama") == o.personID(a.URL+"x", "ama") || o.personID("a", "bc") == o.personID("ab", "c") || o.personID("a", "b") == o.signInID("a", "b") {
		t.Error("two people, or a person and a sign-in, have one id")
	}
	s = a.personal()
	s.claims["groups"] = []string{"staff"}
	_, err = a.shows(s)
	refuses(t, "whom no rule knows", err, "person_not_known_here")
	a.provider.People = append(a.provider.People, annona.PeopleRule{When: &annona.ClaimValue{Claim: "realm_access.roles", Is: "deputy"}, Partner: "other", Roles: []string{"partner"}})
	a.provider.Machines = &annona.ClaimValue{Claim: "gty", Is: "client-credentials"}
	a.provider.Version++
	a.office.now = a.office.now.Add(2 * time.Second)
	s = a.personal()
	s.claims["realm_access"] = map[string]any{"roles": []string{"deputy"}}
	_, err = a.shows(s)
	refuses(t, "of two partners", err, "person_of_two_partners")
	s = a.token()
	s.claims["sub"] = "loader@clients"
	_, err = a.shows(s)
	refuses(t, "a machine that does not say so", err, "person_not_known_here")
	s.claims["gty"] = "client-credentials"
	if caller, err := a.shows(s); err != nil || caller.Acting != (annona.SignedIn{}) {
		t.Errorf("a machine that says so: %+v, %v", caller, err)
	}
}

// A provider that misbehaves costs nobody more than its own new tokens.
func TestProvidersThatMisbehave(t *testing.T) {
	a := newAbroad(t)
	known := a.token()
	if _, err := a.shows(known); err != nil {
		t.Fatal(err)
	}
	second := ecKey(t)
	rotated := func() statement {
		s := a.token()
		s.key, s.header["kid"] = second, "second"
		return s
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: second.Public(), KeyID: "second"}}})
	if err != nil {
		t.Fatal(err)
	}
	// What would do if it stood where it belongs, or were shorter.
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	defer keys.Close()
	hang := make(chan struct{})
	defer close(hang)
	for name, how := range map[string]func(http.ResponseWriter, *http.Request){
		"down":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"10 MB": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q}`, strings.Repeat("x", 10<<20))
		},
		"10 MB of keys": func(w http.ResponseWriter, r *http.Request) { a.tells(w, r, string(set)+strings.Repeat(" ", 10<<20)) },
		"no keys":       func(w http.ResponseWriter, r *http.Request) { a.tells(w, r, `{"keys":[]}`) },
		"keys for what we know not": func(w http.ResponseWriter, r *http.Request) {
			a.tells(w, r, `{"keys":[{"kty":"oct","k":"AAAA","kid":"second"},{"kty":"AKP"},7]}`)
		},
		"an issuer that changes": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				_, _ = w.Write(set)
				return
			}
			fmt.Fprintf(w, `{"issuer":"https://evil.example","jwks_uri":%q}`, a.URL+"/keys")
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, a.URL+"/other", http.StatusFound) },
		"keys elsewhere": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, a.URL, keys.URL)
		},
		"keys inside": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://169.254.169.254/latest"}`, a.URL)
		},
	} {
		a.office.now = a.office.now.Add(time.Minute)
		a.breaks(how)
		_, err := a.shows(rotated())
		refuses(t, name+": a new key", err, "identity_provider_unavailable")
		if _, err := a.shows(a.token()); err != nil {
			t.Errorf("%s: a new token of a key that is known: %v", name, err)
		}
		if _, err := a.shows(known); err != nil && a.office.now.Unix() < known.claims["exp"].(int64) {
			t.Errorf("%s: a token that was shown before: %v", name, err)
		}
	}
	a.mu.Lock()
	told := slices.Clone(a.trouble)
	a.mu.Unlock()
	if len(told) < 10 {
		t.Errorf("nobody was told: %v", told)
	}
	for _, err := range told {
		if strings.Contains(err.Error(), a.URL) {
			t.Errorf("an error tells an address: %v", err)
		}
	}

	// It hangs: whoever needs a new key waits as long as their request does, nobody else waits.
	a.office.now = a.office.now.Add(time.Minute)
	var enough sync.Once
	reached := make(chan struct{})
	a.breaks(func(http.ResponseWriter, *http.Request) {
		enough.Do(func() { close(reached) })
		<-hang
	})
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		s := rotated()
		s.header["kid"] = "third"
		_, err := a.office.tokens.Recognize(ctx, annona.ShownToken{Scheme: "Bearer", Token: s.text(t)})
		waiting <- err
	}()
	<-reached
	soon, late := context.WithTimeout(t.Context(), time.Minute)
	defer late()
	if _, err := a.office.tokens.Recognize(soon, annona.ShownToken{Scheme: "Bearer", Token: a.token().text(t)}); err != nil {
		t.Errorf("it hangs, and a token of a key that is known waits: %v", err)
	}
	cancel()
	refuses(t, "it hangs", <-waiting, "request_ended")
}

// tells publishes other keys than those it has.
func (a *abroad) tells(w http.ResponseWriter, r *http.Request, keys string) {
	if r.URL.Path == "/keys" {
		fmt.Fprint(w, keys)
		return
	}
	fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, a.URL, a.URL+"/keys")
}

func TestKeysOfOthersRotate(t *testing.T) {
	a := newAbroad(t)
	if _, err := a.shows(a.token()); err != nil {
		t.Fatal(err)
	}
	second := ecKey(t)
	s := a.token()
	s.key, s.header["kid"] = second, "second"
	a.publishes(jose.JSONWebKey{Key: second.Public(), KeyID: "second"}, jose.JSONWebKey{Key: rsaKey(t, 2048).Public(), KeyID: "enc", Use: "enc"})
	_, err := a.shows(s)
	refuses(t, "within ten seconds of the last fetch", err, "invalid_token")
	if a.fetches() != 1 {
		t.Errorf("fetched %d times", a.fetches())
	}
	a.office.now = a.office.now.Add(keysPause)
	if _, err := a.shows(s); err != nil || a.fetches() != 2 {
		t.Errorf("a new key: %v, fetched %d times", err, a.fetches())
	}
	_, err = a.shows(a.token())
	refuses(t, "a key that was withdrawn", err, "invalid_token")
	for range 20 {
		forged := a.token()
		forged.header["kid"] = annona.NewUID().String()
		if _, err := a.shows(forged); err == nil {
			t.Fatal("a kid that is made up")
		}
	}
	if a.fetches() > 2 {
		t.Errorf("kids that are made up fetch %d times", a.fetches())
	}

	// While nobody publishes anything, what is known counts for a day.
	a.breaks(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	fresh := func() statement {
		s := a.token()
		s.key, s.header["kid"] = second, "second"
		return s
	}
	a.office.now = a.office.now.Add(24*time.Hour - keysPause - time.Second)
	if _, err := a.shows(fresh()); err != nil {
		t.Errorf("keys of almost a day: %v", err)
	}
	a.settle()
	a.office.now = a.office.now.Add(time.Minute)
	_, err = a.shows(fresh())
	refuses(t, "keys of more than a day", err, "identity_provider_unavailable")
	a.breaks(nil)
	a.office.now = a.office.now.Add(keysPause)
	if _, err := a.shows(fresh()); err != nil {
		t.Errorf("it is there again: %v", err)
	}

	// A key that its provider withdraws counts for ten minutes more, and until the next fetch is back.
	a.publishes(jose.JSONWebKey{Key: ecKey(t).Public(), KeyID: "third"})
	a.office.now = a.office.now.Add(10 * time.Minute)
	_, _ = a.shows(fresh())
	a.settle()
	_, err = a.shows(fresh())
	refuses(t, "a key that was withdrawn, in use until then", err, "invalid_token")
}

// settle waits until no keys are being fetched.
func (a *abroad) settle() {
	o := a.office.tokens.Outside
	o.mu.Lock()
	from := o.known[a.URL]
	o.mu.Unlock()
	from.mu.Lock()
	running := from.running
	from.mu.Unlock()
	if running != nil {
		<-running
	}
}

// logout is a logout token that holds.
func (a *abroad) logout() statement {
	now := a.office.now.Unix()
	return statement{
		header: map[string]any{"alg": "ES256", "typ": "logout+jwt", "kid": "first"},
		claims: map[string]any{"iss": a.URL, "aud": "loader", "iat": now, "exp": now + 120, "jti": annona.NewUID().String(), "sid": "s-1", "events": map[string]any{backChannel: map[string]any{}}},
		key:    a.key,
	}
}

func TestLogoutTokens(t *testing.T) {
	a := newAbroad(t)
	logout := func(s statement) error { return a.office.issuer.Logout(t.Context(), s.text(t)) }
	now := a.office.now.Unix()
	for name, change := range map[string]func(map[string]any){
		"no event":             func(c map[string]any) { delete(c, "events") },
		"another event":        func(c map[string]any) { c["events"] = map[string]any{"other": map[string]any{}} },
		"a nonce":              func(c map[string]any) { c["nonce"] = "x" },
		"no jti":               func(c map[string]any) { delete(c, "jti") },
		"nobody":               func(c map[string]any) { delete(c, "sid") },
		"no iat":               func(c map[string]any) { delete(c, "iat") },
		"old":                  func(c map[string]any) { c["iat"] = now - 601 },
		"ahead":                func(c map[string]any) { c["iat"] = now + 61 },
		"expired":              func(c map[string]any) { c["exp"] = now },
		"for another registry": func(c map[string]any) { c["aud"] = "https://other.example" },
		"for nobody":           func(c map[string]any) { delete(c, "aud") },
		"of another issuer":    func(c map[string]any) { c["iss"] = "https://evil.example" },
		"a sid too long":       func(c map[string]any) { c["sid"] = strings.Repeat("x", 257) },
		"a sub too long":       func(c map[string]any) { c["sub"] = strings.Repeat("x", 257) },
		"an audience of air":   func(c map[string]any) { c["aud"] = map[string]any{} },
	} {
		s := a.logout()
		change(s.claims)
		refuses(t, name, logout(s), "invalid_request")
	}
	s := a.logout()
	s.key = ecKey(t)
	refuses(t, "of another key", logout(s), "invalid_request")
	s = a.logout()
	s.header["typ"] = "at+jwt"
	refuses(t, "an access token", logout(s), "invalid_request")
	refuses(t, "nothing", a.office.issuer.Logout(t.Context(), ""), "invalid_request")
	if len(a.ended) > 0 {
		t.Fatalf("ended %v", a.ended)
	}

	other := a.personal()
	other.claims["sid"] = "s-2"
	s = a.logout()
	s.claims["aud"] = []string{"other", abroadAudience}
	s.header["typ"] = "JWT"
	if err := logout(s); err != nil {
		t.Fatal(err)
	}
	_, err := a.shows(a.personal())
	refuses(t, "of a sign-in that is over", err, "invalid_token")
	if _, err := a.shows(other); err != nil {
		t.Errorf("another sign-in: %v", err)
	}
	for _, e := range a.ended {
		if kept := e.Kept.Sub(a.office.now); kept < 24*time.Hour {
			t.Errorf("an end is remembered for %v: less than a token lives", kept)
		}
	}
	s = a.logout()
	delete(s.claims, "sid")
	s.claims["sub"] = "ama@ministry"
	if err := logout(s); err != nil {
		t.Fatal(err)
	}
	other.claims["jti"] = "another"
	_, err = a.shows(other)
	refuses(t, "of somebody who was signed out everywhere", err, "invalid_token")
	a.office.now = a.office.now.Add(time.Second)
	again := a.personal()
	again.claims["sid"] = "s-3"
	if _, err := a.shows(again); err != nil {
		t.Errorf("who has signed in again: %v", err)
	}
}

// T-55: what was named is reached, and nothing else inside.
func TestOutbound(t *testing.T) {
	for address, public := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.31.0.1": false, "192.168.1.1": false, "100.64.0.1": false, "169.254.169.254": false, "0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false, "198.18.0.1": false,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fec0::1": false, "ff02::1": false,
		"192.0.0.8": false, "192.0.2.1": false, "192.88.99.1": false, "198.51.100.1": false, "203.0.113.1": false, "64:ff9b:1::1": false, "100::1": false, "2001:db8::1": false, "3fff::1": false, "5f00::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:0:7f00:1::": false, "::ffff:8.8.8.8": true,
	} {
		if mayReach(netip.MustParseAddr(address), nil) != public {
			t.Errorf("%s: reached %t", address, !public)
		}
	}
	inside := prefixes("10.2.0.0/16")
	if !mayReach(netip.MustParseAddr("::ffff:10.2.3.4"), inside) || mayReach(netip.MustParseAddr("10.3.0.1"), inside) {
		t.Error("a network that was named is not reached, or another one is")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
		if r.URL.Path == "/talks" {
			w.Header().Set("X-Long", strings.Repeat("x", 256<<10))
		}
	}))
	defer server.Close()
	for _, address := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)} {
		if answer, err := NewOutbound(nil).Get(address); err == nil {
			answer.Body.Close()
			t.Errorf("%s is reached", address)
		}
	}
	here := NewOutbound(prefixes("127.0.0.0/8"))
	answer, err := here.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer, err := here.Get(server.URL + "/elsewhere"); err == nil {
		answer.Body.Close()
		t.Error("a redirect is followed")
	}
	if answer, err := here.Get(server.URL + "/talks"); err == nil {
		answer.Body.Close()
		t.Error("headers without end are read")
	}
	if here.Timeout <= 0 || here.Timeout > 10*time.Second {
		t.Errorf("a fetch takes at most %v", here.Timeout)
	}
}

// T-55: the keys of a provider are fetched where it says, by https, and by plain HTTP from its own host alone;
// what is published for something else, or cannot sign here, counts for nothing.
func TestKeysThatDoNotCount(t *testing.T) {
	for address, from := range map[string]string{
		"https://login.example/keys": "https://login.example", "https://keys.example/": "https://login.example", "http://127.0.0.1:8080/keys": "http://127.0.0.1:8080",
	} {
		if !isFetchable(address, from) {
			t.Errorf("%s of %s is not fetched", address, from)
		}
	}
	for address, from := range map[string]string{
		"http://login.example/keys": "https://login.example", "http://127.0.0.1:8081/keys": "http://127.0.0.1:8080", "file:///etc/passwd": "https://login.example",
		"https:///keys": "https://login.example", "https://me:secret@login.example/": "https://login.example", "https://login.example/keys#x": "https://login.example",
		"": "https://login.example", "https://login.example/%zz": "https://login.example", "http:///keys": "http:///x", "gopher://127.0.0.1/": "http://127.0.0.1",
	} {
		if isFetchable(address, from) {
			t.Errorf("%s of %s is fetched", address, from)
		}
	}
	key := ecKey(t)
	published := func(k jose.JSONWebKey) strict.RawMessage {
		text, err := k.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	sound := published(jose.JSONWebKey{Key: key.Public(), KeyID: "sound"})
	for name, text := range map[string]strict.RawMessage{
		"for encryption": published(jose.JSONWebKey{Key: key.Public(), Use: "enc"}), "of another algorithm": published(jose.JSONWebKey{Key: key.Public(), Algorithm: "ES384"}),
		"a private one": published(jose.JSONWebKey{Key: key}), "a shared secret": published(jose.JSONWebKey{Key: []byte("secret")}), "short RSA": published(jose.JSONWebKey{Key: rsaKey(t, 1024).Public()}),
		"a long kid": published(jose.JSONWebKey{Key: key.Public(), KeyID: strings.Repeat("k", 257)}), "garbage": strict.RawMessage(`"x"`), "a kind that nobody knows": strict.RawMessage(`{"kty":"new"}`),
	} {
		if keys, err := usable([]strict.RawMessage{text, sound}); err != nil || len(keys) != 1 || keys[0].KeyID != "sound" {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
		if _, err := usable([]strict.RawMessage{text}); err == nil {
			t.Errorf("%s alone does", name)
		}
	}
	if _, err := usable(slices.Repeat([]strict.RawMessage{sound}, maxProviderKeys+1)); err == nil {
		t.Error("more keys than anybody has are read")
	}
}

// Keys rotate while tokens come: those of the new key and of the old one hold, from the first moment on,
// and each rotation is one fetch.
func TestKeysOfOthersRotateUnderLoad(t *testing.T) {
	const rounds, clients, each = 5, 8, 6
	a := newAbroad(t)
	if _, err := a.shows(a.token()); err != nil {
		t.Fatal(err)
	}
	before := a.token()
	for round := range rounds {
		a.office.now = a.office.now.Add(keysPause)
		after := a.token()
		after.key, after.header["kid"] = ecKey(t), fmt.Sprint("round ", round)
		kid, _ := before.header["kid"].(string)
		a.publishes(jose.JSONWebKey{Key: after.key.Public(), KeyID: fmt.Sprint("round ", round)}, jose.JSONWebKey{Key: before.key.Public(), KeyID: kid})
		var tokens []string
		for i := range clients * each {
			s := []statement{before, after}[i%2]
			s.claims = maps.Clone(s.claims)
			s.claims["jti"], s.claims["iat"], s.claims["exp"] = annona.NewUID().String(), a.office.now.Unix(), a.office.now.Unix()+300
			tokens = append(tokens, s.text(t))
		}
		var many sync.WaitGroup
		for client := range clients {
			many.Go(func() {
				for _, text := range tokens[client*each : (client+1)*each] {
					if err := a.office.recognize(annona.ShownToken{Scheme: "Bearer", Token: text}); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		}
		many.Wait()
		before = after
	}
	if a.fetches() != rounds+1 {
		t.Errorf("%d rotations were fetched %d times", rounds, a.fetches())
	}
}
