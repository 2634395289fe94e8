package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"syscall"
	"time"

	"github.com/annona-exchange/annona"
)

// serveProfiles serves the profiles of the running process on a Unix socket that only the account
// of the server opens: a profile tells what is being done, and taking one costs time.
func serveProfiles(ctx context.Context, path string) error {
	listener, err := listenPrivately(ctx, path)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // removes the socket
	go func() { _ = server.Serve(listener) }()            // ends with ctx
	return nil
}

// listenPrivately makes a socket of mode 0600. It has that mode before it has its name.
func listenPrivately(ctx context.Context, path string) (net.Listener, error) {
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}}
	listener, err := private.Listen(ctx, "unix", path)
	if err != nil {
		return nil, annona.Unavailable("listen_failed", "the socket for profiles cannot be made; choose a path in a folder of this account where there is no file yet").Because(err).On("profile")
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o600 {
		return nil, errors.Join(listener.Close(), annona.Unavailable("profile_exposed", "other accounts could open the socket for profiles; this system makes no private one").On("profile"))
	}
	return listener, nil
}
