package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/annona-exchange/annona"
)

const (
	ministryAudience = "https://exchange.example"
	machineSecret    = "secret-of-a-machine-in-a-test"
	appSecret        = "secret-of-an-application-in-a-test"
)

// ministry is an identity provider that somebody else has written, on this machine.
type ministry struct {
	t      *testing.T
	folder string
	port   string
	url    string
	logout string // address that is told when somebody signs out
	stop   func()
}

// start serves, with new keys.
func (m *ministry) start() {
	m.t.Helper()
	program := exec.Command("node", "provider.mjs", m.port, ministryAudience, m.logout)
	program.Dir = m.folder
	out, err := program.StdoutPipe()
	check(m.t, err)
	check(m.t, program.Start())
	m.stop = func() { _ = program.Process.Kill(); _ = program.Wait() }
	m.t.Cleanup(m.stop)
	said := make([]byte, len("serving"))
	if _, err := io.ReadFull(out, said); err != nil {
		m.t.Fatalf("the identity provider does not serve: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// machineToken gets a token for a machine; proof: the proof of DPoP that it shows.
func (m *ministry) machineToken(client, proof string) string {
	m.t.Helper()
	r, err := http.NewRequest(http.MethodPost, m.url+"/token", strings.NewReader("grant_type=client_credentials&scope=annona"))
	check(m.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, machineSecret)
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	return m.tokenOf(http.DefaultClient.Do(r))
}

func (m *ministry) tokenOf(answer *http.Response, err error) string {
	m.t.Helper()
	check(m.t, err)
	defer answer.Body.Close()
	var told struct {
		Token string `json:"access_token"`
	}
	body, _ := io.ReadAll(answer.Body)
	if json.Unmarshal(body, &told) != nil || told.Token == "" {
		m.t.Fatalf("no token: %d %s", answer.StatusCode, body)
	}
	return told.Token
}

// signIn lets somebody sign in for the application, in a browser of their own.
func (m *ministry) signIn(who string) (browser *http.Client, token string) {
	m.t.Helper()
	jar, err := cookiejar.New(nil)
	check(m.t, err)
	browser = &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "cases.example" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	asked := url.Values{
		"client_id": {"app"}, "response_type": {"code"}, "scope": {"openid annona"}, "redirect_uri": {"https://cases.example/back"}, "login_hint": {who},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	sent, err := browser.Get(m.url + "/auth?" + asked.Encode())
	check(m.t, err)
	sent.Body.Close()
	back, err := url.Parse(sent.Header.Get("Location"))
	check(m.t, err)
	form := url.Values{"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {"https://cases.example/back"}, "code_verifier": {verifier}}
	r, err := http.NewRequest(http.MethodPost, m.url+"/token", strings.NewReader(form.Encode()))
	check(m.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("app", appSecret)
	return browser, m.tokenOf(http.DefaultClient.Do(r))
}

var xsrfField = regexp.MustCompile(`name="xsrf" value="([^"]+)"`)

// signOut signs out in that browser. The provider tells the registry.
func (m *ministry) signOut(browser *http.Client) {
	m.t.Helper()
	page, err := browser.Get(m.url + "/session/end")
	check(m.t, err)
	body, _ := io.ReadAll(page.Body)
	page.Body.Close()
	found := xsrfField.FindSubmatch(body)
	if found == nil {
		m.t.Fatalf("there is no page to sign out on: %d %s", page.StatusCode, body)
	}
	done, err := browser.PostForm(m.url+"/session/end/confirm", url.Values{"xsrf": {string(found[1])}, "logout": {"yes"}})
	check(m.t, err)
	done.Body.Close()
}

// withToken asks for one individual.
func withToken(s *server, scheme, token string, more ...string) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+"/v1/individuals?"+about(eligibility, "limit", "1").Encode(), nil)
	check(s.t, err)
	r.Header.Set("Authorization", scheme+" "+token)
	for i := 0; i+1 < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	return s.ask(r)
}

// proofOf is a proof of DPoP.
func proofOf(t *testing.T, key *ecdsa.PrivateKey, method, address, token, nonce string) string {
	t.Helper()
	claims := map[string]any{"jti": annona.NewUID().String(), "htm": method, "htu": address, "iat": time.Now().Unix()}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		claims["ath"], claims["nonce"] = base64.RawURLEncoding.EncodeToString(sum[:]), nonce
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	check(t, err)
	body, err := json.Marshal(claims)
	check(t, err)
	signed, err := signer.Sign(body)
	check(t, err)
	text, err := signed.CompactSerialize()
	check(t, err)
	return text
}

// TestIdentityProvider lets machines and people of a certified identity provider call: bearer tokens and
// bound ones, a sign-out there, a provider that is down, and one that comes back with other keys.
func TestIdentityProvider(t *testing.T) {
	folder := npmFolder(t, "identity-provider", "oidc-provider", "no identity provider of somebody else is tried")
	data := copyOfCountry(t)
	s := serveFolder(t, data, "")
	m := &ministry{t: t, folder: folder, port: freePort(t), logout: s.url + "/oauth2/logout"}
	m.url = "http://127.0.0.1:" + m.port
	m.start()

	file := filepath.Join(t.TempDir(), "ministry.yaml")
	rules := "name: ministry\nissuer: " + m.url + "\naudience: " + ministryAudience + "\nscope: annona\nnetworks: [127.0.0.1/32]\nassurance: {silver: mfa}\npeople:\n" +
		"  - when: {claim: groups, is: officers}\n    partner: National Cash Transfer Program\n    roles: [partner]\n"
	writeFile(t, file, []byte(rules))
	if out := must(t, "identity-provider", "check", file); !strings.Contains(out, "1 keys") {
		t.Errorf("check: %s", out)
	}
	refused(t, "not_found", "client", "create", "--data", data, "--agreement", "eligibility", "--issuer", m.url, "--client-id", "loader")
	must(t, "identity-provider", "add", "--data", data, file)
	for _, client := range []string{"loader", "prover", "app"} {
		createClient(t, data, "eligibility", "--issuer", m.url, "--client-id", client)
	}
	refused(t, "client_known", "client", "create", "--data", data, "--agreement", "eligibility", "--issuer", m.url, "--client-id", "loader")

	bearer := m.machineToken("loader", "")
	if a := withToken(s, "Bearer", bearer); a.status != http.StatusOK {
		t.Fatalf("a machine gets %d %s", a.status, a.body)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	bound := m.machineToken("prover", proofOf(t, key, http.MethodPost, m.url+"/token", "", ""))
	if a := withToken(s, "Bearer", bound); a.status != http.StatusUnauthorized || a.code() != "invalid_token" {
		t.Errorf("a bound token as Bearer gets %d %s", a.status, a.code())
	}
	address := s.url + "/v1/individuals"
	first := withToken(s, "DPoP", bound, "DPoP", proofOf(t, key, http.MethodGet, address, bound, ""))
	if first.code() != "use_dpop_nonce" {
		t.Errorf("a proof without a nonce gets %d %s", first.status, first.code())
	}
	if a := withToken(s, "DPoP", bound, "DPoP", proofOf(t, key, http.MethodGet, address, bound, first.header.Get("DPoP-Nonce"))); a.status != http.StatusOK {
		t.Errorf("a proof gets %d %s", a.status, a.body)
	}

	browser, personal := m.signIn("officers-ama")
	if a := withToken(s, "Bearer", personal); a.status != http.StatusOK {
		t.Fatalf("a person gets %d %s", a.status, a.body)
	}
	_, stranger := m.signIn("clerks-kofi")
	if a := withToken(s, "Bearer", stranger); a.status != http.StatusForbidden || a.code() != "person_not_known_here" {
		t.Errorf("whom no rule knows gets %d %s", a.status, a.code())
	}
	id := mustFind(t, `(?m)^id: +(\S+)$`, must(t, "identity-provider", "person", "--data", data, "ministry", "officers-ama"))
	if entries := must(t, "ledger", "show", "--data", data); !strings.Contains(entries, id) || strings.Contains(entries, "officers-ama") {
		t.Error("the ledger does not have the person, or by the name of the provider")
	}

	m.signOut(browser)
	if !comesTrue(30*time.Second, func() bool { return withToken(s, "Bearer", personal).code() == "invalid_token" }) {
		t.Error("a token counts on although its person has signed out at the provider")
	}
	_, again := m.signIn("officers-ama")
	if a := withToken(s, "Bearer", again); a.status != http.StatusOK {
		t.Errorf("who has signed in again gets %d %s", a.status, a.body)
	}

	unseen := m.machineToken("loader", "")
	m.stop()
	for name, token := range map[string]string{"shown before": bearer, "not shown before": unseen} {
		if a := withToken(s, "Bearer", token); a.status != http.StatusOK {
			t.Errorf("the provider is down: a token %s gets %d %s", name, a.status, a.body)
		}
	}
	m.start() // with other keys
	rotated := m.machineToken("loader", "")
	m.stop()
	down := func() bool { return withToken(s, "Bearer", rotated).status == http.StatusServiceUnavailable }
	if !comesTrue(time.Minute, down) {
		t.Error("a token of a key that nobody can read gets another answer than 503")
	}
	m.start()
	rotated = m.machineToken("loader", "")
	if !comesTrue(time.Minute, func() bool { return withToken(s, "Bearer", rotated).status == http.StatusOK }) {
		t.Error("the keys of a provider that is there again are not read")
	}
	must(t, "identity-provider", "remove", "--data", data, "ministry")
	if !comesTrue(30*time.Second, func() bool { return withToken(s, "Bearer", bearer).code() == "invalid_token" }) {
		t.Error("a token of a provider that was removed counts")
	}
	must(t, "verify", "--data", data)
}

func mustFind(t *testing.T, pattern, text string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in %q", pattern, text)
	}
	return found[1]
}

// comesTrue asks until it holds.
func comesTrue(long time.Duration, holds func() bool) bool {
	for until := time.Now().Add(long); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return holds()
}

// TestIdentityProviderFiles: what an operator may say of a provider.
func TestIdentityProviderFiles(t *testing.T) {
	data := copyOfCountry(t)
	write := func(from, to string) string {
		file := filepath.Join(t.TempDir(), "provider.yaml")
		text := "name: ministry\nissuer: https://login.ministry.example\naudience: https://exchange.example\npeople:\n" +
			"  - when: {claim: groups, is: officers}\n    partner: National Cash Transfer Program\n    roles: [partner]\n"
		changed := strings.Replace(text, from, to, 1)
		if from != "" && changed == text {
			t.Fatalf("the file has no %q", from)
		}
		writeFile(t, file, []byte(changed))
		return file
	}
	for _, c := range []struct{ code, from, to string }{
		{"identity_provider_malformed", "name: ministry", "name: The Ministry"},
		{"identity_provider_malformed", "https://login.", "http://login."},
		{"identity_provider_malformed", "https://login.ministry.example", "https://user@login.ministry.example"},
		{"identity_provider_malformed", "https://login.ministry.example", "https://login.ministry.example?x=1"},
		{"identity_provider_malformed", "audience: https://exchange.example", `audience: ""`},
		{"identity_provider_malformed", "name:", "longest_token: 1441\nname:"},
		{"identity_provider_malformed", "name:", "networks: [here]\nname:"},
		{"identity_provider_malformed", "name:", "machines: {claim: gty, is: ''}\nname:"},
		{"identity_provider_malformed", "name:", "assurance: {gold: best}\nname:"},
		{"identity_provider_malformed", "roles: [partner]", "roles: []"},
		{"identity_provider_malformed", "{claim: groups, is: officers}", "{claim: groups, is: ''}"},
		{"role_over_the_registry", "[partner]", "[administrator]"}, // AK-12
		{"role_over_the_registry", "[partner]", "[data-protection-officer]"},
		{"role_malformed", "[partner]", "['Partner of all']"},
		{"partner_unknown", "National Cash", "Another Cash"},
		{"file_malformed", "audience:", "trust: all\naudience:"},
	} {
		refused(t, c.code, "identity-provider", "add", "--data", data, write(c.from, c.to))
	}
	if list := must(t, "identity-provider", "list", "--data", data); strings.Contains(list, "ministry") {
		t.Errorf("something is on file: %s", list)
	}
	must(t, "identity-provider", "add", "--data", data, write("[partner]", "[administrator]\nprivileged: [administrator]"))
	must(t, "identity-provider", "add", "--data", data, write("", ""))
	refused(t, "issuer_changed", "identity-provider", "add", "--data", data, write("login.", "other."))
	refused(t, "identity_provider_known", "identity-provider", "add", "--data", data, write("name: ministry", "name: other"))
	refused(t, "not_found", "identity-provider", "remove", "--data", data, "other")
	if list := must(t, "identity-provider", "list", "--data", data); !strings.Contains(list, "login.ministry.example") || !strings.Contains(list, "  2  ") {
		t.Errorf("the list: %s", list)
	}
	// Somebody whom a provider vouches for is no first administrator.
	refused(t, "two_administrators", "admin", "invite", "--data", data, "--out", t.TempDir(), "ama")
	must(t, "identity-provider", "end", "--data", data, "--subject", "ama", "ministry")
	must(t, "identity-provider", "end", "--data", data, "--session", "s-1", "ministry")
	must(t, "identity-provider", "remove", "--data", data, "ministry")
	refused(t, "not_found", "identity-provider", "end", "--data", data, "--subject", "ama", "ministry")
	if entries := must(t, "ledger", "show", "--data", data); strings.Count(entries, "identity_provider") < 3 || strings.Count(entries, "ended_by_provider") != 2 {
		t.Errorf("the ledger: %s", entries)
	}
}
