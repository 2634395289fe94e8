package vault

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRootKeyIsWholeOrNotThere: whoever looks at the name while the file is made sees all of it or
// nothing, and of several makers one wins.
func TestRootKeyIsWholeOrNotThere(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 1<<14)
	for range 20 {
		dir := t.TempDir()
		path := filepath.Join(dir, RootFile)
		made := make(chan error)
		for range 3 {
			go func() { made <- createWhole(path, text) }()
		}
		won := 0
		for left := 3; left > 0; {
			select {
			case err := <-made:
				left--
				if err == nil {
					won++
				} else if !errors.Is(err, fs.ErrExist) {
					t.Fatal(err)
				}
			default:
				if seen, err := os.ReadFile(path); err == nil && string(seen) != text {
					t.Fatalf("a reader saw %d of %d bytes", len(seen), len(text))
				}
			}
		}
		if left, err := os.ReadDir(dir); won != 1 || err != nil || len(left) != 1 {
			t.Fatalf("%d makers won, %d files are left: %v", won, len(left), err)
		}
	}
}
