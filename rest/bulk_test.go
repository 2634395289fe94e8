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

// send sends a bulk, and returns the verdicts, with the codes of refusals.
func (r *registry) send(query string, lines ...string) (words []string, all []BulkLine) {
	r.Helper()
	a := r.ask(http.MethodPost, bulkPath+forCases+query, r.full, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson", "Idempotency-Key", "k")
	var out struct{ Verdicts []BulkLine }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		r.Fatalf("%d %s", a.status, a.body)
	}
	for _, v := range out.Verdicts {
		words = append(words, strings.TrimSpace(v.Verdict+" "+v.Code))
	}
	return words, out.Verdicts
}

// Many operations, in their order, each with its verdict; sent again, nothing is done twice; as a whole, all or
// none of them.
func TestBulk(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	r.reporting()
	id := r.somebody(r.full, "eligibility-assessment")
	opened := func(own string) string {
		return fmt.Sprintf(`{"op":"case","body":{"individual_id":%q,"case_type":"other","source_case_id":%q}}`, id, own)
	}
	enrolled := func(own string) string {
		return fmt.Sprintf(`{"op":"enrollment","body":{"source_enrollment_id":%q,"individual_id":%q,"program":"child-grant","status":"active","status_date":"2026-01-15"}}`, own, id)
	}
	same := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	cases := func() int { return strings.Count(r.get(casesPath+forCases, r.full).body, `"case_id"`) }
	_, first := r.send("", opened("A"), opened("B"))
	edit := func(op, body string) string {
		return fmt.Sprintf(`{"op":%q,"id":%q,"if_match":%q,"body":%s}`, op, first[0].ID, first[0].ETag, body)
	}
	rows := []string{
		opened("A"), opened("C"), opened("C"), edit("patch", `{"team":"north"}`), edit("patch", `{"team":"south"}`), edit("patch", `{"priority":"low"}`), edit("action", `{"action":"start"}`),
		edit("note", `{"kind":"call","text":"a word"}`), enrolled("E-1"), `{"op":"benefit","body":{"source_benefit_id":"B-1","source_enrollment_id":"E-1","benefit_type":"cash","entitlement_status":"approved","amount":5,"currency":"GHS"}}`,
		`{"op":"dance","body":{}}`, `{"op":"case","body":{"case_type":"other"}}`, `{"op":"patch","id":"` + strings.Repeat("a", 26) + `","if_match":"x","body":{}}`, `{"op":"note","id":"x","body":{"words":"x"}}`, `{"op":"ca`,
	}
	words, all := r.send("", rows...)
	refusals := []string{"refused operation_unknown", "refused field_required", "refused not_found", "refused body_malformed", "refused body_malformed"}
	same("one by one", words, append([]string{"unchanged", "created", "refused case_twice", "changed", "conflict", "merged", "refused case_phase", "created", "recorded", "recorded"}, refusals...)...)
	if c := all[4].Conflicts; len(c) != 1 || c[0].Theirs != "north" || c[0].Yours != "south" {
		t.Errorf("the conflict: %+v", all[4])
	}
	words, _ = r.send("", rows...)
	same("again", words, append([]string{"unchanged", "unchanged", "refused case_twice", "unchanged", "conflict", "unchanged", "refused case_phase", "unchanged", "unchanged", "unchanged"}, refusals...)...)
	words, _ = r.send("", slices.Replace(slices.Clone(rows), 3, 4, edit("patch", `{"team":"east"}`))...)
	same("another request under a key", words[3:4], "refused idempotency_key_reused")

	before := cases()
	for what, last := range map[string]string{"a row that is refused": `{"op":"case","body":{"case_type":"other","priority":"urgent","source_case_id":"X"}}`, "a conflict": edit("patch", `{"team":"south"}`), "a row that breaks off": `{"op":"ca`} {
		words, _ := r.send("&whole=true", opened("D"), `{"op":"note","key":"`+strings.ReplaceAll(what, " ", "-")+`","id":"`+first[0].ID+`","body":{"kind":"call","text":"more"}}`, enrolled("E-2"), last)
		if !slices.Equal(words[:3], []string{"refused all_or_nothing", "refused all_or_nothing", "refused all_or_nothing"}) || strings.HasPrefix(words[3], "created") {
			t.Errorf("as a whole, %s: %q", what, words)
		}
	}
	if notes := r.get(casesPath+"/"+first[0].ID+"/notes"+forCases, r.full).body; cases() != before || strings.Count(notes, `"note_id"`) != 1 || strings.Contains(r.get("/v1/enrollments"+forCases, r.full).body, `"E-2"`) {
		t.Errorf("half written: %d cases, %s", cases(), notes)
	}
	words, _ = r.send("&whole=true", opened("D"), enrolled("E-2"), `{"op":"patch","key":"other","id":"`+first[1].ID+`","if_match":"`+strings.ReplaceAll(first[1].ETag, `"`, `\"`)+`","body":{"team":"west"}}`)
	same("as a whole", words, "created", "recorded", "changed")
	words, _ = r.send("&whole=true", opened("D"), enrolled("E-2"))
	same("as a whole, again", words, "unchanged", "unchanged")
	if many := r.ask(http.MethodPost, bulkPath+forCases, r.full, strings.Repeat("{}\n", maxRows+1), "Content-Type", "application/x-ndjson"); many.status != http.StatusRequestEntityTooLarge {
		t.Errorf("10,001 rows: %d", many.status)
	}
	if a := r.ask(http.MethodPost, bulkPath+forCases+"&whole=true", r.narrow, opened("A"), "Content-Type", "application/x-ndjson"); a.status != http.StatusForbidden {
		t.Errorf("by one who may not: %d %s", a.status, a.body)
	}
}

// Updates of records stand in a bulk as they come alone: merged, in conflict, kept for somebody who decides,
// refused; done once for each key; as a whole, all or none.
func TestBulkUpdates(t *testing.T) {
	w := newWorkbench(t, func(a *annona.Agreement) {
		a.Updates["households"] = annona.UpdateTerms{Fields: []string{"settlement_type"}, Review: true}
	})
	id := w.somebodyOf("full")
	path := w.path("full", "individuals", id)
	before, tag := w.read("full", path)
	home := before["household_id"].(string)
	_, homeTag := w.read("full", w.path("full", "households", home))
	update := func(dataset, id, tag, body string) string {
		return fmt.Sprintf(`{"op":"update","dataset":%q,"id":%q,"if_match":%q,"body":%s}`, dataset, id, tag, body)
	}
	send := func(query, key string, lines ...string) (words []string, all []BulkLine) {
		t.Helper()
		a := w.ask(http.MethodPost, bulkPath+"?purpose="+purposeOf["full"]+query, w.full, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson", "Idempotency-Key", key)
		var out struct{ Verdicts []BulkLine }
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, v := range out.Verdicts {
			words = append(words, strings.TrimSpace(v.Verdict+" "+v.Code))
		}
		return words, out.Verdicts
	}
	same := func(what string, got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	rows := []string{
		update("individuals", id, tag, `{"preferred_name":"Wanja"}`), update("individuals", id, tag, `{"marital_status":"widowed"}`), update("individuals", id, tag, `{"preferred_name":"Wanji"}`),
		update("households", home, homeTag, `{"settlement_type":"rural"}`), update("individuals", id, tag, `{"sex":"male"}`), update("individuals", id, "", `{"preferred_name":"x"}`),
		update("individuals", strings.Repeat("a", 26), tag, `{"preferred_name":"x"}`), update("cases", id, tag, `{"preferred_name":"x"}`), update("individuals", id, tag, `{"preferred_name":{}}`),
	}
	want := []string{"applied", "merged", "conflict", "queued", "refused update_not_granted", "refused if_match_missing", "refused not_found", "refused operation_unknown", "refused value_malformed"}
	words, all := send("", "k", rows...)
	same("one by one", words, want...)
	if w.get(conflictsPath+"/"+all[2].Conflict+"?purpose="+purposeOf["full"], w.full).status != http.StatusOK {
		t.Errorf("the conflict is not on file: %+v", all[2])
	}
	want[0], want[1], want[3] = "unchanged", "unchanged", "unchanged"
	again, twice := send("", "k", rows...)
	same("again", again, want...)
	if twice[2].Conflict != all[2].Conflict {
		t.Errorf("another conflict: %+v", twice[2])
	}
	now, latest := w.read("full", path)
	if now["preferred_name"] != "Wanja" || now["marital_status"] != "widowed" {
		t.Errorf("what is on file: %v", now)
	}
	words, _ = send("&whole=true", "w", update("households", home, homeTag, `{"settlement_type":"urban"}`), update("individuals", id, tag, `{"preferred_name":"Wanjiku"}`))
	same("whole, with a conflict", words, "refused all_or_nothing", "conflict")
	if _, still := w.read("full", path); still != latest {
		t.Error("something of a whole that was refused is on file")
	}
	words, _ = send("&whole=true", "w2", update("individuals", id, latest, `{"preferred_name":"Wanjiru"}`), update("households", home, homeTag, `{"settlement_type":"urban"}`))
	same("whole", words, "applied", "queued")
}
