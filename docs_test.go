package annona_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every link between our pages leads somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)
	pages := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (file == "build" || file == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(file) != ".md":
			return nil
		}
		pages++
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s", file, m[1])
			}
		}
		return nil
	})
	if err != nil || pages < 10 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

// The map names files that are there.
func TestTheMapIsOfThisPlace(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([a-z/.]+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(read(t, "docs/map.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("%d folders", len(rows))
	}
	for _, row := range rows {
		for _, file := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			if _, err := os.Stat(filepath.Join(row[1], file[1])); err != nil {
				t.Errorf("the map shows %s in %s", file[1], row[1])
			}
		}
	}
}

// docs/dependencies.md names every module that go.mod pins, and no other.
func TestDependenciesAreNamed(t *testing.T) {
	pinned, named := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		pinned[m[1]] = true
	}
	permissive := regexp.MustCompile(`^(Apache-2\.0|BSD-[23]-Clause|MIT|ISC|MPL-2\.0)(, (Apache-2\.0|BSD-[23]-Clause|MIT|ISC|MPL-2\.0))*$`)
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		named[m[1]] = true
		if !permissive.MatchString(strings.TrimSpace(m[2])) {
			t.Errorf("%s is under %s", m[1], m[2])
		}
	}
	for module := range pinned {
		if !named[module] {
			t.Errorf("docs/dependencies.md does not name %s", module)
		}
	}
	for module := range named {
		if !pinned[module] {
			t.Errorf("go.mod does not pin %s", module)
		}
	}
}

// A test that holds a failure of the list in docs/reliability.md is there under that name, and every failure
// of exports and deltas, 1 to 34, is in the list.
func TestFailuresAreHeldByTests(t *testing.T) {
	_, list, found := strings.Cut(read(t, "docs/reliability.md"), "## Failures that comparable systems had")
	if !found {
		t.Fatal("the list of failures is gone")
	}
	tests := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(file, "_test.go") {
			for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(read(t, file), -1) {
				tests[name[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(list, -1) {
		if !tests[name[1]] {
			t.Errorf("docs/reliability.md names %s, which is no test", name[1])
		}
	}
	held := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| ([0-9, ]+) \\|.*`Test").FindAllStringSubmatch(list, -1) {
		for number := range strings.SplitSeq(row[1], ", ") {
			held[number] = true
		}
	}
	for n := range 34 {
		if !held[strconv.Itoa(n+1)] {
			t.Errorf("docs/reliability.md names no test for number %d", n+1)
		}
	}
}
