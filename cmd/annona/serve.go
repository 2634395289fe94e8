package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/identity"
	"github.com/annona-exchange/annona/jobs"
	"github.com/annona-exchange/annona/rest"
	"github.com/annona-exchange/annona/rest/oauth"
)

type serveCommand struct {
	dataFlag
	Replica      string    `placeholder:"URL" help:"Standby of the database, which then reads the pages of searches and exports whenever it is up to date."`
	Listen       string    `default:"127.0.0.1:8080" placeholder:"ADDRESS" help:"Address to listen on."`
	Metrics      string    `help:"Address of the metrics, on a listener of its own, as 127.0.0.1:9090. None: no metrics." placeholder:"ADDRESS"`
	Profile      string    `type:"path" placeholder:"SOCKET" help:"Unix socket for profiles of the running server, which only this account can open. None: no profiles."`
	Proxy        []network `placeholder:"NETWORK" help:"Network or address of a proxy whose X-Forwarded-For is believed; may be repeated."`
	MaxUpload    int64     `default:"4096" placeholder:"MIB" help:"How many MiB of rows one load over HTTP may bring, unpacked. They lie sealed in the data folder until they are loaded."`
	MaxAttach    int64     `name:"max-attachment" default:"10" placeholder:"MIB" help:"How many MiB one attachment of a case may have."`
	PublicURL    string    `name:"public-url" placeholder:"URL" help:"Address under which clients know this server, as https://exchange.example. It names the authorization server, and proofs of DPoP are about it. None: that of the listener."`
	TLSCert      string    `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate of the server with its chain, PEM. It is read again when it changes. None: plain HTTP."`
	TLSKey       string    `name:"tls-key" type:"path" placeholder:"FILE" help:"Private key of the certificate, PEM, for this account only."`
	ClientCA     string    `name:"client-ca" type:"path" placeholder:"FILE" help:"Authorities whose certificates clients may show, PEM. None: clients show none."`
	ClientRate   int       `name:"client-rate" default:"1000" placeholder:"N" help:"How many requests a client may make each second; up to ten seconds' worth at once. 0: without a limit."`
	PartnerRate  int       `name:"partner-rate" default:"3000" placeholder:"N" help:"How many requests all clients of a partner may make together each second. 0: without a limit."`
	InsecureDev  bool      `name:"insecure-dev" help:"For trying things out: speak plain HTTP to other machines too. Every answer says so. Never with data of real people."`
	LogRetention days      `default:"30d" placeholder:"DAYS" help:"How long the log of changes is kept, as 30d: a follower who stays away for longer begins anew."`

	Files         string `placeholder:"URL" help:"Where the files of exports lie, sealed, as file:///srv/exports. None: the folder exports in the data folder. All nodes of one registry name the same place."`
	ExportWorkers int    `name:"export-workers" default:"1" placeholder:"N" help:"How many exports this server works on at once, and whether it looks at their schedules. 0: others do."`

	ExportLease  time.Duration `name:"export-lease" default:"2m" placeholder:"TIME" help:"How long an export may stand still before another server takes it over, 10s to 1h."`
	SMTP         string        `name:"smtp" placeholder:"URL" help:"Mail server for what goes wrong with scheduled exports, as smtps://user@host?from=registry@example.org&to=office@example.org. None: no mails."`
	SMTPPassword string        `name:"smtp-password" type:"path" placeholder:"FILE" help:"File with the password for the mail server, for this account only."`
	WebhookHost  []string      `name:"webhook-host" placeholder:"HOST" help:"Host to which webhooks of schedules may lead; may be repeated. None: no webhooks."`
}

func (s serveCommand) Run(ctx context.Context, c console) error {
	listener, err := listen(s.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	secured, err := secureListener(listener, tlsFiles{cert: s.TLSCert, key: s.TLSKey, authorities: s.ClientCA})
	if err != nil {
		return err
	}
	public, err := publicURL(s.PublicURL, listener.Addr(), s.TLSCert != "")
	if err != nil {
		return err
	}
	s.dataFlag.Replica = s.Replica
	return s.with(ctx, func(f *folder) error {
		if f.vault.Demo() {
			if err := mustBeLoopback(listener.Addr()); err != nil {
				return err
			}
		}
		if f.gate.Rates, err = s.rates(); err != nil {
			return err
		}
		f.gate.Buckets, f.gate.AttachmentLimit = f.store, s.MaxAttach<<20
		insecure := s.TLSCert == "" && mustBeLoopback(listener.Addr()) != nil
		if insecure && !s.InsecureDev {
			return errPlainHTTP
		}
		exports, err := s.exports(f)
		if err != nil {
			return err
		}
		return serve(ctx, c, f, secured, serveOptions{
			metrics: s.Metrics, profile: s.Profile, proxies: prefixes(s.Proxy), retention: time.Duration(s.LogRetention), upload: s.MaxUpload << 20,
			public: public, certificates: s.ClientCA != "", insecure: insecure,
			files: s.Files, exports: exports,
		})
	})
}

func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, annona.Unavailable("listen_failed", "%s", whyNot(err)).On(address)
	}
	return listener, nil
}

// whyNot says what keeps us from listening, and what to do.
func whyNot(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there already; stop it, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the address is none of this machine's"
	case errors.Is(err, syscall.EACCES):
		return "this account may not use that port; choose one above 1023"
	default:
		return "an address to listen on is written 127.0.0.1:8080"
	}
}

func mustBeLoopback(address net.Addr) error {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return annona.Forbidden("demo_loopback_only", "a demo folder listens on a loopback address only, such as 127.0.0.1:8080").On("listen")
	}
	return nil
}

// mostRate is the highest rate: one request each microsecond.
const mostRate = 1_000_000

// rates are how often clients may ask.
func (s serveCommand) rates() (exchange.Rates, error) {
	for _, rate := range []int{s.ClientRate, s.PartnerRate} {
		if rate < 0 || rate > mostRate {
			return exchange.Rates{}, annona.Invalid("rate_malformed", "a rate is a number of requests each second, 1 to %d, or 0 for no limit", mostRate)
		}
	}
	return exchange.Rates{Client: s.ClientRate, Partner: s.PartnerRate}, nil
}

// errPlainHTTP refuses what anybody between two machines could read.
var errPlainHTTP = annona.Forbidden("plain_http_refused", "other machines would send keys and receive people's data over plain HTTP: give --tls-cert and --tls-key, or listen on a loopback address behind a proxy on this machine; --insecure-dev is for trying things out").On("listen")

type serveOptions struct {
	metrics   string
	profile   string
	proxies   []netip.Prefix
	retention time.Duration // of the log; 0: it is not pruned
	upload    int64         // bytes of rows of one load; 0: as many as usual

	public       string // address that clients know; empty: http:// and that of the listener
	certificates bool   // clients may show certificates
	insecure     bool   // other machines speak plain HTTP with it

	files   string // URL of where files of exports lie; empty: the data folder
	exports exportOptions

	signIn func(*identity.Issuer) oauth.SignIn // the pages on which people sign in, seen by the authorization server; nil: our own
}

// serve answers until ctx ends. Running bodies are then aborted rather than ended cleanly.
func serve(ctx context.Context, c console, f *folder, listener net.Listener, o serveOptions) error {
	end, err := f.serveAlone()
	if err != nil {
		return err
	}
	defer end()
	defer reserveHeap()()
	log := slog.New(slog.NewJSONHandler(c.err, nil))
	closed, err := f.gate.CloseOpenRequests(ctx, operator(), f.store)
	if err != nil {
		return err
	}
	if closed > 0 {
		log.Warn("requests of an earlier run had no outcome; it is recorded as unknown", "requests", closed)
	}
	f.finishErasures(ctx, log)
	imports, err := f.takeImports(log)
	if err != nil {
		return err
	}
	defer imports.Close()
	if o.public == "" {
		o.public = "http://" + listener.Addr().String()
	}
	files, err := f.exportFiles(ctx, o.files)
	if err != nil {
		return err
	}
	defer files.Close()
	pages, err := f.pages(o.public)
	if err != nil {
		return err
	}
	if o.signIn == nil {
		o.signIn = func(i *identity.Issuer) oauth.SignIn { return pages.For(i) }
	}
	tokens, authorization := f.authorization(o.public, o.certificates, o.signIn, log)
	server, err := rest.New(rest.Options{
		Gate: f.gate, Authenticator: f.keys, Tokens: tokens, Authorization: authorization, Pages: pages, Session: pages.Signed, Dictionary: f.gate.CurrentDictionary, Log: log,
		TrustedProxies: o.proxies, Ready: f.ready, Earlier: f.earlier, Metrics: f.metrics, Version: version, Imports: imports, MaxUpload: o.upload,
		Insecure: o.insecure, Spool: f.spool, Files: &jobs.Files{Bucket: files, Vault: f.vault},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go f.keepFresh(ctx, log)
	go f.keepShort(ctx, log, o.retention)
	go f.keepDrawn(ctx, log)
	go f.keepIndexed(ctx, log)
	working := f.workOnExports(ctx, log, files, o.exports, o.public)
	defer func() { stop(); working() }()
	signing := f.keepSigned(ctx, log)
	defer func() { stop(); <-signing }()
	go f.keepRotating(ctx, log)
	go f.keepTokens(ctx, log)
	if o.metrics != "" {
		if err := serveMetrics(ctx, o.metrics, server.Metrics()); err != nil {
			return err
		}
	}
	if o.profile != "" {
		if err := serveProfiles(ctx, o.profile); err != nil {
			return err
		}
	}
	if o.insecure {
		log.Warn("plain HTTP for other machines: everybody on the way can read it (--insecure-dev)")
	}
	log.Info("serving", "address", listener.Addr().String())
	err = server.Serve(ctx, listener)
	log.Info("stopped")
	return err
}

// finishErasures destroys the keys of those whose erasure was interrupted. They are shown to nobody
// anyway, so that a failure does not keep the server from serving.
func (f *folder) finishErasures(ctx context.Context, log *slog.Logger) {
	finished, err := f.gate.FinishErasures(ctx, operator())
	if finished > 0 {
		log.Warn("erasures of an earlier run were interrupted; their keys are destroyed now", "erasures", finished)
	}
	if err != nil {
		log.Error("keys of erased records could not be destroyed; start the server again", "code", annona.CodeOf(err))
	}
}

// ready reports whether requests can be answered.
func (f *folder) ready(ctx context.Context) error {
	if err := f.covered(); err != nil {
		return err
	}
	_, err := f.store.Epoch(ctx)
	return err
}

// keepSigned signs the ledger's tree as it grows, until ctx ends.
func (f *folder) keepSigned(ctx context.Context, log *slog.Logger) (ended <-chan struct{}) {
	done := make(chan struct{})
	f.signer.Begin()
	f.signing.Store(true)
	go func() {
		defer close(done)
		f.signer.Run(ctx, func(err error) {
			if err == nil {
				log.Info("the ledger is signed again")
				return
			}
			log.Error("the ledger is not signed; in a minute nothing will be disclosed any more", "code", annona.CodeOf(err), "error", err.Error())
		})
	}()
	return done
}

// keepFresh looks each second for what another process has done to the dictionary and to the indexes.
func (f *folder) keepFresh(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := f.refresh(ctx); err != nil && ctx.Err() == nil {
				log.Error("the dictionary could not be read", "code", annona.CodeOf(err))
			}
			if err := f.gate.RefreshIndexes(ctx); err != nil && ctx.Err() == nil {
				log.Error("the state of the indexes could not be read", "code", annona.CodeOf(err))
			}
		}
	}
}

// rotationPause is how long a server waits between two looks at the keys that rotate.
const rotationPause = time.Hour

// keepRotating does at once, and each hour, what is due to the registry's own keys.
func (f *folder) keepRotating(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(rotationPause)
	defer tick.Stop()
	for {
		done, err := f.gate.RotateKeys(ctx, operator(), false)
		if err != nil && ctx.Err() == nil {
			log.Error("the keys could not be rotated; annona key status tells more", "code", annona.CodeOf(err))
		}
		if len(done.Made)+len(done.Destroyed) > 0 {
			log.Info("keys were rotated", "made", done.Made, "destroyed", done.Destroyed, "blocks", done.Rewrapped)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// serveMetrics serves /metrics on a listener of its own, so that it need not be reachable
// from where the API is.
func serveMetrics(ctx context.Context, address string, handler http.Handler) error {
	listener, err := listen(address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", handler)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }() // ends with ctx
	return nil
}
