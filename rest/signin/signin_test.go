package signin

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/identity/people"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

const origin = "https://exchange.example"

// desk is the pages over a registry of their own, and one browser in front of them.
type desk struct {
	*testing.T
	wire    *Wire
	mux     *http.ServeMux
	store   *sqlite.Store
	vault   *vault.Vault
	cookies map[string]*http.Cookie
	failure error
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	dir := t.TempDir()
	secrets, err := sqlite.OpenSecrets(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, mux: http.NewServeMux(), cookies: map[string]*http.Cookie{}}
	if d.vault, err = vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Production); err != nil {
		t.Fatal(err)
	}
	if d.store, err = sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.store.Close(); secrets.Close() })
	who, err := people.New(people.Wiring{
		Users: d.store, Claims: d.store, Delegations: d.store, Clients: d.store, Vault: d.vault, Clock: time.Now, Origin: origin,
		Record: func(ctx context.Context, _ annona.Caller, do func(annona.Tx) (map[string]string, error)) error {
			return d.store.Update(ctx, func(tx annona.Tx) error { _, err := do(tx); return err })
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.wire, err = New(who); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range d.wire.Patterns() {
		d.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			d.failure = d.wire.Answer(w, r, netip.MustParseAddr("192.0.2.1"))
		})
	}
	return d
}

// ask sends a request as the browser would; change makes it another one.
func (d *desk) ask(method, path string, form url.Values, change func(*http.Request)) *http.Response {
	d.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, origin+path, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range d.cookies {
		r.AddCookie(c)
	}
	if change != nil {
		change(r)
	}
	d.failure = nil
	w := httptest.NewRecorder()
	d.mux.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(d.cookies, c.Name)
		} else {
			d.cookies[c.Name] = c
		}
	}
	return w.Result()
}

var formToken = regexp.MustCompile(`data-form="([^"]+)"`)

// post sends a form of the page at that path.
func (d *desk) post(page, path string, form url.Values) *http.Response {
	d.Helper()
	form.Set("form", d.token(page))
	return d.ask("POST", path, form, nil)
}

func (d *desk) token(page string) string {
	d.Helper()
	found := formToken.FindStringSubmatch(text(d.T, d.ask("GET", page, nil, nil)))
	if found == nil {
		d.Fatalf("%s has no token for its forms", page)
	}
	return found[1]
}

func text(t *testing.T, answer *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (d *desk) invite(name string) string {
	d.Helper()
	invitation, hash := people.NewInvitation(d.vault.TokenHash)
	u := annona.User{ID: annona.NewUID(), Name: name, Status: annona.UserInvited, Version: 1, Invitation: hash, InvitedUntil: time.Now().Add(time.Hour), CreatedAt: time.Now()}
	if err := d.store.Update(d.Context(), func(tx annona.Tx) error { return tx.PutUser(d.Context(), u) }); err != nil {
		d.Fatal(err)
	}
	return invitation
}

func TestCookiesAndHeaders(t *testing.T) {
	d := newDesk(t)
	answer := d.ask("GET", SignInPath, nil, nil)
	policy := answer.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy has no %s: %s", want, policy)
		}
	}
	if frames := answer.Header.Get("X-Frame-Options"); frames != "DENY" {
		t.Errorf("it may be framed: %q", frames)
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	body := text(t, answer)
	if inline := regexp.MustCompile(`<script[^>]*>[^<]|<style|style="|\son[a-z]+="|javascript:`).FindString(body); inline != "" {
		t.Errorf("the page has %q of its own", inline)
	}
	if answer := d.post(InvitationPath, InvitationPath, url.Values{"invitation": {d.invite("ama")}}); answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("an invitation: %d", answer.StatusCode)
	}
	for name, c := range d.cookies {
		if !strings.HasPrefix(name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode {
			t.Errorf("the cookie is %s", c.String())
		}
	}
	if c := d.cookies["__Host-"+cookieInvited]; c == nil || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("other sites send the cookie of an invitation along: %v", c)
	}
	if len(d.cookies) != 2 {
		t.Errorf("%d cookies", len(d.cookies))
	}
}

// A form of another site, of another browser or of an earlier session changes nothing.
func TestFormsOfOthers(t *testing.T) {
	d := newDesk(t)
	token := d.token(SignInPath)
	form := func() url.Values {
		return url.Values{"form": {token}, "name": {"ama"}, "password": {"x"}, "code": {"1"}}
	}
	if d.ask("POST", SignInPath, form(), nil); annona.CodeOf(d.failure) != "sign_in_refused" {
		t.Fatalf("a form of the page itself: %v", d.failure)
	}
	for name, change := range map[string]func(*http.Request){
		"another site":        func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another host":        func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"another origin":      func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") },
		"no cookie":           func(r *http.Request) { r.Header.Del("Cookie") },
		"a cookie of another": func(r *http.Request) { r.Header.Set("Cookie", "__Host-annona-form="+strings.Repeat("A", 43)) },
		"two cookies":         func(r *http.Request) { r.Header.Add("Cookie", "__Host-annona-form="+strings.Repeat("A", 43)) },
		"a token of another":  func(r *http.Request) { r.Header.Set("Annona-Form", strings.Repeat("A", 43)) },
	} {
		if answer := d.ask("POST", SignInPath, form(), change); answer.StatusCode != http.StatusForbidden || annona.CodeOf(d.failure) != "form_of_other" {
			t.Errorf("%s: %d, %v", name, answer.StatusCode, d.failure)
		}
	}
	for name, c := range map[string]struct {
		form url.Values
		code string
	}{
		"no token": {url.Values{"name": {"ama"}}, "form_of_other"}, "twice": {url.Values{"form": {token}, "name": {"ama", "kofi"}}, "form_malformed"},
		"large": {url.Values{"form": {token}, "name": {strings.Repeat("x", maxForm)}}, "form_malformed"},
	} {
		if answer := d.ask("POST", SignInPath, c.form, nil); answer.StatusCode < 400 || annona.CodeOf(d.failure) != c.code {
			t.Errorf("%s: %d, %v", name, answer.StatusCode, d.failure)
		}
	}
	for _, pattern := range d.wire.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if method != "POST" {
			continue
		}
		if answer := d.ask("POST", path, url.Values{}, nil); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s takes a form without a token: %d", path, answer.StatusCode)
		}
	}
}

// A name that nobody has is answered as one that somebody has: status, headers and page.
func TestNamesAreNotTold(t *testing.T) {
	answers := map[string]string{}
	for _, name := range []string{"ama", "nobody"} {
		d := newDesk(t)
		d.invite("ama")
		answer := d.post(SignInPath, SignInPath, url.Values{"name": {name}, "password": {"x"}, "code": {"1"}})
		shown := formToken.ReplaceAllString(text(t, answer), "")
		answers[name] = answer.Status + "\n" + regexp.MustCompile(`value="[A-Za-z0-9_-]{43}"`).ReplaceAllString(shown, "")
		if strings.Contains(shown, "nobody") || strings.Contains(shown, `"ama"`) {
			t.Error("the page repeats what was sent")
		}
	}
	if answers["ama"] != answers["nobody"] {
		t.Errorf("%s\n\n%s", answers["ama"], answers["nobody"])
	}
}

func TestBrowsersComeBackHereOnly(t *testing.T) {
	for _, away := range []string{"https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil", "", "/a\r\nSet-Cookie: x", "/" + strings.Repeat("a", 3000), "http:/evil.example", "/x#y"} {
		if got := backOf(away); got != AccountPath {
			t.Errorf("%q leads to %q", away, got)
		}
	}
	for _, here := range []string{"/account", "/oauth2/authorize?client_id=a&request_uri=urn%3Aietf%3Aparams"} {
		if got := backOf(here); got != here {
			t.Errorf("%q leads to %q", here, got)
		}
	}
	d := newDesk(t)
	d.invite("ama")
	if page := text(t, d.ask("GET", SignInPath+"?back=https://evil.example", nil, nil)); strings.Contains(page, "evil") {
		t.Error("the page leads elsewhere")
	}
}

func TestWhoIsNotSignedIn(t *testing.T) {
	d := newDesk(t)
	for _, pattern := range d.wire.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.HasPrefix(path, "/account") || strings.Contains(path, "signout") {
			continue
		}
		var answer *http.Response
		if method == "GET" {
			answer = d.ask(method, path, nil, nil)
		} else {
			answer = d.post(SignInPath, path, url.Values{"id": {annona.NewUID().String()}, "session": {strings.Repeat("0", 64)}})
		}
		if path == ConsentPath {
			if answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %d", pattern, answer.StatusCode)
			}
			continue
		}
		if to := answer.Header.Get("Location"); answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, SignInPath+"?") {
			t.Errorf("%s: %d, to %s, %v", pattern, answer.StatusCode, to, d.failure)
		}
	}
	signed, err := d.wire.Signed(httptest.NewRequest("GET", "/", nil))
	if err != nil || signed != (annona.SignedIn{}) {
		t.Errorf("got %+v, %v", signed, err)
	}
	for demand, want := range map[annona.Demand]string{
		{}: "/signin?back=%2Faccount",
		{Assurance: annona.AssurancePasskey, MaxAge: 5 * time.Minute}: "/signin?acr=phr&back=%2Faccount&max_age=300",
	} {
		if got := d.wire.SignInURL(AccountPath, demand); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, query := range []string{"acr=gold", "max_age=x", "max_age=-1", "max_age=99999999"} {
		if answer := d.ask("GET", SignInPath+"?"+query, nil, nil); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", query, answer.StatusCode)
		}
	}
}

const password = "seven lanterns on the quay"

// setUp chooses a password for who has accepted an invitation, and returns what their app shows, so many steps
// from now.
func (d *desk) setUp() (code func(steps time.Duration) string) {
	d.Helper()
	d.post("/account/password", "/account/password", url.Values{"password": {password}, "repeat": {password}})
	secret := regexp.MustCompile(`id="secret"[^>]*>([a-z2-7 ]+)<`).FindStringSubmatch(text(d.T, d.ask("GET", "/account/app", nil, nil)))
	if secret == nil {
		d.Fatal("the page shows no secret")
	}
	return func(steps time.Duration) string {
		shown, err := totp.GenerateCode(strings.ToUpper(strings.ReplaceAll(secret[1], " ", "")), time.Now().Add(steps*30*time.Second))
		if err != nil {
			d.Fatal(err)
		}
		return shown
	}
}

// Cookies come and go with what they are for: what was on the way is gone with the session's first answer, and
// all but the device with its end. Forms of before belong to another session.
func TestCookiesEndWithTheirUse(t *testing.T) {
	d := newDesk(t)
	has := func(when string, want ...string) {
		t.Helper()
		for _, name := range []string{cookieSession, cookieDevice, cookieForm, cookieWay, cookieInvited} {
			c := d.cookies["__Host-"+name]
			if (c != nil) != slices.Contains(want, name) {
				t.Errorf("%s: the cookie %s is there: %t", when, name, c != nil)
			}
			strict := name == cookieWay || name == cookieInvited
			if c != nil && strict != (c.SameSite == http.SameSiteStrictMode) {
				t.Errorf("%s: the cookie is %s", when, c.String())
			}
			if c != nil && (c.MaxAge > 0) != (name == cookieDevice) {
				t.Errorf("%s: the cookie is kept for %d seconds", when, c.MaxAge)
			}
		}
	}
	d.post(InvitationPath, InvitationPath, url.Values{"invitation": {d.invite("ama")}})
	has("invited", cookieForm, cookieInvited)
	if page := text(t, d.ask("GET", AccountPath, nil, nil)); !strings.Contains(page, "Choose how you sign in") {
		t.Error("who is invited does not register")
	}
	d.ask("POST", "/account/passkey/options", nil, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Annona-Form", d.token(AccountPath))
	})
	has("asked for a passkey", cookieForm, cookieInvited, cookieWay)
	code := d.setUp()
	has("on the way", cookieForm, cookieInvited, cookieWay)
	before := d.cookies["__Host-"+cookieForm].Value
	if answer := d.post("/account/app", "/account/app", url.Values{"code": {"000000"}}); answer.StatusCode != http.StatusBadRequest || !strings.Contains(text(t, answer), "This is not the code") {
		t.Errorf("a code that is wrong: %d, %v", answer.StatusCode, d.failure)
	}
	if answer := d.post("/account/app", "/account/app", url.Values{"code": {code(0)}}); answer.StatusCode != http.StatusOK {
		t.Fatalf("an app: %d, %v", answer.StatusCode, d.failure)
	}
	delete(d.cookies, "__Host-"+cookieForm) // the page of the recovery codes has a form of its own
	has("signed in", cookieSession, cookieDevice)
	if page := text(t, d.ask("GET", AccountPath, nil, nil)); !strings.Contains(page, "Your account") {
		t.Error("who has registered has no account")
	}
	if now := d.cookies["__Host-"+cookieForm].Value; now == before {
		t.Error("AK-13: forms of before belong to the session")
	}
	session := d.cookies["__Host-"+cookieSession].Value
	d.post(AccountPath, "/account/recovery", url.Values{})
	if now := d.cookies["__Host-"+cookieSession].Value; now == session {
		t.Error("AK-13: the session is the same after codes were renewed")
	}
	for name, session := range map[string]string{"no hash": "x", "a short one": "00", "nothing": ""} {
		if d.post(AccountPath, "/account/session/end", url.Values{"session": {session}}); annona.CodeOf(d.failure) != "form_malformed" {
			t.Errorf("the end of %s: %v", name, d.failure)
		}
	}
	d.post(AccountPath, "/account/signout", url.Values{})
	has("signed out", cookieDevice)
	if answer := d.ask("GET", AccountPath, nil, nil); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("signed out, and the account is answered %d", answer.StatusCode)
	}
}

// signedIn signs somebody in by a password and a code.
func (d *desk) signedIn(name string) {
	d.Helper()
	d.post(InvitationPath, InvitationPath, url.Values{"invitation": {d.invite(name)}})
	code := d.setUp()
	if answer := d.post("/account/app", "/account/app", url.Values{"code": {code(0)}}); answer.StatusCode != http.StatusOK {
		d.Fatalf("an app: %d", answer.StatusCode)
	}
}

// T-24, FA-07: consent is given by who has signed in as the client demands, whatever the browser says; and the
// browser then goes to the address that is on file.
func TestConsentIsGivenAsDemanded(t *testing.T) {
	d := newDesk(t)
	client := annona.Client{
		ID: annona.NewUID(), KeyID: "aaaaaaaaaaaaaaaa", Hash: []byte{1}, Agreement: "eligibility", Method: annona.MethodPrivateKeyJWT, Label: "Case desk",
		Redirects: []string{"https://cases.example/back"}, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	if err := d.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutClient(t.Context(), client) }); err != nil {
		t.Fatal(err)
	}
	var allowed []annona.SignedIn
	i := identity.Installation{
		Standings: d.store, Store: d.store, Claims: d.store, Delegations: d.store, Clock: time.Now, Origin: origin,
		HashToken: func(b []byte) annona.TokenHash { return d.vault.TokenHash(b) },
		Admit:     func(context.Context, annona.Caller, annona.Authorization) error { return nil },
		Delegated: func(_ context.Context, caller annona.Caller, _ annona.Delegation) error {
			allowed = append(allowed, caller.Acting)
			return nil
		},
	}
	d.wire.For(identity.NewIssuer(i, identity.NewProofs(i)))
	pushed := func(name, acr string) url.Values {
		t.Helper()
		uri := "urn:ietf:params:oauth:request_uri:" + name
		body := `{"redirect_uri":"https://cases.example/back","state":"s1","code_challenge":"c","acr":"` + acr + `","max_age":600,"from":"192.0.2.7"}`
		leave := annona.Delegation{ID: annona.NewUID(), Client: client.ID, Stage: annona.DelegationPushed, Hash: i.HashToken([]byte(uri)), Request: []byte(body), BeganAt: time.Now(), Until: time.Now().Add(time.Minute)}
		if err := d.store.PutDelegation(t.Context(), leave); err != nil {
			t.Fatal(err)
		}
		return url.Values{"client_id": {client.KeyID}, "request_uri": {uri}}
	}
	answers := func(query url.Values, answer string) *http.Response {
		t.Helper()
		form := url.Values{"answer": {answer}}
		maps.Copy(form, query)
		return d.post(AccountPath, ConsentPath, form)
	}
	stronger, enough := pushed("stronger", "phr"), pushed("enough", "mfa")
	if answer := d.ask("GET", ConsentPath+"?"+enough.Encode(), nil, nil); answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), SignInPath+"?") {
		t.Errorf("nobody is asked: %d", answer.StatusCode)
	}
	d.signedIn("ama")
	if answer := d.ask("GET", ConsentPath+"?"+stronger.Encode(), nil, nil); answer.StatusCode != http.StatusSeeOther || !strings.Contains(answer.Header.Get("Location"), "acr=phr") {
		t.Errorf("who has no passkey is asked: %d to %s", answer.StatusCode, answer.Header.Get("Location"))
	}
	if answers(stronger, "allow"); annona.CodeOf(d.failure) != "sign_in_required" || len(allowed) > 0 {
		t.Errorf("who has no passkey allows it: %v", d.failure)
	}
	page := d.ask("GET", ConsentPath+"?"+enough.Encode(), nil, nil)
	if shown := text(t, page); page.StatusCode != http.StatusOK || !strings.Contains(shown, "Case desk") || !strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action 'self' https://cases.example;") {
		t.Errorf("asked: %d, %s", page.StatusCode, page.Header.Get("Content-Security-Policy"))
	}
	if answers(enough, "yes"); annona.CodeOf(d.failure) != "form_malformed" {
		t.Errorf("an answer that is none: %v", d.failure)
	}
	if answer := answers(enough, "allow"); answer.StatusCode != http.StatusSeeOther || !strings.HasPrefix(answer.Header.Get("Location"), "https://cases.example/back?code=") {
		t.Errorf("allowed: %d to %s, %v", answer.StatusCode, answer.Header.Get("Location"), d.failure)
	}
	if len(allowed) != 1 || allowed[0].Assurance != annona.AssuranceTwoFactors {
		t.Errorf("allowed by %+v", allowed)
	}
	if answer := answers(pushed("another", "mfa"), "refuse"); answer.StatusCode != http.StatusSeeOther || !strings.Contains(answer.Header.Get("Location"), "error=access_denied") {
		t.Errorf("refused: %d to %s", answer.StatusCode, answer.Header.Get("Location"))
	}
}

// T-25 over HTTP: of 100 wrong codes from one place five are looked at, and whoever the account is of signs in
// in a browser that is known, from that very place.
func TestAHundredWrongCodes(t *testing.T) {
	d := newDesk(t)
	if answer := d.post(InvitationPath, InvitationPath, url.Values{"invitation": {d.invite("ama")}}); answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("an invitation: %d", answer.StatusCode)
	}
	code := d.setUp()
	if answer := d.post("/account/app", "/account/app", url.Values{"code": {code(0)}}); answer.StatusCode != http.StatusOK {
		t.Fatalf("an app: %d", answer.StatusCode)
	}
	known := d.cookies
	met := map[int]int{}
	for range 100 {
		d.cookies = map[string]*http.Cookie{}
		met[d.post(SignInPath, SignInPath, url.Values{"name": {"ama"}, "password": {password + "!"}, "code": {"000000"}}).StatusCode]++
	}
	if met[http.StatusUnauthorized] < 5 || met[http.StatusUnauthorized] > 20 || met[http.StatusUnauthorized]+met[http.StatusTooManyRequests] != 100 {
		t.Errorf("100 wrong passwords are answered %v", met)
	}
	d.cookies = known
	d.post("/account", "/account/signout", url.Values{})
	if answer := d.post(SignInPath, SignInPath, url.Values{"name": {"ama"}, "password": {password}, "code": {code(1)}}); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("whoever the account is of is answered %d, %v", answer.StatusCode, d.failure)
	}
}

// Every page is for everybody, for somebody who holds an invitation, or for somebody who has signed in. One
// that is not here fails the test. What an account page refuses, TestWhoIsNotSignedIn shows.
func TestEveryPageIsDecided(t *testing.T) {
	d := newDesk(t)
	open := map[string]int{
		"GET " + SignInPath: 200, "POST " + SignInPath: 401, "POST /signin/passkey/options": 200, "POST /signin/passkey": 400,
		"GET " + InvitationPath: 200, "POST " + InvitationPath: 401, "GET /signin/style.css": 200, "GET /signin/passkey.js": 200,
		"POST /account/signout": 303, "POST /account/signout/everywhere": 303,
	}
	for _, pattern := range d.wire.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		want, listed := open[pattern]
		if !listed {
			if !strings.HasPrefix(path, "/account") && path != ConsentPath {
				t.Errorf("nothing says what decides the page %s", pattern)
			}
			continue
		}
		var answer *http.Response
		if method == "GET" {
			answer = d.ask(method, path, nil, nil)
		} else {
			answer = d.post(SignInPath, path, url.Values{"name": {"ama"}, "password": {"x"}, "code": {"1"}, "invitation": {"x"}})
		}
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", pattern, answer.StatusCode, want)
		}
	}
}
