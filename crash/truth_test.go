package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// village is a country of three households of two people each.
func village(t *testing.T) *country {
	t.Helper()
	var lines strings.Builder
	for h := 1; h <= 3; h++ {
		fmt.Fprintf(&lines, `{"household_id":"H%d","poverty_score":1.5,"members":[{"individual_id":"I%d1","full_name":"A"},{"individual_id":"I%d2","full_name":"A"}]}`+"\n", h, h, h)
	}
	c, err := readCountry(strings.NewReader(lines.String()))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sightOf is what is seen when the households have these marks.
func sightOf(c *country, marks ...int) *sight {
	s := &sight{households: map[string]seen{}, people: map[string]seen{}, consenting: map[string]bool{}, ids: map[string]string{}}
	for h, mark := range marks {
		if mark == 0 {
			continue
		}
		it := c.households[h]
		s.households[it.key] = seen{mark: mark, line: it.key}
		for _, key := range it.members {
			s.people[key] = seen{mark: mark, fullName: "A", line: key}
		}
	}
	return s
}

// TestEachCheckOfTheTruth shows one lie to each check, and the truth to all.
func TestEachCheckOfTheTruth(t *testing.T) {
	c := village(t)
	all := []int{0, 1, 2}
	for _, x := range []struct {
		name string
		told told
		see  func() *sight
		want string // the check that finds it; empty: nothing is wrong
	}{
		{"as before", told{}, func() *sight { return sightOf(c, 1, 1, 0) }, ""},
		{"acknowledged and there", told{batches: []*batch{{2, all, true}}}, func() *sight { return sightOf(c, 2, 2, 2) }, ""},
		{"cut off and there", told{batches: []*batch{{2, all, false}}}, func() *sight { return sightOf(c, 2, 2, 2) }, ""},
		{"cut off and not there", told{batches: []*batch{{2, all, false}}}, func() *sight { return sightOf(c, 1, 1, 0) }, ""},
		{"acknowledged and not there", told{batches: []*batch{{2, all, true}}}, func() *sight { return sightOf(c, 1, 1, 0) }, checkLost},
		{"overwritten by what came before", told{batches: []*batch{{2, all, true}, {3, all, true}}}, func() *sight { return sightOf(c, 3, 2, 3) }, checkLost},
		{"nobody wrote it", told{}, func() *sight { return sightOf(c, 7, 1, 0) }, checkLost},
		{"cut off in the middle", told{batches: []*batch{{2, all, false}}}, func() *sight { return sightOf(c, 2, 1, 0) }, ""},
		{"half of a batch", told{batches: []*batch{{2, all, false}}}, func() *sight { return sightOf(c, 1, 2, 0) }, checkHalf},
		{"half of a household", told{batches: []*batch{{2, all, false}}}, func() *sight {
			s := sightOf(c, 2, 2, 2)
			s.people["I21"] = seen{mark: 1, fullName: "A", line: "I21"}
			return s
		}, checkHalf},
		{"a person is gone", told{}, func() *sight {
			s := sightOf(c, 1, 1, 0)
			delete(s.people, "I11")
			return s
		}, checkLost},
		{"other bytes", told{}, func() *sight {
			s := sightOf(c, 1, 1, 0)
			s.people["I11"] = seen{mark: 1, fullName: "A", line: "I11 "}
			return s
		}, checkBytes},
		{"another name than was imported", told{batches: []*batch{{2, all, true}}}, func() *sight {
			s := sightOf(c, 2, 2, 2)
			s.people["I31"] = seen{mark: 2, fullName: "B", line: "I31"}
			return s
		}, checkBytes},
		{"restricted and seen", told{wishes: []*wish{{"I11", restricting, true, true}}}, func() *sight { return sightOf(c, 1, 1, 0) }, checkLost},
		{"restriction cut off", told{wishes: []*wish{{"I11", restricting, true, false}}}, func() *sight { return sightOf(c, 1, 1, 0) }, ""},
		{"erased and seen", told{wishes: []*wish{{"I11", erasing, true, true}}}, func() *sight { return sightOf(c, 1, 1, 0) }, checkLost},
		{"consented and not seen", told{wishes: []*wish{{"I11", agreeing, true, true}}}, func() *sight { return sightOf(c, 1, 1, 0) }, checkLost},
		{"seen without consent", told{}, func() *sight {
			s := sightOf(c, 1, 1, 0)
			s.consenting["I11"] = true
			return s
		}, checkLost},
	} {
		truth := newTruth(c)
		if _, problems := truth.settle(told{batches: []*batch{{1, []int{0, 1}, true}}}, sightOf(c, 1, 1, 0)); len(problems) > 0 {
			t.Fatal(problems)
		}
		_, problems := truth.settle(x.told, x.see())
		found := slices.ContainsFunc(problems, func(p problem) bool { return p.check == x.want })
		if x.want == "" && len(problems) > 0 || x.want != "" && !found {
			t.Errorf("%s: %v", x.name, problems)
		}
	}
}

// outcomeOf is the ledger of one request.
func outcomeOf(outcome string, handed int, pages ...int) (all []entry) {
	for n, rows := range pages {
		e := entry{Kind: "release", Request: "r"}
		e.Facts.Page, e.Facts.Rows = n+1, rows
		all = append(all, e)
	}
	if outcome != "" {
		e := entry{Kind: "outcome", Request: "r"}
		e.Facts.Outcome, e.Facts.Pages = outcome, handed
		all = append(all, e)
	}
	return all
}

func TestEachCheckOfRequests(t *testing.T) {
	export := question{path: "individuals", format: "ndjson"}
	for _, x := range []struct {
		name    string
		entries []entry
		got     receipt
		want    string
	}{
		{"whole", outcomeOf("complete", 2, 10, 10), receipt{question: export, whole: true, trailed: true, rows: 20}, ""},
		{"cut", outcomeOf("unknown", 0, 10, 10), receipt{question: export, rows: 12}, ""},
		{"cut on its way", outcomeOf("complete", 2, 10, 10), receipt{question: export, rows: 12}, ""},
		{"whole, and the outcome is lost", outcomeOf("unknown", 0, 10, 10), receipt{question: export, whole: true, trailed: true, rows: 20}, checkOutcome},
		{"a search whose outcome is lost", outcomeOf("unknown", 0, 10), receipt{question: question{path: "individuals", format: "json", limit: 10}, whole: true}, ""},
		{"complete before its end", outcomeOf("complete", 1, 10, 10), receipt{question: export, rows: 12}, checkOutcome},
		{"open", outcomeOf("", 0, 10), receipt{question: export, rows: 5}, checkOutcome},
		{"two outcomes", append(outcomeOf("complete", 1, 10), outcomeOf("unknown", 0)...), receipt{question: export, rows: 5}, checkOutcome},
		{"no release", nil, receipt{question: export, ids: []string{"x"}, rows: 5}, checkCovered},
		{"far ahead of its reader", outcomeOf("unknown", 0, 10, 10, 10, 10, 10, 10), receipt{question: export, rows: 5}, checkExcess},
	} {
		x.got.request = "r"
		problems := compareOutcomes(x.entries, []*receipt{&x.got})
		if x.want == "" && len(problems) > 0 || x.want != "" && (len(problems) == 0 || problems[0].check != x.want) {
			t.Errorf("%s: %v", x.name, problems)
		}
	}
}

func TestChangesAreHeldToEntries(t *testing.T) {
	batch := entry{Kind: "change"}
	batch.Facts.Verb, batch.Facts.Details = "import", map[string]string{"step": "batch", "created": "2", "changed": "3"}
	act := entry{Kind: "change"}
	act.Facts.Verb, act.Facts.Details = "subject_rights", map[string]string{"act": "restriction"}
	wished := []*wish{{"I11", restricting, true, true}}
	for _, x := range []struct {
		name    string
		entries []entry
		done    settled
		wishes  []*wish
		right   bool
	}{
		{"all", []entry{batch, act}, settled{least: 5, most: 5}, wished, true},
		{"a batch without its entry", nil, settled{least: 5, most: 5}, nil, false},
		{"an entry without its batch", []entry{batch}, settled{}, nil, false},
		{"a wish without its entry", nil, settled{}, wished, false},
	} {
		if problems := compareChanges(x.entries, x.done, x.wishes); x.right != (len(problems) == 0) {
			t.Errorf("%s: %v", x.name, problems)
		}
	}
}

// What was cut within an id is none, of a compressed body too.
func TestIdsOfABodyThatBreaksOff(t *testing.T) {
	id, other := strings.Repeat("a", idLength), strings.Repeat("b", idLength)
	text := `{"individual_id":"` + id + `","household_id":"` + other + `"}` + "\n" + `{"individual_id":"` + strings.Repeat("c", idLength-1)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(text))
	z.Flush() // and never closed
	for coding, body := range map[string][]byte{"": []byte(text), "gzip": packed.Bytes()} {
		got := &receipt{question: question{path: "individuals", format: "ndjson"}}
		read, err := decode(bytes.NewReader(body), http.Header{"Content-Encoding": {coding}})
		got.take(read)
		if !slices.Equal(got.ids, []string{id, other}) || !slices.Equal(got.people, []string{id}) || got.rows != 2 || coding != "" && err == nil {
			t.Errorf("%q: %+v, %v", coding, got, err)
		}
	}
}

func TestMarksStandInEveryRecord(t *testing.T) {
	c, path := village(t), filepath.Join(t.TempDir(), "in.ndjson")
	if err := c.write(path, []int{2, 0}, 1234); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if text := string(content); err != nil || strings.Count(text, "m0001234") != 6 || strings.Count(text, `"poverty_score":12.34`) != 2 || !strings.HasPrefix(text, `{"household_id":"H3"`) {
		t.Errorf("%s, %v", content, err)
	}
}
