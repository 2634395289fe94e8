package main

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that loads gives way with all of its threads, and takes back nothing that whoever started it
// has taken.
func TestGiveWay(t *testing.T) {
	giveWay()
	threads, err := os.ReadDir("/proc/self/task")
	check(t, err)
	const zero = 20 // what the kernel answers for priority zero
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		check(t, err)
		if has, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && has > zero-loadNice {
			t.Errorf("a thread has priority %d", zero-has)
		}
	}
}
