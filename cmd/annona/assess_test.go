package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/client"
)

const programs = "../../examples/programs/"

// house and dweller are what the plain export says, for a reference that knows nothing of the filter
// language.
type house struct {
	ID      string `json:"household_id"`
	Score   string `json:"poverty_score"`
	Members []dweller
}

type dweller struct {
	ID      string `json:"individual_id"`
	Sex     string `json:"sex"`
	Marital string `json:"marital_status"`
	Born    string `json:"date_of_birth"`
}

// reference says by hand what a program's rules say: whom the program is for, and who meets its rules.
type reference struct {
	name  string
	about string
	// judge returns the status; empty: the program does not concern them.
	household func(h house, score float64, scored bool, age func(dweller) int) string
	member    func(d dweller, score float64, scored bool, age int) string
}

// references are the four worked examples of the sector (DCI, use case PRS.SR.01).
var references = []reference{
	{name: "household-transfer", about: "households", household: func(h house, score float64, _ bool, age func(dweller) int) string {
		young := 0
		for _, m := range h.Members {
			if a := age(m); a >= 0 && a < 5 {
				young++
			}
		}
		switch {
		case score >= 40:
			return "" // the specification leaves them out, and those without a score
		case len(h.Members) >= 2 && (score < 20 || score < 30 && young > 0):
			return "eligible"
		}
		return "ineligible"
	}},
	{name: "widow-transfer", about: "individuals", member: func(d dweller, score float64, scored bool, age int) string {
		switch {
		case d.Sex != "female" || d.Marital != "widowed":
			return ""
		case !scored || age < 0:
			return "under_review"
		case score < 35 && age >= 18:
			return "conditional"
		}
		return "ineligible"
	}},
	{name: "girls-education", about: "individuals", member: func(d dweller, score float64, _ bool, age int) string {
		switch {
		case d.Sex != "female" || age < 6 || age >= 18 || score >= 40:
			return ""
		case score < 30:
			return "conditional"
		}
		return "ineligible"
	}},
	{name: "child-benefit", about: "individuals", member: func(_ dweller, score float64, _ bool, age int) string {
		switch {
		case age < 0 || age >= 3 || score >= 40:
			return ""
		case score < 25:
			return "conditional"
		}
		return "ineligible"
	}},
}

// want is the status of everybody whom the program concerns, by id.
func (r reference) want(houses []house, asOf annona.Date) map[string]string {
	age := func(d dweller) int {
		if d.Born == "" {
			return -1
		}
		return annona.AgeOn(annona.Date(d.Born), asOf)
	}
	all := map[string]string{}
	note := func(id, status string) {
		if status != "" {
			all[id] = status
		}
	}
	for _, h := range houses {
		score, scored := 1000.0, h.Score != ""
		if scored {
			fmt.Sscan(h.Score, &score)
		}
		if r.about == "households" {
			note(h.ID, r.household(h, score, scored, age))
			continue
		}
		for _, m := range h.Members {
			note(m.ID, r.member(m, score, scored, age(m)))
		}
	}
	return all
}

// TestTheLoop: the four programs fetch what their specifications say, decide by their rules, send back,
// and see what they sent. The decisions are those of a reference that reads the plain export.
func TestTheLoop(t *testing.T) {
	t.Parallel()
	data := copyOfCountry(t)
	for _, r := range references {
		must(t, "export-spec", "put", "--data", data, programs+r.name+"/export-spec.yaml")
	}
	keys := filepath.Join(t.TempDir(), "keys")
	writeFile(t, keys, []byte(must(t, "export", "key", "--data", data)+must(t, "ledger", "key", "--data", data)))
	key := createKey(t, data, "eligibility").Key
	keyFile := filepath.Join(t.TempDir(), "key")
	writeFile(t, keyFile, []byte(key))
	s := serveFolder(t, data, key, "--client-rate", "0", "--partner-rate", "0")
	var houses []house
	for line := range strings.Lines(string(s.export("households", about(eligibility, "format", "ndjson")))) {
		var h house
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		houses = append(houses, h)
	}
	into := t.TempDir()
	for _, r := range references {
		t.Run(r.name, func(t *testing.T) {
			var pulled client.Pulled
			out := must(t, "pull", "--registry", s.url, "--key-file", keyFile, "--public-keys", keys, "--into", into, "--json", r.name)
			if err := json.Unmarshal([]byte(out), &pulled); err != nil {
				t.Fatal(err)
			}
			want := r.want(houses, annona.Date(pulled.AsOf))
			rules := programs + r.name + "/rules.yaml"
			checkDecisions(t, r.about, want, must(t, "assess", "--rules", rules, pulled.Folder), pulled)

			send := []string{"assess", "--registry", s.url, "--key-file", keyFile, "--send", "--json", "--rules", rules, pulled.Folder}
			var told, again assessed
			if err := json.Unmarshal([]byte(must(t, send...)), &told); err != nil || told.Recorded != len(want) || told.Decisions != len(want) || told.Refused != 0 {
				t.Errorf("sent: %+v, want %d, %v", told, len(want), err)
			}
			if err := json.Unmarshal([]byte(must(t, send...)), &again); err != nil || again.Unchanged != len(want) || again.Recorded != 0 {
				t.Errorf("sent again: %+v, want %d, %v", again, len(want), err)
			}
			checkOnFile(t, s, r.about, pulled.Export, want)
		})
	}
}

// checkDecisions compares decisions, as they are written, with what the reference wants.
func checkDecisions(t *testing.T, about string, want map[string]string, lines string, pulled client.Pulled) {
	t.Helper()
	met, seen := 0, map[string]bool{}
	for line := range strings.Lines(lines) {
		var d client.Decision
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		id := d.HouseholdID + d.IndividualID
		if (about == "households") != (d.HouseholdID != "") || seen[id] || want[id] != d.Status || len(d.Reasons) == 0 || d.Export != pulled.Export || !d.Automated {
			t.Fatalf("a decision is %s, wanted %s: %+v", d.Status, want[id], d)
		}
		seen[id] = true
		if d.Status == "eligible" || d.Status == "conditional" {
			met++
		}
	}
	if len(seen) != len(want) || met == 0 || met == len(want) {
		t.Errorf("%d decisions of %d, %d positive", len(seen), len(want), met)
	}
}

// checkOnFile looks at the decisions of an export as the registry has them.
func checkOnFile(t *testing.T, s *server, about, export string, want map[string]string) {
	t.Helper()
	found, after := 0, ""
	for {
		query := url.Values{"purpose": {eligibility}, "dataset": {about}, "limit": {"1000"}}
		if after != "" {
			query.Set("after", after)
		}
		a := s.get("/v1/eligibility-decisions", query)
		var page struct {
			Decisions []client.Decision `json:"decisions"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
			t.Fatal(a.status, a.code(), err)
		}
		for _, d := range page.Decisions {
			if d.Export != export {
				continue
			}
			if found++; want[d.HouseholdID+d.IndividualID] != d.Status {
				t.Fatalf("on file is %s", d.Status)
			}
		}
		if after = a.header.Get("Annona-Next"); after == "" {
			break
		}
	}
	if found != len(want) {
		t.Errorf("%d decisions are on file, %d were made", found, len(want))
	}
}
