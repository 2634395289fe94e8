package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/jobs"
)

type exportCommand struct {
	List   exportList   `cmd:"" help:"List the exports that became files, or are to, the newest first."`
	Show   exportShow   `cmd:"" help:"Say how an export stands."`
	Cancel exportCancel `cmd:"" help:"Cancel an export, or let its files go."`
	Key    exportKey    `cmd:"" help:"Print the public key of manifests."`
	Verify exportVerify `cmd:"" help:"Check the manifest of an export, and the files beside it."`
}

type exportList struct{ dataFlag }

func (l exportList) Run(ctx context.Context, c console) error {
	return l.with(ctx, func(f *folder) error {
		all, err := f.gate.ListExports(ctx, operator())
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "export\tagreement\tspecification\tasked\trows\tstate")
		for _, j := range all {
			fmt.Fprintf(w, "%s\t%s\t%s@%d\t%s\t%s\t%s\n", j.ID, j.Agreement, j.Spec, j.Version, j.AskedAt.UTC().Format(time.DateTime), exportedRows(&j), stateOf(&j))
		}
		return w.Flush()
	})
}

func exportedRows(j *annona.ExportJob) string {
	if len(j.Plan) == 0 {
		return strconv.FormatInt(j.Rows, 10)
	}
	return fmt.Sprintf("%d of %d", j.Rows, j.Total)
}

func stateOf(j *annona.ExportJob) string {
	if j.Code == "" {
		return string(j.State)
	}
	return string(j.State) + ": " + j.Code
}

type exportShow struct {
	dataFlag
	ID       string `arg:"" help:"Id of the export."`
	Manifest bool   `help:"Print its manifest."`
}

func (s exportShow) Run(ctx context.Context, c console) error {
	return s.with(ctx, func(f *folder) error {
		if s.Manifest {
			manifest, err := f.gate.ExportManifest(ctx, operator(), s.ID)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.out, manifest)
			return err
		}
		j, err := f.gate.ExportStatus(ctx, operator(), s.ID)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.out, "%s by %s@%d for %s: %s, %s rows in %d files, %d bytes\n",
			j.ID, j.Spec, j.Version, j.Agreement, stateOf(&j), exportedRows(&j), j.Parts, j.Bytes)
		return err
	})
}

type exportCancel struct {
	dataFlag
	ID string `arg:"" help:"Id of the export."`
}

func (e exportCancel) Run(ctx context.Context, c console) error {
	return e.with(ctx, func(f *folder) error {
		if err := f.gate.CancelExport(ctx, operator(), e.ID); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, "Nobody gets files of this export any more; a server deletes them within a minute.")
		return err
	})
}

type exportKey struct{ dataFlag }

func (e exportKey) Run(ctx context.Context, c console) error {
	return e.with(ctx, func(f *folder) error {
		keys, err := f.vault.ManifestKeys()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.out, strings.Join(keys, "\n"))
		return err
	})
}

type exportVerify struct {
	Manifest string   `arg:"" type:"existingfile" help:"The manifest. Files of its names in its folder are checked too."`
	Key      []string `required:"" sep:"none" placeholder:"KEY" help:"Public key of manifests of that registry, from elsewhere; may be repeated."`
}

// Run checks the signature, and the size and hash of every file that is there.
func (v exportVerify) Run(_ context.Context, c console) error {
	signed, err := os.ReadFile(v.Manifest)
	if err != nil {
		return annona.Invalid("file_unreadable", "%s", reason(err)).On(v.Manifest)
	}
	m, err := jobs.OpenManifest(string(signed), v.Key...)
	if err != nil {
		return err
	}
	there := 0
	for _, f := range m.Files {
		found, err := jobs.CheckFile(filepath.Dir(v.Manifest), f)
		if err != nil {
			return err
		}
		if found {
			there++
		}
	}
	_, err = fmt.Fprintf(c.out, "The manifest is signed: %d rows by %s under %s. %d of its %d files are here, and are what was sent.\n",
		m.Rows, m.Specification, m.Agreement, there, len(m.Files))
	return err
}

type exportSpecRun struct {
	dataFlag
	Client  string `required:"" placeholder:"ID" help:"Client of the agreement in whose name the export runs, by its id. What a plain API key may not have is not in it."`
	Version int    `help:"Version of the specification; the latest one when left out."`
	Since   string `placeholder:"POSITION" help:"Of a specification with mode delta: the position of a manifest behind which the export begins, previous or beginning. None: previous, and everything when there is none."`
	Follow  bool   `help:"Wait until it is complete. A server works on it meanwhile."`
	Name    string `arg:"" help:"Name of the specification."`
}

// Run puts an export in the queue of the servers.
func (e exportSpecRun) Run(ctx context.Context, c console) error {
	return e.with(ctx, func(f *folder) error {
		as, err := f.inTheNameOf(ctx, e.Client)
		if err != nil {
			return err
		}
		job, _, err := f.gate.StartExport(ctx, as, exchange.ExportRequest{Spec: e.Name, Version: e.Version, Since: e.Since})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c.out, "The export %s waits for a server.\n", job.ID); err != nil || !e.Follow {
			return err
		}
		return followExport(ctx, c, f, job.ID.String())
	})
}

// inTheNameOf is the caller in whose name the command line reads: a client as a plain API key.
func (f *folder) inTheNameOf(ctx context.Context, name string) (annona.Caller, error) {
	client, err := f.store.ClientByKeyID(ctx, name)
	if id, malformed := annona.ParseUID(name); err == nil && client == nil && malformed == nil {
		client, err = f.store.ClientByID(ctx, id)
	}
	if err != nil {
		return annona.Caller{}, err
	}
	if client == nil {
		return annona.Caller{}, annona.NotFound("no client with this key is on file; annona key list shows them").On("client")
	}
	return annona.Caller{Client: client.ID, Agreement: client.Agreement, Strength: annona.StrengthAPIKey, Operator: operator().Operator}, nil
}

// followExport says each second how an export stands, until it ends.
func followExport(ctx context.Context, c console, f *folder, id string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := ""; ; {
		j, err := f.gate.ExportStatus(ctx, operator(), id)
		if err != nil {
			return err
		}
		if now := stateOf(&j) + ", " + exportedRows(&j) + " rows"; now != last {
			fmt.Fprintln(c.out, now)
			last = now
		}
		switch j.State {
		case annona.ExportComplete:
			return nil
		case annona.ExportFailed, annona.ExportCancelled, annona.ExportExpired:
			return annona.Conflict("export_ended", "the export is %s", stateOf(&j))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
