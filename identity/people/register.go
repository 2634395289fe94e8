package people

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/annona-exchange/annona"
)

// change is what becomes of a person's factors at once.
type change struct {
	add  []annona.Factor
	drop func(annona.Factor) bool // nil: nothing
	by   annona.FactorKind        // what it is about
	act  string                   // empty: something is registered
}

var (
	errLast  = annona.Conflict("last_factor", "this is the last thing you sign in by: register another one first")
	errStale = annona.Unauthenticated("signed_out", "you were signed out meanwhile: sign in and try again")
)

// register changes what a person signs in by. The browser gets another session; an invitation is used up.
func (d *Desk) register(ctx context.Context, b Browser, p *Person, c change) (e Entered, err error) {
	if err := p.MayChange(d.Clock()); err != nil {
		return Entered{}, err
	}
	err = d.Record(ctx, p.caller(b), func(tx annona.Tx) (map[string]string, error) {
		u, factors, err := tx.HoldUser(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		how, proved := annona.AssuranceTwoFactors, d.Clock()
		if c.by == annona.FactorPasskey {
			how = annona.AssurancePasskey
		}
		if p.IsInvited() {
			if !waits(u, p.invitation, d.Clock()) {
				return nil, errOver
			}
			u.Status, u.Invitation = annona.UserActive, annona.TokenHash{}
			if err := tx.PutUser(ctx, *u); err != nil {
				return nil, err
			}
		} else {
			was, err := tx.DropSession(ctx, u.ID, p.session.Hash)
			if err != nil || !was || !holds(p.session, u, d.Clock()) {
				return nil, orElse(err, errStale)
			}
			how, proved = p.session.Assurance, p.session.ProvedAt
		}
		if err := changeFactors(ctx, tx, u.ID, factors, c); err != nil {
			return nil, err
		}
		e, err = d.begin(ctx, tx, b, u, how, proved)
		act := c.act
		if act == "" {
			act = "registered"
		}
		return about(u.ID, act, string(c.by)), err
	})
	return e, err
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// changeFactors writes a change, and refuses one after which nothing is left to sign in by.
func changeFactors(ctx context.Context, tx annona.Tx, user annona.UID, factors []annona.Factor, c change) error {
	left := map[annona.FactorKind]bool{}
	for _, f := range factors {
		if c.drop == nil || !c.drop(f) {
			left[f.Kind] = true
			continue
		}
		if err := tx.DropFactor(ctx, user, f.ID); err != nil {
			return err
		}
	}
	for _, f := range c.add {
		left[f.Kind] = true
		if err := tx.PutFactor(ctx, f); err != nil {
			return err
		}
	}
	if !left[annona.FactorPasskey] && !(left[annona.FactorPassword] && left[annona.FactorTOTP]) {
		return errLast
	}
	return nil
}

// Factors returns what the person has registered, the oldest first.
func (d *Desk) Factors(ctx context.Context, p *Person) ([]annona.Factor, error) {
	return d.Users.Factors(ctx, p.ID)
}

const stepApp = "set up an app"

type settingUp struct {
	User     annona.UID
	Password passwordHash
	Secret   []byte
}

// ChoosePassword takes a password. It is registered together with the app for one-time codes, in the next
// step; the state stands for both.
//
// Errors: password_short, password_long, password_guessable, password_differs,
// insufficient_user_authentication.
func (d *Desk) ChoosePassword(ctx context.Context, p *Person, password, repeat string) (state string, err error) {
	if err := p.MayChange(d.Clock()); err != nil {
		return "", err
	}
	if err := checkPassword(p.Name, password, repeat); err != nil {
		return "", err
	}
	h, err := d.hashPassword(ctx, password)
	if err != nil {
		return "", err
	}
	return seal(d, stepApp, settingUp{p.ID, h, newAppSecret()}, d.Clock().Add(passwordLife))
}

// AppOf is what the person enters into their app.
func (d *Desk) AppOf(p *Person, state string) (App, error) {
	s, err := open[settingUp](d, stepApp, state)
	if err != nil || s.User != p.ID {
		return App{}, errOver
	}
	address, _ := url.Parse(d.Origin)
	return newApp(p.Name, address.Hostname(), s.Secret)
}

var errCode = annona.Invalid("code_wrong", "this is not the code that the app shows at this moment: look again, and check that the clock of the phone is right").On("code")

// RegisterPassword registers a password and an app, once a code shows that the app is set up, in the place
// of those before. The recovery codes are told once.
//
// Errors: code_wrong, sign_in_over, insufficient_user_authentication.
func (d *Desk) RegisterPassword(ctx context.Context, b Browser, p *Person, state, code string) (e Entered, recovery []string, err error) {
	s, err := open[settingUp](d, stepApp, state)
	if err != nil || s.User != p.ID {
		return Entered{}, nil, errOver
	}
	step := stepOf(s.Secret, plain(code), d.Clock())
	if step == 0 {
		return Entered{}, nil, errCode
	}
	password, err := d.newFactor(p.ID, annona.FactorPassword, "", s.Password)
	if err != nil {
		return Entered{}, nil, err
	}
	app, err := d.newFactor(p.ID, annona.FactorTOTP, "", appSecret{s.Secret})
	if err != nil {
		return Entered{}, nil, err
	}
	app.Counter = step
	told, kept, err := d.newRecoveryCodes(p.ID)
	if err != nil {
		return Entered{}, nil, err
	}
	e, err = d.register(ctx, b, p, change{add: slices.Concat([]annona.Factor{password, app}, kept), drop: isOfPassword, by: annona.FactorPassword})
	return e, told, err
}

// isOfPassword is what belongs to a password: it comes and goes with it.
func isOfPassword(f annona.Factor) bool { return f.Kind != annona.FactorPasskey }

// RenewRecoveryCodes makes recovery codes in the place of those before, told once. Code no_password when
// the person has no password: there is nothing to recover.
func (d *Desk) RenewRecoveryCodes(ctx context.Context, b Browser, p *Person) (e Entered, told []string, err error) {
	factors, err := d.Users.Factors(ctx, p.ID)
	if err != nil {
		return Entered{}, nil, err
	}
	if !slices.ContainsFunc(factors, func(f annona.Factor) bool { return f.Kind == annona.FactorPassword }) {
		return Entered{}, nil, annona.Conflict("no_password", "recovery codes go with a password, and you have none")
	}
	told, kept, err := d.newRecoveryCodes(p.ID)
	if err != nil {
		return Entered{}, nil, err
	}
	drop := func(f annona.Factor) bool { return f.Kind == annona.FactorRecovery }
	e, err = d.register(ctx, b, p, change{add: kept, drop: drop, by: annona.FactorRecovery})
	return e, told, err
}

// RemovePasskey removes a passkey; RemovePassword the password, the app and the recovery codes. Code
// last_factor when nothing would be left to sign in by.
func (d *Desk) RemovePasskey(ctx context.Context, b Browser, p *Person, id annona.UID) (Entered, error) {
	drop := func(f annona.Factor) bool { return f.Kind == annona.FactorPasskey && f.ID == id }
	return d.register(ctx, b, p, change{drop: drop, by: annona.FactorPasskey, act: "removed"})
}

// RemovePassword removes the password, the app and the recovery codes.
func (d *Desk) RemovePassword(ctx context.Context, b Browser, p *Person) (Entered, error) {
	return d.register(ctx, b, p, change{drop: isOfPassword, by: annona.FactorPassword, act: "removed"})
}

// cleanLabel is a label as it is kept: printable, and not too long.
func cleanLabel(label, otherwise string) string {
	label = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, label))
	if label == "" {
		return otherwise
	}
	runes := []rune(label)
	return string(runes[:min(len(runes), 60)])
}
