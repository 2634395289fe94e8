package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The purposes of the agreements under which programs and case workers ask.
const (
	casePurpose  = "case-management"
	checkPurpose = "program-management"
)

// Shares and amounts of the figures about cases.
const (
	withCase      = "0.85" // of households: 200,000 cases in a country of a million
	viewClients   = 8
	viewedCases   = 4_000 // whose beneficiaries are viewed, each once to warm up, then by one client
	viewRounds    = 3
	casesOfWriter = 20
	checksAtOnce  = 10_000 // in a request
	checkRounds   = 8
)

// caseworkFigures are of outside systems that read and update what is kept about people.
func (b *bench) caseworkFigures() []figure {
	return []figure{
		{"case_update_over_pgbench_8", "ratio", 3, b.caseUpdates(8)},
		{"case_update_over_pgbench_64", "ratio", 3, b.caseUpdates(64)},
		{"beneficiary_view_p99_ms", "ms", 2, b.beneficiaryViews},
		{"checks_per_s", "checks/s", 0, b.checks},
	}
}

// casework is a registry in PostgreSQL with programs and cases, and keys of those who ask.
type casework struct {
	set  *dataset
	keys map[string]benchKey // by agreement
}

type benchKey struct{ Key, ID string }

// casework returns the registry of the figures about cases. What programs and the case system keep is
// reported once.
func (b *bench) casework(ctx context.Context) (*casework, error) {
	size := b.size
	if size == 0 {
		size = large
	}
	set, err := b.dataset(ctx, country{postgres, size})
	if err != nil {
		return nil, err
	}
	w := &casework{set: set, keys: map[string]benchKey{}}
	for _, program := range []string{"household-transfer", "child-benefit", "girls-education"} {
		if _, err := b.annona(ctx, append([]string{"program", "apply", "examples/programs/" + program + "/program.yaml"}, set.as(appRole)...)...); err != nil {
			return nil, err
		}
	}
	for _, agreement := range []string{"programs", "casework"} {
		if err := b.admitTo(ctx, w, agreement); err != nil {
			return nil, err
		}
	}
	stamp := filepath.Join(set.folder, "casework")
	if _, err := os.Stat(stamp); err == nil {
		return w, nil
	}
	note("reporting enrollments, benefits and cases, once; this takes a while")
	for _, of := range []struct{ part, agreement, purpose string }{
		{"enrollments", "programs", checkPurpose}, {"benefits", "programs", checkPurpose}, {"cases", "casework", casePurpose},
	} {
		if err := b.reportPart(ctx, w, of.part, of.agreement, of.purpose); err != nil {
			return nil, err
		}
	}
	if err := set.cluster.settle(ctx, set.database()); err != nil {
		return nil, err
	}
	return w, os.WriteFile(stamp, nil, 0o600)
}

// admitTo puts an agreement in force, under which as many people as the figures need may be asked about,
// and makes a key for it.
func (b *bench) admitTo(ctx context.Context, w *casework, name string) error {
	text, err := os.ReadFile("examples/agreements/" + name + ".yaml")
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("  purpose: program-management\n"), []byte("  purpose: program-management\n  people_per_day: 10000000\n"), 1)
	file := filepath.Join(w.set.folder, name+".yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	if _, err := b.annona(ctx, append([]string{"agreement", "apply", file}, w.set.as(appRole)...)...); err != nil {
		return err
	}
	out, err := b.annona(ctx, append([]string{"key", "create", "--agreement", name, "--json"}, w.set.as(appRole)...)...)
	if err != nil {
		return err
	}
	var key benchKey
	err = json.Unmarshal(lastLine(out), &key)
	w.keys[name] = key
	return err
}

// reportPart pipes the generator into a report. A move that an earlier run has reported is refused.
func (b *bench) reportPart(ctx context.Context, w *casework, part, agreement, purpose string) error {
	began := time.Now()
	generate := exec.CommandContext(ctx, b.program, "generate", "--individuals", fmt.Sprint(w.set.size), "--seed", "1", "--cases", withCase, "--part", part)
	pipe, err := generate.StdoutPipe()
	if err != nil {
		return err
	}
	report := exec.CommandContext(ctx, b.program, append([]string{"report", part, "--client", w.keys[agreement].ID, "--purpose", purpose, "--source", "synthetic", "-"}, w.set.as(appRole)...)...)
	report.Stdin = pipe
	var said bytes.Buffer
	report.Stdout = &said
	if err := generate.Start(); err != nil {
		return err
	}
	failed := report.Run()
	pipe.Close()
	note("%s: %s in %.0f s", part, bytes.TrimSpace(said.Bytes()), time.Since(began).Seconds())
	return errors.Join(failed, generate.Wait())
}

// session is a connection that stays open, with the key of whoever asks. It writes requests and reads
// answers itself, as those of look-ups do.
type session struct {
	net.Conn
	answers *bufio.Reader
	head    string // of every request, behind its first line
}

func (w *casework) session(ctx context.Context, s *server, agreement string) (*session, error) {
	host := strings.TrimPrefix(s.url, "http://")
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	return &session{Conn: c, answers: bufio.NewReaderSize(c, 64<<10), head: "Host: " + host + "\r\nX-API-Key: " + w.keys[agreement].Key + "\r\n"}, nil
}

// ask sends a request and reads the answer to its end. headers end with a line end each.
func (s *session) ask(method, path, headers string, body []byte) (*http.Response, []byte, error) {
	if _, err := fmt.Fprintf(s, "%s %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s", method, path, s.head, headers, len(body), body); err != nil {
		return nil, nil, err
	}
	answer, err := http.ReadResponse(s.answers, nil)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered with %d: %.200s", method, answer.StatusCode, text)
	}
	return answer, text, err
}

// listed is a case as the list shows it.
type listed struct {
	ID        string `json:"case_id"`
	Person    string `json:"individual_id"`
	Household string `json:"household_id"`
}

// cases returns so many cases from all over the country.
func (s *session) cases(count, of int) (all []listed, err error) {
	every := max(1, of/5/count)
	after, seen := "", 0
	for len(all) < count {
		path := "/v1/cases?limit=1000&purpose=" + casePurpose + "&fields=case_id,individual_id,household_id"
		if after != "" {
			path += "&after=" + url.QueryEscape(after)
		}
		answer, text, err := s.ask(http.MethodGet, path, "", nil)
		if err != nil {
			return nil, err
		}
		var page struct{ Cases []listed }
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, err
		}
		for _, c := range page.Cases {
			if seen++; seen%every == 0 && len(all) < count {
				all = append(all, c)
			}
		}
		if after = answer.Header.Get("Annona-Next"); after == "" {
			break
		}
	}
	if len(all) == 0 {
		err = errors.New("no cases are listed")
	}
	return all, err
}

// served runs a server of the registry while do lasts.
func (b *bench) served(ctx context.Context, do func(w *casework, s *server) error) error {
	w, err := b.casework(ctx)
	if err != nil {
		return err
	}
	s, err := b.serve(ctx, w.set)
	if err != nil {
		return err
	}
	defer s.stop()
	return do(w, s)
}

// beneficiaryViews is the time within which 99 of 100 beneficiaries come, with all that is kept about them.
func (b *bench) beneficiaryViews(ctx context.Context) (p99 float64, err error) {
	err = b.served(ctx, func(w *casework, s *server) error {
		first, err := w.session(ctx, s, "casework")
		if err != nil {
			return err
		}
		cases, err := first.cases(viewedCases, w.set.size)
		if err != nil {
			return err
		}
		view := func(c *session, of listed) error {
			id := of.Person
			if id == "" {
				id = of.Household
			}
			_, _, err := c.ask(http.MethodGet, "/v1/beneficiaries/"+id+"?purpose="+casePurpose, "", nil)
			return err
		}
		rounds := func(count int) ([]time.Duration, error) {
			return w.together(ctx, s, "casework", viewClients, func(c *session, n int, timed func(func() error) error) error {
				for range count {
					for i := n; i < len(cases); i += viewClients {
						if err := timed(func() error { return view(c, cases[i]) }); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}
		if _, err := rounds(1); err != nil { // to warm up, with as many connections to the database
			return err
		}
		began, before := time.Now(), s.processorTime()
		took, err := rounds(viewRounds)
		if err != nil {
			return err
		}
		slices.Sort(took)
		at := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1000 }
		p99 = at(0.99)
		note("%d views, p50 %.2f ms, p99 %.2f ms, the slowest %.2f ms, %.0f a second, %.2f ms of processor time each, load %s", len(took), at(0.5), p99, at(1),
			float64(len(took))/time.Since(began).Seconds(), (s.processorTime()-before).Seconds()*1000/float64(len(took)), load1())
		return nil
	})
	return p99, err
}

// together has clients work side by side, each over a connection of its own, and returns how long each step took.
func (w *casework) together(ctx context.Context, s *server, agreement string, clients int, work func(c *session, n int, timed func(func() error) error) error) ([]time.Duration, error) {
	var all sync.WaitGroup
	took, failed := make([][]time.Duration, clients), make([]error, clients)
	for n := range clients {
		all.Go(func() {
			c, err := w.session(ctx, s, agreement)
			if err != nil {
				failed[n] = err
				return
			}
			defer c.Close()
			failed[n] = work(c, n, func(step func() error) error {
				began := time.Now()
				err := step()
				took[n] = append(took[n], time.Since(began))
				return err
			})
		})
	}
	all.Wait()
	return slices.Concat(took...), errors.Join(failed...)
}

// caseUpdates compares cases that are changed over HTTP, with event, update log and entry, with pgbench
// doing an UPDATE and two INSERTs: the median ratio of pairs that take turns.
func (b *bench) caseUpdates(clients int) measurement {
	return func(ctx context.Context) (ratio float64, err error) {
		c, err := b.cluster(ctx)
		if err != nil {
			return 0, err
		}
		plain, err := b.prepareWrites(ctx, c)
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(plain.folder)
		err = b.served(ctx, func(w *casework, s *server) error {
			writers, err := w.writers(ctx, s, clients)
			if err != nil {
				return err
			}
			ratios := make([]float64, writePairs)
			for i := range ratios {
				before := s.processorTime()
				ours, err := w.update(ctx, s, writers)
				if err != nil {
					return err
				}
				spent := s.processorTime() - before
				theirs, err := plain.pgbench(ctx, clients)
				if err != nil {
					return err
				}
				note("%d clients: %.0f case updates/s (%.2f ms of processor time each), pgbench %.0f, load %s", clients, ours, spent.Seconds()*1000/(ours*writeTime.Seconds()), theirs, load1())
				ratios[i] = ours / theirs
			}
			ratio = median(ratios)
			return nil
		})
		return ratio, err
	}
}

// writer is a client that changes cases of its own.
type writer struct {
	cases []string
	tags  []string // of the versions that it has read
	done  int      // edits so far
	round string   // names its requests
}

// writers prepares clients that each have read cases of their own.
func (w *casework) writers(ctx context.Context, s *server, clients int) ([]*writer, error) {
	first, err := w.session(ctx, s, "casework")
	if err != nil {
		return nil, err
	}
	defer first.Close()
	cases, err := first.cases(clients*casesOfWriter, w.set.size)
	if err != nil {
		return nil, err
	}
	all := make([]*writer, clients)
	for n := range all {
		all[n] = &writer{round: fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), n)}
		for i := n; i < len(cases); i += clients {
			answer, _, err := first.ask(http.MethodGet, "/v1/cases/"+cases[i].ID+"?purpose="+casePurpose, "", nil)
			if err != nil {
				return nil, err
			}
			all[n].cases, all[n].tags = append(all[n].cases, cases[i].ID), append(all[n].tags, answer.Header.Get("ETag"))
		}
	}
	return all, nil
}

// update has all writers change cases for a while, and returns how many a second.
func (w *casework) update(ctx context.Context, s *server, writers []*writer) (perSecond float64, err error) {
	var edits atomic.Int64
	until := time.Now().Add(writeTime)
	_, err = w.together(ctx, s, "casework", len(writers), func(c *session, n int, timed func(func() error) error) error {
		for time.Now().Before(until) {
			if err := timed(func() error { return writers[n].edit(c) }); err != nil {
				return err
			}
			edits.Add(1)
		}
		return nil
	})
	return float64(edits.Load()) / writeTime.Seconds(), err
}

// edit changes the day on which the next case is due.
func (w *writer) edit(c *session) error {
	i := w.done % len(w.cases)
	w.done++
	body := fmt.Appendf(nil, `{"due_date":"2027-%02d-%02d"}`, 1+w.done%12, 1+w.done/12%28)
	headers := fmt.Sprintf("Content-Type: application/merge-patch+json\r\nIf-Match: %s\r\nIdempotency-Key: %s-%d\r\n", w.tags[i], w.round, w.done)
	answer, _, err := c.ask(http.MethodPatch, "/v1/cases/"+w.cases[i]+"?purpose="+casePurpose, headers, body)
	if err == nil {
		w.tags[i] = answer.Header.Get("ETag")
	}
	return err
}

// checks is how many people a second are asked about, each by an identifier, in requests of 10,000.
func (b *bench) checks(ctx context.Context) (perSecond float64, err error) {
	err = b.served(ctx, func(w *casework, s *server) error {
		numbers, err := b.nationalIDs(ctx, w.set.size)
		if err != nil {
			return err
		}
		var rows []byte
		for n := range checksAtOnce { // some are of nobody, as they are in what programs ask
			value := fmt.Sprint("X", n)
			if n < len(numbers) {
				value = numbers[n]
			}
			program := []string{"cash-transfer", "child-benefit"}[n%2]
			rows = fmt.Appendf(rows, `{"identifiers":[{"type":"national_id_number","value":%q}],"program":%q}`+"\n", value, program)
		}
		c, err := w.session(ctx, s, "programs")
		if err != nil {
			return err
		}
		defer c.Close()
		rates := make([]float64, checkRounds)
		for i := range rates {
			began, before := time.Now(), s.processorTime()
			_, text, err := c.ask(http.MethodPost, "/v1/checks/enrolled?purpose="+checkPurpose, "Content-Type: application/x-ndjson\r\n", rows)
			if err != nil {
				return err
			}
			rates[i] = checksAtOnce / time.Since(began).Seconds()
			note("%.0f checks/s, %d yes, %.1f µs of processor time each, load %s", rates[i], bytes.Count(text, []byte(`"yes"`)), (s.processorTime()-before).Seconds()*1e6/checksAtOnce, load1())
		}
		perSecond = median(rates[1:])
		return nil
	})
	return perSecond, err
}
