package signin

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// pages are the templates by the name of their file.
type pages map[string]*template.Template

func parsePages() (pages, error) {
	all := pages{}
	for _, name := range []string{"signin", "invitation", "account", "register", "password", "app", "recovery", "consent", "message"} {
		t, err := template.New("layout.html").Funcs(template.FuncMap{"moment": moment, "sentence": sentence, "plain": plain}).ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		all[name] = t
	}
	return all, nil
}

// moment is a time as pages show it.
func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}

// plain writes a code as words.
func plain(code string) string { return strings.ReplaceAll(code, "-", " ") }

// sentence makes a message one.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// page is what every page shows.
type page struct {
	Title string
	Form  string // token of the page's forms
	Wrong string // what went wrong; empty: nothing
	Field string // the field that it is about
	Name  string // who is signed in; empty: nobody
	Of    any    // what this page shows beyond that
}

// show writes a page.
func (w *Wire) show(v *visit, status int, name string, p page) error {
	p.Form = w.formToken(v)
	var body bytes.Buffer
	if err := w.pages[name].Execute(&body, p); err != nil {
		return annona.Internal("write a page", err)
	}
	v.out.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.out.WriteHeader(status)
	_, _ = v.out.Write(body.Bytes())
	return nil
}

// wrong shows a page again, with what went wrong on it. The error goes on to the log.
func (w *Wire) wrong(v *visit, err error, name string, p page) error {
	p.Wrong, p.Field = message(err), field(err)
	if failed := w.show(v, status(err), name, p); failed != nil {
		return failed
	}
	return told{err}
}

// told is an error that its page has shown already.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// refuse writes what was refused: JSON where a script asked, a page otherwise.
func (w *Wire) refuse(v *visit, err error) {
	if _, done := err.(told); done {
		return
	}
	if v.Header.Get("Annona-Form") != "" {
		answerJSON(v, status(err), map[string]string{"code": annona.CodeOf(err), "error": sentence(message(err))})
		return
	}
	switch code := annona.CodeOf(err); {
	case code == "signed_out" || code == errNotSignedIn.Code:
		back := AccountPath
		if v.Method == http.MethodGet {
			back = v.URL.RequestURI()
		}
		_ = goOn(v, w.SignInURL(back, annona.Demand{}))
	case code == "insufficient_user_authentication":
		_ = goOn(v, w.SignInURL(AccountPath, annona.Demand{Assurance: annona.AssuranceTwoFactors, MaxAge: freshFor}))
	default:
		if failed := w.show(v, status(err), "message", page{Title: "This did not work", Wrong: message(err)}); failed != nil {
			v.out.WriteHeader(http.StatusInternalServerError)
		}
	}
}

// file serves a file of the pages.
func (w *Wire) file(name, kind string) func(*visit) error {
	return func(v *visit) error {
		body, err := files.ReadFile(name)
		if err != nil {
			return annona.Internal("read a file of the pages", err)
		}
		v.out.Header().Set("Content-Type", kind)
		v.out.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = v.out.Write(body)
		return nil
	}
}
