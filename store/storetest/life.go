package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// clinic is another source than the one of most tests.
const clinic = "clinic"

// of gives a record another key, of another source.
func of(r annona.StoredRecord, source, key string) annona.StoredRecord {
	r.Source, r.Key = source, key
	return r
}

// held holds one record in a transaction that is given up.
func (r *registry) held(d *annona.Dataset, number annona.Number) annona.Known {
	r.t.Helper()
	var known []annona.Known
	enough := errors.New("enough")
	err := r.Update(r.ctx, func(tx annona.Tx) (err error) {
		if known, err = tx.Hold(r.ctx, d, []annona.Number{number}); err != nil {
			return err
		}
		return enough
	})
	if !errors.Is(err, enough) {
		r.t.Fatalf("hold: %v", err)
	}
	return known[0]
}

// deleting deletes a record as it is on file.
func (r *registry) deleting(d *annona.Dataset, number annona.Number, into ...annona.Number) func(annona.Tx) error {
	return func(tx annona.Tx) error {
		known, err := tx.Hold(r.ctx, d, []annona.Number{number})
		if err != nil {
			return err
		}
		return tx.Delete(r.ctx, tester, annona.Deletion{
			Dataset: d, Number: number, Version: known[0].Version + 1, Into: into, Before: former(known[0]).Append(nil),
		})
	}
}

func (r *registry) delete(d *annona.Dataset, number annona.Number, into ...annona.Number) {
	r.t.Helper()
	r.update(r.deleting(d, number, into...))
}

func (r *registry) putKey(k annona.RecordKey, number annona.Number) {
	r.t.Helper()
	r.update(func(tx annona.Tx) error { return tx.PutKey(r.ctx, tester, k, number) })
}

// kin reads who is whose parent: pairs of nationalities.
func (r *registry) kin() []string {
	r.t.Helper()
	page := r.all(annona.NewScope(r.withGroup(r.shape(r.individuals, "nationality"), "relationships", "to_individual_id"), nil, nil, terms()))
	out := []string{}
	for row := range page.Count {
		first, end := page.Groups[0].Rows(row)
		for at := first; at < end; at++ {
			to := slices.IndexFunc(page.UIDs, func(u annona.UID) bool { return string(u[:]) == string(page.Groups[0].Page.Cell(0, at)) })
			out = append(out, string(page.Cell(0, row))+" "+string(page.Cell(0, to)))
		}
	}
	return out
}

// testDelete takes an individual out of sight and brings it back.
func testDelete(t *testing.T, r *registry) {
	id := annona.IdentifierIndex{Scheme: "national_id", Hash: []byte("one")}
	parent := func(to string) []annona.Relationship { return []annona.Relationship{{ToKey: to, Type: "parent"}} }
	a := r.person("a", values{"nationality": "a", "full_name": "Ama"}, member("h", "head"))
	a.Identifiers, a.Relationships, a.AsOf = []annona.IdentifierIndex{id}, parent("b"), Clock()
	b := r.person("b", values{"nationality": "b"}, member("h", "child"))
	b.Relationships = parent("a")
	r.load(r.household("h", nil), a, b)
	r.consent("a", "given")
	whole := r.all(annona.NewScope(r.shape(r.individuals, "nationality"), nil, nil, terms()))
	n, at := len(r.log()), r.state().Head
	r.delete(r.individuals, 1)

	r.same("the log", r.since(n), []string{"households 1 touched", "individuals 1 deleted", "individuals 2 touched"})
	if e := r.log()[n]; e.Version != 2 || e.Actor != "tester" || len(e.Before) == 0 {
		t.Errorf("event %+v", e)
	}
	r.same("those in sight", r.people(nil, terms()), []string{"b"})
	r.same("members", cells(r.all(annona.NewScope(r.shape(r.households, "member_count"), nil, nil, terms())), 0), []string{"1"})
	r.same("relationships wait", r.kin(), nil)
	page := annona.NewPage(r.shape(r.individuals, "sex"))
	if err := r.Lookup(r.ctx, annona.NewScope(page.Shape, nil, nil, terms()), id, page); err != nil || page.Count != 0 {
		t.Errorf("the identifier is still found: %d, %v", page.Count, err)
	}
	if gone, err := r.Departed(r.ctx, r.individuals, []annona.Number{1}); err != nil || gone[1].UID != whole.UIDs[0] || !gone[1].Erased || gone[1].Into != nil {
		t.Errorf("what is left: %+v, %v", gone[1], err)
	}
	for name, k := range map[string]annona.Known{"found": r.find(a), "held": r.held(r.individuals, 1)} {
		if k.Number != 1 || k.Version != 2 || !k.Deleted || k.Same || string(k.Clear) != string(a.Clear) || string(k.Sealed) != string(a.Sealed) ||
			k.Key.Key != "a" || k.Key.Source != source || k.Key.Digest != digested(a).Digest || !k.Key.AsOf.Equal(Clock()) {
			t.Errorf("%s: %+v", name, k)
		}
		if was, err := annona.ParseFormer(k.Before); err != nil || was.Version != 1 {
			t.Errorf("%s: what it was is of version %d, %v", name, was.Version, err)
		}
	}
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		return tx.PutRestriction(r.ctx, annona.Restriction{ID: annona.NewUID(), Subject: 1, Kind: annona.KindObjection})
	})
	if annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("a right of somebody who is deleted: %v", err)
	}
	err = r.Update(r.ctx, func(tx annona.Tx) error {
		return tx.Delete(r.ctx, tester, annona.Deletion{Dataset: r.individuals, Number: 1, Version: 3})
	})
	if annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("deleted again: %v", err)
	}

	n = len(r.log())
	if got := r.load(a); got != (annona.Loaded{Changed: 1, Restored: 1}) {
		t.Errorf("reported again: %+v", got)
	}
	r.same("the log of its return", r.since(n), []string{"households 1 touched", "individuals 1 restored", "individuals 2 touched"})
	if e := r.log()[n]; e.Version != 3 {
		t.Errorf("it came back in version %d", e.Version)
	}
	again := r.all(annona.NewScope(r.shape(r.individuals, "nationality"), nil, nil, terms()))
	if !slices.Equal(again.UIDs, whole.UIDs) || !slices.Equal(again.Numbers, whole.Numbers) {
		t.Error("it came back under another number or id")
	}
	kin := r.kin()
	slices.Sort(kin)
	r.same("relationships hold again", kin, []string{"a b", "b a"})
	if consents, err := r.Consents(r.ctx, 1); len(consents) != 1 || err != nil {
		t.Errorf("%d consents, %v", len(consents), err)
	}
	if gone, err := r.Departed(r.ctx, r.individuals, []annona.Number{1}); err != nil || gone[1].Erased {
		t.Errorf("it counts as gone: %+v, %v", gone[1], err)
	}
	if was := r.firstBehind(at, r.individuals, 1); was.Kind != annona.EventDeleted || len(was.Before) == 0 {
		t.Errorf("before it was deleted: %+v", was)
	}
	if was := r.firstBehind(int64(n), r.individuals, 1); was.Kind != annona.EventRestored {
		t.Errorf("while it was deleted: %+v", was)
	}
	if got := r.load(a); got != (annona.Loaded{Unchanged: 1}) {
		t.Errorf("and once more: %+v", got)
	}
}

// testDeleteHousehold deletes a household when nobody belongs to it any more.
func testDeleteHousehold(t *testing.T, r *registry) {
	h := r.household("h", values{"area_code": "XA-1", "status": "active"})
	stays := func(end annona.Date) annona.StoredRecord {
		return r.person("p", nil, annona.Membership{HouseholdKey: "h", Role: "head", EndDate: end})
	}
	r.load(h, stays(""))
	for _, end := range []annona.Date{"", Today.AddDays(1)} {
		r.load(stays(end))
		if err := r.Update(r.ctx, r.deleting(r.households, 1)); annona.CodeOf(err) != "household_has_members" {
			t.Errorf("while somebody is a member until %q: %v", end, err)
		}
	}
	r.load(stays(Today))
	n := len(r.log())
	r.delete(r.households, 1)
	r.same("the log", r.since(n), []string{"households 1 deleted"})
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		_, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{digested(r.person("q", nil, member("h", "head")))})
		return err
	})
	if annona.CodeOf(err) != "unknown_household" {
		t.Errorf("somebody joins it: %v", err)
	}
	r.load(r.person("p", values{"sex": "male"}, annona.Membership{Household: 1, EndDate: Today}))
	if got := r.load(h, r.person("q", nil, member("h", "head"))); got != (annona.Loaded{Created: 1, Changed: 1, Restored: 1}) {
		t.Errorf("it comes back: %+v", got)
	}
	r.same("with its area", cells(r.all(annona.NewScope(r.shape(r.individuals, "area_code"), nil, nil, terms())), 0), []string{"", "XA-1"})
}

// testTies gives back where somebody lives and to whom they are related, and takes it by numbers.
func testTies(t *testing.T, r *registry) {
	p := r.person("p", values{"sex": "female"}, member("h", "head"), annona.Membership{HouseholdKey: "other", Source: clinic, StartDate: "2024-01-01"})
	p.Relationships = []annona.Relationship{{ToKey: "q", Type: "parent", StartDate: "2020-01-01"}, {ToKey: "x", Type: "spouse", Source: clinic}}
	r.load(r.household("h", nil), of(r.household("", nil), clinic, "other"), p, r.person("q", nil))
	k := r.held(r.individuals, 1)
	memberships := []annona.Membership{
		{Household: 1, Source: source, Role: "head"}, {Household: 2, Source: clinic, StartDate: "2024-01-01"},
	}
	relationships := []annona.Relationship{
		{To: 2, Source: source, ToKey: "q", Type: "parent", StartDate: "2020-01-01"}, {Source: clinic, ToKey: "x", Type: "spouse"},
	}
	if !slices.Equal(k.Memberships, memberships) || !slices.Equal(k.Relationships, relationships) {
		t.Errorf("held: %+v and %+v", k.Memberships, k.Relationships)
	}
	next := r.person("p", values{"sex": "male"})
	next.Memberships, next.Relationships = memberships, relationships
	if k := r.find(digested(next)); !slices.Equal(k.Memberships, memberships) || !slices.Equal(k.Relationships, relationships) {
		t.Errorf("found: %+v and %+v", k.Memberships, k.Relationships)
	}
	n := len(r.log())
	r.load(next)
	r.same("what is taken as it was given touches nobody", r.since(n), []string{"individuals 1 changed"})
	if k := r.held(r.individuals, 1); !slices.Equal(k.Memberships, memberships) || !slices.Equal(k.Relationships, relationships) {
		t.Errorf("written back: %+v and %+v", k.Memberships, k.Relationships)
	}
	if k := r.held(r.individuals, 99); k.Version != 0 || k.Number != 0 {
		t.Errorf("nobody: %+v", k)
	}
	r.load(of(r.person("", nil), clinic, "x"))
	if k := r.held(r.individuals, 1); k.Relationships[1].To != 3 {
		t.Errorf("the other source's relationship leads to %d", k.Relationships[1].To)
	}
}

// testMembersOf names those who belong to a household on a day or later, each once.
func testMembersOf(t *testing.T, r *registry) {
	in := func(start, end annona.Date) annona.Membership {
		return annona.Membership{HouseholdKey: "h", Role: "child", StartDate: start, EndDate: end}
	}
	elsewhere := of(r.household("", nil), clinic, "h") // whose key is the same
	r.load(r.household("h", nil), r.household("other", nil), elsewhere,
		r.person("always", nil, in("", "")), r.person("elsewhere", nil, member("other", "head")), r.person("to come", nil, in(Today.AddDays(1), "")),
		r.person("until today", nil, in("2024-01-01", Today)), r.person("until tomorrow", nil, in("2024-01-01", Today.AddDays(1))),
		r.person("came back", nil, in("2020-01-01", "2021-01-01"), in("2024-01-01", "")), r.person("deleted", nil, in("", "")))
	r.delete(r.individuals, 7)
	for _, c := range []struct {
		homes []annona.Number
		day   annona.Date
		want  []annona.Number
	}{
		{[]annona.Number{1}, Today, []annona.Number{1, 3, 5, 6}}, {[]annona.Number{1}, Today.AddDays(1), []annona.Number{1, 3, 6}},
		{[]annona.Number{1}, "2020-06-01", []annona.Number{1, 3, 4, 5, 6}}, {[]annona.Number{2}, Today, []annona.Number{2}},
		{[]annona.Number{2, 1}, Today, []annona.Number{1, 2, 3, 5, 6}}, {[]annona.Number{1, 1}, Today, []annona.Number{1, 3, 5, 6}},
		{[]annona.Number{3}, Today, nil}, {[]annona.Number{99, 2}, Today, []annona.Number{2}}, {nil, Today, nil},
	} {
		r.update(func(tx annona.Tx) error {
			got, err := tx.MembersOf(r.ctx, c.day, c.homes...)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("households %d on %s: %v, %v, want %v", c.homes, c.day, got, err, c.want)
			}
			return nil
		})
	}
}

// testDecided keeps of a membership that the registry has decided about it.
func testDecided(t *testing.T, r *registry) {
	r.load(r.household("h", nil), r.household("i", nil), r.person("p", nil, member("h", "head"), member("i", "child")))
	next := r.person("p", values{"sex": "male"})
	next.Memberships = []annona.Membership{
		{Household: 1, Source: source, Role: "parent", NotPrimary: true, Decided: true, EndDate: Today},
		{Household: 2, Source: source, Role: "child"},
	}
	r.load(digested(next))
	if k := r.held(r.individuals, 1); !slices.Equal(k.Memberships, next.Memberships) {
		t.Errorf("held: %+v", k.Memberships)
	}
	if k := r.find(r.person("p", nil)); !slices.Equal(k.Memberships, next.Memberships) {
		t.Errorf("found: %+v", k.Memberships)
	}
	next.Memberships[0].Decided = false
	r.load(digested(next))
	if k := r.held(r.individuals, 1); !slices.Equal(k.Memberships, next.Memberships) {
		t.Errorf("taken back: %+v", k.Memberships)
	}
}

// testOtherKeys lets keys of another source lead to records.
func testOtherKeys(t *testing.T, r *registry) {
	later := Clock().Add(time.Hour)
	p := r.person("p", values{"nationality": "p"}, member("h", "head"))
	p.AsOf = Clock()
	r.load(r.household("h", values{"area_code": "XA"}), p, r.person("waits", values{"nationality": "w"}))
	q := of(r.person("", values{"nationality": "q"}, annona.Membership{HouseholdKey: "home"}), clinic, "q")
	q.Relationships = []annona.Relationship{{ToKey: "one", Type: "parent"}}
	if got := r.load(of(r.household("", nil), clinic, "home"), q); got.Unresolved != 1 {
		t.Fatalf("%+v", got)
	}
	one := of(r.person("", values{"nationality": "one"}, annona.Membership{Household: 1}), clinic, "one")
	n := len(r.log())
	r.putKey(annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "one", Digest: [16]byte{1}, AsOf: later}, 1)
	r.same("who named that key is touched", r.since(n), []string{"individuals 3 touched"})
	r.same("and related", r.kin(), []string{"q p"})

	k := r.find(one)
	if k.Number != 1 || k.Version != 1 || k.Deleted || k.Key.Key != "p" || !k.Key.AsOf.Equal(Clock()) || k.Reported.Key != "one" || k.Reported.Digest != [16]byte{1} || !k.Reported.AsOf.Equal(later) {
		t.Errorf("found by its other key: %+v", k)
	}
	if k := r.find(annona.StoredRecord{RecordKey: annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "one", Digest: [16]byte{1}}}); !k.Same || k.Number != 1 || k.Version != 1 {
		t.Errorf("the other source reports the same: %+v", k)
	}
	if k := r.find(digested(r.person("p", values{"sex": "male"}))); k.Reported.Key != "p" || !k.Reported.AsOf.Equal(Clock()) {
		t.Errorf("found by its first key: %+v", k.Reported)
	}
	if got := r.load(one); got != (annona.Loaded{Changed: 1}) {
		t.Errorf("the other source reports something else: %+v", got)
	}
	if got := r.load(one); got != (annona.Loaded{Unchanged: 1}) {
		t.Errorf("and says so again: %+v", got)
	}
	k = r.held(r.individuals, 1)
	if k.Key.Digest != digested(p).Digest || !k.Key.AsOf.Equal(Clock()) || len(k.OtherKeys) != 1 || k.OtherKeys[0].Digest != digested(one).Digest || !k.OtherKeys[0].AsOf.IsZero() {
		t.Errorf("each key has its own digest and moment: %+v, %+v", k.Key, k.OtherKeys)
	}
	if keys, err := r.KeysOf(r.ctx, r.individuals, 1); err != nil || len(keys) != 2 || keys[0].Key != "p" || keys[1].Key != "one" || keys[1].Source != clinic {
		t.Errorf("keys: %+v, %v", keys, err)
	}
	if n, err := r.SubjectByKey(r.ctx, clinic, "one"); n != 1 || err != nil {
		t.Errorf("the subject has number %d, %v", n, err)
	}
	r.putKey(annona.RecordKey{Dataset: r.households, Source: clinic, Key: "second"}, 1)
	related := of(r.person("", values{"nationality": "new"}, annona.Membership{HouseholdKey: "second"}), clinic, "new")
	related.Relationships = []annona.Relationship{{ToKey: "one", Type: "child"}}
	if got := r.load(related); got.Unresolved != 0 {
		t.Errorf("somebody names another by his other key: %+v", got)
	}
	r.same("and is related to him", r.kin(), []string{"q one", "new one"})
	r.same("a household by its other key", cells(r.all(annona.NewScope(r.shape(r.individuals, "area_code"), nil, nil, terms())), 0), []string{"XA", "", "", "XA"})

	for code, k := range map[string]annona.RecordKey{
		"key_taken": {Dataset: r.individuals, Source: clinic, Key: "q"}, "record_without_key": {Dataset: r.individuals, Source: clinic},
	} {
		if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutKey(r.ctx, tester, k, 1) }); annona.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		return tx.PutKey(r.ctx, tester, annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "nobody"}, 99)
	})
	if annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("a key of nobody: %v", err)
	}
	r.putKey(one.RecordKey, 2)
	r.same("the key leads to somebody else", r.kin(), []string{"q w", "new w"})
	r.putKey(one.RecordKey, 0)
	r.same("and to nobody", r.kin(), nil)
	if k := r.find(one); k.Version != 0 {
		t.Errorf("found by a key that leads nowhere: %+v", k)
	}
}

// testKeysOfDeleted deletes a record that has two keys, and one that another takes the place of.
func testKeysOfDeleted(t *testing.T, r *registry) {
	a, b, c := r.person("a", values{"nationality": "a"}), r.person("b", values{"nationality": "b"}), r.person("c", values{"nationality": "c"})
	c.Relationships = []annona.Relationship{{ToKey: "a", Type: "parent"}}
	r.load(a, b, c)
	r.putKey(annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "a2"}, 1)
	r.delete(r.individuals, 1)
	if k := r.find(of(a, clinic, "a2")); !k.Deleted || k.Number != 1 || k.Version != 2 || k.Reported.Key != "a2" {
		t.Errorf("found by its other key: %+v", k)
	}
	if n, err := r.SubjectByKey(r.ctx, source, "a"); n != 1 || err != nil {
		t.Errorf("the subject has number %d, %v", n, err)
	}
	keys := []annona.RecordKey{{Dataset: r.individuals, Source: source, Key: "a"}, {Dataset: r.individuals, Source: clinic, Key: "a2"}, b.RecordKey, {Dataset: r.households, Source: source, Key: "b"}}
	numbers, err := r.Numbers(r.ctx, keys)
	sameNumbers(t, "numbers of keys", numbers, 0, 0, 2, 0)
	if err != nil {
		t.Error(err)
	}
	if got := r.load(of(a, clinic, "a2")); got != (annona.Loaded{Changed: 1, Restored: 1}) {
		t.Errorf("its other source brings it back: %+v", got)
	}
	r.same("related again by its first key", r.kin(), []string{"c a"})
	if k := r.find(digested(a)); !k.Same {
		t.Errorf("its first source still reports the same: %+v", k)
	}

	r.delete(r.individuals, 1, 2) // merged into b
	r.update(func(tx annona.Tx) error {
		return errors.Join(tx.PutKey(r.ctx, tester, a.RecordKey, 2), tx.PutKey(r.ctx, tester, annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "a2"}, 2))
	})
	r.same("its key leads to the other", r.kin(), []string{"c b"})
	if k := r.find(digested(a)); k.Number != 2 || k.Deleted {
		t.Errorf("what took its place: %+v", k)
	}
	into := func() []annona.UID {
		t.Helper()
		gone, err := r.Departed(r.ctx, r.individuals, []annona.Number{1})
		if err != nil || !gone[1].Erased {
			t.Errorf("%+v, %v", gone, err)
		}
		return gone[1].Into
	}
	uids := r.all(annona.NewScope(r.shape(r.individuals, "sex"), nil, nil, terms())).UIDs
	if got := into(); !slices.Equal(got, uids[:1]) {
		t.Errorf("it was merged into %v, want %v", got, uids[:1])
	}
	r.delete(r.individuals, 2, 3)
	if got := into(); !slices.Equal(got, uids[1:]) {
		t.Errorf("and that into %v, want %v", got, uids[1:])
	}
	r.putKey(a.RecordKey, 0)
	if k := r.find(digested(a)); k.Number != 1 || !k.Deleted || k.Version != 4 {
		t.Errorf("when its key is its own again: %+v", k)
	}
	r.load(a)
	if gone, err := r.Departed(r.ctx, r.individuals, []annona.Number{1}); err != nil || gone[1].Erased || gone[1].Into != nil {
		t.Errorf("back: %+v, %v", gone, err)
	}
}

// testMatch finds records by identifiers when nothing is on file under their keys.
func testMatch(t *testing.T, r *registry) {
	id := func(hash string) annona.IdentifierIndex {
		return annona.IdentifierIndex{Scheme: "national_id", Hash: []byte(hash)}
	}
	with := func(key string, hashes ...string) annona.StoredRecord {
		p := r.person(key, values{"nationality": key})
		for _, h := range hashes {
			p.Identifiers = append(p.Identifiers, id(h))
		}
		return p
	}
	h := r.household("h", nil)
	h.Identifiers = []annona.IdentifierIndex{id("household")}
	r.load(h, with("a", "one", "shared"), with("b", "two", "shared"), with("c", "gone"))
	r.delete(r.individuals, 3)
	asks := func(hashes ...string) annona.StoredRecord {
		p := of(r.person("", values{"nationality": "x"}), clinic, "x")
		for _, h := range hashes {
			p.Match = append(p.Match, id(h))
		}
		return p
	}
	other := id("one")
	other.Scheme = "passport"
	unlike := asks()
	unlike.Match = []annona.IdentifierIndex{other}
	for _, c := range []struct {
		name    string
		record  annona.StoredRecord
		number  annona.Number
		matched []annona.Number
	}{
		{"none", asks("three"), 0, nil},
		{"one", asks("one"), 1, []annona.Number{1}},
		{"one, by either version of a hash", asks("new", "two"), 2, []annona.Number{2}},
		{"one, by two", asks("one", "one"), 1, []annona.Number{1}},
		{"several", asks("shared"), 0, []annona.Number{1, 2}},
		{"one that is deleted", asks("gone"), 0, nil},
		{"a household", asks("household"), 0, nil},
		{"another scheme", unlike, 0, nil},
	} {
		k := r.find(digested(c.record))
		if !slices.Equal(k.Matched, c.matched) || (k.Version > 0) != (c.number > 0) || c.number > 0 && k.Number != c.number || k.Reported.Source != "" {
			t.Errorf("%s: %+v", c.name, k)
		}
	}
	if k := r.find(digested(r.person("a", values{"nationality": "other"}))); k.Matched != nil {
		t.Errorf("a record that is on file under its key was matched: %+v", k)
	}
	waits := of(r.person("", values{"nationality": "waits"}), clinic, "y")
	waits.Relationships = []annona.Relationship{{ToKey: "x", Type: "parent"}}
	r.load(waits)
	one := asks("one")
	if got := r.load(one); got != (annona.Loaded{Changed: 1}) {
		t.Fatalf("a match is written: %+v", got)
	}
	r.same("who waited for its key is related to it", r.kin(), []string{"waits x"})
	if k := r.find(digested(one)); !k.Same || k.Number != 1 {
		t.Errorf("its key leads there from now on: %+v", k)
	}
	if k := r.held(r.individuals, 1); len(k.OtherKeys) != 1 || k.OtherKeys[0].Key != "x" {
		t.Errorf("its other keys: %+v", k.OtherKeys)
	}
}

// testConfirmed keeps what loads have confirmed beside them.
func testConfirmed(t *testing.T, r *registry) {
	at := func(days int) time.Time { return Clock().AddDate(0, 0, days) }
	loads := []annona.Load{
		{Source: source, Mode: "upsert", AsOf: at(1), State: "finished", Confirmed: []byte("early")},
		{Source: source, Mode: "upsert", AsOf: at(3), State: "finished", Confirmed: []byte("late")},
		{Source: source, Mode: "upsert", AsOf: at(4), State: "finished"},
		{Source: source, Mode: "undo", AsOf: at(1), State: "finished", Confirmed: []byte("back")},
		{Source: clinic, Mode: "upsert", AsOf: at(5), State: "finished", Confirmed: []byte("other")},
	}
	for i := range loads {
		loads[i].ID, loads[i].StartedAt = annona.NewUID(), Clock()
		r.update(func(tx annona.Tx) error { return tx.PutLoad(r.ctx, &loads[i]) })
	}
	loads[1].State, loads[1].Confirmed = "undone", nil
	r.update(func(tx annona.Tx) error { return tx.PutLoad(r.ctx, &loads[1]) })
	got, err := r.Confirmed(r.ctx, source, at(1))
	if err != nil || len(got) != 2 {
		t.Fatalf("loads that have confirmed: %+v, %v", got, err)
	}
	if l := got[0]; l.ID != loads[1].ID || string(l.Confirmed) != "late" || l.State != "undone" || !l.AsOf.Equal(at(3)) || l.Mode != "upsert" {
		t.Errorf("the first: %+v", l)
	}
	if l := got[1]; l.ID != loads[3].ID || string(l.Confirmed) != "back" || l.Mode != "undo" {
		t.Errorf("the second: %+v", l)
	}
	if l, err := r.LoadByID(r.ctx, loads[0].ID); err != nil || l.Confirmed != nil {
		t.Errorf("a load is read with all that it has confirmed: %+v, %v", l, err)
	}
}

// testLoads keeps loads and what they did.
func testLoads(t *testing.T, r *registry) {
	first := annona.Load{ID: annona.NewUID(), Source: source, Mode: "upsert", Author: annona.Author{Operator: "tester", Reason: "monthly"},
		AsOf: Clock().Add(-time.Hour), StartedAt: Clock(), State: "running"}
	second := annona.Load{ID: annona.NewUID(), Source: clinic, Mode: "undo", Author: annona.Author{Client: annona.NewUID()}, StartedAt: Clock(), State: "running", Undoes: first.ID}
	for _, l := range []*annona.Load{&first, &second} {
		r.update(func(tx annona.Tx) error { return tx.PutLoad(r.ctx, l) })
	}
	if first.Key == 0 || second.Key <= first.Key {
		t.Fatalf("keys %d and %d", first.Key, second.Key)
	}
	write := func(l annona.Load, records ...annona.StoredRecord) {
		t.Helper()
		for i := range records {
			records[i] = digested(records[i])
		}
		by := l.Author
		by.Load = l.Key
		r.update(func(tx annona.Tx) error {
			_, err := LoadBy(r.ctx, tx, by, records)
			return err
		})
	}
	write(first, r.household("h", nil), r.person("a", nil, member("h", "head")), r.person("b", nil))
	write(second, of(r.person("", nil), clinic, "c"))
	write(first, r.person("a", values{"sex": "female"}, member("h", "child")))
	r.load(r.person("b", values{"sex": "male"}))
	r.update(func(tx annona.Tx) error {
		return tx.Delete(r.ctx, annona.Author{Operator: "tester", Load: first.Key}, annona.Deletion{Dataset: r.individuals, Number: 2, Version: 3})
	})
	r.update(func(tx annona.Tx) error { // small writes share transactions
		var failed error
		for i, l := range []annona.Load{first, second, first, {}, first} {
			by := l.Author
			by.Load = l.Key
			_, err := LoadBy(r.ctx, tx, by, []annona.StoredRecord{r.person(fmt.Sprint("beside", i), nil)})
			failed = errors.Join(failed, err)
		}
		return failed
	})
	want := []string{"households 1 1 created false", "individuals 1 1 created false", "individuals 2 1 created false", "individuals 1 2 changed true", "individuals 2 3 deleted false",
		"individuals 4 1 created false", "individuals 6 1 created false", "individuals 8 1 created false"}
	var got []string
	for after := int64(0); ; {
		page, err := r.LoadEvents(r.ctx, &first, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			got = append(got, fmt.Sprint(e.Dataset, " ", e.Record, " ", e.Version, " ", e.Kind, " ", len(e.Before) > 0))
			after = e.Event
		}
	}
	r.same("what the first did", got, want)
	for _, e := range r.log() {
		if e.Load == second.Key && (e.Client != second.Author.Client || e.Actor != "") {
			t.Errorf("event of a client: %+v", e)
		}
		if e.Load == first.Key && e.Kind != annona.EventTouched && e.Kind != annona.EventDeleted && e.Reason != "monthly" {
			t.Errorf("event of a load with a reason: %+v", e)
		}
	}

	first.State, first.FinishedAt, first.Report = "finished", Clock().Add(time.Minute), []byte(`{"created":3}`)
	again := first
	r.update(func(tx annona.Tx) error { return tx.PutLoad(r.ctx, &again) })
	if again.Key != first.Key {
		t.Errorf("a load written again has the key %d, want %d", again.Key, first.Key)
	}
	twice := annona.Load{ID: first.ID, Source: clinic, Mode: "full", StartedAt: Clock(), State: "running"}
	if err := r.Update(r.ctx, func(tx annona.Tx) error { return tx.PutLoad(r.ctx, &twice) }); annona.CodeOf(err) != "load_taken" {
		t.Errorf("a new load with the id of another one: %v", err)
	}
	l, err := r.LoadByID(r.ctx, first.ID)
	if err != nil || l == nil || l.State != "finished" || l.Source != source || l.Mode != "upsert" || l.Author.Operator != "tester" || l.Author.Reason != "monthly" || l.Author.Load != first.Key ||
		!l.AsOf.Equal(first.AsOf) || !l.StartedAt.Equal(Clock()) || !l.FinishedAt.Equal(first.FinishedAt) || string(l.Report) != `{"created":3}` || l.Undoes != (annona.UID{}) || l.Author.Client != (annona.UID{}) {
		t.Errorf("on file: %+v, %v", l, err)
	}
	if found, err := r.LoadsByKey(r.ctx, []int64{first.Key, 1 << 40}); err != nil || len(found) != 1 || found[0].ID != first.ID || len(found[0].Report) == 0 {
		t.Errorf("loads by their keys: %+v, %v", found, err)
	}
	if l, err := r.LoadByID(r.ctx, annona.NewUID()); l != nil || err != nil {
		t.Errorf("no load: %+v, %v", l, err)
	}
	for _, c := range []struct {
		source string
		limit  int
		want   []int64
	}{{"", 9, []int64{second.Key, first.Key}}, {"", 1, []int64{second.Key}}, {source, 9, []int64{first.Key}}, {"nobody", 9, nil}} {
		loads, err := r.Loads(r.ctx, c.source, c.limit)
		var keys []int64
		for _, l := range loads {
			keys = append(keys, l.Key)
		}
		if err != nil || !slices.Equal(keys, c.want) {
			t.Errorf("loads of %q: %v, %v, want %v", c.source, keys, err, c.want)
		}
	}
	if l, err := r.LoadByID(r.ctx, second.ID); err != nil || l.Undoes != first.ID || l.Author.Client != second.Author.Client || !l.FinishedAt.IsZero() {
		t.Errorf("on file: %+v, %v", l, err)
	}
}

// testNumbersOfSource walks the records of a source, by whichever key.
func testNumbersOfSource(t *testing.T, r *registry) {
	r.load(r.person("a", nil), of(r.person("", nil), clinic, "b"), r.person("c", nil), of(r.person("", nil), clinic, "d"), r.person("e", nil), r.household("h", nil))
	for key, number := range map[string]annona.Number{"a": 1, "a2": 1, "e": 5, "c": 3} {
		r.putKey(annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: key}, number)
	}
	r.putKey(annona.RecordKey{Dataset: r.households, Source: clinic, Key: "h"}, 1)
	r.delete(r.individuals, 3)
	for _, c := range []struct {
		source string
		after  annona.Number
		limit  int
		want   []annona.Number
	}{
		{clinic, 0, 9, []annona.Number{1, 2, 4, 5}}, {clinic, 0, 3, []annona.Number{1, 2, 4}}, {clinic, 4, 3, []annona.Number{5}},
		{source, 0, 9, []annona.Number{1, 5}}, {"nobody", 0, 9, nil},
	} {
		got, err := r.NumbersOfSource(r.ctx, r.individuals, c.source, c.after, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		sameNumbers(t, fmt.Sprint(c.source, c.after, c.limit), got, c.want...)
	}
	numbers, err := r.Numbers(r.ctx, []annona.RecordKey{
		{Dataset: r.individuals, Source: clinic, Key: "a2"}, {Dataset: r.individuals, Source: clinic, Key: "c"}, {Dataset: r.households, Source: clinic, Key: "h"},
		{Dataset: r.individuals, Source: source, Key: "e"}, {Dataset: r.individuals, Source: source, Key: "nobody"},
	})
	sameNumbers(t, "numbers of keys", numbers, 1, 0, 1, 5, 0)
	if err != nil {
		t.Error(err)
	}
}

// testEraseDeleted erases somebody who is deleted, with every key.
func testEraseDeleted(t *testing.T, r *registry) {
	a, b := r.person("a", values{"nationality": "a"}), r.person("b", values{"nationality": "b"})
	b.Relationships = []annona.Relationship{{ToKey: "a", Type: "parent"}}
	r.load(a, b)
	r.consent("a", "given")
	r.putKey(annona.RecordKey{Dataset: r.individuals, Source: clinic, Key: "a2"}, 1)
	r.delete(r.individuals, 1, 2)
	n := len(r.log())
	r.erase(a, 1)
	r.same("the log", r.since(n), []string{"individuals 1 erased"})
	for _, e := range r.log() {
		if e.Record == 1 && len(e.Before) > 0 {
			t.Errorf("the %s event keeps an image", e.Kind)
		}
	}
	if k := r.held(r.individuals, 1); k.Version != 0 {
		t.Errorf("still on file: %+v", k)
	}
	if keys, err := r.KeysOf(r.ctx, r.individuals, 1); len(keys) > 0 || err != nil {
		t.Errorf("keys: %+v, %v", keys, err)
	}
	if k := r.find(of(a, clinic, "a2")); k.Version != 0 || k.Number == 1 {
		t.Errorf("found by its other key: %+v", k)
	}
	if !r.find(a).Erased {
		t.Error("it may come back")
	}
	if consents, err := r.Consents(r.ctx, 1); len(consents) > 0 || err != nil {
		t.Errorf("%d consents, %v", len(consents), err)
	}
	if k := r.held(r.individuals, 2); len(k.Relationships) > 0 {
		t.Errorf("somebody still waits for the one who was erased: %+v", k.Relationships)
	}
	if gone, err := r.Departed(r.ctx, r.individuals, []annona.Number{1}); err != nil || !gone[1].Erased || gone[1].Into != nil {
		t.Errorf("what is left: %+v, %v", gone, err)
	}
}

// testLifeRollback gives up a transaction that deletes, restores and moves keys.
func testLifeRollback(t *testing.T, r *registry) {
	a, b := r.person("a", values{"nationality": "a"}, member("h", "head")), r.person("b", values{"nationality": "b"})
	r.load(r.household("h", nil), a, b)
	r.delete(r.individuals, 2)
	n := len(r.log())
	enough := errors.New("enough")
	err := r.Update(r.ctx, func(tx annona.Tx) error {
		_, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{digested(b)})
		return errors.Join(err, r.deleting(r.individuals, 1, 2)(tx), tx.PutKey(r.ctx, tester, a.RecordKey, 2),
			tx.PutLoad(r.ctx, &annona.Load{ID: annona.NewUID(), Source: source, Mode: "full", State: "running"}), enough)
	})
	if err == nil || annona.KindOf(err) == annona.KindInternal && !errors.Is(err, enough) {
		t.Fatal(err)
	}
	r.same("nothing of it is kept", r.people(nil, terms()), []string{"a"})
	if len(r.log()) != n || !r.find(b).Deleted || r.find(digested(r.person("a", values{"sex": "male"}))).Number != 1 {
		t.Error("something of it is kept")
	}
	if loads, err := r.Loads(r.ctx, "", 9); len(loads) > 0 || err != nil {
		t.Errorf("%d loads, %v", len(loads), err)
	}
	r.update(func(tx annona.Tx) error { // in one transaction, one behind the other
		_, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{digested(b)})
		if err != nil {
			return err
		}
		if err := r.deleting(r.individuals, 2)(tx); err != nil {
			return err
		}
		_, err = Load(r.ctx, tx, "tester", []annona.StoredRecord{digested(b)})
		return err
	})
	r.same("the log", r.since(n), []string{"individuals 2 deleted", "individuals 2 restored", "individuals 2 restored"})
	if k := r.held(r.individuals, 2); k.Version != 5 || k.Deleted {
		t.Errorf("%+v", k)
	}
}

// testLifeConcurrent lets loads of two sources and somebody who deletes fight about one record.
func testLifeConcurrent(t *testing.T, r *registry) {
	id := []annona.IdentifierIndex{{Scheme: "national_id", Hash: []byte("one")}}
	p := r.person("p", values{"sex": "female"})
	p.Identifiers = id
	r.load(p)
	const rounds = 12
	var all sync.WaitGroup
	try := func(fn func(n int) func(annona.Tx) error) {
		all.Go(func() {
			for n := range rounds {
				if err := r.Update(r.ctx, fn(n)); err != nil && annona.KindOf(err) != annona.KindNotFound {
					t.Errorf("%v: %v", err, errors.Unwrap(err))
				}
			}
		})
	}
	for _, from := range []string{source, clinic} {
		try(func(n int) func(annona.Tx) error {
			q := r.person("p", values{"sex": "male", "nationality": fmt.Sprint(from, n)})
			q.Source, q.Identifiers, q.Match = from, id, id
			return func(tx annona.Tx) error {
				_, err := Load(r.ctx, tx, "tester", []annona.StoredRecord{digested(q)})
				return err
			}
		})
	}
	try(func(int) func(annona.Tx) error {
		return func(tx annona.Tx) error {
			known, err := tx.Hold(r.ctx, r.individuals, []annona.Number{1})
			if err != nil || known[0].Deleted {
				return err
			}
			return tx.Delete(r.ctx, tester, annona.Deletion{Dataset: r.individuals, Number: 1, Version: known[0].Version + 1})
		}
	})
	all.Wait()
	versions := map[string]int{}
	for _, e := range r.log() {
		if e.Kind == annona.EventTouched {
			continue
		}
		who := fmt.Sprint(e.Dataset, e.Record)
		if versions[who]++; e.Version != versions[who] {
			t.Fatalf("event %d of record %d is of version %d, want %d", e.Seq, e.Record, e.Version, versions[who])
		}
	}
}
