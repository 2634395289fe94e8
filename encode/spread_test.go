package encode

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/annona-exchange/annona"
)

// heldSpools counts the spools that have been made and not given up.
type heldSpools struct{ made, held int }

func (h *heldSpools) open() (annona.Spool, error) {
	h.made, h.held = h.made+1, h.held+1
	return &heldSpool{of: h}, nil
}

type heldSpool struct {
	bytes.Buffer
	of    *heldSpools
	ended bool
}

func (s *heldSpool) End() error { s.ended = true; return nil }

func (s *heldSpool) Open() (io.ReadCloser, error) {
	if !s.ended {
		return nil, errors.New("read before its end")
	}
	return io.NopCloser(bytes.NewReader(s.Bytes())), nil
}

func (s *heldSpool) Close() error { s.of.held--; return nil }

func TestFilesSideBySideAreTheSame(t *testing.T) {
	d := annona.Standard()
	rapid.Check(t, func(r *rapid.T) {
		shape := nastyShape(r, d, rapid.SampledFrom([]string{"individuals", "households"}).Draw(r, "dataset"), 2)
		records := nastyItems(r, shape, 4)
		o := Options{Format: rapid.SampledFrom([]Format{CSV, Parquet}).Draw(r, "format"), Layout: Linked, Modified: day()}
		o.Profile = Machine
		if o.Format == CSV {
			o.Profile = rapid.SampledFrom([]Profile{Machine, Spreadsheet}).Draw(r, "profile")
		}
		pageRows := rapid.IntRange(1, 5).Draw(r, "rows of a page")
		behind, changed := write(t, d, shape, records, pageRows, o)
		spools := heldSpools{}
		o.Spool = spools.open
		beside, changedBeside := write(t, d, shape, records, pageRows, o)
		if diff := cmp.Diff(zipped(r, behind), zipped(r, beside)); diff != "" {
			r.Fatalf("files that were written one behind the other, and side by side: %s", diff)
		}
		if spools.held != 0 {
			r.Errorf("%d spools are held behind the end", spools.held)
		}
		if changed != changedBeside {
			r.Errorf("%d altered cells one behind the other, %d side by side", changed, changedBeside)
		}
	})
}

// zipped reads the files of a zip: names, order, times and content.
func zipped(t rapid.TB, document []byte) (files []string) {
	archive, err := zip.NewReader(bytes.NewReader(document), int64(len(document)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.File {
		content, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(content) // which checks sum and size
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		files = append(files, f.Name+" "+f.Modified.UTC().String(), string(text))
	}
	return files
}

func TestAnAbortedAnswerKeepsNoSpool(t *testing.T) {
	d := annona.Standard()
	spools := heldSpools{}
	e := encodeTo(t, io.Discard, d, sampleShape(t, d), sampleRecords(), 1, Options{Format: CSV, Layout: Linked, Spool: spools.open})
	if spools.made < 3 || spools.held != spools.made {
		t.Errorf("%d spools were made, %d are held", spools.made, spools.held)
	}
	if err := e.Close(); err != nil || spools.held != 0 {
		t.Errorf("%d spools are held behind the end, %v", spools.held, err)
	}
}

func TestAnAnswerFailsWithItsSpool(t *testing.T) {
	d := annona.Standard()
	full := annona.Unavailable("spool_full", "no room")
	o := Options{Format: CSV, Layout: Linked, Spool: func() (annona.Spool, error) { return nil, full }}
	parts, err := Parts(sampleShape(t, d), o)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(io.Discard, parts, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Begin(0); !errors.Is(err, full) {
		t.Errorf("Begin: %v, want spool_full", err)
	}
	if err := e.End(); !errors.Is(err, full) {
		t.Errorf("End: %v, want spool_full", err)
	}
}
