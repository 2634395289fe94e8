package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"sync"
	"time"

	"github.com/annona-exchange/annona"
)

// tlsFiles are the files that TLS is made of. They are read again when they change.
type tlsFiles struct{ cert, key, authorities string }

// secureListener returns the listener with TLS in front of it; as it is when there are no files.
func secureListener(l net.Listener, files tlsFiles) (net.Listener, error) {
	switch {
	case files == tlsFiles{}:
		return l, nil
	case files.cert == "" || files.key == "":
		return nil, annona.Invalid("tls_incomplete", "TLS needs a certificate and its private key: --tls-cert FILE and --tls-key FILE")
	}
	k := &tlsKeeper{files: files}
	if _, err := k.current(); err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current() },
	}), nil
}

// tlsKeeper keeps what was made of the files until one of them changes.
type tlsKeeper struct {
	files tlsFiles

	mu     sync.Mutex
	looked time.Time
	seen   [3]time.Time // when each file was changed last
	config *tls.Config
}

// current returns the configuration in force. Files that cannot be used leave the one before in
// force; where there is none, they are an error.
func (k *tlsKeeper) current() (*tls.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config != nil && time.Since(k.looked) < time.Second {
		return k.config, nil
	}
	k.looked = time.Now()
	changed := k.changes()
	if k.config != nil && changed == k.seen {
		return k.config, nil
	}
	config, err := k.files.read()
	if err == nil {
		k.config, k.seen = config, changed
	}
	if k.config != nil {
		return k.config, nil
	}
	return nil, err
}

func (k *tlsKeeper) changes() (at [3]time.Time) {
	for i, name := range []string{k.files.cert, k.files.key, k.files.authorities} {
		if info, err := os.Stat(name); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}

func (f tlsFiles) read() (*tls.Config, error) {
	if info, err := os.Stat(f.key); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, annona.Invalid("tls_key_exposed", "other accounts may read the private key; run chmod 600 on it").On("tls-key")
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, annona.Invalid("tls_unusable", "certificate and private key cannot be read, or do not belong together").On("tls-cert")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if f.authorities == "" {
		return config, nil
	}
	pem, err := os.ReadFile(f.authorities)
	config.ClientCAs = x509.NewCertPool()
	if err != nil || !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, annona.Invalid("tls_unusable", "the authorities of clients cannot be read").On("client-ca")
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven
	config.SessionTicketsDisabled = true // whoever connects again shows the certificate again
	return config, nil
}
