package sqlite

import (
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"modernc.org/libc"
	"zombiezen.com/go/sqlite"
)

// Scratch memory of the engine is kept and used again, no piece twice at once, and no more than a few; what is smaller
// or larger goes to its own allocator.
func TestScratchMemoryIsKept(t *testing.T) {
	c, err := open(filepath.Join(t.TempDir(), "scratch"), sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, sql := range []string{"PRAGMA page_size = 8192", "CREATE TABLE t (a INTEGER)", "CREATE INDEX i ON t (a)",
		"WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) INSERT INTO t SELECT random() % 30000 FROM n"} {
		if err := c.exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	spare := func() []uintptr {
		memory.mu.Lock()
		defer memory.mu.Unlock()
		return slices.Clone(memory.spare)
	}
	if len(spare()) == 0 {
		t.Error("the engine has balanced pages and kept no memory")
	}
	tls := libc.NewTLS()
	defer tls.Close()
	var pieces []uintptr
	for range keptScratch + 3 {
		piece := takeMemory(tls, 50<<10)
		if slices.Contains(pieces, piece) {
			t.Fatal("a piece was given twice")
		}
		bytes := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&piece))), 50<<10)
		bytes[0], bytes[len(bytes)-1] = 1, 1
		pieces = append(pieces, piece)
	}
	for _, piece := range pieces {
		giveMemory(tls, piece)
	}
	if kept := spare(); len(kept) > keptScratch || !slices.Contains(kept, pieces[0]) && !slices.Contains(kept, pieces[keptScratch-1]) {
		t.Errorf("%d pieces are kept, of at most %d", len(kept), keptScratch)
	}
	for _, size := range []int32{100, scratchFrom, scratchSize + 1} {
		piece := takeMemory(tls, size)
		giveMemory(tls, piece)
		if piece == 0 || slices.Contains(spare(), piece) {
			t.Errorf("a piece of %d bytes is kept, or was not given", size)
		}
	}
}
