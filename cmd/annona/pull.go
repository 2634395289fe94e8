package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/client"
)

// registryFlags say which registry a partner's commands speak to, and as whom.
type registryFlags struct {
	Registry  string `placeholder:"URL" help:"Address of the registry, as https://exchange.example."`
	KeyFile   string `type:"path" placeholder:"FILE" help:"File with the API key. Without it, and without --client: the environment variable ANNONA_KEY."`
	Client    string `placeholder:"ID" help:"client_id of the partner's client: it gets access tokens by signed assertions, bound to a key of the run (private_key_jwt, DPoP)."`
	ClientKey string `type:"path" placeholder:"FILE" help:"The client's private key, a JWK. With --client."`
	CA        string `name:"ca" type:"path" placeholder:"FILE" help:"Certificates, in PEM, of who vouches for the registry; those of the system when left out."`
}

// connect returns a client for the registry.
func (r registryFlags) connect() (*client.Client, error) {
	if r.Registry == "" {
		return nil, annona.Invalid("registry_missing", "say with --registry at which address the registry is")
	}
	credential, err := r.credential()
	if err != nil {
		return nil, partners(err)
	}
	transport, err := r.transport()
	if err != nil {
		return nil, err
	}
	c, err := client.New(r.Registry, credential, transport)
	return c, partners(err)
}

func (r registryFlags) credential() (client.Credential, error) {
	if r.Client != "" {
		key, err := os.ReadFile(r.ClientKey)
		if err != nil {
			return nil, annona.Invalid("file_unreadable", "the file with the client's private key cannot be read: %s", reason(err)).On("client-key")
		}
		return client.OAuth(r.Client, key)
	}
	if r.KeyFile == "" {
		key := os.Getenv("ANNONA_KEY")
		if key == "" {
			return nil, annona.Invalid("credential_missing", "say who you are: --key-file, --client with --client-key, or the environment variable ANNONA_KEY")
		}
		return client.APIKey(key), nil
	}
	key, err := os.ReadFile(r.KeyFile)
	if err != nil {
		return nil, annona.Invalid("file_unreadable", "the file with the key cannot be read: %s", reason(err)).On("key-file")
	}
	return client.APIKey(string(key)), nil
}

func (r registryFlags) transport() (http.RoundTripper, error) {
	roots := (*x509.CertPool)(nil) // those of the system
	if r.CA != "" {
		text, err := os.ReadFile(r.CA)
		roots = x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(text) {
			return nil, annona.Invalid("file_unreadable", "the file holds no certificates in PEM").On("ca")
		}
	}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 8, ResponseHeaderTimeout: 2 * time.Minute,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}, nil
}

// partners is an error of a partner's client in the words of this program.
func partners(err error) error {
	e := (*client.Error)(nil)
	if !errors.As(err, &e) {
		return err
	}
	kind := annona.KindConflict
	if e.Code == "unreachable" || e.Code == "cut_off" || e.Status >= 500 {
		kind = annona.KindUnavailable
	}
	known := annona.Error{Kind: kind, Code: e.Code, Message: e.Detail, Name: e.Name}
	if e.Request != "" {
		known.Message += " (request " + e.Request + ")"
	}
	return known.Because(err)
}

type pullCommand struct {
	registryFlags
	Spec       string   `arg:"" help:"Export specification of your agreement."`
	Into       string   `required:"" type:"path" placeholder:"DIR" help:"Folder for exports. Each is a folder of its own in it, which is there when all of it is."`
	PublicKeys []string `required:"" sep:"none" placeholder:"KEY" help:"Public key of the registry, or a file that holds some: of its manifests (annona export key) and of its ledger (annona ledger key). Get them by another way than the data. May be repeated."`
	Identity   string   `type:"path" placeholder:"FILE" help:"File of age that opens what is sealed to you, as age-keygen makes it."`
	Sealed     bool     `help:"Keep the files as they were sent: sealed and compressed."`
	Version    int      `help:"Version of the specification; the latest one when left out."`
	New        bool     `help:"Start an export, also when there is one that you have not fetched yet."`
	Parallel   int      `default:"4" help:"Files at one time, 1 to 16."`
	JSON       bool     `name:"json" help:"Print what was fetched as JSON."`
}

// Validate refuses numbers that make no sense.
func (p pullCommand) Validate() error {
	if p.Registry == "" {
		return errors.New("missing flags: --registry=URL")
	}
	if p.Parallel < 1 || p.Parallel > 16 {
		return errors.New("--parallel is from 1 to 16")
	}
	return nil
}

// Run fetches an export.
func (p pullCommand) Run(ctx context.Context, c console) error {
	from, err := p.connect()
	if err != nil {
		return err
	}
	bars := &stages{console: c}
	order := client.Order{Spec: p.Spec, Version: p.Version, New: p.New, Into: p.Into, Sealed: p.Sealed, Parallel: p.Parallel, Observe: bars.show}
	if order.Keys, err = publicKeys(p.PublicKeys); err != nil {
		return err
	}
	if order.Identities, order.Recipients, err = identities(p.Identity); err != nil {
		return err
	}
	pulled, err := from.Pull(ctx, order)
	bars.done()
	if err != nil {
		return partners(err)
	}
	if p.JSON {
		return json.NewEncoder(c.out).Encode(pulled)
	}
	_, err = fmt.Fprintf(c.out, "%d rows of %s, as of %s, in %d files: %s\nThe files are what the registry signed, and its ledger continues the one that was seen before.\n",
		pulled.Rows, pulled.Specification, pulled.AsOf, len(pulled.Files), pulled.Folder)
	return err
}

// publicKeys reads keys, or files that hold some.
func publicKeys(given []string) (keys []string, err error) {
	for _, key := range given {
		text, err := os.ReadFile(key)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(key, "annona."):
			keys = append(keys, key)
		case err != nil:
			return nil, unreadable(key, err)
		default:
			keys = append(keys, strings.Fields(string(text))...)
		}
	}
	return keys, nil
}

// identities reads a file of age, and the public keys of what it holds.
func identities(file string) (opens []age.Identity, recipients []string, err error) {
	if file == "" {
		return nil, nil, nil
	}
	text, err := os.Open(file)
	if err != nil {
		return nil, nil, unreadable(file, err)
	}
	defer text.Close()
	if opens, err = age.ParseIdentities(text); err != nil {
		return nil, nil, annona.Invalid("identity_malformed", "the file is none of identities of age; age-keygen makes one").On(file)
	}
	for _, i := range opens {
		switch i := i.(type) {
		case *age.X25519Identity:
			recipients = append(recipients, i.Recipient().String())
		case *age.HybridIdentity:
			recipients = append(recipients, i.Recipient().String())
		}
	}
	return opens, recipients, nil
}

// stages shows how far a pull is: a bar for each stage.
type stages struct {
	console
	stage client.Stage
	bar   *progress
}

// show is told of progress.
func (s *stages) show(p client.Progress) {
	if s.bar == nil || p.Stage != s.stage || s.bar.total != p.Total {
		s.done()
		s.stage, s.bar = p.Stage, newProgress(s.console, p.Total, map[client.Stage]string{client.Making: "rows made", client.Fetching: "bytes fetched"}[p.Stage])
	}
	s.bar.add(p.Done - s.bar.count)
}

func (s *stages) done() {
	if s.bar != nil {
		s.bar.done()
	}
}
