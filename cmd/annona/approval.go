package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/identity/people"
)

type approvalCommand struct {
	List    approvalList    `cmd:"" help:"List what waits for a second person, and what became of it."`
	Show    approvalShow    `cmd:"" help:"Print what would change, and the hash by which it is approved."`
	Approve approvalApprove `cmd:"" help:"Let it come in force, as a person who proves who they are: password and code are read from standard input."`
	Reject  approvalReject  `cmd:"" help:"End it: nothing changes."`
}

type approvalList struct {
	dataFlag
	State string `placeholder:"STATE" help:"Only those that are waiting, approved, rejected or void."`
}

func (a approvalList) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		all, err := f.gate.ListApprovals(ctx, operator(), annona.ApprovalState(a.State))
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "id\twhat\tof\tasked by\tasked at\tuntil\tstate")
		for _, each := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", each.ID, each.Kind, each.Object, each.By,
				each.AskedAt.Format(time.DateTime), each.Until.Format(time.DateTime), each.State)
		}
		return w.Flush()
	})
}

type approvalShow struct {
	dataFlag
	ID string `arg:"" help:"Id, as approval list prints it."`
}

func (a approvalShow) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		shown, err := f.gate.ShowApproval(ctx, operator(), a.ID)
		if err != nil {
			return err
		}
		return showApproval(c.out, shown)
	})
}

func showApproval(out io.Writer, a exchange.Approval) error {
	fmt.Fprintf(out, "what:     %s %s\nasked by: %s at %s\nuntil:    %s\nstate:    %s %s\nhash:     %s\n",
		a.Kind, a.Object, a.By, a.AskedAt.Format(time.DateTime), a.Until.Format(time.DateTime), a.State, a.Note, hex.EncodeToString(a.Hash[:]))
	if a.DecidedBy != "" {
		fmt.Fprintf(out, "decided:  %s at %s\n", a.DecidedBy, a.DecidedAt.Format(time.DateTime))
	}
	for _, line := range a.Shows {
		fmt.Fprintln(out, line)
	}
	if a.Becomes == nil {
		return nil
	}
	text, err := json.MarshalIndent(a.Becomes, "", "  ")
	if err != nil {
		return annona.Internal("print what waits for a second person", err)
	}
	_, err = fmt.Fprintln(out, string(text))
	return err
}

type approvalApprove struct {
	dataFlag
	ID   string `arg:"" help:"Id, as approval list prints it."`
	Hash string `arg:"" help:"Hash of what you have looked at, as approval show prints it."`
	As   string `required:"" placeholder:"NAME" help:"Your login name. Somebody who has passkeys only approves in a browser."`
}

func (a approvalApprove) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		return f.asPerson(ctx, c, a.As, func(who annona.Caller) error {
			if _, err := f.gate.Approve(ctx, who, a.ID, a.Hash); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.out, "It is approved and in force.")
			return err
		})
	})
}

type approvalReject struct {
	dataFlag
	ID string `arg:"" help:"Id, as approval list prints it."`
}

func (a approvalReject) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		if _, err := f.gate.Reject(ctx, operator(), a.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, "It is rejected. Nothing has changed.")
		return err
	})
}

// asPerson does something as a person who proves at this moment who they are, and is signed out behind it.
func (f *folder) asPerson(ctx context.Context, c console, name string, do func(annona.Caller) error) error {
	desk, err := f.desk("http://localhost")
	if err != nil {
		return err
	}
	in := bufio.NewReader(c.in)
	password, err := secretLine(c, in, "password")
	if err != nil {
		return err
	}
	code, err := secretLine(c, in, "code")
	if err != nil {
		return err
	}
	b := people.Browser{From: netip.MustParseAddr("127.0.0.1"), Label: "the command line"}
	entered, err := desk.EnterByPassword(ctx, b, name, password, code)
	if err != nil {
		return err
	}
	b.Session = entered.Session
	p, err := desk.Recognize(ctx, b)
	if err != nil {
		return err
	}
	if p == nil {
		return annona.Unauthenticated("signed_out", "the account was changed in this moment; try again")
	}
	return errors.Join(do(annona.Caller{Network: b.From, Acting: p.SignedIn()}), desk.SignOut(ctx, b, p))
}

// secretLine reads a line, which a terminal does not show.
func secretLine(c console, in *bufio.Reader, what string) (string, error) {
	fmt.Fprint(c.err, what, ": ")
	if file, ok := c.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		text, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", annona.Invalid("input_unreadable", "the %s cannot be read: %s", what, reason(err))
		}
		return string(text), nil
	}
	text, err := in.ReadString('\n')
	if err != nil && text == "" {
		return "", annona.Invalid("input_unreadable", "give the %s as a line of standard input", what)
	}
	return strings.TrimRight(text, "\r\n"), nil
}
