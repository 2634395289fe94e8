package encode

import (
	"archive/zip"
	"errors"
	"hash"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"

	"github.com/annona-exchange/annona"
	"github.com/annona-exchange/annona/privacy"
)

// spread writes the files of a zip side by side, in one pass over the records. The first one goes out
// at once. The others are packed as they will lie in the archive, and wait in spools for its end.
type spread struct {
	answer
	archive *archive
	options Options
	lanes   []lane
}

// lane is one file on its way into the archive.
type lane struct {
	name string
	to   Encoder
	wait *packed // nil: it goes out at once
}

func newSpread(w io.Writer, parts []Part, o Options) *spread {
	return &spread{answer: answer{parts: parts, part: -1}, archive: newArchive(w, o.Modified), options: o}
}

func (s *spread) Begin(part int) error {
	if err := s.begin(part); err != nil {
		return err
	}
	for i, file := range s.parts[part].files {
		if err := s.open(file, i == 0); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// open begins a file.
func (s *spread) open(file Part, first bool) error {
	method := uint16(zip.Deflate)
	if s.options.Format == Parquet { // compressed already
		method = zip.Store
	}
	l := lane{name: file.Name}
	var w io.Writer
	var err error
	if first {
		w, err = s.archive.create(file.Name, method)
	} else if l.wait, err = s.pack(method); err == nil {
		w = l.wait
	}
	if err != nil {
		return err
	}
	l.to = newEncoder(w, []Part{file}, s.options, false)
	s.lanes = append(s.lanes, l)
	return l.to.Begin(0)
}

func (s *spread) Page(d *privacy.Disclosed) error {
	if err := s.expect(); err != nil {
		return err
	}
	for _, l := range s.lanes {
		if err := l.to.Page(d); err != nil {
			return s.fail(err)
		}
	}
	if err := s.archive.flush(); err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *spread) End() error {
	if err := s.end(); err != nil {
		return err
	}
	for _, l := range s.lanes {
		if err := s.close(l); err != nil {
			return s.fail(err)
		}
	}
	if err := s.archive.close(); err != nil {
		return s.fail(err)
	}
	s.err = errEnded
	return nil
}

// close completes a file, and lays it into the archive if it has waited.
func (s *spread) close(l lane) error {
	if err := l.to.End(); err != nil || l.wait == nil {
		return err
	}
	if err := l.wait.end(); err != nil {
		return err
	}
	return s.archive.take(l.name, l.wait)
}

func (s *spread) Altered() (n int64) {
	for _, l := range s.lanes {
		n += l.to.Altered()
	}
	return n
}

func (s *spread) Close() error {
	var errs []error
	for _, l := range s.lanes {
		if l.wait != nil {
			errs = append(errs, l.wait.spool.Close())
		}
	}
	s.lanes = nil
	return errors.Join(errs...)
}

// packed is a file as it will lie in an archive, waiting in a spool.
type packed struct {
	method uint16
	spool  annona.Spool
	pack   io.Writer // packs into the spool
	flate  *flate.Writer
	sum    hash.Hash32
	size   uint64
	stored uint64 // bytes of the spool
}

func (s *spread) pack(method uint16) (*packed, error) {
	spool, err := s.options.Spool()
	if err != nil {
		return nil, err
	}
	p := &packed{method: method, spool: spool, sum: crc32.NewIEEE()}
	p.pack = counting{p}
	if method == zip.Store {
		return p, nil
	}
	if p.flate, err = flate.NewWriter(p.pack, deflateLevel); err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	p.pack = p.flate
	return p, nil
}

// counting writes into the spool of a file, and counts.
type counting struct{ of *packed }

func (c counting) Write(b []byte) (int, error) {
	n, err := c.of.spool.Write(b)
	c.of.stored += uint64(n)
	return n, err
}

func (p *packed) Write(b []byte) (int, error) {
	p.sum.Write(b)
	p.size += uint64(len(b))
	return p.pack.Write(b)
}

func (p *packed) end() error {
	if p.flate != nil {
		if err := p.flate.Close(); err != nil {
			return err
		}
	}
	return p.spool.End()
}
