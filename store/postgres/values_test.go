package postgres

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

const plantedNumber = 7731077310773107

// catalogColumn is a column of the schema, with a value that must not be seen again.
type catalogColumn struct {
	name, kind string
	required   bool
}

func (c catalogColumn) planted(t *testing.T, n int) any {
	t.Helper()
	switch c.kind {
	case "text":
		return planted
	case "bytea":
		return []byte(planted)
	case "bigint", "integer", "smallint":
		return int64(plantedNumber + n)
	case "uuid":
		return [16]byte([]byte(planted + "000")[:16])
	case "boolean":
		return true
	}
	t.Fatalf("no value of the type %s for %s", c.kind, c.name)
	return nil
}

// catalogColumns reads the columns of a table that a writer gives values to.
func catalogColumns(t *testing.T, s *pgx.Conn, table string) (columns []catalogColumn) {
	t.Helper()
	rows, err := s.Query(t.Context(), `SELECT attname::text, format_type(atttypid, NULL), attnotnull FROM pg_attribute
		WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = '' ORDER BY attnum`, table)
	if err != nil {
		t.Fatal(err)
	}
	columns, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (c catalogColumn, err error) {
		return c, r.Scan(&c.name, &c.kind, &c.required)
	})
	if err != nil || len(columns) == 0 {
		t.Fatal(table, err)
	}
	return columns
}

// TestEveryConstraintLeavesNoValue violates every constraint of every table, as the catalog lists
// them, on a server that logs all it may. No value comes back.
func TestEveryConstraintLeavesNoValue(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	database := c.newRegistry(t)
	admin := c.session(t, "postgres", database)
	for _, setting := range []string{"log_statement = 'all'", "log_min_duration_statement = 0", "log_min_messages = 'info'"} {
		mustExec(t, admin, "ALTER SYSTEM SET "+setting)
	}
	mustExec(t, admin, "SELECT pg_reload_conf()")
	s := c.open(t, "postgres", database) // may write everywhere
	violated := 0
	refuse := func(table, what string, columns []catalogColumn, values []any) {
		t.Helper()
		err := s.Update(t.Context(), func(x annona.Tx) error {
			for range 2 { // a sequencer may have taken the row of a queue that was inserted before
				if err := insertPlanted(x.(*tx).conn, table, columns, values); err != nil {
					return x.(*tx).fault("break a rule", err)
				}
			}
			return nil
		})
		if err == nil {
			t.Errorf("%s: %s is not refused", table, what)
		}
		violated++
		if text := causes(err); strings.Contains(text, planted) || strings.Contains(text, fmt.Sprint(plantedNumber)) {
			t.Errorf("%s: %s: the error says what it must not: %s", table, what, text)
		}
	}
	for _, table := range append(tablesOf(t, c, database, "annona"), tablesOf(t, c, database, keysSchema)...) {
		columns := catalogColumns(t, admin, table)
		for missing, column := range columns {
			if column.required {
				values := plantedRow(t, columns, 0)
				values[missing] = nil
				refuse(table, column.name+" without a value", columns, values)
			}
		}
		if ask(t, admin, "SELECT count(*) FROM pg_index WHERE indrelid = $1::text::regclass AND indisunique", table) == 0 {
			continue
		}
		mustInsert(t, admin, table, columns)
		if ask(t, admin, "SELECT count(*) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attidentity = 'a'", table) == 0 {
			refuse(table, "a row twice", columns, plantedRow(t, columns, 0))
		}
	}
	if violated < 60 {
		t.Errorf("only %d violations", violated)
	}
	if others := ask(t, admin, "SELECT count(*) FROM pg_constraint WHERE connamespace IN ('annona'::regnamespace, 'annona_keys'::regnamespace) AND contype IN ('c', 'f', 'x')"); others > 0 {
		t.Errorf("%d constraints of a kind that this test does not violate", others)
	}
	put(t, c.open(t, "app", database).Store, planted, planted) // what succeeds is logged too
	checkNoValue(t, c)
}

func plantedRow(t *testing.T, columns []catalogColumn, n int) []any {
	t.Helper()
	values := make([]any, len(columns))
	for i, c := range columns {
		values[i] = c.planted(t, n)
	}
	return values
}

func insertPlanted(c *conn, table string, columns []catalogColumn, values []any) error {
	_, err := c.db.Exec(c.ctx, insertInto(table, columns), values...)
	return err
}

func insertInto(table string, columns []catalogColumn) string {
	var names, places []string
	for i, c := range columns {
		names, places = append(names, c.name), append(places, fmt.Sprintf("$%d", i+1))
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(places, ", ") + ")"
}

// mustInsert inserts a row as somebody whose values may be logged nowhere either.
func mustInsert(t *testing.T, admin *pgx.Conn, table string, columns []catalogColumn) {
	t.Helper()
	mustExec(t, admin, "SET log_parameter_max_length = 0")
	mustExec(t, admin, insertInto(table, columns), plantedRow(t, columns, 0)...)
}

// checkNoValue reads the server's log.
func checkNoValue(t *testing.T, c *cluster) {
	t.Helper()
	log, err := os.ReadFile(c.LogFile())
	if err != nil || !strings.Contains(string(log), "violates not-null constraint") || !strings.Contains(string(log), "duplicate key value") || !strings.Contains(string(log), "INSERT INTO") {
		t.Fatalf("the server's log does not show what happened: %v", err)
	}
	marks := []string{planted, hex.EncodeToString([]byte(planted)), fmt.Sprint(plantedNumber)}
	for line := range strings.Lines(string(log)) {
		for _, mark := range marks {
			if strings.Contains(line, mark) {
				t.Errorf("the server's log holds a value: %.80s", line)
				return
			}
		}
	}
}

// TestSettingsAreReadBack takes away one setting after the other.
func TestSettingsAreReadBack(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	database := c.newRegistry(t)
	admin := c.session(t, "postgres", "postgres")
	open := func() error {
		s, err := Open(context.Background(), Options{URL: c.URL("app", database), Clock: storetest.Clock})
		if err == nil {
			s.Close()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(causes(err))
	}
	for setting, code := range map[string]string{
		"log_error_verbosity = 'default'": "store_logs_values",
		"log_error_verbosity = 'verbose'": "store_logs_values",
		"log_parameter_max_length = -1":   "store_logs_values",
		"log_parameter_max_length = 100":  "store_logs_values",
		"synchronous_commit = off":        "store_not_durable",
	} {
		name := strings.Fields(setting)[0]
		role := "ROLE app" // and for synchronous_commit, which nobody has set there, too
		mustExec(t, admin, "ALTER "+role+" SET "+setting)
		if err := open(); annona.CodeOf(err) != code {
			t.Errorf("%s: %v", setting, causes(err))
		}
		mustExec(t, admin, "ALTER "+role+" RESET "+name)
		if name != "synchronous_commit" {
			mustExec(t, admin, "ALTER "+role+" SET "+name+map[bool]string{true: " = 'terse'", false: " = 0"}[name == "log_error_verbosity"])
		}
	}
	// Annona sets this one itself on every connection, whatever the role has.
	mustExec(t, admin, "ALTER ROLE app SET log_parameter_max_length_on_error = -1")
	if err := open(); err != nil {
		t.Error(causes(err))
	}
	for _, name := range []string{"fsync", "full_page_writes"} {
		mustExec(t, admin, "ALTER SYSTEM SET "+name+" = off")
		reload(t, admin, name, "off")
		if err := open(); annona.CodeOf(err) != "store_not_durable" {
			t.Errorf("%s off: %v", name, causes(err))
		}
		if _, err := Migrate(t.Context(), c.URL("postgres", database), Setup{}); annona.CodeOf(err) != "store_not_durable" {
			t.Errorf("%s off: migrate: %v", name, causes(err))
		}
		mustExec(t, admin, "ALTER SYSTEM RESET "+name)
		reload(t, admin, name, "on")
	}
	if err := open(); err != nil {
		t.Error(causes(err))
	}
}

func reload(t *testing.T, admin *pgx.Conn, name, want string) {
	t.Helper()
	mustExec(t, admin, "SELECT pg_reload_conf()")
	waitFor(t, name+" "+want, func() bool {
		return ask(t, admin, "SELECT count(*) FROM pg_settings WHERE name = $1 AND setting = $2", name, want) == 1
	})
}

// TestReadOnlyDatabase opens what accepts no changes.
func TestReadOnlyDatabase(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	admin := c.session(t, "postgres", "postgres")
	mustExec(t, admin, "ALTER DATABASE "+database+" SET default_transaction_read_only = on")
	if _, err := Open(t.Context(), Options{URL: c.URL("app", database)}); annona.CodeOf(err) != "store_read_only" {
		t.Errorf("open: %v", causes(err))
	}
	if _, err := OpenSecrets(t.Context(), c.URL("app", database)); annona.CodeOf(err) != "store_read_only" {
		t.Errorf("secrets: %v", causes(err))
	}
	if _, err := Migrate(t.Context(), c.URL("postgres", database), Setup{}); annona.CodeOf(err) != "store_read_only" {
		t.Errorf("migrate: %v", causes(err))
	}
}

// TestTimeouts reaches the limits of time that every connection has, shortened.
func TestTimeouts(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	put(t, s.Store, "p", "1")
	hold, err := c.session(t, "postgres", database).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.Background()) }()
	if _, err := hold.Exec(t.Context(), "LOCK TABLE annona.individuals"); err != nil {
		t.Fatal(err)
	}
	for setting, sql := range map[string]string{
		"statement_timeout = '50ms'": "SELECT pg_sleep(5)",
		"lock_timeout = '50ms'":      "SELECT count(*) FROM individuals",
	} {
		err := s.Update(t.Context(), func(x annona.Tx) error {
			t := x.(*tx)
			if err := t.conn.exec("SET LOCAL " + setting); err != nil {
				return err
			}
			return t.fault("wait", t.conn.exec(sql))
		})
		if annona.CodeOf(err) != "store_busy" || annona.KindOf(err) != annona.KindUnavailable {
			t.Errorf("%s: %v", setting, causes(err))
		}
	}
	for name, want := range map[string]string{"statement_timeout": "2min", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "2min"} {
		err := s.readers.ask(t.Context(), "look", func(c *conn) error {
			got, err := c.text("SELECT current_setting($1)", name)
			if got != want {
				t.Errorf("%s is %s", name, got)
			}
			return err
		})
		if err != nil {
			t.Error(causes(err))
		}
	}
}
