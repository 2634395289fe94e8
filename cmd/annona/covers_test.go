package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestLedgerTellsWhetherAFileStemsFromARequest asks about what was received, about somebody else,
// and about people of another request.
func TestLedgerTellsWhetherAFileStemsFromARequest(t *testing.T) {
	t.Parallel()
	const people = 30
	data := newRegistry(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, surveyOf(t, people))
	key := createKey(t, data, "eligibility").Key
	s := serveFolder(t, data, key)
	got := s.receive(plain, func() {})
	s.stop()
	if len(got.ids) != people {
		t.Fatalf("%d people", len(got.ids))
	}
	ask := func(request string, ids ...string) ran {
		line, err := json.Marshal(holding{Request: request, IDs: ids})
		if err != nil {
			t.Fatal(err)
		}
		return annonaReading(strings.NewReader(string(line)+"\n"), "ledger", "covers", "--data", data, "--realm", "eligibility")
	}
	request := got.request.String()
	if r := ask(request, got.ids...); r.code != 0 || r.out != fmt.Sprintf(`{"request":%q,"released":30,"held":30}`+"\n", request) {
		t.Errorf("what was received: %s", r)
	}
	stranger := strings.Repeat("a", 26)
	if r := ask(request, got.ids[0], stranger, "no id"); r.code != exitFailure || !strings.Contains(r.err, "code: not_released\n") ||
		!strings.Contains(r.out, `"missing":["`+stranger+`","no id"]`) {
		t.Errorf("a stranger: %s", r)
	}
	if r := ask(strings.Repeat("0", 32), got.ids[0]); r.code != exitFailure || !strings.Contains(r.out, `"released":0`) {
		t.Errorf("another request: %s", r)
	}
	for _, wrong := range []string{"[]", `{"request": "x"}`, "{"} {
		r := annonaReading(strings.NewReader(wrong), "ledger", "covers", "--data", data, "--realm", "eligibility")
		if r.code != exitFailure || !strings.Contains(r.err, "malformed\n") {
			t.Errorf("%s: %s", wrong, r)
		}
	}
	shows := must(t, "ledger", "show", "--data", data, "--request", request)
	if strings.Count(shows, "\n") != 2 || !strings.Contains(shows, `"people":{"individual":30}`) || !strings.Contains(shows, `"outcome":"complete"`) {
		t.Errorf("show: %s", shows)
	}
	for _, id := range got.ids {
		if strings.Contains(shows, id) {
			t.Fatal("show tells who is in a release")
		}
	}
	asked := must(t, "ledger", "show", "--data", data, "--after", "1")
	if strings.Count(asked, `"act":"holding_compared"`) != 3 || strings.Contains(asked, `"index":1,`) {
		t.Errorf("the questions are not recorded, or --after shows too much: %s", asked)
	}
}
