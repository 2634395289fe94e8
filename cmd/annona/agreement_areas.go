package main

import (
	"context"
	"fmt"
	"strings"
)

type agreementAreas struct {
	List    agreementAreasList    `cmd:"" help:"List the agreements that name a closed area."`
	Approve agreementAreasApprove `cmd:"" help:"Let an agreement reach what the closed areas that it names have become."`
}

type agreementAreasList struct{ dataFlag }

func (a agreementAreasList) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error { return f.printWaiting(ctx, c) })
}

type agreementAreasApprove struct {
	dataFlag
	Name string `arg:"" help:"Name of the agreement."`
}

func (a agreementAreasApprove) Run(ctx context.Context, c console) error {
	return a.with(ctx, func(f *folder) error {
		version, added, err := f.gate.ApproveAreas(ctx, operator(), a.Name)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "Agreement %s is in force as version %d, and reaches %s too.\n", a.Name, version, strings.Join(added, " "))
		return err
	})
}
