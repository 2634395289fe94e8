package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
)

type clientCommand struct {
	Create clientCreate `cmd:"" help:"Register a client of the authorization server."`
	Revoke clientRevoke `cmd:"" help:"Revoke a client; its tokens stop working within 5 seconds."`
	List   clientList   `cmd:"" help:"List the clients of the authorization server."`
	Usage  clientUsage  `cmd:"" help:"Show what a client or an API key has used of what it is granted, and propose what to take away."`
}

type clientCreate struct {
	dataFlag
	Agreement string    `required:"" placeholder:"NAME" help:"Agreement that the client is bound to."`
	Role      string    `placeholder:"NAME" help:"Role of the policy, in which it acts. Without it: all that the agreement grants, unless the policy says less."`
	Label     string    `placeholder:"TEXT" help:"What the client is for; no personal data."`
	Days      int       `default:"365" help:"Days until the registration expires, 1 to 366."`
	Network   []network `placeholder:"NETWORK" help:"Network or address that it may call from, as 192.0.2.0/24; may be repeated. None: anywhere."`
	Keys      string    `xor:"way" required:"" type:"path" placeholder:"FILE" help:"JWK set with its public keys: it signs assertions (private_key_jwt)."`
	Subject   string    `xor:"way" required:"" placeholder:"NAME" help:"Subject of its certificate, as CN=…,O=…: it connects with it (tls_client_auth)."`
	Secret    bool      `xor:"way" required:"" help:"Give it a secret, which is shown once (client_secret_basic): the weaker rung."`
	ClientID  string    `name:"client-id" xor:"way" required:"" placeholder:"ID" help:"Its client_id at an identity provider of others, which says who it is; with --issuer."`
	Issuer    string    `placeholder:"URL" help:"Issuer of that identity provider, as annona identity-provider list shows it."`
	Redirect  []string  `placeholder:"URL" help:"Address that a browser may be sent back to, as https://cases.example/back, when the client acts for people who sign in here; may be repeated. None: it acts for itself."`
	JSON      bool      `name:"json" help:"Print JSON."`
}

func (k clientCreate) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		now := time.Now()
		r := identity.Registration{
			Agreement: k.Agreement, Label: k.Label, Networks: prefixes(k.Network), Expires: now.AddDate(0, 0, k.Days),
			Subject: k.Subject, Secret: k.Secret, Redirects: k.Redirect, Outside: k.ClientID, Issuer: k.Issuer,
		}
		if k.Keys != "" {
			var err error
			if r.Keys, err = os.ReadFile(k.Keys); err != nil {
				return annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err)).On("keys")
			}
		}
		secret, client, err := identity.RegisterClient(f.vault.KeyHash, f.vault.Demo(), now, r)
		if err != nil {
			return err
		}
		if client.Method == annona.MethodOutside {
			if client.ID, err = f.gate.OutsideClient(ctx, client); err != nil {
				return err
			}
		}
		client.Role = k.Role
		waits := f.gate.CreateClient(ctx, operator(), client)
		if waits != nil && annona.CodeOf(waits) != "approval_needed" {
			return waits
		}
		return errors.Join(k.show(c, secret, client), waits) // until it is approved, the client gets no token
	})
}

func (k clientCreate) show(c console, secret string, client annona.Client) error {
	expires := client.ExpiresAt.UTC().Format(time.RFC3339)
	if k.JSON {
		told := map[string]string{"client_id": client.KeyID, "id": client.ID.String(), "method": string(client.Method), "expires_at": expires}
		if secret != "" {
			told["client_secret"] = secret
		}
		return json.NewEncoder(c.out).Encode(told)
	}
	_, err := fmt.Fprintf(c.out, "client_id: %s\nid:        %s\nmethod:    %s\nexpires:   %s\n", client.KeyID, client.ID, client.Method, expires)
	if err != nil || secret == "" {
		return err
	}
	_, err = fmt.Fprintf(c.out, "secret:    %s\nThe secret is not shown again. Send it by another way than the data.\n", secret)
	return err
}

type clientRevoke struct {
	dataFlag
	ID string `arg:"" help:"Id of the client, as client create and client list print it."`
}

func (k clientRevoke) Run(ctx context.Context, c console) error {
	return k.revoke(ctx, c, k.ID, "The client is revoked, and its tokens with it.")
}

type clientList struct{ dataFlag }

func (k clientList) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		clients, err := f.store.Clients(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "id\tclient_id\tmethod\tagreement\tlabel\texpires\tstate")
		for _, client := range clients {
			if client.Method == annona.MethodAPIKey {
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", client.ID, client.KeyID, client.Method, client.Agreement, client.Label,
				client.ExpiresAt.UTC().Format(time.DateOnly), state(client))
		}
		return w.Flush()
	})
}
