package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

// shownRequest is a change request as the wire shows it.
type shownRequest struct {
	ID, Type, State, Source, Record, Reason string
	Mine                                    bool
	Fields                                  []string
	Before, After, Now                      map[string]any
	Since                                   map[string]string
}

func (w *workbench) show(who, path, id string) (c shownRequest) {
	w.Helper()
	a := w.get(path+"/"+id+"?purpose="+purposeOf[who], w.keyOf(who))
	if a.status != http.StatusOK {
		w.Fatalf("a change request: %d %s", a.status, a.body)
	}
	w.check(json.Unmarshal([]byte(a.body), &c))
	return c
}

func (w *workbench) list(who, path string) (all []shownRequest) {
	w.Helper()
	var page struct{ Requests []shownRequest }
	a := w.get(path+"?dataset=individuals&purpose="+purposeOf[who], w.keyOf(who))
	if a.status != http.StatusOK {
		w.Fatalf("change requests: %d %s", a.status, a.body)
	}
	w.check(json.Unmarshal([]byte(a.body), &page))
	return page.Requests
}

func (w *workbench) decide(who, path, id, what, decision string) answer {
	w.Helper()
	w.keys++
	return w.ask(http.MethodPost, path+"/"+id+"/"+what+"?purpose="+purposeOf[who], w.keyOf(who), fmt.Sprintf(`{"decision":%q,"reason":"seen"}`, decision), "Idempotency-Key", fmt.Sprint("ruling-", w.keys))
}

// queue asks for a change that waits, and returns its id.
func (w *workbench) queue(who, body string) string {
	w.Helper()
	path := w.path(who, "individuals", w.somebodyOf(who))
	_, tag := w.read(who, path)
	a := w.patch(who, path, tag, body)
	w.wants("a patch that waits", a, http.StatusAccepted, "queued")
	var said struct {
		ChangeRequest string `json:"change_request"`
	}
	w.check(json.Unmarshal([]byte(a.body), &said))
	return said.ChangeRequest
}

// Where somebody else has to approve it, a change waits, and takes effect by the word of a reviewer who has
// not asked for it.
func TestAChangeRequestIsReviewed(t *testing.T) {
	w := newWorkbench(t, func(a *annona.Agreement) {
		individuals := a.Updates["individuals"]
		individuals.Review = a.Name == "full"
		a.Updates["individuals"], a.Reviews = individuals, a.Name == "other"
	})
	id := w.queue("full", `{"marital_status":"married","full_name":"Moraa Nyaboke"}`)
	path := w.path("full", "individuals", w.somebodyOf("full"))
	if record, _ := w.read("full", path); record["marital_status"] == "married" {
		t.Error("it has taken effect")
	}
	c := w.show("other", changeRequestsPath, id)
	if c.State != "pending" || c.Mine || c.Record != w.somebodyOf("other") || c.Before["full_name"] != "Wanjiku Wiśniewska" || c.After["marital_status"] != "married" || len(c.Fields) != 2 {
		t.Errorf("as the reviewer sees it: %+v", c)
	}
	if all := w.list("full", changeRequestsPath); len(all) != 1 || !all[0].Mine || all[0].ID != id || all[0].After != nil {
		t.Errorf("as the applicant lists it: %+v", all)
	}
	w.wants("the applicant approves it", w.decide("full", changeRequestsPath, id, "decision", "approve"), http.StatusForbidden, "reviews_not_granted")
	w.wants("as a conflict", w.decide("other", conflictsPath, id, "resolution", "approve"), http.StatusNotFound, "not_found")
	w.wants("somebody who may see nothing of it", w.get(changeRequestsPath+"/"+id+"?purpose=statistics", w.narrow), http.StatusForbidden, "updates_not_granted")
	if a := w.decide("other", changeRequestsPath, id, "decision", "approve"); a.status != http.StatusOK || !strings.Contains(a.body, "applied") {
		t.Fatalf("approved: %d %s", a.status, a.body)
	}
	if record, _ := w.read("full", path); record["marital_status"] != "married" || record["full_name"] != "Moraa Nyaboke" {
		t.Errorf("behind it: %v", record)
	}
	w.wants("decided twice", w.decide("other", changeRequestsPath, id, "decision", "reject"), http.StatusConflict, "request_decided")

	second := w.queue("full", `{"marital_status":"widowed"}`)
	withdraw := func(key string) answer {
		return w.ask(http.MethodDelete, changeRequestsPath+"/"+second+"?purpose="+purposeOf["full"], w.full, "", "Idempotency-Key", key)
	}
	w.wants("withdrawn by the reviewer", w.ask(http.MethodDelete, changeRequestsPath+"/"+second+"?purpose="+purposeOf["other"], w.other, "", "Idempotency-Key", "w"), http.StatusForbidden, "request_of_others")
	if a := withdraw("w"); a.status != http.StatusOK || !strings.Contains(a.body, "withdrawn") {
		t.Errorf("withdrawn: %d %s", a.status, a.body)
	}
	if a := withdraw("w"); a.header.Get("Idempotency-Replayed") != "true" || !strings.Contains(a.body, "withdrawn") {
		t.Errorf("withdrawn again: %d %s", a.status, a.body)
	}
	// Whoever may see a field no more does not see that something was asked of it.
	w.letUpdate(func(a *annona.Agreement) {
		terms := a.Datasets["individuals"]
		terms.Except = []string{"marital_status"}
		a.Datasets["individuals"], a.Reviews = terms, true
	})
	w.wants("a field out of sight", w.get(changeRequestsPath+"/"+second+"?purpose="+purposeOf["other"], w.other), http.StatusNotFound, "not_found")
	if all := w.list("other", changeRequestsPath); len(all) != 1 || len(all[0].Fields) != 1 {
		t.Errorf("the list without that field: %+v", all)
	}
	if strings.Contains(w.logged(), "Nyaboke") {
		t.Error("the log has a name")
	}
}

// Who approves a change sees all that it asks for, unaltered.
func TestAReviewerSeesAllOfAChange(t *testing.T) {
	w := newWorkbench(t, func(a *annona.Agreement) {
		individuals, seen := a.Updates["individuals"], a.Datasets["individuals"]
		individuals.Review = a.Name == "full"
		a.Updates["individuals"], a.Reviews = individuals, a.Name == "other"
		if a.Name == "other" {
			seen.Except = append(seen.Except, "marital_status")
			a.Datasets["individuals"] = seen
		}
	})
	id := w.queue("full", `{"marital_status":"married","full_name":"Moraa Nyaboke"}`)
	w.wants("approved", w.decide("other", changeRequestsPath, id, "decision", "approve"), http.StatusForbidden, "review_not_granted")
	if record, _ := w.read("full", w.path("full", "individuals", w.somebodyOf("full"))); record["full_name"] == "Moraa Nyaboke" {
		t.Error("it has taken effect")
	}
}

// The days of birth and death are held against each other: who approves one of them sees both.
func TestAReviewerOfADaySeesBoth(t *testing.T) {
	w := newWorkbench(t, func(a *annona.Agreement) {
		individuals, seen := a.Updates["individuals"], a.Datasets["individuals"]
		individuals.Review = a.Name == "full"
		a.Updates["individuals"], a.Reviews = individuals, a.Name == "other"
		if a.Name == "other" {
			seen.Except = append(seen.Except, "date_of_death")
			a.Datasets["individuals"] = seen
		}
	})
	id := w.queue("full", `{"date_of_birth":"1985-04-13"}`)
	if c := w.show("other", changeRequestsPath, id); c.After["date_of_birth"] != "1985-04-13" {
		t.Fatalf("as the reviewer sees it: %+v", c)
	}
	w.wants("approved", w.decide("other", changeRequestsPath, id, "decision", "approve"), http.StatusForbidden, "review_not_granted")
}

// What another source decides waits for that source: its load confirms it. Nobody else approves it.
func TestAChangeRequestWaitsForItsSource(t *testing.T) {
	w := newWorkbench(t, func(a *annona.Agreement) { a.Reviews = a.Name == "other" })
	_, err := w.gate.Declare(t.Context(), operator, annona.Extension{Country: "GH", Authorities: []annona.Authority{{Dataset: "individuals", Field: "date_of_birth", Source: "test"}}})
	w.check(err)
	born := w.queue("full", `{"date_of_birth":"1985-04-13"}`)
	if c := w.show("full", changeRequestsPath, born); c.State != "pending_at_source" || c.Source != "test" || c.Before["date_of_birth"] != "1985-04-12" {
		t.Errorf("it waits: %+v", c)
	}
	w.wants("approved", w.decide("other", changeRequestsPath, born, "decision", "approve"), http.StatusConflict, "authority_outside")
	path := w.path("full", "individuals", w.somebodyOf("full"))
	_, tag := w.read("full", path)
	w.wants("with what nobody else decides", w.patch("full", path, tag, `{"date_of_birth":"1985-04-13","marital_status":"married"}`), http.StatusConflict, "authorities_differ")

	w.load(w.record("households", "h1", "area_code", "GH01", "poverty_score", "27.5"), w.member("h1", "head", "i1", "full_name", "Wanjiku Wiśniewska", "sex", "female", "date_of_birth", "1985-04-13"))
	w.check(w.gate.SettleChangeRequests(t.Context()))
	if c := w.show("full", changeRequestsPath, born); c.State != "confirmed" {
		t.Errorf("behind the load: %+v", c)
	}
}

// What a person of the registry has decided is not overwritten without one.
func TestAnEditOfTheRegistryIsNotOverwritten(t *testing.T) {
	w := newWorkbench(t)
	_, err := w.gate.Set(t.Context(), operator, exchange.Setting{Record: exchange.Subject{Source: "test", Key: "i1"}, Values: []exchange.Assignment{{Field: "marital_status", Text: "married"}}, Why: exchange.Why{Reason: "correction"}})
	w.check(err)
	if c := w.show("full", changeRequestsPath, w.queue("full", `{"marital_status":"widowed"}`)); c.State != "pending" {
		t.Errorf("%+v", c)
	}
}

// A conflict keeps both values with their times, and is resolved by one of the two who clashed, once.
func TestAConflictIsResolved(t *testing.T) {
	w := newWorkbench(t)
	one, two := w.path("full", "individuals", w.somebodyOf("full")), w.path("other", "individuals", w.somebodyOf("other"))
	clash := func(status string) string {
		_, tag := w.read("other", two)
		_, first := w.read("full", one)
		w.wants("the first", w.patch("full", one, first, `{"marital_status":"`+status+`"}`), http.StatusOK, "applied")
		return w.patch("other", two, tag, `{"marital_status":"divorced","nationality":"GH"}`).problem(t).Conflict
	}
	id := clash("married")
	c := w.show("other", conflictsPath, id)
	if c.State != "open" || c.After["marital_status"] != "divorced" || c.Now["marital_status"] != "married" || c.Before["marital_status"] != nil || c.Since["marital_status"] == "" || c.Since["nationality"] != "" {
		t.Errorf("%+v", c)
	}
	w.wants("of another partner", w.get(conflictsPath+"/"+id+"?purpose="+purposeOf["full"], w.full), http.StatusNotFound, "not_found")
	if a := w.decide("other", conflictsPath, id, "resolution", "approve"); a.status != http.StatusOK {
		t.Fatalf("resolved: %d %s", a.status, a.body)
	}
	if record, _ := w.read("full", one); record["marital_status"] != "divorced" || record["nationality"] != "GH" {
		t.Errorf("behind it: %v", record)
	}
	w.wants("resolved twice", w.decide("other", conflictsPath, id, "resolution", "approve"), http.StatusConflict, "request_decided")

	stale := w.patch("other", two, `"x"`, `{"nationality":"KE"}`)
	w.wants("nothing to resolve", stale, http.StatusPreconditionFailed, "version_unknown")
	moved := clash("widowed")
	_, tag := w.read("full", one)
	w.wants("somebody goes on", w.patch("full", one, tag, `{"marital_status":"married"}`), http.StatusOK, "applied")
	w.wants("a conflict that is over", w.decide("other", conflictsPath, moved, "resolution", "approve"), http.StatusConflict, "request_moved")
	if a := w.decide("other", conflictsPath, moved, "resolution", "reject"); !strings.Contains(a.body, "rejected") {
		t.Errorf("given up: %d %s", a.status, a.body)
	}
}
