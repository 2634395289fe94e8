package vault

import (
	"time"

	"github.com/annona-exchange/annona"
)

// The uses of proofs. Each has a key of its own.
const (
	ProofBackup = "backup"
	ProofDrill  = "drill"
)

// Proof proves for one use that this registry wrote something: a keyed hash of its content, 256
// bits. Whoever checks a proof makes it again and compares.
func (v *Vault) Proof(use string, content []byte) []byte { return mac(v.proof.derive(use), content) }

// SealTombstone seals a tombstone for keeping it outside of the registry.
func (v *Vault) SealTombstone(text []byte) []byte {
	return seal(newAEAD(v.tombstone.derive()), text, bind(classTombstone.label, v.tombstone.version))
}

// OpenTombstone undoes SealTombstone. It reports false for what this registry has not sealed.
func (v *Vault) OpenTombstone(sealed []byte) (text []byte, ours bool) {
	text, err := open(newAEAD(v.tombstone.derive()), sealed, bind(classTombstone.label, v.tombstone.version))
	return text, err == nil
}

// drillLabel is the label under which the key store keeps the restore drills: it is where a copy
// of the records brings nothing back.
const drillLabel = "restore-drill"

// RecordDrill remembers that a restore was rehearsed at that moment.
func (v *Vault) RecordDrill(at time.Time) error {
	last, err := v.keys.Latest(drillLabel)
	if err != nil {
		return annona.Internal("read the key store", err)
	}
	drill := annona.Secret{Label: drillLabel, Version: last.Version + 1, At: at}
	drill.Wrapped = v.root.wrap(drill.Label, drill.Version, make([]byte, keySize)) // nothing secret, and only the root can have made it
	if err := v.keys.Put(drill); err != nil {
		return annona.Internal("write to the key store", err)
	}
	return nil
}

// LastDrill returns when a restore was rehearsed last; zero: never.
func (v *Vault) LastDrill() (time.Time, error) {
	last, err := v.keys.Latest(drillLabel)
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
