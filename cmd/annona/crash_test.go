package main

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/audit"
)

// crashes is how many times each of these tests kills the program.
const crashes = 4

// received is what a client got of one export before the connection broke.
type received struct {
	request annona.UID
	ids     []string
	whole   bool
}

// receive exports individuals as NDJSON until the body ends, one way or the other. It calls row
// for each that arrives.
func (s *server) receive(client *http.Client, row func()) (got received) {
	response, err := client.Do(s.request(http.MethodGet, "/v1/individuals/export", about(eligibility, "format", "ndjson"), nil))
	if err != nil {
		return got
	}
	defer response.Body.Close()
	got.request, err = annona.ParseUID(response.Header.Get("Annona-Request"))
	if err != nil {
		s.t.Error(err)
	}
	r := bufio.NewReader(response.Body)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			got.whole = err == io.EOF && response.Trailer.Get("Annona-Rows") != ""
			return got
		}
		var record struct {
			ID string `json:"individual_id"`
		}
		if err := json.Unmarshal(line, &record); err != nil {
			s.t.Error(err)
		}
		got.ids = append(got.ids, record.ID)
		row()
	}
}

// TestKilledServer kills the server while exports run. After each time it starts again, the ledger
// is whole, what was cut has the outcome unknown, and nobody was received whom no release names.
func TestKilledServer(t *testing.T) {
	t.Parallel()
	const people = 16_000
	data := newRegistry(t)
	must(t, "import", "--data", data, "--mapping", ghanaMapping, surveyOf(t, people))
	key := createKey(t, data, "eligibility").Key
	cut := 0
	for range crashes {
		instant := int64(1 + rand.IntN(people)) // in rows that the clients have
		s := serveFolder(t, data, key)
		var clients sync.WaitGroup
		var rows atomic.Int64
		row := func() {
			if rows.Add(1) == instant {
				_ = s.cmd.Process.Kill() // it runs
			}
		}
		got := make([]received, 3)
		for n, client := range []*http.Client{plain, plain, narrow} {
			clients.Go(func() { got[n] = s.receive(client, row) })
		}
		clients.Wait()
		s.kill()

		must(t, "verify", "--data", data)
		again := serveFolder(t, data, key)
		if again.stop() != 0 {
			t.Error("the server does not start and stop after a crash")
		}
		after := released(t, data)
		if after.open != 0 {
			t.Errorf("%d requests are open", after.open)
		}
		for _, g := range got {
			cut += g.check(t, after, people)
		}
	}
	t.Logf("%d exports were cut in %d crashes", cut, crashes)
}

// check compares what was received with the ledger, and counts 1 when the export was cut.
func (g received) check(t *testing.T, after releases, people int) (cut int) {
	t.Helper()
	of := after.byRequest[g.request]
	for _, id := range g.ids {
		if !of[after.number(t, id)] {
			t.Fatal("somebody was received whom no release of this request names")
		}
	}
	ending := after.endings[g.request].Outcome
	if g.whole && (len(g.ids) != people || ending == audit.Aborted) {
		t.Errorf("an export that ended well has %d rows and the outcome %s", len(g.ids), ending)
	}
	if g.whole || of == nil {
		return 0
	}
	if ending != audit.Unknown && ending != audit.Complete {
		t.Errorf("an export that was cut has the outcome %q", ending)
	}
	return 1
}

// TestKilledImport kills an import again and again. What was committed stays, the ledger is whole,
// and the import that is let through leaves the same records as one that was never interrupted.
func TestKilledImport(t *testing.T) {
	t.Parallel()
	const people = 20_000
	data, input := newRegistry(t), surveyOf(t, people)
	for range crashes {
		p := start(t, "import", "--data", data, "--mapping", ghanaMapping, "--json", input)
		p.waitUntilWritten(data, rand.Int64N(6<<20))
		p.kill()
		must(t, "verify", "--data", data)
	}
	r := importInto(t, data, ghanaMapping, input)
	if r.Individuals != people || r.Households != people || r.Created+r.Unchanged != 2*people || r.Changed != 0 {
		t.Errorf("the import that was let through: %+v", r)
	}
	s := serveFolder(t, data, createKey(t, data, "eligibility").Key)
	for _, dataset := range []string{"individuals", "households"} {
		noun := strings.TrimSuffix(dataset, "s")
		if n := countIDs(t, s.export(dataset, about(eligibility, "format", "csv", "layout", "plain", "fields", noun+"_id"))); n != people {
			t.Errorf("%d %s", n, dataset)
		}
	}
	s.stop()
	must(t, "verify", "--data", data)
	t.Logf("%d of %d records had been committed when the import was let through", r.Unchanged, 2*people)
}

// waitUntilWritten waits until the process has written that many bytes to the store, or has ended.
func (p *process) waitUntilWritten(data string, bytes int64) {
	for {
		if info, err := os.Stat(filepath.Join(data, "annona.sqlite-wal")); err == nil && info.Size() > bytes {
			return
		}
		select {
		case <-p.ended:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// TestInterruptedImport: an import that is asked to stop says that what it did stays.
func TestInterruptedImport(t *testing.T) {
	t.Parallel()
	const people = 20_000
	data, input := newRegistry(t), surveyOf(t, people)
	p := start(t, "import", "--data", data, "--mapping", ghanaMapping, "--json", input)
	p.waitUntilWritten(data, 2<<20)
	if code := p.stop(); code != exitFailure || !strings.Contains(p.err.String(), "code: interrupted") {
		t.Fatalf("exit %d: %s", code, p.err)
	}
	first := parseImport(t, p.out.String())
	must(t, "verify", "--data", data)
	if second := importInto(t, data, ghanaMapping, input); second.Unchanged != first.Created || second.Created+second.Unchanged != 2*people {
		t.Errorf("the interrupted import reports %d records, the next finds %d", first.Created, second.Unchanged)
	}
}
