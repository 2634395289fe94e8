// Package vault holds the keys of an installation and does everything that needs one: it seals and
// opens images under the keys of their subjects, wraps class secrets by the root key, enciphers ids
// under realms, indexes identifiers blindly, seals cursors and hashes API keys. It implements
// annona.Vault.
//
// One table (keys.go) lists every key there is; no other package makes or derives one. The
// root key lies in a file of its own (root.go). It wraps class secrets and generations; a
// generation wraps subject keys (subject.go), and those seal images (cell.go). What is wrapped is
// kept by whoever implements KeyStore.
//
// The vault knows keys and bytes. It does not know who may see what, where records are stored,
// or what a value means.
package vault

import (
	"context"
	"crypto/cipher"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// Installation says where the parts of an installation lie.
type Installation struct {
	Folder string // of the root key's file
	Keys   annona.KeyStore
	Clock  annona.Clock // nil: time.Now
	// Keepers opens a key of a key management service by its URL; nil: root keys lie in files only.
	Keepers func(ctx context.Context, url string) (Keeper, error)
	// RootURL names the key that is to encrypt a root key that is being made; empty: none.
	RootURL string
}

// Vault is the open vault of one installation. It is safe for concurrent use.
type Vault struct {
	root  *rootKey
	keys  annona.KeyStore
	clock annona.Clock

	index      *ring[*indexKey] // each scheme and issuer derives its own key
	nameSearch *ring[*macKey]
	positions  *ring[cipher.AEAD]
	contents   *ring[classSecret] // of the ledger: each entry derives its own key
	origin     string             // of the ledger's checkpoints
	recordKey  *macKey
	digest     *macKey
	tag        *macKey
	keyHash    []byte
	proof      classSecret // each use derives its own key
	tombstone  classSecret
	token      *macKey
	nonce      classSecret // each epoch derives its own key
	issuer     *ring[IssuerKey]
	factors    *ring[cipher.AEAD]
	signIns    *ring[cipher.AEAD]

	lookedMu sync.Mutex
	looked   time.Time // when the keys of signing in were last looked for on file

	realmsMu sync.Mutex
	realms   map[string]*realm

	generationsMu sync.RWMutex
	generations   map[int]cipher.AEAD // unwrapped, by version

	scratch sync.Pool // of *scratch
}

var (
	_ annona.Vault            = (*Vault)(nil)
	_ annona.EntryVault       = (*Vault)(nil)
	_ annona.CheckpointSigner = (*Vault)(nil)
	_ annona.Shredder         = (*Vault)(nil)
	_ annona.KeyRotator       = (*Vault)(nil)
)

// Create makes the root key of a new installation and opens its vault. It never overwrites a root
// key, and refuses a key store whose secrets belong to a lost one.
func Create(i Installation, kind Kind) (*Vault, error) {
	if s, err := i.Keys.Latest(classInstallation.label); err != nil {
		return nil, annona.Internal("read the key store", err)
	} else if s.Version > 0 {
		return nil, errRootLost
	}
	root, err := i.createRoot(kind)
	if err != nil {
		return nil, err
	}
	return i.begin(root)
}

// Finish takes up what an interrupted Create has left: a root key of that kind, and not a single
// secret yet. Where there are secrets it opens the vault.
func Finish(i Installation, kind Kind) (*Vault, error) {
	root, err := i.readRoot(RootFile)
	if err != nil {
		return nil, err
	}
	if root.kind != kind {
		return nil, annona.Conflict("root_key_kind", "the root key in the folder is that of a %s installation; demo and production never share one, choose an empty folder", root.kind)
	}
	s, err := i.Keys.Latest(classInstallation.label)
	switch {
	case err != nil:
		return nil, annona.Internal("read the key store", err)
	case s.Version > 0:
		return Open(i)
	}
	return i.begin(root)
}

// begin makes the secret that says whose key store it is, then all others.
func (i Installation) begin(root *rootKey) (*Vault, error) {
	v := i.vault(root)
	if _, err := v.secret(classInstallation.label); err != nil {
		return nil, err
	}
	return v, v.load()
}

// Open opens the vault of an installation. It refuses a root key that other accounts may read, one
// that is malformed, and one that does not open the secrets on file.
func Open(i Installation) (*Vault, error) {
	root, err := i.currentRoot()
	if err != nil {
		return nil, err
	}
	v := i.vault(root)
	return v, v.load()
}

func (i Installation) vault(root *rootKey) *Vault {
	if i.Clock == nil {
		i.Clock = time.Now
	}
	return &Vault{
		root: root, keys: i.Keys, clock: i.Clock,
		index:       newRing(classIndex, newIndexKey),
		nameSearch:  newRing(classNameSearch, func(s classSecret) *macKey { return newMACKey(s.derive()) }),
		positions:   newRing(classPosition, func(s classSecret) cipher.AEAD { return newAEAD(s.derive()) }),
		contents:    newRing(classLedger, func(s classSecret) classSecret { return s }),
		issuer:      newRing(classIssuer, newIssuerKey),
		factors:     newRing(classFactor, newSignInAEAD),
		signIns:     newRing(classSignIn, newSignInAEAD),
		realms:      map[string]*realm{},
		generations: map[int]cipher.AEAD{},
	}
}

// Demo reports whether this is the vault of a demonstration: its root key was made for one
// and cannot be turned into another.
func (v *Vault) Demo() bool { return v.root.kind == Demo }

// load fetches the class secrets that every installation uses and makes those that are new.
func (v *Vault) load() error {
	for class, kept := range map[string]*classSecret{classProof.label: &v.proof, classTombstone.label: &v.tombstone, classNonce.label: &v.nonce} {
		secret, err := v.secret(class)
		if err != nil {
			return err
		}
		*kept = secret
	}
	for class, key := range map[string]**macKey{classRecordKey.label: &v.recordKey, classDigest.label: &v.digest, classTag.label: &v.tag, classToken.label: &v.token} {
		secret, err := v.secret(class)
		if err != nil {
			return err
		}
		*key = newMACKey(secret.derive())
	}
	keyHash, err := v.secret(classKeyHash.label)
	if err != nil {
		return err
	}
	v.keyHash = keyHash.derive()
	if err := v.loadLedger(); err != nil {
		return err
	}
	if _, err := v.newestGeneration(); err != nil {
		return err
	}
	return v.Refresh()
}

// Refresh takes over what other processes have done to the keys that rotate: versions that were
// made, versions that were destroyed.
func (v *Vault) Refresh() error {
	for _, load := range []func(*Vault) error{v.index.load, v.nameSearch.load, v.positions.load, v.contents.load, v.issuer.load, v.factors.load, v.signIns.load} {
		if err := load(v); err != nil {
			return err
		}
	}
	return v.forgetGenerations()
}

// loadLedger fetches what the ledger's checkpoints need.
func (v *Vault) loadLedger() error {
	installation, err := v.secret(classInstallation.label)
	if err != nil {
		return err
	}
	v.loadOrigin(installation)
	_, err = v.secret(classCheckpoint.label)
	return err
}
