package main

import (
	"context"
	"fmt"
	"os"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/ingest"
)

type agreementCommand struct {
	Apply agreementApply `cmd:"" help:"Check an agreement and put it in force as its next version."`
	Areas agreementAreas `cmd:"" help:"What becomes of agreements when areas are reorganized."`
}

type agreementApply struct {
	dataFlag
	File string `arg:"" type:"existingfile" help:"Agreement, as YAML; see examples/agreements."`
}

func (a agreementApply) Run(ctx context.Context, c console) error {
	file, err := os.Open(a.File)
	if err != nil {
		return annona.Invalid("file_unreadable", "the agreement cannot be read: %s", reason(err))
	}
	defer file.Close()
	agreement, err := ingest.ParseAgreement(file)
	if err != nil {
		return err
	}
	return a.with(ctx, func(f *folder) error {
		version, err := f.gate.ApplyAgreement(ctx, operator(), agreement)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "Agreement %s is in force as version %d.\n", agreement.Name, version)
		return err
	})
}
