package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// annona runs the program and returns what it printed.
func (b *bench) annona(ctx context.Context, args ...string) ([]byte, error) {
	return output(exec.CommandContext(ctx, b.program, args...))
}

// output runs a command; its error holds what the command said.
func output(cmd *exec.Cmd) ([]byte, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:min(2, len(cmd.Args))], " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out, nil
}

func lastLine(out []byte) []byte {
	out = bytes.TrimSpace(out)
	return out[bytes.LastIndexByte(out, '\n')+1:]
}

// server is a process of its own that serves a data set.
type server struct {
	cmd    *exec.Cmd
	set    *dataset
	url    string
	ended  chan struct{}
	said   bytes.Buffer
	result error // of the process, once ended is closed
}

// serve starts a server, with more flags, on a free port and waits until it is ready.
func (b *bench) serve(ctx context.Context, set *dataset, more ...string) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &server{set: set, url: "http://" + address, ended: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, b.program, slices.Concat([]string{"serve", "--listen", address, "--client-rate", "0", "--partner-rate", "0"}, set.as(appRole), more)...)
	s.cmd.Stderr = &s.said
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 20 * time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.result = s.cmd.Wait()
		close(s.ended)
	}()
	if err := s.await(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// await polls /readyz for up to a minute.
func (s *server) await(ctx context.Context) error {
	deadline := time.After(time.Minute)
	for {
		if response, err := http.Get(s.url + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("serve ended: %w: %s", s.result, bytes.TrimSpace(s.said.Bytes()))
		case <-deadline:
			return errors.New("the server was not ready within a minute")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// processorTime is what the server has used so far; 0 where the system does not say.
func (s *server) processorTime() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third of proc(5) on
	if len(fields) < 13 {
		return 0
	}
	var ticks int64 // of a hundredth of a second
	for _, field := range fields[11:13] {
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// stop ends the server gently, and waits.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		s.cmd.Process.Kill()
		<-s.ended
	}
}

// peakMiB reads the largest resident set so far.
func (s *server) peakMiB() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("peak memory is read from /proc, which only Linux has: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("the process has no VmHWM")
}
