package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// reports lets an agreement report events of all types, and approve those of others.
func reports(review ...string) func(*annona.Agreement) {
	return func(a *annona.Agreement) {
		a.LifeEvents = &annona.LifeEventTerms{Types: slices.Clone(lifeEventTypes), Review: review}
		a.Reviews, a.UpdateLog = true, true
	}
}

// lived is what came of a life event on the wire.
type lived struct {
	Verdict       string
	ChangeRequest string `json:"change_request"`
	Created       map[string]string
}

// event is the text of a life event.
func event(kind string, pairs ...any) string {
	members := map[string]any{"type": kind, "effective_date": "2024-03-01", "evidence": "form 17/2024", "reason": "reported"}
	for n := 0; n < len(pairs); n += 2 {
		members[pairs[n].(string)] = pairs[n+1]
		if pairs[n+1] == nil {
			delete(members, pairs[n].(string))
		}
	}
	text, _ := json.Marshal(members)
	return string(text)
}

func (w *workbench) tell(who, body, key string) answer {
	w.Helper()
	return w.ask(http.MethodPost, lifeEventsPath+"?purpose="+purposeOf[who], w.keyOf(who), body, "Content-Type", "application/json", "Idempotency-Key", key)
}

// lives reports an event that takes effect.
func (w *workbench) lives(who, body string) (l lived) {
	w.Helper()
	w.keys++
	a := w.tell(who, body, fmt.Sprint("life-", w.keys))
	w.wants(body, a, http.StatusOK, "applied")
	w.check(json.Unmarshal([]byte(a.body), &l))
	return l
}

// person and home return the id of somebody by the day of their birth, and of a household by its score.
func (w *workbench) person(who, born string) string {
	return w.idOf(who, "individuals", "date_of_birth", born)
}

func (w *workbench) home(who string) string {
	return w.idOf(who, "households", "poverty_score", "27.5")
}

// household returns a household as one of the clients sees it.
func (w *workbench) household(who, id string) (h struct {
	AreaCode     string `json:"area_code"`
	MemberCount  int    `json:"member_count"`
	HeadID       string `json:"head_individual_id"`
	QualityFlags []struct{ Code string }
	Members      []struct {
		ID   string `json:"individual_id"`
		Role string
	}
	Flags []struct{ Code string } `json:"quality_flags"`
}) {
	w.Helper()
	a := w.get(w.path(who, "households", id), w.keyOf(who))
	if a.status != http.StatusOK {
		w.Fatalf("the household: %d %s", a.status, a.body)
	}
	w.check(json.Unmarshal([]byte(a.body), &h))
	return h
}

const (
	bornFirst  = "1985-04-12" // head of the first household
	bornSecond = "2011-02-28" // a member of it
	bornThird  = "2015-07-01" // another one
	bornFourth = "1950-01-01" // head of the second household
)

// Each type of event takes effect whole.
func TestLifeEventsTakeEffect(t *testing.T) {
	w := newWorkbench(t, reports())
	home, head, second := w.home("full"), w.person("full", bornFirst), w.person("full", bornSecond)

	w.lives("full", event("contact_or_address", "individual_id", second, "values", map[string]any{"phone_numbers": []string{"+233200000"}, "emails": nil}))
	if got, _ := w.read("full", w.path("full", "individuals", second)); fmt.Sprint(got["phone_numbers"]) != "[+233200000]" {
		t.Errorf("a contact: %v", got["phone_numbers"])
	}
	w.lives("full", event("contact_or_address", "household_id", home, "values", map[string]any{"area_code": "GH02"}))
	if h := w.household("full", home); h.AreaCode != "GH02" {
		t.Errorf("an address: %+v", h)
	}
	child := w.lives("full", event("birth", "individual_id", second, "values", map[string]any{"full_name": "Adwoa", "sex": "female"})).Created["individual_id"]
	if got, _ := w.read("full", w.path("full", "individuals", child)); got["date_of_birth"] != "2024-03-01" || got["household_id"] != home || got["sex"] != "female" {
		t.Errorf("a child: %v", got)
	}
	begun := w.lives("full", event("household_split", "household_id", home, "members", []string{second, child}, "head", second, "area_code", "GH01")).Created["household_id"]
	if old, next := w.household("full", home), w.household("full", begun); old.MemberCount != 2 || next.MemberCount != 2 || next.HeadID != second || next.AreaCode != "GH01" || old.HeadID != head {
		t.Errorf("a split: %+v and %+v", old, next)
	}
	w.lives("full", event("member_leaves", "individual_id", child, "household_id", begun))
	w.lives("full", event("member_joins", "individual_id", child, "household_id", home, "role", "child"))
	third := w.person("full", bornThird)
	w.lives("full", event("head_change", "household_id", home, "head", third, "role", "spouse", "effective_date", "2024-03-02"))
	h := w.household("full", home)
	if h.MemberCount != 3 || h.HeadID != third {
		t.Errorf("another head: %+v", h)
	}
	for _, m := range h.Members {
		if want := map[string]string{head: "spouse", third: "head", child: "child"}[m.ID]; m.Role != want {
			t.Errorf("a member is %q, not %q", m.Role, want)
		}
	}
	w.lives("full", event("identifier_added", "individual_id", third, "identifier", map[string]any{"scheme": "passport_number", "value": "X-123456"}))
	w.lives("full", event("identifier_corrected", "individual_id", third, "former", map[string]any{"scheme": "passport_number", "value": "x123456"}, "identifier", map[string]any{"scheme": "passport_number", "value": "X-654321"}))
	if a := w.lookup("passport_number", "X-123456"); a.status != http.StatusNotFound {
		t.Errorf("the wrong identifier: %d", a.status)
	}
	if a := w.lookup("passport_number", "X-654321"); a.status != http.StatusOK || !strings.Contains(a.body, third) {
		t.Errorf("the corrected identifier: %d %s", a.status, a.body)
	}
	w.lives("full", event("death", "individual_id", third, "effective_date", "2024-04-01"))
	if h := w.household("full", home); h.MemberCount != 2 || h.HeadID != "" || !slices.Contains(flagsOf(h.Flags), "no_head") {
		t.Errorf("the head has died: %+v", h)
	}
	if log := w.logged(); strings.Contains(log, "Adwoa") || strings.Contains(log, "+2332") || strings.Contains(log, "654321") || strings.Contains(log, "form 17") {
		t.Error("the log tells of people")
	}
}

func flagsOf(flags []struct{ Code string }) (codes []string) {
	for _, f := range flags {
		codes = append(codes, f.Code)
	}
	return codes
}

func (w *workbench) lookup(kind, value string) answer {
	w.Helper()
	return w.ask(http.MethodPost, "/v1/lookup", w.full, fmt.Sprintf(`{"type":%q,"value":%q,"purpose":%q,"fields":["individual_id"]}`, kind, value, purposeOf["full"]), "Content-Type", "application/json")
}

// Of what is refused nothing is written.
func TestLifeEventsThatAreRefused(t *testing.T) {
	w := newWorkbench(t, reports("household_split"))
	home, head, second, third := w.home("full"), w.person("full", bornFirst), w.person("full", bornSecond), w.person("full", bornThird)
	other := w.idOf("full", "households", "poverty_score", "61")
	fourth := w.person("full", bornFourth)
	single := w.lives("full", event("death", "individual_id", fourth))
	passport := func(value string) map[string]any {
		return map[string]any{"scheme": "national_id_number", "value": value}
	}
	before := w.everything()
	for what, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"a death before birth":             {event("death", "individual_id", second, "effective_date", "2001-01-01"), 400, "death_before_birth"},
		"a death of somebody dead":         {event("death", "individual_id", fourth), 409, "individual_dead"},
		"a split that nobody leaves":       {event("household_split", "household_id", home, "members", []string{}), 400, "life_event_incomplete"},
		"a split that leaves nobody":       {event("household_split", "household_id", home, "members", []string{head, second, third}), 409, "split_everybody"},
		"a split of others":                {event("household_split", "household_id", other, "members", []string{second}), 409, "not_a_member"},
		"a head who does not leave":        {event("household_split", "household_id", home, "members", []string{second}, "head", third), 409, "not_a_member"},
		"a head who is no member":          {event("head_change", "household_id", other, "head", second), 409, "not_a_member"},
		"two heads":                        {event("head_change", "household_id", home, "head", second, "role", "head"), 400, "two_heads"},
		"leaving a household of others":    {event("member_leaves", "individual_id", second, "household_id", other), 409, "not_a_member"},
		"joining one's own household":      {event("member_joins", "individual_id", second, "household_id", home), 409, "member_already"},
		"a second head":                    {event("member_joins", "individual_id", fourth, "household_id", home, "role", "head"), 409, "individual_dead"},
		"a head who joins":                 {event("member_joins", "individual_id", w.person("full", "1999-12-31"), "household_id", home, "role", "head"), 409, "two_heads"},
		"an unknown role":                  {event("member_joins", "individual_id", second, "household_id", other, "role", "boss"), 400, "code_unknown"},
		"a day to come":                    {event("death", "individual_id", second, "effective_date", "2099-01-01"), 400, "day_to_come"},
		"no day":                           {event("death", "individual_id", second, "effective_date", nil), 400, "life_event_incomplete"},
		"a day that is none":               {event("death", "individual_id", second, "effective_date", "2024-02-30"), 400, ""},
		"no evidence":                      {event("death", "individual_id", second, "evidence", ""), 400, "life_event_incomplete"},
		"evidence of two lines":            {event("death", "individual_id", second, "evidence", "a\nb"), 400, "evidence_malformed"},
		"no reason":                        {event("death", "individual_id", second, "reason", "Because he died"), 400, "reason_malformed"},
		"a day before birth":               {event("member_joins", "individual_id", third, "household_id", other, "effective_date", "2010-01-01"), 400, "before_birth"},
		"a birth before that of a mother":  {event("birth", "individual_id", second, "effective_date", "2010-01-01"), 400, "before_birth"},
		"a birth on two days":              {event("birth", "individual_id", second, "values", map[string]any{"date_of_birth": "2024-01-01"}), 400, "day_differs"},
		"a child of somebody dead":         {event("birth", "individual_id", fourth), 409, "individual_dead"},
		"a field that is none":             {event("birth", "individual_id", second, "values", map[string]any{"nothing": "x"}), 400, "unknown_field"},
		"a field that is made":             {event("birth", "individual_id", second, "values", map[string]any{"household_id": home}), 400, "field_not_set"},
		"a name as a contact":              {event("contact_or_address", "individual_id", second, "values", map[string]any{"full_name": "Kofi"}), 400, "field_not_contact"},
		"an area that is none":             {event("contact_or_address", "household_id", home, "values", map[string]any{"area_code": "XX"}), 400, "area_unknown"},
		"a contact of nobody":              {event("contact_or_address", "values", map[string]any{"emails": []string{"a@b.c"}}), 400, "life_event_incomplete"},
		"a contact of two":                 {event("contact_or_address", "individual_id", second, "household_id", home, "values", map[string]any{"emails": []string{"a@b.c"}}), 400, "life_event_incomplete"},
		"an identifier without a value":    {event("identifier_added", "individual_id", second, "identifier", map[string]any{"scheme": "passport_number"}), 400, "identifier_malformed"},
		"an identifier of no scheme":       {event("identifier_added", "individual_id", second, "identifier", map[string]any{"scheme": "x", "value": "1"}), 400, "code_unknown"},
		"an identifier that is there":      {event("identifier_added", "individual_id", head, "identifier", passport("gha 0012345")), 409, "identifier_known"},
		"a correction of nothing":          {event("identifier_corrected", "individual_id", second, "former", passport("GHA-0012345"), "identifier", passport("GHA-0012346")), 409, "identifier_unknown"},
		"something that the type has not":  {event("death", "individual_id", second, "household_id", home), 400, "life_event_malformed"},
		"a type that is none":              {event("marriage", "individual_id", second), 400, "unknown_code"},
		"a member that is none":            {event("death", "individual_id", second, "who", "x"), 400, "body_malformed"},
		"an id of another realm":           {event("death", "individual_id", w.person("other", bornSecond)), 404, "not_found"},
		"a household of another realm":     {event("member_leaves", "individual_id", second, "household_id", w.home("other")), 404, "not_found"},
		"members of another realm":         {event("household_split", "household_id", home, "members", []string{w.person("other", bornSecond)}), 404, "not_found"},
		"too many":                         {event("household_split", "household_id", home, "members", slices.Repeat([]string{second}, 101)), 400, "life_event_malformed"},
		"no JSON":                          {`{"type":`, 400, "body_malformed"},
		"a body that has a member twice":   {`{"type":"death","type":"birth"}`, 400, "body_malformed"},
		"a body that is no object":         {`null`, 400, "body_malformed"},
		"a member in other letters":        {strings.Replace(event("death", "individual_id", second), `"type"`, `"Type"`, 1), 400, "body_malformed"},
		"values that are no object":        {`{"type":"birth","values":[1]}`, 400, "body_malformed"},
		"a value that has members of more": {event("birth", "individual_id", second, "values", map[string]any{"full_name": map[string]any{"a": 1}}), 400, "value_malformed"},
	} {
		w.keys++
		w.wants(what, w.tell("full", c.body, fmt.Sprint("refused-", w.keys)), c.status, c.code)
	}
	w.wants("no key", w.ask(http.MethodPost, lifeEventsPath+"?purpose="+purposeOf["full"], w.full, event("death", "individual_id", second), "Content-Type", "application/json"), http.StatusBadRequest, "key_missing")
	w.wants("another type", w.ask(http.MethodPost, lifeEventsPath+"?purpose="+purposeOf["full"], w.full, "x", "Content-Type", "text/plain", "Idempotency-Key", "x"), http.StatusUnsupportedMediaType, "unsupported_media_type")
	if after := w.everything(); after != before {
		t.Errorf("something was written:\n%s\n%s", before, after)
	}
	if all := w.list("full", changeRequestsPath); len(all) != 1 || all[0].ID != single.ChangeRequest {
		t.Errorf("change requests: %+v", all)
	}

	_, err := w.gate.Erase(t.Context(), operator, exchange.Subject{Source: "test", Key: "i3"}, "unlawful")
	w.check(err)
	w.wants("somebody who was erased", w.tell("full", event("death", "individual_id", third), "erased"), http.StatusNotFound, "not_found")

	w.letUpdate(func(a *annona.Agreement) { a.LifeEvents = &annona.LifeEventTerms{Types: []string{"birth"}} })
	w.wants("a type that is not granted", w.tell("full", event("death", "individual_id", second), "n1"), http.StatusForbidden, "life_event_not_granted")
	w.letUpdate(reports(), func(a *annona.Agreement) {
		terms := a.Datasets["individuals"]
		terms.Treatments = map[string]annona.Treatment{"date_of_birth": annona.TreatYear}
		a.Datasets["individuals"] = terms
	})
	w.wants("who does not see days of birth", w.tell("full", event("member_leaves", "individual_id", second, "household_id", home), "n2"), http.StatusForbidden, "update_not_granted")
	w.letUpdate(func(a *annona.Agreement) { a.LifeEvents = nil })
	w.wants("none is granted", w.tell("full", event("death", "individual_id", second), "n3"), http.StatusForbidden, "life_events_not_granted")
}

// everything is the registry as its partner sees it.
func (w *workbench) everything() string {
	w.Helper()
	var all string
	for _, dataset := range []string{"individuals", "households"} {
		a := w.get("/v1/"+dataset+"?purpose="+purposeOf["full"], w.full)
		if a.status != http.StatusOK {
			w.Fatalf("%d %s", a.status, a.body)
		}
		all += a.body
	}
	return ledgerID.ReplaceAllString(all, "")
}

// An event that somebody else approves waits. Its reviewer sees it whole, and it is checked again.
func TestALifeEventIsReviewed(t *testing.T) {
	w := newWorkbench(t, reports("household_split", "death", "identifier_added", "birth"))
	waits := func(body string) string {
		t.Helper()
		w.keys++
		a := w.tell("full", body, fmt.Sprint("waits-", w.keys))
		w.wants(body, a, http.StatusAccepted, "queued")
		var l lived
		w.check(json.Unmarshal([]byte(a.body), &l))
		return l.ChangeRequest
	}
	home, second, third := w.home("full"), w.person("full", bornSecond), w.person("full", bornThird)
	before := w.everything()
	split := waits(event("household_split", "household_id", home, "members", []string{second}, "head", second))
	death := waits(event("death", "individual_id", second))
	child := waits(event("birth", "individual_id", second, "values", map[string]any{"full_name": "Esi"}))
	passport := waits(event("identifier_added", "individual_id", third, "identifier", map[string]any{"scheme": "passport_number", "value": "P-7"}))
	if w.everything() != before {
		t.Error("something has taken effect")
	}
	w.wants("an event that would not do does not wait", w.tell("full", event("household_split", "household_id", home, "members", []string{w.person("full", bornFourth)}), "no"), http.StatusConflict, "not_a_member")

	var shown struct {
		Type, State string
		Event       lifeEvent `json:"life_event"`
		After       map[string]any
		Fields      []string
	}
	read := func(id string) {
		t.Helper()
		a := w.get(changeRequestsPath+"/"+id+"?purpose="+purposeOf["other"], w.other)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		shown.After, shown.Fields = nil, nil
		w.check(json.Unmarshal([]byte(a.body), &shown))
	}
	read(split)
	if e := shown.Event; shown.Type != "life_event" || e.Type != "household_split" || e.Household != w.home("other") || len(e.Members) != 1 || e.Members[0] != w.person("other", bornSecond) || e.Head != e.Members[0] || e.Evidence != "form 17/2024" {
		t.Errorf("the split, as its reviewer sees it: %+v", shown)
	}
	if read(death); shown.After["date_of_death"] != "2024-03-01" || shown.After["vital_status"] != "deceased" {
		t.Errorf("the death: %+v", shown)
	}
	if read(child); shown.After["full_name"] != "Esi" || shown.Event.Individual != w.person("other", bornSecond) {
		t.Errorf("the birth: %+v", shown)
	}
	if read(passport); string(shown.Event.Identifier["value"]) != `"P-7"` || shown.Fields[0] != "identifiers.scheme" {
		t.Errorf("the identifier: %+v", shown)
	}
	if all := w.list("other", changeRequestsPath); len(all) != 3 { // the split is about a household
		t.Errorf("the list of the reviewer: %+v", all)
	}

	w.wants("by who has asked", w.decide("full", changeRequestsPath, split, "decision", "approve"), http.StatusForbidden, "own_request")
	if a := w.decide("other", changeRequestsPath, split, "decision", "approve"); a.status != http.StatusOK {
		t.Fatalf("approved: %d %s", a.status, a.body)
	}
	if h := w.household("full", home); h.MemberCount != 2 {
		t.Errorf("behind the split: %+v", h)
	}
	again := waits(event("member_leaves", "individual_id", third, "household_id", home, "type", "death", "household_id", nil))
	w.lives("full", event("contact_or_address", "individual_id", third, "values", map[string]any{"emails": []string{"esi@example.org"}}))
	for _, id := range []string{child, passport, death, again} { // the mother gives birth before she dies
		if a := w.decide("other", changeRequestsPath, id, "decision", "approve"); a.status != http.StatusOK {
			t.Errorf("approved: %d %s", a.status, a.body)
		}
	}
	late := func(body, code string) {
		t.Helper()
		w.letUpdate(reports())
		w.letUpdate(reports("member_leaves", "contact_or_address", "birth"))
		w.wants(body, w.tell("full", body, "late-"+code), http.StatusConflict, code)
	}
	late(event("birth", "individual_id", second), "individual_dead")

	// Those whom a reviewer does not see are not told of, and decided by others.
	_, err := w.gate.Restrict(t.Context(), operator, exchange.Subject{Source: "test", Key: "i2"}, annona.Restriction{Kind: annona.KindRestriction})
	w.check(err)
	w.wants("of somebody out of sight", w.get(changeRequestsPath+"/"+split+"?purpose="+purposeOf["other"], w.other), http.StatusNotFound, "not_found")
	if log := w.logged(); strings.Contains(log, "Esi") || strings.Contains(log, "P-7") {
		t.Error("the log tells of people")
	}
}

// Who approves a life event sees all of which it speaks unaltered, and the days against which it is held; who reports one
// sees what it is about.
func TestWhoSeesLessDecidesNoLifeEvent(t *testing.T) {
	w := newWorkbench(t, reports("contact_or_address", "member_leaves"))
	home, second := w.home("full"), w.person("full", bornSecond)
	queue := func(body string) string {
		t.Helper()
		w.keys++
		a := w.tell("full", body, fmt.Sprint("waits-", w.keys))
		w.wants(body, a, http.StatusAccepted, "queued")
		var l lived
		w.check(json.Unmarshal([]byte(a.body), &l))
		return l.ChangeRequest
	}
	mail := event("contact_or_address", "individual_id", second, "values", map[string]any{"emails": []string{"esi@example.org"}})
	contact, leaves := queue(mail), queue(event("member_leaves", "individual_id", second, "household_id", home))
	before := w.everything()
	sees := func(change func(*annona.DatasetTerms)) {
		w.letUpdate(reports("contact_or_address", "member_leaves"), func(a *annona.Agreement) {
			terms := a.Datasets["individuals"]
			terms.Except, terms.Treatments = nil, nil
			change(&terms)
			a.Datasets["individuals"] = terms
		})
	}
	sees(func(terms *annona.DatasetTerms) { terms.Except = []string{"emails"} })
	w.wants("approved by who does not see it", w.decide("other", changeRequestsPath, contact, "decision", "approve"), http.StatusForbidden, "review_not_granted")
	w.wants("reported by who does not see it", w.tell("full", mail, "unseen"), http.StatusForbidden, "update_not_granted")
	sees(func(terms *annona.DatasetTerms) {
		terms.Treatments = map[string]annona.Treatment{"date_of_birth": annona.TreatYear}
	})
	w.wants("approved by who sees no days of birth", w.decide("other", changeRequestsPath, leaves, "decision", "approve"), http.StatusForbidden, "review_not_granted")
	sees(func(*annona.DatasetTerms) {})
	if w.everything() != before {
		t.Error("something was written")
	}
	for _, id := range []string{contact, leaves} {
		if a := w.decide("other", changeRequestsPath, id, "decision", "approve"); a.status != http.StatusOK {
			t.Errorf("by who sees it all: %d %s", a.status, a.body)
		}
	}
}

// What has changed until it is approved is seen then.
func TestALifeEventIsCheckedAgain(t *testing.T) {
	w := newWorkbench(t, reports("member_leaves", "death"))
	home, second := w.home("full"), w.person("full", bornSecond)
	queue := func(key, body string) string {
		t.Helper()
		var l lived
		a := w.tell("full", body, key)
		w.wants(body, a, http.StatusAccepted, "queued")
		w.check(json.Unmarshal([]byte(a.body), &l))
		return l.ChangeRequest
	}
	leaves := queue("a", event("member_leaves", "individual_id", second, "household_id", home))
	death := queue("b", event("death", "individual_id", second))
	w.letUpdate(reports())
	w.lives("other", event("death", "individual_id", w.person("other", bornSecond), "effective_date", "2024-02-01"))
	before := w.everything()
	w.wants("leaving after death", w.decide("other", changeRequestsPath, leaves, "decision", "approve"), http.StatusConflict, "individual_dead")
	w.wants("dying twice", w.decide("other", changeRequestsPath, death, "decision", "approve"), http.StatusConflict, "individual_dead")
	if w.everything() != before {
		t.Error("something was written")
	}
	if a := w.decide("other", changeRequestsPath, death, "decision", "reject"); a.status != http.StatusOK {
		t.Errorf("rejected: %d %s", a.status, a.body)
	}
}

// An event is one load: it is undone whole. It stands in the update log, with the request that it was.
func TestALifeEventIsUndone(t *testing.T) {
	w := newWorkbench(t, reports())
	home, second := w.home("full"), w.person("full", bornSecond)
	before := w.household("full", home)
	l := w.lives("full", event("death", "individual_id", second))
	u := w.log("full", "", 10)
	if got := w.get(fmt.Sprintf("/v1/individuals/%s/updates?purpose=%s", second, purposeOf["full"]), w.full); !strings.Contains(got.body, `"action":"life_event"`) || !strings.Contains(got.body, l.ChangeRequest) {
		t.Errorf("its update log: %s; of another: %v", got.body, u.lines())
	}
	w.lives("full", event("household_split", "household_id", home, "members", []string{w.person("full", bornThird)}))
	for range 2 {
		loads, err := w.gate.ListLoads(t.Context(), operator, "partner:full", 10)
		w.check(err)
		for _, load := range loads {
			if load.State == exchange.StateFinished && load.Mode == exchange.ModeEdit {
				_, err = w.gate.UndoLoad(t.Context(), operator, load.ID)
				w.check(err)
				break
			}
		}
	}
	if after := w.household("full", home); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("behind the undo:\n%+v\n%+v", after, before)
	}
}

// Two who hold one identifier are both on file, and a look-up picks neither.
func TestAnIdentifierThatClashesIsDisputed(t *testing.T) {
	w := newWorkbench(t, reports())
	second := w.person("full", bornSecond)
	w.lives("full", event("identifier_added", "individual_id", second, "identifier", map[string]any{"scheme": "national_id_number", "value": "GHA-0012345"}))
	disputes := 0
	w.check(w.gate.Disputes(t.Context(), operator, "full", func(d exchange.Disputed) error {
		if disputes++; !slices.Contains(d.Holders, second) || len(d.Holders) != 2 {
			t.Errorf("%+v", d)
		}
		return nil
	}))
	if a := w.lookup("national_id_number", "GHA-0012345"); disputes != 1 || a.status != http.StatusConflict || !strings.Contains(a.body, second) || !strings.Contains(a.body, w.person("full", bornFirst)) {
		t.Errorf("%d disputes; a look-up: %d %s", disputes, a.status, a.body)
	}
}

// Of many deliveries of one event one takes effect; all are told the same.
func TestDeliveriesOfALifeEvent(t *testing.T) {
	w := newWorkbench(t, reports())
	body := event("birth", "individual_id", w.person("full", bornFirst), "values", map[string]any{"sex": "male"})
	var told sync.Map
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if a := w.tell("full", body, "one"); a.status == http.StatusOK {
				var l lived
				w.check(json.Unmarshal([]byte(a.body), &l))
				told.Store(l.Created["individual_id"]+" "+l.ChangeRequest, l.Verdict)
			} else if a.status != http.StatusConflict && a.status != http.StatusServiceUnavailable {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	answers := 0
	told.Range(func(key, _ any) bool { answers++; return true })
	if h := w.household("full", w.home("full")); h.MemberCount != 4 || answers != 1 {
		t.Errorf("%d members, %d different answers", h.MemberCount, answers)
	}
	w.wants("another event under the key", w.tell("full", event("birth", "individual_id", w.person("full", bornSecond)), "one"), http.StatusUnprocessableEntity, "idempotency_key_reused")
}

// A death that comes by a patch flags a household without a head as well.
func TestADeathLeavesAHouseholdWithoutAHead(t *testing.T) {
	w := newWorkbench(t)
	home := w.home("full")
	w.edit("full", `{"date_of_death":"2024-01-01"}`, "applied")
	if h := w.household("full", home); h.MemberCount != 2 || !slices.Contains(flagsOf(h.Flags), "no_head") {
		t.Errorf("%+v", h)
	}
	_, err := w.gate.ChangeHead(t.Context(), operator, exchange.HeadChange{Household: exchange.Subject{Source: "test", Key: "h1"}, Head: exchange.Subject{Source: "test", Key: "i2"}, Why: exchange.Why{Reason: "found"}})
	w.check(err)
	if h := w.household("full", home); slices.Contains(flagsOf(h.Flags), "no_head") {
		t.Errorf("with a head: %+v", h)
	}
}

// Whether somebody has died is not told to whom does not see it: neither by what becomes of an event, nor by what
// becomes of its approval.
func TestADeathThatIsNotSeenIsNotTold(t *testing.T) {
	for _, hidden := range []string{"date_of_death", "vital_status"} {
		t.Run(hidden, func(t *testing.T) {
			w := newWorkbench(t, reports("member_joins"))
			home, living, dead := w.home("full"), w.person("full", "1999-12-31"), w.person("full", bornFourth)
			waits := func(who string) string {
				a := w.tell("other", event("member_joins", "individual_id", w.person("other", who), "household_id", w.home("other")), "waits-"+who)
				w.wants("it waits", a, http.StatusAccepted, "queued")
				var l lived
				w.check(json.Unmarshal([]byte(a.body), &l))
				return l.ChangeRequest
			}
			asked := map[string]string{living: waits("1999-12-31"), dead: waits(bornFourth)}
			w.lives("full", event("death", "individual_id", dead))
			w.change("full", func(a *annona.Agreement) {
				terms := a.Datasets["individuals"]
				terms.Except = append(terms.Except, hidden)
				a.Datasets["individuals"], a.LifeEvents.Review = terms, nil
			})
			for what, body := range map[string]func(who string) string{
				"a contact": func(who string) string {
					return event("contact_or_address", "individual_id", who, "values", map[string]any{"emails": []string{"a@b.example"}})
				},
				"a birth":    func(who string) string { return event("birth", "individual_id", who) },
				"joining":    func(who string) string { return event("member_joins", "individual_id", who, "household_id", home) },
				"a new head": func(who string) string { return event("head_change", "household_id", home, "head", who) },
				"a split": func(who string) string {
					return event("household_split", "household_id", home, "members", []string{who})
				},
				"an approval": nil,
			} {
				var told []string
				for _, who := range []string{living, dead} {
					w.keys++
					a := answer{}
					if body == nil {
						a = w.decide("full", changeRequestsPath, asked[who], "decision", "approve")
						w.wants(what, a, http.StatusForbidden, "review_not_granted")
					} else {
						a = w.tell("full", body(who), fmt.Sprint("told-", w.keys))
						w.wants(what, a, http.StatusForbidden, "update_not_granted")
					}
					told = append(told, ledgerID.ReplaceAllString(a.body, ""))
				}
				if told[0] != told[1] || !strings.Contains(told[0], hidden) {
					t.Errorf("%s is told apart: %s, %s", what, told[0], told[1])
				}
			}
			w.lives("full", event("identifier_added", "individual_id", dead, "identifier", map[string]any{"scheme": "passport_number", "value": "P-1"}))
		})
	}
}

// What a source decides waits for it, and is confirmed when it says so.
func TestALifeEventWaitsForItsSource(t *testing.T) {
	w := newWorkbench(t, reports())
	_, err := w.gate.Declare(t.Context(), operator, annona.Extension{Country: "GH", Authorities: []annona.Authority{
		{Dataset: "individuals", Field: "date_of_death", Source: "test"}, {Dataset: "individuals", Field: "identifiers", Source: "test"},
	}})
	w.check(err)
	first := w.person("full", bornFirst)
	waits := func(body string) string {
		t.Helper()
		w.keys++
		var l lived
		a := w.tell("full", body, fmt.Sprint("waits-", w.keys))
		w.wants(body, a, http.StatusAccepted, "queued")
		w.check(json.Unmarshal([]byte(a.body), &l))
		return l.ChangeRequest
	}
	death := waits(event("death", "individual_id", first))
	never := waits(event("identifier_added", "individual_id", first, "identifier", map[string]any{"scheme": "passport_number", "value": "P-1"}))
	known := waits(event("identifier_corrected", "individual_id", first, "former", map[string]any{"scheme": "national_id_number", "value": "GHA-0012345"}, "identifier", map[string]any{"scheme": "national_id_number", "value": "GHA-0012346"}))
	w.wants("approved", w.decide("other", changeRequestsPath, death, "decision", "approve"), http.StatusConflict, "authority_outside")
	again := w.member("h1", "head", "i1", "full_name", "Wanjiku Wiśniewska", "sex", "female", "date_of_birth", "1985-04-12", "date_of_death", "2024-03-01")
	again.Groups[0].Items[0][1].Text = "GHA-0012346"
	w.load(w.record("households", "h1", "area_code", "GH01", "poverty_score", "27.5"), again)
	w.check(w.gate.SettleChangeRequests(t.Context()))
	for id, want := range map[string]string{death: "confirmed", known: "confirmed", never: "pending_at_source"} {
		if c := w.show("full", changeRequestsPath, id); c.State != want {
			t.Errorf("behind the load it is %s, want %s", c.State, want)
		}
	}
}

// Several identifiers of one person lead to that person; where they lead to several, nobody is picked.
func TestALookUpBySeveralIdentifiers(t *testing.T) {
	w := newWorkbench(t, reports())
	first, second := w.person("full", bornFirst), w.person("full", bornSecond)
	w.lives("full", event("identifier_added", "individual_id", first, "identifier", map[string]any{"scheme": "passport_number", "value": "P-1"}))
	w.lives("full", event("identifier_added", "individual_id", second, "identifier", map[string]any{"scheme": "passport_number", "value": "P-2"}))
	look := func(who string, fields string, ids ...string) answer {
		t.Helper()
		var list []string
		for _, id := range ids {
			kind, value, _ := strings.Cut(id, " ")
			list = append(list, fmt.Sprintf(`{"type":%q,"value":%q}`, kind, value))
		}
		return w.ask(http.MethodPost, "/v1/lookup", w.keyOf(who), fmt.Sprintf(`{"identifiers":[%s],"purpose":%q%s}`, strings.Join(list, ","), purposeOf[who], fields), "Content-Type", "application/json")
	}
	for _, ids := range [][]string{{"national_id_number GHA-0012345", "passport_number P-1"}, {"passport_number nobody", "passport_number p1"}, {"passport_number P-1", "passport_number P-1"}} {
		if a := look("full", "", ids...); a.status != http.StatusOK || strings.Count(a.body, first) != 2 {
			t.Errorf("%q: %d %s", ids, a.status, a.body)
		}
	}
	w.wants("nobody", look("full", "", "passport_number x", "passport_number y"), http.StatusNotFound, "not_found")
	several := look("full", `,"fields":["full_name"]`, "national_id_number GHA-0012345", "passport_number P-2", "passport_number P-1")
	w.wants("several", several, http.StatusConflict, "identifier_ambiguous")
	var problem Problem
	w.check(json.Unmarshal([]byte(several.body), &problem))
	if c := problem.Candidates; len(c) != 2 || fmt.Sprint(c) != fmt.Sprintf("[{%s [1 3]} {%s [2]}]", first, second) && fmt.Sprint(c) != fmt.Sprintf("[{%s [2]} {%s [1 3]}]", second, first) || strings.Contains(several.body, "Nyaboke") {
		t.Errorf("the candidates: %s", several.body)
	}
	_, err := w.gate.Restrict(t.Context(), operator, exchange.Subject{Source: "test", Key: "i2"}, annona.Restriction{Kind: annona.KindRestriction})
	w.check(err)
	if a := look("full", "", "national_id_number GHA-0012345", "passport_number P-2"); a.status != http.StatusOK || strings.Contains(a.body, second) {
		t.Errorf("one of them is out of sight: %d %s", a.status, a.body)
	}
	w.wants("one and several", look("full", `,"type":"passport_number","value":"P-1"`, "passport_number P-1"), http.StatusBadRequest, "identifier_twice")
	w.wants("none", look("full", ""), http.StatusBadRequest, "")
	w.wants("too many", look("full", "", slices.Repeat([]string{"passport_number P-1"}, 11)...), http.StatusBadRequest, "")
	if log := w.logged(); strings.Contains(log, "P-1") || strings.Contains(log, "0012345") {
		t.Error("the log has an identifier")
	}
}
