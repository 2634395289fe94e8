package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/backup"
)

// tombstonesFile is the name of the file of tombstones in the data folder.
const tombstonesFile = "tombstones"

// tombstonesFlag is the flag of commands that erase, or keep the erased away.
type tombstonesFlag struct {
	Tombstones string `type:"path" placeholder:"FILE" help:"File that keeps erased people away after a restore; tombstones in the data folder when left out. Keep it, or a copy, where the loss of the registry does not reach."`
}

// withTombstones is with, for commands that take the flag.
func (d dataFlag) withTombstones(ctx context.Context, t tombstonesFlag, do func(*folder) error) error {
	f, err := d.folder(t.Tombstones)
	if err != nil {
		return err
	}
	if err := f.open(ctx); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(do(f), f.Close())
}

// outside keeps tombstones outside of the registry.
func (f *folder) outside() backup.Tombstones {
	return backup.Tombstones{Path: f.tombstones, Sealer: f.vault}
}

// strayTombstones compares the file with the registry: tombstones that only the registry has, and
// those of erasures that never came to their end, which only the file has.
func (f *folder) strayTombstones(ctx context.Context) (unkept, unburied []annona.Tombstone, err error) {
	buried, err := f.gate.Erasures(ctx, operator())
	if err != nil {
		return nil, nil, err
	}
	kept, err := f.outside().Read()
	if annona.CodeOf(err) == "tombstones_missing" {
		kept, err = nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return without(buried, kept), without(kept, buried), nil
}

// without returns those of all that are not among others.
func without(all, others []annona.Tombstone) (rest []annona.Tombstone) {
	known := make(map[annona.UID]bool, len(others))
	for _, stone := range others {
		known[stone.ID] = true
	}
	for _, stone := range all {
		if !known[stone.ID] {
			rest = append(rest, stone)
		}
	}
	return rest
}

// keepTombstones writes into the file what only the registry has.
func (f *folder) keepTombstones(ctx context.Context) error {
	unkept, _, err := f.strayTombstones(ctx)
	if err != nil {
		return err
	}
	for _, stone := range unkept {
		if err := f.outside().Keep(ctx, stone); err != nil {
			return err
		}
	}
	return nil
}

type subjectTombstones struct {
	dataFlag
	tombstonesFlag
	Finish bool `help:"Also finish the erasures that only the file knows: they were interrupted, or the registry was restored without them."`
}

// Run makes the file of tombstones whole again, or a new one.
func (s subjectTombstones) Run(ctx context.Context, c console) error {
	return s.withTombstones(ctx, s.tombstonesFlag, func(f *folder) error {
		unkept, unburied, err := f.strayTombstones(ctx)
		if err != nil {
			return err
		}
		if err := f.keepTombstones(ctx); err != nil {
			return err
		}
		fmt.Fprintf(c.out, "tombstones added to the file: %d; only in the file: %d\n", len(unkept), len(unburied))
		if !s.Finish || len(unburied) == 0 {
			return nil
		}
		erased, err := f.gate.Rebury(ctx, operator(), unburied, true)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "records erased: %d\n", erased)
		return err
	})
}
