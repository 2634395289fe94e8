package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/vault"
)

// doctorCommand says what is wrong with an installation and how to mend it, a line for each. It
// changes nothing, but that it remembers the receipt of a drill.
type doctorCommand struct {
	dataFlag
	tombstonesFlag
	Drill string `placeholder:"RECEIPT" help:"Remember that a restore was rehearsed: the receipt that annona restore --drill has printed."`
	JSON  bool   `name:"json" help:"Print the findings as JSON, one on a line; those that are well too."`
}

// finding is what one look has found.
type finding struct {
	Check   string  `json:"check"`
	State   verdict `json:"state"`
	Message string  `json:"message"` // what it is; and what to do, unless it is well
}

// verdict says how a finding is.
type verdict string

const (
	well    verdict = "ok"
	note    verdict = "note" // worth knowing; nothing has to be done
	problem verdict = "problem"
)

// examination collects findings.
type examination struct {
	doctorCommand
	now      time.Time
	folder   *folder // open as far as it could be opened; its store may be nil
	findings []finding
}

// Run examines, and fails when something is wrong.
func (d doctorCommand) Run(ctx context.Context, c console) error {
	f, err := d.folder(d.Tombstones)
	if err != nil {
		return err
	}
	x := &examination{doctorCommand: d, now: time.Now(), folder: f}
	x.modes()
	x.space()
	x.schema(ctx)
	err = f.open(ctx)
	defer f.Close()
	if err != nil {
		x.failed("open", err)
	} else if err := x.inside(ctx); err != nil {
		return err
	}
	return x.print(c)
}

// inside examines an installation that opens.
func (x *examination) inside(ctx context.Context) error {
	x.found("open", well, "root key, keys and registry belong together and open")
	if x.Drill != "" {
		if err := x.folder.vault.RecordDrill(x.Drill); err != nil {
			return err
		}
	}
	x.database(ctx)
	x.requests(ctx)
	x.erasures(ctx)
	x.tombstones(ctx)
	x.keys(ctx)
	x.backups()
	x.drill()
	x.clients(ctx)
	x.indexes(ctx)
	return nil
}

func (x *examination) found(check string, state verdict, format string, args ...any) {
	x.findings = append(x.findings, finding{check, state, fmt.Sprintf(format, args...)})
}

// failed reports a look that could not be taken. The error says what to do.
func (x *examination) failed(check string, err error) {
	x.found(check, problem, "%s (%s)", err, annona.CodeOf(err))
}

func (x *examination) print(c console) error {
	problems := 0
	for _, f := range x.findings {
		if f.State == problem {
			problems++
		}
		if err := f.print(c, x.JSON); err != nil {
			return err
		}
	}
	if problems > 0 {
		return annona.Conflict("installation_unwell", "%d of the findings are problems; each says what to do", problems)
	}
	if !x.JSON {
		fmt.Fprintln(c.out, "Nothing is wrong.")
	}
	return nil
}

func (f finding) print(c console, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(c.out).Encode(f)
	}
	if f.State == well {
		return nil
	}
	_, err := fmt.Fprintf(c.out, "%-8s %s: %s\n", f.State, f.Check, f.Message)
	return err
}

// The ages that are too old.
const (
	clockPatience = 5 * time.Minute
	backupAge     = 8 * 24 * time.Hour
	drillAge      = 366 * 24 * time.Hour
)

// backups looks at when the last backup and the last copy of the keys were taken.
func (x *examination) backups() {
	backup, err := x.folder.vault.Remembered(vault.MilestoneBackup)
	keys, keyErr := x.folder.vault.Remembered(vault.MilestoneKeyCopy)
	if err := errors.Join(err, keyErr); err != nil {
		x.failed("backup", err)
		return
	}
	const take = "take one with annona backup, then a copy of the keys with annona key copy"
	switch {
	case backup.IsZero():
		x.found("backup", problem, "no backup was ever taken; %s", take)
	case x.now.Sub(backup) > backupAge:
		x.found("backup", problem, "the last backup was taken %s, more than a week ago; %s", onDay(backup), take)
	default:
		x.found("backup", well, "the last backup was taken %s", onDay(backup))
	}
	switch {
	case keys.IsZero():
		x.found("key_copy", problem, "the keys were never copied, and without them no backup can be read; run annona key copy after each backup")
	case keys.Before(backup):
		x.found("key_copy", problem, "the keys were copied before the last backup, which cannot be restored with that copy; run annona key copy")
	case x.now.Sub(keys) > keysKept:
		x.found("key_copy", problem, "the last copy of the keys is of %s and should be deleted by now: it could open what was erased since; run annona key copy, and delete older copies", onDay(keys))
	default:
		x.found("key_copy", well, "the keys were copied %s; delete that copy %s", onDay(keys), onDay(keys.Add(keysKept)))
	}
}

func (x *examination) drill() {
	at, err := x.folder.vault.Drilled()
	const how = "on another machine: annona key recover, annona restore --drill; then here: annona doctor --drill RECEIPT"
	switch {
	case err != nil:
		x.failed("restore_drill", err)
	case at.IsZero():
		x.found("restore_drill", problem, "nobody has tried whether a backup can be restored; rehearse it, %s", how)
	case x.now.Sub(at) > drillAge:
		x.found("restore_drill", problem, "a restore was rehearsed %s, more than a year ago; rehearse it again, %s", onDay(at), how)
	default:
		x.found("restore_drill", well, "a restore was rehearsed %s", onDay(at))
	}
}

func onDay(t time.Time) string { return "on " + t.UTC().Format(time.DateOnly) }
