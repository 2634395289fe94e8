// Package vault holds the keys of an installation and does everything that needs one: it
// wraps class secrets by the root key, enciphers ids under realms, indexes identifiers
// blindly, seals cursors and hashes API keys. It implements annona.Vault.
//
// One table (keys.go) lists every key there is; no other package makes or derives one. The
// root key lies in a file of its own (root.go); class secrets are random, wrapped by the root
// and kept by whoever implements Secrets.
//
// The vault knows keys and bytes. It does not know who may see what, where records are stored,
// or what a value means. Sealed images are framed in clear in this format (see Seal): the
// format byte is where sealing at rest comes in.
package vault

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"sync"

	"github.com/annona-exchange/annona"
)

// Secrets keeps the wrapped class secrets. What it holds is worthless without the root key.
type Secrets interface {
	// Get returns a wrapped secret, nil when there is none.
	Get(label string, version int) ([]byte, error)
	// Put stores a wrapped secret. The first one stays: when that version is there already,
	// Put changes nothing and may refuse. The vault reads back which one is in force.
	Put(label string, version int, wrapped []byte) error
	// Latest returns the highest version and its wrapped secret; 0 and nil when there is none.
	Latest(label string) (version int, wrapped []byte, err error)
}

// Vault is the open vault of one installation. It is safe for concurrent use.
type Vault struct {
	root    *rootKey
	secrets Secrets

	index     classSecret // each scheme derives its own key
	digest    []byte
	tag       []byte
	keyHash   []byte
	positions []cipher.AEAD // by version, from 1; nil when that version was destroyed

	mu     sync.Mutex
	realms map[string]*realm
}

var _ annona.Vault = (*Vault)(nil)

// Create makes the root key of a new installation in dir and opens its vault. It never
// overwrites a root key, and refuses a folder whose secrets belong to a lost one.
func Create(dir string, kind Kind, secrets Secrets) (*Vault, error) {
	if version, _, err := secrets.Latest(classInstallation.label); err != nil {
		return nil, annona.Internal("read the key store", err)
	} else if version > 0 {
		return nil, errRootLost
	}
	root, err := createRoot(dir, kind)
	if err != nil {
		return nil, err
	}
	v := &Vault{root: root, secrets: secrets, realms: map[string]*realm{}}
	if _, err := v.secret(classInstallation.label); err != nil {
		return nil, err
	}
	return v, v.load()
}

// Finish takes up what an interrupted Create has left in dir: a root key of that kind, and not a
// single secret yet. Where there are secrets it opens the vault.
func Finish(dir string, kind Kind, secrets Secrets) (*Vault, error) {
	root, err := readRoot(dir)
	if err != nil {
		return nil, err
	}
	if root.kind != kind {
		return nil, annona.Conflict("root_key_kind", "the root key in the folder is that of a %s installation; demo and production never share one, choose an empty folder", root.kind)
	}
	version, _, err := secrets.Latest(classInstallation.label)
	switch {
	case err != nil:
		return nil, annona.Internal("read the key store", err)
	case version > 0:
		return Open(dir, secrets)
	}
	v := &Vault{root: root, secrets: secrets, realms: map[string]*realm{}}
	if _, err := v.secret(classInstallation.label); err != nil {
		return nil, err
	}
	return v, v.load()
}

// Open opens the vault of the installation in dir. It refuses a root key that other accounts
// may read, one that is malformed, and one that does not open the secrets on file.
func Open(dir string, secrets Secrets) (*Vault, error) {
	root, err := readRoot(dir)
	if err != nil {
		return nil, err
	}
	version, wrapped, err := secrets.Latest(classInstallation.label)
	switch {
	case err != nil:
		return nil, annona.Internal("read the key store", err)
	case version == 0:
		return nil, errSecretsMissing
	}
	if _, err := root.unwrap(classInstallation.label, version, wrapped); err != nil {
		return nil, err
	}
	v := &Vault{root: root, secrets: secrets, realms: map[string]*realm{}}
	return v, v.load()
}

// Demo reports whether this is the vault of a demonstration: its root key was made for one
// and cannot be turned into another.
func (v *Vault) Demo() bool { return v.root.kind == Demo }

// load fetches the class secrets that every installation uses and makes those that are new.
func (v *Vault) load() (err error) {
	if v.index, err = v.secret(classIndex.label); err != nil {
		return err
	}
	for class, key := range map[string]*[]byte{
		classDigest.label:  &v.digest,
		classTag.label:     &v.tag,
		classKeyHash.label: &v.keyHash,
	} {
		secret, err := v.secret(class)
		if err != nil {
			return err
		}
		*key = secret.derive()
	}
	return v.loadPositions()
}

// BlindIndex returns the index of a normalized identifier of one scheme: HMAC-SHA-256 under
// the scheme's own key, 256 bits. Equal identifiers have equal indexes; without the key an
// index says nothing.
func (v *Vault) BlindIndex(scheme, normalized string) []byte {
	return mac(v.index.derive(scheme), []byte(normalized))
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
