package storetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/annona-exchange/annona"
)

// testDisputes finds the identifiers that several records on file hold, page by page.
func testDisputes(t *testing.T, r *registry) {
	id := func(hash string, shareable bool) annona.IdentifierIndex {
		return annona.IdentifierIndex{Scheme: "national_id", Hash: []byte(hash), Shareable: shareable}
	}
	person := func(key string, ids ...annona.IdentifierIndex) annona.StoredRecord {
		p := r.person(key, values{"nationality": key})
		p.Identifiers = ids
		return p
	}
	house := r.household("h", nil)
	house.Identifiers = []annona.IdentifierIndex{id("alone", false)}
	r.load(house, person("a", id("one", false), id("two", false), id("card", true)), person("b", id("two", false), id("card", true)),
		person("c", id("two", false), id("one", false), id("mixed", true)), person("d", id("alone", false), id("mixed", false)))
	want := func(after string, limit int, disputes ...string) {
		t.Helper()
		all, err := r.Disputes(r.ctx, r.individuals, []byte(after), limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range all {
			line := d.Scheme + " " + string(d.Hash)
			for i, n := range d.Holders {
				if number, err := r.SubjectByUID(r.ctx, d.UIDs[i]); err != nil || number != n {
					t.Errorf("the id of %d is that of %d, %v", n, number, err)
				}
				line += " " + string('0'+rune(n))
			}
			got = append(got, line)
		}
		if !slices.Equal(got, disputes) {
			t.Errorf("behind %q: %q, want %q", after, got, disputes)
		}
	}
	want("", 10, "national_id one 1 3", "national_id two 1 2 3")
	want("", 1, "national_id one 1 3")
	want("one", 1, "national_id two 1 2 3")
	want("two", 10)
	r.delete(r.individuals, 1)
	want("", 10, "national_id two 2 3")
	r.load(person("b", id("one", false)))
	want("", 10, "national_id one 2 3")
}

// testManyDisputes goes through disputes among many identifiers in small pages.
func testManyDisputes(t *testing.T, r *registry) {
	const people = 700
	hash := func(n int) []byte {
		sum := sha256.Sum256([]byte(fmt.Sprint(n)))
		return sum[:]
	}
	holders := map[string][]annona.Number{}
	batch := make([]annona.StoredRecord, 0, people)
	for n := 1; n <= people; n++ {
		p := r.person(fmt.Sprint("p", n), nil)
		for _, of := range []int{n, n - n%7, -n} { // one's own, one that seven hold, and one's own again
			id := annona.IdentifierIndex{Scheme: "national_id", Hash: hash(of), Shareable: of > 0 && of%35 == 0}
			if p.Identifiers = append(p.Identifiers, id); !id.Shareable && !slices.Contains(holders[string(id.Hash)], annona.Number(n)) {
				holders[string(id.Hash)] = append(holders[string(id.Hash)], annona.Number(n))
			}
		}
		if batch = append(batch, p); len(batch) == 100 {
			r.load(batch...)
			batch = batch[:0]
		}
	}
	var want, got []string
	for hash, all := range holders {
		if len(all) > 1 {
			want = append(want, fmt.Sprintf("%x %v", hash, all))
		}
	}
	slices.Sort(want)
	for after := []byte(nil); ; {
		page, err := r.Disputes(r.ctx, r.individuals, after, 9)
		if err != nil || len(page) > 9 {
			t.Fatalf("%d disputes, %v", len(page), err)
		}
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			got = append(got, fmt.Sprintf("%x %v", d.Hash, d.Holders))
		}
		after = page[len(page)-1].Hash
	}
	if len(want) < 70 || !slices.Equal(got, want) {
		t.Errorf("%d disputes, want %d: %.200q, want %.200q", len(got), len(want), got, want)
	}
}

// testAlike: identifiers of which long stretches are the same are those of different people, and one that
// goes takes no other one along.
func testAlike(t *testing.T, r *registry) {
	const stretch = "many bytes that are the same "
	holding := func(of annona.StoredRecord, scheme string, ends ...string) annona.StoredRecord {
		of.Identifiers = nil
		for _, end := range ends {
			of.Identifiers = append(of.Identifiers, annona.IdentifierIndex{Scheme: scheme, Hash: []byte(stretch + end)})
		}
		return of
	}
	find := func(d *annona.Dataset, scheme, end string, want ...annona.Number) {
		t.Helper()
		page := annona.NewPage(r.shape(d))
		id := annona.IdentifierIndex{Scheme: scheme, Hash: []byte(stretch + end)}
		if err := r.Lookup(r.ctx, annona.NewScope(page.Shape, nil, nil, terms()), id, page); err != nil || !slices.Equal(page.Numbers, want) {
			t.Errorf("%s %q of %s: %v, %v, want %v", scheme, end, d.Name, page.Numbers, err, want)
		}
	}
	house := holding(r.household("h", nil), "card", "one")
	r.load(house, holding(r.person("a", nil), "card", "one", "two"), holding(r.person("b", nil, member("h", "")), "card", "two", "three"))
	find(r.individuals, "card", "one", 1)
	find(r.individuals, "card", "two", 1, 2)
	find(r.individuals, "card", "three", 2)
	find(r.individuals, "other", "three")
	find(r.households, "card", "one", 1)
	if all, err := r.Disputes(r.ctx, r.individuals, nil, 10); err != nil || len(all) != 1 || !bytes.Equal(all[0].Hash, []byte(stretch+"two")) {
		t.Errorf("disputed are %v, %v", all, err)
	}
	r.load(holding(r.person("a", values{"nationality": "x"}), "card", "two"))
	find(r.individuals, "card", "one")
	find(r.individuals, "card", "two", 1, 2)
	find(r.households, "card", "one", 1)
	r.load(holding(r.person("a", values{"nationality": "y"}), "other", "two"))
	find(r.individuals, "card", "two", 2)
	find(r.individuals, "other", "two", 1)
	if all, err := r.Disputes(r.ctx, r.individuals, nil, 10); err != nil || len(all) > 0 {
		t.Errorf("disputed are %v, %v", all, err)
	}
	r.load(holding(r.person("a", values{"nationality": "z"}), "other"))
	find(r.individuals, "other", "two")
	find(r.individuals, "card", "three", 2)
	find(r.households, "card", "one", 1)
}
