package encode

import (
	"io"
	"sync"
)

// flushSize is how much is gathered before it is handed to the writer, in bytes.
const flushSize = 64 << 10

// keepSize is how much memory the buffer keeps after a large row, in bytes.
const keepSize = 4 * flushSize

// buffer gathers rows for a writer.
type buffer struct {
	w io.Writer
	b []byte
}

// spare are buffers that nobody uses, with their memory.
var spare = sync.Pool{New: func() any { return new(buffer) }}

// newBuffer returns a buffer that is given back by free, behind its last flush.
func newBuffer(w io.Writer) *buffer {
	b := spare.Get().(*buffer)
	b.w, b.b = w, b.b[:0]
	return b
}

func (b *buffer) free() {
	b.w = nil
	if cap(b.b) <= keepSize {
		spare.Put(b)
	}
}

func (b *buffer) flush() error {
	if len(b.b) == 0 {
		return nil
	}
	n, err := b.w.Write(b.b)
	if err == nil && n < len(b.b) {
		err = io.ErrShortWrite
	}
	if cap(b.b) > keepSize {
		b.b = nil
	}
	b.b = b.b[:0]
	return err
}
