package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/rest/oauth"
)

// npmFolder installs what a folder of testdata names, pinned by its lock file, unless it is there, and
// returns where its programs run. untried says what is not tried without it.
func npmFolder(t *testing.T, name, module, untried string) (folder string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not there: %s", tool, untried)
		}
	}
	folder = filepath.Join("..", "..", "build", name)
	check(t, os.MkdirAll(folder, 0o755))
	files, err := filepath.Glob(filepath.Join("testdata", name, "*"))
	check(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		writeFile(t, filepath.Join(folder, filepath.Base(file)), text)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", module, "package.json")); err != nil {
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("npm cannot install %s: %s: %v\n%s", module, untried, err, out)
		}
	}
	return folder
}

// npmClient returns the program that runs the client of oauth-client.
func npmClient(t *testing.T) (run func(in string, args ...string) []byte) {
	t.Helper()
	folder := npmFolder(t, "oauth-client", "oauth4webapi", "the authorization server is not tried by a client of somebody else")
	return func(in string, args ...string) []byte { // the program and its arguments
		t.Helper()
		program := exec.Command("node", args...)
		program.Dir, program.Stdin = folder, strings.NewReader(in)
		var failed strings.Builder
		program.Stderr = &failed
		out, err := program.Output()
		if err != nil {
			t.Fatalf("the client fails: %v\n%s", err, failed.String())
		}
		return out
	}
}

// registered is what client create --json prints.
type registered struct {
	ClientID string `json:"client_id"`
	ID       string `json:"id"`
	Method   string `json:"method"`
	Secret   string `json:"client_secret"`
}

func createClient(t testing.TB, data, agreement string, how ...string) (r registered) {
	t.Helper()
	out := must(t, append([]string{"client", "create", "--data", data, "--agreement", agreement, "--json"}, how...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("client create --json: %v", err)
	}
	return r
}

// TestCertifiedClient lets a certified FAPI 2.0 client of somebody else go the whole way.
func TestCertifiedClient(t *testing.T) {
	client := npmClient(t)
	var keys struct{ Public, Private json.RawMessage }
	if err := json.Unmarshal(client("", "client.mjs", "keys"), &keys); err != nil {
		t.Fatal(err)
	}
	data := copyOfCountry(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	writeFile(t, file, keys.Public)
	who := createClient(t, data, "eligibility", "--keys", file)
	s := serveFolder(t, data, "")

	var met struct {
		Type    string
		Expires int
		Details []struct{ Purpose, Agreement string }
		Read    int
		Active  bool
		Signed  bool
		Revoked bool
		After   string
	}
	if err := json.Unmarshal(client(string(keys.Private), "client.mjs", "run", s.url, who.ClientID, eligibility), &met); err != nil {
		t.Fatal(err)
	}
	if met.Type != "dpop" || met.Expires != 300 || len(met.Details) != 1 || met.Details[0].Purpose != eligibility || met.Details[0].Agreement != "eligibility" {
		t.Errorf("the token is %+v", met)
	}
	if met.Read != 200 || !met.Active || !met.Signed || !met.Revoked || met.After != "invalid_token" {
		t.Errorf("it met %+v", met)
	}
}

// consenting stands for the pages on which people sign in: its person has signed in and says yes at once.
type consenting struct {
	who    annona.SignedIn
	issuer *identity.Issuer
}

func (c consenting) Signed(*http.Request) (annona.SignedIn, error) { return c.who, nil }

func (c consenting) SignInURL(string, annona.Demand) string { return "/nobody" }

func (c consenting) ConsentURL(client, request string) string {
	next, err := c.issuer.Allow(context.Background(), client, request, c.who)
	if err != nil {
		return "/" + annona.CodeOf(err)
	}
	return next
}

// TestCertifiedClientForPeople lets the same client act for a person. The ledger names both.
func TestCertifiedClientForPeople(t *testing.T) {
	client := npmClient(t)
	var keys struct{ Public, Private json.RawMessage }
	if err := json.Unmarshal(client("", "client.mjs", "keys"), &keys); err != nil {
		t.Fatal(err)
	}
	data := copyOfCountry(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	writeFile(t, file, keys.Public)
	who := createClient(t, data, "eligibility", "--keys", file, "--redirect", "https://cases.example/back")

	f, err := dataFlag{Data: data}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	person := annona.SignedIn{Person: annona.NewUID(), Assurance: annona.AssurancePasskey, At: time.Now()}
	user := annona.User{ID: person.Person, Name: "officer", Partner: "National Cash Transfer Program", Roles: []string{annona.RolePartner}, Status: annona.UserActive, Version: 1, CreatedAt: time.Now()}
	if err := f.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), user) }); err != nil {
		t.Fatal(err)
	}
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, console{out: io.Discard, err: io.Discard}, f, listener, serveOptions{
			signIn: func(issuer *identity.Issuer) oauth.SignIn { return consenting{person, issuer} },
		})
	}()
	var met struct {
		Sent, Life            int
		Type                  string
		Details               []struct{ Purpose string }
		Read, Refreshed       int
		Subject, Actor, Class string
		Replayed, After       string
	}
	said := client(string(keys.Private), "people.mjs", "http://"+listener.Addr().String(), who.ClientID, eligibility)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(said, &met); err != nil {
		t.Fatal(err)
	}
	if met.Sent != 303 || met.Life >= 600 || met.Type != "dpop" || len(met.Details) != 1 || met.Details[0].Purpose != eligibility {
		t.Errorf("it met %+v", met)
	}
	if met.Read != 200 || met.Refreshed != 200 || met.Subject != person.Person.String() || met.Actor != who.ClientID || met.Class != "phr" {
		t.Errorf("it met %+v", met)
	}
	if met.Replayed != "invalid_grant" || met.After != "invalid_token" {
		t.Errorf("a code that is shown again: %+v", met)
	}
	checkBothAreRecorded(t, f, person, who.ID)
}

// checkBothAreRecorded looks for the client and the person it acts for in the ledger: at the delegation,
// and with every page that was released.
func checkBothAreRecorded(t *testing.T, f *folder, person annona.SignedIn, client string) {
	t.Helper()
	opener, delegated, released := audit.Opener{Vault: f.vault, Ledger: f.store}, 0, 0
	err := f.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		entry, err := opener.Open(t.Context(), row)
		if err != nil || entry.Caller == nil || entry.Caller.Client.String() != client {
			return err
		}
		switch {
		case entry.Caller.Acting.Person != person.Person || entry.Caller.Acting.Assurance != person.Assurance:
			t.Errorf("an entry does not name the person: %+v", entry.Caller)
		case entry.Facts.Verb == annona.VerbDelegate:
			delegated++
		case entry.Kind == annona.EntryRelease:
			released++
		}
		return nil
	})
	if err != nil || delegated != 1 || released != 2 {
		t.Errorf("the ledger has %d delegations and %d releases: %v", delegated, released, err)
	}
}
