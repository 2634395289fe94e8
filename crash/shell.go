package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// shell runs command lines of the program under one strace, so that there is one order of all
// they do.
type shell struct {
	*process
	registry *registry
	folder   string // of the trace, and of what each command prints
	in       io.WriteCloser

	mu   sync.Mutex
	next int
}

// started is a command line that was started in the shell.
type started struct {
	shell *shell
	base  string // of the files that it leaves
}

func startShell(ctx context.Context, r *registry, folder string) (*shell, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	s := &shell{registry: r, folder: folder}
	cmd := exec.CommandContext(ctx, "strace", "-f", "--seccomp-bpf", "-q", "-y", "-xx", "-s", "268435455", "-e", "signal=none", "-e", "trace="+traced, "-o", s.trace(), "sh")
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	s.process, err = begin(cmd)
	return s, err
}

func (s *shell) trace() string { return filepath.Join(s.folder, "trace") }

// start starts a command line.
func (s *shell) start(args ...string) (*started, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &started{shell: s, base: filepath.Join(s.folder, fmt.Sprintf("command%d", s.next))}
	s.next++
	var line strings.Builder
	for _, word := range append([]string{s.registry.program}, s.registry.onRegistry(args...)...) {
		line.WriteString("'" + strings.ReplaceAll(word, "'", `'\''`) + "' ")
	}
	// The shell in brackets waits for the program and says how it ended.
	_, err := fmt.Fprintf(s.in, "( %s > %s 2> %s & echo $! > %s.pid; wait $!; echo $? > %s.part; mv %[4]s.part %[4]s.exit ) &\n",
		line.String(), c.out(), c.base+".err", c.base, c.base)
	return c, err
}

// out is the file that takes what the command prints.
func (c *started) out() string { return c.base + ".out" }

// wait waits until the command has ended and returns its exit code.
func (c *started) wait(ctx context.Context) (int, error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		if text, err := os.ReadFile(c.base + ".exit"); err == nil {
			return strconv.Atoi(strings.TrimSpace(string(text)))
		}
	}
	return 0, fmt.Errorf("a traced command did not end: %w", context.Cause(ctx))
}

// signal sends the command a signal.
func (c *started) signal(sig syscall.Signal) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(c.base + ".pid")
		if pid, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil {
			return syscall.Kill(pid, sig)
		}
	}
	return fmt.Errorf("a traced command has no number")
}

// end lets the shell go, and waits until the trace is written.
func (s *shell) end() error {
	if _, err := io.WriteString(s.in, "wait\nexit 0\n"); err != nil {
		return err
	}
	return s.wait()
}
