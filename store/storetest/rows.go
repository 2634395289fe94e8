package storetest

import (
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// testRowBlocks keeps what rows became. A block goes when it is dropped, and when somebody of it is erased.
func testRowBlocks(t *testing.T, r *registry) {
	h, a, b := r.household("h", nil), r.person("a", nil, member("h", "head")), r.person("b", nil)
	r.load(h, a, b)
	put := func(source string, home, first, last annona.Number) (id int64) {
		r.update(func(tx annona.Tx) (err error) {
			id, err = tx.PutRowBlock(r.ctx, annona.RowBlock{Source: source, FirstHousehold: home, LastHousehold: home, FirstIndividual: first, LastIndividual: last, Rows: []byte{byte(last)}})
			return err
		})
		return id
	}
	ids := func(source string) []int64 {
		all, err := r.RowBlocks(r.ctx, source)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	one, two, other, none := put(source, 1, 1, 1), put(source, 0, 2, 2), put("other", 0, 1, 2), put(source, 0, 0, 9)
	r.update(func(tx annona.Tx) error { return tx.DropRowBlocks(r.ctx, []int64{none, 12345}) })
	if got, want := ids(source), []int64{one, two}; !slices.Equal(got, want) || !slices.Equal(ids("other"), []int64{other}) || len(ids("nobody")) != 0 {
		t.Errorf("blocks %v, want %v; of others %v", got, want, ids("other"))
	}
	if rows, err := r.RowBlock(r.ctx, two); err != nil || !slices.Equal(rows, []byte{2}) {
		t.Errorf("a block: %v, %v", rows, err)
	}
	if rows, err := r.RowBlock(r.ctx, none); err != nil || rows != nil {
		t.Errorf("a block that is gone: %v, %v", rows, err)
	}
	r.erase(b, 2)
	if got := slices.Concat(ids(source), ids("other")); !slices.Equal(got, []int64{one}) {
		t.Errorf("after an erasure %v, want %v", got, one)
	}
	r.erase(h, 1)
	if got := ids(source); len(got) != 0 {
		t.Errorf("after the erasure of the household %v", got)
	}
}

// testFoundBefore looks for records where they were found the last time. A wrong place, a key of somebody
// else's and another digest are no different from none.
func testFoundBefore(t *testing.T, r *registry) {
	a, b := r.person("a", values{"sex": "female"}), r.person("b", values{"sex": "female"})
	r.load(a, b)
	for _, c := range []struct {
		name  string
		of    annona.StoredRecord
		found annona.Number
		want  annona.Known
	}{
		{"where it is", a, 1, annona.Known{Number: 1, Version: 1, Same: true}},
		{"where another one is that says the same", a, 2, annona.Known{Number: 1, Version: 1, Same: true}},
		{"where nobody is", b, 77, annona.Known{Number: 2, Version: 1, Same: true}},
		{"where it is, and it says something else", digested(r.person("b", values{"sex": "male"})), 2, annona.Known{Number: 2, Version: 1}},
		{"somebody new, where another one is", r.person("c", values{"sex": "female"}), 1, annona.Known{Number: 3}},
		{"a household, where an individual is", digested(record(r.households, "a", values{"sex": "female"})), 1, annona.Known{Number: 1}},
	} {
		c.of.Found = c.found
		if got := r.find(c.of); got.Number != c.want.Number || got.Version != c.want.Version || got.Same != c.want.Same {
			t.Errorf("%s: number %d, version %d, same %v; want %d, %d, %v", c.name, got.Number, got.Version, got.Same, c.want.Number, c.want.Version, c.want.Same)
		}
	}
	if !r.isDeletedFound(a) {
		t.Error("somebody who is deleted is found where it was")
	}
}

// isDeletedFound reports whether a record that was deleted is found as that, whatever is said of its place.
func (r *registry) isDeletedFound(of annona.StoredRecord) bool {
	r.delete(of.Dataset, 1)
	of.Found = 1
	known := r.find(of)
	return known.Deleted && !known.Same
}

// testFirst believes of records that their source reports them for the first time. Where that is wrong, the transaction
// runs again, and they are what they are without the hint.
func testFirst(t *testing.T, r *registry) {
	a, b, c := r.person("a", values{"nationality": "a"}), r.person("b", values{"nationality": "b"}), r.person("c", values{"nationality": "c"})
	r.load(a, b, c)
	other := annona.RecordKey{Dataset: r.individuals, Source: source, Key: "other"}
	changed := func(key, to string) annona.StoredRecord { return digested(r.person(key, values{"nationality": to})) }
	for _, step := range []struct {
		name   string
		before func()
		of     annona.StoredRecord
		want   annona.Known
	}{
		{"somebody new", nil, changed("d", "d"), annona.Known{Number: 4}},
		{"somebody who is on file", nil, changed("a", "A"), annona.Known{Number: 1, Version: 1}},
		{"under another key", func() { r.putKey(other, 2) }, changed("other", "B"), annona.Known{Number: 2, Version: 1}},
		{"somebody who is deleted", func() { r.putKey(other, 0); r.delete(r.individuals, 3) }, changed("c", "C"), annona.Known{Number: 3, Version: 2, Deleted: true}},
		{"somebody who was erased", func() { r.erase(a, 1) }, changed("a", "a"), annona.Known{Erased: true}},
	} {
		if step.before != nil {
			step.before()
		}
		if got := r.first(step.of); got.Version != step.want.Version || got.Deleted != step.want.Deleted || got.Erased != step.want.Erased ||
			!got.Erased && got.Number != step.want.Number {
			t.Errorf("%s: number %d, version %d, deleted %v, erased %v; want %+v", step.name, got.Number, got.Version, got.Deleted, got.Erased, step.want)
		}
	}
	r.same("who is on file", r.people(nil, terms()), []string{"B", "C", "d"})
}

// first writes a record that is believed to come for the first time, until the transaction runs again, and returns as
// what it was found.
func (r *registry) first(of annona.StoredRecord) (known annona.Known) {
	of.First = true
	r.update(func(tx annona.Tx) error {
		all, err := tx.Find(r.ctx, []annona.RecordKey{of.RecordKey})
		if err != nil {
			return err
		}
		of.First = false
		if known = all[0]; known.Same || known.Erased {
			return nil
		}
		of.Number, of.Version = known.Number, known.Version+1
		_, err = tx.Upsert(r.ctx, tester, []annona.StoredRecord{of})
		return err
	})
	return known
}
