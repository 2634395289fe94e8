package exchange_test

import (
	"context"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/privacy"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/synthetic"
	"github.com/annona-exchange/annona/vault"
)

const purpose = "eligibility-assessment"

var operator = annona.Caller{Strength: annona.StrengthOperator, Operator: "tester"}

// registry is a gate over a store of its own, with a synthetic country and one partner.
type registry struct {
	*exchange.Exchange
	store  *sqlite.Store
	caller annona.Caller
	ledger *brittleLedger
	kept   *outside

	wireIDs map[annona.Number]string
}

// outside keeps tombstones, and refuses them when told to.
type outside struct {
	stones []annona.Tombstone
	broken error
}

func (o *outside) Keep(_ context.Context, stone annona.Tombstone) error {
	if o.broken == nil {
		o.stones = append(o.stones, stone)
	}
	return o.broken
}

// brittleLedger refuses entries when told to.
type brittleLedger struct {
	annona.Ledger
	broken bool
}

func (l *brittleLedger) Append(ctx context.Context, rows ...annona.LedgerRow) error {
	if l.broken {
		return annona.Internal("append to the ledger", context.DeadlineExceeded)
	}
	return l.Ledger.Append(ctx, rows...)
}

func (l *brittleLedger) AppendLater(ctx context.Context, rows ...annona.LedgerRow) error {
	if l.broken {
		return annona.Internal("append to the ledger", context.DeadlineExceeded)
	}
	return l.Ledger.AppendLater(ctx, rows...)
}

func newRegistry(t *testing.T, individuals int) *registry {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets, err := sqlite.OpenSecrets(dir, true)
	must(err)
	keys, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Demo)
	must(err)
	store, err := sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	must(err)
	t.Cleanup(func() { _ = store.Close(); _ = secrets.Close() })
	r := &registry{store: store, ledger: &brittleLedger{Ledger: store}, kept: &outside{}}
	r.Exchange = exchange.New(exchange.Config{
		Dictionary: annona.Standard(),
		Records:    store, Writer: store, Ledger: r.ledger, Standings: store, Roster: store, Subjects: store, Reference: store, Log: store, Views: store, Past: store, Loads: store, Mappings: store, Merges: store, Indexes: store, ExportSpecs: store, Decisions: store, ChangeRequests: store, Matters: store, Attachments: store, Programs: store, ExportJobs: store, ExportQueue: store, Files: keys, History: store,
		Vault: keys, Shredder: keys, Outside: r.kept, Spool: func() (annona.Spool, error) { return vault.NewSpool(filepath.Join(dir, "spool")) }, Clock: time.Now, Zone: time.UTC,
		Check: func(c *annona.Client, _ time.Time, _ netip.Addr) error {
			if !c.RevokedAt.IsZero() {
				return annona.Unauthenticated("key_invalid", "the key is revoked")
			}
			return nil
		},
	})
	r.populate(t, individuals)
	r.partner(t, nil)
	return r
}

func (r *registry) populate(t *testing.T, individuals int) {
	t.Helper()
	country, err := synthetic.New(annona.Standard(), synthetic.Country{Individuals: individuals, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	load, err := r.StartLoad(t.Context(), operator, synthetic.Source, country.Areas())
	if err != nil {
		t.Fatal(err)
	}
	var houses, people []annona.Record
	for h := range country.Households() {
		houses, people = append(houses, h.Record), append(people, h.Members...)
	}
	if _, err := load.Put(t.Context(), houses, people); err != nil {
		t.Fatal(err)
	}
	if _, err := load.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// partner puts an agreement in force, changed as the test likes, and makes a client of it.
func (r *registry) partner(t *testing.T, change func(*annona.Agreement)) {
	t.Helper()
	a := annona.Agreement{
		Name: "program", Realm: "program", Floor: "api_key", Status: "active",
		Partner:   annona.Partner{Name: "Program", Country: "XA"},
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
	r.caller = r.admit(t, a)
}

// admit puts an agreement in force, and returns a client of it.
func (r *registry) admit(t *testing.T, a annona.Agreement) annona.Caller {
	t.Helper()
	if _, err := r.ApplyAgreement(t.Context(), operator, a); err != nil {
		t.Fatal(err)
	}
	client := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: a.Name, Hash: []byte{1},
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	if err := r.CreateClient(t.Context(), operator, client); err != nil {
		t.Fatal(err)
	}
	return annona.Caller{Client: client.ID, Agreement: a.Name, Strength: annona.StrengthAPIKey}
}

var everybody = exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "full_name"}}

// download runs an export into a receiver.
func (r *registry) download(t *testing.T, q exchange.Question, to *receiver) (exchange.Sent, error) {
	t.Helper()
	export, err := r.Export(t.Context(), r.caller, q, exchange.Form{Format: "csv"})
	if err != nil {
		return exchange.Sent{}, err
	}
	return export.Run(t.Context(), []*annona.Shape{export.Shape()}, to, func() { to.cut = true })
}

// receiver keeps what it was handed, and lets a test look in between.
type receiver struct {
	onPage  func(n int) error // before page n is taken, from 1
	began   int
	pages   int
	ended   bool
	cut     bool
	numbers []annona.Number
	ids     []string
}

func (r *receiver) Begin(int) error { r.began++; return nil }
func (r *receiver) End() error      { r.ended = true; return nil }

func (r *receiver) Page(d *privacy.Disclosed) error {
	r.pages++
	if r.onPage != nil {
		if err := r.onPage(r.pages); err != nil {
			return err
		}
	}
	r.numbers = append(r.numbers, d.Page().Numbers...)
	for row := range d.Count() {
		r.ids = append(r.ids, string(d.Page().Cell(0, row)))
	}
	return nil
}
