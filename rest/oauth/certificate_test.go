package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
)

const redirect = "https://cases.example/back"

// connected is a request on a connection whose certificate was verified, or was not.
func connected(t *testing.T, path, form string, verified bool) *http.Request {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: "loader", Organization: []string{"Program"}},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := post(path, form)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown}}
	if verified {
		r.TLS.VerifiedChains = [][]*x509.Certificate{{shown}}
	}
	return r
}

// certifiedWire is a wire with pages, and a client that proves itself by a certificate and acts for people.
func certifiedWire(t *testing.T, who *pages) (*Wire, *shelf) {
	t.Helper()
	wire, _, _ := newWire(t)
	hash := func(b []byte) []byte { return b }
	_, client, err := identity.RegisterClient(hash, false, time.Now(), identity.Registration{
		Agreement: "eligibility", Expires: time.Now().Add(time.Hour), Subject: "CN=loader,O=Program", Redirects: []string{redirect},
	})
	if err != nil {
		t.Fatal(err)
	}
	store := wire.issuer.Claims.(*shelf)
	store.client = client
	return New(wire.issuer, who, true), store
}

// MT-05: a certificate counts when the connection has verified it. What it is bound to stands in the introspection.
func TestCertificatesOfConnections(t *testing.T) {
	wire, store := certifiedWire(t, nil)
	wire.signIn = nil
	form := "grant_type=client_credentials&client_id=" + store.client.KeyID
	if out, err := ask(wire, connected(t, TokenPath, form, false)); err == nil || out.Code != http.StatusUnauthorized {
		t.Errorf("one that nobody has verified: %d %s", out.Code, out.Body)
	}
	told := connected(t, TokenPath, form, false)
	for _, name := range []string{"Client-Cert", "X-Client-Cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert"} {
		told.Header.Set(name, base64.StdEncoding.EncodeToString(told.TLS.PeerCertificates[0].Raw))
	}
	told.TLS = nil
	if out, err := ask(wire, told); err == nil || out.Code != http.StatusUnauthorized {
		t.Errorf("one that headers speak of: %d %s", out.Code, out.Body)
	}
	given := connected(t, TokenPath, form, true)
	out, err := ask(wire, given)
	var token struct {
		Text string `json:"access_token"`
	}
	if err != nil || json.Unmarshal(out.Body.Bytes(), &token) != nil {
		t.Fatalf("%d %s, %v", out.Code, out.Body, err)
	}
	asking := connected(t, IntrospectPath, "token="+token.Text+"&client_id="+store.client.KeyID, true)
	out, err = ask(wire, asking)
	var stated struct {
		Bound struct {
			Certificate string `json:"x5t#S256"`
			Key         string `json:"jkt"`
		} `json:"cnf"`
		Subject string          `json:"sub"`
		Actor   json.RawMessage `json:"act"`
	}
	if err != nil || json.Unmarshal(out.Body.Bytes(), &stated) != nil || len(stated.Bound.Certificate) != 43 || stated.Bound.Key != "" || stated.Actor != nil || stated.Subject != store.client.KeyID {
		t.Errorf("it tells %s, %v", out.Body, err)
	}
	store.token.Certificate, store.token.Key = nil, make([]byte, 32)
	store.token.Acting = annona.SignedIn{Person: annona.UID{7}, Assurance: annona.AssurancePasskey, At: time.Unix(1, 0)}
	out, err = ask(wire, connected(t, IntrospectPath, "token="+token.Text+"&client_id="+store.client.KeyID, true))
	if err != nil || json.Unmarshal(out.Body.Bytes(), &stated) != nil || len(stated.Bound.Key) != 43 || stated.Subject != (annona.UID{7}).String() || stated.Actor == nil || !strings.Contains(out.Body.String(), `"acr":"phr","auth_time":1`) {
		t.Errorf("of a person it tells %s, %v", out.Body, err)
	}
	asking = connected(t, IntrospectPath, "token="+token.Text+"&client_id="+store.client.KeyID, true)
	asking.Header.Set("Accept", signedIntrospection)
	if out, err = ask(wire, asking); err != nil || strings.Count(out.Body.String(), ".") != 2 || out.Header().Get("Content-Type") != signedIntrospection {
		t.Errorf("signed it is %s, %v", out.Body, err)
	}
}

// T-24, FA-19: a browser goes to sign in as long as whoever is in front of it has not signed in as the client
// demands, and then to consent; by 303, which sends no form on.
func TestBrowsersGoToSignIn(t *testing.T) {
	who := &pages{}
	wire, store := certifiedWire(t, who)
	form := url.Values{
		"client_id": {store.client.KeyID}, "response_type": {"code"}, "redirect_uri": {redirect}, "code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"},
		"acr_values": {"phr"}, "max_age": {"300"},
	}
	out, err := ask(wire, connected(t, PushPath, form.Encode(), true))
	var pushed struct {
		URI     string `json:"request_uri"`
		Expires int    `json:"expires_in"`
	}
	if err != nil || out.Code != http.StatusCreated || json.Unmarshal(out.Body.Bytes(), &pushed) != nil || pushed.Expires >= 600 {
		t.Fatalf("%d %s, %v", out.Code, out.Body, err)
	}
	query := url.Values{"client_id": {store.client.KeyID}, "request_uri": {pushed.URI}}.Encode()
	for name, c := range map[string]struct {
		who  annona.SignedIn
		next string
	}{
		"nobody":          {annona.SignedIn{}, "/sign-in?"},
		"by a password":   {annona.SignedIn{Person: annona.UID{7}, Assurance: annona.AssuranceTwoFactors, At: time.Now()}, "/sign-in?"},
		"six minutes ago": {annona.SignedIn{Person: annona.UID{7}, Assurance: annona.AssurancePasskey, At: time.Now().Add(-6 * time.Minute)}, "/sign-in?"},
		"as demanded":     {annona.SignedIn{Person: annona.UID{7}, Assurance: annona.AssurancePasskey, At: time.Now()}, "/consent?"},
	} {
		who.who = c.who
		out, err := ask(wire, httptest.NewRequest(http.MethodGet, AuthorizePath+"?"+query, nil))
		if err != nil || out.Code != http.StatusSeeOther || !strings.HasPrefix(out.Header().Get("Location"), c.next) {
			t.Errorf("%s: %d to %s, %v", name, out.Code, out.Header().Get("Location"), err)
		}
	}
	for name, more := range map[string]string{
		"a client twice": "&client_id=other", "a request twice": "&request_uri=urn:ietf:params:oauth:request_uri:b", "an object beside": "&request=e30.e30.", "a query that cannot be read": "&x=%zz",
	} {
		_, err := ask(wire, httptest.NewRequest(http.MethodGet, AuthorizePath+"?"+query+more, nil))
		if !errors.Is(err, errPushedOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What fails on our side is told by its status alone; what is over soon says when to come again.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{errors.New("dial tcp 10.0.0.7: secret"), 500, "server_error", ""},
		{annona.Internal("read a secret", errors.New("secret")), 500, "server_error", ""},
		{annona.Unavailable("store_busy", "busy"), 503, "temporarily_unavailable", "5"},
		{annona.TooMany("too_many", "slow"), 429, "temporarily_unavailable", "5"},
		{annona.Forbidden("dataset_not_granted", "no"), 400, "unauthorized_client", ""},
		{annona.Unauthenticated("sign_in_required", "no"), 400, "invalid_request", ""},
		{annona.ErrProofEpoch, 400, "use_dpop_nonce", ""},
	} {
		wire, _, _ := newWire(t)
		wire.routes["POST "+TokenPath] = func(http.ResponseWriter, *http.Request, netip.Addr) error { return c.err }
		out, _ := ask(wire, post(TokenPath, ""))
		var told struct{ Error string }
		if json.Unmarshal(out.Body.Bytes(), &told) != nil || out.Code != c.status || told.Error != c.code || out.Header().Get("Retry-After") != c.retry || strings.Contains(out.Body.String(), "secret") {
			t.Errorf("%v: %d %s %v", c.err, out.Code, out.Body, out.Header())
		}
		if nonce := out.Header().Get("DPoP-Nonce") != ""; nonce != (c.code == "use_dpop_nonce") {
			t.Errorf("%v: a nonce is there: %t", c.err, nonce)
		}
		if kind := out.Header().Get("Content-Type"); kind != "application/json" {
			t.Errorf("%v: it is %s", c.err, kind)
		}
	}
}

func (s *shelf) PutDelegation(_ context.Context, d annona.Delegation) error {
	s.delegation = &d
	return nil
}

func (s *shelf) ClientByID(_ context.Context, id annona.UID) (*annona.Client, error) {
	if id != s.client.ID {
		return nil, nil
	}
	return &s.client, nil
}
