package rest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/filter/filtertest"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/ingest/intake"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// keep is what all registries of the law share: the vault, and a registry to copy.
type keep struct {
	*testing.T
	shelf
	vault *vault.Vault
	tally map[string]int // of what was tried
}

func newKeep(t *testing.T) *keep {
	shelf, err := newSQLiteShelf(t)
	if err != nil {
		t.Fatal(err)
	}
	return keepOn(t, shelf)
}

// keepOn keeps registries on a shelf. The keys of all of them lie in one file.
func keepOn(t *testing.T, on shelf) *keep {
	dir := t.TempDir()
	secrets, err := sqlite.OpenSecrets(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { secrets.Close() })
	v, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Production)
	if err != nil {
		t.Fatal(err)
	}
	k := &keep{T: t, shelf: on, vault: v, tally: map[string]int{}}
	s, name, err := k.copy(nil)
	k.check(err)
	k.searchNames(s)
	k.check(s.Close())
	k.check(k.keep(name))
	return k
}

// searchNames switches the search by names on, in every registry of the law.
func (k *keep) searchNames(s lawStore) {
	now := lawToday.Time()
	gate := exchange.New(exchange.Config{
		Dictionary: annona.Standard(), Records: s, Writer: s, Ledger: s, Standings: s, Roster: s, Subjects: s, Reference: s, Log: s, Views: s, Loads: s, Indexes: s,
		Vault: k.vault, Rotator: k.vault, Clock: func() time.Time { return now }, Zone: time.UTC,
	})
	_, err := gate.SwitchNameSearch(k.Context(), operator, true)
	k.check(err)
	for more := true; more; now = now.Add(time.Minute) {
		more, err = gate.Reindex(k.Context(), operator)
		k.check(err)
	}
}

func (k *keep) check(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// installation is a registry that holds one world and answers in memory.
type installation struct {
	*keep
	name    string // on the shelf
	store   lawStore
	gate    *exchange.Exchange
	server  *Server
	now     time.Time
	key     string                // of the caller whom the law is about
	homes   []string              // keys, in the order in which they came on file
	people  []string              // likewise
	ids     map[string]annona.UID // of records, by key
	ordinal map[string]string     // of wire ids, by order of appearance
	tails   []call                // that go on from where followers stand
	stands  []stand               // of exports

	hidden, hiddenTag string // id of the last case that is hidden, and its first tag, of the law of restricted cases
}

// open opens an empty registry with the agreement.
func (k *keep) open(t lawTerms) *installation {
	in := k.start()
	if t.role != "" {
		_, err := in.gate.ApplyPolicy(k.Context(), operator, t.policy)
		in.check(err)
	}
	in.key = in.admit(t.agreement, t.role)
	in.check(in.store.Update(k.Context(), func(tx annona.Tx) error {
		for _, spec := range t.specs() {
			if err := tx.PutExportSpec(k.Context(), spec); err != nil {
				return err
			}
		}
		return nil
	}))
	return in
}

// start opens a copy of the registry that is kept.
func (k *keep) start() *installation {
	in := &installation{keep: k, ids: map[string]annona.UID{}, ordinal: map[string]string{}, now: lawToday.Time().Add(12 * time.Hour)}
	clock := func() time.Time { return in.now }
	dir := k.TempDir()
	var err error
	in.store, in.name, err = k.copy(clock)
	in.check(err)
	keys := identity.NewKeys(in.store, k.vault.KeyHash, clock, false)
	in.gate = exchange.New(exchange.Config{
		Dictionary: annona.Standard(), Records: in.store, Writer: in.store, Ledger: in.store, Standings: in.store, Roster: in.store,
		Subjects: in.store, Reference: in.store, Log: in.store, Views: in.store, Past: in.store, Loads: in.store, Mappings: in.store, Merges: in.store, Indexes: in.store, ExportSpecs: in.store, Decisions: in.store, ChangeRequests: in.store, Matters: in.store, Attachments: in.store, Shredder: k.vault, Outside: keptNowhere{}, Spool: func() (annona.Spool, error) { return vault.NewSpool(filepath.Join(dir, "spool")) }, Programs: in.store, Uses: in.store, ExportJobs: in.store, ExportQueue: in.store, History: in.store, Vault: k.vault, Clock: clock, Zone: time.UTC, Check: keys.Check,
	})
	in.server, err = New(Options{Gate: in.gate, Authenticator: keys, Imports: &intake.Imports{Gate: in.gate}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: clock,
		Spool: func() (annona.Spool, error) { return vault.NewSpool(dir) }})
	in.check(err)
	return in
}

func (in *installation) close() { in.check(errors.Join(in.store.Close(), in.drop(in.name))) }

// settle waits until what was written stands in the log: PostgreSQL numbers it a moment later.
func (in *installation) settle() {
	if s, ok := in.store.(interface{ Settle(context.Context) error }); ok {
		in.check(s.Settle(in.Context()))
	}
}

// admit puts an agreement in force and mints a key of it.
func (in *installation) admit(a annona.Agreement, role string) (key string) {
	_, err := in.gate.ApplyAgreement(in.Context(), operator, a)
	in.check(err)
	key, client, err := identity.Mint(in.vault.KeyHash, false, in.now, in.now.AddDate(0, 0, 30), a.Name, "law", nil)
	in.check(err)
	client.Role = role
	in.check(in.gate.CreateClient(in.Context(), operator, client))
	return key
}

// load puts a world on file, over what is there. Whoever the world does not have any more is
// restricted: imports remove nobody.
func (in *installation) load(w *world) {
	l, err := in.gate.StartLoad(in.Context(), operator, "law", filtertest.Areas())
	in.check(err)
	_, err = l.Put(in.Context(), w.records())
	in.check(err)
	present := map[string]bool{}
	err = in.store.Update(in.Context(), func(tx annona.Tx) error {
		for _, p := range w.people {
			present[p.key] = true
			if err := in.putRights(tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	in.check(err)
	in.learnIDs(w)
	for _, key := range in.people {
		if !present[key] {
			in.putAway(key)
		}
	}
}

// learnIDs notes the ids of a world's records, which came on file in the order of the world.
func (in *installation) learnIDs(w *world) {
	for _, h := range w.homes {
		if !slices.Contains(in.homes, h.key) {
			in.homes = append(in.homes, h.key)
		}
	}
	for _, p := range w.people {
		if !slices.Contains(in.people, p.key) {
			in.people = append(in.people, p.key)
		}
	}
	in.readIDs("SELECT uid FROM households ORDER BY number", in.homes)
	in.readIDs("SELECT uid FROM individuals ORDER BY number", in.people)
}

func (in *installation) readIDs(query string, keys []string) {
	uids, err := in.uids(in.name, query)
	in.check(err)
	for n, uid := range uids {
		in.ids[keys[n]] = uid
	}
}

// putRights makes the rights on file those of the world; each kind has one record.
func (in *installation) putRights(tx annona.Tx, p *person) error {
	number, err := in.store.SubjectByKey(in.Context(), "law", in.vault.RecordKey("individuals", "law", p.key))
	if err != nil {
		return err
	}
	lifted := func(holds bool) time.Time {
		if holds {
			return time.Time{}
		}
		return in.now
	}
	id := func(kind byte) annona.UID { return annona.UID{kind, byte(number)} }
	status := map[bool]string{true: "given", false: "withdrawn"}
	return errors.Join(
		tx.PutRestriction(in.Context(), annona.Restriction{ID: id(1), Subject: number, Kind: annona.KindRestriction, LiftedAt: lifted(p.restricted == annona.KindRestriction)}),
		tx.PutRestriction(in.Context(), annona.Restriction{ID: id(2), Subject: number, Kind: annona.KindObjection, LiftedAt: lifted(p.restricted == annona.KindObjection)}),
		tx.PutRestriction(in.Context(), annona.Restriction{ID: id(3), Subject: number, Kind: annona.KindRestriction, Purposes: []string{"another"}, LiftedAt: lifted(p.elsewhere)}),
		tx.PutRestriction(in.Context(), annona.Restriction{ID: id(4), Subject: number, Kind: annona.KindRestriction, Recipients: []string{"another"}, LiftedAt: lifted(p.elsewhere)}),
		tx.PutConsent(in.Context(), annona.Consent{ID: id(5), Subject: number, Purposes: []string{lawPurpose}, Recipients: []string{"law-partner"}, Status: status[p.consented], EffectiveDate: "2000-01-01"}),
		tx.PutConsent(in.Context(), annona.Consent{ID: id(6), Subject: number, Purposes: []string{"another"}, Recipients: []string{"law-partner"}, Status: "given", EffectiveDate: "2000-01-01"}),
	)
}

// putAway restricts somebody whom the world does not have any more.
func (in *installation) putAway(key string) {
	in.check(in.store.Update(in.Context(), func(tx annona.Tx) error {
		return in.putRights(tx, &person{key: key, restricted: annona.KindRestriction})
	}))
}

// serve answers a request in memory.
func (in *installation) serve(method, target, body string, headers map[string]string) (a answer) {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("X-API-Key", in.key)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if fault := recover(); fault != nil {
				a.err = errAborted
			}
		}()
		in.settle()
		in.server.ServeHTTP(w, r)
	}()
	result := w.Result()
	a.status, a.header, a.trailer, a.body = result.StatusCode, result.Header, result.Trailer, w.Body.String()
	return a
}

var errAborted = errors.New("the answer broke off")
