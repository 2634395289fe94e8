package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The interface that others rely on, word for word.

func TestKeyCreateJSON(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	out := must(t, "key", "create", "--data", data, "--agreement", "eligibility", "--json")
	var members map[string]string
	if err := json.Unmarshal([]byte(out), &members); err != nil || strings.Count(out, "\n") != 1 {
		t.Fatalf("one line of JSON with texts is expected: %v", err)
	}
	if len(members) != 3 || !regexp.MustCompile(`^annona_live_[a-z2-7]{16}_[a-z2-7]{32}[0-9A-Za-z]{6}$`).MatchString(members["key"]) {
		t.Errorf("%d members, or the key has another form", len(members))
	}
	expires, err := time.Parse(time.RFC3339, members["expires_at"])
	if err != nil || !expires.After(time.Now()) {
		t.Errorf("expires_at is %q", members["expires_at"])
	}
	if out := must(t, "key", "revoke", "--data", data, members["id"]); !strings.Contains(out, "revoked") {
		t.Errorf("key revoke: %s", out)
	}
	list := must(t, "key", "list", "--data", data)
	if !strings.Contains(list, members["id"]) || !strings.Contains(list, "revoked") || strings.Contains(list, members["key"]) {
		t.Errorf("key list: %s", list)
	}
}

func TestImportJSON(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	out := must(t, "import", "--data", data, "--mapping", ghanaMapping, "--json", ghanaSample)
	var members map[string]any
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &members); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"individuals": 12, "households": 4, "rejected": 0, "created": 16} {
		if members[name] != want {
			t.Errorf("%s is %v, want %v", name, members[name], want)
		}
	}
}

func TestCommandLinesThatAreWrong(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	for _, args := range [][]string{
		{},
		{"sell"},
		{"init"},
		{"init", "--data", data, "--force"},
		{"import", "--data", data, "--mapping", "no-such-file.yaml", ghanaSample},
		{"import", "--data", data, "--mapping", ghanaMapping},
		{"agreement", "apply", "--data", data},
		{"agreement", "apply", "--data", data, "no-such-file.yaml"},
		{"key", "create", "--data", data},
		{"key", "create", "--data", data, "--agreement", "eligibility", "--days", "soon"},
		{"key", "create", "--data", data, "--agreement", "eligibility", "--network", "everywhere"},
		{"key", "revoke", "--data", data},
		{"verify"},
		{"generate"},
	} {
		if r := command(args...); r.code != exitUsage || !strings.HasPrefix(r.err, "error: ") || r.out != "" {
			t.Errorf("annona %v: %s", args, r)
		}
	}
	for code, args := range map[string][]string{
		"mapping_missing": {"import", "--data", data, ghanaSample},
		"not_found":       {"key", "create", "--data", data, "--agreement", "nobody"},
		"id_malformed":    {"key", "revoke", "--data", data, "abc"},
		"store_missing":   {"verify", "--data", t.TempDir()},
		"registry_exists": {"init", "--data", data},
		"listen_failed":   {"serve", "--data", data, "--listen", "nowhere"},
		"subject_unnamed": {"subject", "restrict", "--data", data},
		"file_unreadable": {"import", "--data", data, "--mapping", ghanaMapping, "no-such-file.csv"},
		"file_malformed":  {"dictionary", "apply", "--data", data, agreementFile("eligibility")},
	} {
		refused(t, code, args...)
	}
	refused(t, "file_malformed", "agreement", "apply", "--data", data, ghanaDictionary)
	if r := command("key", "revoke", "--data", data, strings.Repeat("0", 32)); r.code != exitFailure || !strings.Contains(r.err, "code: not_found") {
		t.Errorf("revoking nobody's key: %s", r)
	}
	for _, args := range [][]string{{"--help"}, {"import", "--help"}, {"version"}} {
		if r := command(args...); r.code != 0 || r.out == "" {
			t.Errorf("annona %v: %s", args, r)
		}
	}
}

// TestWorkWhileServing imports a large country while a server runs on the folder and exports are
// taken from it. Agreements, keys and verification work meanwhile too.
func TestWorkWhileServing(t *testing.T) {
	t.Parallel()
	const people = 30_000
	file := filepath.Join(t.TempDir(), "country.ndjson")
	generate(t, file, people)
	data := filepath.Join(t.TempDir(), "registry")
	must(t, "init", "--data", data)
	must(t, "agreement", "apply", "--data", data, agreementFile("eligibility"))
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)

	importing := make(chan ran, 1)
	go func() {
		importing <- command("import", "--data", data, "--mapping", syntheticMapping, "--json", file)
	}()
	before, exports := 0, 0
	for done := false; !done; exports++ {
		select {
		case r := <-importing:
			importing <- r
			done = true
		default:
		}
		rows := countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id")))
		if rows < before {
			t.Errorf("an export has %d rows, the one before had %d", rows, before)
		}
		before = rows
		if exports == 1 {
			must(t, "agreement", "apply", "--data", data, agreementFile("research"))
			other := createKey(t, data, "research")
			must(t, "key", "revoke", "--data", data, other.ID)
			must(t, "verify", "--data", data)
		}
	}
	r := <-importing
	if r.code != 0 {
		t.Fatalf("import: %s", r)
	}
	report := parseImport(t, r.out)
	if report.Rejected != 0 || before != report.Individuals || report.Created != report.Individuals+report.Households || report.Individuals < people {
		t.Errorf("the last export has %d individuals, the import %+v", before, report)
	}
	must(t, "verify", "--data", data)
	t.Logf("%d exports, all whole, while %d individuals were imported", exports, before)
}

func generate(t testing.TB, file string, people int) {
	t.Helper()
	if err := os.WriteFile(file, []byte(must(t, "generate", "--individuals", fmt.Sprint(people))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// countIDs counts the rows of a CSV file of ids, each of which is there once.
func countIDs(t testing.TB, body []byte) int {
	t.Helper()
	file, _ := plainCSV(t, body)
	seen := map[string]bool{}
	for _, row := range file.rows {
		if seen[row[0]] {
			t.Fatal("an id is there twice")
		}
		seen[row[0]] = true
	}
	return len(file.rows)
}

// TestStoppedByTheRegistry: what the registry takes back ends a running export, also one whose
// reader does not read, and refuses new requests.
func TestStoppedByTheRegistry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		stop   func(t *testing.T, data string, key apiKey)
		status int // of a new request
		reason string
	}{
		{"key revoked", func(t *testing.T, data string, key apiKey) {
			must(t, "key", "revoke", "--data", data, key.ID)
		}, http.StatusUnauthorized, "key_invalid"},
		{"agreement suspended", func(t *testing.T, data string, _ apiKey) {
			must(t, "agreement", "apply", "--data", data, changedAgreement(t, "eligibility", "status: active", "status: suspended"))
		}, http.StatusForbidden, "agreement_not_active"},
		{"agreement changed", func(t *testing.T, data string, _ apiKey) {
			must(t, "agreement", "apply", "--data", data, changedAgreement(t, "eligibility", "except: [payment_account, ", "except: [payment_account, full_name, "))
		}, http.StatusOK, "agreement_changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := copyOfCountry(t)
			key := createKey(t, data, "eligibility")
			s := serveFolder(t, data, key.Key)
			slow := s.slowExport("households", about(eligibility, "format", "json"))
			began := time.Now()
			c.stop(t, data, key)
			if _, ok := s.err.line(`"aborted":true`, s.ended); !ok {
				t.Fatalf("the export goes on\n%s", s.err)
			}
			t.Logf("the export was aborted after %.1f s", time.Since(began).Seconds())
			if _, err := io.Copy(io.Discard, slow.Body); err == nil {
				t.Error("the body ends as if it were whole")
			}
			if a := s.get("/v1/individuals", about(eligibility, "limit", "1")); a.status != c.status {
				t.Errorf("a new request gets %d %s", a.status, a.code())
			}
			s.stop()
			if reason := abortReason(t, data); reason != c.reason {
				t.Errorf("the outcome is recorded with the reason %q", reason)
			}
			must(t, "verify", "--data", data)
		})
	}
}

// changedAgreement returns the file of an agreement with one text replaced.
func changedAgreement(t testing.TB, name, from, to string) (file string) {
	t.Helper()
	text, err := os.ReadFile(agreementFile(name))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(text, []byte(from), []byte(to), 1)
	if bytes.Equal(changed, text) {
		t.Fatalf("the agreement does not say %q", from)
	}
	file = filepath.Join(t.TempDir(), "agreement.yaml")
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
