package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/rest"
)

// tokenAsker is a client that asks for tokens, one after the other, over a connection that stays open.
type tokenAsker struct {
	http   *http.Client
	url    string
	id     string
	signer jose.Signer // of assertions
	prover jose.Signer // of proofs
	nonce  string
}

// BenchmarkTokens has 16 clients ask for access tokens: the whole endpoint over HTTP, each request with an
// assertion and a proof of its own by ES256, each token durable before it is told. What the clients sign
// is paid by the same processors.
func BenchmarkTokens(b *testing.B) {
	const clients = 16
	f := openBench(b)
	if agreement, err := f.store.Agreement(b.Context(), "eligibility"); err != nil || agreement == nil {
		a, err := parseFile(agreementFile("eligibility"), ingest.ParseAgreement)
		check(b, err)
		_, err = f.gate.ApplyAgreement(b.Context(), operator(), a)
		check(b, err)
	}
	address := serveTokens(b, f)
	askers := make([]*tokenAsker, clients)
	for i := range askers {
		askers[i] = newTokenAsker(b, f, address)
	}
	closedLoop(b, clients, "tokens/s", func(ctx context.Context, client int) error { return askers[client].ask(ctx) })
}

// serveTokens serves the registry as serve does, and returns its address.
func serveTokens(b *testing.B, f *folder) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	address := "http://" + listener.Addr().String()
	tokens, authorization := f.authorization(address, false, nil, log)
	server, err := rest.New(rest.Options{Gate: f.gate, Authenticator: f.keys, Tokens: tokens, Authorization: authorization, Log: log})
	check(b, err)
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- server.Serve(ctx, listener) }()
	b.Cleanup(func() { stop(); <-ended })
	return address
}

func newTokenAsker(b *testing.B, f *folder, address string) *tokenAsker {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(b, err)
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}})
	check(b, err)
	_, client, err := identity.RegisterClient(f.vault.KeyHash, f.vault.Demo(), time.Now(), identity.Registration{Agreement: "eligibility", Expires: time.Now().Add(time.Hour), Keys: public})
	check(b, err)
	check(b, f.gate.CreateClient(b.Context(), operator(), client))
	sign := func(o *jose.SignerOptions) jose.Signer {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, o)
		check(b, err)
		return s
	}
	a := &tokenAsker{
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}, url: address, id: client.KeyID,
		signer: sign(&jose.SignerOptions{}), prover: sign((&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")),
	}
	_ = a.ask(b.Context()) // it is told its first nonce
	return a
}

// ask asks for a token.
func (a *tokenAsker) ask(ctx context.Context) error {
	now := time.Now().Unix()
	assertion, err := signedBy(a.signer, map[string]any{"jti": annona.NewUID().String(), "iss": a.id, "sub": a.id, "aud": a.url, "iat": now, "exp": now + 60})
	if err != nil {
		return err
	}
	proof, err := signedBy(a.prover, map[string]any{"jti": annona.NewUID().String(), "htm": http.MethodPost, "htu": a.url + "/oauth2/token", "iat": now, "nonce": a.nonce})
	if err != nil {
		return err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {identity.AssertionType}, "client_assertion": {assertion}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("DPoP", proof)
	answer, err := a.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	a.nonce = answer.Header.Get("DPoP-Nonce")
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, body)
	}
	return err
}

func signedBy(signer jose.Signer, claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(body)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
