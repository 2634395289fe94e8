package exchange

import (
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/sqlite"
	"github.com/annona-exchange/annona/vault"
)

// keyedGate is a gate over an empty registry, whose clock stands at now.
func keyedGate(t *testing.T, now *time.Time) *Exchange {
	t.Helper()
	dir := t.TempDir()
	secrets, err := sqlite.OpenSecrets(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := vault.Create(vault.Installation{Folder: dir, Keys: secrets}, vault.Demo)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(dir, sqlite.Options{Create: true, Dictionary: annona.Standard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close(); _ = secrets.Close() })
	return New(Config{Dictionary: annona.Standard(), Writer: store, Ledger: store, Standings: store, Reference: store, Indexes: store, Vault: keys, Zone: time.UTC, Clock: func() time.Time { return *now }})
}

// TestKeyed does what a request asks once for each client, route and key, and tells a repetition from
// another request.
func TestKeyed(t *testing.T) {
	now := theDay
	x, one := keyedGate(t, &now), annona.Caller{Client: annona.NewUID()}
	record := annona.NewUID()
	effects := 0
	ask := func(caller annona.Caller, k Keyed, refusal error) (done Done, err error) {
		err = x.Writer.Update(t.Context(), func(tx annona.Tx) error {
			done, err = x.once(t.Context(), tx, caller, k, func() (Done, error) {
				if refusal != nil {
					return Done{}, refusal
				}
				effects++
				return Done{Status: 200, Noun: "individuals", Record: record, Version: 3}, nil
			})
			return err
		})
		return done, err
	}
	k := Keyed{Key: "monday", Route: "PATCH /v1/individuals/{id}", Asked: []byte("a")}
	first, err := ask(one, k, nil)
	if err != nil || first.Replayed || first.Record != record {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := ask(one, k, nil)
	if first.Replayed = true; err != nil || again != first {
		t.Errorf("again: %+v, %v", again, err)
	}
	for name, c := range map[string]struct {
		k    Keyed
		code string
	}{
		"another body":           {Keyed{k.Key, k.Route, []byte("b")}, "idempotency_key_reused"},
		"no key":                 {Keyed{"", k.Route, k.Asked}, "key_missing"},
		"a key with a space":     {Keyed{"a b", k.Route, k.Asked}, "key_malformed"},
		"a key beyond ASCII":     {Keyed{"ключ", k.Route, k.Asked}, "key_malformed"},
		"a key that is too long": {Keyed{strings.Repeat("k", longestKey+1), k.Route, k.Asked}, "key_malformed"},
	} {
		if _, err := ask(one, c.k, nil); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, other := range map[string]func() (Done, error){
		"another client": func() (Done, error) { return ask(annona.Caller{Client: annona.NewUID()}, k, nil) },
		"another route":  func() (Done, error) { return ask(one, Keyed{k.Key, "POST /v1/life-events", k.Asked}, nil) },
		"another key":    func() (Done, error) { return ask(one, Keyed{"tuesday", k.Route, k.Asked}, nil) },
	} {
		if done, err := other(); err != nil || done.Replayed {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}
	late := Keyed{Key: "late", Route: k.Route}
	if _, err := ask(one, late, annona.NotFound("refused")); annona.CodeOf(err) != "not_found" {
		t.Errorf("a request that is refused: %v", err)
	}
	if done, err := ask(one, late, nil); err != nil || done.Replayed {
		t.Errorf("behind a refusal: %+v, %v", done, err)
	}
	if effects != 5 {
		t.Errorf("%d effects", effects)
	}
	for _, c := range []struct {
		later    time.Duration
		replayed bool
	}{{keyKept - 1, true}, {keyKept, false}} {
		now = theDay.Add(c.later)
		if err := x.DropRequests(t.Context()); err != nil {
			t.Fatal(err)
		}
		if done, err := ask(one, k, nil); err != nil || done.Replayed != c.replayed {
			t.Errorf("after %s: %+v, %v", c.later, done, err)
		}
	}
}
