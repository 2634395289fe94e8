package vault

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// DrillProof returns a text by which another installation of the same keys, the one that serves,
// believes that a recovery or a restore succeeded here and now.
func (v *Vault) DrillProof() string {
	at := binary.BigEndian.AppendUint64(nil, uint64(v.clock().Unix()))
	return base64.RawURLEncoding.EncodeToString(v.root.wrap(classDrill.label, 0, at))
}

// RecordDrill notes a drill that a proof tells of.
func (v *Vault) RecordDrill(proof string) error {
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(proof))
	if err != nil {
		return errProof
	}
	at, err := v.root.unwrapBytes(annona.Secret{Label: classDrill.label, Wrapped: sealed})
	if err != nil {
		return errProof
	}
	latest, err := v.keys.Latest(classDrill.label)
	if err != nil {
		return annona.Internal("read the key store", err)
	}
	version := latest.Version + 1
	if err := v.keys.Put(annona.Secret{Label: classDrill.label, Version: version, At: v.clock(), Wrapped: v.root.wrap(classDrill.label, version, at)}); err != nil {
		return err
	}
	if latest.Version == 0 {
		return nil
	}
	return v.keys.Destroy(classDrill.label, latest.Version)
}

// Drilled returns when a recovery or a restore was last tried and succeeded; the zero time: never.
func (v *Vault) Drilled() (time.Time, error) {
	s, err := v.keys.Latest(classDrill.label)
	switch {
	case err != nil:
		return time.Time{}, annona.Internal("read the key store", err)
	case s.Version == 0:
		return time.Time{}, nil
	}
	at, err := v.root.unwrapBytes(s)
	if err != nil {
		return time.Time{}, err
	}
	if len(at) != 8 {
		return time.Time{}, errSecretDamaged.On(s.Label)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(at)), 0).UTC(), nil
}

var errProof = annona.Invalid("drill_proof", "this is not what annona restore --drill has printed, or it was printed for another registry")
