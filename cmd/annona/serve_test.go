package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestShutdown: SIGTERM breaks off the bodies that run, and the program ends well.
func TestShutdown(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	slow := s.slowExport("households", about(eligibility, "format", "json"))
	if code := s.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := io.Copy(io.Discard, slow.Body); err == nil {
		t.Error("the body ends as if it were whole")
	}
	if reason := abortReason(t, data); reason != "shutting_down" {
		t.Errorf("the outcome is recorded with the reason %q", reason)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		t.Error("somebody still listens")
	}
	must(t, "verify", "--data", data)
}

// TestClientThatGoesAway is recorded as an abort of its own.
func TestClientThatGoesAway(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	slow := s.slowExport("households", about(eligibility, "format", "xml"))
	check(t, slow.Body.Close())
	if _, ok := s.err.line(`"aborted":true`, s.ended); !ok {
		t.Fatalf("the export goes on\n%s", s.err)
	}
	s.stop()
	if reason := abortReason(t, data); reason != "client_gone" {
		t.Errorf("the outcome is recorded with the reason %q", reason)
	}
}

// TestNothingOfThePerson asks well and badly, and then looks for what is personal in the logs, the
// metrics and the refusals.
func TestNothingOfThePerson(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	address := freeAddress(t)
	key := createKey(t, data, "eligibility").Key
	s := serveFolder(t, data, key, "--metrics", address)
	var personal []string
	for r := range records(t, "ndjson", "individuals", s.export("individuals", about(eligibility, "format", "ndjson"))) {
		for _, name := range []string{"full_name", "individual_id", "household_id", "full_address", "phone_numbers", "emails"} {
			personal = append(personal, r.values[name])
		}
		for _, i := range r.groups["identifiers"] {
			personal = append(personal, i.values["value"])
		}
		if len(personal) > 5000 {
			break
		}
	}
	told := s.askBadly(t, personal[1])
	metrics, err := plain.Get("http://" + address + "/metrics")
	check(t, err)
	shown, err := io.ReadAll(metrics.Body)
	check(t, err)
	if !strings.Contains(string(shown), `annona_http_requests_total{class="2xx",method="GET",route="/v1/individuals/export"} 1`) {
		t.Error("the metrics do not count the export")
	}
	if a := s.get("/metrics", nil); a.status != http.StatusNotFound {
		t.Errorf("the metrics stand beside the API too: status %d", a.status)
	}
	s.stop()
	secrets := append(personal, planted, key, strings.TrimPrefix(key, "annona_live_"))
	for what, text := range map[string]string{"log": s.out.String() + s.err.String(), "metrics": string(shown), "refusals": told} {
		for _, secret := range secrets {
			if len(secret) > 5 && strings.Contains(text, secret) {
				t.Fatalf("the %s holds something personal", what)
			}
		}
	}
	for _, line := range s.logs() {
		if line["msg"] == "request" && (line["request_id"] == "" || line["route"] == "" || line["status"] == nil) {
			t.Errorf("a line of the log is incomplete: %v", line)
		}
	}
}

// askBadly asks what is refused, with something personal in each place, and returns the answers.
func (s *server) askBadly(t *testing.T, id string) (told string) {
	t.Helper()
	lookup := fmt.Sprintf(`{"purpose":%q,"type":"national_id_number","value":%q}`, eligibility, planted)
	for want, r := range map[int][]*http.Request{
		http.StatusBadRequest: {
			s.request("GET", "/v1/individuals", about(eligibility, "fields", planted), nil),
			s.request("GET", "/v1/individuals", about(eligibility, "filter", "individual.sex == '"+planted+"'"), nil),
			s.request("GET", "/v1/individuals", about(planted), nil),
			s.request("GET", "/v1/individuals", about(eligibility, planted, "1"), nil),
			s.request("GET", "/v1/individuals", about(eligibility, "after", planted), nil),
			s.request("GET", "/v1/individuals/export", about(eligibility, "format", planted), nil),
			s.request("POST", "/v1/lookup", url.Values{"value": {planted}}, strings.NewReader(lookup)),
			s.request("POST", "/v1/lookup", nil, strings.NewReader(lookup[:len(lookup)-1]+`,"name":"`+planted+`"}`)),
			s.request("GET", "/v1/individuals", about(eligibility, "api_key", s.key), nil),
		},
		http.StatusForbidden: {
			s.request("GET", "/v1/individuals", about(eligibility, "fields", "ethnic_group"), nil),
			s.request("GET", "/v1/individuals", about(eligibility, "fields", "payment_account"), nil),
		},
		http.StatusNotFound: {
			s.request("GET", "/v1/individuals/"+strings.Repeat("a", 26), about(eligibility), nil),
			s.request("GET", "/v1/households/"+id, about(eligibility), nil),
			s.request("GET", "/v1/"+planted, nil, nil),
			s.request("POST", "/v1/lookup", nil, strings.NewReader(lookup)),
		},
	} {
		for _, request := range r {
			a := s.ask(request)
			if a.status != want || a.code() == "" {
				t.Errorf("%s: status %d %s, want %d", request.URL.Path, a.status, a.code(), want)
			}
			told += string(a.body)
		}
	}
	return told
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestAFolderHasOneServer: a second one would end the requests of the first, whose outcome is not known yet.
func TestAFolderHasOneServer(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	slow := s.slowExport("households", about(eligibility, "format", "xml"))
	refused(t, "already_served", "serve", "--data", data, "--listen", freeAddress(t))
	check(t, slow.Body.Close())
	if _, ok := s.err.line(`"aborted":true`, s.ended); !ok {
		t.Fatalf("the export goes on\n%s", s.err)
	}
	s.stop()
	if reason := abortReason(t, data); reason != "client_gone" {
		t.Errorf("the outcome is recorded with the reason %q", reason)
	}
	serveFolder(t, data, "").stop()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	s := serveFolder(t, data, "")
	for _, path := range []string{"/healthz", "/readyz", "/docs", "/openapi.json", "/v1/code-lists/sex"} {
		if a := s.get(path, nil); a.status != http.StatusOK {
			t.Errorf("%s: status %d", path, a.status)
		}
	}
	if a := s.get("/v1/individuals", about(eligibility)); a.status != http.StatusUnauthorized {
		t.Errorf("without a key: status %d", a.status)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.cmd.Process.Pid))
	if err != nil {
		t.Skipf("the limits of a process cannot be read here: %v", err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size\s+0\s+0\s`).Match(limits) {
		t.Errorf("core dumps are not off:\n%s", limits)
	}
}

// TestDisclosingBeforeTheFirstCheckpoint: a server that has just begun to sign is not taken for one
// that has failed to.
func TestDisclosingBeforeTheFirstCheckpoint(t *testing.T) {
	t.Parallel()
	f, err := openFolder(t.Context(), newRegistry(t))
	check(t, err)
	defer f.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop() // before anything is signed
	ended := f.keepSigned(ctx, slog.New(slog.DiscardHandler))
	check(t, f.covered())
	<-ended
}
