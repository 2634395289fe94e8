package postgres

import (
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annona-exchange/annona"
)

func serverCode(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return server.Code
	}
	return ""
}

// TestMigrateFromSeveralNodes starts nodes at once on an empty database.
func TestMigrateFromSeveralNodes(t *testing.T) {
	c := testCluster(t)
	database := c.newDatabase(t)
	url := c.URL("postgres", database)
	if status, err := MigrationStatus(t.Context(), url); err != nil || status != (Status{0, 1}) {
		t.Fatalf("an empty database: %+v, %v", status, causes(err))
	}
	var nodes sync.WaitGroup
	for range 5 {
		nodes.Go(func() {
			status, err := Migrate(t.Context(), url, Setup{Dictionary: annona.Standard(), App: "app"})
			if err != nil || status != (Status{1, 1}) {
				t.Errorf("%+v, %v", status, causes(err))
			}
		})
	}
	nodes.Wait()
	if status, err := MigrationStatus(t.Context(), url); err != nil || status != (Status{1, 1}) {
		t.Fatalf("%+v, %v", status, causes(err))
	}
	put(t, c.open(t, "app", database).Store, "p", "1")
	if _, err := Migrate(t.Context(), url, Setup{App: `x"; DROP`}); annona.CodeOf(err) != "role_malformed" {
		t.Errorf("a malformed role: %v", err)
	}
}

// Registries of one server share its roles: they are migrated at the same moment, each with a role that
// none of them has made yet.
func TestMigrateSeveralDatabasesOfOneServer(t *testing.T) {
	t.Parallel()
	c := testCluster(t)
	role := "shared" + annona.NewUID().String()
	var all sync.WaitGroup
	for range 6 {
		url := c.URL("postgres", c.newDatabase(t))
		all.Go(func() {
			if _, err := Migrate(t.Context(), url, Setup{App: role}); err != nil {
				t.Error(causes(err))
			}
		})
	}
	all.Wait()
}

// TestMigrateFromThePreviousSchema adds a step, lets one fail, and meets the future.
func TestMigrateFromThePreviousSchema(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	url := c.URL("postgres", database)
	put(t, c.open(t, "app", database).Store, "p", "1")
	broken := []string{schemaV1, "CREATE TABLE half (n bigint)", "no SQL at all"}
	if _, err := migrate(t.Context(), url, Setup{}, broken); err == nil {
		t.Fatal("a step that fails is not reported")
	}
	if status, err := MigrationStatus(t.Context(), url); err != nil || status.Version != 1 {
		t.Fatalf("a failed step was kept: %+v, %v", status, causes(err))
	}
	next := []string{schemaV1, "ALTER TABLE individuals ADD COLUMN note bigint; CREATE TABLE more (n bigint)"}
	if status, err := migrate(t.Context(), url, Setup{App: "app"}, next); err != nil || status != (Status{2, 2}) {
		t.Fatalf("%+v, %v", status, causes(err))
	}
	session := c.session(t, "app", database)
	if n := ask(t, session, "SELECT count(*) FROM annona.individuals WHERE note IS NULL"); n != 1 {
		t.Errorf("%d records after the upgrade, want 1", n)
	}
	if n := ask(t, session, "SELECT count(*) FROM annona.more"); n != 0 {
		t.Error("the serving role cannot read a new table")
	}
	if _, err := Open(t.Context(), Options{URL: url}); annona.CodeOf(err) != "store_too_new" {
		t.Errorf("a schema from the future: %v", err)
	}
	if _, err := Migrate(t.Context(), url, Setup{}); annona.CodeOf(err) != "store_too_new" {
		t.Errorf("a schema from the future: %v", err)
	}
}

// TestMigrateAsAnOrdinaryOwner needs no superuser.
func TestMigrateAsAnOrdinaryOwner(t *testing.T) {
	c := testCluster(t)
	c.newRegistry(t) // makes the role app: an ordinary owner may not
	admin := c.session(t, "postgres", "postgres")
	mustExec(t, admin, "CREATE ROLE ordinary LOGIN")
	mustExec(t, admin, "ALTER ROLE ordinary SET log_error_verbosity = 'terse'")
	mustExec(t, admin, "ALTER ROLE ordinary SET log_parameter_max_length = 0")
	database := c.newDatabase(t)
	mustExec(t, admin, "ALTER DATABASE "+database+" OWNER TO ordinary")
	for range 2 {
		if _, err := Migrate(t.Context(), c.URL("ordinary", database), Setup{Dictionary: annona.Standard(), App: "app"}); err != nil {
			t.Fatal(causes(err))
		}
	}
	put(t, c.open(t, "ordinary", database).Store, "p", "1")
	put(t, c.open(t, "app", database).Store, "q", "1")
}
