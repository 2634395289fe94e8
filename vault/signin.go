package vault

import (
	"crypto/cipher"
	"encoding/binary"
	"time"

	"github.com/annona-exchange/annona"
)

// What a factor of a user is checked by lies sealed: version of the key (uvarint), then AES-256-GCM
// with the nonce in front. User and factor are associated data, so that no factor of one user serves
// as another's.

// SealFactor seals what a factor is checked by.
func (v *Vault) SealFactor(user, factor annona.UID, message []byte) []byte {
	version, aead := v.factors.newest()
	return append(binary.AppendUvarint(nil, uint64(version)), seal(nil, aead, message, factorData(version, user, factor))...)
}

// OpenFactor opens what SealFactor has sealed for the same factor of the same user.
func (v *Vault) OpenFactor(user, factor annona.UID, sealed []byte) ([]byte, bool) {
	version, aead, sealed, ok := v.signInOpener(v.factors, sealed)
	if !ok {
		return nil, false
	}
	message, err := open(aead, sealed, factorData(version, user, factor))
	return message, err == nil
}

// SealFactorAnew seals with the latest key what SealFactor has sealed; nil: it was. false: it does not open.
func (v *Vault) SealFactorAnew(user, factor annona.UID, sealed []byte) (anew []byte, ok bool) {
	message, ok := v.OpenFactor(user, factor, sealed)
	if !ok {
		return nil, false
	}
	latest, _ := v.factors.newest()
	if version, _ := binary.Uvarint(sealed); version == uint64(latest) {
		return nil, true
	}
	return v.SealFactor(user, factor, message), true
}

// signInOpener is opener of a ring. Another node may have rotated the key, and sealed by it already: the
// keys on file are looked at then, at most once a second, because browsers show what they like.
func (v *Vault) signInOpener(r *ring[cipher.AEAD], sealed []byte) (version int, key cipher.AEAD, rest []byte, ok bool) {
	version, key, rest, ok = r.opener(sealed)
	if ok || !v.looksAgain() || v.Refresh() != nil {
		return version, key, rest, ok
	}
	return r.opener(sealed)
}

func (v *Vault) looksAgain() bool {
	v.lookedMu.Lock()
	defer v.lookedMu.Unlock()
	now := v.clock()
	if now.Sub(v.looked) < time.Second {
		return false
	}
	v.looked = now
	return true
}

func factorData(version int, user, factor annona.UID) []byte {
	return bind(classFactor.label, version, string(user[:]), string(factor[:]))
}

// SealSignIn seals how far somebody has come on the way of signing in, as a text that their browser
// keeps. The context says what it is for: it opens for nothing else.
func (v *Vault) SealSignIn(context string, state []byte) string {
	version, aead := v.signIns.newest()
	sealed := seal(nil, aead, state, bind(classSignIn.label, version, context))
	return tokenEncoding.EncodeToString(append(binary.AppendUvarint(nil, uint64(version)), sealed...))
}

// OpenSignIn opens what SealSignIn has sealed for the same context.
func (v *Vault) OpenSignIn(context, text string) ([]byte, bool) {
	sealed, err := tokenEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	version, aead, sealed, ok := v.signInOpener(v.signIns, sealed)
	if !ok {
		return nil, false
	}
	state, err := open(aead, sealed, bind(classSignIn.label, version, context))
	return state, err == nil
}

func newSignInAEAD(s classSecret) cipher.AEAD { return newAEAD(s.derive()) }
