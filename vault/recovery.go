package vault

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/annona-exchange/annona"
)

// Losing the root key must not lose a registry. The key store holds the root key once more, sealed
// under a key that only the recovery secret gives: 256 random bits, shown once, kept on paper apart
// from everything else.

// A recovery secret is written as 14 groups of four characters of base32 (A to Z, 2 to 7): 52 for
// the secret, four for its checksum.
const (
	recoveryDigits = 52
	checkDigits    = 4
)

var recoveryEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewRecoverySecret makes a recovery secret, which is shown to the operator and kept nowhere. The
// ones before it open nothing anymore.
func (v *Vault) NewRecoverySecret() (string, error) {
	latest, err := v.keys.Latest(classRecovery.label)
	if err != nil {
		return "", annona.Internal("read the key store", err)
	}
	secret := fresh(keySize)
	kept := annona.Secret{Label: classRecovery.label, Version: latest.Version + 1, At: v.clock()}
	kept.Wrapped = sealRecovery(secret, kept.Version, v.root)
	if err := v.keys.Put(kept); err != nil {
		return "", err
	}
	for version := 1; version < kept.Version; version++ {
		if err := v.keys.Destroy(classRecovery.label, version); err != nil {
			return "", err
		}
	}
	return formatRecovery(secret), nil
}

// HasRecoverySecret reports whether a recovery secret was ever made.
func (v *Vault) HasRecoverySecret() (bool, error) {
	latest, err := v.keys.Latest(classRecovery.label)
	if err != nil {
		return false, annona.Internal("read the key store", err)
	}
	return latest.Version > 0, nil
}

// sealRecovery seals kind and root key under the recovery secret.
func sealRecovery(secret []byte, version int, root *rootKey) []byte {
	aead := newAEAD(classSecret{label: classRecovery.label, version: version, secret: secret}.derive())
	message := append(appendText(nil, string(root.kind)), root.key...)
	return seal([]byte{wrapFormat}, aead, message, bind(classRecovery.label, version))
}

// openRecovery undoes sealRecovery.
func openRecovery(secret []byte, kept annona.Secret) (*rootKey, error) {
	aead := newAEAD(classSecret{label: classRecovery.label, version: kept.Version, secret: secret}.derive())
	if len(kept.Wrapped) == 0 || kept.Wrapped[0] != wrapFormat {
		return nil, errSecretDamaged.On(kept.Label)
	}
	message, err := open(aead, kept.Wrapped[1:], bind(classRecovery.label, kept.Version))
	if err != nil {
		return nil, errRecoveryWrong
	}
	for _, kind := range []Kind{Production, Demo} {
		if key, ok := strings.CutPrefix(string(message), string(appendText(nil, string(kind)))); ok && len(key) == keySize {
			return newRoot(kind, []byte(key)), nil
		}
	}
	return nil, errSecretDamaged.On(kept.Label)
}

func formatRecovery(secret []byte) string {
	digits := recoveryEncoding.EncodeToString(secret)
	digits += checksum(digits)
	var groups []string
	for ; len(digits) > 0; digits = digits[4:] {
		groups = append(groups, digits[:4])
	}
	return strings.Join(groups, "-")
}

// checksum tells a mistyped secret from a wrong one.
func checksum(digits string) string {
	sum := sha256.Sum256([]byte("annona recovery secret\n" + digits))
	return recoveryEncoding.EncodeToString(sum[:])[:checkDigits]
}

// parseRecovery reads a recovery secret as people type it: spaces and dashes do not matter, small
// letters are capitals, and 0, 1 and 8, which never occur, are O, I and B.
func parseRecovery(text string) ([]byte, error) {
	digits := strings.NewReplacer(" ", "", "-", "", "\t", "", "\r", "", "\n", "", "0", "O", "1", "I", "8", "B").Replace(strings.ToUpper(text))
	if len(digits) != recoveryDigits+checkDigits {
		return nil, annona.Invalid("recovery_malformed", "a recovery secret has 14 groups of four characters; these are %d characters", len(digits))
	}
	if subtle.ConstantTimeCompare([]byte(checksum(digits[:recoveryDigits])), []byte(digits[recoveryDigits:])) == 0 {
		return nil, annona.Invalid("recovery_mistyped", "the checksum of the recovery secret is wrong: a character was mistyped or left out")
	}
	secret, err := recoveryEncoding.DecodeString(digits[:recoveryDigits])
	if err != nil || len(secret) != keySize {
		return nil, annona.Invalid("recovery_malformed", "a recovery secret has the letters A to Z and the digits 2 to 7")
	}
	return secret, nil
}

// Recover rebuilds the file of the root key from the recovery secret and the key store, and opens
// the vault. It refuses where a root key works; one that does not is set aside, never overwritten.
func Recover(i Installation, text string) (*Vault, error) {
	secret, err := parseRecovery(text)
	if err != nil {
		return nil, err
	}
	kept, err := i.Keys.Latest(classRecovery.label)
	switch {
	case err != nil:
		return nil, annona.Internal("read the key store", err)
	case kept.Version == 0:
		return nil, errRecoveryMissing
	}
	root, err := openRecovery(secret, kept)
	if err != nil {
		return nil, err
	}
	proof, err := i.Keys.Latest(classInstallation.label)
	if err != nil {
		return nil, annona.Internal("read the key store", err)
	}
	if _, err := root.unwrap(proof); err != nil {
		return nil, err
	}
	if err := i.setAside(proof); err != nil {
		return nil, err
	}
	if err := i.writeRoot(root, RootFile); err != nil {
		return nil, err
	}
	v := i.vault(root)
	return v, v.load()
}

// setAside renames a root key that does not open the key store.
func (i Installation) setAside(proof annona.Secret) error {
	path := filepath.Join(i.Folder, RootFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if there, err := i.readRoot(RootFile); err == nil {
		if _, err := there.unwrap(proof); err == nil {
			return annona.Conflict("root_key_works", "%s opens this registry: there is nothing to recover", path)
		}
	}
	aside := path + ".unusable"
	if _, err := os.Lstat(aside); err == nil {
		return annona.Conflict("root_key_exists", "%s does not open this registry, and there is a %s already; move both to a safe place and try again", path, aside)
	}
	if err := errors.Join(os.Rename(path, aside), syncFolder(i.Folder)); err != nil {
		return annona.Internal("set the unusable root key aside", err)
	}
	return nil
}

// Reroot gives the installation a new root key, and a new recovery secret, which it returns. Subject
// keys, indexes and ids stay as they are. Nothing else may use the keys meanwhile: servers that run
// on must be stopped before. Interrupted, either the former root key is in force or the new one, and
// Open finds out which.
func (v *Vault) Reroot(i Installation) (recovery string, err error) {
	next := newRoot(v.root.kind, fresh(keySize))
	if err := os.Remove(filepath.Join(i.Folder, nextRootFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", annona.Internal("remove what an interrupted change of root keys has left", err)
	}
	if err := i.writeRoot(next, nextRootFile); err != nil {
		return "", err
	}
	all, err := v.keys.List()
	if err != nil {
		return "", annona.Internal("read the key store", err)
	}
	secret := fresh(keySize)
	for n, s := range all {
		if s.Label == classRecovery.label {
			all[n].Wrapped = sealRecovery(secret, s.Version, next)
			continue
		}
		message, err := v.root.unwrapBytes(s)
		if err != nil {
			return "", err
		}
		all[n].Wrapped = next.wrap(s.Label, s.Version, message)
	}
	if err := v.keys.Rewrap(all); err != nil {
		return "", err
	}
	v.root = next
	if err := i.installNextRoot(); err != nil {
		return "", err
	}
	if recovery = formatRecovery(secret); !has(all, classRecovery.label) {
		if recovery, err = v.NewRecoverySecret(); err != nil {
			return "", err
		}
	}
	return recovery, v.keys.Wipe(context.Background())
}

func has(secrets []annona.Secret, label string) bool {
	return slices.ContainsFunc(secrets, func(s annona.Secret) bool { return s.Label == label })
}

var (
	errRecoveryWrong   = annona.Conflict("recovery_wrong", "this is not the recovery secret of this registry, or an older one of it; look for the one that was made last")
	errRecoveryMissing = annona.Conflict("recovery_missing", "the key store holds no recovery secret, so that nothing but the root key itself opens this registry")
)
