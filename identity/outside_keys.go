package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/annona-exchange/annona"
)

// The times of the keys of a provider.
const (
	keysFresh = 10 * time.Minute // afterwards they are fetched again while they go on being used
	keysLast  = 24 * time.Hour   // how long keys count while their provider cannot be reached
	keysPause = 10 * time.Second // between two fetches
)

// The bounds of what a provider publishes.
const (
	maxPublished    = 1 << 20 // bytes
	maxProviderKeys = 100
)

// discoveryPath is where OpenID Connect Discovery wants the metadata, behind the issuer.
const discoveryPath = "/.well-known/openid-configuration"

var (
	errKeyUnknown    = errors.New("its kid is none of the keys that its issuer publishes")
	errIssuerChanged = errors.New("what it publishes names another issuer")
	errPublished     = errors.New("what it publishes cannot be read")
	errNoKeys        = errors.New("it publishes no key that signs by EdDSA, ES256 or PS256")
	errPlainKeys     = errors.New("its jwks_uri is not https")
)

// errProviderAway says that a token cannot be checked, because its issuer does not answer.
func errProviderAway(name string) error {
	return annona.Unavailable("identity_provider_unavailable", "the identity provider %s cannot be reached to check this token; tokens that were shown before go on: ask again in a moment", name)
}

// published are the keys that a provider publishes, as they were last read. It is safe for concurrent use.
type published struct {
	provider annona.IdentityProvider
	client   *http.Client
	clock    annona.Clock
	trouble  func(provider string, err error)

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	read    time.Time // when they were
	tried   time.Time // when a fetch began, the last time
	failed  error     // of that fetch
	running chan struct{}
}

// find returns the keys that a signature may be by: those with its kid, or all that fit when it names none.
// A key that is not known is looked for at the provider, at most every ten seconds. While the provider is
// away, the keys that are known count on, for a day.
//
// Errors: identity_provider_unavailable; errKeyUnknown.
func (p *published) find(ctx context.Context, kid, algorithm string) ([]jose.JSONWebKey, error) {
	found, fetching, err := p.look(kid, algorithm)
	if len(found) > 0 || err != nil {
		return found, err
	}
	select {
	case <-fetching:
	case <-ctx.Done():
		return nil, annona.Unavailable("request_ended", "the request has ended while it waited")
	}
	found, _, err = p.look(kid, algorithm)
	return found, err
}

// look finds keys without waiting. When there are none it returns what to wait for, or why that is no use.
func (p *published) look(kid, algorithm string) (found []jose.JSONWebKey, fetching <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	if now.Sub(p.read) < keysLast {
		found = matching(p.keys, kid, algorithm)
	}
	due := now.Sub(p.tried) >= keysPause
	if due && p.running == nil && (len(found) == 0 || now.Sub(p.read) >= keysFresh) {
		p.begin(now)
	}
	switch {
	case len(found) > 0:
		return found, nil, nil
	case p.running != nil:
		return nil, p.running, nil
	case p.failed != nil:
		return nil, nil, errProviderAway(p.provider.Name)
	}
	return nil, nil, errKeyUnknown
}

func matching(keys []jose.JSONWebKey, kid, algorithm string) (found []jose.JSONWebKey) {
	for _, key := range keys {
		if (kid == "" || kid == key.KeyID) && fits(key.Key, algorithm) {
			found = append(found, key)
		}
	}
	return found
}

// begin fetches the keys, whatever becomes of the request that needs them. p is locked.
func (p *published) begin(now time.Time) {
	running := make(chan struct{})
	p.tried, p.running = now, running
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*outboundTime)
		defer cancel()
		keys, err := p.fetch(ctx)
		if err != nil {
			p.trouble(p.provider.Name, err)
		}
		p.mu.Lock()
		p.failed, p.running = err, nil
		if err == nil {
			p.keys, p.read = keys, now
		}
		p.mu.Unlock()
		close(running)
	}()
}

// fetch reads the metadata of the provider, and the keys that it names there.
func (p *published) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var told struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := p.get(ctx, strings.TrimSuffix(p.provider.Issuer, "/")+discoveryPath, &told); err != nil {
		return nil, err
	}
	if told.Issuer != p.provider.Issuer {
		return nil, errIssuerChanged
	}
	if !isFetchable(told.Keys, p.provider.Issuer) {
		return nil, errPlainKeys
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := p.get(ctx, told.Keys, &set); err != nil {
		return nil, err
	}
	return usable(set.Keys)
}

// isFetchable reports whether keys may be fetched from there: by https, or from the host of an issuer that
// speaks plain HTTP itself, which only one on this machine may.
func isFetchable(text, issuer string) bool {
	u, err := url.Parse(text)
	by, known := url.Parse(issuer)
	if err != nil || known != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && by.Scheme == "http" && u.Host == by.Host
}

// usable takes from a JWK set what may sign here. Providers publish other keys beside: for encryption, of
// other algorithms, of kinds that nobody knows yet.
func usable(raw []json.RawMessage) (keys []jose.JSONWebKey, err error) {
	if len(raw) > maxProviderKeys {
		return nil, errPublished
	}
	for _, text := range raw {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) != nil || key.Key == nil || !key.IsPublic() || len(key.KeyID) > maxNameLen {
			continue
		}
		algorithm := algorithmOf(key.Key)
		if algorithm == "" || key.Algorithm != "" && key.Algorithm != algorithm || key.Use != "" && key.Use != "sig" {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

// get fetches one JSON document.
func (p *published) get(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errPublished
	}
	request.Header.Set("Accept", "application/json")
	answer, err := p.client.Do(request)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // without the address
		}
		return fmt.Errorf("it cannot be reached: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers with status %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPublished+1))
	if err != nil || len(body) > maxPublished || json.Unmarshal(body, into) != nil {
		return errPublished
	}
	return nil
}
