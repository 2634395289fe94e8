package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// Rates say how often may be asked.
type Rates struct {
	Client  int // requests of a client each second; 0: without a limit
	Partner int // of all clients of a partner together; 0: without a limit
}

// RateWindow is for how many seconds a client may save up requests, to ask them at once.
const RateWindow = 10

// leaseLife is how long a node uses requests that it has drawn, before it looks at the bucket again.
const leaseLife = time.Second

// Allowance is what is left to a client of one limit.
type Allowance struct {
	Limit string // client or partner
	Burst int    // requests at once
	Left  int    // about: other nodes draw from the same bucket
	Wait  time.Duration
}

// Take counts a request of a client, by whatever credential: another token changes nothing. It returns
// what is left of each limit, also when one of them refuses: code requests_too_many.
func (x *Exchange) Take(ctx context.Context, caller annona.Caller) ([]Allowance, error) {
	if x.Buckets == nil || caller.IsOperator() {
		return nil, nil
	}
	var all []Allowance
	if x.Rates.Client > 0 {
		left, err := x.limits.take(ctx, x.Buckets, "client "+caller.Client.String(), x.Rates.Client, x.Clock())
		if err != nil {
			return nil, err
		}
		left.Limit = "client"
		all = append(all, left)
	}
	if x.Rates.Partner > 0 {
		agreement, err := x.Remembered.Agreement(ctx, caller.Agreement)
		if err != nil || agreement == nil {
			return all, err
		}
		left, err := x.limits.take(ctx, x.Buckets, "partner "+agreement.Partner.Name, x.Rates.Partner, x.Clock())
		if err != nil {
			return nil, err
		}
		left.Limit = "partner"
		all = append(all, left)
	}
	for _, a := range all {
		if a.Wait > 0 {
			return all, annona.TooMany("requests_too_many", "this %s asks too often; ask again after the seconds in Retry-After, and then as often as RateLimit says", a.Limit)
		}
	}
	return all, nil
}

// limits are the requests that this node has drawn from buckets.
type limits struct {
	mu     sync.Mutex
	leases map[string]*lease
}

// lease is what a node has drawn from one bucket. How much it draws follows what it needs.
type lease struct {
	mu    sync.Mutex
	left  int
	drawn int       // the last time
	until time.Time // then what is left goes back
	empty time.Time // the bucket gives nothing before; zero: it does
	room  int       // in the bucket, when it was looked at last
}

// leastLease is how much is drawn at least, and at first.
const leastLease = 8

// take takes one request out of a bucket.
func (l *limits) take(ctx context.Context, buckets annona.Buckets, name string, rate int, now time.Time) (Allowance, error) {
	l.mu.Lock()
	if l.leases == nil {
		l.leases = map[string]*lease{}
	}
	held := l.leases[name]
	if held == nil {
		held = &lease{}
		l.leases[name] = held
	}
	l.mu.Unlock()

	held.mu.Lock()
	defer held.mu.Unlock()
	burst := rate * RateWindow
	if now.Before(held.empty) {
		return Allowance{Burst: burst, Wait: held.empty.Sub(now)}, nil
	}
	if held.left == 0 || !now.Before(held.until) {
		if err := held.draw(ctx, buckets, name, rate, now); err != nil {
			return Allowance{}, err
		}
	}
	if held.left == 0 {
		return Allowance{Burst: burst, Wait: held.empty.Sub(now)}, nil
	}
	held.left--
	return Allowance{Burst: burst, Left: held.left + held.room}, nil
}

// draw gives back what is left, and draws again: twice as much as before when that was used up before its
// time, half of it when most is left.
func (h *lease) draw(ctx context.Context, buckets annona.Buckets, name string, rate int, now time.Time) error {
	want := h.drawn
	switch {
	case h.left == 0 && now.Before(h.until):
		want *= 2
	case h.left > h.drawn/2:
		want /= 2
	}
	want = min(max(want, leastLease), rate)
	got, room, wait, err := buckets.Draw(ctx, annona.Draw{
		Bucket: name, Unused: h.left, Want: want, Burst: rate * RateWindow, Every: time.Second / time.Duration(rate), Now: now,
	})
	if err != nil {
		return err
	}
	h.left, h.drawn, h.room, h.until, h.empty = got, want, room, now.Add(leaseLife), time.Time{}
	if got == 0 {
		h.empty = now.Add(wait)
	}
	return nil
}
