package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/schema"
)

// visit is one request as the log, the metrics and the answer speak of it. It holds nothing
// that a caller wrote: a purpose stands here once the gate has recognized it.
type visit struct {
	id      annona.UID // of the request in the ledger, once the gate has given it one
	began   time.Time
	method  string
	route   string
	base    string // the address of the installation, as this client knows it
	caller  annona.Caller
	dataset string
	purpose string
	format  encode.Format
	rows    int64
	failure error
	aborted bool

	scheme string // of Authorization, when a token was shown: DPoP or Bearer
	told   bool   // the answer has its challenge already
	wait   int    // seconds until this client may ask again; 0: nobody has counted
}

// baseOf is the public address of the installation, or the one that a request came to.
func (s *Server) baseOf(r *http.Request) string {
	switch {
	case s.BaseURL != "":
		return strings.TrimSuffix(s.BaseURL, "/")
	case r.TLS != nil:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

// linked gives linked data the context of a shape; other formats need none.
func (v *visit) linked(o encode.Options, shape *annona.Shape) (encode.Options, error) {
	if !o.Format.Linked() {
		return o, nil
	}
	var err error
	o.Context, err = schema.Context(shape, v.base+recordsPath)
	return o, err
}

// recordsPath is where the records of all datasets are found.
const recordsPath = "/v1/"

type visitKey struct{}

func withVisit(ctx context.Context, v *visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

// visitOf returns the visit that the request belongs to. The caller in it goes to the gate as
// an argument; below this package nothing looks into the context.
func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }

// recognized notes what the gate has accepted.
func (v *visit) recognized(request annona.UID, q exchange.Question) {
	v.id, v.dataset, v.purpose = request, q.Dataset, q.Purpose
}

// record writes the log line of a request and counts it.
func (s *Server) record(out *response) {
	v := out.visit
	took := time.Since(v.began)
	level, attributes := slog.LevelInfo, []slog.Attr{
		slog.String("request_id", v.id.String()),
		slog.String("method", v.method),
		slog.String("route", v.route),
		slog.Int("status", out.status),
		slog.Int64("bytes", out.bytes),
		slog.Float64("seconds", took.Seconds()),
	}
	if v.caller.Agreement != "" {
		attributes = append(attributes, slog.String("client", v.caller.Client.String()), slog.String("agreement", v.caller.Agreement))
	}
	if v.purpose != "" {
		attributes = append(attributes, slog.String("purpose", v.purpose), slog.String("dataset", v.dataset),
			slog.String("format", string(v.format)), slog.Int64("rows", v.rows))
	}
	if v.failure != nil {
		attributes = append(attributes, slog.String("code", annona.CodeOf(v.failure)))
	}
	if v.aborted {
		level, attributes = slog.LevelWarn, append(attributes, slog.Bool("aborted", true))
	}
	if v.failure != nil && annona.KindOf(v.failure) == annona.KindInternal {
		level, attributes = slog.LevelError, append(attributes, slog.String("error", describe(v.failure)))
	}
	if level == slog.LevelInfo && (v.route == "/healthz" || v.route == "/readyz") {
		level = slog.LevelDebug // asked every few seconds
	}
	s.Log.LogAttrs(context.Background(), level, "request", attributes...)
	s.metrics.count(v, out.status, took)
}

// describe says of a failure what an operator may read: our own words and the system's, and
// of anything else only its type, since a driver's message may repeat a value.
func describe(err error) string {
	var words []string
	for ; err != nil; err = errors.Unwrap(err) {
		switch e := err.(type) {
		case *annona.Error:
			words = append(words, e.Message)
		case syscall.Errno:
			words = append(words, e.Error())
		default:
			words = append(words, fmt.Sprintf("%T", err))
		}
	}
	return strings.Join(words, ": ")
}
