package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity/people"
)

const goodPassword = "seven lanterns on the quay"

// settles lets an invited person register a password, as if they had done so days ago, and returns recovery
// codes, each good for one sign-in.
func settles(t *testing.T, data, invitation string) (codes []string) {
	t.Helper()
	check(t, dataFlag{Data: data}.with(t.Context(), func(f *folder) error {
		desk, err := f.desk("http://localhost")
		check(t, err)
		b := people.Browser{Label: "a test"}
		state, err := desk.AcceptInvitation(t.Context(), b, invitation)
		check(t, err)
		p, err := desk.Invited(t.Context(), state)
		check(t, err)
		way, err := desk.ChoosePassword(t.Context(), p, goodPassword, goodPassword)
		check(t, err)
		app, err := desk.AppOf(p, way)
		check(t, err)
		code, err := totp.GenerateCode(strings.ToUpper(strings.ReplaceAll(app.Secret, " ", "")), time.Now())
		check(t, err)
		_, codes, err = desk.RegisterPassword(t.Context(), b, p, way, code)
		check(t, err)
		return f.store.Update(t.Context(), func(tx annona.Tx) error {
			u, _, err := tx.HoldUser(t.Context(), p.ID)
			u.GrantedAt = time.Now().Add(-25 * time.Hour)
			check(t, err)
			return tx.PutUser(t.Context(), *u)
		})
	}))
	return codes
}

// twoApprovers makes a registry with two administrators who have been there for a day.
func twoApprovers(t *testing.T) (data string, codes map[string][]string) {
	t.Helper()
	data = newRegistry(t)
	out := filepath.Join(t.TempDir(), "invitations")
	must(t, "admin", "invite", "--data", data, "--out", out, "ama", "kofi")
	codes = map[string][]string{}
	for _, name := range []string{"ama", "kofi"} {
		codes[name] = settles(t, data, invitationOf(t, out, name))
	}
	return data, codes
}

// waits runs a command line that has to wait for a second person, and returns the id and the hash of the
// request.
func waits(t *testing.T, data string, args ...string) (id, hash string) {
	t.Helper()
	r := command(append(args, "--data", data)...)
	if r.code != exitWaiting || !strings.Contains(r.err, "code: approval_needed\n") {
		t.Fatalf("annona %s does not wait: %s", args[0], r)
	}
	id = regexp.MustCompile(`approval show ([0-9a-f]{32})`).FindStringSubmatch(r.err)[1]
	hash = regexp.MustCompile(`hash: +([0-9a-f]{64})`).FindStringSubmatch(must(t, "approval", "show", "--data", data, id))[1]
	return id, hash
}

// From the day on which two people can approve, the command line asks, a person approves by password and
// code, and only then it is in force.
func TestTheCommandLineAsksForApproval(t *testing.T) {
	t.Parallel()
	data, codes := twoApprovers(t)
	text, err := os.ReadFile(agreementFile("research"))
	check(t, err)
	file := filepath.Join(t.TempDir(), "other.yaml")
	writeFile(t, file, bytes.Replace(text, []byte("name: research"), []byte("name: other"), 1))
	must(t, "agreement", "apply", "--data", newRegistry(t), file) // there nobody can be asked
	id, hash := waits(t, data, "agreement", "apply", file)
	if again, _ := waits(t, data, "agreement", "apply", file); again != id {
		t.Error("the same again waits twice")
	}
	if shown := must(t, "approval", "show", "--data", data, id); !strings.Contains(shown, "+ datasets.individuals.") || !strings.Contains(shown, `"name": "other"`) {
		t.Errorf("it shows\n%s", shown)
	}
	approve := func(hash, as, password, code string) ran {
		return annonaReading(strings.NewReader(password+"\n"+code+"\n"), "approval", "approve", "--data", data, id, hash, "--as", as)
	}
	for what, c := range map[string]struct {
		r    ran
		code string
	}{
		"a wrong code":     {approve(hash, "ama", goodPassword, "000000"), "sign_in_refused"},
		"a wrong password": {approve(hash, "kofi", "eight lanterns on the quay", codes["kofi"][0]), "sign_in_refused"},
		"another hash":     {approve(strings.Repeat("0", 64), "ama", goodPassword, codes["ama"][0]), "approval_changed"},
	} {
		if c.r.code != exitFailure || !strings.Contains(c.r.err, "code: "+c.code+"\n") {
			t.Errorf("%s: want %s, got %s", what, c.code, c.r)
		}
	}
	refused(t, "not_found", "key", "create", "--data", data, "--agreement", "other")
	if r := approve(hash, "ama", goodPassword, codes["ama"][1]); r.code != 0 {
		t.Fatalf("the approval: %s", r)
	}
	must(t, "client", "create", "--data", data, "--agreement", "other", "--secret")

	id, _ = waits(t, data, "policy", "apply", writtenPolicy(t, data))
	must(t, "approval", "reject", "--data", data, id)
	if list := must(t, "approval", "list", "--data", data); !strings.Contains(list, "rejected") || !strings.Contains(list, "approved") {
		t.Errorf("the list:\n%s", list)
	}
	if entries := must(t, "ledger", "show", "--data", data); !strings.Contains(entries, "approval") {
		t.Errorf("the ledger:\n%s", entries)
	}
	must(t, "verify", "--data", data)
}

// writtenPolicy is a policy with one role more than the one in force.
func writtenPolicy(t *testing.T, data string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	writeFile(t, file, []byte(must(t, "policy", "show", "--data", data)+"- name: desk\n  rules: [{name: reads, verbs: [get]}]\n"))
	return file
}

// A person who has signed in in a browser looks and approves; a key, another site and nobody do not.
func TestApprovalsInABrowser(t *testing.T) {
	t.Parallel()
	data, codes := twoApprovers(t)
	id, hash := waits(t, data, "policy", "apply", writtenPolicy(t, data))
	s := startServing(t, "", "serve", "--data", data, "--listen", "127.0.0.1:0")
	session := signedIn(t, data, "kofi", codes["kofi"][0])
	ask := func(method, path, body string, headers ...string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(context.Background(), method, s.url+path, bytes.NewReader([]byte(body)))
		check(t, err)
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		answer, err := http.DefaultClient.Do(request)
		check(t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		check(t, err)
		return answer.StatusCode, string(text)
	}
	cookie := "annona-session=" + session
	approval := "/v1/approvals/" + id + "/approve"
	for what, c := range map[string]struct {
		status  int
		code    string
		headers []string
	}{
		"nobody":       {http.StatusUnauthorized, "signed_out", nil},
		"a key":        {http.StatusUnauthorized, "signed_out", []string{"X-API-Key", "annona_live_x"}},
		"another site": {http.StatusForbidden, "request_of_other", []string{"Cookie", cookie, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}},
		"a subdomain":  {http.StatusForbidden, "request_of_other", []string{"Cookie", cookie, "Sec-Fetch-Site", "same-site"}},
	} {
		if status, text := ask("POST", approval, `{"hash":"`+hash+`"}`, c.headers...); status != c.status || !strings.Contains(text, c.code) {
			t.Errorf("%s: %d %s", what, status, text)
		}
	}
	var list struct {
		Approvals []struct {
			ID, State, Hash string
			Shows           []string
			Becomes         struct{ Roles []struct{ Name string } }
		}
	}
	status, text := ask("GET", "/v1/approvals?state=waiting", "", "Cookie", cookie)
	check(t, json.Unmarshal([]byte(text), &list))
	if status != http.StatusOK || len(list.Approvals) != 1 || list.Approvals[0].ID != id || len(list.Approvals[0].Becomes.Roles) == 0 || !strings.Contains(strings.Join(list.Approvals[0].Shows, "\n"), "desk may newly get") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask("GET", "/v1/approvals/"+strings.Repeat("0", 32), "", "Cookie", cookie); status != http.StatusNotFound {
		t.Errorf("an unknown one: %d %s", status, text)
	}
	if status, text := ask("POST", approval, `{"hash":"`+hash+`"}`, "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); status != http.StatusOK || !strings.Contains(text, `"state":"approved"`) {
		t.Errorf("%d %s", status, text)
	}
	if shown := must(t, "policy", "show", "--data", data); !strings.Contains(shown, "desk") {
		t.Error("the policy is not in force")
	}
}

// signedIn is the id of a session of somebody.
func signedIn(t *testing.T, data, name, code string) (session string) {
	t.Helper()
	check(t, dataFlag{Data: data}.with(t.Context(), func(f *folder) error {
		desk, err := f.desk("http://localhost")
		check(t, err)
		entered, err := desk.EnterByPassword(t.Context(), people.Browser{Label: "a test"}, name, goodPassword, code)
		session = entered.Session
		return err
	}))
	return session
}
