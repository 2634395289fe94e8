package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/annona-exchange/annona"
)

const (
	officeURL = "https://exchange.example"
	tokenPath = "/oauth2/token"
	readPath  = "/v1/individuals"
)

// office is an authorization server and a resource server over a memory of their own, with one client
// of each kind.
type office struct {
	testing.TB
	issuer *Issuer
	tokens *Tokens
	store  *shelf
	now    time.Time
	admit  error

	admitted   annona.Caller // who the gate was asked about last
	recorded   []annona.Delegation
	unrecorded error

	signer, other, secretive, certified *annona.Client
	signerKey, otherKey                 crypto.Signer
	secret                              string
}

// shelf keeps clients, tokens and claims.
type shelf struct {
	annona.Standings
	annona.Tokens
	*delegations

	mu      sync.Mutex
	clients map[string]*annona.Client
	tokens  map[annona.TokenHash]*annona.Token
	claimed map[annona.Claim]time.Time // until when it is remembered
	clock   annona.Clock
	epoch   annona.UID
	asked   int // how often the epoch was
	failing error
}

func (s *shelf) ClientByKeyID(_ context.Context, id string) (*annona.Client, error) {
	return s.clients[id], nil
}

func (s *shelf) ClientByID(_ context.Context, id annona.UID) (*annona.Client, error) {
	for _, c := range s.clients {
		if c.ID == id {
			return c, nil
		}
	}
	return nil, nil
}

func (s *shelf) TokenByHash(_ context.Context, hash annona.TokenHash) (*annona.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := s.tokens[hash]
	if token == nil || !token.RevokedAt.IsZero() {
		return token, nil
	}
	seen := *token
	seen.RevokedAt = s.endOf(token.Delegation)
	return &seen, nil
}

func (s *shelf) MoveDelegation(_ context.Context, from annona.TokenHash, d annona.Delegation, token *annona.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.move(from, d); err != nil {
		return err
	}
	if token != nil {
		s.tokens[token.Hash] = token
	}
	return nil
}

func (s *shelf) claim(c annona.Claim) error {
	if s.failing != nil {
		return s.failing
	}
	until := c.Until
	c.Until = time.Time{}
	if remembered, claimed := s.claimed[c]; claimed && s.clock().Before(remembered) {
		return annona.ErrClaimed
	}
	s.claimed[c] = until
	return nil
}

func (s *shelf) ClaimAssertion(_ context.Context, c annona.Claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claim(c)
}

func (s *shelf) ClaimProof(_ context.Context, c annona.Claim, epoch annona.UID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.epoch {
		return annona.ErrProofEpoch
	}
	return s.claim(c)
}

func (s *shelf) PutToken(ctx context.Context, t annona.Token, assertion, proof *annona.Claim, epoch annona.UID) error {
	if assertion != nil {
		if err := s.ClaimAssertion(ctx, *assertion); err != nil {
			return err
		}
	}
	if proof != nil {
		if err := s.ClaimProof(ctx, *proof, epoch); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[t.Hash] = &t
	return s.failing
}

func (s *shelf) ProofEpoch(context.Context) (annona.UID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.epoch, s.failing
}

func (s *shelf) RevokeToken(_ context.Context, hash annona.TokenHash, client annona.UID, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[hash]; t != nil && t.Client == client {
		revoked := *t
		revoked.RevokedAt = at
		s.tokens[hash] = &revoked
	}
	return nil
}

func newOffice(t testing.TB) *office {
	o := &office{TB: t, now: noon, store: &shelf{
		clients: map[string]*annona.Client{}, tokens: map[annona.TokenHash]*annona.Token{}, claimed: map[annona.Claim]time.Time{}, epoch: annona.NewUID(), delegations: &delegations{all: map[annona.UID]annona.Delegation{}},
	}}
	clock := func() time.Time { return o.now }
	o.store.clock = clock
	i := Installation{
		Standings: o.store, Store: o.store, Claims: o.store, Delegations: o.store, Clock: clock, Origin: officeURL,
		Keys:       NewKeys(o.store, keyedHash, clock, false),
		HashSecret: keyedHash,
		HashToken:  func(b []byte) annona.TokenHash { return sha256.Sum256(b) },
		HashNonce: func(epoch annona.UID, message []byte) []byte {
			h := hmac.New(sha256.New, epoch[:])
			h.Write(message)
			return h.Sum(nil)[:16]
		},
		Signing: func() []SigningKey { return nil },
		Admit: func(_ context.Context, caller annona.Caller, _ annona.Authorization) error {
			o.admitted = caller
			return o.admit
		},
		Delegated: func(_ context.Context, caller annona.Caller, d annona.Delegation) error {
			o.recorded = append(o.recorded, d)
			return o.unrecorded
		},
	}
	proofs := NewProofs(i)
	o.issuer, o.tokens = NewIssuer(i, proofs), NewTokens(i, proofs)
	o.signerKey, o.otherKey = ecKey(t), ecKey(t)
	o.signer, _ = o.register(Registration{Keys: jwkSet(t, o.signerKey.Public()), Redirects: []string{redirect}})
	o.other, _ = o.register(Registration{Keys: jwkSet(t, o.otherKey.Public())})
	o.secretive, o.secret = o.register(Registration{Secret: true})
	o.certified, _ = o.register(Registration{Subject: "CN=loader,O=Program"})
	return o
}

func (o *office) register(r Registration) (*annona.Client, string) {
	o.Helper()
	r.Agreement, r.Expires = "eligibility", o.now.AddDate(0, 1, 0)
	secret, client, err := RegisterClient(keyedHash, false, o.now, r)
	if err != nil {
		o.Fatal(err)
	}
	o.store.clients[client.KeyID] = &client
	return &client, secret
}

func ecKey(t testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKeys = map[int]*rsa.PrivateKey{}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	if rsaKeys[bits] == nil {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		rsaKeys[bits] = key
	}
	return rsaKeys[bits]
}

func jwkSet(t testing.TB, keys ...any) []byte {
	set := jose.JSONWebKeySet{}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// statement is a signed text in the making: tests change one thing of one that holds.
type statement struct {
	header, claims map[string]any
	key            crypto.Signer
	headText       string // instead of header
	claimText      string // instead of claims
	cut            func(text string) string
}

// repeats writes a claim twice, the first time with another value.
func (s *statement) repeats(claim string) {
	body, _ := json.Marshal(s.claims)
	s.claimText = `{"` + claim + `":"another",` + string(body[1:])
}

var jwsText = base64.RawURLEncoding.EncodeToString

// text signs the statement without any library that would refuse to.
func (s statement) text(t testing.TB) string {
	t.Helper()
	head, _ := json.Marshal(s.header)
	body, _ := json.Marshal(s.claims)
	if s.headText != "" {
		head = []byte(s.headText)
	}
	if s.claimText != "" {
		body = []byte(s.claimText)
	}
	input := jwsText(head) + "." + jwsText(body)
	text := input + "." + jwsText(rawSignature(t, s.key, []byte(input), s.header["alg"]))
	if s.cut != nil {
		return s.cut(text)
	}
	return text
}

// rawSignature signs as the algorithm says, also as those that are taken by nobody.
func rawSignature(t testing.TB, key crypto.Signer, input []byte, algorithm any) []byte {
	t.Helper()
	sum := sha256.Sum256(input)
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		digest := sum[:]
		if algorithm == "ES384" {
			long := sha512.Sum384(input)
			digest = long[:]
		}
		r, s, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(key, input)
	case *rsa.PrivateKey:
		if algorithm == "RS256" {
			signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
			if err != nil {
				t.Fatal(err)
			}
			return signature
		}
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: 32})
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
	t.Fatalf("no signature by %T", key)
	return nil
}

func jwkOf(t testing.TB, key any) map[string]any {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var jwk map[string]any
	if err := json.Unmarshal(text, &jwk); err != nil {
		t.Fatal(err)
	}
	return jwk
}

// proofFor is a proof that holds, for a request with that token.
func (o *office) proofFor(key crypto.Signer, method, path, token string) statement {
	o.Helper()
	nonce, err := o.tokens.Nonce(o.Context())
	if err != nil {
		o.Fatal(err)
	}
	s := statement{
		header: map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwkOf(o.TB, key.Public())},
		claims: map[string]any{"jti": annona.NewUID().String(), "htm": method, "htu": officeURL + path, "iat": o.now.Unix(), "nonce": nonce},
		key:    key,
	}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		s.claims["ath"] = jwsText(sum[:])
	}
	return s
}

// assertion is one of the client that signs, that holds.
func (o *office) assertion() statement {
	return statement{
		header: map[string]any{"alg": "ES256", "typ": "JWT"},
		claims: map[string]any{"jti": annona.NewUID().String(), "iss": o.signer.KeyID, "sub": o.signer.KeyID, "aud": officeURL, "exp": o.now.Unix() + 60, "iat": o.now.Unix()},
		key:    o.signerKey,
	}
}

// ask asks for a token as the client that signs, with a proof by key.
func (o *office) ask(key crypto.Signer) TokenRequest {
	return TokenRequest{
		Client: ShownClient{Assertion: o.assertion().text(o.TB), AssertionType: AssertionType, From: netip.MustParseAddr("192.0.2.7")},
		Grant:  "client_credentials", Method: "POST", Path: tokenPath,
		Proofs: []string{o.proofFor(key, "POST", tokenPath, "").text(o.TB)},
	}
}

func (o *office) issued(r TokenRequest) Issued {
	o.Helper()
	issued, err := o.issuer.GiveToken(o.Context(), r)
	if err != nil {
		o.Fatal(err)
	}
	return issued
}

// show shows a token with a proof by key.
func (o *office) show(key crypto.Signer, token string) annona.ShownToken {
	return annona.ShownToken{
		Scheme: "DPoP", Token: token, Method: "GET", Path: readPath, From: netip.MustParseAddr("192.0.2.7"),
		Proofs: []string{o.proofFor(key, "GET", readPath, token).text(o.TB)},
	}
}

func (o *office) recognize(shown annona.ShownToken) error {
	_, err := o.tokens.Recognize(o.Context(), shown)
	return err
}

// refuses holds an error to a code.
func refuses(t *testing.T, name string, err error, code string) {
	t.Helper()
	if got := annona.CodeOf(err); err == nil || got != code {
		t.Errorf("%s: got %v (%s), want %s", name, err, got, code)
	}
}

// certificate makes a certificate with that subject.
func certificate(t testing.TB, name string, from, until time.Time) *x509.Certificate {
	t.Helper()
	key := ecKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: from, NotAfter: until,
		Subject: pkix.Name{CommonName: name, Organization: []string{"Program"}},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
