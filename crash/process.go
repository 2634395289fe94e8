package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience is how long anything that must happen may take.
const patience = time.Minute

// process is a run of the program.
type process struct {
	cmd    *exec.Cmd
	began  time.Time
	ended  chan struct{}
	result error // once ended is closed
	out    bytes.Buffer
	said   bytes.Buffer
}

func begin(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, began: time.Now(), ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.said
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.result = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// wait waits until the process has ended.
func (p *process) wait() error {
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s did not end within %s", p.name(), patience)
	}
	if p.result == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", p.name(), p.result, lastLine(p.said.Bytes()))
}

func (p *process) name() string { return "annona " + p.cmd.Args[1] }

// kill ends the process at once and reports whether that is what ended it.
func (p *process) kill() bool {
	_ = p.cmd.Process.Kill() // it may have ended meanwhile
	<-p.ended
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// ask asks the process to stop.
func (p *process) ask() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// runs reports whether the process has not ended.
func (p *process) runs() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// server is the program, serving.
type server struct{ *process }

// serve starts a server; await says when it answers.
func (r *registry) serve(ctx context.Context) (*server, error) {
	p, err := begin(r.command(ctx, "serve", "--listen", r.address))
	if err != nil {
		return nil, err
	}
	return &server{p}, nil
}

// await waits until the server is ready to answer.
func (r *registry) await(ctx context.Context, s *server) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if code, err := r.probe(ctx); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("serve ended: %w: %s", s.result, lastLine(s.said.Bytes()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return errors.New("the server was not ready in time")
}

func (r *registry) probe(ctx context.Context) (code int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/readyz", nil)
	if err != nil {
		return 0, err
	}
	response, err := r.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
