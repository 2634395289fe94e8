package people

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
)

// Somebody who guesses waits longer and longer. What they make others wait for is next to nothing:
//
//	a known browser   has a lane of its own for each user who has signed in in it
//	a name, a place   somebody at another place is not in this lane
//	a place           many names tried from one place
//	codes of a user   wrong codes behind the right password, from browsers that are not known
//
// Passkeys cannot be guessed, and stand in no lane.

// lane is where failures are counted: so many are free, then each one doubles the wait, up to the most.
type lane struct {
	hash annona.TokenHash
	free int
	unit time.Duration
	most time.Duration
}

// forgetAfter is when a lane is as if nothing had failed there.
const forgetAfter = 24 * time.Hour

// wait is how long a lane is closed after so many failures.
func (l lane) wait(failed int) time.Duration {
	over := failed - l.free
	if over < 0 {
		return 0
	}
	if over > 20 {
		return l.most
	}
	return min(l.unit<<over, l.most)
}

// openAt says when the lane opens again; a zero time: it is open.
func (l lane) openAt(a annona.Attempts, now time.Time) time.Time {
	if at := a.At.Add(l.wait(a.Failed)); a.Failed > 0 && now.Before(at) {
		return at
	}
	return time.Time{}
}

// source is the place that a request comes from: of IPv6 the network that one customer has.
func source(b Browser) string {
	from := b.From.Unmap()
	bits := 32
	if from.Is6() {
		bits = 64
	}
	network, err := from.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return netip.PrefixFrom(network.Addr(), bits).String()
}

// place is the lane of all that is tried from one place.
func (d *Desk) place(what string, b Browser) lane {
	return lane{d.hash("lane", what+" from "+source(b)), 50, time.Second, 15 * time.Minute}
}

// lanesOf are the lanes of somebody who tries a name and a password. Of a name that nobody has they are
// the same.
func (d *Desk) lanesOf(b Browser, name string, u *annona.User) (lanes []lane, known bool) {
	if device, ok := d.device(b); ok && u != nil && device.knows(u.ID) {
		return []lane{{d.hash("lane", "browser "+device.ID+" of "+u.ID.String()), 10, time.Second, 15 * time.Minute}}, true
	}
	pair := lane{d.hash("lane", strconv.Quote(name)+" from "+source(b)), 5, time.Second, 15 * time.Minute}
	return []lane{pair, d.place("password", b)}, false
}

// codesOf is the lane of wrong codes behind the right password.
func (d *Desk) codesOf(u annona.UID) lane {
	return lane{d.hash("lane", "codes of "+u.String()), 20, time.Minute, 24 * time.Hour}
}

// errTooMany is for whoever has to wait: it says so of names that nobody has too.
func errTooMany(until, now time.Time) error {
	minutes := int(until.Sub(now)/time.Minute) + 1
	return annona.TooMany("too_many_attempts", "that went wrong too often: wait %d min and try again, use a browser in which you have signed in before, or a passkey", minutes)
}

// try counts an attempt in lanes as a failure, before it is looked at: of many at once none is free. It
// is taken back by succeed. A lane of a user that closes is entered in the ledger.
func (d *Desk) try(ctx context.Context, b Browser, u *annona.User, lanes ...lane) error {
	var refused error
	err := d.Record(ctx, caller(b, annona.UID{}, 0, time.Time{}), func(tx annona.Tx) (map[string]string, error) {
		refused = nil
		now, closes := d.Clock(), false
		counted := make([]annona.Attempts, len(lanes))
		for i, l := range lanes {
			a, err := d.attempts(ctx, tx, l, now)
			if err != nil {
				return nil, err
			}
			if until := l.openAt(a, now); !until.IsZero() {
				refused = errTooMany(until, now)
				return nil, nil
			}
			a.Failed, a.At = a.Failed+1, now
			closes = closes || i == 0 && a.Failed == l.free+1
			counted[i] = a
		}
		for _, a := range counted {
			if err := tx.PutAttempts(ctx, a); err != nil {
				return nil, err
			}
		}
		if u == nil || !closes {
			return nil, nil
		}
		return map[string]string{"act": "slowed", "user": u.ID.String()}, nil
	})
	if err != nil {
		return err
	}
	return refused
}

// attempts returns what counts in a lane at that moment.
func (d *Desk) attempts(ctx context.Context, tx annona.Tx, l lane, now time.Time) (annona.Attempts, error) {
	a, err := tx.HoldAttempts(ctx, l.hash)
	if now.Sub(a.At) > forgetAfter {
		a.Failed = 0
	}
	return a, err
}

// succeed empties the first lane and takes the attempt back in the others.
func (d *Desk) succeed(ctx context.Context, tx annona.Tx, lanes []lane) error {
	for i, l := range lanes {
		a, err := tx.HoldAttempts(ctx, l.hash)
		if err != nil {
			return err
		}
		a.Failed = max(a.Failed-1, 0)
		if i == 0 {
			a.Failed = 0
		}
		if err := tx.PutAttempts(ctx, a); err != nil {
			return err
		}
	}
	return nil
}
