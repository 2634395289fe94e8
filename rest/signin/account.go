package signin

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html/template"
	"net/http"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity/people"
)

// freshFor is how long ago somebody may have signed in to change what they sign in by.
const freshFor = people.FreshFor

var errNotSignedIn = annona.Unauthenticated("not_signed_in", "you are not signed in")

// holder returns who the account is of: somebody who is signed in, or who has accepted an invitation.
func (w *Wire) holder(v *visit) (*people.Person, error) {
	p, err := w.person(v)
	if p != nil || err != nil {
		return p, err
	}
	if state := w.cookie(v, cookieInvited); state != "" {
		return w.desk.Invited(v.Context(), state)
	}
	return nil, errNotSignedIn
}

// signed returns who is signed in.
func (w *Wire) signed(v *visit) (*people.Person, error) {
	p, err := w.person(v)
	if err == nil && p == nil {
		err = errNotSignedIn
	}
	return p, err
}

// account is what the page of an account shows.
type account struct {
	Passkeys  bool // there can be some under this address
	Keys      []annona.Factor
	Password  *annona.Factor
	Recovery  int
	Sessions  []session
	Allowed   []people.Application
	Partner   string
	Roles     []string
	Assurance string
}

type session struct {
	annona.Session
	ID   string
	Here bool
}

func (w *Wire) account(v *visit) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	if p.IsInvited() {
		return w.show(v, http.StatusOK, "register", page{Title: "Choose how you sign in", Name: nameOf(p), Of: account{Passkeys: w.desk.HasPasskeys()}})
	}
	shown, err := w.accountOf(v, p)
	if err != nil {
		return err
	}
	return w.show(v, http.StatusOK, "account", page{Title: "Your account", Name: nameOf(p), Of: shown})
}

func (w *Wire) accountOf(v *visit, p *people.Person) (account, error) {
	a := account{Passkeys: w.desk.HasPasskeys(), Partner: p.Partner, Roles: p.Roles, Assurance: p.SignedIn().Assurance.String()}
	factors, err := w.desk.Factors(v.Context(), p)
	if err != nil {
		return a, err
	}
	for _, f := range factors {
		switch f.Kind {
		case annona.FactorPasskey:
			a.Keys = append(a.Keys, f)
		case annona.FactorPassword:
			a.Password = &f
		case annona.FactorRecovery:
			a.Recovery++
		}
	}
	sessions, here, err := w.desk.Where(v.Context(), p)
	if err != nil {
		return a, err
	}
	for _, s := range sessions {
		a.Sessions = append(a.Sessions, session{s, hex.EncodeToString(s.Hash[:]), s.Hash == here})
	}
	a.Allowed, err = w.desk.Applications(v.Context(), p)
	return a, err
}

func nameOf(p *people.Person) string {
	if p.Display != "" {
		return p.Display
	}
	return p.Name
}

// askForPasskey answers the script with what the browser is to be asked.
func (w *Wire) askForPasskey(v *visit) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	options, state, err := w.desk.AskForPasskey(v.Context(), p)
	if err != nil {
		return err
	}
	w.keep(v, cookieWay, state, 0)
	return answerJSON(v, http.StatusOK, json.RawMessage(options))
}

func (w *Wire) registerPasskey(v *visit) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	shown, err := readPasskey(v)
	if err != nil {
		return err
	}
	e, err := w.desk.RegisterPasskey(v.Context(), w.browser(v), p, w.cookie(v, cookieWay), shown.Credential, shown.Label)
	if err != nil {
		return err
	}
	w.entered(v, e)
	return answerJSON(v, http.StatusOK, map[string]string{"next": AccountPath})
}

// changed finishes a change of what somebody signs in by.
func (w *Wire) changed(v *visit, change func(*people.Person) (people.Entered, error)) error {
	p, err := w.signed(v)
	if err != nil {
		return err
	}
	e, err := change(p)
	if err != nil {
		return err
	}
	w.entered(v, e)
	return goOn(v, AccountPath)
}

func (w *Wire) removePasskey(v *visit) error {
	id, err := annona.ParseUID(v.PostForm.Get("id"))
	if err != nil {
		return errForm
	}
	return w.changed(v, func(p *people.Person) (people.Entered, error) {
		return w.desk.RemovePasskey(v.Context(), w.browser(v), p, id)
	})
}

func (w *Wire) removePassword(v *visit) error {
	return w.changed(v, func(p *people.Person) (people.Entered, error) {
		return w.desk.RemovePassword(v.Context(), w.browser(v), p)
	})
}

func (w *Wire) askForPassword(v *visit) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	if err := p.MayChange(w.desk.Clock()); err != nil {
		return err
	}
	return w.show(v, http.StatusOK, "password", page{Title: "Choose a password", Name: nameOf(p), Of: p.User.Name})
}

func (w *Wire) choosePassword(v *visit) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	state, err := w.desk.ChoosePassword(v.Context(), p, v.PostForm.Get("password"), v.PostForm.Get("repeat"))
	if annona.KindOf(err) == annona.KindInvalid && err != nil {
		return w.wrong(v, err, "password", page{Title: "Choose a password", Name: nameOf(p), Of: p.User.Name})
	}
	if err != nil {
		return err
	}
	w.keep(v, cookieWay, state, 0)
	return goOn(v, "/account/app")
}

// app is what somebody enters into their app.
type app struct {
	Secret  string
	URL     template.URL
	Picture template.URL
}

func (w *Wire) showApp(v *visit) error { return w.showAppWith(v, nil) }

func (w *Wire) showAppWith(v *visit, wrong error) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	shown, err := w.desk.AppOf(p, w.cookie(v, cookieWay))
	if err != nil {
		return err
	}
	of := page{Title: "Set up your app for codes", Name: nameOf(p), Of: app{
		Secret: shown.Secret, URL: template.URL(shown.URL), Picture: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(shown.Picture)),
	}}
	if wrong != nil {
		return w.wrong(v, wrong, "app", of)
	}
	return w.show(v, http.StatusOK, "app", of)
}

func (w *Wire) registerPassword(v *visit) error {
	p, err := w.holder(v)
	if err != nil {
		return err
	}
	e, codes, err := w.desk.RegisterPassword(v.Context(), w.browser(v), p, w.cookie(v, cookieWay), v.PostForm.Get("code"))
	if annona.CodeOf(err) == "code_wrong" {
		return w.showAppWith(v, err)
	}
	if err != nil {
		return err
	}
	return w.showRecovery(v, p, e, codes)
}

func (w *Wire) renewRecoveryCodes(v *visit) error {
	p, err := w.signed(v)
	if err != nil {
		return err
	}
	e, codes, err := w.desk.RenewRecoveryCodes(v.Context(), w.browser(v), p)
	if err != nil {
		return err
	}
	return w.showRecovery(v, p, e, codes)
}

// showRecovery tells recovery codes, once.
func (w *Wire) showRecovery(v *visit, p *people.Person, e people.Entered, codes []string) error {
	w.entered(v, e)
	return w.show(v, http.StatusOK, "recovery", page{Title: "Your recovery codes", Name: nameOf(p), Of: codes})
}

func (w *Wire) endSession(v *visit) error {
	p, err := w.signed(v)
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(v.PostForm.Get("session"))
	if err != nil || len(raw) != len(annona.TokenHash{}) {
		return errForm
	}
	if err := w.desk.EndSession(v.Context(), w.browser(v), p, annona.TokenHash(raw)); err != nil {
		return err
	}
	return goOn(v, AccountPath)
}

// signOut ends the session of this browser. Whoever is signed out already is.
func (w *Wire) signOut(v *visit) error {
	return w.end(v, w.desk.SignOut)
}

func (w *Wire) signOutEverywhere(v *visit) error {
	return w.end(v, w.desk.SignOutEverywhere)
}

// end ends sessions, and takes from the browser what it has of its own.
func (w *Wire) end(v *visit, end func(context.Context, people.Browser, *people.Person) error) error {
	p, err := w.person(v)
	if err != nil {
		return err
	}
	if p != nil {
		if err := end(v.Context(), w.browser(v), p); err != nil {
			return err
		}
	}
	w.left(v)
	return goOn(v, SignInPath)
}
