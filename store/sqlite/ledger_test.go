package sqlite

import (
	"context"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// TestVerifyFindsWhatAnotherProgramDid changes the file as somebody with a database client
// would, and expects the walk to say so.
func TestVerifyFindsWhatAnotherProgramDid(t *testing.T) {
	for name, sql := range map[string]string{
		"nothing":           "",
		"the last deleted":  "DELETE FROM ledger WHERE idx = (SELECT max(idx) FROM ledger)",
		"one deleted":       "DELETE FROM ledger WHERE idx = 1",
		"one moved in time": "UPDATE ledger SET at = at + 1000000 WHERE idx = 1",
		"a leaf replaced":   "UPDATE ledger SET leaf = (SELECT leaf FROM ledger WHERE idx = 0) WHERE idx = 1",
		"content replaced":  "UPDATE ledger_parts SET content = CAST('{}' AS BLOB) WHERE idx = 1 AND name = 'facts'",
		"two swapped":       "UPDATE ledger SET idx = CASE idx WHEN 0 THEN -1 ELSE 0 END WHERE idx IN (0, 1)",
	} {
		dir := t.TempDir()
		s := openTest(t, dir)
		for range 4 {
			entry := audit.Administration(time.Now(), annona.NewUID(), audit.Facts{Verb: annona.VerbCreateKey}, annona.Caller{Strength: annona.StrengthOperator})
			if err := s.Append(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
		if sql != "" {
			if err := s.Update(context.Background(), func(x annona.Tx) error {
				c := x.(*tx).conn
				if err := c.exec("PRAGMA defer_foreign_keys = on"); err != nil {
					return err
				}
				if name == "the last deleted" || name == "one deleted" {
					if err := c.exec("DELETE FROM ledger_parts WHERE idx IN (1, 3)"); err != nil {
						return err
					}
				}
				return c.exec(sql)
			}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		report, err := audit.Verify(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.Whole() != (sql == "") {
			t.Errorf("%s: %d deviations: %+v", name, report.Deviations, report.Findings)
		}
	}
}
