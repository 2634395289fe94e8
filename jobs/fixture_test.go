package jobs

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/synthetic"
	"github.com/annona-exchange/annona/vault"
)

const purpose = "eligibility-assessment"

var operator = annona.Caller{Strength: annona.StrengthOperator, Operator: "tester"}

// registry is a gate over a store of its own, with a synthetic country, one partner and a folder for files.
// Its clock moves when a test says so.
type registry struct {
	*testing.T
	gate   *exchange.Exchange
	store  *sqlite.Store
	vault  *vault.Vault
	bucket *blob.Bucket
	folder string
	caller annona.Caller
	later  atomic.Int64 // how far the clock was moved
}

func newRegistry(t *testing.T, individuals int) *registry {
	t.Helper()
	r := &registry{T: t, folder: t.TempDir()}
	dir := t.TempDir()
	secrets, err := sqlite.OpenSecrets(dir, true)
	r.must(err)
	r.vault, err = vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Demo)
	r.must(err)
	r.store, err = sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard(), Clock: r.clock})
	r.must(err)
	t.Cleanup(func() { _ = r.store.Close(); _ = secrets.Close() })
	r.bucket, err = fileblob.OpenBucket(r.folder, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	r.must(err)
	t.Cleanup(func() { _ = r.bucket.Close() })
	s := r.store
	r.gate = exchange.New(exchange.Config{
		Dictionary: annona.Standard(),
		Records:    s, Writer: s, Ledger: s, Standings: s, Roster: s, Subjects: s, Reference: s, Log: s, Views: s, Past: s, Loads: s, Mappings: s, Merges: s, Indexes: s, History: s,
		ExportSpecs: s, Approvals: s, Glasses: s, Uses: s, ExportJobs: s, ExportQueue: s, Files: r.vault,
		Vault: r.vault, Shredder: r.vault, Outside: r, Clock: r.clock, Zone: time.UTC,
		Check: func(c *annona.Client, _ time.Time, _ netip.Addr) error {
			if !c.RevokedAt.IsZero() {
				return annona.Unauthenticated("key_invalid", "the key is revoked")
			}
			return nil
		},
	})
	r.populate(individuals)
	r.caller = r.partner("program", nil)
	return r
}

func (r *registry) Keep(context.Context, annona.Tombstone) error { return nil }

func (r *registry) clock() time.Time { return time.Now().Add(time.Duration(r.later.Load())) }

// move moves the clock on.
func (r *registry) move(d time.Duration) { r.later.Add(int64(d)) }

func (r *registry) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *registry) populate(individuals int) {
	r.Helper()
	country, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: individuals, Seed: 7})
	r.must(err)
	load, err := r.gate.StartLoad(r.Context(), operator, synthetic.Source, country.Areas())
	r.must(err)
	var houses, people []annona.Record
	for h := range country.Households() {
		houses, people = append(houses, h.Record), append(people, h.Members...)
	}
	_, err = load.Put(r.Context(), houses, people)
	r.must(err)
	_, err = load.Finish(r.Context())
	r.must(err)
}

// partner puts an agreement in force, changed as the test likes, and returns a client of it.
func (r *registry) partner(name string, change func(*annona.Agreement)) annona.Caller {
	r.Helper()
	a := annona.Agreement{
		Name: name, Realm: name, Floor: "api_key", Status: "active",
		Partner:   annona.Partner{Name: name, Country: "XA"},
		ValidFrom: "2020-01-01", ValidUntil: "2099-12-31",
		Purposes: []annona.PurposeTerms{{Code: purpose, Basis: annona.BasisPublicInterest}},
		Datasets: map[string]annona.DatasetTerms{
			"individuals": {Sensitivities: []annona.Sensitivity{annona.Personal}},
			"households":  {Sensitivities: []annona.Sensitivity{annona.Personal}},
		},
		APIKey: &annona.CredentialTerms{Reason: "tests read everything"},
	}
	if change != nil {
		change(&a)
	}
	_, err := r.gate.ApplyAgreement(r.Context(), operator, a)
	r.must(err)
	client := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: a.Name, Hash: []byte{1},
		CreatedAt: r.clock(), ExpiresAt: r.clock().AddDate(1, 0, 0)}
	r.must(r.gate.CreateClient(r.Context(), operator, client))
	return annona.Caller{Client: client.ID, Agreement: a.Name, Strength: annona.StrengthAPIKey}
}

// spec puts a specification on file, changed as the test likes.
func (r *registry) spec(name string, change func(*annona.ExportSpec)) {
	r.Helper()
	s := annona.ExportSpec{
		Name: name, Agreement: r.caller.Agreement, Purpose: purpose, Dataset: "individuals", Format: "ndjson", PartRows: 100,
		Fields: []annona.SpecField{{Field: "individual_id", As: "id"}, {Field: "sex"}, {Field: "full_name"}},
	}
	if change != nil {
		change(&s)
	}
	_, _, err := r.gate.PutExportSpec(r.Context(), operator, s)
	r.must(err)
}

// linked specifies files of several tables, which are written side by side.
func (r *registry) linked(name string, rows int64) {
	r.Helper()
	r.caller = r.partner("linked", func(a *annona.Agreement) {
		seen := annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}}
		a.Datasets["individuals"], a.Datasets["identifiers"] = seen, seen
	})
	r.spec(name, func(s *annona.ExportSpec) {
		s.Format, s.Layout, s.PartRows = "csv", "linked", rows
		s.Fields = append(s.Fields, annona.SpecField{Field: "identifiers.scheme"}, annona.SpecField{Field: "identifiers.value"})
	})
}

func (r *registry) worker() *Worker {
	return &Worker{
		Gate: r.gate, Jobs: r.store, Queue: r.store, Vault: r.vault, Checkpoints: r.store, Files: r.bucket, Lease: time.Hour,
		Log: slog.New(slog.DiscardHandler), Base: "https://registry.example/v1/",
		Spool: func() (annona.Spool, error) { return vault.NewSpool(r.TempDir()) },
	}
}

// start asks for an export.
func (r *registry) start(spec, position string) annona.ExportJob {
	r.Helper()
	job, _, err := r.gate.StartExport(r.Context(), r.caller, exchange.ExportRequest{Spec: spec, Position: position})
	r.must(err)
	return job
}

// job returns how an export stands.
func (r *registry) job(id annona.UID) annona.ExportJob {
	r.Helper()
	j, err := r.store.ExportJob(r.Context(), id)
	r.must(err)
	return *j
}

// finish lets a worker work until an export is complete.
func (r *registry) finish(w *Worker, id annona.UID) annona.ExportJob {
	r.Helper()
	_, err := w.Next(r.Context())
	r.must(err)
	j := r.job(id)
	if j.State != annona.ExportComplete {
		r.Fatalf("the export is %s: %s", j.State, j.Code)
	}
	return j
}

// open reads a file as its partner does.
func (r *registry) open(id annona.UID, name string) ([]byte, error) {
	r.Helper()
	fetch, err := r.gate.OpenExport(r.Context(), r.caller, id.String(), name, "all")
	if err != nil {
		return nil, err
	}
	files := &Files{Bucket: r.bucket, Vault: r.vault}
	from, err := files.Open(r.Context(), &fetch.Job, &fetch.Part, fetch.Recipient)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(from)
}

// documents returns the rows of each part.
func (r *registry) documents(job annona.ExportJob) (all [][]byte) {
	r.Helper()
	m := r.manifest(job)
	for _, f := range m.Files {
		b, err := r.open(job.ID, f.Name)
		r.must(err)
		if strings.HasSuffix(f.Name, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(b))
			r.must(err)
			b, err = io.ReadAll(z)
			r.must(err)
		}
		all = append(all, b)
	}
	return all
}

func (r *registry) manifest(job annona.ExportJob) *Manifest {
	r.Helper()
	keys, err := r.vault.ManifestKeys()
	r.must(err)
	m, err := OpenManifest(job.Manifest, keys...)
	r.must(err)
	return m
}

// restrict takes individuals of the synthetic country out of sight.
func (r *registry) restrict(keys ...string) {
	r.Helper()
	for _, key := range keys {
		_, err := r.gate.Restrict(r.Context(), operator, exchange.Subject{Source: synthetic.Source, Key: key}, annona.Restriction{Kind: annona.KindRestriction})
		r.must(err)
	}
}
