// Package oauth is the wire of the authorization server: OAuth 2.0 for machines, and for people who let
// an application act for them.
//
//	GET  /.well-known/oauth-authorization-server   what this server can do (RFC 8414)
//	GET  /oauth2/jwks                              the public keys of what it signs
//	POST /oauth2/token                             an access token (RFC 6749, 8705, 9449, 9396)
//	POST /oauth2/par                               what an application wants to do for somebody (RFC 9126)
//	GET  /oauth2/authorize                         the browser of that somebody
//	POST /oauth2/introspect                        what a token is good for (RFC 7662, 9701)
//	POST /oauth2/revoke                            a token that is not needed any more (RFC 7009)
//	POST /oauth2/logout                            a sign-in at an identity provider of others that is over
//
// It knows forms, headers and the words of these documents. Who is who is package identity's to say,
// and what somebody may have is decided behind that, by the gate.
package oauth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
)

// The paths of the endpoints.
const (
	MetadataPath   = "/.well-known/oauth-authorization-server"
	KeysPath       = "/oauth2/jwks"
	TokenPath      = "/oauth2/token"
	PushPath       = "/oauth2/par"
	AuthorizePath  = "/oauth2/authorize"
	IntrospectPath = "/oauth2/introspect"
	RevokePath     = "/oauth2/revoke"
	LogoutPath     = "/oauth2/logout"
)

// exchangeGrant is the grant_type of RFC 8693.
const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

// maxForm bounds a request: an assertion of 8 KiB, details, and some air.
const maxForm = 32 << 10

// Wire answers requests to the authorization server.
type Wire struct {
	issuer *identity.Issuer
	signIn SignIn // nil: nobody signs in here
	tls    bool   // clients may show certificates
	routes map[string]func(http.ResponseWriter, *http.Request, netip.Addr) error
}

// New returns the wire of an issuer. signIn may be nil: then clients act for themselves only. certificates
// says whether the listener asks clients for one.
func New(issuer *identity.Issuer, signIn SignIn, certificates bool) *Wire {
	w := &Wire{issuer: issuer, signIn: signIn, tls: certificates}
	w.routes = map[string]func(http.ResponseWriter, *http.Request, netip.Addr) error{
		"GET " + MetadataPath:    w.metadata,
		"GET " + KeysPath:        w.keys,
		"POST " + TokenPath:      w.token,
		"POST " + IntrospectPath: w.introspect,
		"POST " + RevokePath:     w.revoke,
		"POST " + LogoutPath:     w.logout,
	}
	if signIn != nil {
		w.routes["POST "+PushPath] = w.push
		w.routes["GET "+AuthorizePath] = w.authorize
	}
	return w
}

// Patterns are those of the routes.
func (w *Wire) Patterns() (patterns []string) {
	for pattern := range w.routes {
		patterns = append(patterns, pattern)
	}
	return patterns
}

// Answer answers a request. The error is what it has refused: it is written already.
func (w *Wire) Answer(out http.ResponseWriter, r *http.Request, from netip.Addr) error {
	err := w.routes[r.Pattern](out, r, from)
	if err != nil {
		w.refuse(out, r, err)
	}
	return err
}

// metadata is what RFC 8414 calls so. Where nobody signs in there is no authorization endpoint, hence no
// response type.
func (w *Wire) metadata(out http.ResponseWriter, _ *http.Request, _ netip.Addr) error {
	origin := w.issuer.Origin
	methods := []string{string(annona.MethodPrivateKeyJWT), string(annona.MethodSecret)}
	if w.tls {
		methods = append(methods, string(annona.MethodTLS))
	}
	out.Header().Set("Cache-Control", "public, max-age=300")
	told := map[string]any{
		"issuer":                                origin,
		"token_endpoint":                        origin + TokenPath,
		"introspection_endpoint":                origin + IntrospectPath,
		"revocation_endpoint":                   origin + RevokePath,
		"jwks_uri":                              origin + KeysPath,
		"response_types_supported":              []string{},
		"grant_types_supported":                 []string{"client_credentials", exchangeGrant},
		"token_endpoint_auth_methods_supported": methods,
		"token_endpoint_auth_signing_alg_values_supported":         identity.Algorithms(),
		"introspection_endpoint_auth_methods_supported":            methods,
		"introspection_endpoint_auth_signing_alg_values_supported": identity.Algorithms(),
		"introspection_signing_alg_values_supported":               []string{"EdDSA"},
		"revocation_endpoint_auth_methods_supported":               methods,
		"revocation_endpoint_auth_signing_alg_values_supported":    identity.Algorithms(),
		"dpop_signing_alg_values_supported":                        identity.Algorithms(),
		"tls_client_certificate_bound_access_tokens":               w.tls,
		"authorization_details_types_supported":                    []string{identity.DetailType},
	}
	if w.signIn != nil {
		maps.Copy(told, w.forPeople())
	}
	return write(out, http.StatusOK, told)
}

func (w *Wire) keys(out http.ResponseWriter, _ *http.Request, _ netip.Addr) error {
	body, err := w.issuer.PublicKeys()
	if err != nil {
		return err
	}
	out.Header().Set("Cache-Control", "public, max-age=300")
	out.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = out.Write(append(body, '\n'))
	return nil
}

// proving returns what a client shows of itself beside its form. Whoever shows a proof gets the nonce of
// the next one.
func (w *Wire) proving(out http.ResponseWriter, r *http.Request, form url.Values, from netip.Addr) (client identity.ShownClient, proofs []string, err error) {
	if client, err = shownClient(r, form, from); err != nil {
		return client, nil, err
	}
	if proofs = r.Header.Values("DPoP"); len(proofs) > 0 {
		w.giveNonce(out, r.Context())
	}
	return client, proofs, nil
}

func (w *Wire) token(out http.ResponseWriter, r *http.Request, from netip.Addr) error {
	form, err := readForm(out, r)
	if err != nil {
		return err
	}
	client, proofs, err := w.proving(out, r, form, from)
	if err != nil {
		return err
	}
	issued, err := w.issuer.GiveToken(r.Context(), identity.TokenRequest{
		Client: client, Grant: form.Get("grant_type"), Scope: form.Get("scope"), Details: form.Get("authorization_details"),
		Proofs: proofs, Method: r.Method, Path: r.URL.EscapedPath(),
		Code: form.Get("code"), Redirect: form.Get("redirect_uri"), Verifier: form.Get("code_verifier"), Refresh: form.Get("refresh_token"),
		Subject: form.Get("subject_token"), SubjectType: form.Get("subject_token_type"), Requested: form.Get("requested_token_type"),
	})
	if err != nil {
		return err
	}
	kind := ""
	if form.Get("grant_type") == exchangeGrant {
		kind = identity.AccessTokenType
	}
	return write(out, http.StatusOK, struct {
		Token   string          `json:"access_token"`
		Kind    string          `json:"issued_token_type,omitempty"`
		Type    string          `json:"token_type"`
		Expires int64           `json:"expires_in"`
		Refresh string          `json:"refresh_token,omitempty"`
		Details json.RawMessage `json:"authorization_details,omitempty"`
	}{issued.Text, kind, issued.Type(), int64(issued.ExpiresAt.Sub(issued.IssuedAt) / time.Second), issued.Refresh, issued.Details})
}

// giveNonce hands over what the next proof must hold.
func (w *Wire) giveNonce(out http.ResponseWriter, ctx context.Context) {
	if nonce, err := w.issuer.Nonce(ctx); err == nil {
		out.Header().Set("DPoP-Nonce", nonce)
	}
}

// confirmation is what a token is bound to (RFC 7800).
type confirmation struct {
	Key         string `json:"jkt,omitempty"`
	Certificate string `json:"x5t#S256,omitempty"`
}

// introspection is what RFC 7662 answers.
type introspection struct {
	Active   bool            `json:"active"`
	Issuer   string          `json:"iss,omitempty"`
	ClientID string          `json:"client_id,omitempty"`
	Subject  string          `json:"sub,omitempty"`
	Type     string          `json:"token_type,omitempty"`
	IssuedAt int64           `json:"iat,omitempty"`
	Expires  int64           `json:"exp,omitempty"`
	Bound    *confirmation   `json:"cnf,omitempty"`
	Details  json.RawMessage `json:"authorization_details,omitempty"`
	Class    string          `json:"acr,omitempty"`
	SignedIn int64           `json:"auth_time,omitempty"`
	Actor    *actor          `json:"act,omitempty"`
}

// actor is who acts for the subject (RFC 8693).
type actor struct {
	Subject string `json:"sub"`
}

// signedIntrospection is the media type by which a client asks for a signed answer (RFC 9701).
const signedIntrospection = "application/token-introspection+jwt"

func (w *Wire) introspect(out http.ResponseWriter, r *http.Request, from netip.Addr) error {
	form, client, err := w.aboutToken(out, r, from)
	if err != nil {
		return err
	}
	holder, token, err := w.issuer.Introspect(r.Context(), client, form.Get("token"))
	if err != nil {
		return err
	}
	answer := introspection{}
	if token != nil {
		answer = w.describe(holder, token)
	}
	if r.Header.Get("Accept") != signedIntrospection {
		return write(out, http.StatusOK, answer)
	}
	signed, err := w.issuer.Sign("token-introspection+jwt", map[string]any{
		"iss": w.issuer.Origin, "aud": holder.KeyID, "iat": w.issuer.Clock().Unix(), "token_introspection": answer,
	})
	if err != nil {
		return err
	}
	out.Header().Set("Content-Type", signedIntrospection)
	_, _ = out.Write([]byte(signed))
	return nil
}

func (w *Wire) describe(holder *annona.Client, t *annona.Token) introspection {
	answer := introspection{
		Active: true, Issuer: w.issuer.Origin, ClientID: holder.KeyID, Subject: holder.KeyID,
		Type: identity.Issued{Token: *t}.Type(), IssuedAt: t.IssuedAt.Unix(), Expires: t.ExpiresAt.Unix(),
		Details: identity.Details(t.Within, holder.Agreement),
	}
	if t.Key != nil || t.Certificate != nil {
		answer.Bound = &confirmation{base64.RawURLEncoding.EncodeToString(t.Key), base64.RawURLEncoding.EncodeToString(t.Certificate)}
	}
	if who := t.Acting; who.Person != (annona.UID{}) {
		answer.Subject, answer.Actor = who.Person.String(), &actor{holder.KeyID}
		answer.Class, answer.SignedIn = who.Assurance.String(), who.At.Unix()
	}
	return answer
}

func (w *Wire) revoke(out http.ResponseWriter, r *http.Request, from netip.Addr) error {
	form, client, err := w.aboutToken(out, r, from)
	if err != nil {
		return err
	}
	if err := w.issuer.Revoke(r.Context(), client, form.Get("token")); err != nil {
		return err
	}
	out.WriteHeader(http.StatusOK)
	return nil
}

// logout ends tokens of others, as their provider says (OpenID Connect Back-Channel Logout 1.0).
func (w *Wire) logout(out http.ResponseWriter, r *http.Request, _ netip.Addr) error {
	form, err := readForm(out, r)
	if err != nil {
		return err
	}
	if err := w.issuer.Logout(r.Context(), form.Get("logout_token")); err != nil {
		return err
	}
	out.WriteHeader(http.StatusOK)
	return nil
}

var (
	errForm         = annona.Invalid("invalid_request", "send a form, application/x-www-form-urlencoded in UTF-8, of at most %d bytes, that has each parameter once", maxForm)
	errQuery        = annona.Invalid("invalid_request", "the parameters stand in the body, never in the URL: URLs are kept in logs")
	errSecretInForm = annona.Invalid("invalid_request", "a client secret stands in the header Authorization: Basic, never in the body")
	errBasic        = annona.Invalid("invalid_request", "the header Authorization of this endpoint is Basic, once, or is not there")
	errNoToken      = annona.Invalid("invalid_request", "name the token")
)

// aboutToken reads a request that is about a token.
func (w *Wire) aboutToken(out http.ResponseWriter, r *http.Request, from netip.Addr) (url.Values, identity.ShownClient, error) {
	form, err := readForm(out, r)
	if err != nil {
		return nil, identity.ShownClient{}, err
	}
	if form.Get("token") == "" {
		return nil, identity.ShownClient{}, errNoToken
	}
	client, err := shownClient(r, form, from)
	return form, client, err
}

// readForm reads the body. What it does not know is ignored, as RFC 6749 wants it; what stands twice is
// refused.
func readForm(out http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" {
		return nil, errQuery
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errForm
	}
	r.Body = http.MaxBytesReader(out, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, errForm
	}
	for _, given := range r.PostForm {
		if len(given) > 1 {
			return nil, errForm
		}
	}
	return r.PostForm, nil
}

// shownClient is what the request shows of its client. A certificate is the connection's own.
func shownClient(r *http.Request, form url.Values, from netip.Addr) (identity.ShownClient, error) {
	shown := identity.ShownClient{
		ID: form.Get("client_id"), Assertion: form.Get("client_assertion"), AssertionType: form.Get("client_assertion_type"), From: from,
	}
	if form.Has("client_secret") {
		return shown, errSecretInForm
	}
	if given := r.Header.Values("Authorization"); len(given) > 0 {
		scheme, credentials, _ := strings.Cut(given[0], " ")
		if len(given) > 1 || !strings.EqualFold(scheme, "Basic") || credentials == "" {
			return shown, errBasic
		}
		shown.Basic = credentials
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		shown.Certificate = r.TLS.PeerCertificates[0]
	}
	return shown, nil
}

// refuse writes a refusal in the words of RFC 6749.
func (w *Wire) refuse(out http.ResponseWriter, r *http.Request, err error) {
	status, code, text := verdict(err)
	switch {
	case status == http.StatusUnauthorized && r.Header.Get("Authorization") != "":
		out.Header().Set("WWW-Authenticate", `Basic realm="annona"`)
	case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
		out.Header().Set("Retry-After", "5")
	}
	if code == annona.ErrProofEpoch.Code {
		w.giveNonce(out, r.Context()) // of the epoch that has begun meanwhile
	}
	_ = write(out, status, struct {
		Code string `json:"error"`
		Text string `json:"error_description,omitempty"`
	}{code, text})
}

// verdict turns any error into what the client reads.
func verdict(err error) (status int, code, text string) {
	known := (*annona.Error)(nil)
	if !errors.As(err, &known) || known.Kind == annona.KindInternal {
		return http.StatusInternalServerError, "server_error", "something failed on our side; ask again"
	}
	switch known.Kind {
	case annona.KindUnavailable:
		return http.StatusServiceUnavailable, "temporarily_unavailable", known.Message
	case annona.KindTooMany:
		return http.StatusTooManyRequests, "temporarily_unavailable", known.Message
	case annona.KindForbidden:
		return http.StatusBadRequest, "unauthorized_client", known.Message
	case annona.KindUnauthenticated:
		if known.Code == "invalid_client" {
			return http.StatusUnauthorized, known.Code, known.Message
		}
	}
	if !words[known.Code] {
		return http.StatusBadRequest, "invalid_request", known.Message
	}
	return http.StatusBadRequest, known.Code, known.Message
}

// words are the codes that clients know from the documents.
var words = map[string]bool{
	"invalid_request": true, "unsupported_grant_type": true, "invalid_scope": true, "invalid_authorization_details": true,
	"invalid_dpop_proof": true, "use_dpop_nonce": true, "invalid_grant": true, "unsupported_response_type": true, "request_not_supported": true,
}

func write(out http.ResponseWriter, status int, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return annona.Internal("write an answer", err)
	}
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(status)
	_, _ = out.Write(append(body, '\n'))
	return nil
}
