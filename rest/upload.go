package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/annona-exchange/annona"
)

// The bounds of an upload. Its size is bounded as it comes and as it unpacks.
const (
	defaultUpload = 4 << 30       // bytes
	longestUpload = 6 * time.Hour // however steadily it drips
)

// upload is the body of a load on its way in: unpacked, each read with a deadline, bounded.
type upload struct {
	rows   io.Reader
	closer func()
	left   int64 // bytes that may still come out
	most   int64
}

// newUpload reads the body of a request.
func (s *Server) newUpload(r *http.Request, w http.ResponseWriter) (*upload, error) {
	if r.ContentLength > s.MaxUpload {
		return nil, uploadTooLarge(s.MaxUpload)
	}
	raw := &steady{body: r.Body, control: http.NewResponseController(w), timeout: s.WriteTimeout, until: time.Now().Add(longestUpload)}
	stop := context.AfterFunc(s.draining, raw.stop)
	u := &upload{rows: raw, left: s.MaxUpload, most: s.MaxUpload, closer: func() { stop() }}
	switch coding(r.Header.Get("Content-Encoding")) {
	case gzipped:
		u.rows = &lazily{open: func() (io.Reader, error) { return gzip.NewReader(raw) }, raw: raw}
	case zstded:
		u.rows = &lazily{open: func() (io.Reader, error) {
			unpacked, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemory), zstd.WithDecoderMaxWindow(zstdMemory))
			if err == nil {
				u.closer = func() { stop(); unpacked.Close() }
			}
			return unpacked, err
		}, raw: raw}
	}
	return u, nil
}

// zstdMemory bounds what unpacking remembers.
const zstdMemory = 32 << 20

func uploadTooLarge(most int64) error {
	return refused(http.StatusRequestEntityTooLarge, annona.TooLarge("body_too_large", "the body, unpacked, has at most %d bytes; send less at once, rows in several parts", most))
}

// Read reads the unpacked body.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.rows.Read(p[:min(int64(len(p)), u.left+1)])
	if u.left -= int64(n); u.left < 0 {
		return 0, uploadTooLarge(u.most)
	}
	return n, err
}

// Close gives back what unpacking holds.
func (u *upload) Close() { u.closer() }

// lazily unpacks: nothing of the body is read before somebody asks for rows.
type lazily struct {
	open func() (io.Reader, error)
	from io.Reader
	raw  *steady
}

func (l *lazily) Read(p []byte) (n int, err error) {
	if l.from == nil {
		if l.from, err = l.open(); err != nil {
			l.from = nil
			return 0, l.why(err)
		}
	}
	n, err = l.from.Read(p)
	return n, l.why(err)
}

// why tells a body that broke off from one that cannot be unpacked.
func (l *lazily) why(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case l.raw.failed != nil:
		return l.raw.failed
	}
	return annona.Invalid("body_unreadable", "the body cannot be unpacked: it is not what Content-Encoding says, or was cut off").On("Content-Encoding").Because(err)
}

var errUploadTimeout = refused(http.StatusRequestTimeout, annona.Invalid("body_timeout", "the rows did not arrive in time; nothing was loaded"))

// steady reads a body whose sender keeps on sending.
type steady struct {
	body    io.Reader
	control *http.ResponseController
	timeout time.Duration // for the next chunk
	until   time.Time     // for all of it
	left    int           // of the chunk
	failed  error
	ending  atomic.Bool // the server shuts down
}

// stop makes a read that waits for the sender fail, and every later one.
func (s *steady) stop() {
	s.ending.Store(true)
	s.control.SetReadDeadline(time.Unix(1, 0))
}

// Read reads some of the body. The sender has the time of a chunk for each 64 KiB.
func (s *steady) Read(p []byte) (int, error) {
	if s.ending.Load() {
		s.failed = errShuttingDown
	}
	if s.failed != nil {
		return 0, s.failed
	}
	if s.left <= 0 {
		deadline := time.Now().Add(s.timeout)
		if s.until.Before(deadline) {
			deadline = s.until
		}
		s.control.SetReadDeadline(deadline) // a request without deadlines is one in a test
		s.left = chunk
	}
	n, err := s.body.Read(p[:min(len(p), s.left)])
	s.left -= n
	switch {
	case err == nil:
	case err == io.EOF:
		return n, io.EOF
	case s.ending.Load():
		s.failed = errShuttingDown
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.failed = errUploadTimeout
	default:
		s.failed = annona.Invalid("body_incomplete", "the body broke off; nothing was loaded").Because(err)
	}
	return n, s.failed
}
