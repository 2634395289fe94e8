package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/annona-exchange/annona"
)

// outputFile is a file that is written under a name that counts for nothing, until it is whole. It
// never replaces another one.
type outputFile struct {
	path     string   // empty: standard output
	argument string   // of the command line, which named the path
	file     *os.File // nil for standard output
	to       io.Writer
	bytes    int64
}

// createOutput makes a file for its owner only. Errors have the codes file_exists or
// file_unwritable.
func createOutput(path, argument string) (*outputFile, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, errOverwrite.On(argument)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.partial") // mode 0600
	if err != nil {
		return nil, annona.Invalid("file_unwritable", "the file cannot be written: %s", reason(err)).On(argument)
	}
	return &outputFile{path: path, argument: argument, file: file, to: file}, nil
}

var errOverwrite = annona.Conflict("file_exists", "the file is there already and is never overwritten; choose another name")

func (o *outputFile) Write(p []byte) (int, error) {
	n, err := o.to.Write(p)
	o.bytes += int64(n)
	if err != nil {
		err = errOutput(err)
	}
	return n, err
}

func errOutput(err error) error {
	return annona.Unavailable("output_failed", "the file could not be written to its end: %s", reason(err)).Because(err)
}

// sync returns when every byte has reached the disk.
func (o *outputFile) sync() error {
	if o.file == nil {
		return nil
	}
	if err := errors.Join(o.file.Sync(), o.file.Close()); err != nil {
		return errOutput(err)
	}
	return nil
}

// publish gives the file its name, which nobody has taken meanwhile.
func (o *outputFile) publish() error {
	if o.file == nil {
		return nil
	}
	err := os.Link(o.file.Name(), o.path)
	switch {
	case errors.Is(err, os.ErrExist):
		return errOverwrite.On(o.argument)
	case err != nil: // a file system without links
		err = os.Rename(o.file.Name(), o.path)
	}
	if err != nil {
		return errOutput(err)
	}
	return syncFolder(filepath.Dir(o.path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return errOutput(err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !strings.Contains(err.Error(), "invalid argument") { // some file systems cannot
		return errOutput(err)
	}
	return nil
}

// discard removes what has no name of its own.
func (o *outputFile) discard() {
	if o.file == nil {
		return
	}
	_ = o.file.Close()           // it may be closed already
	_ = os.Remove(o.file.Name()) // it may have been renamed
}
