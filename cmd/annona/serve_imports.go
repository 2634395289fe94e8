package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest/intake"
	"github.com/annona-exchange/annona/vault"
)

// spoolFolder is where the rows of loads over HTTP wait, and files of exports for each other, sealed,
// inside the data folder.
const spoolFolder = "spool"

func (f *folder) spool() (annona.Spool, error) {
	return vault.NewSpool(filepath.Join(f.path, spoolFolder))
}

// takeImports makes ready for loads over HTTP.
func (f *folder) takeImports(log *slog.Logger) (*intake.Imports, error) {
	folder := filepath.Join(f.path, spoolFolder)
	if err := vault.SweepSpools(folder); err != nil {
		return nil, annona.Invalid("folder_unusable", "what an earlier run has left in the folder spool of the data folder cannot be removed: %s", reason(err))
	}
	imports := &intake.Imports{
		Gate: f.gate, Areas: f.knownArea, Turn: f.turn(), Demo: f.vault.Demo(),
		Spool: f.spool,
		Ended: func(l exchange.LoadInfo) {
			f.metrics.ImportEnded(l)
			logImport(log, l)
		},
	}
	f.metrics.Imports(imports.Running)
	return imports, nil
}

// logImport says how a load ended: counts and codes.
func logImport(log *slog.Logger, l exchange.LoadInfo) {
	level, reading := slog.LevelInfo, l.Report.Counted()
	if l.State != exchange.StateFinished {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "import ended", "load", l.ID.String(), "source", l.Source, "mode", l.Mode, "state", l.State, "code", l.Report.Code,
		"client", l.Author.Client.String(), "rows", reading.Rows, "rejected", reading.Rejected, "created", l.Report.Created, "changed", l.Report.Changed,
		"unchanged", l.Report.Unchanged, "deleted", l.Report.Deleted, "seconds", l.FinishedAt.Sub(l.StartedAt).Seconds())
}
