package rest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// heldTokens recognizes one token, and refuses others as it is told to.
type heldTokens struct {
	caller  annona.Caller
	refused error
	shown   annona.ShownToken
}

func (h *heldTokens) Recognize(_ context.Context, shown annona.ShownToken) (annona.Caller, error) {
	h.shown = shown
	if shown.Token != "good" {
		return annona.Caller{}, h.refused
	}
	return h.caller, nil
}

func (h *heldTokens) Nonce(context.Context) (string, error) { return "fresh", nil }

// What is shown reaches whoever recognizes it, and a refusal says what to show instead.
func TestAccessTokens(t *testing.T) {
	held := &heldTokens{}
	r := newRegistry(t, func(o *Options) { o.Tokens = held })
	held.caller = annona.Caller{Client: r.fullClient, Agreement: "full", Strength: annona.StrengthSenderConstrained}
	ask := func(headers ...string) *http.Response {
		t.Helper()
		request, err := http.NewRequest(http.MethodGet, r.url+onePage, nil)
		r.check(err)
		for i := 0; i < len(headers); i += 2 {
			request.Header.Add(headers[i], headers[i+1])
		}
		request.Header.Set("X-Client-Cert", "CN=loader") // MT-05: counts for nothing
		answer, err := http.DefaultClient.Do(request)
		r.check(err)
		answer.Body.Close()
		return answer
	}
	if a := ask("Authorization", "dpop good", "DPoP", "one", "DPoP", "two"); a.StatusCode != 200 || a.Header.Get("DPoP-Nonce") != "fresh" {
		t.Errorf("a good token: %d, nonce %q", a.StatusCode, a.Header.Get("DPoP-Nonce"))
	}
	if s := held.shown; s.Scheme != "DPoP" || s.Method != "GET" || s.Path != "/v1/individuals" || len(s.Proofs) != 2 || s.Certificate != nil || !s.From.IsLoopback() {
		t.Errorf("it was shown %+v", s)
	}
	if a := ask("Authorization", "Bearer good"); a.StatusCode != 200 || a.Header.Get("DPoP-Nonce") != "" {
		t.Errorf("a plain token: %d, nonce %q", a.StatusCode, a.Header.Get("DPoP-Nonce"))
	}
	for name, c := range map[string]struct {
		headers   []string
		refused   error
		status    int
		challenge string
	}{
		"a nonce is wanted":  {[]string{"Authorization", "DPoP bad"}, annona.ErrProofEpoch, 401, `DPoP realm="annona", error="use_dpop_nonce"`},
		"a bad proof":        {[]string{"Authorization", "DPoP bad"}, annona.Unauthenticated("invalid_dpop_proof", "no"), 401, `DPoP realm="annona", error="invalid_dpop_proof"`},
		"a bad token":        {[]string{"Authorization", "Bearer bad"}, annona.Unauthenticated("invalid_token", "no"), 401, `Bearer realm="annona", error="invalid_token"`},
		"another scheme":     {[]string{"Authorization", "Basic eDp4"}, nil, 401, `ApiKey realm="annona"`},
		"two tokens":         {[]string{"Authorization", "DPoP good", "Authorization", "DPoP good"}, nil, 400, ""},
		"a token and a key":  {[]string{"Authorization", "Bearer good", "X-API-Key", r.full}, nil, 400, ""},
		"the store is away":  {[]string{"Authorization", "DPoP bad"}, annona.Unavailable("store_io", "no"), 503, ""},
		"nothing at all":     {nil, nil, 401, `ApiKey realm="annona"`},
		"for something else": {[]string{"Authorization", "DPoP bad"}, annona.Forbidden("purpose_not_authorized", "no"), 403, `DPoP realm="annona", error="insufficient_scope"`},
	} {
		held.refused = c.refused
		a := ask(c.headers...)
		if got := a.Header.Get("WWW-Authenticate"); a.StatusCode != c.status || !strings.HasPrefix(got, c.challenge) || c.challenge == "" && got != "" {
			t.Errorf("%s: %d, WWW-Authenticate %q", name, a.StatusCode, got)
		}
	}
}

// Who has to sign in again is told how (RFC 9470, section 3).
func TestTheChallengeOfASignIn(t *testing.T) {
	fault := annona.InsufficientSignIn(annona.Demand{Assurance: annona.AssurancePasskey, MaxAge: 15 * time.Minute})
	for scheme, want := range map[string]string{
		"DPoP":   `DPoP realm="annona", error="insufficient_user_authentication", acr_values="phr", max_age=900, algs="EdDSA ES256 PS256"`,
		"Bearer": `Bearer realm="annona", error="insufficient_user_authentication", acr_values="phr", max_age=900`,
	} {
		if got := (&visit{scheme: scheme, failure: fault}).challenges()[0]; got != want {
			t.Errorf("%s: %s", scheme, got)
		}
	}
	other := annona.Unauthenticated("invalid_token", "the token is over")
	if got := (&visit{scheme: "Bearer", failure: other}).challenges()[0]; got != `Bearer realm="annona", error="invalid_token"` {
		t.Errorf("another failure: %s", got)
	}
}
