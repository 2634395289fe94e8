package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
)

type clientUsage struct {
	dataFlag
	ID     string `arg:"" help:"Id of the client or key, as client list and key list print it."`
	Days   int    `default:"90" help:"Days without a use after which something is proposed for removal."`
	Policy bool   `help:"Print the policy in force with the role that the client would need, for policy apply."`
}

func (k clientUsage) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		u, err := f.gate.Usage(ctx, operator(), k.ID, k.Days)
		if err != nil {
			return err
		}
		if !k.Policy {
			return printUsage(c.out, u)
		}
		if u.Narrowed.Name == "" {
			return annona.Conflict("nothing_unused", "there is nothing to take away by a role: without --policy this says why").On(k.ID)
		}
		return ingest.WritePolicy(c.out, u.WithProposal())
	})
}

func printUsage(out io.Writer, u *exchange.ClientUsage) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "verb\tpurpose\tdataset\tlast used")
	for _, v := range u.Verbs {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Verb, v.Purpose, v.Dataset, dayOf(v.LastUsed))
	}
	fmt.Fprintln(w, "\nfield\t\tuntil\tlast used")
	for _, v := range u.Fields {
		fmt.Fprintf(w, "%s.%s\t\t%s\t%s\n", v.Dataset, v.Field, v.Until, dayOf(v.LastUsed))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(out, "\n"+proposalOf(u))
	return err
}

func dayOf(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.DateOnly)
}

// proposalOf says what to do about what is not used.
func proposalOf(u *exchange.ClientUsage) string {
	switch {
	case u.Young:
		return fmt.Sprintf("It is younger than %d days: nothing is proposed yet.\n", u.Days)
	case u.Revoke:
		return fmt.Sprintf("Nothing of it was used for %d days. Revoke it: annona client revoke %[2]s, or annona key revoke %[2]s\n", u.Days, u.Client.ID)
	case u.Narrowed.Name == "":
		return "It uses all that it is granted.\n"
	}
	text := fmt.Sprintf("Not used for %d days:\n", u.Days)
	for _, what := range u.Removes {
		text += "- " + what + "\n"
	}
	return text + fmt.Sprintf("The role %s would do. Put it into the policy, which waits for a second person, and give it to the client:\n"+
		"  annona client usage --policy %s > policy.yaml\n  annona policy apply policy.yaml\n  annona policy role %[2]s %[1]s\n", u.Narrowed.Name, u.Client.ID)
}
