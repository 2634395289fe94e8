package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/annona-exchange/annona"
)

// writeCertificate writes a certificate for 127.0.0.1 that signs itself, and its key, into a folder.
func writeCertificate(t *testing.T, folder, name string) tlsFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := tlsFiles{cert: filepath.Join(folder, "server.pem"), key: filepath.Join(folder, "server.key")}
	writeFile(t, files.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
	writeFile(t, files.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}))
	if err := os.Chmod(files.key, 0o600); err != nil {
		t.Fatal(err)
	}
	return files
}

// FA-28: TLS 1.3 and nothing below; a certificate that was renewed is shown without a restart, and files
// that cannot be used leave the one before in force.
func TestTLS(t *testing.T) {
	folder := t.TempDir()
	files := writeCertificate(t, folder, "first")
	plain, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := secureListener(plain, files)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: nil}
	server.SetKeepAlivesEnabled(false)
	go server.Serve(secured)
	defer server.Close()

	shown := func() string {
		connection, err := tls.Dial("tcp", plain.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		if connection.ConnectionState().Version != tls.VersionTLS13 {
			t.Error("it is no TLS 1.3")
		}
		return connection.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "first" {
		t.Errorf("it shows %q", got)
	}
	if c, err := tls.Dial("tcp", plain.Addr().String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		c.Close()
		t.Error("FA-28: TLS 1.2 is taken")
	}

	writeFile(t, files.cert, []byte("nothing"))
	time.Sleep(1100 * time.Millisecond) // it looks once a second
	if got := shown(); got != "first" {
		t.Errorf("with files that cannot be used it shows %q", got)
	}
	writeCertificate(t, folder, "second")
	for until := time.Now().Add(30 * time.Second); shown() != "second"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the renewed certificate is not shown")
		}
	}
}

// MT-02, MT-06: a certificate of a client is one that a named authority has signed, or the connection is none; and
// whoever connects again shows it again.
func TestCertificatesOfClients(t *testing.T) {
	files, own, other := writeCertificate(t, t.TempDir(), "server"), writeCertificate(t, t.TempDir(), "loader"), writeCertificate(t, t.TempDir(), "stranger")
	files.authorities = own.cert
	plain, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured, err := secureListener(plain, files)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, chain := range r.TLS.VerifiedChains {
			io.WriteString(w, chain[0].Subject.CommonName)
		}
		if r.TLS.DidResume {
			io.WriteString(w, ", resumed")
		}
	}), ErrorLog: log.New(io.Discard, "", 0)}
	server.SetKeepAlivesEnabled(false)
	go server.Serve(secured)
	defer server.Close()

	asks := func(by *tlsFiles) func() (string, error) {
		config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		if by != nil {
			pair, err := tls.LoadX509KeyPair(by.cert, by.key)
			if err != nil {
				t.Fatal(err)
			}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		return func() (string, error) {
			answer, err := client.Get("https://" + plain.Addr().String())
			if err != nil {
				return "", err
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			return string(body), err
		}
	}
	nobody, loader, stranger := asks(nil), asks(&own), asks(&other)
	for range 3 {
		if got, err := loader(); err != nil || got != "loader" {
			t.Errorf("who has a certificate of the authority is %q, %v", got, err)
		}
	}
	if got, err := nobody(); err != nil || got != "" {
		t.Errorf("who has none is %q, %v", got, err)
	}
	if got, err := stranger(); err == nil {
		t.Errorf("a certificate that nobody has signed is taken, as %q", got)
	}
}

// Files that would make TLS worth nothing are refused at the start.
func TestTLSFilesThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		code   string
		change func(f *tlsFiles)
	}{
		"no key":                         {"tls_incomplete", func(f *tlsFiles) { f.key = "" }},
		"no certificate":                 {"tls_incomplete", func(f *tlsFiles) { f.cert = "" }},
		"a key that others may read":     {"tls_key_exposed", func(f *tlsFiles) { _ = os.Chmod(f.key, 0o644) }},
		"another certificate's key":      {"tls_unusable", func(f *tlsFiles) { f.key = writeCertificate(t, t.TempDir(), "other").key }},
		"authorities that are none":      {"tls_unusable", func(f *tlsFiles) { f.authorities = f.key }},
		"authorities that are not there": {"tls_unusable", func(f *tlsFiles) { f.authorities = f.key + "x" }},
	} {
		files := writeCertificate(t, t.TempDir(), "server")
		c.change(&files)
		if _, err := secureListener(nil, files); annona.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ZT-03, ZT-11: other machines get TLS, or are told with every answer that it is for trying things out.
func TestPlainHTTP(t *testing.T) {
	data := copyOfCountry(t)
	refused(t, "plain_http_refused", "serve", "--data", data, "--listen", "0.0.0.0:0")
	for address, want := range map[string]bool{"0.0.0.0:0": true, "127.0.0.1:0": false} {
		s := startServing(t, "", "serve", "--data", data, "--listen", address, "--insecure-dev")
		_, port, _ := net.SplitHostPort(s.url[len("http://"):])
		for _, path := range []string{"/healthz", "/nowhere", "/v1/individuals"} {
			r, err := http.Get("http://127.0.0.1:" + port + path)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if told := r.Header.Get("Annona-Insecure") != ""; told != want {
				t.Errorf("%s%s: it says that the way is open: %t", address, path, told)
			}
		}
		s.stop()
	}
}

// Over TLS every answer tells browsers to come back by TLS only.
func TestTransportSecurity(t *testing.T) {
	data := copyOfCountry(t)
	files := writeCertificate(t, t.TempDir(), "server")
	s := startServing(t, "", "serve", "--data", data, "--listen", "127.0.0.1:0", "--tls-cert", files.cert, "--tls-key", files.key)
	defer s.stop()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https"+s.url[len("http"):]+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.Header.Get("Strict-Transport-Security") == "" || r.Header.Get("Annona-Insecure") != "" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the headers are %v", r.Header)
	}
}
