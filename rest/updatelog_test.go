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

// updates is a page of an update log as the wire has it.
type updates struct {
	Updates  []updateOnWire
	Complete bool
	Next     string
}

type updateOnWire struct {
	At, Action, Verdict, Purpose, Reason, Request string
	ChangeRequest                                 string `json:"change_request"`
	By                                            struct {
		Kind, System, Client, User string
		Mine                       bool
	}
	DecidedAt string `json:"decided_at"`
	DecidedBy *struct {
		Kind, System, Client string
		Mine                 bool
	} `json:"decided_by"`
	Changes []struct {
		Field         string
		Before, After any
	}
}

func (u *updates) lines() (lines []string) {
	for _, e := range u.Updates {
		line := fmt.Sprint(e.Action, " ", e.Verdict, " ", e.By.Kind)
		if e.By.Mine {
			line += " mine"
		}
		for _, c := range e.Changes {
			line += fmt.Sprint(" ", c.Field, ":", c.Before, ">", c.After)
		}
		lines = append(lines, line)
	}
	return lines
}

// log reads an update log of somebody, or of a page of it.
func (w *workbench) log(who, after string, limit int) (u updates) {
	w.Helper()
	path := fmt.Sprintf("/v1/individuals/%s/updates?purpose=%s&limit=%d", w.somebodyOf(who), purposeOf[who], limit)
	if after != "" {
		path += "&after=" + after
	}
	a := w.get(path, w.keyOf(who))
	if a.status != http.StatusOK {
		w.Fatalf("the update log: %d %s", a.status, a.body)
	}
	w.check(json.Unmarshal([]byte(a.body), &u))
	return u
}

func (w *workbench) says(what string, got updates, want ...string) {
	w.Helper()
	if lines := got.lines(); !slices.Equal(lines, want) {
		w.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// edit is a patch of somebody as it is now.
func (w *workbench) edit(who, body, verdict string) {
	w.Helper()
	path := w.path(who, "individuals", w.somebodyOf(who))
	_, tag := w.read(who, path)
	w.wants("a patch", w.patch(who, path, tag, body), http.StatusOK, verdict)
}

func readsUpdates(a *annona.Agreement) { a.UpdateLog = true }

// Patches of two partners, a load and its undo stand in the log of each reader, with what that reader may
// see of them.
func TestUpdatesAreToldToEachReader(t *testing.T) {
	w := newWorkbench(t, readsUpdates)
	one, two := w.path("full", "individuals", w.somebodyOf("full")), w.path("other", "individuals", w.somebodyOf("other"))
	_, first := w.read("full", one)
	_, second := w.read("other", two)
	w.wants("the first", w.patch("full", one+"&reason=home_visit", first, `{"marital_status":"married"}`), http.StatusOK, "applied")
	w.wants("the second", w.patch("other", two, second, `{"nationality":"GH"}`), http.StatusOK, "merged")
	w.wants("a clash", w.patch("other", two, second, `{"marital_status":"widowed"}`), http.StatusPreconditionFailed, "conflict")
	w.load(w.record("households", "h1", "area_code", "GH01", "poverty_score", "27.5"), w.member("h1", "head", "i1", "full_name", "Wanjiku Kamau", "sex", "female", "date_of_birth", "1985-04-12"))

	full := w.log("full", "", 100)
	w.says("to the first", full,
		"load applied source full_name:Wanjiku Wiśniewska>Wanjiku Kamau",
		"update applied partner nationality:<nil>>GH",
		"update applied partner mine marital_status:<nil>>married")
	w.says("to the second", w.log("other", "", 100),
		"load applied source full_name:Wanjiku Wiśniewska>Wanjiku Kamau",
		"update conflict partner mine marital_status:married>widowed",
		"update merged partner mine nationality:<nil>>GH",
		"update applied partner marital_status:<nil>>married")
	mine, theirs := full.Updates[2], full.Updates[1]
	if mine.Reason != "home_visit" || len(mine.Request) != 32 || mine.Purpose != purposeOf["full"] || mine.By.Client == "" || !full.Complete {
		t.Errorf("one's own: %+v", mine)
	}
	if theirs.Reason+theirs.Request+theirs.By.Client+theirs.By.User != "" || len(theirs.By.System) != 26 || theirs.Purpose != purposeOf["other"] {
		t.Errorf("another partner's: %+v", theirs)
	}

	loads, err := w.gate.ListLoads(t.Context(), operator, "test", 1)
	w.check(err)
	_, err = w.gate.UndoLoad(t.Context(), operator, loads[0].ID)
	w.check(err)
	if lines := ptr(w.log("full", "", 100)).lines(); lines[0] != "undo applied registry full_name:Wanjiku Kamau>Wanjiku Wiśniewska" {
		t.Errorf("an undo: %s", lines[0])
	}
	var pages []string
	for after := ""; ; {
		u := w.log("full", after, 1)
		pages = append(pages, u.lines()...)
		if after = u.Next; after == "" {
			break
		}
	}
	if whole := w.log("full", "", 100); !slices.Equal(pages, whole.lines()) || len(pages) != 4 {
		t.Errorf("page by page: %q", pages)
	}
	if strings.Contains(w.logged(), "Kamau") {
		t.Error("the log of the server has a name")
	}
}

func ptr[T any](of T) *T { return &of }

// Of two registries that differ in changes that a reader may not see, it reads the same.
func TestUpdatesOutOfSightLeaveNoTrace(t *testing.T) {
	var worlds [2]updates
	for n := range worlds {
		w := newWorkbench(t, readsUpdates, func(a *annona.Agreement) {
			if a.Name == "other" {
				terms := a.Datasets["individuals"]
				terms.Except = append(terms.Except, "occupation")
				terms.Treatments = map[string]annona.Treatment{"date_of_birth": annona.TreatYear}
				a.Datasets["individuals"] = terms
			}
		})
		id := w.idOf("other", "individuals", "sex", "female")
		w.edit("full", `{"marital_status":"married"}`, "applied")
		if n == 1 {
			w.edit("full", `{"occupation":"7","date_of_birth":"1985-04-13"}`, "applied")
			born := w.idOf("full", "individuals", "date_of_birth", "1985-04-13")
			path := w.path("full", "individuals", born)
			_, tag := w.read("full", path)
			w.wants("back", w.patch("full", path, tag, `{"date_of_birth":"1985-04-12"}`), http.StatusOK, "applied")
		}
		w.edit("full", `{"marital_status":"widowed"}`, "applied")
		a := w.get("/v1/individuals/"+id+"/updates?purpose="+purposeOf["other"], w.other)
		if a.status != http.StatusOK || strings.Contains(a.body, "occupation") || strings.Contains(a.body, "date_of_birth") {
			t.Errorf("world %d: %d %s", n, a.status, a.body)
		}
		w.check(json.Unmarshal([]byte(a.body), &worlds[n]))
		w.says("a reader who sees less", worlds[n], "update applied partner marital_status:married>widowed", "update applied partner marital_status:<nil>>married")
		for name, want := range map[string]int{"full": 2 + 2*n} {
			if got := w.log(name, "", 100); len(got.Updates) != want {
				t.Errorf("world %d: %s is told %d updates, want %d", n, name, len(got.Updates), want)
			}
		}
	}
	if worlds[0].Complete != worlds[1].Complete || worlds[0].Next != worlds[1].Next {
		t.Error("the worlds differ")
	}
}

func TestUpdateLogsThatAreRefused(t *testing.T) {
	w := newWorkbench(t)
	path := func(id, purpose string) string { return "/v1/individuals/" + id + "/updates?purpose=" + purpose }
	own := w.somebodyOf("full")
	w.wants("it is not granted", w.get(path(own, purposeOf["full"]), w.full), http.StatusForbidden, "update_log_not_granted")
	w.letUpdate(readsUpdates)
	if u := w.log("full", "", 10); len(u.Updates) != 0 || !u.Complete || u.Next != "" {
		t.Errorf("of a record that nobody has changed: %+v", u)
	}
	w.wants("another partner's id", w.get(path(w.somebodyOf("other"), purposeOf["full"]), w.full), http.StatusNotFound, "not_found")
	w.wants("an id of nobody", w.get(path(strings.Repeat("a", 26), purposeOf["full"]), w.full), http.StatusNotFound, "not_found")
	w.wants("a cursor of nobody", w.get(path(own, purposeOf["full"])+"&after=x", w.full), http.StatusBadRequest, "cursor_invalid")
	for range 2 {
		w.edit("full", fmt.Sprintf(`{"occupation":"%d"}`, w.keys), "applied")
	}
	foreign := w.log("full", "", 1).Next
	w.wants("a cursor of another client", w.get(path(w.somebodyOf("other"), purposeOf["other"])+"&after="+foreign, w.other), http.StatusBadRequest, "cursor_invalid")
}

// Of a case its owner is told each change, and another agreement of the same partner what it is cleared for.
func TestUpdatesOfACase(t *testing.T) {
	r := newRegistry(t)
	desk := r.caseworkers()
	for _, name := range []string{"full", "desk"} {
		a, err := r.store.Agreement(t.Context(), name)
		r.check(err)
		a.UpdateLog = true
		if name == "desk" {
			terms := a.Datasets["cases"]
			terms.Fields = slices.DeleteFunc(slices.Clone(terms.Fields), func(f string) bool { return f == "intensity" })
			a.Datasets["cases"] = terms
		}
		_, err = r.gate.ApplyAgreement(t.Context(), operator, *a)
		r.check(err)
	}
	id := r.somebody(r.full, matrixPurpose)
	one := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"social_support","source_case_id":"A-1","intensity":2}`, id))[0]
	at, tag := casesPath+"/"+one.ID, one.ETag
	for n, patch := range []string{
		`{"team":"north"}`, `{"intensity":3}`, `{"confidentiality":"restricted"}`, `{"team":"hidden"}`, `{"team":"south"}`, `{"confidentiality":"normal"}`,
	} {
		a := r.ask(http.MethodPatch, at+forCases, r.full, patch, "Content-Type", "application/json", "If-Match", tag, "Idempotency-Key", fmt.Sprint("key-", n))
		if tag = a.header.Get("ETag"); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", patch, a.status, a.body)
		}
	}
	read := func(key string) (u updates) {
		t.Helper()
		a := r.get(at+"/updates"+forCases, key)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		r.check(json.Unmarshal([]byte(a.body), &u))
		return u
	}
	full, narrow := read(r.full), read(desk)
	if got := strings.Join(full.lines(), "\n"); len(full.Updates) != 6 || !full.Complete || full.Updates[0].Reason == "" || full.Updates[5].By.Client == "" ||
		!strings.Contains(got, "mine team:hidden>south") || !strings.Contains(got, "mine intensity:2>3") || !strings.Contains(got, "mine team:<nil>>north") {
		t.Errorf("the owner's client: %s", got)
	}
	if got := strings.Join(narrow.lines(), "\n"); got != "update applied partner team:north>south\nupdate applied partner team:<nil>>north" {
		t.Errorf("one that is not cleared, nor sees the intensity: %s", got)
	}
	restrict := r.ask(http.MethodPatch, at+forCases, r.full, `{"confidentiality":"restricted"}`, "Content-Type", "application/json", "If-Match", tag, "Idempotency-Key", "again")
	if a := r.get(at+"/updates"+forCases, desk); restrict.status != http.StatusOK || a.status != http.StatusNotFound {
		t.Errorf("a case out of sight: %d, %d %s", restrict.status, a.status, a.body)
	}
}

// A late edit of a case that clashed stands in its update logs, with who has ended it: as a conflict, as rejected,
// and as a change when it was approved. Whoever is not cleared for what clashed is told nothing of it.
func TestConflictsOfCasesAreInTheUpdateLog(t *testing.T) {
	r := newRegistry(t)
	desk := r.caseworkers()
	for _, name := range []string{"full", "desk"} {
		r.change(name, func(a *annona.Agreement) { a.UpdateLog = true })
	}
	id := r.somebody(r.full, matrixPurpose)
	one := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"social_support","source_case_id":"A-1"}`, id))[0]
	at, n := casesPath+"/"+one.ID, 0
	write := func(key, method, path, body, tag string) answer {
		t.Helper()
		n++
		return r.ask(method, path+forCases, key, body, "Content-Type", "application/json", "If-Match", tag, "Idempotency-Key", fmt.Sprint("key-", n))
	}
	tagFor := func(key string) string { return r.get(at+forCases, key).header.Get("ETag") }
	tag := func() string { return tagFor(r.full) }
	clash := func(field, theirs, wanted string) string {
		t.Helper()
		read := tag()
		if a := write(desk, http.MethodPatch, at, fmt.Sprintf(`{%q:%q}`, field, theirs), tagFor(desk)); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		var said struct{ Conflict string }
		a := write(r.full, http.MethodPatch, at, fmt.Sprintf(`{%q:%q}`, field, wanted), read)
		if r.check(json.Unmarshal([]byte(a.body), &said)); a.status != http.StatusConflict || said.Conflict == "" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return said.Conflict
	}
	resolve := func(key, conflict, decision string) {
		t.Helper()
		if a := write(key, http.MethodPost, at+"/conflicts/"+conflict+"/resolution", fmt.Sprintf(`{"decision":%q,"reason":"seen"}`, decision), ""); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", decision, a.status, a.body)
		}
	}
	open := clash("team", "north", "south")
	rejected := clash("team", "east", "west")
	resolve(desk, rejected, "reject")
	resolve(r.full, clash("team", "hill", "dale"), "approve")
	if a := write(r.full, http.MethodPatch, at, `{"confidentiality":"restricted"}`, tag()); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	read := tag()
	first, late := write(r.full, http.MethodPatch, at, `{"team":"hidden"}`, read), write(r.full, http.MethodPatch, at, `{"team":"concealed"}`, read)
	if back := write(r.full, http.MethodPatch, at, `{"confidentiality":"normal","team":"dale"}`, tag()); first.status != http.StatusOK || late.status != http.StatusConflict || back.status != http.StatusOK {
		t.Fatalf("%d, %d, %d", first.status, late.status, back.status)
	}

	path := map[string]string{"of the case": at + "/updates" + forCases, "of the person": beneficiariesPath + "/" + id + "/updates" + forCases, "of everybody": updatesPath + forCases + "&dataset=cases"}
	told := func(where, key, verdict string) (u updates) {
		t.Helper()
		a := r.get(path[where], key)
		if r.check(json.Unmarshal([]byte(a.body), &u)); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", where, a.status, a.body)
		}
		u.Updates = slices.DeleteFunc(u.Updates, func(e updateOnWire) bool { return e.Verdict != verdict })
		return u
	}
	for where := range path {
		conflicts, ended := told(where, r.full, "conflict"), told(where, r.full, "rejected")
		lines := strings.Join(append(conflicts.lines(), ended.lines()...), "\n")
		if len(conflicts.Updates) != 2 || len(ended.Updates) != 1 || !strings.Contains(lines, "update conflict partner mine team:north>south") || !strings.Contains(lines, "team:hidden>concealed") || !strings.Contains(lines, "update rejected partner mine team:east>west") {
			t.Fatalf("%s: %s", where, lines)
		}
		if e := ended.Updates[0]; e.ChangeRequest != rejected || e.DecidedAt == "" || e.DecidedBy == nil || e.DecidedBy.Mine || e.DecidedBy.Kind != "partner" || e.DecidedBy.System == "" || e.Reason != "" {
			t.Errorf("%s, rejected by another agreement: %+v", where, e)
		}
		if e := conflicts.Updates; e[0].DecidedBy != nil || e[1].DecidedBy != nil || e[0].ChangeRequest != open && e[1].ChangeRequest != open {
			t.Errorf("%s, open: %+v", where, e)
		}
		theirs, own := told(where, desk, "conflict"), told(where, desk, "rejected")
		if got := theirs.lines(); len(got) != 1 || got[0] != "update conflict partner team:north>south" {
			t.Errorf("%s, to one who is not cleared for all: %q", where, got)
		}
		if len(own.Updates) != 1 || !own.Updates[0].DecidedBy.Mine || own.Updates[0].DecidedBy.Client == "" || own.Updates[0].Reason != "seen" {
			t.Errorf("%s, to who has rejected it: %+v", where, own.Updates)
		}
	}
	var pages []string
	for after := ""; len(pages) < 20; {
		var u struct {
			updates
			More bool
		}
		r.check(json.Unmarshal([]byte(r.get(path["of everybody"]+"&limit=1"+after, r.full).body), &u))
		pages, after = append(pages, u.lines()...), "&after="+u.Next
		if !u.More {
			break
		}
	}
	var whole updates
	r.check(json.Unmarshal([]byte(r.get(path["of everybody"], r.full).body), &whole))
	if want := whole.lines(); !slices.Equal(slices.Sorted(slices.Values(pages)), slices.Sorted(slices.Values(want))) {
		t.Errorf("one by one:\n%s\nand together:\n%s", strings.Join(pages, "\n"), strings.Join(want, "\n"))
	}
}
