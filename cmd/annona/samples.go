package main

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/synthetic"
	"github.com/annona-exchange/annona/vault"
)

// samples invents rows in the shape of a specification: it exports from a registry of its own, which holds a
// few invented people under keys that are thrown away. What comes out has the shape of a real export because
// it is one.
type samples struct {
	dictionary func() *annona.Dictionary

	mu      sync.Mutex
	invent  *inventedRegistry
	version int // of the dictionary that it was made with
}

// inventedRegistry is a registry of nobody.
type inventedRegistry struct {
	gate  *exchange.Exchange
	store *sqlite.Store
	close func() error
}

// samplePeople is how many people are invented: enough for some households.
const samplePeople = 60

// Sample returns rows of an export by a specification from the invented registry. Its filter is left out: it
// may be about areas and scores that nobody invented has.
func (s *samples) Sample(ctx context.Context, spec annona.ExportSpec, under annona.Agreement, rows int) ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	under.Areas, under.Partner.Name, under.Status, under.ValidFrom, under.ValidUntil, under.RowCeiling = nil, "sample", "active", "1900-01-01", "2999-12-31", 0
	under.Realm, under.Floor = "sample", "api_key"
	under.APIKey = &annona.CredentialTerms{RowCeiling: 0, SpecialFields: true, Reason: "nobody is in it"}
	datasets := map[string]annona.DatasetTerms{}
	for name, terms := range under.Datasets {
		terms.Condition, terms.ValidUntil = "", ""
		datasets[name] = terms
	}
	under.Datasets = datasets
	under.Purposes = append([]annona.PurposeTerms(nil), under.Purposes...)
	for i := range under.Purposes {
		under.Purposes[i].Basis = annona.BasisPublicInterest
		under.Purposes[i].ValidUntil = ""
	}
	if _, err := r.gate.ApplyAgreement(ctx, operator(), under); err != nil {
		return nil, err
	}
	client := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: under.Name, Hash: []byte{1}, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	if err := r.gate.CreateClient(ctx, operator(), client); err != nil {
		return nil, err
	}
	spec.Filter, spec.Recipient, spec.Schedule = "", "", nil
	if _, _, err := r.gate.PutExportSpec(ctx, operator(), spec); err != nil {
		return nil, err
	}
	e, _, err := r.gate.ExportBySpec(ctx, annona.Caller{Client: client.ID, Agreement: under.Name, Strength: annona.StrengthAPIKey}, spec.Name, 0)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	o := encode.Options{Format: encode.NDJSON}
	parts, err := encode.Parts(e.Shape(), o)
	if err != nil {
		return nil, err
	}
	to, err := encode.New(&text, parts, o)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if _, err := e.Run(ctx, []*annona.Shape{e.Shape()}, to, func() {}); err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(text.Bytes(), []byte("\n")), []byte("\n"))
	return lines[:min(rows, len(lines))], nil
}

// open makes the registry, once for each version of the dictionary.
func (s *samples) open(ctx context.Context) (*inventedRegistry, error) {
	d := s.dictionary()
	if s.invent != nil && s.version == d.Version {
		return s.invent, nil
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	r, err := inventRegistry(ctx, d)
	if err != nil {
		return nil, err
	}
	s.invent, s.version = r, d.Version
	return r, nil
}

// Close removes the registry.
func (s *samples) Close() error {
	if s.invent == nil {
		return nil
	}
	r := s.invent
	s.invent = nil
	return r.close()
}

func inventRegistry(ctx context.Context, d *annona.Dictionary) (_ *inventedRegistry, err error) {
	dir, err := os.MkdirTemp("", "annona-samples-")
	if err != nil {
		return nil, annona.Unavailable("samples_unavailable", "rows cannot be invented: there is no room for temporary files").Because(err)
	}
	r := &inventedRegistry{close: func() error { return os.RemoveAll(dir) }}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	secrets, err := sqlite.OpenSecrets(dir, true)
	if err != nil {
		return nil, err
	}
	r.close = func() error { return errors.Join(secrets.Close(), os.RemoveAll(dir)) }
	keys, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Demo)
	if err != nil {
		return nil, err
	}
	if r.store, err = sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: d}); err != nil {
		return nil, err
	}
	r.close = func() error {
		r.gate.Settle()
		return errors.Join(r.store.Close(), secrets.Close(), os.RemoveAll(dir))
	}
	store := r.store
	r.gate = exchange.New(exchange.Config{
		Dictionary: d, Records: store, Writer: store, Ledger: store, Standings: store, Roster: store, Subjects: store, Reference: store, Log: store, Views: store, Past: store,
		Loads: store, Mappings: store, Merges: store, Indexes: store, ExportSpecs: store, ExportJobs: store, ExportQueue: store, Vault: keys, Clock: time.Now, Zone: time.UTC,
		Check: func(*annona.Client, time.Time, netip.Addr) error { return nil },
	})
	return r, r.populate(ctx, d)
}

func (r *inventedRegistry) populate(ctx context.Context, d *annona.Dictionary) error {
	country, err := synthetic.New(d, synthetic.Country{Individuals: samplePeople, Seed: 1})
	if err != nil {
		return err
	}
	load, err := r.gate.StartLoad(ctx, operator(), synthetic.Source, country.Areas())
	if err != nil {
		return err
	}
	var houses, people []annona.Record
	for h := range country.Households() {
		houses, people = append(houses, h.Record), append(people, h.Members...)
	}
	if _, err := load.Put(ctx, houses, people); err != nil {
		return err
	}
	_, err = load.Finish(ctx)
	return err
}
