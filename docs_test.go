package annona_test

import (
	"fmt"
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

// testsOfThisPlace are the names of all tests, and of the parts of the suite that every store must pass.
func testsOfThisPlace(t *testing.T) map[string]bool {
	t.Helper()
	tests, declared := map[string]bool{}, regexp.MustCompile(`(?m)^func ([Tt]est\w+)\(`)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (file == "build" || file == ".git" || d.Name() == "node_modules"):
			return fs.SkipDir
		case strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "store/storetest/"):
			for _, name := range declared.FindAllStringSubmatch(read(t, file), -1) {
				tests[name[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}

// docs/spec/fapi.md has every item of the checklists about who is calling, and names for each a defense that
// stands where it says, and tests that are there.
func TestDefensesAreHeldByTests(t *testing.T) {
	_, tables, found := strings.Cut(read(t, "docs/spec/fapi.md"), "## The items")
	if !found {
		t.Fatal("the tables of defenses are gone")
	}
	tests := testsOfThisPlace(t)
	for _, name := range regexp.MustCompile(`\b[Tt]est[A-Z]\w+`).FindAllString(tables, -1) {
		if !tests[name] {
			t.Errorf("docs/spec/fapi.md names %s, which is no test", name)
		}
	}
	for _, place := range regexp.MustCompile("`([a-z/_]+\\.go): ([^`]+)`").FindAllStringSubmatch(tables, -1) {
		text := read(t, place[1])
		for function := range strings.SplitSeq(place[2], ", ") {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + function + `\b`).MatchString(text) {
				t.Errorf("docs/spec/fapi.md names the defense %s, which is not in %s", function, place[1])
			}
		}
	}
	items := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (.*)$`).FindAllString(tables, -1) {
		for _, id := range regexp.MustCompile(`\b(FA|DP|MT|AK|T)-\d\d\b`).FindAllString(row, -1) {
			items[id] = true
			if !regexp.MustCompile(`\b[Tt]est[A-Z]|does not apply|the tables above`).MatchString(row) {
				t.Errorf("docs/spec/fapi.md names no test for %s", id)
			}
		}
	}
	for checklist, last := range map[string]int{"FA": 31, "DP": 22, "MT": 6, "AK": 13, "T": 25} {
		first := 1
		if checklist == "T" {
			first = 12
		}
		for n := first; n <= last; n++ {
			if id := fmt.Sprintf("%s-%02d", checklist, n); !items[id] {
				t.Errorf("docs/spec/fapi.md has no row for %s", id)
			}
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
	tests := testsOfThisPlace(t)
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
	for n := range 40 {
		if !held[strconv.Itoa(n+1)] {
			t.Errorf("docs/reliability.md names no test for number %d", n+1)
		}
	}
}
