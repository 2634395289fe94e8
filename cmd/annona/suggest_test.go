package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// A draft needs no registry, and an import takes it as it is.
func TestImportTakesItsOwnSuggestion(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	for name, files := range map[string][]string{
		"ghana":     {"../../examples/ghana-glss/sample.csv"},
		"two files": {"../../examples/two-files/members.csv", "../../examples/two-files/households.csv"},
		"nested":    {"../../examples/nested/households.ndjson"},
	} {
		drafted := must(t, append([]string{"import", "--suggest"}, files...)...)
		mapping := filepath.Join(t.TempDir(), "draft.yaml")
		writeFile(t, mapping, []byte(drafted))
		var report imported
		out := must(t, append([]string{"import", "--data", data, "--mapping", mapping, "--dry-run", "--json"}, files...)...)
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.Rejected > 0 || report.Individuals == 0 || report.Households == 0 {
			t.Errorf("%s: %v, %+v\n%s", name, err, report, drafted)
		}
		if !strings.Contains(drafted, "# The first ") {
			t.Errorf("%s: the draft does not tell of the sample: %s", name, drafted)
		}
		var asJSON suggested
		if err := json.Unmarshal([]byte(must(t, append([]string{"import", "--suggest", "--json"}, files...)...)), &asJSON); err != nil || len(asJSON.Columns) == 0 || asJSON.Mapping == "" {
			t.Errorf("%s: %v, %+v", name, err, asJSON)
		}
	}
}

// With a registry, a draft knows the attributes that a country has declared; without, it leaves
// their columns out.
func TestSuggestKnowsDeclaredAttributes(t *testing.T) {
	t.Parallel()
	const file = "../../examples/ghana-glss/sample.csv"
	data := newRegistry(t)
	if with := must(t, "import", "--suggest", "--data", data, file); !strings.Contains(with, "gh_cluster: clust") {
		t.Errorf("the cluster is not known: %s", with)
	}
	if without := must(t, "import", "--suggest", file); strings.Contains(without, "gh_cluster") || !strings.Contains(without, "# clust:") {
		t.Errorf("the cluster is known: %s", without)
	}
}

func TestSuggestRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, []byte(text))
		return path
	}
	sound := file("sound.csv", "hhid,sex\n1,M\n")
	refused(t, "input_empty", "import", "--suggest", file("empty.csv", ""))
	refused(t, "input_binary", "import", "--suggest", file("sheet.xlsx", "PK\x03\x04"))
	refused(t, "input_encoding", "import", "--suggest", file("latin.csv", "pr\xE9nom\nAndr\xE9\n"))
	refused(t, "suggest_failed", "import", "--suggest", file("nameless.csv", ",\na,b\n"))
	refused(t, "file_unreadable", "import", "--suggest", filepath.Join(folder, "gone.csv"))
	refused(t, "suggest_alone", "import", "--suggest", "--mapping", ghanaMapping, sound)
	refused(t, "data_missing", "import", "--mapping", ghanaMapping, sound)
	refused(t, "mapping_missing", "import", "--data", newRegistry(t), sound)
}
