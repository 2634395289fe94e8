package postgres

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	outsiderTime = flag.Duration("outsider", time.Second, "how long an outsider's transactions stay open while others write")
	deadRows     = flag.Int("dead", 100_000, "how many rows leave the queue while an outsider keeps the server from cleaning up")
)

// lead makes a session the sequencer of a registry that no node serves.
func lead(t testing.TB, c *cluster, database string) *leader {
	t.Helper()
	config, err := parse(c.URL("app", database), writing)
	if err != nil {
		t.Fatal(err)
	}
	session, err := dial(context.Background(), config)
	if err != nil {
		t.Fatal(causes(err))
	}
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	l := newLeader(session)
	if leads, err := l.elect(context.Background()); err != nil || !leads {
		t.Fatal("somebody else leads: ", err)
	}
	return l
}

// step is a batch with a look at the floors before it.
func (l *leader) step(t testing.TB) (moved int) {
	t.Helper()
	l.looked = time.Time{}
	moved, err := l.batch(batchTime, lookAtAll)
	if err != nil {
		t.Fatal(err)
	}
	return moved
}

const queueEvents = `WITH e AS (INSERT INTO annona.events (id, at, dataset, record, version, kind)
	SELECT gen_random_uuid(), 0, 'individuals', $1, n, 'changed' FROM generate_series(1, $2) n ORDER BY n RETURNING event)
	INSERT INTO annona.event_queue SELECT event, event FROM e`

// open begins a transaction of somebody.
func open(t testing.TB, s *pgx.Conn, sql string, args ...any) pgx.Tx {
	t.Helper()
	hold, err := s.BeginTx(context.Background(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
	return hold
}

// TestFloorWaitsForWriters: a change that has its number and is not committed holds the floor, for as
// long as it takes; somebody who has nothing to do with it does not.
func TestFloorWaitsForWriters(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	l := lead(t, c, database)
	write, late, other := c.session(t, "app", database), c.session(t, "app", database), c.session(t, "app", database)
	open(t, c.session(t, "postgres", database), "SELECT count(*) FROM annona.event_queue, annona.events")
	open(t, c.session(t, "postgres", database), "SELECT txid_current()")
	open(t, c.session(t, "postgres", database), "INSERT INTO annona.areas (code, level, names) VALUES ('x', 1, '{}')")
	place := func() int64 { return ask(t, write, "SELECT count(*) FROM annona.log") }

	mustExec(t, write, queueEvents, 1, 10)
	for range 3 {
		l.step(t)
	}
	if l.events.at != 10 {
		t.Fatalf("the floor is %d after 10 changes and no writer", l.events.at)
	}
	stalled := open(t, late, queueEvents, 2, 1) // takes number 11
	for round := range 5 {
		mustExec(t, write, queueEvents, 1, 10)
		l.step(t)
		if l.events.at >= 11 {
			t.Fatalf("round %d: the floor is %d while change 11 is not committed", round, l.events.at)
		}
	}
	another := open(t, other, queueEvents, 3, 1) // begins when the first is waited for already
	l.step(t)
	if err := stalled.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.step(t)
	}
	if n := place(); n != 61 || l.events.at < 11 || l.events.at > 61 {
		t.Fatalf("%d of 61 changes in the log, the floor is %d", n, l.events.at)
	}
	if err := another.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, write, queueEvents, 1, 2*manyQueued+5) // more than one batch
	for range 8 {
		l.step(t)
	}
	if want := int64(61 + 2*manyQueued + 5); place() != want || l.events.at <= 2*manyQueued {
		t.Fatalf("%d of %d changes in the log, the floor is %d", place(), want, l.events.at)
	}
	if n := ask(t, write, "SELECT count(*) FROM pg_sequence JOIN pg_depend d ON d.objid = seqrelid WHERE d.refobjid IN ('annona.events'::regclass, 'annona.ledger'::regclass) AND d.deptype = 'i' AND seqcache = 1"); n != 2 {
		t.Error("a session could draw numbers before it needs them")
	}
}

// TestFloorSkipsNothing lets many write, stall, give up and commit while the floor is looked at all
// the time.
func TestFloorSkipsNothing(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	l := lead(t, c, database)
	seed := rand.Uint64()
	t.Log("seed ", seed)
	var writers sync.WaitGroup
	var mu sync.Mutex
	committed := 0
	for w := range 6 {
		session := c.session(t, "app", database)
		random := rand.New(rand.NewPCG(seed, uint64(w)))
		writers.Go(func() {
			for range 40 {
				count := 1 + random.IntN(3)
				hold := open(t, session, queueEvents, w, count)
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
				if random.IntN(5) == 0 {
					_ = hold.Rollback(context.Background())
					continue
				}
				if err := hold.Commit(context.Background()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				committed += count
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	highest := int64(0)
	for running := true; running; {
		select {
		case <-ended:
			running = false
		default:
		}
		l.step(t)
		highest = max(highest, l.events.at)
	}
	for l.step(t) > 0 {
	}
	session := c.session(t, "app", database)
	if n := ask(t, session, "SELECT count(DISTINCT event) FROM annona.log"); n != int64(committed) || ask(t, session, "SELECT count(*) FROM annona.event_queue") != 0 {
		t.Errorf("%d of %d changes in the log", n, committed)
	}
	if highest == 0 {
		t.Error("the floor has not moved")
	}
}

// TestBatchesBesideASnapshot lets an outsider keep the server from cleaning up the queue, and
// compares a batch with one that starts from the beginning of the queue.
func TestBatchesBesideASnapshot(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	l := lead(t, c, database)
	write := c.session(t, "app", database)
	mustExec(t, write, queueEvents, 1, *deadRows)
	open(t, c.session(t, "postgres", database), "SELECT count(*) FROM annona.event_queue")
	began := time.Now()
	for l.step(t) > 0 {
	}
	t.Logf("%d rows left the queue in %v", *deadRows, time.Since(began))
	l.step(t)
	batch := func() time.Duration {
		best := time.Hour
		for range 5 {
			mustExec(t, write, queueEvents, 1, 1)
			began := time.Now()
			if moved := l.step(t); moved != 1 {
				t.Fatalf("%d changes in a batch, want 1", moved)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	fast := batch()
	held := l.events
	l.events = floor{table: held.table}
	mustExec(t, write, queueEvents, 1, 1)
	began = time.Now()
	if moved, err := l.batch(batchTime, lookAtAll); moved != 1 || err != nil {
		t.Fatal(moved, err)
	}
	slow := time.Since(began)
	t.Logf("a batch takes %v beside %d rows that cannot be cleaned up; from the beginning %v", fast, *deadRows, slow)
	if held.at < int64(*deadRows) {
		t.Errorf("the floor is %d: a batch steps over what has left the queue", held.at)
	}
}

// TestOutsiderDelaysNobody leaves transactions of somebody else open for a while: one that has a
// snapshot, one that has written, one that looks at the queue. Every change has its place at once,
// from the first moment to the last: how long they stay open does not matter.
func TestOutsiderDelaysNobody(t *testing.T) {
	c := testCluster(t)
	database := c.newRegistry(t)
	s := c.open(t, "app", database)
	for _, sql := range []string{"SELECT 1 FROM annona.individuals", "SELECT txid_current()", "SELECT count(*) FROM annona.event_queue"} {
		open(t, c.session(t, "postgres", database), sql)
	}
	longest, changes := time.Duration(0), 0
	for end := time.Now().Add(*outsiderTime); time.Now().Before(end); changes++ {
		put(t, s.Store, "p", fmt.Sprint(changes))
		began := time.Now()
		if err := s.Settle(t.Context()); err != nil {
			t.Fatal(causes(err))
		}
		longest = max(longest, time.Since(began))
	}
	checkLog(t, s, changes)
	t.Logf("%d changes in %v; the slowest got its place after %v", changes, *outsiderTime, longest)
}
