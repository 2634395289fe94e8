// Command crash kills the built program at random instants, again and again, while it imports,
// serves and is told what people want. Each time it starts the program again and looks whether
// anything was lost, half there, or sent without a record. docs/reliability.md says what is
// promised and what each check holds it to.
//
// It knows the command line and the HTTP interface, and nothing of the packages behind them.
// What it plans follows from its seed; the instants are those of the clock.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// options says what a run does.
type options struct {
	root    string // of the repository
	program string
	folder  string // where registries are made; what failed stays there
	store   string // sqlite or postgres
	seed    uint64
	kills   int
	cuts    int // of power, sqlite only
	people  int
}

func main() {
	o := options{root: "."}
	flag.StringVar(&o.program, "bin", "bin/annona", "the program to kill")
	flag.StringVar(&o.folder, "dir", "build/crash", "where registries are made")
	flag.StringVar(&o.store, "store", "both", "sqlite, postgres or both")
	flag.Uint64Var(&o.seed, "seed", 0, "of the plan; 0: a fresh one")
	flag.IntVar(&o.kills, "n", 100, "kills of each store")
	flag.IntVar(&o.cuts, "cuts", 0, "cuts of power, of SQLite")
	flag.IntVar(&o.people, "people", 4000, "size of the country")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := runAll(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		stop()
		os.Exit(1)
	}
}

// runAll runs each store, and the cuts of power.
func runAll(ctx context.Context, o options) error {
	if o.seed == 0 {
		o.seed = freshSeed()
	}
	stores := map[string][]string{"sqlite": {"sqlite"}, "postgres": {"postgres"}, "both": {"sqlite", "postgres"}}[o.store]
	if stores == nil {
		return errors.New("-store is sqlite, postgres or both")
	}
	var failed error
	for _, store := range stores {
		o.store = store
		if o.kills > 0 {
			failed = errors.Join(failed, show(killing(ctx, o)))
		}
		if o.cuts > 0 && store == "sqlite" {
			failed = errors.Join(failed, show(cutting(ctx, o)))
		}
	}
	return failed
}

// show prints what a run did.
func show(r *report, err error) error {
	if r != nil {
		fmt.Print(r)
		err = errors.Join(err, r.failure())
	}
	return err
}

// prepared returns the options with the program's full path and an empty folder.
func (o options) prepared(what string) (options, error) {
	var err error
	if o.program, err = filepath.Abs(o.program); err != nil {
		return o, err
	}
	if _, err := exec.LookPath(o.program); err != nil {
		return o, fmt.Errorf("%s is missing: make build builds bin/annona", o.program)
	}
	if o.folder, err = filepath.Abs(filepath.Join(o.folder, what)); err != nil {
		return o, err
	}
	return o, errors.Join(os.RemoveAll(o.folder), os.MkdirAll(o.folder, 0o700))
}

// freshSeed returns a seed that is short enough to be copied by hand.
func freshSeed() uint64 { return 1 + rand.Uint64()>>40 }

// dice of one seed: a number of its own for each kill, so that a later one does not depend on
// how an earlier one went.
func dice(seed uint64, n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }

// upTo returns a random duration below d.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

func note(format string, args ...any) { fmt.Fprintf(os.Stderr, "crash: "+format+"\n", args...) }
