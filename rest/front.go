package rest

import (
	"cmp"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annona-exchange/annona"
)

// ServeHTTP takes one request in: it gets an id, is answered, logged and counted.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{id: annona.NewUID(), began: time.Now(), method: methodLabel(r.Method), base: s.baseOf(r)}
	out := &response{ResponseWriter: w, visit: v, leftover: s.WriteTimeout / 2}
	r = r.WithContext(withVisit(r.Context(), v))
	defer func() {
		fault := recover()
		s.finish(out, r, fault)
		if v.aborted {
			panic(http.ErrAbortHandler) // net/http cuts the connection
		}
	}()
	secure(out.Header())
	s.tellSecurity(out.Header(), r)
	s.limit(w, r)
	if err := s.screen(r); err != nil {
		s.refuse(out, r, err)
		return
	}
	s.mux.ServeHTTP(out, r)
}

// limit gives the request its time. An answer's body extends it chunk by chunk.
func (s *Server) limit(w http.ResponseWriter, r *http.Request) {
	connection := http.NewResponseController(w)
	connection.SetWriteDeadline(time.Now().Add(s.WriteTimeout))
	if r.ContentLength != 0 {
		connection.SetReadDeadline(time.Now().Add(readTimeout))
	}
}

// finish answers after a panic, and writes the log line.
func (s *Server) finish(out *response, r *http.Request, fault any) {
	v := out.visit
	v.route = routeOf(r)
	switch {
	case fault == nil:
	case fault == http.ErrAbortHandler:
		v.aborted = true
	default:
		// A panic's value may hold a person's data: its type has to do.
		s.Log.Error("panic", "request_id", v.id.String(), "route", v.route, "type", fmt.Sprintf("%T", fault), "stack", string(debug.Stack()))
		v.failure = annona.Internal("answer the request", nil)
		v.aborted = out.status != 0
		if !v.aborted {
			s.refuse(out, r, v.failure)
		}
	}
	if v.failure != nil && r.Context().Err() != nil && annona.KindOf(v.failure) == annona.KindInternal {
		v.failure = errClientGone // what failed did so because nobody waits for it any more
	}
	s.record(out)
}

// secure sets the headers that every answer has unless its operation knows better.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// tellSecurity tells browsers to come back by TLS only, and everybody that the way is open when it is.
func (s *Server) tellSecurity(h http.Header, r *http.Request) {
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=63072000")
	}
	if s.Insecure {
		h.Set("Annona-Insecure", "plain HTTP, for trying things out; not for data of real people")
	}
}

// screen refuses what no operation is asked about: a key in the URL, a path that is written
// otherwise than its route, a route or method that there is not.
func (s *Server) screen(r *http.Request) error {
	if keyInURL(r.URL) {
		return errKeyInURL
	}
	if path := r.URL.EscapedPath(); path != wellKnown && !plainPath(path) {
		return errNoRoute
	}
	if err := s.screenNames(r); err != nil {
		return err
	}
	if !s.mux.has(r.Method, r) {
		return s.mux.missing(r)
	}
	return screenBody(r)
}

// screenBody refuses a body that nobody would read, and one that is compressed, but for loads: what it
// would grow to is not known.
func screenBody(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return errBody
	}
	switch sent := r.Header.Values("Content-Encoding"); {
	case len(sent) == 0 || len(sent) == 1 && (sent[0] == "" || sent[0] == "identity"):
		return nil
	case r.URL.Path == importsPath && len(sent) == 1 && (coding(sent[0]) == gzipped || coding(sent[0]) == zstded):
		return nil // it is unpacked as far as it may
	case r.URL.Path == importsPath:
		return errCoding
	}
	return errCompressed
}

var (
	errNoRoute    = annona.NotFound("there is no such path; /docs lists the operations")
	errBody       = annona.Invalid("body_unexpected", "this request has no body; the parameters stand in the URL")
	errCoding     = refused(http.StatusUnsupportedMediaType, annona.Invalid("content_encoding_unsupported", "send the rows uncompressed, or as gzip or zstd").On("Content-Encoding"))
	errCompressed = refused(http.StatusUnsupportedMediaType, annona.Invalid("content_encoding_unsupported", "send the body uncompressed").On("Content-Encoding"))
)

// plainPath reports whether a path is written the one way that routes are: no escapes, no
// empty segments, none that begin or end with a dot.
func plainPath(path string) bool {
	rest, rooted := strings.CutPrefix(path, "/")
	if !rooted {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment[0] == '.' || segment[len(segment)-1] == '.' {
			return false
		}
		if strings.ContainsFunc(segment, func(c rune) bool { return !plainRune(c) }) {
			return false
		}
	}
	return true
}

func plainRune(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-._", c)
}

// routes is the table of routes: a ServeMux that remembers what was registered.
type routes struct {
	*http.ServeMux
	patterns []string
}

func newRoutes() *routes { return &routes{ServeMux: http.NewServeMux()} }

// HandleFunc registers a route; huma's adapter calls it.
func (t *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	t.patterns = append(t.patterns, pattern)
	t.ServeMux.HandleFunc(pattern, handler)
}

func (t *routes) has(method string, r *http.Request) bool {
	_, pattern := t.Handler(&http.Request{Method: method, Host: r.Host, URL: r.URL})
	return pattern != ""
}

// missing says what the request has missed: the path, or only the method.
func (t *routes) missing(r *http.Request) error {
	allowed := slices.DeleteFunc(slices.Clone(knownMethods), func(m string) bool { return !t.has(m, r) })
	if len(allowed) == 0 {
		return errNoRoute
	}
	return methodNotAllowed(allowed)
}

var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// routeOf is the pattern of the route that the request took: never what was asked for itself.
func routeOf(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	_, route, _ := strings.Cut(r.Pattern, " ")
	return route
}

func methodLabel(method string) string {
	if slices.Contains(knownMethods, method) {
		return method
	}
	return "other"
}

// response counts what was sent and completes the headers that depend on the status.
type response struct {
	http.ResponseWriter
	visit    *visit
	leftover time.Duration // for what is left of the body of a request that is refused
	status   int           // 0: nothing was sent yet
	bytes    int64
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if status >= http.StatusBadRequest {
		// net/http reads what is left of the body before it answers: whoever stops sending is answered all the same.
		http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(w.leftover))
	}
	h := w.Header()
	h.Set("Annona-Request", w.visit.id.String())
	switch status {
	case http.StatusUnauthorized:
		for _, challenge := range w.visit.challenges() {
			h.Add("WWW-Authenticate", challenge)
		}
	case http.StatusForbidden:
		if strings.HasSuffix(annona.CodeOf(w.visit.failure), "_not_authorized") {
			h.Set("WWW-Authenticate", w.visit.challenges()[0])
		}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(cmp.Or(w.visit.wait, 5)))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}
