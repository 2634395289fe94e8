package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// Each case changes one thing of a proof that holds. The names are those of the checklist of RFC 9449.
func TestProofsThatAreRefused(t *testing.T) {
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(o *office, s *statement)
		shown  func(o *office, shown *annona.ShownToken)
		code   string
	}{
		"DP-01 none":           {shown: func(_ *office, s *annona.ShownToken) { s.Proofs = nil }},
		"DP-01 two":            {shown: func(_ *office, s *annona.ShownToken) { s.Proofs = append(s.Proofs, s.Proofs[0]) }},
		"DP-02 empty":          {shown: func(_ *office, s *annona.ShownToken) { s.Proofs = []string{""} }},
		"DP-02 two parts":      {change: func(_ *office, s *statement) { s.cut = func(x string) string { return x[:strings.LastIndex(x, ".")] } }},
		"DP-02 four parts":     {change: func(_ *office, s *statement) { s.cut = func(x string) string { return x + ".x" } }},
		"DP-02 no base64":      {change: func(_ *office, s *statement) { s.cut = func(x string) string { return "!" + x } }},
		"DP-02 JSON form":      {change: func(_ *office, s *statement) { s.cut = func(string) string { return `{"payload":"","signatures":[]}` } }},
		"DP-02 claims twice":   {change: func(_ *office, s *statement) { s.repeats("jti") }},
		"DP-02 header twice":   {change: func(_ *office, s *statement) { s.headText = `{"typ":"dpop+jwt","alg":"none","alg":"ES256"}` }},
		"DP-02 crit":           {change: func(_ *office, s *statement) { s.header["crit"] = []string{"b64"}; s.header["b64"] = false }},
		"DP-03 no jti":         {change: func(_ *office, s *statement) { delete(s.claims, "jti") }},
		"DP-03 long jti":       {change: func(_ *office, s *statement) { s.claims["jti"] = strings.Repeat("x", 257) }},
		"DP-03 no htm":         {change: func(_ *office, s *statement) { delete(s.claims, "htm") }},
		"DP-03 no htu":         {change: func(_ *office, s *statement) { delete(s.claims, "htu") }},
		"DP-03 no iat":         {change: func(_ *office, s *statement) { delete(s.claims, "iat") }},
		"DP-04 typ":            {change: func(_ *office, s *statement) { s.header["typ"] = "JWT" }},
		"DP-05 none":           {change: func(_ *office, s *statement) { s.header["alg"] = "none" }},
		"DP-05 HS256":          {change: func(_ *office, s *statement) { s.header["alg"] = "HS256" }},
		"DP-05 None":           {change: func(_ *office, s *statement) { s.header["alg"] = "None" }},
		"DP-06 another's key":  {change: func(o *office, s *statement) { s.key = o.otherKey }},
		"DP-06 r = s = 0":      {change: func(_ *office, s *statement) { s.cut = zeroSignature }},
		"DP-07 private part":   {change: func(o *office, s *statement) { s.header["jwk"] = jwkOf(o.TB, o.signerKey) }},
		"DP-07 symmetric":      {change: func(_ *office, s *statement) { s.header["jwk"] = map[string]any{"kty": "oct", "k": "AAAA"} }},
		"DP-07 no key":         {change: func(_ *office, s *statement) { delete(s.header, "jwk") }},
		"DP-08 htm":            {change: func(_ *office, s *statement) { s.claims["htm"] = "POST" }},
		"DP-08 htm in small":   {change: func(_ *office, s *statement) { s.claims["htm"] = "get" }},
		"DP-09 path":           {change: func(_ *office, s *statement) { s.claims["htu"] = officeURL + "/v1/households" }},
		"DP-09 host":           {change: func(_ *office, s *statement) { s.claims["htu"] = "https://other.example" + readPath }},
		"DP-09 scheme":         {change: func(_ *office, s *statement) { s.claims["htu"] = "http://exchange.example" + readPath }},
		"DP-09 user":           {change: func(_ *office, s *statement) { s.claims["htu"] = "https://x@exchange.example" + readPath }},
		"DP-09 escaped slash":  {change: func(_ *office, s *statement) { s.claims["htu"] = officeURL + "/v1%2Findividuals" }},
		"DP-09 no URL":         {change: func(_ *office, s *statement) { s.claims["htu"] = readPath }},
		"DP-10 no nonce":       {change: func(_ *office, s *statement) { delete(s.claims, "nonce") }, code: "use_dpop_nonce"},
		"DP-11 iat of 61 s":    {change: func(o *office, s *statement) { s.claims["iat"] = o.now.Unix() - 61 }},
		"DP-11 iat 11 s ahead": {change: func(o *office, s *statement) { s.claims["iat"] = o.now.Unix() + 11 }},
		"DP-11 iat beyond": {change: func(_ *office, s *statement) {
			s.claimText = `{"jti":"a","htm":"GET","htu":"` + officeURL + readPath + `","iat":1e999}`
		}},
		"DP-12 no ath":         {change: func(_ *office, s *statement) { delete(s.claims, "ath") }},
		"DP-12 ath of another": {change: func(_ *office, s *statement) { s.claims["ath"] = tokenDigest("another") }},
		"DP-12 key of another": {change: func(o *office, s *statement) { s.key = o.otherKey; s.header["jwk"] = jwkOf(o.TB, o.otherKey.Public()) }},
		"DP-16 as Bearer":      {shown: func(_ *office, s *annona.ShownToken) { s.Scheme, s.Proofs = "Bearer", nil }, code: "invalid_token"},
		"DP-16 Bearer, proved": {shown: func(_ *office, s *annona.ShownToken) { s.Scheme = "Bearer" }, code: "invalid_token"},
		"DP-20 1 MB":           {change: func(_ *office, s *statement) { s.header["x"] = strings.Repeat("x", 1<<20) }},
		"FA-26 RSA of 1024":    {change: func(o *office, s *statement) { byRSA(o, s, rsaKey(o.TB, 1024)) }},
		"DP-20 RSA of 8192": {change: func(o *office, s *statement) {
			s.header["alg"], s.header["jwk"], s.cut = "PS256", longRSA(), zeroSignature
		}},
		"FA-26 RSA, exponent 1": {change: func(o *office, s *statement) { withExponentOne(o, s) }},
		"DP-22 RS256":           {change: func(_ *office, s *statement) { s.header["alg"] = "RS256" }},
		"DP-22 RS256 by RSA": {change: func(o *office, s *statement) {
			byRSA(o, s, rsaKey(o.TB, 2048))
			s.header["alg"] = "RS256"
		}},
		"DP-22 ES384": {change: func(o *office, s *statement) {
			s.header["alg"], s.header["jwk"], s.key = "ES384", jwkOf(o.TB, p384.Public()), p384
		}},
		"T-19 ES256 by P-384":   {change: func(o *office, s *statement) { s.header["jwk"], s.key = jwkOf(o.TB, p384.Public()), p384 }},
		"T-19 EdDSA by P-256":   {change: func(_ *office, s *statement) { s.header["alg"] = "EdDSA" }},
		"T-19 ES256 by Ed25519": {change: func(o *office, s *statement) { s.header["jwk"], s.key = jwkOf(o.TB, edPublic), edPrivate }},
		"T-19 small order": {change: func(o *office, s *statement) {
			s.header["alg"], s.header["jwk"], s.cut = "EdDSA", smallOrderJWK(), identitySignature
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			token := o.issued(o.ask(o.signerKey)).Text
			claims := len(o.store.claimed)
			s := o.proofFor(o.signerKey, "GET", readPath, token)
			if c.change != nil {
				c.change(o, &s)
			}
			shown := o.show(o.signerKey, token)
			shown.Proofs = []string{s.text(t)}
			if c.shown != nil {
				c.shown(o, &shown)
			}
			if c.code == "" {
				c.code = "invalid_dpop_proof"
			}
			err := o.recognize(shown)
			refuses(t, name, err, c.code)
			if ofOther := strings.Contains(fmt.Sprint(err), errProofOfOther.Error()); ofOther != (name == "DP-12 key of another") {
				t.Errorf("it is refused for another reason than its own: %v", err)
			}
			if len(o.store.claimed) != claims {
				t.Error("DP-13: a proof that is refused was claimed")
			}
			if err := o.recognize(o.show(o.signerKey, token)); err != nil {
				t.Errorf("the one that holds is refused afterwards: %v", err)
			}
		})
	}
}

func zeroSignature(text string) string {
	return text[:strings.LastIndex(text, ".")+1] + jwsText(make([]byte, 64))
}

func byRSA(o *office, s *statement, key *rsa.PrivateKey) {
	s.header["alg"], s.header["jwk"], s.key = "PS256", jwkOf(o.TB, key.Public()), key
}

// withExponentOne names a key under which every message is its own signature.
func withExponentOne(o *office, s *statement) {
	key := rsaKey(o.TB, 2048)
	s.header["alg"], s.header["jwk"], s.key = "PS256", map[string]any{"kty": "RSA", "e": "AQ", "n": jwsText(key.N.Bytes())}, key
}

// longRSA is a key of 8192 bits.
func longRSA() map[string]any {
	n := new(big.Int).Lsh(big.NewInt(1), 8191)
	return map[string]any{"kty": "RSA", "e": "AQAB", "n": jwsText(n.SetBit(n, 0, 1).Bytes())}
}

// smallOrderJWK is the neutral element as a public key. A signature of R = it and S = 0 fits every message.
func smallOrderJWK() map[string]any {
	return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": jwsText(append([]byte{1}, make([]byte, 31)...))}
}

func identitySignature(text string) string {
	return text[:strings.LastIndex(text, ".")+1] + jwsText(append([]byte{1}, make([]byte, 63)...))
}

// Every point that is refused as one of small order is one: some forged signature fits.
func TestPointsOfSmallOrder(t *testing.T) {
	forged := append([]byte{1}, make([]byte, 63)...)
	for i, y := range smallOrder {
		forgeries := 0
		for message := range byte(255) {
			if ed25519.Verify(y[:], []byte{message}, forged) {
				forgeries++
			}
		}
		if taken := fits(ed25519.PublicKey(y[:]), "EdDSA"); taken || forgeries == 0 {
			t.Errorf("point %d: taken %t, a forged signature fits %d of 255 messages", i, taken, forgeries)
		}
	}
}

// Proofs by each algorithm that is taken hold, and what differs from the request only in spelling.
func TestProofsThatHold(t *testing.T) {
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := newOffice(t)
	key := rsaKey(t, 2048)
	for name, change := range map[string]func(s *statement){
		"ES256":                func(*statement) {},
		"EdDSA":                func(s *statement) { s.header["alg"], s.header["jwk"], s.key = "EdDSA", jwkOf(t, edPublic), edPrivate },
		"PS256":                func(s *statement) { byRSA(o, s, key) },
		"query and fragment":   func(s *statement) { s.claims["htu"] = officeURL + tokenPath + "?a=b#c" },
		"port and capitals":    func(s *statement) { s.claims["htu"] = "HTTPS://Exchange.Example:443" + tokenPath },
		"escaped without need": func(s *statement) { s.claims["htu"] = officeURL + "/%6fauth2/token" },
		"iat of 60 s":          func(s *statement) { s.claims["iat"] = o.now.Unix() - 60 },
		"iat 10 s ahead":       func(s *statement) { s.claims["iat"] = o.now.Unix() + 10 },
		"iat with a fraction":  func(s *statement) { s.claims["iat"] = float64(o.now.Unix()) - 0.5 },
	} {
		s := o.proofFor(o.signerKey, "POST", tokenPath, "")
		change(&s)
		r := o.ask(o.signerKey)
		r.Proofs = []string{s.text(t)}
		if _, err := o.issuer.GiveToken(t.Context(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// DP-10, DP-21: a nonce is ours, of this epoch and younger than a minute; otherwise the client gets
// another one and nothing is claimed.
func TestNonces(t *testing.T) {
	o := newOffice(t)
	token := o.issued(o.ask(o.signerKey)).Text
	claims := len(o.store.claimed)
	try := func(name, nonce, code string) {
		t.Helper()
		s := o.proofFor(o.signerKey, "GET", readPath, token)
		s.claims["nonce"] = nonce
		shown := o.show(o.signerKey, token)
		shown.Proofs = []string{s.text(t)}
		if err := o.recognize(shown); code != "" {
			refuses(t, name, err, code)
			if len(o.store.claimed) != claims {
				t.Errorf("%s: claimed", name)
			}
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	nonce := func() string {
		n, err := o.tokens.Nonce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	fresh := nonce()
	try("forged", fresh[:len(fresh)-1]+flip(fresh[len(fresh)-1]), "use_dpop_nonce")
	try("forged time", flip(fresh[0])+fresh[1:], "use_dpop_nonce")
	try("cut", fresh[:16], "use_dpop_nonce")
	try("no base64", "!!", "use_dpop_nonce")
	began := o.now
	o.now = began.Add(61 * time.Second)
	try("of 61 s", fresh, "use_dpop_nonce")
	o.now = began.Add(60 * time.Second)
	try("of 60 s", fresh, "")
	claims = len(o.store.claimed)
	o.now = began.Add(-6 * time.Second)
	try("of a clock 6 s ahead", fresh, "use_dpop_nonce")
	o.now = began.Add(-5 * time.Second)
	try("of a clock 5 s ahead", fresh, "")
	claims = len(o.store.claimed)

	o.now = began
	before := nonce()
	o.store.epoch = annona.NewUID() // the memory of claims was lost
	try("of the epoch before, which this node believes in", before, "use_dpop_nonce")
	try("of the epoch before", before, "use_dpop_nonce")
	try("of this epoch", nonce(), "")
	claims = len(o.store.claimed)
	o.store.epoch = annona.NewUID() // and another node has noticed first
	o.now = began.Add(2 * time.Second)
	ahead := NewProofs(o.tokens.Installation)
	given, err := ahead.Nonce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	try("of another node in the new epoch", given, "")
	asked := o.store.asked
	for range 100 {
		claims = len(o.store.claimed)
		try("forged, often", fresh[:len(fresh)-1]+flip(fresh[len(fresh)-1]), "use_dpop_nonce")
	}
	if o.store.asked-asked > 1 {
		t.Errorf("100 forged nonces ask the store %d times", o.store.asked-asked)
	}
}

// DP-13, DP-14: a proof counts once, and another client's jti is another.
func TestProofsCountOnce(t *testing.T) {
	o := newOffice(t)
	token := o.issued(o.ask(o.signerKey)).Text
	shown := o.show(o.signerKey, token)
	if err := o.recognize(shown); err != nil {
		t.Fatal(err)
	}
	refuses(t, "the same proof again", o.recognize(shown), "invalid_dpop_proof")
	o.now = o.now.Add(59 * time.Second)
	refuses(t, "as long as it holds", o.recognize(shown), "invalid_dpop_proof")
	once := o.proofFor(o.signerKey, "GET", readPath, token)
	again := o.proofFor(o.signerKey, "GET", readPath, token)
	again.claims["jti"] = once.claims["jti"]
	again.claims["htu"] = officeURL + readPath + "?other"
	shown.Proofs = []string{once.text(t)}
	if err := o.recognize(shown); err != nil {
		t.Fatal(err)
	}
	shown.Proofs = []string{again.text(t)}
	refuses(t, "its jti in another proof", o.recognize(shown), "invalid_dpop_proof")
	again.claims["htm"], shown.Method, shown.Proofs = "HEAD", "HEAD", nil
	shown.Proofs = []string{again.text(t)}
	refuses(t, "its jti in a proof for another method", o.recognize(shown), "invalid_dpop_proof")

	asked := o.ask(o.signerKey)
	o.issued(asked)
	asked.Client.Assertion = o.ask(o.signerKey).Client.Assertion
	_, err := o.issuer.GiveToken(t.Context(), asked)
	refuses(t, "the same proof for another token", err, "invalid_client")

	r := o.ask(o.otherKey)
	r.Client.Assertion = func() string {
		s := o.assertion()
		s.claims["iss"], s.claims["sub"], s.key = o.other.KeyID, o.other.KeyID, o.otherKey
		return s.text(t)
	}()
	foreign := o.issued(r).Text
	s := o.proofFor(o.otherKey, "GET", readPath, foreign)
	s.claims["jti"] = once.claims["jti"]
	theirs := o.show(o.otherKey, foreign)
	theirs.Proofs = []string{s.text(t)}
	if err := o.recognize(theirs); err != nil {
		t.Errorf("one client has burned another's jti: %v", err)
	}
}

// ZT-14: a memory of claims that fails lets nobody in.
func TestClaimsThatFail(t *testing.T) {
	o := newOffice(t)
	token := o.issued(o.ask(o.signerKey)).Text
	shown, r := o.show(o.signerKey, token), o.ask(o.signerKey)
	o.store.failing = annona.Unavailable("store_io", "the disk is gone").Because(errors.New("test"))
	refuses(t, "a proof", o.recognize(shown), "store_io")
	_, err := o.issuer.GiveToken(t.Context(), r)
	refuses(t, "a token", err, "store_io")
}

// DP-20: a key that is too long is refused before any work is done with it.
func TestKeysThatAreTooLong(t *testing.T) {
	for bits, want := range map[uint]bool{2047: false, 2048: true, 4096: true, 4097: false, 100_000: false} {
		key := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
		if fits(key, "PS256") != want {
			t.Errorf("RSA of %d bits: %t", bits, !want)
		}
	}
}

// A modulus that is no product of primes costs no more than any other.
func TestStrangeModulus(t *testing.T) {
	o := newOffice(t)
	s := o.proofFor(o.signerKey, "POST", tokenPath, "")
	n := new(big.Int).Lsh(big.NewInt(1), 4095)
	s.header["alg"], s.header["jwk"], s.cut = "PS256", map[string]any{"kty": "RSA", "e": "AQAB", "n": jwsText(n.Bytes())}, zeroSignature
	r := o.ask(o.signerKey)
	r.Proofs = []string{s.text(t)}
	began := time.Now()
	_, err := o.issuer.GiveToken(t.Context(), r)
	refuses(t, "an even modulus", err, "invalid_dpop_proof")
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}
