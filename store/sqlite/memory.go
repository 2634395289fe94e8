package sqlite

import (
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The engine takes memory for a moment, again and again: 13 to 50 KiB each time that it balances pages of a tree, and a
// little more than 8 for each page of a reader, whose cache every commit empties. The allocator below it gets that from the
// system, which clears it and takes it away again: a sixth of the time in which a million people are loaded, and of that in
// which records are looked up. So some pieces of these sizes are kept here.

// class is pieces of one size: who asks for at least from and at most size bytes gets one of them.
type class struct {
	from, size int32 // bytes
	most       int   // that are kept
	spare      []uintptr
}

// memory is that of the engine, in this process.
var memory struct {
	once        sync.Once
	usual, ours sqlite3.Tsqlite3_mem_methods

	mu      sync.Mutex
	classes [2]class // by size
}

func newClasses() [2]class {
	return [2]class{
		{from: 8 << 10, size: 12 << 10, most: 512},  // a page, with what the engine keeps of it
		{from: 16<<10 + 1, size: 64 << 10, most: 8}, // for balancing
	}
}

// prepareMemory has the engine use it. Where another part of the process has begun to use the engine before, all stays
// as it is.
func prepareMemory() {
	memory.once.Do(func() {
		tls := libc.NewTLS()
		defer tls.Close()
		if !configure(tls, sqlite3.SQLITE_CONFIG_GETMALLOC, uintptr(unsafe.Pointer(&memory.usual))) {
			return
		}
		memory.ours, memory.classes = memory.usual, newClasses()
		memory.ours.FxMalloc, memory.ours.FxFree = pointerTo(takeMemory), pointerTo(giveMemory)
		configure(tls, sqlite3.SQLITE_CONFIG_MALLOC, uintptr(unsafe.Pointer(&memory.ours)))
	})
}

func configure(tls *libc.TLS, option int32, value any) bool {
	arguments := libc.NewVaList(value)
	if arguments == 0 {
		return false
	}
	defer libc.Xfree(tls, arguments)
	return sqlite3.Xsqlite3_config(tls, option, arguments) == sqlite3.SQLITE_OK
}

// classOf returns the class that serves a size; nil: none does.
func classOf(size int32) *class {
	for i := range memory.classes {
		if c := &memory.classes[i]; size >= c.from && size <= c.size {
			return c
		}
	}
	return nil
}

// takeMemory is the xMalloc of the engine.
func takeMemory(tls *libc.TLS, size int32) uintptr {
	usual := function[func(*libc.TLS, int32) uintptr](memory.usual.FxMalloc)
	c := classOf(size)
	if c == nil {
		return usual(tls, size)
	}
	if piece, ok := c.take(); ok {
		return piece
	}
	return usual(tls, c.size)
}

// giveMemory is the xFree of the engine.
func giveMemory(tls *libc.TLS, piece uintptr) {
	size := function[func(*libc.TLS, uintptr) int32](memory.usual.FxSize)(tls, piece)
	if c := classOf(size); c != nil && size == c.size && c.keep(piece) {
		return
	}
	function[func(*libc.TLS, uintptr)](memory.usual.FxFree)(tls, piece)
}

func (c *class) take() (piece uintptr, ok bool) {
	memory.mu.Lock()
	defer memory.mu.Unlock()
	n := len(c.spare)
	if n == 0 {
		return 0, false
	}
	piece = c.spare[n-1]
	c.spare = c.spare[:n-1]
	return piece, true
}

func (c *class) keep(piece uintptr) bool {
	memory.mu.Lock()
	defer memory.mu.Unlock()
	if len(c.spare) == c.most {
		return false
	}
	c.spare = append(c.spare, piece)
	return true
}

// pointerTo makes a pointer of C of a function that is declared, and function the other way round: the engine is C that
// was translated to Go, in which a pointer to a function is the value of one.
func pointerTo[F any](f F) uintptr {
	return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f}))
}

func function[F any](pointer uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ p uintptr }{pointer}))
}
