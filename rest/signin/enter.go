package signin

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/annona-exchange/annona"
)

// asking is what a page of signing in is for.
type asking struct {
	Back     string
	Passkeys bool // there can be some under this address
	Only     bool // nothing but a passkey is strong enough
	Again    bool // somebody is signed in, and proves it again
	User     string
}

// asked reads what a page of signing in is asked for.
func (w *Wire) asked(v *visit) (asking, annona.Demand, error) {
	a := asking{Back: AccountPath, Passkeys: w.desk.HasPasskeys()}
	q := v.URL.Query()
	if back := q.Get("back"); back != "" {
		a.Back = backOf(back)
	}
	var demand annona.Demand
	if word := q.Get("acr"); word != "" {
		assurance, ok := annona.ParseAssurance(word)
		if !ok {
			return a, demand, annona.Invalid("acr_unknown", "the values of acr are mfa and phr")
		}
		demand.Assurance = assurance
	}
	if text := q.Get("max_age"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 1 || seconds > int(24*time.Hour/time.Second) {
			return a, demand, annona.Invalid("max_age_malformed", "max_age is a number of seconds, at most a day")
		}
		demand.MaxAge = time.Duration(seconds) * time.Second
	}
	a.Only = demand.Assurance == annona.AssurancePasskey
	return a, demand, nil
}

// askToSignIn shows the page, or sends the browser back when nothing is to be proved.
func (w *Wire) askToSignIn(v *visit) error {
	a, demand, err := w.asked(v)
	if err != nil {
		return err
	}
	p, err := w.person(v)
	if err != nil {
		return err
	}
	if p != nil && p.SignedIn().Meets(demand, w.desk.Clock()) {
		return goOn(v, a.Back)
	}
	if p != nil {
		a.Again, a.User = true, p.Name
	}
	return w.showSignIn(v, a, nil)
}

func (w *Wire) showSignIn(v *visit, a asking, wrong error) error {
	shown := page{Title: "Sign in", Of: a}
	if a.Again {
		shown.Title = "Prove that it is you"
	}
	if wrong != nil {
		return w.wrong(v, wrong, "signin", shown)
	}
	return w.show(v, http.StatusOK, "signin", shown)
}

// signInByPassword signs somebody in who sent a name, a password and a code. What was wrong, nobody says.
func (w *Wire) signInByPassword(v *visit) error {
	form := v.PostForm
	e, err := w.desk.EnterByPassword(v.Context(), w.browser(v), form.Get("name"), form.Get("password"), form.Get("code"))
	if err != nil {
		return w.showSignIn(v, asking{Back: backOf(form.Get("back")), Passkeys: w.desk.HasPasskeys()}, err)
	}
	w.entered(v, e)
	return goOn(v, backOf(form.Get("back")))
}

// askForKnownPasskey answers the script with what the browser is to be asked.
func (w *Wire) askForKnownPasskey(v *visit) error {
	options, state, err := w.desk.AskToSignIn()
	if err != nil {
		return err
	}
	w.keep(v, cookieWay, state, 0)
	return answerJSON(v, http.StatusOK, json.RawMessage(options))
}

// shownPasskey is what the script sends.
type shownPasskey struct {
	Back       string          `json:"back"`
	Label      string          `json:"label"`
	Credential json.RawMessage `json:"credential"`
}

func readPasskey(v *visit) (shown shownPasskey, err error) {
	body, err := io.ReadAll(v.Body)
	if err != nil || json.Unmarshal(body, &shown) != nil {
		return shown, errForm
	}
	return shown, nil
}

// signInByPasskey signs somebody in who has shown a passkey.
func (w *Wire) signInByPasskey(v *visit) error {
	shown, err := readPasskey(v)
	if err != nil {
		return err
	}
	e, err := w.desk.EnterByPasskey(v.Context(), w.browser(v), w.cookie(v, cookieWay), shown.Credential)
	if err != nil {
		return err
	}
	w.entered(v, e)
	return answerJSON(v, http.StatusOK, map[string]string{"next": backOf(shown.Back)})
}

func (w *Wire) askForInvitation(v *visit) error {
	return w.show(v, http.StatusOK, "invitation", page{Title: "Accept an invitation"})
}

// acceptInvitation takes an invitation; then its owner registers something to sign in by.
func (w *Wire) acceptInvitation(v *visit) error {
	state, err := w.desk.AcceptInvitation(v.Context(), w.browser(v), v.PostForm.Get("invitation"))
	if err != nil {
		return w.wrong(v, err, "invitation", page{Title: "Accept an invitation"})
	}
	w.keep(v, cookieInvited, state, 0)
	w.keep(v, cookieSession, "", 0) // whoever was signed in here is not the one who is invited
	return goOn(v, AccountPath)
}

func answerJSON(v *visit, status int, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return annona.Internal("write an answer", err)
	}
	v.out.Header().Set("Content-Type", "application/json")
	v.out.WriteHeader(status)
	_, _ = v.out.Write(body)
	return nil
}
