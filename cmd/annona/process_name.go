package main

import (
	"os"
	"strconv"
	"strings"
)

// A process has a name among all: computer, number, and when it began, because numbers are used
// again.

func processName() string {
	pid := os.Getpid()
	return computer() + "/" + strconv.Itoa(pid) + "/" + beginOf(pid)
}

func computer() string {
	name, _ := os.Hostname()
	return name
}

// processGone says whether the process of that name has ended; known: it was one of this computer.
func processGone(name string) (gone, known bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != computer() || parts[0] == "" {
		return false, false
	}
	pid, err := strconv.Atoi(parts[1])
	if err != nil || parts[2] == "" {
		return false, false
	}
	return beginOf(pid) != parts[2], true
}
