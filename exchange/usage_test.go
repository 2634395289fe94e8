package exchange_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// auditable is a registry at a moment, whose uses are kept.
func auditable(t *testing.T) (r *registry, now *time.Time) {
	r = newRegistry(t, 20)
	at := time.Now().UTC().Truncate(time.Second)
	r.Uses, r.Approvals, r.Clock = r.store, r.store, func() time.Time { return at }
	return r, &at
}

func usageOf(t *testing.T, r *registry, x *exchange.Exchange, days int) *exchange.ClientUsage {
	t.Helper()
	u, err := x.Usage(t.Context(), operator, r.caller.Client.String(), days)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func lastUsed(u *exchange.ClientUsage, verb annona.Verb, dataset string) (at time.Time, granted bool) {
	i := slices.IndexFunc(u.Verbs, func(v exchange.GrantedVerb) bool {
		return v.Verb == verb && v.Dataset == dataset && v.Purpose == purpose
	})
	if i < 0 {
		return at, false
	}
	return u.Verbs[i].LastUsed, true
}

func lastShown(u *exchange.ClientUsage, dataset, field string) (at time.Time, granted bool) {
	i := slices.IndexFunc(u.Fields, func(f exchange.GrantedField) bool { return f.Dataset == dataset && f.Field == field })
	if i < 0 {
		return at, false
	}
	return u.Fields[i].LastUsed, true
}

// What a client has used stands beside what it is granted, of two nodes together, once it is written.
func TestUsedBesideGranted(t *testing.T) {
	r, now := auditable(t)
	other := exchange.New(r.Config)
	began := *now
	search := func(x *exchange.Exchange, q exchange.Question) {
		t.Helper()
		if _, err := x.Search(t.Context(), r.caller, q, 5, "", exchange.Form{}); err != nil {
			t.Fatal(err)
		}
	}
	search(r.Exchange, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "sex"}, Filter: "individual.date_of_birth > '1950-01-01'"})
	*now = now.Add(time.Hour)
	search(other, exchange.Question{Dataset: "households", Purpose: purpose, Fields: []string{"household_id", "members.marital_status"}})
	if _, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"ethnic_group"}}, 5, "", exchange.Form{}); annona.KindOf(err) != annona.KindForbidden {
		t.Fatalf("what is not granted: %v", err)
	}
	if u := usageOf(t, r, r.Exchange, 0); !u.LastUsed.IsZero() {
		t.Errorf("used at %v before anything was written", u.LastUsed)
	}
	if err := r.KeepUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.Settle()
	u := usageOf(t, r, r.Exchange, 0)
	if !u.Young || u.Narrowed.Name != "" || u.Revoke || !u.LastUsed.Equal(*now) || u.Days != exchange.DefaultUnused {
		t.Errorf("a young client: %+v", u)
	}
	for _, c := range []struct {
		verb    annona.Verb
		dataset string
		granted bool
		at      time.Time
	}{
		{annona.VerbSearch, "individuals", true, began}, {annona.VerbSearch, "households", true, *now}, {annona.VerbExport, "individuals", true, time.Time{}},
		{annona.VerbReview, "individuals", false, time.Time{}}, {annona.VerbNameSearch, "individuals", false, time.Time{}},
	} {
		if at, granted := lastUsed(u, c.verb, c.dataset); granted != c.granted || !at.Equal(c.at) {
			t.Errorf("%s of %s: granted %v, last used %v", c.verb, c.dataset, granted, at)
		}
	}
	for field, want := range map[string]time.Time{"sex": began, "date_of_birth": began, "marital_status": *now, "education_level": {}} {
		if at, granted := lastShown(u, "individuals", field); !granted || !at.Equal(want) {
			t.Errorf("%s: granted %v, last shown %v", field, granted, at)
		}
	}
	if at, granted := lastShown(u, "households", "members"); !granted || !at.Equal(*now) {
		t.Errorf("members: %v, %v", granted, at)
	}
	if _, granted := lastShown(u, "individuals", "ethnic_group"); granted {
		t.Error("a field is told that is not granted")
	}
}

// What was not used for ninety days is proposed for removal. With that role the client does what it has done, and
// nothing else.
func TestUnusedIsProposedForRemoval(t *testing.T) {
	r, now := auditable(t)
	ask := func(fields ...string) error {
		_, err := r.Search(t.Context(), r.caller, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: fields}, 5, "", exchange.Form{})
		return err
	}
	for _, fields := range [][]string{{"individual_id", "sex"}, {"education_level"}} {
		if err := ask(fields...); err != nil {
			t.Fatal(err)
		}
		r.Settle()
	}
	*now = now.AddDate(0, 0, 60)
	if err := ask("individual_id", "sex"); err != nil {
		t.Fatal(err)
	}
	r.Settle()
	*now = now.AddDate(0, 0, 60)
	u := usageOf(t, r, r.Exchange, 0)
	told := strings.Join(u.Removes, "\n")
	if u.Young || u.Revoke || u.Narrowed.Name == "" || !strings.Contains(told, "export") || !strings.Contains(told, "education_level") || strings.Contains(told, "sex,") || strings.Contains(told, " search") {
		t.Fatalf("%+v\n%s", u.Narrowed, told)
	}
	if _, err := r.ApplyPolicy(t.Context(), operator, u.WithProposal()); err != nil {
		t.Fatal(err)
	}
	if err := r.SetRole(t.Context(), operator, r.caller.Client, u.Narrowed.Name); err != nil {
		t.Fatal(err)
	}
	if err := ask("individual_id", "sex"); err != nil {
		t.Errorf("what was used: %v", err)
	}
	if err := ask("education_level"); annona.CodeOf(err) != "field_not_granted" {
		t.Errorf("a field that was not used: %v", err)
	}
	if _, err := r.Export(t.Context(), r.caller, everybody, exchange.Form{}); annona.CodeOf(err) != "role_not_granted" {
		t.Errorf("a verb that was not used: %v", err)
	}
	again := usageOf(t, r, r.Exchange, 0)
	if len(again.Removes) != 0 {
		t.Errorf("proposed again: %v", again.Removes)
	}
	*now = now.AddDate(0, 0, 100)
	if u := usageOf(t, r, r.Exchange, 0); !u.Revoke || u.Narrowed.Name != "" {
		t.Errorf("a client that nobody uses: %+v", u)
	}
	if u := usageOf(t, r, r.Exchange, 300); u.Revoke || !u.Young {
		t.Errorf("after 300 days: %+v", u)
	}
}

// Whoever is not entitled learns nothing of clients, not even which there are.
func TestWhoSeesUsage(t *testing.T) {
	r, _ := auditable(t)
	for _, id := range []string{r.caller.Client.String(), annona.NewUID().String(), "nonsense"} {
		if _, err := r.Usage(t.Context(), r.caller, id, 0); annona.CodeOf(err) != "approver_is_a_machine" {
			t.Errorf("a client: %v", err)
		}
	}
	for _, id := range []string{annona.NewUID().String(), "nonsense"} {
		if _, err := r.Usage(t.Context(), operator, id, 0); annona.KindOf(err) != annona.KindNotFound {
			t.Errorf("of nobody: %v", err)
		}
	}
	if _, err := r.Usage(t.Context(), operator, r.caller.Client.String(), -1); annona.CodeOf(err) != "days_out_of_range" {
		t.Errorf("for no days: %v", err)
	}
}
