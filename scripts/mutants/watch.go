package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// unit is what is run alone: a test, or a part of a long one.
type unit struct {
	*program
	test    string // TestX or TestX/part
	took    time.Duration
	reaches map[int]bool // the mutants that would make a difference in it
	noticed atomic.Int64 // how many it has noticed
}

func (u *unit) name() string { return u.folder + "." + u.test }

// longTest is from when on a test is run by its parts.
const longTest = 4 * time.Second

// watch runs each test of a suite alone with no mutant alive. What it reaches is remembered as long as its
// program is the same.
func (t *trial) watch(suite string) error {
	if t.units[suite] != nil {
		return nil
	}
	p, err := t.build(suite)
	if err != nil {
		return err
	}
	out, err := exec.Command(p.path, "-test.list", ".").Output()
	if err != nil {
		return fmt.Errorf("list the tests of %s: %w", suite, err)
	}
	seen, err := openWatched(p)
	if err != nil {
		return err
	}
	t.watchAll(p, seen, regexp.MustCompile(`(?m)^Test\w*$`).FindAllString(string(out), -1))
	return seen.Close()
}

func (t *trial) watchAll(p *program, seen *watched, tests []string) {
	var mu sync.Mutex
	var parts []string
	t.each(len(tests), func(n int) {
		if whole, _, _ := strings.Cut(tests[n], "/"); !t.tests.MatchString(whole) {
			return
		}
		u, within := t.watchOne(p, seen, tests[n])
		mu.Lock()
		defer mu.Unlock()
		switch {
		case len(within) > 0:
			parts = append(parts, within...)
		case u != nil:
			t.units[p.folder] = append(t.units[p.folder], u)
		}
	})
	if len(parts) > 0 {
		t.watchAll(p, seen, parts)
	}
}

// watchOne returns a test with what it reaches, and the parts of a long one; nil: it does not pass alone.
func (t *trial) watchOne(p *program, seen *watched, test string) (*unit, []string) {
	if u := seen.unit(p, test); u != nil {
		return u, seen.parts(test)
	}
	u := &unit{program: p, test: test, reaches: map[int]bool{}}
	reached := filepath.Join(t.work, "reached-"+strings.ReplaceAll(p.folder+"."+test, "/", "_"))
	defer os.Remove(reached)
	before := time.Now()
	out, err := t.execute(u, 10*time.Minute, variableReached+"="+absolute(reached))
	u.took = time.Since(before)
	if err != nil {
		log.Printf("%s does not pass by itself, and is not asked: %v\n%s", u.name(), err, tail(out))
		return nil, nil
	}
	text, _ := os.ReadFile(reached) // nothing: none
	for _, n := range strings.Fields(string(text)) {
		number, _ := strconv.Atoi(n) // of our own
		u.reaches[number] = true
	}
	var parts []string
	if u.took > longTest && !strings.Contains(test, "/") {
		for _, found := range regexp.MustCompile(`(?m)^\s+--- PASS: (\S+)`).FindAllSubmatch(out, -1) {
			if part := string(found[1]); strings.Count(part, "/") == 1 {
				parts = append(parts, part)
			}
		}
	}
	seen.note(u, parts)
	return u, parts
}

// fails reports whether a test fails with a mutant alive. One that does not end fails too.
func (t *trial) fails(u *unit, number int) bool {
	_, err := t.execute(u, 5*u.took+t.limit, variableAlive+"="+strconv.Itoa(number))
	return err != nil
}

// execute runs a test, and ends what it leaves behind: one that panics stops no server that it has started.
func (t *trial) execute(u *unit, limit time.Duration, told string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit+time.Minute)
	defer cancel()
	folder, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	mine := variableRun + "=" + folder
	defer endAll(mine)
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(u.test), "/", "$/^") + "$"
	c := exec.CommandContext(ctx, u.path, append([]string{"-test.v", "-test.run", pattern, "-test.failfast", "-test.timeout", limit.String()}, u.flags...)...)
	c.Dir, c.Env = u.folder, append(os.Environ(), told, mine, "TMPDIR="+folder)
	c.WaitDelay = time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err = errors.Join(os.Chmod(folder, 0o755), c.Run()) // other users' servers may lie in it
	return out.Bytes(), err
}

// endAll kills the processes that have a variable in their environment, and removes the folders in which
// PostgreSQL kept its tables.
func endAll(variable string) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well formed
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append(text, 0), []byte(variable+"\x00")) {
			continue // it has ended, or is somebody else's
		}
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // digits
		data, _ := os.Readlink(filepath.Dir(path) + "/cwd")
		_ = syscall.Kill(id, syscall.SIGKILL) // it may have ended by now
		if home := filepath.Dir(data); strings.HasPrefix(filepath.Base(home), "annona-pg") {
			_ = os.RemoveAll(home)
		}
	}
}

func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

func tail(out []byte) []byte { return out[max(len(out)-1000, 0):] }

// watched is what tests reach, on file: a line for each test of one program.
type watched struct {
	*os.File
	mu    sync.Mutex
	lines map[string][]string // by test: milliseconds, parts, numbers
}

func openWatched(p *program) (*watched, error) {
	f, err := os.OpenFile(p.path+"."+p.hash+".reached", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, err
	}
	w := &watched{File: f, lines: map[string][]string{}}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(cells) == 4 {
			w.lines[cells[0]] = cells[1:]
		}
	}
	return w, nil
}

func (w *watched) unit(p *program, test string) *unit {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := w.lines[test]
	if line == nil {
		return nil
	}
	took, _ := strconv.Atoi(line[0]) // of our own, as what follows
	u := &unit{program: p, test: test, took: time.Duration(took) * time.Millisecond, reaches: map[int]bool{}}
	for _, n := range strings.Fields(line[2]) {
		number, _ := strconv.Atoi(n)
		u.reaches[number] = true
	}
	return u
}

func (w *watched) parts(test string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Fields(w.lines[test][1])
}

func (w *watched) note(u *unit, parts []string) {
	var numbers []string
	for n := range u.reaches {
		numbers = append(numbers, strconv.Itoa(n))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	line := []string{u.test, strconv.FormatInt(u.took.Milliseconds(), 10), strings.Join(parts, " "), strings.Join(numbers, " ")}
	w.lines[u.test] = line[1:]
	fmt.Fprintln(w, strings.Join(line, "\t"))
}
