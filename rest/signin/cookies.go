package signin

import (
	"net/http"
	"time"

	"github.com/annona-exchange/annona/identity/people"
)

// The cookies. None of them is readable by scripts or sent to another host; their names begin with
// __Host-, which browsers take by https only. By plain http, which is for a loopback address alone, they
// go without.
const (
	cookieSession = "annona-session"
	cookieDevice  = "annona-device"  // kept between sign-ins, opens nothing
	cookieForm    = "annona-form"    // what tokens of forms are made of
	cookieWay     = "annona-way"     // a step of signing in or registering, sealed
	cookieInvited = "annona-invited" // an invitation that was accepted, sealed
)

const deviceLife = 365 * 24 * time.Hour

func (w *Wire) cookieName(name string) string {
	if w.secured {
		return "__Host-" + name
	}
	return name
}

// cookie returns what the browser shows; empty when it shows none, or two.
func (w *Wire) cookie(v *visit, name string) string {
	shown := v.CookiesNamed(w.cookieName(name))
	if len(shown) != 1 {
		return ""
	}
	return shown[0].Value
}

// keep gives the browser a cookie: until it is closed, or for that long.
func (w *Wire) keep(v *visit, name, value string, life time.Duration) {
	c := &http.Cookie{Name: w.cookieName(name), Value: value, Path: "/", Secure: w.secured, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if name == cookieInvited || name == cookieWay {
		c.SameSite = http.SameSiteStrictMode
	}
	if value == "" {
		c.MaxAge = -1
	} else if life > 0 {
		c.MaxAge = int(life / time.Second)
	}
	http.SetCookie(v.out, c)
}

// entered gives the browser its session, and takes away what was on the way.
func (w *Wire) entered(v *visit, e people.Entered) {
	w.keep(v, cookieSession, e.Session, 0)
	w.keep(v, cookieDevice, e.Device, deviceLife)
	for _, name := range []string{cookieForm, cookieWay, cookieInvited} {
		w.keep(v, name, "", 0)
	}
}

// left takes the session away.
func (w *Wire) left(v *visit) {
	for _, name := range []string{cookieSession, cookieForm, cookieWay, cookieInvited} {
		w.keep(v, name, "", 0)
	}
}

// formToken is what the forms of a page carry. A browser without the cookie gets one.
func (w *Wire) formToken(v *visit) string {
	kept := w.cookie(v, cookieForm)
	if kept == "" {
		kept = w.desk.NewForm()
		w.keep(v, cookieForm, kept, 0)
	}
	return w.desk.FormToken(kept)
}
