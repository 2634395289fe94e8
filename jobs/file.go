package jobs

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"syscall"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// file is a part that is being written. What reaches it goes three steps, each of which is counted and
// hashed: document (the rows), content (compressed), stored (sealed).
type file struct {
	document, content, stored *tally
	steps                     []io.Closer // that are still to be closed, the outermost last
	blob                      *blob.Writer
	disk                      *os.File // of a folder; nil: the files lie elsewhere
}

// create begins a file. It is there when close has returned without an error.
func (r *running) create(ctx context.Context, object string) (*file, error) {
	f := &file{}
	var err error
	f.blob, err = r.Files.NewWriter(ctx, object, &blob.WriterOptions{
		ContentType: "application/octet-stream", DisableContentTypeDetection: true,
		BeforeWrite: func(as func(any) bool) error { as(&f.disk); return nil },
	})
	if err != nil {
		return nil, filesFailed(err)
	}
	f.stored = newTally(f.blob)
	sealed, err := r.Vault.SealFile(f.stored, r.job.ID, r.export.Spec().Recipient)
	if err != nil {
		return f, err
	}
	f.steps = append(f.steps, sealed)
	f.content = newTally(sealed)
	var compressed io.Writer = f.content
	switch r.compression() {
	case "gzip":
		z := gzip.NewWriter(f.content)
		compressed, f.steps = z, append(f.steps, z)
	case "zstd":
		// One goroutine, so that the same rows become the same bytes.
		z, err := zstd.NewWriter(f.content, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return f, annona.Internal("compress a file", err)
		}
		compressed, f.steps = z, append(f.steps, z)
	}
	f.document = newTally(compressed)
	return f, nil
}

// close ends every step, and brings the file to the disk.
func (f *file) close() error {
	for len(f.steps) > 0 {
		last := len(f.steps) - 1
		if err := f.steps[last].Close(); err != nil {
			return filesFailed(err)
		}
		f.steps = f.steps[:last]
	}
	if f.disk != nil {
		if err := f.disk.Sync(); err != nil {
			return filesFailed(err)
		}
	}
	w := f.blob
	f.blob = nil
	return filesFailed(w.Close())
}

// abandon gives the file up, unless it is closed.
func (f *file) abandon(cancel context.CancelFunc) {
	if f.blob == nil {
		return
	}
	cancel()
	_ = f.blob.Close() // canceled: nothing of it is kept
}

// Begin starts a table of the part.
func (s *sheet) Begin(part int) error {
	s.part = part
	return filesFailed(s.encoder.Begin(part))
}

// Page writes a page.
func (s *sheet) Page(page *privacy.Disclosed) error {
	if err := s.encoder.Page(page); err != nil {
		return filesFailed(err)
	}
	if s.part == 0 {
		s.rows += int64(page.Count())
	}
	s.bytes += s.file.stored.size - s.counted
	s.counted = s.file.stored.size
	return s.alive.beat()
}

// End ends the document.
func (s *sheet) End() error { return filesFailed(s.encoder.End()) }

// filesFailed names what the place of the files has refused; nil and errors of ours stay as they are.
func filesFailed(err error) error {
	var ours *annona.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.As(err, &ours) && ours.Kind != annona.KindInternal:
		return err
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return annona.Unavailable("files_full", "there is no room for the files of exports; make room, the export goes on by itself").Because(err)
	default:
		return annona.Unavailable("files_unavailable", "the place where the files of exports lie cannot be used at the moment").Because(err)
	}
}

func isMissing(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }

// tally counts and hashes what goes through it.
type tally struct {
	to   io.Writer
	size int64
	hash hash.Hash
}

func newTally(to io.Writer) *tally { return &tally{to: to, hash: sha256.New()} }

func (t *tally) Write(p []byte) (int, error) {
	n, err := t.to.Write(p)
	t.size += int64(n)
	t.hash.Write(p[:n])
	return n, err
}

func (t *tally) hashed() annona.Hashed { return annona.Hashed{Size: t.size, SHA256: t.hash.Sum(nil)} }
