package exchange_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/policy"
)

// narrower is the policy that Annona comes with, and one role more.
func narrower(name string, rules ...annona.RoleRule) annona.Policy {
	p := policy.Shipped()
	p.Roles = append(p.Roles, annona.Role{Name: name, Rules: rules})
	return p
}

// A client comes in a role that the policy in force has, and in none that is for emergencies.
func TestAClientComesInARoleThatIsThere(t *testing.T) {
	r := newRegistry(t, 1)
	for role, code := range map[string]string{"nobody": "role_unknown", "emergency": "role_unknown", "case-worker": ""} {
		c := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: "program", Role: role, Hash: []byte{1}, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
		if err := r.CreateClient(t.Context(), operator, c); (err != nil || code != "") && annona.CodeOf(err) != code {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// An export that runs by itself is decided as it was asked for: with a token that was bound, while the policy wants one.
func TestAnExportKeepsHowItsTokenWasBound(t *testing.T) {
	f := newFactors(t, 5)
	f.rules(func(r *annona.RoleRule) {
		r.Verbs, r.When, r.StepUp = []annona.Verb{annona.VerbExport}, "request.binding == 'key'", nil
	})
	_, _, err := f.PutExportSpec(t.Context(), operator, annona.ExportSpec{Name: "all", Agreement: "program", Purpose: purpose, Dataset: "individuals", Format: "csv", Fields: []annona.SpecField{{Field: "individual_id"}}})
	f.must(err)
	job, _, err := f.StartExport(t.Context(), f.caller, exchange.ExportRequest{Spec: "all"})
	f.must(err)
	if job.Bound != policy.BoundToKey {
		t.Errorf("the export keeps %q", job.Bound)
	}
	if _, err := f.ResumeExport(t.Context(), job); err != nil {
		t.Error(err)
	}
	job.Bound = ""
	if _, err := f.ResumeExport(t.Context(), job); annona.CodeOf(err) != "role_not_granted" {
		t.Errorf("without a bound token: %v", err)
	}
}

// FA-13: a token is given for no more than the agreement grants.
func TestTokensAreForWhatIsGranted(t *testing.T) {
	r := newRegistry(t, 1)
	for name, c := range map[string]struct {
		within annona.Authorization
		code   string
	}{
		"all that is granted": {annona.Authorization{}, ""},
		"less":                {annona.Authorization{Purpose: purpose, Datasets: []string{"individuals"}}, ""},
		"another purpose":     {annona.Authorization{Purpose: "statistics"}, "purpose_not_granted"},
		"another dataset":     {annona.Authorization{Datasets: []string{"individuals", "payments"}}, "dataset_not_granted"},
	} {
		if err := r.AdmitToken(t.Context(), r.caller, c.within); codeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPoliciesAreVersions(t *testing.T) {
	r := newRegistry(t, 10)
	same, err := r.ApplyPolicy(t.Context(), operator, policy.Shipped())
	if err != nil || same.Changed || same.Version != 0 {
		t.Fatalf("what is in force: %+v, %v", same, err)
	}
	first, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}))
	if err != nil || !first.Changed || first.Version != 1 || len(first.Widened) != 1 || first.Widened[0].Role != "desk" {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}))
	if err != nil || again.Changed || again.Version != 1 {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	looked, err := r.ComparePolicy(t.Context(), operator, narrower("desk"))
	if err != nil || !looked.Changed || len(looked.Widened) != 0 {
		t.Errorf("a comparison with less: %+v, %v", looked, err)
	}
	old, err := r.PolicyVersion(t.Context(), operator, 0)
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.ApplyPolicy(t.Context(), operator, *old)
	if err != nil || back.Version != 2 || len(back.Widened) != 0 {
		t.Errorf("rolled back: %+v, %v", back, err)
	}
	all, err := r.Policies(t.Context(), operator)
	if err != nil || len(all) != 3 || all[0].Version != 2 || all[2].Version != 0 || all[0].Hash == all[1].Hash {
		t.Errorf("the versions: %+v, %v", all, err)
	}
	if _, err := r.PolicyVersion(t.Context(), operator, 7); annona.KindOf(err) != annona.KindNotFound {
		t.Errorf("a version that is not there: %v", err)
	}
	entries := 0
	for _, e := range r.entries(t) {
		if e.Facts != nil && e.Facts.Verb == annona.VerbApplyPolicy {
			entries++
			if e.Facts.PolicyVersion != entries || len(e.Facts.Details["hash"]) != 64 {
				t.Errorf("an entry: %+v", e.Facts)
			}
		}
	}
	if entries != 2 {
		t.Errorf("the ledger has %d entries of two policies", entries)
	}
	for name, act := range map[string]func() error{
		"apply":   func() error { _, err := r.ApplyPolicy(t.Context(), r.caller, policy.Shipped()); return err },
		"compare": func() error { _, err := r.ComparePolicy(t.Context(), r.caller, policy.Shipped()); return err },
		"list":    func() error { _, err := r.Policies(t.Context(), r.caller); return err },
		"role":    func() error { return r.SetRole(t.Context(), r.caller, r.caller.Client, "partner") },
	} {
		if err := act(); annona.KindOf(err) != annona.KindForbidden {
			t.Errorf("%s by a client: %v", name, err)
		}
	}
}

// A policy under which somebody who may do something today could do nothing, for want of a role, is refused, and one
// under which nobody could do anything.
func TestAPolicyLocksNobodyOut(t *testing.T) {
	r := newRegistry(t, 10)
	if _, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "reads"})); err != nil {
		t.Fatal(err)
	}
	if err := r.SetRole(t.Context(), operator, r.caller.Client, "clerk"); annona.CodeOf(err) != "role_unknown" {
		t.Errorf("a role that is not there: %v", err)
	}
	if err := r.SetRole(t.Context(), operator, r.caller.Client, "desk"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ApplyPolicy(t.Context(), operator, policy.Shipped()); annona.CodeOf(err) != "role_in_use" || !strings.Contains(err.Error(), "desk") {
		t.Errorf("without the role: %v", err)
	}
	for name, rules := range map[string][]annona.RoleRule{
		"no rule": nil, "only denials": {{Name: "no", Deny: true}}, "rules of former days": {{Name: "reads", ValidUntil: "2020-01-01"}}, "rules of days to come": {{Name: "reads", ValidFrom: "2099-01-01"}},
	} {
		if _, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", rules...)); annona.CodeOf(err) != "policy_locks_out" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.RevokeClient(t.Context(), operator, r.caller.Client); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ApplyPolicy(t.Context(), operator, policy.Shipped()); err != nil {
		t.Errorf("when its last client is revoked: %v", err)
	}
}

// What runs is decided anew by the policy of that moment.
func TestAChangedPolicyEndsARunningExport(t *testing.T) {
	for name, change := range map[string]struct {
		do   func(r *registry) error
		code string
	}{
		"less for its role": {func(r *registry) error {
			p := narrower("desk", annona.RoleRule{Name: "reads"})
			p.Roles[0].Rules = append(p.Roles[0].Rules, annona.RoleRule{Name: "no-women", Deny: true, Datasets: map[string]annona.DatasetTerms{"individuals": {Condition: `individual.sex == "female"`}}})
			_, err := r.ApplyPolicy(t.Context(), operator, p)
			return err
		}, "policy_changed"},
		"another role": {func(r *registry) error {
			_, err := r.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "reads"}))
			return err
		}, ""},
		"a role that may not":     {func(r *registry) error { return r.SetRole(t.Context(), operator, r.caller.Client, "auditor") }, "role_not_granted"},
		"a role that may as much": {func(r *registry) error { return r.SetRole(t.Context(), operator, r.caller.Client, "exporter") }, ""},
	} {
		r := newRegistry(t, 3000)
		to := &receiver{}
		to.onPage = func(n int) error {
			if n == 1 {
				return change.do(r)
			}
			return nil
		}
		if _, err := r.download(t, everybody, to); (err == nil) != (change.code == "") || err != nil && annona.CodeOf(err) != change.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A store that does not say which policy is in force decides nothing.
func TestNoPolicyNoAnswer(t *testing.T) {
	r := newRegistry(t, 10)
	r.Standings = mute{r.Standings}
	r.Remembered = exchange.Remember(r.Standings)
	if _, err := r.download(t, everybody, &receiver{}); annona.KindOf(err) != annona.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

type mute struct{ annona.Standings }

func (mute) Policy(context.Context) (*annona.Policy, error) {
	return nil, annona.Unavailable("store_unavailable", "the store does not answer")
}

// What somebody begins by hand in bulk asks for a fresh sign-in. What has begun goes on, single records
// and machines are asked for none, and an export that runs by itself has been asked for by somebody who was.
func TestBulkByHandAsksForASignIn(t *testing.T) {
	r := newRegistry(t, 3000)
	r.Users = r.store
	person := annona.User{ID: annona.NewUID(), Name: "officer", Partner: "Program", Roles: []string{annona.RolePartner}, Status: annona.UserActive, Version: 1, CreatedAt: time.Now()}
	if err := r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r.Clock = func() time.Time { return now }
	signedIn := func(how annona.Assurance, age time.Duration) annona.SignedIn {
		return annona.SignedIn{Person: person.ID, Assurance: how, At: now.Add(-age)}
	}
	for name, c := range map[string]struct {
		acting annona.SignedIn
		code   string
	}{
		"a machine":            {},
		"two factors, just":    {acting: signedIn(annona.AssuranceTwoFactors, 0)},
		"a passkey, just":      {acting: signedIn(annona.AssurancePasskey, 15*time.Minute)},
		"a passkey, long ago":  {acting: signedIn(annona.AssurancePasskey, 15*time.Minute+time.Second), code: "insufficient_user_authentication"},
		"as another one says":  {acting: signedIn(annona.AssuranceOutside, 0), code: "insufficient_user_authentication"},
		"from tomorrow, oddly": {acting: signedIn(annona.AssurancePasskey, -time.Hour), code: "insufficient_user_authentication"},
	} {
		r.caller.Acting = c.acting
		_, err := r.download(t, everybody, &receiver{})
		if (err == nil) != (c.code == "") || err != nil && annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := r.Search(t.Context(), r.caller, everybody, 10, "", exchange.Form{Format: "json"}); err != nil {
			t.Errorf("%s, a page: %v", name, err)
		}
	}
	r.caller.Acting = signedIn(annona.AssurancePasskey, 0)
	to := &receiver{}
	to.onPage = func(int) error { now = now.Add(20 * time.Minute); return nil }
	if _, err := r.download(t, everybody, to); err != nil {
		t.Errorf("an export that runs: %v", err)
	}
	r.caller.Within = &annona.Authorization{}
	if _, err := r.download(t, everybody, &receiver{}); err != nil {
		t.Errorf("an export that runs by itself: %v", err)
	}
}

// Whoever is kept in the registry acts in their own roles too, from the moment that they are given or taken.
func TestThoseWhoActHaveRoles(t *testing.T) {
	r := newRegistry(t, 50)
	r.Users = r.store
	person := annona.User{ID: annona.NewUID(), Name: "officer", Partner: "Program", Status: annona.UserActive, Version: 1, CreatedAt: time.Now()}
	r.caller.Acting = annona.SignedIn{Person: person.ID, Assurance: annona.AssurancePasskey, At: time.Now()}
	for _, c := range []struct {
		roles        []string
		page, export string // codes of refusals
	}{
		{nil, "role_not_granted", "role_not_granted"},
		{[]string{"administrator"}, "role_not_granted", "role_not_granted"},
		{[]string{"administrator", "program-officer"}, "", "role_not_granted"},
		{[]string{"exporter"}, "role_not_granted", ""},
		{[]string{"exporter", "case-supervisor"}, "", ""},
	} {
		person.Roles = c.roles
		if err := r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }); err != nil {
			t.Fatal(err)
		}
		_, page := r.Search(t.Context(), r.caller, everybody, 10, "", exchange.Form{Format: "json"})
		_, export := r.download(t, everybody, &receiver{})
		for what, got := range map[string][2]string{"a page": {codeOf(page), c.page}, "an export": {codeOf(export), c.export}} {
			if got[0] != got[1] {
				t.Errorf("%s in the roles %q: %q, want %q", what, c.roles, got[0], got[1])
			}
		}
	}
	person.Partner = "Another"
	if err := r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.download(t, everybody, &receiver{}); annona.CodeOf(err) != "person_of_other_partner" {
		t.Errorf("somebody of another partner: %v", err)
	}
}

// Who has signed out everywhere, or was changed, is acted for by nobody with a sign-in of before. What runs by
// itself goes on.
func TestWhatHasEndedActsNoMore(t *testing.T) {
	r := newRegistry(t, 10)
	r.Users = r.store
	now := time.Now().Truncate(time.Millisecond)
	person := annona.User{ID: annona.NewUID(), Name: "officer", Partner: "Program", Roles: []string{annona.RolePartner}, Status: annona.UserActive, Version: 1, CreatedAt: now}
	person.End(now.Add(-time.Minute))
	check(t, r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }))
	for age, code := range map[time.Duration]string{2 * time.Minute: "invalid_token", time.Minute: "invalid_token", 59 * time.Second: ""} {
		r.caller.Acting = annona.SignedIn{Person: person.ID, Assurance: annona.AssurancePasskey, At: now.Add(-age)}
		if _, err := r.Search(t.Context(), r.caller, everybody, 1, "", exchange.Form{}); codeOf(err) != code {
			t.Errorf("a sign-in of %s ago: %v", age, err)
		}
		r.caller.Within = &annona.Authorization{}
		if _, err := r.Search(t.Context(), r.caller, everybody, 1, "", exchange.Form{}); err != nil {
			t.Errorf("what runs by itself since %s ago: %v", age, err)
		}
		r.caller.Within = nil
	}
}

// codeOf returns the code of a refusal; empty: there was none.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return annona.CodeOf(err)
}

// Why something was granted, and with which obligations, is told to the client that asked, to the operator, and to people
// of the registry who look after data protection or audit. Whoever else asks is told nothing.
func TestWhoIsToldWhyARequestWasGranted(t *testing.T) {
	f := newFactors(t, 30)
	f.rules(func(r *annona.RoleRule) {
		r.RowCeiling = 200
		r.Datasets = map[string]annona.DatasetTerms{"individuals": {Fields: []string{"individual_id", "sex", "date_of_birth"}, Treatments: map[string]annona.Treatment{"date_of_birth": annona.TreatYear}}}
	})
	f.question.Fields = []string{"individual_id", "date_of_birth"}
	answer, err := f.Get(t.Context(), f.caller, f.question, f.somebody, exchange.Form{})
	f.must(err)
	signedIn := func(change func(*annona.User)) annona.Caller {
		u := annona.User{ID: annona.NewUID(), Status: annona.UserActive, Version: 1, CreatedAt: f.now}
		u.Name = "p" + u.ID.String()
		change(&u)
		f.must(f.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), u) }))
		return annona.Caller{Acting: annona.SignedIn{Person: u.ID, Assurance: annona.AssuranceTwoFactors, At: f.now}}
	}
	with := func(role string) annona.Caller { return signedIn(func(u *annona.User) { u.Roles = []string{role} }) }
	second := annona.Client{ID: annona.NewUID(), KeyID: annona.NewUID().String(), Agreement: f.caller.Agreement, Hash: []byte{1}, CreatedAt: f.now, ExpiresAt: f.now.Add(time.Hour)}
	f.must(f.CreateClient(t.Context(), operator, second))
	for name, c := range map[string]struct {
		asks annona.Caller
		code string
	}{
		"the client itself":                {f.caller, ""},
		"the operator":                     {operator, ""},
		"who looks after data protection":  {with("data-protection-officer"), ""},
		"who audits":                       {with("auditor"), ""},
		"who administers":                  {with("administrator"), "approver_not_entitled"},
		"who approves":                     {with("approver"), "approver_not_entitled"},
		"an auditor of a partner":          {signedIn(func(u *annona.User) { u.Roles, u.Partner = []string{"auditor"}, "Program" }), "approver_not_entitled"},
		"an auditor whom others vouch for": {signedIn(func(u *annona.User) { u.Roles, u.Provider = []string{"auditor"}, "ministry" }), "approver_not_entitled"},
		"an auditor who is disabled":       {signedIn(func(u *annona.User) { u.Roles, u.Status = []string{"auditor"}, annona.UserDisabled }), "approver_not_entitled"},
		"an auditor until yesterday":       {signedIn(func(u *annona.User) { u.Roles, u.RolesUntil = []string{"auditor"}, "2031-04-07" }), "approver_not_entitled"},
		"nobody":                           {annona.Caller{}, "approver_is_a_machine"},
		"another client":                   {annona.Caller{Client: second.ID, Agreement: f.caller.Agreement, Strength: annona.StrengthSenderConstrained}, "not_found"},
		"a client that is not on file":     {annona.Caller{Client: annona.NewUID()}, "key_invalid"},
	} {
		d, err := f.Decision(t.Context(), c.asks, answer.Request)
		if codeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
			continue
		}
		if want := []string{"row_ceiling=200", "step_up=phr/20m0s", "individuals.date_of_birth=year"}; c.code == "" && !slices.Equal(d.Obligations, want) {
			t.Errorf("%s is told the obligations %q, want %q", name, d.Obligations, want)
		}
	}
}
