package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/annona-exchange/annona"
)

type nameSearchCommand struct {
	On      nameSearchOn      `cmd:"" help:"Let partners whose agreement says so look for individuals by their names, and index all names."`
	Off     nameSearchOff     `cmd:"" help:"End that, and remove the index."`
	Rebuild nameSearchRebuild `cmd:"" help:"Index all names anew with a new key."`
	Status  nameSearchStatus  `cmd:"" default:"withargs" help:"Say whether names can be searched, and how far their index is."`
}

type nameSearchOn struct{ dataFlag }

func (n nameSearchOn) Run(ctx context.Context, c console) error {
	return n.with(ctx, func(f *folder) error { return f.switchNames(ctx, c, true) })
}

type nameSearchOff struct{ dataFlag }

func (n nameSearchOff) Run(ctx context.Context, c console) error {
	return n.with(ctx, func(f *folder) error { return f.switchNames(ctx, c, false) })
}

func (f *folder) switchNames(ctx context.Context, c console, on bool) error {
	changed, err := f.gate.SwitchNameSearch(ctx, operator(), on)
	if err != nil {
		return err
	}
	if !changed {
		fmt.Fprintln(c.out, "Nothing changed.")
	}
	return f.reindexAll(ctx, c)
}

type nameSearchRebuild struct{ dataFlag }

func (n nameSearchRebuild) Run(ctx context.Context, c console) error {
	return n.with(ctx, func(f *folder) error {
		if err := f.gate.RenewIndex(ctx, operator(), annona.IndexNames); err != nil {
			return err
		}
		return f.reindexAll(ctx, c)
	})
}

type nameSearchStatus struct{ dataFlag }

func (n nameSearchStatus) Run(ctx context.Context, c console) error {
	return n.with(ctx, func(f *folder) error { return f.printNames(ctx, c) })
}

func (f *folder) printNames(ctx context.Context, c console) error {
	s, err := f.gate.IndexStatus(ctx, operator(), annona.IndexNames)
	if err != nil {
		return err
	}
	switch {
	case s.On && s.Whole:
		fmt.Fprintln(c.out, "Names can be searched, by partners whose agreement says so.")
	case s.On:
		fmt.Fprintf(c.out, "Names are being indexed; the last one was individual %d. Searches wait for it.\n", s.After)
	default:
		fmt.Fprintln(c.out, "Names cannot be searched.")
	}
	_, err = fmt.Fprintf(c.out, "rows of the index: %d\nindividuals whose names wait to be indexed anew: %d\n", s.Rows, s.Waiting)
	return err
}

// reindexPause is how long it takes until somebody looks again whether there is something to index.
const reindexPause = time.Second

// reindexAll does all that is to be done to the indexes. A server does so too; broken off, the next
// one goes on.
func (f *folder) reindexAll(ctx context.Context, c console) error {
	fmt.Fprintln(c.out, "The index is being written. This may be broken off: a server goes on with it, or the same command.")
	for more := true; more; {
		var err error
		if more, err = f.reindex(ctx); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(c.out, "Done.")
	return err
}

// reindex takes a step, and waits where it has to.
func (f *folder) reindex(ctx context.Context) (more bool, err error) {
	began := time.Now()
	more, err = f.gate.Reindex(ctx, operator())
	if err != nil {
		return false, err
	}
	pause := min(time.Since(began), reindexPause) // others write too
	if !more {
		pause = 0
	} else if pause < time.Millisecond {
		pause = 50 * time.Millisecond // another process has to take over a key
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-time.After(pause):
		return more, nil
	}
}

// keepIndexed does what is to be done to the indexes, until ctx ends.
func (f *folder) keepIndexed(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		more, err := f.reindex(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error("an index could not be written anew; it is tried again", "code", annona.CodeOf(err))
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * reindexPause):
		}
	}
}
