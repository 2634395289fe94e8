package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func hexed(text string) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, c := range []byte(text) {
		out.WriteString(`\x`)
		out.WriteByte(digits[c>>4])
		out.WriteByte(digits[c&15])
	}
	return out.String()
}

// A write that began before a sync and ended behind it is not certain; one that the sync
// followed is.
func TestTraceIsReadInItsOrder(t *testing.T) {
	path := hexed("/r/a")
	trace := strings.Join([]string{
		`11 openat(AT_FDCWD<` + hexed("/") + `>, "` + path + `", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5<` + path + `>`,
		`11 pwrite64(5<` + path + `>, "` + hexed("one, (two) = 3") + `", 14, 0) = 14`,
		`12 pwrite64(5<` + path + `>, "` + hexed("LATE") + `", 4, 512 <unfinished ...>`,
		`11 fsync(5<` + path + `> <unfinished ...>`,
		`12 <... pwrite64 resumed>)              = 4`,
		`11 <... fsync resumed>)                 = 0`,
		`11 exit_group(0)                        = ?`,
		`11 +++ exited with 0 +++`,
	}, "\n") + "\n"
	calls, err := readTrace(strings.NewReader(trace))
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{root: "/r", names: map[string]*file{}, certain: map[string]*file{}}
	for _, c := range calls[:4] {
		if err := d.apply(c); err != nil {
			t.Fatal(err)
		}
	}
	f := d.names["/r/a"]
	if f == nil || string(f.certain) != "one, (two) = 3" || len(f.pending) != 1 {
		t.Fatalf("%+v", f)
	}
	if d.certain["/r/a"] != nil {
		t.Error("a name is certain whose folder was not synced")
	}
	if _, err := readTrace(strings.NewReader("11 <... fsync resumed>) = 0\n")); err == nil {
		t.Error("what was not begun was resumed")
	}
}

// lying is a disk with one file that was synced as "old" and written as "newer" since.
func lying(t *testing.T) *disk {
	t.Helper()
	d := &disk{root: "/r", names: map[string]*file{}, certain: map[string]*file{}}
	for n, c := range []*call{
		{name: "openat", path: "/r/a", args: []string{"", "/r/a", "O_CREAT|O_RDWR"}, result: 5},
		{name: "pwrite64", path: "/r/a", args: []string{"", "old", "3", "0"}, result: 3},
		{name: "fsync", path: "/r/a"},
		{name: "fsync", path: "/r"},
		{name: "pwrite64", path: "/r/a", args: []string{"", strings.Repeat("n", 2*sector), "1024", "0"}, result: 2 * sector},
		{name: "openat", path: "/r/b", args: []string{"", "/r/b", "O_CREAT|O_RDWR"}, result: 5},
	} {
		c.began, c.ended = n+1, n+1
		if err := d.apply(c); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestCutKeepsWhatWasSynced(t *testing.T) {
	for kept, want := range map[float64][]string{0: {"old"}, 1: {strings.Repeat("n", 2*sector), ""}} {
		folder := t.TempDir()
		if err := lying(t).cut(folder, kept, rand.New(rand.NewPCG(1, 1))); err != nil {
			t.Fatal(err)
		}
		entries, _ := os.ReadDir(folder)
		if len(entries) != len(want) {
			t.Errorf("kept %v: %d files", kept, len(entries))
		}
		if content, _ := os.ReadFile(filepath.Join(folder, "a")); string(content) != want[0] {
			t.Errorf("kept %v: %q", kept, content)
		}
	}
}

// A write is torn where a sector ends and nowhere else.
func TestCutTearsAtSectors(t *testing.T) {
	seen := map[string]bool{}
	for n := range 64 {
		folder := t.TempDir()
		if err := lying(t).cut(folder, 0.5, rand.New(rand.NewPCG(uint64(n), 1))); err != nil {
			t.Fatal(err)
		}
		content, _ := os.ReadFile(filepath.Join(folder, "a"))
		var shape string
		for at := 0; at < len(content); at += sector {
			part := string(content[at:min(at+sector, len(content))])
			switch {
			case part == strings.Repeat("n", sector):
				shape += "n"
			case !strings.Contains(part, "n"):
				shape += "o"
			default:
				t.Fatalf("a sector is torn: %q", part)
			}
		}
		seen[shape] = true
	}
	for _, shape := range []string{"o", "n", "nn", "on"} {
		if !seen[shape] {
			t.Errorf("never seen: %s", shape)
		}
	}
}

// What the model does not know it refuses.
func TestDiskRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []*call{
		{name: "fallocate", path: "/r/a", ended: 1},
		{name: "mmap", path: "/r/a", args: []string{"NULL", "4096", "PROT_READ|PROT_WRITE", "MAP_SHARED", "5<" + hexed("/r/a") + ">", "0"}, ended: 1},
	} {
		if err := lying(t).apply(c); err == nil {
			t.Errorf("%s passed", c.name)
		}
	}
}
