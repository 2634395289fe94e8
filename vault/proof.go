package vault

import (
	"time"

	"github.com/annona-exchange/annona"
)

// ProofBackup is the use of the proofs of backups. Each use has a key of its own.
const ProofBackup = "backup"

// Proof proves for one use that this registry wrote something: a keyed hash of its content, 256
// bits. Whoever checks a proof makes it again and compares.
func (v *Vault) Proof(use string, content []byte) []byte { return mac(v.proof.derive(use), content) }

// SealTombstone seals a tombstone for keeping it outside of the registry.
func (v *Vault) SealTombstone(text []byte) []byte {
	return seal(nil, newAEAD(v.tombstone.derive()), text, bind(classTombstone.label, v.tombstone.version))
}

// OpenTombstone undoes SealTombstone. It reports false for what this registry has not sealed.
func (v *Vault) OpenTombstone(sealed []byte) (text []byte, ours bool) {
	text, err := open(newAEAD(v.tombstone.derive()), sealed, bind(classTombstone.label, v.tombstone.version))
	return text, err == nil
}

// Milestone is something that the key store remembers having happened, because a backup of the
// records, when it is restored, must not make it undone.
type Milestone string

// The milestones. Their names are labels of the key store.
const (
	MilestoneBackup  Milestone = "milestone/backup"
	MilestoneKeyCopy Milestone = "milestone/key-copy"
)

// Remember remembers when a milestone was reached last.
func (v *Vault) Remember(m Milestone, at time.Time) error {
	last, err := v.keys.Latest(string(m))
	if err != nil {
		return annona.Internal("read the key store", err)
	}
	next := annona.Secret{Label: string(m), Version: last.Version + 1, At: at}
	next.Wrapped = v.root.wrap(next.Label, next.Version, make([]byte, keySize)) // no secret: it shows that the root was there
	if err := v.keys.Put(next); err != nil {
		return annona.Internal("write to the key store", err)
	}
	if last.Version == 0 {
		return nil
	}
	return v.keys.Destroy(last.Label, last.Version)
}

// Remembered returns when a milestone was reached last; the zero time: never.
func (v *Vault) Remembered(m Milestone) (time.Time, error) {
	last, err := v.keys.Latest(string(m))
	if err != nil {
		return time.Time{}, annona.Internal("read the key store", err)
	}
	if last.Version == 0 {
		return time.Time{}, nil
	}
	if _, err := v.root.unwrap(last); err != nil {
		return time.Time{}, err
	}
	return last.At, nil
}
