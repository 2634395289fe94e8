package client

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
)

// Order says what Pull fetches.
type Order struct {
	Spec    string // name of an export specification of the agreement
	Version int    // 0: the latest
	New     bool   // start an export, also when there is one that was not fetched yet
	Into    string // folder; it is made when it is not there
	// Keys are the public keys of the registry, of manifests and of its ledger, got by another way than
	// the data.
	Keys []string
	// Identities open files that are sealed to this partner. With some, files that are not are refused.
	Identities []age.Identity
	Recipients []string // public keys of the identities
	Sealed     bool     // keep files as they were sent, sealed and compressed
	Parallel   int      // files at one time; 0: 4
	// Observe is told how far it is, now and then, from several goroutines but never at the same time.
	Observe func(Progress)
}

// Progress is how far a pull is.
type Progress struct {
	Stage Stage
	Done  int64
	Total int64 // 0: not known yet
}

// Stage is what a pull does.
type Stage string

// The stages, in their order.
const (
	Making   Stage = "making"   // the registry writes the export; in rows
	Fetching Stage = "fetching" // in bytes
)

// Pulled is an export that is here as a whole.
type Pulled struct {
	Export        string   `json:"export"`
	Specification string   `json:"specification"`
	Rows          int64    `json:"rows"`
	AsOf          string   `json:"as_of"`
	Folder        string   `json:"folder"`
	Files         []string `json:"files"`
	Started       bool     `json:"started"` // it was started by this pull, not attached to
	Checkpoint    string   `json:"checkpoint"`

	Manifest *Manifest `json:"-"`
}

// What lies beside the files of an export: its manifest, and the specification that it follows.
const (
	ManifestFile      = "manifest.txt"
	SpecificationFile = "specification.json"
)

// restarts bounds how often an export is started anew because somebody in it may not be received any more.
const restarts = 3

// Pull fetches an export: the one that was on its way, else the newest that was not fetched yet, else one
// that it starts. It waits until the export is complete, checks the manifest and the ledger, fetches the
// files, several at a time, each going on where it broke off, and opens and unpacks them. Everything
// happens in a folder whose name begins with a point; it gets its name, SPEC-TIME-ID, when all of it is
// there and was checked. What a pull that was interrupted has fetched is used by the next one.
//
// Errors have codes: those of the registry; export_failed; manifest_invalid, ledger_forked,
// ledger_rolled_back, recipient_differs, not_sealed, file_differs, file_malformed; unreachable and cut_off
// when the way is bad for too long; output_failed; folder_busy.
func (c *Client) Pull(ctx context.Context, o Order) (Pulled, error) {
	if err := os.MkdirAll(o.Into, 0o700); err != nil {
		return Pulled{}, onDisk(err)
	}
	release, err := lock(o.Into)
	if err != nil {
		return Pulled{}, err
	}
	defer release()
	kept, err := readState(o.Into)
	if err != nil {
		return Pulled{}, err
	}
	p := &pull{Client: c, Order: o, state: kept, spec: kept.of(o.Spec)}
	for n := 1; ; n++ {
		err := p.run(ctx)
		if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusGone && n < restarts {
			continue // it was forgotten
		}
		return p.result, err
	}
}

// pull is one run of Pull.
type pull struct {
	*Client
	Order
	state    *state
	spec     *pulled
	result   Pulled
	manifest *Manifest
	signed   string
	work     string // folder with a point

	mu   sync.Mutex
	done int64
}

func (p *pull) run(ctx context.Context) error {
	e, err := p.choose(ctx)
	if err != nil {
		return err
	}
	if e, err = p.await(ctx, e); err != nil {
		return err
	}
	name := p.Spec + "-" + e.AskedAt.UTC().Format("20060102T150405Z") + "-" + e.ID[:min(8, len(e.ID))]
	final := filepath.Join(p.Into, name)
	p.work = filepath.Join(p.Into, "."+name)
	if err := p.check(ctx, e); err != nil {
		return p.unless410(e, err)
	}
	p.result = Pulled{
		Export: e.ID, Specification: p.manifest.Specification, Rows: p.manifest.Rows, AsOf: p.manifest.AsOf, Folder: final,
		Started: p.result.Started, Checkpoint: p.state.Checkpoint, Manifest: p.manifest,
	}
	for _, f := range p.manifest.Files {
		p.result.Files = append(p.result.Files, p.named(f))
	}
	if _, err := os.Stat(filepath.Join(final, ManifestFile)); err == nil {
		return p.settle(e) // it is here: the last pull ended before it could say so
	}
	if err := os.MkdirAll(p.work, 0o700); err != nil {
		return onDisk(err)
	}
	if err := p.fetchAll(ctx); err != nil {
		return p.unless410(e, err)
	}
	if err := p.publish(ctx, final); err != nil {
		return err
	}
	return p.settle(e)
}

// named is the name under which a file is here in the end.
func (p *pull) named(f File) string {
	if p.Sealed {
		return f.Name
	}
	return document(f.Name)
}

// choose finds the export to fetch, or starts one.
func (p *pull) choose(ctx context.Context) (Export, error) {
	if p.spec.Pending != "" {
		e, err := p.Export(ctx, p.spec.Pending)
		if err == nil && isOpen(e) {
			return e, nil
		}
		if err != nil && CodeOf(err) != "not_found" {
			return e, err
		}
		if err := p.forget(); err != nil {
			return e, err
		}
	}
	if e, found, err := p.newest(ctx); err != nil || found {
		if err == nil {
			err = p.expect(e)
		}
		return e, err
	}
	return p.begin(ctx)
}

// isOpen reports whether an export has files or will have some.
func isOpen(e Export) bool { return e.State == Waiting || e.State == Running || e.State == Complete }

// newest returns the newest export of the specification that was not fetched yet. A delta is none that this
// folder can use: it may begin behind something that is not here.
func (p *pull) newest(ctx context.Context) (e Export, found bool, err error) {
	if p.New && p.spec.Key == "" {
		return e, false, nil
	}
	if since, err := p.since(ctx); err != nil || since != "" && since != beginning { // it goes on behind what is here
		return e, false, err
	}
	all, err := p.Exports(ctx)
	if err != nil || p.spec.Key != "" { // one was asked for; its answer did not come
		return e, false, err
	}
	at := slices.IndexFunc(all, func(e Export) bool {
		name, _, _ := strings.Cut(e.Specification, "@")
		return name == p.Spec && (p.Version == 0 || e.Specification == specification(p.Spec, p.Version)) &&
			isOpen(e) && e.Since == "" && e.ID != p.spec.Last && e.AskedAt.After(p.spec.AskedAt)
	})
	if at < 0 {
		return e, false, nil
	}
	return all[at], true, nil
}

// begin starts an export, under a key that is kept first, so that a start whose answer is lost is no
// second export.
func (p *pull) begin(ctx context.Context) (Export, error) {
	if p.spec.Key == "" {
		p.spec.Key = rand.Text()
		if err := p.state.keep(); err != nil {
			return Export{}, err
		}
	}
	since, err := p.since(ctx)
	if err != nil {
		return Export{}, err
	}
	e, err := p.StartExport(ctx, Start{Specification: p.Spec, Version: p.Version, Since: since, Key: p.spec.Key})
	if CodeOf(err) == "resync" && p.spec.Since != "" { // the log does not reach back that far: everything, then
		p.spec.Since, p.spec.Key = "", ""
		return p.begin(ctx)
	}
	if err != nil {
		if refused := (*Error)(nil); errors.As(err, &refused) && refused.Status >= 400 && !passing(err) {
			p.spec.Key = ""
			err = errors.Join(err, p.state.keep())
		}
		return e, err
	}
	p.result.Started = true
	return e, p.expect(e)
}

// beginning is where a delta begins that has everything.
const beginning = "beginning"

// since is where the next export begins: of a specification of deltas behind the one that is here, or at the
// beginning.
func (p *pull) since(ctx context.Context) (string, error) {
	name := p.Spec
	if p.Version > 0 {
		name = specification(p.Spec, p.Version)
	}
	text, err := p.Specification(ctx, name)
	if err != nil {
		return "", err
	}
	var spec struct{ Mode string }
	switch err := readJSON(text, &spec); {
	case err != nil || spec.Mode != "delta":
		return "", err
	case p.spec.Since == "":
		return beginning, nil
	}
	return p.spec.Since, nil
}

// expect remembers that an export is on its way.
func (p *pull) expect(e Export) error {
	p.spec.Pending, p.spec.Key = e.ID, ""
	return p.state.keep()
}

// settle remembers that an export is here.
func (p *pull) settle(e Export) error {
	p.spec.Last, p.spec.AskedAt, p.spec.Pending, p.spec.Since = e.ID, e.AskedAt, "", p.manifest.Position
	return errors.Join(onDisk(os.RemoveAll(p.work)), p.state.keep())
}

// forget drops an export that was on its way, and what was fetched of it.
func (p *pull) forget() error {
	if id := p.spec.Pending; id != "" {
		left, err := filepath.Glob(filepath.Join(p.Into, "."+p.Spec+"-*-"+id[:min(8, len(id))]))
		if err != nil {
			return err
		}
		for _, folder := range left {
			if err := os.RemoveAll(folder); err != nil {
				return onDisk(err)
			}
		}
	}
	p.spec.Pending, p.result = "", Pulled{}
	return p.state.keep()
}

// unless410 forgets an export that the registry does not hand out any more: somebody in it may not be
// received, so what was fetched of it goes too, and no older one is looked at.
func (p *pull) unless410(old Export, err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusGone {
		p.spec.AskedAt = old.AskedAt
		return errors.Join(err, p.forget())
	}
	return err
}

// await waits until an export is complete.
func (p *pull) await(ctx context.Context, e Export) (Export, error) {
	for pause := 200 * time.Millisecond; e.State != Complete; pause = min(2*pause, 5*time.Second) {
		if !isOpen(e) {
			code := e.Code
			if code == "" {
				code = e.State
			}
			failed := &Error{Code: "export_failed", Detail: "the registry could not make the export (" + code + "); the next pull starts another one"}
			return e, errors.Join(failed, p.forget())
		}
		p.tell(Progress{Making, e.Rows, e.RowsTotal})
		if err := sleep(ctx, pause); err != nil {
			return e, err
		}
		var err error
		if e, err = p.Export(ctx, e.ID); err != nil {
			return e, err
		}
	}
	return e, nil
}

// check fetches the manifest and holds it to what was asked for, to whom it is sealed, and to the ledger.
// The checkpoint is kept before a byte of data is fetched.
func (p *pull) check(ctx context.Context, e Export) (err error) {
	if p.signed, err = p.Manifest(ctx, e.ID); err != nil {
		return err
	}
	if p.manifest, err = OpenManifest(p.signed, p.Keys); err != nil {
		return err
	}
	m := p.manifest
	if m.Export != e.ID || m.Specification != e.Specification || m.Purpose != e.Purpose {
		return &Error{Code: "manifest_invalid", Detail: "the manifest is that of another export"}
	}
	mine := slices.ContainsFunc(p.Recipients, func(r string) bool { return fingerprint(r) == m.Recipient })
	switch {
	case m.Recipient == "" && len(p.Recipients) > 0:
		return &Error{Code: "not_sealed", Detail: "the files of this export are sealed to nobody; ask the registry to name your key in the specification, or pull without an identity"}
	case m.Recipient != "" && !mine && !p.Sealed:
		return &Error{Code: "recipient_differs", Detail: "the files are sealed to a key that is not among yours; give its identity, or keep them sealed"}
	}
	var others []string
	if m.Checkpoint != "" {
		others = append(others, m.Checkpoint)
	}
	if p.state.Checkpoint, err = p.witness(ctx, others); err != nil {
		return err
	}
	return p.state.keep()
}

func (p *pull) witness(ctx context.Context, others []string) (string, error) {
	latest, err := p.Witness(ctx, p.state.Checkpoint, p.Keys, others...)
	if err != nil {
		return p.state.Checkpoint, err // what was seen stays
	}
	return latest, nil
}

func (p *pull) tell(now Progress) {
	if p.Observe != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.Observe(now)
	}
}

// publish gives the folder its name. From then on it is an export that is here.
func (p *pull) publish(ctx context.Context, final string) error {
	spec, err := p.Specification(ctx, p.manifest.Specification)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(p.work, SpecificationFile), spec); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(p.work, ManifestFile), []byte(p.signed)); err != nil {
		return err
	}
	if err := os.Rename(p.work, final); err != nil {
		return onDisk(err)
	}
	return syncFolder(p.Into)
}
