package main

import (
	"context"
	"fmt"

	"github.com/annona-exchange/annona/vault"
)

type initCommand struct {
	dataFlag
	rolesFlag
}

func (i initCommand) Run(ctx context.Context, c console) error {
	if i.Database != "" {
		return i.inDatabase(ctx, c)
	}
	if err := makeFolder(i.Data, vault.Production); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.out, "An empty registry is in %s.\nKeep its root.key safe, and apart from backups of the rest: without it the registry cannot be opened.\n", i.Data)
	return err
}

func (i initCommand) inDatabase(ctx context.Context, c console) error {
	d, err := i.complete()
	if err != nil {
		return err
	}
	if err := makeDatabase(ctx, i.Data, d.Database, i.setup()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "An empty registry is in the database, its root.key in %s.\nKeep root.key safe, and apart from backups of the database: without it the registry cannot be opened.\n", i.Data)
	return err
}
