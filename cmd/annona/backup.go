package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"filippo.io/age"
	"golang.org/x/term"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/backup"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

type backupCommand struct {
	dataFlag
	sealedOutput
}

// sealedOutput is where a sealed file goes, and who can open it.
type sealedOutput struct {
	Recipient []string `required:"" sep:"none" placeholder:"AGE" help:"Who can open the file: a recipient of age (age1…); may be repeated. Keep its identity away from this machine."`
	Out       string   `required:"" placeholder:"FILE" help:"File to write, which must not be there yet; - for standard output."`
	JSON      bool     `name:"json" help:"Print the report as JSON."`
}

// Run takes a backup of a registry, also while it serves and loads.
func (b backupCommand) Run(ctx context.Context, c console) error {
	return b.with(ctx, func(f *folder) error {
		return b.take(ctx, c, f, exchange.Backup{Verb: annona.VerbBackup}, f.store, backup.Header{Kind: backup.Registry})
	})
}

// keysKept is how long a copy of the keys may be kept: as long as a generation of keys that was
// superseded lives on.
const keysKept = 14 * 24 * time.Hour

type keyCopy struct {
	dataFlag
	sealedOutput
}

// Run copies the key store as it lies: every key in it is wrapped by the root key.
func (k keyCopy) Run(ctx context.Context, c console) error {
	return k.with(ctx, func(f *folder) error {
		header := backup.Header{Kind: backup.Keys, Expires: time.Now().Add(keysKept).UTC().Truncate(time.Second)}
		return k.take(ctx, c, f, exchange.Backup{Verb: annona.VerbCopyKeys}, keyDumper{f}, header)
	})
}

// taken is the report of a backup.
type taken struct {
	Kind     backup.Kind `json:"kind"`
	Rows     int64       `json:"rows"`
	Bytes    int64       `json:"bytes"`
	Seconds  float64     `json:"seconds"`
	Position int64       `json:"log_position"`
	Ledger   int64       `json:"ledger_size"`
	Root     string      `json:"ledger_root,omitempty"`
	Expires  *time.Time  `json:"expires_at,omitempty"`
	File     string      `json:"file,omitempty"`
}

// take writes one file. It has its name when the ledger knows that it is whole.
func (o sealedOutput) take(ctx context.Context, c console, f *folder, b exchange.Backup, from annona.Dumper, h backup.Header) error {
	recipients, err := o.recipients(&b)
	if err != nil {
		return err
	}
	out, err := createSealed(o.Out, c)
	if err != nil {
		return err
	}
	defer out.discard()
	started := time.Now()
	report := taken{Kind: h.Kind, File: out.path}
	rows := newProgress(c, 0, "rows")
	var w *backup.Writer
	b.Begin = func(state annona.StoreState) (annona.TableSink, error) {
		h.Program, h.Made, h.StoreState = version, time.Now().UTC().Truncate(time.Second), state
		report.Position, report.Ledger, report.Root = state.Position, state.LedgerSize, fmt.Sprintf("%x", state.LedgerRoot)
		begun, err := backup.NewWriter(out, recipients, h)
		w = begun
		return counting{w, rows}, err
	}
	b.Finish = func() (int64, int64, error) {
		m, err := w.Close(proving(f.vault))
		report.Rows = m.Rows()
		if err == nil {
			err = out.sync()
		}
		report.Bytes = out.bytes
		return out.bytes, m.Rows(), err
	}
	err = f.gate.TakeBackup(ctx, operator(), from, b)
	rows.done()
	if err != nil {
		return err
	}
	if err := out.publish(); err != nil {
		return err
	}
	if err := f.vault.Remember(milestones[h.Kind], started); err != nil {
		return err
	}
	report.Seconds = time.Since(started).Seconds()
	if !h.Expires.IsZero() {
		report.Expires = &h.Expires
	}
	return o.print(c, report)
}

var milestones = map[backup.Kind]vault.Milestone{backup.Registry: vault.MilestoneBackup, backup.Keys: vault.MilestoneKeyCopy}

// proving proves that the registry of these keys wrote a file.
func proving(v *vault.Vault) backup.Prove {
	return func(digest []byte) []byte { return v.Proof(vault.ProofBackup, digest) }
}

func (o sealedOutput) recipients(b *exchange.Backup) (all []age.Recipient, err error) {
	for _, text := range o.Recipient {
		r, err := backup.ParseRecipient(text)
		if err != nil {
			return nil, err
		}
		all, b.Recipients = append(all, r), append(b.Recipients, r.Fingerprint())
	}
	return all, nil
}

// print writes the report where the file does not go.
func (o sealedOutput) print(c console, r taken) error {
	to := c.out
	if r.File == "" {
		to = c.err
	}
	if o.JSON {
		return json.NewEncoder(to).Encode(r)
	}
	fmt.Fprintf(to, "%d rows, %d bytes, in %.1f s\n", r.Rows, r.Bytes, r.Seconds)
	if r.Expires != nil {
		_, err := fmt.Fprintf(to, "Delete this copy on %s: erased people could come back by an older one. Take a new copy after each backup.\n", r.Expires.Format(time.DateOnly))
		return err
	}
	_, err := fmt.Fprintf(to, "log position %d, ledger %d entries, root %s\nThe file holds no keys: take a copy of them now, with annona key copy.\n", r.Position, r.Ledger, r.Root)
	return err
}

// keyDumper dumps the key store of a folder.
type keyDumper struct{ *folder }

func (k keyDumper) Dump(ctx context.Context, begin func(annona.StoreState) (annona.TableSink, error)) error {
	if k.database != "" {
		return postgres.DumpSecrets(ctx, cmp.Or(k.roles.Keys, k.database), begin)
	}
	return sqlite.DumpSecrets(ctx, k.path, begin)
}

// counting shows how many rows have gone by.
type counting struct {
	annona.TableSink
	rows *progress
}

func (c counting) Row(row annona.TableRow) error {
	c.rows.add(1)
	return c.TableSink.Row(row)
}

// createSealed makes the file that --out names, or takes standard output for it.
func createSealed(path string, c console) (*outputFile, error) {
	if path != "-" {
		return createOutput(path, "out")
	}
	if file, ok := c.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, annona.Invalid("output_terminal", "a backup is no text: send standard output into a file or a pipe").On("out")
	}
	return &outputFile{to: c.out}, nil
}
