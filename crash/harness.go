package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// harness kills one registry, again and again.
type harness struct {
	*registry
	truth   *truth
	server  *server
	pace    *pace
	marks   marker
	report  *report
	ids     map[string]string // of people, as partners know them → key; of all that were ever seen
	behind  int64             // position of the last entry that was looked at
	tail    *tail
	pending []*receipt // not yet held to the releases
}

// oneRound is how many kills one registry takes. Then a new one is made, so that looking at the
// whole of it stays quick.
const oneRound = 200

// compareEvery is after how many kills receipts are held to the releases: each time reads the
// whole ledger.
const compareEvery = 20

// killing kills the program as often as the options say.
func killing(ctx context.Context, o options) (*report, error) {
	o, err := o.prepared(o.store)
	if err != nil {
		return nil, err
	}
	report := newReport(o, "kills")
	for n := 0; n < o.kills && ctx.Err() == nil && len(report.problems) == 0; n += oneRound {
		round := o
		round.folder = filepath.Join(o.folder, fmt.Sprintf("round%d", n/oneRound))
		if err := killRound(ctx, round, n, min(n+oneRound, o.kills), report); err != nil {
			return report, err
		}
	}
	report.ended = time.Now()
	return report, ctx.Err()
}

// killRound makes a registry and takes kills from to until with it.
func killRound(ctx context.Context, o options, from, until int, report *report) error {
	h, err := newHarness(ctx, o, report)
	if err != nil {
		return err
	}
	defer h.close()
	for n := from; n < until && ctx.Err() == nil; n++ {
		problems, err := h.cycle(ctx, n)
		if err != nil {
			return fmt.Errorf("kill %d of seed %d: %w", n, o.seed, err)
		}
		if len(problems) > 0 {
			report.found(n, h.folder, problems)
			return nil
		}
		if report.blows%50 == 0 {
			note("%s: %d kills, seed %d", o.store, report.blows, o.seed)
		}
	}
	return nil
}

// newHarness makes a registry that holds most of the country and is served.
func newHarness(ctx context.Context, o options, report *report) (*harness, error) {
	r, err := makeRegistry(ctx, o)
	if err != nil {
		return nil, err
	}
	h := &harness{registry: r, truth: newTruth(r.country), pace: &pace{usual: map[string]time.Duration{}}, report: report, ids: map[string]string{}, behind: -1, tail: newTail()}
	if err := h.fill(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// fill imports the country, except for some households who come later, and looks at it.
func (h *harness) fill(ctx context.Context) error {
	b := &batch{mark: int(h.marks.last.Add(1)), acked: true}
	for i := range len(h.country.households) * 4 / 5 {
		b.households = append(b.households, i)
	}
	path := filepath.Join(h.folder, "country.ndjson")
	if err := h.country.write(path, b.households, b.mark); err != nil {
		return err
	}
	if _, err := h.run(ctx, "import", "--mapping", filepath.Join(h.root, mapping), "--json", path); err != nil {
		return err
	}
	problems, err := h.check(ctx, told{batches: []*batch{b}}, nil)
	if err == nil && len(problems) > 0 {
		err = errors.New("before any kill: " + problems[0].String())
	}
	return err
}

func (h *harness) close() {
	if h.server != nil {
		h.server.kill()
	}
	h.remove()
}

// cycle lets work go on, kills something in its midst, and looks at what is left.
func (h *harness) cycle(ctx context.Context, n int) ([]problem, error) {
	r := dice(h.seed, n)
	for tries := 0; ; tries++ {
		b := choose(h.store, r)
		w, killed, err := h.strike(ctx, b, r)
		if err != nil {
			return nil, err
		}
		problems, err := h.check(ctx, w.told, w.receipts)
		for _, failure := range w.failures {
			problems = append(problems, problem{checkStart, failure})
		}
		for _, line := range w.server.panics() {
			problems = append(problems, problem{checkStart, line})
		}
		if err != nil {
			problems = append(problems, problem{checkStart, err.Error()})
		}
		if len(problems) > 0 {
			problems = append(problems, problem{"after", b.name})
			return problems, nil
		}
		h.report.add(b.name, killed, w)
		if !killed && tries < 50 {
			continue // it had ended by itself: no kill
		}
		last := h.report.blows%compareEvery == 0 || n == h.kills-1
		if !last {
			return nil, nil
		}
		return h.compareReceipts(ctx)
	}
}

// strike lets work go on and kills.
func (h *harness) strike(ctx context.Context, b blow, r *rand.Rand) (w *work, killed bool, err error) {
	if b.fresh {
		h.server.ask()
		if err := h.server.wait(); err != nil {
			return nil, false, err
		}
		if h.server, err = h.serve(ctx); err != nil {
			return nil, false, err
		}
	}
	w = newWork(h.registry, h.server, h.pace)
	lanes := 1 + r.IntN(2)
	for lane := range lanes {
		w.importer(ctx, lane, lanes, &h.marks, rand.New(rand.NewPCG(r.Uint64(), 1)))
	}
	if r.IntN(3) > 0 {
		w.people(ctx, h.truth, rand.New(rand.NewPCG(r.Uint64(), 2)))
	}
	w.follow(ctx, h.tail, rand.New(rand.NewPCG(r.Uint64(), 4)))
	for range 1 + r.IntN(3) {
		w.read(ctx, rand.New(rand.NewPCG(r.Uint64(), 3)))
	}
	killed = b.strike(ctx, h, w, r)
	w.lanes.Wait()
	w.readers.Wait()
	return w, killed, h.revive(ctx)
}

// revive starts the database again when it was killed. A server that outlived it must answer
// again by itself. It could not write how its requests ended, which the next start makes good.
func (h *harness) revive(ctx context.Context) error {
	if h.cluster == nil || h.cluster.Runs() {
		return nil
	}
	if err := h.cluster.Up(); err != nil || !h.server.runs() {
		return err
	}
	if err := h.await(ctx, h.server); err != nil {
		return err
	}
	if _, err := h.look(ctx); err != nil {
		return fmt.Errorf("after the database came back: %w", err)
	}
	h.server.ask()
	return h.server.wait()
}

func (h *harness) killDatabase() bool { return h.cluster.Kill() == nil }

// check starts the server when it does not run, and looks at everything that a client and the
// operator can see.
func (h *harness) check(ctx context.Context, what told, receipts []*receipt) ([]problem, error) {
	if err := h.restart(ctx); err != nil {
		return nil, err
	}
	s, err := h.look(ctx)
	if err != nil {
		return nil, err
	}
	done, problems := h.truth.settle(what, s)
	h.report.compared += done.compared
	for id, key := range s.ids {
		h.ids[id] = key
	}
	v, entries, err := h.audit(ctx)
	if err != nil || v.Deviations > 0 {
		return append(problems, problem{checkLedger, fmt.Sprintf("%d deviations: %v", v.Deviations, err)}), nil
	}
	if len(entries) > 0 {
		h.behind = entries[len(entries)-1].Index
	}
	problems = append(problems, compareChanges(entries, done, what.wishes)...)
	problems = append(problems, compareOutcomes(entries, receipts)...)
	if v.OpenRequests > 0 {
		problems = append(problems, problem{checkOutcome, fmt.Sprintf("%d requests are open", v.OpenRequests)})
	}
	told, found, err := h.tail.compare(ctx, h.registry, s)
	h.report.changes, h.tail.changes = h.report.changes+h.tail.changes, 0
	h.pending = append(append(h.pending, receipts...), told...)
	return append(problems, found...), err
}

// audit verifies the ledger and reads what is new in it. A server that lives writes the outcome of a
// search behind its answer: a little time is given for that.
func (h *harness) audit(ctx context.Context) (v verified, entries []entry, err error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if v, err = h.verify(ctx); err == nil {
			entries, err = h.entries(ctx, h.behind)
		}
		if err != nil || allEnded(entries) && v.OpenRequests == 0 || time.Now().After(deadline) {
			return v, entries, err
		}
	}
}

// restart starts the server when it does not run, and waits until it answers.
func (h *harness) restart(ctx context.Context) (err error) {
	if h.server != nil && h.server.runs() {
		return h.await(ctx, h.server)
	}
	if h.server, err = h.serve(ctx); err != nil {
		return err
	}
	if err := h.await(ctx, h.server); err != nil {
		return err
	}
	h.pace.note("serve", time.Since(h.server.began))
	return nil
}

// isErased reports whether a person may have been erased: then nothing tells any more whose id it
// was.
func (h *harness) isErased(key string) bool { return h.truth.wishes[erasing][key] != no }

// compareReceipts holds what clients received since the last time to the releases.
func (h *harness) compareReceipts(ctx context.Context) ([]problem, error) {
	var problems []problem
	for _, got := range h.pending {
		for _, id := range got.people {
			if h.ids[id] == "" {
				problems = append(problems, problem{checkLost, "a client received a person who is not on file: " + id})
			}
		}
	}
	compared, found, err := h.compareReleases(ctx, h.pending, h.ids, h.isErased)
	h.report.released += compared
	h.pending = nil
	return append(problems, found...), err
}
