package vault

import (
	"bytes"
	"io"
	"os"
	"testing"

	"github.com/annona-exchange/annona"
)

// The file of a spool shows nothing, and nothing of it can be changed, moved or cut off.
func TestSpoolIsSealed(t *testing.T) {
	s, err := NewSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	text := bytes.Repeat([]byte("Nyaboke "), 3*spoolChunk/8+1)
	if _, err := s.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := s.End(); err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, len(text)+int(s.chunks)*(s.aead.NonceSize()+s.aead.Overhead()))
	if _, err := s.file.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(whole, []byte("Nyaboke")) {
		t.Error("the file shows what was written")
	}
	size := int64(spoolChunk + s.aead.NonceSize() + s.aead.Overhead())
	for name, spoil := range map[string]func(){
		"a byte":                     func() { s.file.WriteAt([]byte{whole[70] ^ 1}, 70) },
		"two chunks in each other's": func() { s.file.WriteAt(whole[size:2*size], 0); s.file.WriteAt(whole[:size], size) },
		"the end cut off":            func() { s.file.Truncate(3 * size); s.chunks-- },
	} {
		spoil()
		r, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); err == nil {
			t.Errorf("%s changed, and it is read", name)
		}
		s.chunks = 4
		if _, err := s.file.WriteAt(whole, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A spool says that the disk is full: while it is written, or at its end.
func TestSpoolOnAFullDisk(t *testing.T) {
	for _, size := range []int{1, 3 * spoolChunk} {
		s, err := NewSpool(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s.file.Close()
		if s.file, err = os.OpenFile("/dev/full", os.O_RDWR, 0); err != nil {
			t.Skip("this system has no /dev/full")
		}
		_, err = s.Write(make([]byte, size))
		if err == nil {
			err = s.End()
		}
		if annona.CodeOf(err) != "spool_full" || annona.KindOf(err) != annona.KindUnavailable {
			t.Errorf("%d bytes: %v", size, err)
		}
		s.file.Close()
	}
}
