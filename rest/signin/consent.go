package signin

import (
	"net/http"
	"net/url"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/identity/people"
)

// For lets the pages ask people for the consent to what is asked of an issuer. It comes before the first
// request.
func (w *Wire) For(issuer *identity.Issuer) *Wire {
	w.issuer = issuer
	return w
}

// ConsentURL is where the person who has signed in says whether the client may act for them.
func (w *Wire) ConsentURL(client, request string) string {
	return ConsentPath + "?" + url.Values{"client_id": {client}, "request_uri": {request}}.Encode()
}

// consent is what the page of consent shows.
type consent struct {
	Client, Request  string
	Label, Agreement string
	Partner          string // whom the person works for
	Purpose          string
	Datasets         []string
	Hours            int    // how long it may act at most
	Host             string // where the browser goes when it is answered
}

var errNoConsent = annona.NotFound("no application can ask for anything here")

// askForConsent shows what an application asks for, to somebody who has signed in as it demands.
func (w *Wire) askForConsent(v *visit) error {
	q := v.URL.Query()
	asked, p, err := w.asking(v, q.Get("client_id"), q.Get("request_uri"))
	if err != nil {
		return err
	}
	if !p.SignedIn().Meets(asked.Demand, w.desk.Clock()) {
		return goOn(v, w.SignInURL(v.URL.RequestURI(), asked.Demand))
	}
	back, err := url.Parse(asked.Redirect)
	if err != nil {
		return errForm
	}
	// What the browser is sent to after the answer is on file with the client: forms may lead there.
	v.out.Header().Set("Content-Security-Policy", policyWith("'self' "+back.Scheme+"://"+back.Host))
	return w.show(v, http.StatusOK, "consent", page{Title: "Allow an application to act for you?", Name: nameOf(p), Of: consent{
		Client: q.Get("client_id"), Request: q.Get("request_uri"), Label: people.NameOf(asked.Client), Agreement: asked.Client.Agreement,
		Partner: p.Partner, Purpose: asked.Within.Purpose, Datasets: asked.Within.Datasets, Hours: int(identity.DelegationLife.Hours()), Host: back.Host,
	}})
}

func (w *Wire) asking(v *visit, client, request string) (*identity.Asked, *people.Person, error) {
	if w.issuer == nil {
		return nil, nil, errNoConsent
	}
	p, err := w.signed(v)
	if err != nil {
		return nil, nil, err
	}
	asked, err := w.issuer.Asked(v.Context(), client, request)
	return asked, p, err
}

// consent takes the answer, and sends the browser back to the application.
func (w *Wire) consent(v *visit) error {
	client, request := v.PostForm.Get("client_id"), v.PostForm.Get("request_uri")
	_, p, err := w.asking(v, client, request)
	if err != nil {
		return err
	}
	var next string
	switch v.PostForm.Get("answer") {
	case "allow":
		next, err = w.issuer.Allow(v.Context(), client, request, p.SignedIn())
	case "refuse":
		next, err = w.issuer.Refuse(v.Context(), client, request)
	default:
		err = errForm
	}
	if err != nil {
		return err
	}
	return goOn(v, next)
}

func (w *Wire) endApplication(v *visit) error {
	p, err := w.signed(v)
	if err != nil {
		return err
	}
	id, err := annona.ParseUID(v.PostForm.Get("id"))
	if err != nil {
		return errForm
	}
	if err := w.desk.EndApplication(v.Context(), w.browser(v), p, id); err != nil {
		return err
	}
	return goOn(v, AccountPath)
}
