package people

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// InvitationLife is how long an invitation waits.
const InvitationLife = 15 * time.Minute

// An invitation is annona_invite_ and 32 letters and digits: 160 random bits.
var (
	inviteLetters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	inviteShape   = regexp.MustCompile(`^annona_invite_[a-z2-7]{32}$`)
)

const stepInvited = "invited"

// NewInvitation makes an invitation: what is told to one person, and what is kept of it. hash is the
// vault's.
func NewInvitation(hash func([]byte) annona.TokenHash) (text string, kept annona.TokenHash) {
	b := make([]byte, 20)
	rand.Read(b)
	text = "annona_invite_" + inviteLetters.EncodeToString(b)
	return text, hash([]byte("sign-in/invitation\x00" + text))
}

type invited struct {
	User       annona.UID
	Invitation annona.TokenHash
}

// AcceptInvitation takes an invitation. What it returns stands for it on the way; the invitation is used
// up when its owner has registered something to sign in by.
//
// Errors: invitation_refused, too_many_attempts.
func (d *Desk) AcceptInvitation(ctx context.Context, b Browser, text string) (state string, err error) {
	place := d.place("invitation", b)
	if err := d.try(ctx, b, nil, place); err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	if !inviteShape.MatchString(text) {
		return "", errInvitation
	}
	u, err := d.Users.UserByInvitation(ctx, d.hash("invitation", text))
	if err != nil {
		return "", err
	}
	if u == nil || u.Status != annona.UserInvited || !d.Clock().Before(u.InvitedUntil) {
		return "", errInvitation
	}
	return seal(d, stepInvited, invited{u.ID, u.Invitation}, u.InvitedUntil)
}

var errInvitation = annona.Unauthenticated("invitation_refused", "this invitation is not valid: it was used, or its 15 minutes are over. Ask for another one")

// Invited returns the person who has accepted an invitation and has not yet registered anything.
func (d *Desk) Invited(ctx context.Context, state string) (*Person, error) {
	kept, err := open[invited](d, stepInvited, state)
	if err != nil {
		return nil, err
	}
	u, err := d.Users.UserByID(ctx, kept.User)
	if err != nil {
		return nil, err
	}
	if u == nil || !waits(u, kept.Invitation, d.Clock()) {
		return nil, errOver
	}
	return &Person{User: *u, invitation: kept.Invitation}, nil
}

// waits reports whether an invitation still waits for a user.
func waits(u *annona.User, invitation annona.TokenHash, now time.Time) bool {
	return u.Status == annona.UserInvited && invitation != (annona.TokenHash{}) && u.Invitation == invitation && now.Before(u.InvitedUntil)
}
