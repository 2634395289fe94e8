package rest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/annona-exchange/annona"
)

// The bounds of a connection. A filter that is far too long still fits into the header, so that
// it gets an answer rather than a broken connection.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 10 * time.Second // of a body
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 256 << 10
)

var errShuttingDown = annona.Unavailable("shutting_down", "the server is shutting down; ask again in a moment")

// Serve answers requests on l until ctx is done. Then readiness ends, running exports are
// aborted (an incomplete body is never ended cleanly), small requests get Options.Grace to
// finish, and whatever is left is cut. It returns nil after such a shutdown.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:                      s.Handler(),
		ReadHeaderTimeout:            readHeaderTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.drain(errShuttingDown)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-ended
	return err
}
