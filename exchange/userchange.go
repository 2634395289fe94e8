package exchange

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// userChange is what becomes of those who sign in, as it lies on file while it waits for a second person.
// It waits when it gives somebody a role, or who looks after what others do another way to sign in.
type userChange struct {
	Act        string        // invited, roles, limited, disabled, enabled, reset
	Users      []annona.User // invited
	User       annona.UID    // any other act
	Roles      []string
	RolesUntil annona.Date `json:",omitempty"` // limited
	Invitation annona.TokenHash
	Until      time.Time // of the invitation
	From       time.Time // when it was asked for: an invitation waits as long behind the approval
}

// changeUser changes a user who is on file, and ends what acts for them.
func (x *Exchange) changeUser(ctx context.Context, caller annona.Caller, name string, c userChange) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	found, err := x.Users.UserByName(ctx, name)
	if err != nil {
		return err
	}
	if found == nil {
		return errNoUser
	}
	c.User = found.ID
	if err := x.changeUsers(ctx, caller, c); err != nil {
		return err
	}
	return x.endDelegations(ctx, found.ID)
}

func (x *Exchange) changeUsers(ctx context.Context, caller annona.Caller, c userChange) error {
	p, err := x.userProposal(ctx, c)
	if err != nil {
		return err
	}
	if len(p.shows) > 0 {
		return x.submit(ctx, caller, p)
	}
	return x.Writer.Update(ctx, func(tx annona.Tx) error { return p.put(ctx, tx, caller, consent{by: []string{caller.Actor()}}) })
}

// userProposal is a change of users. It shows something when it waits.
func (x *Exchange) userProposal(ctx context.Context, c userChange) (p proposal, err error) {
	if c.From.IsZero() {
		c.From = x.Clock().UTC()
	}
	p = proposal{kind: annona.ApproveUser, object: c.Act, body: c}
	if c.Act == "invited" {
		p.rescues = true
		for _, u := range c.Users {
			if len(u.Roles) > 0 {
				p.shows = append(p.shows, "invites "+u.Name+whoseOf(u.Partner)+" as "+strings.Join(u.Roles, ", "))
			}
			p.rescues = p.rescues && onlyApproves(u.Partner, u.Roles)
		}
		p.put = func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
			return x.putInvited(ctx, tx, caller, c, how)
		}
		return p, nil
	}
	u, err := x.Users.UserByID(ctx, c.User)
	if err != nil {
		return p, err
	}
	if u == nil {
		return p, errNoUser
	}
	if u.Provider != "" && (c.Act == "roles" || c.Act == "reset") {
		return p, errOfProvider
	}
	p.object, p.base = c.User.String(), u.Version
	if c.widens(u) {
		p.shows = []string{c.Act + ": " + u.Name + whoseOf(u.Partner) + ", from then on " + strings.Join(c.rolesOf(u), ", ")}
		p.rescues = onlyApproves(u.Partner, c.rolesOf(u))
	}
	p.put = func(ctx context.Context, tx annona.Tx, caller annona.Caller, how consent) error {
		return x.putChanged(ctx, tx, caller, c, how)
	}
	return p, nil
}

func (c userChange) rolesOf(u *annona.User) []string {
	if c.Act == "roles" {
		return c.Roles
	}
	return u.Roles
}

func whoseOf(partner string) string {
	if partner == "" {
		return ""
	}
	return " of " + partner
}

// onlyApproves reports whether roles let somebody approve, and nothing else.
func onlyApproves(partner string, roles []string) bool {
	return makesApprover(partner, roles) && !slices.ContainsFunc(roles, func(role string) bool { return !slices.Contains(approvingRoles, role) })
}

// widens reports whether a change gives somebody a role, or lets who looks after what others do in by another
// way. Whoever works with records and comes back as what they were waits for nobody.
func (c userChange) widens(u *annona.User) bool {
	switch {
	case c.Act == "disabled" || u.Provider != "":
		return false
	case c.Act == "roles":
		return slices.ContainsFunc(c.Roles, func(role string) bool { return !slices.Contains(u.Roles, role) })
	case c.Act == "limited":
		return u.RolesUntil != "" && (c.RolesUntil == "" || c.RolesUntil > u.RolesUntil)
	}
	return u.Partner == "" && hasAny(u.Roles, readingRoles) // enabled, reset
}

// empowers reports whether a change lets somebody approve who could not, or lets them in by another way.
func (c userChange) empowers(u *annona.User) bool {
	switch {
	case c.Act == "disabled" || u.Provider != "" || !makesApprover(u.Partner, c.rolesOf(u)):
		return false
	case c.Act == "roles":
		return !makesApprover(u.Partner, u.Roles)
	case c.Act == "limited":
		return c.widens(u)
	}
	return true // enabled, reset
}

// putInvited writes users whom invitations wait for.
func (x *Exchange) putInvited(ctx context.Context, tx annona.Tx, caller annona.Caller, c userChange, how consent) error {
	now := x.Clock().UTC()
	for _, u := range c.Users {
		u.CreatedAt, u.GrantedAt, u.MadeBy = now, now, how.by
		u.InvitedUntil = u.InvitedUntil.Add(now.Sub(c.From))
		if err := tx.PutUser(ctx, u); err != nil {
			return err
		}
		if err := tx.AppendEntry(ctx, x.aboutUser(caller, &u, "invited", how)); err != nil {
			return err
		}
	}
	return nil
}

// putChanged writes a change of a user, and ends all that they are signed in to.
func (x *Exchange) putChanged(ctx context.Context, tx annona.Tx, caller annona.Caller, c userChange, how consent) error {
	u, factors, err := tx.HoldUser(ctx, c.User)
	if err != nil {
		return err
	}
	if u == nil {
		return errNoUser
	}
	if c.empowers(u) || c.Act == "roles" && !slices.Equal(c.Roles, u.Roles) && !makesApprover(u.Partner, u.Roles) {
		u.GrantedAt, u.MadeBy = x.Clock().UTC(), how.by
	}
	if err := x.change(ctx, tx, u, factors, c); err != nil {
		return err
	}
	u.End(x.Clock().UTC())
	if err := tx.PutUser(ctx, *u); err != nil {
		return err
	}
	if err := tx.DropSessions(ctx, u.ID); err != nil {
		return err
	}
	return tx.AppendEntry(ctx, x.aboutUser(caller, u, c.Act, how))
}

func (x *Exchange) change(ctx context.Context, tx annona.Tx, u *annona.User, factors []annona.Factor, c userChange) error {
	switch c.Act {
	case "roles":
		u.Roles = c.Roles
	case "limited":
		u.RolesUntil = c.RolesUntil
	case "disabled":
		u.Status, u.Invitation = annona.UserDisabled, annona.TokenHash{}
	case "enabled":
		if len(factors) == 0 && u.Provider == "" {
			return annona.Conflict("user_without_factors", "this user has nothing to sign in by; invite them again: annona admin reset")
		}
		u.Status = annona.UserActive
	case "reset":
		for _, f := range factors {
			if err := tx.DropFactor(ctx, u.ID, f.ID); err != nil {
				return err
			}
		}
		u.Status, u.Invitation, u.InvitedUntil = annona.UserInvited, c.Invitation, c.Until.Add(x.Clock().Sub(c.From))
	}
	return nil
}
