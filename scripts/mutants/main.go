// Command mutants takes decisions away, one at a time, and tells which test notices, by failing. When no test
// notices that one is gone, it ends with exit code 1.
//
// It changes no file. All mutants are compiled into the test programs by an overlay, and an environment
// variable chooses which of them is alive. Each test is run once alone to see which decisions it makes
// matter, and for a mutant only those tests are run, the short ones first, until one fails. `make mutate-gate` runs it; what it
// has found lies in build/mutants, and it goes on where it was ended.
//
// The tests of cmd/annona do not count: they hold the wiring, and a rule that only they would notice to
// be gone has no test where it is written.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// places are the packages whose decisions are taken away, and of the stores the file that decides.
var places = []string{"policy/*.go", "exchange/*.go", "store/sqlite/matterscope.go", "store/postgres/matterscope.go"}

// suites are the packages whose tests count, in the order in which they are asked.
var suites = []string{"policy", "store/sqlite", "store/postgres", "exchange", "rest", "jobs"}

func main() {
	log.SetFlags(0)
	t := trial{limit: 30 * time.Second}
	flag.StringVar(&t.work, "dir", "build/mutants", "folder for the test programs and for what was found")
	only := flag.String("only", ".", "regexp of decisions: path, function and text")
	tests := flag.String("tests", ".", "regexp of the tests that are run")
	flag.IntVar(&t.atOnce, "at-once", 2, "how many tests run at once")
	flag.Parse()
	t.only, t.tests = regexp.MustCompile(*only), regexp.MustCompile(*tests)
	if err := t.run(); err != nil {
		log.Fatal(err)
	}
}

// trial is one run of the tool.
type trial struct {
	work        string
	only, tests *regexp.Regexp
	atOnce      int
	limit       time.Duration // of a test, beside five times what it takes by itself

	overlay string             // the file
	units   map[string][]*unit // by suite: the tests, with what they reach
	known   *verdicts
	killers map[*mutant]string
}

func (t *trial) run() error {
	source, err := markAll()
	if err != nil {
		return err
	}
	second, err := readDefenses(source.mutants)
	if err != nil {
		return err
	}
	if t.overlay, err = t.write(source); err != nil {
		return err
	}
	if t.known, err = openVerdicts(t.work); err != nil {
		return err
	}
	defer t.known.Close()
	chosen := slices.DeleteFunc(slices.Clone(source.mutants), func(m *mutant) bool { return !t.only.MatchString(m.key()) })
	if err := t.judge(chosen); err != nil {
		return err
	}
	return t.tell(chosen, second)
}

// judge lets one suite after the other try what no test has noticed so far. What a test noticed the last time
// is tried by that one alone; what it does not notice any more is tried by all.
func (t *trial) judge(chosen []*mutant) error {
	t.units, t.killers = map[string][]*unit{}, map[*mutant]string{}
	for _, suite := range suites {
		remembered := func(m *mutant) bool { return strings.HasPrefix(t.known.of[m.key()], suite+".") }
		if err := t.tryAll(suite, t.left(chosen, remembered), true); err != nil {
			return err
		}
	}
	for _, suite := range suites {
		within, err := packagesOf(suite)
		if err != nil {
			return err
		}
		if err := t.tryAll(suite, t.left(chosen, func(m *mutant) bool { return within[path.Dir(m.path)] }), false); err != nil {
			return err
		}
	}
	return nil
}

// packagesOf lists our packages that are part of the tests of a suite.
func packagesOf(suite string) (map[string]bool, error) {
	module, err := exec.Command("go", "list", "-m").Output()
	if err != nil {
		return nil, fmt.Errorf("name the module: %w", err)
	}
	out, err := exec.Command("go", "list", "-deps", "-test", "./"+suite).Output()
	if err != nil {
		return nil, fmt.Errorf("list what the tests of %s import: %w", suite, err)
	}
	within := map[string]bool{}
	for name := range strings.FieldsSeq(string(out)) {
		if ours, is := strings.CutPrefix(name, strings.TrimSpace(string(module))+"/"); is {
			within[ours] = true
		}
	}
	return within, nil
}

// left are those that no test has noticed yet.
func (t *trial) left(chosen []*mutant, of func(*mutant) bool) []*mutant {
	return slices.DeleteFunc(slices.Clone(chosen), func(m *mutant) bool { return t.killers[m] != "" || !of(m) })
}

// tryAll runs the tests of a suite that some mutants reach; again: only the one that noticed the last time.
func (t *trial) tryAll(suite string, left []*mutant, again bool) error {
	if len(left) == 0 {
		return nil
	}
	if err := t.watch(suite); err != nil {
		return err
	}
	var mu sync.Mutex
	t.each(len(left), func(n int) {
		m := left[n]
		killer := t.killer(m, slices.DeleteFunc(slices.Clone(t.units[suite]), func(u *unit) bool {
			return !u.reaches[m.number] || again && u.name() != t.known.of[m.key()]
		}))
		mu.Lock()
		defer mu.Unlock()
		if t.killers[m] = killer; killer != "" {
			t.known.note(m, killer)
			fmt.Printf("%s:%d | %s | %s\n", m.path, m.line, m.key(), killer)
		}
	})
	return nil
}

// killer returns a test that notices that a decision is gone. Short ones are tried first, and those that have
// noticed many.
func (t *trial) killer(m *mutant, reaching []*unit) string {
	cost := map[*unit]int64{}
	for _, u := range reaching {
		cost[u] = u.took.Milliseconds() / (1 + u.noticed.Load())
	}
	slices.SortStableFunc(reaching, func(a, b *unit) int { return cmp.Compare(cost[a], cost[b]) })
	for _, u := range reaching {
		if t.fails(u, m.number) {
			u.noticed.Add(1)
			return u.name()
		}
	}
	return ""
}

// tell says what no test notices, and counts.
func (t *trial) tell(chosen []*mutant, second map[string]string) error {
	counts := map[string]int{}
	for _, m := range chosen {
		killer := t.killers[m]
		switch reason, listed := second[m.key()]; {
		case listed && killer != "":
			counts["wrong"]++
			fmt.Printf("%s:%d | %s | %s notices: take it off %s\n", m.path, m.line, m.key(), killer, defensesFile)
		case listed:
			counts["second"]++
			fmt.Printf("%s:%d | %s | %s\n", m.path, m.line, m.key(), reason)
		case killer == "":
			counts["alive"]++
			fmt.Printf("%s:%d | %s | **no test notices**\n", m.path, m.line, m.key())
		default:
			counts["killed"]++
		}
	}
	fmt.Printf("%d decisions: of %d a test notices, %d with a second defense, %d alive\n", len(chosen), counts["killed"], counts["second"], counts["alive"])
	if bad := counts["alive"] + counts["wrong"]; bad > 0 {
		return fmt.Errorf("%d of them want a test, or another line in %s", bad, defensesFile)
	}
	return nil
}

// each calls do for 0 to n-1, some at once.
func (t *trial) each(n int, do func(n int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range t.atOnce {
		group.Go(func() {
			for n := range next {
				do(n)
			}
		})
	}
	for n := range n {
		next <- n
	}
	close(next)
	group.Wait()
}

// verdicts remembers which test notices which decision, for the next time.
type verdicts struct {
	*os.File
	of map[string]string // by the key of the mutant
}

func openVerdicts(work string) (*verdicts, error) {
	f, err := os.OpenFile(work+"/verdicts.txt", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, err
	}
	v := &verdicts{f, map[string]string{}}
	for line := range strings.Lines(string(text)) {
		if killer, key, whole := strings.Cut(strings.TrimSpace(line), "\t"); whole {
			v.of[key] = killer
		}
	}
	return v, nil
}

func (v *verdicts) note(m *mutant, killer string) {
	if v.of[m.key()] != killer {
		fmt.Fprintf(v, "%s\t%s\n", killer, m.key())
	}
}
