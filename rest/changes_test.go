package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
)

const allChanges = "/v1/changes?dataset=individuals&purpose=eligibility-assessment"

// told is the body of an answer to a follower.
type told struct {
	Schema  string
	Changes []struct {
		Kind, ID string
		Record   map[string]any
	}
	Next string
	More bool
}

func (r *registry) told(path string) (body told) {
	r.Helper()
	a := r.get(path, r.full)
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		r.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	r.check(json.Unmarshal([]byte(a.body), &body))
	if body.Next == "" || body.Next != a.header.Get("Annona-Next") || body.Schema != "individuals/1" || a.header.Get("Annona-Schema") != body.Schema {
		r.Errorf("next %q, header %q, schema %q", body.Next, a.header.Get("Annona-Next"), body.Schema)
	}
	return body
}

func TestChangesInPages(t *testing.T) {
	r := newRegistry(t)
	path := allChanges + "&fields=full_name,sex&limit=2"
	seen, after := map[string]map[string]any{}, ""
	for pages := 1; ; pages++ {
		body := r.told(path + after)
		for _, c := range body.Changes {
			if c.Kind != "upsert" || c.Record["individual_id"] != c.ID {
				t.Errorf("%+v", c)
			}
			seen[c.ID] = c.Record
		}
		after = "&after=" + url.QueryEscape(body.Next)
		if !body.More {
			if pages != 3 || len(body.Changes) != 1 {
				t.Errorf("%d pages, %d on the last", pages, len(body.Changes))
			}
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d records", len(seen))
	}
	if body := r.told(path + after); len(body.Changes) > 0 || body.More {
		t.Errorf("told again: %+v", body)
	}
	_, err := r.gate.Restrict(r.Context(), operator, exchange.Subject{Source: "test", Key: "i2"}, annona.Restriction{Kind: annona.KindRestriction})
	r.check(err)
	r.load(r.member("h1", "", "i3", "full_name", "Somebody \"Else\"", "sex", "male"))
	body := r.told(path + after)
	if len(body.Changes) != 2 || body.Changes[0].Kind != "left_scope" || body.Changes[0].Record != nil || seen[body.Changes[0].ID]["full_name"] != "Moraa Nyaboke" ||
		body.Changes[1].Kind != "upsert" || body.Changes[1].Record["full_name"] != "Somebody \"Else\"" {
		t.Errorf("%+v", body)
	}
}

func TestChangesAsLines(t *testing.T) {
	r := newRegistry(t)
	a := r.get(allChanges+"&fields=sex&limit=3", r.full, "Accept", "application/x-ndjson")
	lines := strings.Split(strings.TrimSuffix(a.body, "\n"), "\n")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" || len(lines) != 4 {
		t.Fatalf("%d %v %q", a.status, a.header, a.body)
	}
	for i, line := range lines {
		var c struct {
			Kind, ID, Next string
			More           bool
		}
		r.check(json.Unmarshal([]byte(line), &c))
		if last := i == 3; last != (c.Kind == "") || last != (c.Next != "") || last != c.More {
			t.Errorf("line %d: %s", i, line)
		}
	}
	after := "&after=" + url.QueryEscape(a.header.Get("Annona-Next"))
	a = r.get(allChanges+"&fields=sex&limit=1000"+after, r.full, "Accept", "application/x-ndjson")
	a = r.get(allChanges+"&fields=sex&after="+url.QueryEscape(a.header.Get("Annona-Next")), r.full, "Accept", "application/x-ndjson")
	if !strings.HasPrefix(a.body, `{"next":"`) || strings.Count(a.body, "\n") != 1 {
		t.Errorf("nothing: %q", a.body)
	}
}

func TestAClientWaitsForChanges(t *testing.T) {
	r := newRegistry(t)
	path := allChanges + "&fields=full_name&after=" + url.QueryEscape(r.told(allChanges+"&fields=full_name").Next)
	began := time.Now()
	if body := r.told(path + "&wait=1"); len(body.Changes) > 0 || time.Since(began) < time.Second || time.Since(began) > 4*time.Second {
		t.Errorf("nothing came after %v: %+v", time.Since(began), body)
	}
	come := make(chan told, 1)
	go func() { come <- r.told(path + "&wait=30") }()
	time.Sleep(200 * time.Millisecond)
	r.load(r.member("h1", "", "i3", "full_name", "Somebody Else", "sex", "male"))
	if body := <-come; len(body.Changes) != 1 || time.Since(began) > 15*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), body)
	}
}

func TestShutdownEndsWaiting(t *testing.T) {
	r := newRegistry(t)
	path := allChanges + "&fields=sex&wait=60&after=" + url.QueryEscape(r.told(allChanges+"&fields=sex").Next)
	ended := make(chan answer, 1)
	go func() { ended <- r.get(path, r.full) }()
	time.Sleep(200 * time.Millisecond)
	began := time.Now()
	r.stop()
	a := <-ended
	if a.status != http.StatusServiceUnavailable || time.Since(began) > 4*time.Second {
		t.Errorf("%d after %v: %s", a.status, time.Since(began), a.body)
	}
}
