package annona_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/annona-exchange/annona"

// mayImport says which of our packages each of our packages may import: down, never sideways
// or up. A folder that is missing here fails the test, so that a new one is placed on purpose.
var mayImport = map[string][]string{
	"":                            {},
	"policy":                      {"", "filter"},
	"privacy":                     {"", "filter"},
	"filter":                      {""},
	"filter/filtertest":           {"", "filter"},
	"audit":                       {""},
	"vault":                       {""},
	"identity":                    {""},
	"identity/people":             {""},
	"store/postgres":              {""},
	"store/postgres/postgrestest": {},
	"store/sqlite":                {""},
	"store/storetest":             {"", "filter", "filter/filtertest"},
	"schema":                      {""},
	"synthetic":                   {""},
	"backup":                      {""},
	"ingest":                      {"", "filter", "ingest/calendar"},
	"ingest/calendar":             {},
	"ingest/intake":               {"", "exchange", "ingest"},
	"ingest/suggest":              {"", "ingest"},
	"ingest/pull":                 {""},
	"encode":                      {"", "privacy"},
	"exchange":                    {"", "policy", "privacy", "filter", "audit"},
	"jobs":                        {"", "exchange", "encode", "schema", "privacy"},
	"rest":                        {"", "exchange", "encode", "schema", "privacy"},
	"rest/oauth":                  {"", "identity"},
	"rest/signin":                 {"", "identity", "identity/people"},
	"client":                      {},
	"client/assess":               {"", "client", "filter"},
	"examples":                    {},
	"examples/case-system":        {"client"},
	"bench":                       {"store/postgres/postgrestest"},
	"crash":                       {"store/postgres/postgrestest"},
	"scripts/mutants":             {},
	"cmd/annona": {"", "audit", "backup", "client", "client/assess", "encode", "examples", "exchange", "identity", "identity/people", "ingest", "ingest/intake", "ingest/suggest", "ingest/pull", "jobs", "rest", "rest/oauth", "rest/signin", "schema",
		"store/postgres", "store/sqlite", "synthetic", "vault"},
}

// goFiles calls visit for each Go file of the project that is not a test.
func goFiles(t *testing.T, visit func(folder, path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != "." || entry.Name() == "build" || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			visit(strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "."), filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportsPointDown(t *testing.T) {
	seen := map[string]bool{}
	goFiles(t, func(folder, path string) {
		seen[folder] = true
		allowed, placed := mayImport[folder]
		if !placed {
			t.Errorf("%s: the folder %q has no place in the table of imports", path, folder)
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			imported, _ := strconv.Unquote(i.Path.Value)
			checkImport(t, path, folder, imported, allowed)
		}
	})
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("the table of imports names %q, which holds no Go file", folder)
		}
	}
}

func checkImport(t *testing.T, path, folder, imported string, allowed []string) {
	t.Helper()
	ours, inside := strings.CutPrefix(imported, module)
	if !inside {
		if folder == "" && strings.Contains(strings.Split(imported, "/")[0], ".") {
			t.Errorf("%s imports %s: the vocabulary imports the standard library only", path, imported)
		}
		return
	}
	if !slices.Contains(allowed, strings.TrimPrefix(ours, "/")) {
		t.Errorf("%s imports %s: not allowed for %q", path, imported, folder)
	}
}

// The rules below are about words in the source, because the compiler cannot hold them.
var onlyThere = []struct {
	word    string
	folders []string
	why     string
}{
	{"annona.NewScope(", []string{"exchange", "store/storetest"}, "only the gate makes scopes"},
	{"privacy.Disclosed{", nil, "only package privacy makes a Disclosed"},
	{"os.Getenv", []string{"cmd/annona"}, "only cmd reads the environment"},
	{"os.LookupEnv", []string{"cmd/annona"}, "only cmd reads the environment"},
	{"func init()", nil, "nothing registers itself"},
	{".Prepare(", []string{"store/sqlite", "ingest/pull"}, "SQL lives in stores, and in what asks the databases of others"},
}

func TestWordsStayWhereTheyBelong(t *testing.T) {
	goFiles(t, func(folder, path string) {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range onlyThere {
			if strings.Contains(string(source), rule.word) && !slices.Contains(rule.folders, folder) {
				t.Errorf("%s: %s: %s", path, rule.word, rule.why)
			}
		}
	})
}

func TestRootStaysReadableAtAGlance(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), "_test.go") && e.Name() != "bin" && e.Name() != "build" && e.Name() != "testdata" {
			shown++
		}
	}
	if shown > 50 {
		t.Errorf("the root shows %d entries; group them", shown)
	}
}
