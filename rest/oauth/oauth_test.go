package oauth

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
)

// shelf has one client, and what was put into it.
type shelf struct {
	annona.Standings
	annona.Tokens
	annona.Delegations
	client annona.Client
	token  *annona.Token

	delegation *annona.Delegation
}

func (s *shelf) ClientByKeyID(_ context.Context, id string) (*annona.Client, error) {
	if id != s.client.KeyID {
		return nil, nil
	}
	return &s.client, nil
}

func (s *shelf) TokenByHash(_ context.Context, hash annona.TokenHash) (*annona.Token, error) {
	if s.token == nil || s.token.Hash != hash {
		return nil, nil
	}
	return s.token, nil
}

func (s *shelf) PutToken(_ context.Context, t annona.Token, _, _ *annona.Claim, _ annona.UID) error {
	s.token = &t
	return nil
}

func (s *shelf) RevokeToken(context.Context, annona.TokenHash, annona.UID, time.Time) error {
	s.token = nil
	return nil
}

func (s *shelf) DelegationByHash(_ context.Context, hash annona.TokenHash) (*annona.Delegation, error) {
	if s.delegation == nil || s.delegation.Hash != hash {
		return nil, nil
	}
	return s.delegation, nil
}

func (s *shelf) ProofEpoch(context.Context) (annona.UID, error) { return annona.UID{1}, nil }

const origin = "https://exchange.example"

// newWire returns a wire, and a client with a secret.
func newWire(t *testing.T) (wire *Wire, client annona.Client, secret string) {
	t.Helper()
	hash := func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }
	secret, client, err := identity.RegisterClient(hash, false, time.Now(), identity.Registration{
		Agreement: "eligibility", Expires: time.Now().Add(time.Hour), Secret: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	store := &shelf{client: client}
	i := identity.Installation{
		Standings: store, Store: store, Claims: store, Delegations: store, Keys: identity.NewKeys(store, hash, time.Now, false), Clock: time.Now, Origin: origin,
		HashSecret: hash, HashToken: func(b []byte) annona.TokenHash { return sha256.Sum256(b) },
		HashNonce: func(_ annona.UID, b []byte) []byte { return hash(b)[:16] },
		Signing: func() []identity.SigningKey {
			return []identity.SigningKey{{ID: "new", Private: ed25519.NewKeyFromSeed(make([]byte, 32))}, {ID: "old", Private: ed25519.NewKeyFromSeed(append(make([]byte, 31), 1))}}
		},
		Admit: func(context.Context, annona.Caller, annona.Authorization) error { return nil },
	}
	return New(identity.NewIssuer(i, identity.NewProofs(i)), nil, false), client, secret
}

// ask sends a request through a mux, as the server that lets the wire in does.
func ask(w *Wire, r *http.Request) (*httptest.ResponseRecorder, error) {
	mux, out := http.NewServeMux(), httptest.NewRecorder()
	var failed error
	for _, pattern := range w.Patterns() {
		mux.HandleFunc(pattern, func(out http.ResponseWriter, r *http.Request) {
			failed = w.Answer(out, r, netip.MustParseAddr("192.0.2.7"))
		})
	}
	mux.ServeHTTP(out, r)
	return out, failed
}

func post(path, form string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// FA-01: the metadata names every endpoint under the public address, and what they take.
func TestMetadata(t *testing.T) {
	wire, _, _ := newWire(t)
	out, err := ask(wire, httptest.NewRequest(http.MethodGet, MetadataPath, nil))
	var told map[string]any
	if err != nil || json.Unmarshal(out.Body.Bytes(), &told) != nil {
		t.Fatalf("%v: %s", err, out.Body)
	}
	for name, want := range map[string]string{
		"issuer": origin, "token_endpoint": origin + TokenPath, "jwks_uri": origin + KeysPath,
		"introspection_endpoint": origin + IntrospectPath, "revocation_endpoint": origin + RevokePath,
	} {
		if told[name] != want {
			t.Errorf("%s is %v", name, told[name])
		}
	}
	for name, values := range told {
		list, _ := values.([]any)
		for _, v := range list {
			if v == "none" || v == "RS256" || v == "password" || v == "client_secret_post" {
				t.Errorf("%s has %v", name, v)
			}
		}
	}
	out, err = ask(wire, httptest.NewRequest(http.MethodGet, KeysPath, nil))
	var set struct{ Keys []map[string]string }
	if err != nil || json.Unmarshal(out.Body.Bytes(), &set) != nil || len(set.Keys) != 2 || set.Keys[0]["kid"] != "new" || set.Keys[1]["kid"] != "old" {
		t.Fatalf("the keys are %s, %v", out.Body, err)
	}
	for _, k := range set.Keys {
		if k["d"] != "" || k["kty"] != "OKP" || k["use"] != "sig" {
			t.Errorf("a key is %v", k)
		}
	}
}

// Each request is malformed in one way.
func TestRequestsThatAreMalformed(t *testing.T) {
	const form = "grant_type=client_credentials"
	wire, client, secret := newWire(t)
	for name, c := range map[string]struct {
		path, form string
		change     func(r *http.Request)
		status     int
		code       string
	}{
		"nobody":               {form: form, status: 401, code: "invalid_client"},
		"JSON":                 {form: "{}", change: func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, status: 400, code: "invalid_request"},
		"no type":              {form: form, change: func(r *http.Request) { r.Header.Del("Content-Type") }, status: 400, code: "invalid_request"},
		"a parameter twice":    {form: form + "&grant_type=password", status: 400, code: "invalid_request"},
		"too long":             {form: form + "&x=" + strings.Repeat("x", maxForm), status: 400, code: "invalid_request"},
		"in the query":         {path: TokenPath + "?client_id=x", form: form, status: 400, code: "invalid_request"},
		"secret in the form":   {form: form + "&client_id=" + client.KeyID + "&client_secret=" + secret, status: 400, code: "invalid_request"},
		"as a bearer":          {form: form, change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, status: 400, code: "invalid_request"},
		"two headers":          {form: form, change: func(r *http.Request) { r.Header["Authorization"] = []string{"Basic eDp4", "Basic eDp4"} }, status: 400, code: "invalid_request"},
		"wrong secret":         {form: form, change: func(r *http.Request) { r.SetBasicAuth(client.KeyID, "x") }, status: 401, code: "invalid_client"},
		"another grant":        {form: "grant_type=password", change: func(r *http.Request) { r.SetBasicAuth(client.KeyID, secret) }, status: 400, code: "unsupported_grant_type"},
		"MT-05 in a header":    {form: form + "&client_id=" + client.KeyID, change: func(r *http.Request) { r.Header.Set("X-Client-Cert", "CN=loader") }, status: 401, code: "invalid_client"},
		"no token to revoke":   {path: RevokePath, change: func(r *http.Request) { r.SetBasicAuth(client.KeyID, secret) }, status: 400, code: "invalid_request"},
		"introspect as nobody": {path: IntrospectPath, form: "token=x", status: 401, code: "invalid_client"},
		"basic, of nothing":    {form: form, change: func(r *http.Request) { r.Header.Set("Authorization", "Basic ") }, status: 400, code: "invalid_request"},
		"proof, malformed":     {form: form, change: func(r *http.Request) { r.SetBasicAuth(client.KeyID, secret); r.Header.Set("DPoP", "x") }, status: 400, code: "invalid_dpop_proof"},
	} {
		if c.path == "" {
			c.path = TokenPath
		}
		r := post(c.path, c.form)
		if c.change != nil {
			c.change(r)
		}
		out, err := ask(wire, r)
		var told struct{ Error string }
		if json.Unmarshal(out.Body.Bytes(), &told) != nil || err == nil || out.Code != c.status || told.Error != c.code {
			t.Errorf("%s: %d %s, %v", name, out.Code, out.Body, err)
		}
		if strings.Contains(out.Body.String(), secret) {
			t.Errorf("%s: the answer holds the secret", name)
		}
		if basic := r.Header.Get("Authorization") != ""; out.Code == 401 && basic != (out.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: WWW-Authenticate is %q", name, out.Header().Get("WWW-Authenticate"))
		}
		if proof := r.Header.Get("DPoP") != ""; proof != (out.Header().Get("DPoP-Nonce") != "") {
			t.Errorf("%s: DPoP-Nonce is %q", name, out.Header().Get("DPoP-Nonce"))
		}
	}
}

// A token is given, told about, and taken back.
func TestTokenOfASecret(t *testing.T) {
	wire, client, secret := newWire(t)
	call := func(path, form string, into any) {
		t.Helper()
		r := post(path, form)
		r.SetBasicAuth(client.KeyID, secret)
		out, err := ask(wire, r)
		if err != nil || out.Code != 200 {
			t.Fatalf("%s: %d %s, %v", path, out.Code, out.Body, err)
		}
		if into != nil && json.Unmarshal(out.Body.Bytes(), into) != nil {
			t.Fatalf("%s: %s", path, out.Body)
		}
	}
	var given map[string]any
	call(TokenPath, "grant_type=client_credentials&unknown=ignored", &given)
	if given["token_type"] != "Bearer" || given["expires_in"] != 300.0 || given["authorization_details"] != nil {
		t.Errorf("the token is %v", given)
	}
	token := given["access_token"].(string)
	var told map[string]any
	call(IntrospectPath, "token="+token, &told)
	if told["active"] != true || told["client_id"] != client.KeyID || told["iss"] != origin || told["cnf"] != nil {
		t.Errorf("the introspection is %v", told)
	}
	call(RevokePath, "token="+token, nil)
	clear(told)
	call(IntrospectPath, "token="+token, &told)
	if len(told) != 1 || told["active"] != false {
		t.Errorf("after the revocation it is %v", told)
	}
}
