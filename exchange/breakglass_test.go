package exchange_test

import (
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/policy"
)

// newEmergency is a registry with somebody who may do nothing but break glass, and somebody who reviews it.
func newEmergency(t *testing.T) (f *factors, reviewer annona.Caller) {
	t.Helper()
	f = newFactors(t, 120)
	f.emergency()
	officer := annona.User{ID: annona.NewUID(), Name: "officer-of-data", Roles: []string{"data-protection-officer"}, Status: annona.UserActive, Version: 1, CreatedAt: f.now}
	f.must(f.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), officer) }))
	return f, annona.Caller{Acting: annona.SignedIn{Person: officer.ID, Assurance: annona.AssuranceTwoFactors, At: f.now}}
}

// emergency leaves the person nothing but to break glass.
func (f *factors) emergency() {
	f.must(f.SetRole(f.t.Context(), operator, f.caller.Client, annona.RolePartner))
	f.person.Roles = []string{"auditor", "emergency"}
	f.put()
}

func (f *factors) breaks() (annona.BreakGlass, error) {
	return f.BreakGlass(f.t.Context(), f.caller, purpose, "flood")
}

func (f *factors) refuses(what string, err error, code string) {
	f.t.Helper()
	if err == nil || codeOf(err) != code {
		f.t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// Somebody who is changed between the look at them and the transaction breaks no glass.
func TestBreakGlassOfSomebodyWhoChangesMeanwhile(t *testing.T) {
	f, _ := newEmergency(t)
	writer := f.Writer
	f.Writer = hooked{writer, func() {
		f.person.Version++
		f.put()
	}}
	_, err := f.breaks()
	f.refuses("meanwhile", err, "approver_not_entitled")
	f.Writer = writer
	f.refuses("behind it", f.ask(), "role_not_granted")
}

// Somebody who may see nothing sees some records in an emergency: for the purpose that they have said,
// through the client that they have said it with, and by verbs that show little. All of it is in the ledger. It
// ends by itself, and there is no second one before somebody else has reviewed the first.
func TestBreakGlass(t *testing.T) {
	f, officer := newEmergency(t)
	f.refuses("before", f.ask(), "role_not_granted")
	g, err := f.breaks()
	f.must(err)
	if g.Until.Sub(g.OpenedAt) != time.Hour || g.Reason != "flood" || g.Person != f.person.ID {
		t.Errorf("opened: %+v", g)
	}
	f.must(f.ask())
	_, err = f.Export(t.Context(), f.caller, f.question, exchange.Form{Format: "csv"})
	f.refuses("an export", err, "role_not_granted")
	_, err = f.Follow(t.Context(), f.caller, f.question, "", 10, 0, exchange.Form{})
	f.refuses("changes", err, "role_not_granted")
	f.question.Purpose = "other"
	f.shows(func(t *annona.Token) { t.Within.Purpose = "" })
	f.refuses("another purpose", f.ask(), "role_not_granted")
	f.question.Purpose = purpose
	f.must(f.ask())
	_, err = f.breaks()
	f.refuses("a second one at once", err, "break_glass_unreviewed")

	list, err := f.ListBreakGlass(t.Context(), officer)
	f.must(err)
	if len(list) != 1 || list[0].ID != g.ID || list[0].Seen != 1 {
		t.Errorf("the officer sees %+v", list)
	}
	f.now = f.now.Add(time.Hour)
	f.caller.Acting.At = f.now
	f.shows(func(t *annona.Token) { t.Hash[2], t.ExpiresAt = 2, f.now.Add(time.Hour) })
	f.refuses("an hour later", f.ask(), "role_not_granted")
	_, err = f.breaks()
	f.refuses("a second one after it", err, "break_glass_unreviewed")

	officer.Acting.At = f.now
	review := func(by annona.Caller, verdict string) error {
		_, err := f.ReviewBreakGlass(t.Context(), by, g.ID.String(), verdict, "seen")
		return err
	}
	f.refuses("a review with no verdict", review(officer, "fine"), "verdict_unknown")
	f.refuses("a review by a machine", review(f.caller, annona.GlassJustified), "approver_is_a_machine")
	f.refuses("a review at the command line", review(operator, annona.GlassJustified), "approver_is_a_machine")
	own := officer
	own.Acting.Person = f.person.ID
	f.person.Roles, f.person.Partner = []string{"data-protection-officer", "emergency"}, ""
	f.put()
	f.refuses("a review of one's own", review(own, annona.GlassJustified), "break_glass_own")
	f.person.Roles, f.person.Partner = []string{"auditor", "emergency"}, "Program"
	f.put()
	f.must(review(officer, annona.GlassUnjustified))
	f.refuses("a second review", review(officer, annona.GlassJustified), "break_glass_reviewed")
	if _, err := f.breaks(); err != nil {
		t.Errorf("after the review: %v", err)
	}

	var acts []string
	released := 0
	for _, e := range f.entries(t) {
		switch {
		case e.Facts == nil:
		case e.Facts.Verb == annona.VerbBreakGlass && e.Facts.Details["act"] != "":
			acts = append(acts, e.Facts.Details["act"])
		case e.Kind == annona.EntryRelease && e.Facts.Details["break_glass"] == g.ID.String():
			released++
		}
	}
	if len(acts) != 3 || acts[0] != "opened" || acts[1] != "unjustified" || released != 2 {
		t.Errorf("the ledger: %q, %d releases", acts, released)
	}
}

// An emergency shows fifty people, each counted once, however often and by however many at once they are asked
// for. Who would be one too many is not shown.
func TestAnEmergencyShowsFifty(t *testing.T) {
	f, _ := newEmergency(t)
	_, err := f.breaks()
	f.must(err)
	f.question.Fields = []string{"individual_id"}
	page, err := f.Search(t.Context(), f.caller, f.question, 40, "", exchange.Form{})
	f.must(err)
	_, err = f.Search(t.Context(), f.caller, f.question, 40, "", exchange.Form{})
	f.must(err)
	_, err = f.Search(t.Context(), f.caller, f.question, 40, page.Next, exchange.Form{})
	f.refuses("forty more", err, "break_glass_seen")
	var shown sync.Map
	var all sync.WaitGroup
	next, err := f.Search(t.Context(), operatorsView(f), f.question, 60, "", exchange.Form{})
	f.must(err)
	for row := range next.Page.Count() {
		id := string(next.Page.Page().Cell(0, row))
		all.Go(func() {
			if _, err := f.Get(t.Context(), f.caller, f.question, id, exchange.Form{}); err == nil {
				shown.Store(id, true)
			} else if codeOf(err) != "break_glass_seen" {
				t.Errorf("one of sixty: %v", err)
			}
		})
	}
	all.Wait()
	count := 0
	shown.Range(func(any, any) bool { count++; return true })
	if count != 50 {
		t.Errorf("of sixty people %d were shown", count)
	}
}

// operatorsView is a client of the same agreement that is in no emergency and sees all.
func operatorsView(f *factors) annona.Caller {
	c := annona.Client{ID: annona.NewUID(), KeyID: "view", Agreement: "program", Hash: []byte{1}, CreatedAt: f.now, ExpiresAt: f.now.Add(time.Hour)}
	f.must(f.CreateClient(f.t.Context(), operator, c))
	return annona.Caller{Client: c.ID, Agreement: "program", Strength: annona.StrengthSenderConstrained}
}

// Each condition of an emergency alone is enough to refuse it, or to end it.
func TestEmergenciesThatAreRefused(t *testing.T) {
	f, officer := newEmergency(t)
	for name, c := range map[string]struct {
		flip func(*factors)
		code string
	}{
		"nobody is acted for":        {func(f *factors) { f.caller.Acting = annona.SignedIn{} }, "role_not_granted"},
		"somebody without the role":  {func(f *factors) { f.person.Roles = []string{"program-officer"}; f.put() }, "role_not_granted"},
		"a sign-in of an hour ago":   {func(f *factors) { f.caller.Acting.At = f.now.Add(-time.Hour) }, "insufficient_user_authentication"},
		"a weak sign-in":             {func(f *factors) { f.caller.Acting.Assurance = annona.AssuranceOutside }, "insufficient_user_authentication"},
		"a purpose of nobody":        {func(f *factors) { f.question.Purpose = "nobody-s" }, "purpose_not_granted"},
		"no purpose":                 {func(f *factors) { f.question.Purpose = "" }, "purpose_missing"},
		"the agreement is suspended": {func(f *factors) { f.amend(func(a *annona.Agreement) { a.Status = "suspended" }) }, "agreement_not_active"},
		"the person is disabled":     {func(f *factors) { f.person.Status = annona.UserDisabled; f.put() }, "invalid_token"},
		"the command line":           {func(f *factors) { f.caller = operator }, "role_not_granted"},
	} {
		f.begin(0)
		f.emergency()
		c.flip(f)
		_, err := f.BreakGlass(t.Context(), f.caller, f.question.Purpose, "flood")
		f.refuses(name, err, c.code)
	}
	f.begin(0)
	f.emergency()
	_, err := f.BreakGlass(t.Context(), f.caller, purpose, "Ama Mensah is in danger")
	f.refuses("a reason in words", err, "reason_malformed")
	g, err := f.breaks()
	f.must(err)
	another := f.caller
	another.Client = operatorsView(f).Client
	f.must(f.SetRole(t.Context(), operator, another.Client, annona.RolePartner))
	another.Token = annona.TokenHash{}
	_, err = f.Get(t.Context(), another, f.question, f.somebody, exchange.Form{})
	f.refuses("through another client", err, "role_not_granted")
	_, err = f.EndBreakGlass(t.Context(), another, g.ID.String())
	f.refuses("the end by another client", err, "not_found")
	if _, err := f.EndBreakGlass(t.Context(), officer, g.ID.String()); err != nil {
		t.Errorf("the end by the officer: %v", err)
	}
	f.refuses("after its end", f.ask(), "role_not_granted")
	f.must(f.apply("desk", f.rule()))
	f.refuses("a client in an emergency role", f.SetRole(t.Context(), operator, f.caller.Client, "emergency"), "role_unknown")
	for name, rule := range map[string]annona.RoleRule{"exports": {Name: "a", Verbs: []annona.Verb{annona.VerbExport}}, "everything": {Name: "a"}} {
		p := policy.Shipped()
		p.Roles = append(p.Roles, annona.Role{Name: "flood", Emergency: true, Rules: []annona.RoleRule{rule}})
		_, err := f.ApplyPolicy(t.Context(), operator, p)
		f.refuses("an emergency role that "+name, err, "policy_malformed")
	}
}

// An emergency that is over between the decision and the release shows nobody.
func TestAnEmergencyThatIsOverMeanwhile(t *testing.T) {
	f, _ := newEmergency(t)
	_, err := f.breaks()
	f.must(err)
	f.must(f.ask())
	f.Writer = hooked{f.Writer, func() { f.now = f.now.Add(time.Hour) }}
	f.refuses("meanwhile", f.ask(), "role_not_granted")
}

// Who ends an emergency of somebody else sees all of them, and who reviews it looks after data protection or approves.
func TestWhoEndsAndReviewsAnEmergency(t *testing.T) {
	f, officer := newEmergency(t)
	g, err := f.breaks()
	f.must(err)
	with := func(role string) annona.Caller {
		u := annona.User{ID: annona.NewUID(), Name: role, Roles: []string{role}, Status: annona.UserActive, Version: 1, CreatedAt: f.now}
		f.must(f.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), u) }))
		return annona.Caller{Acting: annona.SignedIn{Person: u.ID, Assurance: annona.AssuranceTwoFactors, At: f.now}}
	}
	_, err = f.EndBreakGlass(t.Context(), with("case-worker"), g.ID.String())
	f.refuses("the end by a case worker", err, "approver_not_entitled")
	for _, role := range []string{"administrator", "auditor"} {
		_, err = f.ReviewBreakGlass(t.Context(), with(role), g.ID.String(), annona.GlassJustified, "seen")
		f.refuses("the review of who is "+role, err, "approver_not_entitled")
	}
	_, err = f.ReviewBreakGlass(t.Context(), officer, g.ID.String(), annona.GlassJustified, "seen")
	f.must(err)
}
