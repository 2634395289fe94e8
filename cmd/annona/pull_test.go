package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/go-jose/go-jose/v4"

	"github.com/annona-exchange/annona/client"
)

// fetching is a registry that serves a specification, and a partner who fetches what it says.
type fetching struct {
	*testing.T
	data, into, keys, identity, keyFile string
	server                              *server
}

const pulledSpec = `name: monthly
agreement: eligibility
purpose: eligibility-assessment
dataset: individuals
format: ndjson
part_rows: 500
fields:
  - field: individual_id
  - field: full_name
  - field: sex
  - field: date_of_birth
  - field: household_id
`

// newFetching serves a country and a specification whose files are sealed to the partner.
func newFetching(t *testing.T, spec string) *fetching {
	t.Helper()
	p := &fetching{T: t, data: copyOfCountry(t), into: filepath.Join(t.TempDir(), "incoming")}
	folder := t.TempDir()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	p.identity, p.keys, p.keyFile = filepath.Join(folder, "identity.txt"), filepath.Join(folder, "keys.txt"), filepath.Join(folder, "api.key")
	writeFile(t, p.identity, []byte(identity.String()+"\n"))
	file := filepath.Join(folder, "spec.yaml")
	writeFile(t, file, []byte(spec+"recipient: "+identity.Recipient().String()+"\n"))
	must(t, "export-spec", "put", "--data", p.data, file)
	writeFile(t, p.keys, []byte(must(t, "export", "key", "--data", p.data)+must(t, "ledger", "key", "--data", p.data)))
	key := createKey(t, p.data, "eligibility").Key
	writeFile(t, p.keyFile, []byte(key+"\n"))
	p.server = serveFolder(t, p.data, key, "--client-rate", "0", "--partner-rate", "0")
	return p
}

func (p *fetching) args(at string, more ...string) []string {
	return append([]string{"pull", "--registry", at, "--key-file", p.keyFile, "--public-keys", p.keys, "--identity", p.identity, "--into", p.into, "--json", "monthly"}, more...)
}

// pull fetches and returns what the command said.
func (p *fetching) pull(at string, more ...string) (told client.Pulled) {
	p.Helper()
	if err := json.Unmarshal([]byte(must(p.T, p.args(at, more...)...)), &told); err != nil {
		p.Fatal(err)
	}
	return told
}

// content joins the files of an export.
func (p *fetching) content(told client.Pulled) []byte {
	p.Helper()
	var all []byte
	for _, name := range told.Files {
		text, err := os.ReadFile(filepath.Join(told.Folder, name))
		if err != nil {
			p.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// streamed is what the specification says, as one answer.
func (p *fetching) streamed() []byte {
	p.Helper()
	a := p.server.get("/v1/export-specs/monthly/export", nil)
	if a.status != http.StatusOK || a.err != nil {
		p.Fatal(a.status, a.err)
	}
	return a.body
}

// elsewhere is the same partner with an empty folder.
func (p *fetching) elsewhere(t *testing.T) *fetching {
	other := *p
	other.T, other.into = t, filepath.Join(t.TempDir(), "incoming")
	return &other
}

// clean looks for anything half done.
func (p *fetching) clean() {
	p.Helper()
	err := filepath.WalkDir(p.into, func(path string, d os.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".part") || strings.HasSuffix(path, ".sent") || d.IsDir() && strings.HasPrefix(d.Name(), ".")) {
			p.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		p.Error(err)
	}
}

// A partner gets what a specification says, opened and unpacked, whatever happens on the way.
func TestPull(t *testing.T) {
	t.Parallel()
	p := newFetching(t, pulledSpec)
	for name, test := range map[string]func(*fetching){
		"attaches or starts": (*fetching).attachesOrStarts, "survives cuts": (*fetching).survivesCuts,
		"stopped, goes on": (*fetching).goesOn, "refuses other bytes": (*fetching).refusesOtherBytes, "by OAuth": (*fetching).byOAuth, "refused": (*fetching).isRefused,
	} {
		t.Run(name, func(t *testing.T) { test(p.elsewhere(t)) })
	}
	t.Run("deltas", func(t *testing.T) { p.elsewhere(t).deltas() })
	t.Run("starts anew when somebody leaves", func(t *testing.T) { p.elsewhere(t).startsAnew() })
}

// The next pull attaches to what is on its way, and starts what is not.
func (p *fetching) attachesOrStarts() {
	t := p.T
	first := p.pull(p.server.url, "--new")
	want := p.streamed()
	if got := p.content(first); !bytes.Equal(got, want) || first.Rows != countryPeople || len(first.Files) != countryPeople/500 || !first.Started {
		t.Errorf("%d bytes of %d, %+v", len(got), len(want), first)
	}
	p.clean()
	signed, err := os.ReadFile(filepath.Join(first.Folder, "manifest.txt"))
	if err != nil || !strings.Contains(string(signed), first.Export) {
		t.Error("the manifest is not there")
	}
	body := strings.NewReader(`{"specification":"monthly"}`)
	if a := p.server.ask(p.server.request(http.MethodPost, "/v1/exports", nil, body)); a.status != http.StatusAccepted {
		t.Fatal(a.status)
	}
	second := p.pull(p.server.url)
	if second.Started || second.Export == first.Export || !bytes.Equal(p.content(second), want) {
		t.Errorf("the second is %+v", second)
	}
	if third := p.pull(p.server.url, "--sealed"); !third.Started || third.Export == second.Export || !strings.HasSuffix(third.Files[0], ".ndjson.gz.age") {
		t.Errorf("the third is %+v", third)
	}
	p.clean()
}

// deltas begins with everything, whoever has fetched before, and goes on behind what is in the folder.
func (p *fetching) deltas() {
	t := p.T
	file := filepath.Join(t.TempDir(), "changes.yaml")
	writeFile(t, file, []byte(strings.Replace(pulledSpec, "name: monthly", "name: changes\nmode: delta", 1)))
	must(t, "export-spec", "put", "--data", p.data, file)
	pull := func(into string) (told client.Pulled) {
		t.Helper()
		out := must(t, "pull", "--registry", p.server.url, "--key-file", p.keyFile, "--public-keys", p.keys, "--into", into, "--json", "changes")
		if err := json.Unmarshal([]byte(out), &told); err != nil {
			t.Fatal(err)
		}
		return told
	}
	if all := pull(p.into); all.Rows != countryPeople {
		t.Errorf("the first is %d rows", all.Rows)
	}
	must(t, "subject", "restrict", "--data", p.data, "--source", "synthetic", "--key", "I0000007")
	if other := pull(filepath.Join(t.TempDir(), "other")); other.Rows != countryPeople-1 {
		t.Errorf("in another folder the first is %d rows", other.Rows)
	}
	gone := pull(p.into)
	if rows := p.content(gone); gone.Rows != 1 || !bytes.Contains(rows, []byte("left_scope")) {
		t.Errorf("the second is %d rows, %d of them leave", gone.Rows, bytes.Count(rows, []byte("left_scope")))
	}
	must(t, "subject", "restrict", "--lift", "--data", p.data, "--source", "synthetic", "--key", "I0000007")
	if back := pull(p.into); back.Rows != 1 {
		t.Errorf("the third is %d rows", back.Rows)
	}
}

// by returns the address of a way to the registry on which answers are changed.
func (p *fetching) by(change func(*http.Response) error) string {
	p.Helper()
	target, err := url.Parse(p.server.url)
	if err != nil {
		p.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse, proxy.FlushInterval, proxy.ErrorLog = change, -1, log.New(io.Discard, "", 0)
	way := httptest.NewUnstartedServer(proxy)
	way.Config.ErrorLog = proxy.ErrorLog
	way.Start()
	p.Cleanup(way.Close)
	return way.URL
}

func isFile(r *http.Response) bool {
	return strings.Contains(r.Request.URL.Path, "/files/") && r.StatusCode < 300
}

// cutBody breaks off.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (c *cutBody) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// A download that is cut a hundred times at random places leads to the same bytes.
func (p *fetching) survivesCuts() {
	t := p.T
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var rolling sync.Mutex
	dice, cuts := rand.New(rand.NewPCG(seed, 0)), 100
	at := p.by(func(r *http.Response) error {
		rolling.Lock()
		defer rolling.Unlock()
		if isFile(r) && cuts > 0 {
			cuts--
			r.Body = &cutBody{r.Body, dice.Int64N(1500)} // short pieces, so that a small file has many
		}
		return nil
	})
	told := p.pull(at)
	if cuts > 0 {
		t.Errorf("%d cuts were not made", cuts)
	}
	want := p.streamed()
	if !bytes.Equal(p.content(told), want) {
		t.Error("the files are not those of the export")
	}
	p.clean()
}

// A pull that is stopped leaves nothing under a final name, and the next one goes on with what is there.
func (p *fetching) goesOn() {
	t := p.T
	ctx, stop := context.WithCancel(t.Context())
	var fetched atomic.Int64
	at := p.by(func(r *http.Response) error {
		if isFile(r) && fetched.Add(1) == 4 {
			stop()
		}
		return nil
	})
	if code := run(ctx, p.args(at, "--parallel", "1"), console{nil, io.Discard, io.Discard}); code != exitFailure {
		t.Errorf("it ends with %d", code)
	}
	if whole, _ := filepath.Glob(filepath.Join(p.into, "monthly-*")); len(whole) > 0 {
		t.Errorf("there is %v", whole)
	}
	fetched.Store(100)
	told := p.pull(at)
	if again := fetched.Load() - 100; told.Started || again > countryPeople/500-3 || told.Rows != countryPeople {
		t.Errorf("%d files were fetched the second time, %+v", again, told)
	}
	p.clean()
}

// Bytes that somebody has changed on the way are no export.
func (p *fetching) refusesOtherBytes() {
	t := p.T
	spoil := func(part string) func(*http.Response) error {
		return func(r *http.Response) error {
			if !strings.Contains(r.Request.URL.Path, part) || r.StatusCode >= 300 {
				return nil
			}
			text, err := io.ReadAll(r.Body)
			text[len(text)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(text))
			return err
		}
	}
	refused(t, "file_differs", p.args(p.by(spoil("/files/")))...)
	refused(t, "manifest_invalid", p.args(p.by(spoil("/manifest")))...)
	refused(t, "checkpoint_unsigned", p.args(p.by(spoil("/ledger/checkpoint")))...)
	if whole, _ := filepath.Glob(filepath.Join(p.into, "monthly-*")); len(whole) > 0 {
		t.Errorf("there is %v", whole)
	}
	if told := p.pull(p.server.url); told.Started || told.Rows != countryPeople {
		t.Errorf("then %+v", told)
	}
	p.clean()
}

// Whoever is restricted behind the back of a complete export is in no file that arrives: another export is
// started, and what was fetched of the first one goes.
func (p *fetching) startsAnew() {
	t := p.T
	began := ""
	at := p.by(func(r *http.Response) error {
		if isFile(r) && began == "" {
			began = strings.Split(r.Request.URL.Path, "/")[3]
			must(t, "subject", "restrict", "--data", p.data, "--source", "synthetic", "--key", "I0003999")
		}
		return nil
	})
	told := p.pull(at, "--parallel", "1")
	if told.Export == began || told.Rows != countryPeople-1 || bytes.Count(p.content(told), []byte("\n")) != countryPeople-1 {
		t.Errorf("%+v after %s", told, began)
	}
	p.clean()
}

// A partner notices a ledger that was shortened, and one that was written anew: every pull is a witness.
func TestPullWitnessesTheLedger(t *testing.T) {
	t.Parallel()
	p := newFetching(t, pulledSpec)
	before := filepath.Join(t.TempDir(), "before")
	if code := p.server.stop(); code != 0 {
		t.Fatal(code)
	}
	copyFolder(t, p.data, before)
	p.server = serveFolder(t, p.data, p.server.key)
	p.pull(p.server.url)
	p.pull(p.server.url)
	p.server.stop()

	other := serveFolder(t, before, p.server.key, "--client-rate", "0", "--partner-rate", "0")
	refused(t, "ledger_rolled_back", p.args(other.url)...)
	kept, err := os.ReadFile(filepath.Join(p.into, ".annona.json"))
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); sizeOf(t, other.get("/v1/ledger/checkpoint", nil).body) <= sizeOf(t, []byte(checkpointOf(t, kept))); {
		if a := other.get("/v1/individuals", about(eligibility, "limit", "1")); a.status != http.StatusOK || time.Now().After(until) {
			t.Fatal(a.status)
		}
	}
	refused(t, "ledger_forked", p.args(other.url)...)
	if now, _ := os.ReadFile(filepath.Join(p.into, ".annona.json")); checkpointOf(t, now) != checkpointOf(t, kept) {
		t.Error("the checkpoint of the fork is kept")
	}
	other.stop()
	p.server = serveFolder(t, p.data, p.server.key)
	p.pull(p.server.url)
}

func checkpointOf(t *testing.T, state []byte) string {
	t.Helper()
	var kept struct{ Checkpoint string }
	if err := json.Unmarshal(state, &kept); err != nil || kept.Checkpoint == "" {
		t.Fatalf("%s: %v", state, err)
	}
	return kept.Checkpoint
}

// sizeOf is how many entries a checkpoint covers.
func sizeOf(t *testing.T, checkpoint []byte) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(strings.Split(string(checkpoint)+"\n\n", "\n")[1], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// With a signed assertion and a token that is bound to a key.
func (p *fetching) byOAuth() {
	t := p.T
	private, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		writeFile(t, file, text)
		return file
	}
	public := write("public.json", jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "one"}}})
	who := createClient(t, p.data, "eligibility", "--keys", public)
	secret := write("private.json", jose.JSONWebKey{Key: private, KeyID: "one"})
	args := []string{"pull", "--registry", p.server.url, "--client", who.ClientID, "--client-key", secret, "--public-keys", p.keys, "--identity", p.identity, "--into", p.into, "monthly"}
	if out := must(t, args...); !strings.Contains(out, fmt.Sprint(countryPeople)+" rows of monthly@1") {
		t.Errorf("it says %s", out)
	}
	must(t, "client", "revoke", "--data", p.data, who.ID)
	if r := command(args...); r.code != exitFailure {
		t.Errorf("revoked: %s", r)
	}
}

// What cannot be right is refused before a file is fetched, and says what to do.
func (p *fetching) isRefused() {
	t := p.T
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		writeFile(t, path, []byte(text))
		return path
	}
	changed := func(flag, value string) []string {
		args := p.args(p.server.url)
		for i := range args {
			if args[i] == flag {
				args[i+1] = value
			}
		}
		return args
	}
	manifestKey, _, _ := strings.Cut(must(t, "export", "key", "--data", p.data), "\n")
	for code, args := range map[string][]string{
		"recipient_differs":   changed("--identity", file("stranger.txt", stranger.String())),
		"identity_malformed":  changed("--identity", file("none.txt", "my secret")),
		"checkpoint_unsigned": changed("--public-keys", file("one.txt", manifestKey)),
		"manifest_invalid":    changed("--public-keys", file("nothing.txt", "")),
		"key_malformed":       changed("--key-file", file("key.txt", "annona_live_aaaa")),
		"address_insecure":    changed("--registry", "http://registry.example"),
		"address_malformed":   changed("--registry", "registry"),
		"not_found":           append(p.args(p.server.url)[:12], "yearly"),
		"file_unreadable":     changed("--key-file", filepath.Join(folder, "nowhere")),
		"unreachable":         changed("--registry", "http://127.0.0.1:1"),
	} {
		t.Run(code, func(t *testing.T) { refused(t, code, args...) })
	}
	if whole, _ := filepath.Glob(filepath.Join(p.into, "monthly-*")); len(whole) > 0 {
		t.Errorf("there is %v", whole)
	}
	p.pull(p.server.url)
}
