package exchange

import (
	"context"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// A request of writing has a key of its client's making. The same request under the same key again is the
// same request: it is done once, and whoever repeats it is told what came of it.

// Keyed is what a request of writing is known by.
type Keyed struct {
	Key   string // 1 to 200 visible characters of ASCII; of one client and one route
	Route string // method and path, without ids: PATCH /v1/individuals/{id}
	Asked []byte // all that was asked, with the ids, in one canonical form
}

// Done is what came of a request of writing.
type Done struct {
	Status   int        // of the first answer, as HTTP has them
	Noun     string     // of what it was about or has made: individuals, change_requests …
	Record   annona.UID // the one of that noun
	Version  int64      // of the record behind the request; never shown
	Replayed bool       // an earlier delivery of the request has done it
}

const (
	keyKept     = 7 * 24 * time.Hour // how long the key of a request stands for it
	sweptAtOnce = 1000               // requests in one transaction
)

// once does what a request asks in this transaction, unless an earlier delivery has done it: then it
// returns what came of that. The key is claimed before anything else is locked. What do refuses is not
// remembered: the key is free again. Codes: key_missing, key_malformed, idempotency_key_reused,
// request_in_flight.
func (x *Exchange) once(ctx context.Context, tx annona.Tx, caller annona.Caller, k Keyed, do func() (Done, error)) (Done, error) {
	if err := k.check(); err != nil {
		return Done{}, err
	}
	now := x.Clock().UTC()
	r := annona.KeyedRequest{
		ID:     x.requestID(caller, &k),
		Digest: x.Vault.Digest(k.Asked), At: now, Until: now.Add(keyKept),
	}
	earlier, err := tx.ClaimRequest(ctx, r)
	switch {
	case err != nil:
		return Done{}, err
	case earlier != nil && earlier.Digest != r.Digest:
		return Done{}, annona.Reused("idempotency_key_reused", "this key came with another request; give each request a key of its own").On("Idempotency-Key")
	case earlier != nil && earlier.Status == 0:
		return Done{}, annona.Conflict("request_in_flight", "this request is being done; ask again in a moment, with the same key").On("Idempotency-Key")
	case earlier != nil:
		return Done{Status: earlier.Status, Noun: earlier.Noun, Record: earlier.Record, Version: earlier.Version, Replayed: true}, nil
	}
	done, err := do()
	if err != nil {
		return done, err
	}
	r.Status, r.Noun, r.Record, r.Version = done.Status, done.Noun, done.Record, done.Version
	return done, tx.EndRequest(ctx, r)
}

// requestID is what a request is kept under; zero: it has no key.
func (x *Exchange) requestID(caller annona.Caller, k *Keyed) annona.UID {
	if k == nil {
		return annona.UID{}
	}
	return annona.UID(x.Vault.Digest(appendTexts([]byte("keyed request\x00"), caller.Client.String(), k.Route, k.Key)))
}

func (k *Keyed) check() error {
	switch {
	case k.Key == "":
		return annona.Invalid("key_missing", "give the request a key of your own in the header Idempotency-Key: when no answer reaches you, send the same again with the same key").On("Idempotency-Key")
	case len(k.Key) > longestKey || strings.ContainsFunc(k.Key, func(c rune) bool { return c <= ' ' || c > '~' }):
		return annona.Invalid("key_malformed", "the key of a request is 1 to %d visible characters of ASCII", longestKey).On("Idempotency-Key")
	}
	return nil
}

// DropRequests forgets requests whose keys are free again. A server asks for it each minute.
func (x *Exchange) DropRequests(ctx context.Context) error {
	for {
		var dropped int64
		err := x.Writer.Update(ctx, func(tx annona.Tx) (err error) {
			dropped, err = tx.DropRequests(ctx, x.Clock().UTC(), sweptAtOnce)
			return err
		})
		if err != nil || dropped < sweptAtOnce {
			return err
		}
	}
}
