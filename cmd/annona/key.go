package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
)

type keyCommand struct {
	Create keyCreate `cmd:"" help:"Make an API key. It is shown once."`
	Revoke keyRevoke `cmd:"" help:"Revoke an API key; it stops working within 5 seconds."`
	List   keyList   `cmd:"" help:"List the API keys: never the keys themselves."`

	Status         keyStatus         `cmd:"" help:"Show the generations of the registry's own keys, and whether their rotation is in time."`
	Rotate         keyRotate         `cmd:"" help:"Rotate the registry's own keys; also while it is served."`
	Reindex        keyReindex        `cmd:"" help:"Go on with writing the indexes anew after a rotation of their keys; a server does so by itself."`
	Recover        keyRecover        `cmd:"" help:"Rebuild a lost root key from the recovery secret, which is read from standard input."`
	RecoverySecret keyRecoverySecret `cmd:"" help:"Make a new recovery secret. The one before it opens nothing anymore."`
	Reroot         keyReroot         `cmd:"" help:"Give the registry a new root key, in a file or in a key management service. Stop its servers before."`
	Copy           keyCopy           `cmd:"" help:"Copy the key store for a restore: sealed, and to be deleted after 14 days."`
}

type keyCreate struct {
	dataFlag
	Agreement string    `required:"" placeholder:"NAME" help:"Agreement that the key is bound to."`
	Role      string    `placeholder:"NAME" help:"Role of the policy, in which it acts. Without it: all that the agreement grants, unless the policy says less."`
	Label     string    `placeholder:"TEXT" help:"What the key is for; no personal data."`
	Days      int       `default:"90" help:"Days until it expires, 1 to 366."`
	Network   []network `placeholder:"NETWORK" help:"Network or address that it may be used from, as 192.0.2.0/24; may be repeated. None: anywhere."`
	JSON      bool      `name:"json" help:"Print JSON."`
}

func (k keyCreate) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		key, client, waits := f.createKey(ctx, k.Agreement, k.Role, k.Label, k.Days, prefixes(k.Network))
		if waits != nil && annona.CodeOf(waits) != "approval_needed" {
			return waits
		}
		expires := client.ExpiresAt.UTC().Format(time.RFC3339)
		if k.JSON {
			return errors.Join(json.NewEncoder(c.out).Encode(map[string]string{"key": key, "id": client.ID.String(), "expires_at": expires}), waits)
		}
		_, err := fmt.Fprintf(c.out, "key:     %s\nid:      %s\nexpires: %s\nThe key is not shown again. Send it by another way than the data.\n",
			key, client.ID, expires)
		return errors.Join(err, waits) // until it is approved, the key opens nothing
	})
}

func (f *folder) createKey(ctx context.Context, agreement, role, label string, days int, networks []netip.Prefix) (string, annona.Client, error) {
	now := time.Now()
	key, client, err := identity.Mint(f.vault.KeyHash, f.vault.Demo(), now, now.AddDate(0, 0, days), agreement, label, networks)
	if err != nil {
		return "", client, err
	}
	client.Role = role
	return key, client, f.gate.CreateClient(ctx, operator(), client)
}

type keyRevoke struct {
	dataFlag
	ID string `arg:"" help:"Id of the key, as key create and key list print it."`
}

func (k keyRevoke) Run(ctx context.Context, c console) error {
	return k.revoke(ctx, c, k.ID, "The key is revoked.")
}

// revoke revokes an API key or a client of the authorization server, and says so.
func (d dataFlag) revoke(ctx context.Context, c console, text, said string) error {
	id, err := annona.ParseUID(text)
	if err != nil {
		return err
	}
	return d.with(ctx, func(f *folder) error {
		if err := f.gate.RevokeClient(ctx, operator(), id); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, said)
		return err
	})
}

type keyList struct {
	dataFlag
}

func (k keyList) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		clients, err := f.store.Clients(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "id\tagreement\tlabel\texpires\tstate")
		for _, client := range clients {
			if client.Method != annona.MethodAPIKey {
				continue // annona client list
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", client.ID, client.Agreement, client.Label,
				client.ExpiresAt.UTC().Format(time.DateOnly), state(client))
		}
		return w.Flush()
	})
}

func state(c annona.Client) string {
	switch {
	case !c.RevokedAt.IsZero():
		return "revoked"
	case time.Now().After(c.ExpiresAt):
		return "expired"
	default:
		return "valid"
	}
}
