package rest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest/intake"
)

const (
	officeMapping = `source: office
inputs:
  - name: people
    format: csv
    individual:
      key: id
      match: [national_id_number]
      fields: {full_name: name, sex: {column: sex, codes: {m: male, f: female}}}
      groups:
        identifiers: [{scheme: {constant: national_id_number}, value: card}]
`
	ndjsonMapping = `source: clinic
inputs:
  - name: people
    format: ndjson
    individual: {key: id, fields: {full_name: name}}
`
	officeRows = "id,name,sex,card\n1,Wanjiku Wiśniewska,f,\n2,Moraa,f,\n3,Kofi,m,\n"
	asCSV      = "text/csv"
)

// registrar gives the registry two registrars: one of office and clinic, one of another source.
func (r *registry) registrar() (office, stranger string) {
	r.Helper()
	for name, body := range map[string]string{"office": officeMapping, "clinic": ndjsonMapping, "census": strings.Replace(officeMapping, "office", "census", 1)} {
		m, err := intake.ParseMapping(r.Context(), r.gate, body)
		r.check(err)
		_, _, err = r.gate.PutMapping(r.Context(), operator, annona.StoredMapping{Name: name, Source: m.Source(), Body: body})
		r.check(err)
	}
	guard := annona.Percent(40)
	office = r.admit("registrar", annona.ImportTerms{Sources: []string{"office", "clinic"}, Modes: []string{"upsert", "full"}, DeleteGuard: &guard})
	return office, r.admit("stranger", annona.ImportTerms{Sources: []string{"census"}})
}

// admit makes an agreement about imports and returns a key under it.
func (r *registry) admit(name string, terms annona.ImportTerms) string {
	r.Helper()
	_, err := r.gate.ApplyAgreement(r.Context(), operator, annona.Agreement{
		Name: name, Partner: annona.Partner{Name: name, Country: "GH"}, Recipient: "processor", Realm: name, Floor: "api_key",
		Purposes:  []annona.PurposeTerms{{Code: "registration", Basis: annona.BasisPublicInterest}},
		ValidFrom: "2020-01-01", ValidUntil: "2090-12-31", Status: "active", Imports: &terms,
	})
	r.check(err)
	return r.mint(name)
}

func (r *registry) post(query, key, body string, headers ...string) answer {
	r.Helper()
	return r.ask(http.MethodPost, importsPath+"?"+query, key, body, append([]string{"Content-Type", asCSV}, headers...)...)
}

// taken is a load that was taken in, at its end.
func (r *registry) taken(a answer, key string) ImportReport {
	r.Helper()
	if a.status != http.StatusAccepted {
		r.Fatalf("%d %s", a.status, a.body)
	}
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var report ImportReport
		got := r.get(a.header.Get("Location"), key)
		if err := json.Unmarshal([]byte(got.body), &report); err != nil || got.status != http.StatusOK {
			r.Fatalf("%d %s", got.status, got.body)
		}
		if report.State != exchange.StateRunning {
			r.quiet()
			return report
		}
		if time.Now().After(until) {
			r.Fatalf("it runs and runs: %s", got.body)
		}
	}
}

// quiet waits until the server has forgotten the loads that ended.
func (r *registry) quiet() {
	for r.imports.Running() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// loads is how many loads are on file of a source.
func (r *registry) loads(source string) int {
	all, err := r.gate.ListLoads(r.Context(), operator, source, 100)
	r.check(err)
	return len(all)
}

// people is how many individuals the partner sees who sees everything.
func (r *registry) people() int {
	a := r.get("/v1/individuals?purpose=eligibility-assessment&fields=individual_id&limit=1000", r.full, "Accept", "application/x-ndjson")
	return strings.Count(a.body, "\n")
}

// TestImport takes rows in, and again, and as a full load; the report tells of them and of nobody.
func TestImport(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	before := r.people()
	a := r.post("mapping=office&source=office&as_of=2026-01-05", office, officeRows+"4,Ama,x,\n,Nobody,m,\n")
	got := r.taken(a, office)
	if got.State != "finished" || got.Written != 4 || got.Rows != 5 || got.Rejected != 1 || got.Refused["key_missing"] != 1 ||
		got.Flags["code_unmapped:sex"] != 1 || got.Mapping != "office@1" || got.Source != "office" || got.Mode != "upsert" || got.FinishedAt == nil || got.AsOf.Format(time.DateOnly) != "2026-01-05" {
		t.Errorf("the report: %+v", got)
	}
	if len(got.Rejects) != 1 || got.Rejects[0] != (ImportReject{Line: 6, Column: "id", Code: "key_missing"}) {
		t.Errorf("refused rows: %+v", got.Rejects)
	}
	if n := r.people(); n != before+4 {
		t.Errorf("%d people, want %d", n, before+4)
	}
	if got := r.taken(r.post("mapping=office", office, officeRows), office); got.Unchanged != 3 || got.Written != 0 {
		t.Errorf("again: %+v", got)
	}
	if got := r.taken(r.post("mapping=office@1&mode=full&delete_guard=30%25", office, officeRows), office); got.State != "finished" || got.Withdrawn != 1 || got.Missing["individuals"] != 1 || got.Live["individuals"] != 4 {
		t.Errorf("a full load: %+v", got)
	}
	if n := r.people(); n != before+3 {
		t.Errorf("%d people, want %d", n, before+3)
	}
	if got := r.taken(r.post("mapping=office&mode=full", office, "id,name,sex,card\n1,W,f,\n"), office); got.State != "refused" || got.Code != "delete_guard" || r.people() != before+3 {
		t.Errorf("a full load that the guard stops: %+v", got)
	}
	if got := r.taken(r.post("mapping=office&mode=full", office, "id,name,sex,card\n"), office); got.State != "refused" || got.Code != "full_load_empty" {
		t.Errorf("a full load of nobody: %+v", got)
	}
	if got := r.taken(r.post("mapping=clinic", office, `{"id":"a","name":"Ama"}`+"\n", "Content-Type", "application/x-ndjson"), office); got.Written != 1 {
		t.Errorf("ndjson: %+v", got)
	}
	var list struct{ Imports []ImportReport }
	if err := json.Unmarshal([]byte(r.get(importsPath+"?source=office&limit=2", office).body), &list); err != nil || len(list.Imports) != 2 || list.Imports[0].Code != "full_load_empty" {
		t.Errorf("the list: %+v, %v", list, err)
	}
	all := r.get(importsPath, office).body + r.logged() + r.metricsText()
	for _, secret := range append(planted, "Moraa", "Kofi", "Ama") {
		if strings.Contains(all, secret) {
			t.Errorf("reports, log or metrics tell %q", secret)
		}
	}
}

// TestImportPacked takes in gzip and zstd, and what unpacks to more than it may or to nothing is refused.
func TestImportPacked(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, func(o *Options) { o.MaxUpload = 1 << 20 })
	office, _ := r.registrar()
	zip := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, text)
		w.Close()
		return b.String()
	}
	squeeze := func(text string) string {
		w, err := zstd.NewWriter(nil)
		r.check(err)
		return string(w.EncodeAll([]byte(text), nil))
	}
	if got := r.taken(r.post("mapping=office", office, zip(officeRows), "Content-Encoding", "gzip"), office); got.Written != 3 {
		t.Errorf("gzip: %+v", got)
	}
	if got := r.taken(r.post("mapping=office", office, squeeze(officeRows), "Content-Encoding", "zstd"), office); got.Unchanged != 3 {
		t.Errorf("zstd: %+v", got)
	}
	was := r.loads("office")
	bomb := officeRows + strings.Repeat("\n", 8<<20)
	for _, c := range []struct {
		name, body, coding, code string
		status                   int
	}{
		{"a bomb of gzip", zip(bomb), "gzip", "body_too_large", 413},
		{"a bomb of zstd", squeeze(bomb), "zstd", "body_too_large", 413},
		{"too long as it comes", bomb, "", "body_too_large", 413},
		{"no gzip", officeRows, "gzip", "body_unreadable", 400},
		{"no zstd", officeRows, "zstd", "body_unreadable", 400},
		{"gzip that is cut off", zip(officeRows)[:30], "gzip", "body_unreadable", 400},
		{"gzip that does not say so", zip(officeRows), "", "body_compressed", 400},
		{"gzip in gzip", zip(zip(officeRows)), "gzip", "body_compressed", 400},
		{"a coding of two", zip(officeRows), "gzip, gzip", "content_encoding_unsupported", 415},
		{"another coding", officeRows, "br", "content_encoding_unsupported", 415},
	} {
		headers := []string{}
		if c.coding != "" {
			headers = []string{"Content-Encoding", c.coding}
		}
		a := r.post("mapping=office", office, c.body, headers...)
		if p := a.problem(t); a.status != c.status || p.Code != c.code {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	if r.loads("office") != was {
		t.Error("a body that was refused made a load")
	}
}

// TestImportRefused asks for what may not be or cannot be: a clear answer, and nothing is on file.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, stranger := r.registrar()
	for _, c := range []struct {
		name, query, key, body, contentType string
		status                              int
		code, on                            string
	}{
		{"no key", "mapping=office", "", officeRows, asCSV, 401, "key_missing", ""},
		{"nobody's registrar", "mapping=office", r.full, officeRows, asCSV, 403, "imports_not_granted", ""},
		{"another source's registrar", "mapping=office", stranger, officeRows, asCSV, 400, "mapping_unknown", "mapping"},
		{"no such mapping", "mapping=nothing", stranger, officeRows, asCSV, 400, "mapping_unknown", "mapping"},
		{"no such version", "mapping=office@2", office, officeRows, asCSV, 400, "mapping_unknown", "mapping"},
		{"no version", "mapping=office@01", office, officeRows, asCSV, 400, "mapping_unknown", "mapping"},
		{"no name", "mapping=../office", office, officeRows, asCSV, 400, "mapping_unknown", "mapping"},
		{"another source", "mapping=office&source=census", office, officeRows, asCSV, 403, "source_not_granted", "source"},
		{"the other one's mapping", "mapping=office&source=clinic", office, officeRows, asCSV, 400, "source_differs", "source"},
		{"no mapping", "source=office", office, officeRows, asCSV, 400, "mapping_missing", "mapping"},
		{"a mode that is not granted", "mapping=census&mode=full", stranger, officeRows, asCSV, 403, "mode_not_granted", "mode"},
		{"an unknown mode", "mapping=office&mode=undo", office, officeRows, asCSV, 400, "mode_unknown", "mode"},
		{"a guard above the agreement's", "mapping=office&mode=full&delete_guard=41%25", office, officeRows, asCSV, 403, "delete_guard_not_granted", "delete_guard"},
		{"a guard that is none", "mapping=office&mode=full&delete_guard=NaN", office, officeRows, asCSV, 400, "percent_malformed", "delete_guard"},
		{"a guard of nothing", "mapping=office&delete_guard=1%25", office, officeRows, asCSV, 400, "guard_misplaced", "delete_guard"},
		{"a day that is none", "mapping=office&as_of=2026-02-30", office, officeRows, asCSV, 400, "as_of_malformed", "as_of"},
		{"a day to come", "mapping=office&as_of=2099-01-01", office, officeRows, asCSV, 400, "as_of_in_future", "as_of"},
		{"an unknown parameter", "mapping=office&dry_run=true", office, officeRows, asCSV, 400, "unknown_parameter", ""},
		{"a parameter twice", "mapping=office&mapping=clinic", office, officeRows, asCSV, 400, "parameter_repeated", "mapping"},
		{"a media type that is none", "mapping=office", office, officeRows, "application/json", 415, "unsupported_media_type", "Content-Type"},
		{"another encoding", "mapping=office", office, officeRows, "text/csv; charset=latin1", 415, "unsupported_media_type", "Content-Type"},
		{"the wrong format", "mapping=office", office, officeRows, "application/x-ndjson", 400, "format_differs", "Content-Type"},
		{"no rows", "mapping=office", office, "", asCSV, 400, "body_missing", ""},
		{"a column too few", "mapping=office", office, "id,name,card\n1,Ama,\n", asCSV, 400, "input_columns", "sex"},
		{"a column twice", "mapping=office", office, "id,name,sex,card,sex\n", asCSV, 400, "input_columns", "sex"},
		{"UTF-16", "mapping=office", office, "\xff\xfei\x00d\x00", asCSV, 400, "input_encoding", "body"},
		{"rows of another kind", "mapping=office", office, `{"id":"1"}`, asCSV, 400, "input_columns", "id"},
	} {
		a := r.post(c.query, c.key, c.body, "Content-Type", c.contentType)
		if p := a.problem(t); a.status != c.status || p.Code != c.code || p.Name != c.on {
			t.Errorf("%s: %d %s, want %d %s on %q", c.name, a.status, a.body, c.status, c.code, c.on)
		}
	}
	if a := r.ask(http.MethodPost, importsPath+"?mapping=office", office, officeRows, "Content-Type", asCSV, "Idempotency-Key", "a b"); a.problem(t).Code != "key_malformed" {
		t.Errorf("a key that is none: %s", a.body)
	}
	r.check(r.gate.DropMapping(r.Context(), operator, "office"))
	if a := r.post("mapping=office@1", office, officeRows); a.problem(t).Code != "mapping_unknown" {
		t.Errorf("a mapping that was dropped: %s", a.body)
	}
	for _, source := range []string{"office", "clinic", "census"} {
		if n := r.loads(source); n > 0 {
			t.Errorf("%d loads of %s are on file", n, source)
		}
	}
	if left, err := os.ReadDir(filepath.Join(r.folder, "spool")); err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		t.Errorf("left in the spool: %v, %v", left, err)
	}
}

// TestImportsAreBusy: four loads are taken in at once; whoever comes then is asked to come again.
func TestImportsAreBusy(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	sources := []string{"east", "west", "north", "south", "middle"}
	for _, source := range sources {
		_, _, err := r.gate.PutMapping(r.Context(), operator, annona.StoredMapping{Name: source, Source: source, Body: strings.Replace(officeMapping, "office", source, 1)})
		r.check(err)
	}
	key := r.admit("offices", annona.ImportTerms{Sources: sources})
	enough, spool := make(chan struct{}), r.imports.Spool
	r.imports.Spool = func() (annona.Spool, error) {
		<-enough
		return spool()
	}
	answers := make(chan answer, 4)
	for _, source := range sources[:4] {
		go func() { answers <- r.post("mapping="+source, key, officeRows) }()
	}
	for r.imports.Running() < 4 {
		time.Sleep(time.Millisecond)
	}
	if a := r.post("mapping=middle", key, officeRows); a.status != http.StatusServiceUnavailable || a.problem(t).Code != "imports_busy" || r.loads("middle") != 0 {
		t.Errorf("the fifth: %d %s", a.status, a.body)
	}
	close(enough)
	for range 4 {
		if got := r.taken(<-answers, key); got.State != "finished" || got.Written != 3 {
			t.Errorf("one of the four: %+v", got)
		}
	}
	if got := r.taken(r.post("mapping=middle", key, officeRows), key); got.Written != 3 {
		t.Errorf("the fifth, later: %+v", got)
	}
}

// fullSpool is a spool on a disk that is full.
type fullSpool struct{ annona.Spool }

func (fullSpool) Write([]byte) (int, error) {
	return 0, annona.Unavailable("spool_full", "there is no room")
}

// TestImportWithoutRoom: rows for which there is no room begin no load, and the source is free.
func TestImportWithoutRoom(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	spool := r.imports.Spool
	r.imports.Spool = func() (annona.Spool, error) {
		s, err := spool()
		return fullSpool{s}, err
	}
	if a := r.post("mapping=office", office, officeRows); a.status != http.StatusServiceUnavailable || a.problem(t).Code != "spool_full" || r.loads("office") != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	r.imports.Spool = spool
	if got := r.taken(r.post("mapping=office", office, officeRows), office); got.Written != 3 {
		t.Errorf("when there is room: %+v", got)
	}
}

// TestImportByAMappingThatFitsNoMore: the mapping names a field that the dictionary has lost.
func TestImportByAMappingThatFitsNoMore(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	declared, err := annona.Standard().Extend(annona.Extension{Country: "GH", Fields: []annona.Field{
		{Dataset: "individuals", Code: "gh_shoe_size", Type: annona.TypeInt, Sensitivity: annona.Personal, AtRest: annona.Clear, Filter: annona.FilterNone},
	}})
	r.check(err)
	before := r.gate.CurrentDictionary()
	r.gate.UseDictionary(declared)
	body := strings.Replace(officeMapping, "full_name: name", "full_name: name, gh_shoe_size: shoe", 1)
	_, err = intake.ParseMapping(r.Context(), r.gate, body)
	r.check(err)
	_, _, err = r.gate.PutMapping(r.Context(), operator, annona.StoredMapping{Name: "office", Source: "office", Body: body})
	r.check(err)
	r.gate.UseDictionary(before)
	a := r.post("mapping=office", office, "id,name,sex,card,shoe\n1,Ama,f,,39\n")
	if p := a.problem(t); a.status != http.StatusConflict || p.Code != "mapping_unusable" || strings.Contains(a.body, "gh_shoe_size") || r.loads("office") != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := r.taken(r.post("mapping=office@1", office, officeRows), office); got.Written != 3 {
		t.Errorf("by the version before: %+v", got)
	}
}

// TestImportsAreTheRegistrars: a load of another one's source is the same 404 as none.
func TestImportsAreTheRegistrars(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, stranger := r.registrar()
	a := r.post("mapping=office", office, officeRows)
	r.taken(a, office)
	none := r.get(importsPath+"/"+annona.NewUID().String(), stranger)
	for name, got := range map[string]answer{
		"another one's": r.get(a.header.Get("Location"), stranger), "no id": r.get(importsPath+"/x", stranger), "no id of mine": r.get(importsPath+"/x", office),
	} {
		got, want := got.problem(t), none.problem(t)
		got.RequestID, want.RequestID = "", ""
		if !reflect.DeepEqual(got, want) || got.Status != http.StatusNotFound {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for name, c := range map[string]struct {
		path, key, code string
	}{
		"the list of nobody's":      {importsPath, r.full, "imports_not_granted"},
		"a report, nobody's":        {a.header.Get("Location"), r.full, "imports_not_granted"},
		"the list of another one's": {importsPath + "?source=office", stranger, "source_not_granted"},
	} {
		if got := r.get(c.path, c.key); got.status != http.StatusForbidden || got.problem(t).Code != c.code {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := r.get(importsPath, stranger); strings.TrimSpace(got.body) != `{"imports":[]}` {
		t.Errorf("the stranger's list: %s", got.body)
	}
	if got := r.get(importsPath+"?limit=0", office); got.status != http.StatusBadRequest {
		t.Errorf("a list of none: %s", got.body)
	}
	if got := r.get("/v1/individuals?purpose=registration", office); got.problem(t).Code != "dataset_not_granted" {
		t.Errorf("a registrar reads: %s", got.body)
	}
}

// TestAReportTellsNothingOfOthers: whether somebody is on file by another source makes no difference to
// what a registrar is told.
func TestAReportTellsNothingOfOthers(t *testing.T) {
	t.Parallel()
	told := func(card string) string {
		r := newRegistry(t)
		office, _ := r.registrar()
		rows := func(name string) string { return "id,name,sex,card\n1," + name + ",f," + card + "\n" }
		var all []ImportReport
		for _, c := range []struct{ query, body string }{
			{"mapping=office&as_of=2026-01-01", rows("Ama")}, {"mapping=office&as_of=2026-01-02", rows("Ama")}, {"mapping=office&as_of=2026-01-03", rows("Efua")},
			{"mapping=office&as_of=2026-01-04&mode=full&delete_guard=40%25", "id,name,sex,card\n1,Ama,f,\n2,Kofi,m," + card + "\n"},
		} {
			report := r.taken(r.post(c.query, office, c.body), office)
			report.ID, report.Seconds, report.StartedAt, report.FinishedAt = "", 0, time.Time{}, nil
			all = append(all, report)
		}
		text, err := json.Marshal(all)
		r.check(err)
		return string(text)
	}
	known, unknown := told("GHA-0012345"), told("GHA-0099999")
	if known != unknown {
		t.Errorf("a registrar is told apart who is on file:\n%s\n%s", known, unknown)
	}
}

// TestImportTwice: a key belongs to one load, and one load of a source runs at a time.
func TestImportTwice(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	first := r.post("mapping=office", office, officeRows, "Idempotency-Key", "night-1")
	r.taken(first, office)
	again := r.post("mapping=office", office, officeRows, "Idempotency-Key", "night-1")
	if again.status != http.StatusAccepted || again.header.Get("Location") != first.header.Get("Location") || r.loads("office") != 1 {
		t.Errorf("again: %d %s, %d loads", again.status, again.body, r.loads("office"))
	}
	for name, a := range map[string]answer{
		"other rows":      r.post("mapping=office", office, officeRows+"4,Ama,f,\n", "Idempotency-Key", "night-1"),
		"another mode":    r.post("mapping=office&mode=full", office, officeRows, "Idempotency-Key", "night-1"),
		"another day":     r.post("mapping=office&as_of=2026-01-01", office, officeRows, "Idempotency-Key", "night-1"),
		"another mapping": r.post("mapping=clinic", office, `{"id":"1"}`, "Content-Type", "application/x-ndjson", "Idempotency-Key", "night-1"),
	} {
		if p := a.problem(t); a.status != http.StatusConflict || p.Code != "key_reused" {
			t.Errorf("%s under the same key: %d %s", name, a.status, a.body)
		}
	}
	if got := r.taken(r.post("mapping=office", office, officeRows, "Idempotency-Key", "night-2"), office); got.Unchanged != 3 || r.loads("office") != 2 {
		t.Errorf("under another key: %+v", got)
	}
	l, err := r.gate.BeginLoad(r.Context(), operator, exchange.LoadOrder{Source: "office"})
	r.check(err)
	if a := r.post("mapping=office", office, officeRows); a.status != http.StatusConflict || a.problem(t).Code != "load_running" {
		t.Errorf("beside another load: %d %s", a.status, a.body)
	}
	_, err = l.Finish(r.Context())
	r.check(err)
	if got := r.taken(r.post("mapping=office", office, officeRows), office); got.State != "finished" {
		t.Errorf("after it: %+v", got)
	}
}

// uploading sends the head of a load and some rows, and leaves the rest to the test.
func (r *registry) uploading(key, rows string, length string) net.Conn {
	r.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	r.check(err)
	_, err = io.WriteString(c, "POST "+importsPath+"?mapping=office HTTP/1.1\r\nHost: a\r\nX-API-Key: "+key+"\r\nContent-Type: text/csv\r\nContent-Length: "+length+"\r\n\r\n"+rows)
	r.check(err)
	return c
}

// TestImportBroken: an upload that breaks off, one that waits too long and one that a shutdown meets
// have done nothing.
func TestImportBroken(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, func(o *Options) { o.WriteTimeout = time.Second })
	office, _ := r.registrar()
	before := r.people()

	gone := r.uploading(office, officeRows, "1000")
	gone.Close()
	slow := r.uploading(office, officeRows, "1000")
	defer slow.Close()
	text, err := io.ReadAll(slow)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 408 ") && !strings.HasPrefix(string(text), "HTTP/1.1 409 ") {
		t.Errorf("an upload that stops: %q, %v", text, err)
	}
	r.quiet()
	waiting := r.uploading(office, officeRows, "1000")
	defer waiting.Close()
	for r.imports.Running() == 0 {
		time.Sleep(time.Millisecond)
	}
	if a := r.post("mapping=office", office, officeRows); a.status != http.StatusConflict || a.problem(t).Code != "load_running" {
		t.Errorf("beside an upload: %d %s", a.status, a.body)
	}
	r.quiet()
	if n := r.loads("office"); n != 0 || r.people() != before {
		t.Errorf("%d loads, %d people instead of %d", n, r.people(), before)
	}
	if got := r.taken(r.post("mapping=office", office, officeRows), office); got.Written != 3 {
		t.Errorf("the same rows later: %+v", got)
	}
}

// TestARefusalReachesWhoStopsSending: an upload that is refused at once, and whose sender waits, is told why.
func TestARefusalReachesWhoStopsSending(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, func(o *Options) { o.WriteTimeout = time.Second })
	office, _ := r.registrar()
	_, err := r.gate.BeginLoad(r.Context(), operator, exchange.LoadOrder{Source: "office"})
	r.check(err)
	slow := r.uploading(office, officeRows, "1000")
	defer slow.Close()
	if text, err := io.ReadAll(slow); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 409 ") {
		t.Errorf("%q, %v", text, err)
	}
}

// TestImportRevoked: who may load no more stops in mid-load, and the report says why.
func TestImportRevoked(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	rows := &strings.Builder{}
	rows.WriteString("id,name,sex,card\n")
	for i := range 20_000 {
		rows.WriteString("p" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String() + ",Ama,f,\n")
	}
	a := r.post("mapping=office", office, rows.String())
	agreement, err := r.store.Agreement(r.Context(), "registrar")
	r.check(err)
	agreement.Status = "suspended"
	_, err = r.gate.ApplyAgreement(r.Context(), operator, *agreement)
	r.check(err)
	r.quiet()
	id, err := annona.ParseUID(strings.TrimPrefix(a.header.Get("Location"), importsPath+"/"))
	r.check(err)
	info, err := r.gate.ShowLoad(r.Context(), operator, id)
	r.check(err)
	if info.State != exchange.StateFailed || info.Report.Code != "agreement_not_active" || info.Report.Created >= 20_000 {
		t.Errorf("it ended as %s, %s, with %d", info.State, info.Report.Code, info.Report.Created)
	}
	if got := r.get(a.header.Get("Location"), office); got.problem(t).Code != "agreement_not_active" {
		t.Errorf("the report is told: %s", got.body)
	}
}

// TestImportAtShutdown: a load that a shutdown meets has failed, says so, and the same rows complete it.
func TestImportAtShutdown(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	rows := &strings.Builder{}
	rows.WriteString("id,name,sex,card\n")
	for i := range 20_000 {
		rows.WriteString("p" + time.Duration(i).String() + ",Ama,f,\n")
	}
	a := r.post("mapping=office", office, rows.String(), "Idempotency-Key", "k")
	r.imports.Close()
	id, err := annona.ParseUID(strings.TrimPrefix(a.header.Get("Location"), importsPath+"/"))
	r.check(err)
	info, err := r.gate.ShowLoad(r.Context(), operator, id)
	r.check(err)
	if info.State != exchange.StateFailed || info.Report.Code != "interrupted" {
		t.Errorf("it ended as %s, %s, with %d", info.State, info.Report.Code, info.Report.Created)
	}
	if a := r.post("mapping=office", office, officeRows); a.status != http.StatusServiceUnavailable || a.problem(t).Code != "shutting_down" {
		t.Errorf("after it: %d %s", a.status, a.body)
	}
	next := &intake.Imports{Gate: r.gate, Turn: intake.FileTurn, Spool: r.imports.Spool}
	r.server.Imports, r.imports = next, next
	if a := r.post("mapping=office", office, rows.String(), "Idempotency-Key", "k"); a.status != http.StatusAccepted || !strings.Contains(a.body, `"state":"failed"`) {
		t.Errorf("the same key: %d %s", a.status, a.body)
	}
	got := r.taken(r.post("mapping=office", office, rows.String()), office)
	if got.State != "finished" || got.Written+got.Unchanged != 20_000 || got.Unchanged != info.Report.Created {
		t.Errorf("the same rows: %+v after %d", got, info.Report.Created)
	}
	next.Close()
}

// TestImportOfADeadServer: what a server left behind that was killed is shown as failed.
func TestImportOfADeadServer(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	office, _ := r.registrar()
	ctx, cancel := context.WithCancel(r.Context())
	l, err := r.gate.BeginLoad(ctx, operator, exchange.LoadOrder{Source: "office"})
	r.check(err)
	cancel() // its heart stops
	later := time.Now().Add(2 * time.Minute)
	r.now.Store(&later)
	var report ImportReport
	if err := json.Unmarshal([]byte(r.get(importsPath+"/"+l.ID().String(), office).body), &report); err != nil || report.State != "failed" || report.Code != "interrupted" {
		t.Errorf("%+v, %v", report, err)
	}
	if got := r.taken(r.post("mapping=office", office, officeRows), office); got.State != "finished" {
		t.Errorf("the next: %+v", got)
	}
}
