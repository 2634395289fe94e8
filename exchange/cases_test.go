package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/synthetic"
)

// offices are two partners who keep cases: the town's, which is cleared for restricted ones, and a clinic.
type offices struct {
	*registry
	town, clinic annona.Caller
	people       []string // wire ids of individuals, in the town's realm; the clinic has the same realm
}

func newOffices(t *testing.T) *offices {
	t.Helper()
	o := &offices{registry: newRegistry(t, 12)}
	office := func(name string, cleared ...string) annona.Caller {
		o.partner(t, func(a *annona.Agreement) {
			a.Name, a.Realm, a.Partner.Name = name, "offices", name
			a.APIKey.SpecialFields = true
			whole := func(dataset string) annona.DatasetTerms {
				of, _ := annona.Standard().Dataset(dataset)
				var names []string
				for _, f := range of.Fields {
					names = append(names, f.Code)
				}
				return annona.DatasetTerms{Fields: names}
			}
			for _, dataset := range []string{"cases", "case_plan_items", "case_visits", "case_services", "case_links", "case_notes", "case_attachments", "transitions"} {
				a.Datasets[dataset] = whole(dataset)
			}
			a.Cases = &annona.CaseTerms{Source: name + "-mis", Confidentiality: cleared, Receives: true}
			a.UpdateLog = true
		})
		return o.caller
	}
	o.clinic = office("clinic")
	o.town = office("town", "restricted")
	answer, err := o.Search(t.Context(), o.town, exchange.Question{Dataset: "individuals", Purpose: purpose, Fields: []string{"individual_id"}}, 10, "", exchange.Form{})
	if err != nil {
		t.Fatal(err)
	}
	for row := range answer.Page.Count() {
		o.people = append(o.people, string(answer.Page.Page().Cell(0, row)))
	}
	return o
}

type said = map[string]any

// open opens one case in the town.
func (o *offices) open(t *testing.T, of said) exchange.CaseVerdict {
	t.Helper()
	v, err := o.PutCases(t.Context(), o.town, purpose, []map[string]any{of})
	if err != nil {
		t.Fatal(err)
	}
	return v[0]
}

// cases returns what a caller sees of its cases, one line each.
func (o *offices) cases(t *testing.T, caller annona.Caller, c exchange.CaseChoice, fields ...string) []string {
	t.Helper()
	answer, err := o.Cases(t.Context(), caller, purpose, c, fields, "", 100)
	if annona.CodeOf(err) == "not_found" {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return lines(answer)
}

func lines(answer *exchange.Answer) (all []string) {
	page := answer.Page.Page()
	for row := range page.Count {
		var cells []string
		for c := range page.Shape.Columns {
			cells = append(cells, string(page.Cell(c, row)))
		}
		for g := range page.Groups {
			first, end := page.Groups[g].Rows(row)
			cells = append(cells, fmt.Sprintf("%d %s", end-first, page.Shape.Groups[g].Field.Code))
		}
		all = append(all, strings.Join(cells, " "))
	}
	return all
}

func (o *offices) edit(t *testing.T, caller annona.Caller, v exchange.CaseVerdict, action string, patch said) (exchange.CaseVerdict, error) {
	t.Helper()
	return o.EditCase(t.Context(), caller, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: v.ETag, Patch: patch, Action: action})
}

func refusal(t *testing.T, what string, err error, code string) {
	t.Helper()
	if codeOf(err) != code {
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

// TestCases takes a case from its opening to its closure and back.
func TestCases(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "source_case_id": "T-1", "programs": []any{"cash"}, "worker": "w1", "due_date": "2030-01-01"})
	if v.Verdict != exchange.VerdictCreated {
		t.Fatalf("%+v", v)
	}
	same := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	same("open", o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "case_id", "individual_id", "status", "phase", "owner"),
		v.ID+" "+o.people[0]+" open intake town")
	if mistyped := o.open(t, said{"individual_id": o.people[0], "case_type": "violance"}); codeOf(mistyped.Reason) != "code_unknown" {
		t.Errorf("of a type that is in no list: %+v", mistyped)
	}
	same("another partner's", o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id"))
	same("by worker and day", o.cases(t, o.town, exchange.CaseChoice{Worker: "w1", Status: "open", DueUntil: "2030-01-01"}, "status"), "open")
	same("due earlier", o.cases(t, o.town, exchange.CaseChoice{DueUntil: "2029-01-01"}, "status"))
	same("of somebody else", o.cases(t, o.town, exchange.CaseChoice{IndividualID: o.people[1]}, "status"))
	for _, step := range []struct {
		action string
		patch  said
		code   string
	}{
		{"start", nil, "case_phase"},
		{"assess", nil, ""},
		{"plan", nil, "field_required"},
		{"plan", said{"risk_level": "high"}, ""},
		{"start", nil, "field_required"},
		{"start", said{"plan_items": []any{said{"service": "home_visit", "status": "planned", "due_date": "2030-01-01"}}}, ""},
		{"", said{"risk_level": nil}, "field_required"},
		{"", said{"phase": "closed"}, "field_not_set"},
		{"", said{"colour": "red"}, "unknown_field"},
		{"", said{"intensity": json.Number("4")}, "value_malformed"},
		{"", said{"priority": "urgent"}, "code_unknown"},
		{"", said{"case_type": "violance"}, "code_unknown"},
		{"", said{"closure_summary": strings.Repeat("x", 1<<20)}, "text_too_long"},
		{"", said{"plan_items": said{"none": nil}}, "not_found"},
		{"dance", nil, "action_unknown"},
		{"close", nil, "field_required"},
		{"close", said{"closure_reason": "goals_met", "outcome": "improved"}, ""},
		{"reopen", nil, ""},
	} {
		next, err := o.edit(t, o.town, v, step.action, step.patch)
		if step.code != "" {
			refusal(t, step.action, err, step.code)
			continue
		}
		if err != nil || next.Verdict != exchange.VerdictChanged {
			t.Fatalf("%s: %+v, %v", step.action, next, err)
		}
		v = next
	}
	same("reopened", o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "status", "phase", "closure_reason", "plan_items.service"), "open assessment  1 plan_items")
	if bad := o.open(t, said{"individual_id": "no such id", "case_type": "other"}); annona.CodeOf(bad.Reason) != "not_found" {
		t.Errorf("a case about nobody: %+v", bad)
	}
	for tag, code := range map[string]string{"": "if_match_missing", "W/" + v.ETag: "if_match_weak", `"x"`: "version_unknown"} {
		_, err := o.EditCase(t.Context(), o.town, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: tag, Patch: said{"priority": "low"}})
		refusal(t, "If-Match "+tag, err, code)
	}
}

// TestCasesComeAsFarAsTheyAre brings cases in the phase that they have reached elsewhere, and notes twice.
func TestCasesComeAsFarAsTheyAre(t *testing.T) {
	o := newOffices(t)
	bring := func(of said) exchange.CaseVerdict {
		t.Helper()
		of["individual_id"], of["case_type"] = o.people[0], "social_support"
		return o.open(t, of)
	}
	closed := func(day string) said {
		return said{"source_case_id": "T-7", "phase": "closed", "closed_date": day, "opened_date": "2020-01-01", "closure_reason": "goals_met", "outcome": "improved"}
	}
	for code, of := range map[string]said{
		"date_ahead":     closed("2990-01-01"),
		"field_required": {"phase": "implementation", "risk_level": "low"},
		"field_not_set":  {"phase": "intake", "closed_date": "2020-01-02"},
	} {
		refusal(t, "a case that contradicts itself", bring(of).Reason, code)
	}
	refusal(t, "a status by hand", bring(said{"status": "closed"}).Reason, "field_not_set")
	v := bring(closed("2020-06-01"))
	if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "status", "phase", "closed_date"); !slices.Equal(got, []string{"closed closed 2020-06-01"}) {
		t.Fatalf("%q, %+v", got, v)
	}
	if again := bring(closed("2020-06-01")); again.Verdict != exchange.VerdictUnchanged || again.ID != v.ID {
		t.Errorf("the same again: %+v", again)
	}
	later := closed("2020-06-01")
	later["phase"] = "review"
	refusal(t, "a move by a report", bring(later).Reason, "field_not_set")

	note := exchange.CaseNote{Kind: "call", Text: "They are well.", SourceID: "N-1"}
	first, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, note)
	if err != nil || first.Verdict != exchange.VerdictCreated {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, note)
	if err != nil || again.Verdict != exchange.VerdictUnchanged || again.ID != first.ID {
		t.Errorf("the note again: %+v, %v", again, err)
	}
	other := bring(said{})
	_, err = o.AddCaseNote(t.Context(), o.town, purpose, other.ID, note)
	refusal(t, "the note of another case", err, "note_elsewhere")
}

// TestIDsByKey are for the operator alone, and for those on file.
func TestIDsByKey(t *testing.T) {
	o := newOffices(t)
	operator := annona.Caller{Strength: annona.StrengthOperator, Operator: "admin"}
	if _, err := o.IDsByKey(t.Context(), o.town, o.town.Agreement, "individuals", "survey", []string{"1"}); annona.CodeOf(err) != "operator_only" {
		t.Errorf("a partner asks: %v", err)
	}
	if _, err := o.IDsByKey(t.Context(), operator, "nobody", "individuals", "survey", []string{"1"}); annona.CodeOf(err) != "not_found" {
		t.Errorf("no agreement: %v", err)
	}
	ids, err := o.IDsByKey(t.Context(), operator, o.town.Agreement, "individuals", synthetic.Source, []string{"I0000001", "nobody"})
	if err != nil || len(ids) != 1 || !slices.Contains(o.people, ids["I0000001"]) {
		t.Errorf("%v, %v", ids, err)
	}
}

// TestCaseLessons are what broke case systems elsewhere.
func TestCaseLessons(t *testing.T) {
	o := newOffices(t)
	about := said{"individual_id": o.people[0], "case_type": "social_support", "source_case_id": "T-1"}
	t.Run("lesson 36: a repeated record makes one case", func(t *testing.T) {
		first, again := o.open(t, about), o.open(t, about)
		if first.ID != again.ID || again.Verdict != exchange.VerdictUnchanged || again.ETag != first.ETag {
			t.Errorf("%+v, then %+v", first, again)
		}
		rows, err := o.PutCases(t.Context(), o.town, purpose, []map[string]any{about, about})
		if err != nil || rows[0].ID != first.ID || annona.CodeOf(rows[1].Reason) != "case_twice" {
			t.Errorf("twice in one request: %+v, %v", rows, err)
		}
	})
	t.Run("lesson 40: cases come under the key of their system", func(t *testing.T) {
		v := o.open(t, said{"individual_id": o.people[0], "source_case_id": "T-1", "case_type": "social_support", "priority": "high"})
		if v.Verdict != exchange.VerdictChanged {
			t.Errorf("%+v", v)
		}
		other := o.open(t, said{"individual_id": o.people[1], "source_case_id": "T-1", "case_type": "social_support"})
		refusal(t, "about somebody else", other.Reason, "subject_differs")
	})
	t.Run("lessons 35 and 39: of two edits of one field the second is told both values", func(t *testing.T) {
		v := o.open(t, said{"individual_id": o.people[2], "case_type": "other", "team": "a"})
		mine, err := o.edit(t, o.town, v, "", said{"team": "b", "priority": "low"})
		check(t, err)
		theirs, err := o.edit(t, o.town, v, "", said{"team": "c"})
		if err != nil || theirs.Verdict != exchange.VerdictConflict || len(theirs.Clashes) != 1 || theirs.ETag != mine.ETag {
			t.Fatalf("%+v, %v", theirs, err)
		}
		if c := theirs.Clashes[0]; c.Field != "team" || c.Read != "a" || c.Theirs != "b" || c.Yours != "c" {
			t.Errorf("%+v", c)
		}
		merged, err := o.edit(t, o.town, v, "", said{"supervisor": "s"})
		if err != nil || merged.Verdict != exchange.VerdictMerged {
			t.Errorf("another field: %+v, %v", merged, err)
		}
		if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "team", "priority", "supervisor"); got[0] != "low b s" {
			t.Errorf("%q", got)
		}
	})
	t.Run("one of many writers at once", func(t *testing.T) {
		v := o.open(t, said{"individual_id": o.people[3], "case_type": "other"})
		verdicts := make([]string, 8)
		var all sync.WaitGroup
		for n := range verdicts {
			all.Go(func() {
				got, err := o.edit(t, o.town, v, "", said{"team": fmt.Sprint("team", n)})
				check(t, err)
				verdicts[n] = got.Verdict
			})
		}
		all.Wait()
		slices.Sort(verdicts)
		if verdicts[0] != exchange.VerdictChanged || verdicts[1] != exchange.VerdictConflict {
			t.Errorf("%v", verdicts)
		}
	})
	t.Run("one effect of many deliveries", func(t *testing.T) {
		v := o.open(t, said{"individual_id": o.people[3], "case_type": "other"})
		var first exchange.CaseVerdict
		for n := range 5 {
			got, err := o.EditCase(t.Context(), o.town, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: v.ETag, Patch: said{"team": "x"},
				Keyed: &exchange.Keyed{Key: "k", Route: "PATCH /v1/cases/{id}", Asked: []byte("x")}})
			if err != nil || (n == 0) != (got.Verdict == exchange.VerdictChanged) {
				t.Errorf("%d: %+v, %v", n, got, err)
			}
			if n == 0 {
				first = got
			}
		}
		if now := o.tagOf(t, o.town, v); now != first.ETag { // of a reader to whom it moves with each change
			t.Errorf("the tag is %s behind the last, %s behind the first", now, first.ETag)
		}
	})
}

// TestRestrictedCases tell nobody who is not cleared that they are there.
func TestRestrictedCases(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "violence"})
	if got := o.cases(t, o.town, exchange.CaseChoice{}, "confidentiality"); len(got) != 1 || got[0] != "restricted" {
		t.Fatalf("%q", got)
	}
	_, err := o.edit(t, o.town, v, "", said{"confidentiality": "normal"})
	refusal(t, "too low", err, "confidentiality_too_low")
	_, err = o.edit(t, o.town, v, "", said{"confidentiality": "named_persons", "worker": "w"})
	refusal(t, "not cleared for named persons", err, "confidentiality_not_granted")
	_, err = o.edit(t, o.clinic, v, "", said{"priority": "low"})
	refusal(t, "somebody else", err, "not_found")
	refused, err := o.PutCases(t.Context(), o.clinic, purpose, []map[string]any{{"individual_id": o.people[0], "case_type": "violence"}})
	if err != nil || annona.CodeOf(refused[0].Reason) != "confidentiality_not_granted" {
		t.Errorf("%+v, %v", refused, err)
	}
	_, err = o.AddCaseNote(t.Context(), o.town, purpose, v.ID, exchange.CaseNote{Kind: "call", Text: "a word", Author: "w1", Confidential: true})
	check(t, err)
	notes, err := o.CaseNotes(t.Context(), o.town, purpose, v.ID, []string{"kind", "text", "author", "author_basis"}, "", 10)
	if err != nil || len(lines(notes)) != 1 || lines(notes)[0] != "call a word w1 asserted" {
		t.Errorf("%v", err)
	}
	_, err = o.CaseNotes(t.Context(), o.clinic, purpose, v.ID, nil, "", 10)
	refusal(t, "somebody else's notes", err, "not_found")
}

// TestProvisionalCases are about somebody who is not on file, and linked later.
func TestProvisionalCases(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"case_type": "emergency", "provisional_name": "a walk-in"})
	if v.Verdict != exchange.VerdictCreated {
		t.Fatalf("%+v", v)
	}
	_, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, exchange.CaseNote{Kind: "visit", Text: "first"})
	check(t, err)
	o.attach(t, v, "a letter")
	_, err = o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "referral", ToPartner: "clinic", Basis: "vital_interests", ExpiresOn: tomorrow()})
	refusal(t, "to refer it", err, "case_provisional")
	linked, err := o.edit(t, o.town, v, "", said{"individual_id": o.people[0]})
	check(t, err)
	if got := o.cases(t, o.town, exchange.CaseChoice{IndividualID: o.people[0]}, "case_id", "provisional_name"); len(got) != 1 || got[0] != v.ID+" " {
		t.Errorf("%q", got)
	}
	_, err = o.edit(t, o.town, linked, "", said{"individual_id": o.people[1]})
	refusal(t, "to link it to another", err, "subject_differs")
	notes, err := o.CaseNotes(t.Context(), o.town, purpose, v.ID, []string{"text"}, "", 10)
	if err != nil || len(lines(notes)) != 1 {
		t.Errorf("notes: %v", err)
	}
	if got := o.attached(t, o.town, v); got != "a letter" {
		t.Errorf("an attachment: %q", got)
	}
	_, err = o.Erase(t.Context(), operator, exchange.Subject{ID: o.people[0], Realm: "offices"}, "unlawful")
	check(t, err)
	kinds := map[string]int{}
	for _, s := range o.kept.stones {
		kinds[s.Dataset]++
	}
	if kinds["case_notes"] != 1 || kinds["case_attachments"] != 1 {
		t.Errorf("what belongs to a case that was linked goes with whom it is about: %v", kinds)
	}
}

// A case that its system links by reporting it again takes what belongs to it along, as one that is linked by a patch.
func TestAReportLinksWhatBelongsToACase(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"source_case_id": "P-1", "case_type": "emergency", "provisional_name": "a walk-in"})
	_, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, exchange.CaseNote{Kind: "visit", Text: "first"})
	check(t, err)
	o.attach(t, v, "a letter")
	linked := o.open(t, said{"source_case_id": "P-1", "case_type": "emergency", "individual_id": o.people[0]})
	if linked.ID != v.ID || linked.Verdict != exchange.VerdictChanged {
		t.Fatalf("%+v", linked)
	}
	o.share(t, linked, exchange.Offer{FieldsShared: []string{"notes", "attachments"}})
	notes, err := o.CaseNotes(t.Context(), o.clinic, purpose, v.ID, []string{"text"}, "", 10)
	if check(t, err); !slices.Equal(lines(notes), []string{"first"}) {
		t.Errorf("its note, where it is shared: %q", lines(notes))
	}
	if got := o.attached(t, o.clinic, v); got != "a letter" {
		t.Errorf("its attachment, where it is shared: %q", got)
	}
}

// attach attaches a letter to a case of the town.
func (o *offices) attach(t *testing.T, v exchange.CaseVerdict, text string) exchange.CaseVerdict {
	t.Helper()
	letter, err := o.AddAttachment(t.Context(), o.town, purpose, v.ID, exchange.Attachment{Name: "letter.txt", MediaType: "text/plain"}, strings.NewReader(text))
	check(t, err)
	return letter
}

// attached is the content of the first attachment of a case; a code when there is none for the caller.
func (o *offices) attached(t *testing.T, caller annona.Caller, v exchange.CaseVerdict) string {
	t.Helper()
	list, err := o.CaseAttachments(t.Context(), caller, purpose, v.ID, []string{"attachment_id"}, "", 10)
	if err != nil {
		return annona.CodeOf(err)
	}
	content, err := o.OpenAttachment(t.Context(), caller, purpose, v.ID, lines(list)[0])
	check(t, err)
	text, err := io.ReadAll(content)
	content.Sent(1, err)
	check(t, err)
	return string(text)
}

func tomorrow() annona.Date { return annona.DateOf(time.Now().UTC()).AddDays(1) }

// TestReferrals show what they say, as long as they say.
func TestReferrals(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "a", "supervisor": "s"})
	offer := exchange.Offer{Kind: "referral", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow(), FieldsShared: []string{"team", "priority"}, Edit: true}
	for what, bad := range map[string]func(*exchange.Offer){
		"transition_to_oneself": func(x *exchange.Offer) { x.ToPartner = "town" },
		"partner_not_receiving": func(x *exchange.Offer) { x.ToPartner = "nobody" },
		"consent_missing":       func(x *exchange.Offer) { x.Basis = "consent" },
		"field_required":        func(x *exchange.Offer) { x.Basis = "override" },
		"expiry_malformed":      func(x *exchange.Offer) { x.ExpiresOn = "2001-01-01" },
		"unknown_field":         func(x *exchange.Offer) { x.FieldsShared = []string{"colour"} },
		"transfer_in_part":      func(x *exchange.Offer) { x.Kind = "transfer" },
		"kind_unknown":          func(x *exchange.Offer) { x.Kind = "gift" },
		"code_unknown":          func(x *exchange.Offer) { x.Basis = "whim" },
	} {
		worse := offer
		bad(&worse)
		_, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, worse)
		refusal(t, what, err, what)
	}
	referral, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, offer)
	check(t, err)
	_, err = o.OfferTransition(t.Context(), o.town, purpose, v.ID, offer)
	refusal(t, "the same again", err, "transition_pending")
	answer := func(caller annona.Caller, how string) error {
		_, err := o.AnswerTransition(t.Context(), caller, purpose, referral.ID, exchange.TransitionAnswer{Answer: how})
		return err
	}
	if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id"); len(got) != 0 {
		t.Errorf("before it is accepted: %q", got)
	}
	refusal(t, "to accept one's own", answer(o.town, "accept"), "transition_not_yours")
	check(t, answer(o.clinic, "accept"))
	refusal(t, "to accept it again", answer(o.clinic, "accept"), "transition_status")
	if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id", "team", "supervisor"); len(got) != 1 || got[0] != v.ID+" a " {
		t.Errorf("what is shared: %q", got)
	}
	shared, err := o.Cases(t.Context(), o.clinic, purpose, exchange.CaseChoice{ID: v.ID}, []string{"team"}, "", 1)
	check(t, err)
	v.ETag = shared.ETag
	_, err = o.edit(t, o.clinic, v, "", said{"team": "clinic"})
	check(t, err)
	_, err = o.edit(t, o.clinic, v, "", said{"supervisor": "x"})
	refusal(t, "what is not shared", err, "not_shared_to_edit")
	_, err = o.CaseNotes(t.Context(), o.clinic, purpose, v.ID, nil, "", 10)
	refusal(t, "notes", err, "notes_not_shared")
	o.attach(t, v, "a letter")
	if got := o.attached(t, o.clinic, v); got != "attachments_not_shared" {
		t.Errorf("attachments: %q", got)
	}
	now := o.Clock
	o.Clock = func() time.Time { return now().AddDate(0, 0, 2) }
	if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id"); len(got) != 0 {
		t.Errorf("a day behind its last: %q", got)
	}
	o.Clock = now
	check(t, answer(o.clinic, "complete"))
	if got := o.cases(t, o.clinic, exchange.CaseChoice{}, "case_id"); len(got) != 0 {
		t.Errorf("when it is completed: %q", got)
	}
}

// cutWriter breaks a transaction off before one of its writes.
type cutWriter struct {
	annona.Writer
	before int // the write that does not happen, from 1; 0: none
	writes int
}

var errCutOff = errors.New("cut off")

func (w *cutWriter) Update(ctx context.Context, fn func(annona.Tx) error) error {
	return w.Writer.Update(ctx, func(tx annona.Tx) error { return fn(&cutTx{tx, w}) })
}

func (w *cutWriter) Share(ctx context.Context, e annona.Errand) error {
	do := e.Do
	e.Do = func(tx annona.Tx, cells annona.Cells) error { return do(&cutTx{tx, w}, cells) }
	return w.Writer.Share(ctx, e)
}

type cutTx struct {
	annona.Tx
	w *cutWriter
}

func (t *cutTx) cut() error {
	if t.w.writes++; t.w.writes == t.w.before {
		return errCutOff
	}
	return nil
}

func (t *cutTx) PutMatters(ctx context.Context, by annona.Author, matters []annona.Matter) error {
	if err := t.cut(); err != nil {
		return err
	}
	return t.Tx.PutMatters(ctx, by, matters)
}

func (t *cutTx) EndShare(ctx context.Context, s annona.Share) error {
	if err := t.cut(); err != nil {
		return err
	}
	return t.Tx.EndShare(ctx, s)
}

func (t *cutTx) EndShares(ctx context.Context, m annona.MatterRef) error {
	if err := t.cut(); err != nil {
		return err
	}
	return t.Tx.EndShares(ctx, m)
}

func (t *cutTx) PutShare(ctx context.Context, s annona.Share) error {
	if err := t.cut(); err != nil {
		return err
	}
	return t.Tx.PutShare(ctx, s)
}

func (t *cutTx) AppendEntry(ctx context.Context, rows ...annona.LedgerRow) error {
	if err := t.cut(); err != nil {
		return err
	}
	return t.Tx.AppendEntry(ctx, rows...)
}

// TestHandOverHasOneOwner is lesson 37: whatever a hand-over breaks off at, one partner has the case.
func TestHandOverHasOneOwner(t *testing.T) {
	o := newOffices(t)
	usual := o.Writer
	owners := func(v exchange.CaseVerdict) (all []string) {
		for _, caller := range []annona.Caller{o.town, o.clinic} {
			all = append(all, o.cases(t, caller, exchange.CaseChoice{ID: v.ID}, "owner")...)
		}
		return all
	}
	for cut := 1; ; cut++ {
		v := o.open(t, said{"individual_id": o.people[cut%len(o.people)], "case_type": "social_support", "worker": "w"})
		_, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, exchange.CaseNote{Kind: "visit", Text: "before"})
		check(t, err)
		o.attach(t, v, "a letter")
		transfer, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "clinic", ToWorker: "c1", Basis: "public_task", ExpiresOn: tomorrow()})
		check(t, err)
		_, err = o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow()})
		refusal(t, "two transfers at once", err, "transition_pending")
		w := &cutWriter{Writer: usual, before: cut}
		o.Writer = w
		_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, transfer.ID, exchange.TransitionAnswer{Answer: "accept"})
		o.Writer = usual
		if got := owners(v); len(got) != 1 {
			t.Fatalf("cut before write %d: owners %q", cut, got)
		}
		if err != nil {
			continue
		}
		if w.writes < 4 {
			t.Errorf("%d writes", w.writes)
		}
		if got := o.cases(t, o.clinic, exchange.CaseChoice{ID: v.ID}, "owner", "worker"); len(got) != 1 || got[0] != "clinic c1" {
			t.Errorf("handed over: %q", got)
		}
		notes, err := o.CaseNotes(t.Context(), o.clinic, purpose, v.ID, []string{"text"}, "", 10)
		if err != nil || len(lines(notes)) != 1 {
			t.Errorf("its notes: %v", err)
		}
		if got := o.attached(t, o.clinic, v); got != "a letter" {
			t.Errorf("its attachment: %q", got)
		}
		if got := o.attached(t, o.town, v); got != "not_found" {
			t.Errorf("its attachment, for the former owner: %q", got)
		}
		_, err = o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow()})
		refusal(t, "by the former owner", err, "not_found")
		back, err := o.OfferTransition(t.Context(), o.clinic, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "town", Basis: "public_task", ExpiresOn: tomorrow()})
		check(t, err)
		_, err = o.AnswerTransition(t.Context(), o.town, purpose, back.ID, exchange.TransitionAnswer{Answer: "accept"})
		check(t, err)
		if got := owners(v); len(got) != 1 || got[0] != "town" {
			t.Errorf("and back: %q", got)
		}
		return
	}
}

// TestTransfersThatCross hand a case around in a circle, and answer what was begun before that: each time one
// partner has it, and nothing that is late takes it back.
func TestTransfersThatCross(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	begin := func(caller annona.Caller, kind, to string) string {
		t.Helper()
		got, err := o.OfferTransition(t.Context(), caller, purpose, v.ID, exchange.Offer{Kind: kind, ToPartner: to, Basis: "public_task", ExpiresOn: tomorrow()})
		check(t, err)
		return got.ID
	}
	answer := func(caller annona.Caller, id, how, code string) {
		t.Helper()
		_, err := o.AnswerTransition(t.Context(), caller, purpose, id, exchange.TransitionAnswer{Answer: how})
		refusal(t, how, err, code)
		owners := append(o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "owner"), o.cases(t, o.clinic, exchange.CaseChoice{ID: v.ID}, "owner")...)
		if slices.Sort(owners); len(slices.Compact(owners)) != 1 {
			t.Fatalf("owners %q", owners)
		}
	}
	referral := begin(o.town, "referral", "clinic")
	answer(o.clinic, referral, "accept", "")
	request, transfer := begin(o.clinic, "transfer_request", ""), begin(o.town, "transfer", "clinic")
	answer(o.clinic, transfer, "accept", "")
	answer(o.town, request, "accept", "transition_status")
	answer(o.town, transfer, "cancel", "transition_status")
	answer(o.clinic, referral, "complete", "transition_status")
	back, late := begin(o.clinic, "transfer", "town"), begin(o.clinic, "referral", "town")
	answer(o.town, back, "accept", "")
	answer(o.town, late, "accept", "transition_status")
	answer(o.clinic, begin(o.town, "transfer", "clinic"), "accept", "")
	answer(o.town, late, "accept", "transition_status") // the clinic has it again, and has not offered it anew
	if got := o.cases(t, o.clinic, exchange.CaseChoice{ID: v.ID}, "owner"); len(got) != 1 || got[0] != "clinic" {
		t.Errorf("in the end: %q", got)
	}
}

// TestErasedCases go with whom they are about.
func TestErasedCases(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	_, err := o.AddCaseNote(t.Context(), o.town, purpose, v.ID, exchange.CaseNote{Kind: "visit", Text: "what was seen"})
	check(t, err)
	letter := o.attach(t, v, "a letter")
	open, err := o.OpenAttachment(t.Context(), o.town, purpose, v.ID, letter.ID)
	check(t, err)
	_, err = o.Erase(t.Context(), operator, exchange.Subject{ID: o.people[0], Realm: "offices"}, "unlawful")
	check(t, err)
	if got := o.cases(t, o.town, exchange.CaseChoice{}, "case_id"); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	stones, err := o.Erasures(t.Context(), operator)
	check(t, err)
	kinds := map[string]bool{}
	for _, s := range stones {
		if s.ShreddedAt.IsZero() {
			t.Errorf("the key of one of %s is not destroyed", s.Dataset)
		}
		kinds[s.Dataset] = true
	}
	if _, err := io.ReadAll(open); err == nil {
		t.Error("an attachment is read behind its erasure")
	}
	if !kinds["cases"] || !kinds["case_notes"] || !kinds["case_attachments"] || !kinds["individuals"] {
		t.Errorf("tombstones of %v", kinds)
	}
	late := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	refusal(t, "a case about who was erased", late.Reason, "not_found")
}

// The update log of a case begins where its owner has got it: what the former owner has taken out is not
// handed over.
func TestUpdatesOfACaseAreNotHandedOver(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support"})
	for _, team := range []string{"north", "south"} {
		var err error
		v, err = o.edit(t, o.town, v, "", said{"team": team})
		check(t, err)
	}
	told := func(caller annona.Caller) (fields []string, complete bool) {
		t.Helper()
		u, err := o.MatterUpdates(t.Context(), caller, purpose, "cases", v.ID, "", 10)
		check(t, err)
		for _, e := range u.Entries {
			for _, f := range e.After.Shape().Columns {
				fields = append(fields, f.Code)
			}
		}
		return fields, u.Complete
	}
	if fields, complete := told(o.town); !slices.Equal(fields, []string{"team", "team"}) || !complete {
		t.Errorf("its owner is told %q, %v", fields, complete)
	}
	transfer, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow()})
	check(t, err)
	_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, transfer.ID, exchange.TransitionAnswer{Answer: "accept"})
	check(t, err)
	_, err = o.MatterUpdates(t.Context(), o.town, purpose, "cases", v.ID, "", 10)
	refusal(t, "the former owner", err, "not_found")
	if fields, complete := told(o.clinic); len(fields) > 0 || complete {
		t.Errorf("its new owner is told %q, %v", fields, complete)
	}
}
