package sqlite

import (
	"fmt"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/annona-exchange/annona"
)

// TestMattersOfSomebodyAreFoundByTheirSubject looks at the plan of what is kept about one person: it must
// not go through the matters of others.
func TestMattersOfSomebodyAreFoundByTheirSubject(t *testing.T) {
	s := openTest(t, t.TempDir())
	cases, _ := annona.Standard().Dataset("cases")
	key, _ := cases.Field("case_id")
	said := annona.ScopeTerms{Purpose: "care", Recipient: "town", Basis: annona.BasisPublicInterest, Today: "2024-03-01"}
	scope := annona.NewMatterScope(&annona.Shape{Dataset: cases, Columns: []*annona.Field{key}}, annona.MatterTerms{Owner: "town", Said: said}, annona.Scope{}, annona.Scope{})
	var plan strings.Builder
	err := s.readers.read(t.Context(), "look at a plan", func(c *conn) error {
		q := &annona.MatterQuestion{Scope: scope, Choice: annona.MatterChoice{Subjects: []annona.SubjectRef{{Dataset: "individuals", Number: 7}}}, Limit: 100}
		r := &matterReading{lowering: &lowering{conn: c, terms: said, day: said.Today, restricted: true}, MatterQuestion: q}
		r.write("EXPLAIN QUERY PLAN ")
		r.query()
		return c.each(r.sql.String(), func(stmt *sqlite.Stmt) error {
			fmt.Fprintln(&plan, stmt.ColumnText(3))
			return nil
		}, r.args...)
	})
	if err != nil || !strings.Contains(plan.String(), "SEARCH m USING PRIMARY KEY (dataset=? AND number=?)") {
		t.Errorf("%v\n%s", err, &plan)
	}
}
