package main

import (
	"fmt"

	"github.com/annona-exchange/annona/vault"
)

type initCommand struct {
	dataFlag
}

func (i initCommand) Run(c console) error {
	if err := makeFolder(i.Data, vault.Production); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.out, "An empty registry is in %s.\nKeep its root.key safe, and apart from backups of the rest: without it the registry cannot be opened.\n", i.Data)
	return err
}
