package client

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// fetchAll fetches the files, several at a time. The first failure stops the others.
func (p *pull) fetchAll(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.done = 0
	files := make(chan File)
	parallel := p.Parallel
	if parallel <= 0 {
		parallel = 4
	}
	var working sync.WaitGroup
	for range min(parallel, max(len(p.manifest.Files), 1)) {
		working.Go(func() {
			for f := range files {
				if err := p.fetch(ctx, f); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, f := range p.manifest.Files {
		select {
		case files <- f:
		case <-ctx.Done():
		}
	}
	close(files)
	working.Wait()
	return context.Cause(ctx)
}

// fetch brings one file to its place in the folder, whatever of it is there already.
func (p *pull) fetch(ctx context.Context, f File) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	here := filepath.Join(p.work, p.named(f))
	if _, err := os.Stat(here); err == nil { // it got that name when it was whole
		p.count(f.Size)
		return nil
	}
	sealed := here
	if !p.Sealed {
		sealed = filepath.Join(p.work, f.Name+".sent")
	}
	if _, err := os.Stat(sealed); err != nil {
		if err := p.download(ctx, f, sealed); err != nil {
			return err
		}
	} else {
		p.count(f.Size)
	}
	if p.Sealed {
		return nil
	}
	if err := p.open(ctx, f, sealed, here); err != nil {
		return err
	}
	return onDisk(os.Remove(sealed))
}

// count counts bytes that are here.
func (p *pull) count(n int64) {
	if p.Observe == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.Observe(Progress{Fetching, p.done, p.manifest.size()})
}

// download fetches a file and gives it its name when its hash is right. One that is not is fetched once
// more from its beginning.
func (p *pull) download(ctx context.Context, f File, to string) error {
	part := to + ".part"
	for again := true; ; again = false {
		if err := p.append(ctx, f, part); err != nil {
			return err
		}
		hash, err := hashOf(part)
		if err != nil {
			return err
		}
		if hash == f.SHA256 {
			return onDisk(os.Rename(part, to))
		}
		if err := os.Remove(part); err != nil {
			return onDisk(err)
		}
		p.count(-f.Size)
		if !again {
			return &Error{Code: "file_differs", Detail: "the file that arrives is not the one that the manifest names; tell the registry", Name: f.Name}
		}
	}
}

// append fetches what is missing of a file, going on as often as the way breaks off.
func (p *pull) append(ctx context.Context, f File, part string) error {
	file, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return onDisk(err)
	}
	defer file.Close()
	at, err := file.Seek(0, io.SeekEnd)
	if err == nil && at > f.Size { // it is of no use
		at = 0
		err = file.Truncate(0)
	}
	if err != nil {
		return onDisk(err)
	}
	if _, err := file.Seek(at, io.SeekStart); err != nil {
		return onDisk(err)
	}
	p.count(at)
	var came int64
	err = p.again(ctx, func() bool { return came > 0 }, func() error {
		if at == f.Size {
			return nil
		}
		came, err = p.File(ctx, p.manifest.Export, f.Name, at, f.SHA256, &limited{p, file, f.Size - at})
		at += came
		if err == nil && at < f.Size {
			err = &Error{Code: "cut_off", Detail: "the file is shorter than the manifest says", Name: f.Name}
		}
		return err
	})
	if failed := (*writeError)(nil); errors.As(err, &failed) {
		return onDisk(failed.error)
	}
	if err != nil {
		return err
	}
	return onDisk(file.Sync())
}

// limited writes what comes, never more than there should be.
type limited struct {
	p    *pull
	to   io.Writer
	left int64
}

var errTooLong = &Error{Code: "file_differs", Detail: "the file that arrives is longer than the manifest says; tell the registry"}

func (l *limited) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, &writeError{errTooLong}
	}
	n, err := l.to.Write(b)
	l.left -= int64(n)
	l.p.count(int64(n))
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

func hashOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", onDisk(err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", onDisk(err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// open unseals and unpacks a file, and gives the document its name when it is what the manifest says.
func (p *pull) open(ctx context.Context, f File, sealed, to string) error {
	file, err := os.Open(sealed)
	if err != nil {
		return onDisk(err)
	}
	defer file.Close()
	opened, err := p.unpack(file, f.Name)
	if err != nil {
		return err
	}
	defer opened.Close()
	part := to + ".part"
	out, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return onDisk(err)
	}
	defer out.Close()
	h := sha256.New()
	// One byte more than there should be is enough to see that it is too long.
	n, err := io.Copy(&writes{out}, io.TeeReader(&stoppable{ctx, io.LimitReader(opened, f.DocumentSize+1)}, h))
	if failed := (*writeError)(nil); errors.As(err, &failed) {
		return onDisk(failed.error)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || n != f.DocumentSize || hex.EncodeToString(h.Sum(nil)) != f.DocumentSHA256 {
		return &Error{Code: "file_malformed", Detail: "the file cannot be opened to what the manifest says that it holds; tell the registry", Name: f.Name, cause: err}
	}
	if err := errors.Join(out.Sync(), out.Close()); err != nil {
		return onDisk(err)
	}
	return onDisk(os.Rename(part, to))
}

// unpack returns what a file holds, by its name.
func (p *pull) unpack(file io.Reader, name string) (io.ReadCloser, error) {
	failed := func(err error) (io.ReadCloser, error) {
		return nil, &Error{Code: "file_malformed", Detail: "the file cannot be opened; is the identity the one that it is sealed to?", Name: name, cause: err}
	}
	name, sealed := strings.CutSuffix(name, ".age")
	if sealed {
		opened, err := age.Decrypt(file, p.Identities...)
		if err != nil {
			return failed(err)
		}
		file = opened
	}
	switch {
	case strings.HasSuffix(name, ".gz"):
		opened, err := gzip.NewReader(file)
		if err != nil {
			return failed(err)
		}
		return opened, nil
	case strings.HasSuffix(name, ".zst"):
		opened, err := zstd.NewReader(file)
		if err != nil {
			return failed(err)
		}
		return opened.IOReadCloser(), nil
	}
	return io.NopCloser(file), nil
}

// writes marks failures of this side.
type writes struct{ to io.Writer }

func (w *writes) Write(b []byte) (int, error) {
	n, err := w.to.Write(b)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// stoppable ends with its context.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (s *stoppable) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(b)
}
