package jobs

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wneessen/go-mail"
	"golang.org/x/mod/sumdb/note"

	"github.com/annona-exchange/annona"
)

// told is a teller that keeps notices, and fails as often as it is asked to.
type told struct {
	notices []Notice
	fails   int
}

func (t *told) Name() string { return "test" }

func (t *told) Tell(_ context.Context, n Notice) error {
	if t.fails > 0 {
		t.fails--
		return errWebhook
	}
	t.notices = append(t.notices, n)
	return nil
}

func (r *registry) scheduler(tell ...Teller) *Scheduler {
	return &Scheduler{Gate: r.gate, Syncs: r.store, Holder: annona.NewUID(), Tell: tell, Log: slog.New(slog.DiscardHandler)}
}

// daily puts a specification on file that is due each day at six.
func (r *registry) daily(webhook string) {
	r.Helper()
	client, err := r.store.ClientByID(r.Context(), r.caller.Client)
	r.must(err)
	r.spec("daily", func(s *annona.ExportSpec) {
		s.Schedule = &annona.Schedule{Cron: "0 6 * * *", TimeZone: "Africa/Accra", Client: client.KeyID, Webhook: webhook}
	})
}

// until moves the clock to that time of the next day.
func (r *registry) until(hour, minute int) {
	now := r.clock().UTC()
	at := time.Date(now.Year(), now.Month(), now.Day()+1, hour, minute, 0, 0, time.UTC)
	r.move(at.Sub(now))
}

func (r *registry) exports() []annona.ExportJob {
	r.Helper()
	all, err := r.gate.ListExports(r.Context(), operator)
	r.must(err)
	return all
}

func (r *registry) scheduled() *Scheduled {
	r.Helper()
	s, err := ReadSchedules(r.Context(), r.store)
	r.must(err)
	return s.Specs["daily"]
}

// TestEmergenciesAreTold: each one that nobody has reviewed is told once, also by another node, and until it has been told.
func TestEmergenciesAreTold(t *testing.T) {
	r := newRegistry(t, 1)
	put := func(g annona.BreakGlass) {
		r.must(r.store.Update(r.Context(), func(tx annona.Tx) error { return tx.PutBreakGlass(r.Context(), g) }))
	}
	first := annona.BreakGlass{ID: annona.NewUID(), Person: annona.NewUID(), Client: r.caller.Client, Agreement: r.caller.Agreement, Purpose: "flood", Reason: "flood", OpenedAt: r.clock(), Until: r.clock().Add(time.Hour)}
	put(first)
	heard := &told{fails: 1}
	look := func() {
		s := r.scheduler(heard)
		r.must(s.Look(r.Context()))
		r.must(r.store.FreeSync(r.Context(), annona.ScheduleSync, s.Holder))
	}
	look()
	if len(heard.notices) != 0 {
		t.Fatalf("told by a teller that fails: %+v", heard.notices)
	}
	for range 3 {
		r.move(time.Minute)
		look()
	}
	if len(heard.notices) != 1 || heard.notices[0].Event != NoticeGlass || heard.notices[0].BreakGlass != first.ID.String() || heard.notices[0].Code != "flood" {
		t.Fatalf("an emergency was told as %+v", heard.notices)
	}
	first.ReviewedAt, first.ReviewedBy, first.Verdict = r.clock(), "user:officer", annona.GlassJustified
	put(first)
	second := first
	second.ID, second.ReviewedAt, second.ReviewedBy, second.Verdict = annona.NewUID(), time.Time{}, "", ""
	put(second)
	look()
	look()
	if len(heard.notices) != 2 || heard.notices[1].BreakGlass != second.ID.String() {
		t.Errorf("two emergencies were told as %+v", heard.notices)
	}
}

// TestSchedulesStartExports lets days pass: an export starts at its time, on one node, once.
func TestSchedulesStartExports(t *testing.T) {
	r := newRegistry(t, 20)
	r.until(12, 0)
	r.daily("")
	heard := &told{}
	s, other := r.scheduler(heard), r.scheduler(heard)
	r.must(s.Look(r.Context()))
	if err := other.Look(r.Context()); !errors.Is(err, annona.ErrSyncHeld) {
		t.Errorf("two nodes look at once: %v", err)
	}
	if n := len(r.exports()); n != 0 {
		t.Errorf("%d exports before the time", n)
	}
	for day := 1; day <= 3; day++ {
		r.until(6, 0)
		r.must(s.Look(r.Context()))
		r.must(s.Look(r.Context()))
		if n := len(r.exports()); n != day {
			t.Fatalf("%d exports after %d days", n, day)
		}
		r.finish(r.worker(), r.exports()[0].ID)
		r.must(s.Look(r.Context()))
		if at := r.scheduled(); at.State != "complete" || at.Next.Sub(at.LastDue) != 24*time.Hour {
			t.Errorf("%+v", at)
		}
	}
	if len(heard.notices) != 0 {
		t.Errorf("%+v", heard.notices)
	}
	// The node dies between the export and the note of it: the next one starts it no second time.
	r.until(6, 0)
	s.Syncs = forgetful{r.store}
	if err := s.Look(r.Context()); err == nil {
		t.Fatal("the note is kept")
	}
	r.move(2 * time.Minute)
	r.must(other.Look(r.Context()))
	if n := len(r.exports()); n != 4 {
		t.Errorf("%d exports after a node died", n)
	}
	r.must(r.gate.DropExportSpec(r.Context(), operator, "daily"))
	r.until(7, 0)
	r.must(other.Look(r.Context()))
	if n := len(r.exports()); n != 4 || r.scheduled() != nil {
		t.Errorf("%d exports of a specification that was dropped", n)
	}
}

// forgetful keeps nothing.
type forgetful struct{ syncs }

type syncs interface{ annona.Syncs }

func (forgetful) PutSync(context.Context, string, annona.UID, []byte) error {
	return annona.ErrSyncLost
}

// TestSchedulesSayWhatWentWrong misses runs, lets them overlap and fail.
func TestSchedulesSayWhatWentWrong(t *testing.T) {
	r := newRegistry(t, 20)
	r.until(12, 0)
	r.daily("")
	heard := &told{}
	s := r.scheduler(heard)
	r.must(s.Look(r.Context()))
	last := func(event string, exports int) Notice {
		t.Helper()
		if n := len(r.exports()); n != exports || len(heard.notices) == 0 || heard.notices[len(heard.notices)-1].Event != event {
			t.Fatalf("%d exports, %+v", n, heard.notices)
		}
		return heard.notices[len(heard.notices)-1]
	}
	// Nobody was there for three days and an hour: it runs once.
	r.move(48 * time.Hour)
	r.until(7, 0)
	r.must(s.Look(r.Context()))
	if n := last(NoticeMissed, 1); n.Missed != 2 || n.Specification != "daily@1" {
		t.Errorf("%+v", n)
	}
	// It still runs on the next day.
	r.until(6, 0)
	r.must(s.Look(r.Context()))
	if n := last(NoticeSkipped, 1); n.Export != r.exports()[0].ID.String() {
		t.Errorf("%+v", n)
	}
	// Its client is revoked while it waits.
	r.must(r.gate.RevokeClient(r.Context(), operator, r.caller.Client))
	_, err := r.worker().Next(r.Context())
	r.must(err)
	r.must(s.Look(r.Context()))
	if n := last(NoticeFailed, 1); n.Code != "key_invalid" || n.Export == "" {
		t.Errorf("%+v", n)
	}
	// And the next one does not even start.
	heard.fails = 3
	r.until(6, 0)
	before := len(heard.notices)
	r.must(s.Look(r.Context()))
	for range 3 {
		r.must(s.Look(r.Context())) // too early to try again
	}
	if len(heard.notices) != before || heard.fails != 2 {
		t.Errorf("%d notices, %d failures to come", len(heard.notices)-before, heard.fails)
	}
	for range 3 {
		r.move(3 * time.Minute)
		r.must(s.Look(r.Context()))
	}
	if n := last(NoticeFailed, 1); n.Code != "key_invalid" || n.Export != "" || len(heard.notices) != before+1 {
		t.Errorf("%+v", heard.notices[before:])
	}
	kept, err := ReadSchedules(r.Context(), r.store)
	if err != nil || len(kept.Notices) != 0 {
		t.Errorf("%d notices are left, %v", len(kept.Notices), err)
	}
}

func TestSchedulesNameAClientOfTheAgreement(t *testing.T) {
	r := newRegistry(t, 1)
	other := r.partner("other", nil)
	foreign, err := r.store.ClientByID(r.Context(), other.Client)
	r.must(err)
	own, err := r.store.ClientByID(r.Context(), r.caller.Client)
	r.must(err)
	for code, schedule := range map[string]annona.Schedule{
		"schedule_client": {Cron: "0 6 * * *", TimeZone: "UTC", Client: foreign.KeyID}, "schedule_malformed": {Cron: "6 o'clock", TimeZone: "UTC", Client: own.KeyID},
		"unknown_time_zone": {Cron: "0 6 * * *", TimeZone: "Nowhere", Client: own.KeyID}, "webhook_malformed": {Cron: "0 6 * * *", TimeZone: "UTC", Client: own.KeyID, Webhook: "http://example.org/"},
	} {
		spec := annona.ExportSpec{Name: "bad", Agreement: "program", Purpose: purpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "sex"}}, Schedule: &schedule}
		if _, _, err := r.gate.PutExportSpec(r.Context(), operator, spec); annona.CodeOf(err) != code {
			t.Errorf("%+v: %v", schedule, err)
		}
	}
}

// TestWebhooksAreSignedAndGoNowhereElse brings a notice to a server, and to places where it must not go.
func TestWebhooksAreSignedAndGoNowhereElse(t *testing.T) {
	r := newRegistry(t, 1)
	keys, err := r.vault.ManifestKeys()
	r.must(err)
	verifier, err := note.NewVerifier(keys[len(keys)-1])
	r.must(err)
	var got []string
	moved := false
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		got = append(got, string(body))
		if moved {
			http.Redirect(w, q, "https://example.org/", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	r.must(err)
	client := server.Client()
	client.CheckRedirect = publicClient().CheckRedirect
	w := &Webhooks{Vault: r.vault, Hosts: []string{u.Host}, Client: client}
	n := Notice{Version: 1, ID: "one", Event: NoticeFailed, Specification: "daily@1", Code: "key_invalid", Webhook: server.URL + "/hook", Waits: []string{"webhook"}}
	r.must(w.Tell(r.Context(), n))
	opened, err := note.Open([]byte(got[0]), note.VerifierList(verifier))
	r.must(err)
	var said map[string]any
	r.must(json.Unmarshal([]byte(opened.Text), &said))
	if said["id"] != "one" || said["code"] != "key_invalid" || said["notice"] != 1.0 || said["webhook"] != nil || said["waits"] != nil {
		t.Errorf("%v", said)
	}
	if _, err := OpenManifest(got[0], keys...); annona.CodeOf(err) != "manifest_version" {
		t.Errorf("a notice passes for a manifest: %v", err)
	}
	moved = true
	if err := w.Tell(r.Context(), n); annona.CodeOf(err) != "webhook_failed" || len(got) != 2 {
		t.Errorf("a redirect: %v", err)
	}
	for _, address := range []string{"https://example.org/hook", strings.Replace(server.URL, "https", "http", 1), "https://" + u.Host + ".example.org/", "file:///etc/passwd"} {
		n.Webhook = address
		if err := w.Tell(r.Context(), n); annona.CodeOf(err) != "webhook_host" || len(got) != 2 {
			t.Errorf("%s: %v", address, err)
		}
	}
	// Its own client does not connect to this machine, whatever the name is.
	w.Client, n.Webhook = nil, server.URL
	if err := w.Tell(r.Context(), n); annona.CodeOf(err) != "webhook_failed" || len(got) != 2 {
		t.Errorf("loopback: %v", err)
	}
	for address, public := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1": true, "127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false,
		"::1": false, "fe80::1": false, "fd00::1": false, "::ffff:10.0.0.1": false, "::ffff:127.0.0.1": false, "64:ff9b::a00:1": false, "224.0.0.1": false, "255.255.255.255": false, "2002:7f00:1::": false,
	} {
		if isPublic(netip.MustParseAddr(address)) != public {
			t.Errorf("%s: public is not %v", address, public)
		}
	}
}

// TestMailsGoThroughAServer sends a notice through a mail server of the test.
func TestMailsGoThroughAServer(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	message := ""
	running.Go(func() { message = takeMail(listener) })
	client, err := mail.NewClient("127.0.0.1", mail.WithPort(listener.Addr().(*net.TCPAddr).Port), mail.WithTLSPolicy(mail.NoTLS), mail.WithHELO("registry.example"))
	if err != nil {
		t.Fatal(err)
	}
	m := &Mail{client: client, from: "registry@example.org", to: "office@example.org"}
	if err := m.Tell(t.Context(), Notice{Version: 1, ID: "one", Event: NoticeMissed, Specification: "daily@3"}); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	for _, part := range []string{"Subject: Annona: export_missed daily@3", "To: <office@example.org>", `"specification": "daily@3"`} {
		if !strings.Contains(message, part) {
			t.Errorf("the mail has no %s:\n%s", part, message)
		}
	}
	if err := m.Tell(t.Context(), Notice{}); annona.CodeOf(err) != "mail_failed" {
		t.Errorf("without a server: %v", err)
	}
	for _, address := range []string{"", "example.org", "https://example.org?from=a@b.org&to=c@d.org", "smtps://example.org", "smtps://example.org?from=a@b.org&to=nobody", "smtps://?from=a@b.org&to=c@d.org", "smtps://user:word@example.org?from=a@b.org&to=c@d.org"} {
		if _, err := NewMail(address, ""); annona.CodeOf(err) != "smtp_malformed" {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := NewMail("smtps://user@example.org:465?from=a@b.org&to=c@d.org", "word"); err != nil {
		t.Error(err)
	}
}

// takeMail is a mail server for one mail. It returns what it was sent.
func takeMail(listener net.Listener) string {
	c, err := listener.Accept()
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = listener.Close()
	var text strings.Builder
	say := func(line string) { fmt.Fprintf(c, "%s\r\n", line) }
	say("220 ready")
	inData := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		switch {
		case inData && line == ".":
			inData = false
			say("250 taken")
		case inData:
			text.WriteString(line + "\n")
		case line == "DATA":
			inData = true
			say("354 go on")
		case strings.HasPrefix(line, "EHLO"):
			say("250 registry.example")
		case line == "QUIT":
			say("221 bye")
			return text.String()
		default:
			say("250 good")
		}
	}
	return text.String()
}
