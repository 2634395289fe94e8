package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// What a key was used for stands at the command line and in the browser of people who audit, when the server has
// ended in good order.
func TestClientUsage(t *testing.T) {
	t.Parallel()
	data, codes := twoApprovers(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, ghanaSample)
	key := createKey(t, data, "research")
	usage := func(more ...string) string {
		t.Helper()
		return must(t, append([]string{"client", "usage", "--data", data, key.ID}, more...)...)
	}
	if out := usage(); !strings.Contains(out, "younger than 90 days") || strings.Contains(out, time.Now().UTC().Format("2006-")) {
		t.Errorf("of a new key:\n%s", out)
	}
	s := serveFolder(t, data, key.Key)
	if a := s.get("/v1/individuals", about(research, "fields", "individual_id,sex", "limit", "5")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.stop()
	today := time.Now().UTC().Format("2006-01")
	for line := range strings.Lines(usage()) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		name, used := words[0], strings.HasPrefix(words[len(words)-1], today)
		wanted := name == "individuals.sex" || name == "individuals.individual_id" || name == "search" && words[2] == "individuals"
		if used != wanted {
			t.Errorf("used %v: %s", used, line)
		}
	}
	refused(t, "nothing_unused", "client", "usage", "--data", data, "--policy", key.ID)
	refused(t, "not_found", "client", "usage", "--data", data, strings.Repeat("0", 32))

	check(t, dataFlag{Data: data}.with(t.Context(), func(f *folder) error { // it was made long ago
		id, err := annona.ParseUID(key.ID)
		check(t, err)
		return f.store.Update(t.Context(), func(tx annona.Tx) error {
			c, err := f.store.ClientByID(t.Context(), id)
			check(t, err)
			c.CreatedAt = c.CreatedAt.AddDate(-1, 0, 0)
			return tx.PutClient(t.Context(), *c)
		})
	}))
	role := "partner-" + key.ID[:8]
	if out := usage(); !strings.Contains(out, "annona policy role "+key.ID+" "+role) || !strings.Contains(out, "export") {
		t.Errorf("of an old key:\n%s", out)
	}
	if out := usage("--policy"); !strings.Contains(out, "name: "+role) || !strings.Contains(out, "not-used") {
		t.Errorf("the policy:\n%s", out)
	}

	s = serveFolder(t, data, key.Key)
	request := s.request(http.MethodGet, "/v1/clients/"+key.ID+"/usage", nil, nil)
	if a := s.ask(request); a.status != http.StatusUnauthorized || a.code() != "signed_out" {
		t.Errorf("by a key: %d %s", a.status, a.body)
	}
	request.Header.Set("Cookie", "annona-session="+signedIn(t, data, "kofi", codes["kofi"][0]))
	request.Header.Del("X-API-Key")
	a := s.ask(request)
	var body struct {
		Client, Proposal, Narrower string
		Removes                    []string
		Verbs, Fields              []map[string]string
	}
	check(t, json.Unmarshal(a.body, &body))
	if a.status != http.StatusOK || body.Client != key.ID || body.Proposal != "narrow" || body.Narrower != role || len(body.Removes) == 0 || len(body.Verbs) == 0 || len(body.Fields) == 0 {
		t.Errorf("in a browser: %d %.500s", a.status, a.body)
	}
	s.stop()
}
