package postgres

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// imported is a registry behind an import: the server has no statistics of its tables yet.
func imported(t *testing.T) tested {
	t.Helper()
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	var records []annona.StoredRecord
	for household := range 800 {
		records = append(records, benchRecords(household)...)
	}
	if err := load(t, s.Store, records...); err != nil {
		t.Fatal(causes(err))
	}
	return s
}

// explain returns the plan of a statement on connections of that use.
func explain(t *testing.T, on *pool, sql string, args ...any) string {
	t.Helper()
	var plan strings.Builder
	err := on.ask(t.Context(), "look at a plan", func(c *conn) error {
		return c.each("EXPLAIN "+sql, func(r row) error {
			fmt.Fprintln(&plan, r.text(0))
			return nil
		}, args...)
	})
	if err != nil {
		t.Fatal(causes(err))
	}
	return plan.String()
}

// TestPagesAreReadAlongTheirNumbers looks at the plan of a page on tables of which the server
// has no statistics yet, as behind an import: it must not sort the rest of the table.
func TestPagesAreReadAlongTheirNumbers(t *testing.T) {
	s := imported(t)
	plan := explain(t, s.readers, "SELECT number, clear FROM individuals WHERE number > $1 AND number <= $2 ORDER BY number LIMIT $3", 10, math.MaxInt64, 2000)
	if !strings.Contains(plan, "Index Scan using individuals_pkey") || strings.Contains(plan, "Sort") {
		t.Fatal(plan)
	}
}

// TestMembershipsAreFoundPersonByPerson looks at the plan of the memberships of people who change, as behind a first
// load: it must read neither all memberships nor all households.
func TestMembershipsAreFoundPersonByPerson(t *testing.T) {
	s := imported(t)
	people := make([]int64, 100)
	for i := range people {
		people[i] = int64(i) + 1
	}
	plan := explain(t, s.writers, selectMemberships, people)
	if strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "memberships_individual") || !strings.Contains(plan, "households_pkey") {
		t.Fatal(plan)
	}
}

// TestMembersAreFoundHouseholdByHousehold looks at the plan of those who live in households, likewise.
func TestMembersAreFoundHouseholdByHousehold(t *testing.T) {
	s := imported(t)
	homes := make([]int64, 100)
	for i := range homes {
		homes[i] = int64(i) + 1
	}
	plan := explain(t, s.writers, selectMembers, homes, annona.Date("2026-01-01"))
	if !strings.Contains(plan, "Index Cond: (household = h.number)") {
		t.Fatal(plan)
	}
}

// TestMattersAreFoundByIndexes looks at the plans of what is kept about one person, and under keys of its
// source. They are the same for everybody, and must not go through the matters of others.
func TestMattersAreFoundByIndexes(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	cases, _ := annona.Standard().Dataset("cases")
	err := s.Update(t.Context(), func(tx annona.Tx) error {
		fresh, err := tx.NewMatters(t.Context(), cases, 3000)
		if err != nil {
			return err
		}
		for i := range fresh {
			fresh[i].Version, fresh[i].Owner, fresh[i].State, fresh[i].Sealed = 1, "town", "open", annona.AppendItem(nil, annona.Image("sealed"))
		}
		return tx.PutMatters(t.Context(), annona.Author{Operator: "tester"}, fresh)
	})
	if err != nil {
		t.Fatal(causes(err))
	}
	key, _ := cases.Field("case_id")
	said := annona.ScopeTerms{Purpose: "care", Recipient: "town", Basis: annona.BasisPublicInterest, Today: "2024-03-01"}
	scope := annona.NewMatterScope(&annona.Shape{Dataset: cases, Columns: []*annona.Field{key}}, annona.MatterTerms{Owner: "town", Said: said}, annona.Scope{}, annona.Scope{})
	q := &annona.MatterQuestion{Scope: scope, Choice: annona.MatterChoice{Subjects: []annona.SubjectRef{{Dataset: "individuals", Number: 7}}}, Limit: 100, Page: annona.NewPage(scope.Shape())}
	r := newMatterReading(q)
	r.query()
	for name, plan := range map[string]string{
		"matters_subject": explain(t, s.lookups, r.text(), r.args...),
		"matters_source":  explain(t, s.lookups, selectMatters+byTheirKeys+" ORDER BY number", "cases", []string{"mis"}, []string{"one"}),
	} {
		if !strings.Contains(plan, name) || !strings.Contains(plan, "number = ANY") {
			t.Errorf("%s:\n%s", name, plan)
		}
	}
}

// TestDisputesAreFoundAlongTheirPlaces looks at the plan of a page of disputes on a table of which the server has
// no statistics yet: it must go through the index from where the last page has ended, and not through the table.
func TestDisputesAreFoundAlongTheirPlaces(t *testing.T) {
	s := imported(t)
	plan := explain(t, s.readers, selectShared, int64(math.MinInt64), int64(0), int64(500))
	sorted := strings.Contains(plan, "Sort") || strings.Contains(plan, "Seq Scan")
	if sorted || !strings.Contains(plan, "Index Only Scan using identifier_index_place") {
		t.Fatal(plan)
	}
}
