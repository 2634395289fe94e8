package sqlite

import (
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// residue asks how many rows an erased individual of number 1 has left.
const residue = `SELECT (SELECT count(*) FROM individuals WHERE number = 1) + (SELECT count(*) FROM memberships WHERE individual = 1)
	+ (SELECT count(*) FROM relationships WHERE from_number = 1 OR to_number = 1) + (SELECT count(identifiers) FROM individuals WHERE number = 1)
	+ (SELECT count(*) FROM restrictions WHERE subject = 1) + (SELECT count(*) FROM consents WHERE subject = 1) + (SELECT count(*) FROM erasure_refusals WHERE subject = 1)
	+ (SELECT count(*) FROM other_keys WHERE number = 1) + (SELECT count(*) FROM deleted_records WHERE number = 1) + (SELECT count(*) FROM successors WHERE number = 1)
	+ (SELECT count(*) FROM events WHERE record = 1 AND dataset = 'individuals' AND before IS NOT NULL)`

// TestErasedLeavesNoRow counts what is left of somebody in every table.
func TestErasedLeavesNoRow(t *testing.T) {
	s := openTest(t, t.TempDir())
	people := storetest.Hanging()
	if err := load(t, s, people...); err != nil {
		t.Fatal(err)
	}
	left := func() (n int64) {
		t.Helper()
		err := s.readers.read(t.Context(), "count", func(c *conn) (err error) {
			n, err = c.integer(residue)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := left(); n != 5 {
		t.Fatalf("%d rows of the individual, want 5", n)
	}
	err := s.Update(t.Context(), func(tx annona.Tx) error {
		return tx.Erase(t.Context(), "tester", people[1].Dataset, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 0 {
		t.Errorf("%d rows are left of an erased individual", n)
	}
}

// TestAnAbandonedNumberIsGivenAgain: numbers are set aside in the transaction, so that one which
// came to nothing leaves no hole.
func TestAnAbandonedNumberIsGivenAgain(t *testing.T) {
	s := openTest(t, t.TempDir())
	p := storetest.Person("p", nil)
	for range 2 {
		err := s.Update(t.Context(), func(tx annona.Tx) error {
			known, err := tx.Find(t.Context(), []annona.RecordKey{p.RecordKey})
			if err == nil && known[0].Number != 1 {
				t.Errorf("number %d", known[0].Number)
			}
			if err == nil {
				err = annona.Unavailable("lost", "lost against another transaction")
			}
			return err
		})
		if annona.CodeOf(err) != "lost" {
			t.Fatal(err)
		}
	}
}
