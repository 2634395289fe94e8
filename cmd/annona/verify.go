package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

type verifyCommand struct {
	Copy     string `arg:"" optional:"" type:"path" placeholder:"FILE" help:"A copy that annona ledger export has made; --key is the ledger's public key."`
	Data     string `type:"path" placeholder:"DIR" help:"Data folder of the registry, to walk its own ledger."`
	Database string `placeholder:"URL" help:"PostgreSQL database of the registry, as for the other commands."`
	databaseFlags
	Key        []string `sep:"none" placeholder:"KEY" help:"Public key of the ledger, or a file that holds some, from elsewhere; may be repeated. For a data folder: its own, when left out."`
	Checkpoint []string `sep:"none" type:"path" placeholder:"FILE" help:"Checkpoint that somebody else has kept; may be repeated."`
	JSON       bool     `name:"json" help:"Print the report as JSON."`
}

// Validate refuses a command line that names no ledger, or two.
func (v verifyCommand) Validate() error {
	if (v.Copy == "") == (v.Data == "") {
		return errors.New("name either the data folder with --data, or the file of a copy")
	}
	return nil
}

// Run walks a ledger. A deviation is printed and makes the command fail.
func (v verifyCommand) Run(ctx context.Context, c console) error {
	evidence, err := v.evidence()
	if err != nil {
		return err
	}
	var report audit.Report
	if v.Copy != "" {
		report, err = v.copy(evidence)
	} else {
		report, err = v.live(ctx, evidence)
	}
	if err != nil {
		return err
	}
	if err := v.print(c, report); err != nil {
		return err
	}
	if !report.Whole() {
		return annona.Conflict("ledger_deviates", "the ledger is not what was written; keep it as it is and tell the data protection officer")
	}
	return nil
}

// evidence reads keys and checkpoints that come from elsewhere.
func (v verifyCommand) evidence() (e audit.Evidence, err error) {
	for _, key := range v.Key {
		text, err := os.ReadFile(key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.Keys = append(e.Keys, key)
		case err != nil:
			return e, unreadable(key, err)
		default:
			e.Keys = append(e.Keys, strings.Fields(string(text))...)
		}
	}
	for _, file := range v.Checkpoint {
		text, err := os.ReadFile(file)
		if err != nil {
			return e, unreadable(file, err)
		}
		e.Noted = append(e.Noted, string(text))
	}
	return e, nil
}

func unreadable(file string, err error) error {
	return annona.Invalid("file_unreadable", "the file cannot be read: %s", reason(err)).On(file)
}

func (v verifyCommand) copy(e audit.Evidence) (audit.Report, error) {
	file, err := os.Open(v.Copy)
	if err != nil {
		return audit.Report{}, unreadable(v.Copy, err)
	}
	defer file.Close()
	return audit.VerifyCopy(file, e)
}

func (v verifyCommand) live(ctx context.Context, e audit.Evidence) (report audit.Report, err error) {
	err = dataFlag{Data: v.Data, Database: v.Database, databaseFlags: v.databaseFlags}.with(ctx, func(f *folder) error {
		if len(e.Keys) == 0 {
			if e.Keys, err = f.vault.CheckpointKeys(); err != nil {
				return err
			}
		}
		report, err = audit.Verify(ctx, f.ledger(), e)
		return err
	})
	return report, err
}

func (v verifyCommand) print(c console, r audit.Report) error {
	if v.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	fmt.Fprintf(c.out, "entries:     %d (releases %d, outcomes %d, requests still open %d)\nroot:        %s\ncheckpoints: %d, the latest covers %d entries\n",
		r.Entries, r.Releases, r.Outcomes, r.OpenRequests, r.Root, r.Checkpoints, r.Signed)
	if r.PartsDeleted > 0 {
		fmt.Fprintf(c.out, "deleted:     %d parts; the ledger tells of pruning below entry %d\n", r.PartsDeleted, r.PrunedBelow)
	}
	for _, finding := range r.Findings {
		fmt.Fprintf(c.out, "deviation:   %s: %s (%s)\n", placeOf(finding), finding.Message, finding.Code)
	}
	if r.Whole() {
		fmt.Fprintln(c.out, "The ledger is whole.")
	}
	return nil
}

func placeOf(f audit.Finding) string {
	if f.Index == audit.OfTree {
		return "the ledger"
	}
	return fmt.Sprintf("entry %d", f.Index)
}
