package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

var handOvers = flag.Int("handovers", 3, "how many hand-overs of a case are killed in each store")

// offices are two partners who keep cases in one registry, each with its key.
type offices struct {
	place
	t            *testing.T
	town, clinic string
}

// TestKilledHandOver kills the server while a partner accepts a case, at an instant anywhere from before the
// request to behind its answer. Then the case belongs to exactly one partner, the one of whom the transition
// says so; who was told that it has the case has it; and it can be handed back.
func TestKilledHandOver(t *testing.T) {
	t.Parallel()
	inBothStores(t, func(t *testing.T, p place) {
		home, head := plant(t, "households", "home"), plant(t, "individuals", "head")
		head.Memberships = []annona.Membership{{HouseholdKey: home.Key, Role: "head"}}
		p.load(t, home, head)
		o := &offices{place: p, t: t}
		o.town, o.clinic = o.open("town"), o.open("clinic")
		s := o.serveCases()
		usual, moved := o.takes(s), 0
		for n := range *handOvers {
			id, offer := o.offered(s, o.town, "clinic", fmt.Sprint("case-", n))
			time.AfterFunc(time.Duration(rand.Int64N(int64(usual*3/2))), func() { _ = s.cmd.Process.Kill() }) // it runs
			told := o.answer(s, offer) == http.StatusOK
			s.kill()
			s = o.serveCases()
			owners := o.owners(s, id)
			has := owners == "clinic"
			if owners != "clinic" && owners != "town" || told && !has || has != o.isCompleted(s, offer) {
				t.Fatalf("cut %d: the owners are %q, told %v, completed %v", n, owners, told, o.isCompleted(s, offer))
			}
			if has {
				moved++
				continue
			}
			if o.answer(s, offer) != http.StatusOK || o.owners(s, id) != "clinic" {
				t.Fatalf("cut %d: the case cannot be accepted behind the kill", n)
			}
		}
		t.Logf("%d of %d hand-overs had happened when the server was killed", moved, *handOvers)
		if s.stop() != 0 {
			t.Error("the server does not stop as it should")
		}
		must(t, p.flags("verify")...)
	})
}

// open puts the agreement of a partner in force, and returns a key of it.
func (o *offices) open(name string) (key string) {
	o.t.Helper()
	text, err := os.ReadFile(agreementFile("casework"))
	check(o.t, err)
	said := string(text)
	for _, line := range [][2]string{{`(?m)^name: .*$`, "name: " + name}, {`(?m)^  name: .*$`, "  name: " + name}, {`(?m)^  source: .*$`, "  source: " + name}, {`(?m)^programs:\n(  - .*\n)*`, ""}} {
		said = regexp.MustCompile(line[0]).ReplaceAllString(said, line[1])
	}
	file := filepath.Join(o.t.TempDir(), name+".yaml")
	writeFile(o.t, file, []byte(said))
	must(o.t, append(o.flags("agreement", "apply"), file)...)
	return keyOf(must(o.t, append(o.flags("key", "create"), "--agreement", name)...))
}

func (o *offices) serveCases() *server {
	o.t.Helper()
	return startServing(o.t, o.town, append(o.flags("serve"), "--listen", "127.0.0.1:0")...)
}

// ask asks in the name of a key. Status 0: no answer came.
func (o *offices) ask(s *server, key, method, path, body string) (status int, said map[string]any) {
	o.t.Helper()
	r := s.request(method, path, about("case-management"), strings.NewReader(body))
	r.Header.Set("X-API-Key", key)
	if path == "/v1/cases" && method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	response, err := plain.Do(r)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	if json.NewDecoder(response.Body).Decode(&said) != nil {
		return 0, nil
	}
	return response.StatusCode, said
}

// offered opens a case about somebody and offers it to another partner.
func (o *offices) offered(s *server, from, to, name string) (id, offer string) {
	o.t.Helper()
	status, said := o.ask(s, from, http.MethodPost, "/v1/cases", fmt.Sprintf(`{"source_case_id":%q,"case_type":"other","individual_id":%q}`, name, o.somebody(s)))
	verdicts, _ := said["verdicts"].([]any)
	if status != http.StatusOK || len(verdicts) != 1 {
		o.t.Fatalf("no case: %d %v", status, said)
	}
	id, _ = verdicts[0].(map[string]any)["id"].(string)
	status, said = o.ask(s, from, http.MethodPost, "/v1/cases/"+id+"/transitions", fmt.Sprintf(`{"kind":"transfer","to_partner":%q,"basis":"public_task","expires_on":%q}`, to, time.Now().AddDate(0, 0, 2).Format("2006-01-02")))
	if offer, _ = said["id"].(string); status != http.StatusCreated {
		o.t.Fatalf("no offer: %d %v", status, said)
	}
	return id, offer
}

// takes is how long it takes at least to accept a case.
func (o *offices) takes(s *server) (usual time.Duration) {
	o.t.Helper()
	for n := range 4 {
		_, offer := o.offered(s, o.town, "clinic", fmt.Sprint("before-", n))
		began := time.Now()
		if status := o.answer(s, offer); status != http.StatusOK {
			o.t.Fatalf("not accepted: %d", status)
		}
		if took := time.Since(began); n == 0 || took < usual {
			usual = took
		}
	}
	return usual
}

func (o *offices) answer(s *server, offer string) int {
	status, _ := o.ask(s, o.clinic, http.MethodPost, "/v1/transitions/"+offer+"/answers", `{"answer":"accept"}`)
	return status
}

// owners are those who see the case as their own.
func (o *offices) owners(s *server, id string) string {
	var owners []string
	for name, key := range map[string]string{"town": o.town, "clinic": o.clinic} {
		status, said := o.ask(s, key, http.MethodGet, "/v1/cases/"+id, "")
		if status == http.StatusOK && said["owner"] == name {
			owners = append(owners, name)
		}
	}
	return strings.Join(owners, " and ")
}

// isCompleted reports whether a transition says that it has happened.
func (o *offices) isCompleted(s *server, offer string) bool {
	o.t.Helper()
	status, said := o.ask(s, o.clinic, http.MethodGet, "/v1/transitions", "")
	all, _ := said["transitions"].([]any)
	for _, one := range all {
		if t := one.(map[string]any); t["transition_id"] == offer {
			return t["status"] == "completed"
		}
	}
	o.t.Fatalf("no such transition: %d %v", status, said)
	return false
}

func (o *offices) somebody(s *server) string {
	o.t.Helper()
	_, said := o.ask(s, o.town, http.MethodGet, "/v1/individuals", "")
	all, _ := said["individuals"].([]any)
	if len(all) == 0 {
		o.t.Fatalf("nobody is on file: %v", said)
	}
	id, _ := all[0].(map[string]any)["individual_id"].(string)
	return id
}
