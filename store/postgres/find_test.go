package postgres

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// inTurns runs first, and second as soon as first has written; first commits when second waits
// for it.
func inTurns(t *testing.T, s tested, first, second func(annona.Tx) error) {
	t.Helper()
	written := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		err := s.Update(t.Context(), func(x annona.Tx) error {
			err := first(x)
			close(written)
			waitFor(t, "the other to wait", func() bool {
				n := int64(0)
				err := s.readers.ask(context.Background(), "count", func(c *conn) (err error) {
					n, err = c.integer("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
					return err
				})
				return err != nil || n > 0
			})
			return err
		})
		if err != nil {
			t.Error(causes(err))
		}
	})
	<-written
	if err := s.Update(t.Context(), second); err != nil {
		t.Error(causes(err))
	}
	both.Wait()
}

// loading returns what writes records, and where it counts them.
func loading(t *testing.T, records ...annona.StoredRecord) (func(annona.Tx) error, *annona.Loaded) {
	loaded := &annona.Loaded{}
	return func(x annona.Tx) (err error) {
		*loaded, err = storetest.Load(t.Context(), x, "tester", records)
		return err
	}, loaded
}

func erasing(t *testing.T, of annona.StoredRecord, number annona.Number) func(annona.Tx) error {
	return func(x annona.Tx) error {
		return errors.Join(x.Erase(t.Context(), "tester", of.Dataset, number), x.PutTombstone(t.Context(), annona.Tombstone{
			ID: annona.NewUID(), Dataset: of.Dataset.Name, Source: of.Source, Key: of.Key, Number: number, Reason: "unlawful",
			ErasedAt: storetest.Clock(), ExpiresAt: storetest.Clock().Add(time.Hour),
		}))
	}
}

func onFile(t *testing.T, s tested, records ...annona.StoredRecord) {
	t.Helper()
	load, _ := loading(t, records...)
	if err := s.Update(t.Context(), load); err != nil {
		t.Fatal(causes(err))
	}
}

// TestErasedWhileItIsImported lets an import wait for a record that is being erased.
func TestErasedWhileItIsImported(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	p := func(sex string) annona.StoredRecord {
		return storetest.Person("p", map[string]string{"sex": sex})
	}
	h := storetest.Household("h", nil)
	onFile(t, s, h, p("female"))

	load, loaded := loading(t, p("male"))
	inTurns(t, s, erasing(t, p(""), 1), load)
	if *loaded != (annona.Loaded{Erased: 1}) {
		t.Errorf("an individual comes back: %+v", *loaded)
	}
	load, loaded = loading(t, storetest.Person("q", nil, annona.Membership{HouseholdKey: "h"}))
	inTurns(t, s, erasing(t, h, 1), load)
	if *loaded != (annona.Loaded{Created: 1}) {
		t.Errorf("joining a household that is erased: %+v", *loaded)
	}
	if n := ask(t, c.session(t, "postgres", s.readers.config.ConnConfig.Database), "SELECT count(*) FROM annona.memberships"); n != 0 {
		t.Errorf("%d memberships of a household that was erased", n)
	}
}

// residue asks how many rows an erased individual of number 1 has left.
const residue = `SELECT (SELECT count(*) FROM individuals WHERE number = 1) + (SELECT count(*) FROM memberships WHERE individual = 1)
	+ (SELECT count(*) FROM relationships WHERE from_number = 1 OR to_number = 1) + (SELECT count(*) FROM identifier_index WHERE number = 1 AND place & 1 = 0)
	+ (SELECT count(*) FROM restrictions WHERE subject = 1) + (SELECT count(*) FROM consents WHERE subject = 1) + (SELECT count(*) FROM erasure_refusals WHERE subject = 1)
	+ (SELECT count(*) FROM other_keys WHERE number = 1) + (SELECT count(*) FROM deleted_records WHERE number = 1) + (SELECT count(*) FROM successors WHERE number = 1)
	+ (SELECT count(*) FROM events WHERE record = 1 AND dataset = 'individuals' AND before IS NOT NULL)`

// TestErasedLeavesNoRow counts what is left of somebody in every table.
func TestErasedLeavesNoRow(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	people := storetest.Hanging()
	onFile(t, s, people...)
	session := c.session(t, "postgres", database)
	mustExec(t, session, "SET search_path = annona")
	if n := ask(t, session, residue); n != 5 {
		t.Fatalf("%d rows of the individual, want 5", n)
	}
	if err := s.Update(t.Context(), erasing(t, people[1], 1)); err != nil {
		t.Fatal(causes(err))
	}
	if n := ask(t, session, residue); n != 0 {
		t.Errorf("%d rows are left of an erased individual", n)
	}
}

// TestChangedToTheSameAtOnce lets two nodes report the same change: the second finds it done.
func TestChangedToTheSameAtOnce(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	onFile(t, s, storetest.Person("p", nil))
	changed := storetest.Person("p", map[string]string{"sex": "male"})
	first, _ := loading(t, changed)
	second, loaded := loading(t, changed)
	inTurns(t, s, first, second)
	if *loaded != (annona.Loaded{Unchanged: 1}) {
		t.Errorf("the second: %+v", *loaded)
	}
}

// TestMadeTwiceAtOnce lets two nodes make the same record. The one that comes second runs again,
// because what it has sealed is bound to a number that nobody has.
func TestMadeTwiceAtOnce(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	first, _ := loading(t, storetest.Person("p", map[string]string{"sex": "female"}))
	second := storetest.Person("p", map[string]string{"sex": "male"})
	var numbers []annona.Number
	var versions []int
	inTurns(t, s, first, func(x annona.Tx) error {
		known, err := x.Find(t.Context(), []annona.RecordKey{second.RecordKey})
		if err != nil {
			return err
		}
		r := second
		r.Number, r.Version = known[0].Number, known[0].Version+1
		numbers, versions = append(numbers, r.Number), append(versions, r.Version)
		_, err = x.Upsert(t.Context(), annona.Author{Operator: "tester"}, []annona.StoredRecord{r})
		return err
	})
	if len(numbers) != 2 || numbers[0] == numbers[1] || numbers[1] != 1 || versions[1] != 2 {
		t.Errorf("written under the numbers %v and versions %v, want another number first, then the next version of the first", numbers, versions)
	}
}

// TestUnchangedWaitsForNobody imports what is on file while somebody else changes it.
func TestUnchangedWaitsForNobody(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	h, p := storetest.Household("h", nil), storetest.Person("p", nil, annona.Membership{HouseholdKey: "h"})
	onFile(t, s, h, p)
	err := s.Update(t.Context(), func(x annona.Tx) error {
		changed, _ := loading(t, storetest.Household("h", map[string]string{"area_code": "XA"}), storetest.Person("p", map[string]string{"sex": "male"}))
		if err := changed(x); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		load, loaded := loading(t, h, p)
		err := s.Update(ctx, load)
		if err == nil && *loaded != (annona.Loaded{Unchanged: 2}) {
			t.Errorf("what is on file: %+v", *loaded)
		}
		return err
	})
	if err != nil {
		t.Error(causes(err))
	}
}

// TestErasedWhileItIsBelievedToComeFirst erases somebody between the look at the registry and the writing, in an import that does
// not look for who its source is believed to report for the first time.
func TestErasedWhileItIsBelievedToComeFirst(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	p := storetest.Person("p", map[string]string{"sex": "female"})
	onFile(t, s, p)
	runs := 0
	var known []annona.Known
	err := s.Update(t.Context(), func(x annona.Tx) (err error) {
		runs++
		p.First = runs == 1
		if known, err = x.Find(t.Context(), []annona.RecordKey{p.RecordKey}); err != nil || known[0].Erased {
			return err
		}
		if err := s.Update(t.Context(), erasing(t, p, 1)); err != nil {
			return err
		}
		p.Number, p.Version = known[0].Number, known[0].Version+1
		_, err = x.Upsert(t.Context(), annona.Author{Operator: "tester"}, []annona.StoredRecord{p})
		return err
	})
	if err != nil {
		t.Fatal(causes(err))
	}
	if runs != 2 || !known[0].Erased {
		t.Errorf("after %d runs somebody who was erased is %+v", runs, known[0])
	}
}
