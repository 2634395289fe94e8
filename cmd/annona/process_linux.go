package main

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// forbidCoreDumps keeps what is in memory off the disk when the process crashes.
func forbidCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// beginOf returns when a process began, as the kernel counts; empty: there is no such process.
func beginOf(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, behind, found := bytes.Cut(stat, []byte(") "))
	fields := bytes.Fields(behind)
	const begin = 19 // field 22 of proc(5), counted behind the name
	if !found || len(fields) <= begin || fields[0][0] == 'Z' {
		return ""
	}
	return string(fields[begin])
}

// giveWay has this process take less of the processors than others do, when they want them: all of its
// threads, and those that they will start. A load that cannot is as fast as others.
func giveWay() {
	const passes = 5 // a thread may start another one before it is its turn
	for range passes {
		if !lowerThreads() {
			return
		}
	}
}

// lowerThreads gives each thread the priority of a load, unless it has a lower one, and reports whether
// there was one to be lowered.
func lowerThreads() (lowered bool) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		const zero = 20 // what the kernel answers for a thread of priority zero; less is lower
		if has, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && has > zero-loadNice {
			lowered = unix.Setpriority(unix.PRIO_PROCESS, id, loadNice) == nil || lowered
		}
	}
	return lowered
}
