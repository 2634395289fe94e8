package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary stand in for the program: started with it, it is annona.
const asProgram = "ANNONA_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	code := m.Run()
	os.RemoveAll(sharedFolder)
	os.Exit(code)
}

// patience is how long a test waits for something that must happen; it decides nothing else.
const patience = 60 * time.Second

// The agreements of the examples, by their purpose.
const (
	eligibility = "eligibility-assessment"
	research    = "living-conditions-research"
)

// ran is what a command line did.
type ran struct {
	out, err string
	code     int
}

func (r ran) String() string { return fmt.Sprintf("exit %d\n%s%s", r.code, r.out, r.err) }

// command runs a command line in this process.
func command(args ...string) ran { return annonaReading(nil, args...) }

func annonaReading(in io.Reader, args ...string) ran {
	var out, failed bytes.Buffer
	code := run(context.Background(), args, console{in, &out, &failed})
	return ran{out.String(), failed.String(), code}
}

// must runs a command line that has to work, and returns what it printed.
func must(t testing.TB, args ...string) string {
	t.Helper()
	r := command(args...)
	if r.code != 0 {
		t.Fatalf("annona %s: %s", args[0], r)
	}
	return r.out
}

// refused runs a command line that has to fail with that code of error.
func refused(t testing.TB, code string, args ...string) ran {
	t.Helper()
	r := command(args...)
	if r.code != exitFailure || !strings.Contains(r.err, "code: "+code+"\n") {
		t.Errorf("annona %s: want exit 1 and code %s, got %s", strings.Join(args[:min(2, len(args))], " "), code, r)
	}
	checkMannerly(t, r)
	return r
}

// checkMannerly holds an error to what everybody may expect of it.
func checkMannerly(t testing.TB, r ran) {
	t.Helper()
	for _, bad := range []string{"panic", "goroutine ", ".go:", "code: internal"} {
		if strings.Contains(r.err, bad) {
			t.Errorf("an error shows %q: %s", bad, r.err)
		}
	}
}

// importReport is the last line of import --json.
type importReport struct {
	Rows        int `json:"rows"`
	Individuals int `json:"individuals"`
	Households  int `json:"households"`
	Rejected    int `json:"rejected"`
	Created     int `json:"created"`
	Changed     int `json:"changed"`
	Unchanged   int `json:"unchanged"`
	Rejects     []string
	Flags       map[string]int
}

func parseImport(t testing.TB, out string) (r importReport) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("the last line of import --json is no JSON: %q", out)
	}
	return r
}

func importInto(t testing.TB, data, mapping string, inputs ...string) importReport {
	t.Helper()
	args := append([]string{"import", "--data", data, "--mapping", mapping, "--json"}, inputs...)
	return parseImport(t, must(t, args...))
}

// The files of examples/ that tests use.
const (
	ghanaMapping     = "../../examples/ghana-glss/mapping.yaml"
	ghanaDictionary  = "../../examples/ghana-glss/dictionary.yaml"
	ghanaSample      = "../../examples/ghana-glss/sample.csv"
	syntheticMapping = "../../examples/synthetic/mapping.yaml"
)

func agreementFile(name string) string { return "../../examples/agreements/" + name + ".yaml" }

// apiKey is what key create --json prints.
type apiKey struct {
	Key       string `json:"key"`
	ID        string `json:"id"`
	ExpiresAt string `json:"expires_at"`
}

func createKey(t testing.TB, data, agreement string) (k apiKey) {
	t.Helper()
	out := must(t, "key", "create", "--data", data, "--agreement", agreement, "--json")
	if err := json.Unmarshal([]byte(out), &k); err != nil {
		t.Fatalf("key create --json: %v", err)
	}
	return k
}

// newRegistry makes a registry with the survey's dictionary and both agreements.
func newRegistry(t testing.TB) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "registry")
	fillEmpty(t, data)
	return data
}

func fillEmpty(t testing.TB, data string) {
	t.Helper()
	must(t, "init", "--data", data)
	must(t, "dictionary", "apply", "--data", data, ghanaDictionary)
	for _, name := range []string{"eligibility", "research"} {
		must(t, "agreement", "apply", "--data", data, agreementFile(name))
	}
}

// sharedFolder holds what several tests start from.
var sharedFolder = filepath.Join(os.TempDir(), fmt.Sprintf("annona-test-%d", os.Getpid()))

// The synthetic country that several tests start from.
const countryPeople = 4000

// country is a registry with a synthetic country in it, and the file it was imported from. It
// is made once; whoever writes to it takes a copy.
var country = sync.OnceValue(func() (c struct {
	folder, file string
	report       importReport
	err          error
}) {
	c.folder, c.file = filepath.Join(sharedFolder, "country"), filepath.Join(sharedFolder, "country.ndjson")
	c.err = func() error {
		if err := os.MkdirAll(sharedFolder, 0o700); err != nil {
			return err
		}
		made := command("generate", "--individuals", fmt.Sprint(countryPeople), "--seed", "7")
		if err := os.WriteFile(c.file, []byte(made.out), 0o600); err != nil {
			return err
		}
		for _, args := range [][]string{
			{"init", "--data", c.folder},
			{"agreement", "apply", "--data", c.folder, agreementFile("eligibility")},
			{"agreement", "apply", "--data", c.folder, agreementFile("research")},
			{"import", "--data", c.folder, "--mapping", syntheticMapping, "--json", c.file},
		} {
			r := command(args...)
			if r.code != 0 {
				return errors.New(r.String())
			}
			if args[0] == "import" {
				return json.Unmarshal([]byte(r.out), &c.report)
			}
		}
		return nil
	}()
	return c
})

// copyOfCountry returns a folder of one's own with the synthetic country.
func copyOfCountry(t testing.TB) (data string) {
	t.Helper()
	c := country()
	if c.err != nil {
		t.Fatal(c.err)
	}
	data = filepath.Join(t.TempDir(), "registry")
	copyFolder(t, c.folder, data)
	return data
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "root.key"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// surveyOf writes a survey of that many people who live alone.
func surveyOf(t testing.TB, people int) (file string) {
	t.Helper()
	var text strings.Builder
	text.WriteString(surveyHeader)
	for n := range people {
		text.WriteString(surveyRow(n+1, "clerks"))
	}
	file = filepath.Join(t.TempDir(), "survey.csv")
	writeFile(t, file, []byte(text.String()))
	return file
}

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
	p := &process{t: t, out: newTranscript(), err: newTranscript(), ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
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
