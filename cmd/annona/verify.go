package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

type verifyCommand struct {
	dataFlag
	JSON bool `name:"json" help:"Print the report as JSON."`
}

// Run walks the ledger. A deviation is printed and makes the command fail.
func (v verifyCommand) Run(ctx context.Context, c console) error {
	return v.with(ctx, func(f *folder) error {
		report, err := audit.Verify(ctx, f.store)
		if err != nil {
			return err
		}
		if err := v.print(c, report); err != nil {
			return err
		}
		if !report.Whole() {
			return annona.Conflict("ledger_deviates", "the ledger is not what was written; keep this folder as it is and tell the data protection officer")
		}
		return nil
	})
}

func (v verifyCommand) print(c console, r audit.Report) error {
	if v.JSON {
		return json.NewEncoder(c.out).Encode(r)
	}
	fmt.Fprintf(c.out, "entries:   %d (releases %d, outcomes %d, requests still open %d)\nroot:      %s\n",
		r.Entries, r.Releases, r.Outcomes, r.OpenRequests, r.Root)
	for _, finding := range r.Findings {
		fmt.Fprintf(c.out, "deviation: entry %d: %s (%s)\n", finding.Index, finding.Message, finding.Code)
	}
	if r.Whole() {
		fmt.Fprintln(c.out, "The ledger is whole.")
	}
	return nil
}
