// Package rest is the HTTP wire: records and files over REST, with an API key or an access token.
//
// It knows HTTP and no rule. A request becomes an exchange.Question, the gate answers it, and
// package encode writes what came back. Who may see what, which rows an answer has and what
// the ledger says about it is decided behind the gate; package rest can print only what the
// gate disclosed.
//
// One request takes this way:
//
//	front.go      request id, security headers, recovery, log line and metrics; no tricks in the
//	              path, no key in the URL; 404 and 405
//	key.go        X-API-Key → annona.Caller
//	token.go      Authorization: DPoP or Bearer → annona.Caller
//	query.go      each parameter known, given once and not empty
//	search.go, record.go, updates.go, names.go, export.go, changes.go, imports.go, published.go, health.go, reference.go: the operations
//	approvals.go  what waits for a second person; the session of a browser → annona.Caller
//	upload.go     the body of a load on its way in: unpacked, bounded, each read with a deadline
//	body.go       the answer's body: compressed, each write with a deadline, or cut
//	problem.go    every refusal is an RFC 9457 problem that repeats nothing of what was sent
//
// operations.go lists every route there is; the OpenAPI document at /openapi.json is made from
// the same list.
package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/swaggest/swgui/v5emb"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/encode"
	"github.com/annona-exchange/annona/exchange"
)

// Authenticator recognizes callers by their API keys. Package identity has one.
type Authenticator interface {
	// Authenticate returns the caller who holds the key. A key that is malformed, unknown,
	// expired or revoked is an annona.Error of kind KindUnauthenticated.
	Authenticate(ctx context.Context, key string, from netip.Addr) (annona.Caller, error)
}

// Tokens recognizes callers by their access tokens. Package identity has it.
type Tokens interface {
	// Recognize returns the caller who shows a token, and proves what the token is bound to. Errors of
	// kind KindUnauthenticated have the codes invalid_token, invalid_dpop_proof and use_dpop_nonce.
	Recognize(ctx context.Context, shown annona.ShownToken) (annona.Caller, error)
	// Nonce returns what the next proof must hold.
	Nonce(ctx context.Context) (string, error)
}

// Wire is a wire of its own that this server lets in, logs and counts: the authorization server, the pages.
type Wire interface {
	// Patterns are those of its routes, for an http.ServeMux.
	Patterns() []string
	// Answer answers a request that came from that address. The error is what it has refused: it is
	// written already.
	Answer(w http.ResponseWriter, r *http.Request, from netip.Addr) error
}

// Options is what a server is wired to. Gate and Authenticator are required.
type Options struct {
	Gate          *exchange.Exchange
	Authenticator Authenticator
	Tokens        Tokens // nil: there are none
	Authorization Wire   // nil: nobody gives tokens here
	Pages         Wire   // on which people sign in; nil: there are none
	// Session returns who has signed in on the pages, in the browser that sends a request; the zero SignedIn:
	// nobody. nil: nobody ever has.
	Session func(r *http.Request) (annona.SignedIn, error)

	// Dictionary returns the dictionary in force; nil: the gate's.
	Dictionary func() *annona.Dictionary
	// Earlier returns the dictionary of an earlier schema version, for its schemas; nil: only
	// the one in force is known.
	Earlier func(version int) (*annona.Dictionary, bool)
	// Ready says why the installation cannot answer at the moment: store, ledger or vault. nil:
	// it always can.
	Ready func(ctx context.Context) error

	Log     *slog.Logger // nil: slog.Default()
	Metrics *Metrics     // nil: counted, and shown to nobody
	Clock   annona.Clock // nil: time.Now

	// TrustedProxies may say in X-Forwarded-For whom they speak for. From anybody else the
	// header counts for nothing.
	TrustedProxies []netip.Prefix
	// Insecure says that other machines speak plain HTTP with this server. Every answer tells them.
	Insecure bool
	// Imports takes in the loads of registrars; nil: there are none.
	Imports Imports
	// Files reads the files of exports; nil: there are none.
	Files Files
	// Spool makes a place where the files of a zip wait for each other; nil: records are read once for each.
	Spool func() (annona.Spool, error)
	// MaxUpload is how many bytes of rows one load may bring, unpacked; 0: 4 GiB.
	MaxUpload int64
	// WriteTimeout is how long a client may take for the next 64 KiB of an answer, or of an upload, before the
	// connection is cut; 0: one minute.
	WriteTimeout time.Duration
	// Grace is how long small requests may take to finish at shutdown; 0: five seconds. Running
	// exports are aborted at once.
	Grace time.Duration
	// Version of the program, for the OpenAPI document; empty: development.
	Version string
	// BaseURL is the public address of the installation for the OpenAPI document and the ids of
	// JSON-LD; empty: the one that a request came to.
	BaseURL string
}

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	Options
	mux      *routes
	metrics  *Metrics
	api      huma.API
	codings  codings
	records  encode.Records
	crossed  *http.CrossOriginProtection
	swagger  http.Handler    // the files of the reference that are not ours
	draining context.Context // done when the server shuts down: exports end, readiness too
	drain    context.CancelCauseFunc
}

// New returns a server.
func New(o Options) (*Server, error) {
	if o.Gate == nil || o.Authenticator == nil {
		return nil, annona.Internal("set up the HTTP server", errors.New("the gate and an authenticator are required"))
	}
	s := &Server{Options: o.withDefaults(), mux: newRoutes(), crossed: http.NewCrossOriginProtection()}
	s.metrics = s.Options.Metrics
	s.swagger = v5emb.New("Annona", "/openapi.json", "/docs")
	s.draining, s.drain = context.WithCancelCause(context.Background())
	s.api = newAPI(s.mux, s.Version, s.BaseURL)
	s.register()
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Dictionary == nil {
		o.Dictionary = o.Gate.CurrentDictionary
	}
	if o.Earlier == nil {
		o.Earlier = func(int) (*annona.Dictionary, bool) { return nil, false }
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Version == "" {
		o.Version = "development"
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = time.Minute
	}
	if o.MaxUpload == 0 {
		o.MaxUpload = defaultUpload
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	return o
}

// Handler returns the server's handler, for a listener of one's own. Serve uses it too.
func (s *Server) Handler() http.Handler { return s }

// Metrics returns the handler that shows the metrics. It belongs on a listener of its own.
func (s *Server) Metrics() http.Handler { return s.metrics.Handler() }
