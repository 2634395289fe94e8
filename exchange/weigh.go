package exchange

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

// Where a rule of the caller's role asks how many rows a request would release, or how risky it is, the gate finds
// that out when the request begins. What it found holds for all of its pages: an export is not ended by its own
// rows. Nobody else pays for it.

// showsOne are the verbs that show one record at most, and showsNone those that show none.
var (
	showsOne = []annona.Verb{
		annona.VerbGet, annona.VerbLookup, annona.VerbDisclosures, annona.VerbUpdate, annona.VerbReportLifeEvent, annona.VerbWriteCases, annona.VerbTransferCases,
	}
	showsNone = []annona.Verb{annona.VerbTryExport, annona.VerbImport, annona.VerbDecideEligibility, annona.VerbReportEnrollments, annona.VerbCheckEnrolled}
)

// weigh finds out what the rules ask about a request.
func (x *Exchange) weigh(ctx context.Context, g *grounds, q Question) (err error) {
	if q.weighed != nil {
		g.request.Weighed = *q.weighed
		return nil
	}
	asked := g.roles.Asks(&g.request)
	if asked.RowsUpTo > 0 {
		if g.request.Rows, err = x.estimate(ctx, g, q, asked.RowsUpTo); err != nil {
			return err
		}
	}
	if asked.Risk && x.Uses != nil {
		habits, err := x.habitsOf(ctx, g.request.Caller.Client, g.request.At)
		if err != nil {
			return err
		}
		g.request.Risk = policy.WeighRisk(&g.request, habits)
	}
	return nil
}

// estimate is how many rows a request would release. Beyond enough it stops counting.
func (x *Exchange) estimate(ctx context.Context, g *grounds, q Question, enough int64) (annona.Estimate, error) {
	switch verb := g.request.Verb; {
	case slices.Contains(showsNone, verb):
		return atMost(0), nil
	case slices.Contains(showsOne, verb):
		return atMost(1), nil
	case q.atMost.Known:
		return q.atMost, nil
	case verb == annona.VerbExport:
		return x.estimateExport(ctx, g, q, enough)
	}
	return annona.Estimate{}, nil
}

func atMost[N int | int64](rows N) annona.Estimate {
	return annona.Estimate{Rows: int64(rows), Known: true}
}

// estimateExport counts what an export would hold if nobody minded how much that is: rows that the caller may see,
// when they ask for few. So a refusal because of it tells of no other row.
func (x *Exchange) estimateExport(ctx context.Context, g *grounds, q Question, enough int64) (none annona.Estimate, err error) {
	at := g.request
	at.Supposing = true
	grant, err := policy.Decide(g.terms, g.roles, at)
	if annona.KindOf(err) == annona.KindForbidden {
		return none, nil // so it will be, whatever the number
	}
	if err != nil {
		return none, err
	}
	i, err := x.narrow(grant, at.Caller, at.Verb, q)
	if err != nil {
		return none, err
	}
	rows, err := x.countRows(ctx, i.scope(&annona.Shape{Dataset: i.shape.Dataset}, at.Today), enough)
	return annona.Estimate{Rows: min(rows, enough), Known: err == nil}, err
}

// The details of an entry that say what was found out about a request.
const (
	detailRows    = "rows"
	detailRisk    = "risk"
	detailFactors = "risk_factors"
)

func withWeighed(details map[string]string, w *annona.Weighed) map[string]string {
	if w.Rows.Known {
		details = withDetail(details, detailRows, strconv.FormatInt(w.Rows.Rows, 10))
	}
	if w.Risk.Level != "" {
		details = withDetail(details, detailRisk, w.Risk.Level)
	}
	if len(w.Risk.Factors) > 0 {
		details = withDetail(details, detailFactors, strings.Join(w.Risk.Factors, " "))
	}
	return details
}

// Habits are noted with uses, and written with them. They are counts for each day, so that nodes add to the
// same ones.

// habit is what counts are kept by.
type habit struct {
	client annona.UID
	day    annona.Date
	kind   annona.HabitKind
	value  string
}

// readHabits is what the store had of a client, lately.
type readHabits struct {
	all []annona.Habit
	at  time.Time
}

const (
	habitsLife = time.Minute // of what was read
	maxHabits  = 10_000      // noted, or clients remembered, at once
)

// visitAt is one request of a client, in the respects in which it has habits.
func (x *Exchange) visitAt(caller annona.Caller, now time.Time) [2]habit {
	at := now.In(x.Zone)
	day := annona.DateOf(at)
	return [2]habit{
		{caller.Client, day, annona.HabitNetwork, policy.NetworkOf(caller.Network)},
		{caller.Client, day, annona.HabitHour, strconv.Itoa(at.Hour())},
	}
}

// sees notes that a client was let do something. Whoever calls it holds the uses.
func (u *uses) sees(visit [2]habit) {
	for _, h := range visit {
		u.add(h, 1)
	}
}

func (u *uses) add(h habit, n int64) {
	if u.habits == nil {
		u.habits = map[habit]int64{}
	}
	if _, noted := u.habits[h]; noted || len(u.habits) < maxHabits {
		u.habits[h] += n
	}
}

// releases notes rows that go to a client.
func (x *Exchange) releases(i *inquiry, rows int64) {
	if x.Uses == nil {
		return
	}
	h := habit{i.caller.Client, x.today(x.Clock()), annona.HabitRows, "all"}
	x.uses.mu.Lock()
	defer x.uses.mu.Unlock()
	x.uses.add(h, rows)
}

// habitsOf returns what a client did until now: as the store had it within the last minute, and what this node
// has noted since it was written.
func (x *Exchange) habitsOf(ctx context.Context, client annona.UID, now time.Time) ([]annona.Habit, error) {
	stored, err := x.storedHabits(ctx, client, now)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(stored)
	x.uses.mu.Lock()
	defer x.uses.mu.Unlock()
	for h, n := range x.uses.habits {
		if h.client == client {
			all = append(all, annona.Habit{Client: client, Day: h.day, Kind: h.kind, Value: h.value, Count: n})
		}
	}
	return totals(all), nil
}

func (x *Exchange) storedHabits(ctx context.Context, client annona.UID, now time.Time) ([]annona.Habit, error) {
	x.uses.mu.Lock()
	r, known := x.uses.read[client]
	x.uses.mu.Unlock()
	if age := now.Sub(r.at); known && age >= 0 && age < habitsLife {
		return r.all, nil
	}
	all, err := x.Uses.HabitsOf(ctx, client)
	if err != nil {
		return nil, err
	}
	x.uses.mu.Lock()
	defer x.uses.mu.Unlock()
	if x.uses.read == nil || len(x.uses.read) >= maxHabits {
		x.uses.read = map[annona.UID]readHabits{}
	}
	x.uses.read[client] = readHabits{all, now}
	return all, nil
}

// totals puts counts of the same together, in order.
func totals(habits []annona.Habit) (all []annona.Habit) {
	slices.SortFunc(habits, func(a, b annona.Habit) int {
		return cmp.Or(bytes.Compare(a.Client[:], b.Client[:]), cmp.Compare(a.Day, b.Day), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	for _, h := range habits {
		last := len(all) - 1
		if last >= 0 && all[last].Client == h.Client && all[last].Day == h.Day && all[last].Kind == h.Kind && all[last].Value == h.Value {
			all[last].Count += h.Count
			continue
		}
		all = append(all, h)
	}
	return all
}

// keepHabits writes what is noted of habits, and forgets days that no request is weighed by any more. What cannot
// be written is lost.
func (x *Exchange) keepHabits(ctx context.Context) error {
	x.uses.mu.Lock()
	noted := x.uses.habits
	x.uses.habits, x.uses.read = nil, nil
	x.uses.mu.Unlock()
	if len(noted) == 0 {
		return nil
	}
	all := make([]annona.Habit, 0, len(noted))
	for h, n := range noted {
		all = append(all, annona.Habit{Client: h.client, Day: h.day, Kind: h.kind, Value: h.value, Count: n})
	}
	return x.Uses.AddHabits(ctx, totals(all), x.today(x.Clock().AddDate(0, 0, -policy.HabitDays)))
}
