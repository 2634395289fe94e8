package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// What a test program is told: which mutant is alive (0: none), where it writes which mutants would have made
// a difference so far, and by what its processes are found.
const (
	variableAlive   = "ANNONA_MUTANT"
	variableReached = "ANNONA_MUTANT_REACHED"
	variableRun     = "ANNONA_MUTANT_RUN"
)

// alive stands beside the mutants of a package.
const alive = `package %s

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

var (
	mutant, _     = strconv.Atoi(mutantTold("` + variableAlive + `"))
	mutantReached = mutantTold("` + variableReached + `")
	mutantSeen    sync.Map
	mutantVerbs   struct {
		sync.Mutex
		asked []int // since the last request that was decided
	}
)

func mutantTold(variable string) string {
	text, _ := syscall.Getenv(variable)
	return text
}

// mutantHit notes that a mutant would make a difference.
func mutantHit(n int) {
	if _, seen := mutantSeen.LoadOrStore(n, true); seen || mutantReached == "" {
		return
	}
	f, err := os.OpenFile(mutantReached, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strconv.Itoa(n) + "\n"); err != nil {
		panic(err)
	}
}

// mutantIf is a condition that never holds, or always does, when that mutant is alive. 0: there is none.
func mutantIf(never, always int, is bool) bool {
	switch {
	case is && never > 0:
		mutantHit(never)
	case !is && always > 0:
		mutantHit(always)
	}
	if mutant == 0 {
		return is
	}
	return (is || mutant == always) && mutant != never
}

// mutantText is a text, or what has become of it.
func mutantText(first int, text string, changed ...string) string {
	for n := range changed {
		mutantHit(first + n)
	}
	if n := mutant - first; mutant > 0 && n >= 0 && n < len(changed) {
		return changed[n]
	}
	return text
}

// mutantAsked is a verb about which the next request will be decided.
func mutantAsked[V any](n int, verb V) V {
	if mutant == n || mutantReached != "" {
		mutantVerbs.Lock()
		mutantVerbs.asked = append(mutantVerbs.asked, n)
		mutantVerbs.Unlock()
	}
	return verb
}

// mutantLaxly returns what says whether a request is decided whatever the role; matters: it has one.
func mutantLaxly() func(matters bool) bool {
	mutantVerbs.Lock()
	defer mutantVerbs.Unlock()
	asked := mutantVerbs.asked
	mutantVerbs.asked = nil
	return func(matters bool) bool {
		for _, n := range asked {
			if matters {
				mutantHit(n)
			}
		}
		return mutant > 0 && len(asked) > 0
	}
}
`

// program is the tests of a package, with all mutants in them.
type program struct {
	folder, path string
	hash         string   // of the program
	flags        []string // that its tests understand
}

// build compiles the tests of a suite.
func (t *trial) build(suite string) (*program, error) {
	path, err := filepath.Abs(filepath.Join(t.work, strings.ReplaceAll(suite, "/", "_")+".test"))
	if err != nil {
		return nil, err
	}
	c := exec.Command("go", "test", "-c", "-vet=off", "-overlay", t.overlay, "-o", path, "./"+suite)
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the tests of %s with the mutants: %w\n%s", suite, err, out)
	}
	p := &program{folder: suite, path: path}
	return p, p.look()
}

// look reads what a program is and which flags it has: worlds of chance are the same for all mutants.
func (p *program) look() error {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	p.hash = fmt.Sprintf("%x", sha256.Sum256(content))[:16]
	help, _ := exec.Command(p.path, "-help").CombinedOutput() // it ends with an error of its own
	if strings.Contains(string(help), "-rapid.seed") {
		p.flags = []string{"-rapid.seed=1", "-rapid.nofailfile"}
	}
	return nil
}

// write writes the files with the mutants, and which files they stand for.
func (t *trial) write(s *source) (string, error) {
	replaced := map[string]string{}
	put := func(name string, content []byte) error {
		from, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		to, err := filepath.Abs(filepath.Join(t.work, strings.ReplaceAll(name, "/", "_")+".txt")) // no package of its own
		if err != nil {
			return err
		}
		replaced[from] = to
		return os.WriteFile(to, content, 0o644)
	}
	if err := os.MkdirAll(t.work, 0o755); err != nil {
		return "", err
	}
	for name, content := range s.files {
		if err := put(name, content); err != nil {
			return "", err
		}
		folder := path.Dir(name)
		if err := put(folder+"/mutants_alive.go", fmt.Appendf(nil, alive, path.Base(folder))); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	file := filepath.Join(t.work, "overlay.json")
	return file, os.WriteFile(file, text, 0o644)
}
