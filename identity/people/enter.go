package people

import (
	"context"
	"strings"

	"github.com/annona-exchange/annona"
)

// EnterByPassword signs somebody in who knows their password and shows a one-time code, or in its place a
// recovery code. A name that nobody has costs the same work and gets the same answer.
//
// Errors: sign_in_refused, too_many_attempts.
func (d *Desk) EnterByPassword(ctx context.Context, b Browser, name, password, code string) (Entered, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	u, err := d.Users.UserByName(ctx, name)
	if err != nil {
		return Entered{}, err
	}
	lanes, known := d.lanesOf(b, name, u)
	if err := d.try(ctx, b, u, lanes...); err != nil {
		return Entered{}, err
	}
	kept, err := d.passwordOf(ctx, u)
	if err != nil {
		return Entered{}, err
	}
	right, err := d.isPassword(ctx, kept, password)
	if err != nil {
		return Entered{}, err
	}
	if !right || u.Status != annona.UserActive {
		return Entered{}, errWrong
	}
	return d.enterByCode(ctx, b, u, code, lanes, known)
}

// passwordOf returns what the password of a user is checked by; nil when there is none.
func (d *Desk) passwordOf(ctx context.Context, u *annona.User) (*passwordHash, error) {
	id := annona.UID{}
	if u != nil {
		id = u.ID
	}
	factors, err := d.Users.Factors(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, f := range factors {
		if f.Kind == annona.FactorPassword {
			kept := &passwordHash{}
			return kept, d.openFactor(f, kept)
		}
	}
	return nil, nil
}

// enterByCode finishes what a password has begun. A code is used up in the transaction that begins the
// session; a wrong one is counted.
func (d *Desk) enterByCode(ctx context.Context, b Browser, found *annona.User, code string, lanes []lane, known bool) (e Entered, err error) {
	now, entered := d.Clock(), false
	who := caller(b, found.ID, annona.AssuranceTwoFactors, now)
	err = d.Record(ctx, who, func(tx annona.Tx) (map[string]string, error) {
		entered = false
		u, factors, err := tx.HoldUser(ctx, found.ID)
		if err != nil {
			return nil, err
		}
		if u.Status != annona.UserActive || u.Version != found.Version {
			return nil, nil
		}
		codes := d.codesOf(u.ID)
		failed, err := d.attempts(ctx, tx, codes, now)
		if err != nil {
			return nil, err
		}
		if !known && !codes.openAt(failed, now).IsZero() {
			return nil, nil // said to nobody: whoever knows the password would learn that it is right
		}
		by, err := d.useCode(ctx, tx, factors, plain(code))
		if err != nil {
			return nil, err
		}
		if by == "" {
			if !known {
				failed.Failed, failed.At = failed.Failed+1, now
				err = tx.PutAttempts(ctx, failed)
			}
			return about(u.ID, "code_refused", ""), err
		}
		if err := d.succeed(ctx, tx, lanes); err != nil {
			return nil, err
		}
		entered = true
		e, err = d.begin(ctx, tx, b, u, annona.AssuranceTwoFactors, now)
		return about(u.ID, "signed_in", by), err
	})
	if err == nil && !entered {
		return Entered{}, errWrong
	}
	return e, err
}

// useCode uses a code up and returns what it was one of; nothing when it is wrong.
func (d *Desk) useCode(ctx context.Context, tx annona.Tx, factors []annona.Factor, code string) (by string, err error) {
	for _, f := range factors {
		switch f.Kind {
		case annona.FactorTOTP:
			var kept appSecret
			if err := d.openFactor(f, &kept); err != nil {
				return "", err
			}
			if step := stepOf(kept.Secret, code, d.Clock()); step > f.Counter {
				f.Counter, f.UsedAt = step, d.Clock()
				return "password and code", tx.PutFactor(ctx, f)
			}
		case annona.FactorRecovery:
			is, err := d.isRecoveryCode(f, code)
			if err != nil {
				return "", err
			}
			if is {
				return "password and recovery code", tx.DropFactor(ctx, f.User, f.ID)
			}
		}
	}
	return "", nil
}
