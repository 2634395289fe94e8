package oauth

import (
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
)

// forPeople is what the metadata says where people sign in.
func (w *Wire) forPeople() map[string]any {
	origin := w.issuer.Origin
	return map[string]any{
		"authorization_endpoint":                         origin + AuthorizePath,
		"pushed_authorization_request_endpoint":          origin + PushPath,
		"require_pushed_authorization_requests":          true,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"client_credentials", "authorization_code", "refresh_token", exchangeGrant},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
		"acr_values_supported":                           []string{annona.AssuranceTwoFactors.String(), annona.AssurancePasskey.String()},
	}
}

var (
	errObject     = annona.Invalid("request_not_supported", "push the parameters themselves, not as an object that is signed elsewhere")
	errPushedOnly = annona.Invalid("invalid_request", "an application pushes its request to "+PushPath+" first; the browser then brings client_id and request_uri, each once")
)

// push keeps what an application wants to do for somebody (RFC 9126).
func (w *Wire) push(out http.ResponseWriter, r *http.Request, from netip.Addr) error {
	form, err := readForm(out, r)
	if err != nil {
		return err
	}
	if form.Has("request") || form.Has("request_uri") {
		return errObject
	}
	client, proofs, err := w.proving(out, r, form, from)
	if err != nil {
		return err
	}
	requestURI, err := w.issuer.Push(r.Context(), identity.PushedRequest{
		Client: client, ResponseType: form.Get("response_type"), ResponseMode: form.Get("response_mode"), Redirect: form.Get("redirect_uri"),
		State: form.Get("state"), Challenge: form.Get("code_challenge"), Method: form.Get("code_challenge_method"), Scope: form.Get("scope"),
		Details: form.Get("authorization_details"), Thumbprint: form.Get("dpop_jkt"), Assurances: form.Get("acr_values"), MaxAge: form.Get("max_age"),
		Proofs: proofs, Verb: r.Method, Path: r.URL.EscapedPath(),
	})
	if err != nil {
		return err
	}
	return write(out, http.StatusCreated, struct {
		URI     string `json:"request_uri"`
		Expires int64  `json:"expires_in"`
	}{requestURI, int64(identity.RequestLife / time.Second)})
}

// authorize takes in the browser of somebody for whom an application wants to act. It goes on to the
// pages: to sign in, or to consent. Nothing goes back to the application from here, and to no address
// that this request names.
func (w *Wire) authorize(out http.ResponseWriter, r *http.Request, _ netip.Addr) error {
	client, request, err := readAuthorize(r)
	if err != nil {
		return err
	}
	asked, err := w.issuer.Asked(r.Context(), client, request)
	if err != nil {
		return err
	}
	who, err := w.signIn.Signed(r)
	if err != nil {
		return err
	}
	next := w.signIn.ConsentURL(client, request)
	if !who.Meets(asked.Demand, w.issuer.Clock()) {
		back := AuthorizePath + "?" + url.Values{"client_id": {client}, "request_uri": {request}}.Encode()
		next = w.signIn.SignInURL(back, asked.Demand)
	}
	out.Header().Set("Location", next)
	out.WriteHeader(http.StatusSeeOther) // 307 would send a form on
	return nil
}

// readAuthorize reads what the browser brings. Other parameters count for nothing: those of the request
// were pushed.
func readAuthorize(r *http.Request) (client, request string, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["client_id"]) != 1 || len(query["request_uri"]) != 1 || query.Has("request") {
		return "", "", errPushedOnly
	}
	return query.Get("client_id"), query.Get("request_uri"), nil
}
