package identity

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	strict "github.com/go-jose/go-jose/v4/json"

	"github.com/annona-exchange/annona"
)

// maxKeys is how many keys a client may have: one in use, one to come, and some for several machines.
const maxKeys = 10

// Registration is what a client of the authorization server is registered with. Exactly one of Keys,
// Subject, Secret and Outside says how it proves who it is.
type Registration struct {
	Agreement string
	Label     string
	Networks  []netip.Prefix
	Expires   time.Time // at most MaxLife from now

	Keys    []byte // JWK set of public keys: private_key_jwt
	Subject string // of its certificate, as RFC 4514 writes it: tls_client_auth
	Secret  bool   // it gets a secret: client_secret_basic, the weaker rung
	Outside string // its client_id at Issuer, an identity provider of others: identity_provider
	Issuer  string

	Redirects []string // where a browser may be sent back to; none: it acts for nobody but itself
}

// RegisterClient makes a client of the authorization server. secret is empty unless one was asked
// for; it is returned once and kept nowhere. The client_id is KeyID.
//
// Errors: those of Mint, method_required, keys_malformed, subject_malformed, outside_client_malformed.
func RegisterClient(hash func([]byte) []byte, demo bool, now time.Time, r Registration) (secret string, client annona.Client, err error) {
	// Every client has a secret, also one that is told none: its hash is never that of nothing.
	_, client, err = Mint(hash, demo, now, r.Expires, r.Agreement, r.Label, r.Networks)
	if err != nil {
		return "", annona.Client{}, err
	}
	ways := 0
	if r.Keys != nil {
		ways++
		client.Method = annona.MethodPrivateKeyJWT
		if client.Keys, err = plainKeys(r.Keys); err != nil {
			return "", annona.Client{}, err
		}
	}
	if r.Subject != "" {
		ways++
		client.Method, client.Subject = annona.MethodTLS, r.Subject
		if !isSubject(r.Subject) {
			return "", annona.Client{}, annona.Invalid("subject_malformed", "the subject of a certificate is written as openssl x509 -noout -subject -nameopt RFC2253 prints it: CN=…,O=…,C=…")
		}
	}
	if r.Secret {
		ways++
		client.Method = annona.MethodSecret
		secret = newSecret(client.KeyID)
		client.Hash = hash([]byte(secret))
	}
	if r.Outside != "" || r.Issuer != "" {
		ways++
		client.Method, client.KeyID, client.Subject = annona.MethodOutside, OutsideKeyID(r.Issuer, r.Outside), r.Issuer+" "+r.Outside
		if !isOutsideID(r.Outside) || r.Issuer == "" || len(r.Redirects) > 0 {
			return "", annona.Client{}, annona.Invalid("outside_client_malformed", "a client of an identity provider is named by its client_id there, of 1 to %d printable characters, and by the issuer; browsers are not sent back to it from here", maxNameLen).On("client_id")
		}
	}
	client.Redirects = r.Redirects
	if err := checkRedirects(r); err != nil {
		return "", annona.Client{}, err
	}
	if ways != 1 {
		return "", annona.Client{}, annona.Invalid("method_required", "say in one way how the client proves who it is: by keys, by the subject of its certificate, by a secret, or by an identity provider")
	}
	return secret, client, nil
}

// maxRedirects is how many addresses a client may have that a browser is sent back to.
const maxRedirects = 10

// checkRedirects holds the addresses of a client to what RFC 9700 and FAPI 2.0 say: https, complete, and
// without anything that a browser keeps to itself.
func checkRedirects(r Registration) error {
	if len(r.Redirects) > 0 && r.Secret {
		return annona.Invalid("redirect_malformed", "a client with a secret acts for nobody but itself: register keys or a certificate").On("redirect")
	}
	malformed := annona.Invalid("redirect_malformed", "a client has at most %d addresses to be sent back to, each written https://host/path, without a fragment, of at most 512 characters", maxRedirects).On("redirect")
	if len(r.Redirects) > maxRedirects {
		return malformed
	}
	for _, text := range r.Redirects {
		u, err := url.Parse(text)
		if err != nil || len(text) > 512 || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(text, "#") || u.String() != text {
			return malformed
		}
	}
	return nil
}

// newSecret returns a client secret: annona_client_<id>_<secret><checksum>, in the letters of a key.
// Its hash is never that of an API key, whose text begins otherwise.
func newSecret(id string) string {
	body := "annona_client_" + id + "_" + keyDigits.EncodeToString(fresh(secretBytes))
	return body + checksum(body)
}

// plainKeys checks a JWK set and writes it anew: public keys, of the algorithms that are taken, and
// nothing else. A single key counts as a set of one.
func plainKeys(text []byte) ([]byte, error) {
	malformed := func(why string) error {
		return annona.Invalid("keys_malformed", "%s: it is a JWK set of 1 to %d public keys, Ed25519, P-256 or RSA of %d to %d bits, each with a kid of its own when there are several", why, maxKeys, minRSABits, maxRSABits)
	}
	if len(text) > 64<<10 {
		return nil, malformed("the file is too long")
	}
	var given jose.JSONWebKeySet
	if err := strict.Unmarshal(text, &given); err != nil || len(given.Keys) == 0 {
		var one jose.JSONWebKey
		if err := strict.Unmarshal(text, &one); err != nil {
			return nil, malformed("the file cannot be read")
		}
		given.Keys = []jose.JSONWebKey{one}
	}
	if len(given.Keys) > maxKeys {
		return nil, malformed("the file has too many keys")
	}
	kept, ids := jose.JSONWebKeySet{}, map[string]bool{}
	for _, key := range given.Keys {
		switch {
		case key.Key == nil || !key.IsPublic():
			return nil, malformed("the file has a private or secret key, which belongs nowhere but to the client")
		case algorithmOf(key.Key) == "" || key.Algorithm != "" && key.Algorithm != algorithmOf(key.Key):
			return nil, malformed("a key of the file is of another kind")
		case len(key.KeyID) > maxNameLen || ids[key.KeyID]:
			return nil, malformed("two keys have the same kid, or one that is too long")
		}
		ids[key.KeyID] = true
		kept.Keys = append(kept.Keys, jose.JSONWebKey{Key: key.Key, KeyID: key.KeyID, Algorithm: algorithmOf(key.Key), Use: "sig"})
	}
	plain, err := json.Marshal(kept)
	if err != nil {
		return nil, annona.Internal("write the keys of a client", err)
	}
	return plain, nil
}

// isOutsideID reports whether a text can be a client_id of somebody else's.
func isOutsideID(text string) bool {
	return text != "" && len(text) <= maxNameLen && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' })
}

// isSubject reports whether a text can be the subject of a certificate.
func isSubject(text string) bool {
	return len(text) <= 1024 && strings.Contains(text, "=") && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// decodeBasic reads the credentials of client_secret_basic. Neither our ids nor our secrets hold
// anything that a form writes otherwise.
func decodeBasic(encoded string) (id, secret string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// readStrictly reads JSON that has each member once, in its own case, and none that we do not know.
func readStrictly(text string, into any) error {
	if err := strict.Unmarshal([]byte(text), into); err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
