package vault_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/annona-exchange/annona/vault"
)

// A spool gives back what was written, as often as it is asked, and lies nowhere in clear.
func TestSpool(t *testing.T) {
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000} {
		folder := filepath.Join(t.TempDir(), "spool")
		s, err := vault.NewSpool(folder)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("Wanjiku "), size/8+1)[:size]
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(100_000))
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if _, err := s.Open(); err == nil {
			t.Error("a spool that was not ended is read")
		}
		if err := s.End(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := s.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("of %d bytes: %d, %v", size, len(got), err)
			}
		}
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("the folder holds %v, %v", left, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestSweepSpools(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"spool-1", "other"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := vault.SweepSpools(folder); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v", left)
	}
	if err := vault.SweepSpools(filepath.Join(folder, "missing")); err != nil {
		t.Error(err)
	}
}
