package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
	"sync"
)

// BlindIndex returns the index of a normalized identifier: HMAC-SHA-256 under the key of its scheme
// and issuer, 256 bits. Equal identifiers have equal indexes; without the key an index says
// nothing, not even that two issuers gave the same number. The issuer may be empty.
func (v *Vault) BlindIndex(scheme, issuer, normalized string) []byte {
	_, key := v.index.newest()
	return key.of(scheme, issuer, normalized)
}

// BlindIndexes returns the indexes of a normalized identifier under every version of the key that is
// alive, the current one first: a look-up searches them all while rows are rewritten.
func (v *Vault) BlindIndexes(scheme, issuer, normalized string) (indexes [][]byte) {
	for _, key := range v.index.all() {
		indexes = append(indexes, key.of(scheme, issuer, normalized))
	}
	return indexes
}

// indexKey is a version of the key of blind indexes. The keys of schemes and issuers are derived
// from it; a load of a million people needs few of them, again and again.
type indexKey struct {
	secret  classSecret
	mu      sync.RWMutex
	derived map[schemeIssuer]*macKey
}

type schemeIssuer struct{ scheme, issuer string }

// maxDerived bounds the keys that are kept: what an issuer is called comes from outside.
const maxDerived = 256

func newIndexKey(s classSecret) *indexKey {
	return &indexKey{secret: s, derived: map[schemeIssuer]*macKey{}}
}

func (k *indexKey) of(scheme, issuer, normalized string) []byte {
	sum := k.key(schemeIssuer{scheme, issuer}).sum([]byte(normalized))
	return sum[:]
}

func (k *indexKey) key(of schemeIssuer) *macKey {
	k.mu.RLock()
	key, known := k.derived[of]
	k.mu.RUnlock()
	if known {
		return key
	}
	key = newMACKey(k.secret.derive(of.scheme, of.issuer))
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.derived) >= maxDerived {
		clear(k.derived)
	}
	k.derived[schemeIssuer{strings.Clone(of.scheme), strings.Clone(of.issuer)}] = key
	return key
}

// RecordKey returns the keyed hash under which a record is on file, as text of 22 characters, of the
// key that its source gave it. That key is often a number of somebody's card: it lies nowhere. The
// hash never changes while the installation lives, so that a tombstone outlasts what it is of.
func (v *Vault) RecordKey(dataset, source, key string) string {
	sum := v.recordKey.sum(joined(dataset, source, key))
	return tokenEncoding.EncodeToString(sum[:16])
}

// NameTokens returns 24 bits of the HMAC-SHA-256 of a token of a name within an area: so few that some
// names share a value, and whoever opens the records afterwards must look at the names themselves. It
// does so under every version of the key that is alive, the current one first.
func (v *Vault) NameTokens(area, token string) (tokens []uint32) {
	message := joined(area, token)
	for _, key := range v.nameSearch.all() {
		sum := key.sum(message)
		tokens = append(tokens, binary.BigEndian.Uint32(sum[:])>>8)
	}
	return tokens
}

// Digest returns a keyed digest of a record as its source reported it. Whoever reads the
// store cannot guess a record and confirm it by its digest.
func (v *Vault) Digest(content []byte) [16]byte { return v.digest.half(content) }

// Tag returns the keyed hash of a view, for entity tags.
func (v *Vault) Tag(view []byte) [16]byte { return v.tag.half(view) }

// KeyHash returns the keyed hash under which an API key is kept.
func (v *Vault) KeyHash(secret []byte) []byte { return mac(v.keyHash, secret) }

// macKey is a key of HMAC-SHA-256 that is used often: what the key alone decides is worked out once.
type macKey struct{ states sync.Pool }

func newMACKey(key []byte) *macKey {
	return &macKey{states: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

func (k *macKey) sum(message []byte) (sum [sha256.Size]byte) {
	h := k.states.Get().(hash.Hash)
	defer k.states.Put(h)
	h.Reset()
	h.Write(message)
	h.Sum(sum[:0])
	return sum
}

// half is the first half of the sum.
func (k *macKey) half(message []byte) [16]byte {
	sum := k.sum(message)
	return [16]byte(sum[:])
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// joined joins texts so that no two lists join alike: each behind its length.
func joined(texts ...string) (b []byte) {
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
}
