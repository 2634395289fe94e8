package main

import (
	"context"
	"fmt"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/postgres"
)

// migrateCommand looks after the schema of a registry in PostgreSQL. One in a folder looks
// after itself.
type migrateCommand struct {
	Up     migrateUp     `cmd:"" default:"withargs" help:"Bring the schema up to date, as its owner. It may run twice, and on several nodes at once."`
	Status migrateStatus `cmd:"" help:"Print the version of the schema."`
}

type migrateUp struct {
	Database string `required:"" placeholder:"URL" help:"Database, in the role of the registry's owner."`
	AppRole  string `placeholder:"ROLE" help:"Database role that serves; it gets the rights that serving needs, and is made when it is missing."`
}

func (m migrateUp) Run(ctx context.Context, c console) error {
	status, err := postgres.Migrate(ctx, m.Database, postgres.Setup{Dictionary: annona.Standard(), App: m.AppRole})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "The schema has version %d, the latest.\n", status.Version)
	return err
}

type migrateStatus struct {
	Database string `required:"" placeholder:"URL" help:"Database of the registry."`
}

// Run prints the status and fails when something is to be done.
func (m migrateStatus) Run(ctx context.Context, c console) error {
	status, err := postgres.MigrationStatus(ctx, m.Database)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "version: %d\nlatest:  %d\n", status.Version, status.Latest)
	if status.Version < status.Latest {
		return annona.Conflict("store_outdated", "the schema is behind this program; run annona migrate as its owner")
	}
	return nil
}
