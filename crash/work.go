package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// work is what goes on at the same time until something is killed: imports, people who say what
// they want, and readers. Each lane does one thing after the other.
type work struct {
	registry *registry
	server   *server
	pace     *pace

	lanes   sync.WaitGroup // of writers
	readers sync.WaitGroup
	over    chan struct{} // closed when something was killed: nobody begins anything new
	bytes   atomic.Int64  // received by all readers

	mu       sync.Mutex
	commands map[*process]bool // that are running, of writers
	imports  map[*process]bool
	told     told
	receipts []*receipt
	failures []string // of commands that had no reason to fail
}

func newWork(r *registry, s *server, p *pace) *work {
	return &work{registry: r, server: s, pace: p, over: make(chan struct{}), commands: map[*process]bool{}, imports: map[*process]bool{}}
}

func (w *work) isOver() bool {
	select {
	case <-w.over:
		return true
	default:
		return false
	}
}

// command runs a command line and reports whether it succeeded: then what it did is promised.
func (w *work) command(ctx context.Context, isImport bool, args ...string) bool {
	w.mu.Lock()
	if w.isOver() {
		w.mu.Unlock()
		return false
	}
	p, err := begin(w.registry.command(ctx, args...))
	if err != nil {
		w.failures = append(w.failures, err.Error())
		w.mu.Unlock()
		return false
	}
	w.commands[p], w.imports[p] = true, isImport
	w.mu.Unlock()

	err = p.wait()
	if err == nil {
		w.pace.note(args[0], time.Since(p.began))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.commands, p)
	delete(w.imports, p)
	if err != nil && !w.isOver() {
		w.failures = append(w.failures, err.Error())
	}
	return err == nil
}

// importer imports batches one after the other. A lane writes households of its own, so that
// the last acknowledged mark of each is known.
func (w *work) importer(ctx context.Context, lane, lanes int, marks *marker, r *rand.Rand) {
	w.lanes.Go(func() {
		for !w.isOver() {
			b := marks.batch(w.registry.country, lane, lanes, r)
			path := filepath.Join(w.registry.folder, fmt.Sprintf("lane%d.ndjson", lane))
			if err := w.registry.country.write(path, b.households, b.mark); err != nil {
				w.fail(err)
				return
			}
			w.mu.Lock()
			w.told.batches = append(w.told.batches, b)
			w.mu.Unlock()
			b.acked = w.command(ctx, true, "import", "--mapping", filepath.Join(w.registry.root, mapping), "--json", path)
			if !b.acked {
				return // what is written after it would hide whether it was there
			}
		}
	})
}

// marker gives out marks. It is used by one goroutine at a time for each lane.
type marker struct{ last atomic.Int64 }

// batch makes up the next import of a lane: mostly a few households, at times all of them.
func (m *marker) batch(c *country, lane, lanes int, r *rand.Rand) *batch {
	b := &batch{mark: int(m.last.Add(1))}
	var own []int
	for h := lane; h < len(c.households); h += lanes {
		own = append(own, h)
	}
	if r.IntN(8) > 0 {
		r.Shuffle(len(own), func(i, j int) { own[i], own[j] = own[j], own[i] })
		own = own[:1+r.IntN(min(80, len(own)))]
	}
	b.households = own
	return b
}

// people says what people want: restriction and consent, given and taken back, and erasure.
func (w *work) people(ctx context.Context, t *truth, r *rand.Rand) {
	wishes := t.imagine(r)
	w.lanes.Go(func() {
		for _, wish := range wishes {
			if w.isOver() {
				return
			}
			w.mu.Lock()
			w.told.wishes = append(w.told.wishes, wish)
			w.mu.Unlock()
			if wish.acked = w.command(ctx, false, wish.args()...); !wish.acked {
				return
			}
		}
	})
}

// fickle is how many people change their minds again and again.
const fickle = 40

// imagine makes up what people want next. A few change their minds often; others are erased,
// each once. The first of a household wants nothing: a household whose people are all hidden is
// hidden too.
func (t *truth) imagine(r *rand.Rand) (wishes []*wish) {
	gone, people := map[string]bool{}, t.country.others
	for range 30 {
		w := &wish{person: people[r.IntN(fickle)], act: []act{restricting, agreeing}[r.IntN(2)], value: r.IntN(2) == 0}
		if r.IntN(5) == 0 {
			w = &wish{person: people[fickle+r.IntN(len(people)/2)], act: erasing, value: true}
			if t.wishes[erasing][w.person] != no || gone[w.person] {
				continue
			}
			gone[w.person] = true
		}
		wishes = append(wishes, w)
	}
	return wishes
}

func (w *wish) args() []string {
	var args []string
	switch {
	case w.act == erasing:
		args = []string{"subject", "erase", "--reason", "not_necessary"}
	case w.act == restricting && w.value:
		args = []string{"subject", "restrict"}
	case w.act == restricting:
		args = []string{"subject", "restrict", "--lift"}
	case w.value:
		args = []string{"subject", "consent", "--purpose", askedPurpose, "--recipient", partner}
	default:
		args = []string{"subject", "consent", "--purpose", askedPurpose, "--withdraw"}
	}
	return append(args, "--source", "synthetic", "--key", w.person)
}

// read has a client ask one question after the other.
func (w *work) read(ctx context.Context, r *rand.Rand) {
	w.readers.Go(func() {
		for !w.isOver() {
			got := w.registry.receive(ctx, ask(r), &w.bytes, w.over)
			w.mu.Lock()
			if got.request != "" {
				w.receipts = append(w.receipts, got)
			}
			w.mu.Unlock()
			if got.request == "" {
				time.Sleep(time.Millisecond) // the server is not there yet
			}
		}
	})
}

func (w *work) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, err.Error())
}

// end says that something was killed, so that from now on a failure has a reason.
func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.isOver() {
		close(w.over)
	}
}

// victims returns the commands of writers that are running.
func (w *work) victims(importsOnly bool) (all []*process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.commands {
		if !importsOnly || w.imports[p] {
			all = append(all, p)
		}
	}
	return all
}

// said returns what the server wrote of panics, which no kill excuses.
func (s *server) panics() (lines []string) {
	for line := range strings.Lines(s.said.String()) {
		if strings.Contains(line, `"msg":"panic"`) || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// pace is how long commands usually take, by the name of the command.
type pace struct {
	mu    sync.Mutex
	usual map[string]time.Duration
}

func (p *pace) note(name string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, known := p.usual[name]; known {
		took = (3*was + took) / 4
	}
	p.usual[name] = took
}

func (p *pace) of(name string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, known := p.usual[name]; known {
		return d
	}
	return 50 * time.Millisecond
}
