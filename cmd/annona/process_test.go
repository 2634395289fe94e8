package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// transcript collects what a process writes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and renewed with each write
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.more)
	t.more = make(chan struct{})
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// line waits for the first whole line that contains what, and returns it.
func (t *transcript) line(what string, ended <-chan struct{}) (string, bool) {
	deadline := time.After(patience)
	for {
		t.mu.Lock()
		text, more := t.text.String(), t.more
		t.mu.Unlock()
		for line := range strings.Lines(text) {
			if strings.Contains(line, what) && strings.HasSuffix(line, "\n") {
				return line, true
			}
		}
		select {
		case <-more:
		case <-ended:
			if t.String() == text {
				return "", false
			}
		case <-deadline:
			return "", false
		}
	}
}

// process is the program, started.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err *transcript
	ended    chan struct{}
}

// start starts the program as a process of its own. It is killed when the test ends.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith starts the program with more in its environment.
func startWith(t testing.TB, environment []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: newTranscript(), err: newTranscript(), ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(append(os.Environ(), asProgram+"=1"), environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended stands in cmd.ProcessState
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// stop asks the process to end and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("the process does not end\n%s", p.err)
		return -1
	}
}

// server is the program, serving.
type server struct {
	*process
	url string
	key string
}

// serveFolder starts a server on the folder. Requests are made with that key.
func serveFolder(t testing.TB, data, key string, more ...string) *server {
	t.Helper()
	return startServing(t, key, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, more...)...)
}

func startServing(t testing.TB, key string, args ...string) *server {
	t.Helper()
	s := &server{process: start(t, args...), key: key}
	line, ok := s.err.line(`"msg":"serving"`, s.ended)
	if !ok {
		t.Fatalf("the server does not serve\n%s%s", s.out, s.err)
	}
	var logged struct{ Address string }
	if err := json.Unmarshal([]byte(line), &logged); err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + logged.Address
	return s
}

// request makes a request with the server's key.
func (s *server) request(method, path string, query url.Values, body io.Reader) *http.Request {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path+"?"+query.Encode(), body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", s.key)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// about is a query for a purpose with more parameters, name and value in turn.
func about(purpose string, more ...string) url.Values {
	q := url.Values{"purpose": {purpose}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q
}

// answer is a response that was read to its end.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    []byte
	err     error // that broke the body off
}

func (a answer) code() string {
	var p struct{ Code string }
	_ = json.Unmarshal(a.body, &p)
	return p.Code
}

func (s *server) ask(r *http.Request) (a answer) {
	s.t.Helper()
	response, err := plain.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	a = answer{status: response.StatusCode, header: response.Header}
	a.body, a.err = io.ReadAll(response.Body)
	a.trailer = response.Trailer
	return a
}

func (s *server) get(path string, query url.Values) answer {
	s.t.Helper()
	return s.ask(s.request(http.MethodGet, path, query, nil))
}

// public gets a document that needs no key.
func (s *server) public(t testing.TB, path string, query url.Values) []byte {
	t.Helper()
	a := s.get(path, query)
	if a.status != http.StatusOK || a.err != nil {
		t.Fatalf("%s: status %d, %s, %v", path, a.status, a.code(), a.err)
	}
	return a.body
}

// export exports a dataset; it has to be whole.
func (s *server) export(dataset string, query url.Values) []byte {
	s.t.Helper()
	a := s.get("/v1/"+dataset+"/export", query)
	if a.status != http.StatusOK || a.err != nil {
		s.t.Fatalf("export of %s: status %d, %s, %v", dataset, a.status, a.code(), a.err)
	}
	if a.trailer.Get("Annona-Rows") == "" || a.trailer.Get("Annona-Release") != a.header.Get("Annona-Request") {
		s.t.Fatalf("export of %s: trailers %v", dataset, a.trailer)
	}
	return a.body
}

// plain is a client that takes bodies as they are.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// narrow is a client whose connections take in little at a time: what it does not read stays
// with the server.
var narrow = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: (&net.Dialer{
	Control: func(_, _ string, c syscall.RawConn) (failed error) {
		err := c.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
		return errors.Join(err, failed)
	},
}).DialContext}}

// slowExport begins an export and reads its first bytes only. The body is closed when the test
// ends.
func (s *server) slowExport(dataset string, query url.Values) *http.Response {
	s.t.Helper()
	response, err := narrow.Do(s.request(http.MethodGet, "/v1/"+dataset+"/export", query, nil))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { response.Body.Close() })
	if _, err := io.ReadFull(response.Body, make([]byte, 64)); err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("the export does not begin: status %d, %v", response.StatusCode, err)
	}
	return response
}

// logs returns the structured lines that the server has logged.
func (p *process) logs() (lines []map[string]any) {
	p.t.Helper()
	scanner := bufio.NewScanner(strings.NewReader(p.err.String()))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line map[string]any
		if err := json.Unmarshal(scanner.Bytes(), &line); err == nil {
			lines = append(lines, line)
		}
	}
	return lines
}
