package people

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

const origin = "https://exchange.example"

// hall is a desk over a registry of its own, with a clock that stands.
type hall struct {
	*testing.T
	*Desk
	store *sqlite.Store

	mu       sync.Mutex
	now      time.Time
	recorded []map[string]string
}

func newHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{T: t, now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	secrets, err := sqlite.OpenSecrets(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Production)
	if err != nil {
		t.Fatal(err)
	}
	h.store, err = sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close(); secrets.Close() })
	h.Desk, err = New(Wiring{
		Users: h.store, Claims: h.store, Delegations: h.store, Clients: h.store, Vault: v, Clock: h.clock, Origin: origin,
		Record: func(ctx context.Context, _ annona.Caller, do func(annona.Tx) (map[string]string, error)) error {
			return h.store.Update(ctx, func(tx annona.Tx) error {
				details, err := do(tx)
				h.mu.Lock()
				defer h.mu.Unlock()
				if details != nil && err == nil {
					h.recorded = append(h.recorded, details)
				}
				return err
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hall) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hall) later(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// acts are what was entered in the ledger of late.
func (h *hall) acts() (acts []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, details := range h.recorded {
		acts = append(acts, details["act"])
	}
	h.recorded = nil
	return acts
}

// browser is one at an address of its own.
func browser(address string) *Browser {
	return &Browser{From: netip.MustParseAddr(address), Label: "Firefox"}
}

// keeps takes what a desk gives.
func (b *Browser) keeps(e Entered) { b.Session, b.Device = e.Session, e.Device }

// invite puts a user on file for whom an invitation waits.
func (h *hall) invite(name string) (text string, id annona.UID) {
	h.Helper()
	text, hash := NewInvitation(h.Vault.TokenHash)
	u := annona.User{ID: annona.NewUID(), Name: name, Status: annona.UserInvited, Version: 1, Invitation: hash, InvitedUntil: h.clock().Add(InvitationLife), CreatedAt: h.clock()}
	if err := h.store.Update(h.Context(), func(tx annona.Tx) error { return tx.PutUser(h.Context(), u) }); err != nil {
		h.Fatal(err)
	}
	return text, u.ID
}

// change changes a user as an administrator would.
func (h *hall) change(id annona.UID, change func(*annona.User)) {
	h.Helper()
	err := h.store.Update(h.Context(), func(tx annona.Tx) error {
		u, _, err := tx.HoldUser(h.Context(), id)
		if err != nil {
			return err
		}
		change(u)
		return tx.PutUser(h.Context(), *u)
	})
	if err != nil {
		h.Fatal(err)
	}
}

// accept accepts an invitation.
func (h *hall) accept(b *Browser, text string) *Person {
	h.Helper()
	state, err := h.AcceptInvitation(h.Context(), *b, text)
	if err != nil {
		h.Fatal(err)
	}
	p, err := h.Invited(h.Context(), state)
	if err != nil {
		h.Fatal(err)
	}
	return p
}

// here returns who is signed in in a browser; nil when nobody is.
func (h *hall) here(b *Browser) *Person {
	h.Helper()
	p, err := h.Recognize(h.Context(), *b)
	if err != nil {
		h.Fatal(err)
	}
	return p
}

func (h *hall) refuses(what string, err error, code string) {
	h.Helper()
	if err == nil || annona.CodeOf(err) != code {
		h.Errorf("%s: got %v (%s), want %s", what, err, annona.CodeOf(err), code)
	}
}

const goodPassword = "seven lanterns on the quay"

// withPassword invites somebody who registers a password and an app.
func (h *hall) withPassword(name string, b *Browser) (secret []byte, recovery []string) {
	h.Helper()
	text, _ := h.invite(name)
	p := h.accept(b, text)
	state, err := h.ChoosePassword(h.Context(), p, goodPassword, goodPassword)
	if err != nil {
		h.Fatal(err)
	}
	app, err := h.AppOf(p, state)
	if err != nil {
		h.Fatal(err)
	}
	secret, err = secretLetters.DecodeString(upper(app.Secret))
	if err != nil {
		h.Fatal(err)
	}
	e, recovery, err := h.RegisterPassword(h.Context(), *b, p, state, h.code(secret, 0))
	if err != nil {
		h.Fatal(err)
	}
	b.keeps(e)
	return secret, recovery
}

func upper(secret string) string {
	out := []byte(plain(secret))
	for i, c := range out {
		if 'a' <= c && c <= 'z' {
			out[i] = c - 'a' + 'A'
		}
	}
	return string(out)
}

// code is what an app shows, so many steps from now.
func (h *hall) code(secret []byte, steps int64) string {
	h.Helper()
	code, err := hotp.GenerateCodeCustom(secretLetters.EncodeToString(secret), uint64(h.clock().Unix()/codeStep+steps), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		h.Fatal(err)
	}
	return code
}

// key is a security key of software. Tests change one thing of what it says.
type key struct {
	private *ecdsa.PrivateKey
	id      []byte
	handle  []byte
	counter uint32

	origin    string // that the browser is at
	rp        string
	challenge string // instead of the one that was asked
	kind      string // instead of webauthn.get or webauthn.create
	flags     byte   // present, verified
}

func newKey(t *testing.T) *key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	rand.Read(id)
	return &key{private: private, id: id, origin: origin, rp: "exchange.example", flags: 0x05}
}

type asked struct {
	PublicKey struct {
		Challenge string
		User      struct{ ID string }
	}
}

var b64 = base64.RawURLEncoding

func (k *key) clientData(kind, challenge string) []byte {
	if k.challenge != "" {
		challenge = k.challenge
	}
	if k.kind != "" {
		kind = k.kind
	}
	text, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": k.origin, "crossOrigin": false})
	return text
}

func (k *key) authenticatorData(flags byte) []byte {
	rp := sha256.Sum256([]byte(k.rp))
	return binary.BigEndian.AppendUint32(append(rp[:], flags), k.counter)
}

// create answers what a browser is asked to make a passkey with.
func (k *key) create(t *testing.T, options []byte) []byte {
	t.Helper()
	var a asked
	if err := json.Unmarshal(options, &a); err != nil {
		t.Fatal(err)
	}
	k.handle, _ = b64.DecodeString(a.PublicKey.User.ID)
	public, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: k.private.X.FillBytes(make([]byte, 32)), -3: k.private.Y.FillBytes(make([]byte, 32))})
	if err != nil {
		t.Fatal(err)
	}
	data := append(k.authenticatorData(k.flags|0x40), make([]byte, 16)...)
	data = append(binary.BigEndian.AppendUint16(data, uint16(len(k.id))), k.id...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": append(data, public...)})
	if err != nil {
		t.Fatal(err)
	}
	return k.answer(map[string]any{"attestationObject": b64.EncodeToString(object), "clientDataJSON": b64.EncodeToString(k.clientData("webauthn.create", a.PublicKey.Challenge))})
}

// show answers what a browser is asked to show a passkey with.
func (k *key) show(t *testing.T, options []byte) []byte {
	t.Helper()
	var a asked
	if err := json.Unmarshal(options, &a); err != nil {
		t.Fatal(err)
	}
	client, data := k.clientData("webauthn.get", a.PublicKey.Challenge), k.authenticatorData(k.flags)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.private, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return k.answer(map[string]any{
		"authenticatorData": b64.EncodeToString(data), "clientDataJSON": b64.EncodeToString(client),
		"signature": b64.EncodeToString(signature), "userHandle": b64.EncodeToString(k.handle),
	})
}

func (k *key) answer(response map[string]any) []byte {
	id := b64.EncodeToString(k.id)
	text, _ := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	return text
}

// withPasskey invites somebody who registers a passkey.
func (h *hall) withPasskey(name string, b *Browser) *key {
	h.Helper()
	text, _ := h.invite(name)
	return h.register(h.accept(b, text), b)
}

func (h *hall) register(p *Person, b *Browser) *key {
	h.Helper()
	k := newKey(h.T)
	options, state, err := h.AskForPasskey(h.Context(), p)
	if err != nil {
		h.Fatal(err)
	}
	e, err := h.RegisterPasskey(h.Context(), *b, p, state, k.create(h.T, options), "")
	if err != nil {
		h.Fatal(err)
	}
	b.keeps(e)
	return k
}

func (h *hall) showPasskey(k *key, b *Browser) error {
	h.Helper()
	options, state, err := h.AskToSignIn()
	if err != nil {
		h.Fatal(err)
	}
	e, err := h.EnterByPasskey(h.Context(), *b, state, k.show(h.T, options))
	if err == nil {
		b.keeps(e)
	}
	return err
}
