package main

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"

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

// workOnExports starts workers that turn export jobs into files, and what lets files go. Both end with
// ctx; wait returns when they have.
func (f *folder) workOnExports(ctx context.Context, log *slog.Logger, bucket *blob.Bucket, workers int, public string) (wait func()) {
	var running sync.WaitGroup
	w := &jobs.Worker{
		Gate: f.gate, Jobs: f.store, Queue: f.store, Vault: f.vault, Checkpoints: f.store, Files: bucket, Log: log, Base: public + "/v1/",
	}
	for range workers {
		running.Go(func() { w.Run(ctx) })
	}
	if workers > 0 {
		running.Go(func() { w.RunSweeps(ctx) })
	}
	return running.Wait
}
