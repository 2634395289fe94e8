package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/annona-exchange/annona/audit"
)

// TestRevocationOnAnotherNode: two servers on one database. What runs on the second one ends, although the
// reader goes on reading, when it is revoked elsewhere: a token at the first server, a key and an agreement at the
// command line. A file of an export ends when somebody in it is restricted. The ledger has what was released.
func TestRevocationOnAnotherNode(t *testing.T) {
	t.Parallel()
	const people = 20_000 // more than a connection can hold
	r := newInDatabase(t, sharedCluster(t))
	must(t, r.importing(surveyOf(t, people))...)
	first, second := r.serve(t, "--export-workers", "0"), r.serve(t)
	exported := inFile(t, r, second)
	slow := slowly(t, second.request(http.MethodGet, exported, nil, nil))
	must(t, r.serving("subject", "restrict", "--source", "ghana-glss", "--key", strconv.Itoa(people)+"/1")...)
	eventually(t, "the file to be cut while its reader is slow", func() bool { return strings.Contains(second.err.String(), `"aborted":true`) })
	if rest, err := io.ReadAll(slow.Body); err == nil || int64(len(rest)) >= slow.ContentLength-64 {
		t.Errorf("the file ends well after %d of %d bytes", len(rest), slow.ContentLength)
	}
	if a := second.get(exported, nil); a.status != http.StatusGone || a.code() != "regenerate" {
		t.Errorf("asked for again: %d, %s", a.status, a.code())
	}

	for what, c := range map[string]credential{
		"invalid_token": r.newToken(t, first),
		"key_invalid":   r.newKey(t),
		"agreement_not_active": {"X-API-Key", r.key, func() {
			must(t, r.serving("agreement", "apply", changedAgreement(t, "eligibility", "status: active", "status: suspended"))...)
		}},
	} {
		request := second.request(http.MethodGet, "/v1/individuals/export", about(eligibility, "format", "xml"), nil)
		request.Header.Del("X-API-Key")
		request.Header.Set(c.header, c.value)
		slow := slowly(t, request)
		c.revoke()
		rest, err := io.ReadAll(slow.Body)
		if err == nil || slow.Trailer.Get("Annona-Rows") != "" {
			t.Errorf("%s: the download ends well after %d bytes", what, len(rest))
		}
		id := slow.Header.Get("Annona-Request")
		var released, ended int64
		eventually(t, "the outcome of "+what, func() bool {
			released, ended = 0, -1
			for line := range strings.Lines(must(t, r.serving("ledger", "show", "--request", id)...)) {
				var e struct {
					Kind  string
					Facts audit.Facts
				}
				check(t, json.Unmarshal([]byte(line), &e))
				switch {
				case e.Kind == "release":
					released += e.Facts.Rows
				case e.Facts.Outcome == audit.Aborted && e.Facts.Reason == what:
					ended = e.Facts.Rows
				}
			}
			return ended >= 0
		})
		got := int64(strings.Count(string(rest), "</individual>"))
		if got > released || ended > released || released >= people {
			t.Errorf("%s: %d rows were received, %d are released, %d as the outcome says", what, got, released, ended)
		}
		must(t, r.serving("agreement", "apply", agreementFile("eligibility"))...)
	}

	second.stop()
	first.stop()
	must(t, r.serving("verify")...)
}

// credential is a header by which a client is known, and how it is revoked.
type credential struct {
	header, value string
	revoke        func()
}

func (r inDatabase) newKey(t *testing.T) credential {
	t.Helper()
	var made struct{ Key, ID string }
	check(t, json.Unmarshal([]byte(must(t, r.serving("key", "create", "--agreement", "eligibility", "--json")...)), &made))
	return credential{"X-API-Key", made.Key, func() { must(t, r.serving("key", "revoke", made.ID)...) }}
}

// newToken makes a client, and a token of a server for it.
func (r inDatabase) newToken(t *testing.T, s *server) credential {
	t.Helper()
	var made struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	check(t, json.Unmarshal([]byte(must(t, r.serving("client", "create", "--agreement", "eligibility", "--secret", "--json")...)), &made))
	post := func(path string, form url.Values) []byte {
		request, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
		check(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(made.ID, made.Secret)
		a := s.ask(request)
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		return a.body
	}
	var got struct {
		Token string `json:"access_token"`
	}
	check(t, json.Unmarshal(post("/oauth2/token", url.Values{"grant_type": {"client_credentials"}}), &got))
	return credential{"Authorization", "Bearer " + got.Token, func() { post("/oauth2/revoke", url.Values{"token": {got.Token}}) }}
}

// slowly makes a request and reads the first bytes of its answer only.
func slowly(t *testing.T, request *http.Request) *http.Response {
	t.Helper()
	response, err := narrow.Do(request)
	check(t, err)
	t.Cleanup(func() { response.Body.Close() })
	if _, err := io.ReadFull(response.Body, make([]byte, 64)); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("the answer does not begin: status %d, %v", response.StatusCode, err)
	}
	return response
}

// inFile exports everybody into one file and returns its path.
func inFile(t *testing.T, r inDatabase, s *server) (path string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "everybody.yaml")
	writeFile(t, file, []byte(`{name: everybody, agreement: eligibility, purpose: eligibility-assessment, dataset: individuals, format: xml, compression: none,
		fields: [{field: individual_id}, {field: full_name}, {field: given_name}, {field: family_name}, {field: sex}, {field: date_of_birth}, {field: occupation}, {field: education_level}, {field: area_code},
			{field: household_id}, {field: role}, {field: relationship_to_head}, {field: registration_date}, {field: marital_status}, {field: employment_status}, {field: vital_status}]}`))
	must(t, r.serving("export-spec", "put", file)...)
	started := s.ask(s.request(http.MethodPost, "/v1/exports", nil, strings.NewReader(`{"specification": "everybody"}`)))
	var job struct{ ID, State string }
	check(t, json.Unmarshal(started.body, &job))
	eventually(t, "the export", func() bool {
		check(t, json.Unmarshal(s.get("/v1/exports/"+job.ID, nil).body, &job))
		return job.State == "complete"
	})
	return "/v1/exports/" + job.ID + "/files/everybody-00001.xml"
}
