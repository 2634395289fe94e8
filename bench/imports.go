package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Imports are measured from the start of the program to its end, of a file of NDJSON on the disk, into
// a registry that nobody uses but the measurement.

// imported is what the imports of one country have shown.
type imported struct {
	first   time.Duration // into the empty registry
	nightly time.Duration // the same file with one record of a hundred changed
	peakMiB float64       // of the first import
	p99     time.Duration // of a record, beside an import that changes other people
}

// nightlyStep: one individual of so many is another one the next night.
const nightlyStep = 100

// While an import runs, each client asks for a record so often.
const (
	besideClients = 8
	besidePause   = 100 * time.Millisecond
)

// imports measures the imports of a country, once in a run.
func (b *bench) imports(ctx context.Context, of country) (imported, error) {
	if done, ok := b.imported[of]; ok {
		return done, nil
	}
	d := &dataset{country: of, folder: filepath.Join(b.folder, "import-"+of.String()), named: "annona_import"}
	if of.store == postgres {
		var err error
		if d.cluster, err = b.cluster(ctx); err != nil {
			return imported{}, err
		}
	}
	if err := errors.Join(os.RemoveAll(d.folder), os.MkdirAll(d.folder, 0o700)); err != nil {
		return imported{}, err
	}
	defer os.RemoveAll(d.folder)
	done, err := b.measureImports(ctx, d)
	if err != nil {
		return imported{}, err
	}
	note("import of %s: %.1f s, again with 1 %% changed %.1f s, %.0f MiB; a record beside it p99 %.1f ms",
		of, done.first.Seconds(), done.nightly.Seconds(), done.peakMiB, done.p99.Seconds()*1000)
	b.imported[of] = done
	return done, nil
}

func (b *bench) measureImports(ctx context.Context, d *dataset) (done imported, err error) {
	if err := b.begin(ctx, d); err != nil {
		return done, err
	}
	file := filepath.Join(d.folder, "people.ndjson")
	if err := b.generate(ctx, file, d.size, 1); err != nil {
		return done, err
	}
	report, took, peak, err := b.importFile(ctx, d, file)
	if err != nil {
		return done, err
	}
	if report.Individuals != d.size || report.Rejected != 0 || report.Changed != 0 {
		return done, fmt.Errorf("the first import reports %+v", report)
	}
	done.first, done.peakMiB = took, peak
	tonight := filepath.Join(d.folder, "tonight.ndjson")
	changed, err := changeSome(file, tonight)
	if err != nil {
		return done, err
	}
	if report, done.nightly, _, err = b.importFile(ctx, d, tonight); err != nil {
		return done, err
	}
	if report.Changed != changed || report.Created != 0 {
		return done, fmt.Errorf("%d records differ, and the import reports %+v", changed, report)
	}
	done.p99, err = b.besideImport(ctx, d)
	return done, err
}

// generate writes a country into a file.
func (b *bench) generate(ctx context.Context, path string, size, seed int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.program, "generate", "--individuals", fmt.Sprint(size), "--seed", fmt.Sprint(seed))
	cmd.Stdout, cmd.Stderr = file, os.Stderr
	return errors.Join(cmd.Run(), file.Close())
}

// importReport is what the program says of an import.
type importReport struct{ Individuals, Rejected, Created, Changed, Unchanged int }

// importFile imports a file and returns how long it took and the largest memory it had.
func (b *bench) importFile(ctx context.Context, d *dataset, path string) (report importReport, took time.Duration, peakMiB float64, err error) {
	cmd := exec.CommandContext(ctx, b.program, append([]string{"import", "--mapping", mapping, "--json", path}, d.as(appRole)...)...)
	started := time.Now()
	out, err := output(cmd)
	took = time.Since(started)
	if err != nil {
		return report, took, 0, err
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peakMiB = float64(usage.Maxrss) / 1024
	}
	return report, took, peakMiB, json.Unmarshal(lastLine(out), &report)
}

// changeSome copies a file of people and gives some of them another name. It returns how many.
func changeSome(from, to string) (changed int, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	people, lines := 0, bufio.NewReaderSize(in, 1<<20)
	writer := bufio.NewWriterSize(out, 1<<20)
	for {
		line, end := lines.ReadBytes('\n')
		line, changed = changeLine(line, &people, changed)
		if _, err := writer.Write(line); err != nil {
			return changed, err
		}
		if end != nil {
			return changed, writer.Flush()
		}
	}
}

var (
	personMark = []byte(`"individual_id":"`)
	nameMark   = []byte(`"full_name":"`)
)

func changeLine(line []byte, people *int, changed int) ([]byte, int) {
	for at := 0; ; {
		next := bytes.Index(line[at:], personMark)
		if next < 0 {
			return line, changed
		}
		at += next + len(personMark)
		*people++
		if *people%nightlyStep != 0 {
			continue
		}
		name := bytes.Index(line[at:], nameMark)
		if name < 0 {
			continue
		}
		at += name + len(nameMark)
		line = slices.Insert(line, at, []byte("Neo ")...)
		changed++
	}
}

// besideImport asks a server for records while a quarter of the people is imported anew into the same
// registry, each of them changed, and returns the time within which 99 of 100 come. It asks for people
// behind that quarter: their numbers stay.
func (b *bench) besideImport(ctx context.Context, d *dataset) (time.Duration, error) {
	if err := b.admit(ctx, d); err != nil {
		return 0, err
	}
	more := filepath.Join(d.folder, "more.ndjson")
	if err := b.generate(ctx, more, min(d.size/4, small), 2); err != nil {
		return 0, err
	}
	numbers, err := b.nationalIDs(ctx, d.size)
	if err != nil {
		return 0, err
	}
	numbers = numbers[len(numbers)/2:]
	if d.cluster != nil {
		if err := d.cluster.settle(ctx, d.database()); err != nil { // people come and go in a registry that has been on file for a while
			return 0, err
		}
	}
	s, err := b.serve(ctx, d)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	p, err := newPartner(s)
	if err != nil {
		return 0, err
	}
	defer p.client.CloseIdleConnections()
	held, err := p.held(ctx, numbers)
	if err != nil {
		return 0, err
	}
	loading, loaded := context.WithCancel(ctx)
	defer loaded()
	var failed error
	var clients sync.WaitGroup
	clients.Go(func() {
		defer loaded()
		_, _, _, failed = b.importFile(ctx, d, more)
	})
	took := make([][]time.Duration, besideClients)
	for n := range besideClients {
		clients.Go(func() { took[n] = p.beside(loading, held, n) })
	}
	clients.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) == 0 {
		return 0, errors.Join(failed, errors.New("no record was asked for while the import ran"))
	}
	at := func(share float64) time.Duration { return all[int(share*float64(len(all)-1))] }
	note("look-ups in %s beside an import: %d, p50 %v, p99 %v, the slowest %v", d.store, len(all), at(0.5), at(0.99), at(1))
	return at(0.99), failed
}

// beside asks for records at a leisurely pace until the import ends. One that fails counts as a
// second.
func (p *partner) beside(loading context.Context, numbers []string, from int) (took []time.Duration) {
	tick := time.NewTicker(besidePause)
	defer tick.Stop()
	for i := from; ; i += besideClients {
		select {
		case <-loading.Done():
			return took
		case <-tick.C:
		}
		status, d, err := p.ask(context.WithoutCancel(loading), numbers[i%len(numbers)])
		if err != nil || status != http.StatusOK && status != http.StatusConflict {
			d = time.Second
		}
		took = append(took, d)
	}
}

// importsPerSecond is how many individuals the first import writes in a second.
func (b *bench) importsPerSecond(of country) measurement {
	return func(ctx context.Context) (float64, error) {
		done, err := b.imports(ctx, of)
		return float64(of.size) / done.first.Seconds(), err
	}
}

// ofImports is the larger figure of the two stores.
func (b *bench) ofImports(size int, figure func(imported) float64) measurement {
	return b.larger(func(store string) measurement {
		return func(ctx context.Context) (float64, error) {
			done, err := b.imports(ctx, country{store, size})
			return figure(done), err
		}
	})
}

func nightlyOverFirst(i imported) float64 { return i.nightly.Seconds() / i.first.Seconds() }

func p99Beside(i imported) float64 { return i.p99.Seconds() * 1000 }

// importGrowth is what ten times the people cost an import in memory.
func (b *bench) importGrowth(store string) measurement {
	return func(ctx context.Context) (float64, error) {
		less, err := b.imports(ctx, country{store, small})
		if err != nil {
			return 0, err
		}
		more, err := b.imports(ctx, country{store, large})
		return more.peakMiB - less.peakMiB, err
	}
}

// importFigures are those of one size, under names that end with it when it is not the usual one.
func (b *bench) importFigures(size int, suffix string) []figure {
	return []figure{
		{"import_sqlite_per_s" + suffix, "individuals/s", 0, b.importsPerSecond(country{sqlite, size})},
		{"import_postgres_per_s" + suffix, "individuals/s", 0, b.importsPerSecond(country{postgres, size})},
		{"import_nightly_over_first" + suffix, "ratio", 3, b.ofImports(size, nightlyOverFirst)},
		{"record_p99_during_import_ms" + suffix, "ms", 1, b.ofImports(size, p99Beside)},
	}
}

// partner asks a server for people by their identifiers, now and then.
type partner struct {
	url, key string
	client   *http.Client
}

// newPartner asks a server with the key of its data set.
func newPartner(s *server) (*partner, error) {
	key, err := os.ReadFile(s.set.header())
	if err != nil {
		return nil, err
	}
	_, secret, _ := strings.Cut(strings.TrimSpace(string(key)), ": ")
	return &partner{url: s.url + "/v1/lookup", key: secret,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: besideClients, DisableCompression: true}}}, nil
}

// ask looks one identifier up and reads the answer to its end.
func (p *partner) ask(ctx context.Context, number string) (status int, took time.Duration, err error) {
	body, err := json.Marshal(map[string]string{"type": "national_id_number", "value": number, "purpose": purpose})
	if err != nil {
		return 0, 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("X-API-Key", p.key)
	request.Header.Set("Content-Type", "application/json")
	started := time.Now()
	response, err := p.client.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, time.Since(started), err
}

// held returns the numbers that one individual alone holds.
func (p *partner) held(ctx context.Context, numbers []string) (held []string, err error) {
	for _, number := range numbers {
		status, _, err := p.ask(ctx, number)
		switch {
		case err != nil:
			return nil, err
		case status == http.StatusOK:
			held = append(held, number)
		case status != http.StatusConflict:
			return nil, fmt.Errorf("a look-up was answered with status %d", status)
		}
	}
	return held, nil
}
