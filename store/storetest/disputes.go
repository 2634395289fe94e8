package storetest

import (
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
