package oauth

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Every route of the authorization server answers nobody in particular, or only who proves who it is.
func TestEveryRouteIsDecided(t *testing.T) {
	wire, _, _ := newWire(t)
	wire = New(wire.issuer, &pages{}, false)
	public := map[string]bool{"GET " + MetadataPath: true, "GET " + KeysPath: true}
	refuses := map[string]int{
		"POST " + TokenPath: http.StatusUnauthorized, "POST " + IntrospectPath: http.StatusUnauthorized, "POST " + RevokePath: http.StatusUnauthorized,
		"POST " + PushPath: http.StatusUnauthorized, "GET " + AuthorizePath: http.StatusBadRequest, "POST " + LogoutPath: http.StatusBadRequest,
	}
	for _, pattern := range wire.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		r := httptest.NewRequest(method, path, nil)
		if method == http.MethodPost {
			r = post(path, url.Values{"grant_type": {"client_credentials"}, "token": {"x"}, "logout_token": {"x.y.z"}}.Encode())
		}
		r.SetBasicAuth("nobody", "x")
		out, err := ask(wire, r)
		switch want := refuses[pattern]; {
		case public[pattern] && (err != nil || out.Code != http.StatusOK):
			t.Errorf("%s is public: %d, %v", pattern, out.Code, err)
		case public[pattern]:
		case want == 0:
			t.Errorf("nothing says what decides the route %s", pattern)
		case out.Code != want || err == nil:
			t.Errorf("%s: %d, %v, want %d: %s", pattern, out.Code, err, want, out.Body)
		}
	}
}
