package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const registrarAgreement = `name: office
partner: {name: District office, country: GH}
recipient_role: processor
purposes: [{code: registration, legal_basis: public_interest}]
imports: {sources: [office], modes: [upsert, full], delete_guard: 2%}
id_realm: office
floor: api_key
valid_from: 2020-01-01
valid_until: 2090-12-31
status: active
`

// importReported is what a registrar reads of a load.
type importReported struct {
	State, Code, Mapping string
	Written, Unchanged   int
	Rows, Rejected       int
}

// registrarOf makes a registrar and puts its mapping on file.
func registrarOf(t testing.TB, data string) (key string) {
	t.Helper()
	folder := t.TempDir()
	agreement, mapping := filepath.Join(folder, "office.yaml"), filepath.Join(folder, "mapping.yaml")
	writeFile(t, agreement, []byte(registrarAgreement))
	writeFile(t, mapping, []byte(peopleMapping))
	must(t, "agreement", "apply", "--data", data, agreement)
	must(t, "mapping", "put", "--data", data, "people", mapping)
	return createKey(t, data, "office").Key
}

func (s *server) postRows(query, rows string) (status int, location, body string) {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodPost, s.url+"/v1/imports?"+query, strings.NewReader(rows))
	check(s.t, err)
	request.Header.Set("X-API-Key", s.key)
	request.Header.Set("Content-Type", "text/csv")
	response, err := plain.Do(request)
	check(s.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(s.t, err)
	return response.StatusCode, response.Header.Get("Location"), string(text)
}

func (s *server) importReport(location string) (r importReported) {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodGet, s.url+location, nil)
	check(s.t, err)
	request.Header.Set("X-API-Key", s.key)
	response, err := plain.Do(request)
	check(s.t, err)
	defer response.Body.Close()
	check(s.t, json.NewDecoder(response.Body).Decode(&r))
	return r
}

// importEnded waits for the end of a load.
func (s *server) importEnded(location string) importReported {
	s.t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if r := s.importReport(location); r.State != "running" || time.Now().After(until) {
			return r
		}
	}
}

// somePeople are rows of the office.
func somePeople(count int) string {
	var rows strings.Builder
	rows.WriteString(peopleHeader)
	for i := range count {
		fmt.Fprintf(&rows, "%d,%s %d,1,\n", i, planted, i)
	}
	return rows.String()
}

// TestImportOverHTTP loads through a server that is killed in mid-load: the load has failed and says
// so, what lies on the disk shows nothing, and the same rows complete it.
func TestImportOverHTTP(t *testing.T) {
	t.Parallel()
	data := newRegistry(t)
	key := registrarOf(t, data)
	s := serveFolder(t, data, key)
	status, location, body := s.postRows("mapping=people&source=office", peopleHeader+"a,Ama,1,GHA-1\n,Nobody,1,\n")
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	if r := s.importEnded(location); r.State != "finished" || r.Written != 1 || r.Rejected != 1 || r.Mapping != "people@1" {
		t.Errorf("%+v", r)
	}
	if line, ok := s.err.line(`"msg":"import ended"`, s.ended); !ok || strings.Contains(line, "Ama") {
		t.Errorf("the log says %q", line)
	}
	const people = 30_000
	rows := somePeople(people)
	status, location, body = s.postRows("mapping=people", rows)
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	for s.importReport(location).Written == 0 {
		time.Sleep(time.Millisecond)
	}
	s.kill()
	shows := 0
	check(t, filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), planted) {
			shows++
			t.Errorf("%s shows a name", filepath.Base(path))
		}
		return err
	}))
	s = serveFolder(t, data, key)
	broken := s.importReport(location)
	if broken.State != "failed" || broken.Code != "interrupted" || broken.Written == 0 || broken.Written >= people {
		t.Errorf("after the kill: %+v", broken)
	}
	status, location, body = s.postRows("mapping=people", rows)
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	if r := s.importEnded(location); r.State != "finished" || r.Written+r.Unchanged != people || r.Unchanged < broken.Written {
		t.Errorf("the same rows: %+v after %+v", r, broken)
	}
	s.stop()
	if out := must(t, "load", "list", "--data", data, "--source", "office"); strings.Count(out, "finished") != 2 || strings.Count(out, "failed") != 1 {
		t.Errorf("listed as\n%s", out)
	}
	must(t, "verify", "--data", data)
	if left, err := os.ReadDir(filepath.Join(data, spoolFolder)); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}
