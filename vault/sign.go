package vault

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
)

// Checkpoints of the ledger are signed notes (golang.org/x/mod/sumdb/note) with Ed25519. What
// is signed begins with the origin, whose first word no other signature of ours begins with: a
// signature made for something else is never one of a checkpoint.
const checkpointPrefix = "annona.ledger.v1/"

// loadOrigin names the ledger. The name depends on the installation alone: keys rotate, the
// name stays.
func (v *Vault) loadOrigin(installation classSecret) {
	v.origin = checkpointPrefix + hex.EncodeToString(installation.derive("ledger origin")[:8])
}

// LedgerOrigin names the ledger of this installation among all others.
func (v *Vault) LedgerOrigin() string { return v.origin }

// SignCheckpoint returns the text of a checkpoint as a note that is signed with the latest key.
// It refuses a text that does not begin with the origin.
func (v *Vault) SignCheckpoint(text string) (string, error) {
	if !strings.HasPrefix(text, v.origin+"\n") {
		return "", annona.Internal("sign a checkpoint: the text is none of this ledger", nil)
	}
	secret, err := v.secret(classCheckpoint.label) // another process may have rotated it
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: text}, checkpointSigner{v.origin, signingKey(secret)})
	if err != nil {
		return "", annona.Internal("sign a checkpoint", err)
	}
	return string(signed), nil
}

// CheckpointKeys returns the public keys of checkpoints, the latest last, as note verifier
// keys. A key that is no longer in use stays among them: what it signed still verifies.
func (v *Vault) CheckpointKeys() ([]string, error) {
	latest, err := v.secret(classCheckpoint.label)
	if err != nil {
		return nil, err
	}
	var keys []string
	for version := 1; version <= latest.version; version++ {
		kept, err := v.keys.Get(classCheckpoint.label, version)
		if err != nil || kept.Version == 0 {
			return nil, annona.Internal("read the key store", err)
		}
		secret, err := v.root.unwrap(kept)
		if err != nil {
			return nil, err
		}
		keys = append(keys, checkpointSigner{v.origin, signingKey(secret)}.verifierKey())
	}
	return keys, nil
}

// RotateCheckpointKey makes a new key for the checkpoints that follow.
func (v *Vault) RotateCheckpointKey() error {
	latest, err := v.secret(classCheckpoint.label)
	if err != nil {
		return err
	}
	_, err = v.add(classCheckpoint.label, latest.version+1)
	return err
}

func signingKey(secret classSecret) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(secret.derive())
}

// checkpointSigner is a note.Signer.
type checkpointSigner struct {
	name string
	key  ed25519.PrivateKey
}

func (s checkpointSigner) Name() string { return s.name }

func (s checkpointSigner) KeyHash() uint32 {
	verifier, err := note.NewVerifier(s.verifierKey())
	if err != nil {
		panic("vault: a verifier key of our own is none")
	}
	return verifier.KeyHash()
}

func (s checkpointSigner) Sign(text []byte) ([]byte, error) { return ed25519.Sign(s.key, text), nil }

func (s checkpointSigner) verifierKey() string {
	key, err := note.NewEd25519VerifierKey(s.name, s.key.Public().(ed25519.PublicKey))
	if err != nil {
		panic("vault: a public key of the wrong length")
	}
	return key
}
