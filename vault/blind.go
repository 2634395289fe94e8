package vault

import (
	"crypto/hmac"
	"crypto/sha256"
)

// BlindIndex returns the index of a normalized identifier of one scheme: HMAC-SHA-256 under
// the scheme's own key, 256 bits. Equal identifiers have equal indexes; without the key an
// index says nothing.
func (v *Vault) BlindIndex(scheme, normalized string) []byte {
	return mac(v.index.derive(scheme), []byte(normalized))
}

// RecordKey returns the keyed hash under which a record is on file, as text of 22 characters, of the
// key that its source gave it. That key is often a number of somebody's card: it lies nowhere. The
// hash never changes while the installation lives.
func (v *Vault) RecordKey(dataset, source, key string) string {
	return tokenEncoding.EncodeToString(mac(v.recordKey, joined(dataset, source, key))[:16])
}

// joined joins texts so that no two lists join alike: each behind its length.
func joined(texts ...string) (b []byte) {
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
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
