package policy_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/policy"
)

func rowsOf(n int64) annona.Weighed {
	return annona.Weighed{Rows: annona.Estimate{Rows: n, Known: true}}
}

func riskOf(level string) annona.Weighed { return annona.Weighed{Risk: annona.Risk{Level: level}} }

// While a fact is not known, a rule that allows does not hold and one that denies does: unless they would,
// or would not, whatever the fact is. What a gate supposes is the other way round.
func TestNobodyGainsByWhatIsNotKnown(t *testing.T) {
	for _, c := range []struct {
		when             string
		weighed          annona.Weighed
		allowed, denied  bool
		supposed, spared bool // allowed, and not denied, when it is supposed
	}{
		{when: "request.rows <= 100", weighed: rowsOf(100), allowed: true, denied: true, supposed: true},
		{when: "request.rows <= 100", weighed: rowsOf(101), spared: true},
		{when: "request.rows <= 100", denied: true, supposed: true, spared: true},
		{when: "!(request.rows > 100)", denied: true, supposed: true, spared: true},
		{when: "request.rows in [1, 2]", denied: true, supposed: true, spared: true},
		{when: "request.rows <= 100 || request.hour == 9", allowed: true, denied: true, supposed: true},
		{when: "request.rows <= 100 && request.hour == 8", spared: true},
		{when: "has(request.rows) && request.rows > 100", spared: true},
		{when: "!has(request.rows) || request.rows <= 100", allowed: true, denied: true, supposed: true},
		{when: "request.risk != 'high'", weighed: riskOf(annona.RiskMedium), allowed: true, denied: true, supposed: true},
		{when: "request.risk != 'high'", weighed: riskOf(annona.RiskHigh), spared: true},
		{when: "request.risk != 'high'", denied: true, supposed: true, spared: true},
		{when: "!(request.risk in ['low', 'medium'])", denied: true, supposed: true, spared: true},
	} {
		r := inOffice()
		r.Weighed = c.weighed
		allows := annona.RoleRule{Name: "reads", When: c.when}
		denies := annona.RoleRule{Name: "no", Deny: true, When: c.when}
		_, err := decideIn(t, r, allows)
		_, denied := decideIn(t, r, annona.RoleRule{Name: "reads"}, denies)
		if (err == nil) != c.allowed || (denied != nil) != c.denied {
			t.Errorf("%s, %+v: as a rule that allows %v, as one that denies %v", c.when, c.weighed, err, denied)
		}
		r.Supposing = true
		_, err = decideIn(t, r, allows)
		_, denied = decideIn(t, r, annona.RoleRule{Name: "reads"}, denies)
		if (err == nil) != c.supposed || (denied == nil) != c.spared {
			t.Errorf("%s, %+v supposed: as a rule that allows %v, as one that denies %v", c.when, c.weighed, err, denied)
		}
	}
}

// Either fact alone turns the permit into a denial.
func TestOneFactorOfWhatIsWeighed(t *testing.T) {
	rule := annona.RoleRule{Name: "reads", When: "request.rows <= 500 && request.risk != 'high'"}
	good := inOffice()
	good.Weighed = annona.Weighed{Rows: annona.Estimate{Rows: 500, Known: true}, Risk: annona.Risk{Level: annona.RiskMedium}}
	g, err := decideIn(t, good, rule)
	if err != nil || g.Decision.Weighed == nil || g.Decision.Weighed.Risk.Level != annona.RiskMedium {
		t.Fatalf("the request that all others differ from: %+v %v", g, err)
	}
	for name, change := range map[string]func(*policy.Request){
		"a row more":    func(r *policy.Request) { r.Rows.Rows++ },
		"nobody counts": func(r *policy.Request) { r.Rows.Known = false },
		"high risk":     func(r *policy.Request) { r.Risk.Level = annona.RiskHigh },
		"no risk known": func(r *policy.Request) { r.Risk = annona.Risk{} },
	} {
		r := good
		change(&r)
		if _, err := decideIn(t, r, rule); annona.CodeOf(err) != "role_not_granted" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A gate is asked for what a rule that can be about the request needs, and for no more.
func TestWhatRulesAskAbout(t *testing.T) {
	for _, c := range []struct {
		rules []annona.RoleRule
		want  policy.Asked
	}{
		{[]annona.RoleRule{{Name: "a", When: "request.hour > 1"}}, policy.Asked{}},
		{[]annona.RoleRule{{Name: "a", When: "has(request.rows)"}}, policy.Asked{RowsUpTo: 1}},
		{[]annona.RoleRule{{Name: "a", When: "request.rows in [5, 300]"}, {Name: "b", When: "request.rows < 20"}}, policy.Asked{RowsUpTo: 301}},
		{[]annona.RoleRule{{Name: "a", When: "request.rows <= 20 || request.risk == 'low'"}}, policy.Asked{RowsUpTo: 21, Risk: true}},
		{[]annona.RoleRule{{Name: "a", Verbs: []annona.Verb{annona.VerbGet}, When: "request.risk == 'low'"}, {Name: "b"}}, policy.Asked{}},
	} {
		r := inOffice()
		if got := roles(t, office(c.rules...)).Asks(&r); got != c.want {
			t.Errorf("%+v: %+v", c.rules, got)
		}
		as := r
		as.Role, as.Person = annona.RolePartner, []string{"office"}
		if got := roles(t, office(c.rules...)).Asks(&as); got != c.want {
			t.Errorf("%+v, of a person: %+v", c.rules, got)
		}
	}
}

func TestARiskIsComparedWithARisk(t *testing.T) {
	for _, when := range []string{"request.risk < 'high'", "request.risk == 'hihg'", "request.risk in ['low', 'none']"} {
		p := office(annona.RoleRule{Name: "a", When: when})
		if _, err := policy.CompilePolicy(&p, annona.Standard()); annona.CodeOf(err) != "policy_malformed" {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// An explanation says which fact is missing, also of a rule that denies because of that.
func TestExplanationsNameWhatIsNotKnown(t *testing.T) {
	a := agreement()
	compiled, err := policy.Compile(&a, annona.Standard())
	if err != nil {
		t.Fatal(err)
	}
	r := inOffice()
	e := policy.Explain(compiled, roles(t, office(
		annona.RoleRule{Name: "few", When: "request.rows < 5"}, annona.RoleRule{Name: "no", Deny: true, When: "request.risk == 'high'"},
		annona.RoleRule{Name: "gets", Verbs: []annona.Verb{annona.VerbGet}, When: "request.rows < 5"},
	)), r)
	if few := e.Rules[0]; few.Holds || few.Misses != "not known" || !slices.Equal(few.Unknown, []string{"rows"}) {
		t.Errorf("%+v", few)
	}
	if no := e.Rules[1]; !no.Holds || !slices.Equal(no.Unknown, []string{"risk"}) {
		t.Errorf("%+v", no)
	}
	if gets := e.Rules[2]; gets.Misses != "verb" || gets.Unknown != nil {
		t.Errorf("%+v", gets)
	}
}

// usual are the habits of a client that comes at half past nine from one network and gets 500 rows a day.
func usual(days int) (habits []annona.Habit) {
	for n := 1; n <= days; n++ {
		day := annona.DateOf(inOffice().At.AddDate(0, 0, -n))
		habits = append(habits,
			annona.Habit{Day: day, Kind: annona.HabitHour, Value: "9", Count: 3}, annona.Habit{Day: day, Kind: annona.HabitNetwork, Value: "192.0.2.0/24", Count: 3},
			annona.Habit{Day: day, Kind: annona.HabitRows, Value: "all", Count: 500})
	}
	return habits
}

func TestRiskIsCounted(t *testing.T) {
	calm := inOffice()
	calm.Caller.Strength, calm.Weighed = annona.StrengthOAuth, rowsOf(400)
	calm.Today = annona.DateOf(calm.At)
	acting := func(r *policy.Request, how annona.Assurance, ago time.Duration) {
		r.Caller.Acting = annona.SignedIn{Person: annona.NewUID(), Assurance: how, At: r.At.Add(-ago)}
	}
	for name, c := range map[string]struct {
		days   int
		more   []annona.Habit
		change func(*policy.Request)
		want   annona.Risk
	}{
		"as always":                    {days: 10, want: annona.Risk{Level: "low"}},
		"another network":              {days: 1, change: func(r *policy.Request) { r.Caller.Network = netip.MustParseAddr("198.51.100.7") }, want: annona.Risk{Level: "medium", Factors: []string{"network"}}},
		"the neighbor's address":       {days: 10, change: func(r *policy.Request) { r.Caller.Network = netip.MustParseAddr("192.0.2.200") }, want: annona.Risk{Level: "low"}},
		"a client without habits":      {change: func(r *policy.Request) { r.Caller.Network = netip.MustParseAddr("198.51.100.7") }, want: annona.Risk{Level: "low"}},
		"a network of today is as new": {days: 10, more: []annona.Habit{{Day: calm.Today, Kind: annona.HabitNetwork, Value: "198.51.100.0/24"}}, change: func(r *policy.Request) { r.Caller.Network = netip.MustParseAddr("198.51.100.7") }, want: annona.Risk{Level: "medium", Factors: []string{"network"}}},
		"habits of long ago":           {more: []annona.Habit{{Day: annona.DateOf(calm.At.AddDate(0, 0, -31)), Kind: annona.HabitNetwork, Value: "198.51.100.0/24"}}, want: annona.Risk{Level: "low"}},
		"an hour later":                {days: 10, change: func(r *policy.Request) { r.At = r.At.Add(time.Hour) }, want: annona.Risk{Level: "low"}},
		"an hour before":               {days: 10, change: func(r *policy.Request) { r.At = r.At.Add(-time.Hour) }, want: annona.Risk{Level: "low"}},
		"two hours later":              {days: 10, change: func(r *policy.Request) { r.At = r.At.Add(2 * time.Hour) }, want: annona.Risk{Level: "medium", Factors: []string{"hour"}}},
		"two hours later, a new one":   {days: 6, change: func(r *policy.Request) { r.At = r.At.Add(2 * time.Hour) }, want: annona.Risk{Level: "low"}},
		"as much as ever":              {days: 10, change: func(r *policy.Request) { r.Rows.Rows = 1500 }, want: annona.Risk{Level: "low"}},
		"more than ever":               {days: 10, change: func(r *policy.Request) { r.Rows.Rows = 1501 }, want: annona.Risk{Level: "medium", Factors: []string{"volume"}}},
		"more, with today's":           {days: 10, more: []annona.Habit{{Day: calm.Today, Kind: annona.HabitRows, Value: "all", Count: 1101}}, want: annona.Risk{Level: "medium", Factors: []string{"volume"}}},
		"a plain key":                  {days: 10, change: func(r *policy.Request) { r.Caller.Strength = annona.StrengthAPIKey }, want: annona.Risk{Level: "medium", Factors: []string{"sign_in"}}},
		"a person":                     {days: 10, change: func(r *policy.Request) { acting(r, annona.AssuranceTwoFactors, time.Hour) }, want: annona.Risk{Level: "low"}},
		"a sign-in of long ago":        {days: 10, change: func(r *policy.Request) { acting(r, annona.AssurancePasskey, 61*time.Minute) }, want: annona.Risk{Level: "medium", Factors: []string{"sign_in"}}},
		"a sign-in elsewhere":          {days: 10, change: func(r *policy.Request) { acting(r, annona.AssuranceOutside, 0) }, want: annona.Risk{Level: "medium", Factors: []string{"sign_in"}}},
		"two of them": {days: 10, change: func(r *policy.Request) { r.At = r.At.Add(4 * time.Hour); r.Rows.Rows = 5000 },
			want: annona.Risk{Level: "high", Factors: []string{"hour", "volume"}}},
	} {
		r := calm
		if c.change != nil {
			c.change(&r)
		}
		if got := policy.WeighRisk(&r, append(usual(c.days), c.more...)); got.Level != c.want.Level || !slices.Equal(got.Factors, c.want.Factors) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Around midnight an hour has neighbors too, and networks of IPv6 are larger.
func TestHoursAndNetworksOfHabits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		habit, now := rapid.IntRange(0, 23).Draw(t, "habit"), rapid.IntRange(0, 23).Draw(t, "now")
		r := inOffice()
		r.Caller.Strength, r.At = annona.StrengthOAuth, time.Date(2026, 6, 1, now, 30, 0, 0, time.UTC)
		var habits []annona.Habit
		for n := 1; n <= 7; n++ {
			day := annona.DateOf(r.At.AddDate(0, 0, -n))
			habits = append(habits, annona.Habit{Day: day, Kind: annona.HabitNetwork, Value: "192.0.2.0/24"}, annona.Habit{Day: day, Kind: annona.HabitHour, Value: time.Date(2026, 6, 1, habit, 0, 0, 0, time.UTC).Format("15")})
		}
		apart := min((now-habit+24)%24, (habit-now+24)%24)
		if got := policy.WeighRisk(&r, habits); (got.Level == annona.RiskLow) != (apart <= 1) {
			t.Fatalf("a habit of %d o'clock, at %d: %+v", habit, now, got)
		}
	})
	for text, want := range map[string]string{"192.0.2.9": "192.0.2.0/24", "::ffff:192.0.2.9": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48"} {
		if got := policy.NetworkOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got := policy.NetworkOf(netip.Addr{}); got != "none" {
		t.Errorf("no address: %s", got)
	}
}
