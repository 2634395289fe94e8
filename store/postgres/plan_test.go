package postgres

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// TestPagesAreReadAlongTheirNumbers looks at the plan of a page on tables of which the server
// has no statistics yet, as behind an import: it must not sort the rest of the table.
func TestPagesAreReadAlongTheirNumbers(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	var records []annona.StoredRecord
	for household := range 800 {
		records = append(records, benchRecords(household)...)
	}
	if err := load(t, s.Store, records...); err != nil {
		t.Fatal(causes(err))
	}
	var plan strings.Builder
	err := s.readers.ask(t.Context(), "look at a plan", func(c *conn) error {
		return c.each("EXPLAIN SELECT number, clear FROM individuals WHERE number > $1 AND number <= $2 ORDER BY number LIMIT $3", func(r row) error {
			fmt.Fprintln(&plan, r.text(0))
			return nil
		}, 10, math.MaxInt64, 2000)
	})
	if err != nil || !strings.Contains(plan.String(), "Index Scan using individuals_pkey") || strings.Contains(plan.String(), "Sort") {
		t.Fatalf("%v\n%s", causes(err), &plan)
	}
}
