package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// An entry of the list of second defenses that names no decision of the source fails here, and not only in
// the long run of the tool.
func TestTheListOfSecondDefensesStands(t *testing.T) {
	t.Chdir("../..")
	s, err := markAll()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readDefenses(s.mutants); err != nil {
		t.Error(err)
	}
}

const example = `package gate

var errOwn = annona.Forbidden("own", "somebody else")

func refused(name string) error { return annona.Forbidden(name, "not granted") }

func (x *Gate) Read(a, b int) error {
	if err := x.knows(a); err != nil {
		return err
	}
	if err := x.store(a); err != nil {
		return err
	}
	switch {
	case a == b:
		return errOwn
	case a > 1:
		return nil
	}
	if b > 7 {
		return refused("b")
	}
	return nil
}

func (x *Gate) reads(a int) error {
	if a == 1 {
		return nil
	}
	_, err := x.inquire(annona.VerbGet)
	return errOwn
}
`

func marked(t *testing.T, text string, parts bool) (*source, string) {
	t.Helper()
	t.Chdir(t.TempDir())
	path := "gate.go"
	if parts {
		path = "store/sqlite/matterscope.go"
	}
	if err := os.MkdirAll("store/sqlite", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &source{files: map[string][]byte{}}
	if err := s.markPackage([]string{path}); err != nil {
		t.Fatal(err)
	}
	s.tellApart()
	return s, string(s.files[path])
}

func TestWhatRefusesIsADecision(t *testing.T) {
	s, text := marked(t, example, false)
	expect(t, s,
		"gate.go Read: `if err := x.knows(a); err != nil` never",
		"gate.go Read: `case a == b` never",
		"gate.go Read: `if b > 7` never",
		"gate.go reads: `if a == 1` always",
		"gate.go reads: `annona.VerbGet` whatever the role",
	)
	for _, want := range []string{"knows(a); mutantIf(1, 0, err != nil) {", "case mutantIf(2, 0, a == b):", "if mutantIf(0, 4, a == 1) {", "inquire(mutantAsked(5, annona.VerbGet))"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

func TestEachPartOfAConditionIsADecision(t *testing.T) {
	s, text := marked(t, `package sqlite

func (r *reading) part(a, b, c bool) {
	if a && (b || c) {
		r.allowed("i")
	}
	r.write(" AND m.until >= ")
}
`, true)
	expect(t, s,
		"store/sqlite/matterscope.go part: `a && (b || c)` never",
		"store/sqlite/matterscope.go part: `a && (b || c)` always",
		"store/sqlite/matterscope.go part: `a` always",
		"store/sqlite/matterscope.go part: `b || c` always",
		"store/sqlite/matterscope.go part: `b` never",
		"store/sqlite/matterscope.go part: `c` never",
		"store/sqlite/matterscope.go part: `r.allowed(\"i\")` left out",
		"store/sqlite/matterscope.go part: `AND m.until >=` AND turned over",
		"store/sqlite/matterscope.go part: `AND m.until >=` >= turned over",
	)
	for _, want := range []string{
		"if mutantIf(1, 2, mutantIf(0, 3, a) && (mutantIf(0, 4, mutantIf(5, 0, b) || mutantIf(6, 0, c)))) {",
		`mutantText(8, " AND m.until >= ", " OR m.until >= ", " AND m.until < ")`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

func expect(t *testing.T, s *source, want ...string) {
	t.Helper()
	var keys []string
	for _, m := range s.mutants {
		keys = append(keys, m.key())
	}
	if !slices.Equal(keys, want) {
		t.Errorf("the decisions are\n%s\nnot\n%s", strings.Join(keys, "\n"), strings.Join(want, "\n"))
	}
}

func TestSecondDefenses(t *testing.T) {
	mutants := []*mutant{{path: "a.go", function: "f", decision: "x", change: "never"}}
	reasons, err := parseDefenses("# why\na.go f: `x` never\n  the store\n  refuses it too\n", mutants)
	if err != nil || reasons["a.go f: `x` never"] != "the store refuses it too" {
		t.Errorf("read %q, %v", reasons, err)
	}
	for what, text := range map[string]string{
		"there is no such decision any more": "a.go f: `y` never\n  because\n",
		"it has no reason":                   "a.go f: `x` never\n",
		"it stands there twice":              "a.go f: `x` never\n  because\na.go f: `x` never\n  because\n",
	} {
		if _, err := parseDefenses(text, mutants); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q is read: %v", text, err)
		}
	}
}
