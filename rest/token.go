package rest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/annona-exchange/annona"
)

// wellKnown is the one path with a segment that begins with a dot: RFC 8414 wants it there.
const wellKnown = "/.well-known/oauth-authorization-server"

// tokenScheme is the name of the security scheme of access tokens in the OpenAPI document.
const tokenScheme = "access_token"

var (
	errAuthorizationTwice = annona.Invalid("header_repeated", "show one access token").On("Authorization")
	errScheme             = annona.Unauthenticated("token_missing", "write the header Authorization as DPoP or Bearer, a space and the access token")
)

// tokenHolder recognizes a caller by the access token that the request shows, in the header alone.
func (s *Server) tokenHolder(w http.ResponseWriter, r *http.Request, authorization []string) (annona.Caller, error) {
	if len(authorization) > 1 {
		return annona.Caller{}, errAuthorizationTwice
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	v := visitOf(r.Context())
	switch {
	case strings.EqualFold(scheme, "DPoP"):
		v.scheme = "DPoP"
	case strings.EqualFold(scheme, "Bearer"):
		v.scheme = "Bearer"
	default:
		return annona.Caller{}, errScheme
	}
	from, err := s.clientAddr(r)
	if err != nil {
		return annona.Caller{}, err
	}
	shown := annona.ShownToken{
		Scheme: v.scheme, Token: token, Proofs: r.Header.Values("DPoP"),
		Method: r.Method, Path: r.URL.EscapedPath(), From: from,
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		shown.Certificate = r.TLS.PeerCertificates[0] // never one that a header speaks of
	}
	caller, err := s.Tokens.Recognize(r.Context(), shown)
	if v.scheme == "DPoP" {
		s.giveNonce(w, r)
	}
	return caller, err
}

// giveNonce hands over what the next proof must hold. Without one the client asks again and is told.
func (s *Server) giveNonce(w http.ResponseWriter, r *http.Request) {
	if nonce, err := s.Tokens.Nonce(r.Context()); err == nil {
		w.Header().Set("DPoP-Nonce", nonce)
	}
}

// challenges are what WWW-Authenticate says of a request that was not authenticated.
func (v *visit) challenges() []string {
	const algorithms = `algs="EdDSA ES256 PS256"`
	code := annona.CodeOf(v.failure)
	if strings.HasSuffix(code, "_not_authorized") {
		code = "insufficient_scope"
	}
	switch {
	case v.told:
		return nil
	case v.scheme == "DPoP":
		return []string{`DPoP realm="annona", error="` + code + `", ` + demandOf(v.failure) + algorithms}
	case v.scheme == "Bearer":
		return []string{strings.TrimSuffix(`Bearer realm="annona", error="`+code+`", `+demandOf(v.failure), ", "), `DPoP realm="annona", ` + algorithms}
	}
	return []string{`ApiKey realm="annona", header="X-API-Key"`, `DPoP realm="annona", ` + algorithms, `Bearer realm="annona"`}
}

// demandOf says how the person must sign in (RFC 9470, section 3); empty: nobody asks for that.
func demandOf(failure error) string {
	var e *annona.Error
	if !errors.As(failure, &e) || e.Demand == (annona.Demand{}) {
		return ""
	}
	demand := `acr_values="` + e.Demand.Assurance.String() + `", `
	if e.Demand.MaxAge > 0 {
		demand += "max_age=" + strconv.Itoa(int(e.Demand.MaxAge.Seconds())) + ", "
	}
	return demand
}

// letIn lets a request into a wire of its own.
func (s *Server) letIn(wire Wire) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r.Context())
		from, err := s.clientAddr(r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		v.told = true
		v.failure = wire.Answer(w, r, from)
	}
}

// tokenSecurity documents access tokens.
func tokenSecurity() *huma.SecurityScheme {
	return &huma.SecurityScheme{
		Type: "http", Scheme: "bearer", BearerFormat: "opaque",
		Description: "An access token of POST /oauth2/token, which lives for five minutes. One that is bound to a key is shown as Authorization: DPoP, with a proof in the header DPoP (RFC 9449).",
	}
}
