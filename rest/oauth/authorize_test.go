package oauth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// pages are those of people who sign in, without the pages.
type pages struct {
	who annona.SignedIn
	err error
}

func (p *pages) Signed(*http.Request) (annona.SignedIn, error) { return p.who, p.err }

func (p *pages) SignInURL(back string, demand annona.Demand) string {
	return "/sign-in?" + url.Values{"back": {back}, "acr": {demand.Assurance.String()}}.Encode()
}

func (p *pages) ConsentURL(client, request string) string {
	return "/consent?" + url.Values{"client": {client}, "request": {request}}.Encode()
}

// Where nobody signs in there is nothing to be authorized, and the metadata says so.
func TestNobodySignsIn(t *testing.T) {
	wire, _, _ := newWire(t)
	if slices.Contains(wire.Patterns(), "GET "+AuthorizePath) || slices.Contains(wire.Patterns(), "POST "+PushPath) {
		t.Error("there is an authorization endpoint")
	}
}

// FA-15, FA-16, FA-18: the metadata says that requests are pushed, that challenges are S256 and that answers name the issuer.
func TestMetadataForPeople(t *testing.T) {
	wire, _, _ := newWire(t)
	wire = New(wire.issuer, &pages{}, false)
	out, err := ask(wire, httptest.NewRequest(http.MethodGet, MetadataPath, nil))
	var told struct {
		Pushed     bool     `json:"require_pushed_authorization_requests"`
		Challenges []string `json:"code_challenge_methods_supported"`
		Issuer     bool     `json:"authorization_response_iss_parameter_supported"`
		Types      []string `json:"response_types_supported"`
	}
	if err != nil || json.Unmarshal(out.Body.Bytes(), &told) != nil {
		t.Fatalf("%v: %s", err, out.Body)
	}
	if !told.Pushed || !told.Issuer || !slices.Equal(told.Challenges, []string{"S256"}) || !slices.Equal(told.Types, []string{"code"}) {
		t.Errorf("told %+v", told)
	}
}

// FA-07, FA-15, FA-30, T-23: a browser that brings anything but a request that was pushed here is sent nowhere.
func TestBrowsersThatAreRefused(t *testing.T) {
	wire, client, _ := newWire(t)
	wire = New(wire.issuer, &pages{}, false)
	for name, query := range map[string]url.Values{
		"nothing":          {},
		"no request":       {"client_id": {client.KeyID}, "redirect_uri": {"https://evil.example"}, "response_type": {"code"}},
		"FA-30 an object":  {"client_id": {client.KeyID}, "request": {"e30.e30."}, "request_uri": {"urn:ietf:params:oauth:request_uri:a"}},
		"FA-30 an address": {"client_id": {client.KeyID}, "request_uri": {"https://evil.example/request"}, "redirect_uri": {"https://evil.example"}},
		"a request twice":  {"client_id": {client.KeyID}, "request_uri": {"urn:ietf:params:oauth:request_uri:a", "urn:ietf:params:oauth:request_uri:b"}},
		"one that is none": {"client_id": {client.KeyID}, "request_uri": {"urn:ietf:params:oauth:request_uri:a"}, "state": {"x"}},
	} {
		out, err := ask(wire, httptest.NewRequest(http.MethodGet, AuthorizePath+"?"+query.Encode(), nil))
		if err == nil || out.Code != http.StatusBadRequest || out.Header().Get("Location") != "" || strings.Contains(out.Body.String(), "evil") {
			t.Errorf("%s: %d %v %s", name, out.Code, out.Header(), out.Body)
		}
	}
	for name, form := range map[string]string{"FA-30 a signed object": "request=e30.e30.", "FA-30 a request_uri": "request_uri=urn:a"} {
		if out, _ := ask(wire, post(PushPath, form)); out.Code != http.StatusBadRequest || !strings.Contains(out.Body.String(), "request_not_supported") {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
}
