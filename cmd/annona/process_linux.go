package main

import "golang.org/x/sys/unix"

// forbidCoreDumps keeps what is in memory off the disk when the process crashes.
func forbidCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
