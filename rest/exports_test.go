package rest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/jobs"
)

// exporting is a registry with a worker that works when a test says so.
func exporting(t *testing.T) (*registry, *jobs.Worker) {
	t.Helper()
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { _ = bucket.Close() })
	files := &jobs.Files{Bucket: bucket}
	r := newRegistry(t, func(o *Options) { o.Files = files })
	files.Vault = r.gate.Files
	spec := annona.ExportSpec{
		Name: "monthly", Agreement: "full", Purpose: "eligibility-assessment", Dataset: "individuals", Format: "csv",
		Fields: []annona.SpecField{{Field: "individual_id", As: "id"}, {Field: "sex"}, {Field: "full_name"}},
	}
	_, _, err := r.gate.PutExportSpec(r.Context(), operator, spec)
	r.check(err)
	w := &jobs.Worker{Gate: r.gate, Jobs: r.store, Queue: r.store, Vault: r.gate.Files, Checkpoints: r.store, Files: bucket, Log: slog.New(slog.DiscardHandler)}
	return r, w
}

func (r *registry) status(a answer) (e ExportStatus) {
	r.Helper()
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		r.Fatalf("%d: %s", a.status, a.body)
	}
	return e
}

// fetch downloads a file, or a range of it.
func (r *registry) fetch(path string, headers ...string) (*http.Response, []byte) {
	r.Helper()
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.url+path, nil)
	r.check(err)
	request.Header.Set("X-API-Key", r.full)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	r.check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	r.check(err)
	return response, body
}

func TestExportsOverHTTP(t *testing.T) {
	r, w := exporting(t)
	r.many(3000)
	order := `{"specification":"monthly"}`
	a := r.ask(http.MethodPost, exportsPath, r.full, order, "Idempotency-Key", "monday")
	e := r.status(a)
	at := exportsPath + "/" + e.ID
	if a.status != http.StatusAccepted || a.header.Get("Location") != at || e.State != "waiting" || e.Specification != "monthly@1" {
		t.Fatalf("%d, %v, %+v", a.status, a.header, e)
	}
	if again := r.status(r.ask(http.MethodPost, exportsPath, r.full, order, "Idempotency-Key", "monday")); again.ID != e.ID {
		t.Error("the same key is another export")
	}
	for path, code := range map[string]string{at + "/manifest": "export_not_complete", at + "/files/x": "export_not_complete"} {
		if a := r.get(path, r.full); a.status != http.StatusConflict || a.problem(t).Code != code {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	_, err := w.Next(r.Context())
	r.check(err)
	e = r.status(r.get(at, r.full))
	if e.State != "complete" || e.RowsTotal == nil || e.Rows != *e.RowsTotal || e.Rows < 3000 || e.ExpiresAt == nil {
		t.Fatalf("%+v", e)
	}
	keys, err := r.gate.Files.ManifestKeys()
	r.check(err)
	m, err := jobs.OpenManifest(r.get(at+"/manifest", r.full).body, keys...)
	r.check(err)
	path := at + "/files/" + m.Files[0].Name
	response, whole := r.fetch(path)
	sum := sha256.Sum256(whole)
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	if response.StatusCode != 200 || fmt.Sprintf("%x", sum) != m.Files[0].SHA256 || response.Header.Get("Repr-Digest") != digest || response.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d, %v", response.StatusCode, response.Header)
	}

	// A download that is cut at random places a hundred times is the same file.
	tag := response.Header.Get("ETag")
	var got []byte
	for cuts := 0; len(got) < len(whole); cuts++ {
		until := len(whole) - 1
		if cuts < 100 {
			until = min(until, len(got)+rand.IntN(2*len(whole)/100))
		}
		response, piece := r.fetch(path, "Range", fmt.Sprintf("bytes=%d-%d", len(got), until), "If-Range", tag)
		if response.StatusCode != http.StatusPartialContent || response.Header.Get("Repr-Digest") != digest {
			t.Fatalf("%d, %v", response.StatusCode, response.Header)
		}
		got = append(got, piece...)
	}
	if !bytes.Equal(got, whole) {
		t.Error("the pieces are another file")
	}
	if response, body := r.fetch(path, "Range", "bytes=5-", "If-Range", `"another"`); response.StatusCode != 200 || !bytes.Equal(body, whole) {
		t.Errorf("a range of another file: %d", response.StatusCode)
	}
	if response, _ := r.fetch(path, "Range", fmt.Sprintf("bytes=%d-", len(whole)+1)); response.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("behind the end: %d", response.StatusCode)
	}
	if response, _ := r.fetch(path, "If-None-Match", tag); response.StatusCode != http.StatusNotModified {
		t.Errorf("what one has: %d", response.StatusCode)
	}

	// Somebody else's export is none.
	for _, path := range []string{at, at + "/manifest", path} {
		mine, none := r.get(path, r.other), r.get(strings.Replace(path, e.ID, annona.NewUID().String(), 1), r.other)
		if mine.status != 404 || none.status != 404 || mine.problem(t).Detail != none.problem(t).Detail {
			t.Errorf("%s: %d, %d", path, mine.status, none.status)
		}
	}
	// And nobody has its file once somebody in it is restricted.
	_, err = r.gate.Restrict(r.Context(), operator, exchange.Subject{Source: "test", Key: "i1"}, annona.Restriction{Kind: annona.KindRestriction})
	r.check(err)
	if a := r.get(path, r.full); a.status != http.StatusGone || a.problem(t).Code != "regenerate" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.ask(http.MethodDelete, at, r.full, ""); a.status != http.StatusNoContent {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.get(path, r.full); a.status != http.StatusGone || a.problem(t).Code != "export_gone" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestExportsAreRefused(t *testing.T) {
	r, _ := exporting(t)
	for body, code := range map[string]string{
		`{"specification":"nothing"}`: "not_found", `{}`: "", `{"specification":"monthly","purpose":"x"}`: "",
		`{"specification":"monthly","position":"x"}`: "position_invalid", `{"specification":"monthly","version":7}`: "not_found",
	} {
		a := r.ask(http.MethodPost, exportsPath, r.full, body)
		if a.status < 400 || a.status >= 500 || code != "" && a.problem(t).Code != code {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if a := r.ask(http.MethodPost, exportsPath, r.other, `{"specification":"monthly"}`); a.status != 404 {
		t.Errorf("by the specification of another: %d", a.status)
	}
	if a := r.get(exportsPath, r.full); a.status != 200 || !strings.Contains(a.body, `"exports":[]`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestDeltasOverHTTP takes an export of everything, what has changed since, and follows from there.
func TestDeltasOverHTTP(t *testing.T) {
	r, w := exporting(t)
	_, _, err := r.gate.PutExportSpec(r.Context(), operator, annona.ExportSpec{
		Name: "moving", Agreement: "full", Purpose: "eligibility-assessment", Dataset: "individuals", Format: "csv", Mode: annona.SpecDelta,
		Fields: []annona.SpecField{{Field: "individual_id", As: "id"}, {Field: "sex"}},
	})
	r.check(err)
	run := func(body string) ExportStatus {
		t.Helper()
		e := r.status(r.ask(http.MethodPost, exportsPath, r.full, body))
		_, err := w.Next(r.Context())
		r.check(err)
		return r.status(r.get(exportsPath+"/"+e.ID, r.full))
	}
	whole := run(`{"specification":"moving"}`)
	if whole.State != "complete" || whole.Since != "" || whole.Rows != 5 {
		t.Fatalf("%+v", whole)
	}
	_, err = r.gate.Restrict(r.Context(), operator, exchange.Subject{Source: "test", Key: "i2"}, annona.Restriction{Kind: annona.KindRestriction})
	r.check(err)
	delta := run(`{"specification":"moving","since":"` + whole.Position + `"}`)
	if delta.State != "complete" || delta.Since == "" || delta.Rows != 1 {
		t.Errorf("%+v", delta)
	}
	for body, code := range map[string]string{
		`{"specification":"moving","since":"nonsense"}`: "since_invalid", `{"specification":"monthly","since":"previous"}`: "since_unsuitable",
	} {
		if a := r.ask(http.MethodPost, exportsPath, r.full, body); a.status != http.StatusBadRequest || a.problem(t).Code != code {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	changes := "/v1/changes?specification=moving"
	a := r.get(changes+"&after="+url.QueryEscape(whole.Position), r.full)
	if a.status != http.StatusOK || !strings.Contains(a.body, `"kind":"left_scope"`) || !strings.Contains(a.body, `"schema":"moving@1"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := r.get(changes, r.full); a.status != http.StatusOK || strings.Count(a.body, `"record":{"id":"`) != 4 {
		t.Errorf("from the beginning: %d %s", a.status, a.body)
	}
	for path, code := range map[string]string{
		changes + "&dataset=individuals": "specification_alone", allChanges + "&version=1": "version_unsuitable",
		"/v1/changes?specification=monthly": "spec_not_followed", changes + "&after=" + delta.ID: "cursor_invalid",
	} {
		if a := r.get(path, r.full); a.status != http.StatusBadRequest || a.problem(t).Code != code {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
