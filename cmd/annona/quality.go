package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

// looking puts a look at the quality of the data before yield, where one was asked for.
func (i importCommand) looking(m *ingest.Mapping, yield func(ingest.Batch) error) (func(ingest.Batch) error, func(ingest.Report) []ingest.Finding) {
	if !i.DryRun && !i.Report {
		return yield, func(ingest.Report) []ingest.Finding { return nil }
	}
	q := ingest.NewQuality(m, annona.DateOf(time.Now()))
	return func(b ingest.Batch) error {
		q.Look(b)
		return yield(b)
	}, q.Findings
}

// printQuality writes what was found about the data: counts, never values.
func printQuality(c console, findings []ingest.Finding) {
	if len(findings) == 0 {
		return
	}
	fmt.Fprintln(c.out, "quality of the data (docs/spec/mapping.md explains each line):")
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "  %s\t%d\t%s\n", f.Code, f.Count, f.Where)
	}
	_ = w.Flush() // a console that is gone stops no import
}
