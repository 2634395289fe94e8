package rest

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/policy"
)

// A client may ask why a request of its own was granted, and about nobody else's.
func TestDecisionsExplainThemselves(t *testing.T) {
	s := newSwaps(t)
	page := s.get(onePage, s.full)
	id := page.header.Get("Annona-Request")
	a := s.get("/v1/decisions/"+id, s.full)
	var d exchange.DecisionRecord
	s.check(json.Unmarshal([]byte(a.body), &d))
	if a.status != http.StatusOK || d.ID != id || d.Role != annona.RolePartner || !slices.Equal(d.Rules, []string{"agreement"}) || d.PolicyVersion != 0 || d.Agreement != "full" || len(d.Inputs) != 64 || d.Verb != annona.VerbSearch {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for name, key := range map[string]string{"a second client of the agreement": s.second, "another partner": s.other} {
		if p := s.get("/v1/decisions/"+id, key).problem(t); p.Status != http.StatusNotFound {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for _, id := range []string{annona.NewUID().String(), "x", "aaaaaaaaaaaaaaaaaaaaaaaaaa"} {
		if p := s.get("/v1/decisions/"+id, s.full).problem(t); p.Status != http.StatusNotFound {
			t.Errorf("an id of nothing: %+v", p)
		}
	}
	s.keepsToItself(planted)
}

// Whoever audits, and has signed in here, may ask why any request was granted; with cookies and a key it is the key that
// counts.
func TestAnAuditorAsksWhy(t *testing.T) {
	s := newSwaps(t)
	auditor := annona.User{ID: annona.NewUID(), Name: "esi", Roles: []string{"auditor"}, Status: annona.UserActive, Version: 1, CreatedAt: time.Now()}
	s.check(s.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), auditor) }))
	s.gate.Users = s.store
	s.server.Session = func(r *http.Request) (in annona.SignedIn, err error) {
		if r.Header.Get("Cookie") == "session=esi" {
			in = annona.SignedIn{Person: auditor.ID, Assurance: annona.AssuranceTwoFactors, At: time.Now()}
		}
		return in, nil
	}
	id := s.get(onePage, s.full).header.Get("Annona-Request")
	for name, c := range map[string]struct {
		key, id, cookie string
		status          int
	}{
		"the auditor":                      {"", id, "session=esi", http.StatusOK},
		"the auditor, about nothing":       {"", annona.NewUID().String(), "session=esi", http.StatusNotFound},
		"nobody":                           {"", id, "", http.StatusUnauthorized},
		"a session that is none":           {"", id, "session=kofi", http.StatusUnauthorized},
		"another partner with the session": {s.other, id, "session=esi", http.StatusNotFound},
	} {
		var headers []string
		if c.cookie != "" {
			headers = []string{"Cookie", c.cookie}
		}
		if a := s.ask(http.MethodGet, "/v1/decisions/"+c.id, c.key, "", headers...); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
	if a := s.ask(http.MethodGet, onePage, "", "", "Cookie", "session=esi"); a.status != http.StatusUnauthorized {
		t.Errorf("the session reads people: %d", a.status)
	}
}

// A role holds on every door: what it does not allow is refused alike, and what it withholds is no
// column, no filter and no sort.
func TestARoleHoldsOnEveryDoor(t *testing.T) {
	s := newSwaps(t)
	p := policy.Shipped()
	p.Roles = append(p.Roles, annona.Role{Name: "names", Rules: []annona.RoleRule{{
		Name: "names", Verbs: []annona.Verb{annona.VerbSearch, annona.VerbGet, annona.VerbFollow},
		Datasets: map[string]annona.DatasetTerms{"individuals": {Fields: []string{"individual_id", "full_name", "sex"}, Condition: `individual.sex == "female"`}},
	}}})
	_, err := s.gate.ApplyPolicy(t.Context(), operator, p)
	s.check(err)
	s.check(s.gate.SetRole(t.Context(), operator, s.fullClient, "names"))
	for name, c := range map[string]scenario{
		"export":           {path: wholeFile + "&format=csv", status: 403, code: "role_not_granted"},
		"look-up":          {method: http.MethodPost, path: "/v1/lookup", body: `{"type":"national_id_number","value":"GHA-0012345","purpose":"eligibility-assessment"}`, status: 403, code: "role_not_granted"},
		"households":       {path: households, status: 403, code: "role_not_granted"},
		"a withheld field": {path: onePage + "&fields=date_of_birth", status: 403, code: "field_not_granted"},
		"a filter by it":   {path: filtered(onePage, "individual.in_school"), status: 403, code: "filter_not_granted"},
	} {
		s.refuses(t, name, c, s.full)
	}
	a := s.get(onePage, s.full)
	if a.status != 200 || strings.Contains(a.body, "date_of_birth") || strings.Contains(a.body, `"male"`) || !strings.Contains(a.body, "female") {
		t.Errorf("a page: %d %s", a.status, a.body)
	}
	s.check(s.gate.SetRole(t.Context(), operator, s.fullClient, "auditor"))
	s.refuses(t, "a role that reads nobody", scenario{path: onePage, status: 403, code: "role_not_granted"}, s.full)
	s.keepsToItself(nil)
}

// A pseudonym that a role asks for leaves on every door: one for each value of a field, the same wherever the value
// stands, and another one for another realm.
func TestAPseudonymOfARoleLeavesOnEveryDoor(t *testing.T) {
	s := newSwaps(t)
	classes := []annona.Sensitivity{annona.Public, annona.Personal, annona.Identifies}
	p := policy.Shipped()
	p.Roles = append(p.Roles, annona.Role{Name: "linking", Rules: []annona.RoleRule{{Name: "links", Datasets: map[string]annona.DatasetTerms{
		"individuals": {Sensitivities: classes, Treatments: map[string]annona.Treatment{"full_name": annona.TreatPseudonym}},
		"identifiers": {Sensitivities: classes, Treatments: map[string]annona.Treatment{"value": annona.TreatPseudonym}},
		"households":  {}, "memberships": {},
	}}}})
	_, err := s.gate.ApplyPolicy(t.Context(), operator, p)
	s.check(err)
	const fields = "&fields=individual_id,full_name,identifiers"
	before := s.get(onePage+fields, s.full).body
	s.check(s.gate.SetRole(t.Context(), operator, s.fullClient, "linking"))

	page := s.get(onePage+fields, s.full)
	names := namesOf(t, page.body)
	if len(names) != 5 || len(namesOf(t, before)) != 5 {
		t.Fatalf("%d %s", page.status, page.body)
	}
	for id, name := range names {
		if !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(name) || name == id {
			t.Errorf("a pseudonym is %q", name)
		}
		for door, path := range map[string]string{
			"a record": "/v1/individuals/" + id + "?purpose=eligibility-assessment" + fields, "a file": wholeFile + "&format=csv&fields=individual_id,full_name", "a file of groups": wholeFile + "&format=ndjson" + fields,
			"changes": "/v1/changes?dataset=individuals&purpose=eligibility-assessment" + fields, "in a household": "/v1/households?purpose=eligibility-assessment&fields=household_id,members.full_name",
		} {
			if a := s.get(path, s.full); a.status != http.StatusOK || !strings.Contains(a.body, name) {
				t.Errorf("%s: %d %s lacks %s", door, a.status, a.body, name)
			} else if door, hidden := door, namesOf(t, before)[id]; strings.Contains(a.body, hidden) || strings.Contains(a.body, "GHA-0012345") {
				t.Errorf("%s shows what the pseudonym stands for", door)
			}
		}
	}
	s.refuses(t, "a look-up by it", scenario{
		method: http.MethodPost, path: "/v1/lookup", body: `{"type":"national_id_number","value":"GHA-0012345","purpose":"eligibility-assessment"}`, status: 403,
	}, s.full)

	d := s.get("/v1/decisions/"+page.header.Get("Annona-Request"), s.full)
	if !strings.Contains(d.body, "individuals.full_name=pseudonym") {
		t.Errorf("the decision says %s", d.body)
	}
	s.amend("full", func(a *annona.Agreement) { a.Realm = "another" })
	for _, name := range namesOf(t, s.get(onePage+fields, s.full).body) {
		if strings.Contains(page.body, name) {
			t.Errorf("%s stands for somebody in two realms", name)
		}
	}
}

// Who needs a second person is told which request waits for one. What waits tells nothing to anybody else, and once it is
// approved the same is answered.
func TestAnExportWaitsForASecondPerson(t *testing.T) {
	s := newSwaps(t)
	p := policy.Shipped()
	p.Roles = append(p.Roles, annona.Role{Name: "careful", Rules: []annona.RoleRule{{Name: "waits", Verbs: []annona.Verb{annona.VerbExport}, SecondPerson: true}, {Name: "reads", Verbs: []annona.Verb{annona.VerbGet}}}})
	_, err := s.gate.ApplyPolicy(t.Context(), operator, p)
	s.check(err)
	s.check(s.gate.SetRole(t.Context(), operator, s.fullClient, "careful"))
	ama := annona.User{ID: annona.NewUID(), Name: "ama", Roles: []string{"approver"}, Status: annona.UserActive, Version: 1, CreatedAt: time.Now().AddDate(0, 0, -2)}
	s.check(s.store.Update(t.Context(), func(tx annona.Tx) error { return tx.PutUser(t.Context(), ama) }))
	s.gate.Users, s.gate.Approvals = s.store, s.store
	s.server.Session = func(r *http.Request) (in annona.SignedIn, err error) {
		if r.Header.Get("Cookie") == "session=ama" {
			in = annona.SignedIn{Person: ama.ID, Assurance: annona.AssuranceTwoFactors, At: time.Now()}
		}
		return in, nil
	}

	file := wholeFile + "&format=csv&fields=individual_id,full_name"
	refused := s.get(file, s.full).problem(t)
	if refused.Status != http.StatusForbidden || refused.Code != "second_person_needed" {
		t.Fatalf("%+v", refused)
	}
	listed := s.ask(http.MethodGet, approvalsPath+"?state=waiting", "", "", "Cookie", "session=ama")
	var waiting struct{ Approvals []ApprovalBody }
	s.check(json.Unmarshal([]byte(listed.body), &waiting))
	if len(waiting.Approvals) != 1 || waiting.Approvals[0].Kind != "request" || !strings.Contains(refused.Detail, waiting.Approvals[0].ID) {
		t.Fatalf("%s, for %+v", listed.body, refused)
	}
	at := approvalsPath + "/" + waiting.Approvals[0].ID
	if a := s.get(at, s.full); a.status != http.StatusUnauthorized {
		t.Errorf("a key looks at it: %d", a.status)
	}
	if a := s.ask(http.MethodPost, at+"/approve", "", `{"hash":"`+waiting.Approvals[0].Hash+`"}`, "Cookie", "session=ama"); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := s.get(file, s.full); a.status != http.StatusOK || !strings.Contains(a.body, "Moraa") {
		t.Errorf("approved: %d %s", a.status, a.body)
	}
	for name, path := range map[string]string{"another form": wholeFile + "&format=csv&fields=individual_id", "all of it": wholeFile + "&format=csv"} {
		s.refuses(t, name, scenario{path: path, status: 403, code: "second_person_needed"}, s.full)
	}
	s.keepsToItself(planted)
}

// A file that was made before the role asked for a second person is not handed out before one has looked.
func TestAFileWaitsForASecondPerson(t *testing.T) {
	r, w := exporting(t)
	job := r.status(r.ask(http.MethodPost, exportsPath, r.full, `{"specification":"monthly"}`))
	_, err := w.Next(t.Context())
	r.check(err)
	parts, err := r.gate.ExportJobs.ExportParts(t.Context(), r.jobID(job.ID))
	r.check(err)
	file := exportsPath + "/" + job.ID + "/files/" + parts[0].Name
	if a := r.get(file, r.full); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	r.gate.Approvals = r.store
	p := policy.Shipped()
	p.Roles = append(p.Roles, annona.Role{Name: "careful", Rules: []annona.RoleRule{{Name: "waits", Verbs: []annona.Verb{annona.VerbExport}, SecondPerson: true}}})
	_, err = r.gate.ApplyPolicy(t.Context(), operator, p)
	r.check(err)
	r.check(r.gate.SetRole(t.Context(), operator, r.fullClient, "careful"))
	r.refuses(t, "the file", scenario{path: file, status: 403, code: "second_person_needed"}, r.full)
}

func (r *registry) jobID(id string) annona.UID {
	r.Helper()
	uid, err := annona.ParseUID(id)
	r.check(err)
	return uid
}

// namesOf returns the names on a page of individuals, by their ids.
func namesOf(t *testing.T, body string) map[string]string {
	t.Helper()
	var page struct {
		Items []struct {
			ID   string `json:"individual_id"`
			Name string `json:"full_name"`
		} `json:"individuals"`
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, i := range page.Items {
		names[i.ID] = i.Name
	}
	return names
}
