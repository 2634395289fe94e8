package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/intake"
)

type crosswalkCommand struct {
	Apply    crosswalkApply    `cmd:"" help:"Put in force what the codes of a source mean, from its next import on."`
	List     crosswalkList     `cmd:"" help:"List the crosswalks in force."`
	Unmapped crosswalkUnmapped `cmd:"" help:"List the codes that imports have met and nothing leads on from, and how often."`
}

type crosswalkApply struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"Crosswalk, as YAML; see docs/spec/mapping.md."`
}

func (a crosswalkApply) Run(ctx context.Context, c console) error {
	crosswalk, err := parseFile(a.File, ingest.ParseCrosswalk)
	if err != nil {
		return err
	}
	return a.with(ctx, func(f *folder) error {
		changed, err := f.gate.ApplyCrosswalk(ctx, operator(), crosswalk)
		if err != nil {
			return err
		}
		if !changed {
			_, err = fmt.Fprintln(c.out, "Nothing changed: the crosswalk is in force.")
			return err
		}
		_, err = fmt.Fprintf(c.out, "Version %d of the crosswalk from %s to the list %s is in force, with %d codes.\n", crosswalk.Version, crosswalk.Source, crosswalk.List, len(crosswalk.Codes))
		return err
	})
}

type crosswalkList struct{ dataFlag }

func (l crosswalkList) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		all, err := f.store.Crosswalks(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "source\tlist\tversion\tcodes\tapplied")
		for _, one := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", one.Source, one.List, one.Version, len(one.Codes), one.AppliedAt.Format(time.DateOnly))
		}
		return w.Flush()
	})
}

type crosswalkUnmapped struct {
	dataFlag
	Source string `placeholder:"NAME" help:"Of this source only."`
	JSON   bool   `name:"json" help:"Print a JSON object for each, one on a line."`
}

func (u crosswalkUnmapped) Run(ctx context.Context, c console) error {
	return u.with(ctx, func(f *folder) error {
		all, err := f.gate.Unmapped(ctx, operator(), u.Source)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		if !u.JSON {
			fmt.Fprintln(w, "source\tfield\tcode\ttimes\timports\tfirst\tlast")
		}
		for _, one := range all {
			if u.JSON {
				if err := json.NewEncoder(c.out).Encode(one); err != nil {
					return err
				}
				continue
			}
			code := one.Code
			if code == "" {
				code = "(what looks like no code)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", one.Source, one.Field, code, one.Times, one.Loads, one.FirstAt.Format(time.DateOnly), one.LastAt.Format(time.DateOnly))
		}
		return w.Flush()
	})
}

// noteUnmapped adds the codes without a meaning that an import has met to the list of them.
func (f *folder) noteUnmapped(ctx context.Context, source string, r ingest.Report) error {
	return f.gate.NoteUnmapped(ctx, operator(), intake.Unmapped(source, r))
}
