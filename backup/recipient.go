package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
)

// Recipient is whom a backup is sealed to. Nothing in it is secret.
type Recipient struct {
	age.Recipient
	text string
}

// ParseRecipient reads a recipient of age: age1… (X25519) or age1pq1… (with ML-KEM-768).
func ParseRecipient(text string) (Recipient, error) {
	found, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(found) != 1 {
		return Recipient{}, annona.Invalid("recipient_malformed", "a recipient is written age1… or age1pq1…, as age-keygen prints it; never put an identity (AGE-SECRET-KEY-…) there").On("recipient")
	}
	return Recipient{found[0], strings.TrimSpace(text)}, nil
}

// Fingerprint returns what the ledger keeps of a recipient: SHA-256 of its text, in hexadecimal.
func (r Recipient) Fingerprint() string {
	sum := sha256.Sum256([]byte(r.text))
	return hex.EncodeToString(sum[:])
}

// sizeLimit is far more than a file of identities needs.
const sizeLimit = 1 << 20

// ParseIdentities reads a file of identities as age-keygen writes it.
func ParseIdentities(from io.Reader) ([]age.Identity, error) {
	text, err := io.ReadAll(io.LimitReader(from, sizeLimit))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, []byte("age-encryption.org/")) || bytes.HasPrefix(text, []byte("-----BEGIN AGE")) {
		return nil, annona.Invalid("identity_sealed", "the file of identities is itself sealed: open it with age first").On("identity")
	}
	found, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil {
		return nil, annona.Invalid("identity_malformed", "a file of identities has lines AGE-SECRET-KEY-…, as age-keygen writes it").On("identity")
	}
	return found, nil
}
