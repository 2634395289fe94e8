package main

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/jobs"
)

// exportFiles opens the place where the files of exports lie; without a URL a folder in the data folder.
func (f *folder) exportFiles(ctx context.Context, place string) (*blob.Bucket, error) {
	parsed, err := url.Parse(place)
	switch {
	case err != nil || parsed.User != nil:
		return nil, errFilesURL
	case place == "":
		return openFilesFolder(filepath.Join(f.path, "exports"))
	case parsed.Scheme == fileblob.Scheme && (parsed.Host == "" || parsed.Host == "localhost") && parsed.RawQuery == "":
		return openFilesFolder(filepath.FromSlash(parsed.Path))
	}
	bucket, err := blob.OpenBucket(ctx, place)
	if err != nil {
		return nil, errFilesURL.Because(err)
	}
	return bucket, nil
}

var errFilesURL = annona.Invalid("files_url", "files of exports lie in a folder, file:///srv/exports, or where this build can write: s3://bucket needs one with the tag s3").On("files")

// openFilesFolder opens a folder for this account only. A file gets its name when it is whole.
func openFilesFolder(path string) (*blob.Bucket, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, annona.Invalid("files_url", "the folder for files of exports cannot be made: %s", reason(err)).On("files")
	}
	bucket, err := fileblob.OpenBucket(path, &fileblob.Options{NoTempDir: true, DirFileMode: 0o700, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		return nil, errFilesURL.Because(err)
	}
	return bucket, nil
}

// exportOptions say how a server works on exports.
type exportOptions struct {
	workers int           // at once
	lease   time.Duration // of a job; 0: as usual
	tell    []jobs.Teller // of schedules
}

// exports reads the flags about exports.
func (s serveCommand) exports(f *folder) (o exportOptions, err error) {
	o = exportOptions{workers: s.ExportWorkers, lease: s.ExportLease}
	if o.lease < 10*time.Second || o.lease > time.Hour {
		return o, annona.Invalid("lease_out_of_range", "a lease is from 10s to 1h").On("export-lease")
	}
	if len(s.WebhookHost) > 0 {
		o.tell = append(o.tell, &jobs.Webhooks{Vault: f.vault, Hosts: s.WebhookHost})
	}
	if s.SMTP != "" {
		password := ""
		if s.SMTPPassword != "" {
			text, err := os.ReadFile(s.SMTPPassword)
			if err != nil {
				return o, annona.Invalid("file_unreadable", "the file with the password of the mail server cannot be read: %s", reason(err)).On("smtp-password")
			}
			password = strings.TrimSpace(string(text))
		}
		post, err := jobs.NewMail(s.SMTP, password)
		if err != nil {
			return o, err
		}
		o.tell = append(o.tell, post)
	}
	return o, nil
}

// workOnExports starts workers that turn export jobs into files, and what lets files go. Both end with
// ctx; wait returns when they have.
func (f *folder) workOnExports(ctx context.Context, log *slog.Logger, bucket *blob.Bucket, o exportOptions, public string) (wait func()) {
	var running sync.WaitGroup
	w := &jobs.Worker{
		Gate: f.gate, Jobs: f.store, Queue: f.store, Vault: f.vault, Checkpoints: f.store, Files: bucket, Log: log, Base: public + "/v1/", Lease: o.lease, Spool: f.spool,
	}
	s := &jobs.Scheduler{Gate: f.gate, Syncs: f.store, Holder: annona.NewUID(), Tell: o.tell, Log: log}
	for range o.workers {
		running.Go(func() { w.Run(ctx) })
	}
	if o.workers > 0 {
		running.Go(func() { w.RunSweeps(ctx) })
		running.Go(func() { s.Run(ctx) })
	}
	return running.Wait
}
