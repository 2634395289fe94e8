// Package identity establishes who is calling. A caller shows an API key, or an access token that it
// was given for what it proved itself by; what comes out is an annona.Caller that names the client and
// the agreement it is bound to.
//
//	key.go, mint.go, keys.go   API keys: how they look, how one is made, how one is checked
//	client.go                  clients of the authorization server: how one is registered
//	issuer.go, assertion.go    who asks for a token, and what it is given
//	delegation.go, exchange.go what people let clients do for them, and clients behind those
//	token.go, proof.go         who shows a token, and the proof that it is theirs (RFC 9449)
//	signed.go                  signed texts from outside, of which nothing is believed
//	outside*.go                tokens that identity providers of others issue, and who is behind them
//	outbound.go                how anything is fetched from servers of others
//
// The package does not know what a caller may do (package policy does), where clients and tokens are
// stored, the keys of the hashes under which they are kept, or HTTP.
package identity

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"hash/crc32"
	"regexp"
	"strings"

	"github.com/annona-exchange/annona"
)

// An API key is annona_live_<id>_<secret><checksum>, or annona_demo_… for a demonstration:
//
//	id        16 characters a-z2-7, public: by it the key is found and revoked
//	secret    32 characters a-z2-7: 160 random bits
//	checksum  6 characters 0-9A-Za-z: CRC-32 (IEEE) of all before it, in base 62
//
// So a scanner for leaked secrets recognizes a key by its shape and checks it offline.
var keyShape = regexp.MustCompile(`^annona_(live|demo)_([a-z2-7]{16})_([a-z2-7]{32})([0-9A-Za-z]{6})$`)

// The random bytes in the id and the secret of a key.
const (
	idBytes     = 10
	secretBytes = 20
)

// checksumLength is the number of characters of a checksum: 62⁶ > 2³².
const checksumLength = 6

var keyDigits = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const checksumDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Key is a well-formed API key that somebody showed. However it is printed, the secret is not.
type Key struct {
	ID   string // the public part
	Demo bool

	body string // all before the checksum: what is hashed
}

// Parse reads a key and checks its checksum; no look-up is needed. The error has code
// key_malformed and says nothing of what was shown.
func Parse(text string) (Key, error) {
	parts := keyShape.FindStringSubmatch(text)
	if parts == nil {
		return Key{}, errMalformed
	}
	body := strings.TrimSuffix(text, parts[4])
	if checksum(body) != parts[4] {
		return Key{}, errMalformed
	}
	return Key{ID: parts[2], Demo: parts[1] == "demo", body: body}, nil
}

var errMalformed = annona.Unauthenticated("key_malformed", "this is not an API key of Annona; check that it was copied whole, from annona_ to its last character")

// Format prints the public part, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "annona_%s_%s_redacted", environment(k.Demo), k.ID)
}

// newKey makes a key and its text.
func newKey(demo bool) (key Key, text string) {
	random := fresh(idBytes + secretBytes)
	id, secret := keyDigits.EncodeToString(random[:idBytes]), keyDigits.EncodeToString(random[idBytes:])
	body := "annona_" + environment(demo) + "_" + id + "_" + secret
	return Key{ID: id, Demo: demo, body: body}, body + checksum(body)
}

func environment(demo bool) string {
	if demo {
		return "demo"
	}
	return "live"
}

func checksum(body string) string {
	n := crc32.ChecksumIEEE([]byte(body))
	var digits [checksumLength]byte
	for i := checksumLength - 1; i >= 0; i-- {
		digits[i] = checksumDigits[n%62]
		n /= 62
	}
	return string(digits[:])
}

// fresh is the one place of this package that reads random bytes.
func fresh(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand aborts the process rather than return an error
	return b
}
