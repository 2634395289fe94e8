package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Credential proves who asks.
type Credential interface {
	// authorize puts the proof into a request.
	authorize(ctx context.Context, c *Client, r *http.Request) error
	// refused looks at a 401 and reports whether the same request may succeed now.
	refused(response *http.Response) bool
}

// APIKey is an API key of an agreement: the weaker rung. Its holder sees what the agreement gives to
// plain keys.
func APIKey(key string) Credential { return apiKey(strings.TrimSpace(key)) }

type apiKey string

func (k apiKey) authorize(_ context.Context, _ *Client, r *http.Request) error {
	r.Header.Set("X-API-Key", string(k))
	return nil
}

func (apiKey) refused(*http.Response) bool { return false }

// OAuth is a client of the registry's authorization server that signs assertions (private_key_jwt) with
// its key, a private JWK of P-256, RSA or Ed25519. Its access tokens are bound to a key that is made for
// the run and leaves this process never (DPoP): whoever steals a token has nothing.
func OAuth(clientID string, key []byte) (Credential, error) {
	var private jose.JSONWebKey
	if err := json.Unmarshal(key, &private); err != nil || !private.Valid() || private.IsPublic() {
		return nil, &Error{Code: "client_key_malformed", Detail: "the key of a client is one private JWK", cause: err}
	}
	algorithm, err := algorithmOf(private)
	if err != nil {
		return nil, err
	}
	o := &oauth{client: clientID}
	if o.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: private}, (&jose.SignerOptions{}).WithType("JWT")); err != nil {
		return nil, &Error{Code: "client_key_malformed", Detail: "nothing can be signed with the key of this client", cause: err}
	}
	bound, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, &Error{Code: "no_random", Detail: "no key could be made", cause: err}
	}
	o.prover, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: bound}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	return o, err
}

func algorithmOf(key jose.JSONWebKey) (jose.SignatureAlgorithm, error) {
	if key.Algorithm != "" {
		return jose.SignatureAlgorithm(key.Algorithm), nil
	}
	public := key.Public()
	switch text, _ := public.MarshalJSON(); {
	case strings.Contains(string(text), `"OKP"`):
		return jose.EdDSA, nil
	case strings.Contains(string(text), `"P-256"`):
		return jose.ES256, nil
	case strings.Contains(string(text), `"RSA"`):
		return jose.PS256, nil
	}
	return "", &Error{Code: "client_key_malformed", Detail: "the key of a client is of P-256, RSA or Ed25519"}
}

// oauth holds a token as long as it is good.
type oauth struct {
	client string
	signer jose.Signer // of the client's own key
	prover jose.Signer // of the key that tokens are bound to

	mu      sync.Mutex
	origin  string // of the registry, as it calls itself
	nonce   string // for the next proof
	token   string
	expires time.Time
}

// spare is how long before its end a token is not used any more.
const spare = 30 * time.Second

func (o *oauth) authorize(ctx context.Context, c *Client, r *http.Request) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Now().After(o.expires.Add(-spare)) {
		if err := o.renew(ctx, c); err != nil {
			return err
		}
	}
	proof, err := o.prove(r.Method, r.URL.EscapedPath(), o.token)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "DPoP "+o.token)
	r.Header.Set("DPoP", proof)
	return nil
}

// refused takes the nonce that the registry wants, or gives a token up that is not good any more.
func (o *oauth) refused(response *http.Response) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if nonce := response.Header.Get("DPoP-Nonce"); nonce != "" && nonce != o.nonce {
		o.nonce = nonce
		return true
	}
	o.expires = time.Time{}
	return false
}

// renew gets a token. A registry that has not said a nonce yet says it first.
func (o *oauth) renew(ctx context.Context, c *Client) error {
	if o.origin == "" {
		var metadata struct{ Issuer string }
		if err := o.ask(ctx, c, http.MethodGet, "/.well-known/oauth-authorization-server", nil, &metadata); err != nil {
			return err
		}
		o.origin = metadata.Issuer
	}
	var granted struct {
		Token   string `json:"access_token"`
		Expires int    `json:"expires_in"`
	}
	err := o.demand(ctx, c, &granted)
	if CodeOf(err) == "use_dpop_nonce" {
		err = o.demand(ctx, c, &granted)
	}
	if err != nil {
		return err
	}
	o.token, o.expires = granted.Token, time.Now().Add(time.Duration(granted.Expires)*time.Second)
	return nil
}

func (o *oauth) demand(ctx context.Context, c *Client, granted any) error {
	now := time.Now()
	assertion, err := jwt.Signed(o.signer).Claims(map[string]any{
		"iss": o.client, "sub": o.client, "aud": o.origin, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(50 * time.Second).Unix(),
	}).Serialize()
	if err != nil {
		return &Error{Code: "client_key_malformed", Detail: "nothing can be signed with the key of this client", cause: err}
	}
	return o.ask(ctx, c, http.MethodPost, "/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}, granted)
}

// ask speaks to the authorization server, with a proof and without a token.
func (o *oauth) ask(ctx context.Context, c *Client, method, path string, form url.Values, into any) error {
	at := *c.base
	at.Path = path
	r, err := http.NewRequestWithContext(ctx, method, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return &Error{Code: "address_malformed", Detail: "the address of the registry is none", cause: err}
	}
	if method == http.MethodPost {
		proof, err := o.prove(method, path, "")
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("DPoP", proof)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return &Error{Code: "unreachable", Detail: "the authorization server does not answer: " + plainly(err), cause: err}
	}
	defer response.Body.Close()
	if nonce := response.Header.Get("DPoP-Nonce"); nonce != "" {
		o.nonce = nonce
	}
	if response.StatusCode >= 300 {
		return refusalOf(response)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return &Error{Code: "answer_malformed", Detail: "the answer is none of an authorization server; check the address", cause: err}
	}
	return nil
}

// prove signs a proof for one request.
func (o *oauth) prove(method, path, token string) (string, error) {
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": o.origin + path, "iat": time.Now().Unix()}
	if o.nonce != "" {
		claims["nonce"] = o.nonce
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return jwt.Signed(o.prover).Claims(claims).Serialize()
}
