package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Cuts of power. The program works under strace, which writes down every write, sync and answer
// in one order. Afterwards the power is cut at any point of that order: what was not synced by
// then is lost, or any part of it; what was sent by then is known. The program is started on
// what a disk would hold, and must have everything that it had promised.

// cuttable is work that was traced.
type cuttable struct {
	*harness        // as it was before the work
	base     string // the registry as it was
	calls    []*call
	batches  []*promised[*batch]
	wishes   []*promised[*wish]
}

// promised is a command and the file that it prints its answer into.
type promised[T any] struct {
	what T
	out  string
}

// cutting cuts the power as often as the options say.
func cutting(ctx context.Context, o options) (*report, error) {
	o, err := o.prepared("power")
	if err != nil {
		return nil, err
	}
	report := newReport(o, "cuts of power")
	for n := 0; n < o.cuts && ctx.Err() == nil && len(report.problems) == 0; n += cutsPerTrace {
		round := o
		round.folder = filepath.Join(o.folder, fmt.Sprintf("trace%d", n/cutsPerTrace))
		if err := cutRound(ctx, round, n, min(n+cutsPerTrace, o.cuts), report); err != nil {
			return report, err
		}
	}
	report.ended = time.Now()
	return report, ctx.Err()
}

// cutsPerTrace is how many cuts are made in one traced piece of work.
const cutsPerTrace = 100

func cutRound(ctx context.Context, o options, from, until int, report *report) error {
	c, err := traceWork(ctx, o, dice(o.seed, -1-from), report)
	if err != nil {
		return err
	}
	defer c.close()
	r := dice(o.seed, from)
	if problems, err := c.cutBeginnings(ctx, 1+(until-from)/10, r); err != nil || len(problems) > 0 {
		report.found(from, c.folder, problems)
		return err
	}
	for n, at := range c.instants(until-from, r) {
		problems, err := c.cutAt(ctx, at, r)
		if err != nil {
			problems = append(problems, problem{checkStart, err.Error()})
		}
		if len(problems) > 0 {
			report.found(from+n, c.folder, problems)
			return nil
		}
	}
	return nil
}

// traceWork makes a registry and has the program work on it under strace.
func traceWork(ctx context.Context, o options, r *rand.Rand, report *report) (*cuttable, error) {
	h, err := newHarness(ctx, o, report)
	if err != nil {
		return nil, err
	}
	c := &cuttable{harness: h, base: filepath.Join(o.folder, "before")}
	if err := c.prepareAndTrace(ctx, r); err != nil {
		h.close()
		return nil, err
	}
	return c, nil
}

func (c *cuttable) prepareAndTrace(ctx context.Context, r *rand.Rand) error {
	c.server.ask()
	if err := c.server.wait(); err != nil {
		return err
	}
	if err := os.CopyFS(c.base, os.DirFS(c.data())); err != nil {
		return err
	}
	s, err := startShell(ctx, c.registry, filepath.Join(c.folder, "traced"))
	if err != nil {
		return fmt.Errorf("strace does not start; make tools installs it: %w", err)
	}
	if err := errors.Join(c.play(ctx, s, r), s.end()); err != nil {
		return err
	}
	c.calls, err = readTracedFile(s.trace())
	return err
}

// play is the work that is traced: served with imports, wishes and readers; written to without a
// server; killed; served again.
func (c *cuttable) play(ctx context.Context, s *shell, r *rand.Rand) error {
	if err := c.act(ctx, s, r, func(server *started) error { return server.signal(syscall.SIGTERM) }); err != nil {
		return err
	}
	if err := c.importBatches(ctx, s, r, 2); err != nil {
		return err
	}
	if err := c.act(ctx, s, r, func(server *started) error { return server.signal(syscall.SIGKILL) }); err != nil {
		return err
	}
	return c.expressWishes(ctx, s, r, 2)
}

// act serves while others work, and ends the server.
func (c *cuttable) act(ctx context.Context, s *shell, r *rand.Rand, end func(*started) error) error {
	server, err := s.start("serve", "--listen", c.address)
	if err != nil {
		return err
	}
	if err := c.awaitTraced(ctx, s); err != nil {
		return err
	}
	imports, wishes, reading := dice(r.Uint64(), 1), dice(r.Uint64(), 2), dice(r.Uint64(), 3)
	var all sync.WaitGroup
	var failed [2]error
	all.Go(func() { failed[0] = c.importBatches(ctx, s, imports, 4) })
	all.Go(func() { failed[1] = c.expressWishes(ctx, s, wishes, 4) })
	all.Go(func() {
		for range 4 {
			q := ask(reading)
			q.stall = 0
			c.receive(ctx, q, new(atomic.Int64), nil)
		}
	})
	all.Wait()
	if err := errors.Join(append(failed[:], end(server))...); err != nil {
		return err
	}
	_, err = server.wait(ctx)
	return err
}

func (c *cuttable) awaitTraced(ctx context.Context, s *shell) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if !s.runs() {
			return errors.New("strace ended")
		}
		if code, err := c.probe(ctx); err == nil && code == http.StatusOK {
			return nil
		}
	}
	return errors.New("the traced server was not ready in time")
}

func (c *cuttable) importBatches(ctx context.Context, s *shell, r *rand.Rand, n int) error {
	for range n {
		b := c.marks.batch(c.country, 0, 1, r)
		path := filepath.Join(s.folder, fmt.Sprintf("%s.ndjson", markText(b.mark)))
		if err := c.country.write(path, b.households, b.mark); err != nil {
			return err
		}
		command, err := s.start("import", "--mapping", filepath.Join(c.root, mapping), "--json", path)
		if err != nil {
			return err
		}
		c.batches = append(c.batches, &promised[*batch]{b, command.out()})
		if err := succeed(command.wait(ctx)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cuttable) expressWishes(ctx context.Context, s *shell, r *rand.Rand, n int) error {
	for _, w := range c.imagined(r, n) {
		command, err := s.start(w.args()...)
		if err != nil {
			return err
		}
		c.wishes = append(c.wishes, &promised[*wish]{w, command.out()})
		if err := succeed(command.wait(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// imagined makes up what people want who have not been erased in this trace.
func (c *cuttable) imagined(r *rand.Rand, n int) (wishes []*wish) {
	for _, w := range c.truth.imagine(r) {
		again := func(p *promised[*wish]) bool { return w.act == erasing && p.what.person == w.person }
		if len(wishes) < n && !slices.ContainsFunc(c.wishes, again) {
			wishes = append(wishes, w)
		}
	}
	return wishes
}

func succeed(code int, err error) error {
	if err == nil && code != 0 {
		err = fmt.Errorf("a traced command failed with exit code %d", code)
	}
	return err
}

// instants draws where the power is cut: half of them at the moment when something is sent, the
// others anywhere; ascending.
func (c *cuttable) instants(n int, r *rand.Rand) []int {
	var sends []int
	for i, one := range c.calls {
		if c.isSent(one) {
			sends = append(sends, i)
		}
	}
	out := make([]int, n)
	for i := range out {
		out[i] = r.IntN(len(c.calls))
		if i%2 == 0 && len(sends) > 0 {
			out[i] = sends[r.IntN(len(sends))]
		}
	}
	slices.Sort(out)
	return out
}

// isSent reports whether a call sends something that somebody relies on.
func (c *cuttable) isSent(one *call) bool {
	return strings.HasPrefix(one.path, "socket:") || strings.HasSuffix(one.path, ".out")
}

// cutAt cuts the power when a call has begun, and looks at what is left.
func (c *cuttable) cutAt(ctx context.Context, at int, r *rand.Rand) ([]problem, error) {
	d, err := readDisk(c.base)
	if err != nil {
		return nil, err
	}
	d.move(c.data())
	sent, err := d.replay(c.calls, c.calls[at].began)
	if err != nil {
		return nil, err
	}
	after := c.after()
	after.folder = filepath.Join(c.folder, "after")
	kept := likelihood(r)
	if err := errors.Join(os.RemoveAll(after.folder), d.cut(after.data(), kept, r)); err != nil {
		return nil, err
	}
	what, receipts := c.promises(sent), receiptsIn(sent)
	problems, err := after.check(ctx, what, receipts)
	if err == nil && len(problems) == 0 {
		problems, err = after.compareReceipts(ctx)
	}
	if after.server != nil {
		after.server.kill()
	}
	c.report.addCut(what, receipts, kept)
	if len(problems) > 0 || err != nil {
		problems = append(problems, problem{"at", fmt.Sprintf("call %d of the trace, %s of %s, with %.2f of what was not synced", at, c.calls[at].name, c.calls[at].path, kept)})
	}
	return problems, err
}

// replay has the calls of a trace happen that had ended before that line. It returns what was
// sent by then, by the file or socket: the bytes of a call may be out as soon as it has begun.
func (d *disk) replay(calls []*call, line int) (sent map[string]*bytes.Buffer, err error) {
	sent = map[string]*bytes.Buffer{}
	for _, one := range calls {
		if one.began > line {
			break
		}
		if one.name == "write" && one.result > 0 {
			if sent[one.path] == nil {
				sent[one.path] = new(bytes.Buffer)
			}
			sent[one.path].Write(one.written())
		}
		if one.ended < line || one.ended == line && one.began < line {
			if err := d.apply(one); err != nil {
				return nil, err
			}
		}
	}
	return sent, nil
}

// likelihood draws how much of what was not synced is there after a cut.
func likelihood(r *rand.Rand) float64 { return []float64{0, 0, 0.5, r.Float64(), 1}[r.IntN(5)] }

// after is a harness like this one, for the registry after a cut.
func (c *cuttable) after() *harness {
	registry := *c.registry
	return &harness{registry: &registry, truth: c.truth.clone(), pace: c.pace, report: c.report, ids: maps.Clone(c.ids), behind: c.behind, tail: c.tail.clone()}
}

// promises are all commands, acknowledged when they had begun to print.
func (c *cuttable) promises(sent map[string]*bytes.Buffer) (what told) {
	for _, p := range c.batches {
		b := *p.what
		b.acked = sent[p.out] != nil
		what.batches = append(what.batches, &b)
	}
	for _, p := range c.wishes {
		w := *p.what
		w.acked = sent[p.out] != nil
		what.wishes = append(what.wishes, &w)
	}
	return what
}

// receiptsIn reads the answers that had gone to sockets.
func receiptsIn(sent map[string]*bytes.Buffer) (receipts []*receipt) {
	for path, bytes := range sent {
		if !strings.HasPrefix(path, "socket:") {
			continue
		}
		in := bufio.NewReader(bytes)
		for {
			response, err := http.ReadResponse(in, nil)
			if err != nil {
				break
			}
			got := &receipt{request: response.Header.Get("Annona-Request"), question: question{limit: 1}}
			text, err := decode(response.Body, response.Header)
			got.bytes = int64(len(text))
			got.whole = err == nil
			got.trailed = err == nil && response.Trailer.Get("Annona-Release") == got.request
			got.take(text)
			if response.StatusCode == http.StatusOK && len(got.ids) > 0 {
				receipts = append(receipts, got)
			}
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, response.Body) // it was read to its end
		}
	}
	return receipts
}
