package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/annona-exchange/annona"
)

// keyClass is one line of the table of keys.
type keyClass struct {
	label     string // of the class secret in the key store; a realm adds its name
	algorithm string
	use       string
	lost      string // what is lost with it
}

// The table of keys. Each class has a random secret of its own, wrapped by the root key. The
// keys in use are derived from it by HKDF-SHA-256, within the class only; a realm's secret is
// used as it is, because partners in a federation share it.
var (
	classInstallation = keyClass{"installation", "none", "proves that root key and key store belong together", "nothing"}
	classGeneration   = keyClass{annona.GenerationLabel, "AES-256-GCM wrap, one secret per generation", "wraps subject keys", "the subjects it wraps"}
	classIndex        = keyClass{"index", "HMAC-SHA-256, 256 bits, one key per scheme and issuer", "blind index of identifiers", "look-ups, until the index is rebuilt"}
	classNameSearch   = keyClass{"name-search", "HMAC-SHA-256, 24 bits", "tokens of names within an area", "name search, until its rows are made anew"}
	classRecordKey    = keyClass{"record-key", "HMAC-SHA-256, 128 bits", "the key under which a record is on file", "every source brings its records anew, as others"}
	classDigest       = keyClass{"digest", "HMAC-SHA-256, 128 bits", "tells whether a source reports a record unchanged", "the next import rewrites every record"}
	classTag          = keyClass{"etag", "HMAC-SHA-256, 128 bits", "entity tags", "callers read again"}
	classKeyHash      = keyClass{"api-key", "HMAC-SHA-256, 256 bits", "API keys on file", "keys are issued anew"}
	classPosition     = keyClass{"position", "AES-256-GCM", "cursors", "callers start again"}
	classRecovery     = keyClass{"recovery", "AES-256-GCM, its key from the recovery secret by HKDF-SHA-256", "keeps the root key for the day it is lost", "the way back: make a new recovery secret"}
	classRealm        = keyClass{"realm", "AES-256, one block", "ids on the wire, one secret per realm", "that realm's ids: partners load again"}

	classDrill      = keyClass{"drill", "AES-256-GCM", "says when a recovery was last tried", "the drill is to be repeated"}
	classProof      = keyClass{"proof", "HMAC-SHA-256, 256 bits, one key per use", "proves that this registry wrote a backup", "old backups are refused"}
	classTombstone  = keyClass{"tombstone", "AES-256-GCM", "tombstones outside of the registry", "erased people could return: restore refuses"}
	classLedger     = keyClass{"ledger", "AES-256-GCM, one key per entry", "what ledger entries say", "content of the ledger; its proofs stand"}
	classCheckpoint = keyClass{"checkpoint", "Ed25519", "checkpoints of the ledger", "no new checkpoints; old ones verify"}

	classToken  = keyClass{"token", "HMAC-SHA-256, 256 bits", "access tokens on file", "clients ask for another token"}
	classNonce  = keyClass{"proof-nonce", "HMAC-SHA-256, 128 bits, one key per epoch of proofs", "nonces that proofs of DPoP must hold", "clients sign their proof again"}
	classIssuer = keyClass{"issuer", "Ed25519", "what the authorization server says about tokens", "clients read the published keys again"}

	classExport   = keyClass{"export", "X25519 of age for its files, AES-256-GCM for what is remembered of it; one secret per export", "seals an export that becomes files", "that export: run it again"}
	classManifest = keyClass{"manifest", "Ed25519", "signs manifests of exports", "no new manifests; old ones verify"}

	classFactor = keyClass{"factor", "AES-256-GCM", "what those who sign in are checked by: passkeys, passwords, one-time codes", "they are invited again"}
	classSignIn = keyClass{"sign-in", "AES-256-GCM", "what a browser keeps on the way of signing in", "whoever is on the way begins anew"}

	keyTable = []keyClass{classInstallation, classGeneration, classIndex, classNameSearch, classRecordKey, classDigest, classTag, classKeyHash, classPosition, classRecovery, classDrill, classProof, classTombstone, classRealm, classLedger, classCheckpoint, classToken, classNonce, classIssuer, classExport, classManifest, classFactor, classSignIn}
)

// keySize is the length of every key and secret: 256 bits.
const keySize = 32

// fresh returns random bytes. It is the one place that reads crypto/rand, but for the nonces that
// AES-256-GCM draws inside the AEAD itself.
func fresh(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand aborts the process rather than return an error
	return b
}

// newCellAEAD returns ChaCha20-Poly1305 (RFC 8439), for keys of subjects: each of them opens a few
// hundred bytes, and AES-256-GCM takes longer to prepare a key than to open those.
func newCellAEAD(key []byte) cipher.AEAD {
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		panic("vault: a key of the wrong length") // every key has keySize bytes
	}
	return aead
}

// newAEAD returns AES-256-GCM that draws a random nonce for each message and puts it in front.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("vault: a key of the wrong length") // every key has keySize bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("vault: AES without GCM")
	}
	return aead
}

// seal appends a message to dst, encrypted and authenticated under a random nonce of 96 bits, which it puts in
// front: one key seals at most 2³² messages. It is the one caller of an AEAD's Seal.
func seal(dst []byte, aead cipher.AEAD, message, associated []byte) []byte {
	dst = slices.Grow(dst, sealedSize(aead, message))
	nonce := fresh(aead.NonceSize())
	return aead.Seal(append(dst, nonce...), nonce, message, associated)
}

// sealedSize is how long a message is when it is sealed.
func sealedSize(aead cipher.AEAD, message []byte) int {
	return aead.NonceSize() + len(message) + aead.Overhead()
}

// open undoes seal. It fails when message or associated data are not those that were sealed.
func open(aead cipher.AEAD, sealed, associated []byte) ([]byte, error) {
	return openInto(nil, aead, sealed, associated)
}

// openInto is open that appends the message to dst.
func openInto(dst []byte, aead cipher.AEAD, sealed, associated []byte) ([]byte, error) {
	n := aead.NonceSize() // 0: the AEAD takes it off itself
	if len(sealed) < n {
		return nil, errors.New("too short for a nonce")
	}
	return aead.Open(dst, sealed[:n], sealed[n:], associated)
}

// classSecret is one version of the secret of a class.
type classSecret struct {
	label   string
	version int
	secret  []byte
}

// derive returns a key of the class: HKDF-SHA-256 with label, version and parameters.
func (c classSecret) derive(parameters ...string) []byte {
	key, err := hkdf.Key(sha256.New, c.secret, nil, string(bind(c.label, c.version, parameters...)), keySize)
	if err != nil {
		panic("vault: a key longer than HKDF gives")
	}
	return key
}

// bind joins texts so that no two lists join alike: each behind its length.
func bind(label string, version int, parameters ...string) []byte {
	b := appendText(nil, label)
	b = binary.BigEndian.AppendUint32(b, uint32(version))
	for _, p := range parameters {
		b = appendText(b, p)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// appendNumber appends a number as eight bytes behind their length.
func appendNumber(b []byte, n int64) []byte {
	b = binary.BigEndian.AppendUint32(b, 8)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

// secret returns the latest secret of that label and makes the first one when there is none.
func (v *Vault) secret(label string) (classSecret, error) {
	s, err := v.latest(label)
	if err != nil {
		return classSecret{}, err
	}
	return v.root.unwrap(s)
}

// latest returns the latest secret of that label, wrapped, and makes the first one when there is
// none.
func (v *Vault) latest(label string) (annona.Secret, error) {
	s, err := v.keys.Latest(label)
	if err != nil {
		return annona.Secret{}, annona.Internal("read the key store", err)
	}
	if s.Version > 0 {
		return s, nil
	}
	return v.add(label, 1)
}

// add makes a version of a secret. Of two processes that make it at once, the one that stored
// first wins and both use its.
func (v *Vault) add(label string, version int) (annona.Secret, error) {
	made := annona.Secret{Label: label, Version: version, At: v.clock(), Wrapped: v.root.wrap(label, version, fresh(keySize))}
	refused := v.keys.Put(made)
	s, err := v.keys.Get(label, version)
	if s.Version == 0 || err != nil {
		return annona.Secret{}, annona.Internal("write to the key store", errors.Join(refused, err))
	}
	return s, nil
}
