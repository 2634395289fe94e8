package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"github.com/annona-exchange/annona"
)

// realm enciphers ids: one block of AES-256 for the 16 bytes of a UID, written as 26
// characters of base32 (a to z, 2 to 7, most significant bits first, two zero bits at the
// end). The same UID looks unrelated in each realm.
type realm struct{ block cipher.Block }

// realmNameLimit bounds the name of a realm, in bytes.
const realmNameLimit = 100

// Realm returns the realm of that name and makes its secret on first use.
func (v *Vault) Realm(name string) (annona.Realm, error) {
	if name == "" || len(name) > realmNameLimit {
		return nil, annona.Invalid("realm_malformed", "the name of an id realm has 1 to %d bytes", realmNameLimit)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if r, known := v.realms[name]; known {
		return r, nil
	}
	class, err := v.secret(classRealm.label + "/" + name)
	if err != nil {
		return nil, err
	}
	r := newRealm(class.secret)
	v.realms[name] = r
	return r, nil
}

func newRealm(secret []byte) *realm {
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic("vault: a key of the wrong length") // every key has keySize bytes
	}
	return &realm{block: block}
}

const base32Digits = "abcdefghijklmnopqrstuvwxyz234567"

// AppendID appends the wire id of uid. An absent id (no bytes) stays absent; any other length
// than 16 is no id and appends nothing.
func (r *realm) AppendID(dst []byte, uid []byte) []byte {
	if len(uid) != aes.BlockSize {
		return dst
	}
	start := len(dst)
	dst = slices.Grow(dst, annona.WireIDLength)[:start+annona.WireIDLength]
	id := dst[start:]
	r.block.Encrypt(id[:aes.BlockSize], uid)
	hi, lo := binary.BigEndian.Uint64(id), binary.BigEndian.Uint64(id[8:])
	for i := range 12 {
		id[i] = base32Digits[hi>>(59-5*i)&31]
	}
	id[12] = base32Digits[hi<<1&31|lo>>63]
	for i := range 12 {
		id[13+i] = base32Digits[lo>>(58-5*i)&31]
	}
	id[25] = base32Digits[lo<<2&31]
	return dst
}

// ParseID reads what AppendID wrote, in exactly that spelling.
func (r *realm) ParseID(id string) (annona.UID, bool) {
	if len(id) != annona.WireIDLength {
		return annona.UID{}, false
	}
	var digits [annona.WireIDLength]uint64
	for i := range digits {
		d, ok := base32Digit(id[i])
		if !ok {
			return annona.UID{}, false
		}
		digits[i] = d
	}
	if digits[25]&3 != 0 {
		return annona.UID{}, false
	}
	var hi, lo uint64
	for _, d := range digits[:12] {
		hi = hi<<5 | d
	}
	hi = hi<<4 | digits[12]>>1
	lo = digits[12] & 1
	for _, d := range digits[13:25] {
		lo = lo<<5 | d
	}
	lo = lo<<3 | digits[25]>>2

	var sealed, uid annona.UID
	binary.BigEndian.PutUint64(sealed[:], hi)
	binary.BigEndian.PutUint64(sealed[8:], lo)
	r.block.Decrypt(uid[:], sealed[:])
	return uid, true
}

func base32Digit(c byte) (uint64, bool) {
	switch {
	case 'a' <= c && c <= 'z':
		return uint64(c - 'a'), true
	case '2' <= c && c <= '7':
		return uint64(c-'2') + 26, true
	}
	return 0, false
}
