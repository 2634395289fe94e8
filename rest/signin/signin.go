// Package signin is the wire of the people who sign in: plain pages, rendered here, that work with a
// keyboard, a screen reader and without scripts. A script does one thing: it asks the browser for a
// passkey, which nothing else can.
//
//	GET  /signin                    by a passkey, or by name, password and code
//	GET  /signin/invitation         an invitation is accepted
//	GET  /account                   what somebody signs in by, and where they are signed in
//	GET  /account/password, /app    a password and an app for one-time codes are set up
//	GET  /account/consent           an application asks to act for somebody
//
// Whoever changes something posts a form, which carries a token of the browser's own. It knows pages,
// forms and cookies, and no rule: who is who is package identity/people's to say.
package signin

import (
	"embed"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/identity/people"
)

// The paths that others lead to.
const (
	SignInPath     = "/signin"
	InvitationPath = "/signin/invitation"
	AccountPath    = "/account"
	ConsentPath    = "/account/consent"
)

// maxForm bounds a form, and what a browser says about a passkey.
const maxForm = 64 << 10

//go:embed pages
var files embed.FS

// Wire answers requests for pages. It is safe for concurrent use.
type Wire struct {
	desk    *people.Desk
	issuer  *identity.Issuer // nil: nobody consents to anything here
	secured bool             // browsers come by https
	crossed *http.CrossOriginProtection
	pages   pages
	routes  map[string]func(*visit) error
}

// New returns the pages of a desk.
func New(desk *people.Desk) (*Wire, error) {
	w := &Wire{desk: desk, secured: strings.HasPrefix(desk.Origin, "https://"), crossed: http.NewCrossOriginProtection()}
	if err := w.crossed.AddTrustedOrigin(desk.Origin); err != nil {
		return nil, annona.Internal("set up the pages: the public address is none", err)
	}
	var err error
	if w.pages, err = parsePages(); err != nil {
		return nil, annona.Internal("read the pages", err)
	}
	w.routes = map[string]func(*visit) error{
		"GET " + SignInPath:                w.askToSignIn,
		"POST " + SignInPath:               w.signInByPassword,
		"POST /signin/passkey/options":     w.askForKnownPasskey,
		"POST /signin/passkey":             w.signInByPasskey,
		"GET " + InvitationPath:            w.askForInvitation,
		"POST " + InvitationPath:           w.acceptInvitation,
		"GET " + AccountPath:               w.account,
		"POST /account/passkey/options":    w.askForPasskey,
		"POST /account/passkey":            w.registerPasskey,
		"POST /account/passkey/remove":     w.removePasskey,
		"GET /account/password":            w.askForPassword,
		"POST /account/password":           w.choosePassword,
		"POST /account/password/remove":    w.removePassword,
		"GET /account/app":                 w.showApp,
		"POST /account/app":                w.registerPassword,
		"POST /account/recovery":           w.renewRecoveryCodes,
		"POST /account/session/end":        w.endSession,
		"POST /account/signout":            w.signOut,
		"POST /account/signout/everywhere": w.signOutEverywhere,
		"GET " + ConsentPath:               w.askForConsent,
		"POST " + ConsentPath:              w.consent,
		"POST /account/application/end":    w.endApplication,
		"GET /signin/style.css":            w.file("pages/style.css", "text/css; charset=utf-8"),
		"GET /signin/passkey.js":           w.file("pages/passkey.js", "text/javascript; charset=utf-8"),
	}
	return w, nil
}

// Patterns are those of the routes.
func (w *Wire) Patterns() (patterns []string) {
	for pattern := range w.routes {
		patterns = append(patterns, pattern)
	}
	slices.Sort(patterns)
	return patterns
}

// visit is one request for a page.
type visit struct {
	*http.Request
	out  http.ResponseWriter
	from netip.Addr
}

// policyWith is the policy of a page: nothing from elsewhere, no script but our own file, no frame. Its
// forms lead to those places.
func policyWith(forms string) string {
	return "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action " + forms + "; base-uri 'none'; frame-ancestors 'none'"
}

// Answer answers a request. The error is what it has refused: it is written already.
func (w *Wire) Answer(out http.ResponseWriter, r *http.Request, from netip.Addr) error {
	h := out.Header()
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Permissions-Policy", "publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), microphone=(), geolocation=()")
	v := &visit{Request: r, out: out, from: from}
	h.Set("Content-Security-Policy", policyWith("'self'"))
	err := w.checkForm(v)
	if err == nil {
		err = w.routes[r.Pattern](v)
	}
	if err != nil {
		w.refuse(v, err)
	}
	return err
}

var (
	errForm    = annona.Invalid("form_malformed", "the page sent something that cannot be read: go back, load it again and repeat")
	errCrossed = annona.Forbidden("form_of_other", "this form did not come from this page: open the page again and repeat. The browser must accept cookies")
)

// checkForm refuses a form that another site has sent, or that is not of this browser.
func (w *Wire) checkForm(v *visit) error {
	if v.Method != http.MethodPost {
		return nil
	}
	if err := w.crossed.Check(v.Request); err != nil {
		return errCrossed
	}
	v.Body = http.MaxBytesReader(v.out, v.Body, maxForm)
	shown := v.Header.Get("Annona-Form")
	if shown == "" {
		if err := v.ParseForm(); err != nil {
			return errForm
		}
		for _, given := range v.PostForm {
			if len(given) > 1 {
				return errForm
			}
		}
		shown = v.PostForm.Get("form")
	}
	if !w.desk.IsForm(w.cookie(v, cookieForm), shown) {
		return errCrossed
	}
	return nil
}

// browser is what the request shows of its browser.
func (w *Wire) browser(v *visit) people.Browser {
	return people.Browser{From: v.from, Label: browserLabel(v.UserAgent()), Session: w.cookie(v, cookieSession), Device: w.cookie(v, cookieDevice)}
}

// browserLabel says what kind a browser is, in words of ours.
func browserLabel(agent string) string {
	name, system := "A browser", ""
	for _, known := range [...][2]string{{"Firefox/", "Firefox"}, {"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}} {
		if strings.Contains(agent, known[0]) {
			name = known[1]
			break
		}
	}
	for _, known := range [...][2]string{{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"}} {
		if strings.Contains(agent, known[0]) {
			system = " on " + known[1]
			break
		}
	}
	return name + system
}

// person returns who is signed in; nil when nobody is.
func (w *Wire) person(v *visit) (*people.Person, error) {
	return w.desk.Recognize(v.Context(), w.browser(v))
}

// Signed returns who has signed in in the browser that sends the request; the zero SignedIn: nobody.
func (w *Wire) Signed(r *http.Request) (annona.SignedIn, error) {
	p, err := w.person(&visit{Request: r})
	if err != nil || p == nil {
		return annona.SignedIn{}, err
	}
	return p.SignedIn(), nil
}

// SignInURL is where somebody signs in, or signs in again, as demanded. The browser then comes back to
// back, a path with a query on this server.
func (w *Wire) SignInURL(back string, demand annona.Demand) string {
	q := url.Values{"back": {back}}
	if demand.Assurance != annona.AssuranceNone {
		q.Set("acr", demand.Assurance.String())
	}
	if demand.MaxAge > 0 {
		q.Set("max_age", strconv.Itoa(int(demand.MaxAge/time.Second)))
	}
	return SignInPath + "?" + q.Encode()
}

// goOn sends the browser on.
func goOn(v *visit, to string) error {
	v.out.Header().Set("Location", to)
	v.out.WriteHeader(http.StatusSeeOther)
	return nil
}

// backOf is where a browser goes when it is done: a place on this server, or the account.
func backOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > 2048 || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\\r\n\t") ||
		u.Host != "" || u.Scheme != "" || u.Fragment != "" {
		return AccountPath
	}
	return text
}

// status is how HTTP says what was refused.
func status(err error) int {
	switch annona.KindOf(err) {
	case annona.KindInvalid, annona.KindConflict:
		return http.StatusBadRequest
	case annona.KindUnauthenticated:
		return http.StatusUnauthorized
	case annona.KindForbidden:
		return http.StatusForbidden
	case annona.KindNotFound:
		return http.StatusNotFound
	case annona.KindTooMany:
		return http.StatusTooManyRequests
	case annona.KindUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// message is what the reader is told of an error: never a cause.
func message(err error) string {
	known := (*annona.Error)(nil)
	if !errors.As(err, &known) || known.Kind == annona.KindInternal {
		return "something failed on our side: try again in a moment"
	}
	return known.Message
}

// field is the field of a form that an error is about; empty: none.
func field(err error) string {
	known := (*annona.Error)(nil)
	if errors.As(err, &known) {
		return known.Name
	}
	return ""
}
