package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// demoPeople is the size of the countries that these tests make.
const demoPeople = "1500"

func startDemo(t testing.TB, data string) *server {
	t.Helper()
	return startServing(t, "", "demo", "--data", data, "--listen", "127.0.0.1:0", "--individuals", demoPeople)
}

func readDemo(t testing.TB, data string) (d demo) {
	t.Helper()
	path := filepath.Join(data, "demo.json")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("demo.json has mode %v, %v", info.Mode(), err)
	}
	return d
}

func TestDemo(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "demo")
	s := startDemo(t, data)
	d := readDemo(t, data)
	if d.BaseURL != s.url || d.Individuals < 1500 || d.Households < 100 || len(d.Credentials) != 4 {
		t.Errorf("demo.json: %d credentials, %d individuals, base URL %s", len(d.Credentials), d.Individuals, d.BaseURL)
	}
	for _, c := range d.Credentials {
		if !strings.HasPrefix(c.Key, "annona_demo_") || c.Agreement == "" || len(c.Purposes) == 0 || c.ID == "" || c.ExpiresAt == "" {
			t.Errorf("a credential of %s is incomplete, or does not say demo", c.Agreement)
		}
	}
	s.key = d.Credentials[0].Key
	t.Run("three commands", func(t *testing.T) { runPrinted(t, s) })
	t.Run("counts", func(t *testing.T) {
		for dataset, want := range map[string]int{"individuals": d.Individuals, "households": d.Households} {
			noun := strings.TrimSuffix(dataset, "s")
			if got := countIDs(t, s.export(dataset, about(eligibility, "format", "csv", "layout", "plain", "fields", noun+"_id"))); got != want {
				t.Errorf("%d %s, demo.json says %d", got, dataset, want)
			}
		}
	})
	t.Run("programs and cases", func(t *testing.T) { reportedAgain(t, data, d) })
	t.Run("no import", func(t *testing.T) {
		refused(t, "demo_takes_no_import", "import", "--data", data, "--mapping", syntheticMapping, ghanaSample)
	})
	t.Run("again", func(t *testing.T) {
		if code := s.stop(); code != 0 {
			t.Errorf("the demo ends with %d", code)
		}
		again := startDemo(t, data)
		e := readDemo(t, data)
		if e.BaseURL != again.url || !slices.EqualFunc(d.Credentials, e.Credentials, func(a, b demoCredential) bool { return a.Key == b.Key }) {
			t.Error("the second run has other keys, or not its own address")
		}
		again.key = d.Credentials[0].Key
		if a := again.get("/v1/individuals", about(eligibility, "limit", "1")); a.status != http.StatusOK {
			t.Errorf("the key of the first run gets %d", a.status)
		}
		again.stop()
	})
	t.Run("a live installation refuses its keys", func(t *testing.T) {
		live := serveFolder(t, newRegistry(t), d.Credentials[0].Key)
		if a := live.get("/v1/individuals", about(eligibility)); a.status != http.StatusUnauthorized || a.code() != "key_environment" {
			t.Errorf("it gets %d %s", a.status, a.code())
		}
	})
	t.Run("loopback only", func(t *testing.T) { loopbackOnly(t, data) })
	t.Run("copied", func(t *testing.T) { copiedDemo(t, data) })
}

// reportedAgain: what the country's programs and its case system keep is in the demo, all of it.
func reportedAgain(t *testing.T, data string, d demo) {
	for _, of := range []struct {
		part      string
		agreement int
	}{{"benefits", 2}, {"cases", 3}, {"case-notes", 3}} {
		file := filepath.Join(t.TempDir(), of.part)
		rows := must(t, "generate", "--individuals", demoPeople, "--part", of.part)
		writeFile(t, file, []byte(rows))
		by := d.Credentials[of.agreement]
		got := must(t, "report", of.part, "--data", data, "--client", by.ID, "--purpose", by.Purposes[0], "--source", "synthetic", file)
		if want := fmt.Sprintf("0 recorded, %d unchanged, 0 refused.\n", strings.Count(rows, "\n")); got != want {
			t.Errorf("%s: %s, want %s", of.part, got, want)
		}
	}
	for code, row := range map[string]string{"row_malformed": "[]", "not_found": `{"source_case_id":"X-1","case_type":"other","individual_id":"nobody"}`} {
		file := filepath.Join(t.TempDir(), "rows")
		writeFile(t, file, []byte(row+"\n"))
		said := refused(t, "rows_refused", "report", "cases", "--data", data, "--client", d.Credentials[3].ID, "--purpose", "case-management", "--source", "synthetic", file)
		if !strings.Contains(said.err, "line 1: "+code) {
			t.Errorf("%s: %s", code, said)
		}
	}
}

// runPrinted runs the commands that the demo prints, as they are. They may come a moment after the
// line in the log by which the server was found: these are two pipes.
func runPrinted(t *testing.T, s *server) {
	folder := t.TempDir()
	var commands [][]string
	for range 200 {
		commands = regexp.MustCompile(`(?m)^  (curl .*)$`).FindAllStringSubmatch(s.out.String(), -1)
		if len(commands) == 3 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(commands) != 3 {
		t.Fatalf("%d commands are printed", len(commands))
	}
	var outputs []string
	for _, c := range commands {
		outputs = append(outputs, bash(t, folder, c[1]))
	}
	var page struct{ Individuals []map[string]any }
	if err := json.Unmarshal([]byte(outputs[0]), &page); err != nil || len(page.Individuals) != 3 {
		t.Errorf("the first command prints %d individuals: %v", len(page.Individuals), err)
	}
	if !strings.Contains(outputs[1], "<household>") {
		t.Errorf("the second command prints %.200s", outputs[1])
	}
	children, err := os.ReadFile(filepath.Join(folder, "children.csv"))
	if err != nil || !bytes.HasPrefix(children, []byte("individual_id,full_name,sex,date_of_birth\r\n")) || bytes.Count(children, []byte("\n")) < 2 {
		t.Errorf("the third command wrote %.200s, %v", children, err)
	}
}

// bash runs a script as a person would, and returns what it printed.
func bash(t testing.TB, folder, script string) string {
	t.Helper()
	for _, program := range []string{"bash", "curl", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	run := exec.Command("bash", "-c", script)
	run.Dir = folder
	var failed bytes.Buffer
	run.Stderr = &failed
	out, err := run.Output()
	if err != nil {
		t.Errorf("%.60s…: %v: %s", script, err, failed.String())
	}
	return string(out)
}

func loopbackOnly(t *testing.T, data string) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "annona.example:0"} {
		refused(t, "demo_loopback_only", "demo", "--data", data, "--listen", address)
		refused(t, "demo_loopback_only", "demo", "--data", filepath.Join(t.TempDir(), "new"), "--listen", address)
	}
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		refused(t, "demo_loopback_only", "serve", "--data", data, "--listen", address)
	}
	refused(t, "listen_malformed", "demo", "--data", data, "--listen", "127.0.0.1")
}

// copiedDemo: whatever parts of a demo are carried into a real registry, it does not become one.
func copiedDemo(t *testing.T, data string) {
	live := newRegistry(t)
	t.Run("the data under a live root key", func(t *testing.T) {
		mixed := filepath.Join(t.TempDir(), "mixed")
		copyFolder(t, data, mixed)
		copyFile(t, filepath.Join(live, "root.key"), filepath.Join(mixed, "root.key"))
		refused(t, "root_key_foreign", "serve", "--data", mixed, "--listen", "127.0.0.1:0")
	})
	t.Run("the word in the root key edited", func(t *testing.T) {
		edited := filepath.Join(t.TempDir(), "edited")
		copyFolder(t, data, edited)
		key := filepath.Join(edited, "root.key")
		text, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(key, bytes.Replace(text, []byte("demo"), []byte("production"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, "root_key_foreign", "serve", "--data", edited, "--listen", "0.0.0.0:0")
	})
	t.Run("the whole folder", func(t *testing.T) {
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		copyFolder(t, data, elsewhere)
		refused(t, "demo_loopback_only", "serve", "--data", elsewhere, "--listen", "0.0.0.0:0")
		refused(t, "demo_takes_no_import", "import", "--data", elsewhere, "--mapping", syntheticMapping, ghanaSample)
	})
	t.Run("a live folder is no demo", func(t *testing.T) {
		refused(t, "folder_not_demo", "demo", "--data", live, "--listen", "127.0.0.1:0")
		must(t, "verify", "--data", live)
	})
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestInterruptedDemo kills a demo while it makes its folder, at several stages, and starts it
// again.
func TestInterruptedDemo(t *testing.T) {
	t.Parallel()
	for stage, reached := range map[string]func(data string) bool{
		"secrets":  func(data string) bool { return exists(data, "keys.sqlite") },
		"root key": func(data string) bool { return exists(data, "root.key") },
		"store":    func(data string) bool { return exists(data, "annona.sqlite") },
		"half-way": func(data string) bool {
			info, err := os.Stat(filepath.Join(data, "annona.sqlite-wal"))
			return err == nil && info.Size() > 1<<20
		},
	} {
		t.Run(stage, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "demo")
			p := start(t, "demo", "--data", data, "--listen", "127.0.0.1:0", "--individuals", demoPeople)
			for !reached(data) {
				select {
				case <-p.ended:
					t.Fatalf("the demo ended by itself: %s", p.err)
				default:
				}
			}
			p.kill()
			if exists(data, "demo.json") {
				t.Skip("the demo was made before it could be interrupted")
			}
			s := startDemo(t, data)
			d := readDemo(t, data)
			s.key = d.Credentials[0].Key
			rows := countIDs(t, s.export("individuals", about(eligibility, "format", "csv", "fields", "individual_id")))
			if rows != d.Individuals || rows < 1500 {
				t.Errorf("%d individuals after an interruption, demo.json says %d", rows, d.Individuals)
			}
			s.stop()
			must(t, "verify", "--data", data)
		})
	}
}

// TestInterruptedInit: what an interrupted init left can be finished; a finished registry is never
// touched.
func TestInterruptedInit(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	refused(t, "registry_exists", "init", "--data", data)
	if err := os.Remove(filepath.Join(data, "annona.sqlite")); err != nil {
		t.Fatal(err)
	}
	refused(t, "store_missing", "verify", "--data", data)
	must(t, "init", "--data", data)
	must(t, "verify", "--data", data)
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", d.Name(), info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestREADME runs the lines of the README that follow make run, word for word but for the
// address.
func TestREADME(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(KEY=.*?)```").FindSubmatch(readme)
	if block == nil {
		t.Fatal("the README has no block that begins with KEY=")
	}
	script := string(block[1])
	if lines := strings.Count(script, "\n"); lines > 5 {
		t.Errorf("the first export takes %d lines", lines)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil || !bytes.Contains(makefile, []byte("DATA    ?= build/demo\nLISTEN  ?= 127.0.0.1:8080\n")) {
		t.Errorf("make run has another folder or address than the README: %v", err)
	}
	folder := t.TempDir()
	s := startDemo(t, filepath.Join(folder, "build", "demo"))
	out := bash(t, folder, "set -e\n"+strings.ReplaceAll(script, "http://127.0.0.1:8080", s.url))
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || strings.TrimSpace(lines[0]) != "individual_id,area_code,full_name,sex,date_of_birth" {
		t.Errorf("head prints %q", out)
	}
}
