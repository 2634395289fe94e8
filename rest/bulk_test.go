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
	tag := r.get(casesPath+"/"+first[0].ID+forCases, r.full).header.Get("ETag")
	two := func(key, body string) string {
		return fmt.Sprintf(`{"op":"patch","key":%q,"id":%q,"if_match":%q,"body":%s}`, key, first[0].ID, tag, body)
	}
	words, _ = r.send("&whole=true", two("two-1", `{"supervisor":"s"}`), two("two-2", `{"due_date":"2027-01-01"}`))
	same("as a whole, one case twice", words, "changed", "merged")
	words, _ = r.send("&whole=true", two("two-3", `{"worker":"w"}`), two("two-4", `{"worker":"v"}`))
	same("as a whole, one field of it twice", words, "refused all_or_nothing", "conflict")
	if many := r.ask(http.MethodPost, bulkPath+forCases, r.full, strings.Repeat("{}\n", maxRows+1), "Content-Type", "application/x-ndjson"); many.status != http.StatusRequestEntityTooLarge {
		t.Errorf("10,001 rows: %d", many.status)
	}
	if a := r.ask(http.MethodPost, bulkPath+forCases+"&whole=true", r.narrow, opened("A"), "Content-Type", "application/x-ndjson"); a.status != http.StatusForbidden {
		t.Errorf("by one who may not: %d %s", a.status, a.body)
	}
}

// What a system names itself is known by that name in every request, under whatever key: it comes on file once, says
// the same again, moves on.
func TestBulkUpsertsEachKind(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	r.reporting()
	id := r.somebody(r.full, "eligibility-assessment")
	requests := 0
	send := func(query string, lines ...string) (words []string, all []BulkLine) {
		t.Helper()
		requests++
		a := r.ask(http.MethodPost, bulkPath+forCases+query, r.full, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson", "Idempotency-Key", fmt.Sprint("request-", requests))
		var out struct{ Verdicts []BulkLine }
		r.check(json.Unmarshal([]byte(a.body), &out))
		for _, v := range out.Verdicts {
			words = append(words, strings.TrimSpace(v.Verdict+" "+v.Code))
		}
		return words, out.Verdicts
	}
	_, first := send("", fmt.Sprintf(`{"op":"case","body":{"individual_id":%q,"case_type":"other","source_case_id":"A"}}`, id))
	of := first[0].ID
	for _, kind := range []struct {
		op, first, next string
		verdicts        []string // of the first, of the same again, of the next
	}{
		{"case", fmt.Sprintf(`{"individual_id":%q,"case_type":"other","source_case_id":"B"}`, id), fmt.Sprintf(`{"individual_id":%q,"case_type":"other","source_case_id":"B","team":"north"}`, id), []string{"created", "unchanged", "changed"}},
		{"note", `{"kind":"call","text":"a word","source_note_id":"N-1"}`, `{"kind":"call","text":"a word","source_note_id":"N-1"}`, []string{"created", "unchanged", "unchanged"}},
		{"enrollment", fmt.Sprintf(`{"source_enrollment_id":"E-1","individual_id":%q,"program":"child-grant","status":"active","status_date":"2026-01-15"}`, id),
			fmt.Sprintf(`{"source_enrollment_id":"E-1","individual_id":%q,"program":"child-grant","status":"suspended","status_reason":"review","status_date":"2026-02-01"}`, id), []string{"recorded", "unchanged", "recorded"}},
		{"benefit", `{"source_benefit_id":"B-1","source_enrollment_id":"E-1","benefit_type":"cash","entitlement_status":"approved","amount":5,"currency":"GHS"}`,
			`{"source_benefit_id":"B-1","source_enrollment_id":"E-1","benefit_type":"cash","entitlement_status":"fulfilled"}`, []string{"recorded", "unchanged", "recorded"}},
		{"payment", `{"source_benefit_id":"B-1","reference":"R-1","status":"pending","amount":5}`, `{"source_benefit_id":"B-1","reference":"R-1","status":"paid","paid_at":"2026-02-01T09:00:00Z"}`, []string{"recorded", "unchanged", "recorded"}},
	} {
		line := func(body string) string { return fmt.Sprintf(`{"op":%q,"id":%q,"body":%s}`, kind.op, of, body) }
		once, a := send("", line(kind.first))
		again, b := send("&whole=true", line(kind.first))
		next, c := send("", line(kind.next))
		if got := slices.Concat(once, again, next); !slices.Equal(got, kind.verdicts) {
			t.Errorf("%s: %q, want %q", kind.op, got, kind.verdicts)
			continue
		}
		if a[0].ID == "" || b[0].ID != a[0].ID || c[0].Code == "" && c[0].ID != a[0].ID {
			t.Errorf("%s: on file as %q, %q and %q", kind.op, a[0].ID, b[0].ID, c[0].ID)
		}
	}
	if got := r.get("/v1/payments"+forCases, r.full).body; strings.Count(got, `"reference":"R-1"`) != 1 || !strings.Contains(got, `"paid"`) {
		t.Errorf("payments: %s", got)
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
