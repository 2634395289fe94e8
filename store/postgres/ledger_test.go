package postgres

import (
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// TestVerifyFindsWhatTheOwnerDid changes the ledger as somebody with the owner's rights would,
// and expects the walk to say so.
func TestVerifyFindsWhatTheOwnerDid(t *testing.T) {
	c := testCluster(t)
	for name, sql := range map[string]string{
		"nothing":               "SELECT 1",
		"the last deleted":      "DELETE FROM annona.ledger WHERE entry = (SELECT max(entry) FROM annona.ledger)",
		"the last leaf deleted": "DELETE FROM annona.ledger_leaves WHERE idx = 3",
		"the tree cut back":     "DELETE FROM annona.ledger_leaves WHERE idx = 3; DELETE FROM annona.ledger_nodes WHERE level = 0 AND idx = 3 OR level = 1 AND idx = 1 OR level = 2",
		"one deleted":           "DELETE FROM annona.ledger WHERE entry = 2",
		"one moved in time":     "UPDATE annona.ledger SET at = at + 1000000 WHERE entry = 2",
		"a leaf replaced":       "UPDATE annona.ledger SET leaf = (SELECT leaf FROM annona.ledger WHERE entry = 1) WHERE entry = 2",
		"content replaced":      "UPDATE annona.ledger_parts SET content = '{}' WHERE entry = 2 AND name = 'facts'",
		"two swapped":           "UPDATE annona.ledger_leaves SET entry = CASE entry WHEN 1 THEN 20 ELSE 10 END WHERE entry IN (1, 2); UPDATE annona.ledger_leaves SET entry = entry / 10 WHERE entry >= 10",
	} {
		database := c.newRegistry(t)
		s := c.open(t, "app", database)
		for range 4 {
			entry := audit.Administration(time.Now(), annona.NewUID(), audit.Facts{Verb: annona.VerbCreateKey}, annona.Caller{Strength: annona.StrengthOperator})
			if err := s.Append(t.Context(), entry); err != nil {
				t.Fatal(causes(err))
			}
		}
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(causes(err))
		}
		mustExec(t, c.session(t, "postgres", database), sql)
		report, err := audit.Verify(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.Whole() != (name == "nothing") {
			t.Errorf("%s: %d deviations: %+v", name, report.Deviations, report.Findings)
		}
	}
}
