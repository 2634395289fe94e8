package exchange_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
	"github.com/annona-exchange/annona/exchange"
)

// clash lets the caller edit a version that somebody else has changed since, and returns the conflict.
func (o *offices) clash(t *testing.T, caller annona.Caller, v exchange.CaseVerdict, key string, patch said) exchange.CaseVerdict {
	t.Helper()
	got, err := o.EditCase(t.Context(), caller, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: v.ETag, Patch: patch, Keyed: keyedBy(key)})
	if err != nil || got.Verdict != exchange.VerdictConflict || got.Conflict == (annona.UID{}) {
		t.Fatalf("no conflict: %+v, %v", got, err)
	}
	return got
}

func keyedBy(key string) *exchange.Keyed {
	return &exchange.Keyed{Key: key, Route: "PATCH", Asked: []byte(key)}
}

// conflicts are the conflicts of a case as a caller sees them, one line each; of all cases when id is empty.
func (o *offices) conflicts(t *testing.T, caller annona.Caller, id, state string) (all []string) {
	t.Helper()
	for after := ""; ; {
		page, err := o.CaseConflicts(t.Context(), caller, purpose, id, state, after, 1)
		check(t, err)
		page.Sent(int64(len(page.All)), nil)
		for _, c := range page.All {
			line := []string{c.State, fmt.Sprintf("%s %v", c.By.Kind, c.By.Mine)}
			for _, p := range c.Parts {
				if p.Clashes == p.Since.IsZero() || p.Clashes && p.By.Kind == "" {
					t.Errorf("who has changed %s, and when, is not told: %+v", p.Field, p)
				}
				line = append(line, fmt.Sprintf("%s %v %v %v %v", p.Field, p.Before, p.After, p.Now, p.By.Mine))
			}
			all = append(all, strings.Join(line, ", "))
		}
		if after = page.Next; after == "" {
			return all
		}
	}
}

func (o *offices) resolve(t *testing.T, caller annona.Caller, v exchange.CaseVerdict, key string, approve bool) (string, error) {
	t.Helper()
	state, _, err := o.ResolveCaseConflict(t.Context(), caller, purpose, exchange.CaseRuling{CaseID: v.ID, ID: v.Conflict.String(), Approve: approve, Reason: "seen", Keyed: *keyedBy(key)})
	return state, err
}

// A clashing edit of a case is kept, with both values, authors and times; it is listed, and resolved once.
func TestAConflictOfACaseIsKept(t *testing.T) {
	o := newOffices(t)
	open := func() exchange.CaseVerdict {
		return o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "north"})
	}
	moved := func(v exchange.CaseVerdict, patch said) {
		t.Helper()
		_, err := o.edit(t, o.town, v, "", patch)
		check(t, err)
	}
	t.Run("approved", func(t *testing.T) {
		v := open()
		moved(v, said{"team": "south"})
		c := o.clash(t, o.town, v, "a", said{"team": "west", "priority": "high"})
		want := []string{"open, partner true, priority medium high medium false, team north west south true"}
		if got := o.conflicts(t, o.town, v.ID, ""); !slices.Equal(got, want) {
			t.Errorf("listed: %q, want %q", got, want)
		}
		again := o.clash(t, o.town, v, "a", said{"team": "west", "priority": "high"})
		if again.Conflict != c.Conflict || len(again.Clashes) != 1 || again.Clashes[0].Theirs != "south" || len(o.conflicts(t, o.town, v.ID, "")) != 1 {
			t.Errorf("the same again: %+v", again)
		}
		if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "team", "priority"); got[0] != "medium south" {
			t.Errorf("before it is resolved: %q", got)
		}
		for range 2 {
			if state, err := o.resolve(t, o.town, c, "r", true); err != nil || state != exchange.RequestApplied {
				t.Errorf("approved: %s, %v", state, err)
			}
		}
		if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "team", "priority"); got[0] != "high west" {
			t.Errorf("behind it: %q", got)
		}
		_, err := o.resolve(t, o.town, c, "r2", false)
		refusal(t, "once more", err, "request_decided")
		if got := o.conflicts(t, o.town, v.ID, "open"); len(got) > 0 {
			t.Errorf("still open: %q", got)
		}
		r := exchange.CaseRuling{CaseID: v.ID, ID: c.Conflict.String(), Reason: "seen", Keyed: exchange.Keyed{Key: "r", Route: "PATCH", Asked: []byte("other")}}
		_, _, err = o.ResolveCaseConflict(t.Context(), o.town, purpose, r)
		refusal(t, "another decision under the key", err, "idempotency_key_reused")
	})
	t.Run("rejected", func(t *testing.T) {
		v := open()
		moved(v, said{"team": "south"})
		c := o.clash(t, o.town, v, "b", said{"team": "west"})
		if state, err := o.resolve(t, o.town, c, "rb", false); err != nil || state != exchange.RequestRejected {
			t.Errorf("rejected: %s, %v", state, err)
		}
		if got := o.cases(t, o.town, exchange.CaseChoice{ID: v.ID}, "team"); got[0] != "south" {
			t.Errorf("behind it: %q", got)
		}
	})
	t.Run("moved on", func(t *testing.T) {
		v := open()
		moved(v, said{"team": "south"})
		c := o.clash(t, o.town, v, "c", said{"team": "west"})
		latest := exchange.CaseVerdict{ID: v.ID, ETag: c.ETag}
		moved(latest, said{"team": "east"})
		_, err := o.resolve(t, o.town, c, "rc", true)
		refusal(t, "of what has changed since", err, "request_moved")
	})
	t.Run("not of this case", func(t *testing.T) {
		v, other := open(), open()
		moved(v, said{"team": "south"})
		c := o.clash(t, o.town, v, "d", said{"team": "west"})
		c.ID = other.ID
		_, err := o.resolve(t, o.town, c, "rd", true)
		refusal(t, "by way of another case", err, "not_found")
		_, _, err = o.DecideChangeRequest(t.Context(), operator, exchange.Ruling{ID: c.Conflict.String(), Conflict: true, Approve: true, Reason: "seen"})
		refusal(t, "by the operator", err, "conflict_of_case")
		if shown, fields, err := o.InspectChangeRequest(t.Context(), operator, c.Conflict.String()); err != nil || shown.Dataset != "cases" || !slices.Equal(fields, []string{"team"}) {
			t.Errorf("inspected: %+v, %q, %v", shown, fields, err)
		}
	})
	t.Run("of all cases", func(t *testing.T) {
		if all := o.conflicts(t, o.town, "", "open"); len(all) != 2 {
			t.Errorf("open: %q", all)
		}
		if all := o.conflicts(t, o.clinic, "", ""); len(all) > 0 {
			t.Errorf("for another partner: %q", all)
		}
	})
}

// A conflict is there for the partner that has the case, and for the one that has asked: each sees the parts that
// its agreement and its share show. A new owner is not handed over what clashed before.
func TestConflictsOfCasesAreCut(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "north", "worker": "w1"})
	refer := func(edit bool, fields ...string) {
		t.Helper()
		offer := exchange.Offer{Kind: "referral", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow(), Edit: edit, FieldsShared: fields}
		got, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, offer)
		check(t, err)
		_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, got.ID, exchange.TransitionAnswer{Answer: "accept"})
		check(t, err)
	}
	refer(true, "team")
	theirs := v
	theirs.ETag = o.tagFor(t, o.clinic, v.ID)
	_, err := o.EditCase(t.Context(), o.clinic, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: theirs.ETag, Patch: said{"worker": "w1"}})
	refusal(t, "whether somebody not shared is the worker", err, "not_shared_to_edit")
	_, err = o.edit(t, o.town, v, "", said{"team": "south", "worker": "w2", "priority": "high"})
	check(t, err)
	_, err = o.EditCase(t.Context(), o.clinic, purpose, exchange.CaseEdit{ID: v.ID, IfMatch: theirs.ETag, Patch: said{"worker": "w3"}})
	refusal(t, "what clashes and is not shared", err, "not_shared_to_edit")
	c := o.clash(t, o.clinic, theirs, "a", said{"team": "west"})
	if got := o.conflicts(t, o.clinic, v.ID, ""); !slices.Equal(got, []string{"open, partner true, team north west south false"}) {
		t.Errorf("for who has asked: %q", got)
	}
	if got := o.conflicts(t, o.town, v.ID, ""); !slices.Equal(got, []string{"open, partner false, team north west south true"}) {
		t.Errorf("for who has the case: %q", got)
	}
	mine := o.clash(t, o.town, v, "b", said{"priority": "low"})
	if got := o.conflicts(t, o.clinic, v.ID, ""); len(got) != 1 {
		t.Errorf("of another applicant, for whom the case is shared with: %q", got)
	}
	_, err = o.resolve(t, o.clinic, mine, "x", false)
	refusal(t, "by whom it is not there for", err, "not_found")
	if state, err := o.resolve(t, o.clinic, c, "y", true); err != nil || state != exchange.RequestApplied {
		t.Errorf("by the applicant, within the share: %s, %v", state, err)
	}
	transfer, err := o.OfferTransition(t.Context(), o.town, purpose, v.ID, exchange.Offer{Kind: "transfer", ToPartner: "clinic", Basis: "public_task", ExpiresOn: tomorrow()})
	check(t, err)
	_, err = o.AnswerTransition(t.Context(), o.clinic, purpose, transfer.ID, exchange.TransitionAnswer{Answer: "accept"})
	check(t, err)
	if got := o.conflicts(t, o.clinic, v.ID, ""); len(got) > 0 {
		t.Errorf("for the new owner: %q", got)
	}
	_, err = o.resolve(t, o.clinic, mine, "z", true)
	refusal(t, "of before the hand-over", err, "not_found")
}

func (o *offices) tagFor(t *testing.T, caller annona.Caller, id string) string {
	t.Helper()
	answer, err := o.Cases(t.Context(), caller, purpose, exchange.CaseChoice{ID: id}, []string{"case_id"}, "", 1)
	check(t, err)
	answer.Sent(1, nil)
	return answer.ETag
}

// What was restricted when it clashed stays so, and a conflict goes with its case. Each reading is recorded.
func TestConflictsOfCasesAreConfidential(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "north", "confidentiality": "restricted"})
	next, err := o.edit(t, o.town, v, "", said{"team": "south"})
	check(t, err)
	o.clash(t, o.town, v, "a", said{"team": "west"})
	_, err = o.edit(t, o.town, next, "", said{"confidentiality": "normal"})
	check(t, err)
	desk := func(cleared ...string) annona.Caller {
		a, err := o.store.Agreement(t.Context(), "town")
		check(t, err)
		other := *a
		other.Name, other.Cases = "desk"+strings.Join(cleared, ""), &annona.CaseTerms{Confidentiality: cleared}
		return o.admit(t, other)
	}
	if got := o.conflicts(t, desk(), v.ID, ""); len(got) > 0 {
		t.Errorf("for a desk that is not cleared: %q", got)
	}
	if got := o.conflicts(t, desk("restricted"), v.ID, ""); len(got) != 1 {
		t.Errorf("for one that is: %q", got)
	}
	page, err := o.CaseConflicts(t.Context(), o.town, purpose, v.ID, "", "", 10)
	check(t, err)
	page.Sent(1, nil)
	o.Settle()
	stored, err := o.store.EntriesOf(t.Context(), page.Request, 0, 10)
	check(t, err)
	e, err := (&audit.Opener{Vault: o.Vault, Ledger: o.store}).Open(t.Context(), stored[0])
	check(t, err)
	if len(stored) != 2 || e.Facts.Dataset != "cases" || !slices.Equal(e.Facts.Fields, []string{"team"}) || len(e.Subjects) != 1 {
		t.Errorf("%d entries, %+v, %+v", len(stored), e.Facts, e.Subjects)
	}
	o.ledger.broken = true
	if _, err := o.CaseConflicts(t.Context(), o.town, purpose, v.ID, "", "", 10); annona.CodeOf(err) != "ledger_unavailable" {
		t.Errorf("without a ledger: %v", err)
	}
	o.ledger.broken = false
	all, err := o.store.ChangeRequests(t.Context(), annona.WhichRequests{Conflicts: true, Dataset: "cases"}, 0, 10)
	if err != nil || len(all) != 1 {
		t.Fatalf("%d on file, %v", len(all), err)
	}
	_, err = o.Erase(t.Context(), operator, exchange.Subject{ID: o.people[0], Realm: "offices"}, "unlawful")
	check(t, err)
	if all, err := o.store.ChangeRequests(t.Context(), annona.WhichRequests{Conflicts: true, Dataset: "cases"}, 0, 10); err != nil || len(all) > 0 {
		t.Errorf("%d on file behind the erasure, %v", len(all), err)
	}
}

// The entity tag of a case moves with what its reader sees of it, and with nothing else: whoever a part of it is shared
// with learns neither how often nor when its owner changes the rest, by no tag, verdict or number.
func TestTagsOfCasesAreCut(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "north", "priority": "low"})
	shared := v.ID
	o.share(t, v, exchange.Offer{Edit: true, FieldsShared: []string{"team"}})
	first := o.tagOf(t, o.clinic, v)
	hide := func(n int) {
		t.Helper()
		for range n {
			for _, priority := range []string{"high", "medium"} {
				_, err := o.edit(t, o.town, exchange.CaseVerdict{ID: v.ID, ETag: o.tagOf(t, o.town, v)}, "", said{"priority": priority})
				check(t, err)
			}
		}
	}
	hide(2)
	if now := o.tagOf(t, o.clinic, v); now != first {
		t.Errorf("the tag has moved with what is not seen: %s, %s", first, now)
	}
	same, err := o.edit(t, o.clinic, exchange.CaseVerdict{ID: shared, ETag: first}, "", said{"team": "north"})
	if check(t, err); same.Verdict != exchange.VerdictUnchanged || same.ETag != first {
		t.Errorf("nothing changed: %+v", same)
	}
	south, err := o.edit(t, o.clinic, exchange.CaseVerdict{ID: shared, ETag: first}, "", said{"team": "south"})
	if check(t, err); south.Verdict != exchange.VerdictChanged || south.ETag == first || south.ETag != o.tagOf(t, o.clinic, v) {
		t.Errorf("what others have changed out of sight is told: %+v", south)
	}
	hide(55) // more than are looked back at
	if now := o.tagOf(t, o.clinic, v); now != south.ETag {
		t.Errorf("behind many: %s, %s", south.ETag, now)
	}
	west, err := o.edit(t, o.clinic, exchange.CaseVerdict{ID: shared, ETag: south.ETag}, "", said{"team": "west"})
	if check(t, err); west.Verdict != exchange.VerdictChanged {
		t.Errorf("of what is still so: %+v", west)
	}
	_, err = o.edit(t, o.town, exchange.CaseVerdict{ID: v.ID, ETag: o.tagOf(t, o.town, v)}, "", said{"team": "east"})
	check(t, err)
	if now := o.tagOf(t, o.clinic, v); now == west.ETag {
		t.Error("the tag does not move with what is seen")
	}
	late, err := o.edit(t, o.clinic, exchange.CaseVerdict{ID: shared, ETag: west.ETag}, "", said{"team": "hill"})
	if check(t, err); late.Verdict != exchange.VerdictConflict || late.ETag != o.tagOf(t, o.clinic, v) {
		t.Errorf("what has changed in sight: %+v", late)
	}
	for _, tag := range []string{first, south.ETag, o.tagOf(t, o.town, v)} {
		if raw, err := base64.RawURLEncoding.DecodeString(strings.Trim(tag, `"`)); err != nil || len(raw) != 16 || bytes.HasPrefix(raw, []byte{0, 0}) {
			t.Errorf("the tag %s shows a number: %x, %v", tag, raw, err)
		}
	}
	_, err = o.edit(t, o.clinic, exchange.CaseVerdict{ID: shared, ETag: o.tagOf(t, o.town, v)}, "", said{"team": "x"})
	refusal(t, "a tag of another agreement", err, "version_unknown")
}

// meanwhile lets others write while a case is read: between what it says and its history.
type meanwhile struct {
	annona.Matters
	write func()
}

func (m *meanwhile) MatterEvents(ctx context.Context, dataset *annona.Dataset, numbers []annona.Number, after int64, limit int) ([]annona.Event, error) {
	if write := m.write; write != nil {
		m.write = nil
		write()
	}
	return m.Matters.MatterEvents(ctx, dataset, numbers, after, limit)
}

// The tag that comes with a case names what came with it, also when others write in that moment: an edit of what was
// read clashes with theirs.
func TestATagIsOfWhatIsShown(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "north"})
	o.share(t, v, exchange.Offer{Edit: true, FieldsShared: []string{"team"}})
	usual := o.Matters
	o.Matters = &meanwhile{Matters: usual, write: func() {
		last := v
		for _, team := range []string{"south", "west"} {
			next, err := o.edit(t, o.town, last, "", said{"team": team})
			check(t, err)
			last = next
		}
	}}
	answer, err := o.Cases(t.Context(), o.clinic, purpose, exchange.CaseChoice{ID: v.ID}, []string{"team"}, "", 1)
	o.Matters = usual
	check(t, err)
	answer.Sent(1, nil)
	if got := lines(answer); len(got) != 1 || got[0] != "north" {
		t.Fatalf("%q", got)
	}
	mine, err := o.edit(t, o.clinic, exchange.CaseVerdict{ID: v.ID, ETag: answer.ETag}, "", said{"team": "hill"})
	if check(t, err); mine.Verdict != exchange.VerdictConflict {
		t.Errorf("an edit of what was read: %+v", mine)
	}
}

// Who approves a conflict sees all that it asks for.
func TestAConflictOfWhichAPartIsSeen(t *testing.T) {
	o := newOffices(t)
	v := o.open(t, said{"individual_id": o.people[0], "case_type": "social_support", "team": "north"})
	_, err := o.edit(t, o.town, v, "", said{"team": "south"})
	check(t, err)
	c := o.clash(t, o.town, v, "a", said{"team": "west", "priority": "high"})
	_, err = o.ApplyPolicy(t.Context(), operator, narrower("desk", annona.RoleRule{
		Name: "teams", Verbs: []annona.Verb{annona.VerbReadCases, annona.VerbWriteCases}, Datasets: map[string]annona.DatasetTerms{"cases": {Fields: []string{"case_id", "team"}}},
	}))
	check(t, err)
	check(t, o.SetRole(t.Context(), operator, o.town.Client, "desk"))
	_, err = o.resolve(t, o.town, exchange.CaseVerdict{ID: v.ID, Conflict: c.Conflict}, "b", true)
	refusal(t, "approved", err, "review_not_granted")
}
