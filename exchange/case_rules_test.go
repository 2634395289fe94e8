package exchange_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/policy"
)

// Each rule of cases by itself: what it lets pass, and what it stops.

// between lets a test act between what a request has looked at and what it writes.
type between struct {
	annona.Writer
	matters annona.Matters
	act     func()
}

func (w *between) Update(ctx context.Context, fn func(annona.Tx) error) error {
	if act := w.act; act != nil {
		w.act = nil
		act()
	}
	return w.Writer.Update(ctx, fn)
}

// Share finds what the errand is about before that.
func (w *between) Share(ctx context.Context, e annona.Errand) error {
	e.Find.Page.Reset()
	if err := w.matters.ReadMatters(ctx, e.Find); err != nil {
		return err
	}
	return w.Update(ctx, func(tx annona.Tx) error { return e.ByItself(ctx, tx) })
}

// signIn is a caller of the town for whom a person acts who has signed in here.
func (o *offices) signIn(t *testing.T, name string) annona.Caller {
	t.Helper()
	o.Users = o.store
	person := annona.User{ID: annona.NewUID(), Name: name, Partner: "town", Status: annona.UserActive, Version: 1, CreatedAt: time.Now(), Roles: []string{"case-supervisor"}}
	check(t, o.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), person) }))
	caller := o.town
	caller.Acting = annona.SignedIn{Person: person.ID, Assurance: annona.AssurancePasskey, At: time.Now()}
	return caller
}

// A case of named persons is that of the worker who is named, and has signed in: nobody else sees it, writes it or
// learns that it is there.
func TestNamedPersons(t *testing.T) {
	o := newOffices(t)
	ama, esi := o.signIn(t, "ama"), o.signIn(t, "esi")
	opened, err := o.PutCases(t.Context(), ama, purpose, []map[string]any{{"individual_id": o.people[0], "case_type": "violence", "confidentiality": "named_persons", "worker": "ama", "source_case_id": "N-1"}})
	check(t, err)
	v := opened[0]
	if v.Verdict != exchange.VerdictCreated {
		t.Fatalf("%+v", v)
	}
	for name, c := range map[string]struct {
		caller annona.Caller
		sees   int
	}{"the worker who is named": {ama, 1}, "another worker": {esi, 0}, "a client by itself": {o.town, 0}, "another partner": {o.clinic, 0}} {
		if got := o.cases(t, c.caller, exchange.CaseChoice{}, "case_id"); len(got) != c.sees {
			t.Errorf("%s sees %d", name, len(got))
		}
		_, err := o.edit(t, c.caller, v, "", said{"due_date": "2030-01-01"})
		refusal(t, name, err, map[int]string{0: "not_found", 1: ""}[c.sees])
		_, err = o.AddCaseNote(t.Context(), c.caller, purpose, v.ID, exchange.CaseNote{Kind: "call", Text: "x"})
		refusal(t, name, err, map[int]string{0: "not_found", 1: ""}[c.sees])
	}
	refused, err := o.PutCases(t.Context(), esi, purpose, []map[string]any{{"individual_id": o.people[0], "case_type": "violence", "confidentiality": "named_persons", "worker": "ama"}})
	check(t, err)
	refusal(t, "in another one's name", refused[0].Reason, "confidentiality_not_granted")
	notes, err := o.CaseNotes(t.Context(), ama, purpose, v.ID, []string{"author", "author_basis"}, "", 10)
	if err != nil || len(lines(notes)) != 1 || lines(notes)[0] != "ama proven" {
		t.Errorf("her note: %v %v", lines(notes), err)
	}
}

// What a request has looked at may change before it writes: it looks again, under the lock.
func TestCasesAreLookedAtAgain(t *testing.T) {
	o := newOffices(t)
	w := &between{Writer: o.Writer, matters: o.store}
	o.Writer = w
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	shared := o.share(t, v, exchange.Offer{Edit: true})
	seen, err := o.Cases(t.Context(), o.clinic, purpose, exchange.CaseChoice{ID: v.ID}, []string{"team"}, "", 1)
	check(t, err)
	theirs := exchange.CaseVerdict{ID: v.ID, ETag: seen.ETag}
	w.act = func() {
		_, err := o.AnswerTransition(t.Context(), o.clinic, purpose, shared, exchange.TransitionAnswer{Answer: "complete"})
		check(t, err)
	}
	_, err = o.edit(t, o.clinic, theirs, "", said{"team": "x"})
	refusal(t, "what is shared no more", err, "not_found")
	o.share(t, v, exchange.Offer{Edit: true})
	w.act = func() {
		_, err := o.edit(t, o.town, v, "", said{"confidentiality": "restricted"})
		check(t, err)
	}
	_, err = o.edit(t, o.clinic, theirs, "", said{"team": "x"})
	refusal(t, "what is restricted meanwhile", err, "not_found")
}

// A node that remembers who edits cases writes nothing for them behind their revocation elsewhere, nor under an
// agreement that was changed elsewhere; it takes an edit again when it may.
func TestCasesAreEditedUnderStandingsInForce(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	editor, c := o.town, o.Config
	c.Remembered = nil
	there := exchange.New(c) // another node
	edit := func(team string) error {
		t.Helper()
		next, err := there.EditCase(t.Context(), editor, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: v.ETag, Patch: map[string]any{"team": team}})
		if err == nil {
			v.ETag = next.ETag
		}
		return err
	}
	terms := func(cases *annona.CaseTerms) {
		t.Helper()
		o.partner(t, func(a *annona.Agreement) {
			was, err := o.store.Agreement(t.Context(), "town")
			check(t, err)
			*a = *was
			a.Cases = cases
		})
	}
	granted := &annona.CaseTerms{Source: "town-mis", Confidentiality: []string{"restricted"}, Receives: true}
	check(t, edit("first"))
	terms(nil)
	if err := edit("second"); annona.KindOf(err) != annona.KindForbidden {
		t.Errorf("under an agreement without cases: %v", err)
	}
	terms(granted)
	reader := o.caller
	check(t, edit("third"))
	check(t, o.RevokeClient(t.Context(), operator, editor.Client))
	if err := edit("fourth"); annona.KindOf(err) != annona.KindUnauthenticated {
		t.Errorf("behind a revocation: %v", err)
	}
	if got := o.cases(t, reader, exchange.CaseChoice{ID: v.ID}, "team"); got[0] != "third" {
		t.Errorf("the team is %s", got)
	}
}

// share refers a case of the town to the clinic, which accepts.
func (o *offices) share(t *testing.T, v exchange.CaseVerdict, offer exchange.Offer) (transition string) {
	t.Helper()
	offer.Kind, offer.ToPartner, offer.Basis, offer.ExpiresOn = "referral", "clinic", "public_task", tomorrow()
	got, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, offer)
	check(t, err)
	_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, got.ID, exchange.TransitionAnswer{Answer: "accept"})
	check(t, err)
	return got.ID
}

// What is shared to be changed is changed within the share; the workflow, and whom the case is about, are the owner's.
func TestSharedToBeChanged(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	for _, c := range []struct {
		offer                     exchange.Offer
		team, priority, act, note string // codes
	}{
		{exchange.Offer{}, "not_shared_to_edit", "not_shared_to_edit", "not_owner", "not_shared_to_edit"},
		{exchange.Offer{FieldsShared: []string{"team", "notes"}}, "not_shared_to_edit", "not_shared_to_edit", "not_owner", "not_shared_to_edit"},
		{exchange.Offer{FieldsShared: []string{"team", "notes"}, Edit: true}, "", "not_shared_to_edit", "not_owner", ""},
		{exchange.Offer{FieldsShared: []string{"team"}, Edit: true}, "", "not_shared_to_edit", "not_owner", "not_shared_to_edit"},
		{exchange.Offer{Edit: true}, "", "", "", ""},
	} {
		referral := o.share(t, v, c.offer)
		try := func(action string, patch said) error {
			seen, err := o.Cases(t.Context(), o.clinic, purpose, exchange.CaseChoice{ID: v.ID}, []string{"case_id"}, "", 1)
			check(t, err)
			_, err = o.edit(t, o.clinic, exchange.CaseVerdict{ID: v.ID, ETag: seen.ETag}, action, patch)
			return err
		}
		refusal(t, "a field", try("", said{"team": shortText(c.offer)}), c.team)
		refusal(t, "another field", try("", said{"priority": "critical"}), c.priority)
		refusal(t, "an action", try("assess", nil), c.act)
		_, err := o.AddCaseNote(t.Context(), o.clinic, purpose, v.ID, exchange.CaseNote{Kind: "call", Text: "x"})
		refusal(t, "a note", err, c.note)
		_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, referral, exchange.TransitionAnswer{Answer: "complete"})
		check(t, err)
	}
}

// shortText differs from one offer to the next.
func shortText(of exchange.Offer) string {
	return "t" + strings.Join(of.FieldsShared, "-") + map[bool]string{true: "e"}[of.Edit]
}

// Whom a case is about, and what it is called, are said in one way.
func TestCasesThatAreSaidWrongly(t *testing.T) {
	o := newOffices(t)
	for name, c := range map[string]struct {
		row  said
		code string
	}{
		"about two":                       {said{"individual_id": o.people[0], "household_id": o.people[0], "case_type": "other"}, "subject_malformed"},
		"about a number":                  {said{"individual_id": json.Number("1"), "case_type": "other"}, "subject_malformed"},
		"about a household of nobody":     {said{"household_id": strings.Repeat("a", 26), "case_type": "other"}, "not_found"},
		"about null":                      {said{"individual_id": nil, "case_type": "other", "provisional_name": "x"}, ""},
		"a name that is none":             {said{"source_case_id": "with space", "case_type": "other"}, "key_malformed"},
		"a name that is a number":         {said{"source_case_id": json.Number("1"), "case_type": "other"}, "key_malformed"},
		"no row":                          {nil, "field_required"},
		"a phase that needs more":         {said{"case_type": "other", "phase": "review"}, "field_required"},
		"closed before it was opened":     {said{"case_type": "other", "opened_date": "2030-01-01", "closed_date": "2029-01-01"}, "field_not_set"},
		"violence that is normal":         {said{"case_type": "violence", "confidentiality": "normal"}, "confidentiality_too_low"},
		"named persons without a worker":  {said{"case_type": "violence", "confidentiality": "named_persons"}, "field_required"},
		"an identifier of no type":        {said{"case_type": "other", "provisional_identifier": "1"}, "field_required"},
		"an intensity that there is none": {said{"case_type": "other", "intensity": json.Number("0")}, "value_malformed"},
	} {
		v := o.open(t, c.row)
		refusal(t, name, v.Reason, c.code)
	}
	v := o.open(t, said{"source_case_id": "A", "case_type": "other", "provisional_name": "x"})
	linked := o.open(t, said{"source_case_id": "A", "case_type": "other", "individual_id": o.people[0]})
	if linked.Verdict != exchange.VerdictChanged || len(o.cases(t, o.town, exchange.CaseChoice{IndividualID: o.people[0]}, "case_id")) != 1 {
		t.Errorf("linked by its name: %+v", linked)
	}
	if again := o.open(t, said{"source_case_id": "A", "case_type": "other", "individual_id": o.people[0]}); again.Verdict != exchange.VerdictUnchanged {
		t.Errorf("linked again: %+v", again)
	}
	transfer, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow()})
	check(t, err)
	_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, transfer.ID, exchange.TransitionAnswer{Answer: "accept"})
	check(t, err)
	late := o.open(t, said{"source_case_id": "A", "case_type": "other", "priority": "high"})
	refusal(t, "what was handed over, by its former owner", late.Reason, "not_found")
	other := o.open(t, said{"case_type": "other", "individual_id": o.people[0]})
	_, err = o.edit(t, o.town, exchange.CaseVerdict{ID: other.ID, ETag: linked.ETag}, "", said{"team": "x"})
	refusal(t, "the version of another case", err, "version_unknown")
	o.partner(t, func(a *annona.Agreement) {
		town, err := o.store.Agreement(t.Context(), "town")
		check(t, err)
		*a, a.Version = *town, 0
		a.Cases = &annona.CaseTerms{}
	})
	refused, err := o.PutCases(t.Context(), o.caller, purpose, []map[string]any{{"source_case_id": "B", "case_type": "other"}})
	check(t, err)
	refusal(t, "a name, of a partner that has no system", refused[0].Reason, "source_not_granted")
}

// A caseload is what is asked for: by day, by household, by page.
func TestCaseloads(t *testing.T) {
	o := newOffices(t)
	answer, err := o.Search(t.Context(), o.town, exchange.Question{Dataset: "households", Purpose: purpose, Fields: []string{"household_id"}}, 1, "", exchange.Form{})
	check(t, err)
	home := string(answer.Page.Page().Cell(0, 0))
	for _, row := range []said{
		{"household_id": home, "case_type": "other", "team": "1", "next_review_date": "2030-01-01", "due_date": "2031-01-01"},
		{"individual_id": o.people[0], "case_type": "other", "team": "2", "next_review_date": "2032-01-01", "due_date": "2031-01-01"},
		{"individual_id": o.people[1], "case_type": "other", "team": "3", "next_review_date": "2030-06-01"},
	} {
		if v := o.open(t, row); v.Reason != nil {
			t.Fatal(v.Reason)
		}
	}
	for team, programs := range map[string][]any{"4": {"child-grant"}, "5": {"child-grants", "school-meals"}, "6": {"school-meals", "child-grant"}} {
		if v := o.open(t, said{"individual_id": o.people[3], "case_type": "other", "team": team, "programs": programs}); v.Reason != nil {
			t.Fatal(v.Reason)
		}
	}
	for name, c := range map[string]struct {
		choice exchange.CaseChoice
		want   string
	}{
		"of a program":           {exchange.CaseChoice{Program: "child-grant"}, "4 6"},
		"of another one":         {exchange.CaseChoice{Program: "school-meals"}, "5 6"},
		"of a program of none":   {exchange.CaseChoice{Program: "grant"}, ""},
		"to be reviewed or due":  {exchange.CaseChoice{DueUntil: "2030-12-31"}, "1 3"},
		"a year later":           {exchange.CaseChoice{DueUntil: "2031-12-31"}, "1 2 3"},
		"of the household":       {exchange.CaseChoice{HouseholdID: home}, "1"},
		"closed":                 {exchange.CaseChoice{Status: "closed"}, ""},
		"an id that is none":     {exchange.CaseChoice{ID: "x"}, ""},
		"of nobody, by their id": {exchange.CaseChoice{IndividualID: o.people[2]}, ""},
	} {
		got := o.cases(t, o.town, c.choice, "team")
		if slices.Sort(got); strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for _, code := range []string{"child-grant\x1fschool-meals", "\x00"} {
		_, err := o.Cases(t.Context(), o.town, purpose, exchange.CaseChoice{Program: code}, []string{"team"}, "", 10)
		refusal(t, "what is no code", err, "unknown_code")
	}
	for _, limit := range []int{0, exchange.MaxLimit + 1} {
		_, err := o.Cases(t.Context(), o.town, purpose, exchange.CaseChoice{}, nil, "", limit)
		refusal(t, "a page", err, "limit_out_of_range")
		_, err = o.CaseNotes(t.Context(), o.town, purpose, "", nil, "", limit)
		refusal(t, "a page of notes", err, "limit_out_of_range")
		_, err = o.CaseAttachments(t.Context(), o.town, purpose, "", nil, "", limit)
		refusal(t, "a page of attachments", err, "limit_out_of_range")
		_, err = o.Transitions(t.Context(), o.town, purpose, "", "", nil, "", limit)
		refusal(t, "a page of transitions", err, "limit_out_of_range")
	}
	town, err := o.store.Agreement(t.Context(), "town")
	check(t, err)
	town.RowCeiling = 2
	_, err = o.ApplyAgreement(t.Context(), operator, *town)
	check(t, err)
	page, err := o.Cases(t.Context(), o.town, purpose, exchange.CaseChoice{}, []string{"team"}, "", 100)
	if err != nil || page.Page.Count() != 2 || page.Next == "" {
		t.Errorf("under a ceiling: %v, %v", page, err)
	}
	for what, c := range map[string]exchange.CaseChoice{"status": {Status: "open"}, "worker": {Worker: "w1"}, "day": {DueUntil: "2031-12-31"}, "household": {HouseholdID: home}, "program": {Program: "child-grant"}} {
		_, err = o.Cases(t.Context(), o.town, purpose, c, []string{"team"}, page.Next, 100)
		refusal(t, "the cursor of another list, by "+what, err, "cursor_invalid")
	}
}

// A caseload is asked for by what its reader sees: by a field that the agreement grants unaltered, and of a case that is
// shared, by one that the share names. What is not seen is not found either.
func TestCaseloadsAreAskedByWhatIsSeen(t *testing.T) {
	o := newOffices(t)
	of := said{"individual_id": o.people[0], "case_type": "other", "team": "a", "worker": "w", "due_date": "2031-01-01", "next_review_date": "2032-01-01", "programs": []any{"child-grant"}}
	choices := map[string]exchange.CaseChoice{"status": {Status: "open"}, "programs": {Program: "child-grant"}, "due_date next_review_date": {DueUntil: "2033-01-01"}}
	whole, none := o.open(t, of), o.open(t, of)
	o.share(t, whole, exchange.Offer{})
	o.share(t, none, exchange.Offer{FieldsShared: []string{"team"}})
	for fields, choice := range choices {
		if got := o.cases(t, o.clinic, choice, "case_id"); !slices.Equal(got, []string{whole.ID}) {
			t.Errorf("by %s: %q", fields, got)
		}
		part := o.open(t, of)
		o.share(t, part, exchange.Offer{FieldsShared: strings.Fields(fields)})
		for by, choice := range choices {
			want := []string{whole.ID}
			if by == fields {
				want = append(want, part.ID)
			}
			if got := o.cases(t, o.clinic, choice, "case_id"); !slices.Equal(got, want) {
				t.Errorf("of one of which %s is shared, by %s: %q, want %q", fields, by, got, want)
			}
		}
		check(t, o.reply(t, o.town, o.transitions(t, o.clinic, "", "accepted", "transition_id")[2], "cancel"))
	}
	usual, err := o.store.Agreement(t.Context(), "town")
	check(t, err)
	for field, choice := range map[string]exchange.CaseChoice{
		"status": {Status: "open"}, "worker": {Worker: "w"}, "due_date": {DueUntil: "2033-01-01"}, "next_review_date": {DueUntil: "2033-01-01"}, "programs": {Program: "child-grant"},
	} {
		town := *usual
		terms := town.Datasets["cases"]
		terms.Fields = slices.DeleteFunc(slices.Clone(terms.Fields), func(f string) bool { return f == field })
		town.Datasets = maps.Clone(town.Datasets)
		town.Datasets["cases"] = terms
		_, err := o.ApplyAgreement(t.Context(), operator, town)
		check(t, err)
		_, err = o.Cases(t.Context(), o.town, purpose, choice, []string{"team"}, "", 10)
		refusal(t, "by "+field+", which is not granted", err, "filter_not_granted")
		_, err = o.Cases(t.Context(), o.town, purpose, exchange.CaseChoice{IndividualID: o.people[0]}, []string{"team"}, "", 10)
		check(t, err)
	}
}

// A conflict shows both values as far as the agreement shows the field, is in the ledger, and leaves its key free.
func TestClashes(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a", "plan_items": []any{said{"item": "P1", "service": "home_visit", "status": "planned"}}})
	mine, err := o.edit(t, o.town, v, "", said{"team": "b", "plan_items": said{"P1": said{"status": "done"}}})
	check(t, err)
	keyed := exchange.CaseEdit{ID: v.ID, IfMatch: v.ETag, Patch: said{"team": "c", "plan_items": said{"P1": said{"status": "in_progress"}}}, Keyed: &exchange.Keyed{Key: "k", Route: "PATCH", Asked: []byte("1")}}
	before := o.ledgerSize(t)
	clash, err := o.EditCase(t.Context(), o.town, purpose, keyed)
	if err != nil || clash.Verdict != exchange.VerdictConflict || len(clash.Clashes) != 2 {
		t.Fatalf("%+v, %v", clash, err)
	}
	theirs, _ := clash.Clashes[0].Theirs.(map[string]string)
	if clash.Clashes[0].Field != "plan_items/P1" || theirs["status"] != "done" {
		t.Errorf("of an item: %+v", clash.Clashes[0])
	}
	told := o.entriesSince(t, before)
	shown := func(e audit.Entry) bool {
		return e.Kind == annona.EntryRelease && slices.Contains(e.Facts.Fields, "team") && len(e.Subjects) == 1 && e.Subjects[0].Noun == "individual"
	}
	if !slices.ContainsFunc(told, shown) {
		t.Errorf("in the ledger: %+v", told)
	}
	keyed.IfMatch, keyed.Keyed.Asked = mine.ETag, []byte("2")
	_, err = o.EditCase(t.Context(), o.town, purpose, keyed)
	refusal(t, "another request under the key of a conflict", err, "idempotency_key_reused")
	keyed.Keyed.Key = "another"
	if v, err := o.EditCase(t.Context(), o.town, purpose, keyed); err != nil || v.Verdict != exchange.VerdictChanged {
		t.Errorf("the value that holds: %+v, %v", v, err)
	}
	town, err := o.store.Agreement(t.Context(), "town")
	check(t, err)
	terms := town.Datasets["cases"]
	terms.Fields = slices.DeleteFunc(terms.Fields, func(f string) bool { return f == "team" })
	town.Datasets["cases"] = terms
	_, err = o.ApplyAgreement(t.Context(), operator, *town)
	check(t, err)
	hidden, err := o.edit(t, o.town, v, "", said{"team": "d"})
	if err != nil || len(hidden.Clashes) != 1 || hidden.Clashes[0].Theirs != nil || hidden.Clashes[0].Read != nil || hidden.Clashes[0].Yours != "d" {
		t.Errorf("of a field that is not shown: %+v, %v", hidden, err)
	}
}

func (o *offices) ledgerSize(t *testing.T) (n int) { return len(o.entriesSince(t, 0)) }

// entriesSince are the entries of the ledger behind the first n.
func (o *offices) entriesSince(t *testing.T, n int) (all []audit.Entry) {
	t.Helper()
	o.Settle()
	opener := audit.Opener{Vault: o.Vault, Ledger: o.store}
	check(t, o.store.WalkLedger(t.Context(), func(row annona.LedgerRow) error {
		e, err := opener.Open(t.Context(), row)
		all = append(all, e)
		return err
	}))
	return all[n:]
}

// A change of cases is in the ledger, with whom it is about and which fields.
func TestChangesOfCasesAreInTheLedger(t *testing.T) {
	o := newOffices(t)
	before := o.ledgerSize(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	_, err := o.edit(t, o.town, v, "", said{"team": "b", "priority": "low"})
	check(t, err)
	told := o.entriesSince(t, before)
	if len(told) != 2 || told[0].Facts.Details["act"] != "put_cases" || told[1].Facts.Details["act"] != "patch_case" || told[1].Facts.Details["fields"] != "priority team" {
		t.Fatalf("%+v", told)
	}
	for _, e := range told {
		if len(e.Subjects) != 1 || e.Subjects[0].Noun != "individual" || len(e.Subjects[0].Numbers) != 1 {
			t.Errorf("about whom: %+v", e.Subjects)
		}
	}
	if o.open(t, said{}); len(o.entriesSince(t, before)) != 2 {
		t.Error("a refused case is in the ledger as a change")
	}
}

// Who may begin, answer and take back a transition, and until when.
func TestRulesOfTransitions(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	begin := func(caller annona.Caller, offer exchange.Offer) (string, error) {
		offer.Basis, offer.ExpiresOn = "public_task", tomorrow()
		got, err := o.OfferTransition(t.Context(), caller, purpose, v.ID, offer)
		return got.ID, err
	}
	answer := func(caller annona.Caller, id, how string) error {
		_, err := o.AnswerTransition(t.Context(), caller, purpose, id, exchange.TransitionAnswer{Answer: how, Why: "because"})
		return err
	}
	_, err := begin(o.town, exchange.Offer{Kind: "transfer_request"})
	refusal(t, "to ask for one's own", err, "transition_to_oneself")
	_, err = begin(o.clinic, exchange.Offer{Kind: "transfer_request"})
	refusal(t, "to ask for what one does not see", err, "not_found")
	o.share(t, v, exchange.Offer{Edit: true})
	_, err = begin(o.clinic, exchange.Offer{Kind: "referral", ToPartner: "town"})
	refusal(t, "to refer another partner's", err, "not_owner")
	_, err = begin(o.clinic, exchange.Offer{Kind: "transfer", ToPartner: "town"})
	refusal(t, "to hand over another partner's", err, "not_owner")
	request, err := begin(o.clinic, exchange.Offer{Kind: "transfer_request", ToPartner: "town"})
	check(t, err)
	refusal(t, "to answer what one asks for", answer(o.clinic, request, "accept"), "transition_not_yours")
	refusal(t, "to take back what another one asks for", answer(o.town, request, "cancel"), "transition_not_yours")
	refusal(t, "to complete a request", answer(o.town, request, "complete"), "transition_status")
	refusal(t, "to dance", answer(o.town, request, "dance"), "answer_unknown")
	check(t, answer(o.town, request, "decline"))
	if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "owner"); len(got) != 1 || got[0] != "town" {
		t.Errorf("declined: %q", got)
	}
	request, err = begin(o.clinic, exchange.Offer{Kind: "transfer_request"})
	check(t, err)
	usual := o.Clock
	o.Clock = func() time.Time { return usual().AddDate(0, 0, 2) }
	refusal(t, "two days later", answer(o.town, request, "accept"), "transition_expired")
	refusal(t, "to cancel what has ended by itself", answer(o.clinic, request, "cancel"), "transition_expired")
	o.Clock = usual
	_, err = o.edit(t, o.town, exchange.CaseVerdict{ID: v.ID, ETag: o.tagOf(t, o.town, v)}, "close", said{"closure_reason": "goals_met", "outcome": "improved"})
	check(t, err)
	_, err = begin(o.town, exchange.Offer{Kind: "transfer", ToPartner: "clinic"})
	refusal(t, "to hand over what is closed", err, "case_phase")
	v = o.open(t, said{"individual_id": o.people[1], "case_type": "violence"})
	_, err = begin(o.town, exchange.Offer{Kind: "transfer", ToPartner: "clinic"})
	refusal(t, "to hand a restricted one to a partner that is not cleared", err, "partner_not_receiving")
	v = o.open(t, said{"individual_id": o.people[2], "case_type": "other"})
	transfer, err := begin(o.town, exchange.Offer{Kind: "transfer", ToPartner: "clinic"})
	check(t, err)
	_, err = o.edit(t, o.town, v, "", said{"confidentiality": "restricted"})
	check(t, err)
	refusal(t, "that became restricted", answer(o.clinic, transfer, "accept"), "not_found")
	clinic, err := o.store.Agreement(t.Context(), "clinic")
	check(t, err)
	for code, change := range map[string]func(){
		"": func() {}, "suspended": func() { clinic.Status = "suspended" }, "over": func() { clinic.Status, clinic.ValidUntil = "active", "2020-12-31" }, "not receiving": func() { clinic.ValidUntil, clinic.Cases.Receives = "2099-12-31", false },
	} {
		if change(); code == "" {
			continue
		}
		_, err := o.ApplyAgreement(t.Context(), operator, *clinic)
		check(t, err)
		v = o.open(t, said{"individual_id": o.people[3], "case_type": "other"})
		_, err = begin(o.town, exchange.Offer{Kind: "referral", ToPartner: "clinic"})
		refusal(t, code, err, "partner_not_receiving")
	}
}

func (o *offices) tagOf(t *testing.T, caller annona.Caller, v exchange.CaseVerdict) string {
	t.Helper()
	answer, err := o.Cases(t.Context(), caller, purpose, exchange.CaseChoice{ID: v.ID}, []string{"case_id"}, "", 1)
	check(t, err)
	return answer.ETag
}

// What a note and an offer must have, and what a caller who is not cleared may not keep.
func TestNotesAndOffersThatAreSaidWrongly(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	for what, note := range map[string]exchange.CaseNote{"no text": {Kind: "call"}, "no kind": {Text: "a word"}} {
		_, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, note)
		refusal(t, what, err, "field_required")
	}
	theirs, err := o.PutCases(t.Context(), o.clinic, purpose, []map[string]any{{"individual_id": o.people[0], "case_type": "social_support"}})
	check(t, err)
	_, err = o.AddCaseNote(t.Context(), o.clinic, purpose, theirs[0].ID, exchange.CaseNote{Kind: "call", Text: "a word", Confidential: true})
	refusal(t, "a confidential note of who is not cleared", err, "confidentiality_not_granted")
	lives, err := o.Search(t.Context(), o.town, exchange.Question{Dataset: "households", Purpose: purpose, Fields: []string{"household_id"}}, 1, "", exchange.Form{})
	check(t, err)
	lives.Sent(1, nil)
	home := o.open(t, said{"household_id": lines(lives)[0], "case_type": "social_support"})
	_, err = o.OfferTransition(t.Context(), o.town, purpose, home.ID, exchange.Offer{Kind: "referral", ToPartner: "clinic", Basis: "consent", ExpiresOn: tomorrow()})
	refusal(t, "the consent of a household", err, "consent_missing")
}

// Whoever reads notes, or writes them, may do so with cases and with notes.
func TestRolesOfThoseWhoNote(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	whole := annona.DatasetTerms{}
	p := policy.Shipped()
	for name, datasets := range map[string]map[string]annona.DatasetTerms{"both": {"cases": whole, "case_notes": whole}, "cases-alone": {"cases": whole}, "notes-alone": {"case_notes": whole}} {
		p.Roles = append(p.Roles, annona.Role{Name: name, Rules: []annona.RoleRule{{Name: "all", Verbs: []annona.Verb{annona.VerbReadCases, annona.VerbWriteCases}, Datasets: datasets}}})
	}
	_, err := o.ApplyPolicy(t.Context(), operator, p)
	check(t, err)
	for role, code := range map[string]string{"cases-alone": "role_not_granted", "notes-alone": "role_not_granted", "both": ""} {
		check(t, o.SetRole(t.Context(), operator, o.town.Client, role))
		_, err := o.CaseNotes(t.Context(), o.town, purpose, v.ID, nil, "", 10)
		refusal(t, "to read: "+role, err, code)
		_, err = o.AddCaseNote(t.Context(), o.town, purpose, v.ID, exchange.CaseNote{Kind: "call", Text: "x"})
		refusal(t, "to write: "+role, err, code)
	}
}

// The view of a beneficiary has cases only for who may read cases.
func TestABeneficiaryWithoutItsCases(t *testing.T) {
	o := newOffices(t)
	o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	_, err := o.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}))
	check(t, err)
	for role, sees := range map[string]bool{"partner": true, "desk": false} {
		check(t, o.SetRole(t.Context(), operator, o.town.Client, role))
		b, err := o.Beneficiary(t.Context(), o.town, exchange.Question{Purpose: purpose}, o.people[0], exchange.Form{Format: "json"})
		check(t, err)
		shown := slices.ContainsFunc(b.Parts, func(p exchange.BeneficiaryPart) bool { return strings.HasSuffix(p.Name, "cases") })
		if shown != sees {
			t.Errorf("in the role %s cases are shown: %v", role, shown)
		}
	}
}

// The updates of cases are for who keeps cases.
func TestUpdatesOfCasesAreForWhoKeepsThem(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	a, err := o.store.Agreement(t.Context(), "town")
	check(t, err)
	a.Cases = nil
	_, err = o.ApplyAgreement(t.Context(), operator, *a)
	check(t, err)
	_, err = o.MatterUpdates(t.Context(), o.town, purpose, "cases", v.ID, "", 10)
	refusal(t, "without cases", err, "cases_not_granted")
}

// The content of an attachment leaves where all that is said of it may be seen unaltered.
func TestAnAttachmentThatIsSeenAltered(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	letter := o.attach(t, v, "a letter")
	a, err := o.store.Agreement(t.Context(), "town")
	check(t, err)
	terms := a.Datasets["case_attachments"]
	terms.Treatments = map[string]annona.Treatment{"sha256": annona.TreatMask}
	a.Datasets["case_attachments"] = terms
	_, err = o.ApplyAgreement(t.Context(), operator, *a)
	check(t, err)
	_, err = o.OpenAttachment(t.Context(), o.town, purpose, v.ID, letter.ID)
	refusal(t, "with a masked hash", err, "content_not_granted")
}

// The system in which cases are kept is that of one partner, with one confidentiality.
func TestASourceOfCasesIsOfOnePartner(t *testing.T) {
	o := newOffices(t)
	a, err := o.store.Agreement(t.Context(), "town")
	check(t, err)
	for what, c := range map[string]struct {
		partner string
		cleared []string
		code    string
	}{
		"the same partner":    {"town", []string{"restricted"}, ""},
		"with less clearance": {"town", nil, "case_source_taken"},
		"another partner":     {"school", []string{"restricted"}, "case_source_taken"},
	} {
		next, terms := *a, *a.Cases
		terms.Confidentiality = c.cleared
		next.Name, next.Partner.Name, next.Cases = "another", c.partner, &terms
		_, err := o.ApplyAgreement(t.Context(), operator, next)
		refusal(t, what, err, c.code)
		next.Cases = nil
		_, err = o.ApplyAgreement(t.Context(), operator, next)
		check(t, err)
	}
}
