package main

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// browserProgram installs what drives a browser, and returns how one of its programs is run: with what it
// reads, and its arguments.
func browserProgram(t *testing.T) func(in, script string, args ...string) []byte {
	t.Helper()
	const untried = "the pages of signing in are not tried by a browser"
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		t.Skip("there is no Chromium: " + untried)
	}
	var folder string
	for _, module := range []string{"playwright-core", "axe-core", "oauth4webapi"} {
		folder = npmFolder(t, "browser", module, untried)
	}
	return func(in, script string, args ...string) []byte {
		t.Helper()
		program := exec.Command("node", slices.Concat([]string{script}, args, []string{os.Getenv("PICTURES"), chromium})...)
		program.Dir, program.Stdin = folder, strings.NewReader(in)
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
		walked
		Keys        int
		CookieLeft  bool
		Cookie      struct{ HTTPOnly bool }
		Recovery    int
		OnlyPasskey bool
		Rotated     bool
		Narrow      int
	}
	if err := json.Unmarshal(walk("", "browser.mjs", s.url, invitationOf(t, out, "ama"), "ama"), &met); err != nil {
		t.Fatal(err)
	}
	met.check(t)
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

// walked is what every walk in a browser says.
type walked struct {
	Failed     string
	Steps      map[string]bool
	Violations []string
	Scripts    []string
}

func (w *walked) check(t *testing.T) {
	t.Helper()
	if w.Failed != "" {
		t.Fatalf("the browser got as far as %v: %s", w.Steps, w.Failed)
	}
	for step, done := range w.Steps {
		if !done {
			t.Errorf("it did not find: %s", step)
		}
	}
	for _, found := range w.Violations {
		t.Errorf("accessibility: %s", found)
	}
	for _, line := range w.Scripts {
		if !strings.Contains(line, "status of 40") { // what was refused on purpose
			t.Errorf("the browser complains: %s", line)
		}
	}
}

// TestConsentInABrowser lets an application outside ask somebody for leave in a real browser: a pushed request
// and a code with PKCE, refused once and allowed. Whoever ends it, or signs out everywhere, ends its tokens.
func TestConsentInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes half a minute")
	}
	walk, client := browserProgram(t), npmClient(t)
	var keys struct{ Public, Private json.RawMessage }
	check(t, json.Unmarshal(client("", "client.mjs", "keys"), &keys))
	data, out := copyOfCountry(t), t.TempDir()
	file := filepath.Join(out, "keys.json")
	writeFile(t, file, keys.Public)
	must(t, "admin", "invite", "--data", data, "--out", out, "ama", "kofi")
	must(t, "admin", "invite", "--data", data, "--out", out, "--partner", "National Cash Transfer Program", "--role", "partner", "esi")
	who := createClient(t, data, "eligibility", "--keys", file, "--redirect", "https://cases.example/back", "--label", "Case system")
	s := serveNamed(t, data)
	application := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!DOCTYPE html><html lang="en"><head><title>Cases</title><link rel="icon" href="data:,"></head><body><main><h1>Cases</h1></main></body></html>`)
	}))
	application.Config.ErrorLog = log.New(io.Discard, "", 0) // of a certificate that no browser knows
	defer application.Close()
	_, port, err := net.SplitHostPort(application.Listener.Addr().String())
	check(t, err)
	var met struct {
		walked
		Told             string
		ScriptsOfConsent int
		Type             string
		Read, Again      int
		Refused          string
		Listed           string
		Ended, Out       []string
	}
	check(t, json.Unmarshal(walk(string(keys.Private), "consent.mjs", s.url, invitationOf(t, out, "esi"), who.ClientID, eligibility, port), &met))
	met.check(t)
	for _, said := range []string{"Case system", "National Cash Transfer Program", "individuals", "eligibility assessment", "12 hours", "cases.example", "your name"} {
		if !strings.Contains(met.Told, said) {
			t.Errorf("who is asked is not told %q:\n%s", said, met.Told)
		}
	}
	if met.ScriptsOfConsent != 0 || met.Type != "dpop" || met.Read != 200 || met.Again != 200 || met.Refused != "access_denied" || !strings.Contains(met.Listed, "Case system") {
		t.Errorf("it met %+v", met)
	}
	if !slices.Equal(met.Ended, []string{"invalid_token", "invalid_grant"}) || !slices.Equal(met.Out, []string{"invalid_token", "invalid_grant", "invalid_grant"}) {
		t.Errorf("what was ended acts on: %v, %v", met.Ended, met.Out)
	}
	entries := must(t, "ledger", "show", "--data", data)
	for _, act := range []string{string(annona.VerbDelegate), "application_ended", "signed_out_everywhere"} {
		if !strings.Contains(entries, act) {
			t.Errorf("the ledger has no %s", act)
		}
	}
}

// The roles of somebody end after a day, and the list says when.
func TestRolesOfSomebodyEnd(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	must(t, "admin", "invite", "--data", data, "--out", filepath.Join(t.TempDir(), "invitations"), "ama", "kofi")
	must(t, "admin", "limit", "--data", data, "--until", "2031-01-31", "ama")
	if list := must(t, "admin", "list", "--data", data); strings.Count(list, "administrator (until 2031-01-31)") != 1 {
		t.Errorf("the list:\n%s", list)
	}
	refused(t, "date_malformed", "admin", "limit", "--data", data, "--until", "tomorrow", "ama")
	must(t, "admin", "limit", "--data", data, "--none", "ama") // nobody can be asked yet
	if list := must(t, "admin", "list", "--data", data); strings.Contains(list, "until") {
		t.Errorf("the list:\n%s", list)
	}
}
