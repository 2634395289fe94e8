package vault

import (
	"context"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

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

// rootHeader opens the first line of the file; the format and the kind follow. Format 1: the second
// line is the key, 64 hexadecimal digits. Format 2: the second line is the URL of a key in a key
// management service, the third one the root key as that service has encrypted it, in base64.
const rootHeader = "annona root key "

// rootLimit is far more than a root key file needs.
const rootLimit = 16 << 10

// wrapFormat is the first byte of a wrapped secret.
const wrapFormat = 1

// Keeper is a key in a key management service: it encrypts the root key, and gives it back once,
// when the vault is opened.
type Keeper interface {
	Encrypt(ctx context.Context, plain []byte) ([]byte, error)
	Decrypt(ctx context.Context, sealed []byte) ([]byte, error)
	Close() error
}

// keeperPatience bounds one question to a key management service.
const keeperPatience = 30 * time.Second

// rootKey wraps class secrets and generations.
type rootKey struct {
	kind Kind
	key  []byte
	aead cipher.AEAD
}

func newRoot(kind Kind, key []byte) *rootKey {
	return &rootKey{kind: kind, key: key, aead: newAEAD(key)}
}

// createRoot makes the file of a new root key, durably, or fails and leaves what is there.
func (i Installation) createRoot(kind Kind) (*rootKey, error) {
	if kind != Production && kind != Demo {
		return nil, annona.Invalid("root_key_kind", "an installation is production or demo")
	}
	root := newRoot(kind, fresh(keySize))
	return root, i.writeRoot(root, RootFile)
}

// writeRoot writes a root key under a name that nobody has yet.
func (i Installation) writeRoot(root *rootKey, name string) error {
	path := filepath.Join(i.Folder, name)
	text, err := i.rootText(root)
	if err != nil {
		return err
	}
	err = createWhole(path, text)
	if errors.Is(err, fs.ErrExist) {
		return annona.Conflict("root_key_exists", "%s exists already and is never overwritten; open the folder as it is or choose another one", path)
	}
	if err != nil {
		return annona.Internal("write "+path, err)
	}
	return nil
}

// rootText is what stands in the file.
func (i Installation) rootText(root *rootKey) (string, error) {
	if i.RootURL == "" {
		return rootHeader + "1 " + string(root.kind) + "\n" + hex.EncodeToString(root.key) + "\n", nil
	}
	if strings.ContainsAny(i.RootURL, "\r\n") {
		return "", annona.Invalid("root_key_url", "the URL of a root key is one line").On("root-key")
	}
	sealed, err := i.askKeeper(i.RootURL, root.key, Keeper.Encrypt)
	if err != nil {
		return "", err
	}
	return rootHeader + "2 " + string(root.kind) + "\n" + i.RootURL + "\n" + base64.StdEncoding.EncodeToString(sealed) + "\n", nil
}

// askKeeper has the key management service of that URL encrypt or decrypt.
func (i Installation) askKeeper(url string, message []byte, do func(Keeper, context.Context, []byte) ([]byte, error)) ([]byte, error) {
	if i.Keepers == nil {
		return nil, annona.Conflict("root_key_remote", "the root key is kept by a key management service, which this command cannot ask")
	}
	ctx, cancel := context.WithTimeout(context.Background(), keeperPatience)
	defer cancel()
	keeper, err := i.Keepers(ctx, url)
	if err != nil {
		return nil, err
	}
	defer keeper.Close()
	answer, err := do(keeper, ctx, message)
	if err != nil {
		return nil, annona.Unavailable("root_key_service", "the key management service that keeps the root key does not answer, or refuses this account or this key; check that it can be reached and what this account may do there: without it the registry cannot be opened").Because(err)
	}
	return answer, nil
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

// readRoot reads a root key of the folder and refuses one that other accounts may read.
func (i Installation) readRoot(name string) (*rootKey, error) {
	path := filepath.Join(i.Folder, name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, annona.Conflict("root_key_missing", "there is no %s; make a new installation with annona init, put the root key of this one back, or rebuild it with annona key recover", path)
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
	root, err := i.parseRoot(string(text))
	if err == errMalformed {
		return nil, annona.Conflict("root_key_malformed", "%s is not a root key (a line that says what it is, then the key); put the original back; when annona init was interrupted and the folder is still empty, remove the file and run it again", path)
	}
	return root, err
}

var errMalformed = errors.New("not a root key")

func (i Installation) parseRoot(text string) (*rootKey, error) {
	header, rest, _ := strings.Cut(text, "\n")
	words, ours := strings.CutPrefix(header, rootHeader)
	format, kind, _ := strings.Cut(words, " ")
	if !ours || Kind(kind) != Production && Kind(kind) != Demo {
		return nil, errMalformed
	}
	var key []byte
	var err error
	switch format {
	case "1":
		key, err = hex.DecodeString(strings.TrimSuffix(rest, "\n"))
	case "2":
		key, err = i.parseKept(rest)
	}
	var refused *annona.Error
	switch {
	case errors.As(err, &refused):
		return nil, err
	case err != nil || len(key) != keySize:
		return nil, errMalformed
	}
	return newRoot(Kind(kind), key), nil
}

// parseKept has the root key decrypted whose URL and encrypted form stand in these lines.
func (i Installation) parseKept(lines string) ([]byte, error) {
	url, rest, _ := strings.Cut(lines, "\n")
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(rest, "\n"))
	if err != nil || url == "" || len(sealed) == 0 {
		return nil, errMalformed
	}
	return i.askKeeper(url, sealed, Keeper.Decrypt)
}

// currentRoot reads the root key that opens the key store. A change of root keys that was
// interrupted after the key store had taken the new one is brought to its end.
func (i Installation) currentRoot() (*rootKey, error) {
	proof, err := i.Keys.Latest(classInstallation.label)
	switch {
	case err != nil:
		return nil, annona.Internal("read the key store", err)
	case proof.Version == 0:
		return nil, errSecretsMissing
	}
	root, refused := i.readRoot(RootFile)
	if refused == nil {
		if _, refused = root.unwrap(proof); refused == nil {
			return root, nil
		}
	}
	next, err := i.readRoot(nextRootFile)
	if err != nil {
		return nil, refused
	}
	if _, err := next.unwrap(proof); err != nil {
		return nil, refused
	}
	return next, i.installNextRoot()
}

// nextRootFile is the name of a root key that is about to replace the present one.
const nextRootFile = RootFile + ".next"

func (i Installation) installNextRoot() error {
	err := os.Rename(filepath.Join(i.Folder, nextRootFile), filepath.Join(i.Folder, RootFile))
	if err := errors.Join(err, syncFolder(i.Folder)); err != nil {
		return annona.Internal("put the new root key in its place", err)
	}
	return nil
}

// wrap seals a class secret for the key store.
func (r *rootKey) wrap(label string, version int, secret []byte) []byte {
	return seal([]byte{wrapFormat}, r.aead, secret, r.bind(label, version))
}

// unwrap opens a class secret. It fails when another root key wrapped it, or when it was kept
// under another label or version.
func (r *rootKey) unwrap(s annona.Secret) (classSecret, error) {
	secret, err := r.unwrapBytes(s)
	if err == nil && len(secret) != keySize {
		err = errSecretDamaged.On(s.Label)
	}
	return classSecret{label: s.Label, version: s.Version, secret: secret}, err
}

func (r *rootKey) unwrapBytes(s annona.Secret) ([]byte, error) {
	if len(s.Wrapped) == 0 || s.Wrapped[0] != wrapFormat {
		return nil, errSecretDamaged.On(s.Label)
	}
	message, err := open(r.aead, s.Wrapped[1:], r.bind(s.Label, s.Version))
	if err != nil {
		return nil, errRootForeign.On(s.Label)
	}
	return message, nil
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
