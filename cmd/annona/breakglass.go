package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
)

type breakGlassCommand struct {
	List   breakGlassList   `cmd:"" help:"List the emergencies there were, and who has reviewed them."`
	End    breakGlassEnd    `cmd:"" help:"End one before its time."`
	Review breakGlassReview `cmd:"" help:"Say what you think of one, as a person who proves who they are: password and code are read from standard input."`
}

type breakGlassList struct{ dataFlag }

func (b breakGlassList) Run(ctx context.Context, c console) error {
	return b.with(ctx, func(f *folder) error {
		all, err := f.gate.ListBreakGlass(ctx, operator())
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "id\tperson\tagreement\tpurpose\treason\topened at\tuntil\tseen\treview")
		for _, g := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", g.ID, g.Person, g.Agreement, g.Purpose, g.Reason,
				g.OpenedAt.Format(time.DateTime), endOf(g).Format(time.DateTime), g.Seen, reviewOf(g))
		}
		return w.Flush()
	})
}

func endOf(g annona.BreakGlass) time.Time {
	if g.EndedAt.IsZero() {
		return g.Until
	}
	return g.EndedAt
}

func reviewOf(g annona.BreakGlass) string {
	if g.ReviewedAt.IsZero() {
		return "waits"
	}
	return g.Verdict + " (" + g.Note + ") by " + g.ReviewedBy
}

type breakGlassEnd struct {
	dataFlag
	ID string `arg:"" help:"Id, as break-glass list prints it."`
}

func (b breakGlassEnd) Run(ctx context.Context, c console) error {
	return b.with(ctx, func(f *folder) error {
		if _, err := f.gate.EndBreakGlass(ctx, operator(), b.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, "It has ended. Somebody still has to review it.")
		return err
	})
}

type breakGlassReview struct {
	dataFlag
	ID      string `arg:"" help:"Id, as break-glass list prints it."`
	Verdict string `arg:"" help:"justified or unjustified."`
	Note    string `arg:"" help:"Why, as a code of small letters, digits and underscores."`
	As      string `required:"" placeholder:"NAME" help:"Your login name. Somebody who has passkeys only reviews in a browser."`
}

func (b breakGlassReview) Run(ctx context.Context, c console) error {
	return b.with(ctx, func(f *folder) error {
		return f.asPerson(ctx, c, b.As, func(who annona.Caller) error {
			if _, err := f.gate.ReviewBreakGlass(ctx, who, b.ID, b.Verdict, b.Note); err != nil {
				return err
			}
			_, err := fmt.Fprintln(c.out, "It is reviewed.")
			return err
		})
	})
}
