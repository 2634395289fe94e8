package vault

import (
	"crypto/cipher"
	"encoding/base64"
	"strings"

	"github.com/annona-exchange/annona"
)

// A position token is base64url without padding of: version of its key (one byte), then
// AES-256-GCM of the position with nonce in front. Label, version and the context it was made
// for are associated data.

var tokenEncoding = base64.RawURLEncoding.Strict()

// loadPositions fetches every version of the positions' key, so that cursors made before a
// rotation are read after it.
func (v *Vault) loadPositions() error {
	latest, err := v.secret(classPosition.label)
	if err != nil {
		return err
	}
	if latest.version > 255 {
		return annona.Internal("open the vault: the position key has more versions than a token can name", nil)
	}
	v.positions = make([]cipher.AEAD, latest.version)
	for version := 1; version <= latest.version; version++ {
		kept, err := v.keys.Get(classPosition.label, version)
		if err != nil {
			return annona.Internal("read the key store", err)
		}
		if kept.Version == 0 {
			continue // destroyed: its cursors cannot be read anymore
		}
		secret, err := v.root.unwrap(kept)
		if err != nil {
			return err
		}
		v.positions[version-1] = newAEAD(secret.derive())
	}
	return nil
}

// SealPosition returns position as a token that only this installation can read, and only for
// the same context.
func (v *Vault) SealPosition(context, position []byte) string {
	version := len(v.positions)
	sealed := seal(v.positions[version-1], position, positionData(version, context))
	return tokenEncoding.EncodeToString(append([]byte{byte(version)}, sealed...))
}

// OpenPosition returns the position in a token. It reports false when the token was forged,
// changed, made for another context or by another installation.
func (v *Vault) OpenPosition(context []byte, token string) ([]byte, bool) {
	if strings.ContainsAny(token, "\r\n") { // which the decoder would skip
		return nil, false
	}
	sealed, err := tokenEncoding.DecodeString(token)
	if err != nil || len(sealed) == 0 {
		return nil, false
	}
	version := int(sealed[0])
	if version < 1 || version > len(v.positions) || v.positions[version-1] == nil {
		return nil, false
	}
	position, err := open(v.positions[version-1], sealed[1:], positionData(version, context))
	return position, err == nil
}

func positionData(version int, context []byte) []byte {
	return bind(classPosition.label, version, string(context))
}
