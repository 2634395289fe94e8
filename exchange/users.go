package exchange

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// Who signs in is decided here; how they prove who they are, package identity/people knows. All of it
// stands in the ledger, by the opaque ids of users.

// RoleAdministrator is the role of those who look after the installation.
const RoleAdministrator = "administrator"

var (
	userName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`)
	roleName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

const (
	maxDisplay = 100
	maxRoles   = 50
)

var (
	errUserName   = annona.Invalid("user_name_malformed", "a login name has 1 to 64 characters: small letters, digits, and between them dots, hyphens and underscores").On("name")
	errUserLabel  = annona.Invalid("display_name_malformed", "a display name has at most %d printable characters", maxDisplay).On("display")
	errRoles      = annona.Invalid("role_malformed", "a role is a word of small letters, digits and hyphens; nobody has more than %d", maxRoles).On("role")
	errNoUser     = annona.NotFound("no user of this name is on file; annona admin list shows them")
	errOfProvider = annona.Conflict("user_of_provider", "an identity provider says who this is: their roles are in its rules, and they sign in there; annona admin disable keeps them out")
	errTwoFirst   = annona.Invalid("two_administrators", "the first administrators are two: name both, so that one can approve what the other one does, and nobody is locked out for good")
)

// InviteUsers puts users on file whom invitations wait for. Before there is an administrator nobody is
// invited but two or more of them. Whoever is given a role comes when a second person has approved it (code
// approval_needed): their invitation waits from then on.
//
// Codes: operator_only, user_name_malformed, display_name_malformed, role_malformed, partner_unknown,
// two_administrators, user_name_taken.
func (x *Exchange) InviteUsers(ctx context.Context, caller annona.Caller, users []annona.User) error {
	if err := operatorOnly(caller); err != nil {
		return err
	}
	for i := range users {
		users[i].Status, users[i].Version, users[i].CreatedAt = annona.UserInvited, 1, x.Clock().UTC()
		if err := x.checkUser(ctx, users[i]); err != nil {
			return err
		}
	}
	if err := x.enoughAdministrators(ctx, users); err != nil {
		return err
	}
	return x.changeUsers(ctx, caller, userChange{Act: "invited", Users: users})
}

func (x *Exchange) checkUser(ctx context.Context, u annona.User) error {
	printable := !strings.ContainsFunc(u.Display, func(r rune) bool { return !unicode.IsPrint(r) })
	switch {
	case !userName.MatchString(u.Name):
		return errUserName
	case len([]rune(u.Display)) > maxDisplay || !printable:
		return errUserLabel
	}
	if err := checkRoles(u.Roles); err != nil {
		return err
	}
	return x.checkPartner(ctx, u.Partner)
}

func checkRoles(roles []string) error {
	if len(roles) > maxRoles || slices.ContainsFunc(roles, func(role string) bool { return len(role) > 64 || !roleName.MatchString(role) }) {
		return errRoles
	}
	return nil
}

// checkPartner refuses a partner with whom there is no agreement.
func (x *Exchange) checkPartner(ctx context.Context, partner string) error {
	if partner == "" {
		return nil
	}
	agreements, err := x.Roster.Agreements(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(agreements, func(a annona.Agreement) bool { return a.Partner.Name == partner }) {
		return annona.Invalid("partner_unknown", "there is no agreement with a partner of this name; apply it first: annona agreement apply").On("partner")
	}
	return nil
}

// enoughAdministrators refuses a first administrator who would be alone.
func (x *Exchange) enoughAdministrators(ctx context.Context, invited []annona.User) error {
	there, err := x.Users.Users(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(there, func(u annona.User) bool { return u.Provider == "" }) {
		return nil
	}
	both := 0
	for _, u := range invited {
		if slices.Contains(u.Roles, RoleAdministrator) && u.Partner == "" {
			both++
		}
	}
	if both < 2 {
		return errTwoFirst
	}
	return nil
}

// SetUserRoles gives a user other roles: one that they do not have when a second person has approved it (code
// approval_needed). Where they are signed in, they sign in again.
func (x *Exchange) SetUserRoles(ctx context.Context, caller annona.Caller, name string, roles []string) error {
	if err := checkRoles(roles); err != nil {
		return err
	}
	return x.changeUser(ctx, caller, name, userChange{Act: "roles", Roles: roles})
}

// LimitUserRoles lets the roles of a user end after a day, or never again when it is empty. A later end than the one
// they have is a role given anew, and waits for a second person as one. Code date_malformed.
func (x *Exchange) LimitUserRoles(ctx context.Context, caller annona.Caller, name string, until annona.Date) error {
	if until != "" {
		if _, err := annona.ParseDate(string(until)); err != nil {
			return annona.Invalid("date_malformed", "the last day is written 2006-01-02").On("until")
		}
	}
	return x.changeUser(ctx, caller, name, userChange{Act: "limited", RolesUntil: until})
}

// DisableUser keeps a user from signing in, and ends where they are. EnableUser lets them again.
func (x *Exchange) DisableUser(ctx context.Context, caller annona.Caller, name string) error {
	return x.changeUser(ctx, caller, name, userChange{Act: "disabled"})
}

// EnableUser lets a user who was disabled sign in again. Code user_without_factors when they have nothing
// to sign in by: reset them.
func (x *Exchange) EnableUser(ctx context.Context, caller annona.Caller, name string) error {
	return x.changeUser(ctx, caller, name, userChange{Act: "enabled"})
}

// ResetUser removes all that a user signs in by, and lets an invitation wait for them.
func (x *Exchange) ResetUser(ctx context.Context, caller annona.Caller, name string, invitation annona.TokenHash, until time.Time) error {
	return x.changeUser(ctx, caller, name, userChange{Act: "reset", Invitation: invitation, Until: until})
}

// mayAct refuses a client that acts for somebody who may not act, and returns who that is. Nobody is fine:
// it acts for itself. Somebody acts for the partner that they work for, and for no other one.
//
// A token ends with everything else that was ended for them; an export that runs by itself goes on.
func (x *Exchange) mayAct(ctx context.Context, caller annona.Caller, agreement *annona.Agreement) (*annona.User, error) {
	who := caller.Acting
	switch {
	case who == (annona.SignedIn{}):
		return nil, nil
	case x.Users == nil:
		return nil, annona.Unauthenticated("invalid_token", "nobody signs in here for whom a client could act")
	}
	u, err := x.Users.UserByID(ctx, who.Person)
	if err != nil {
		return nil, err
	}
	if u == nil || u.Status != annona.UserActive {
		return nil, annona.Unauthenticated("invalid_token", "the person for whom the client acts may not sign in any more")
	}
	if caller.Within == nil && !u.EndedAt.IsZero() && !who.At.After(u.EndedAt) {
		return nil, annona.Unauthenticated("invalid_token", "the person for whom the client acts has signed out everywhere, or was changed: let them sign in again")
	}
	if u.Partner != agreement.Partner.Name {
		return nil, annona.Forbidden("person_of_other_partner", "the person for whom the client acts does not work for the partner of its agreement")
	}
	return u, nil
}

// endDelegations ends what may act for a user.
func (x *Exchange) endDelegations(ctx context.Context, user annona.UID) error {
	if x.Delegations == nil {
		return nil
	}
	all, err := x.Delegations.DelegationsOf(ctx, user)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := x.Delegations.EndDelegation(ctx, d.ID, x.Clock()); err != nil {
			return err
		}
	}
	return nil
}

func (x *Exchange) aboutUser(caller annona.Caller, u *annona.User, act string, how consent) annona.LedgerRow {
	details := map[string]string{"act": act, "user": u.ID.String()}
	if how.approval != (annona.UID{}) {
		details = how.note(details)
	}
	if u.RolesUntil != "" {
		details["until"] = string(u.RolesUntil)
	}
	if len(u.Roles) > 0 {
		details["roles"] = strings.Join(u.Roles, " ")
	}
	return x.administration(caller, audit.Facts{Verb: annona.VerbUser, Partner: u.Partner, Details: details})
}

// SignIn runs a transaction in which somebody signs in or changes what they sign in by, with its entry
// in the ledger: do says what was done, in words of package identity/people. No words: nothing was.
func (x *Exchange) SignIn(ctx context.Context, caller annona.Caller, do func(annona.Tx) (details map[string]string, err error)) error {
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		details, err := do(tx)
		if err != nil || details == nil {
			return err
		}
		return tx.AppendEntry(ctx, x.administration(caller, audit.Facts{Verb: annona.VerbSignIn, Details: details}))
	})
}

// How long sessions that nobody sees are kept, and what was tried in vain.
const (
	sessionsKept = 24 * time.Hour
	attemptsKept = 48 * time.Hour
)

// DropSignIns removes what is over. A server asks for it each minute.
func (x *Exchange) DropSignIns(ctx context.Context) error {
	now := x.Clock()
	return x.Writer.Update(ctx, func(tx annona.Tx) error {
		return tx.DropSignIns(ctx, now.Add(-sessionsKept), now.Add(-attemptsKept))
	})
}
