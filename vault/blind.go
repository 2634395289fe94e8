package vault

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// BlindIndex returns the index of a normalized identifier: HMAC-SHA-256 under the key of its scheme
// and issuer, 256 bits. Equal identifiers have equal indexes; without the key an index says
// nothing, not even that two issuers gave the same number. The issuer may be empty.
func (v *Vault) BlindIndex(scheme, issuer, normalized string) []byte {
	_, secret := v.index.newest()
	return blindIndex(secret, scheme, issuer, normalized)
}

// BlindIndexes returns the indexes of a normalized identifier under every version of the key that is
// alive, the current one first: a look-up searches them all while rows are rewritten.
func (v *Vault) BlindIndexes(scheme, issuer, normalized string) (indexes [][]byte) {
	for _, secret := range v.index.all() {
		indexes = append(indexes, blindIndex(secret, scheme, issuer, normalized))
	}
	return indexes
}

func blindIndex(secret classSecret, scheme, issuer, normalized string) []byte {
	return mac(secret.derive(scheme, issuer), []byte(normalized))
}

// RecordKey returns the keyed hash under which a record is on file, as text of 22 characters, of the
// key that its source gave it. That key is often a number of somebody's card: it lies nowhere. The
// hash never changes while the installation lives, so that a tombstone outlasts what it is of.
func (v *Vault) RecordKey(dataset, source, key string) string {
	return tokenEncoding.EncodeToString(mac(v.recordKey, joined(dataset, source, key))[:16])
}

// NameToken returns 24 bits of the HMAC-SHA-256 of a token of a name within an area: so few that some
// names share a value, and whoever opens the records afterwards must look at the names themselves.
func (v *Vault) NameToken(area, token string) uint32 {
	_, key := v.nameSearch.newest()
	return binary.BigEndian.Uint32(mac(key, joined(area, token))) >> 8
}

// Digest returns a keyed digest of a record as its source reported it. Whoever reads the
// store cannot guess a record and confirm it by its digest.
func (v *Vault) Digest(content []byte) [16]byte { return [16]byte(mac(v.digest, content)) }

// Tag returns the keyed hash of a view, for entity tags.
func (v *Vault) Tag(view []byte) [16]byte { return [16]byte(mac(v.tag, view)) }

// KeyHash returns the keyed hash under which an API key is kept.
func (v *Vault) KeyHash(secret []byte) []byte { return mac(v.keyHash, secret) }

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
