package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
)

// told is a page of updates of several records.
type fed struct {
	updates
	Records []string
	More    bool
}

// feed reads a page of /v1/updates.
func (w *workbench) feed(who, query string) (f fed) {
	w.Helper()
	a := w.get(updatesPath+"?purpose="+purposeOf[who]+"&dataset=individuals"+query, w.keyOf(who))
	if a.status != http.StatusOK {
		w.Fatalf("the updates: %d %s", a.status, a.body)
	}
	w.check(json.Unmarshal([]byte(a.body), &f))
	var ids struct{ Updates []struct{ Record string } }
	w.check(json.Unmarshal([]byte(a.body), &ids))
	for _, u := range ids.Updates {
		f.Records = append(f.Records, u.Record)
	}
	return f
}

// Updates of everybody whom a reader may see are told in order from a position on: those of each record as
// its own log has them, and the reader's own requests.
func TestUpdatesAreFollowed(t *testing.T) {
	w := newWorkbench(t, readsUpdates)
	start := w.feed("full", "").Next
	w.edit("full", `{"marital_status":"married"}`, "applied")
	second := w.person("full", bornSecond)
	path := w.path("full", "individuals", second)
	_, tag := w.read("full", path)
	w.wants("another one", w.patch("full", path, tag, `{"occupation":"7"}`), http.StatusOK, "applied")
	two := w.path("other", "individuals", w.somebodyOf("other"))
	_, old := w.read("other", two)
	w.edit("full", `{"nationality":"GH"}`, "applied")
	w.wants("a clash", w.patch("other", two, old, `{"nationality":"KE"}`), http.StatusPreconditionFailed, "conflict")

	full := w.feed("full", "&after="+start)
	w.says("to the first", full.updates,
		"update applied partner mine marital_status:<nil>>married", "update applied partner mine occupation:<nil>>7", "update applied partner mine nationality:<nil>>GH")
	if want := []string{w.somebodyOf("full"), second, w.somebodyOf("full")}; !slices.Equal(full.Records, want) || full.More || !full.Complete {
		t.Errorf("of %v, not %v; %+v", full.Records, want, full)
	}
	other := w.feed("other", "")
	w.says("to the second", other.updates, "update applied partner marital_status:<nil>>married", "update applied partner occupation:<nil>>7",
		"update applied partner nationality:<nil>>GH", "update conflict partner mine nationality:GH>KE")
	var pages []string
	after := start
	for range 10 {
		f := w.feed("full", "&limit=1&after="+after)
		pages = append(pages, f.lines()...)
		if after = f.Next; !f.More {
			break
		}
	}
	if !slices.Equal(pages, full.lines()) {
		t.Errorf("one by one: %q", pages)
	}
	if f := w.feed("full", "&after="+full.Next); len(f.Updates) != 0 || f.More {
		t.Errorf("behind the last one: %+v", f)
	}
	w.says("of one record", w.feed("full", "&record="+second).updates, "update applied partner mine occupation:<nil>>7")
	w.says("with one verdict", w.feed("other", "&verdict=conflict").updates, "update conflict partner mine nationality:GH>KE")
	if f := w.feed("full", "&since=2090-01-01T00:00:00Z"); len(f.Updates) != 0 {
		t.Errorf("since a day to come: %v", f.lines())
	}
	if f := w.feed("full", "&until=2020-01-01T00:00:00Z"); len(f.Updates) != 0 {
		t.Errorf("until a day long ago: %v", f.lines())
	}

	foreign := w.feed("other", "").Next
	for what, query := range map[string]string{
		"a position of another client":   "&after=" + foreign,
		"a position of another question": "&verdict=applied&after=" + start,
		"a position of nobody":           "&after=x",
	} {
		w.wants(what, w.get(updatesPath+"?purpose="+purposeOf["full"]+"&dataset=individuals"+query, w.full), http.StatusBadRequest, "cursor_invalid")
	}
	ask := func(query string) answer { return w.get(updatesPath+"?purpose="+purposeOf["full"]+query, w.full) }
	w.wants("an unknown parameter", ask("&dataset=individuals&person=1"), http.StatusBadRequest, "")
	w.wants("a record of another realm", ask("&dataset=individuals&record="+w.somebodyOf("other")), http.StatusNotFound, "not_found")
	w.wants("an instant that is none", ask("&dataset=individuals&since=yesterday"), http.StatusBadRequest, "instant_malformed")
	w.wants("a dataset that is not granted", w.get(updatesPath+"?purpose=statistics&dataset=households", w.narrow), http.StatusForbidden, "update_log_not_granted")
}

// What somebody has changed who is out of sight is not told, nor what a column says that is.
func TestUpdatesThatAreNotFollowed(t *testing.T) {
	w := newWorkbench(t, readsUpdates, func(a *annona.Agreement) {
		if a.Name == "other" {
			terms := a.Datasets["individuals"]
			terms.Except, terms.Condition = append(terms.Except, "occupation"), `individual.sex == "female"`
			a.Datasets["individuals"] = terms
		}
	})
	w.edit("full", `{"occupation":"7"}`, "applied")
	path := w.path("full", "individuals", w.person("full", bornThird))
	_, tag := w.read("full", path)
	w.wants("of a man", w.patch("full", path, tag, `{"nationality":"GH"}`), http.StatusOK, "applied")
	w.edit("full", `{"marital_status":"married"}`, "applied")
	w.says("a reader who sees less", w.feed("other", "").updates, "update applied partner marital_status:<nil>>married")
}

// What programs keep has an update log of its own, and one with the person.
func TestUpdatesOfWhatProgramsKeep(t *testing.T) {
	r := newRegistry(t)
	id := r.participant()
	r.change("full", func(a *annona.Agreement) { a.UpdateLog = true })
	report := func(path, row string) {
		t.Helper()
		if a := r.ask(http.MethodPost, path+"?purpose="+matrixPurpose, r.full, row+"\n", "Content-Type", "application/x-ndjson"); !strings.Contains(a.body, `"recorded":1`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	report("/v1/enrollments", `{"source_enrollment_id":"E-1","individual_id":"`+id+`","program":"child-grant","cycle":"2026-1","status":"suspended","status_reason":"other","status_date":"2026-02-01"}`)
	report("/v1/benefits", `{"source_benefit_id":"B-1","source_enrollment_id":"E-1","benefit_type":"cash","entitlement_status":"fulfilled","amount":60,"currency":"GHS","payments":[{"attempt":1,"status":"paid","paid_at":"2026-02-01T09:00:00Z"}]}`)
	var rows struct {
		Enrollments []struct {
			ID string `json:"enrollment_id"`
		}
		Benefits []struct {
			ID string `json:"benefit_id"`
		}
	}
	for _, dataset := range []string{"enrollments", "benefits"} {
		r.check(json.Unmarshal([]byte(r.get("/v1/"+dataset+"?purpose="+matrixPurpose, r.full).body), &rows))
	}
	read := func(path string) (u updates) {
		t.Helper()
		a := r.get(path, r.full)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		r.check(json.Unmarshal([]byte(a.body), &u))
		return u
	}
	enrollment := "/v1/enrollments/" + rows.Enrollments[0].ID + "/updates?purpose=" + matrixPurpose
	if got := strings.Join(ptr(read(enrollment)).lines(), "\n"); !strings.Contains(got, "update applied partner mine") || !strings.Contains(got, "status:active>suspended") {
		t.Errorf("an enrollment: %s", got)
	}
	if got := strings.Join(ptr(read("/v1/benefits/"+rows.Benefits[0].ID+"/updates?purpose="+matrixPurpose)).lines(), "\n"); !strings.Contains(got, "amount:50.25>60") {
		t.Errorf("a benefit: %s", got)
	}
	whole := beneficiariesPath + "/" + id + "/updates?purpose=" + matrixPurpose
	all := read(whole)
	if lines := all.lines(); len(lines) != 2 || !strings.Contains(lines[0], "amount:") || !strings.Contains(lines[1], "status:active>suspended") || !all.Complete {
		t.Errorf("of the person: %q", lines)
	}
	var pages []string
	for after := ""; ; {
		u := read(whole + "&limit=1" + after)
		pages = append(pages, u.lines()...)
		if after = "&after=" + u.Next; u.Next == "" {
			break
		}
	}
	if !slices.Equal(pages, all.lines()) {
		t.Errorf("one by one: %q", pages)
	}
	for dataset, want := range map[string]int{"enrollments": 1, "benefits": 1} {
		if u := read(updatesPath + "?dataset=" + dataset + "&purpose=" + matrixPurpose); len(u.Updates) != want {
			t.Errorf("%s are followed: %q", dataset, u.lines())
		}
	}
	r.change("full", func(a *annona.Agreement) { a.Programs = nil })
	if u := read(whole); len(u.Updates) != 0 {
		t.Errorf("of a program out of sight: %q", u.lines())
	}
	if a := r.get(enrollment, r.full); a.status != http.StatusNotFound {
		t.Errorf("an enrollment out of sight: %d %s", a.status, a.body)
	}
	if u := read(fmt.Sprint(updatesPath, "?dataset=enrollments&purpose=", matrixPurpose)); len(u.Updates) != 0 {
		t.Errorf("followed: %q", u.lines())
	}
}
