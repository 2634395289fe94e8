package exchange_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// weighing puts a policy in force in whose role desk some rules hold, and the client into it.
func (r *registry) weighing(t *testing.T, rules ...annona.RoleRule) {
	t.Helper()
	if _, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", rules...)); err != nil {
		t.Fatal(err)
	}
	if err := r.SetRole(t.Context(), operator, r.caller.Client, "desk"); err != nil {
		t.Fatal(err)
	}
}

// A rule about rows is held against what each verb would release: one record, a page, or what an export would
// hold, counted within the caller's sight and filter.
func TestRowsAreEstimated(t *testing.T) {
	r := newRegistry(t, 400)
	r.weighing(t, annona.RoleRule{Name: "few", When: "request.rows <= 100"})
	var to receiver
	if _, err := r.download(t, everybody, &to); codeOf(err) != "role_not_granted" {
		t.Errorf("an export of 400 rows: %v", err)
	}
	few := everybody
	few.Filter = "individual.date_of_birth < '1970-01-01'"
	sent, err := r.download(t, few, &to)
	if err != nil || sent.Rows == 0 || sent.Rows > 100 {
		t.Errorf("an export of few rows: %+v %v", sent, err)
	}
	search := func(limit int) error {
		_, err := r.Search(t.Context(), r.caller, everybody, limit, "", exchange.Form{})
		return err
	}
	if err := search(100); err != nil {
		t.Errorf("a page of 100: %v", err)
	}
	if err := search(101); codeOf(err) != "role_not_granted" {
		t.Errorf("a page of 101: %v", err)
	}
	if _, err := r.Get(t.Context(), r.caller, everybody, to.ids[0], exchange.Form{}); err != nil {
		t.Errorf("one record: %v", err)
	}
	if _, err := r.Follow(t.Context(), r.caller, everybody, "", 101, 0, exchange.Form{}); codeOf(err) != "role_not_granted" {
		t.Errorf("changes of 101: %v", err)
	}
	entries := r.entries(t)
	for _, e := range entries {
		if e.Kind == annona.EntryOutcome && e.Facts.Verb == annona.VerbExport && e.Facts.Details["rows"] == "" {
			t.Errorf("the entry does not say what was estimated: %+v", e.Facts)
		}
	}
}

// A rule that denies because of rows refuses by its name, and what stays allowed is what was allowed.
func TestTooManyRowsAreDenied(t *testing.T) {
	r := newRegistry(t, 200)
	r.weighing(t, annona.RoleRule{Name: "reads"}, annona.RoleRule{Name: "no-bulk", Deny: true, Verbs: []annona.Verb{annona.VerbExport}, When: "request.rows >= 200"})
	var to receiver
	if _, err := r.download(t, everybody, &to); codeOf(err) != "role_denies" {
		t.Errorf("all 200: %v", err)
	}
	most := everybody
	most.Filter = "individual.sex == 'female'"
	if _, err := r.download(t, most, &to); err != nil {
		t.Errorf("fewer: %v", err)
	}
}

// Two worlds that differ only in whom the caller may not see give the same answer, whatever a rule says of rows: those
// out of its sight are not counted.
func TestRowsOutOfSightAreNotCounted(t *testing.T) {
	sight := annona.RoleRule{
		Name: "women", When: "request.rows <= 70",
		Datasets: map[string]annona.DatasetTerms{"individuals": {Condition: "individual.sex == 'female'"}},
	}
	answers := map[string]bool{}
	for _, hidden := range []int{0, 1} {
		r := newRegistry(t, 120)
		all, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "sex"}}, 120, "", exchange.Form{})
		check(t, err)
		women := 0
		for row := range all.Page.Count() {
			if string(all.Page.Page().Cell(1, row)) == "female" {
				women++
			} else if hidden == 1 { // in this world nobody else is there
				_, err := r.Restrict(t.Context(), operator, exchange.Subject{ID: string(all.Page.Page().Cell(0, row)), Realm: "program"}, annona.Restriction{Kind: annona.KindRestriction, EffectiveDate: "2020-01-01"})
				check(t, err)
			}
		}
		if women == 0 || women > 70 || all.Page.Count() <= 70 {
			t.Fatalf("%d of %d are women: the test needs fewer than the rule says, and more in all", women, all.Page.Count())
		}
		r.weighing(t, sight)
		var to receiver
		sent, err := r.download(t, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"date_of_birth"}}, &to) // the ids of each world are its own
		if err != nil || sent.Rows != int64(women) {
			t.Errorf("world %d: %d rows of %d: %v", hidden, sent.Rows, women, err)
		}
		answers[strings.Join(to.ids, " ")] = true
	}
	if len(answers) != 1 {
		t.Errorf("the worlds give %d answers", len(answers))
	}
}

// weighted is a registry with habits, at a moment that a test moves.
func weighted(t *testing.T, individuals int) (r *registry, now *time.Time) {
	t.Helper()
	r = newRegistry(t, individuals)
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(10 * time.Hour)
	r.Uses, r.Clock = r.store, func() time.Time { return at }
	r.caller.Strength, r.caller.Network = annona.StrengthOAuth, netip.MustParseAddr("192.0.2.7")
	return r, &at
}

// The gate learns what is usual from what clients are let do, on whichever node, and says what is not.
func TestTheGateKnowsHabits(t *testing.T) {
	r, now := weighted(t, 30)
	r.weighing(t, annona.RoleRule{Name: "calm", When: "request.risk == 'low'"})
	search := func(x *exchange.Exchange) (*exchange.Answer, error) {
		return x.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{})
	}
	works := func(x *exchange.Exchange, what string) {
		t.Helper()
		if _, err := search(x); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	denies := func(x *exchange.Exchange, what string) {
		t.Helper()
		if _, err := search(x); codeOf(err) != "role_not_granted" {
			t.Errorf("%s: %v", what, err)
		}
	}
	works(r.Exchange, "a client without habits")
	check(t, r.KeepUses(t.Context()))
	*now = now.AddDate(0, 0, 1)
	other := exchange.New(r.Config) // another node
	works(other, "the next day")
	home := r.caller.Network
	r.caller.Network = netip.MustParseAddr("198.51.100.7")
	denies(other, "from another network")
	denies(r.Exchange, "from another network, at the node that saw it all")
	r.caller.Network = home
	for range 7 {
		check(t, r.KeepUses(t.Context()))
		check(t, other.KeepUses(t.Context()))
		*now = now.AddDate(0, 0, 1)
		works(other, "day by day")
	}
	*now = now.Add(-5 * time.Hour)
	denies(other, "at an hour that is not usual")
	*now = now.Add(5 * time.Hour)
	works(other, "back at the usual hour")
	e, err := other.Explain(t.Context(), operator, annona.Caller{Client: r.caller.Client, Strength: annona.StrengthAPIKey, Network: netip.MustParseAddr("198.51.100.7")}, exchange.Asked{Verb: annona.VerbSearch, Dataset: "individuals", Purpose: purpose})
	if err != nil || e.Weighed.Risk.Level != annona.RiskHigh || strings.Join(e.Weighed.Risk.Factors, " ") != "network sign_in" {
		t.Errorf("explained: %+v %v", e, err)
	}
	answer, err := search(other)
	check(t, err)
	d, err := other.Decision(t.Context(), r.caller, answer.Request)
	if err != nil || d.Risk != annona.RiskLow || len(d.RiskFactors) > 0 || d.Rows != "" {
		t.Errorf("the decision: %+v %v", d, err)
	}
	*now = now.AddDate(0, 2, 0)
	r.caller.Network = netip.MustParseAddr("203.0.113.7")
	works(other, "two months later everything is forgotten")
	check(t, other.KeepUses(t.Context()))
	if left, err := r.store.HabitsOf(t.Context(), r.caller.Client); err != nil || len(left) == 0 || left[0].Day < annona.DateOf(now.AddDate(0, 0, -30)) {
		t.Errorf("what is left of habits: %+v %v", left, err)
	}
}

// What a node has noted of a client and not written yet is as usual as what it has written.
func TestHabitsCountBeforeTheyAreWritten(t *testing.T) {
	r, now := weighted(t, 30)
	r.weighing(t, annona.RoleRule{Name: "calm", When: "request.risk == 'low'"})
	search := func() error {
		_, err := r.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{})
		return err
	}
	check(t, search())
	*now = now.AddDate(0, 0, 1)
	r.caller.Network = netip.MustParseAddr("198.51.100.7")
	if err := search(); codeOf(err) != "role_not_granted" {
		t.Errorf("from another network than the day before: %v", err)
	}
}

// Rows that a client got earlier on the day make the next ones unusual, page by page and on whichever node.
func TestRowsOfTheDayAddUp(t *testing.T) {
	r, now := weighted(t, 300)
	r.weighing(t, annona.RoleRule{Name: "calm", When: "request.risk == 'low'"})
	search := func(x *exchange.Exchange, limit int) error {
		_, err := x.Search(t.Context(), r.caller, everybody, limit, "", exchange.Form{})
		return err
	}
	for range 7 {
		check(t, search(r.Exchange, 5))
		*now = now.AddDate(0, 0, 1)
	}
	for range 4 {
		check(t, search(r.Exchange, 300))
	}
	if err := search(r.Exchange, 5); codeOf(err) != "role_not_granted" {
		t.Errorf("behind 1,200 rows of one day, where 5 are usual: %v", err)
	}
	check(t, r.KeepUses(t.Context()))
	if err := search(exchange.New(r.Config), 5); codeOf(err) != "role_not_granted" {
		t.Errorf("at another node: %v", err)
	}
	*now = now.AddDate(0, 0, 1)
	check(t, search(r.Exchange, 5))
}

// Where nobody keeps habits, and where the store does not tell them, no risk is low.
func TestNoHabitsNoRisk(t *testing.T) {
	r, _ := weighted(t, 30)
	r.weighing(t, annona.RoleRule{Name: "calm", When: "request.risk == 'low'"})
	r.Uses = nil
	if _, err := r.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{}); codeOf(err) != "role_not_granted" {
		t.Errorf("nobody keeps habits: %v", err)
	}
	r.Uses = habitless{r.store}
	if _, err := r.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{}); err == nil || annona.KindOf(err) == annona.KindForbidden {
		t.Errorf("the store does not tell them: %v", err)
	}
}

// What was found out when an export began holds until it ends: its own rows, and the hour that comes, end nothing.
// What nobody had asked about is not known later, and ends it.
func TestAnExportIsWeighedOnce(t *testing.T) {
	r, now := weighted(t, 3000)
	r.weighing(t, annona.RoleRule{Name: "calm", When: "request.risk == 'low' && request.rows <= 3000"})
	for range 8 {
		if _, err := r.Search(t.Context(), r.caller, everybody, 300, "", exchange.Form{}); err != nil {
			t.Fatal(err)
		}
		check(t, r.KeepUses(t.Context()))
		*now = now.AddDate(0, 0, 1)
	}
	to := receiver{onPage: func(n int) error {
		*now = now.Add(5 * time.Hour)
		return nil
	}}
	some := everybody
	some.Filter = "individual.date_of_birth >= '2000-01-01'"
	sent, err := r.download(t, everybody, &to)
	if codeOf(err) != "role_not_granted" {
		t.Errorf("all of them, ten times as many as ever: %d rows, %v", sent.Rows, err)
	}
	*now = now.Truncate(24 * time.Hour).Add(10 * time.Hour)
	some.Filter = "individual.date_of_birth >= '2018-01-01'"
	if sent, err = r.download(t, some, &to); err != nil || !to.ended {
		t.Errorf("some of them, into the night: %d rows, %v", sent.Rows, err)
	}
	_, outcomes := r.released(t)
	if last := outcomes[len(outcomes)-1]; last.Outcome != audit.Complete || last.Details["risk"] != annona.RiskLow {
		t.Errorf("the outcome: %+v", last)
	}
	r.weighing(t, annona.RoleRule{Name: "all"})
	to = receiver{onPage: func(n int) error {
		if n == 1 {
			r.weighing(t, annona.RoleRule{Name: "all", When: "request.rows <= 1000000"})
		}
		return nil
	}}
	if _, err := r.download(t, everybody, &to); codeOf(err) != "role_not_granted" || to.ended {
		t.Errorf("a rule that asks what was not found out: %v", err)
	}
}

// habitless keeps uses and tells no habits.
type habitless struct{ annona.Uses }

func (habitless) HabitsOf(ctx context.Context, _ annona.UID) ([]annona.Habit, error) {
	return nil, errSilent
}
