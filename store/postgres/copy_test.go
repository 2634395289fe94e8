package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// TestRowsAreSentWhileTheyAreMade writes more than is sent together, also when a row in the middle cannot
// be made or is refused by the database: the reason comes back, nothing stays, and the store goes on.
func TestRowsAreSentWhileTheyAreMade(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	people := func(spoil func(*annona.StoredRecord)) []annona.StoredRecord {
		long := strings.Repeat("x", 2*sendFrom/400)
		all := make([]annona.StoredRecord, 1000)
		for i := range all {
			all[i] = storetest.Person(fmt.Sprint("p", i), map[string]string{"sex": "female", "nationality": long})
		}
		spoil(&all[900])
		return all
	}
	count := func() (n int64) {
		t.Helper()
		if err := s.readers.ask(t.Context(), "count", func(c *conn) (err error) {
			n, err = c.integer("SELECT count(*) FROM individuals")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	load := func(spoil func(*annona.StoredRecord)) error {
		return s.Update(t.Context(), func(x annona.Tx) error {
			_, err := storetest.LoadBy(t.Context(), x, annona.Author{Operator: "tester"}, people(spoil))
			return err
		})
	}
	for name, spoil := range map[string]func(*annona.StoredRecord){
		"a row that cannot be made": func(r *annona.StoredRecord) {
			r.Index = append(r.Index, annona.Value{Field: &annona.Field{Code: "nowhere", Dataset: "individuals", Filter: annona.FilterRange}, Text: "x"})
		},
		"a row that the database refuses": func(r *annona.StoredRecord) {
			for i := range r.Index {
				r.Index[i].Text = "nul\x00"
			}
		},
	} {
		if err := load(spoil); err == nil || strings.Contains(causes(err), errSending.Error()) || strings.Contains(causes(err), "busy") {
			t.Errorf("%s: %v", name, causes(err))
		}
		if n := count(); n != 0 {
			t.Errorf("%s: %d records stay", name, n)
		}
	}
	if err := load(func(*annona.StoredRecord) {}); err != nil || count() != 1000 {
		t.Errorf("%d records, %v", count(), err)
	}
}
