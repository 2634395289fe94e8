package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const oauthClient = "testdata/oauth-client"

// npmClient installs the client of oauth-client, pinned by its lock file, unless it is there, and
// returns the program that runs it.
func npmClient(t *testing.T) (run func(in string, args ...string) []byte) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not there: the authorization server is not tried by a client of somebody else", tool)
		}
	}
	folder := filepath.Join("..", "..", "build", "oauth-client")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		text, err := os.ReadFile(filepath.Join(oauthClient, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, name), text)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "oauth4webapi", "package.json")); err != nil {
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		install.Dir = folder
		if out, err := install.CombinedOutput(); err != nil {
			t.Skipf("npm cannot install oauth4webapi: the authorization server is not tried by a client of somebody else: %v\n%s", err, out)
		}
	}
	return func(in string, args ...string) []byte {
		t.Helper()
		program := exec.Command("node", append([]string{"client.mjs"}, args...)...)
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
	if err := json.Unmarshal(client("", "keys"), &keys); err != nil {
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
	if err := json.Unmarshal(client(string(keys.Private), "run", s.url, who.ClientID, eligibility), &met); err != nil {
		t.Fatal(err)
	}
	if met.Type != "dpop" || met.Expires != 300 || len(met.Details) != 1 || met.Details[0].Purpose != eligibility || met.Details[0].Agreement != "eligibility" {
		t.Errorf("the token is %+v", met)
	}
	if met.Read != 200 || !met.Active || !met.Signed || !met.Revoked || met.After != "invalid_token" {
		t.Errorf("it met %+v", met)
	}
}
