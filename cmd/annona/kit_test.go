package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A partner alone finds in the rows of a kit what the kit says: with the client that lies in it, in three
// forms. Another row is noticed. Rules can be tried on it, and its manifest holds.
func TestKit(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed: the client of a kit is not tried")
	}
	data := newRegistry(t)
	for _, name := range []string{"girls-education", "widow-transfer", "child-benefit"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(programs + name + "/export-spec.yaml")
			if err != nil {
				t.Fatal(err)
			}
			spec := filepath.Join(t.TempDir(), "spec.yaml") // without its filter 500 households are enough
			writeFile(t, spec, regexp.MustCompile(`(?m)^filter: .*\n`).ReplaceAll(text, nil))
			must(t, "export-spec", "put", "--data", data, spec)
			kit := filepath.Join(t.TempDir(), "kit")
			if out := must(t, "kit", "--data", data, "--out", kit, name); !strings.Contains(out, "500 invented rows") {
				t.Errorf("it says %s", out)
			}
			if out, err := exec.Command(python, filepath.Join(kit, "check.py")).CombinedOutput(); err != nil || !strings.Contains(string(out), "as the contract says") {
				t.Fatalf("%v\n%s", err, out)
			}
			if out, err := exec.Command(python, filepath.Join(kit, "check.py"), filepath.Join(kit, "data")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			must(t, "export", "verify", "--key", strings.TrimSpace(readText(t, filepath.Join(kit, "kit.key"))), filepath.Join(kit, "data", "manifest.txt"))
			if out := must(t, "assess", "--json", "--rules", programs+name+"/rules.yaml", filepath.Join(kit, "data")); !strings.Contains(out, `"conditional"`) {
				t.Errorf("assessed: %s", out)
			}
			refused(t, "file_exists", "kit", "--data", data, "--out", kit, name)
			expected := readText(t, filepath.Join(kit, "expected.json"))
			writeFile(t, filepath.Join(kit, "expected.json"), []byte(strings.Replace(expected, `"rows": 500`, `"rows": 501`, 1)))
			if out, err := exec.Command(python, filepath.Join(kit, "check.py")).CombinedOutput(); err == nil {
				t.Errorf("a row is missing, and it says %s", out)
			}
		})
	}
	refused(t, "not_found", "kit", "--data", data, "--out", filepath.Join(t.TempDir(), "kit"), "nothing")
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
