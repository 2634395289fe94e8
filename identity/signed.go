package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // takes each member once, and in its own case only
	"github.com/go-jose/go-jose/v4/jwt"
)

// Assertions and proofs are JSON Web Signatures that somebody outside has made. What they are signed
// by is looked at before any work is done with it.

// algorithms are those that FAPI 2.0 takes.
var algorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.PS256}

// Algorithms returns the names of the algorithms that assertions and proofs may be signed by.
func Algorithms() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	return names
}

// The bounds of a signed text, so that nobody can make us work.
const (
	maxSigned  = 8 << 10 // characters
	minRSABits = 2048
	maxRSABits = 4096
	maxNameLen = 256 // characters of a jti
)

// signed is a signed text that is well-formed. Its signature is not verified yet.
type signed struct {
	header signedHeader
	jws    *jose.JSONWebSignature
}

type signedHeader struct {
	Algorithm string          `json:"alg"`
	Type      string          `json:"typ"`
	KeyID     string          `json:"kid"`
	Critical  json.RawMessage `json:"crit"`
}

var (
	errSigned    = errors.New("it is not one compact JSON Web Signature of at most 8192 characters")
	errAlgorithm = errors.New("its alg is not EdDSA, ES256 or PS256")
	errCritical  = errors.New("its header has a crit, and no extension is known here")
	errKeyKind   = errors.New("its key is no public key of its alg: Ed25519, P-256, or RSA of 2048 to 4096 bits")
	errSignature = errors.New("its signature does not verify")
	errClaims    = errors.New("its claims are not one JSON object that has each member once")
)

// parseSigned reads a compact JWS. Its algorithm is looked at before any key in it.
func parseSigned(text string) (signed, error) {
	if len(text) > maxSigned || strings.Count(text, ".") != 2 {
		return signed{}, errSigned
	}
	head, _, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return signed{}, errSigned
	}
	var s signed
	if err := json.Unmarshal(raw, &s.header); err != nil {
		return signed{}, errSigned
	}
	if !isAlgorithm(s.header.Algorithm) {
		return signed{}, errAlgorithm
	}
	if s.header.Critical != nil {
		return signed{}, errCritical
	}
	if s.jws, err = jose.ParseSignedCompact(text, algorithms); err != nil || len(s.jws.Signatures) != 1 {
		return signed{}, errSigned
	}
	return s, nil
}

func isAlgorithm(name string) bool {
	for _, a := range algorithms {
		if string(a) == name {
			return true
		}
	}
	return false
}

// embedded returns the public key in the header; nil when there is none.
func (s signed) embedded() *jose.JSONWebKey { return s.jws.Signatures[0].Protected.JSONWebKey }

// verify checks the signature by a key, and only then reads the claims.
func (s signed) verify(key *jose.JSONWebKey, claims any) error {
	if !fits(key.Key, s.header.Algorithm) {
		return errKeyKind
	}
	payload, err := s.jws.Verify(key.Key)
	if err != nil {
		return errSignature
	}
	return readClaims(payload, claims)
}

// peek reads claims of which nothing is known to be true.
func (s signed) peek(claims any) error {
	return readClaims(s.jws.UnsafePayloadWithoutVerification(), claims)
}

func readClaims(payload []byte, claims any) error {
	if err := json.Unmarshal(payload, claims); err != nil {
		return errClaims
	}
	return nil
}

// fits reports whether a key is a public one that the algorithm is used with.
func fits(key crypto.PublicKey, algorithm string) bool {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA) && len(key) == ed25519.PublicKeySize && !isSmallOrder(key)
	case *ecdsa.PublicKey:
		return algorithm == string(jose.ES256) && key.Curve == elliptic.P256()
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return algorithm == string(jose.PS256) && bits >= minRSABits && bits <= maxRSABits && key.E >= 3 && key.E&1 == 1
	}
	return false
}

// algorithmOf returns the one algorithm that a key is used with; empty: none that is taken.
func algorithmOf(key crypto.PublicKey) string {
	for _, a := range algorithms {
		if fits(key, string(a)) {
			return string(a)
		}
	}
	return ""
}

// smallOrder are the y coordinates of the points of Ed25519 of small order, also written beyond the
// prime, little-endian. A signature by such a key fits many messages.
var smallOrder = [...][32]byte{
	{0},
	{1},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	beneathPrime(0xec),
	beneathPrime(0xed),
	beneathPrime(0xee),
}

// beneathPrime is 2^255 - 256 + low.
func beneathPrime(low byte) (y [32]byte) {
	for i := range y {
		y[i] = 0xff
	}
	y[0], y[31] = low, 0x7f
	return y
}

func isSmallOrder(key ed25519.PublicKey) bool {
	var y [32]byte
	copy(y[:], key)
	y[31] &= 0x7f // without the sign of x
	for _, small := range smallOrder {
		if y == small {
			return true
		}
	}
	return false
}

// numericDate is a moment in seconds since 1970; nil: it is not there.
type numericDate = *jwt.NumericDate
