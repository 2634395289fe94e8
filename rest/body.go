package rest

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
)

// chunk is how much is written under one deadline.
const chunk = 64 << 10

// body is the body of an answer on its way out: compressed as the client likes it best, in
// chunks that each have a deadline. Status and headers leave with the first byte; until then
// a failure can still become a problem.
//
// A body ends in one of two ways: complete, or not at all. Whoever does not call complete
// aborts the connection.
type body struct {
	out        *response
	header     http.Header // staged until the first byte
	codings    *codings
	coding     coding
	compressor compressor
	began      bool
	wire       wire
}

var errClientGone = annona.Unavailable("client_gone", "the client went away or stopped reading")

// wire writes to the connection.
type wire struct {
	out     *response
	control *http.ResponseController
	timeout time.Duration

	mu  sync.Mutex
	cut bool
}

func (s *Server) newBody(out *response, r *http.Request, header http.Header) *body {
	b := &body{out: out, header: header, codings: &s.codings}
	b.wire = wire{out: out, control: http.NewResponseController(out), timeout: s.WriteTimeout}
	header.Add("Vary", "Accept, Accept-Encoding")
	if !encode.Compressed(header.Get("Content-Type")) {
		b.coding = negotiateCoding(r.Header.Get("Accept-Encoding"))
	}
	if b.coding != unencoded {
		header.Set("Content-Encoding", string(b.coding))
	}
	return b
}

// begin sends status and headers.
func (b *body) begin() {
	if b.began {
		return
	}
	b.began = true
	maps.Copy(b.out.Header(), b.header)
	b.out.WriteHeader(http.StatusOK)
	if b.coding != unencoded {
		b.compressor = b.codings.take(b.coding, &b.wire)
	}
}

func (b *body) Write(p []byte) (int, error) {
	b.begin()
	if b.compressor != nil {
		return b.compressor.Write(p)
	}
	return b.wire.Write(p)
}

// flush sends what was written so far.
func (b *body) flush() error {
	if b.compressor != nil {
		if err := b.compressor.Flush(); err != nil {
			return err
		}
	}
	if err := b.wire.extend(); err != nil {
		return err
	}
	if err := b.wire.control.Flush(); err != nil {
		return errClientGone.Because(err)
	}
	return nil
}

// complete ends the body. Without it a compressed body has no end either.
func (b *body) complete() error {
	b.begin()
	if b.compressor != nil {
		if err := b.compressor.Close(); err != nil {
			return err
		}
	}
	return b.wire.extend()
}

// release gives the compressor back, whatever became of the body.
func (b *body) release() {
	if b.compressor != nil {
		b.codings.give(b.coding, b.compressor)
		b.compressor = nil
	}
}

// abort ends the connection in the midst of the body. It does not return.
func (b *body) abort() {
	b.wire.stop()
	panic(http.ErrAbortHandler)
}

func (w *wire) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(chunk, len(p))]
		if err := w.extend(); err != nil {
			return n, err
		}
		m, err := w.out.Write(part)
		n += m
		if err != nil {
			return n, errClientGone.Because(err)
		}
		p = p[m:]
	}
	return n, nil
}

// extend gives the client time for the next chunk, unless the body was cut.
func (w *wire) extend() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return errClientGone
	}
	w.control.SetWriteDeadline(time.Now().Add(w.timeout)) // a writer without deadlines is one in a test
	return nil
}

// stop makes a write that waits for the client fail, and every later one.
func (w *wire) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	w.control.SetWriteDeadline(time.Unix(1, 0))
}

var errOldHTTP = refused(http.StatusHTTPVersionNotSupported, annona.Invalid("http_version",
	"an answer about people needs HTTP/1.1: older versions cannot tell a complete body from one that broke off. Have the proxy before this server speak HTTP/1.1 to it"))

// needsHTTP11 refuses a client that would take a body that broke off for a whole one.
func (s *Server) needsHTTP11(c huma.Context, next func(huma.Context)) {
	if r, w := humago.Unwrap(c); len(c.Operation().Security) > 0 && !r.ProtoAtLeast(1, 1) {
		s.refuse(w, r, errOldHTTP)
		return
	}
	next(c)
}
