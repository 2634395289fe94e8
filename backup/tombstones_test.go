package backup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// mask stands for the vault: it seals so that one can tell.
type mask byte

func (m mask) SealTombstone(text []byte) []byte {
	sealed := []byte{byte(m)}
	for _, b := range text {
		sealed = append(sealed, b^byte(m))
	}
	return sealed
}

func (m mask) OpenTombstone(sealed []byte) ([]byte, bool) {
	if len(sealed) == 0 || sealed[0] != byte(m) {
		return nil, false
	}
	return m.SealTombstone(sealed[1:])[1:], true
}

func stoneOf(n int) annona.Tombstone {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return annona.Tombstone{ID: annona.NewUID(), Dataset: "individuals", Source: "survey", Key: fmt.Sprint("key ", n), Number: annona.Number(n), Reason: "unlawful", ErasedAt: at, ExpiresAt: at.AddDate(10, 0, 0)}
}

func keep(t *testing.T, file Tombstones, stones ...annona.Tombstone) {
	t.Helper()
	for _, stone := range stones {
		if err := file.Keep(t.Context(), stone); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTombstonesAreKept(t *testing.T) {
	file := Tombstones{filepath.Join(t.TempDir(), "tombstones"), mask(0x5a)}
	if _, err := file.Read(); annona.CodeOf(err) != "tombstones_missing" {
		t.Errorf("no file: %v", err)
	}
	one, two := stoneOf(1), stoneOf(2)
	finished := one
	finished.ShreddedAt = one.ErasedAt.Add(time.Second)
	keep(t, file, one, two, finished)
	got, err := file.Read()
	if err != nil || len(got) != 2 || got[0] != finished || got[1] != two {
		t.Errorf("%+v, %v", got, err)
	}
	if info, err := os.Stat(file.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, _ := os.ReadFile(file.Path)
	if bytes.Contains(text, []byte("survey")) {
		t.Error("the file says what it holds")
	}
	other := Tombstones{file.Path, mask(0x33)}
	if _, err := other.Read(); annona.CodeOf(err) != "tombstones_damaged" {
		t.Errorf("read by another registry: %v", err)
	}
	nowhere := Tombstones{filepath.Join(t.TempDir(), "missing", "tombstones"), mask(1)}
	if err := nowhere.Keep(t.Context(), one); annona.CodeOf(err) != "tombstones_unwritable" {
		t.Errorf("no folder: %v", err)
	}
}

// TestTornTombstones: the power fails at any byte of a line. What was kept before stays, what is
// kept afterwards is read.
func TestTornTombstones(t *testing.T) {
	file := Tombstones{filepath.Join(t.TempDir(), "tombstones"), mask(0x5a)}
	first, torn, last := stoneOf(1), stoneOf(2), stoneOf(3)
	keep(t, file, first)
	whole, _ := os.ReadFile(file.Path)
	keep(t, file, torn)
	both, _ := os.ReadFile(file.Path)
	for size := len(whole); size < len(both); size++ {
		if err := os.WriteFile(file.Path, both[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := file.Read(); err != nil || len(got) < 1 || got[0] != first {
			t.Fatalf("torn at %d: %+v, %v", size, got, err)
		}
		keep(t, file, last)
		got, err := file.Read()
		if err != nil || got[len(got)-1] != last {
			t.Fatalf("after a line torn at %d: %+v, %v", size, got, err)
		}
	}
}

// TestChangedTombstones: a line that does not open is not passed over.
func TestChangedTombstones(t *testing.T) {
	file := Tombstones{filepath.Join(t.TempDir(), "tombstones"), mask(0x5a)}
	keep(t, file, stoneOf(1), stoneOf(2), stoneOf(3))
	lines := strings.SplitAfter(string(must(os.ReadFile(file.Path))), "\n")
	for name, text := range map[string]string{
		"in the middle": lines[0] + "A" + lines[1][1:] + lines[2],
		"at the end":    lines[0] + lines[1] + "A" + lines[2][1:],
		"half a line":   lines[0] + lines[1][:40] + "\n" + lines[2],
		"no base64":     lines[0] + "!\n" + lines[2],
		"a long line":   lines[0] + strings.Repeat("A", 1<<20) + "\n",
	} {
		if err := os.WriteFile(file.Path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Read(); annona.CodeOf(err) != "tombstones_damaged" && annona.CodeOf(err) != "file_unreadable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestTombstonesOfManyProcesses: lines of several writers do not run into one another.
func TestTombstonesOfManyProcesses(t *testing.T) {
	file := Tombstones{filepath.Join(t.TempDir(), "tombstones"), mask(0x5a)}
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			for n := range 20 {
				if err := file.Keep(t.Context(), stoneOf(w*100+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	if got, err := file.Read(); err != nil || len(got) != 80 {
		t.Errorf("%d tombstones, %v", len(got), err)
	}
}
