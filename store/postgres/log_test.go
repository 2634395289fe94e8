package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/store/storetest"
)

// put writes one individual, changed each time that the value is another one.
func put(t testing.TB, s *Store, key, value string) {
	t.Helper()
	if err := s.Update(context.Background(), upsert(key, value)); err != nil {
		t.Error(causes(err))
	}
}

func upsert(key, value string) func(annona.Tx) error {
	return func(x annona.Tx) error {
		_, err := storetest.Load(context.Background(), x, "tester", []annona.StoredRecord{storetest.Person(key, map[string]string{"occupation": value})})
		return err
	}
}

// checkLog expects a gapless log of so many events, each there once.
func checkLog(t testing.TB, s tested, want int) []annona.Event {
	t.Helper()
	events, err := s.Events(context.Background())
	if err != nil {
		t.Fatal(causes(err))
	}
	seen := map[annona.UID]bool{}
	for i, e := range events {
		if e.Seq != int64(i+1) || seen[e.ID] {
			t.Fatalf("event %d of the log has the number %d; seen before: %v", i+1, e.Seq, seen[e.ID])
		}
		seen[e.ID] = true
	}
	if len(events) != want {
		t.Fatalf("the log has %d events, want %d", len(events), want)
	}
	return events
}

// TestLateCommit lets a change that has its number already commit after a later one.
func TestLateCommit(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	queued, finish := make(chan struct{}), make(chan struct{})
	var late sync.WaitGroup
	late.Go(func() {
		err := s.Update(t.Context(), func(x annona.Tx) error {
			if err := upsert("late", "1")(x); err != nil {
				return err
			}
			t := x.(*tx)
			err := errors.Join(t.writeEvents(), t.sendLater())
			close(queued)
			<-finish
			return err
		})
		if err != nil {
			t.Error(causes(err))
		}
	})
	<-queued
	put(t, s.Store, "early", "1")
	if e := checkLog(t, s, 1)[0]; e.Record == 1 {
		t.Error("a change that is not committed stands in the log")
	}
	close(finish)
	late.Wait()
	if e := checkLog(t, s, 2)[1]; e.Record != 1 {
		t.Error("the change that was committed late is not the last one of the log")
	}
}

const waitsForLog = `SELECT count(*) FROM pg_locks WHERE relation = 'annona.log'::regclass AND NOT granted`

const endSequencer = `SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database d ON d.oid = database
	WHERE locktype = 'advisory' AND granted AND datname = current_database() AND objid = $1::bigint::oid`

func ask(t testing.TB, s *pgx.Conn, sql string, args ...any) (n int64) {
	t.Helper()
	if err := s.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSequencerKilledInMidBatch ends the sequencer's session when it has taken events out of
// the queue and not yet written them into the log.
func TestSequencerKilledInMidBatch(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s, other := c.open(t, "app", database), c.open(t, "app", database) // two nodes
	outsider, watcher := c.session(t, "postgres", database), c.session(t, "postgres", database)
	const rounds = 4
	for round := range rounds {
		hold, err := outsider.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hold.Exec(t.Context(), "LOCK TABLE annona.log IN EXCLUSIVE MODE"); err != nil {
			t.Fatal(err)
		}
		put(t, s.Store, "a", fmt.Sprint(round))
		put(t, other.Store, "b", fmt.Sprint(round))
		if err := s.Append(t.Context(), storetest.Entry(annona.EntryRelease, annona.NewUID())); err != nil {
			t.Fatal(causes(err))
		}
		waitFor(t, "the sequencer in mid-batch", func() bool { return ask(t, watcher, waitsForLog) > 0 })
		if n := ask(t, watcher, endSequencer, int64(sequencerLock)); n != 1 {
			t.Fatalf("%d sessions lead, want one", n)
		}
		if err := hold.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkLog(t, s, 2*(round+1))
	}
	storetest.CheckTree(t, s, rounds)
}

// TestSequencerKilledAgainAndAgain does the same at any moment while two nodes write.
func TestSequencerKilledAgainAndAgain(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	nodes := []tested{c.open(t, "app", database), c.open(t, "app", database)}
	watcher := c.session(t, "postgres", database)
	const each = 60
	var writers sync.WaitGroup
	for n, s := range nodes {
		for w := range 2 {
			writers.Go(func() {
				for i := range each {
					put(t, s.Store, fmt.Sprintf("%d %d", n, w), fmt.Sprint(i))
				}
			})
		}
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
			ask(t, watcher, endSequencer, int64(sequencerLock))
			waitFor(t, "a leader", func() bool {
				return ask(t, watcher, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = $1::bigint::oid", int64(sequencerLock)) > 0
			})
		}
	}
	versions := map[annona.Number]int{}
	for _, e := range checkLog(t, nodes[0], 4*each) {
		if versions[e.Record]++; versions[e.Record] != e.Version {
			t.Fatalf("change %d of a record is its version %d", versions[e.Record], e.Version)
		}
	}
}

// TestManyQueued queues more than one batch holds, in one commit.
func TestManyQueued(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	session := c.session(t, "postgres", database)
	const many = 2*manyQueued + 500
	mustExec(t, session, `WITH e AS (INSERT INTO annona.events (id, at, dataset, record, version, kind)
		SELECT gen_random_uuid(), 0, 'individuals', 1, n, 'changed' FROM generate_series(1, $1) n ORDER BY n RETURNING event)
		INSERT INTO annona.event_queue SELECT min(event), max(event) FROM e GROUP BY CASE WHEN event < 5000 THEN event ELSE -(event / 700) END`, many)
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(causes(err))
	}
	if n := ask(t, session, "SELECT count(*) FROM annona.log JOIN annona.events USING (event) WHERE version = seq"); n != many {
		t.Errorf("%d of %d versions of a record stand in their order", n, many)
	}
}

// TestRunsOfEvents: of many events the queue has the runs of their numbers, whoever draws numbers in between.
func TestRunsOfEvents(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	session := c.session(t, "postgres", database)
	var count int64
	for _, step := range []int{1, 2} { // of the numbers
		mustExec(t, session, "ALTER SEQUENCE annona.events_event_seq INCREMENT BY "+itoa(step))
		for _, events := range []int{fewEvents, 3 * fewEvents, copiedEvents, 2*copiedEvents + 5} {
			err := s.Update(t.Context(), func(x annona.Tx) error {
				for range events {
					if err := x.(*tx).event(annona.Event{Dataset: "individuals", Record: annona.Number(step*1000 + events), Version: int(count) + 1, Kind: annona.EventTouched}); err != nil {
						return err
					}
					count++
				}
				return nil
			})
			if err != nil {
				t.Fatal(causes(err))
			}
		}
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(causes(err))
	}
	if n := ask(t, session, "SELECT count(*) FROM annona.log JOIN annona.events USING (event) WHERE version = seq"); n != count {
		t.Errorf("%d of %d events stand in their order", n, count)
	}
	if n := ask(t, session, "SELECT count(*) FROM annona.event_queue"); n != 0 {
		t.Errorf("%d runs are left in the queue", n)
	}
}

// TestNotifiesOfABatch listens where followers of the log will.
func TestNotifiesOfABatch(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	listener := c.session(t, "app", database)
	mustExec(t, listener, "LISTEN "+Channel)
	s := c.open(t, "app", database)
	put(t, s.Store, "p", "1")
	n, err := listener.WaitForNotification(t.Context())
	if err != nil || n.Payload != "" {
		t.Fatalf("%+v, %v", n, err)
	}
	if n := ask(t, listener, "SELECT count(*) FROM annona.log"); n != 1 {
		t.Errorf("notified of a log of %d events, want 1", n)
	}
}

// TestDeadlockIsRunAgain makes two changes wait for each other.
func TestDeadlockIsRunAgain(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	put(t, s.Store, "a", "1")
	put(t, s.Store, "b", "1")
	var both, meet sync.WaitGroup
	meet.Add(2)
	for _, order := range [][]annona.Number{{1, 2}, {2, 1}} {
		both.Go(func() {
			first := true
			err := s.Update(t.Context(), func(x annona.Tx) error {
				for i, n := range order {
					if err := x.PutRestriction(t.Context(), annona.Restriction{ID: annona.NewUID(), Subject: n, Kind: annona.KindRestriction}); err != nil {
						return err
					}
					if i == 0 && first {
						first = false
						meet.Done()
						meet.Wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Error(causes(err))
			}
		})
	}
	both.Wait()
	for n := annona.Number(1); n <= 2; n++ {
		if r, err := s.Restrictions(t.Context(), n); err != nil || len(r) != 2 {
			t.Errorf("%d restrictions, want 2; %v", len(r), err)
		}
	}
}

// TestJoiningAHouseholdThatMoves lets somebody join a household while its area changes, in
// both orders: the line of the new member never repeats the former area.
func TestJoiningAHouseholdThatMoves(t *testing.T) {
	c := testCluster(t)
	s := c.open(t, "app", c.newRegistry(t))
	for i, name := range []string{"moves first", "is joined first"} {
		household := func(area string) annona.StoredRecord {
			return storetest.Household(name, map[string]string{"area_code": area})
		}
		onFile(t, s, household("XA-1"))
		move, _ := loading(t, household("XA-2"))
		join, _ := loading(t, storetest.Person(name, nil, annona.Membership{HouseholdKey: name}))
		first, second := move, join
		if i == 1 {
			first, second = join, move
		}
		inTurns(t, s, first, second)
		if n := ask(t, c.session(t, "postgres", s.readers.config.ConnConfig.Database), "SELECT count(*) FROM annona.individuals WHERE source_key = $1 AND area_code = 'XA-2'", name); n != 1 {
			t.Errorf("%s: the line of the new member repeats the former area", name)
		}
	}
}
