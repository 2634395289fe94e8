package rest

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// A client that asks too often is told so, and when it may again; others of other partners go on.
func TestRates(t *testing.T) {
	r := newRegistry(t)
	r.gate.Buckets, r.gate.Rates = r.store, exchange.Rates{Client: 2, Partner: 1000}
	began := time.Now()
	r.now.Store(&began)
	for i := range 2 * exchange.RateWindow {
		a := r.get(onePage, r.full)
		if a.status != http.StatusOK || !strings.Contains(a.header.Get("RateLimit-Policy"), `"client";q=20;w=10`) || !strings.Contains(a.header.Get("RateLimit"), `"partner";r=`) {
			t.Fatalf("request %d: %d %v", i+1, a.status, a.header)
		}
	}
	a := r.get(onePage, r.full)
	if p := a.problem(t); a.status != http.StatusTooManyRequests || p.Code != "requests_too_many" || a.header.Get("Retry-After") != "1" || !strings.Contains(a.header.Get("RateLimit"), `"client";r=0;t=1`) {
		t.Fatalf("one too many: %d %s %v", a.status, p.Code, a.header)
	}
	if other := r.get(onePage, r.narrow); other.status == http.StatusTooManyRequests {
		t.Error("another client is refused with it")
	}
	if open := r.get("/healthz", ""); open.status != http.StatusOK || open.header.Get("RateLimit") != "" {
		t.Errorf("what needs no key is counted: %d %v", open.status, open.header)
	}
	later := began.Add(time.Second)
	r.now.Store(&later)
	if a := r.get(onePage, r.full); a.status != http.StatusOK {
		t.Errorf("a second later: %d", a.status)
	}
}

// ZT-12: another access token of the same client resets nothing, and asking for one counts.
func TestRatesAreOfTheClient(t *testing.T) {
	r := newRegistry(t)
	r.gate.Buckets, r.gate.Rates = r.store, exchange.Rates{Client: 1}
	began := time.Now()
	r.now.Store(&began)
	client, err := r.store.ClientByID(t.Context(), r.fullClient)
	r.check(err)
	caller := annona.Caller{Client: client.ID, Agreement: client.Agreement, Strength: annona.StrengthAPIKey}
	for i := range exchange.RateWindow {
		caller.Token = annona.TokenHash{byte(i + 1)} // each time another one
		if i%2 == 0 {
			caller.Token = annona.TokenHash{}
			err = r.gate.AdmitToken(t.Context(), caller, annona.Authorization{})
		} else {
			_, err = r.gate.Take(t.Context(), caller)
		}
		r.check(err)
	}
	if _, err := r.gate.Take(t.Context(), caller); annona.CodeOf(err) != "requests_too_many" {
		t.Errorf("a new token resets the limit: %v", err)
	}
	caller.Token = annona.TokenHash{}
	if err := r.gate.AdmitToken(t.Context(), caller, annona.Authorization{}); annona.CodeOf(err) != "requests_too_many" {
		t.Errorf("a client that asks too often gets tokens: %v", err)
	}
}

// countingBuckets counts how often somebody draws.
type countingBuckets struct {
	annona.Buckets
	mu    sync.Mutex
	draws int
}

func (b *countingBuckets) Draw(ctx context.Context, d annona.Draw) (int, int, time.Duration, error) {
	b.mu.Lock()
	b.draws++
	b.mu.Unlock()
	return b.Buckets.Draw(ctx, d)
}

// Two nodes give away together what one may, and look at the bucket much less often than they are asked.
func TestRatesOfTwoNodes(t *testing.T) {
	r := newRegistry(t)
	buckets := &countingBuckets{Buckets: r.store}
	now := time.Now()
	config := r.gate.Config
	config.Clock, config.Rates, config.Buckets = func() time.Time { return now }, exchange.Rates{Client: 500}, buckets
	nodes := []*exchange.Exchange{exchange.New(config), exchange.New(config)}
	caller := annona.Caller{Client: annona.NewUID()}
	given, asked := 0, 0
	for range 8000 {
		for _, node := range nodes {
			asked++
			if _, err := node.Take(t.Context(), caller); err == nil {
				given++
			} else if annona.CodeOf(err) != "requests_too_many" {
				t.Fatal(err)
			}
		}
	}
	if given != 500*exchange.RateWindow || buckets.draws > asked/100 {
		t.Errorf("of %d requests %d pass, with %d looks at the bucket", asked, given, buckets.draws)
	}
}

// What nodes have drawn and do not need goes back: a client that asks each of them now and then is never refused.
func TestUnusedRequestsGoBack(t *testing.T) {
	r := newRegistry(t)
	now := time.Now()
	config := r.gate.Config
	config.Clock, config.Rates, config.Buckets = func() time.Time { return now }, exchange.Rates{Client: 8}, r.store
	nodes := []*exchange.Exchange{exchange.New(config), exchange.New(config), exchange.New(config)}
	caller := annona.Caller{Client: annona.NewUID()}
	for second := range 30 {
		for _, node := range nodes {
			if _, err := node.Take(t.Context(), caller); err != nil {
				t.Fatalf("second %d: %v", second, err)
			}
		}
		now = now.Add(time.Second)
	}
}
