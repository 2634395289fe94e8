package postgres

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// cutOff lets the server end connections that began before it when they come to a benefit.
const cutOff = `CREATE TABLE annona.cut (at timestamptz);
	INSERT INTO annona.cut VALUES (clock_timestamp());
	CREATE FUNCTION annona.cut_off() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
			PERFORM pg_terminate_backend(pid) FROM pg_stat_activity, annona.cut WHERE pid = pg_backend_pid() AND backend_start < at;
			RETURN true;
		END $$;
	ALTER TABLE annona.matters ENABLE ROW LEVEL SECURITY;
	CREATE POLICY cut_off ON annona.matters USING (CASE WHEN dataset = 'benefits' THEN annona.cut_off() ELSE true END)`

// Pages that a dying connection has left in part are read again from their beginning. One that had rows before
// keeps them, and none twice.
func TestPagesOfMattersBehindAConnectionThatDied(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	var questions []*annona.MatterQuestion
	for _, name := range []string{"enrollments", "benefits"} {
		of := dataset(t, name)
		err := s.Update(t.Context(), func(tx annona.Tx) error {
			fresh, err := tx.NewMatters(t.Context(), of, 2)
			if err != nil {
				return err
			}
			for i := range fresh {
				fresh[i].Version, fresh[i].Owner, fresh[i].State = 1, "us", "active"
				fresh[i].Sealed = annona.AppendItem(nil, annona.Image("sealed"))
			}
			return tx.PutMatters(t.Context(), annona.Author{Operator: "tester"}, fresh)
		})
		if err != nil {
			t.Fatal(causes(err))
		}
		shape := storetest.Shape(of)
		scope := annona.NewMatterScope(shape, annona.MatterTerms{Owner: "us", Said: annona.ScopeTerms{Today: storetest.Today}}, annona.Scope{}, annona.Scope{})
		questions = append(questions, &annona.MatterQuestion{Scope: scope, Limit: 10, Page: annona.NewPage(shape)})
	}
	read := func(what string) {
		t.Helper()
		if err := s.ReadMatters(t.Context(), questions...); err != nil {
			t.Fatal(what, ": ", causes(err))
		}
		for _, q := range questions {
			if got := q.Page.Numbers; len(got) != 2 || got[0] != 1 || got[1] != 2 || q.Page.Count != 2 {
				t.Errorf("%s: %s have the numbers %v", what, q.Page.Shape.Dataset.Name, got)
			}
		}
	}
	read("all is well")
	mustExec(t, c.session(t, "postgres", database), cutOff)
	for _, q := range questions {
		q.Page.Reset()
	}
	read("pages that were empty")
	for _, q := range questions {
		q.After = 2
	}
	read("pages that go on")
}
