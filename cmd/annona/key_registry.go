package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// The keys of the registry itself: its root key, and the keys that rotate.

type keyRotate struct {
	dataFlag
	Force bool   `help:"Make a generation now, though the newest is not two weeks old."`
	Class string `enum:"generation,position,index,name-search,issuer,factor,sign-in" default:"generation" help:"What to rotate: generation (wraps the keys of subjects; the server does it by itself), position (cursors), index (look-up of identifiers), name-search, issuer (what the authorization server signs), factor (what people sign in by), sign-in (what their browsers keep)."`
}

func (k keyRotate) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		if k.Class != annona.GenerationLabel {
			version, err := f.gate.RotateClass(ctx, operator(), k.Class)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "What is new uses version %d of the key. Those before it stay, for what is on file.\n", version)
			switch {
			case err != nil:
			case k.Class == string(annona.IndexIdentifiers):
				_, err = fmt.Fprintln(c.out, "Servers take it over within seconds. They write the index anew, and destroy the former keys when they are done; without a server, annona key reindex does it.")
			case k.Class == string(annona.IndexNames):
				_, err = fmt.Fprintln(c.out, "While names can be searched, the servers index them anew; without a server, annona key reindex does it.")
			case k.Class == "factor" || k.Class == "sign-in":
				_, err = fmt.Fprintln(c.out, "Servers take it over by themselves. The next rotation destroys the key before: when somebody may have read it, rotate again when all servers have run for an hour.")
			default:
				_, err = fmt.Fprintln(c.out, "Servers take it over within the hour; start them again to have it at once.")
			}
			return err
		}
		done, err := f.gate.RotateKeys(ctx, operator(), k.Force)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "generations made: %d\ngenerations destroyed: %d\nblocks of keys wrapped anew: %d\n", len(done.Made), len(done.Destroyed), done.Rewrapped)
		return err
	})
}

type keyReindex struct{ dataFlag }

// Run does all that is to be done to the indexes.
func (k keyReindex) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error { return f.reindexAll(ctx, c) })
}

type keyStatus struct{ dataFlag }

func (k keyStatus) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		status, err := f.vault.Status(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "generation\tmade\tsuperseded\tblocks of keys")
		for _, g := range status.Generations {
			superseded := "newest"
			if !g.Superseded.IsZero() {
				superseded = g.Superseded.UTC().Format(time.DateOnly)
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\n", g.Version, g.MadeAt.UTC().Format(time.DateOnly), superseded, g.Blocks)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if status.Overdue {
			return annona.Conflict("rotation_overdue", "a generation should have been made or destroyed more than a day ago, so that erasures do not become complete in time; run annona key rotate, and find out why the server does not")
		}
		return nil
	})
}

type keyRecoverySecret struct{ dataFlag }

func (k keyRecoverySecret) Run(ctx context.Context, c console) error {
	return k.withVault(ctx, func(v *vault.Vault) error { return c.showRecovery(v, k.Data) })
}

// withVault opens the vault alone: what it needs is the key store, not the records.
func (d dataFlag) withVault(ctx context.Context, do func(*vault.Vault) error) error {
	return d.withKeys(ctx, func(keys annona.KeyStore) error {
		v, err := vault.Open(installation(d.Data, keys))
		if err != nil {
			return err
		}
		return do(v)
	})
}

// withKeys opens the key store alone.
func (d dataFlag) withKeys(ctx context.Context, do func(annona.KeyStore) error) error {
	d, err := d.complete()
	if err != nil {
		return err
	}
	var keys secrets
	if d.Database != "" {
		keys, err = postgres.OpenSecrets(ctx, cmp.Or(d.Keys, d.Database))
	} else {
		keys, err = sqlite.OpenSecrets(d.Data, false)
	}
	if err != nil {
		return err
	}
	return errors.Join(do(keys), keys.Close())
}

// recoveryFile is where a recovery secret lies when nobody is there to write it down.
const recoveryFile = "recovery-secret.txt"

// showRecovery makes a recovery secret and shows it.
func (c console) showRecovery(v *vault.Vault, data string) error {
	secret, err := v.NewRecoverySecret()
	if err != nil {
		return err
	}
	return c.handOver(secret, data)
}

// handOver shows a recovery secret once: on the terminal in front of the operator. Without a terminal
// whatever is printed may end in a log, so that it goes into a file beside the root key, which only
// the same account can read.
func (c console) handOver(secret, data string) error {
	if file, ok := c.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		_, err := fmt.Fprintf(c.out, "\nThe recovery secret, which is not shown again:\n\n  %s\n\nWrite it on paper, twice, and lock the papers away in two places. When root.key is lost,\nannona key recover rebuilds it from this secret and a copy of the key store.\n", secret)
		return err
	}
	path := filepath.Join(data, recoveryFile)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return annona.Unavailable("recovery_not_kept", "the recovery secret could not be written (%s); make another one with annona key recovery-secret", reason(err))
	}
	_, err := fmt.Fprintf(c.out, "The recovery secret is in %s. Take it to a safe place, apart from this machine, and delete the file.\n", path)
	return err
}

type keyRecover struct {
	dataFlag
	rootKeyFlag
}

// Run reads the secret from standard input: what stands on a command line, everybody on the machine
// can read.
func (k keyRecover) Run(ctx context.Context, c console) error {
	secret, err := c.readSecret()
	if err != nil {
		return err
	}
	return k.withKeys(ctx, func(keys annona.KeyStore) error {
		i := installation(k.Data, keys)
		i.RootURL = k.RootKey
		if _, err := vault.Recover(i, secret); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "The root key is in %s again, and opens the key store.\n", filepath.Join(k.Data, vault.RootFile))
		return err
	})
}

// readSecret reads one line; on a terminal nobody sees it.
func (c console) readSecret() (string, error) {
	if file, ok := c.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(c.err, "Recovery secret: ")
		line, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(c.err)
		return string(line), err
	}
	line, err := bufio.NewReader(io.LimitReader(c.in, 1<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", annona.Unavailable("recovery_unread", "the recovery secret could not be read from standard input").Because(err)
	}
	return line, nil
}

type keyReroot struct {
	dataFlag
	rootKeyFlag
}

func (k keyReroot) Run(ctx context.Context, c console) error {
	return k.withKeys(ctx, func(keys annona.KeyStore) error {
		i := installation(k.Data, keys)
		v, err := vault.Open(i)
		if err != nil {
			return err
		}
		i.RootURL = k.RootKey
		recovery, err := v.Reroot(i)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.out, "The registry has a new root key. Copy it to its other nodes and start all servers again. Copies of the former one, and the former recovery secret, open nothing from now on but old copies of the key store.")
		return c.handOver(recovery, k.Data)
	})
}
