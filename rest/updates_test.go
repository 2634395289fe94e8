package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/annona-exchange/annona"
)

// workbench is a registry in which the clients of full and other may update some fields of individuals and
// households, each under its own purpose.
type workbench struct {
	*registry
	keys int
}

func newWorkbench(t *testing.T, change ...func(*annona.Agreement)) *workbench {
	t.Helper()
	w := &workbench{registry: newRegistry(t)}
	w.letUpdate(change...)
	return w
}

func (w *workbench) letUpdate(change ...func(*annona.Agreement)) {
	w.Helper()
	for _, name := range []string{"full", "other"} {
		a, err := w.store.Agreement(w.Context(), name)
		w.check(err)
		a.Updates = map[string]annona.UpdateTerms{
			"individuals": {Fields: []string{"full_name", "preferred_name", "phone_numbers", "marital_status", "date_of_birth", "date_of_death", "nationality", "occupation", "income_amount", "in_school"}},
			"households":  {Fields: []string{"settlement_type", "area_code"}},
		}
		for _, c := range change {
			c(a)
		}
		_, err = w.gate.ApplyAgreement(w.Context(), operator, *a)
		w.check(err)
	}
}

var purposeOf = map[string]string{"full": "eligibility-assessment", "other": "monitoring"}

// path is that of a record as one of the two clients sees it.
func (w *workbench) path(who, dataset, id string) string {
	return "/v1/" + dataset + "/" + id + "?purpose=" + purposeOf[who]
}

func (w *workbench) keyOf(who string) string {
	return map[string]string{"full": w.full, "other": w.other}[who]
}

// idOf returns the id of the individual with that name, or of the household in that area.
func (w *workbench) idOf(who, dataset, field, value string) string {
	w.Helper()
	a := w.get("/v1/"+dataset+"?purpose="+purposeOf[who]+"&fields="+strings.TrimSuffix(dataset, "s")+"_id,"+field, w.keyOf(who))
	var page map[string]json.RawMessage
	w.check(json.Unmarshal([]byte(a.body), &page))
	var rows []map[string]any
	w.check(json.Unmarshal(page[dataset], &rows))
	for _, row := range rows {
		if row[field] == value {
			return row[strings.TrimSuffix(dataset, "s")+"_id"].(string)
		}
	}
	w.Fatalf("nobody has this value: %s", a.body)
	return ""
}

func (w *workbench) somebodyOf(who string) string {
	return w.idOf(who, "individuals", "date_of_birth", "1985-04-12")
}

// read returns a record and its tag.
func (w *workbench) read(who, path string) (record map[string]any, tag string) {
	w.Helper()
	a := w.get(path, w.keyOf(who))
	if a.status != http.StatusOK {
		w.Fatalf("reading: %d %s", a.status, a.body)
	}
	return w.recordIn(a), a.header.Get("ETag")
}

func (w *workbench) recordIn(a answer) (record map[string]any) {
	w.Helper()
	w.check(json.Unmarshal([]byte(a.body), &record))
	return record
}

// patch sends a patch under a key of its own.
func (w *workbench) patch(who, path, tag, body string, headers ...string) answer {
	w.Helper()
	w.keys++
	h := append([]string{"Content-Type", mergePatch, "If-Match", tag, "Idempotency-Key", fmt.Sprint("key-", w.keys)}, headers...)
	return w.ask(http.MethodPatch, path, w.keyOf(who), body, h...)
}

func (w *workbench) wants(what string, a answer, status int, code string) {
	w.Helper()
	if a.status != status || code != "" && status >= 400 && a.problem(w.T).Code != code || code != "" && status < 400 && a.header.Get("Annona-Verdict") != code {
		w.Errorf("%s: %d %s %s, want %d %s", what, a.status, a.header.Get("Annona-Verdict"), a.body, status, code)
	}
}

func TestAnUpdateIsApplied(t *testing.T) {
	w := newWorkbench(t)
	path := w.path("full", "individuals", w.somebodyOf("full"))
	_, tag := w.read("full", path)
	a := w.patch("full", path, tag, `{"phone_numbers":["+233 20 000","+233 20 111"],"marital_status":"married","income_amount":12.50,"in_school":false}`)
	w.wants("a patch", a, http.StatusOK, "applied")
	got := w.recordIn(a)
	if got["marital_status"] != "married" || fmt.Sprint(got["phone_numbers"]) != "[+233 20 000 +233 20 111]" || got["in_school"] != false || got["sex"] != "female" {
		t.Errorf("the record: %v", got)
	}
	now, read := w.read("full", path)
	if a.header.Get("ETag") != read || read == tag || now["marital_status"] != "married" {
		t.Errorf("tags %s, %s, %s", tag, a.header.Get("ETag"), read)
	}
	a = w.patch("full", path, read, `{"phone_numbers":null,"marital_status":"married"}`)
	if got := w.recordIn(a); a.status != http.StatusOK || got["phone_numbers"] != nil || got["marital_status"] != "married" {
		t.Errorf("a value that is taken away: %d %v", a.status, got)
	}
	house := w.path("full", "households", w.idOf("full", "households", "poverty_score", "27.5"))
	_, tag = w.read("full", house)
	if a := w.patch("full", house, tag, `{"settlement_type":"rural"}`); w.recordIn(a)["settlement_type"] != "rural" {
		t.Errorf("a household: %d %s", a.status, a.body)
	}
	if log := w.logged(); strings.Contains(log, "+233") || strings.Contains(log, "key-1") {
		t.Error("the log has what was sent")
	}
}

// Lesson 35 (primero#508): edits of the same field were silently lost. Lesson 39 (ccd-data-store PR#510):
// the version was checked at the start of an edit, and both got through. Here one of two gets 200 and the
// other one a conflict.
func TestLesson35And39TwoWritersOfOneField(t *testing.T) {
	w := newWorkbench(t)
	paths, tags := map[string]string{}, map[string]string{}
	for _, who := range []string{"full", "other"} {
		paths[who] = w.path(who, "individuals", w.somebodyOf(who))
		_, tags[who] = w.read(who, paths[who])
	}
	var both sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]answer{}
	for who, status := range map[string]string{"full": "married", "other": "widowed"} {
		both.Go(func() {
			a := w.ask(http.MethodPatch, paths[who], w.keyOf(who), `{"marital_status":"`+status+`"}`, "Content-Type", mergePatch, "If-Match", tags[who], "Idempotency-Key", "at-once")
			mu.Lock()
			defer mu.Unlock()
			answers[who] = a
		})
	}
	both.Wait()
	won, lost := answers["full"], answers["other"]
	if won.status != http.StatusOK {
		won, lost = lost, won
	}
	w.wants("the first one", won, http.StatusOK, "applied")
	w.wants("the second one", lost, http.StatusPreconditionFailed, "conflict")
	if id := lost.problem(t).Conflict; len(id) != 32 || lost.header.Get("Location") != conflictsPath+"/"+id {
		t.Errorf("the conflict: %s, %s", id, lost.header.Get("Location"))
	}
}

// Two writers of different fields: both are applied, also when the second one has read before the first
// one wrote, and when others came in between.
func TestUpdatesOfDifferentFieldsMerge(t *testing.T) {
	w := newWorkbench(t)
	one, two := w.path("full", "individuals", w.somebodyOf("full")), w.path("other", "individuals", w.somebodyOf("other"))
	_, first := w.read("full", one)
	_, second := w.read("other", two)
	w.wants("the first", w.patch("full", one, first, `{"marital_status":"married"}`), http.StatusOK, "applied")
	a := w.patch("other", two, second, `{"nationality":"GH"}`)
	w.wants("the second", a, http.StatusOK, "merged")
	if got := w.recordIn(a); got["marital_status"] != "married" || got["nationality"] != "GH" {
		t.Errorf("the record: %v", got)
	}
	for n := range 3 {
		_, tag := w.read("full", one)
		w.wants("in between", w.patch("full", one, tag, fmt.Sprintf(`{"occupation":"%d"}`, n)), http.StatusOK, "applied")
	}
	w.wants("from long ago", w.patch("other", two, second, `{"phone_numbers":["1"]}`), http.StatusOK, "merged")
	w.wants("the same value", w.patch("other", two, second, `{"marital_status":"married"}`), http.StatusOK, "merged")
	w.wants("another value", w.patch("other", two, second, `{"marital_status":"widowed"}`), http.StatusPreconditionFailed, "conflict")
	w.wants("a tag of nobody", w.patch("other", two, `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.json"`, `{"nationality":"KE"}`), http.StatusPreconditionFailed, "version_unknown")
}

// One delivery has an effect, however often it comes.
func TestUpdatesAreDeliveredOften(t *testing.T) {
	w := newWorkbench(t)
	path := w.path("full", "individuals", w.somebodyOf("full"))
	_, tag := w.read("full", path)
	send := func(body, key string) answer {
		return w.ask(http.MethodPatch, path, w.full, body, "Content-Type", mergePatch, "If-Match", tag, "Idempotency-Key", key)
	}
	var all sync.WaitGroup
	answers := make([]answer, 30)
	for n := range answers {
		all.Go(func() { answers[n] = send(`{"preferred_name":"weaver"}`, "often") })
	}
	all.Wait()
	applied := 0
	for _, a := range answers {
		if a.status != http.StatusOK || w.recordIn(a)["preferred_name"] != "weaver" {
			t.Fatalf("a delivery: %d %s", a.status, a.body)
		}
		if a.header.Get("Idempotency-Replayed") == "" {
			applied++
		} else if a.header.Get("Annona-Verdict") != "duplicate" {
			t.Errorf("a replay: %v", a.header)
		}
	}
	if applied != 1 {
		t.Errorf("%d effects", applied)
	}
	loads, err := w.gate.ListLoads(t.Context(), operator, "partner:full", 10)
	if w.check(err); len(loads) != 1 {
		t.Errorf("%d edits", len(loads))
	}
	w.wants("another body", send(`{"preferred_name":"smith"}`, "often"), http.StatusUnprocessableEntity, "idempotency_key_reused")

	// A replay shows what may be seen now.
	w.letUpdate(func(a *annona.Agreement) {
		terms := a.Datasets["individuals"]
		terms.Except = []string{"sex"}
		a.Datasets["individuals"] = terms
	})
	a := send(`{"preferred_name":"weaver"}`, "often")
	if a.header.Get("Idempotency-Replayed") != "true" || w.recordIn(a)["sex"] != nil {
		t.Errorf("a replay under another grant: %d %s", a.status, a.body)
	}
	w.letUpdate(func(a *annona.Agreement) { a.Updates = nil })
	w.wants("a replay without the right", send(`{"preferred_name":"weaver"}`, "often"), http.StatusForbidden, "updates_not_granted")
}

func TestUpdatesThatAreRefused(t *testing.T) {
	w := newWorkbench(t)
	id := w.somebodyOf("full")
	path := w.path("full", "individuals", id)
	before, tag := w.read("full", path)
	for _, c := range []struct {
		what, body, code string
		status           int
		headers          []string
	}{
		{"no tag", `{"preferred_name":"x"}`, "if_match_missing", 428, []string{"Idempotency-Key", "a"}},
		{"any tag", `{"preferred_name":"x"}`, "if_match_weak", 400, []string{"If-Match", "*", "Idempotency-Key", "a"}},
		{"a weak tag", `{"preferred_name":"x"}`, "if_match_weak", 400, []string{"If-Match", "W/" + tag, "Idempotency-Key", "a"}},
		{"two tags", `{"preferred_name":"x"}`, "if_match_malformed", 400, []string{"If-Match", tag + ", " + tag, "Idempotency-Key", "a"}},
		{"no key", `{"preferred_name":"x"}`, "key_missing", 400, []string{"If-Match", tag}},
		{"two keys", `{"preferred_name":"x"}`, "header_repeated", 400, []string{"If-Match", tag, "Idempotency-Key", "a", "Idempotency-Key", "b"}},
		{"nothing", `{}`, "nothing_said", 400, nil},
		{"a list", `[]`, "body_malformed", 400, nil},
		{"null", `null`, "body_malformed", 400, nil},
		{"a member twice", `{"preferred_name":"x","preferred_name":"y"}`, "body_malformed", 400, nil},
		{"half a body", `{"preferred_name":"x"`, "body_malformed", 400, nil},
		{"an object", `{"preferred_name":{}}`, "value_malformed", 400, nil},
		{"an empty text", `{"preferred_name":""}`, "value_malformed", 400, nil},
		{"a field of nobody", `{"Wiśniewska":"x"}`, "unknown_field", 400, nil},
		{"a field that is not granted", `{"sex":"male"}`, "update_not_granted", 403, nil},
		{"a group", `{"identifiers":[]}`, "update_not_granted", 403, nil},
		{"a derived field", `{"household_id":"x"}`, "update_not_granted", 403, nil},
		{"a code of no list", `{"marital_status":"Wiśniewska"}`, "code_unknown", 400, nil},
		{"no date", `{"date_of_birth":"12.04.1985"}`, "date_malformed", 400, nil},
		{"a birth to come", `{"date_of_birth":"2999-01-01"}`, "day_to_come", 400, nil},
		{"a death before the birth", `{"date_of_death":"1985-04-11"}`, "death_before_birth", 400, nil},
		{"another media type", `{"preferred_name":"x"}`, "unsupported_media_type", 415, []string{"Content-Type", "text/csv", "If-Match", tag, "Idempotency-Key", "a"}},
		{"a large body", `{"preferred_name":"` + strings.Repeat("x", maxBody) + `"}`, "body_too_large", 413, nil},
	} {
		headers := c.headers
		if headers == nil {
			headers = []string{"If-Match", tag, "Idempotency-Key", "a"}
		}
		if headers[0] != "Content-Type" {
			headers = append([]string{"Content-Type", mergePatch}, headers...)
		}
		a := w.ask(http.MethodPatch, path, w.full, c.body, headers...)
		w.wants(c.what, a, c.status, c.code)
		for _, secret := range planted {
			if strings.Contains(a.body, secret) {
				t.Errorf("%s: the refusal repeats what was sent: %s", c.what, a.body)
			}
		}
	}
	for what, at := range map[string]string{"another partner's id": w.somebodyOf("other"), "an id of nobody": strings.Repeat("a", 26)} {
		w.wants(what, w.patch("full", w.path("full", "individuals", at), tag, `{"preferred_name":"x"}`), http.StatusNotFound, "not_found")
	}
	if after, now := w.read("full", path); now != tag || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a refusal has changed the record")
	}
}

// The days of a birth and of a death are held against each other: whoever does not see one of them does not
// change the other, and is told the same whatever it is.
func TestADayThatIsNotSeenIsNotTold(t *testing.T) {
	for changes, hidden := range map[string]string{"date_of_death": "date_of_birth", "date_of_birth": "date_of_death"} {
		t.Run(changes, func(t *testing.T) {
			w := newWorkbench(t)
			id := w.somebodyOf("full")
			path := w.path("full", "individuals", id)
			w.change("full", func(a *annona.Agreement) {
				a.Datasets["individuals"] = annona.DatasetTerms{Fields: []string{"individual_id", "preferred_name", changes}}
				a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"preferred_name", changes}}}
			})
			_, tag := w.read("full", path)
			var told string
			for _, day := range []string{"1900-01-01", "1985-04-11", "1985-04-13", "2020-01-01"} {
				a := w.patch("full", path, tag, fmt.Sprintf(`{%q:%q}`, changes, day))
				w.wants(day, a, http.StatusForbidden, "update_not_granted")
				if text := ledgerID.ReplaceAllString(a.body, ""); told != "" && text != told || !strings.Contains(text, hidden) {
					t.Errorf("%s is told apart: %s, %s", day, text, told)
				} else {
					told = text
				}
			}
			w.wants("another field", w.patch("full", path, tag, `{"preferred_name":"x"}`), http.StatusOK, "applied")
		})
	}
}
