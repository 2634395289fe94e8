package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kill ends every process of the server at one instant: nothing is written or answered any more.
// Up brings it back.
func (c *Cluster) Kill() error {
	server, err := c.postmaster()
	if err != nil {
		return err
	}
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil { // so that it makes no more children
		return err
	}
	family := append(childrenOf(server), server)
	for _, pid := range family {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	}
	for _, pid := range family {
		for deadline := time.Now().Add(10 * time.Second); isAlive(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d of the server does not end", pid)
			}
		}
	}
	// Where nobody collects dead processes they seem to run, and the next server would wait for them.
	locks, _ := filepath.Glob(filepath.Join(c.dir, ".s.PGSQL.*.lock")) // the pattern is well formed
	for _, path := range append(locks, filepath.Join(c.data(), "postmaster.pid")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Runs reports whether the server runs.
func (c *Cluster) Runs() bool {
	server, err := c.postmaster()
	return err == nil && isAlive(server)
}

// postmaster returns the first process of the server, which the others are children of.
func (c *Cluster) postmaster() (pid int, err error) {
	content, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(content), "\n")
	return strconv.Atoi(first)
}

func childrenOf(parent int) (children []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range stats {
		pid, state, owner := readStat(path)
		if owner == parent && state != "Z" {
			children = append(children, pid)
		}
	}
	return children
}

func isAlive(pid int) bool {
	_, state, _ := readStat(fmt.Sprintf("/proc/%d/stat", pid))
	return state != "" && state != "Z" && state != "X"
}

// readStat reads the state and the parent of a process; its name, in brackets, may hold anything.
func readStat(path string) (pid int, state string, parent int) {
	content, err := os.ReadFile(path)
	end := strings.LastIndexByte(string(content), ')')
	if err != nil || end < 0 {
		return 0, "", 0
	}
	pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
	if fields := strings.Fields(string(content[end+1:])); len(fields) > 1 {
		parent, _ = strconv.Atoi(fields[1])
		state = fields[0]
	}
	return pid, state, parent
}
