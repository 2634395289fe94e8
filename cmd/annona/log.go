package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

type logCommand struct {
	Prune logPrune `cmd:"" help:"Remove the oldest changes from the log. Followers whose position is older begin anew; the ledger stays."`
}

type logPrune struct {
	dataFlag
	OlderThan days `required:"" placeholder:"DAYS" help:"How old a change is that goes, as 30d; one day at least."`
}

// Run prunes the log once.
func (p logPrune) Run(ctx context.Context, c console) error {
	return p.with(ctx, func(f *folder) error {
		removed, err := f.gate.PruneLog(ctx, operator(), time.Duration(p.OlderThan))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%d events removed\n", removed)
		return err
	})
}

// days is a length of time as the command line writes it: 30d.
type days time.Duration

const day = 24 * time.Hour

// UnmarshalText reads 30d.
func (d *days) UnmarshalText(text []byte) error {
	number, unit := strings.CutSuffix(string(text), "d")
	n, err := strconv.Atoi(number)
	if !unit || err != nil || n < 1 || n > 36500 {
		return annona.Invalid("days_malformed", "a number of days is written 30d")
	}
	*d = days(time.Duration(n) * day)
	return nil
}

// keepShort prunes the log when the server starts and once a day.
func (f *folder) keepShort(ctx context.Context, log *slog.Logger, retention time.Duration) {
	if retention == 0 {
		return
	}
	tick := time.NewTicker(day)
	defer tick.Stop()
	for {
		removed, err := f.gate.PruneLog(ctx, operator(), retention)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Error("the log could not be pruned", "code", annona.CodeOf(err))
		case removed > 0:
			log.Info("the log was pruned", "events", removed)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
