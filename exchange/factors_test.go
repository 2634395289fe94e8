package exchange_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/store/postgres"
	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// factors is a registry in which one request is granted because all that it depends on is as it should be: the
// client, its token, the person for whom it acts, the agreement, the role, the moment, the way in, and what the
// individual has said.
type factors struct {
	*registry
	t         *testing.T
	now       time.Time
	person    annona.User
	agreement annona.Agreement
	token     annona.Token
	question  exchange.Question
	somebody  string
}

// A Tuesday, half past ten.
var factorsBegin = time.Date(2031, 4, 8, 10, 30, 0, 0, time.UTC)

func newFactors(t *testing.T, individuals int) *factors {
	t.Helper()
	f := &factors{registry: newRegistry(t, individuals), t: t}
	f.Clock, f.Users, f.Approvals, f.Glasses = func() time.Time { return f.now }, f.store, f.store, f.store
	f.Check = identity.NewKeys(f.store, func(b []byte) []byte { return b }, f.Clock, false).Check
	f.begin(0)
	return f
}

// begin makes everything as it should be, again: with another client, another person, and an individual of whom
// nothing is said yet.
func (f *factors) begin(turn int) {
	f.t.Helper()
	ctx := f.t.Context()
	f.now, f.ledger.broken, f.Covered, f.Uses = factorsBegin, false, nil, f.store
	f.partner(f.t, f.agree)
	f.until(f.now.Add(24 * time.Hour))
	f.must(f.apply("desk", f.rule()))
	f.must(f.SetRole(ctx, operator, f.caller.Client, "desk"))
	f.person = annona.User{ID: annona.NewUID(), Partner: "Program", Roles: []string{"desk"}, Status: annona.UserActive, Version: 1, CreatedAt: f.now}
	f.person.Name = "p" + f.person.ID.String()
	f.put()
	f.caller.Strength, f.caller.Network = annona.StrengthSenderConstrained, netip.MustParseAddr("192.0.2.7")
	f.caller.Acting = annona.SignedIn{Person: f.person.ID, Assurance: annona.AssurancePasskey, At: f.now.Add(-5 * time.Minute)}
	f.token = annona.Token{
		Hash: annona.TokenHash(append(f.person.ID[:], make([]byte, 16)...)), Client: f.caller.Client, Key: []byte("thumbprint"), Acting: f.caller.Acting, IssuedAt: f.now, ExpiresAt: f.now.Add(5 * time.Minute),
		Within: annona.Authorization{Purpose: purpose, Datasets: []string{"individuals"}},
	}
	f.must(f.store.PutToken(ctx, f.token, nil, nil, annona.UID{}))
	f.caller.Token = f.token.Hash
	f.question = exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "sex"}, Filter: `individual.sex == "female" || individual.sex == "male"`}
	page, err := f.Search(ctx, f.caller, f.question, turn+1, "", exchange.Form{})
	f.must(err)
	f.somebody = string(page.Page.Page().Cell(0, turn))
}

// agree is the agreement of the request.
func (f *factors) agree(a *annona.Agreement) {
	a.Floor = "sender_constrained"
	a.Purposes = append(a.Purposes, annona.PurposeTerms{Code: "other", Basis: annona.BasisPublicInterest}, annona.PurposeTerms{Code: "asked", Basis: annona.BasisConsent})
	f.agreement = *a
}

// rule is the one that allows the request, and everything that it depends on.
func (f *factors) rule() annona.RoleRule {
	return annona.RoleRule{
		Name: "reads", Verbs: []annona.Verb{annona.VerbGet, annona.VerbSearch}, Purposes: []string{purpose, "asked"}, ValidFrom: "2031-01-01", ValidUntil: "2031-12-31",
		Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"individual_id", "sex"}, Condition: `individual.date_of_birth > '1800-01-01'`}},
		When: `request.hour >= 7 && request.hour < 18 && request.weekday <= 5 && request.network == 'office' && request.strength == 'sender_constrained' && request.binding == 'key'` +
			` && request.assurance == 'phr' && request.auth_age <= 30 && request.rows <= 3000 && request.risk == 'low'`,
		StepUp: &annona.StepUp{ACR: "phr", MaxAge: 20},
	}
}

func (f *factors) apply(role string, rules ...annona.RoleRule) error {
	p := narrower(role, rules...)
	p.Networks = map[string][]netip.Prefix{"office": {netip.MustParsePrefix("192.0.2.0/24")}}
	_, err := f.ApplyPolicy(f.t.Context(), operator, p)
	return err
}

// rules applies the rule of the request, changed.
func (f *factors) rules(change func(*annona.RoleRule), more ...annona.RoleRule) {
	r := f.rule()
	if change != nil {
		change(&r)
	}
	f.must(f.apply("desk", append([]annona.RoleRule{r}, more...)...))
}

// amend puts a changed agreement in force.
func (f *factors) amend(change func(*annona.Agreement)) {
	a := f.agreement
	change(&a)
	_, err := f.ApplyAgreement(f.t.Context(), operator, a)
	f.must(err)
}

// until lets the client expire at a moment.
func (f *factors) until(then time.Time) {
	c, err := f.store.ClientByID(f.t.Context(), f.caller.Client)
	f.must(err)
	c.ExpiresAt = then
	f.must(f.store.Update(f.t.Context(), func(tx annona.Tx) error { return tx.PutClient(f.t.Context(), *c) }))
}

// put writes the person as they are now.
func (f *factors) put() {
	f.must(f.store.Update(f.t.Context(), func(tx annona.Tx) error { return tx.PutUser(f.t.Context(), f.person) }))
}

// shows puts another token into the request.
func (f *factors) shows(change func(*annona.Token)) {
	next := f.token
	next.Hash[1]++
	change(&next)
	f.must(f.store.PutToken(f.t.Context(), next, nil, nil, annona.UID{}))
	f.caller.Token = next.Hash
}

func (f *factors) subject() exchange.Subject {
	return exchange.Subject{ID: f.somebody, Realm: "program"}
}

func (f *factors) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// ask does the request, of one individual by their id.
func (f *factors) ask() error {
	_, err := f.Get(f.t.Context(), f.caller, f.question, f.somebody, exchange.Form{})
	return err
}

// ZT-07: each input of a decision alone turns a permit into a denial.
func TestOneFactorFlipsTheGate(t *testing.T) {
	f, turn := newFactors(t, 200), 0
	for name, c := range map[string]struct {
		flip func(*factors)
		code string
	}{
		"nothing": {func(*factors) {}, ""},

		"the person's roles are over":   {func(f *factors) { f.person.RolesUntil = "2031-04-07"; f.put() }, "role_not_granted"},
		"the client is revoked":         {func(f *factors) { f.must(f.RevokeClient(t.Context(), operator, f.caller.Client)) }, "key_invalid"},
		"the client has expired":        {func(f *factors) { f.until(f.now) }, "key_expired"},
		"the client is not on file":     {func(f *factors) { f.caller.Client = annona.NewUID() }, "key_invalid"},
		"the token is revoked":          {func(f *factors) { f.must(f.store.RevokeToken(t.Context(), f.token.Hash, f.caller.Client, f.now)) }, "invalid_token"},
		"the token is not on file":      {func(f *factors) { f.caller.Token[7]++ }, "invalid_token"},
		"the token is for less":         {func(f *factors) { f.shows(func(t *annona.Token) { t.Within.Datasets = []string{"households"} }) }, "dataset_not_authorized"},
		"the token is for other things": {func(f *factors) { f.shows(func(t *annona.Token) { t.Within.Purpose = "asked" }) }, "purpose_not_authorized"},
		"the token is bound to nothing": {func(f *factors) { f.shows(func(t *annona.Token) { t.Key = nil }) }, "role_not_granted"},

		"the partner is suspended":            {func(f *factors) { f.amend(func(a *annona.Agreement) { a.Status = "suspended" }) }, "agreement_not_active"},
		"the agreement has ended":             {func(f *factors) { f.amend(func(a *annona.Agreement) { a.ValidUntil = "2031-04-07" }) }, "agreement_not_active"},
		"the agreement begins tomorrow":       {func(f *factors) { f.amend(func(a *annona.Agreement) { a.ValidFrom = "2031-04-09" }) }, "agreement_not_active"},
		"the purpose is gone":                 {func(f *factors) { f.amend(func(a *annona.Agreement) { a.Purposes = a.Purposes[1:] }) }, "purpose_not_granted"},
		"the basis of the purpose has lapsed": {func(f *factors) { f.amend(func(a *annona.Agreement) { a.Purposes[0].ValidUntil = "2031-04-07" }) }, "basis_lapsed"},
		"the dataset is granted no more": {func(f *factors) {
			f.amend(func(a *annona.Agreement) {
				a.Datasets = map[string]annona.DatasetTerms{"households": a.Datasets["households"]}
			})
		}, "dataset_not_granted"},
		"a field is granted no more":       {func(f *factors) { f.amend(except("sex")) }, "field_not_granted"},
		"a field is asked for that is not": {func(f *factors) { f.question.Fields = []string{"full_name"} }, "field_not_granted"},
		"a field is asked by that is not":  {func(f *factors) { f.question.Filter = `individual.date_of_birth < '2000-01-01'` }, "filter_not_granted"},
		"the agreement is for one area":    {func(f *factors) { f.amend(func(a *annona.Agreement) { a.Areas = []string{"NOWHERE"} }) }, "not_found"},
		"the agreement is for some rows":   {func(f *factors) { f.amend(where(`individual.date_of_birth < '1800-01-01'`)) }, "not_found"},
		"another purpose of the agreement": {func(f *factors) { f.question.Purpose = "other" }, "purpose_not_authorized"},
		"a purpose that needs consent": {func(f *factors) {
			f.question.Purpose = "asked"
			f.shows(func(t *annona.Token) { t.Within.Purpose = "asked" })
		}, "not_found"},
		"the credential is weaker than the floor": {func(f *factors) { f.caller.Strength = annona.StrengthOAuth }, "credential_too_weak"},

		"the role of the client is removed": {func(f *factors) { f.must(f.SetRole(t.Context(), operator, f.caller.Client, "auditor")) }, "role_not_granted"},
		"the rule is about other verbs":     {func(f *factors) { f.rules(func(r *annona.RoleRule) { r.Verbs = []annona.Verb{annona.VerbExport} }) }, "role_not_granted"},
		"the rule is about other purposes":  {func(f *factors) { f.rules(func(r *annona.RoleRule) { r.Purposes = []string{"other"} }) }, "role_not_granted"},
		"the rule is about other datasets": {func(f *factors) {
			f.rules(func(r *annona.RoleRule) { r.Datasets = map[string]annona.DatasetTerms{"households": {}} })
		}, "role_not_granted"},
		"the rule is about other fields": {func(f *factors) { f.rules(fieldsOf("individual_id")) }, "field_not_granted"},
		"the rule is about other rows":   {func(f *factors) { f.rules(rowsOf(`individual.date_of_birth < '1800-01-01'`)) }, "not_found"},
		"the rule was valid": {func(f *factors) {
			f.now = f.now.AddDate(1, 0, 0)
			f.until(f.now.Add(time.Hour))
			f.caller.Token = annona.TokenHash{}
		}, "role_not_granted"},
		"a rule denies it": {func(f *factors) { f.rules(nil, annona.RoleRule{Name: "no", Deny: true, When: `request.weekday == 2`}) }, "role_denies"},
		"a rule denies a field": {func(f *factors) {
			f.rules(nil, annona.RoleRule{Name: "no", Deny: true, Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"sex"}}}})
		}, "field_not_granted"},
		"more rows are asked for": {func(f *factors) { f.rules(func(r *annona.RoleRule) { r.When += ` && request.rows < 1` }) }, "role_not_granted"},
		"it comes from a network that is new": {func(f *factors) {
			f.did(annona.HabitNetwork, "198.51.100.0/24")
		}, "role_not_granted"},
		"nobody tells habits":                 {func(f *factors) { f.Uses = nil }, "role_not_granted"},
		"it is evening":                       {func(f *factors) { f.later(8 * time.Hour) }, "role_not_granted"},
		"it is Saturday":                      {func(f *factors) { f.later(4 * 24 * time.Hour) }, "role_not_granted"},
		"it comes from elsewhere":             {func(f *factors) { f.caller.Network = netip.MustParseAddr("198.51.100.7") }, "role_not_granted"},
		"the sign-in was weaker":              {func(f *factors) { f.caller.Acting.Assurance = annona.AssuranceTwoFactors }, "role_not_granted"},
		"the sign-in is too old for the rule": {func(f *factors) { f.caller.Acting.At = f.now.Add(-31 * time.Minute) }, "role_not_granted"},
		"the sign-in is too old to begin":     {func(f *factors) { f.caller.Acting.At = f.now.Add(-25 * time.Minute) }, "insufficient_user_authentication"},
		"nobody is acted for":                 {func(f *factors) { f.caller.Acting = annona.SignedIn{} }, "role_not_granted"},
		"the person is disabled":              {func(f *factors) { f.person.Status = annona.UserDisabled; f.put() }, "invalid_token"},
		"the person has no role":              {func(f *factors) { f.person.Roles = nil; f.put() }, "role_not_granted"},
		"the person works for another one":    {func(f *factors) { f.person.Partner = "Another"; f.put() }, "person_of_other_partner"},

		"the individual is restricted": {func(f *factors) {
			_, err := f.Restrict(t.Context(), operator, f.subject(), annona.Restriction{Kind: annona.KindRestriction, EffectiveDate: "2031-01-01"})
			f.must(err)
		}, "not_found"},
		"the individual objects": {func(f *factors) {
			_, err := f.Restrict(t.Context(), operator, f.subject(), annona.Restriction{Kind: annona.KindObjection, Purposes: []string{purpose}, EffectiveDate: "2031-01-01"})
			f.must(err)
		}, "not_found"},
		"the ledger takes nothing": {func(f *factors) { f.ledger.broken = true }, "ledger_unavailable"},
		"the tree of the ledger is not signed": {func(f *factors) {
			f.Covered = func() error { return annona.Unavailable("ledger_not_covered", "not signed") }
		}, "ledger_not_covered"},
	} {
		f.begin(turn)
		if err := f.ask(); err != nil {
			t.Fatalf("%s: as all should be: %v", name, err)
		}
		c.flip(f)
		if err := f.ask(); codeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
		turn++ // whoever has said something is left alone
	}
}

// did lets the client have done something yesterday.
func (f *factors) did(kind annona.HabitKind, value string) {
	f.must(f.KeepUses(f.t.Context())) // what is remembered of habits is read anew
	yesterday := annona.Habit{Client: f.caller.Client, Day: annona.DateOf(f.now.AddDate(0, 0, -1)), Kind: kind, Value: value, Count: 1}
	f.must(f.store.AddHabits(f.t.Context(), []annona.Habit{yesterday}, "2031-01-01"))
}

// later lets time pass, without the sign-in and the token becoming older.
func (f *factors) later(d time.Duration) {
	f.now = f.now.Add(d)
	f.until(f.now.Add(time.Hour))
	f.caller.Acting.At = f.now
	f.shows(func(t *annona.Token) { t.ExpiresAt = f.now.Add(time.Hour) })
}

func except(field string) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		a.Datasets = map[string]annona.DatasetTerms{"individuals": {Sensitivities: []annona.Sensitivity{annona.Personal}, Except: []string{field}}}
	}
}

func where(condition string) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		a.Datasets = map[string]annona.DatasetTerms{"individuals": {Sensitivities: []annona.Sensitivity{annona.Personal}, Condition: condition}}
	}
}

func fieldsOf(names ...string) func(*annona.RoleRule) {
	return func(r *annona.RoleRule) { r.Datasets = map[string]annona.DatasetTerms{"individuals": {Fields: names}} }
}

func rowsOf(condition string) func(*annona.RoleRule) {
	return func(r *annona.RoleRule) {
		r.Datasets = map[string]annona.DatasetTerms{"individuals": {Fields: []string{"individual_id", "sex"}, Condition: condition}}
	}
}

// silent is a store that does not answer one of the questions of a decision.
type silent struct {
	annona.Standings
	question string
}

// silentUsers is the same of people.
type silentUsers struct {
	peopleOnFile
	*silent
}

type peopleOnFile annona.Users // under a name that none of its methods has

var errSilent = errors.New("the store does not answer")

func (s *silent) failed(question string) error {
	if s.question == question {
		return errSilent
	}
	return nil
}

func (s *silent) ClientByID(ctx context.Context, id annona.UID) (*annona.Client, error) {
	c, err := s.Standings.ClientByID(ctx, id)
	return c, errors.Join(err, s.failed("client"))
}

func (s *silent) Agreement(ctx context.Context, name string) (*annona.Agreement, error) {
	a, err := s.Standings.Agreement(ctx, name)
	return a, errors.Join(err, s.failed("agreement"))
}

func (s *silent) Policy(ctx context.Context) (*annona.Policy, error) {
	p, err := s.Standings.Policy(ctx)
	return p, errors.Join(err, s.failed("policy"))
}

func (s *silent) TokenByHash(ctx context.Context, hash annona.TokenHash) (*annona.Token, error) {
	token, err := s.Standings.TokenByHash(ctx, hash)
	return token, errors.Join(err, s.failed("token"))
}

func (s *silent) Epoch(ctx context.Context) (int64, error) {
	n, err := s.Standings.Epoch(ctx)
	return n, errors.Join(err, s.failed("epoch"))
}

func (s silentUsers) UserByID(ctx context.Context, id annona.UID) (*annona.User, error) {
	u, err := s.peopleOnFile.UserByID(ctx, id)
	return u, errors.Join(err, s.failed("person"))
}

// ZT-14: while the store does not answer any one question of a decision, everything is denied: what is on file
// and what comes with the error make no difference. What was remembered is worth nothing once its second is over.
func TestOneFactorTheStoreDoesNotTell(t *testing.T) {
	f := newFactors(t, 30)
	for _, question := range []string{"client", "agreement", "policy", "token", "epoch", "person"} {
		f.begin(0)
		s := &silent{Standings: f.store}
		f.Standings, f.Users, f.Remembered = s, silentUsers{f.store, s}, exchange.Remember(s)
		if err := f.ask(); err != nil {
			t.Fatal(err)
		}
		s.question = question
		f.Remembered = exchange.Remember(s)
		if err := f.ask(); !errors.Is(err, errSilent) {
			t.Errorf("a record, without the %s: %v", question, err)
		}
		before := len(f.entries(t))
		f.question.Filter = ""
		if _, err := f.Export(t.Context(), f.caller, f.question, exchange.Form{Format: "csv"}); err == nil {
			t.Errorf("an export began without the %s", question)
		}
		if n := len(f.entries(t)) - before; n != 0 && question != "epoch" {
			t.Errorf("without the %s: %d entries of an answer that there was not", question, n)
		}
		f.Standings, f.Users, f.Remembered = f.store, f.store, exchange.Remember(f.store)
	}
	f.Standings, f.Users = f.store, f.store
	f.must(f.store.Close())
	f.Remembered = exchange.Remember(f.store)
	if err := f.ask(); err == nil || annona.KindOf(err) == annona.KindForbidden {
		t.Errorf("a store that is closed: %v", err)
	}
}

// The same with PostgreSQL, of which the server goes: what has begun ends, and nothing begins.
func TestDecisionsWithoutTheirDatabase(t *testing.T) {
	cluster, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		t.Skip(err)
	}
	check(t, err)
	t.Cleanup(cluster.Remove)
	opened, err := postgresGround(t, cluster)(time.Now)
	check(t, err)
	store := opened.(*postgres.Store)
	defer store.Close()
	f := newFactors(t, 3000)
	f.copyTo(store)
	f.Standings, f.Users, f.Remembered = store, store, exchange.Remember(store)
	if err := f.ask(); err != nil {
		t.Fatal(err)
	}
	denied := func(what string, err error) {
		t.Helper()
		if annona.KindOf(err) != annona.KindUnavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	to := &receiver{onPage: func(n int) error {
		if n == 1 {
			return cluster.Down("immediate")
		}
		return nil
	}}
	f.rules(func(r *annona.RoleRule) { r.Verbs = append(r.Verbs, annona.VerbExport) })
	f.copyTo(store)
	f.question.Filter = ""
	export, err := f.Export(t.Context(), f.caller, f.question, exchange.Form{Format: "csv"})
	check(t, err)
	sent, err := export.Run(t.Context(), []*annona.Shape{export.Shape()}, to, func() {})
	denied("an export that runs", err)
	if sent.Rows == 3000 || to.ended {
		t.Errorf("%d rows were sent, the end: %v", sent.Rows, to.ended)
	}
	f.Remembered = exchange.Remember(store)
	denied("a record", f.ask())
	_, err = f.Search(t.Context(), f.caller, f.question, 5, "", exchange.Form{})
	denied("a search", err)
	_, err = f.Export(t.Context(), f.caller, f.question, exchange.Form{})
	denied("an export", err)
	_, err = f.Explain(t.Context(), f.caller, f.caller, exchange.Asked{Verb: annona.VerbGet, Dataset: "individuals", Purpose: purpose})
	denied("an explanation", err)
	denied("a token", f.AdmitToken(t.Context(), f.caller, f.token.Within))
	check(t, cluster.Up()) // it goes down in good order
}

// copyTo puts all that the request is decided from into another store.
func (f *factors) copyTo(store *postgres.Store) {
	ctx := f.t.Context()
	p, err := f.store.Policy(ctx)
	f.must(err)
	c, err := f.store.ClientByID(ctx, f.caller.Client)
	f.must(err)
	a, err := f.store.Agreement(ctx, f.agreement.Name)
	f.must(err)
	there, err := store.Agreement(ctx, a.Name)
	f.must(err)
	f.must(store.Update(ctx, func(tx annona.Tx) error {
		if there == nil {
			if err := errors.Join(tx.PutClient(ctx, *c), tx.PutUser(ctx, f.person)); err != nil {
				return err
			}
			if _, err := tx.PutAgreement(ctx, *a); err != nil {
				return err
			}
		}
		return tx.PutPolicy(ctx, *p)
	}))
	if there == nil {
		f.must(store.PutToken(ctx, f.token, nil, nil, annona.UID{}))
	}
}

// A policy that is wrong comes in force nowhere, and says why: one that contradicts itself, names what there is
// not, or locks everybody out.
func TestPoliciesTheGateRefuses(t *testing.T) {
	individuals := func(terms annona.DatasetTerms) map[string]annona.DatasetTerms {
		return map[string]annona.DatasetTerms{"individuals": terms}
	}
	f := newFactors(t, 30)
	for name, c := range map[string]struct {
		rules []annona.RoleRule
		code  string
	}{
		"it contradicts itself": {[]annona.RoleRule{
			{Name: "a", Datasets: individuals(annona.DatasetTerms{Fields: []string{"sex"}, Condition: `individual.sex == "female"`})},
			{Name: "b", Datasets: individuals(annona.DatasetTerms{Fields: []string{"individual_id"}, Condition: `individual.sex == "male"`})},
		}, "role_contradicts"},
		"it denies all that it allows": {[]annona.RoleRule{{Name: "a"}, {Name: "b", Deny: true}}, "role_contradicts"},
		"rows by an unknown field":     {[]annona.RoleRule{{Name: "a", Datasets: individuals(annona.DatasetTerms{Condition: `individual.shoe_size > 40`})}}, "unknown_field"},
		"a field that there is not":    {[]annona.RoleRule{{Name: "a", Datasets: individuals(annona.DatasetTerms{Fields: []string{"shoe_size"}})}}, "unknown_field"},
		"a fact that there is not":     {[]annona.RoleRule{{Name: "a", When: `request.mood == 'good'`}}, "unknown_field"},
		"a person in a condition":      {[]annona.RoleRule{{Name: "a", When: `individual.sex == "female"`}}, "unknown_field"},
		"it locks everybody out":       {[]annona.RoleRule{{Name: "a", ValidUntil: "2020-01-01"}}, "policy_locks_out"},
	} {
		if err := f.apply("desk", c.rules...); codeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
	}
	if err := f.ask(); err != nil {
		t.Errorf("after all these: %v", err)
	}
	// A row condition on a special field makes being seen special: the agreement must grant that field by name.
	f.rules(rowsOf(`individual.is_disabled == true`))
	if err := f.ask(); codeOf(err) != "condition_special" {
		t.Errorf("rows by a special field: %v", err)
	}
}

// agreementless has lost an agreement.
type agreementless struct{ annona.Standings }

func (agreementless) Agreement(context.Context, string) (*annona.Agreement, error) { return nil, nil }

// A client whose agreement is not on file may do nothing.
func TestAClientWithoutItsAgreement(t *testing.T) {
	f := newFactors(t, 10)
	f.must(f.ask())
	f.Standings = agreementless{f.store}
	f.Remembered = exchange.Remember(f.Standings)
	if err := f.ask(); codeOf(err) != "agreement_not_active" {
		t.Errorf("got %v", err)
	}
}
