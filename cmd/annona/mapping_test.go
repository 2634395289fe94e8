package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestMapping puts mappings on file in versions that never change, and drops them.
func TestMapping(t *testing.T) {
	t.Parallel()
	data, folder := newRegistry(t), t.TempDir()
	file := filepath.Join(folder, "mapping.yaml")
	put := func(name, text string) []string {
		writeFile(t, file, []byte(text))
		return []string{"mapping", "put", "--data", data, name, file}
	}
	if out := must(t, put("people", peopleMapping)...); !strings.HasPrefix(out, "Version 1 ") {
		t.Errorf("put: %s", out)
	}
	if out := must(t, put("people", peopleMapping)...); !strings.Contains(out, "Nothing changed") {
		t.Errorf("put again: %s", out)
	}
	second := strings.Replace(peopleMapping, "occupation: job", "usual_occupation: job", 1)
	refused(t, "mapping_malformed", put("people", second)...)
	second = strings.Replace(peopleMapping, "full_name: name", "full_name: called", 1)
	if out := must(t, put("people", second)...); !strings.HasPrefix(out, "Version 2 ") {
		t.Errorf("put anew: %s", out)
	}
	refused(t, "mapping_name", put("People", peopleMapping)...)
	refused(t, "mapping_malformed", put("empty", "inputs: [{name: a, format: csv, individual: {key: id}}]\n")...)
	if out := must(t, "mapping", "show", "--data", data, "people", "--version", "1"); out != peopleMapping {
		t.Errorf("version 1 is %s", out)
	}
	if out := must(t, "mapping", "show", "--data", data, "people"); out != second {
		t.Errorf("the latest is %s", out)
	}
	refused(t, "not_found", "mapping", "show", "--data", data, "people", "--version", "3")
	must(t, "mapping", "drop", "--data", data, "people")
	refused(t, "not_found", "mapping", "drop", "--data", data, "nothing")
	if out := must(t, "mapping", "list", "--data", data); !strings.Contains(out, "people  2        office") || !strings.Contains(out, "dropped") {
		t.Errorf("listed as\n%s", out)
	}
	if out := must(t, put("people", second)...); !strings.HasPrefix(out, "Version 3 ") {
		t.Errorf("put after it was dropped: %s", out)
	}
	if out := must(t, "mapping", "list", "--data", data, "--json"); !strings.Contains(out, `"name":"people","version":3,"source":"office"`) || !strings.Contains(out, `"dropped":false`) {
		t.Errorf("listed as %s", out)
	}
	if out := must(t, "ledger", "show", "--data", data); strings.Count(out, "put_mapping") != 3 || strings.Count(out, "drop_mapping") != 1 {
		t.Errorf("the ledger says\n%s", out)
	}
}
