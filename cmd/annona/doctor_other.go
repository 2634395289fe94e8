//go:build !linux

package main

// freeSpace is not known here.
func freeSpace(string) (free, size uint64, known bool) { return 0, 0, false }
