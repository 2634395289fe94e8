package main

import "golang.org/x/sys/unix"

// freeSpace returns how many bytes this account may still write in a folder, and how many its disk
// has.
func freeSpace(folder string) (free, size uint64, known bool) {
	var s unix.Statfs_t
	if unix.Statfs(folder, &s) != nil {
		return 0, 0, false
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), true
}
