package vault

import (
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/annona-exchange/annona"
)

// RootFile is the name of the root key's file in the data folder.
const RootFile = "root.key"

// Kind says what an installation is for. It is bound into everything the root key wraps, so
// editing the word in the file makes the key useless instead of turning one into the other.
type Kind string

// The kinds of installations.
const (
	Production Kind = "production"
	Demo       Kind = "demo"
)

// rootHeader opens the first line of the file; the kind follows. The second line is the key,
// 64 hexadecimal digits.
const rootHeader = "annona root key 1 "

// rootLimit is far more than a root key file needs.
const rootLimit = 1 << 10

// wrapFormat is the first byte of a wrapped secret.
const wrapFormat = 1

// rootKey wraps class secrets. A key management service would stand behind the same two methods.
type rootKey struct {
	kind Kind
	aead cipher.AEAD
}

// createRoot makes dir/root.key, durably, or fails and leaves what is there.
func createRoot(dir string, kind Kind) (*rootKey, error) {
	if kind != Production && kind != Demo {
		return nil, annona.Invalid("root_key_kind", "an installation is production or demo")
	}
	key := fresh(keySize)
	text := rootHeader + string(kind) + "\n" + hex.EncodeToString(key) + "\n"
	path := filepath.Join(dir, RootFile)
	err := createWhole(path, text)
	if errors.Is(err, fs.ErrExist) {
		return nil, annona.Conflict("root_key_exists", "%s exists already and is never overwritten; open the folder as it is or choose another one", path)
	}
	if err != nil {
		return nil, annona.Internal("write "+path, err)
	}
	return &rootKey{kind: kind, aead: newAEAD(key)}, nil
}

// createWhole makes a file that is either there with all of its text or not there at all, whenever
// the process is killed: it gets its name, by a link that never replaces another file, only after
// its text is on the disk.
func createWhole(path, text string) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+".*.new") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return errors.Join(os.Link(file.Name(), path), syncFolder(dir))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readRoot reads dir/root.key and refuses one that other accounts may read.
func readRoot(dir string) (*rootKey, error) {
	path := filepath.Join(dir, RootFile)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, annona.Conflict("root_key_missing", "there is no %s; make a new installation with annona init, or put the root key of this one back", path)
	}
	if err != nil {
		return nil, annona.Conflict("root_key_unreadable", "%s cannot be read by this account; run as its owner", path).Because(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, annona.Internal("read the root key", err)
	}
	if !info.Mode().IsRegular() {
		return nil, annona.Conflict("root_key_malformed", "%s is not a regular file; put the root key back", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, annona.Conflict("root_key_exposed", "%s may be read by other accounts (mode %04o); run chmod 600 %s, and if somebody may have read it, treat all that it protects as known to them", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(file, rootLimit))
	if err != nil {
		return nil, annona.Internal("read the root key", err)
	}
	root, ok := parseRoot(string(text))
	if !ok {
		return nil, annona.Conflict("root_key_malformed", "%s is not a root key (two lines: what it is, then 64 hexadecimal digits); put the original back; when annona init was interrupted and the folder is still empty, remove the file and run it again", path)
	}
	return root, nil
}

func parseRoot(text string) (*rootKey, bool) {
	header, rest, _ := strings.Cut(text, "\n")
	word, ours := strings.CutPrefix(header, rootHeader)
	kind := Kind(word)
	if !ours || kind != Production && kind != Demo {
		return nil, false
	}
	key, err := hex.DecodeString(strings.TrimSuffix(rest, "\n"))
	if err != nil || len(key) != keySize {
		return nil, false
	}
	return &rootKey{kind: kind, aead: newAEAD(key)}, true
}

// wrap seals a class secret for the key store.
func (r *rootKey) wrap(label string, version int, secret []byte) []byte {
	return append([]byte{wrapFormat}, seal(r.aead, secret, r.bind(label, version))...)
}

// unwrap opens a class secret. It fails when another root key wrapped it, or when it was kept
// under another label or version.
func (r *rootKey) unwrap(s annona.Secret) (classSecret, error) {
	if len(s.Wrapped) == 0 || s.Wrapped[0] != wrapFormat {
		return classSecret{}, errSecretDamaged.On(s.Label)
	}
	secret, err := open(r.aead, s.Wrapped[1:], r.bind(s.Label, s.Version))
	if err != nil || len(secret) != keySize {
		return classSecret{}, errRootForeign.On(s.Label)
	}
	return classSecret{label: s.Label, version: s.Version, secret: secret}, nil
}

func (r *rootKey) bind(label string, version int) []byte {
	return bind("wrap", wrapFormat, string(r.kind), string(bind(label, version)))
}

var (
	errRootForeign    = annona.Conflict("root_key_foreign", "the root key does not open this secret of the folder: the root key belongs to another installation, or one of the two was changed; put back the root key and the key store that belong together")
	errSecretDamaged  = annona.Conflict("secret_damaged", "this secret in the key store is damaged, or a newer version wrote it; put the key store back from its copy, or run the newer version")
	errRootLost       = annona.Conflict("root_key_lost", "the folder has secrets of an installation whose root key is gone; put that root key back, or choose an empty folder")
	errSecretsMissing = annona.Conflict("secrets_missing", "the folder has a root key but none of its secrets; put the key store back from its copy, or, when annona init was interrupted and the folder is still empty, remove root.key and run annona init again")
)
