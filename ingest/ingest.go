// Package ingest reads the files of a source and turns their rows into records, as a mapping
// says: which column feeds which field, what the source's codes mean, how dates are written
// and what makes a key.
//
// It refuses only rows that cannot be read or have no key; these go to a rejects file. All
// else is loaded: what cannot be understood becomes absent, keeps the source's own word where
// there is a place for it, and raises a quality flag. Nothing is guessed and nothing is
// rounded.
//
// It reads in one pass and holds one batch, one row and, where a household stands on the row
// of each of its members, a hash per household. It knows no store, no key of encryption and no
// rule about who may write.
package ingest

import (
	"context"
	"io"

	"github.com/annona-exchange/annona"
)

// BatchRecords is about the number of records that one batch is made of: few, so that whoever writes
// them may join as many as suit it.
const BatchRecords = 25

// Source is a file to read. Gzip is recognized by its first bytes. Open may be called twice
// when the mapping has several inputs: once to recognize the file by its columns. Progress is
// told by counting what is read from Open's result.
type Source struct {
	Name string // for messages
	Open func() (io.ReadCloser, error)
	Size int64 // bytes; 0 when unknown
}

// Batch is what some complete input rows became. Households precede the individuals who join
// them. It belongs to whoever receives it.
type Batch struct {
	Households, Individuals []annona.Record
	Rows                    int // input rows, refused ones included
	// Told are the rows that became records, in their order, and those that are known, of which there are
	// none; nil when nobody remembers rows.
	Told []annona.SourceRow
}

// KnownAreas reports whether an area is on file. It is asked once per code.
type KnownAreas func(ctx context.Context, code string) (bool, error)

// Order returns the names of the sources in the order in which Read reads them: the first one's records
// are of file 1.
func Order(m *Mapping, sources []Source) ([]string, error) {
	files, err := assign(m, sources)
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.source.Name
	}
	return names, err
}

// Check looks whether a source is what the mapping describes, as far as its first row tells: a CSV file
// has the columns that the mapping names, each once. It returns what Read would return.
func Check(m *Mapping, source Source) error {
	files, err := assign(m, []Source{source})
	if err != nil || files[0].in.format != FormatCSV {
		return err
	}
	opened, err := openSource(source)
	if err != nil {
		return err
	}
	defer opened.Close()
	r := newReader(context.Background(), m, nil, nil, nil)
	_, err = r.readHeader(files[0], &csvReader{window: newWindow(opened), comma: files[0].in.comma})
	return err
}

// Read reads the sources in the order of the mapping's inputs, each by the input whose columns
// it has, and yields batches. A household's record comes before those of its members. A code
// of an area is known when the mapping declares it or known says so; known may be nil. Refused
// rows go to rejects, which may be nil: then they are counted only.
//
// It returns what was read so far also on an error: one of yield, of the context, of a file,
// or of a file that is not what the mapping describes.
func Read(ctx context.Context, m *Mapping, sources []Source, known KnownAreas, rejects *Rejects, yield func(Batch) error) (Report, error) {
	return ReadAgain(ctx, m, sources, known, nil, rejects, yield)
}
