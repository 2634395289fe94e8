package main

import "runtime"

// heapReserve is how much a server holds and never touches, in bytes.
const heapReserve = 32 << 20

// reserveHeap has the collector of garbage come when the heap has grown by the reserve, at the
// earliest: it comes each time that the heap has doubled. A server holds a few MiB, and each request
// leaves some hundred KiB behind: the collector would come with every dozen of them, and take a third
// of the processor time. What is never touched takes no memory of the machine. It is held until release.
func reserveHeap() (release func()) {
	reserve := make([]byte, heapReserve)
	return func() { runtime.KeepAlive(reserve) }
}
