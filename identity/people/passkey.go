package people

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/annona-exchange/annona"
)

// ceremonyLife is how long somebody may take to touch their key. Each is asked anew when they press the
// button.
const ceremonyLife = annona.MaxClaim

// maxPasskeys bounds what one user registers.
const maxPasskeys = 20

const (
	stepRegister = "register passkey"
	stepShow     = "show passkey"
)

// HasPasskeys reports whether there can be passkeys under the address of this server.
func (d *Desk) HasPasskeys() bool { return d.passkeys != nil }

// keeper is a user as the library wants to see one.
type keeper struct {
	user *annona.User
	keys []webauthn.Credential
	of   []annona.Factor
}

func (k keeper) WebAuthnID() []byte                         { return k.user.ID[:] }
func (k keeper) WebAuthnName() string                       { return k.user.Name }
func (k keeper) WebAuthnCredentials() []webauthn.Credential { return k.keys }
func (k keeper) WebAuthnDisplayName() string {
	if k.user.Display != "" {
		return k.user.Display
	}
	return k.user.Name
}

func (d *Desk) keeper(u *annona.User, factors []annona.Factor) (keeper, error) {
	k := keeper{user: u}
	for _, f := range factors {
		if f.Kind != annona.FactorPasskey {
			continue
		}
		var kept webauthn.Credential
		if err := d.openFactor(f, &kept); err != nil {
			return k, err
		}
		kept.Authenticator.SignCount = uint32(f.Counter)
		k.keys, k.of = append(k.keys, kept), append(k.of, f)
	}
	return k, nil
}

type registering struct {
	User    annona.UID
	Session webauthn.SessionData
}

// AskForPasskey returns what the browser of a person is asked to make a passkey with, JSON, and the state
// that it brings back.
func (d *Desk) AskForPasskey(ctx context.Context, p *Person) (options []byte, state string, err error) {
	if d.passkeys == nil {
		return nil, "", errPasskeys
	}
	if err := p.MayChange(d.Clock()); err != nil {
		return nil, "", err
	}
	factors, err := d.Users.Factors(ctx, p.ID)
	if err != nil {
		return nil, "", err
	}
	k, err := d.keeper(&p.User, factors)
	if err != nil {
		return nil, "", err
	}
	if len(k.keys) >= maxPasskeys {
		return nil, "", annona.Conflict("passkeys_full", "you have %d passkeys: remove one before you register another", maxPasskeys)
	}
	creation, session, err := d.passkeys.BeginRegistration(k, webauthn.WithExclusions(webauthn.Credentials(k.keys).CredentialDescriptors()))
	if err != nil {
		return nil, "", annona.Internal("ask for a passkey", err)
	}
	return d.asked(stepRegister, registering{p.ID, *session}, creation)
}

// asked is what a browser is asked, and the state that it brings back.
func (d *Desk) asked(step string, state, question any) (options []byte, kept string, err error) {
	if options, err = json.Marshal(question); err != nil {
		return nil, "", annona.Internal("ask for a passkey", err)
	}
	kept, err = seal(d, step, state, d.Clock().Add(ceremonyLife))
	return options, kept, err
}

// RegisterPasskey registers what the browser has made, under a label of the person's own.
//
// Errors: passkey_refused, sign_in_over, insufficient_user_authentication.
func (d *Desk) RegisterPasskey(ctx context.Context, b Browser, p *Person, state string, answer []byte, label string) (Entered, error) {
	if d.passkeys == nil {
		return Entered{}, errPasskeys
	}
	asked, err := open[registering](d, stepRegister, state)
	if err != nil || asked.User != p.ID {
		return Entered{}, errOver
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return Entered{}, errPasskey
	}
	made, err := d.passkeys.CreateCredential(keeper{user: &p.User}, asked.Session, parsed)
	if err != nil {
		return Entered{}, errPasskey
	}
	if err := d.claim(ctx, p.ID, asked.Session.Challenge); err != nil {
		return Entered{}, err
	}
	f, err := d.newFactor(p.ID, annona.FactorPasskey, cleanLabel(label, "Passkey"), made)
	if err != nil {
		return Entered{}, err
	}
	f.Counter = int64(made.Authenticator.SignCount)
	return d.register(ctx, b, p, change{add: []annona.Factor{f}, by: annona.FactorPasskey})
}

// claim takes a challenge. Nobody answers it twice.
func (d *Desk) claim(ctx context.Context, user annona.UID, challenge string) error {
	err := d.Claims.ClaimAssertion(ctx, annona.Claim{Client: user, Hash: sha256.Sum256([]byte("passkey " + challenge)), Until: d.Clock().Add(ceremonyLife)})
	if annona.CodeOf(err) == annona.ErrClaimed.Code {
		return errOver
	}
	return err
}

// AskToSignIn returns what a browser is asked to show a passkey with, JSON, and the state that it brings
// back. It names nobody.
func (d *Desk) AskToSignIn() (options []byte, state string, err error) {
	if d.passkeys == nil {
		return nil, "", errPasskeys
	}
	assertion, session, err := d.passkeys.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, "", annona.Internal("ask for a passkey", err)
	}
	return d.asked(stepShow, *session, assertion)
}

// EnterByPasskey signs somebody in who shows a passkey.
//
// Errors: passkey_refused, sign_in_over.
func (d *Desk) EnterByPasskey(ctx context.Context, b Browser, state string, answer []byte) (e Entered, err error) {
	if d.passkeys == nil {
		return Entered{}, errPasskeys
	}
	session, err := open[webauthn.SessionData](d, stepShow, state)
	if err != nil {
		return Entered{}, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return Entered{}, errPasskey
	}
	k, shown, err := d.shown(ctx, session, parsed)
	if err != nil {
		return Entered{}, err
	}
	if err := d.claim(ctx, k.user.ID, session.Challenge); err != nil {
		return Entered{}, err
	}
	now := d.Clock()
	entered := false
	err = d.Record(ctx, caller(b, k.user.ID, annona.AssurancePasskey, now), func(tx annona.Tx) (map[string]string, error) {
		entered = false
		u, factors, err := tx.HoldUser(ctx, k.user.ID)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(factors, func(f annona.Factor) bool { return f.ID == shown.ID })
		if at < 0 || u.Status != annona.UserActive || isCopy(factors[at].Counter, shown.Counter) {
			return about(k.user.ID, "passkey_refused", ""), nil
		}
		shown.UsedAt, entered = now, true
		if err := tx.PutFactor(ctx, shown); err != nil {
			return nil, err
		}
		e, err = d.begin(ctx, tx, b, u, annona.AssurancePasskey, now)
		return about(u.ID, "signed_in", "passkey"), err
	})
	if err == nil && !entered {
		return Entered{}, errPasskey
	}
	return e, err
}

// isCopy reports whether a signature counter has not moved on: somebody else has the same key.
func isCopy(before, now int64) bool { return (before > 0 || now > 0) && now <= before }

// shown checks what a browser has shown, and returns whose passkey it is, and which one.
func (d *Desk) shown(ctx context.Context, session webauthn.SessionData, parsed *protocol.ParsedCredentialAssertionData) (k keeper, f annona.Factor, err error) {
	var failed error
	_, used, err := d.passkeys.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		var id annona.UID
		if len(handle) != len(id) {
			return nil, errPasskey
		}
		copy(id[:], handle)
		k, failed = d.keeperByID(ctx, id)
		return k, failed
	}, session, parsed)
	switch {
	case failed != nil:
		return k, f, failed
	case err != nil:
		return k, f, errPasskey
	}
	at := slices.IndexFunc(k.keys, func(c webauthn.Credential) bool { return string(c.ID) == string(used.ID) })
	if at < 0 {
		return k, f, errPasskey
	}
	f = k.of[at]
	f.Counter = int64(used.Authenticator.SignCount)
	return k, f, nil
}

func (d *Desk) keeperByID(ctx context.Context, id annona.UID) (keeper, error) {
	u, err := d.Users.UserByID(ctx, id)
	if err != nil {
		return keeper{}, err
	}
	if u == nil || u.Status != annona.UserActive {
		return keeper{}, errPasskey
	}
	factors, err := d.Users.Factors(ctx, id)
	if err != nil {
		return keeper{}, err
	}
	return d.keeper(u, factors)
}

// passwordLife is how long somebody may take to set up an app.
const passwordLife = 15 * time.Minute
