package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/ingest/intake"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// registry is a whole installation in a temporary folder, answering on a loopback port: the
// real store, vault, gate and keys, with a few invented households.
type registry struct {
	*testing.T
	server  *Server
	gate    *exchange.Exchange
	store   *sqlite.Store
	keys    *identity.Keys
	imports *intake.Imports
	folder  string
	url     string
	log     *lockedBuffer
	now     atomic.Pointer[time.Time]
	before  atomic.Pointer[func(ctx context.Context, release int) error] // each release
	stop    context.CancelFunc
	ended   chan error

	full, narrow, other, expired string // API keys
	fullClient                   annona.UID
}

var operator = annona.Caller{Strength: annona.StrengthOperator, Operator: "tester"}

// planted stand in the records and must never show in a refusal, a log line or a metric. The last one is
// the identifier as it is compared; its digits alone are in a request that took 1.2345 ms.
var planted = []string{"Wiśniewska", "Nyaboke", "GHA-0012345", "1985-04-12", "GHA0012345"}

func newRegistry(t *testing.T, change ...func(*Options)) *registry {
	t.Helper()
	r := &registry{T: t, log: &lockedBuffer{}, ended: make(chan error, 1)}
	r.openFolder(t.TempDir())
	r.fill()
	o := Options{Gate: r.gate, Authenticator: r.keys, Imports: r.imports, Spool: r.imports.Spool, Log: slog.New(slog.NewJSONHandler(r.log, nil)), Clock: r.clock}
	for _, c := range change {
		c(&o)
	}
	var err error
	r.server, err = New(o)
	r.check(err)
	r.listen()
	return r
}

// Keep keeps a tombstone nowhere.
func (r *registry) Keep(context.Context, annona.Tombstone) error { return nil }

func (r *registry) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *registry) clock() time.Time {
	if at := r.now.Load(); at != nil {
		return *at
	}
	return time.Now()
}

func (r *registry) openFolder(dir string) {
	r.Helper()
	secrets, err := sqlite.OpenSecrets(dir, true)
	r.check(err)
	safe, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Production)
	r.check(err)
	r.store, err = sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	r.check(err)
	r.Cleanup(func() { r.check(errors.Join(r.store.Close(), secrets.Close())) })
	r.keys = identity.NewKeys(r.store, safe.KeyHash, r.clock, false)
	r.gate = exchange.New(exchange.Config{
		Dictionary: annona.Standard(),
		Records:    r.store, Writer: r.store, Ledger: &hookedLedger{Ledger: r.store, of: r}, Standings: r.store, Roster: r.store,
		Subjects: r.store, Reference: r.store, Log: r.store, Views: r.store, Past: r.store, Loads: r.store, Mappings: r.store, Merges: r.store, Rotator: safe, Indexes: r.store, ExportSpecs: r.store, Decisions: r.store, ChangeRequests: r.store, Matters: r.store, Attachments: r.store, Programs: r.store, Uses: r.store, ExportJobs: r.store, ExportQueue: r.store, Files: safe, History: r.store, Vault: safe, Shredder: safe, Outside: r, Spool: func() (annona.Spool, error) { return vault.NewSpool(filepath.Join(dir, "spool")) }, Clock: r.clock, Zone: time.UTC, Check: r.keys.Check,
	})
	r.imports = &intake.Imports{Gate: r.gate, Turn: intake.FileTurn, Spool: func() (annona.Spool, error) { return vault.NewSpool(filepath.Join(dir, "spool")) }}
	r.Cleanup(r.imports.Close)
	r.agree()
	mint := func(agreement string, from time.Time) (string, annona.UID) {
		key, client, err := identity.Mint(safe.KeyHash, false, from, from.AddDate(0, 0, 30), agreement, "test", nil)
		r.check(err)
		r.check(r.gate.CreateClient(r.Context(), operator, client))
		return key, client.ID
	}
	r.full, r.fullClient = mint("full", time.Now())
	r.narrow, _ = mint("narrow", time.Now())
	r.other, _ = mint("other", time.Now())
	r.folder = dir
	r.expired, _ = mint("full", time.Now().AddDate(0, 0, -60))
}

// keptNowhere keeps tombstones as far as these tests need them.
type keptNowhere struct{}

func (keptNowhere) Keep(context.Context, annona.Tombstone) error { return nil }

func (r *registry) agree() {
	everything := map[string]annona.DatasetTerms{}
	for d := range annona.Standard().Datasets() {
		everything[d.Name] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}}
	}
	narrow := map[string]annona.DatasetTerms{"individuals": {
		Fields:     []string{"individual_id", "sex", "date_of_birth"},
		Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear},
	}}
	agreement := func(name, purpose string, datasets map[string]annona.DatasetTerms) annona.Agreement {
		return annona.Agreement{
			Name: name, Partner: annona.Partner{Name: name + "-partner", OrganizationType: "government", Country: "GH"},
			Recipient: "independent_controller",
			Purposes:  []annona.PurposeTerms{{Code: purpose, Basis: annona.BasisPublicInterest}},
			Datasets:  datasets, Realm: name, Floor: "api_key",
			ValidFrom: "2020-01-01", ValidUntil: "2090-12-31", Status: "active",
		}
	}
	few := agreement("narrow", "statistics", narrow)
	few.RowCeiling = 4
	full := agreement("full", "eligibility-assessment", everything)
	full.APIKey = &annona.CredentialTerms{Reason: "the test exports everything"}
	for _, a := range []annona.Agreement{full, few, agreement("other", "monitoring", everything)} {
		_, err := r.gate.ApplyAgreement(r.Context(), operator, a)
		r.check(err)
	}
}

// fill loads two households with five members.
func (r *registry) fill() {
	r.load(
		r.record("households", "h1", "area_code", "GH01", "poverty_score", "27.5"),
		r.record("households", "h2", "area_code", "GH02", "poverty_score", "61"),
		r.member("h1", "head", "i1", "full_name", "Wanjiku Wiśniewska", "sex", "female", "date_of_birth", "1985-04-12"),
		r.member("h1", "", "i2", "full_name", "Moraa Nyaboke", "sex", "female", "date_of_birth", "2011-02-28"),
		r.member("h1", "", "i3", "full_name", "=cmd|' /C calc'!A0", "sex", "male", "date_of_birth", "2015-07-01"),
		r.member("h2", "head", "i4", "full_name", "Kofi \"Q\" Mensah\nAnnan", "sex", "male", "date_of_birth", "1950-01-01"),
		r.member("h2", "", "i5", "full_name", "A <b>&]]> C", "sex", "female", "date_of_birth", "1999-12-31"),
	)
}

func (r *registry) load(records ...annona.Record) {
	r.Helper()
	l, err := r.gate.StartLoad(r.Context(), operator, "test", []annona.Area{{Code: "GH01"}, {Code: "GH02"}})
	r.check(err)
	_, err = l.Put(r.Context(), records)
	r.check(err)
	_, err = l.Finish(r.Context())
	r.check(err)
}

// many loads that many individuals with long names.
func (r *registry) many(count int) {
	records := make([]annona.Record, count)
	name := strings.Repeat("Abcdefghij ", 60)
	for i := range records {
		records[i] = r.record("individuals", fmt.Sprintf("m%d", i), "full_name", fmt.Sprintf("%s%d", name, i), "sex", "female")
	}
	r.load(records...)
}

func (r *registry) record(dataset, key string, pairs ...string) annona.Record {
	r.Helper()
	d, _ := annona.Standard().Dataset(dataset)
	record := annona.Record{Dataset: d, Source: "test", Key: key}
	for i := 0; i < len(pairs); i += 2 {
		f, ok := d.Field(pairs[i])
		if !ok {
			r.Fatalf("no field %s", pairs[i])
		}
		if f.Derived {
			f, _ = d.Field("region_code")
		}
		record.Values = append(record.Values, annona.Value{Field: f, Text: pairs[i+1]})
	}
	return record
}

func (r *registry) member(household, role, key string, pairs ...string) annona.Record {
	record := r.record("individuals", key, pairs...)
	record.Memberships = []annona.Membership{{HouseholdKey: household, Role: role, StartDate: "2020-01-01"}}
	if key == "i1" {
		identifiers, _ := annona.Standard().Dataset("identifiers")
		group, _ := record.Dataset.Field("identifiers")
		scheme, _ := identifiers.Field("scheme")
		value, _ := identifiers.Field("value")
		record.Groups = []annona.GroupItems{{Field: group, Items: [][]annona.Value{{
			{Field: scheme, Text: "national_id_number"}, {Field: value, Text: "GHA-0012345"},
		}}}}
	}
	return record
}

func (r *registry) listen() {
	r.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	r.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() { r.ended <- r.server.Serve(ctx, smallBuffers{l}) }()
	r.Cleanup(func() {
		stop()
		if err := <-r.ended; err != nil {
			r.Errorf("serving ended with %v", err)
		}
	})
}

// smallBuffers makes the kernel take little of an answer, so that a client who stops reading
// is noticed early.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return c, err
}

// hookedLedger lets a test step in before each release.
type hookedLedger struct {
	annona.Ledger
	of       *registry
	releases atomic.Int64
}

func (l *hookedLedger) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	if hook := l.of.before.Load(); hook != nil && rows[0].Kind == annona.EntryRelease {
		if err := (*hook)(ctx, int(l.releases.Add(1))); err != nil {
			return err
		}
	}
	return l.Ledger.Append(ctx, rows...)
}

func (r *registry) beforeRelease(hook func(ctx context.Context, release int) error) {
	r.before.Store(&hook)
}

// answer is what a client got.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
	err     error // of reading the body
}

func (a answer) problem(t *testing.T) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not a problem: %d %s %q", a.status, a.header.Get("Content-Type"), a.body)
	}
	return p
}

// ask sends a request. Headers are name, value, name, value.
func (r *registry) ask(method, path, key, body string, headers ...string) answer {
	r.Helper()
	request, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	r.check(err)
	if key != "" {
		request.Header.Set("X-API-Key", key)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			request.Header.Del("Content-Type")
		}
		request.Header.Add(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	r.check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, response.Trailer, string(text), err}
}

func (r *registry) get(path, key string, headers ...string) answer {
	r.Helper()
	return r.ask(http.MethodGet, path, key, "", headers...)
}

// logged returns the log, whole.
func (r *registry) logged() string { return r.log.String() }

func (r *registry) metricsText() string {
	w := httptest.NewRecorder()
	r.server.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
