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
	v.realmsMu.Lock()
	defer v.realmsMu.Unlock()
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
	for i := range 6 {
		putPair(id, i, hi>>(54-10*i))
	}
	putPair(id, 6, hi<<6|lo>>58)
	for i := range 5 {
		putPair(id, 7+i, lo>>(48-10*i))
	}
	putPair(id, 12, lo<<2)
	return dst
}

// putPair writes the digits of the lowest ten bits as the i-th pair.
func putPair(id []byte, i int, bits uint64) {
	binary.LittleEndian.PutUint16(id[2*i:], base32Pairs[bits&1023])
}

// base32Pairs holds the two digits of each ten bits: an export writes millions of ids.
var base32Pairs = func() (pairs [1024]uint16) {
	for bits := range pairs {
		pairs[bits] = uint16(base32Digits[bits>>5]) | uint16(base32Digits[bits&31])<<8
	}
	return pairs
}()

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
