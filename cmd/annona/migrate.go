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
	Database     string `required:"" placeholder:"URL" help:"Database, in the role of the registry's owner."`
	PasswordFile string `name:"database-password-file" type:"path" placeholder:"FILE" help:"Passwords of the database roles: lines of host:port:database:role:password."`
	rolesFlag
}

// rolesFlag names the database roles that serve.
type rolesFlag struct {
	AppRole  string `placeholder:"ROLE" help:"Database role that serves, without rights on the schema; it gets the rights that serving needs, and is made when it is missing. Without it, the owner serves."`
	KeysRole string `placeholder:"ROLE" help:"Database role that alone reaches the keys, for --keys-database; it is made when it is missing. Without it, the role that serves does both, unless they were kept apart before."`
}

func (r rolesFlag) setup() postgres.Setup {
	return postgres.Setup{Dictionary: annona.Standard(), App: r.AppRole, Keys: r.KeysRole}
}

func (m migrateUp) Run(ctx context.Context, c console) error {
	status, err := postgres.Migrate(ctx, withPasswordFile(m.Database, m.PasswordFile), m.setup())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "The schema has version %d, the latest.\n", status.Version)
	return err
}

type migrateStatus struct {
	Database     string `required:"" placeholder:"URL" help:"Database of the registry."`
	PasswordFile string `name:"database-password-file" type:"path" placeholder:"FILE" help:"Passwords of the database roles: lines of host:port:database:role:password."`
}

// Run prints the status and fails when something is to be done.
func (m migrateStatus) Run(ctx context.Context, c console) error {
	status, err := postgres.MigrationStatus(ctx, withPasswordFile(m.Database, m.PasswordFile))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "version: %d\nlatest:  %d\n", status.Version, status.Latest)
	if status.Version < status.Latest {
		return annona.Conflict("store_outdated", "the schema is behind this program; run annona migrate as its owner")
	}
	return nil
}
