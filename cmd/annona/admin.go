package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/identity/people"
)

type adminCommand struct {
	Invite  adminInvite  `cmd:"" help:"Invite people to sign in. The first administrators are two: name both."`
	List    adminList    `cmd:"" help:"List the people who sign in."`
	Disable adminDisable `cmd:"" help:"Keep somebody from signing in, and end where they are signed in."`
	Enable  adminEnable  `cmd:"" help:"Let somebody sign in again who was disabled."`
	Roles   adminRoles   `cmd:"" help:"Give somebody other roles. Where they are signed in, they sign in again."`
	Limit   adminLimit   `cmd:"" help:"Let somebody's roles end after a day."`
	Reset   adminReset   `cmd:"" help:"Remove all that somebody signs in by, and invite them again."`
}

type adminInvite struct {
	dataFlag
	Names   []string `arg:"" name:"name" help:"Login names: small letters, digits, dots, hyphens and underscores."`
	Role    []string `default:"administrator" placeholder:"ROLE" help:"Role that they get; may be repeated."`
	Partner string   `placeholder:"NAME" help:"Partner that they work for. None: the registry itself."`
	Display string   `placeholder:"TEXT" help:"What pages call the person; only with one name."`
	Out     string   `required:"" type:"path" placeholder:"DIR" help:"Folder for one file per person, which only this account can read. Give each to its person and to nobody else."`
}

func (k adminInvite) Run(ctx context.Context, c console) error {
	if k.Display != "" && len(k.Names) > 1 {
		return annona.Invalid("display_of_one", "a display name is one person's: invite the others by a command of their own").On("display")
	}
	return k.with(ctx, func(f *folder) error {
		files := invitations{dir: k.Out}
		var users []annona.User
		for _, name := range k.Names {
			hash, until, err := files.write(f, name)
			if err != nil {
				return errors.Join(err, files.remove())
			}
			users = append(users, annona.User{
				ID: annona.NewUID(), Name: name, Display: k.Display, Partner: k.Partner, Roles: k.Role, Invitation: hash, InvitedUntil: until,
			})
		}
		return files.settle(c, f.gate.InviteUsers(ctx, operator(), users))
	})
}

// invitations are files that were written, one for each person.
type invitations struct {
	dir   string
	paths []string
}

// write writes the file of one person before the invitation is on file: a file that opens nothing does
// no harm, an invitation that nobody has keeps somebody out.
func (v *invitations) write(f *folder, name string) (hash annona.TokenHash, until time.Time, err error) {
	if name != filepath.Base(name) || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") {
		return hash, until, annona.Invalid("user_name_malformed", "a login name has 1 to 64 characters: small letters, digits, and between them dots, hyphens and underscores").On("name")
	}
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return hash, until, annona.Invalid("folder_unusable", "the folder cannot be made: %s", reason(err)).On("out")
	}
	path := filepath.Join(v.dir, name+".invitation")
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return hash, until, annona.Invalid("file_unusable", "the file of the invitation cannot be made: %s; remove an earlier one first", reason(err)).On("out")
	}
	v.paths = append(v.paths, path)
	text, hash := people.NewInvitation(f.vault.TokenHash)
	until = time.Now().Add(people.InvitationLife)
	_, err = fmt.Fprintf(file, "%s\n\nOpen /signin/invitation on the exchange and enter the line above before %s.\nIt can be used once. Delete this file then.\n",
		text, until.UTC().Format("15:04 UTC on 2 January 2006"))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return hash, until, annona.Unavailable("file_unusable", "the file of the invitation cannot be written: %s", reason(err)).On("out")
	}
	return hash, until, nil
}

// remove removes the files: nothing waits for those who would have got them.
func (v *invitations) remove() (failed error) {
	for _, path := range v.paths {
		failed = errors.Join(failed, os.Remove(path))
	}
	return failed
}

// settle tells where the files are, or removes them. An invitation that waits for a second person holds from
// their approval on.
func (v *invitations) settle(c console, err error) error {
	if err != nil && annona.CodeOf(err) != "approval_needed" {
		return errors.Join(err, v.remove())
	}
	return errors.Join(v.tell(c), err)
}

func (v *invitations) tell(c console) error {
	for _, path := range v.paths {
		if _, err := fmt.Fprintln(c.out, path); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.out, "Each file is for one person, holds for %d minutes and can be used once.\n", int(people.InvitationLife/time.Minute))
	return err
}

type adminList struct{ dataFlag }

func (k adminList) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		users, err := f.store.Users(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "name\tid\tpartner\troles\tstate\tsigns in by")
		for _, u := range users {
			factors, err := f.store.Factors(ctx, u.ID)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, u.ID, u.Partner, rolesOf(u), userState(u), factorsOf(factors))
		}
		return w.Flush()
	})
}

func userState(u annona.User) string {
	if u.Status == annona.UserInvited && !time.Now().Before(u.InvitedUntil) {
		return "invitation over"
	}
	return string(u.Status)
}

// factorsOf counts what somebody has registered.
func factorsOf(factors []annona.Factor) string {
	count := map[annona.FactorKind]int{}
	for _, f := range factors {
		count[f.Kind]++
	}
	var parts []string
	for _, kind := range []annona.FactorKind{annona.FactorPasskey, annona.FactorPassword, annona.FactorTOTP, annona.FactorRecovery} {
		if count[kind] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[kind], kind))
		}
	}
	return strings.Join(parts, ", ")
}

type adminDisable struct {
	dataFlag
	Name string `arg:"" help:"Login name."`
}

func (k adminDisable) Run(ctx context.Context, c console) error {
	return k.change(ctx, c, "They are disabled, and signed out within 5 seconds.", func(g *exchange.Exchange) error {
		return g.DisableUser(ctx, operator(), k.Name)
	})
}

type adminEnable struct {
	dataFlag
	Name string `arg:"" help:"Login name."`
}

func (k adminEnable) Run(ctx context.Context, c console) error {
	return k.change(ctx, c, "They may sign in again.", func(g *exchange.Exchange) error {
		return g.EnableUser(ctx, operator(), k.Name)
	})
}

type adminRoles struct {
	dataFlag
	Name  string   `arg:"" help:"Login name."`
	Roles []string `arg:"" optional:"" help:"All roles that they have from now on. None: no role."`
}

func (k adminRoles) Run(ctx context.Context, c console) error {
	return k.change(ctx, c, "The roles are changed. They sign in again.", func(g *exchange.Exchange) error {
		return g.SetUserRoles(ctx, operator(), k.Name, k.Roles)
	})
}

// rolesOf are the roles of somebody, with their end.
func rolesOf(u annona.User) string {
	roles := strings.Join(u.Roles, " ")
	if u.RolesUntil != "" {
		roles += " (until " + string(u.RolesUntil) + ")"
	}
	return roles
}

type adminLimit struct {
	dataFlag
	Name  string `arg:"" help:"Login name."`
	Until string `xor:"end" required:"" placeholder:"2006-01-02" help:"Last day on which they have their roles."`
	None  bool   `xor:"end" required:"" help:"Their roles have no end."`
}

func (k adminLimit) Run(ctx context.Context, c console) error {
	return k.change(ctx, c, "The end of their roles is changed. They sign in again.", func(g *exchange.Exchange) error {
		return g.LimitUserRoles(ctx, operator(), k.Name, annona.Date(k.Until))
	})
}

// change makes a change and says so.
func (d dataFlag) change(ctx context.Context, c console, done string, change func(*exchange.Exchange) error) error {
	return d.with(ctx, func(f *folder) error {
		if err := change(f.gate); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, done)
		return err
	})
}

type adminReset struct {
	dataFlag
	Name string `arg:"" help:"Login name."`
	Out  string `required:"" type:"path" placeholder:"DIR" help:"Folder for the file with the invitation, which only this account can read."`
}

func (k adminReset) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		files := invitations{dir: k.Out}
		hash, until, err := files.write(f, k.Name)
		if err == nil {
			err = f.gate.ResetUser(ctx, operator(), k.Name, hash, until)
		}
		return files.settle(c, err)
	})
}
