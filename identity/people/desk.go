package people

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/annona-exchange/annona"
)

// Vault is what signing in needs of the vault.
type Vault interface {
	// SealFactor seals what a factor is checked by; OpenFactor opens it for the same factor of the same user.
	SealFactor(user, factor annona.UID, message []byte) []byte
	OpenFactor(user, factor annona.UID, sealed []byte) ([]byte, bool)
	// SealSignIn seals what a browser keeps on the way; OpenSignIn opens it for the same purpose.
	SealSignIn(purpose string, state []byte) string
	OpenSignIn(purpose, text string) ([]byte, bool)
	// TokenHash is the keyed hash of what somebody shows.
	TokenHash(token []byte) annona.TokenHash
}

// Wiring is what a desk is wired to.
type Wiring struct {
	Users  annona.Users
	Claims annona.Tokens
	// Delegations and Clients tell which applications act for somebody.
	Delegations annona.Delegations
	Clients     annona.Standings
	Vault       Vault
	Clock       annona.Clock
	// Origin is the public address, https://host. Passkeys belong to its host; there are none when that
	// is an address of numbers.
	Origin string
	// Record runs a transaction and enters in the ledger what it says it did; the gate has it.
	Record func(ctx context.Context, caller annona.Caller, do func(annona.Tx) (details map[string]string, err error)) error
}

// Desk signs people in. It is safe for concurrent use.
type Desk struct {
	Wiring
	passkeys *webauthn.WebAuthn // nil: there are none under this address
	hashing  chan struct{}      // bounds how many passwords are hashed at once
}

// New returns a desk.
func New(w Wiring) (*Desk, error) {
	address, err := url.Parse(w.Origin)
	if err != nil || address.Hostname() == "" {
		return nil, annona.Internal("set up signing in: the public address is none", err)
	}
	d := &Desk{Wiring: w, hashing: make(chan struct{}, hashedAtOnce)}
	if net.ParseIP(address.Hostname()) != nil {
		return d, nil
	}
	d.passkeys, err = webauthn.New(&webauthn.Config{
		RPID: address.Hostname(), RPDisplayName: "Annona", RPOrigins: []string{w.Origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{
			Login:        webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyLife, TimeoutUVD: ceremonyLife},
			Registration: webauthn.TimeoutConfig{Enforce: true, Timeout: ceremonyLife, TimeoutUVD: ceremonyLife},
		},
	})
	if err != nil {
		return nil, annona.Internal("set up passkeys", err)
	}
	return d, nil
}

// Browser is what a request shows of the browser that sends it.
type Browser struct {
	From    netip.Addr
	Label   string // what kind it is, for the list of sessions
	Session string // the id of the session that it shows; empty: none
	Device  string // what it keeps of earlier sign-ins; empty: nothing
}

// Entered is what a browser gets when somebody has signed in in it.
type Entered struct {
	Session string // the id of the session, told once
	Device  string // to be kept and shown again at the next sign-in
}

// Errors. What is wrong with a name, a password or a code is one answer.
var (
	errWrong    = annona.Unauthenticated("sign_in_refused", "that did not work: the name, the password or the code is not right, or the code was used before")
	errPasskey  = annona.Unauthenticated("passkey_refused", "that did not work: the passkey is not known here, or it was asked for too long ago")
	errOver     = annona.Unauthenticated("sign_in_over", "this took too long, or was done before: begin again")
	errNobody   = annona.Unauthenticated("signed_out", "you are not signed in")
	errProve    = annona.Unauthenticated("insufficient_user_authentication", "prove again who you are before you change this")
	errPasskeys = annona.Conflict("passkeys_unavailable", "passkeys need a server with a name; this one is reached by an address of numbers")
)

// caller is how the gate and the ledger see somebody who signs in. Who has proved nothing acts for nobody.
func caller(b Browser, user annona.UID, how annona.Assurance, at time.Time) annona.Caller {
	if how == annona.AssuranceNone {
		return annona.Caller{Network: b.From}
	}
	return annona.Caller{Network: b.From, Acting: annona.SignedIn{Person: user, Assurance: how, At: at}}
}

// fresh returns random text, 256 bits.
func fresh() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// hash is the keyed hash of what somebody shows of one kind.
func (d *Desk) hash(kind, text string) annona.TokenHash {
	return d.Vault.TokenHash([]byte("sign-in/" + kind + "\x00" + text))
}

// seal turns a state of the way into text that the browser keeps; open reads it again, once it is of the
// same step and not over.
func seal[T any](d *Desk, step string, state T, until time.Time) (string, error) {
	body, err := json.Marshal(sealed[T]{until, state})
	if err != nil {
		return "", annona.Internal("write a state of signing in", err)
	}
	return d.Vault.SealSignIn(step, body), nil
}

func open[T any](d *Desk, step, text string) (state T, err error) {
	body, ok := d.Vault.OpenSignIn(step, text)
	if !ok {
		return state, errOver
	}
	var kept sealed[T]
	if err := json.Unmarshal(body, &kept); err != nil || !d.Clock().Before(kept.Until) {
		return state, errOver
	}
	return kept.State, nil
}

type sealed[T any] struct {
	Until time.Time
	State T
}

// openFactor reads what a factor is checked by.
func (d *Desk) openFactor(f annona.Factor, into any) error {
	body, ok := d.Vault.OpenFactor(f.User, f.ID, f.Sealed)
	if !ok {
		return annona.Internal("open what a user has registered", errors.New("it was sealed for another one"))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return annona.Internal("read what a user has registered", err)
	}
	return nil
}

// newFactor makes a factor.
func (d *Desk) newFactor(user annona.UID, kind annona.FactorKind, label string, checkedBy any) (annona.Factor, error) {
	body, err := json.Marshal(checkedBy)
	if err != nil {
		return annona.Factor{}, annona.Internal("write what a user registers", err)
	}
	f := annona.Factor{ID: annona.NewUID(), User: user, Kind: kind, Label: label, CreatedAt: d.Clock()}
	f.Sealed = d.Vault.SealFactor(user, f.ID, body)
	return f, nil
}

// NewForm is what a browser keeps so that its forms are told from those of others; FormToken is what its
// forms carry, and IsForm reports whether a form carries it.
func (d *Desk) NewForm() string { return fresh() }

// FormToken is what the forms of a browser carry.
func (d *Desk) FormToken(kept string) string {
	h := d.hash("form", kept)
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// IsForm reports whether a form is one of the browser that keeps this.
func (d *Desk) IsForm(kept, token string) bool {
	return len(kept) == len(fresh()) && hmac.Equal([]byte(d.FormToken(kept)), []byte(token))
}
