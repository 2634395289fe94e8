package exchange_test

import (
	"errors"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// grantDisability grants what is usual, and one special field beside it.
func grantDisability(a *annona.Agreement) {
	a.APIKey.SpecialFields, a.NameSearch = true, true
	a.Datasets["individuals"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}, Fields: []string{"is_disabled"}}
	a.Datasets["identifiers"] = annona.DatasetTerms{Sensitivities: []annona.Sensitivity{annona.Public, annona.Identifies}}
}

// ZT-13, T-24: over every verb that a person begins by hand, what shows many people and what shows special
// fields asks for a sign-in that is good enough and young enough, and nothing else does. Machines are asked
// for none.
func TestByHandAsksForASignIn(t *testing.T) {
	r := newRegistry(t, 30)
	r.Users, r.Rotator = r.store, r.Vault.(annona.KeyRotator)
	now := time.Now()
	r.Clock = func() time.Time { return now }
	r.partner(t, grantDisability)
	r.put(t, holder(t, "1", "passport_number", "", "G4711"))
	_, err := r.SwitchNameSearch(t.Context(), operator, true)
	check(t, err)
	person := annona.User{ID: annona.NewUID(), Name: "officer", Partner: "Program", Roles: []string{annona.RolePartner}, Status: annona.UserActive, Version: 1, CreatedAt: now}
	check(t, r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }))
	for name, field := range map[string]string{"plain": "sex", "special": "is_disabled"} {
		spec := complete(annona.ExportSpec{Name: name, Dataset: "individuals", Mode: annona.SpecDelta, Fields: []annona.SpecField{{Field: "individual_id", As: "ID"}, {Field: field, As: "X"}}})
		spec.AsOf = ""
		_, _, err := r.PutExportSpec(t.Context(), operator, spec)
		check(t, err)
	}
	plain := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "full_name"}}
	special := exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id", "is_disabled"}}
	chosen := plain
	chosen.Filter = "individual.is_disabled == true"
	everything := exchange.Question{Dataset: "individuals", Purpose: purpose}
	found, err := r.Search(t.Context(), r.caller, plain, 1, "", exchange.Form{})
	check(t, err)
	id := string(found.Page.Page().Cell(0, 0))
	changes, err := r.Follow(t.Context(), r.caller, plain, "", 100, 0, exchange.Form{})
	check(t, err)
	bySpec, _, err := r.FollowSpec(t.Context(), r.caller, "plain", 0, "", 100, 0, exchange.Form{})
	check(t, err)

	form := exchange.Form{Format: "json"}
	get := func(q exchange.Question) func() error {
		return func() error { _, err := r.Get(t.Context(), r.caller, q, id, form); return err }
	}
	search := func(q exchange.Question) func() error {
		return func() error { _, err := r.Search(t.Context(), r.caller, q, 5, "", form); return err }
	}
	lookup := func(q exchange.Question) func() error {
		return func() error {
			_, _, err := r.Lookup(t.Context(), r.caller, q, []exchange.Identifier{{Type: "passport_number", Value: "G4711"}}, form)
			return err
		}
	}
	names := func(q exchange.Question) func() error {
		return func() error {
			_, err := r.NameSearch(t.Context(), r.caller, q, exchange.NameQuery{Name: "Ama", Area: "XA-none"}, form)
			if err != nil && annona.CodeOf(err) == "area_unknown" {
				return nil // it was let in
			}
			return err
		}
	}
	export := func(q exchange.Question) func() error {
		return func() error { _, err := r.download(t, q, &receiver{}); return err }
	}
	follow := func(q exchange.Question, after string) func() error {
		return func() error { _, err := r.Follow(t.Context(), r.caller, q, after, 100, 0, form); return err }
	}
	followSpec := func(name, after string) func() error {
		return func() error {
			_, _, err := r.FollowSpec(t.Context(), r.caller, name, 0, after, 100, 0, form)
			return err
		}
	}
	exportSpec := func(name string) func() error {
		return func() error { _, _, err := r.ExportBySpec(t.Context(), r.caller, name, 0); return err }
	}
	try := func(name string) func() error {
		return func() error { _, err := r.TryExport(t.Context(), r.caller, name, 0, nil); return err }
	}
	const none, one, many = time.Duration(0), time.Hour, 15 * time.Minute
	for name, c := range map[string]struct {
		do    func() error
		limit time.Duration
	}{
		"a record": {get(plain), none}, "a special field of it": {get(special), one}, "all of it": {get(everything), one},
		"somebody with a number": {lookup(plain), none}, "a special field of theirs": {lookup(special), one},
		"a page": {search(plain), none}, "a page of special fields": {search(special), many}, "a page of who has one": {search(chosen), many},
		"a name": {names(plain), none}, "a name and a special field": {names(special), many},
		"an export": {export(plain), many}, "one of special fields": {export(special), many}, "one by a specification": {exportSpec("plain"), many},
		"changes from the beginning": {follow(plain, ""), many}, "changes since": {follow(plain, changes.Next), none},
		"those of a specification":  {followSpec("plain", ""), many},
		"since, of a specification": {followSpec("plain", bySpec.Next), none},
		"of special fields":         {followSpec("special", ""), many},
		"a trial":                   {try("plain"), none}, "a trial of special fields": {try("special"), many},
	} {
		signedIn := func(how annona.Assurance, age time.Duration) {
			r.caller.Acting = annona.SignedIn{Person: person.ID, Assurance: how, At: now.Add(-age)}
		}
		allows := func(as string) {
			t.Helper()
			if err := c.do(); err != nil {
				t.Errorf("%s: %s: %v", name, as, err)
			}
		}
		refuses := func(as string) {
			t.Helper()
			err, e := c.do(), (*annona.Error)(nil)
			if c.limit == none {
				if err != nil {
					t.Errorf("%s: %s: %v", name, as, err)
				}
				return
			}
			if !errors.As(err, &e) || e.Code != "insufficient_user_authentication" || e.Demand != (annona.Demand{Assurance: annona.AssuranceTwoFactors, MaxAge: c.limit}) {
				t.Errorf("%s: %s: %v %+v", name, as, err, e)
			}
		}
		r.caller.Acting = annona.SignedIn{}
		allows("a machine")
		signedIn(annona.AssurancePasskey, c.limit)
		allows("a passkey, just in time")
		signedIn(annona.AssuranceTwoFactors, 0)
		allows("two factors, now")
		signedIn(annona.AssurancePasskey, c.limit+time.Second)
		refuses("a passkey, a second too old")
		signedIn(annona.AssurancePasskey, -2*time.Minute)
		refuses("a passkey that is yet to be shown")
		signedIn(annona.AssuranceOutside, 0)
		refuses("as another one says")
		r.caller.Within = &annona.Authorization{}
		allows("what runs by itself")
		r.caller.Within = nil
	}
}

// An agreement that selects people by a special field tells it of everybody who is seen.
func TestWhoIsSeenTellsItByHand(t *testing.T) {
	r := newRegistry(t, 30)
	r.Users = r.store
	person := annona.User{ID: annona.NewUID(), Name: "officer", Partner: "Program", Roles: []string{annona.RolePartner}, Status: annona.UserActive, Version: 1, CreatedAt: time.Now()}
	check(t, r.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }))
	r.partner(t, func(a *annona.Agreement) {
		grantDisability(a)
		terms := a.Datasets["individuals"]
		terms.Condition = "individual.is_disabled == true"
		a.Datasets["individuals"] = terms
	})
	_, err := r.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{})
	check(t, err)
	r.caller.Acting = annona.SignedIn{Person: person.ID, Assurance: annona.AssurancePasskey, At: time.Now().Add(-16 * time.Minute)}
	if _, err := r.Search(t.Context(), r.caller, everybody, 5, "", exchange.Form{}); codeOf(err) != "insufficient_user_authentication" {
		t.Errorf("a page of those: %v", err)
	}
}
