package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const forCases = "?purpose=eligibility-assessment"

// caseworkers lets the partner of the key full keep cases, also restricted ones, and returns the key of another
// agreement of the same partner, which is not cleared for those.
func (r *registry) caseworkers() (desk string) {
	r.Helper()
	keep := func(a *annona.Agreement, cleared ...string) {
		for _, dataset := range []string{"cases", "case_plan_items", "case_visits", "case_services", "case_links", "case_notes", "case_attachments", "transitions"} {
			of, _ := annona.Standard().Dataset(dataset)
			var names []string
			for _, f := range of.Fields {
				names = append(names, f.Code)
			}
			a.Datasets[dataset] = annona.DatasetTerms{Fields: names}
		}
		a.Cases = &annona.CaseTerms{Source: a.Name + "-mis", Confidentiality: cleared, Receives: true}
		a.APIKey = &annona.CredentialTerms{SpecialFields: true, Reason: "tests"}
	}
	full, err := r.store.Agreement(r.Context(), "full")
	r.check(err)
	keep(full, "restricted")
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *full)
	r.check(err)
	full.Name, full.Version = "desk", 0
	keep(full)
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *full)
	r.check(err)
	return r.mint("desk")
}

// put sends cases and returns what became of them.
func (r *registry) put(key string, lines ...string) []CaseLine {
	r.Helper()
	a := r.ask(http.MethodPost, casesPath+forCases, key, strings.Join(lines, "\n"), "Content-Type", "application/x-ndjson")
	var out struct{ Verdicts []CaseLine }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK {
		r.Fatalf("%d %s", a.status, a.body)
	}
	return out.Verdicts
}

// Cases over HTTP: opened, read, changed by two, taken along the workflow, noted and referred.
func TestCasesOverHTTP(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	id := r.somebody(r.full, "eligibility-assessment")
	line := fmt.Sprintf(`{"individual_id":%q,"case_type":"social_support","source_case_id":"A-1","intensity":2}`, id)
	lines := r.put(r.full, line, "{", `{"case_type":`, `{"individual_id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","case_type":"other"}`, `{"colour":"red"}`, line)
	var got []string
	for _, l := range lines {
		got = append(got, l.Verdict+" "+l.Code)
	}
	if want := "created ,refused body_malformed,refused body_malformed,refused not_found,refused unknown_field,refused case_twice"; strings.Join(got, ",") != want {
		t.Fatalf("%q", got)
	}
	at := casesPath + "/" + lines[0].ID
	read := r.get(at+forCases+"&fields=case_id,individual_id,status,intensity", r.full)
	if read.status != http.StatusOK || !strings.Contains(read.body, id) || read.header.Get("ETag") != lines[0].ETag {
		t.Fatalf("%d %s %s", read.status, read.header.Get("ETag"), read.body)
	}
	n := 0
	write := func(method, path, body, tag string) answer {
		n++
		return r.ask(method, path+forCases, r.full, body, "Content-Type", "application/json", "If-Match", tag, "Idempotency-Key", fmt.Sprint("key-", n))
	}
	first := write(http.MethodPatch, at, `{"team":"north"}`, lines[0].ETag)
	second := write(http.MethodPatch, at, `{"team":"south"}`, lines[0].ETag)
	if first.status != http.StatusOK || second.status != http.StatusConflict || !strings.Contains(second.body, `"north"`) || !strings.Contains(second.body, `"south"`) {
		t.Errorf("two writers: %d %s, %d %s", first.status, first.body, second.status, second.body)
	}
	if merged := write(http.MethodPatch, at, `{"priority":"high"}`, lines[0].ETag); merged.status != http.StatusOK || !strings.Contains(merged.body, `"merged"`) {
		t.Errorf("another field: %d %s", merged.status, merged.body)
	}
	tag := r.get(at+forCases, r.full).header.Get("ETag")
	for name, c := range map[string]struct {
		answer answer
		status int
		code   string
	}{
		"no key":                {r.ask(http.MethodPatch, at+forCases, r.full, "{}", "If-Match", tag), 400, "key_missing"},
		"no version":            {write(http.MethodPatch, at, "{}", ""), 428, "if_match_missing"},
		"a weak version":        {write(http.MethodPatch, at, "{}", "W/"+tag), 400, "if_match_weak"},
		"any version":           {write(http.MethodPatch, at, "{}", "*"), 400, "if_match_weak"},
		"a move of no version":  {write(http.MethodPost, at+"/actions", `{"action":"assess"}`, ""), 428, "if_match_missing"},
		"two versions":          {r.ask(http.MethodPatch, at+forCases, r.full, "{}", "If-Match", tag+", "+tag, "Idempotency-Key", "two"), 400, "if_match_malformed"},
		"a version of none":     {write(http.MethodPatch, at, "{}", `"AAAA"`), 412, "version_unknown"},
		"not an object":         {write(http.MethodPatch, at, "[]", tag), 400, "body_malformed"},
		"a null that may not":   {write(http.MethodPatch, at, `{"case_type":null}`, tag), 400, "field_required"},
		"a forbidden move":      {write(http.MethodPost, at+"/actions", `{"action":"start"}`, tag), 409, "case_phase"},
		"no move":               {write(http.MethodPost, at+"/actions", `{}`, tag), 400, "action_unknown"},
		"a note of 1 MB":        {write(http.MethodPost, at+"/notes", `{"kind":"call","text":"`+strings.Repeat("x", 1<<20)+`"}`, ""), 413, "body_too_large"},
		"an unknown member":     {write(http.MethodPost, at+"/notes", `{"kind":"call","words":"x"}`, ""), 400, "body_malformed"},
		"a referral to oneself": {write(http.MethodPost, at+"/transitions", `{"kind":"referral","to_partner":"full-partner","basis":"public_task","expires_on":"2999-01-01"}`, ""), 400, "transition_to_oneself"},
		"an answer to nothing":  {write(http.MethodPost, transitionsPath+"/aaaaaaaaaaaaaaaaaaaaaaaaaa/answers", `{"answer":"accept"}`, ""), 404, "not_found"},
	} {
		if code := c.answer.problem(t).Code; c.answer.status != c.status || c.code != "" && code != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, c.answer.status, code, c.status, c.code)
		}
	}
	if many := r.ask(http.MethodPost, casesPath+forCases, r.full, strings.Repeat("{}\n", maxRows+1), "Content-Type", "application/x-ndjson"); many.status != http.StatusRequestEntityTooLarge {
		t.Errorf("10,001 rows: %d", many.status)
	}
	if moved := write(http.MethodPost, at+"/actions", `{"action":"assess"}`, tag); moved.status != http.StatusOK {
		t.Errorf("a move: %d %s", moved.status, moved.body)
	}
	if note := write(http.MethodPost, at+"/notes", `{"kind":"call","text":"a word","author":"w1"}`, ""); note.status != http.StatusCreated {
		t.Errorf("a note: %d %s", note.status, note.body)
	}
	if notes := r.get(at+"/notes"+forCases, r.full); notes.status != http.StatusOK || !strings.Contains(notes.body, "a word") || !strings.Contains(notes.body, "asserted") {
		t.Errorf("notes: %d %s", notes.status, notes.body)
	}
	r.keepsToItself([]string{"a word", "north"})
}

// A restricted case changes not one byte for whoever is not cleared for it, also of the same partner: the same
// questions before there is one and behind that, through every door of cases and of people.
func TestARestrictedCaseIsNotThere(t *testing.T) {
	r := newRegistry(t)
	desk := r.caseworkers()
	id := r.somebody(desk, "eligibility-assessment")
	plain := r.put(desk, fmt.Sprintf(`{"individual_id":%q,"case_type":"social_support"}`, id))[0]
	hidden := strings.Repeat("a", 26)
	ask := func() (answers []string) {
		for _, path := range []string{
			casesPath, casesPath + "/" + plain.ID, casesPath + "/" + plain.ID + "/notes", casesPath + "/" + hidden, casesPath + "/" + hidden + "/notes", transitionsPath,
			"/v1/individuals", "/v1/individuals/" + id, "/v1/households",
		} {
			a := r.get(path+forCases, desk)
			answers = append(answers, fmt.Sprint(path, " ", a.status, " ", a.header.Get("ETag"), " ", a.header.Get("Annona-Next"), " ", strings.ReplaceAll(a.body, hidden, "")))
		}
		for _, query := range []string{"&limit=1", "&status=open", "&individual_id=" + id, "&worker=w", "&due_until=2999-01-01"} {
			answers = append(answers, r.get(casesPath+forCases+"&fields=case_id,status,last_updated"+query, desk).body)
		}
		for _, act := range []string{"PATCH ", "POST /actions", "POST /notes", "POST /transitions"} {
			method, below, _ := strings.Cut(act, " ")
			a := r.ask(method, casesPath+"/"+hidden+below+forCases, desk, map[string]string{"PATCH ": "{}", "POST /actions": `{"action":"assess"}`, "POST /notes": `{"kind":"call","text":"x"}`, "POST /transitions": `{"kind":"referral"}`}[act], "If-Match", plain.ETag, "Idempotency-Key", "k")
			answers = append(answers, fmt.Sprint(act, a.status, " ", codeOf(a)))
		}
		return answers
	}
	before := ask()
	restricted := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"violence","worker":"w","due_date":"2030-01-01"}`, id))[0]
	if restricted.ID == "" || r.get(casesPath+"/"+restricted.ID+forCases, r.full).status != http.StatusOK {
		t.Fatalf("%+v", restricted)
	}
	hidden = restricted.ID
	drawn := regexp.MustCompile(`"(request_id|next)":"[^"]*"| [A-Za-z0-9_-]{60} `) // by chance, in every answer
	for n, answer := range ask() {
		was, is := drawn.ReplaceAllString(before[n], ""), drawn.ReplaceAllString(strings.ReplaceAll(answer, hidden, strings.Repeat("a", 26)), "")
		if was != is {
			t.Errorf("it was\n%s\nand is\n%s", was, is)
		}
	}
}

func codeOf(a answer) string {
	var p Problem
	_ = json.Unmarshal([]byte(a.body), &p)
	return p.Code
}

// Answers in RDF have tags of their own, for If-None-Match; for If-Match the tag of any format names the version.
// What no answer is made in is refused.
func TestTagsOfLinkedData(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	r.reporting()
	id := r.somebody(r.full, matrixPurpose)
	opened := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"other"}`, id))[0]
	for _, path := range []string{"/v1/individuals/" + id, beneficiariesPath + "/" + id, casesPath + "/" + opened.ID} {
		path += "?purpose=" + matrixPurpose
		tags := map[string]string{}
		for _, format := range []string{"application/json", "application/ld+json", "text/turtle", "application/n-triples"} {
			a := r.get(path, r.full, "Accept", format)
			tag := a.header.Get("ETag")
			if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), format) || tags[tag] != "" || strings.HasPrefix(tag, "W/") || len(tag) < 3 {
				t.Errorf("%s as %s: %d %s, tag %q, which is that of %q", path, format, a.status, a.header.Get("Content-Type"), tag, tags[tag])
			}
			tags[tag] = format
		}
		for _, format := range []string{"application/rdf+xml", "text/html", "text/turtle;q=0"} {
			if a := r.get(path, r.full, "Accept", format); a.status != http.StatusNotAcceptable || a.problem(t).Code != "not_acceptable" {
				t.Errorf("%s as %s: %d %s", path, format, a.status, a.body)
			}
		}
	}
	beneficiary := beneficiariesPath + "/" + id + "?purpose=" + matrixPurpose
	turtle := r.get(beneficiary, r.full, "Accept", "text/turtle").header.Get("ETag")
	if a := r.get(beneficiary, r.full, "Accept", "text/turtle", "If-None-Match", turtle); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("the same in Turtle: %d %s", a.status, a.body)
	}
	if a := r.get(beneficiary, r.full, "Accept", "application/n-triples", "If-None-Match", turtle); a.status != http.StatusOK {
		t.Errorf("in N-Triples, with the tag of Turtle: %d", a.status)
	}
	one := casesPath + "/" + opened.ID + "?purpose=" + matrixPurpose
	tag := r.get(one, r.full, "Accept", "text/turtle").header.Get("ETag")
	patch := func(key, body string) answer {
		return r.ask(http.MethodPatch, one, r.full, body, "Content-Type", mergePatch, "If-Match", tag, "Idempotency-Key", key)
	}
	if a := patch("1", `{"team":"north"}`); a.status != http.StatusOK || !strings.Contains(a.body, `"changed"`) {
		t.Errorf("a patch of what was read as Turtle: %d %s", a.status, a.body)
	}
	if a := patch("2", `{"team":"south"}`); a.status != http.StatusConflict || !strings.Contains(a.body, `"conflict":"`) {
		t.Errorf("a late one: %d %s", a.status, a.body)
	}
}

// What cannot be of cases is refused in clear words: about whom the registry has erased, in a circle, with an end
// before its beginning. Of what is refused nothing is there behind it.
func TestCasesThatCannotBe(t *testing.T) {
	r := newRegistry(t)
	r.caseworkers()
	r.change("other", func(a *annona.Agreement) {
		full, err := r.store.Agreement(t.Context(), "full")
		r.check(err)
		a.Datasets, a.APIKey = full.Datasets, full.APIKey
		a.Cases = &annona.CaseTerms{Source: "other-mis", Receives: true}
	})
	const forOther = "?purpose=monitoring"
	w := &workbench{registry: r}
	gone, stays := w.person("full", "1999-12-31"), w.person("full", bornSecond)
	stayingAs := map[string]string{"full-partner": stays, "other-partner": w.person("other", bornSecond)}
	walkIn := r.put(r.full, `{"case_type":"other","provisional_name":"a walk-in","source_case_id":"W-1"}`)[0]
	_, err := r.gate.Erase(t.Context(), operator, exchange.Subject{Source: "test", Key: "i5"}, "unlawful")
	r.check(err)
	n := 0
	write := func(key, method, path, purpose, body, tag string) answer {
		n++
		h := []string{"Content-Type", "application/json", "Idempotency-Key", fmt.Sprint("key-", n)}
		if tag != "" {
			h = append(h, "If-Match", tag)
		}
		return r.ask(method, path+purpose, key, body, h...)
	}
	caseload := func() string { return ledgerID.ReplaceAllString(r.get(casesPath+forCases, r.full).body, "") }
	before := caseload()
	if late := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"other","source_case_id":"L-1"}`, gone)); late[0].Code != "not_found" {
		t.Errorf("a case of somebody who was erased: %+v", late)
	}
	link := write(r.full, http.MethodPatch, casesPath+"/"+walkIn.ID, forCases, fmt.Sprintf(`{"individual_id":%q}`, gone), walkIn.ETag)
	bulk := r.ask(http.MethodPost, bulkPath+forCases, r.full, fmt.Sprintf(`{"op":"case","body":{"individual_id":%q,"case_type":"other","source_case_id":"L-2"}}`, gone), "Content-Type", "application/x-ndjson", "Idempotency-Key", "b")
	if link.status != http.StatusNotFound || codeOf(link) != "not_found" || !strings.Contains(bulk.body, `"not_found"`) {
		t.Errorf("linked to somebody who was erased: %d %s, in a bulk: %s", link.status, link.body, bulk.body)
	}
	for what, body := range map[string]string{
		"an end before the beginning": `"opened_date":"2024-03-02","closed_date":"2024-03-01","phase":"closed"`, "a day that is none": `"due_date":"2024-02-30"`,
		"no type": `"case_type":null`, "a type of no list": `"case_type":"gossip"`, "two subjects": fmt.Sprintf(`"individual_id":%q,"household_id":%q`, stays, stays),
	} {
		if got := r.put(r.full, `{"case_type":"other","source_case_id":"X-1",`+body+`}`); got[0].Verdict != "refused" || got[0].Code == "" || got[0].Detail == "" {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if after := caseload(); after != before {
		t.Errorf("something was written:\n%s\n%s", before, after)
	}

	handed := r.put(r.full, fmt.Sprintf(`{"individual_id":%q,"case_type":"other","source_case_id":"C-1"}`, stays))[0]
	partners := map[string][2]string{"full-partner": {r.full, forCases}, "other-partner": {r.other, forOther}}
	of := func(partner string) string { // the id of the case, as the partner sees it; empty: it does not
		var page struct {
			Cases []struct {
				ID    string `json:"case_id"`
				Owner string
			}
		}
		r.check(json.Unmarshal([]byte(r.get(casesPath+partners[partner][1]+"&fields=case_id,owner,case_type,individual_id&individual_id="+stayingAs[partner], partners[partner][0]).body), &page))
		for _, c := range page.Cases {
			if c.Owner == partner {
				return c.ID
			}
		}
		return ""
	}
	owners := func() (all []string) {
		for partner := range partners {
			if of(partner) != "" {
				all = append(all, partner)
			}
		}
		return all
	}
	offer := func(from, to string) (string, answer) {
		a := write(partners[from][0], http.MethodPost, casesPath+"/"+of(from)+"/transitions", partners[from][1], fmt.Sprintf(`{"kind":"transfer","to_partner":%q,"basis":"public_task","expires_on":%q}`, to, r.clock().AddDate(0, 0, 2).Format(time.DateOnly)), "")
		var said struct{ ID string }
		_ = json.Unmarshal([]byte(a.body), &said)
		return said.ID, a
	}
	pending := func(by string) (id string) { // as the partner sees it
		var page struct {
			Transitions []struct {
				ID     string `json:"transition_id"`
				Status string
			}
		}
		r.check(json.Unmarshal([]byte(r.get(transitionsPath+partners[by][1], partners[by][0]).body), &page))
		for _, tr := range page.Transitions {
			if tr.Status == "pending" {
				id = tr.ID
			}
		}
		return id
	}
	accept := func(by, id string) answer {
		return write(partners[by][0], http.MethodPost, transitionsPath+"/"+id+"/answers", partners[by][1], `{"answer":"accept"}`, "")
	}
	if handed.ID == "" || fmt.Sprint(owners()) != "[full-partner]" {
		t.Fatalf("%+v, owners %q", handed, owners())
	}
	for _, step := range [][2]string{{"full-partner", "other-partner"}, {"other-partner", "full-partner"}, {"full-partner", "other-partner"}} {
		id, offered := offer(step[0], step[1])
		if _, twice := offer(step[0], step[1]); offered.status != http.StatusCreated || codeOf(twice) != "transition_pending" {
			t.Fatalf("offered: %d %s, twice: %d %s", offered.status, offered.body, twice.status, twice.body)
		}
		theirs := pending(step[1])
		if a := accept(step[0], id); a.status < 400 || a.status >= 500 {
			t.Errorf("the one who offers accepts: %d %s", a.status, a.body)
		}
		first, again := accept(step[1], theirs), accept(step[1], theirs)
		if first.status != http.StatusOK || again.status != http.StatusConflict || fmt.Sprint(owners()) != "["+step[1]+"]" {
			t.Errorf("accepted: %d %s, again: %d %s, owners %q", first.status, first.body, again.status, again.body, owners())
		}
		if _, late := offer(step[0], step[1]); late.status != http.StatusNotFound {
			t.Errorf("by the former owner: %d %s", late.status, late.body)
		}
	}
}
