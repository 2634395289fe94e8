package ingest

import (
	"bytes"
	"io"
)

// Limits of what a source may send. What is larger is refused, row by row, and never held
// whole in memory.
const (
	maxCell      = 1 << 20 // bytes of one cell
	maxRow       = 4 << 20 // bytes of one row
	maxCellLines = 1000    // line ends within one quoted cell; an unterminated quote ends here
)

// window slides over a file. The current row begins at start; a row is looked at in place and
// refused rows are copied out verbatim.
type window struct {
	src   io.Reader
	buf   []byte
	start int // of the current row
	end   int // of what was read
	eof   bool
	err   error // of the source, other than its end
	line  int   // line of start, from 1
}

func newWindow(src io.Reader) *window {
	return &window{src: src, buf: make([]byte, 256<<10), line: 1}
}

// fill reads more behind end. It reports false at the end of the file, on an error, and when
// the row would outgrow maxRow. Offsets into buf move with start.
func (w *window) fill() bool {
	if w.eof || w.err != nil || w.end-w.start > maxRow {
		return false
	}
	if w.start > 0 {
		copy(w.buf, w.buf[w.start:w.end])
		w.end -= w.start
		w.start = 0
	}
	if w.end == len(w.buf) {
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
	n, err := io.ReadAtLeast(w.src, w.buf[w.end:], 1)
	w.end += n
	switch err {
	case nil:
	case io.EOF:
		w.eof = true
	default:
		w.err = err
	}
	return n > 0
}

// rest is what has been read of the current row and behind it.
func (w *window) rest() []byte { return w.buf[w.start:w.end] }

// advance moves start behind the first n bytes.
func (w *window) advance(n int) {
	w.line += bytes.Count(w.buf[w.start:w.start+n], newline)
	w.start += n
}

var newline = []byte{'\n'}

// takeLine copies the physical line at start to dst (nil: nowhere), from its byte from on,
// without its line end, in pieces when it is long, and moves behind it.
func (w *window) takeLine(dst io.Writer, from int) error {
	for {
		if i := bytes.IndexByte(w.rest(), '\n'); i >= 0 {
			err := emit(dst, bytes.TrimSuffix(w.rest()[min(from, i):i], []byte{'\r'}))
			w.advance(i + 1)
			return err
		}
		if err := emit(dst, w.rest()[min(from, len(w.rest())):]); err != nil {
			return err
		}
		from = max(0, from-len(w.rest()))
		w.start = w.end
		if !w.fill() {
			return nil
		}
	}
}

func emit(dst io.Writer, piece []byte) error {
	if dst == nil {
		return nil
	}
	_, err := dst.Write(piece)
	return err
}
