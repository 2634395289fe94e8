package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

type ledgerCommand struct {
	Show       ledgerShow       `cmd:"" help:"Print entries as NDJSON, without the people in them."`
	Covers     ledgerCovers     `cmd:"" help:"Compare what somebody holds with what was released."`
	Key        ledgerKey        `cmd:"" help:"Print the public keys of the ledger. Whoever verifies gets them from you, not from a copy."`
	Checkpoint ledgerCheckpoint `cmd:"" help:"Print a signed checkpoint that covers every entry. Keep it elsewhere."`
	Export     ledgerExport     `cmd:"" help:"Copy the ledger to a file that annona verify checks on another computer."`
	Prune      ledgerPrune      `cmd:"" help:"Delete what old entries say; their proofs stay."`
}

type ledgerKey struct {
	dataFlag
	Rotate bool `help:"Make a new key for the checkpoints that follow. The old one stays published."`
}

func (l ledgerKey) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		if l.Rotate {
			if err := f.vault.RotateCheckpointKey(); err != nil {
				return err
			}
		}
		keys, err := f.vault.CheckpointKeys()
		if err != nil {
			return err
		}
		if l.Rotate {
			if err := f.gate.RecordKeyRotation(ctx, operator(), keys[len(keys)-1]); err != nil {
				return err
			}
		}
		for _, key := range keys {
			fmt.Fprintln(c.out, key)
		}
		return nil
	})
}

type ledgerCheckpoint struct {
	dataFlag
}

func (l ledgerCheckpoint) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		signed, err := f.sign(ctx)
		if err != nil {
			return err
		}
		_, err = io.WriteString(c.out, signed.Note)
		return err
	})
}

// sign returns a checkpoint that covers every entry.
func (f *folder) sign(ctx context.Context) (annona.Checkpoint, error) {
	signed, err := f.signer.Sign(ctx)
	if err == nil && signed.Size == 0 {
		err = annona.Conflict("ledger_empty", "the ledger has no entry yet, so there is nothing to sign")
	}
	return signed, err
}

type ledgerExport struct {
	dataFlag
	File        string `arg:"" type:"path" help:"File to write; there must be none of that name."`
	WithContent bool   `help:"Copy what entries say too, opened, for an auditor who may read it. It names who was asked about, by numbers."`
}

func (l ledgerExport) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		out, err := createOutput(l.File, "file")
		if err != nil {
			return err
		}
		defer out.discard()
		entries, err := l.write(ctx, f, out)
		if err := errors.Join(err, out.sync()); err != nil {
			return err
		}
		if err := out.publish(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "Copied %d entries. Whoever verifies the copy needs the public key (annona ledger key), from you and by another way.\n", entries)
		return err
	})
}

// write records that a copy is made, signs what is there and copies it.
func (l ledgerExport) write(ctx context.Context, f *folder, to io.Writer) (int64, error) {
	if err := f.gate.RecordLedgerCopy(ctx, operator(), l.WithContent); err != nil {
		return 0, err
	}
	signed, err := f.sign(ctx)
	if err != nil {
		return 0, err
	}
	return audit.WriteCopy(ctx, to, f.ledger(), signed, l.WithContent)
}

type ledgerPrune struct {
	dataFlag
	Before string `required:"" placeholder:"2006-01-02" help:"Day: what entries of earlier days say is deleted."`
}

func (l ledgerPrune) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		below, entries, err := f.gate.PruneLedger(ctx, operator(), annona.Date(l.Before), f.store)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "Deleted what %d entries said; of entries below %d only the proofs are left.\n", entries, below)
		return err
	})
}
