package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annona-exchange/annona"
)

// testUses keeps when a client last used what it is granted: the later time of several nodes, in order.
func testUses(t *testing.T, r *registry) {
	client, other := annona.NewUID(), annona.NewUID()
	at := Clock().UTC().Truncate(time.Second)
	use := func(verb annona.Verb, dataset, field string, after time.Duration) annona.Use {
		return annona.Use{Client: client, Verb: verb, Purpose: "care", Dataset: dataset, Field: field, At: at.Add(after)}
	}
	write := func(uses ...annona.Use) {
		t.Helper()
		if err := r.PutUses(r.ctx, uses); err != nil {
			t.Error(err)
		}
	}
	read := func(want ...annona.Use) {
		t.Helper()
		got, err := r.UsesOf(r.ctx, client)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	read()
	write()
	write(use(annona.VerbGet, "individuals", "", 0), use(annona.VerbGet, "individuals", "sex", 0), use(annona.VerbImport, "", "", 0))
	write(annona.Use{Client: other, Verb: annona.VerbGet, At: at})
	var nodes sync.WaitGroup
	for n := range 5 { // the later time stays, whoever comes last
		nodes.Go(func() {
			write(use(annona.VerbGet, "individuals", "", time.Duration(n)*time.Hour), use(annona.VerbSearch, "households", "", time.Duration(-n)*time.Hour))
		})
	}
	nodes.Wait()
	read(use(annona.VerbGet, "individuals", "", 4*time.Hour), use(annona.VerbGet, "individuals", "sex", 0), use(annona.VerbImport, "", "", 0), use(annona.VerbSearch, "households", "", 0))
}

// testHabits adds up what clients did day by day, of several nodes, in order, and forgets the days before one.
func testHabits(t *testing.T, r *registry) {
	client, other := annona.NewUID(), annona.NewUID()
	habit := func(of annona.UID, day annona.Date, kind annona.HabitKind, value string, count int64) annona.Habit {
		return annona.Habit{Client: of, Day: day, Kind: kind, Value: value, Count: count}
	}
	write := func(forget annona.Date, habits ...annona.Habit) {
		t.Helper()
		if err := r.AddHabits(r.ctx, habits, forget); err != nil {
			t.Error(err)
		}
	}
	read := func(want ...annona.Habit) {
		t.Helper()
		got, err := r.HabitsOf(r.ctx, client)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	read()
	write("2031-01-01", habit(client, "2031-04-08", annona.HabitHour, "9", 2), habit(client, "2031-04-08", annona.HabitRows, "all", 1<<40), habit(other, "2031-04-08", annona.HabitHour, "9", 7))
	var nodes sync.WaitGroup
	for range 5 {
		nodes.Go(func() {
			write("2031-01-01", habit(client, "2031-04-07", annona.HabitNetwork, "192.0.2.0/24", 1), habit(client, "2031-04-08", annona.HabitHour, "9", 1))
		})
	}
	nodes.Wait()
	read(habit(client, "2031-04-07", annona.HabitNetwork, "192.0.2.0/24", 5), habit(client, "2031-04-08", annona.HabitHour, "9", 7), habit(client, "2031-04-08", annona.HabitRows, "all", 1<<40))
	write("2031-04-08", habit(client, "2031-04-09", annona.HabitHour, "9", 1))
	read(habit(client, "2031-04-08", annona.HabitHour, "9", 7), habit(client, "2031-04-08", annona.HabitRows, "all", 1<<40), habit(client, "2031-04-09", annona.HabitHour, "9", 1))
}
