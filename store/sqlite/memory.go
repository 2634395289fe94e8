package sqlite

import (
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The engine asks for 13 to 50 KiB of memory each time that it balances pages of a tree, and gives them back at once. The
// allocator below it gets every piece of more than 16 KiB from the system, which clears it and takes it away again: a
// sixth of the time in which a million people are loaded. So a few pieces of that size are kept here.

// Pieces of more than scratchFrom bytes, and at most scratchSize, are as large as scratchSize.
const (
	scratchFrom = 16 << 10
	scratchSize = 64 << 10
	keptScratch = 8
)

// memory is that of the engine, in this process.
var memory struct {
	once        sync.Once
	usual, ours sqlite3.Tsqlite3_mem_methods

	mu    sync.Mutex
	spare []uintptr // pieces of scratchSize
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
		memory.ours = memory.usual
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

// takeMemory is the xMalloc of the engine.
func takeMemory(tls *libc.TLS, size int32) uintptr {
	usual := function[func(*libc.TLS, int32) uintptr](memory.usual.FxMalloc)
	if size <= scratchFrom || size > scratchSize {
		return usual(tls, size)
	}
	memory.mu.Lock()
	defer memory.mu.Unlock()
	if n := len(memory.spare); n > 0 {
		piece := memory.spare[n-1]
		memory.spare = memory.spare[:n-1]
		return piece
	}
	return usual(tls, scratchSize)
}

// giveMemory is the xFree of the engine.
func giveMemory(tls *libc.TLS, piece uintptr) {
	if function[func(*libc.TLS, uintptr) int32](memory.usual.FxSize)(tls, piece) == scratchSize && keepMemory(piece) {
		return
	}
	function[func(*libc.TLS, uintptr)](memory.usual.FxFree)(tls, piece)
}

func keepMemory(piece uintptr) bool {
	memory.mu.Lock()
	defer memory.mu.Unlock()
	if len(memory.spare) == keptScratch {
		return false
	}
	memory.spare = append(memory.spare, piece)
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
