package vault

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/annona-exchange/annona"
)

// Spool keeps what has to be read again for a while: in a file, sealed under a key of its own that is
// nowhere but in the memory of this process. When the process ends, however it ends, nobody can read
// the file, and where the system can the file is gone too.
//
// It is written once, ended, and then read from its beginning as often as one likes. The file is
// chunks, each sealed by ChaCha20-Poly1305 and bound to its number, the last one marked as that.
type Spool struct {
	file   *os.File
	named  bool // the file still has its name
	aead   cipher.AEAD
	chunk  []byte // that is being filled
	chunks uint64 // written
	ended  bool
}

const (
	spoolChunk  = 64 << 10
	spoolPrefix = "spool-"
)

// NewSpool makes an empty spool in a folder, which it makes when it is missing.
func NewSpool(folder string) (*Spool, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, spoolFailed(err)
	}
	file, err := os.CreateTemp(folder, spoolPrefix+"*")
	if err != nil {
		return nil, spoolFailed(err)
	}
	s := &Spool{file: file, aead: newCellAEAD(fresh(keySize)), chunk: make([]byte, 0, spoolChunk)}
	s.named = os.Remove(file.Name()) != nil // some systems keep the name of a file that is open
	return s, nil
}

// SweepSpools removes what a process that broke down may have left in a folder.
func SweepSpools(folder string) error {
	left, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range left {
		if strings.HasPrefix(entry.Name(), spoolPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(folder, entry.Name())))
		}
	}
	return err
}

// Write adds to the spool. It fails with code spool_full when the disk is full.
func (s *Spool) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(s.chunk) == spoolChunk {
			if err := s.put(false); err != nil {
				return n, err
			}
		}
		some := min(len(p), spoolChunk-len(s.chunk))
		s.chunk = append(s.chunk, p[:some]...)
		n, p = n+some, p[some:]
	}
	return n, nil
}

// End completes the spool. What was not ended cannot be read.
func (s *Spool) End() error {
	if err := s.put(true); err != nil {
		return err
	}
	s.ended, s.chunk = true, nil
	return nil
}

func (s *Spool) put(last bool) error {
	if _, err := s.file.Write(seal(nil, s.aead, s.chunk, spoolPlace(s.chunks, last))); err != nil {
		return spoolFailed(err)
	}
	s.chunks++
	s.chunk = s.chunk[:0]
	return nil
}

// spoolPlace is what a chunk is bound to.
func spoolPlace(chunk uint64, last bool) []byte {
	place := binary.BigEndian.AppendUint64(nil, chunk)
	if last {
		return append(place, 1)
	}
	return append(place, 0)
}

// Open reads the spool from its beginning.
func (s *Spool) Open() (io.ReadCloser, error) {
	if !s.ended {
		return nil, annona.Internal("read a spool that was not ended", nil)
	}
	return &spoolReader{spool: s}, nil
}

// Close gives the spool up.
func (s *Spool) Close() error {
	err := s.file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	return err
}

type spoolReader struct {
	spool  *Spool
	chunks uint64 // read
	sealed []byte
	plain  []byte
	rest   []byte // of plain
}

func (r *spoolReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.chunks == r.spool.chunks {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *spoolReader) next() error {
	size := spoolChunk + r.spool.aead.NonceSize() + r.spool.aead.Overhead()
	if r.sealed == nil {
		r.sealed = make([]byte, size)
	}
	n, err := r.spool.file.ReadAt(r.sealed, int64(r.chunks)*int64(size))
	if err != nil && !errors.Is(err, io.EOF) {
		return spoolFailed(err)
	}
	last := r.chunks == r.spool.chunks-1
	if r.plain, err = openInto(r.plain[:0], r.spool.aead, r.sealed[:n], spoolPlace(r.chunks, last)); err != nil {
		return annona.Internal("read back what was spooled: the file is not what was written", err)
	}
	r.rest, r.chunks = r.plain, r.chunks+1
	return nil
}

func (r *spoolReader) Close() error { return nil }

func spoolFailed(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return annona.Unavailable("spool_full", "there is no room on the disk for what waits in the data folder; make room and try again").Because(err)
	}
	return annona.Internal("keep what has to wait", err)
}
