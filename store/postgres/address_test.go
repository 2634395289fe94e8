package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// misleading is what an environment could say to lead a connection elsewhere.
func misleading(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	for _, name := range []string{".pgpass", "pass"} {
		writePassfile(t, filepath.Join(home, name), "stray", 0o600)
	}
	for name, value := range map[string]string{
		"HOME": home, "PGHOST": "stray.example", "PGPORT": "1", "PGDATABASE": "stray", "PGUSER": "stray", "PGPASSWORD": "stray",
		"PGPASSFILE": filepath.Join(home, "pass"), "PGAPPNAME": "stray", "PGCONNECT_TIMEOUT": "1", "PGSSLMODE": "disable", "PGSSLCERT": "stray",
		"PGSSLKEY": "stray", "PGSSLROOTCERT": "stray", "PGSSLPASSWORD": "stray", "PGSSLSNI": "0", "PGSSLNEGOTIATION": "direct", "PGSSLCERTMODE": "bogus",
		"PGTARGETSESSIONATTRS": "standby", "PGSERVICEFILE": "stray", "PGTZ": "Asia/Tokyo", "PGOPTIONS": "-c search_path=stray",
		"PGMINPROTOCOLVERSION": "3.2", "PGMAXPROTOCOLVERSION": "3.2", "PGCHANNELBINDING": "require", "PGREQUIREAUTH": "md5",
	} {
		t.Setenv(name, value)
	}
}

func writePassfile(t *testing.T, path, password string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte("*:*:*:*:"+password+"\n"), mode); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyTheURL opens a registry while the environment and the home folder say something else.
func TestOnlyTheURL(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	admin := c.session(t, "postgres", "postgres")
	misleading(t)
	put(t, c.open(t, "app", database).Store, "p", "1")
	if n := ask(t, admin, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stray'"); n != 0 {
		t.Error("a name of the environment reached the server")
	}
	for _, url := range []string{"postgres://app@/" + database, "postgres:///" + database + "?host=/tmp", "postgres://app@localhost", "postgres://localhost/" + database} {
		if _, err := Open(t.Context(), Options{URL: url}); annona.CodeOf(err) != "store_url" {
			t.Errorf("%s: what is missing was taken from elsewhere: %v", url, causes(err))
		}
	}
	for url, want := range map[string]string{
		"postgres://app@db.example/x":                            "db.example 5432 app x any true",
		"postgres://app@[::1]:7/x":                               "::1 7 app x any true",
		"postgres://app@[::1]/x":                                 "::1 5432 app x any true",
		"postgres://app@/x?host=/a,/b&port=1,2":                  "/a 1 app x primary false",
		"postgres://app@a,b/x":                                   "a 5432 app x primary true",
		"postgres://app@a,b/x?target_session_attrs=any":          "a 5432 app x any true",
		"postgres://o%27%5CN@localhost/a%20b?sslmode=disable":    `localhost 5432 o'\N a b any false`,
		"postgres://app@db.example/x?sslmode=require":            "db.example 5432 app x any true",
		"postgres://app@localhost/x?channel_binding=disable":     "localhost 5432 app x any true",
		"postgres://app@localhost/x?require_auth=scram-sha-256":  "localhost 5432 app x any true",
		"postgres://app@localhost/x?sslmode=verify-full&port=12": "",
		"postgres://app@localhost/x?host=/tmp":                   "",
		"postgres://app@localhost/x?options=-c%20role=x":         "",
		"postgres://app@localhost/x?search_path=y":               "",
		"postgres://app@localhost/x?service=y":                   "",
		"postgres://app@localhost/x?pool_max_conns=1":            "",
		"postgres://app@localhost/x?sslmode=disable&sslmode=no":  "",
	} {
		config, err := parse(url, writing)
		if want == "" {
			if annona.CodeOf(err) != "store_url" {
				t.Errorf("%s: %v", url, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		cc := config.ConnConfig
		named, _ := readAddress(url, "primary")
		got := strings.Join([]string{cc.Host, named["port"], cc.User, cc.Database, named["target_session_attrs"]}, " ") + map[bool]string{true: " true", false: " false"}[cc.TLSConfig != nil]
		if cc.Password != "" || got != want && !strings.HasPrefix(got, "/a 1,2") {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		if cc.TLSConfig != nil && strings.Contains(url, "db.example/x") && !strings.Contains(url, "sslmode") && (cc.TLSConfig.InsecureSkipVerify || cc.TLSConfig.ServerName != "db.example") {
			t.Errorf("%s: the server's certificate is not checked", url)
		}
		if cc.RuntimeParams["search_path"] != "annona" || cc.RuntimeParams["timezone"] != "UTC" || cc.RuntimeParams["options"] != "" {
			t.Errorf("%s: settings %v", url, cc.RuntimeParams)
		}
	}
}

// TestPasswordFile opens with a password file, refuses one that others may read, and takes a new
// password for new connections.
func TestPasswordFile(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	admin := c.session(t, "postgres", database)
	mustExec(t, admin, "DO $$ BEGIN CREATE ROLE needs_password LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
	mustExec(t, admin, "ALTER ROLE needs_password PASSWORD 'first'")
	mustExec(t, admin, "ALTER ROLE needs_password SET log_error_verbosity = 'terse'")
	mustExec(t, admin, "ALTER ROLE needs_password SET log_parameter_max_length = 0")
	mustExec(t, admin, "GRANT app TO needs_password")
	file := filepath.Join(t.TempDir(), "passwords")
	url := c.URL("needs_password", database) + "&passfile=" + file
	refuse := func(code string) {
		t.Helper()
		if _, err := Open(t.Context(), Options{URL: url}); annona.CodeOf(err) != code || strings.Contains(causes(err), "first") {
			t.Errorf("want %s, got %v", code, causes(err))
		}
	}
	refuse("password_file_missing")
	writePassfile(t, file, "first", 0o640)
	refuse("password_file_exposed")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := c.openURL(t, url)
	put(t, s.Store, "p", "1")

	mustExec(t, admin, "ALTER ROLE needs_password PASSWORD 'second'")
	refuse("store_denied")
	writePassfile(t, file, "second", 0o600)
	s.readers.Reset()
	s.writers.Reset()
	put(t, s.Store, "p", "2") // on a new connection
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o700); err != nil {
		t.Fatal(err)
	}
	refuse("password_file_unreadable")
}
