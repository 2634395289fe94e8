package sqlite

import (
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"modernc.org/libc"
	"zombiezen.com/go/sqlite"
)

// Memory that the engine takes for a moment is kept and used again, no piece twice at once, and no more than a few; what is smaller
// or larger goes to its own allocator.
func TestMomentaryMemoryIsKept(t *testing.T) {
	c, err := open(filepath.Join(t.TempDir(), "scratch"), sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, sql := range []string{"PRAGMA page_size = 8192", "CREATE TABLE t (a INTEGER)", "CREATE INDEX i ON t (a)",
		"WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000) INSERT INTO t SELECT random() % 30000 FROM n", "PRAGMA shrink_memory"} {
		if err := c.exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	spare := func(c *class) []uintptr {
		memory.mu.Lock()
		defer memory.mu.Unlock()
		return slices.Clone(c.spare)
	}
	tls := libc.NewTLS()
	defer tls.Close()
	for i := range memory.classes {
		c := &memory.classes[i]
		if len(spare(c)) == 0 {
			t.Errorf("the engine has balanced pages and emptied a cache, and kept no piece of %d bytes", c.size)
		}
		var pieces []uintptr
		for range c.most + 3 {
			piece := takeMemory(tls, c.from)
			if slices.Contains(pieces, piece) {
				t.Fatal("a piece was given twice")
			}
			bytes := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&piece))), c.size)
			bytes[0], bytes[len(bytes)-1] = 1, 1
			pieces = append(pieces, piece)
		}
		for _, piece := range pieces {
			giveMemory(tls, piece)
		}
		if kept := spare(c); len(kept) > c.most || !slices.Contains(kept, pieces[0]) && !slices.Contains(kept, pieces[c.most-1]) {
			t.Errorf("%d pieces of %d bytes are kept, of at most %d", len(kept), c.size, c.most)
		}
	}
	all := func() (all []uintptr) {
		for i := range memory.classes {
			all = append(all, spare(&memory.classes[i])...)
		}
		return all
	}
	for _, size := range []int32{100, 8<<10 - 1, 12<<10 + 1, 16 << 10, 64<<10 + 1} {
		piece := takeMemory(tls, size)
		giveMemory(tls, piece)
		if piece == 0 || slices.Contains(all(), piece) {
			t.Errorf("a piece of %d bytes is kept, or was not given", size)
		}
	}
}
