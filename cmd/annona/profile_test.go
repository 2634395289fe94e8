package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/annona-exchange/annona"
)

// TestProfilesOnAPrivateSocket: profiles are served on a socket that nobody else can open, which
// goes when the server does. A file that is there already stays.
func TestProfilesOnAPrivateSocket(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	path := filepath.Join(t.TempDir(), "profiles")
	if err := serveProfiles(ctx, path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket || info.Mode().Perm() != 0o600 {
		t.Fatalf("the socket has mode %v, %v", info.Mode(), err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	response, err := client.Get("http://profiles/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	profile, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(profile, []byte("goroutine profile")) {
		t.Errorf("status %d, %q, %v", response.StatusCode, profile, err)
	}
	if err := serveProfiles(ctx, path); annona.CodeOf(err) != "listen_failed" {
		t.Errorf("a socket that is there was taken: %v", err)
	}
	stop()
	eventually(t, "the socket is gone", func() bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	})
}
