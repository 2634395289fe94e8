package vault

import (
	"crypto/ed25519"
	"encoding/hex"

	"github.com/annona-exchange/annona"
)

// TokenHash returns the keyed hash under which an access token is kept.
func (v *Vault) TokenHash(token []byte) annona.TokenHash { return v.token.sum(token) }

// ProofNonce returns the keyed hash of a message, 128 bits, that makes a nonce of it. Each epoch has
// a key of its own: no nonce outlives it.
func (v *Vault) ProofNonce(epoch annona.UID, message []byte) []byte {
	return mac(v.nonce.derive(epoch.String()), message)[:16]
}

// IssuerKey is a key that the authorization server signs by.
type IssuerKey struct {
	ID      string // by which the published keys tell it from others
	Private ed25519.PrivateKey
}

func newIssuerKey(s classSecret) IssuerKey {
	private := ed25519.NewKeyFromSeed(s.derive())
	return IssuerKey{ID: hex.EncodeToString(private.Public().(ed25519.PublicKey)[:8]), Private: private}
}

// IssuerKeys returns the keys of the authorization server, the one in use first. A key stays among
// them after a rotation, until its class is destroyed: what it signed still verifies.
func (v *Vault) IssuerKeys() []IssuerKey { return v.issuer.all() }
