package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// TestPagesAreReadAlongTheirNumbers looks at the plan of a page on tables of which the server
// has no statistics yet, as behind an import: it must not sort the rest of the table.
func TestPagesAreReadAlongTheirNumbers(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	var records []annona.StoredRecord
	for i := range 2000 {
		records = append(records, storetest.Person(fmt.Sprint(i), map[string]string{"sex": "female"}))
	}
	if err := load(t, s.Store, records...); err != nil {
		t.Fatal(causes(err))
	}
	var plan strings.Builder
	err := s.readers.ask(t.Context(), "look at a plan", func(c *conn) error {
		return c.each("EXPLAIN SELECT number, clear FROM individuals WHERE number > $1 AND number <= $2 AND f_sex = $3 ORDER BY number LIMIT $4", func(r row) error {
			fmt.Fprintln(&plan, r.text(0))
			return nil
		}, 10, 1_000_000, "female", 500)
	})
	if err != nil || !strings.Contains(plan.String(), "Index Scan using individuals_pkey") || strings.Contains(plan.String(), "Sort") {
		t.Fatalf("%v\n%s", causes(err), &plan)
	}
}
