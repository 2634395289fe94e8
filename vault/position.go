package vault

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// A position token is base64url without padding of: version of its key (uvarint), then
// AES-256-GCM of the position with nonce in front. Label, version and the context it was made
// for are associated data.

var tokenEncoding = base64.RawURLEncoding.Strict()

// SealPosition returns position as a token that only this installation can read, and only for
// the same context.
func (v *Vault) SealPosition(context, position []byte) string {
	version, aead := v.positions.newest()
	sealed := seal(nil, aead, position, positionData(version, context))
	return tokenEncoding.EncodeToString(append(binary.AppendUvarint(nil, uint64(version)), sealed...))
}

// OpenPosition returns the position in a token. It reports false when the token was forged,
// changed, made for another context or by another installation, or when its key was destroyed.
func (v *Vault) OpenPosition(context []byte, token string) ([]byte, bool) {
	if strings.ContainsAny(token, "\r\n") { // which the decoder would skip
		return nil, false
	}
	sealed, err := tokenEncoding.DecodeString(token)
	if err != nil {
		return nil, false
	}
	version, aead, sealed, ok := v.positions.opener(sealed)
	if !ok {
		return nil, false
	}
	position, err := open(aead, sealed, positionData(version, context))
	return position, err == nil
}

func positionData(version int, context []byte) []byte {
	return bind(classPosition.label, version, string(context))
}
