package rest

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

var (
	errKeyInURL   = annona.Invalid("key_in_url", "an API key stands in the header X-API-Key, never in a URL: URLs are kept in logs and histories. Have this key revoked and take a new one")
	errKeyMissing = annona.Unauthenticated("key_missing", "show your API key in the header X-API-Key, or an access token in the header Authorization")
	errTwoWays    = annona.Invalid("credentials_repeated", "show an API key or an access token, not both")
	errKeyTwice   = annona.Invalid("header_repeated", "show one API key").On("X-API-Key")
	errForwarded  = annona.Invalid("header_malformed", "the proxy sent an X-Forwarded-For that is no list of addresses").On("X-Forwarded-For")
)

// keyLike finds what looks like an API key, whole or in part, also in an environment that we
// do not have.
var keyLike = regexp.MustCompile(`(?i)annona_[a-z0-9]+_[a-z0-9]{8}`)

// keyNames are parameters under which clients try to hand over a key.
var keyNames = []string{"api_key", "apikey", "api-key", "x-api-key", "x_api_key", "key", "token", "access_token"}

// keyInURL reports whether a key stands in the URL, or something stands where a client would
// put one.
func keyInURL(u *url.URL) bool {
	if keyLike.MatchString(u.Path) || keyLike.MatchString(u.RawQuery) {
		return true
	}
	values, _ := url.ParseQuery(u.RawQuery) // what cannot be read is refused later
	for name, given := range values {
		if slices.Contains(keyNames, strings.ToLower(name)) {
			return true
		}
		if keyLike.MatchString(name) || slices.ContainsFunc(given, keyLike.MatchString) {
			return true
		}
	}
	return false
}

// keyScheme is the name of the security scheme of API keys in the OpenAPI document.
const keyScheme = "api_key"

// credentials documents that an operation needs an API key or an access token.
func credentials() []map[string][]string {
	return []map[string][]string{{keyScheme: {}}, {tokenScheme: {}}}
}

// authenticate establishes the caller of every operation that is not public.
func (s *Server) authenticate(c huma.Context, next func(huma.Context)) {
	if len(c.Operation().Security) == 0 {
		next(c)
		return
	}
	r, w := humago.Unwrap(c)
	if forPerson(c.Operation(), r) {
		s.authenticatePerson(w, r, func() { next(c) })
		return
	}
	caller, err := s.callerOf(w, r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	visitOf(r.Context()).caller = caller
	if err := s.take(w, r, caller); err != nil {
		s.refuse(w, r, err)
		return
	}
	next(c)
}

// take counts the request of a client and says how many may follow (draft-ietf-httpapi-ratelimit-headers).
func (s *Server) take(w http.ResponseWriter, r *http.Request, caller annona.Caller) error {
	left, err := s.Gate.Take(r.Context(), caller)
	var policies, limits []string
	v := visitOf(r.Context())
	for _, a := range left {
		policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", a.Limit, a.Burst, exchange.RateWindow))
		limits = append(limits, fmt.Sprintf("%q;r=%d;t=%d", a.Limit, a.Left, seconds(a.Wait)))
		v.wait = max(v.wait, seconds(a.Wait))
	}
	if len(left) > 0 {
		w.Header().Set("RateLimit-Policy", strings.Join(policies, ", "))
		w.Header().Set("RateLimit", strings.Join(limits, ", "))
	}
	return err
}

// seconds are whole ones, none too few.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func (s *Server) callerOf(w http.ResponseWriter, r *http.Request) (annona.Caller, error) {
	keys := r.Header.Values("X-API-Key")
	if shown := r.Header.Values("Authorization"); s.Tokens != nil && len(shown) > 0 {
		if len(keys) > 0 {
			return annona.Caller{}, errTwoWays
		}
		return s.tokenHolder(w, r, shown)
	}
	switch {
	case len(keys) > 1:
		return annona.Caller{}, errKeyTwice
	case len(keys) == 0 || keys[0] == "":
		return annona.Caller{}, errKeyMissing
	}
	from, err := s.clientAddr(r)
	if err != nil {
		return annona.Caller{}, err
	}
	return s.Authenticator.Authenticate(r.Context(), keys[0], from)
}

// clientAddr is where the request came from: the peer or, as far as trusted proxies vouch for
// it, whom they speak for.
func (s *Server) clientAddr(r *http.Request) (netip.Addr, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, annona.Internal("read the peer's address", err)
	}
	from := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusts(from); i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" && i == 0 {
			break // no header at all
		}
		if from, err = netip.ParseAddr(hop); err != nil {
			return netip.Addr{}, errForwarded
		}
		from = from.Unmap()
	}
	return from, nil
}

func (s *Server) trusts(peer netip.Addr) bool {
	return slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(peer) })
}
