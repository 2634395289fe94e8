package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/ingest"
)

type providerCommand struct {
	Add    providerAdd    `cmd:"" help:"Let the tokens of an identity provider count, or change what they count for."`
	Check  providerCheck  `cmd:"" help:"Read the file of an identity provider and fetch its keys, and change nothing."`
	List   providerList   `cmd:"" help:"List the identity providers whose tokens count."`
	Remove providerRemove `cmd:"" help:"Let the tokens of an identity provider count no more, and revoke its clients."`
	Person providerPerson `cmd:"" help:"Say under which login name somebody of an identity provider is on file."`
	End    providerEnd    `cmd:"" help:"End the tokens of a person or of a sign-in at an identity provider, within 5 seconds."`
}

type providerAdd struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"The identity provider, as YAML; see docs/spec/identity-provider.md."`
}

func (k providerAdd) Run(ctx context.Context, c console) error {
	p, err := parseFile(k.File, ingest.ParseIdentityProvider)
	if err != nil {
		return err
	}
	return k.with(ctx, func(f *folder) error {
		if err := f.gate.PutIdentityProvider(ctx, operator(), p); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "Access tokens of %s count. Register its clients: annona client create --issuer %s --client-id ID --agreement NAME\n", p.Name, p.Issuer)
		return err
	})
}

type providerCheck struct {
	File string `arg:"" type:"existingfile" help:"The identity provider, as YAML."`
}

func (k providerCheck) Run(ctx context.Context, c console) error {
	p, err := parseFile(k.File, ingest.ParseIdentityProvider)
	if err != nil {
		return err
	}
	o := identity.NewOutside(identity.OutsideWiring{Clock: time.Now, Outbound: identity.NewOutbound})
	keys, err := o.Probe(ctx, p)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s publishes %d keys that may sign here.\n", p.Name, keys)
	return err
}

type providerList struct{ dataFlag }

func (k providerList) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		all, err := f.gate.IdentityProviders(ctx, operator())
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "name\tissuer\taudience\trules for people\tversion\tin force since")
		for _, p := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", p.Name, p.Issuer, p.Audience, len(p.People), p.Version, annona.Instant(p.PutAt))
		}
		return w.Flush()
	})
}

type providerRemove struct {
	dataFlag
	Name string `arg:"" help:"Name of the identity provider."`
}

func (k providerRemove) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		if err := f.gate.RemoveIdentityProvider(ctx, operator(), k.Name); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, "The identity provider is removed, and its clients are revoked.")
		return err
	})
}

type providerPerson struct {
	dataFlag
	Name    string `arg:"" help:"Name of the identity provider."`
	Subject string `arg:"" help:"What the provider calls the person in sub."`
}

func (k providerPerson) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		p, err := f.providerNamed(ctx, k.Name)
		if err != nil {
			return err
		}
		id, name := f.outsiders(slog.Default()).PersonID(p, k.Subject)
		_, err = fmt.Fprintf(c.out, "id:         %s\nlogin name: %s\n", id, name)
		return err
	})
}

type providerEnd struct {
	dataFlag
	Name    string `arg:"" help:"Name of the identity provider."`
	Subject string `xor:"what" required:"" placeholder:"SUB" help:"What the provider calls the person in sub: all that it has issued to them until now is over."`
	Session string `xor:"what" required:"" placeholder:"SID" help:"What the provider calls the sign-in in sid."`
}

func (k providerEnd) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		p, err := f.providerNamed(ctx, k.Name)
		if err != nil {
			return err
		}
		o := f.outsiders(slog.Default())
		o.End = func(ctx context.Context, provider string, e annona.OutsideEnd) error {
			return f.gate.EndOutside(ctx, operator(), provider, e)
		}
		if k.Session != "" {
			err = o.EndSignIn(ctx, p, k.Session)
		} else {
			err = o.EndPerson(ctx, p, k.Subject, time.Now())
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, "Their tokens are over.")
		return err
	})
}

func (f *folder) providerNamed(ctx context.Context, name string) (annona.IdentityProvider, error) {
	all, err := f.gate.IdentityProviders(ctx, operator())
	if err != nil {
		return annona.IdentityProvider{}, err
	}
	i := slices.IndexFunc(all, func(p annona.IdentityProvider) bool { return p.Name == name })
	if i < 0 {
		return annona.IdentityProvider{}, annona.NotFound("no identity provider of this name is on file; annona identity-provider list shows them")
	}
	return all[i], nil
}
