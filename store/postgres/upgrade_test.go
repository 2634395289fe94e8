package postgres

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// freeze writes the dump of a version that is being released: from then on it may not change any
// more, and every later version is tested on a database of it.
var freeze = flag.Bool("freeze", false, "write testdata/schema-vN.sql for the latest version of the schema")

func frozen(version int) string {
	return filepath.Join("testdata", fmt.Sprintf("schema-v%d.sql", version))
}

// TestUpgradeFromEveryVersion brings a database of every version so far up to date and expects what
// a new database has. A version without a dump is the one that is still being made.
func TestUpgradeFromEveryVersion(t *testing.T) {
	c := testCluster(t)
	latest := len(migrations())
	if *freeze {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(frozen(latest), []byte(dumpOf(t, c, migrations())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for version := 1; version <= latest; version++ {
		dump, err := os.ReadFile(frozen(version))
		switch {
		case os.IsNotExist(err) && version == latest:
			dump = []byte(dumpOf(t, c, migrations()))
		case err != nil:
			t.Fatalf("version %d has been released without its dump: check out the release and run go test ./store/postgres -run TestUpgradeFromEveryVersion -freeze", version)
		}
		upgrade(t, c, string(dump), migrations(), "")
	}
}

// TestUpgradeToTheNextVersion does with a version that does not exist yet what the test above will do
// when it does, and sees that a step which was changed after its release is found.
func TestUpgradeToTheNextVersion(t *testing.T) {
	c := testCluster(t)
	dump := dumpOf(t, c, migrations())
	next := `ALTER TABLE individuals ADD COLUMN note bigint NOT NULL DEFAULT 7;
		CREATE TABLE more (n bigint PRIMARY KEY); CREATE INDEX individuals_note ON individuals (note);
		UPDATE areas SET level = 9; DROP INDEX households_area`
	upgrade(t, c, dump, append(migrations(), next), "")

	changed := migrations()
	changed[len(changed)-1] += "; CREATE INDEX added_later ON individuals (version)"
	upgrade(t, c, dump, changed, "added_later")
	upgrade(t, c, dump, append(changed, next), "added_later")
}

// upgrade loads a dump and lets two nodes bring it up to date at once, twice. What differs from a new
// database mentions differs; nothing differs when that is empty.
func upgrade(t *testing.T, c *cluster, dump string, steps []string, differs string) {
	t.Helper()
	database, fresh := c.newDatabase(t), c.newDatabase(t)
	session := c.session(t, "postgres", database)
	if _, err := session.Exec(t.Context(), dump, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("the dump does not load: %v", err)
	}
	setup := Setup{Dictionary: annona.Standard(), App: "app"}
	for range 2 {
		var nodes sync.WaitGroup
		for range 2 {
			nodes.Go(func() {
				if status, err := migrate(t.Context(), c.URL("postgres", database), setup, steps); err != nil || status.Version != len(steps) {
					t.Errorf("%+v, %v", status, causes(err))
				}
			})
		}
		nodes.Wait()
	}
	if _, err := migrate(t.Context(), c.URL("postgres", fresh), setup, steps); err != nil {
		t.Fatal(causes(err))
	}
	got, want := catalog(t, session), catalog(t, c.session(t, "postgres", fresh))
	for _, line := range append(missing(want, got), missing(got, want)...) {
		if differs == "" || !strings.Contains(line, differs) {
			t.Errorf("upgraded and new differ: %s", line)
		}
	}
	if differs != "" {
		if slices.Equal(got, want) {
			t.Error("a change of a released step is not found")
		}
		return
	}
	for table, count := range map[string]int64{"individuals": 3, "restrictions": 1, "ledger": 1, "log": 4, "event_queue": 0} {
		if n := ask(t, session, "SELECT count(*) FROM annona."+table); n != count {
			t.Errorf("%d rows of %s after the upgrade, want %d", n, table, count)
		}
	}
	if len(steps) == len(migrations()) {
		s := c.open(t, "app", database)
		put(t, s.Store, "new", "1")
		checkLog(t, s, 5)
		storetest.CheckTree(t, s, 1)
	}
}

// dumpOf makes a registry by those steps, with a little of everything in it, and dumps it.
func dumpOf(t *testing.T, c *cluster, steps []string) string {
	t.Helper()
	database := c.newDatabase(t)
	if _, err := migrate(t.Context(), c.URL("postgres", database), Setup{Dictionary: annona.Standard(), App: "app"}, steps); err != nil {
		t.Fatal(causes(err))
	}
	s := c.open(t, "app", database)
	for _, key := range []string{"a", "b", "c"} {
		put(t, s.Store, key, "1")
	}
	restrict(t, s.Store, 1)
	if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
		t.Fatal(causes(err))
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(causes(err))
	}
	dump, err := c.Dump(database)
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, "SET check_function_bodies") { // a function may stand before its tables
			kept.WriteString(line)
		}
		if !strings.HasPrefix(line, "SET ") && !strings.HasPrefix(line, `\`) && !strings.HasPrefix(line, "--") { // of one version of PostgreSQL
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func missing(from, in []string) (lines []string) {
	for _, line := range from {
		if !slices.Contains(in, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// catalog describes both schemas, line by line. The order of columns means nothing.
func catalog(t *testing.T, s *pgx.Conn) []string {
	t.Helper()
	rows, err := s.Query(t.Context(), `
		WITH ours AS (SELECT c.*, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('annona', 'annona_keys'))
		SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, array_to_string(reloptions, ','), relrowsecurity) FROM ours
		UNION ALL SELECT concat_ws(' ', 'column', o.name, attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attstorage, attcollation::regcollation, pg_get_expr(adbin, adrelid))
			FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid LEFT JOIN pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum
			WHERE o.relkind = 'r' AND attnum > 0 AND NOT attisdropped
		UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(oid)) FROM ours WHERE relkind = 'i'
		UNION ALL SELECT concat_ws(' ', 'constraint', o.name, conname, pg_get_constraintdef(k.oid)) FROM ours o JOIN pg_constraint k ON k.conrelid = o.oid
		UNION ALL SELECT concat_ws(' ', 'sequence', name, seqtypid::regtype, seqincrement, seqmin, seqmax, seqcache, seqcycle) FROM ours JOIN pg_sequence ON seqrelid = oid
		UNION ALL SELECT concat_ws(' ', 'right', name, grantee::regrole, privilege_type) FROM ours, aclexplode(relacl)
		UNION ALL SELECT concat_ws(' ', 'right', nspname, grantee::regrole, privilege_type) FROM pg_namespace, aclexplode(nspacl) WHERE nspname IN ('annona', 'annona_keys')
		UNION ALL SELECT concat_ws(' ', 'routine', oid::regprocedure) FROM pg_proc WHERE pronamespace IN ('annona'::regnamespace, 'annona_keys'::regnamespace)
		UNION ALL SELECT concat_ws(' ', 'policy', polrelid::regclass, polname) FROM pg_policy
		UNION ALL SELECT concat_ws(' ', 'trigger', tgrelid::regclass, pg_get_triggerdef(oid)) FROM pg_trigger
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(lines) < 100 {
		t.Fatal(len(lines), err)
	}
	return lines
}
