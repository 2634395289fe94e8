package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/annona-exchange/annona/ingest"
)

type programCommand struct {
	Apply programApply `cmd:"" help:"Put a program with its cycles on file, or its next version."`
	List  programList  `cmd:"" help:"List the programs on file."`
}

type programApply struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"Program, as YAML; see docs/spec/programs.md."`
}

func (p programApply) Run(ctx context.Context, c console) error {
	program, err := parseFile(p.File, ingest.ParseProgram)
	if err != nil {
		return err
	}
	return p.with(ctx, func(f *folder) error {
		version, changed, err := f.gate.ApplyProgram(ctx, operator(), program)
		if err != nil {
			return err
		}
		if !changed {
			_, err = fmt.Fprintf(c.out, "Nothing changed: version %d of the program %s says the same.\n", version, program.Code)
			return err
		}
		_, err = fmt.Fprintf(c.out, "Version %d of the program %s holds, with %d cycles.\n", version, program.Code, len(program.Cycles))
		return err
	})
}

type programList struct{ dataFlag }

func (p programList) Run(ctx context.Context, c console) error {
	return p.with(ctx, func(f *folder) error {
		all, err := f.gate.ProgramsOnFile(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "program\tversion\tassists\tcycles")
		for _, one := range all {
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", one.Code, one.Version, one.AssistanceUnit, len(one.Cycles))
		}
		return w.Flush()
	})
}
