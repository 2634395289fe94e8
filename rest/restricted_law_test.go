package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// TestTheRestrictedCaseLaw: two registries have the same people, enrollments and cases, and one of them also
// has cases and notes above normal confidentiality, about the same people. Whoever is not cleared gets the same
// answers from both, through every door; and where only such a case moves, the same answer twice, byte by byte.
func TestTheRestrictedCaseLaw(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		holdRestrictedCaseLaw(t, newWall(t, newKeep(t)), 1)
	})
	t.Run("postgres", func(t *testing.T) {
		shelf, err := newPostgresShelf(t)
		if err != nil {
			t.Fatal(err)
		}
		holdRestrictedCaseLaw(t, newWall(t, keepOn(t, shelf)), 40)
	})
}

// holdRestrictedCaseLaw tries one of so many worlds that are drawn.
func holdRestrictedCaseLaw(t *testing.T, w *wall, oneOf int) {
	tally := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		if evenInt(1, oneOf).Draw(rt, "is tried, if 1") > 1 {
			return
		}
		tally["worlds"]++
		here, there := w.start(), w.start() // there: with what is hidden
		defer here.close()
		defer there.close()
		hidden := w.hide(rt)
		for _, act := range hidden[:len(hidden)/2] { // the other half happens in between
			there.mustDo(rt, w, act)
		}
		about := even([]string{"p0", "p1", "p3"}).Draw(rt, "of whom the chief looks at the whole")
		for _, in := range []*installation{here, there} { // which is told of, but not that there was one more case
			in.mustDo(rt, w, act{name: "the whole of somebody", who: "chief", method: http.MethodGet, path: beneficiariesPath + "/" + w.wire(about)})
		}
		calls := w.calls(rt, tally)
		before := there.answers(w, calls)
		for _, act := range hidden[len(hidden)/2:] {
			there.mustDo(rt, w, act)
			tally["hidden: "+act.name]++
		}
		for n, now := range there.answers(w, calls) {
			calls[n].same(rt, before[n], now)
		}
		for _, act := range w.openly(rt) {
			a, b := here.do(w, act), there.do(w, act)
			tally[fmt.Sprint("openly: ", act.name, " ", a.status)]++
			if x, y := here.blur(here.blurred(a)), there.blur(there.blurred(b)); x != y {
				rt.Fatalf("%s by %s: the worlds' answers differ:\n%s", act.name, act.who, cmp.Diff(x, y))
			}
		}
		a, b := here.answers(w, calls), there.answers(w, calls)
		for n, c := range calls {
			c.same(rt, here.blur(a[n]), there.blur(b[n]))
		}
	})
	t.Cleanup(func() {
		for _, what := range sortedKeys(tally) {
			t.Logf("%6d %s", tally[what], what)
		}
	})
}

func sortedKeys(of map[string]int) (keys []string) {
	for key := range of {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// wall is a registry with cases that everybody of its callers may see, and the keys of who asks:
//
//	chief    of the town, cleared for all cases
//	desk     of the town, under an agreement that is not cleared
//	clinic   another partner, not cleared; one case is referred to it
//	shelter  another partner, cleared
type wall struct {
	*keep
	keys  map[string]string
	ids   map[string]annona.UID
	cases []string // ids of those that are not hidden, the same in every realm of the law
	tags  []string // as the desk has read them
	offer string   // id of a transfer that the clinic is to answer
}

func newWall(t *testing.T, k *keep) *wall {
	w := &wall{keep: k, keys: map[string]string{}}
	in := w.open(secret{terms: townTerms}.agree(t))
	w.keys["desk"] = in.key
	for _, code := range []string{"cash", "school"} {
		_, _, err := in.gate.ApplyProgram(t.Context(), operator, annona.Program{Code: code, Names: map[string]string{"en": code}, AssistanceUnit: "individual"})
		in.check(err)
	}
	for _, who := range []string{"desk", "chief", "clinic", "shelter"} {
		a := secret{terms: townTerms}.agree(t).agreement
		a.Programs = []annona.ProgramTerms{{Program: "cash", See: true, Report: who != "clinic"}}
		a.Cases.Source = who + "-mis"
		switch who {
		case "chief":
			a.Name = who
			a.Cases.Confidentiality = []string{"restricted", "named_persons"}
		case "clinic", "shelter":
			a.Name, a.Partner.Name = who, who
		}
		if who == "shelter" {
			a.Cases.Confidentiality = []string{"restricted", "named_persons"}
		}
		w.keys[who] = in.admit(a, "")
	}
	in.load(smallWorld())
	w.ids = in.ids
	w.fill(in)
	w.check(in.store.Close())
	w.check(w.keep.keep(in.name))
	return w
}

// townTerms let a partner do all that there is to do with cases.
func townTerms(a *annona.Agreement) {
	for _, dataset := range []string{"cases", "case_plan_items", "case_visits", "case_services", "case_links", "case_notes", "case_attachments", "transitions"} {
		of, _ := annona.Standard().Dataset(dataset)
		var names []string
		for _, f := range of.Fields {
			names = append(names, f.Code)
		}
		a.Datasets[dataset] = annona.DatasetTerms{Fields: names}
	}
	a.APIKey = &annona.CredentialTerms{SpecialFields: true, Reason: "the law"}
	a.Cases = &annona.CaseTerms{Receives: true}
	a.UpdateLog, a.Disclosures = true, true
	a.Decisions = []string{"cash"}
	a.Checks = &annona.CheckTerms{Purpose: lawPurpose, Programs: []string{"cash"}}
	a.Updates = map[string]annona.UpdateTerms{"individuals": {Fields: []string{"marital_status"}}}
}

// fill puts on file what is not hidden: cases with a note, an enrollment, a referral and an offer.
func (w *wall) fill(in *installation) {
	enroll := act{who: "desk", method: http.MethodPost, path: "/v1/enrollments", body: fmt.Sprintf(`{"source_enrollment_id":"E-1","program":"cash","individual_id":%q,"status":"active","status_date":"2024-01-01"}`, w.person(in, "p0"))}
	w.mustAnswer(in, enroll, `"recorded":1`)
	for n, key := range []string{"p0", "p1", "p0"} {
		a := w.mustAnswer(in, act{who: "desk", method: http.MethodPost, path: casesPath, body: fmt.Sprintf(`{"individual_id":%q,"case_type":"social_support","source_case_id":"D-%d","team":"north"}`, w.person(in, key), n)}, "created")
		var out struct{ Verdicts []CaseLine }
		in.check(json.Unmarshal([]byte(a.body), &out))
		w.cases, w.tags = append(w.cases, out.Verdicts[0].ID), append(w.tags, out.Verdicts[0].ETag)
	}
	w.mustAnswer(in, act{who: "desk", method: http.MethodPost, path: casesPath + "/" + w.cases[0] + "/notes", body: `{"kind":"call","text":"a word"}`}, "created")
	offer := func(kind, of string) string {
		a := w.mustAnswer(in, act{who: "desk", method: http.MethodPost, path: casesPath + "/" + of + "/transitions", body: `{"kind":"` + kind + `","to_partner":"clinic","basis":"public_task","expires_on":"2024-12-01"}`}, "created")
		var out struct{ ID string }
		in.check(json.Unmarshal([]byte(a.body), &out))
		return out.ID
	}
	w.mustAnswer(in, act{who: "clinic", method: http.MethodPost, path: transitionsPath + "/" + offer("referral", w.cases[0]) + "/answers", body: `{"answer":"accept"}`}, "changed")
	w.offer = offer("transfer", w.cases[1])
}

func (w *wall) person(in *installation, key string) string {
	return in.wireID(call{record: key, realm: "law"})
}

// act is a request that writes. In path and body {hidden} stands for the id of the last hidden case.
type act struct {
	name, who, method, path, body, tag string
	opens                              bool // a hidden case
}

// do makes the request of an act, in the name of whoever does it.
func (in *installation) do(w *wall, of act) answer {
	hidden := in.hidden
	if hidden == "" {
		hidden = strings.Repeat("b", 26)
	}
	in.key = w.keys[of.who]
	target := strings.ReplaceAll(of.path, "{hidden}", hidden) + "?" + url.Values{"purpose": {lawPurpose}}.Encode()
	headers := map[string]string{"If-Match": of.tag, "Idempotency-Key": strings.ReplaceAll(of.name, " ", "-")}
	if of.method == http.MethodPost && (of.path == casesPath || strings.HasPrefix(of.path, "/v1/enrollments") || of.path == decisionsPath) {
		headers["Content-Type"] = "application/x-ndjson"
	}
	a := in.serve(of.method, target, strings.ReplaceAll(of.body, "{hidden}", hidden), headers)
	in.gate.Settle() // what is told of the request is on file
	if of.opens {
		var out struct{ Verdicts []CaseLine }
		if json.Unmarshal([]byte(a.body), &out) == nil && len(out.Verdicts) > 0 {
			in.hidden, in.hiddenTag = out.Verdicts[0].ID, out.Verdicts[0].ETag
		}
	}
	return a
}

// mustDo makes a request that is to succeed: what is hidden has to be there.
func (in *installation) mustDo(t failer, w *wall, of act) {
	t.Helper()
	if of.tag == "hidden" {
		in.key = w.keys[of.who]
		of.tag = in.serve(http.MethodGet, casesPath+"/"+in.hidden+"?purpose="+lawPurpose, "", nil).header.Get("ETag")
	}
	if of.tag == "first" { // what has changed since may clash
		of.tag = in.hiddenTag
	}
	if a := in.do(w, of); a.status >= 300 && a.status != http.StatusConflict || strings.Contains(a.body, "refused") {
		t.Fatalf("%s by %s: %d %s", of.name, of.who, a.status, a.body)
	}
}

func (w *wall) mustAnswer(in *installation, of act, text string) answer {
	w.Helper()
	a := in.do(w, of)
	if !strings.Contains(a.body, text) {
		w.Fatalf("%+v: %d %s", of, a.status, a.body)
	}
	return a
}

// hide draws what somebody does who is cleared.
func (w *wall) hide(rt *rapid.T) (acts []act) {
	person := even([]string{"p0", "p1", "p3"}).Draw(rt, "about")
	body := map[string]any{"individual_id": w.wire(person), "source_case_id": "H-1", "team": "quiet", "due_date": "2024-03-05"}
	switch kind := even([]string{"violence", "health", "staff_complaint", "social_support", "named"}).Draw(rt, "kind"); kind {
	case "named":
		body["case_type"], body["confidentiality"], body["worker"] = "violence", "named_persons", "somebody"
	case "social_support":
		body["case_type"], body["confidentiality"] = kind, "restricted"
	default:
		body["case_type"] = kind
	}
	if evenInt(0, 3).Draw(rt, "provisional") == 0 {
		delete(body, "individual_id")
		body["provisional_name"] = "a walk-in"
	}
	text, _ := json.Marshal(body)
	acts = append(acts, act{name: "a case", who: "chief", method: http.MethodPost, path: casesPath, body: string(text), opens: true})
	one, other := casesPath+"/{hidden}", casesPath+"/"+even(w.cases[:1]).Draw(rt, "of a case that is seen")
	more := []act{
		{name: "a patch", who: "chief", method: http.MethodPatch, path: one, body: `{"team":"more quiet"}`, tag: "hidden"},
		{name: "a late patch", who: "chief", method: http.MethodPatch, path: one, body: `{"team":"loud","due_date":"2024-04-01"}`, tag: "first"},
		{name: "its conflicts", who: "chief", method: http.MethodGet, path: one + "/conflicts"},
		{name: "a move", who: "chief", method: http.MethodPost, path: one + "/actions", body: `{"action":"assess"}`, tag: "hidden"},
		{name: "a note", who: "chief", method: http.MethodPost, path: one + "/notes", body: `{"kind":"call","text":"quietly"}`},
		{name: "a confidential note of a case that is seen", who: "chief", method: http.MethodPost, path: other + "/notes", body: `{"kind":"call","text":"quietly","confidential":true}`},
		{name: "a read", who: "chief", method: http.MethodGet, path: one},
		{name: "a list", who: "chief", method: http.MethodGet, path: casesPath},
		{name: "its updates", who: "chief", method: http.MethodGet, path: one + "/updates"},
	}
	if body["provisional_name"] == nil {
		more = append(more, act{name: "an offer", who: "chief", method: http.MethodPost, path: one + "/transitions", body: `{"kind":"transfer","to_partner":"shelter","to_worker":"somebody","basis":"public_task","expires_on":"2024-12-01"}`})
	}
	for range evenInt(1, 5).Draw(rt, "how many") {
		next := even(more).Draw(rt, "what")
		if !slices.ContainsFunc(acts, func(a act) bool { return a.name == next.name }) {
			acts = append(acts, next)
		}
	}
	return acts
}

// wire is the id of somebody, the same in every copy of the registry.
func (w *wall) wire(key string) string {
	realm, err := w.vault.Realm("law")
	w.check(err)
	uid := w.ids[key]
	return string(realm.AppendID(nil, uid[:]))
}

// openly draws what those do who may not see what is hidden, one after the other.
func (w *wall) openly(rt *rapid.T) (acts []act) {
	one := casesPath + "/" + w.cases[0]
	all := []act{
		{name: "a new case", method: http.MethodPost, path: casesPath, body: `{"individual_id":"` + w.wire("p0") + `","case_type":"other"}`},
		{name: "a case of the same name", method: http.MethodPost, path: casesPath, body: `{"individual_id":"` + w.wire("p0") + `","case_type":"other","source_case_id":"H-1"}`},
		{name: "a case on file", method: http.MethodPost, path: casesPath, body: `{"individual_id":"` + w.wire("p1") + `","case_type":"social_support","source_case_id":"D-1","priority":"high"}`},
		{name: "a violence case", method: http.MethodPost, path: casesPath, body: `{"individual_id":"` + w.wire("p0") + `","case_type":"violence"}`},
		{name: "a patch", method: http.MethodPatch, path: one, body: `{"team":"south"}`, tag: w.tags[0]},
		{name: "another patch", method: http.MethodPatch, path: one, body: `{"team":"west","priority":"low"}`, tag: w.tags[0]},
		{name: "a patch of another field", method: http.MethodPatch, path: one, body: `{"supervisor":"s"}`, tag: w.tags[0]},
		{name: "a patch of what is hidden", method: http.MethodPatch, path: casesPath + "/{hidden}", body: `{"team":"south"}`, tag: w.tags[0]},
		{name: "a move", method: http.MethodPost, path: one + "/actions", body: `{"action":"assess"}`, tag: w.tags[0]},
		{name: "a note", method: http.MethodPost, path: one + "/notes", body: `{"kind":"call","text":"more words"}`},
		{name: "a note of what is hidden", method: http.MethodPost, path: casesPath + "/{hidden}/notes", body: `{"kind":"call","text":"more words"}`},
		{name: "an offer of what is hidden", method: http.MethodPost, path: casesPath + "/{hidden}/transitions", body: `{"kind":"referral","to_partner":"clinic","basis":"public_task","expires_on":"2024-12-01"}`},
		{name: "a request for what is hidden", method: http.MethodPost, path: casesPath + "/{hidden}/transitions", body: `{"kind":"transfer_request","basis":"public_task","expires_on":"2024-12-01"}`},
		{name: "a referral", method: http.MethodPost, path: casesPath + "/" + w.cases[2] + "/transitions", body: `{"kind":"referral","to_partner":"clinic","basis":"public_task","expires_on":"2024-12-01"}`},
		{name: "an answer", method: http.MethodPost, path: transitionsPath + "/" + w.offer + "/answers", body: `{"answer":"accept"}`},
		{name: "an enrollment", method: http.MethodPost, path: "/v1/enrollments", body: `{"source_enrollment_id":"E-1","program":"cash","individual_id":"` + w.wire("p0") + `","status":"suspended","status_reason":"review","status_date":"2024-02-01"}`},
		{name: "a patch of somebody", method: http.MethodPatch, path: "/v1/individuals/" + w.wire("p0"), body: `{"marital_status":"widowed"}`, tag: `"x"`},
	}
	for range evenInt(2, 6).Draw(rt, "how many") {
		next := even(all).Draw(rt, "what")
		next.who = even([]string{"desk", "desk", "clinic"}).Draw(rt, "who")
		acts = append(acts, next)
	}
	return acts
}

// asked is a call, and who makes it.
type asked struct {
	call
	who string
}

func (c asked) same(t failer, a, b string) {
	t.Helper()
	if a != b {
		t.Fatalf("%v, by %s: what is hidden shows:\n%s", c.call, c.who, cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")))
	}
}

// calls draws doors at which those ask who may not see what is hidden.
func (w *wall) calls(rt *rapid.T, tally map[string]int) (calls []asked) {
	about := even([]string{"p0", "p1", "p3"}).Draw(rt, "asks about")
	of := w.wire(about)
	get := func(path string, pairs ...string) call {
		query := url.Values{"purpose": {lawPurpose}}
		for n := 0; n < len(pairs); n += 2 {
			query.Set(pairs[n], pairs[n+1])
		}
		return call{method: http.MethodGet, path: path, query: query}
	}
	one := casesPath + "/" + w.cases[0]
	doors := []call{
		get(casesPath), get(casesPath, "limit", "1"), get(casesPath, "status", "open", "fields", "case_id,status,last_updated"), get(casesPath, "individual_id", of), get(casesPath, "worker", "somebody"),
		get(casesPath, "due_until", "2024-03-10"), get(one), get(one + "/notes"), get(one + "/updates"), get(casesPath + "/{hidden}"), get(casesPath + "/{hidden}/notes"), get(casesPath + "/{hidden}/updates"),
		get(one + "/conflicts"), get(casesPath + "/{hidden}/conflicts"), get(conflictsPath, "dataset", "cases"), get(conflictsPath, "dataset", "cases", "limit", "1"),
		get(transitionsPath), get(transitionsPath, "case_id", w.cases[0]), get(transitionsPath, "case_id", "{hidden}"), get(transitionsPath, "status", "pending"),
		get(beneficiariesPath, "dataset", "individuals"), get(beneficiariesPath, "dataset", "individuals", "limit", "1"), get(beneficiariesPath, "dataset", "households"),
		get(beneficiariesPath + "/" + of), get("/v1/individuals/" + of), get("/v1/individuals/" + of + "/updates"), get(beneficiariesPath + "/" + of + "/updates"), get(updatesPath, "dataset", "individuals"), get(updatesPath, "dataset", "cases"), get(updatesPath, "dataset", "enrollments"),
		get("/v1/individuals"), get("/v1/households", "limit", "1"),
		get("/v1/individuals/export", "format", "csv"), get("/v1/individuals/export", "format", "ndjson"), get(changesPath, "dataset", "individuals"), get("/v1/subjects/" + of + "/disclosures"),
		get("/v1/enrollments"), get("/v1/enrollments", "individual_id", of), get("/v1/benefits"), get(paymentsPath), get(decisionsPath, "dataset", "individuals"), get("/v1/programs"), get(changeRequestsPath, "dataset", "individuals"), get(exportsPath),
		{method: http.MethodPost, path: checksPath, query: url.Values{"purpose": {lawPurpose}}, body: `{"identifiers":[{"type":"national_id_number","value":"A-1"}],"program":"cash"}`},
		{method: http.MethodPost, path: "/v1/lookup", body: `{"dataset":"individuals","purpose":"` + lawPurpose + `","type":"national_id_number","value":"A-1"}`},
	}
	for range 7 {
		c := asked{even(doors).Draw(rt, "door"), even([]string{"desk", "desk", "clinic"}).Draw(rt, "who")}
		calls = append(calls, c)
		tally["asked: "+c.path]++
	}
	return calls
}

// answers makes calls, to the end of what they list.
func (in *installation) answers(w *wall, calls []asked) (all []string) {
	hidden := in.hidden
	if hidden == "" {
		hidden = strings.Repeat("b", 26)
	}
	for _, c := range calls {
		in.key = w.keys[c.who]
		of := c.call
		of.path = strings.ReplaceAll(of.path, "{hidden}", hidden)
		if of.query.Get("case_id") == "{hidden}" {
			of.query = url.Values{"purpose": {lawPurpose}, "case_id": {hidden}}
		}
		var told strings.Builder
		for _, a := range in.ask(of) {
			if strings.HasSuffix(of.path, "/disclosures") {
				a.body = ofOthers(a.body)
			}
			fmt.Fprintln(&told, in.blurred(a))
		}
		all = append(all, told.String())
	}
	return all
}

// ofOthers takes from disclosures those to the one who asks: the calls of the law themselves are among them.
func ofOthers(body string) string {
	var told struct{ Disclosures []map[string]any }
	if json.Unmarshal([]byte(body), &told) != nil {
		return body
	}
	told.Disclosures = slices.DeleteFunc(told.Disclosures, func(d map[string]any) bool { return d["agreement"] != "chief" })
	text, _ := json.Marshal(told)
	return string(text)
}

// blurred is an answer without what is drawn by chance or told of the call itself.
func (in *installation) blurred(a answer) string {
	text := sealedNext.ReplaceAllString(in.exact([]answer{a}), "NEXT")
	if in.hidden != "" {
		text = strings.ReplaceAll(text, in.hidden, strings.Repeat("b", 26))
	}
	return text
}

// blur also takes away ids and tags of what has come on file in one registry only under that id.
func (in *installation) blur(text string) string {
	text = wireIDs.ReplaceAllStringFunc(text, in.nth)
	return drawnTags.ReplaceAllString(entityTags.ReplaceAllString(drawnNames.ReplaceAllString(text, "NAME"), "Etag"), "TAG")
}

var (
	sealedNext = regexp.MustCompile(`"next":"[^"]*"`)
	drawnTags  = regexp.MustCompile(`"etag":"(\\"|[^"])*"`)
	drawnNames = regexp.MustCompile(`\b[23456789BCDFGHJKMNPQRSTVWXYZ]{8}\b`)
)
