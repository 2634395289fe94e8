package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// TestDamagedFolders: a folder that is not what it was is refused in words, by every command, and
// is not touched.
func TestDamagedFolders(t *testing.T) {
	t.Parallel()
	whole := newRegistry(t)
	must(t, "import", "--data", whole, "--mapping", ghanaMapping, ghanaSample)
	other := newRegistry(t)
	for name, c := range map[string]struct {
		damage func(t *testing.T, data string)
		code   string
	}{
		"no root key": {remove("root.key"), "root_key_missing"},
		"foreign root key": {func(t *testing.T, data string) {
			copyFile(t, filepath.Join(other, "root.key"), filepath.Join(data, "root.key"))
		}, "root_key_foreign"},
		"root key for all":  {chmod("root.key", 0o644), "root_key_exposed"},
		"no root key in it": {overwrite("root.key", 0, "nonsense"), "root_key_malformed"},
		"no secrets":        {remove("keys.sqlite"), "secrets_missing"},
		"no store":          {remove("annona.sqlite"), "store_missing"},
		"store cut off":     {truncate("annona.sqlite", 5000), "store_damaged"},
		"store overwritten": {overwrite("annona.sqlite", 0, strings.Repeat("nonsense", 1000)), "store_damaged"},
		"another's store":   {anotherStore, "store_foreign"},
		"future schema":     {pragma("annona.sqlite", "user_version = 99"), "store_too_new"},
		"future secrets":    {pragma("keys.sqlite", "user_version = 99"), "store_too_new"},
		"nothing":           {func(t *testing.T, data string) { check(t, os.RemoveAll(data)) }, "store_missing"},
		"a file":            {func(t *testing.T, data string) { check(t, os.RemoveAll(data)); writeFile(t, data, nil) }, "store_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "registry")
			copyFolder(t, whole, data)
			c.damage(t, data)
			before := filesOf(t, data)
			for _, args := range [][]string{
				{"verify", "--data", data},
				{"serve", "--data", data, "--listen", "127.0.0.1:0"},
				{"import", "--data", data, "--mapping", ghanaMapping, ghanaSample},
				{"key", "create", "--data", data, "--agreement", "eligibility"},
			} {
				refused(t, c.code, args...)
			}
			if after := filesOf(t, data); after != before {
				t.Errorf("the folder was touched: %s, before %s", after, before)
			}
		})
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, data string) { check(t, os.Remove(filepath.Join(data, name))) }
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, data string) { check(t, os.Chmod(filepath.Join(data, name), mode)) }
}

func truncate(name string, size int64) func(*testing.T, string) {
	return func(t *testing.T, data string) { check(t, os.Truncate(filepath.Join(data, name), size)) }
}

func overwrite(name string, at int64, text string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		f, err := os.OpenFile(filepath.Join(data, name), os.O_WRONLY, 0)
		check(t, err)
		_, err = f.WriteAt([]byte(text), at)
		check(t, err)
		check(t, f.Close())
	}
}

func pragma(name, statement string) func(*testing.T, string) {
	return func(t *testing.T, data string) { execute(t, filepath.Join(data, name), "PRAGMA "+statement) }
}

func anotherStore(t *testing.T, data string) {
	path := filepath.Join(data, "annona.sqlite")
	check(t, os.Remove(path))
	execute(t, path, "CREATE TABLE notes (text)")
}

func execute(t testing.TB, path, statement string) {
	t.Helper()
	conn, err := sqlite.OpenConn(path)
	check(t, err)
	check(t, sqlitex.ExecuteTransient(conn, statement, nil))
	check(t, conn.Close())
}

// filesOf lists names, modes and sizes.
func filesOf(t testing.TB, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "no folder"
	}
	var list strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		check(t, err)
		fmt.Fprintln(&list, e.Name(), info.Mode(), info.Size())
	}
	return list.String()
}

// TestDamageInTheMidst: a page of the store that was overwritten on the disk stops what reads it,
// with a body that breaks off or a refusal. Nothing of the page is shown.
func TestDamageInTheMidst(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	key := createKey(t, data, "eligibility").Key
	path := filepath.Join(data, "annona.sqlite")
	info, err := os.Stat(path)
	check(t, err)
	for at := int64(1 << 20); at < info.Size(); at += 1 << 20 {
		overwrite("annona.sqlite", at, strings.Repeat(planted, 400))(t, data)
	}
	s := serveFolder(t, data, key)
	a := s.get("/v1/individuals/export", about(eligibility, "format", "ndjson"))
	if a.err == nil && a.status < 500 {
		t.Errorf("the export ends well: status %d, %d bytes", a.status, len(a.body))
	}
	s.stop()
	for what, text := range map[string]string{"body": string(a.body), "log": s.err.String()} {
		if strings.Contains(text, planted) {
			t.Errorf("the %s shows what lies on the disk", what)
		}
	}
	if bytes.Contains([]byte(s.err.String()), []byte("panic")) {
		t.Errorf("the server panics: %s", s.err)
	}
}

// A port that is left out says that there is nothing of its kind: no approvals, say, so that nothing waits
// for a second person. The program leaves none out.
func TestTheGateHasAllItsPorts(t *testing.T) {
	t.Parallel()
	whileServed := []string{"Rates", "Buckets", "AttachmentLimit"}
	check(t, dataFlag{Data: newRegistry(t)}.with(t.Context(), func(f *folder) error {
		config := reflect.ValueOf(f.gate.Config)
		for i := range config.NumField() {
			if name := config.Type().Field(i).Name; config.Field(i).IsZero() && !slices.Contains(whileServed, name) {
				t.Errorf("the gate is made without %s", name)
			}
		}
		return nil
	}))
}
