package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// invitationOf reads the file of an invitation.
func invitationOf(t *testing.T, folder, name string) string {
	t.Helper()
	path := filepath.Join(folder, name+".invitation")
	about, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if about.Mode().Perm() != 0o600 {
		t.Errorf("%s may be read by others: %o", name, about.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func TestFirstAdministrators(t *testing.T) {
	data, out := filepath.Join(t.TempDir(), "registry"), filepath.Join(t.TempDir(), "invitations")
	must(t, "init", "--data", data)
	refused := func(code string, args ...string) {
		t.Helper()
		refused(t, code, args...)
		if left, _ := filepath.Glob(filepath.Join(out, "*")); len(left) > 0 && !strings.Contains(strings.Join(left, " "), "kofi") {
			t.Errorf("%v leaves %v", args, left)
		}
	}
	refused("two_administrators", "admin", "invite", "--data", data, "--out", out, "ama")
	refused("two_administrators", "admin", "invite", "--data", data, "--out", out, "--role", "auditor", "ama", "kofi")
	refused("user_name_malformed", "admin", "invite", "--data", data, "--out", out, "ama", "../kofi")
	refused("user_name_malformed", "admin", "invite", "--data", data, "--out", out, "ama", "Kofi")
	refused("partner_unknown", "admin", "invite", "--data", data, "--out", out, "--partner", "health", "ama", "kofi")

	told := must(t, "admin", "invite", "--data", data, "--out", out, "ama", "kofi")
	first := invitationOf(t, out, "ama")
	if first == invitationOf(t, out, "kofi") || strings.Contains(told, first) || !strings.HasPrefix(first, "annona_invite_") {
		t.Error("an invitation is told, or two people have the same")
	}
	refused("file_unusable", "admin", "invite", "--data", data, "--out", out, "ama")
	refused("user_name_taken", "admin", "invite", "--data", data, "--out", filepath.Join(out, "second"), "ama")
	must(t, "admin", "invite", "--data", data, "--out", out, "--role", "auditor", "--display", "Yaa", "yaa")
	refused("user_without_factors", "admin", "enable", "--data", data, "ama")
	refused("not_found", "admin", "disable", "--data", data, "nobody")
	must(t, "admin", "disable", "--data", data, "yaa")
	must(t, "admin", "roles", "--data", data, "yaa", "auditor", "case-worker")
	must(t, "admin", "reset", "--data", data, "--out", filepath.Join(out, "again"), "ama")
	if again := invitationOf(t, filepath.Join(out, "again"), "ama"); again == first {
		t.Error("a reset gives the same invitation")
	}
	list := must(t, "admin", "list", "--data", data)
	for _, want := range []string{"ama", "administrator", "invited", "auditor case-worker", "disabled"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list has no %q:\n%s", want, list)
		}
	}
	entries := must(t, "ledger", "show", "--data", data)
	if n := strings.Count(entries, "user"); n < 6 {
		t.Errorf("the ledger speaks of users %d times:\n%s", n, entries)
	}
	for _, secret := range []string{first, "Yaa"} {
		if strings.Contains(entries, secret) || strings.Contains(list, first) {
			t.Error("the ledger or the list tells who somebody is, or an invitation")
		}
	}
}

// browserProgram installs what drives a browser, and returns how it is run.
func browserProgram(t *testing.T) func(args ...string) []byte {
	t.Helper()
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		t.Skip("there is no Chromium: the pages of signing in are not tried by a browser")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not there: the pages of signing in are not tried by a browser", tool)
		}
	}
	folder := filepath.Join("..", "..", "build", "browser")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json", "browser.mjs"} {
		text, err := os.ReadFile(filepath.Join("testdata", "browser", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, name), text)
	}
	for _, module := range []string{"playwright-core", "axe-core"} {
		if _, err := os.Stat(filepath.Join(folder, "node_modules", module, "package.json")); err == nil {
			continue
		}
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("npm cannot install what drives a browser: the pages of signing in are not tried by one: %v\n%s", err, out)
		}
	}
	return func(args ...string) []byte {
		t.Helper()
		program := exec.Command("node", append([]string{"browser.mjs"}, append(args, chromium)...)...)
		program.Dir = folder
		var failed strings.Builder
		program.Stderr = &failed
		out, err := program.Output()
		if err != nil {
			t.Fatalf("the browser fails: %v\n%s", err, failed.String())
		}
		return out
	}
}

// serveNamed serves under a name: an address of numbers has no passkeys.
func serveNamed(t *testing.T, data string, more ...string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr)
	l.Close()
	public := "http://localhost:" + strconv.Itoa(address.Port)
	s := startServing(t, "", append([]string{"serve", "--data", data, "--listen", address.String(), "--public-url", public}, more...)...)
	s.url = public
	return s
}

// TestBrowser lets somebody go the whole way in a real browser: an invitation, a passkey, a password with
// codes, recovery, step-up, out everywhere. PICTURES=folder keeps a picture of each page.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes half a minute")
	}
	walk := browserProgram(t)
	data, out := filepath.Join(t.TempDir(), "registry"), t.TempDir()
	must(t, "init", "--data", data)
	must(t, "admin", "invite", "--data", data, "--out", out, "ama", "kofi")
	s := serveNamed(t, data)
	var met struct {
		Failed      string
		Steps       map[string]bool
		Violations  []string
		Scripts     []string
		Keys        int
		CookieLeft  bool
		Cookie      struct{ HTTPOnly bool }
		Recovery    int
		OnlyPasskey bool
		Rotated     bool
		Narrow      int
	}
	if err := json.Unmarshal(walk(s.url, invitationOf(t, out, "ama"), "ama", os.Getenv("PICTURES")), &met); err != nil {
		t.Fatal(err)
	}
	if met.Failed != "" {
		t.Fatalf("the browser got as far as %v: %s", met.Steps, met.Failed)
	}
	for step, done := range met.Steps {
		if !done {
			t.Errorf("it did not find: %s", step)
		}
	}
	for _, found := range met.Violations {
		t.Errorf("accessibility: %s", found)
	}
	for _, line := range met.Scripts {
		if !strings.Contains(line, "status of 40") { // what was refused on purpose
			t.Errorf("the browser complains: %s", line)
		}
	}
	if len(met.Steps) < 20 || met.Keys != 1 || met.CookieLeft || !met.Cookie.HTTPOnly || met.Recovery != 10 || !met.OnlyPasskey || !met.Rotated || met.Narrow > 320 {
		t.Errorf("it met %+v", met)
	}
	entries := must(t, "ledger", "show", "--data", data)
	for _, act := range []string{"signed_in", "registered", "signed_out_everywhere", "code_refused"} {
		if !strings.Contains(entries, act) {
			t.Errorf("the ledger has no %s", act)
		}
	}
	if !strings.Contains(entries, string(annona.VerbSignIn)) {
		t.Error("the ledger does not speak of signing in")
	}
}
