package exchange_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/policy"
)

func in(days int) annona.Date { return annona.DateOf(time.Now().UTC()).AddDays(days) }

// begin offers the town's case, or what a test makes of the offer.
func (o *offices) begin(t *testing.T, caller annona.Caller, v exchange.CaseVerdict, change func(*exchange.Offer)) (string, error) {
	t.Helper()
	offer := exchange.Offer{Kind: "referral", ToPartner: "clinic", Basis: "public_task", ExpiresOn: in(1)}
	if change != nil {
		change(&offer)
	}
	got, err := o.OfferTransition(t.Context(), caller, purpose, v.ID, offer)
	return got.ID, err
}

func (o *offices) reply(t *testing.T, caller annona.Caller, id, answer string) error {
	t.Helper()
	_, err := o.AnswerTransition(t.Context(), caller, purpose, id, exchange.TransitionAnswer{Answer: answer, Why: "because"})
	return err
}

// transitions lists what a caller sees of transitions, one line each.
func (o *offices) transitions(t *testing.T, caller annona.Caller, id, status string, fields ...string) []string {
	t.Helper()
	answer, err := o.Transitions(t.Context(), caller, purpose, id, status, fields, "", 100)
	check(t, err)
	return lines(answer)
}

// An offer lasts a year at most, and names what may be shared; a transfer is whole.
func TestOffersToTheirEdges(t *testing.T) {
	o := newOffices(t)
	for what, c := range map[string]struct {
		code   string
		change func(*exchange.Offer)
	}{
		"until today":                   {"", func(x *exchange.Offer) { x.ExpiresOn = in(0) }},
		"until yesterday":               {"expiry_malformed", func(x *exchange.Offer) { x.ExpiresOn = in(-1) }},
		"for a year":                    {"", func(x *exchange.Offer) { x.ExpiresOn = in(366) }},
		"for a year and a day":          {"expiry_malformed", func(x *exchange.Offer) { x.ExpiresOn = in(367) }},
		"until no day":                  {"expiry_malformed", func(x *exchange.Offer) { x.ExpiresOn = in(1)[:8] + "99" }},
		"without consent":               {"", func(x *exchange.Offer) { x.Basis, x.OverrideReason = "override", "danger" }},
		"without consent nor a reason":  {"field_required", func(x *exchange.Offer) { x.Basis, x.OverrideReason = "override", " \t" }},
		"with notes":                    {"", func(x *exchange.Offer) { x.FieldsShared = []string{"notes"} }},
		"with attachments":              {"", func(x *exchange.Offer) { x.FieldsShared = []string{"attachments"} }},
		"with a field":                  {"", func(x *exchange.Offer) { x.FieldsShared = []string{"team"} }},
		"with a transfer in part":       {"transfer_in_part", func(x *exchange.Offer) { x.Kind, x.FieldsShared = "transfer", []string{"team"} }},
		"with a transfer to be changed": {"transfer_in_part", func(x *exchange.Offer) { x.Kind, x.Edit = "transfer", true }},
		"a transfer":                    {"", func(x *exchange.Offer) { x.Kind = "transfer" }},
	} {
		v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
		_, err := o.begin(t, o.town, v, c.change)
		refusal(t, what, err, c.code)
	}
	unknown := o.open(t, said{"case_type": "social_support"})
	_, err := o.begin(t, o.town, unknown, nil)
	refusal(t, "about somebody who is not on file", err, "case_provisional")
}

// A case of named persons goes to a worker who is named; nobody else there learns of it.
func TestNamedPersonsAreHandedToAName(t *testing.T) {
	o := newOffices(t)
	ama := o.signIn(t, "ama")
	opened, err := o.PutCases(t.Context(), ama, purpose, []map[string]any{{"individual_id": o.people[0], "case_type": "violence", "confidentiality": "named_persons", "worker": "ama"}})
	check(t, err)
	v := opened[0]
	_, err = o.begin(t, ama, v, func(x *exchange.Offer) { x.Kind = "transfer" })
	refusal(t, "to nobody by name", err, "field_required")
	id, err := o.begin(t, ama, v, func(x *exchange.Offer) { x.Kind, x.ToWorker = "transfer", "kofi" })
	check(t, err)
	kofi := o.clinic
	kofi.Acting = o.signIn(t, "kofi").Acting
	o.moveTo(t, kofi, "clinic")
	if got := o.transitions(t, o.clinic, "", "", "transition_id"); len(got) != 0 {
		t.Errorf("a client of the clinic sees the offer: %q", got)
	}
	if got := o.transitions(t, kofi, "", "", "transition_id"); len(got) != 1 {
		t.Errorf("who is named sees %q", got)
	}
	check(t, o.reply(t, kofi, id, "accept"))
	if got := o.cases(t, kofi, exchange.CaseChoice{}, "owner", "worker"); len(got) != 1 || got[0] != "clinic kofi" {
		t.Errorf("handed over: %q", got)
	}
}

// moveTo lets the person for whom a caller acts work for another partner.
func (o *offices) moveTo(t *testing.T, caller annona.Caller, partner string) {
	t.Helper()
	user, err := o.store.UserByID(t.Context(), caller.Acting.Person)
	check(t, err)
	user.Partner, user.Version = partner, user.Version+1
	check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), *user) }))
}

// On the basis of consent, one that holds today and names partner and purpose.
func TestATransitionByConsent(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	subject := o.subjectOf(t, 1)
	given := annona.Consent{ID: annona.NewUID(), Subject: subject, Purposes: []string{"monitoring", purpose}, Recipients: []string{"school", "clinic"}, Status: "given", EffectiveDate: in(0), RecordedAt: time.Now()}
	for what, c := range map[string]struct {
		change func(*annona.Consent)
		holds  bool
	}{
		"given":                    {func(*annona.Consent) {}, true},
		"until today":              {func(c *annona.Consent) { c.ExpiryDate = in(0) }, true},
		"until yesterday":          {func(c *annona.Consent) { c.EffectiveDate, c.ExpiryDate = in(-9), in(-1) }, false},
		"from tomorrow on":         {func(c *annona.Consent) { c.EffectiveDate = in(1) }, false},
		"withdrawn":                {func(c *annona.Consent) { c.WithdrawnAt = time.Now() }, false},
		"withdrawn, by its status": {func(c *annona.Consent) { c.Status = "withdrawn" }, false},
		"for others":               {func(c *annona.Consent) { c.Recipients = []string{"school"} }, false},
		"for other purposes":       {func(c *annona.Consent) { c.Purposes = []string{"monitoring"} }, false},
	} {
		consent := given
		c.change(&consent)
		check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutConsent(t.Context(), consent) }))
		id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Basis = "consent" })
		if !c.holds {
			refusal(t, what, err, "consent_missing")
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		check(t, o.reply(t, o.town, id, "cancel"))
	}
}

// A consent that is withdrawn before the answer lets nobody accept; whoever has it may still decline.
func TestAConsentIsLookedUpAgainWhenATransitionIsAccepted(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	consent := annona.Consent{ID: annona.NewUID(), Subject: o.subjectOf(t, 1), Purposes: []string{purpose}, Recipients: []string{"clinic"}, Status: "given", EffectiveDate: in(0), RecordedAt: time.Now()}
	for _, kind := range []string{"referral", "transfer"} {
		for _, withdrawn := range []bool{true, false} {
			consent.WithdrawnAt = time.Time{}
			check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutConsent(t.Context(), consent) }))
			id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind, x.Basis = kind, "consent" })
			check(t, err)
			if !withdrawn {
				check(t, o.reply(t, o.clinic, id, "accept"))
				continue
			}
			consent.WithdrawnAt = time.Now()
			check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutConsent(t.Context(), consent) }))
			refusal(t, kind, o.reply(t, o.clinic, id, "accept"), "consent_missing")
			if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id"); len(got) > 0 {
				t.Errorf("%s: the clinic sees %q", kind, got)
			}
			check(t, o.reply(t, o.clinic, id, "decline"))
		}
	}
}

// What was referred by consent is seen and changed as long as that consent holds, and not an instant longer: neither the
// case nor what belongs to it. A consent for something else, or one of somebody else, does not stand in for it.
func TestAReferralByConsentEndsWithTheConsent(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a"})
	put := func(c annona.Consent) {
		t.Helper()
		check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutConsent(t.Context(), c) }))
	}
	consent := annona.Consent{ID: annona.NewUID(), Subject: o.subjectOf(t, 1), Purposes: []string{purpose}, Recipients: []string{"clinic"}, Status: "given", EffectiveDate: in(0), RecordedAt: time.Now()}
	other, others := consent, consent
	other.ID, other.Purposes = annona.NewUID(), []string{"monitoring"}
	others.ID, others.Recipients = annona.NewUID(), []string{"school"}
	put(other)
	put(others)
	put(consent)
	id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Basis, x.Edit = "consent", true })
	check(t, err)
	check(t, o.reply(t, o.clinic, id, "accept"))
	theirs := v
	theirs.ETag = o.tagOf(t, o.clinic, v)
	theirs, err = o.edit(t, o.clinic, theirs, "", said{"team": "b"})
	check(t, err)
	for what, end := range map[string]func(*annona.Consent){
		"withdrawn": func(c *annona.Consent) { c.Status, c.WithdrawnAt = "withdrawn", time.Now() },
		"ended":     func(c *annona.Consent) { c.EffectiveDate, c.ExpiryDate = in(-9), in(-1) },
		"narrowed":  func(c *annona.Consent) { c.Recipients = []string{"school"} },
	} {
		gone := consent
		end(&gone)
		put(gone)
		if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id"); len(got) > 0 {
			t.Errorf("%s: the clinic sees %q", what, got)
		}
		if _, err := o.edit(t, o.clinic, theirs, "", said{"team": "c"}); annona.CodeOf(err) != "not_found" {
			t.Errorf("%s: the clinic changes the case: %v", what, err)
		}
		put(consent)
		if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "team"); len(got) != 1 || got[0] != "b" {
			t.Errorf("%s, and given again: the clinic sees %q", what, got)
		}
	}
	if got := o.cases(t, o.town, exchange.CaseChoice{}, "team"); len(got) != 1 {
		t.Errorf("its owner sees %q", got)
	}
}

// A household has given no consent, whoever of the same number among individuals has.
func TestAHouseholdHasGivenNoConsent(t *testing.T) {
	o := newOffices(t)
	lives, err := o.Search(t.Context(), o.town, exchange.Question{Dataset: "households", Purpose: purpose, Fields: []string{"household_id"}}, 1, "", exchange.Form{})
	check(t, err)
	home := o.open(t, said{"household_id": lines(lives)[0], "case_type": "social_support"})
	given := annona.Consent{ID: annona.NewUID(), Subject: o.subjectOf(t, 1), Purposes: []string{purpose}, Recipients: []string{"clinic"}, Status: "given", EffectiveDate: in(0), RecordedAt: time.Now()}
	check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutConsent(t.Context(), given) }))
	_, err = o.begin(t, o.town, home, func(x *exchange.Offer) { x.Basis = "consent" })
	refusal(t, "of a household", err, "consent_missing")
}

// subjectOf is the number of whom a case is about.
func (o *offices) subjectOf(t *testing.T, of annona.Number) (subject annona.Number) {
	t.Helper()
	check(t, o.store.Update(t.Context(), func(tx annona.Tx) error {
		cases, _ := annona.Standard().Dataset("cases")
		held, err := tx.HoldMatters(t.Context(), cases, []annona.Number{of})
		if err == nil {
			subject = held[0].Subject.Number
		}
		return err
	}))
	return subject
}

// While one waits for its answer, there is no second one of its kind: of transfers, to nobody; of referrals and
// requests, to no one partner. One that has ended by itself waits no longer.
func TestOneOfAKindWaits(t *testing.T) {
	o := newOffices(t)
	o.partner(t, func(a *annona.Agreement) {
		a.Name, a.Realm, a.Partner.Name, a.Cases = "school", "offices", "school", &annona.CaseTerms{Source: "school-mis", Receives: true}
	})
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	begin := func(what, kind, to, code string) {
		t.Helper()
		_, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind, x.ToPartner, x.ExpiresOn = kind, to, in(3) })
		refusal(t, what, err, code)
	}
	begin("a referral", "referral", "clinic", "")
	begin("another one to the same", "referral", "clinic", "transition_pending")
	begin("another one to a third", "referral", "school", "")
	begin("a transfer", "transfer", "clinic", "")
	begin("another one to a third", "transfer", "school", "transition_pending")
	usual := o.Clock
	o.Clock = func() time.Time { return usual().AddDate(0, 0, 3) }
	begin("on the last day of the first", "transfer", "clinic", "transition_pending")
	o.Clock = func() time.Time { return usual().AddDate(0, 0, 4) }
	_, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind, x.ExpiresOn = "transfer", in(9) })
	refusal(t, "the day behind", err, "")
}

// A partner receives cases under an agreement that is in force from its first day to its last, that says so, and
// is cleared for what is restricted.
func TestWhoReceivesACase(t *testing.T) {
	for what, c := range map[string]struct {
		change    func(*annona.Agreement)
		of, code  string
		suspended bool
	}{
		"from today on":                  {change: func(a *annona.Agreement) { a.ValidFrom = in(0) }, of: "social_support"},
		"until today":                    {change: func(a *annona.Agreement) { a.ValidUntil = in(0) }, of: "social_support"},
		"from tomorrow on":               {change: func(a *annona.Agreement) { a.ValidFrom = in(1) }, of: "social_support", code: "partner_not_receiving"},
		"until yesterday":                {change: func(a *annona.Agreement) { a.ValidUntil = in(-1) }, of: "social_support", code: "partner_not_receiving"},
		"suspended":                      {change: func(a *annona.Agreement) { a.Status = "suspended" }, of: "social_support", code: "partner_not_receiving"},
		"without cases":                  {change: func(a *annona.Agreement) { a.Cases = nil }, of: "social_support", code: "partner_not_receiving"},
		"without receiving":              {change: func(a *annona.Agreement) { a.Cases.Receives = false }, of: "social_support", code: "partner_not_receiving"},
		"cleared for what is restricted": {change: func(a *annona.Agreement) { a.Cases.Confidentiality = []string{"restricted"} }, of: "violence"},
		"not cleared":                    {change: func(a *annona.Agreement) { a.Cases.Confidentiality = nil }, of: "violence", code: "partner_not_receiving"},
	} {
		t.Run(what, func(t *testing.T) {
			o := newOffices(t)
			o.partner(t, func(a *annona.Agreement) {
				a.Name, a.Realm, a.Partner.Name, a.Cases = "school", "offices", "school", &annona.CaseTerms{Source: "school-mis", Receives: true}
				c.change(a)
			})
			v := o.open(t, said{"individual_id": o.people[0], "case_type": c.of})
			_, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.ToPartner = "school" })
			refusal(t, what, err, c.code)
		})
	}
}

// Where each kind of transition stands behind each answer, and whose the answer is.
func TestAnswersToTransitions(t *testing.T) {
	o := newOffices(t)
	for _, c := range []struct {
		kind, before, answer string
		by                   string
		code                 string
	}{
		{"referral", "", "accept", "clinic", ""}, {"referral", "", "decline", "clinic", ""}, {"referral", "", "cancel", "town", ""},
		{"referral", "", "complete", "clinic", "transition_status"}, {"referral", "accept", "complete", "clinic", ""}, {"referral", "accept", "cancel", "town", ""},
		{"referral", "accept", "complete", "town", "transition_not_yours"}, {"referral", "accept", "decline", "clinic", "transition_status"},
		{"referral", "", "decline", "town", "transition_not_yours"}, {"referral", "", "cancel", "clinic", "transition_not_yours"},
		{"transfer", "", "accept", "town", "transition_not_yours"}, {"transfer", "", "decline", "clinic", ""}, {"transfer", "", "cancel", "town", ""},
		{"transfer", "", "complete", "clinic", "transition_status"}, {"transfer", "accept", "cancel", "town", "transition_status"},
		{"transfer", "decline", "accept", "clinic", "transition_status"}, {"transfer", "cancel", "accept", "clinic", "transition_status"},
	} {
		what := strings.TrimSpace(c.by + " " + c.answer + " a " + c.kind + " " + c.before)
		callers := map[string]annona.Caller{"town": o.town, "clinic": o.clinic}
		v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
		id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind = c.kind })
		check(t, err)
		switch c.before {
		case "cancel":
			check(t, o.reply(t, o.town, id, c.before))
		case "accept", "decline":
			check(t, o.reply(t, o.clinic, id, c.before))
		}
		refusal(t, what, o.reply(t, callers[c.by], id, c.answer), c.code)
		sees := c.kind == "referral" && (c.answer == "accept" || c.before == "accept" && c.code != "") || c.kind == "transfer" && c.before == "accept"
		if got := o.cases(t, o.clinic, exchange.CaseChoice{ID: v.ID}, "case_id"); (len(got) == 1) != sees {
			t.Errorf("%s: the clinic sees %q", what, got)
		}
		if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "owner"); (len(got) == 1) == (c.kind == "transfer" && c.before == "accept") {
			t.Errorf("%s: the town sees %q", what, got)
		}
	}
}

// The reason stands with what was declined, and nowhere else. An answer is given until the end of the last day.
func TestWhatIsSaidOfATransition(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	usual := o.Clock
	for answer, why := range map[string]string{"decline": "because", "accept": ""} {
		id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.ExpiresOn = in(2) })
		check(t, err)
		o.Clock = func() time.Time { return usual().AddDate(0, 0, 2) }
		check(t, o.reply(t, o.clinic, id, answer))
		o.Clock = usual
		status := map[string]string{"decline": "declined", "accept": "accepted"}[answer]
		if got := o.transitions(t, o.town, v.ID, status, "transition_id", "status", "decline_reason"); len(got) != 1 || got[0] != strings.TrimRight(id+" "+status+" "+why, "") {
			t.Errorf("%s: %q", answer, got)
		}
		check(t, map[bool]func() error{true: func() error { return o.reply(t, o.town, id, "cancel") }, false: func() error { return nil }}[answer == "accept"]())
	}
	if got := o.transitions(t, o.town, "", "pending", "transition_id"); len(got) != 0 {
		t.Errorf("pending: %q", got)
	}
	other := o.open(t, said{"individual_id": o.people[1], "case_type": "social_support"})
	if got := o.transitions(t, o.town, other.ID, "", "transition_id"); len(got) != 0 {
		t.Errorf("of a case of none: %q", got)
	}
	for _, limit := range []int{0, exchange.MaxLimit + 1} {
		_, err := o.Transitions(t.Context(), o.town, purpose, "", "", nil, "", limit)
		refusal(t, "as many as nobody asks for", err, "limit_out_of_range")
	}
	_, err := o.Transitions(t.Context(), o.town, purpose, "", "", []string{"transition_id"}, "", exchange.MaxLimit)
	check(t, err)
}

// A referral shows all that the other one's agreement shows when it names no field, and is read only unless it
// says so.
func TestAReferralOfAWholeCase(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a", "supervisor": "s"})
	id, err := o.begin(t, o.town, v, nil)
	check(t, err)
	check(t, o.reply(t, o.clinic, id, "accept"))
	if got := o.cases(t, o.clinic, exchange.CaseChoice{ID: v.ID}, "team", "supervisor"); len(got) != 1 || got[0] != "a s" {
		t.Errorf("the clinic sees %q", got)
	}
	theirs := v
	theirs.ETag = o.tagOf(t, o.clinic, v)
	_, err = o.edit(t, o.clinic, theirs, "", said{"team": "b"})
	refusal(t, "to change it", err, "not_shared_to_edit")
}

// By a transfer the whole case goes, and nothing of it stays shared, from the hand-over on.
func TestWhatWasSharedEndsWithATransfer(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a", "supervisor": "s", "worker": "w"})
	o.share(t, v, exchange.Offer{FieldsShared: []string{"team"}})
	id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind = "transfer" })
	check(t, err)
	check(t, o.reply(t, o.clinic, id, "accept"))
	if got := o.cases(t, o.clinic, exchange.CaseChoice{ID: v.ID}, "owner", "case_type", "team", "supervisor", "worker"); len(got) != 1 || got[0] != "social_support clinic   " {
		t.Errorf("the clinic sees %q", got)
	}
	for _, sees := range o.transitions(t, o.town, "", "completed", "kind") {
		if sees != "transfer" {
			t.Errorf("completed: %q", sees)
		}
	}
}

// Who sees a case is for its owner to say. What the former one has shared or offered ends with a hand-over, in whatever
// way it came about, and a new owner who hands the case back brings nothing of it back.
func TestAHandOverEndsWhatTheFormerOwnerHasShared(t *testing.T) {
	for _, way := range []string{"transfer", "transfer_request"} {
		o := newOffices(t)
		clinic, err := o.store.Agreement(t.Context(), "clinic")
		check(t, err)
		o.partner(t, func(a *annona.Agreement) {
			a.Name, a.Realm, a.Partner.Name, a.Datasets = "school", "offices", "school", clinic.Datasets
			a.APIKey.SpecialFields, a.Cases = true, &annona.CaseTerms{Source: "school-mis", Receives: true}
		})
		school := o.caller
		v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a"})
		other := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
		shared := map[string]string{}
		for what, of := range map[string]exchange.CaseVerdict{"accepted": v, "of another case": other} {
			id, err := o.begin(t, o.town, of, func(x *exchange.Offer) { x.ToPartner = "school" })
			check(t, err)
			check(t, o.reply(t, school, id, "accept"))
			shared[what] = id
		}
		declined, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.ToPartner = "school" })
		check(t, err)
		check(t, o.reply(t, school, declined, "decline"))
		offered, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.ToPartner = "school" })
		check(t, err)
		o.share(t, v, exchange.Offer{})
		asker, giver := o.town, o.clinic
		if way == "transfer_request" {
			asker, giver = o.clinic, o.town
		}
		id, err := o.begin(t, asker, v, func(x *exchange.Offer) { x.Kind = way })
		check(t, err)
		check(t, o.reply(t, giver, id, "accept"))
		if got := o.cases(t, school, exchange.CaseChoice{}, "case_id"); !slices.Equal(got, []string{other.ID}) {
			t.Errorf("by a %s: the school sees %q", way, got)
		}
		for want, ids := range map[string][]string{"cancelled": {shared["accepted"], offered}, "declined": {declined}, "accepted": {shared["of another case"]}} {
			got := o.transitions(t, school, "", want, "transition_id")
			if slices.Sort(ids); !slices.Equal(slices.Sorted(slices.Values(got)), ids) {
				t.Errorf("by a %s: %s are %q, want %q", way, want, got, ids)
			}
		}
		refusal(t, "an offer of the former owner", o.reply(t, school, offered, "accept"), "transition_status")
		back, err := o.begin(t, o.clinic, v, func(x *exchange.Offer) { x.Kind, x.ToPartner = "transfer", "town" })
		check(t, err)
		check(t, o.reply(t, o.town, back, "accept"))
		if got := o.cases(t, school, exchange.CaseChoice{}, "case_id"); !slices.Equal(got, []string{other.ID}) {
			t.Errorf("handed back, the school sees %q", got)
		}
	}
}

// A transition that has had its last day reads expired, wherever it stood, and is listed as that alone; one that has
// come to its end before stays what it is.
func TestTransitionsEndByThemselves(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	ids := map[string]string{}
	for _, stands := range []string{"accepted", "declined", "cancelled", "completed", "pending"} {
		id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.ExpiresOn = in(2) })
		check(t, err)
		if ids[stands] = id; stands == "accepted" || stands == "completed" {
			check(t, o.reply(t, o.clinic, id, "accept"))
		}
		switch stands {
		case "declined":
			check(t, o.reply(t, o.clinic, id, "decline"))
		case "cancelled":
			check(t, o.reply(t, o.town, id, "cancel"))
		case "completed":
			check(t, o.reply(t, o.clinic, id, "complete"))
		}
	}
	usual := o.Clock
	for days, ended := range map[int]bool{2: false, 3: true} {
		o.Clock = func() time.Time { return usual().AddDate(0, 0, days) }
		want := map[string][]string{}
		for stands, id := range ids {
			if ended && (stands == "accepted" || stands == "pending") {
				stands = "expired"
			}
			want[stands] = append(want[stands], id+" "+stands)
		}
		var all []string
		for _, status := range []string{"pending", "accepted", "declined", "cancelled", "completed", "expired"} {
			slices.Sort(want[status])
			got := o.transitions(t, o.clinic, "", status, "transition_id", "status")
			if slices.Sort(got); !slices.Equal(got, want[status]) {
				t.Errorf("after %d days %s are %q, want %q", days, status, got, want[status])
			}
			all = append(all, want[status]...)
		}
		got := o.transitions(t, o.town, v.ID, "", "transition_id", "status")
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(all))) {
			t.Errorf("after %d days: %q, want %q", days, got, all)
		}
		got = o.transitions(t, o.town, v.ID, "", "transition_id")
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(maps.Values(ids))) {
			t.Errorf("without status and last day: %q", got)
		}
	}
	o.Clock = func() time.Time { return usual().AddDate(0, 0, 3) }
	for answer, by := range map[string]annona.Caller{"cancel": o.town, "complete": o.clinic} {
		refusal(t, answer, o.reply(t, by, ids["accepted"], answer), "transition_expired")
	}
	over, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind, x.ExpiresOn = "transfer", in(9) })
	check(t, err)
	check(t, o.reply(t, o.clinic, over, "accept"))
	if got := o.transitions(t, o.town, "", "expired", "transition_id"); len(got) != 2 {
		t.Errorf("what had ended before the hand-over: %q", got)
	}
}

// Whoever receives no cases any more when a transfer is accepted gets none.
func TestATransferToOneWhoReceivesNoMore(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind = "transfer" })
	check(t, err)
	a, err := o.store.Agreement(t.Context(), "clinic")
	check(t, err)
	a.Cases.Receives = false
	_, err = o.ApplyAgreement(t.Context(), operator, *a)
	check(t, err)
	refusal(t, "accepted", o.reply(t, o.clinic, id, "accept"), "partner_not_receiving")
	if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "owner"); len(got) != 1 || got[0] != "town" {
		t.Errorf("the town sees %q", got)
	}
}

// An answer that gives the case to nobody leaves the case as it was read.
func TestAnAnswerThatMovesNothing(t *testing.T) {
	o := newOffices(t)
	cases, _ := annona.Standard().Dataset("cases")
	number := annona.Number(0)
	for kind, answer := range map[string]string{"referral": "accept", "transfer": "decline"} {
		number++
		v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
		id, err := o.begin(t, o.town, v, func(x *exchange.Offer) { x.Kind = kind })
		check(t, err)
		check(t, o.reply(t, o.clinic, id, answer))
		if events, err := o.store.MatterEvents(t.Context(), cases, []annona.Number{number}, 0, 10); err != nil || len(events) != 1 {
			t.Errorf("%s of a %s: the case has the events %+v, %v", answer, kind, events, err)
		}
	}
}

// A transition that is erased between the look at it and the answer is none.
func TestATransitionThatIsErasedMeanwhile(t *testing.T) {
	o := newOffices(t)
	w := &between{Writer: o.Writer, matters: o.store}
	o.Writer = w
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	id, err := o.begin(t, o.town, v, nil)
	check(t, err)
	w.act = func() {
		check(t, o.store.Update(t.Context(), func(tx annona.Tx) error {
			_, err := tx.EraseMatter(t.Context(), annona.Author{Operator: "tester"}, annona.MatterRef{Dataset: "transitions", Number: 1})
			return err
		}))
	}
	refusal(t, "accepted", o.reply(t, o.clinic, id, "accept"), "not_found")
}

// A request that is repeated under its key offers nothing twice, and answers nothing twice.
func TestATransitionUnderItsKey(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	offer := exchange.Offer{Kind: "referral", ToPartner: "clinic", Basis: "public_task", ExpiresOn: in(1), Keyed: &exchange.Keyed{Key: "offer", Route: "POST", Asked: []byte("1")}}
	var id string
	for _, verdict := range []string{exchange.VerdictCreated, exchange.VerdictUnchanged} {
		got, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, offer)
		if err != nil || got.Verdict != verdict || id != "" && got.ID != id {
			t.Errorf("offered: %+v, %v, want %s", got, err, verdict)
		}
		id = got.ID
	}
	answer := exchange.TransitionAnswer{Answer: "accept", Keyed: &exchange.Keyed{Key: "answer", Route: "POST", Asked: []byte("2")}}
	for _, verdict := range []string{exchange.VerdictChanged, exchange.VerdictUnchanged} {
		if got, err := o.AnswerTransition(t.Context(), o.clinic, purpose, id, answer); err != nil || got.Verdict != verdict {
			t.Errorf("answered: %+v, %v, want %s", got, err, verdict)
		}
	}
}

// Whoever hands cases over may do so with cases and with transitions; and of cases, a role shows the fields
// that it names.
func TestRolesOfThoseWhoHandOver(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a"})
	whole := annona.DatasetTerms{}
	p := policy.Shipped()
	for name, datasets := range map[string]map[string]annona.DatasetTerms{
		"both": {"cases": {Fields: []string{"case_id", "team"}}, "transitions": whole}, "cases-alone": {"cases": whole}, "transitions-alone": {"transitions": whole},
	} {
		p.Roles = append(p.Roles, annona.Role{Name: name, Rules: []annona.RoleRule{{Name: "all", Verbs: []annona.Verb{annona.VerbReadCases, annona.VerbTransferCases}, Datasets: datasets}}})
	}
	_, err := o.ApplyPolicy(t.Context(), operator, p)
	check(t, err)
	for role, code := range map[string]string{"cases-alone": "role_not_granted", "transitions-alone": "role_not_granted", "both": ""} {
		check(t, o.SetRole(t.Context(), operator, o.town.Client, role))
		_, err := o.begin(t, o.town, v, nil)
		refusal(t, role, err, code)
		_, err = o.Transitions(t.Context(), o.town, purpose, "", "", nil, "", 10)
		refusal(t, "to read them: "+role, err, code)
	}
	check(t, o.SetRole(t.Context(), operator, o.town.Client, "both"))
	for field, code := range map[string]string{"team": "", "supervisor": "field_not_granted"} {
		_, err := o.Cases(t.Context(), o.town, purpose, exchange.CaseChoice{}, []string{field}, "", 10)
		refusal(t, field, err, code)
	}
}
