package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestCrosswalk maps a source's codes by a crosswalk on file: a later version changes what the next
// import says, and what has no meaning is counted by name only when it looks like a code.
func TestCrosswalk(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	mapping := areaFile(t, "mapping.yaml", `
source: clinic
codes: {sex: crosswalk}
inputs:
  - name: people
    format: csv
    individual:
      key: id
      fields:
        sex: {column: s, codes: sex}
`)
	var rows strings.Builder
	rows.WriteString("id,s\n")
	for i := range 30 {
		word := []string{"M", "F", "X9"}[i%3]
		switch i {
		case 0, 1, 2, 3, 4, 5:
			word = "0244123456" // somebody's telephone number, in the wrong column
		case 6:
			word = "once"
		}
		fmt.Fprintf(&rows, "%d,%s\n", i, word)
	}
	people := areaFile(t, "people.csv", rows.String())
	refused(t, "crosswalk_unknown", "import", "--data", data, "--mapping", mapping, people)
	apply := func(version int, codes string) []string {
		return []string{"crosswalk", "apply", "--data", data, areaFile(t, "crosswalk.yaml", fmt.Sprintf("source: clinic\nlist: sex\nversion: %d\ncodes: %s\n", version, codes))}
	}
	must(t, apply(1, "{M: male, F: female}")...)
	if out := must(t, apply(1, "{M: male, F: female}")...); !strings.Contains(out, "Nothing changed") {
		t.Errorf("the same again: %s", out)
	}
	refused(t, "crosswalk_version", apply(1, "{M: male}")...)
	refused(t, "unknown_code", apply(2, "{M: man}")...)
	twice := refused(t, "file_malformed", "crosswalk", "apply", "--data", data,
		areaFile(t, "twice.yaml", "source: clinic\nlist: sex\nversion: 2\ncodes:\n  M: male\n  M: female\n"))
	if !strings.Contains(twice.err, "at: 6") {
		t.Errorf("the line of a code that stands twice is missing: %s", twice)
	}

	if r := importInto(t, data, mapping, people); r.Created != 30 || r.Flags["code_unmapped:sex"] != 15 {
		t.Fatalf("import: %+v", r)
	}
	out := must(t, "crosswalk", "unmapped", "--data", data, "--source", "clinic")
	if !strings.Contains(out, "X9") || strings.Contains(out, "0244") || strings.Contains(out, "once") {
		t.Errorf("codes without a meaning: %s", out)
	}
	must(t, apply(2, "{M: male, F: female, X9: other}")...)
	if r := importInto(t, data, mapping, people); r.Changed != 8 || r.Flags["code_unmapped:sex"] != 7 {
		t.Errorf("import under the next version: %+v", r)
	}
	out = must(t, "crosswalk", "unmapped", "--data", data, "--json")
	for _, want := range []string{`"Code":"X9","Times":8,"Loads":1`, `"Code":"","Times":14,"Loads":2`} {
		if !strings.Contains(out, want) {
			t.Errorf("want %s in %s", want, out)
		}
	}
}
