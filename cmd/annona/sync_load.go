package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/exchange"
	"github.com/annona-exchange/annona/ingest"
	"github.com/annona-exchange/annona/ingest/intake"
)

// syncLoad is one load of a source.
type syncLoad struct {
	mapping *ingest.Mapping
	mode    string
	guard   float64
	asOf    time.Time
	// readings are read one after the other. A household that no row of a reading gives is taken to be
	// on file when the reading has no households at all.
	readings [][]ingest.Source
	broken   func() error // why a source broke off, in better words than the reader has; may be nil
}

// load runs a load and returns what it did, also when it broke. A full load is read twice: the first
// time only to learn whom it names.
func (r *syncing) load(ctx context.Context, l syncLoad) (syncCount, error) {
	loading, err := r.folder.gate.BeginLoad(ctx, operator(), exchange.LoadOrder{
		Source: l.mapping.Source(), Mode: l.mode, AsOf: l.asOf, Guard: l.guard, Areas: l.mapping.Areas(), Covers: l.mapping.Covers(), Match: l.mapping.Match(),
	})
	if err != nil {
		return syncCount{}, err
	}
	r.state.Load = loading.ID().String()
	memory, err := loading.KnownRows(ctx)
	if err != nil {
		return syncCount{}, cmp.Or(loading.Fail(ctx, err), err)
	}
	if l.mode == exchange.ModeFull {
		_, err = r.read(ctx, l, memory, nil, func(b ingest.Batch) error { return intake.Name(ctx, loading, b) })
		if err == nil {
			err = loading.Decide(ctx)
		}
		if err != nil {
			return syncCount{}, cmp.Or(err, loading.Fail(ctx, err))
		}
	}
	return r.write(ctx, l, loading, memory)
}

// write writes what the sources say.
func (r *syncing) write(ctx context.Context, l syncLoad, loading *exchange.Loading, memory ingest.Memory) (syncCount, error) {
	refused := &sealedRejects{files: rejectFiles{folder: filepath.Join(r.folder.path, "rejects", r.source.Name), started: time.Now()}, recipients: r.source.recipients}
	w := r.folder.writeBehind(ctx, loading)
	reports, err := r.read(ctx, l, memory, ingest.NewRejects(refused.open), w.Write)
	read := countRead(reports)
	err = cmp.Or(w.End(), err) // reading stops because writing has
	err = cmp.Or(err, refused.close())
	loading.Read(map[string]int{"rows": read.Rows, "rejected": read.Rejected}, read.Rejected)
	loaded := loading.Done()
	if err != nil {
		err = cmp.Or(err, loading.Fail(ctx, err))
	} else {
		loaded, err = loading.Finish(ctx)
	}
	for _, report := range reports {
		err = cmp.Or(err, r.folder.noteUnmapped(ctx, l.mapping.Source(), report))
	}
	read.Created, read.Changed, read.Unchanged = loaded.Created, loaded.Changed, loaded.Unchanged
	read.Deleted, read.Restored, read.Stale = loaded.Deleted, loaded.Restored, loaded.Stale
	return read, err
}

// countRead adds up what was read.
func countRead(reports []ingest.Report) (read syncCount) {
	for _, report := range reports {
		read.Rows += report.Rows
		read.Individuals += report.Individuals
		read.Households += report.Households
		read.Rejected += report.Rejected
	}
	return read
}

// read reads all readings of a load and returns what each of them was.
func (r *syncing) read(ctx context.Context, l syncLoad, memory ingest.Memory, rejects *ingest.Rejects, yield func(ingest.Batch) error) ([]ingest.Report, error) {
	var reports []ingest.Report
	for _, sources := range l.readings {
		report, err := ingest.ReadAgain(ctx, l.mapping, sources, r.folder.knownArea, memory, rejects, yield)
		reports = append(reports, report)
		if err == nil {
			continue
		}
		if l.broken != nil {
			if why := l.broken(); why != nil {
				err = why
			}
		}
		return reports, err
	}
	return reports, nil
}

// sealedRejects are files of refused rows, sealed to recipients when there are some.
type sealedRejects struct {
	files      rejectFiles
	recipients []age.Recipient
	sealed     []io.Closer
}

func (s *sealedRejects) open(input, format string) (io.Writer, error) {
	if len(s.recipients) == 0 {
		return s.files.open(input, format)
	}
	file, err := s.files.open(input, format+".age")
	if err != nil {
		return nil, err
	}
	w, err := age.Encrypt(file, s.recipients...)
	if err == nil {
		s.sealed = append(s.sealed, w)
	}
	return w, err
}

func (s *sealedRejects) close() error {
	var failed error
	for _, w := range s.sealed {
		if err := w.Close(); err != nil {
			failed = annona.Internal("write the file of refused rows; the rows in it may be incomplete", err)
		}
	}
	return errors.Join(failed, s.files.close())
}

// sealFile writes a sealed copy of a file, which has its name when it is whole.
func sealFile(from, to string, recipients []age.Recipient) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	partial := to + ".partial"
	file, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w, err := age.Encrypt(file, recipients...)
	if err == nil {
		_, err = io.Copy(w, source)
		err = errors.Join(err, w.Close())
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	return os.Rename(partial, to)
}
