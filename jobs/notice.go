package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/annona-exchange/annona"
)

// The events that notices tell of.
const (
	NoticeFailed  = "export_failed"  // it was not started, or did not end well
	NoticeMissed  = "export_missed"  // nobody was there at its time; it runs now
	NoticeSkipped = "export_skipped" // the one before still runs
	NoticeGlass   = "break_glass"    // somebody sees more than their roles show, see Scheduler.emergencies
)

// Notice tells that a scheduled export did not go as it should, or of an emergency. It has no personal data:
// ids, codes and times.
type Notice struct {
	Version       int       `json:"notice"` // of this form: 1
	ID            string    `json:"id"`     // the same when it is sent again
	Event         string    `json:"event"`
	Specification string    `json:"specification,omitempty"` // name@version
	Agreement     string    `json:"agreement"`
	Due           time.Time `json:"due,omitzero"`
	BreakGlass    string    `json:"break_glass,omitempty"` // id of the emergency
	Export        string    `json:"export,omitempty"`
	Code          string    `json:"code,omitempty"`
	Missed        int       `json:"missed,omitempty"` // runs before this one
	At            time.Time `json:"at"`

	Webhook  string    `json:"-"`
	Waits    []string  `json:"-"` // tellers that have not told it
	Attempts int       `json:"-"`
	NotNow   time.Time `json:"-"` // before that
}

// kept is a notice on its way, with how far it has come.
type keptNotice struct {
	Sent     sentNotice `json:"says"`
	Webhook  string     `json:"webhook,omitempty"`
	Waits    []string   `json:"waits"`
	Attempts int        `json:"attempts,omitempty"`
	NotNow   time.Time  `json:"not_now,omitzero"`
}

type sentNotice Notice

// MarshalJSON writes a notice on its way; what is sent of it is says.
func (n Notice) MarshalJSON() ([]byte, error) {
	return json.Marshal(keptNotice{sentNotice(n), n.Webhook, n.Waits, n.Attempts, n.NotNow})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Notice) UnmarshalJSON(b []byte) error {
	var k keptNotice
	if err := json.Unmarshal(b, &k); err != nil {
		return err
	}
	*n = Notice(k.Sent)
	n.Webhook, n.Waits, n.Attempts, n.NotNow = k.Webhook, k.Waits, k.Attempts, k.NotNow
	return nil
}

// about names what a notice tells of.
func (n Notice) about() string { return n.Specification + n.BreakGlass }

// text is what is sent of a notice.
func (n Notice) text() (string, error) {
	b, err := json.MarshalIndent(sentNotice(n), "", "  ")
	if err != nil {
		return "", annona.Internal("write a notice", err)
	}
	return string(b) + "\n", nil
}

// Teller brings notices to somebody.
type Teller interface {
	// Name tells it from other ones.
	Name() string
	// Tell brings a notice. What fails is tried again later.
	Tell(ctx context.Context, n Notice) error
}

// The bounds of notices: the last attempt comes about a day after the first.
const (
	noticeAttempts = 12
	firstRetry     = 30 * time.Second // twice as long each time
	longestRetry   = 6 * time.Hour
	mostNotices    = 200 // that wait at once
	noticeTime     = 15 * time.Second
)

// notice puts a notice on its way, and into the log.
func (s *Scheduler) notice(state *Schedules, spec *annona.ExportSpec, n Notice) {
	n.Specification, n.Agreement = fmt.Sprintf("%s@%d", spec.Name, spec.Version), spec.Agreement
	n.Webhook = spec.Schedule.Webhook
	s.Log.Warn("a scheduled export did not go as it should", "event", n.Event, "specification", n.Specification, "export", n.Export, "code", n.Code, "missed", n.Missed)
	s.post(state, n)
}

// post puts a notice on its way to all tellers.
func (s *Scheduler) post(state *Schedules, n Notice) {
	n.Version, n.ID, n.At = 1, annona.NewUID().String(), s.Gate.Clock().UTC().Truncate(time.Second)
	for _, t := range s.Tell {
		n.Waits = append(n.Waits, t.Name())
	}
	if len(n.Waits) == 0 {
		return
	}
	if state.Notices = append(state.Notices, n); len(state.Notices) > mostNotices {
		s.Log.Error("too many notices wait; the oldest is dropped", "event", state.Notices[0].Event, "about", state.Notices[0].about())
		state.Notices = state.Notices[1:]
	}
}

// send brings the notices whose time has come.
func (s *Scheduler) send(ctx context.Context, state *Schedules) {
	now := s.Gate.Clock()
	left := state.Notices[:0]
	for _, n := range state.Notices {
		if now.Before(n.NotNow) || ctx.Err() != nil {
			left = append(left, n)
			continue
		}
		failed := s.bring(ctx, n)
		if len(failed) == 0 {
			continue
		}
		n.Waits = failed
		if n.Attempts++; n.Attempts >= noticeAttempts {
			s.Log.Error("a notice could not be brought and is given up", "event", n.Event, "about", n.about(), "tellers", strings.Join(failed, " "))
			continue
		}
		n.NotNow = now.Add(min(firstRetry<<(n.Attempts-1), longestRetry))
		left = append(left, n)
	}
	state.Notices = left
}

// bring brings a notice to everybody who does not have it, and returns those who still do not.
func (s *Scheduler) bring(ctx context.Context, n Notice) (failed []string) {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	for _, t := range s.Tell {
		if !slices.Contains(n.Waits, t.Name()) {
			continue
		}
		if err := t.Tell(ctx, n); err != nil {
			s.Log.Warn("a notice could not be brought", "teller", t.Name(), "code", annona.CodeOf(err))
			failed = append(failed, t.Name())
		}
	}
	return failed
}

// Webhooks brings notices to the addresses of schedules, as signed notes like manifests. It goes to hosts that
// the operator has listed, over https, to public networks, and follows nobody elsewhere.
type Webhooks struct {
	Vault annona.FileVault
	Hosts []string // names, each with a port where it is not 443
	// Client sends requests; nil: one that goes to public networks only.
	Client *http.Client
}

// Name tells it from other tellers.
func (w *Webhooks) Name() string { return "webhook" }

// Tell brings a notice to the webhook of its schedule, when it has one.
func (w *Webhooks) Tell(ctx context.Context, n Notice) error {
	if n.Webhook == "" {
		return nil
	}
	u, err := url.Parse(n.Webhook)
	if err != nil || u.Scheme != "https" || !slices.Contains(w.Hosts, u.Host) {
		return annona.Forbidden("webhook_host", "the host of the webhook is none that the operator has listed: serve --webhook-host")
	}
	text, err := n.text()
	if err != nil {
		return err
	}
	signed, err := w.Vault.SignManifest(text)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.Webhook, strings.NewReader(signed))
	if err != nil {
		return errWebhook.Because(err)
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	request.Header.Set("User-Agent", "annona")
	client := w.Client
	if client == nil {
		client = publicClient()
	}
	response, err := client.Do(request)
	if err != nil {
		return errWebhook.Because(err)
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return errWebhook
	}
	return nil
}

var errWebhook = annona.Unavailable("webhook_failed", "the webhook does not take the notice; it is tried again")

var errRedirect = errors.New("a webhook leads to no other address")

// publicClient is a client that connects to public addresses only, whatever a name leads to at that moment.
func publicClient() *http.Client {
	dialer := &net.Dialer{Timeout: noticeTime, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !isPublic(at.Addr()) {
			return annona.Forbidden("webhook_address", "the name of the webhook leads to an address that is not public")
		}
		return nil
	}}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: noticeTime, DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		Timeout:       noticeTime,
	}
}

// notPublic are networks of the registries of special addresses (RFC 6890) that netip does not name.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Mail brings notices to somebody's mailbox.
type Mail struct {
	client   *mail.Client
	from, to string
}

// NewMail reads smtps://user@host:465?from=…&to=…; smtp:// begins in clear and goes on only when the
// server offers TLS. The password stands elsewhere: an address is seen by everybody on the machine.
func NewMail(address, password string) (*Mail, error) {
	malformed := annona.Invalid("smtp_malformed", "a mail server is written smtps://user@host:465?from=registry@example.org&to=office@example.org, or smtp:// where TLS comes later; its password stands in a file").On("smtp")
	u, err := url.Parse(address)
	if err != nil {
		return nil, malformed
	}
	if _, told := u.User.Password(); told || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
		return nil, malformed
	}
	m := &Mail{from: u.Query().Get("from"), to: u.Query().Get("to")}
	if m.from == "" || m.to == "" {
		return nil, malformed
	}
	options := []mail.Option{mail.WithTimeout(noticeTime), mail.WithTLSPolicy(mail.TLSMandatory)}
	if u.Scheme == "smtps" {
		options = append(options, mail.WithSSL())
	}
	if port, err := net.LookupPort("tcp", u.Port()); u.Port() != "" && err == nil {
		options = append(options, mail.WithPort(port))
	} else if u.Scheme == "smtps" {
		options = append(options, mail.WithPort(465))
	}
	if u.User != nil {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	}
	if m.client, err = mail.NewClient(u.Hostname(), options...); err != nil {
		return nil, malformed.Because(err)
	}
	if _, err := m.message(Notice{}); err != nil {
		return nil, malformed.Because(err)
	}
	return m, nil
}

// Name tells it from other tellers.
func (m *Mail) Name() string { return "mail" }

// Tell sends a notice.
func (m *Mail) Tell(ctx context.Context, n Notice) error {
	message, err := m.message(n)
	if err != nil {
		return err
	}
	if err := m.client.DialAndSendWithContext(ctx, message); err != nil {
		return annona.Unavailable("mail_failed", "the mail server does not take the notice; it is tried again").Because(err)
	}
	return nil
}

func (m *Mail) message(n Notice) (*mail.Msg, error) {
	text, err := n.text()
	if err != nil {
		return nil, err
	}
	message := mail.NewMsg()
	if err := errors.Join(message.From(m.from), message.To(m.to)); err != nil {
		return nil, err
	}
	message.Subject("Annona: " + n.Event + " " + n.about())
	message.SetMessageIDWithValue(n.ID + "@annona")
	message.SetBodyString(mail.TypeTextPlain, text)
	return message, nil
}
