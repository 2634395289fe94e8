package postgres

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// TestKeysRole keeps the keys away from the role that serves, and the records from the role of the
// keys.
func TestKeysRole(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t) // where the role app has both
	owner := c.URL("postgres", database)
	if _, err := OpenSecrets(t.Context(), c.URL("app", database)); err != nil {
		t.Fatalf("one role for both: %v", causes(err))
	}
	for _, s := range []Setup{{App: "app", Keys: "keeper"}, {App: "app"}, {App: "another", Keys: "keeper"}, {App: "app"}} { // once apart, they stay apart
		if _, err := Migrate(t.Context(), owner, s); err != nil {
			t.Fatal(causes(err))
		}
		checkApart(t, c, database)
	}
	refuseSetup(t, owner, Setup{App: "app", Keys: "app"})
	refuseSetup(t, owner, Setup{Keys: "Keeper; DROP"})

	s := c.open(t, "app", database)
	put(t, s.Store, "p", "1")
	if _, err := OpenSecrets(t.Context(), c.URL("app", database)); annona.CodeOf(err) != "store_keys_not_allowed" {
		t.Errorf("the serving role opens the keys: %v", causes(err))
	}
	keys, err := OpenSecrets(t.Context(), c.URL("keeper", database))
	if err != nil {
		t.Fatal(causes(err))
	}
	defer keys.Close()
	if err := keys.Put(annona.Secret{Label: "realm", Version: 1, At: storetest.Clock(), Wrapped: []byte("one")}); err != nil {
		t.Error(causes(err))
	}
	if err := keys.BelongTo(t.Context(), s.Store); err != nil {
		t.Error(causes(err))
	}
	other := c.newRegistry(t)
	if err := keys.BelongTo(t.Context(), c.open(t, "app", other).Store); annona.CodeOf(err) != "keys_foreign" {
		t.Errorf("keys of another database: %v", causes(err))
	}
}

func refuseSetup(t *testing.T, url string, s Setup) {
	t.Helper()
	if _, err := Migrate(t.Context(), url, s); annona.CodeOf(err) != "role_malformed" {
		t.Errorf("%+v: %v", s, causes(err))
	}
}

// checkApart runs SQL as either role against every table of the other's schema.
func checkApart(t *testing.T, c *cluster, database string) {
	t.Helper()
	admin := c.session(t, "postgres", database)
	for role, schemas := range map[string][]string{"app": {"annona_keys"}, "keeper": {"annona"}} {
		session := c.session(t, role, database)
		for _, schema := range schemas {
			for _, table := range tablesOf(t, c, database, schema) {
				if table == "annona.schema_version" {
					continue
				}
				for _, sql := range []string{"SELECT FROM " + table, "DELETE FROM " + table, "TRUNCATE " + table, "COPY " + table + " TO STDOUT"} {
					if _, err := session.Exec(t.Context(), sql); serverCode(err) != "42501" {
						t.Errorf("%s: %s: %v", role, sql, err)
					}
				}
			}
		}
	}
	if n := ask(t, admin, "SELECT count(*) FROM information_schema.role_table_grants WHERE table_schema = 'annona_keys' AND grantee NOT IN ('postgres', 'keeper')"); n != 0 {
		t.Errorf("%d rights on the keys belong to others", n)
	}
}

func tablesOf(t *testing.T, c *cluster, database, schema string) (tables []string) {
	t.Helper()
	rows, err := c.session(t, "postgres", database).Query(t.Context(), "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_schema = $1 ORDER BY 1", schema)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	if len(tables) == 0 {
		t.Fatal("no tables in ", schema)
	}
	return tables
}

// TestEveryTableIsGranted finds a table that was added to the schema and forgotten in grants. What
// is only read is named here.
func TestEveryTableIsGranted(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	named := []string{"annona.schema_version", "annona.extensions"}
	for _, g := range grants {
		if g.rights == "EXECUTE" {
			continue
		}
		for _, table := range strings.Split(g.tables, ", ") {
			if !strings.Contains(table, ".") {
				table = "annona." + table
			}
			named = append(named, table)
		}
	}
	all := append(tablesOf(t, c, database, "annona"), tablesOf(t, c, database, keysSchema)...)
	for _, table := range all {
		if !slices.Contains(named, table) {
			t.Errorf("%s has no line in grants", table)
		}
	}
	for _, table := range named {
		if !slices.Contains(all, table) {
			t.Errorf("grants names %s, which is not there", table)
		}
	}
	// Nobody else has any right, and the role that serves has those of grants.
	session := c.session(t, "postgres", database)
	if n := ask(t, session, `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
		WHERE n.nspname LIKE 'annona%' AND a.grantee NOT IN ('app'::regrole, 'postgres'::regrole)`); n != 0 {
		t.Errorf("%d rights belong to others", n)
	}
	for _, g := range grants {
		if name, ok := strings.CutPrefix(g.tables, "FUNCTION "); ok {
			if n := ask(t, session, "SELECT bool_and(has_function_privilege('app', p.oid, 'EXECUTE') AND NOT has_function_privilege('public', p.oid, 'EXECUTE'))::int FROM pg_proc p WHERE p.proname = '"+name+"'"); n != 1 {
				t.Errorf("the role that serves cannot call %s, or everybody can", name)
			}
			continue
		}
		for _, right := range strings.Split(g.rights, ", ") {
			for _, table := range strings.Split(g.tables, ", ") {
				name := table
				if !strings.Contains(name, ".") {
					name = "annona." + name
				}
				right, column, _ := strings.Cut(strings.TrimSuffix(right, ")"), " (")
				question := fmt.Sprintf("SELECT has_table_privilege('app', '%s', '%s')::int", name, right)
				if column != "" {
					question = fmt.Sprintf("SELECT has_column_privilege('app', '%s', '%s', '%s')::int", name, column, right)
				}
				if n := ask(t, session, question); n != 1 {
					t.Errorf("the role that serves lacks %s on %s", right, name)
				}
			}
		}
	}
}
