package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// blow is one way to kill. It waits for its instant and kills; it returns false when whatever
// it was to kill had ended by itself.
type blow struct {
	name   string
	weight int
	on     string // a store, empty: both
	fresh  bool   // the server is not running when it begins
	strike func(ctx context.Context, h *harness, w *work, r *rand.Rand) bool
}

// blows are all ways to kill. Each is aimed at one phase of the life of the program.
var blows = []blow{
	{name: "server at start-up", weight: 2, fresh: true, strike: atStart},
	{name: "server while pages leave", weight: 5, strike: atBytes},
	{name: "server at any instant", weight: 3, strike: atAnyInstant},
	{name: "import at any instant", weight: 3, strike: atImport},
	{name: "import as it writes", weight: 3, on: "sqlite", strike: atWrite},
	{name: "writer about to answer", weight: 3, strike: atAnswer},
	{name: "server and writers at once", weight: 3, strike: atOnce},
	{name: "server at shutdown", weight: 2, strike: atShutdown},
	{name: "import at shutdown", weight: 1, strike: atInterrupt},
	{name: "database", weight: 2, on: "postgres", strike: atDatabase},
	{name: "database, server and writers at once", weight: 1, on: "postgres", strike: atAll},
}

// choose draws a blow.
func choose(store string, r *rand.Rand) blow {
	total := 0
	for _, b := range blows {
		if b.on == "" || b.on == store {
			total += b.weight
		}
	}
	at := r.IntN(total)
	for _, b := range blows {
		if b.on != "" && b.on != store {
			continue
		}
		if at -= b.weight; at < 0 {
			return b
		}
	}
	return blows[0]
}

// aWhile is how long the work goes on at most before a blow at any instant: on a slow machine too,
// long enough for an import to get anywhere.
func (h *harness) aWhile() time.Duration {
	return min(max(h.pace.of("import")*3/2, 150*time.Millisecond), 3*time.Second)
}

func atStart(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	usual := h.pace.of("serve")
	time.Sleep(upTo(r, usual+usual/4))
	w.end()
	return w.server.kill()
}

// atBytes strikes when the readers have got so many bytes, wherever in a page that is.
func atBytes(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	instant, deadline := r.Int64N(4<<20), time.Now().Add(2*h.aWhile())
	for w.bytes.Load() < instant && time.Now().Before(deadline) {
		time.Sleep(50 * time.Microsecond)
	}
	w.end()
	return w.server.kill()
}

func atAnyInstant(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	return w.server.kill()
}

func atImport(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	return killAll(w.victims(true))
}

// atWrite waits until the file has changed a few times that takes what is committed, and strikes
// just then.
func atWrite(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	path := filepath.Join(h.data(), "annona.sqlite-wal")
	deadline := time.Now().Add(2 * h.aWhile())
	for range 1 + r.IntN(8) {
		for before := written(path); written(path) == before && time.Now().Before(deadline); {
			time.Sleep(100 * time.Microsecond)
		}
	}
	time.Sleep(upTo(r, 10*time.Millisecond))
	w.end()
	return killAll(w.victims(true))
}

// written returns when a file was last written.
func written(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// atAnswer waits until a command of a writer has run nearly as long as such commands take, and
// kills it about when it commits or answers.
func atAnswer(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()/2))
	commands := w.victims(false)
	if len(commands) == 0 {
		w.end()
		return false
	}
	p := commands[r.IntN(len(commands))]
	usual := h.pace.of(p.cmd.Args[1])
	time.Sleep(time.Until(p.began.Add(usual*7/10 + upTo(r, usual*4/10))))
	w.end()
	return p.kill()
}

func atOnce(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	return killAll(append(w.victims(false), w.server.process))
}

func atShutdown(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	w.server.ask()
	time.Sleep(upTo(r, 30*time.Millisecond))
	return w.server.kill()
}

func atInterrupt(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	commands := w.victims(true)
	for _, p := range commands {
		p.ask()
	}
	time.Sleep(upTo(r, 20*time.Millisecond))
	return killAll(commands)
}

func atDatabase(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	return h.killDatabase()
}

func atAll(ctx context.Context, h *harness, w *work, r *rand.Rand) bool {
	time.Sleep(upTo(r, h.aWhile()))
	w.end()
	all := append(w.victims(false), w.server.process)
	if r.IntN(2) == 0 {
		killAll(all)
		return h.killDatabase()
	}
	killed := h.killDatabase()
	killAll(all)
	return killed
}

// killAll kills processes at one instant and reports whether one of them was running.
func killAll(all []*process) (killed bool) {
	for _, p := range all {
		_ = p.cmd.Process.Kill() // it may have ended meanwhile
	}
	for _, p := range all {
		killed = p.kill() || killed
	}
	return killed
}
