package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/annona-exchange/annona/store/postgres/postgrestest"
)

// Files of the repository that a registry is made with. The harness runs in its root.
const (
	mapping     = "examples/synthetic/mapping.yaml"
	eligibility = "examples/agreements/eligibility.yaml"
)

// The agreements: one reads the whole register, the other only people who consented, under the
// same ids.
const (
	everybody    = "eligibility"
	consenting   = "outreach"
	idRealm      = "eligibility"
	everyPurpose = "eligibility-assessment"
	askedPurpose = "outreach-visits"
	partner      = "National Cash Transfer Program"
)

// registry is a registry that is made to be hurt.
type registry struct {
	options
	database string // its URL; empty: the folder's own files
	cluster  *postgrestest.Cluster
	address  string
	http     *http.Client
	keys     map[string]string // by agreement
	country  *country
}

// makeRegistry makes a registry with agreements and keys, and nobody in it.
func makeRegistry(ctx context.Context, o options) (*registry, error) {
	r := &registry{options: o, keys: map[string]string{}}
	r.http = newClient()
	var err error
	if r.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.folder, 0o700); err != nil {
		return nil, err
	}
	if err := r.initialize(ctx); err != nil {
		r.remove()
		return nil, err
	}
	return r, nil
}

// newClient returns a client each of whose connections is a fresh one, so that what was meant for
// a server that is dead reaches no other. Little is under way in a connection: the server feels
// when its reader stops.
func newClient() *http.Client {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if tcp, ok := c.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(64 << 10)
		}
		return c, err
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true}, Timeout: patience}
}

func (r *registry) initialize(ctx context.Context) error {
	extra := []string{"init"}
	if r.store == "postgres" {
		var err error
		if r.cluster, err = postgrestest.Start(); err != nil {
			return err
		}
		r.database = r.cluster.URL("postgres", "postgres")
		extra = append(extra, "--app-role", "annona_app")
	}
	if _, err := r.run(ctx, extra...); err != nil {
		return err
	}
	if r.cluster != nil {
		r.database = r.cluster.URL("annona_app", "postgres")
	}
	if err := r.invent(ctx); err != nil {
		return err
	}
	return r.admit(ctx)
}

// invent has the program invent a country.
func (r *registry) invent(ctx context.Context) error {
	out, err := output(exec.CommandContext(ctx, r.program, "generate", "--individuals", fmt.Sprint(r.people), "--seed", fmt.Sprint(r.seed%1000+1)))
	if err != nil {
		return err
	}
	r.country, err = readCountry(bytes.NewReader(out))
	return err
}

// admit puts both agreements in force and makes a key for each.
func (r *registry) admit(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(r.root, eligibility))
	if err != nil {
		return err
	}
	asked := strings.NewReplacer("\nname: "+everybody, "\nname: "+consenting, "code: "+everyPurpose, "code: "+askedPurpose,
		"legal_basis: public_interest", "legal_basis: consent").Replace(string(text))
	for name, text := range map[string]string{everybody: string(text), consenting: asked} {
		path := filepath.Join(r.folder, name+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		if _, err := r.run(ctx, "agreement", "apply", path); err != nil {
			return err
		}
		out, err := r.run(ctx, "key", "create", "--agreement", name, "--json")
		if err != nil {
			return err
		}
		var key struct{ Key string }
		if err := json.Unmarshal([]byte(lastLine(out)), &key); err != nil {
			return fmt.Errorf("key create --json: %w", err)
		}
		r.keys[name] = key.Key
	}
	return nil
}

func (r *registry) data() string { return filepath.Join(r.folder, "registry") }

// command is a command line on the registry.
func (r *registry) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, r.program, r.onRegistry(args...)...)
}

func (r *registry) onRegistry(args ...string) []string {
	args = append(args, "--data", r.data())
	if r.database != "" {
		args = append(args, "--database", r.database)
	}
	return args
}

// run runs a command line that has to work.
func (r *registry) run(ctx context.Context, args ...string) ([]byte, error) {
	return output(r.command(ctx, args...))
}

// output runs a command; its error holds what the command said.
func output(cmd *exec.Cmd) ([]byte, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:min(3, len(cmd.Args))], " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return out, nil
}

// remove takes the database server away. The folder stays: it is wanted when something failed.
func (r *registry) remove() {
	if r.cluster != nil {
		r.cluster.Remove()
	}
}
