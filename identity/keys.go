package identity

import (
	"context"
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/annona-exchange/annona"
)

// Keys recognizes callers by their API keys.
type Keys struct {
	standings annona.Standings
	hash      func([]byte) []byte
	clock     annona.Clock
	demo      bool
}

// NewKeys returns an authenticator over the clients on file. hash is the keyed hash that Mint
// was given. An installation takes either demo keys or live ones, never both.
func NewKeys(standings annona.Standings, hash func([]byte) []byte, clock annona.Clock, demo bool) *Keys {
	return &Keys{standings: standings, hash: hash, clock: clock, demo: demo}
}

// Authenticate returns the caller who holds the key. It asks the store once, and does the same
// work for a key that is not on file.
//
// Errors: key_malformed; key_environment for a demo key on an installation that is none, and
// the other way round; key_invalid for a key that is unknown, wrong or revoked; key_expired,
// said only to somebody who knows the secret; network_not_allowed (forbidden).
func (k *Keys) Authenticate(ctx context.Context, text string, from netip.Addr) (annona.Caller, error) {
	key, err := Parse(text)
	if err != nil {
		return annona.Caller{}, err
	}
	if key.Demo != k.demo {
		return annona.Caller{}, errEnvironment(k.demo)
	}
	client, err := k.standings.ClientByKeyID(ctx, key.ID)
	if err != nil {
		return annona.Caller{}, err
	}
	if !k.holds(key, client) {
		return annona.Caller{}, errInvalid
	}
	if err := k.Check(client, k.clock(), from); err != nil {
		return annona.Caller{}, err
	}
	return annona.Caller{
		Client:    client.ID,
		Agreement: client.Agreement,
		Strength:  annona.StrengthAPIKey,
		Network:   plainAddr(from),
	}, nil
}

// holds reports whether the secret of the key is the one on file. For a client that is not on
// file it hashes and compares all the same.
func (k *Keys) holds(key Key, client *annona.Client) bool {
	hash := k.hash([]byte(key.body))
	kept := make([]byte, len(hash))
	if client != nil {
		kept = client.Hash
	}
	return same(hash, kept) && client != nil && client.Method == annona.MethodAPIKey
}

// same compares what an attacker may want to guess byte by byte.
func same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

func sameHash(a, b annona.TokenHash) bool { return same(a[:], b[:]) }

// Check decides whether a client whose key was recognized may still call: not revoked, not
// expired, of this kind of installation, from a network it is allowed to use. It is asked
// again for every page of an answer; client is nil when it is no longer on file.
func (k *Keys) Check(client *annona.Client, now time.Time, from netip.Addr) error {
	switch {
	case client == nil || !client.RevokedAt.IsZero():
		return errInvalid
	case client.Demo != k.demo:
		return errEnvironment(k.demo)
	case !now.Before(client.ExpiresAt):
		return errExpired
	case !inNetworks(client.Networks, plainAddr(from)):
		return errNetwork
	}
	return nil
}

func inNetworks(networks []netip.Prefix, from netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(from) {
			return true
		}
	}
	return len(networks) == 0
}

var (
	errInvalid = annona.Unauthenticated("key_invalid", "the API key is not valid; ask for a new one from whoever administers the exchange")
	errExpired = annona.Unauthenticated("key_expired", "the API key has expired; ask for a new one from whoever administers the exchange")
	errNetwork = annona.Forbidden("network_not_allowed", "the API key may not be used from this network; call from one that it was issued for")
)

func errEnvironment(demo bool) error {
	if demo {
		return annona.Unauthenticated("key_environment", "this is a demonstration; it takes only the demo keys that it wrote when it was set up")
	}
	return annona.Unauthenticated("key_environment", "a demo key opens nothing here; use a key that this installation issued")
}
