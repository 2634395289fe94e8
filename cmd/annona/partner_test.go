package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// partner runs examples/partner/partner.sh and returns its folder, what it said and how it ended.
func partner(t *testing.T, base, purpose, key string) (folder, said string, code int) {
	t.Helper()
	for _, program := range []string{"sh", "curl", "awk"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	folder = t.TempDir()
	script := exec.Command("sh", "../../examples/partner/partner.sh", base, purpose, folder)
	script.Env = append(os.Environ(), "ANNONA_KEY="+key, "LIMIT=7")
	out, err := script.CombinedOutput()
	if script.ProcessState == nil {
		t.Fatal(err)
	}
	return folder, string(out), script.ProcessState.ExitCode()
}

func TestPartnerScript(t *testing.T) {
	data := copyOfCountry(t)
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	folder, said, code := partner(t, s.url, eligibility, s.key)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	for file, query := range map[string][]string{
		"individuals.ndjson": {"format", "ndjson"},
		"children.ndjson": {"format", "ndjson", "fields", "individual_id,full_name,date_of_birth",
			"filter", "household.poverty_score < 20 && age_on(individual.date_of_birth, as_of) < 5"},
	} {
		got, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		if want := s.export("individuals", about(eligibility, query...)); string(got) != string(want) || len(want) == 0 {
			t.Errorf("%s has %d bytes, the export %d", file, len(got), len(want))
		}
	}
	if children := strings.Count(said, "\n"); children != 2 || strings.Contains(said, s.key) {
		t.Errorf("it said %q", said)
	}

	folder, said, code = partner(t, s.url, "another-purpose", s.key)
	if _, err := os.Stat(filepath.Join(folder, "individuals.ndjson")); code != 22 || err == nil {
		t.Errorf("refused: exit %d, %s", code, said)
	}
}

// A body that breaks off and one with lines missing leave no file that looks whole.
func TestPartnerScriptNoticesWhatIsMissing(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		code   int
	}{
		"the body breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, "{}")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 18},
		"a line is missing": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Annona-Rows")
			fmt.Fprintln(w, "{}")
			http.NewResponseController(w).Flush()
			w.Header().Set("Annona-Rows", "2")
		}, 1},
	} {
		server := httptest.NewServer(test.answer)
		folder, said, code := partner(t, server.URL, eligibility, "annona_live_x")
		server.Close()
		if _, err := os.Stat(filepath.Join(folder, "individuals.ndjson")); code != test.code || err == nil {
			t.Errorf("%s: exit %d, %s", name, code, said)
		}
	}
}
