package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// find looks up one record in a transaction that is given up.
func (r *registry) find(of annona.StoredRecord) annona.Known {
	r.t.Helper()
	var known []annona.Known
	enough := errors.New("enough")
	err := r.Update(r.ctx, func(tx annona.Tx) (err error) {
		if known, err = tx.Find(r.ctx, []annona.RecordKey{of.RecordKey}); err != nil {
			return err
		}
		return enough
	})
	if !errors.Is(err, enough) {
		r.t.Fatalf("find: %v", err)
	}
	return known[0]
}

func testFind(t *testing.T, r *registry) {
	h, p := r.household("h", values{"area_code": "XA"}), r.person("p", values{"sex": "female", "full_name": "Ama"}, member("h", "head"))
	r.load(h, p)
	changed := digested(r.person("p", values{"sex": "male"}))
	keys := []annona.RecordKey{r.person("new", nil).RecordKey, h.RecordKey, changed.RecordKey, r.household("p", nil).RecordKey}
	var known []annona.Known
	r.update(func(tx annona.Tx) (err error) {
		known, err = tx.Find(r.ctx, keys)
		return err
	})
	if k := known[0]; k.Number != 2 || k.Version != 0 || k.Same {
		t.Errorf("a new record: %+v, want the next number", k)
	}
	if k := known[1]; k.Number != 1 || k.Version != 1 || !k.Same || k.Clear != nil || k.Sealed != nil {
		t.Errorf("a record as it is on file: %+v, want no images", k)
	}
	if k := known[2]; k.Number != 1 || k.Version != 1 || k.Same || string(k.Clear) != string(p.Clear) || string(k.Sealed) != string(p.Sealed) {
		t.Errorf("a record that differs: %+v, want its images", k)
	}
	if k := known[3]; k.Number != 2 || k.Version != 0 {
		t.Errorf("a household with the key of an individual: %+v, want another record", k)
	}
	if n := len(r.log()); n != 2 {
		t.Errorf("finding has left %d events, want 2", n)
	}
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		_, err := tx.Find(r.ctx, []annona.RecordKey{p.RecordKey, p.RecordKey})
		return err
	})
	if annona.KindOf(err) != annona.KindInternal {
		t.Errorf("a key twice: %v", err)
	}
	for _, k := range []annona.RecordKey{{Dataset: r.individuals, Source: source}, {Dataset: r.individuals, Key: "p"}} {
		err := r.Update(r.ctx, func(tx annona.Tx) error {
			_, err := tx.Find(r.ctx, []annona.RecordKey{k})
			return err
		})
		if annona.CodeOf(err) != "record_without_key" {
			t.Errorf("a key without a part: %v", err)
		}
	}
}

// testNotFound writes what was not found, under another version, and twice.
func testNotFound(t *testing.T, r *registry) {
	p := r.person("p", values{"sex": "female"})
	r.load(p)
	changed := digested(r.person("p", values{"sex": "male"}))
	changed.Number = 1
	for name, write := range map[string]func(annona.Tx) error{
		"not found": func(tx annona.Tx) error {
			changed.Version = 2
			_, err := tx.Upsert(r.ctx, tester, []annona.StoredRecord{changed})
			return err
		},
		"a version left out": func(tx annona.Tx) error {
			_, err := tx.Find(r.ctx, []annona.RecordKey{changed.RecordKey})
			changed.Version = 3
			_, failed := tx.Upsert(r.ctx, tester, []annona.StoredRecord{changed})
			return errors.Join(err, failed)
		},
		"twice": func(tx annona.Tx) error {
			_, err := tx.Find(r.ctx, []annona.RecordKey{changed.RecordKey})
			changed.Version = 2
			_, failed := tx.Upsert(r.ctx, tester, []annona.StoredRecord{changed, changed})
			return errors.Join(err, failed)
		},
	} {
		if err := r.Update(r.ctx, write); annona.KindOf(err) != annona.KindInternal {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.same("nothing was written", cells(r.all(annona.NewScope(r.shape(r.individuals, "sex"), nil, nil, terms())), 0), []string{"female"})
}

func (r *registry) tombstone(of annona.StoredRecord, number annona.Number) annona.Tombstone {
	return annona.Tombstone{ID: annona.NewUID(), Dataset: of.Dataset.Name, Source: of.Source, Key: of.Key, Number: number,
		Reason: "unlawful", ErasedAt: Clock(), ExpiresAt: Clock().Add(time.Hour)}
}

// erase erases a record and leaves a tombstone, as the gate does.
func (r *registry) erase(of annona.StoredRecord, number annona.Number) annona.Tombstone {
	r.t.Helper()
	stone := r.tombstone(of, number)
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.Erase(r.ctx, "tester", of.Dataset, number), tx.PutTombstone(r.ctx, stone))
	})
	return stone
}

func testEraseIndividual(t *testing.T, r *registry) {
	id := annona.IdentifierIndex{Scheme: "national_id", Hash: []byte("one")}
	parent := func(of string) []annona.Relationship { return []annona.Relationship{{ToKey: of, Type: "parent"}} }
	a := r.person("a", values{"nationality": "a"}, member("h", "head"))
	a.Identifiers, a.Relationships = []annona.IdentifierIndex{id}, parent("b")
	b, c := r.person("b", values{"nationality": "b"}, member("h", "child")), r.person("c", values{"nationality": "c"})
	b.Relationships = parent("a")
	r.load(r.household("h", nil), a, b, c)
	a.Clear = annona.Image{}.AppendValue(1<<2, []byte("other"))
	r.load(a)
	r.consent("a", "given")
	r.update(func(tx annona.Tx) error {
		return tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: 1, Kind: annona.KindRestriction, LiftedAt: Clock()})
	})
	n, before := len(r.log()), r.epoch()
	r.erase(a, 1)

	r.same("those who stay", r.people(nil, terms()), []string{"b", "c"})
	r.same("the log", r.since(n), []string{"households 1 touched", "individuals 1 erased", "individuals 2 touched"})
	for _, e := range r.log() {
		if e.Record == 1 && e.Dataset == "individuals" && len(e.Before) > 0 {
			t.Errorf("the %s event of version %d keeps an image", e.Kind, e.Version)
		}
	}
	if now := r.epoch(); now == before {
		t.Error("the policy epoch has not moved")
	}
	r.same("members", cells(r.all(annona.NewScope(r.shape(r.households, "member_count"), nil, nil, terms())), 0), []string{"1"})
	shape := r.withGroup(r.shape(r.individuals, "sex"), "relationships", "type")
	if rows := r.all(annona.NewScope(shape, nil, nil, terms())).Groups[0].Page.Count; rows != 0 {
		t.Errorf("%d relationships lead to or from the one who was erased", rows)
	}
	page := annona.NewPage(r.shape(r.individuals, "sex"))
	if err := r.Lookup(r.ctx, annona.NewScope(page.Shape, nil, nil, terms()), id, page); err != nil || page.Count != 0 {
		t.Errorf("the identifier is still found: %d, %v", page.Count, err)
	}
	restrictions, err := r.Restrictions(r.ctx, 1)
	consents, failed := r.Consents(r.ctx, 1)
	if len(restrictions)+len(consents) > 0 || err != nil || failed != nil {
		t.Errorf("%d restrictions and %d consents are left, %v, %v", len(restrictions), len(consents), err, failed)
	}
	if keys, err := r.KeysOf(r.ctx, r.individuals, 1); len(keys) > 0 || err != nil {
		t.Errorf("the key is still on file: %v", err)
	}
	b = r.person("b", values{"nationality": "b2"}, member("h", "child"))
	b.Relationships = parent("a")
	if got := r.load(a, b); got != (annona.Loaded{Changed: 1, Erased: 1}) {
		t.Errorf("reported again: %+v", got)
	}
	r.same("still those who stay", r.people(nil, terms()), []string{"b2", "c"})
	err = r.Update(r.ctx, func(tx annona.Tx) error { return tx.Erase(r.ctx, "tester", r.individuals, 1) })
	if annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("erased again: %v", err)
	}
}

func testEraseHousehold(t *testing.T, r *registry) {
	h := r.household("h", values{"area_code": "XA-1", "status": "active"})
	both := []annona.Membership{member("h", "head"), member("other", "child")}
	p := r.person("p", values{"nationality": "p"}, both...)
	r.load(h, r.household("other", values{"area_code": "XA-2"}), p, r.person("q", values{"nationality": "q"}, member("h", "child")))
	n := len(r.log())
	r.erase(h, 1)
	r.same("the log", r.since(n), []string{"households 1 erased", "individuals 1 touched", "individuals 2 touched"})
	shape := r.withGroup(r.shape(r.individuals, "nationality", "area_code", "role"), "memberships", "role")
	read := func() *annona.Page { return r.all(annona.NewScope(shape, nil, nil, terms())) }
	r.same("the members stay", cells(read(), 0), []string{"p", "q"})
	r.same("and live elsewhere, or nowhere", cells(read(), 1), []string{"XA-2", ""})
	r.same("in another role, or in none", cells(read(), 2), []string{"child", ""})
	p = r.person("p", values{"nationality": "p2"}, both...)
	if got := r.load(h, p); got != (annona.Loaded{Changed: 1, Erased: 1}) {
		t.Errorf("reported again: %+v", got)
	}
	r.same("nobody joins it again", cells(read().Groups[0].Page, 0), []string{"child"})
	r.same("who was in it can still be loaded", cells(read(), 0), []string{"p2", "q"})
}

// testErasureRefusals puts refusals to two individuals, lifts one, and erases one of the two.
func testErasureRefusals(t *testing.T, r *registry) {
	a, b := r.person("a", nil), r.person("b", nil)
	r.load(a, b)
	put := func(refusals ...annona.ErasureRefusal) {
		r.update(func(tx annona.Tx) error {
			for _, f := range refusals {
				if err := tx.PutErasureRefusal(r.ctx, f); err != nil {
					return err
				}
			}
			return nil
		})
	}
	standing := func(what string, want []annona.ErasureRefusal, of ...annona.Number) {
		t.Helper()
		var got []annona.ErasureRefusal
		r.update(func(tx annona.Tx) (err error) {
			got, err = tx.HoldErasureRefusals(r.ctx, of)
			return err
		})
		if !slices.EqualFunc(got, want, func(a, b annona.ErasureRefusal) bool {
			return a.ID == b.ID && a.Subject == b.Subject && a.Reason == b.Reason && a.RefusedAt.Equal(b.RefusedAt) && a.LiftedAt.IsZero()
		}) {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	refusal := func(of annona.Number, reason string, after time.Duration) annona.ErasureRefusal {
		return annona.ErasureRefusal{ID: annona.NewUID(), Subject: of, Reason: reason, RefusedAt: Clock().Add(after)}
	}
	standing("nothing was refused", nil, 1, 2)
	late, early, other := refusal(1, "archiving", time.Hour), refusal(1, "legal_claims", 0), refusal(2, "expression", time.Minute)
	put(late, early, other)
	standing("of both", []annona.ErasureRefusal{early, other, late}, 1, 2)
	standing("of one", []annona.ErasureRefusal{early, late}, 1)
	standing("of nobody", nil)
	lifted := early
	lifted.LiftedAt = Clock().Add(2 * time.Hour)
	put(lifted)
	standing("when one is lifted", []annona.ErasureRefusal{late}, 1)
	r.erase(a, 1)
	standing("of the erased", nil, 1)
	standing("of the other", []annona.ErasureRefusal{other}, 2)
	err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutErasureRefusal(r.ctx, refusal(1, "archiving", 0)) })
	if err == nil {
		t.Error("an erasure was refused to somebody who is not on file")
	}
}

func testTombstones(t *testing.T, r *registry) {
	p := r.person("p", values{"sex": "female"})
	r.load(p)
	stone := r.erase(p, 1)
	elsewhere := p
	elsewhere.Source = "another"
	for _, other := range []annona.StoredRecord{r.person("q", nil), r.household("p", nil), elsewhere} {
		if r.find(other).Erased {
			t.Errorf("%s %s of %s counts as erased", other.Dataset.Name, other.Key, other.Source)
		}
	}
	if !r.find(p).Erased {
		t.Error("the erased record may come back")
	}
	stone.ShreddedAt, stone.CompleteAt = Clock().Add(time.Minute), Clock().Add(time.Hour)
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.PutTombstone(r.ctx, stone), tx.DropTombstones(r.ctx, Clock()))
	})
	kept, err := r.Tombstones(r.ctx)
	if err != nil || len(kept) != 1 {
		t.Fatalf("tombstones: %+v, %v", kept, err)
	}
	want := stone
	for _, at := range []struct{ got, want *time.Time }{{&kept[0].ErasedAt, &want.ErasedAt}, {&kept[0].ExpiresAt, &want.ExpiresAt},
		{&kept[0].ShreddedAt, &want.ShreddedAt}, {&kept[0].CompleteAt, &want.CompleteAt}} {
		if !at.got.Equal(*at.want) {
			t.Errorf("a moment came back as %v, want %v", at.got, at.want)
		}
		*at.got, *at.want = time.Time{}, time.Time{}
	}
	if kept[0] != want {
		t.Errorf("tombstone: %+v, want %+v", kept[0], want)
	}
	stone.ExpiresAt = Clock()
	r.update(func(tx annona.Tx) error { return tx.PutTombstone(r.ctx, stone) })
	if r.find(p).Erased {
		t.Error("an expired tombstone keeps the record away")
	}
	stone.ShreddedAt = time.Time{}
	drop := func(then time.Time) int {
		r.update(func(tx annona.Tx) error {
			return errors.Join(tx.PutTombstone(r.ctx, stone), tx.DropTombstones(r.ctx, then))
		})
		kept, err := r.Tombstones(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(kept)
	}
	if drop(Clock()) != 1 {
		t.Error("a tombstone was dropped whose key is still to be destroyed")
	}
	stone.ShreddedAt = Clock()
	if drop(Clock()) != 0 {
		t.Error("an expired tombstone stays")
	}
	if n := r.load(p).Created; n != 1 || r.number("p") == 1 {
		t.Errorf("behind its expiry the record is created %d times, under the number %d", n, r.number("p"))
	}
}

func (r *registry) epoch() int64 {
	r.t.Helper()
	n, err := r.Epoch(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}
